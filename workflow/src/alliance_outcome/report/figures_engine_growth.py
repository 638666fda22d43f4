"""How the multilevel engine's time grows with rows and with clients."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK, MUTED, RATER_COLOURS, figure_style, new_canvas, save_svg

#: Parts of the time: what they are called, and how they are drawn.
_PARTS = {
    "seconds": ("whole call", RATER_COLOURS[0], "o"),
    "optimiser_seconds": ("optimiser alone", RATER_COLOURS[1], "s"),
}
_PANELS = {
    "rows": "Rows, with {clients:,} clients",
    "clients": "Clients, with {per_client:.0f} rows each",
}


def draw_growth(growth: pd.DataFrame) -> Drawing:
    """Draw seconds against rows and against clients, both on logarithmic scales.

    Parameters
    ----------
    growth : DataFrame
        See :func:`alliance_outcome.analyses.engine_benchmark.growth.measure_growth`.

    Returns
    -------
    Drawing
    """
    blocks = [(varied, block) for varied, block in growth.groupby("varied", sort=False) if varied in _PANELS]
    if not blocks:
        return Drawing.nothing("The engine's growth was not measured.")
    canvas, axes = new_canvas(2.9 * len(blocks), len(blocks))
    for panel, (varied, block) in zip(axes, blocks, strict=True):
        _draw_panel(panel, block, varied)
    axes[0].legend(frameon=False, loc="upper left")
    words = " ".join(_in_words(varied, block) for varied, block in blocks)
    return Drawing(
        canvas, f"Seconds of a fit on logarithmic scales; the dotted line grows in proportion. {words}"
    )


def write_growth(growth: pd.DataFrame, path: Path) -> str:
    """Write the figure as SVG, the same bytes for the same numbers.

    Parameters
    ----------
    growth : DataFrame
        Not empty.
    path : Path

    Returns
    -------
    str
        The figure in words.
    """
    with figure_style():
        drawing = draw_growth(growth)
        save_svg(drawing.canvas, path)
    return drawing.alt


def _draw_panel(axes: Axes, block: pd.DataFrame, varied: str) -> None:
    for column, (label, colour, marker) in _PARTS.items():
        axes.loglog(block[varied], block[column], color=colour, marker=marker, markersize=4, label=label)
    first = block.iloc[0]
    proportional = first["seconds"] * block[varied] / first[varied]
    axes.loglog(block[varied], proportional, color=MUTED, linestyle=":", linewidth=1.0, label="in proportion")
    title = _PANELS[varied].format(clients=first["clients"], per_client=first["rows"] / first["clients"])
    axes.set_title(title, color=INK)
    # Every second size; eight numbers would run into each other.
    sizes = block[varied].iloc[::2]
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(varied.capitalize())
    axes.set_ylabel("Seconds")
    axes.grid(visible=True)
    axes.set_axisbelow(True)


def _in_words(varied: str, block: pd.DataFrame) -> str:
    first, last = block.iloc[0], block.iloc[-1]
    return (
        f"From {first[varied]:,} to {last[varied]:,} {varied} the whole call goes from {first['seconds']:.2g} to "
        f"{last['seconds']:.2g} seconds, the optimiser from {first['optimiser_seconds']:.2g} to "
        f"{last['optimiser_seconds']:.2g}."
    )
