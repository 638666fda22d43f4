"""Checks as badges, residuals of the model behind the answer, and whether the Bayesian model reproduces the data."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from alliance_outcome.report.badges import badge_groups
from alliance_outcome.report.blocks import Block, FigureBlock, Heading, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import count, join_words, lower_first
from alliance_outcome.report.labels import model_label, name_slots
from alliance_outcome.report.residual_text import effect_table, residual_sentences
from alliance_outcome.report.selection import predictive_rows


def build(facts: Facts) -> Section:
    """Build the section."""
    checks, lag_unit = facts.results.checks, facts.results.design.lag_unit
    has_therapists = facts.results.design.has_therapists
    predictive = predictive_rows(facts.results.table("predictive"), has_therapists=has_therapists)
    groups = badge_groups(checks.assign(text=[name_slots(str(text), lag_unit) for text in checks["text"]]))
    states = Counter(badge.state for group in groups for badge in group.badges for _ in range(badge.n))
    blocks: list[Block] = [
        Text(
            f"{count(sum(states.values()))} checks: {count(states['passed'])} passed, "
            f"{count(states['failed'])} failed, "
            f"{count(states['not applicable'])} not applicable. A failed convergence check of the model behind the "
            "answer turns the answer into “not established”."
        ),
        *([Text(_BOUNDARY)] if checks["name"].fillna("").str.startswith("boundary.").any() else []),
        *groups,
        *residual_blocks(facts),
        FigureBlock.of(facts.figures["predictive"]),
        *([Text(sentence)] if (sentence := predictive_sentence(predictive)) else []),
    ]
    return Section("diagnostics", "Diagnostics", tuple(blocks))


def residual_blocks(facts: Facts) -> list[Block]:
    """Show residuals and random effects of the model behind the answer."""
    table = facts.results.diagnostics
    sentences = residual_sentences(table, facts.results.design.lag_unit)
    return [
        Heading("Residuals and random effects"),
        *([Text(sentences)] if sentences else []),
        FigureBlock.of(facts.figures["residuals"]),
        *table_blocks([effect_table(table)]),
        Heading("Does the Bayesian model reproduce the data?"),
    ]


def predictive_sentence(table: pd.DataFrame) -> str:
    """Say which summaries of the data lie outside the middle of what the fitted Bayesian models expect.

    Parameters
    ----------
    table : DataFrame
        From :func:`~alliance_outcome.report.selection.predictive_rows`.

    Returns
    -------
    str
        A sentence; empty where nothing was checked.
    """
    after = table[table["check"] == "posterior"] if len(table) else table
    if after.empty:
        return ""
    outside = after[(after["observed"] < after["q05"]) | (after["observed"] > after["q95"])]
    inside = f"After the data, {count(len(after) - len(outside))} of {count(len(after))} summaries lie inside"
    named = join_words(
        [f"{row.text} ({lower_first(model_label(row.model))})" for row in outside.itertuples()]
    )
    return f"{inside} the middle 90\N{NO-BREAK SPACE}%{f'; outside: {named}' if named else ''}."


_BOUNDARY = (
    "A model is on the boundary where a variance is estimated as zero or a covariance matrix as singular (effects "
    "that are perfectly correlated): it then says that such differences do not exist, which a small sample often "
    "does. That alone does not invalidate the other terms of the model. An estimate of zero is not knowledge that "
    "there is nothing: Kenward and Roger's standard errors and degrees of freedom keep such effects; Satterthwaite's "
    "degrees of freedom are those of the model without them."
)
