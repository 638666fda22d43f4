"""Figure of the residuals and client effects of the model behind the answer, panel by panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import GRID, INK, MARKER_SIGNS, MUTED, WIDTH, rater_style
from alliance_outcome.report.formatting import lower_first, number, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import (
    SLOT_WORDS,
    alliance_rater,
    model_label,
    random_effect_label,
    rater_label,
)
from alliance_outcome.report.residual_text import residual_sentences
from alliance_outcome.settings import ReportSettings

#: Height of a row of panels, in inches.
_PANEL = 1.95
#: Size of text inside a panel, in points.
_SMALL = 8.0
#: Normal quantile between which and its negative chance keeps 95 % of what it makes.
_MOST = 1.96

_Draw = Callable[[Axes, pd.DataFrame, Results], None]


def draw_residuals(results: Results, settings: ReportSettings) -> Drawing:
    """Draw normal quantiles, residuals against fitted values, spread and autocorrelation."""
    del settings
    table = results.diagnostics
    panels = [panel for panel in _PANELS if (table["diagnostic"] == panel[2]).any()]
    if not panels:
        return Drawing.nothing(
            "The model behind the answer was not fitted, or has fewer than 10 clients, so there are no residuals to "
            "show."
        )
    canvas, axes = _panel_grid(len(panels))
    slot = SLOT_WORDS.get(results.design.lag_unit, "slot")
    for panel, (title, label, name, draw) in zip(axes, panels, strict=True):
        draw(panel, table[table["diagnostic"] == name].sort_values("at", kind="stable"), results)
        panel.set_title(title)
        panel.set_xlabel(sentence_case(label.format(slot=slot)))
    alt = f"Panels of residuals and client effects. {residual_sentences(table, results.design.lag_unit)}"
    return Drawing(canvas, alt, f"The model: {lower_first(model_label(table['model'].iloc[0]))}, all raters.")


def _panel_grid(count: int) -> tuple[Canvas, list[Axes]]:
    """Make panels in two columns; an odd last one stands alone."""
    rows = ceil(count / 2)
    canvas = Canvas(figsize=(WIDTH, _PANEL * rows), layout="constrained")
    canvas.get_layout_engine().set(w_pad=0.04, h_pad=0.06, wspace=0.03, hspace=0.03)
    grid = canvas.add_gridspec(rows, 2)
    return canvas, [canvas.add_subplot(grid[divmod(position, 2)]) for position in range(count)]


def _residual_quantiles(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw quantiles of residuals against those of a normal distribution."""
    del results
    _identity(axes, rows)
    axes.plot(rows["at"], rows["value"], ".", color=INK, markersize=3.5)


def _effect_quantiles(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw quantiles of the effects of clients, one line per effect, labelled at the left."""
    _identity(axes, rows)
    # The labels stand in the upper left corner, above the lines.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    for position, term in enumerate(dict.fromkeys(rows["term"])):
        same = rows[rows["term"] == term]
        name, colour, marker = _effect_look(term, results)
        axes.plot(
            same["at"], same["value"], color=colour, linewidth=1.0, marker=marker, markersize=3, markevery=8
        )
        _note(axes, position, f"{MARKER_SIGNS.get(marker, '–')} {name}", colour)


def _effect_look(term: str, results: Results) -> tuple[str, str, str]:
    """Return name, colour and marker of a random effect of clients."""
    rater = alliance_rater(term)
    if rater is None:
        return lower_first(random_effect_label(term)), INK, ""
    return (f"slope, {rater_label(rater)}", *rater_style(rater, results.raters))


def _note(axes: Axes, line: int, text: str, colour: str) -> None:
    """Write a line of text into the empty corner of a panel of quantiles."""
    axes.text(
        0.02,
        0.98 - 0.13 * line,
        text,
        transform=axes.transAxes,
        color=colour,
        va="top",
        fontsize=_SMALL,
        fontweight="bold",
    )


def _identity(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw where quantiles of a normal distribution would lie."""
    ends = [min(rows["at"].min(), rows["value"].min()), max(rows["at"].max(), rows["value"].max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, zorder=0)


def _means_by_fitted(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw mean residuals in bins of fitted values, and how far chance alone would take them."""
    del results
    _chance(axes, rows)
    axes.plot(rows["at"], rows["value"], "o", color=INK, markersize=3.5)
    _reach(axes, 0.5)


def _spread(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw the standard deviation of residuals, and how far chance alone would take it from that of all."""
    del results
    overall = float(np.sqrt(np.average(rows["value"] ** 2, weights=rows["n_rows"])))
    reach = _MOST * overall / np.sqrt(2.0 * rows["n_rows"].astype(float))
    axes.vlines(rows["at"], overall - reach, overall + reach, color=GRID, linewidth=4.0, zorder=0)
    axes.axhline(overall, color=MUTED, linewidth=0.9, zorder=0)
    axes.plot(rows["at"], rows["value"], "o", color=INK, markersize=3.5)
    axes.set_ylim(0, max(1.4, 1.15 * rows["value"].max()))


def _autocorrelation(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw correlations of residuals at each distance, and how far chance alone would take them."""
    del results
    _chance(axes, rows, width=9.0)
    axes.vlines(rows["at"], 0, rows["value"], color=INK, linewidth=2.2)
    axes.plot(rows["at"], rows["value"], "o", color=INK, markersize=4.5)
    for at, value in zip(rows["at"], rows["value"], strict=True):
        above = value >= 0
        axes.annotate(
            number(value),
            (at, value),
            (0, 5 if above else -5),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=_SMALL,
        )
    axes.set_xlim(0.4, rows["at"].max() + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _reach(axes, 0.5)


def _chance(axes: Axes, rows: pd.DataFrame, width: float = 4.0) -> None:
    """Draw where 95 % of such numbers would lie if there were nothing but chance."""
    reach = _MOST / np.sqrt(rows["n_rows"].astype(float))
    axes.vlines(rows["at"], -reach, reach, color=GRID, linewidth=width, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.9, zorder=0)


def _reach(axes: Axes, least: float) -> None:
    """Make the vertical axis symmetrical, and so long that small deviations look small."""
    most = max(least, *(abs(value) * 1.15 for value in axes.get_ylim()))
    axes.set_ylim(-most, most)


#: Title, label of the horizontal axis, diagnostic and drawing of each panel, in order.
_PANELS: Sequence[tuple[str, str, str, _Draw]] = (
    ("Residuals: normal?", "Normal quantile", "residual_quantile", _residual_quantiles),
    ("Client effects: normal?", "Normal quantile", "effect_quantile", _effect_quantiles),
    ("Mean of residuals", "Fitted value", "residual_by_fitted", _means_by_fitted),
    ("Spread of residuals", "Fitted value", "residual_sd_by_fitted", _spread),
    ("Spread over time", "{slot}", "residual_sd_by_slot", _spread),
    ("Autocorrelation", "{slot}s apart", "residual_autocorrelation", _autocorrelation),
)
