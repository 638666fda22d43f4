"""The look that every figure shares, and the one way in which a figure becomes a file.

Figures are narrow (their text stays readable on a telephone), keep text as text (so that it can be searched, read
aloud and restyled) and are written byte for byte alike from the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from alliance_outcome.analyses.context import LEADING_RATERS

#: Width of every figure in inches; at 9 pt its text stays legible when a telephone shows it at 360 px.
WIDTH = 4.6

INK = "#1f2933"
MUTED = "#5f6b76"
GRID = "#d5dbe1"
#: What is known of a simulated study.
TRUTH = "#7a1f5c"
#: Okabe and Ito's palette, which people with any common colour vision can tell apart; raters get it in this order.
RATER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
RATER_MARKERS = ("o", "s", "^", "v", "P", "X")
#: The same markers as characters, for legends.
MARKER_SIGNS = dict(zip(RATER_MARKERS, "●■▲▼✚✖", strict=True))
DIFFERENCE_MARKER = "D"

STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "alliance-outcome",
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw with matplotlib's defaults plus :data:`STYLE`, whatever the user's own configuration says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def rater_style(rater: str, raters: Sequence[str]) -> tuple[str, str]:
    """Return the colour and marker of a rater, the same in every figure.

    Parameters
    ----------
    rater : str
        The rater.
    raters : sequence of str
        All raters of the study.

    Returns
    -------
    tuple of str
        Colour and marker.
    """
    slots = list(dict.fromkeys([*LEADING_RATERS, *raters]))
    position = slots.index(rater) % len(RATER_COLOURS)
    return RATER_COLOURS[position], RATER_MARKERS[position]


def new_canvas(
    height: float, panels: int = 1, height_ratios: Sequence[float] | None = None
) -> tuple[Canvas, list[Axes]]:
    """Make a figure of the common width with panels on top of one another.

    Parameters
    ----------
    height : float
        Inches.
    panels : int
        Number of panels.
    height_ratios : sequence of float, optional
        Relative heights of the panels.

    Returns
    -------
    tuple
        The figure and its axes, top to bottom.
    """
    canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
    grid = canvas.subplots(panels, 1, squeeze=False, height_ratios=height_ratios)
    return canvas, list(grid[:, 0])


def save_svg(canvas: Canvas, path: Path) -> None:
    """Write a figure as SVG without a date, so that equal numbers give equal bytes."""
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def direct_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Label lines at their right ends and move labels apart that would touch; none leaves the axes at the top.

    Parameters
    ----------
    axes : Axes
        Axes with room at the right.
    ends : sequence of tuple
        x and y of the end, text and colour of each line.
    gap : float
        Smallest vertical distance between two labels, in data units.
    """
    shift = 0.02 * (axes.get_xlim()[1] - axes.get_xlim()[0])
    ceiling = axes.get_ylim()[1]
    placed: list[tuple[float, float, str, str]] = []
    for x, y, text, colour in sorted(ends, key=lambda end: end[1]):
        lowest = placed[-1][1] + gap if placed else float("-inf")
        placed.append((x, max(y, lowest), text, colour))
    for x, y, text, colour in reversed(placed):
        height = min(y, ceiling)
        ceiling = height - gap
        axes.text(x + shift, height, text, color=colour, va="center", ha="left", fontweight="bold")
