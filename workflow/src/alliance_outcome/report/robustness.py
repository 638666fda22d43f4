"""Does a quantity read differently under other assumptions about the residuals: cluster-robust, or AR(1)?

A quantity reads by its interval alone: below zero, above zero, zero inside, or (of D, where the study file sets a
region of practical equivalence) practically equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report.formatting import lower_first
from alliance_outcome.report.labels import level_label, rater_label, term_label
from alliance_outcome.report.selection import alliance_rows, autoregressive, cluster_robust, joint_rows

#: What identifies a quantity within a study.
KEYS = ("engine", "model", "estimand", "level", "rater", "rater_b", "term")

#: What the reading of an interval is called.
READINGS = {
    "below": "lies below zero",
    "above": "lies above zero",
    "open": "includes zero",
    "equal": "lies inside the region of practical equivalence",
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One quantity, tested in the model's own way and in another.

    Parameters
    ----------
    own, other : Series
        Rows of an estimates table.
    rope : float or None
        Half-width of the region of practical equivalence, which D alone is held against.
    several_pairs : bool
        Whether D has to name its raters.
    """

    own: pd.Series
    other: pd.Series
    rope: float | None
    several_pairs: bool = False

    @property
    def comparable(self) -> bool:
        """Whether both rows are established."""
        return self.own["status"] == "ok" and self.other["status"] == "ok"

    @property
    def changes(self) -> bool:
        """Whether the two intervals read differently."""
        return self.comparable and reading(self.own, self.rope) != reading(self.other, self.rope)

    @property
    def name(self) -> str:
        """The quantity in words, with its level."""
        row = self.own
        if not is_difference(row):
            return lower_first(term_label(row["term"], row["rater"], row["rater_b"]))
        pair = f" ({rater_label(row['rater'])} against {rater_label(row['rater_b'])})"
        return f"D{pair if self.several_pairs else ''} {level_label(row['level'])}"


def reading(row: Mapping[str, Any], rope: float | None = None) -> str:
    """Read an interval, of D unless the row says otherwise.

    Parameters
    ----------
    row : mapping
        ``ci_low``, ``ci_high`` and, unless it is D, ``term``.
    rope : float or None
        Region of practical equivalence, which D alone is held against.

    Returns
    -------
    str
        A key of :data:`READINGS`.
    """
    if rope is not None and is_difference(row) and -rope < row["ci_low"] and row["ci_high"] < rope:
        return "equal"
    if row["ci_high"] < 0:
        return "below"
    return "above" if row["ci_low"] > 0 else "open"


def is_difference(row: Mapping[str, Any]) -> bool:
    """Say whether a row is D."""
    return str(row.get("term", "difference")).startswith("difference")


def robust_comparisons(
    contrast: pd.DataFrame, models: pd.DataFrame, rope: float | None = None
) -> list[Comparison]:
    """Pair the contrasts and alliance coefficients of the joint models with their cluster-robust rows.

    Parameters
    ----------
    contrast, models : DataFrame
        ``contrast.csv``, and the coefficients of all models.
    rope : float or None
        Region of practical equivalence.

    Returns
    -------
    list of Comparison
        Per model its contrasts first, then its coefficients; nothing where no model has cluster-robust rows.
    """
    differences = joint_rows(contrast[contrast["term"] == "difference"])
    coefficients = joint_rows(models)
    found = [
        *_pairs(differences, differences[~is_repetition(differences)], cluster_robust, rope),
        *_pairs(coefficients, alliance_rows(coefficients), cluster_robust, rope),
    ]
    order = list(dict.fromkeys(each.own["model"] for each in found))
    return sorted(found, key=lambda each: order.index(each.own["model"]))


def autoregressive_comparisons(contrast: pd.DataFrame, rope: float | None = None) -> list[Comparison]:
    """Pair the contrasts D of the joint models with those of the same models with AR(1) residuals."""
    differences = joint_rows(contrast[contrast["term"] == "difference"])
    return _pairs(differences, differences[~is_repetition(differences)], autoregressive, rope)


def _pairs(
    frame: pd.DataFrame,
    own: pd.DataFrame,
    is_other: Callable[[pd.DataFrame], pd.Series],
    rope: float | None,
) -> list[Comparison]:
    """Pair rows with the repetitions of them that a frame holds."""
    others = {_key(row): row for _, row in frame[is_other(frame)].iterrows()}
    several = len(own[["rater", "rater_b"]].dropna().drop_duplicates()) > 1
    return [
        Comparison(row, others[_key(row)], rope, several) for _, row in own.iterrows() if _key(row) in others
    ]


def _key(row: pd.Series) -> tuple[str, ...]:
    return tuple("" if pd.isna(row[column]) else str(row[column]) for column in KEYS)
