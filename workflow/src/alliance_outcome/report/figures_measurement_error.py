"""Figure of the contrast with ratings as they are, with latent means and all rows, and corrected for reliability."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import status_words
from alliance_outcome.report.figure_style import DIFFERENCE_MARKER, INK, rater_style
from alliance_outcome.report.figures_contrast import interval_levels, interval_row, reasons
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.formatting import sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.latent_versions import (
    Version,
    level_decimals,
    versions_by_level,
    versions_in_words,
)
from alliance_outcome.settings import ReportSettings


def draw_measurement_error(results: Results, settings: ReportSettings) -> Drawing:
    """Draw D, and both standardised coefficients beneath, in each version at each level."""
    blocks = versions_by_level(results)
    if not (results.measurement_error["status"] == "ok").any():
        text = "No model with latent means could be estimated"
        return Drawing.nothing(reasons(text, results.measurement_error))
    rows = [row for level, versions in blocks.items() for row in _level_rows(level, versions, results.raters)]
    canvas = draw_forest(
        rows,
        f"{sentence_case(settings.outcome_unit)} per SD of the rating",
        directions=("favours the client's view", "favours the therapist's view")
        if set(results.raters) == {"client", "therapist"}
        else None,
    )
    shown = pd.concat([version.rows for versions in blocks.values() for version in versions])
    words = "; ".join(
        versions_in_words(level, versions, results.raters) for level, versions in blocks.items()
    )
    return Drawing(canvas, f"Forest plot. {sentence_case(words)}.", interval_levels(shown))


def _level_rows(level: str, versions: list[Version], raters: list[str]) -> list[Row]:
    """Write the block of one level."""
    decimals = level_decimals(versions)
    found = [Row(sentence_case(level_label(level)), "heading")]
    for version in versions:
        found.append(Row(version.label, "note"))
        found += version_rows(version, raters, decimals)
    return found


def version_rows(version: Version, raters: list[str], decimals: int) -> list[Row]:
    """Write D and the coefficients of one version, or why there are none."""
    refused = version.rows[version.rows["status"] != "ok"]
    if len(refused):
        return [
            Row(f"{sentence_case(status_words(row.status))}: {row.reason}", "note")
            for row in refused.drop_duplicates(["status", "reason"]).itertuples()
        ]
    found = []
    if version.difference is not None:
        found.append(
            interval_row(version.difference, "D", INK, DIFFERENCE_MARKER, decimals=decimals, strong=True)
        )
    for rater in raters:
        coefficient = version.coefficient(rater)
        if coefficient is not None:
            colour, marker = rater_style(rater, raters)
            found.append(
                interval_row(
                    coefficient, f"    {rater_label(rater)}-rated", colour, marker, decimals=decimals
                )
            )
    return found
