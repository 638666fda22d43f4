"""The rows of one specification: complete for every rater, in an order of their own, split by level."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.design.levels import split_levels
from alliance_outcome.design.specification import ModelSpecification


def rows_of(
    specification: ModelSpecification,
    rows: pd.DataFrame,
    *,
    outcome: str,
    all_raters: Sequence[str],
    trend: Sequence[str],
    covariates: Sequence[str],
) -> pd.DataFrame:
    """Select and split the rows that a specification is fitted to.

    Parameters
    ----------
    specification : ModelSpecification
        The model.
    rows : DataFrame
        Rows of the analysis.
    outcome : str
        Column of the outcome.
    all_raters : sequence of str
        Raters whose ratings must be complete, whether or not they are in this model: joint and single-rater models
        stand on the same rows.
    trend, covariates : sequence of str
        Further columns.

    Returns
    -------
    DataFrame
        Rows without a missing value in any of these, with the level columns and ``Intercept``; empty if there are
        none. They are ordered by content, so that rounding depends neither on the order of the file nor on pseudonyms.
    """
    measures = [f"alliance_{rater}" for rater in all_raters]
    needed = [outcome, "severity_first", *measures, *trend, *covariates]
    needed += [name for name in ("severity_before", "outcome_before") if name in specification.terms((), ())]
    complete = rows.dropna(subset=needed).sort_values(needed, ignore_index=True)
    return split_levels(complete, measures).assign(Intercept=1.0) if len(complete) else complete
