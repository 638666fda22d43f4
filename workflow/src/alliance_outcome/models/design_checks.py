"""What a multilevel design must satisfy before anything is estimated, and the errors that say what is wrong.

Messages name columns and counts, never a label or a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.errors import AllianceOutcomeError

#: Name that the column of ones must have.
INTERCEPT = "Intercept"

#: Columns are collinear when, centred and scaled to unit length, a combination of them is shorter than this.
#: The value is the rank tolerance of R's ``lm`` and lme4's ``lmer``, so that both refuse the same designs.
RANK_TOLERANCE = 1e-7

#: Smallest eigenvalue of the correlation matrix of columns at which there is no question of collinearity; rounding of
#: cross-products moves it by about 1e-14.
CLEARLY_INDEPENDENT = 1e-6

#: A column takes part in a linear relation if its weight in the relation's unit vector is above this;
#: rounding leaves about 1e-10 on the others.
RELATION_TOLERANCE = 1e-6

#: A column whose standard deviation is below this fraction of its largest value is constant but for rounding.
CONSTANT_TOLERANCE = 1e-12

#: Residual sum of squares, as a fraction of the total, below which the outcome is reproduced exactly.
EXACT_FIT_TOLERANCE = 1e-12


class Refusal(AllianceOutcomeError, ValueError):
    """What was asked for cannot be had; the subclasses say what that is.

    Parameters
    ----------
    reason : str
        What stands in the way and what to do, without any value or label of a participant.
    """

    #: First words of the message.
    refused: ClassVar[str]

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{self.refused}: {reason}")


class UnfittableModel(Refusal):
    """The data cannot support the model that was asked for."""

    refused = "the multilevel model cannot be fitted"


class UnavailableInference(Refusal):
    """A fit does not admit the standard errors, tests or replicates that were asked for."""

    refused = "this inference is not available"


class RankDeficientDesign(UnfittableModel):
    """Some fixed-effect columns are linear combinations of others.

    Parameters
    ----------
    columns : sequence of str
        Every column that takes part in an exact linear relation.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        super().__init__(
            f"the columns {', '.join(self.columns)} are collinear; leave out at least one of them "
            "(a column that never varies is collinear with the intercept)"
        )


def as_numbers(values: ArrayLike | pd.Series | pd.DataFrame, what: str) -> NDArray[np.float64]:
    """Return values as floats; what cannot be turned into one is not quoted.

    Raises
    ------
    UnfittableModel
        If there is something other than a number among them.
    """
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise UnfittableModel(f"{what} is not numeric") from None


def checked_columns(columns: pd.DataFrame, what: str = "fixed-effect") -> NDArray[np.float64]:
    """Return columns as floats, once names, completeness and the intercept are in order.

    Parameters
    ----------
    columns : DataFrame, shape (n_rows, n_terms)
        Columns of a design; one called ``Intercept`` must hold ones.
    what : str
        What they are, for messages.

    Returns
    -------
    ndarray, shape (n_rows, n_terms)

    Raises
    ------
    UnfittableModel
        If a name is repeated or values are missing or infinite.
    """
    if not columns.columns.is_unique:
        raise UnfittableModel(f"two {what} columns have the same name")
    values = as_numbers(columns, f"a {what} column")
    if not np.all(np.isfinite(values)):
        for position, name in enumerate(columns.columns):
            require_complete(values[:, position], f"column {name}")
    if INTERCEPT in columns.columns and not np.all(values[:, columns.columns.get_loc(INTERCEPT)] == 1.0):
        raise UnfittableModel(f"column {INTERCEPT} must hold ones")
    return values


def require_complete(values: NDArray[np.float64], what: str) -> None:
    """Refuse values, shape (n_rows,), some of which are missing or infinite; ``what`` names them in the message.

    Raises
    ------
    UnfittableModel
    """
    missing = int(np.sum(~np.isfinite(values)))
    if missing:
        raise UnfittableModel(
            f"{what} has {missing} missing or infinite values; drop those rows and count them"
        )


