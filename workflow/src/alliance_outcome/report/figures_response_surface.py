"""Figure of the response surfaces: a map of severity by both raters' alliance at each level."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from alliance_outcome.analyses.response_surface_names import ANALYSIS
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK, new_canvas
from alliance_outcome.report.figures_contrast import reasons
from alliance_outcome.report.formatting import number, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.selection import first_row, levels_of
from alliance_outcome.settings import ReportSettings

#: From low severity, yellow, to high severity, blue; people with any common colour vision tell its ends apart.
_COLOURS = "cividis_r"
_N_BANDS = 9
#: Height of a panel in inches.
_PANEL = 3.9
#: Light behind dark lines, so that they are seen on every colour.
_HALO = [patheffects.withStroke(linewidth=3.2, foreground="white")]

#: The same behind text, which a halo would turn into outlines that cannot be searched.
_PATCH = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "round,pad=0.1"}

#: Both ends of a line, the lower one first.
Ends = tuple[tuple[float, float], tuple[float, float]]


def draw_response_surface(results: Results, settings: ReportSettings) -> Drawing:
    """Draw predicted severity over the observed region of both ratings, one panel per level."""
    grid = results.table(f"grid_{ANALYSIS}")
    estimates = results.estimates(ANALYSIS)
    if grid.empty:
        return Drawing.nothing(reasons("There is no response surface", estimates))
    levels = levels_of(grid)
    canvas, panels = new_canvas(_PANEL * len(levels), len(levels))
    words = []
    for axes, level in zip(panels, levels, strict=True):
        surface = grid[grid["level"] == level]
        axis = _first_axis(estimates, level)
        _draw_map(axes, surface)
        _draw_agreement(axes, surface)
        if axis is not None:
            _draw_axis(axes, surface, *axis)
        axes.set_title(f"{sentence_case(level_label(level))}\n(severity, {settings.outcome_unit})")
        _label_axes(axes, surface, level)
        words.append(_in_words(surface, level, has_axis=axis is not None))
    return Drawing(canvas, f"Maps of severity by both raters' alliance. {' '.join(words)}")


def _first_axis(estimates: pd.DataFrame, level: str) -> tuple[float, float] | None:
    """Return intercept and slope of the first principal axis, where both are established."""
    own = estimates[(estimates["level"] == level) & (estimates["role"] != "sensitivity")]
    found = [first_row(own, term=term) for term in ("p10", "p11")]
    if any(row is None or row["status"] != "ok" for row in found):
        return None
    return found[0]["estimate"], found[1]["estimate"]


def _draw_map(axes: Axes, surface: pd.DataFrame) -> None:
    """Fill the ellipse with bands of severity, and write their limits on the lines between them."""
    shape = surface["ring"].max() + 1, surface["spoke"].max() + 1
    ordered = surface.sort_values(["ring", "spoke"])
    x, y, predicted = (ordered[name].to_numpy().reshape(shape) for name in ("x", "y", "predicted"))
    limits = _bands(float(predicted.min()), float(predicted.max()))
    axes.contourf(x, y, predicted, levels=limits, cmap=_COLOURS)
    lines = axes.contour(x, y, predicted, levels=limits, colors=INK, linewidths=0.5)
    decimals = max(0, -math.floor(math.log10(limits[1] - limits[0]) + 1e-9))
    for label in axes.clabel(lines, fontsize=7.5, fmt=lambda value: number(value, decimals), colors=INK):
        label.set_bbox(_PATCH)
    axes.plot(x[-1], y[-1], color=INK, linewidth=0.8)
    axes.set_aspect("equal")


def _bands(low: float, high: float) -> np.ndarray:
    """Return round limits of about :data:`_N_BANDS` bands that hold all predictions."""
    rough = max(high - low, 1e-9) / _N_BANDS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1.0, 2.0, 5.0, 10.0) if power * each >= rough)
    return step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)


def _draw_agreement(axes: Axes, surface: pd.DataFrame) -> None:
    """Draw where the raters agree, with its name at the upper end."""
    ends = _inside(surface, 0.0, 1.0)
    if ends is not None:
        _draw_line(axes, ends, "--")
        _write_along(axes, ends, 0.97, "agreement", "right", "bottom")


def _draw_axis(axes: Axes, surface: pd.DataFrame, intercept: float, slope: float) -> None:
    """Draw the first principal axis, with its name at the lower end."""
    ends = _inside(surface, intercept, slope)
    if ends is not None:
        _draw_line(axes, ends, "-")
        _write_along(axes, ends, 0.03, "first principal axis", "left", "top")


def _draw_line(axes: Axes, ends: Ends, style: str) -> None:
    """Draw a line from end to end."""
    x, y = zip(*ends, strict=True)
    axes.add_line(Line2D(x, y, color=INK, linestyle=style, linewidth=1.6, path_effects=_HALO))


def _write_along(axes: Axes, ends: Ends, at: float, text: str, side: str, edge: str) -> None:
    """Write beside a line and parallel to it, at a share of its length; text never stands on its head."""
    (x_low, y_low), (x_high, y_high) = ends
    turned = x_high < x_low
    angle = math.degrees(math.atan2(y_high - y_low, x_high - x_low)) - (180.0 if turned else 0.0)
    axes.text(
        x_low + at * (x_high - x_low),
        y_low + at * (y_high - y_low),
        f" {text} ",
        rotation=angle,
        rotation_mode="anchor",
        ha={"left": "right", "right": "left"}[side] if turned else side,
        va=edge,
        fontweight="bold",
        bbox=_PATCH,
    )


def _inside(surface: pd.DataFrame, intercept: float, slope: float) -> Ends | None:
    """Return where a line enters and leaves the ellipse, the lower end first; None if it passes by."""
    edge = surface[surface["ring"] == surface["ring"].max()].sort_values("spoke")
    x, y = edge["x"].to_numpy(), edge["y"].to_numpy()
    above = y - intercept - slope * x
    at = np.flatnonzero(above[:-1] * above[1:] <= 0.0)
    if len(at) < 2:
        return None
    share = above[at] / (above[at] - above[at + 1])
    points = sorted(
        zip(x[at] + share * (x[at + 1] - x[at]), y[at] + share * (y[at + 1] - y[at]), strict=True),
        key=lambda point: point[1],
    )
    return points[0], points[-1]


def _label_axes(axes: Axes, surface: pd.DataFrame, level: str) -> None:
    """Say whose ratings run along the axes, and about which zero."""
    zero = "client's own average" if level == WITHIN_CLIENT else "common midpoint"
    first, second = (rater_label(surface[name].iloc[0]) for name in ("rater", "rater_b"))
    axes.set_xlabel(f"{sentence_case(first)}-rated alliance, points from the {zero}")
    axes.set_ylabel(f"{sentence_case(second)}-rated alliance")
    axes.margins(0.06)
    for own in (axes.xaxis, axes.yaxis):
        own.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))


def _in_words(surface: pd.DataFrame, level: str, *, has_axis: bool) -> str:
    """Describe one map by its ends."""
    lowest, highest = (surface.loc[surface["predicted"].agg(which)] for which in ("idxmin", "idxmax"))
    first, second = (rater_label(surface[name].iloc[0]) for name in ("rater", "rater_b"))

    def place(row: pd.Series) -> str:
        where = f"the {first} is at {number(row['x'], 1)} and the {second} at {number(row['y'], 1)}"
        return f"{number(row['predicted'], 1)} where {where}"

    axis = "" if has_axis else " The data leave open which way the principal axis points."
    title = sentence_case(level_label(level))
    return f"{title}: predicted severity is between {place(lowest)}, and {place(highest)}.{axis}"
