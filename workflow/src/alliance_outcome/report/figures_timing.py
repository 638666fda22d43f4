"""Diagram of the timing: which alliance rating is paired with which severity."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from textwrap import wrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import FancyArrowPatch, Rectangle

from alliance_outcome.design.timing import outcome_offset
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import GRID, INK, MUTED, WIDTH, rater_style
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import rater_label
from alliance_outcome.settings import ReportSettings

_SESSIONS = (0, 1)
#: Where sessions stand on the x axis, and how far before and after them ratings stand.
_SPACING = 4.0
_OFFSET = 0.95
#: Names of measures: where they start on the x axis, and characters per line.
_NAME_X = -_SPACING * 0.86
_NAME_WIDTH = 15
#: Height of a line of a name, room around it, and room below and above all rows, in inches as the y axis.
_NAME_LINE = 0.15
_ROW_ROOM = 0.22
_BELOW = 0.4
_ABOVE = 0.3


@dataclass(frozen=True)
class TimedMeasure:
    """A measure, its name in lines, and whether it is taken before or after the session."""

    name: tuple[str, ...]
    timing: str
    colour: str
    marker: str

    @property
    def height(self) -> float:
        """Return the height of the measure's row in inches."""
        return len(self.name) * _NAME_LINE + _ROW_ROOM

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
    rows = [outcome, *raters]
    edges = list(itertools.accumulate((row.height for row in rows), initial=0.0))
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    canvas = Canvas(figsize=(WIDTH, edges[-1] + _BELOW + _ABOVE))
    axes = canvas.add_axes((0.02, 0.0, 0.96, 1.0))
    axes.set_xlim(_NAME_X, _SPACING * 1.42)
    axes.set_ylim(-_BELOW, edges[-1] + _ABOVE)
    axes.set_axis_off()
    _draw_sessions(axes, edges[-1])
    for row, middle in zip(rows, middles, strict=True):
        _draw_measure(axes, row, middle)
    for rater, middle in zip(raters, middles[1:], strict=True):
        later = outcome_offset(rater.timing, outcome.timing)
        _draw_arrow(axes, (rater.x(0), middle), (outcome.x(later), middles[0]), rater.colour)
    return Drawing(canvas, f"Diagram of two sessions. {' '.join(results.design.timing_sentences)}")


def _severity_measure(measures: pd.DataFrame, outcome: str, settings: ReportSettings) -> TimedMeasure | None:
    """Find the primary outcome among the measures."""
    rows = measures[measures["column"] == outcome]
    if outcome == "severity" or rows.empty:
        rows = measures[measures["construct"] == "severity"]
    return (
        TimedMeasure(_lines(settings.outcome_name), rows["timing"].iloc[0], INK, "d") if len(rows) else None
    )


def _alliance_measure(measures: pd.DataFrame, rater: str, results: Results) -> TimedMeasure | None:
    """Find the alliance measure of a rater."""
    rows = measures[(measures["construct"] == "alliance") & (measures["rater"] == rater)]
    if rows.empty:
        return None
    colour, marker = rater_style(rater, results.raters)
    name = _lines(f"{rater_label(rater)}-rated alliance")
    return TimedMeasure(name, rows["timing"].iloc[0], colour, marker)


def _lines(name: str) -> tuple[str, ...]:
    """Break a name into lines that fit the space before the first rating."""
    return tuple(wrap(name, _NAME_WIDTH))


def _draw_sessions(axes: Axes, height: float) -> None:
    """Draw the two sessions as bars with the arrow of time beneath."""
    for session, name in zip(_SESSIONS, ("session t", "session t + 1"), strict=True):
        x = session * _SPACING
        axes.add_patch(Rectangle((x - 0.28, 0.0), 0.56, height, facecolor=GRID, edgecolor="none", zorder=0))
        axes.text(x, height + 0.14, name, ha="center", va="center", fontsize=8.5, color=INK)
    axes.annotate(
        "",
        (_SPACING * 1.4, -0.3),
        xytext=(-_SPACING * 0.35, -0.3),
        arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 0.9},
    )
    axes.text(_SPACING * 0.5, -0.27, "time", ha="center", va="bottom", fontsize=8, color=MUTED)


def _draw_measure(axes: Axes, measure: TimedMeasure, height: float) -> None:
    """Draw a measure's rating at both sessions with its name at the left."""
    places = [measure.x(session) for session in _SESSIONS]
    axes.plot(
        places, [height] * 2, measure.marker, color=measure.colour, markersize=8, linestyle="none", zorder=3
    )
    text = "\n".join(measure.name)
    axes.text(_NAME_X, height, text, ha="left", va="center", fontsize=8.5, color=measure.colour)


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
