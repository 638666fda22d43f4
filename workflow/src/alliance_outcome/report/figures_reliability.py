"""Figure of the reliability of each rater's alliance, level by level."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import rater_style
from alliance_outcome.report.figures_contrast import interval_levels, reasons
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.formatting import estimate_with_interval, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import rater_label
from alliance_outcome.report.reliability_text import WHOLE
from alliance_outcome.settings import ReportSettings

HEADINGS = {
    "omega_within_client": "Within clients, from session to session",
    "omega_between_client": "Between clients, of a client's mean",
    "omega_session": "Of a single session, everything together",
}


def draw_reliability(results: Results, settings: ReportSettings) -> Drawing:
    """Draw ω of each rater with its interval."""
    del settings
    table = results.estimates("reliability")
    shown = table[table["term"].isin(HEADINGS) & (table["status"] == "ok") & (table["scale"] == WHOLE)]
    if shown.empty:
        return Drawing.nothing(reasons("No reliability could be estimated", table))
    rows, words = [], []
    for term, heading in HEADINGS.items():
        rows.append(Row(heading, "heading"))
        for _, row in shown[shown["term"] == term].iterrows():
            rows.append(_row(row, results))
            words.append(f"{heading}, {rater_label(row['rater'])}: {rows[-1].numbers}")
    canvas = draw_forest(rows, "Reliability (ω)", reference=None, limits=(0.0, 1.02))
    return Drawing(canvas, f"Forest plot of reliabilities. {'; '.join(words)}.", interval_levels(shown))


def _row(row: pd.Series, results: Results) -> Row:
    colour, marker = rater_style(row["rater"], results.raters)
    return Row(
        sentence_case(rater_label(row["rater"])),
        estimate=row["estimate"],
        low=row["ci_low"],
        high=row["ci_high"],
        numbers=estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"]),
        colour=colour,
        marker=marker,
    )
