"""A forest plot for narrow pages: each row is a line of text with its numbers, and its interval beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from alliance_outcome.report.figure_style import GRID, INK, MUTED, WIDTH
from alliance_outcome.report.formatting import is_absent

#: Height of one line of text or of one interval, in inches.
_LINE = 0.17
#: Lines that a row without text takes.
_COMPACT = 0.62
#: Height that an axis and the numbers beneath it take, in inches.
_TICKS = 0.36
#: Empty share of the width at either side.
_MARGIN = 0.03
#: Characters of 8.5 pt text that fit the width of a figure.
_CHARACTERS = 62


@dataclass(frozen=True)
class Mark:
    """A value without an interval of its own that is shown on a row, such as a generating value."""

    value: float
    marker: str
    colour: str
    label: str


@dataclass(frozen=True)
class Row:
    """One row of a forest plot.

    Parameters
    ----------
    label : str
        Text at the left; wrapped for notes.
    kind : {"heading", "interval", "compact", "note"}
        A heading starts a block, a note is text alone; a compact row is an interval alone, low enough that those of
        one model stand close together.
    estimate, low, high : float or None
        Position of the marker and ends of the interval, in units of the axis.
    numbers : str
        Text at the right, usually the estimate with its interval.
    colour, marker : str
        Of the estimate; of the text too, where there is one colour.
    strong : bool
        Draw thicker and in bold type.
    marks : tuple of Mark
        Further values on the same line.
    """

    label: str
    kind: Literal["heading", "interval", "compact", "note"] = "interval"
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    numbers: str = ""
    colour: str | None = None
    marker: str = "o"
    strong: bool = False
    marks: tuple[Mark, ...] = field(default=())

    @property
    def ink(self) -> str:
        """Return the colour, by default muted for notes."""
        return self.colour or (MUTED if self.kind == "note" else INK)


def row_height(row: Row) -> float:
    """Return the height of a row in inches."""
    if row.kind == "heading":
        return 1.75 * _LINE
    if row.kind == "note":
        return (len(_wrapped(row.label)) + 0.35) * _LINE
    if row.kind == "compact":
        return _COMPACT * _LINE
    return 2.05 * _LINE


def draw_forest(
    rows: Sequence[Row],
    x_label: str,
    *,
    reference: float | None = 0.0,
    limits: tuple[float, float] | None = None,
    directions: tuple[str, str] | None = None,
) -> Canvas:
    """Draw a forest plot.

    Parameters
    ----------
    rows : sequence of Row
        Top to bottom; at least one.
    x_label : str
        What the axis shows, with its unit.
    reference : float or None
        Where the vertical reference line stands.
    limits : tuple of float, optional
        Fixed range of the axis.
    directions : tuple of str, optional
        What values to the left and to the right of the reference mean; written beneath the axis.

    Returns
    -------
    Figure
        A figure of the common width, as high as its rows need.
    """
    return draw_forest_blocks([rows], x_label, reference=reference, limits=limits, directions=directions)


def draw_forest_blocks(
    blocks: Sequence[Sequence[Row]],
    x_label: str,
    *,
    reference: float | None = 0.0,
    limits: tuple[float, float] | None = None,
    directions: tuple[str, str] | None = None,
) -> Canvas:
    """Draw forest plots on top of one another, each with an axis of its own.

    Parameters
    ----------
    blocks : sequence of sequence of Row
        At least one block of at least one row.
    x_label, reference, limits, directions
        As for :func:`draw_forest`, the same for all; written beneath the last block with numbers. Blocks without any
        have no axis.

    Returns
    -------
    Figure
        As high as its rows and axes need.
    """
    label = 0.17 * (x_label.count("\n") + 1 + (1 if directions else 0))
    last = max((number for number, rows in enumerate(blocks) if _has_numbers(rows)), default=len(blocks) - 1)
    heights = [sum(row_height(row) for row in rows) + 0.5 * _LINE for rows in blocks]
    below = [
        (_TICKS if number == last or _has_numbers(rows) else 0.0) + (label if number == last else 0.0)
        for number, rows in enumerate(blocks)
    ]
    height = sum(heights) + sum(below)
    canvas = Canvas(figsize=(WIDTH, height))
    top = height
    for number, (rows, body) in enumerate(zip(blocks, heights, strict=True)):
        axes = canvas.add_axes((_MARGIN, (top - body) / height, 1 - 2 * _MARGIN, body / height))
        axes.set_ylim(body, 0)
        _set_range(axes, rows, reference, limits)
        _draw_rows(axes, rows, reference)
        _finish_axis(axes)
        if number == last:
            _label_axis(axes, x_label, directions)
        elif not _has_numbers(rows):
            axes.set_axis_off()
        top -= body + below[number]
    return canvas


def _has_numbers(rows: Sequence[Row]) -> bool:
    """Say whether a block needs its axis."""
    return any(not is_absent(row.estimate) for row in rows)


def _set_range(
    axes: Axes, rows: Sequence[Row], reference: float | None, limits: tuple[float, float] | None
) -> None:
    """Make every interval, mark and the reference line fit."""
    if limits is not None:
        axes.set_xlim(*limits)
        return
    values = [value for row in rows for value in (row.estimate, row.low, row.high) if not is_absent(value)]
    values += [mark.value for row in rows for mark in row.marks]
    values += [] if reference is None else [reference]
    low, high = min(values, default=-1.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)


def _draw_rows(axes: Axes, rows: Sequence[Row], reference: float | None) -> None:
    """Write and draw the rows from the top."""
    top = 0.25 * _LINE
    for row in rows:
        if row.kind == "heading":
            _write(axes, top + 1.15 * _LINE, row.label, 0.0, weight="bold", size=9.5)
            axes.plot(
                [0.0, 1.0],
                [top + 0.25 * _LINE] * 2,
                color=GRID,
                linewidth=0.8,
                transform=axes.get_yaxis_transform(),
                clip_on=False,
            )
        elif row.kind == "note":
            for position, line in enumerate(_wrapped(row.label)):
                _write(axes, top + (position + 0.8) * _LINE, line, 0.0, colour=row.ink)
        elif row.kind == "compact":
            _draw_interval(axes, top + 0.5 * _COMPACT * _LINE, row, reference)
        else:
            weight = "bold" if row.strong else "normal"
            _write(axes, top + 0.55 * _LINE, row.label, 0.0, colour=row.ink, weight=weight)
            _write(axes, top + 0.55 * _LINE, row.numbers, 1.0, weight=weight)
            _draw_interval(axes, top + 1.4 * _LINE, row, reference)
        top += row_height(row)


def _draw_interval(axes: Axes, y: float, row: Row, reference: float | None) -> None:
    """Draw the interval of a row; the reference line is drawn row by row so that it never crosses text."""
    if reference is not None:
        reach = (0.5 * _COMPACT if row.kind == "compact" else 0.42) * _LINE
        axes.plot([reference] * 2, [y - reach, y + reach], color=MUTED, linewidth=0.9, zorder=0)
    if not is_absent(row.low) and not is_absent(row.high):
        width = 2.4 if row.strong else 1.5
        axes.plot([row.low, row.high], [y, y], color=row.ink, linewidth=width, solid_capstyle="butt")
    if not is_absent(row.estimate):
        size = 6.5 if row.strong else 5
        axes.plot([row.estimate], [y], row.marker, color=row.ink, markersize=size, linestyle="none")
    for mark in row.marks:
        axes.plot(
            [mark.value],
            [y],
            mark.marker,
            color=mark.colour,
            markersize=8,
            markeredgewidth=1.6,
            linestyle="none",
        )


def _write(
    axes: Axes,
    y: float,
    text: str,
    x: float,
    *,
    colour: str = INK,
    weight: str = "normal",
    size: float = 8.5,
) -> None:
    """Write text at a place given as a share of the axes' width; at the right edge it ends there."""
    axes.text(
        x,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        ha="right" if x == 1.0 else "left",
        va="center",
        color=colour,
        fontweight=weight,
        fontsize=size,
    )


def _wrapped(text: str) -> list[str]:
    """Break a note into lines that fit."""
    return wrap(text, _CHARACTERS) or [""]


def _finish_axis(axes: Axes) -> None:
    """Leave the horizontal axis alone."""
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=6)


def _label_axis(axes: Axes, x_label: str, directions: tuple[str, str] | None) -> None:
    """Label the axis and say what its directions mean."""
    axes.set_xlabel(x_label)
    if directions:
        offset = -36 - 12 * x_label.count("\n")
        for x, text, side in ((0.0, f"← {directions[0]}", "left"), (1.0, f"{directions[1]} →", "right")):
            axes.annotate(
                text,
                (x, 0),
                xycoords="axes fraction",
                xytext=(0, offset),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=8,
                color=MUTED,
            )
