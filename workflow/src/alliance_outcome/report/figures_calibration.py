"""How the ranks of true values differ from uniform ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf
from matplotlib.axes import Axes

from alliance_outcome.analyses.calibration.ranks import simultaneous_band, uniform_values
from alliance_outcome.analyses.calibration.verdicts import band_probability
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import (
    GRID,
    INK,
    MUTED,
    RATER_COLOURS,
    figure_style,
    new_canvas,
    save_svg,
)

_TITLES = {
    "hybrid": "Hybrid model",
    "early": "Early-alliance model",
    "autoregressive": "Hybrid model, AR(1) residuals",
    "measurement_error": "Joint model of severity and alliance",
}
#: Quantities that are drawn in a colour of their own, by the beginning of their names.
_HIGHLIGHTED = {
    "difference": ("D, each level", RATER_COLOURS[1]),
    "log_likelihood": ("likelihood", RATER_COLOURS[2]),
}


def draw_ranks(ranks: pd.DataFrame) -> Drawing:
    """Draw the differences of all quantities' distribution functions from the uniform one, model by model.

    Parameters
    ----------
    ranks : DataFrame
        See :func:`alliance_outcome.analyses.calibration.verdicts.rank_table`.

    Returns
    -------
    Drawing
    """
    blocks = list(ranks.groupby("design", sort=False))
    if not blocks:
        return Drawing.nothing("No ranks were computed.")
    probability = band_probability(ranks.groupby(["design", "quantity"]).ngroups)
    canvas, axes = new_canvas(1.9 * len(blocks) + 0.3, len(blocks))
    for panel, (name, block) in zip(axes, blocks, strict=True):
        _draw_panel(panel, str(name), block, probability)
    axes[0].legend(frameon=False, loc="upper right", ncols=3, fontsize=7.5)
    axes[-1].set_xlabel("Rank of the true value, as a share of draws")
    return Drawing(
        canvas,
        "Differences of the ranks' distribution functions from the uniform one, with their simultaneous band.",
    )


def write_ranks(ranks: pd.DataFrame, path: Path) -> None:
    """Write the figure as SVG, the same bytes for the same numbers.

    Parameters
    ----------
    ranks : DataFrame
    path : Path
    """
    with figure_style():
        save_svg(draw_ranks(ranks).canvas, path)


def _draw_panel(axes: Axes, name: str, block: pd.DataFrame, probability: float) -> None:
    points, low, high = simultaneous_band(block["simulation"].nunique(), probability)
    axes.fill_between(points, low - points, high - points, color=GRID, alpha=0.6, linewidth=0, label="band")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    labelled: set[str] = set()
    # Highlighted quantities last, on top of the others.
    quantities = sorted(
        block.groupby("quantity", sort=False), key=lambda each: _highlight(str(each[0])) is not None
    )
    for quantity, cell in quantities:
        values = uniform_values(cell["rank"].to_numpy(dtype=float), cell["kept"].to_numpy(dtype=float))
        label, colour = _highlight(str(quantity)) or ("other quantities", RATER_COLOURS[0])
        axes.plot(
            points,
            compute_ecdf(values, points) - points,
            color=colour,
            linewidth=0.6 if label == "other quantities" else 1.2,
            alpha=0.55 if label == "other quantities" else 1.0,
            label=None if label in labelled else label,
        )
        labelled.add(label)
    axes.set_title(f"{_TITLES[name]}, {block['quantity'].nunique()} quantities", color=INK)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylabel("Difference")


def _highlight(quantity: str) -> tuple[str, str] | None:
    return next((style for start, style in _HIGHLIGHTED.items() if quantity.startswith(start)), None)
