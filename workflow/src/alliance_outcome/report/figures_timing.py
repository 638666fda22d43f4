"""Diagram of the timing: which alliance rating is paired with which severity."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from alliance_outcome.design.timing import outcome_offset
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import GRID, INK, MUTED, new_canvas, rater_style
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import rater_label
from alliance_outcome.settings import ReportSettings

_SESSIONS = (0, 1)
#: Where sessions stand on the x axis, and how far before and after them ratings stand.
_SPACING = 4.0
_OFFSET = 0.95


@dataclass(frozen=True)
class TimedMeasure:
    """A measure and whether it is taken before or after the session."""

    name: str
    timing: str
    colour: str
    marker: str

    def x(self, session: int) -> float:
        """Return the place of the rating that belongs to a session."""
        return session * _SPACING + (_OFFSET if self.timing == "after" else -_OFFSET)


def draw_timing(results: Results, settings: ReportSettings) -> Drawing:
    """Draw two sessions with their ratings and an arrow from each alliance rating to its severity."""
    measures = results.table("measures")
    outcome = _severity_measure(measures, results.design.outcome, settings)
    raters = [measure for rater in results.raters if (measure := _alliance_measure(measures, rater, results))]
    if outcome is None or not raters:
        return Drawing.nothing("The timing of the measures is not known.")
    canvas, (axes,) = new_canvas(0.9 + 0.5 * (len(raters) + 1))
    _draw_sessions(axes, len(raters))
    _draw_measure(axes, outcome, 0.0)
    for height, measure in enumerate(raters, 1):
        _draw_measure(axes, measure, float(height))
        later = outcome_offset(measure.timing, outcome.timing)
        _draw_arrow(axes, (measure.x(0), height), (outcome.x(later), 0.0), measure.colour)
    axes.set_xlim(-_SPACING * 0.78, _SPACING * 1.42)
    axes.set_ylim(-0.75, len(raters) + 1.0)
    axes.set_axis_off()
    return Drawing(canvas, f"Diagram of two sessions. {' '.join(results.design.timing_sentences)}")


def _severity_measure(measures: pd.DataFrame, outcome: str, settings: ReportSettings) -> TimedMeasure | None:
    """Find the primary outcome among the measures."""
    rows = measures[measures["column"] == outcome]
    if outcome == "severity" or rows.empty:
        rows = measures[measures["construct"] == "severity"]
    return TimedMeasure(settings.outcome_name, rows["timing"].iloc[0], INK, "d") if len(rows) else None


def _alliance_measure(measures: pd.DataFrame, rater: str, results: Results) -> TimedMeasure | None:
    """Find the alliance measure of a rater."""
    rows = measures[(measures["construct"] == "alliance") & (measures["rater"] == rater)]
    if rows.empty:
        return None
    colour, marker = rater_style(rater, results.raters)
    return TimedMeasure(f"alliance, {rater_label(rater)}", rows["timing"].iloc[0], colour, marker)


def _draw_sessions(axes: Axes, rows: int) -> None:
    """Draw the two sessions as bars with the arrow of time beneath."""
    for session, name in zip(_SESSIONS, ("session t", "session t + 1"), strict=True):
        x = session * _SPACING
        axes.add_patch(
            Rectangle((x - 0.28, -0.35), 0.56, rows + 0.7, facecolor=GRID, edgecolor="none", zorder=0)
        )
        axes.text(x, rows + 0.62, name, ha="center", va="center", fontsize=8.5, color=INK)
    axes.annotate(
        "",
        (_SPACING * 1.4, -0.6),
        xytext=(-_SPACING * 0.35, -0.6),
        arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 0.9},
    )
    axes.text(_SPACING * 0.5, -0.56, "time", ha="center", va="bottom", fontsize=8, color=MUTED)


def _draw_measure(axes: Axes, measure: TimedMeasure, height: float) -> None:
    """Draw a measure's rating at both sessions with its name at the left."""
    places = [measure.x(session) for session in _SESSIONS]
    axes.plot(
        places, [height] * 2, measure.marker, color=measure.colour, markersize=8, linestyle="none", zorder=3
    )
    name = measure.name.replace(", ", "\n")
    axes.text(-_SPACING * 0.78, height, name, ha="left", va="center", fontsize=8.5, color=measure.colour)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw the arrow from an alliance rating to the severity it is paired with."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            shrinkA=6,
            shrinkB=7,
            linewidth=1.4,
            color=colour,
            connectionstyle="arc3,rad=-0.12",
            zorder=2,
        )
    )
