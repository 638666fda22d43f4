"""Figure of explained variance: what is unique to each rater and what is common, level by level."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import status_words
from alliance_outcome.report.explained_shares import share_text, shared_label, speaking_rows
from alliance_outcome.report.figure_style import INK, rater_style
from alliance_outcome.report.figures_contrast import interval_levels, reasons
from alliance_outcome.report.forest import Row, draw_forest_blocks
from alliance_outcome.report.formatting import count, is_absent, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import level_label, model_label
from alliance_outcome.settings import ReportSettings

#: Marker of what is common to raters; no rater has it.
COMMON_MARKER = "p"


def draw_explained(results: Results, settings: ReportSettings) -> Drawing:
    """Draw unique and common shares of each level's variance with their intervals, every level on its own axis."""
    del settings
    blocks = speaking_rows(results.explained, results.contrast, results.answer)
    if not any((rows["status"] == "ok").any() for rows in blocks.values()):
        return Drawing.nothing(reasons("No variance could be shared out among raters", results.explained))
    drawn = [_block(level, rows, results) for level, rows in blocks.items()]
    canvas = draw_forest_blocks(drawn, "% of the outcome's variance at that level")
    shown = pd.concat(list(blocks.values()))
    words = "; ".join(f"{level_label(level)}: {_words(rows)}" for level, rows in blocks.items())
    alt = f"Forest plot of shares of explained variance. {sentence_case(words)}."
    return Drawing(canvas, alt, f"{interval_levels(shown)} {_bootstrap(shown)}".strip())


def _block(level: str, rows: pd.DataFrame, results: Results) -> list[Row]:
    """Write one level: heading, model, a row for each share, and why others are not established."""
    heading = [
        Row(sentence_case(level_label(level)), "heading"),
        Row(model_label(rows["model"].iloc[0]), "note"),
    ]
    established = rows["status"] == "ok"
    refused = rows[~established].drop_duplicates(["status", "reason"])
    notes = [f"{sentence_case(status_words(row.status))}: {row.reason}" for row in refused.itertuples()]
    return [
        *heading,
        *(_row(row, results) for _, row in rows[established].iterrows()),
        *(Row(note, "note") for note in notes),
    ]


def _row(row: pd.Series, results: Results) -> Row:
    """Turn one share into a row."""
    colour, marker = INK, COMMON_MARKER
    if not is_absent(row["rater"]):
        colour, marker = rater_style(row["rater"], results.raters)
    return Row(
        sentence_case(shared_label(row["term"])),
        estimate=100.0 * row["estimate"],
        low=100.0 * row["ci_low"],
        high=100.0 * row["ci_high"],
        numbers=share_text(row),
        colour=colour,
        marker=marker,
    )


def _words(rows: pd.DataFrame) -> str:
    """Say the shares of a level."""
    return ", ".join(
        f"{shared_label(row['term'])} {share_text(row) if row['status'] == 'ok' else status_words(row['status'])}"
        for _, row in rows.iterrows()
    )


def _bootstrap(rows: pd.DataFrame) -> str:
    """Say how many samples the intervals rest on."""
    samples = rows["n_draws"].dropna()
    return "" if samples.empty else f"They rest on {count(samples.max())} bootstrap samples."
