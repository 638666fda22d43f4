"""Simulated studies only: the truth beside the estimates."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Bullets, FigureBlock, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    interval,
    is_absent,
    monte_carlo_decimals,
    number,
    sentence_case,
)
from alliance_outcome.report.labels import engine_label, level_label, model_label, term_label
from alliance_outcome.report.selection import truth_comparison
from alliance_outcome.report.tables import Table, interval_heading, make_grouped_table


def build(facts: Facts) -> Section | None:
    """Build the section; None for a study of real data."""
    if not facts.simulated:
        return None
    results = facts.results
    comparison = truth_comparison(results.truth, results.contrast, results.answer)
    text = (
        "These data were simulated, so the values that generated them are known. An estimate with manifest means does "
        "not aim at the generating value itself but at the pseudo-true value: what the same model finds with endless "
        "data."
    )
    notes = dict.fromkeys(comparison["note"].dropna())
    blocks = (
        Text(text),
        FigureBlock.of(facts.figures["truth"]),
        *table_blocks([truth_table(comparison)]),
        *([Bullets(tuple(notes))] if notes else []),
    )
    return Section("truth", "Truth and estimates", blocks)


def truth_table(comparison: pd.DataFrame) -> Table:
    """Tabulate generating value, pseudo-true value and estimates side by side.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`~alliance_outcome.report.selection.truth_comparison`.

    Returns
    -------
    Table
        One row per quantity and engine.
    """
    headings = (
        "Quantity",
        "Engine",
        "Interval holds pseudo-true",
        "Generating",
        "Pseudo-true",
        "Estimate",
        interval_heading(comparison),
    )
    groups: dict[str, list[tuple[str, ...]]] = {}
    for _, row in comparison.iterrows():
        title = ": ".join(
            part for part in (sentence_case(level_label(row["level"])), model_label(row["model"])) if part
        )
        groups.setdefault(title, []).append(_cells(row))
    caption = "Generating values, pseudo-true values and estimates."
    return make_grouped_table("truth-table", caption, headings, groups, numeric_from=3)


def _cells(row: pd.Series) -> tuple[str, ...]:
    """Write one comparison."""
    covers = ABSENT if is_absent(row["covers"]) else ("yes" if row["covers"] else "no")
    decimals = monte_carlo_decimals(row["mcse_mean"])
    return (
        term_label(row["term"], row["rater"], row["rater_b"]),
        sentence_case(engine_label(row["engine"])) or ABSENT,
        covers,
        number(row["generating_value"]),
        number(row["pseudo_true_value"], monte_carlo_decimals(row["pseudo_true_se"])),
        number(row["estimate"], decimals),
        interval(row["ci_low"], row["ci_high"], decimals),
    )
