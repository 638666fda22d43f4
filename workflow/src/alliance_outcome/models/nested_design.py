"""From labelled columns to the arrays that the likelihood of a nested model works on.

Decides which levels have random effects, refuses what cannot be fitted, puts rows in canonical order and
scales them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.models.clusters import CanonicalOrder, Grouping, canonical_order, group, require_nested
from alliance_outcome.models.degrees_of_freedom import varying_level
from alliance_outcome.models.design_checks import (
    INTERCEPT,
    UnfittableModel,
    checked_columns,
    checked_outcome,
    require_full_rank,
    require_residual_variation,
)
from alliance_outcome.models.gls import GramDesign
from alliance_outcome.models.random_structure import RandomStructure
from alliance_outcome.models.scaling import Scaling


@dataclass(frozen=True)
class ScaledRows:
    """The rows of a design, scaled and in canonical order.

    Parameters
    ----------
    outcome : ndarray, shape (n_rows,)
        The outcome.
    columns : ndarray, shape (n_rows, p)
        Fixed-effect columns.
    random : ndarray, shape (n_rows, q)
        Columns with random effects at the unit level, the intercept first.
    order : CanonicalOrder
        Where units and clusters start.
    """

    outcome: NDArray[np.float64]
    columns: NDArray[np.float64]
    random: NDArray[np.float64]
    order: CanonicalOrder


@dataclass(frozen=True)
class Levels:
    """Labels of a study's levels, and which of them have random effects.

    Parameters
    ----------
    client, therapist : Grouping or None
        As labelled by the user.
    n_rows : int
        Number of rows.
    slopes : tuple of str
        Columns with random slopes.
    """

    client: Grouping | None
    therapist: Grouping | None
    n_rows: int
    slopes: tuple[str, ...]

    @property
    def repeated(self) -> bool:
        """Whether some client has several rows."""
        return self.client is not None and len(self.client) < self.n_rows

    @property
    def structure(self) -> RandomStructure:
        """Random effects that these levels call for."""
        therapist = None if self.therapist is None else "therapist"
        if self.repeated:
            return RandomStructure("client", therapist, self.slopes)
        return RandomStructure(therapist, None, self.slopes)

    @property
    def unit(self) -> Grouping | None:
        """The innermost level with random effects."""
        return self.client if self.repeated else self.therapist

    @property
    def cluster(self) -> Grouping | None:
        """The level above `unit` with random effects."""
        return self.therapist if self.repeated else None

    @property
    def innermost(self) -> str:
        """Name of the level of the rows."""
        return "session" if self.repeated else "client"

    @property
    def groupings(self) -> list[tuple[str, Grouping]]:
        """Levels with random effects, outermost first."""
        named = [("therapist", self.therapist), ("client", self.client if self.repeated else None)]
        return [(name, grouping) for name, grouping in named if grouping is not None]

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Levels and their numbers of units, outermost first, the rows last."""
        return (*((name, len(grouping)) for name, grouping in self.groupings), (self.innermost, self.n_rows))


@dataclass(frozen=True)
class NestedDesign:
    """A design that is ready to be estimated.

    Parameters
    ----------
    terms : tuple of str
        Names of the fixed-effect columns.
    levels : Levels
        Labels and random structure.
    term_levels : dict of term to level
        Level at which each term varies.
    scaling : Scaling
        How to return to raw units.
    effect_map : ndarray, shape (q, q)
        T such that the unit's effects on the raw columns are ``T @ scaled``, the outcome's scale apart.
    rows : ScaledRows
        The scaled rows.
    gram : GramDesign
        Their cross-products.
    cluster_level : str or None
        Level of the top-level clusters; None if each unlabelled row is one.
    cluster_labels : tuple
        Labels of the top-level clusters in canonical order.
    """

    terms: tuple[str, ...]
    levels: Levels
    term_levels: dict[str, str]
    scaling: Scaling
    effect_map: NDArray[np.float64]
    rows: ScaledRows
    gram: GramDesign
    cluster_level: str | None
    cluster_labels: tuple


