"""Figure of how raters see the same alliance: where their ratings vary, and which parts go together."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.perception_names import RECIPROCITIES, SHARE
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import status_words
from alliance_outcome.report.figure_style import INK, rater_style
from alliance_outcome.report.figures_contrast import interval_levels, reasons
from alliance_outcome.report.forest import Row, draw_forest_blocks
from alliance_outcome.report.formatting import estimate_with_interval, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import rater_label
from alliance_outcome.report.perception_text import COMPONENT_LABELS, RECIPROCITY_LABELS
from alliance_outcome.settings import ReportSettings

_AXES = "Share of a rater's variance, % (upper axis)\nCorrelation of the raters (lower axis)"


def draw_perception(results: Results, settings: ReportSettings) -> Drawing:
    """Draw the shares of each rater's variance, and the raters' correlation part by part, with their intervals."""
    del settings
    table = results.estimates("one_with_many")
    shares = table[table["term"].str.startswith(SHARE, na=False)]
    correlations = table[table["term"].isin(RECIPROCITIES.values()) & table["level"].notna()]
    if not (shares["status"] == "ok").any():
        return Drawing.nothing(reasons("The raters' views could not be split", table))
    blocks = [_share_rows(shares, results), _correlation_rows(correlations)]
    canvas = draw_forest_blocks(blocks, _AXES)
    alt = (
        f"Forest plot of shares of variance and correlations of the raters. {_words(blocks[0] + blocks[1])}."
    )
    return Drawing(canvas, alt, interval_levels(pd.concat([shares, correlations])))


def _words(rows: list[Row]) -> str:
    """Say what the rows show, each block after its heading."""
    said = [
        f"{row.label}{':' if row.numbers else '.'} {row.numbers}".strip()
        for row in rows
        if row.kind in ("heading", "interval")
    ]
    return "; ".join(said).replace(".;", ",")


def _share_rows(shares: pd.DataFrame, results: Results) -> list[Row]:
    """Write a block of rows for each part, a row for each rater."""
    rows = []
    several = len(results.raters) > 2
    for term, own in shares.iloc[::-1].groupby("term", sort=False):
        part = COMPONENT_LABELS[str(term).removeprefix(SHARE)]
        rows.append(Row(f"{part}: share of variance", "heading"))
        for _, row in own.iloc[::-1].iterrows():
            label = f"{sentence_case(rater_label(row['rater']))}'s ratings"
            label += f" (with the {rater_label(row['rater_b'])}'s)" if several else ""
            colour, marker = rater_style(row["rater"], results.raters)
            rows.append(_row(row, label, colour, marker, 100.0, 0))
    return rows


def _correlation_rows(correlations: pd.DataFrame) -> list[Row]:
    """Write a row for each correlation, the outermost level first."""
    rows = [Row("What the raters' views have in common", "heading")]
    several = len(correlations[["rater", "rater_b"]].drop_duplicates()) > 1
    for _, row in correlations.iloc[::-1].iterrows():
        label = RECIPROCITY_LABELS[row["term"]]
        label += f", {rater_label(row['rater'])} with {rater_label(row['rater_b'])}" if several else ""
        rows.append(_row(row, label, INK, "D", 1.0, 2))
    return rows


def _row(row: pd.Series, label: str, colour: str, marker: str, unit: float, decimals: int) -> Row:
    """Turn an estimate into a row; one that is not established into a note."""
    if row["status"] != "ok":
        return Row(f"{label}: {status_words(row['status'])}: {row['reason']}", "note")
    estimate, low, high = (unit * row[name] for name in ("estimate", "ci_low", "ci_high"))
    numbers = estimate_with_interval(estimate, low, high, decimals)
    return Row(label, "interval", estimate, low, high, numbers, colour, marker)
