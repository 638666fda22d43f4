"""Figures that test the models: predictive checks, and truth against estimates in simulated studies."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK, MUTED, rater_style
from alliance_outcome.report.figures_contrast import interval_levels, numbers_of
from alliance_outcome.report.forest import Mark, Row, draw_forest
from alliance_outcome.report.formatting import estimate_with_interval, is_absent, number, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import engine_label, level_label, model_label, rater_label, words
from alliance_outcome.report.selection import truth_comparison
from alliance_outcome.settings import ReportSettings

_CHECK_HEADINGS = {
    "prior": "Before the data (prior predictive)",
    "posterior": "After the data (posterior predictive)",
}


def draw_predictive(results: Results, settings: ReportSettings) -> Drawing:
    """Draw observed summaries on the model's predictive intervals, each rescaled to its own interval."""
    del settings
    table = results.table("predictive")
    rows, alt = [], []
    for check, heading in _CHECK_HEADINGS.items():
        block = table[(table["check"] == check) & table["q50"].notna()]
        if len(block):
            rows.append(Row(heading, "heading"))
            rows += [_predictive_row(row) for _, row in block.iterrows()]
            outside = block[(block["observed"] < block["q05"]) | (block["observed"] > block["q95"])]
            alt.append(f"{heading}: {len(block) - len(outside)} of {len(block)} summaries inside")
    if not rows:
        return Drawing.nothing("No predictive check was run.")
    canvas = draw_forest(rows, "Distance from the predicted median\n(1 = half the predicted range)")
    return Drawing(canvas, f"Observed summaries against the middle 90 % of predictions. {'; '.join(alt)}.")


def _predictive_row(row: pd.Series) -> Row:
    """Rescale one summary so that statistics with different units share an axis."""
    half = (row["q95"] - row["q05"]) / 2 or 1.0

    def position(value: float) -> float:
        return (value - row["q50"]) / half

    label = words(row["statistic"])
    predicted = estimate_with_interval(row["q50"], row["q05"], row["q95"])
    marks = () if is_absent(row["observed"]) else (Mark(position(row["observed"]), "x", INK, "observed"),)
    return Row(
        f"{sentence_case(label)}: {number(row['observed'])}",
        estimate=0.0,
        low=position(row["q05"]),
        high=position(row["q95"]),
        numbers=predicted,
        colour=MUTED,
        marker="|",
        marks=marks,
    )


def draw_truth(results: Results, settings: ReportSettings) -> Drawing:
    """Draw generating and pseudo-true values with the estimates of the same quantities."""
    if results.truth.empty:
        return Drawing.nothing("The study is not simulated, so there is no truth to compare with.")
    table = truth_comparison(results.truth, results.contrast, results.answer)
    table = table[table["estimate"].notna()]
    if table.empty:
        return Drawing.nothing("None of the quantities with a known truth was estimated.")
    rows = []
    for (model, level), block in table.groupby(["model", "level"], sort=False):
        rows += [Row(sentence_case(level_label(level)), "heading"), Row(model_label(model), "note")]
        rows += [_truth_row(row, results) for _, row in block.iterrows()]
    canvas = draw_forest(rows, f"{sentence_case(settings.outcome_unit)} per SD of the rating")
    known = table["covers"].dropna()
    alt = (
        f"Forest plot of {len(table)} estimates with generating and pseudo-true values. "
        f"{int(known.astype(bool).sum())} of {len(known)} intervals hold the pseudo-true value."
    )
    return Drawing(canvas, alt, interval_levels(table))


def _truth_row(row: pd.Series, results: Results) -> Row:
    """Turn one estimate and its truth into a row."""
    is_difference = row["term"] == "difference"
    colour, marker = (INK, "D") if is_difference else rater_style(row["rater"], results.raters)
    what = "D" if is_difference else f"{rater_label(row['rater'])}-rated"
    marks = [(row["generating_value"], "*", "generating"), (row["pseudo_true_value"], "|", "pseudo-true")]
    return Row(
        f"{what}, {engine_label(row['engine'])}",
        estimate=row["estimate"],
        low=row["ci_low"],
        high=row["ci_high"],
        numbers=numbers_of(row),
        colour=colour,
        marker=marker,
        marks=tuple(Mark(value, shape, INK, label) for value, shape, label in marks if not is_absent(value)),
    )
