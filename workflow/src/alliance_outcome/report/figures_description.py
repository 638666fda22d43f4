"""Figures of the data: trajectories of alliance and severity, and which ratings are present."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK, MUTED, direct_labels, new_canvas, rater_style
from alliance_outcome.report.formatting import count, join_words, number, share
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import column_label, rater_label
from alliance_outcome.settings import ReportSettings

#: Room at the right of a panel for direct labels, as a share of the range of sessions.
_LABEL_ROOM = 0.3


def draw_trajectories(results: Results, settings: ReportSettings) -> Drawing:
    """Draw mean and middle half of alliance by rater, and of the primary outcome, over sessions."""
    table = results.table("trajectories")
    panels = [
        panel for panel in _trajectory_panels(results, settings) if table["column"].isin(panel[1]).any()
    ]
    if not panels:
        return Drawing.nothing("No session was rated for at least 10 clients, so no trajectory is shown.")
    canvas, axes = new_canvas(0.5 + 1.75 * len(panels), len(panels))
    for panel, (title, columns, colours) in zip(axes, panels, strict=True):
        _draw_panel(panel, table, title, columns, colours)
    axes[-1].set_xlabel("Session")
    return Drawing(canvas, _trajectory_alt(table, panels), "")


def _trajectory_panels(
    results: Results, settings: ReportSettings
) -> list[tuple[str, list[str], dict[str, tuple[str, str]]]]:
    """Decide on panels: commensurate raters share one, others get their own, severity comes last."""
    raters = results.raters
    looks = {f"alliance_{rater}": (rater_style(rater, raters)[0], rater_label(rater)) for rater in raters}
    groups = [list(looks)] if results.design.commensurate else [[column] for column in looks]
    panels = [
        (
            "Alliance" if len(group) > 1 else column_label(group[0]),
            group,
            {name: looks[name] for name in group},
        )
        for group in groups
    ]
    outcome = results.design.outcome
    title = f"{settings.outcome_name[:1].upper()}{settings.outcome_name[1:]} ({settings.outcome_unit})"
    return [*panels, (title, [outcome], {outcome: (INK, "severity")})]


def _draw_panel(
    axes: Axes, table: pd.DataFrame, title: str, columns: list[str], looks: dict[str, tuple[str, str]]
) -> None:
    """Draw the lines and bands of one panel with direct labels."""
    rows = table[table["column"].isin(columns)].sort_values("session")
    axes.set_title(title)
    ends = []
    for position, column in enumerate(columns):
        series = rows[rows["column"] == column]
        if series.empty:
            continue
        colour, label = looks[column]
        axes.fill_between(
            series["session"], series["q25"], series["q75"], color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(
            series["session"], series["mean"], color=colour, linestyle=("-", "--", "-.", ":")[position % 4]
        )
        first, last = series.iloc[0], series.iloc[-1]
        ends.append(
            (last["session"], last["mean"], f"{label}\n({count(first['n'])}→{count(last['n'])})", colour)
        )
    _finish_panel(axes, rows["session"])
    low, high = axes.get_ylim()
    direct_labels(axes, ends, gap=0.28 * (high - low))


def _finish_panel(axes: Axes, sessions: pd.Series) -> None:
    """Leave room for labels and show whole sessions only."""
    first, last = sessions.min(), sessions.max()
    span = max(last - first, 1)
    axes.set_xlim(first - 0.02 * span, last + _LABEL_ROOM * span)
    ticks = [
        tick for tick in MaxNLocator(nbins=7, integer=True).tick_values(first, last) if first <= tick <= last
    ]
    axes.set_xticks(ticks)
    axes.spines["bottom"].set_bounds(first, last)
    axes.grid(axis="y")


def _trajectory_alt(table: pd.DataFrame, panels: list) -> str:
    """Describe the trajectories by their first and last means."""
    parts = []
    for _, columns, _ in panels:
        for column in columns:
            series = table[table["column"] == column].sort_values("session")
            if len(series):
                first, last = series.iloc[0], series.iloc[-1]
                parts.append(
                    f"{column_label(column)}: mean {number(first['mean'], 1)} at session {count(first['session'])}, "
                    f"{number(last['mean'], 1)} at session {count(last['session'])}"
                )
    return f"Line chart of means over sessions. {'; '.join(parts)}."


def draw_missingness(results: Results, settings: ReportSettings) -> Drawing:
    """Draw the share of held sessions with a rating, by session and rater."""
    del settings
    table = results.table("missingness")
    columns = [f"alliance_{rater}" for rater in results.raters] + [results.design.outcome]
    table = table[table["column"].isin(columns)].sort_values("session")
    if table.empty:
        return Drawing.nothing("No session was held with at least 10 clients, so missingness is not shown.")
    canvas, (axes,) = new_canvas(2.5)
    ends = []
    for position, column in enumerate(columns):
        series = table[table["column"] == column]
        if len(series):
            ends.append(_draw_presence(axes, series, column, results, position))
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_title("Share of held sessions with a rating")
    axes.set_xlabel("Session (sessions held in grey)")
    _finish_panel(axes, table["session"])
    _write_held(axes, table)
    direct_labels(axes, ends, gap=0.11)
    return Drawing(canvas, _missingness_alt(table, columns))


def _draw_presence(
    axes: Axes, series: pd.DataFrame, column: str, results: Results, position: int
) -> tuple[float, float, str, str]:
    """Draw one line of the missingness figure and return its label."""
    rater = column.removeprefix("alliance_")
    if column.startswith("alliance_"):
        (colour, marker), label = rater_style(rater, results.raters), rater_label(rater)
    else:
        (colour, marker), label = (INK, "d"), "severity"
    style = ("-", "--", "-.", ":")[position % 4]
    axes.plot(
        series["session"], series["share_rated"], color=colour, marker=marker, markersize=4, linestyle=style
    )
    last = series.iloc[-1]
    return last["session"], last["share_rated"], label, colour


def _write_held(axes: Axes, table: pd.DataFrame) -> None:
    """Write the number of sessions held above the axis ticks."""
    held = table.groupby("session")["n_held"].max()
    for tick in axes.get_xticks():
        if tick in held.index:
            axes.text(tick, 0.02, count(held[tick]), ha="center", va="bottom", fontsize=7.5, color=MUTED)


def _missingness_alt(table: pd.DataFrame, columns: list[str]) -> str:
    """Describe missingness by its range per column."""
    parts = [
        f"{column_label(column)}: between {share(series.min())} and {share(series.max())}"
        for column in columns
        if len(series := table.loc[table["column"] == column, "share_rated"])
    ]
    return f"Line chart of the share of held sessions with a rating. {join_words(parts)}."
