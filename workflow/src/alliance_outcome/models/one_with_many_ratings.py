"""Scores of the same sessions by two raters, checked and summed for the one-with-many split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.models.clusters import Grouping, group, require_nested
from alliance_outcome.models.design_checks import (
    CONSTANT_TOLERANCE,
    EXACT_FIT_TOLERANCE,
    UnfittableModel,
    as_numbers,
)
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.multivariate_cells import sorted_cells
from alliance_outcome.models.multivariate_kernels import Cells

#: Names of the levels, innermost first.
SESSION, CLIENT, THERAPIST = "session", "client", "therapist"


@dataclass(frozen=True, eq=False)
class Ratings:
    """Scores of two raters that passed their checks.

    Parameters
    ----------
    cells : Cells
        What the likelihood needs, of scores in standard deviations around their means.
    raters : tuple of str
        The two.
    levels : tuple of str
        ``session`` and ``client``, with or without ``therapist``.
    centre, scale : ndarray, shape (2,)
        Mean and standard deviation of each rater's scores.
    counts : ndarray of int, shape (2,)
        Number of scores of each rater.
    n_units : dict
        Rows, clients and therapists by level.
    """

    cells: Cells
    raters: tuple[str, str]
    levels: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    counts: np.ndarray
    n_units: dict[str, int]

    @classmethod
    def of(
        cls, scores: pd.DataFrame, clients: pd.Series | np.ndarray, therapists: pd.Series | np.ndarray | None
    ) -> Ratings:
        """Check and sum scores.

        Parameters
        ----------
        scores : DataFrame, shape (n_rows, 2)
            One column for each rater, NaN where missing; rows without any score are left out.
        clients, therapists : array_like of labels, shape (n_rows,)
            Without therapists the model has two levels.

        Returns
        -------
        Ratings

        Raises
        ------
        UnfittableModel
            If a rater's scores do not vary, the raters never rated the same session, no client was rated more than
            once, no therapist has several clients, or clients are not nested in therapists.
        """
        if scores.shape[1] != 2:
            raise UnfittableModel("the one-with-many design is of two raters")
        values = as_numbers(scores.astype(object).where(scores.notna(), np.nan), "a rater's column")
        known = ~np.isnan(values).all(axis=1)
        values = values[known]
        if not len(values) or np.isinf(values).any():
            raise UnfittableModel("there are no scores, or some are infinite")
        groups = _groups(known, clients, therapists)
        _require_variation(values, groups[0].codes)
        centre, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        client, outer = groups[0].codes, groups[-1].codes
        cells = sorted_cells(np.ones((len(values), 1)), (values - centre) / scale, client, outer).cells
        names = (SESSION, *(grouping.level for grouping in groups))
        sizes = {SESSION: len(values)} | {grouping.level: len(grouping) for grouping in groups}
        counts = (~np.isnan(values)).sum(axis=0)
        first, second = map(str, scores.columns)
        return cls(cells, (first, second), names, centre, scale, counts, sizes)


def _groups(known: np.ndarray, clients: Any, therapists: Any) -> list[Grouping]:
    """Code clients and therapists; refuse levels that cannot be told from the one below."""
    n_rows = int(known.sum())
    groups = [group(pd.Series(np.asarray(clients)[known]), n_rows, CLIENT)]
    if therapists is not None:
        groups.append(group(pd.Series(np.asarray(therapists)[known]), n_rows, THERAPIST))
        require_nested(*groups)
    below = n_rows
    for grouping in groups:
        if len(grouping) < 2:
            raise UnfittableModel(f"there is only one {grouping.level}")
        if len(grouping) == below:
            what = "rated more than once" if grouping.level == CLIENT else "seen by a therapist of others"
            raise UnfittableModel(f"no client was {what}, so that levels cannot be told apart")
        below = len(grouping)
    return groups


def _require_variation(values: FloatArray, clients: np.ndarray) -> None:
    """Refuse raters whose scores do not vary within clients, or are those of the other rater."""
    for own in values.T:
        seen = ~np.isnan(own)
        if seen.sum() < 2 or np.std(own[seen]) <= CONSTANT_TOLERANCE * np.abs(own[seen]).max():
            raise UnfittableModel("the scores of a rater are missing, or do not vary")
        if _within(own[seen], clients[seen]) <= EXACT_FIT_TOLERANCE * np.var(own[seen]) * seen.sum():
            raise UnfittableModel("the scores of a rater do not vary between the sessions of a client")
    both = ~np.isnan(values).any(axis=1)
    if both.sum() < 2:
        raise UnfittableModel("the raters never rated the same session")
    standard = (values[both] - values[both].mean(axis=0)) / np.nanstd(values, axis=0)
    for sign in (1.0, -1.0):
        if _within(standard @ [1.0, sign], clients[both]) <= EXACT_FIT_TOLERANCE * both.sum():
            raise UnfittableModel("the raters' scores of a client's sessions are the same")


def _within(values: FloatArray, clients: np.ndarray) -> float:
    """Sum squares around the means of clients."""
    codes = np.unique(clients, return_inverse=True)[1]
    means = np.bincount(codes, weights=values) / np.bincount(codes)
    return float(np.sum((values - means[codes]) ** 2))