def nested_design(
    outcome: ArrayLike | pd.Series,
    fixed: pd.DataFrame,
    client: ArrayLike | pd.Series | None,
    therapist: ArrayLike | pd.Series | None,
    slopes: Sequence[str],
) -> NestedDesign:
    """Check a design, sort its rows and scale it.

    Parameters
    ----------
    outcome, fixed, client, therapist, slopes
        See :func:`alliance_outcome.models.multilevel.fit_multilevel`.

    Returns
    -------
    NestedDesign

    Raises
    ------
    UnfittableModel
        If the design cannot be fitted; `RankDeficientDesign` if columns are collinear.
    """
    values = checked_outcome(outcome, fixed)
    columns = checked_columns(fixed, slopes)
    terms = tuple(fixed.columns)
    levels = Levels(
        group(client, fixed.index, "client"),
        group(therapist, fixed.index, "therapist"),
        len(fixed),
        tuple(slopes),
    )
    _require_units(levels, len(terms))
    require_full_rank(columns, terms)
    random = columns[:, [terms.index(term) for term in levels.structure.terms]]
    require_residual_variation(values, columns, random, levels.unit.codes if levels.unit else None)

    cluster_level, clusters = _top_level(levels, fixed.index)
    order = canonical_order(
        np.column_stack([values, columns]),
        levels.unit.codes if levels.unit else clusters.codes,
        levels.cluster.codes if levels.cluster else None,
    )
    values, columns = values[order.rows], columns[order.rows]
    scaling = Scaling.of(values, columns, terms.index(INTERCEPT))
    random, effect_map = _random_columns(levels.structure, columns, terms)
    rows = ScaledRows(scaling.outcome(values), scaling.columns(columns), random, order)
    return NestedDesign(
        terms=terms,
        levels=levels,
        term_levels=_term_levels(levels, fixed),
        scaling=scaling,
        effect_map=effect_map,
        rows=rows,
        gram=GramDesign.of(rows.random, rows.columns, rows.outcome, order, scaling.intercept),
        cluster_level=cluster_level,
        cluster_labels=tuple(clusters.labels[order.cluster_codes]),
    )


def _top_level(levels: Levels, index: pd.Index) -> tuple[str | None, Grouping]:
    """Top-level clusters; without random effects every client, or every unlabelled row, is one."""
    if levels.groupings:
        return levels.groupings[0]
    if levels.client is not None:
        return "client", levels.client
    return None, Grouping(np.arange(len(index)), index.to_numpy(dtype=object))


def _term_levels(levels: Levels, fixed: pd.DataFrame) -> dict[str, str]:
    codes = [(name, grouping.codes) for name, grouping in levels.groupings]
    return {
        term: varying_level(fixed[term].to_numpy(dtype=float), codes, levels.innermost)
        for term in fixed.columns
    }


def _require_units(levels: Levels, n_terms: int) -> None:
    """Refuse designs with too few units to tell the variances apart.

    Like lme4, demands more rows than a level has random effects.
    """
    if levels.n_rows <= n_terms:
        raise UnfittableModel(
            f"{levels.n_rows} rows cannot determine {n_terms} fixed effects and a residual variance"
        )
    if levels.client is not None and levels.therapist is not None:
        require_nested(levels.client, levels.therapist)
    if levels.slopes and not levels.repeated:
        raise UnfittableModel("random slopes need clients with several rows")
    for name, grouping in levels.groupings:
        if len(grouping) < 2:
            raise UnfittableModel(f"there is only one {name}; leave that level out")
    for (above, grouping), (below, count) in zip(levels.groupings, levels.counts[1:], strict=True):
        if len(grouping) >= count:
            raise UnfittableModel(
                f"every {above} has a single {below}, so that the two levels cannot be told apart"
            )
    structure = levels.structure
    if structure.correlated and structure.slopes and len(structure.terms) * len(levels.unit) >= levels.n_rows:
        raise UnfittableModel(
            f"{levels.n_rows} rows cannot determine {len(structure.terms)} random effects for each of "
            f"{len(levels.unit)} clients; leave out random slopes"
        )


def _random_columns(
    structure: RandomStructure, columns: NDArray[np.float64], terms: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns with random effects, scaled, and the map that takes their effects back.

    A full covariance matrix absorbs centring. Uncorrelated effects do not, so their columns are only scaled.
    """
    raw = columns[:, [list(terms).index(term) for term in structure.terms]]
    means = raw.mean(axis=0) if structure.correlated else np.zeros(raw.shape[1])
    if raw.shape[1] == 0:
        return raw, np.empty((0, 0))
    means[0] = 0.0
    sizes = np.sqrt(np.mean((raw - means) ** 2, axis=0))
    effect_map = np.diag(1.0 / sizes)
    effect_map[0] -= means / sizes
    return (raw - means) / sizes, effect_map
