"""Do the raters agree, and are they told apart well enough for a contrast?"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import number, sentence_case
from alliance_outcome.report.labels import STAGE_LABELS, level_label, rater_label, words
from alliance_outcome.report.tables import Table, estimate_cells, interval_heading, make_table

_TERMS = {"correlation": "Correlation", "mean_difference": "Mean difference", "icc": "Intraclass correlation"}


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    blocks: list[Block] = [
        Text(
            "Agreement is shown before the models because raters who agree closely can hardly be told apart: the more "
            "their ratings correlate at a level, the wider the interval of D at that level."
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
    rows = []
    for _, row in table.iterrows():
        pair = f"{sentence_case(rater_label(row['rater']))} and {rater_label(row['rater_b'])}".removesuffix(
            " and "
        )
        cells = estimate_cells(row)
        numbers = (cells[0], cells[2])
        level = sentence_case(level_label(row["level"])) or "All ratings"
        reason = "" if row["status"] == "ok" else row["reason"]
        rows.append((_TERMS.get(row["term"], words(row["term"])), pair, level, reason, *numbers))
    headings = ("Quantity", "Raters", "Level", "Reason", "Estimate", interval_heading(table))
    return make_table("agreement", "Agreement of the raters.", headings, rows, numeric_from=4)


def collinearity_table(table: pd.DataFrame) -> Table:
    """Tabulate how closely the raters' columns in the models correlate."""
    rows = [
        (
            sentence_case(level_label(row["level"])),
            STAGE_LABELS.get(row["analysis"], words(row["analysis"])),
            f"{sentence_case(rater_label(row['rater']))} and {rater_label(row['rater_b'])}",
            number(row["correlation"]),
            number(row["variance_inflation"]),
        )
        for row in table.to_dict("records")
    ]
    return make_table(
        "collinearity",
        "Collinearity of the raters in the models.",
        ("Level", "Analysis", "Raters", "Correlation", "Variance inflation"),
        rows,
        numeric_from=3,
        notes=("A variance inflation of 4 doubles the standard error of a coefficient.",),
    )