def require_full_rank(columns: NDArray[np.float64], names: Sequence[str]) -> None:
    """Refuse a design in which a column is a linear combination of others.

    Parameters
    ----------
    columns : ndarray, shape (n_rows, n_terms)
        Fixed-effect columns.
    names : sequence of str
        Their names.

    Raises
    ------
    RankDeficientDesign
        With the names of all columns that take part in a linear relation.

    Notes
    -----
    Beside an intercept, columns are centred; then all are given unit length, so that a large offset (a calendar year)
    is not taken for collinearity with the intercept.
    """
    centred = columns - columns.mean(axis=0) if INTERCEPT in names else columns
    spread = np.sqrt(np.mean(centred**2, axis=0))
    constant = spread <= CONSTANT_TOLERANCE * np.abs(columns).max(axis=0)
    allowed = 1 if INTERCEPT in names else 0
    unit = centred[:, ~constant] / (spread[~constant] * np.sqrt(len(columns)))
    if constant.sum() <= allowed and _clearly_independent(unit):
        return
    involved = constant if constant.sum() > allowed else np.zeros(len(constant), dtype=bool)
    if not constant.all():
        _, singular_values, directions = np.linalg.svd(np.linalg.qr(unit, mode="r"))
        lengths = np.zeros(unit.shape[1])
        lengths[: len(singular_values)] = singular_values
        relations = np.abs(directions[lengths < RANK_TOLERANCE])
        involved[~constant] = np.any(relations > RELATION_TOLERANCE, axis=0)
    if involved.any():
        raise RankDeficientDesign(
            [name for name, is_involved in zip(names, involved, strict=True) if is_involved]
        )


def _clearly_independent(unit: NDArray[np.float64]) -> bool:
    """Whether cross-products of columns of unit length, which are quick, already show full rank."""
    if len(unit) <= unit.shape[1]:
        return False
    return not unit.shape[1] or bool(np.linalg.eigvalsh(unit.T @ unit)[0] > CLEARLY_INDEPENDENT)


def require_variation(outcome: NDArray[np.float64]) -> None:
    """Refuse an outcome, shape (n_rows,), that does not vary.

    Raises
    ------
    UnfittableModel
    """
    centred = outcome - outcome.mean()
    if np.sqrt(np.mean(centred**2)) <= CONSTANT_TOLERANCE * float(np.abs(outcome).max()):
        raise UnfittableModel("the outcome does not vary")


def require_residual_variation(
    outcome: NDArray[np.float64],
    columns: NDArray[np.float64],
    random: NDArray[np.float64],
    units: NDArray[np.intp],
) -> None:
    """Refuse data in which nothing is left for the residual, where the likelihood has no maximum.

    Parameters
    ----------
    outcome : ndarray, shape (n_rows,)
        The outcome.
    columns : ndarray, shape (n_rows, n_terms)
        Fixed-effect columns, the intercept among them.
    random : ndarray, shape (n_rows, n_random)
        Columns with random effects at the unit level; may be empty.
    units : ndarray of int, shape (n_rows,)
        Code of the unit of each row.

    Raises
    ------
    UnfittableModel
        If fixed effects and the units' own coefficients reproduce the outcome although rows are left over.
    """
    total = float(np.sum((outcome - outcome.mean()) ** 2))
    left, rows_left = _without_unit_coefficients(np.column_stack([outcome, columns]), random, units)
    spread = np.sqrt(np.mean(left[:, 1:] ** 2, axis=0))
    usable = spread > CONSTANT_TOLERANCE * np.abs(columns).max(axis=0)
    predictors = left[:, 1:][:, usable] / spread[usable]
    coefficients, _, rank, _ = np.linalg.lstsq(predictors, left[:, 0], rcond=RANK_TOLERANCE)
    residual = float(np.sum((left[:, 0] - predictors @ coefficients) ** 2))
    if rows_left > rank and residual <= EXACT_FIT_TOLERANCE * total:
        raise UnfittableModel(
            "the outcome is reproduced exactly, so that no residual variance is left to estimate"
        )


def _without_unit_coefficients(
    joint: NDArray[np.float64], random: NDArray[np.float64], units: NDArray[np.intp]
) -> tuple[NDArray[np.float64], int]:
    """Return what is left of columns after a regression in each unit, and the number of independent rows left."""
    left, rows_left = np.empty_like(joint), 0
    order = np.argsort(units, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
        coefficients, _, rank, _ = np.linalg.lstsq(random[rows], joint[rows], rcond=RANK_TOLERANCE)
        left[rows] = joint[rows] - random[rows] @ coefficients
        rows_left += len(rows) - rank
    return left, rows_left
