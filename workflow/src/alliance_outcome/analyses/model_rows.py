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
        none. They are in the order of :func:`order_by_content`.
    """
    measures = [f"alliance_{rater}" for rater in all_raters]
    needed = [outcome, "severity_first", *measures, *trend, *covariates]
    needed += [name for name in ("severity_before", "outcome_before") if name in specification.terms((), ())]
    complete = rows.dropna(subset=needed)
    if complete.empty:
        return complete
    ordered = order_by_content(complete, [*needed, *(["slot"] if "slot" in complete else [])])
    return split_levels(ordered, measures).assign(Intercept=1.0)


def order_by_content(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Put rows, their clients and their therapists into an order that depends on neither labels nor the file.

    Sums then round alike, and the draws of a bootstrap, which belong to clusters in their order of appearance, fall on
    the same clusters.

    Parameters
    ----------
    rows : DataFrame
        With ``client`` and ``therapist`` (all missing if the study has no therapist ids).
    columns : sequence of str
        Columns that rows are compared by; what is missing comes last.

    Returns
    -------
    DataFrame
        Therapists one after the other, within them clients, within them rows, each sorted by their contents: clients by
        their rows, therapists by their clients. Units that still tie have equal contents throughout.
    """
    content = rows.groupby(list(columns), sort=True, dropna=False).ngroup()
    table = pd.DataFrame({"content": content, "client": rows["client"], "therapist": rows["therapist"]})
    clients = table.groupby("client")["content"].agg(lambda own: tuple(sorted(own)))
    of_client = table.drop_duplicates("client").set_index("client")["therapist"].fillna("")
    rank = _ranks(clients)
    therapists = rank.groupby(of_client.reindex(rank.index)).agg(lambda own: tuple(sorted(own)))
    order = pd.DataFrame(
        {
            "therapist": rows["therapist"].fillna("").map(_ranks(therapists)),
            "therapist_code": _first_appearance(rows["therapist"]),
            "client": rows["client"].map(rank),
            "client_code": _first_appearance(rows["client"]),
            "content": content,
        }
    )
    return rows.loc[order.sort_values(list(order.columns), kind="stable").index].reset_index(drop=True)


def _ranks(contents: pd.Series) -> pd.Series:
    """Number the different contents of units in sorted order; equal contents have one number."""
    numbers = {content: number for number, content in enumerate(sorted(set(contents)))}
    return contents.map(numbers)


def _first_appearance(labels: pd.Series) -> pd.Series:
    """Keep units with equal contents apart."""
    return pd.Series(pd.factorize(labels)[0], index=labels.index)
