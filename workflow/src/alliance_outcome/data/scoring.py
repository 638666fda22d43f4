"""From item values to scores: reversing, missing items, and the checks that catch a wrong key.

Three traps are guarded here. Some files hold items that are already reversed, so the study file says which
and :func:`negative_items` tells when it is wrong. Response ranges differ between translations, so values out
of range are found and never rescaled. Totals stored by somebody else are compared with recomputed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.data.instruments import TOTAL, Instrument

#: Why a form has no score on a scale.
NO_ITEM_ANSWERED = "no item answered"
TOO_MANY_MISSING = "too many items missing"
NO_MISSING_RULE = "items missing and no missing rule"
SUBSCALES_UNKNOWN = "items missing and the rule needs subscales that the key lacks"
REASONS = (NO_ITEM_ANSWERED, TOO_MANY_MISSING, NO_MISSING_RULE, SUBSCALES_UNKNOWN)

#: Below this, a difference or correlation is the rounding error of floating-point sums.
_ROUNDING_ERROR = 1e-9

type Matrix = NDArray[np.float64]
type Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredForm:
    """Scores of n forms.

    Parameters
    ----------
    total : pandas.Series
        Total score in points, length n, NaN where not scored (everywhere, if the form has no total).
    subscales : pandas.DataFrame
        Subscale scores in points, n rows, one column per subscale.
    n_imputed_items : pandas.Series
        Number of items replaced under the missing rule in the total, length n, 0 where there is no total
        score; for a form without a total, in the subscales that were scored.
    n_not_scored : pandas.DataFrame
        Number of forms without a score, one row per scale (``total`` and subscales), one column per reason.
    """

    total: pd.Series
    subscales: pd.DataFrame
    n_imputed_items: pd.Series
    n_not_scored: pd.DataFrame


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
    return _item_frame(_impossible(_item_matrix(raw, instrument.n_items), instrument), raw.index)


def key_items(raw: pd.DataFrame, instrument: Instrument, values: Literal["raw", "keyed"]) -> pd.DataFrame:
    """Turn items round where the key says so.

    Parameters
    ----------
    raw : pandas.DataFrame
        n rows, one numeric column per item in the order of the form; values out of range already set missing.
    instrument : Instrument
        The scoring key.
    values : {"raw", "keyed"}
        ``raw``: as ticked, so a reversed item x becomes lowest + highest - x. ``keyed``: the file holds
        reversed items turned round already, and nothing is changed.

    Returns
    -------
    pandas.DataFrame
        Keyed items, n rows, columns 1 to k.

    Raises
    ------
    ValueError
        If a value is out of range: reversing would turn it into another impossible value.
    """
    if values not in ("raw", "keyed"):
        raise ValueError("values must be 'raw' or 'keyed'")
    matrix = _possible_matrix(raw, instrument)
    if values == "raw":
        columns = np.asarray(instrument.reversed, dtype=int) - 1
        matrix[:, columns] = sum(instrument.item_range) - matrix[:, columns]
    return _item_frame(matrix, raw.index)


def score_items(keyed: pd.DataFrame, instrument: Instrument) -> ScoredForm:
    """Score forms under the missing rule of their key.

    Parameters
    ----------
    keyed : pandas.DataFrame
        Keyed items (see :func:`key_items`), n rows and k columns.
    instrument : Instrument
        The scoring key.

    Returns
    -------
    ScoredForm
        Scores, imputed items, and the forms without a score by reason.

    Raises
    ------
    ValueError
        If a value is out of range.

    Notes
    -----
    A scale with up to its limit of missing items is scored with the person's mean of the answered items of
    that scale in their place (``within: scale``; total and subscales each from their own items), or with the
    mean of the answered items of each item's subscale (``within: subscale``). Where that mean is rounded,
    halves go up.
    """
    matrix = _possible_matrix(keyed, instrument)
    completed = {scale: _complete(matrix, instrument, scale) for scale in instrument.scales}
    scores, imputed, not_scored = {}, {}, {}
    for scale, items in completed.items():
        n_missing = np.isnan(_block(matrix, instrument, scale)).sum(axis=1)
        points = items.sum(axis=1) * instrument.score.multiplier
        scores[scale] = points / items.shape[1] if instrument.score.method == "mean" else points
        imputed[scale] = np.where(np.isnan(points), 0, n_missing)
        not_scored[scale] = _count_reasons(np.isnan(points), n_missing == items.shape[1], instrument)
    n_imputed = imputed[TOTAL] if instrument.has_total else sum(imputed.values())
    return ScoredForm(
        total=pd.Series(scores.pop(TOTAL, np.nan), index=keyed.index, name=TOTAL, dtype=float),
        subscales=pd.DataFrame(scores, index=keyed.index, columns=list(instrument.subscales), dtype=float),
        n_imputed_items=pd.Series(n_imputed, index=keyed.index, name="n_imputed_items", dtype=np.int64),
        n_not_scored=pd.DataFrame.from_dict(not_scored, orient="index", columns=list(REASONS)),
    )


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
    correlations, _ = _item_rest(_item_matrix(keyed, keyed.shape[1]))
    return pd.Series(correlations, index=_item_numbers(keyed.shape[1]), name="item_rest_correlation")


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
    correlations, n_rows = _item_rest(_item_matrix(keyed, keyed.shape[1]))
    judged = (n_rows >= min_rows) & ~np.isnan(correlations)
    negative = judged & (np.nan_to_num(correlations) < -_ROUNDING_ERROR)
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
    differs = np.abs(stored - recomputed) > tolerance + _ROUNDING_ERROR
    return TotalDisagreement(
        rows=tuple(np.flatnonzero(differs).tolist()),
        rows_not_recomputed=tuple(np.flatnonzero(~np.isnan(stored) & np.isnan(recomputed)).tolist()),
        n_compared=int((~np.isnan(stored) & ~np.isnan(recomputed)).sum()),
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _item_numbers(n_items: int) -> pd.RangeIndex:
    return pd.RangeIndex(1, n_items + 1, name="item")


def _item_frame(matrix: Matrix | Mask, index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(matrix, index=index, columns=_item_numbers(matrix.shape[1]))


def _item_matrix(items: pd.DataFrame, n_items: int) -> Matrix:
    """Copy items into an n by k array of floats; messages name items and never quote a value."""
    if items.shape[1] != n_items:
        raise ValueError(f"{items.shape[1]} item columns for a form of {n_items} items")
    if pd.api.types.is_integer_dtype(items.columns) and list(items.columns) != list(range(1, n_items + 1)):
        raise ValueError("columns that are item numbers must run from 1 in the order of the form")
    for number, (_, column) in enumerate(items.items(), start=1):
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not numeric and column.notna().any():
            raise TypeError(f"item {number} is not numeric")
    columns = [
        pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan) for _, column in items.items()
    ]
    return np.column_stack(columns)


def _impossible(matrix: Matrix, instrument: Instrument) -> Mask:
    low, high = instrument.item_range
    outside = (matrix < low) | (matrix > high)
    return (
        outside
        if instrument.decimals_allowed
        else outside | (np.isfinite(matrix) & (matrix != np.rint(matrix)))
    )


def _possible_matrix(items: pd.DataFrame, instrument: Instrument) -> Matrix:
    matrix = _item_matrix(items, instrument.n_items)
    count = int(_impossible(matrix, instrument).sum())
    if count:
        raise ValueError(f"{count} values out of range: report them and set them to missing before scoring")
    return matrix


def _block(matrix: Matrix, instrument: Instrument, scale: str) -> Matrix:
    return matrix[:, np.asarray(instrument.items_of(scale)) - 1]


def _complete(matrix: Matrix, instrument: Instrument, scale: str) -> Matrix:
    """Items of a scale with gaps filled; a form beyond the limit keeps its gaps, so that its sum is NaN."""
    rule = instrument.missing
    items = _block(matrix, instrument, scale)
    if scale != TOTAL or rule.within == "scale":
        return _replace_missing(items, _limit(instrument, scale), rule.method == "person_mean_rounded")
    completed = matrix.copy()
    for subscale in instrument.subscales:
        completed[:, np.asarray(instrument.items_of(subscale)) - 1] = _complete(matrix, instrument, subscale)
    beyond = np.isnan(items).sum(axis=1) > _limit(instrument, TOTAL)
    completed[beyond] = items[beyond]
    return completed


def _replace_missing(items: Matrix, limit: int, rounded: bool) -> Matrix:
    missing = np.isnan(items)
    n_missing = missing.sum(axis=1)
    n_answered = items.shape[1] - n_missing
    means = np.nansum(items, axis=1) / np.maximum(n_answered, 1)
    if rounded:
        means = np.floor(means + 0.5)
    allowed = (n_missing <= limit) & (n_answered > 0)
    return np.where(missing & allowed[:, None], means[:, None], items)


def _limit(instrument: Instrument, scale: str) -> int:
    """Most missing items with which a scale is scored; see MissingRule for the order of precedence."""
    rule, n_items = instrument.missing, len(instrument.items_of(scale))
    if rule.method == "none":
        return 0
    if scale in rule.per_subscale:
        return rule.per_subscale[scale]
    if rule.max_missing_share is not None:
        return int(rule.max_missing_share * n_items + _ROUNDING_ERROR)
    if scale == TOTAL:
        return n_items - 1 if rule.max_missing_items is None else rule.max_missing_items
    return 0 if rule.per_subscale or rule.max_missing_items is not None else n_items - 1


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
    return np.where(np.abs(centred).max(axis=0, initial=0.0) > _ROUNDING_ERROR * scale, centred, 0.0)


def _count_reasons(not_scored: Mask, unanswered: Mask, instrument: Instrument) -> list[int]:
    """Count forms without a score in the order of REASONS; one that nobody filled in counts as that only."""
    rule = instrument.missing
    reason = TOO_MANY_MISSING
    if rule.method == "none":
        reason = NO_MISSING_RULE
    elif rule.within == "subscale" and not instrument.subscales:
        reason = SUBSCALES_UNKNOWN
    counts = {NO_ITEM_ANSWERED: int(unanswered.sum()), reason: int((not_scored & ~unanswered).sum())}
    return [counts.get(each, 0) for each in REASONS]
