"""Figure of the agreement between raters."""

from __future__ import annotations

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK
from alliance_outcome.report.figures_contrast import interval_levels, reasons
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.formatting import estimate_with_interval, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.selection import levels_of
from alliance_outcome.settings import ReportSettings


def draw_agreement(results: Results, settings: ReportSettings) -> Drawing:
    """Draw the correlation of each pair of raters at each level with its interval."""
    del settings
    table = results.estimates("agreement")
    correlations = table[(table["term"] == "correlation") & table["rater_b"].notna()]
    if correlations.empty or not (correlations["status"] == "ok").any():
        return Drawing.nothing(reasons("No correlation between raters could be estimated", table))
    rows, words = [], []
    for level in levels_of(correlations):
        rows.append(Row(sentence_case(level_label(level)), "heading"))
        for _, row in correlations[correlations["level"] == level].iterrows():
            pair = f"{rater_label(row['rater'])} with {rater_label(row['rater_b'])}"
            if row["status"] != "ok":
                rows.append(Row(f"{pair}: {row['status'].replace('_', ' ')}: {row['reason']}", "note"))
                continue
            numbers = estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"])
            rows.append(
                Row(pair, "interval", row["estimate"], row["ci_low"], row["ci_high"], numbers, INK, "o")
            )
            words.append(f"{level_label(level)}, {pair}: {numbers}")
    canvas = draw_forest(rows, "Correlation", limits=(-1.02, 1.02))
    alt = f"Forest plot of correlations between raters. {sentence_case('; '.join(words))}."
    return Drawing(canvas, alt, interval_levels(correlations))
