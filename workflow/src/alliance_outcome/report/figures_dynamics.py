"""Figure of the contrast of the raters from one session to the next, model by model."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.estimate_tables import estimate_text
from alliance_outcome.report.figures_contrast import interval_levels, reasons
from alliance_outcome.report.figures_measurement_error import version_rows
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.formatting import sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.latent_versions import Version, level_decimals
from alliance_outcome.report.panel_versions import other_versions, panel_rows, panel_versions
from alliance_outcome.settings import ReportSettings


def draw_dynamics(results: Results, settings: ReportSettings) -> Drawing:
    """Draw D, and both standardised paths beneath, in each model, and D alone in what repeats the primary one."""
    contrast = results.contrast
    versions, others = panel_versions(contrast), other_versions(contrast)
    if not (panel_rows(contrast)["status"] == "ok").any():
        text = "No panel model gave an established contrast"
        return Drawing.nothing(reasons(text, panel_rows(contrast)))
    decimals = level_decimals([*versions, *others])
    rows = [Row("All clients, by model", "heading")]
    for version in versions:
        rows.append(Row(version.label, "note"))
        rows += version_rows(version, results.raters, decimals)
    if others:
        rows.append(Row("The primary model under other choices", "heading"))
        for version in others:
            rows.append(Row(version.label, "note"))
            rows += version_rows(version, [], decimals)
    canvas = draw_forest(
        rows,
        f"{sentence_case(settings.outcome_unit)} per SD of alliance within clients",
        directions=("favours the client's view", "favours the therapist's view")
        if set(results.raters) == {"client", "therapist"}
        else None,
    )
    shown = pd.concat([version.rows for version in (*versions, *others)])
    words = "; ".join(_in_words(version, decimals) for version in (*versions, *others))
    return Drawing(canvas, f"Forest plot of D. {words}.", interval_levels(shown))


def _in_words(version: Version, decimals: int) -> str:
    """Describe one version, for those who do not see the figure."""
    return f"{version.label}: {estimate_text(version.difference, decimals)}"
