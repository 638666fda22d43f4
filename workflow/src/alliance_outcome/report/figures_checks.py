"""Figures that test the models: predictive checks, and truth against estimates in simulated studies."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import decimals_by_engine
from alliance_outcome.report.figure_style import INK, MUTED, TRUTH, rater_style
from alliance_outcome.report.figures_contrast import interval_levels, numbers_of
from alliance_outcome.report.forest import Mark, Row, draw_forest
from alliance_outcome.report.formatting import (
    estimate_with_interval,
    is_absent,
    lower_first,
    number,
    sentence_case,
)
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import engine_label, level_label, model_label, rater_label, words
from alliance_outcome.report.selection import predictive_rows, truth_comparison
from alliance_outcome.settings import ReportSettings

_CHECK_HEADINGS = {
    "prior": "Before the data (prior predictive)",
    "posterior": "After the data (posterior predictive)",
}
_STATISTICS = {
    "mean": "mean",
    "sd": "SD over all rows",
    "low": "5th percentile",
    "high": "95th percentile",
    "between": "SD of {unit} means",
    "within": "SD around {unit} means",
}


def draw_predictive(results: Results, settings: ReportSettings) -> Drawing:
    """Draw observed summaries on the model's predictive intervals, each rescaled to its own interval."""
    del settings
    has_therapists = results.design.has_therapists
    table = predictive_rows(results.table("predictive"), has_therapists=has_therapists)
    rows, alt = [], []
    for model in dict.fromkeys(table["model"]) if len(table) else ():
        for check, heading in _CHECK_HEADINGS.items():
            block = table[(table["check"] == check) & (table["model"] == model)]
            unit = _unit_of_means(model, has_therapists=has_therapists)
            rows += [Row(model_label(model), "heading"), Row(heading, "note")]
            rows += [_predictive_row(row, unit) for _, row in block.iterrows()]
            outside = block[(block["observed"] < block["q05"]) | (block["observed"] > block["q95"])]
            inside = f"{len(block) - len(outside)} of {len(block)} summaries inside"
            alt.append(f"{model_label(model)}, {lower_first(heading)}: {inside}")
    if not rows:
        return Drawing.nothing("No predictive check was run.")
    canvas = draw_forest(rows, "Distance from the predicted median\n(1 = half the predicted range)")
    return Drawing(
        canvas,
        f"Observed summaries against the middle 90\N{NO-BREAK SPACE}% of predictions. {'; '.join(alt)}.",
    )


def _unit_of_means(model: str, *, has_therapists: bool) -> str:
    """Say whose means a model's predictive check looks at; early models have one row per client."""
    return "therapist" if model.startswith("early") and has_therapists else "client"


def _predictive_row(row: pd.Series, unit: str) -> Row:
    """Rescale one summary so that statistics with different units share an axis."""
    half = (row["q95"] - row["q05"]) / 2 or 1.0

    def position(value: float) -> float:
        return (value - row["q50"]) / half

    label = _STATISTICS.get(row["statistic"], words(row["statistic"])).format(unit=unit)
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
    decimals = decimals_by_engine(table)
    rows = [Row("star ★ generating value, tick | pseudo-true value", "note", colour=TRUTH)]
    for (model, level), block in table.groupby(["model", "level"], sort=False):
        rows += [Row(sentence_case(level_label(level)), "heading"), Row(model_label(model), "note")]
        for engine, engine_rows in block.groupby("engine", sort=False):
            rows += [_truth_row(row, results, decimals[engine]) for _, row in engine_rows.iterrows()]
    canvas = draw_forest(rows, f"{sentence_case(settings.outcome_unit)} per SD of the rating")
    known = table["covers"].dropna()
    alt = (
        f"Forest plot of {len(table)} estimates with generating and pseudo-true values. "
        f"{int(known.astype(bool).sum())} of {len(known)} intervals hold the pseudo-true value."
    )
    return Drawing(canvas, alt, interval_levels(table))


def _truth_row(row: pd.Series, results: Results, decimals: int) -> Row:
    """Turn one estimate and its truth into a row."""
    is_difference = row["term"] == "difference"
    colour, marker = (INK, "D") if is_difference else rater_style(row["rater"], results.raters)
    what = "D" if is_difference else f"{rater_label(row['rater'])}-rated"
    marks = [(row["pseudo_true_value"], "|", "pseudo-true"), (row["generating_value"], "*", "generating")]
    return Row(
        f"{sentence_case(engine_label(row['engine']))}: {what}",
        estimate=row["estimate"],
        low=row["ci_low"],
        high=row["ci_high"],
        numbers=numbers_of(row, decimals),
        colour=colour,
        marker=marker,
        marks=tuple(
            Mark(value, shape, TRUTH, label) for value, shape, label in marks if not is_absent(value)
        ),
    )
