"""Checks of item values that catch a wrong key, a wrong file, or totals that somebody else got wrong.

Three traps are guarded here. Some files hold items that are already reversed, so the study file says which
and :func:`negative_items` tells when it is wrong. Response ranges differ between translations, so values out
of range are found and never rescaled. Totals stored by somebody else are compared with recomputed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.data.instruments import Instrument
from alliance_outcome.data.item_matrix import (
    ROUNDING_ERROR,
    Mask,
    Matrix,
    item_frame,
    item_matrix,
    item_numbers,
)


@dataclass(frozen=True)
class DirectionCheck:
    """Outcome of the check for items that run against the rest of their form.

    Parameters
    ----------
    negative : tuple of int
        Numbers of the items whose correlation with the rest is negative.
    not_judged : tuple of int
        Numbers of the items with too few rows, or without any variation.
    min_rows : int
        Fewest rows on which an item is judged.
    """

    negative: tuple[int, ...]
    not_judged: tuple[int, ...]
    min_rows: int

    @property
    def text(self) -> str:
        """The outcome in a sentence."""
        said = [
            f"Against the rest of the form run items: {_listed(self.negative)}."
            if self.negative
            else "No item runs against the rest of the form."
        ]
        if self.not_judged:
            said.append(
                f"Fewer than {self.min_rows} rows or no variation, so not judged: {_listed(self.not_judged)}."
            )
        return " ".join(said)


@dataclass(frozen=True)
class TotalDisagreement:
    """How stored totals compare with totals recomputed from items.

    Parameters
    ----------
    rows : tuple of int
        Positions (from 0) of the rows where both exist and differ by more than the tolerance.
    rows_not_recomputed : tuple of int
        Positions of the rows with a stored total only: too many items are missing for a score.
    n_compared : int
        Number of rows where both exist.
    """

    rows: tuple[int, ...]
    rows_not_recomputed: tuple[int, ...]
    n_compared: int

    @property
    def count(self) -> int:
        """Number of rows that differ."""
        return len(self.rows)


def out_of_range(raw: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """Find values that the form cannot have produced.

    Parameters
    ----------
    raw : pandas.DataFrame
        n rows, one numeric column per item in the order of the form.
    instrument : Instrument
        The scoring key.

    Returns
    -------
    pandas.DataFrame
        True for values outside the item range and, unless the key allows decimals, for values that are not
        whole. A missing value is not out of range. n rows, columns 1 to k.
    """
    matrix = item_matrix(raw, instrument.n_items)
    low, high = instrument.item_range
    impossible = (matrix < low) | (matrix > high)
    if not instrument.decimals_allowed:
        impossible |= np.isfinite(matrix) & (matrix != np.rint(matrix))
    return item_frame(impossible, raw.index)


def item_rest_correlations(keyed: pd.DataFrame) -> pd.Series:
    """Correlate every item with the rest of its form.

    Parameters
    ----------
    keyed : pandas.DataFrame
        Keyed items, n rows and k columns.

    Returns
    -------
    pandas.Series
        Corrected item-total correlation by item number, NaN where item or rest do not vary.

    Notes
    -----
    The rest is the mean of the other items answered in that row; each item uses the rows where it and at
    least one other are answered. In complete data this is the usual correlation with the total less the item.
    """
    correlations, _ = _item_rest(item_matrix(keyed, keyed.shape[1]))
    return pd.Series(correlations, index=item_numbers(keyed.shape[1]), name="item_rest_correlation")


def negative_items(keyed: pd.DataFrame, min_rows: int) -> DirectionCheck:
    """Find items that run against the rest, the mark of a wrong ``values: raw | keyed`` or a wrong key.

    Parameters
    ----------
    keyed : pandas.DataFrame
        Keyed items, n rows and k columns.
    min_rows : int
        Fewest rows on which an item is judged; with fewer, a negative correlation is easily chance.

    Returns
    -------
    DirectionCheck
        Items with a negative item-rest correlation, and items that could not be judged.
    """
    correlations, n_rows = _item_rest(item_matrix(keyed, keyed.shape[1]))
    judged = (n_rows >= min_rows) & ~np.isnan(correlations)
    negative = judged & (np.nan_to_num(correlations) < -ROUNDING_ERROR)
    return DirectionCheck(
        negative=tuple((np.flatnonzero(negative) + 1).tolist()),
        not_judged=tuple((np.flatnonzero(~judged) + 1).tolist()),
        min_rows=min_rows,
    )


def rescore_disagreements(
    total_stored: pd.Series, total_recomputed: pd.Series, tolerance: float
) -> TotalDisagreement:
    """Compare totals stored in a file with totals recomputed from its items.

    Parameters
    ----------
    total_stored, total_recomputed : pandas.Series
        Scores in points on the same index, length n; missing where there is none.
    tolerance : float
        Largest difference in points that still counts as equal (stored totals may be rounded).

    Returns
    -------
    TotalDisagreement
        Positions of the rows that differ, and of those that only the file has a total for.

    Raises
    ------
    ValueError
        If the two are not on the same index.
    """
    if not total_stored.index.equals(total_recomputed.index):
        raise ValueError("the stored and the recomputed totals are not on the same rows")
    stored, recomputed = (
        series.to_numpy(dtype=np.float64, na_value=np.nan) for series in (total_stored, total_recomputed)
    )
    differs = np.abs(stored - recomputed) > tolerance + ROUNDING_ERROR
    return TotalDisagreement(
        rows=tuple(np.flatnonzero(differs).tolist()),
        rows_not_recomputed=tuple(np.flatnonzero(~np.isnan(stored) & np.isnan(recomputed)).tolist()),
        n_compared=int((~np.isnan(stored) & ~np.isnan(recomputed)).sum()),
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _item_rest(matrix: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Correlate each item with the mean of the others answered; also return how many rows that used."""
    answered = ~np.isnan(matrix)
    items = np.where(answered, matrix, 0.0)
    n_others = answered.sum(axis=1, keepdims=True) - answered
    rest = (items.sum(axis=1, keepdims=True) - items) / np.maximum(n_others, 1)
    pairs = answered & (n_others > 0)
    centred_items, centred_rest = _centred(items, pairs), _centred(rest, pairs)
    norms = np.sqrt((centred_items**2).sum(axis=0) * (centred_rest**2).sum(axis=0))
    correlations = np.full(matrix.shape[1], np.nan)
    np.divide((centred_items * centred_rest).sum(axis=0), norms, out=correlations, where=norms > 0)
    return correlations, pairs.sum(axis=0)


def _centred(values: Matrix, used: Mask) -> Matrix:
    """Centre columns on the mean of their used rows, 0 elsewhere; a column without variation is exactly 0."""
    means = np.where(used, values, 0.0).sum(axis=0) / np.maximum(used.sum(axis=0), 1)
    centred = np.where(used, values - means, 0.0)
    scale = np.abs(np.where(used, values, 0.0)).max(axis=0, initial=0.0)
    return np.where(np.abs(centred).max(axis=0, initial=0.0) > ROUNDING_ERROR * scale, centred, 0.0)
