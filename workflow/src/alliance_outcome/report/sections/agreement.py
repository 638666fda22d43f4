"""Do the raters agree, and are they told apart well enough for a contrast?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import interval_heading, status_words
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, interval, number, sentence_case
from alliance_outcome.report.labels import ANALYSIS_LABELS, level_label, rater_label, words
from alliance_outcome.report.references import cite
from alliance_outcome.report.tables import Table, make_table

_TERMS = {
    "correlation": "Correlation",
    "mean_difference": "Mean difference",
    "limit_of_agreement": "Limits of agreement",
    "icc": "Intraclass correlation",
}


def build(facts: Facts) -> Section:
    """Build the section; one rater has nobody to agree with."""
    results = facts.results
    if len(results.raters) < 2:
        text = f"Alliance is rated by the {rater_label(results.raters[0])} only, so there is no agreement to show."
        return Section("agreement", "Agreement of the raters", (Text(text),))
    blocks: list[Block] = [
        Text(
            "Agreement is shown before the models because raters who agree closely can hardly be told apart: the "
            "more their ratings correlate at a level, the wider the interval of D at that level."
        ),
        FigureBlock.of(facts.figures["agreement"]),
        *table_blocks(
            [
                agreement_table(results.estimates("agreement")),
                collinearity_table(results.table("collinearity")),
            ]
        ),
    ]
    return Section("agreement", "Agreement of the raters", tuple(blocks))


def agreement_table(table: pd.DataFrame) -> Table:
    """Tabulate correlations and mean differences; refused ones with their reason."""
    rows, several = [], _several_pairs(table)
    for _, row in table.iterrows():
        shown = row["status"] == "ok"
        rows.append(
            (
                _quantity(row),
                _pair(row) if several else "",
                sentence_case(level_label(row["level"])) or "Means of clients",
                "" if shown else row["reason"],
                number(row["estimate"]) if shown else status_words(row["status"]),
                interval(row["ci_low"], row["ci_high"]) if shown else ABSENT,
            )
        )
    headings = ("Quantity", "Raters", "Level", "Reason", "Estimate", interval_heading(table))
    notes = (
        "Intervals come from leaving out one cluster at a time (therapist, or client where there are no therapists), "
        "those of limits of agreement from the profile likelihood. Limits of agreement: 95 % of the parts of a "
        "difference that belong to a level lie so many points on either side of the mean difference; a wide limit "
        "within clients says that the two see the same session differently, a wide one between clients that some "
        f"pairs differ for good {cite('bland_altman')}.",
    )
    return make_table("agreement", "Agreement of the raters.", headings, rows, numeric_from=4, notes=notes)


def _several_pairs(table: pd.DataFrame) -> bool:
    """Say whether rows have to name their raters."""
    return len(table[["rater", "rater_b"]].drop_duplicates()) > 1


def _pair(row: Mapping[str, Any]) -> str:
    """Name a pair of raters."""
    return f"{sentence_case(rater_label(row['rater']))} and {rater_label(row['rater_b'])}"


def _quantity(row: pd.Series) -> str:
    """Name a measure of agreement; a difference with its direction and unit."""
    name = _TERMS.get(row["term"], words(row["term"]))
    if row["term"] == "limit_of_agreement":
        return f"{name} (±, {row['unit']})" if row["status"] == "ok" else name
    if row["term"] != "mean_difference":
        return name
    unit = f", {row['unit']}" if row["status"] == "ok" else ""
    return f"{name} ({rater_label(row['rater'])} minus {rater_label(row['rater_b'])}{unit})"


def collinearity_table(table: pd.DataFrame) -> Table:
    """Tabulate how closely the raters' columns in the models correlate."""
    several = _several_pairs(table)
    rows = [
        (
            sentence_case(level_label(row["level"])),
            ANALYSIS_LABELS.get(row["analysis"], words(row["analysis"])),
            _pair(row) if several else "",
            number(row["correlation"]),
            number(row["variance_inflation"]),
        )
        for row in table.to_dict("records")
    ]
    return make_table(
        "collinearity",
        "Collinearity of the raters in the models.",
        ("Level", "Models", "Raters", "Correlation", "Variance inflation"),
        rows,
        numeric_from=3,
        notes=(
            "Variance inflation: how many times larger the correlation makes the variance of either rater's "
            "coefficient; at 4 standard errors are doubled.",
        ),
    )
