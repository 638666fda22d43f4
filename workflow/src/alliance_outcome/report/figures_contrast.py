"""Figures of the models: the contrast of the raters, and the coefficients behind it."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import decimals_by_engine, status_words
from alliance_outcome.report.figure_style import DIFFERENCE_MARKER, INK, MARKER_SIGNS, rater_style
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.formatting import (
    DECIMALS,
    estimate_with_interval,
    is_absent,
    join_words,
    level_percent,
    sentence_case,
)
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import engine_label, level_label, model_label, rater_label
from alliance_outcome.report.selection import (
    alliance_rows,
    engines,
    first_row,
    headline_model,
    headline_rows,
    joint_rows,
    levels_of,
    shown_levels,
)
from alliance_outcome.settings import ReportSettings


def numbers_of(row: pd.Series, decimals: int = DECIMALS) -> str:
    """Write a row's estimate with its interval."""
    return estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"], decimals)


def reasons(sentence: str, frame: pd.DataFrame) -> str:
    """Add the reasons of refused rows to a sentence."""
    found = [str(reason) for reason in dict.fromkeys(frame["reason"].dropna())]
    return f"{sentence}: {'; '.join(found)}." if found else f"{sentence}."


def interval_levels(frame: pd.DataFrame) -> str:
    """Say which intervals a figure shows, for example ``Intervals are 95 %.``"""
    levels = sorted({level_percent(level) for level in frame["ci_level"].dropna()})
    return f"Intervals are {join_words(levels)}." if levels else ""


def draw_contrast_forest(results: Results, settings: ReportSettings) -> Drawing:
    """Draw D with its interval at each level and engine, both standardised coefficients beneath."""
    levels = shown_levels(results.contrast)
    blocks = {level: headline_rows(results.contrast, level, results.answer) for level in levels}
    if not blocks:
        return Drawing.nothing(reasons("No contrast of the raters could be estimated", results.contrast))
    shown = pd.concat(list(blocks.values()))
    decimals = decimals_by_engine(shown)
    rows = [row for level, block in blocks.items() for row in _level_rows(results, level, block, decimals)]
    canvas = draw_forest(
        rows,
        f"{sentence_case(settings.outcome_unit)} per SD of the rating",
        directions=("favours the client's view", "favours the therapist's view")
        if set(results.raters) == {"client", "therapist"}
        else None,
    )
    return Drawing(canvas, _contrast_alt(blocks, decimals), interval_levels(shown))


def _level_rows(results: Results, level: str, block: pd.DataFrame, decimals: dict[str, int]) -> list[Row]:
    """Write the block of one level: heading, then for each engine D and the coefficients."""
    model = headline_model(results.contrast, level, results.answer)
    rows = [Row(sentence_case(level_label(level)), "heading"), Row(model_label(model), "note")]
    for engine in engines(block):
        rows += _engine_rows(results, block[block["engine"] == engine], engine, decimals[engine])
    return rows


def _engine_rows(results: Results, block: pd.DataFrame, engine: str, decimals: int) -> list[Row]:
    """Write D and the coefficients of one engine, or the reason why there are none."""
    difference = first_row(block, term="difference")
    if difference is None:
        return []
    name = sentence_case(engine_label(engine))
    if difference["status"] != "ok":
        return [Row(f"{name}: {status_words(difference['status'])}: {difference['reason']}", "note")]
    rows = [interval_row(difference, f"{name}: D", INK, DIFFERENCE_MARKER, decimals=decimals, strong=True)]
    for rater in results.raters:
        row = first_row(block, term="coefficient_standardised", rater=rater)
        if row is not None and row["status"] == "ok":
            colour, marker = rater_style(rater, results.raters)
            label = f"    {rater_label(rater)}-rated"
            rows.append(interval_row(row, label, colour, marker, decimals=decimals))
    return rows


def interval_row(
    row: pd.Series,
    label: str,
    colour: str,
    marker: str,
    *,
    kind: str = "interval",
    decimals: int = DECIMALS,
    strong: bool = False,
) -> Row:
    """Turn an estimate into a row of a forest plot.

    Parameters
    ----------
    row : Series
        Of an estimates table.
    label, colour, marker, kind, strong
        As in :class:`~alliance_outcome.report.forest.Row`.
    decimals : int
        Of the numbers at the right.

    Returns
    -------
    Row
    """
    return Row(
        label,
        kind,
        estimate=row["estimate"],
        low=row["ci_low"],
        high=row["ci_high"],
        numbers=numbers_of(row, decimals),
        colour=colour,
        marker=marker,
        strong=strong,
    )


def _contrast_alt(blocks: dict[str, pd.DataFrame], decimals: dict[str, int]) -> str:
    """Describe the contrast figure in words and numbers."""
    parts = []
    for level, block in blocks.items():
        for _, row in block[block["term"] == "difference"].iterrows():
            established = row["status"] == "ok"
            value = numbers_of(row, decimals[row["engine"]]) if established else status_words(row["status"])
            parts.append(f"{level_label(level)}, {engine_label(row['engine'])}: D {value}")
    return (
        f"Forest plot of the difference between the raters' coefficients. {sentence_case('; '.join(parts))}."
    )


def draw_coefficient_forest(results: Results, settings: ReportSettings) -> Drawing:
    """Draw the alliance coefficients of every joint model, level by level."""
    coefficients = joint_rows(alliance_rows(results.models))
    coefficients = coefficients[coefficients["status"] == "ok"]
    if coefficients.empty:
        return Drawing.nothing("No model with all raters could be estimated.")
    rows = _legend(results)
    for level in levels_of(coefficients):
        rows.append(Row(sentence_case(level_label(level)), "heading"))
        rows += _model_rows(coefficients[coefficients["level"] == level], results)
    canvas = draw_forest(rows, f"{sentence_case(settings.outcome_unit)} per point of the rating")
    alt = (
        f"Forest plot of {len(coefficients)} alliance coefficients from {coefficients['model'].nunique()} models, "
        "grouped by level and model; the numbers are in the tables of this section."
    )
    return Drawing(canvas, alt, interval_levels(coefficients))


def _legend(results: Results) -> list[Row]:
    """Say which colour and symbol is whose."""
    styles = {rater: rater_style(rater, results.raters) for rater in results.raters}
    return [
        Row(f"{MARKER_SIGNS[marker]} {rater_label(rater)}-rated alliance", "note", colour=colour)
        for rater, (colour, marker) in styles.items()
    ]


def _model_rows(block: pd.DataFrame, results: Results) -> list[Row]:
    """Write one level of the coefficient figure: per model and engine, one row per rater."""
    rows = []
    for (model, engine), group in block.groupby(["model", "engine"], sort=False):
        rows.append(Row(f"{model_label(model)} ({engine_label(engine)})", "note"))
        for rater in results.raters:
            row = first_row(group, rater=rater)
            if row is not None and not is_absent(row["estimate"]):
                colour, marker = rater_style(rater, results.raters)
                rows.append(interval_row(row, rater_label(rater), colour, marker, kind="compact"))
    return rows
