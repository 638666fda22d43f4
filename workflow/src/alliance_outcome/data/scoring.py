"""From item values to scores: turning reversed items round, and filling gaps under the missing rule of the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from alliance_outcome.data.instruments import TOTAL, Instrument
from alliance_outcome.data.item_checks import out_of_range
from alliance_outcome.data.item_matrix import ROUNDING_ERROR, Mask, Matrix, item_frame, item_matrix

#: Why a form has no score on a scale.
NO_ITEM_ANSWERED = "no item answered"
TOO_MANY_MISSING = "too many items missing"
NO_MISSING_RULE = "items missing and no missing rule"
SUBSCALES_UNKNOWN = "items missing and the rule needs subscales that the key lacks"
REASONS = (NO_ITEM_ANSWERED, TOO_MANY_MISSING, NO_MISSING_RULE, SUBSCALES_UNKNOWN)


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
    return item_frame(matrix, raw.index)


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


def _possible_matrix(items: pd.DataFrame, instrument: Instrument) -> Matrix:
    count = int(out_of_range(items, instrument).to_numpy().sum())
    if count:
        raise ValueError(f"{count} values out of range: report them and set them to missing before scoring")
    return item_matrix(items, instrument.n_items)


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
        return int(rule.max_missing_share * n_items + ROUNDING_ERROR)
    if scale == TOTAL:
        return n_items - 1 if rule.max_missing_items is None else rule.max_missing_items
    return 0 if rule.per_subscale or rule.max_missing_items is not None else n_items - 1


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
