"""Which of several groups of predictors explains more: dominance analysis and commonality analysis of R².

Both look at R² of the models with every subset of the groups. Dominance analysis asks whether one group adds more than
another: to every subset of the others (complete dominance), on average over subsets of each size (conditional), or on
average over sizes (general); Azen & Budescu 2003, 10.1037/1082-989X.8.2.129; for multilevel models Luo & Azen 2013,
10.3102/1076998612458319. Commonality analysis splits R² into what is unique to each group and what is common to each
set of groups. Common parts are negative where groups suppress each other, and so may be increments of a multilevel R²;
nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

#: The measure of a callable that returns a single number.
R_SQUARED = "R2"

#: Increments of R² that differ by no more than this are equal: such differences are rounding.
TIE = 1e-12

#: Kinds of dominance, each implied by the one before.
KINDS = ("complete", "conditional", "general")

Subset = frozenset[str]


@dataclass(frozen=True, eq=False)
class DominanceAnalysis:
    """What groups of predictors explain, alone and beside each other.

    Parameters
    ----------
    groups : tuple of str
        The groups, in the order in which they were given.
    fits : DataFrame
        Every model: measure, groups (the subset, joined by `` + ``; empty for none), n_groups, r_squared.
    importance : DataFrame
        Per measure and group: alone (increment over no group), unique (increment over all others), general (mean of
        the averages in `conditional`), share (general as a fraction of what all groups add to none; NaN if that is
        not positive). Values of general add up to what all groups add to none.
    conditional : DataFrame
        Per measure, group and n_others: increment, the average over subsets of that many other groups.
    dominance : DataFrame
        Per measure and pair (group, other): columns complete, conditional and general with the name of the group that
        dominates, missing if neither does.
    commonality : DataFrame
        Per measure and nonempty set of groups: groups (joined by `` & ``), n_groups, coefficient (R² common to exactly
        these groups; unique for one), share (NaN if what all groups add is not positive). Coefficients add up to what
        all groups add to none.
    """

    groups: tuple[str, ...]
    fits: pd.DataFrame
    importance: pd.DataFrame
    conditional: pd.DataFrame
    dominance: pd.DataFrame
    commonality: pd.DataFrame


def dominance_analysis(
    groups: Sequence[str], r_squared: Callable[[Subset], float | Mapping[str, float]]
) -> DominanceAnalysis:
    """Compare groups of predictors by what they add to R².

    Parameters
    ----------
    groups : sequence of str
        Names of at least two groups.
    r_squared : callable
        R² of the model with the given groups and whatever is in all models: a number, or numbers by measure. It is
        called once for each of the 2 ** len(groups) subsets, the empty one among them. That its models have the same
        rows and the same random effects is for the caller to see to.

    Returns
    -------
    DominanceAnalysis
        Where R² is NaN (a model that could not be fitted), so is all that rests on it, and nobody dominates.

    Raises
    ------
    ValueError
        If there are fewer than two groups, two have the same name, or measures differ between subsets.

    Notes
    -----
    A dominates B completely if it adds at least as much as B to every subset of the other groups and more to one; a
    difference of up to 1e-12 counts as none. Conditional and general dominance compare averages likewise.
    """
    names = tuple(groups)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError("dominance analysis compares at least two groups with distinct names")
    values = {subset: _by_measure(r_squared(subset)) for subset in _subsets(names)}
    measures = list(values[frozenset()])
    if any(set(found) != set(measures) for found in values.values()):
        raise ValueError("every subset of groups must have the same measures of R²")
    models = {
        measure: _Models(names, {subset: found[measure] for subset, found in values.items()})
        for measure in measures
    }
    tables = {
        name: pd.DataFrame(
            [
                {"measure": measure} | row
                for measure, model in models.items()
                for row in getattr(model, name)()
            ]
        )
        for name in ("fits", "importance", "conditional", "dominance", "commonality")
    }
    # Text even where nobody dominates, when pandas would take the column for one of objects.
    tables["dominance"] = tables["dominance"].astype(dict.fromkeys(KINDS, "str"))
    return DominanceAnalysis(names, **tables)


@dataclass(frozen=True)
class _Models:
    """R² of all models of one measure, and the rows of the tables that follow from it."""

    groups: tuple[str, ...]
    r_squared: dict[Subset, float]

    @property
    def explained(self) -> float:
        """What all groups add to none."""
        return self.r_squared[frozenset(self.groups)] - self.r_squared[frozenset()]

    def share(self, value: float) -> float:
        return value / self.explained if self.explained > 0.0 else math.nan

    def increment(self, group: str, others: Subset) -> float:
        """What a group adds to others."""
        return self.r_squared[others | {group}] - self.r_squared[others]

    def averages(self, group: str) -> list[float]:
        """Average increment of a group by number of other groups."""
        others = tuple(name for name in self.groups if name != group)
        increments: list[list[float]] = [[] for _ in self.groups]
        for subset in _subsets(others):
            increments[len(subset)].append(self.increment(group, subset))
        return [math.fsum(values) / len(values) for values in increments]

    def common(self, groups: Subset) -> float:
        """R² common to exactly these groups, by inclusion and exclusion."""
        rest = frozenset(self.groups) - groups
        return math.fsum(
            (-1) ** (len(groups) - len(subset) + 1) * self.r_squared[rest | (groups - subset)]
            for subset in _subsets(tuple(groups))
        )

    def fits(self) -> list[dict[str, object]]:
        return [
            {"groups": self.joined(subset, " + "), "n_groups": len(subset), "r_squared": value}
            for subset, value in self.r_squared.items()
        ]

    def importance(self) -> list[dict[str, object]]:
        rows = []
        for group in self.groups:
            averages = self.averages(group)
            general = math.fsum(averages) / len(averages)
            rows.append(
                {"group": group, "alone": averages[0], "unique": averages[-1], "general": general}
                | {"share": self.share(general)}
            )
        return rows

    def conditional(self) -> list[dict[str, object]]:
        return [
            {"group": group, "n_others": n_others, "increment": increment}
            for group in self.groups
            for n_others, increment in enumerate(self.averages(group))
        ]

    def dominance(self) -> list[dict[str, object]]:
        return [
            {"group": group, "other": other} | self.statements(group, other)
            for group, other in combinations(self.groups, 2)
        ]

    def statements(self, group: str, other: str) -> dict[str, str | None]:
        """Say who of two groups dominates, by kind of dominance."""
        rest = tuple(name for name in self.groups if name not in (group, other))
        complete = [self.increment(group, s) - self.increment(other, s) for s in _subsets(rest)]
        conditional = np.subtract(self.averages(group), self.averages(other))
        found = (complete, conditional, [conditional.mean()])
        return {
            kind: _dominant(np.array(differences), group, other)
            for kind, differences in zip(KINDS, found, strict=True)
        }

    def commonality(self) -> list[dict[str, object]]:
        rows = []
        for subset in _subsets(self.groups)[1:]:
            coefficient = self.common(subset)
            rows.append(
                {"groups": self.joined(subset, " & "), "n_groups": len(subset), "coefficient": coefficient}
                | {"share": self.share(coefficient)}
            )
        return rows

    def joined(self, subset: Subset, separator: str) -> str:
        return separator.join(group for group in self.groups if group in subset)


def _dominant(differences: np.ndarray, group: str, other: str) -> str | None:
    """Name the group that is never behind and somewhere ahead."""
    for name, ahead in ((group, differences), (other, -differences)):
        if np.all(ahead >= -TIE) and np.any(ahead > TIE):
            return name
    return None


def _subsets(groups: tuple[str, ...]) -> list[Subset]:
    """List all subsets, small ones first, the empty one among them."""
    return [frozenset(s) for size in range(len(groups) + 1) for s in combinations(groups, size)]


def _by_measure(value: float | Mapping[str, float]) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {measure: float(number) for measure, number in value.items()}
    return {R_SQUARED: float(value)}
