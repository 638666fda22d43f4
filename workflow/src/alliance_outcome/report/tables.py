"""Tables of the report: rows of finished text with a caption, built from the study's CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from alliance_outcome.report.formatting import (
    ABSENT,
    degrees_of_freedom,
    interval,
    is_absent,
    level_percent,
    monte_carlo_decimals,
    number,
    p_value,
    sentence_case,
)
from alliance_outcome.report.labels import (
    ESTIMAND_LABELS,
    ROLE_LABELS,
    engine_label,
    level_label,
    model_label,
    se_label,
    term_label,
)

#: Cells longer than this are sentences.
LONG_TEXT = 40


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers (set flush right)."""

    heading: str
    numeric: bool = False


Cells = tuple[str, ...]


@dataclass(frozen=True)
class RowGroup:
    """Rows of a table under a common heading; without a title they stand on their own."""

    title: str
    rows: tuple[Cells, ...]


@dataclass(frozen=True)
class Table:
    """A table of finished text.

    Parameters
    ----------
    name : str
        Unique in the report; becomes the table's anchor.
    caption : str
        What the table shows.
    columns : tuple of Column
        The first column heads its row.
    groups : tuple of RowGroup
        The rows, one text per column.
    notes : tuple of str
        What stands beneath the table.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Cells, ...]:
        """All rows, whatever their group."""
        return tuple(row for group in self.groups for row in group.rows)

    def is_wide(self, position: int) -> bool:
        """Say whether a column holds sentences, which need room."""
        return any(len(row[position]) > LONG_TEXT for row in self.rows)


def make_table(
    name: str,
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric_from: int = 1,
    notes: Sequence[str] = (),
) -> Table:
    """Make a table without groups; columns from ``numeric_from`` on hold numbers. See :class:`Table` for the rest."""
    return make_grouped_table(name, caption, headings, {"": rows}, numeric_from=numeric_from, notes=notes)


def make_grouped_table(
    name: str,
    caption: str,
    headings: Sequence[str],
    groups: Mapping[str, Iterable[Sequence[str]]],
    *,
    numeric_from: int = 1,
    notes: Sequence[str] = (),
) -> Table:
    """Make a table with rows under common headings, and leave out the columns in which no row has anything."""
    made = [RowGroup(title, tuple(tuple(row) for row in rows)) for title, rows in groups.items()]
    used = [
        position
        for position in range(len(headings))
        if position == 0 or any(row[position] not in (ABSENT, "") for group in made for row in group.rows)
    ]
    columns = tuple(Column(headings[position], position >= numeric_from) for position in used)
    kept = (RowGroup(group.title, tuple(tuple(row[i] for i in used) for row in group.rows)) for group in made)
    return Table(name, caption, columns, tuple(group for group in kept if group.rows), tuple(notes))


ESTIMATE_HEADINGS = ("Estimate", "SE", "Interval", "df", "p", "P(< 0)", "R-hat")


def estimate_cells(row: pd.Series) -> Cells:
    """Write the numeric cells of an estimate.

    Parameters
    ----------
    row : Series
        A row of an estimates table.

    Returns
    -------
    tuple of str
        Estimate, standard error, interval, df, p, posterior probability of a negative value and R-hat. Monte Carlo
        results show no more decimals than their Monte Carlo error allows. Without an estimate, the status.
    """
    if row["status"] != "ok":
        return (status_words(row["status"]), *[ABSENT] * (len(ESTIMATE_HEADINGS) - 1))
    decimals = monte_carlo_decimals(row["mcse_mean"])
    return (
        number(row["estimate"], decimals),
        number(row["std_error"], decimals),
        interval_text(row),
        degrees_of_freedom(row["df"]),
        p_value(row["p_value"]),
        number(row["prob_direction"]),
        number(row["r_hat"], 3),
    )


def interval_text(row: pd.Series) -> str:
    """Write the interval of an estimate with the decimals that the Monte Carlo error of its ends allows."""
    errors = [row["mcse_ci_low"], row["mcse_ci_high"], row["mcse_mean"]]
    return interval(row["ci_low"], row["ci_high"], min(monte_carlo_decimals(error) for error in errors))


def estimate_text(row: pd.Series | None) -> str:
    """Write an estimate with its interval in one cell; its status where there is no estimate."""
    if row is None:
        return ABSENT
    if row["status"] != "ok":
        return status_words(row["status"])
    return f"{number(row['estimate'], monte_carlo_decimals(row['mcse_mean']))} {interval_text(row)}"


def interval_heading(frame: pd.DataFrame) -> str:
    """Head the column of intervals with their level, if they share one."""
    levels = {level_percent(level) for level in frame["ci_level"].dropna()}
    return f"{levels.pop()} interval" if len(levels) == 1 else "Interval"


def estimation_words(row: pd.Series) -> str:
    """Say how a row was estimated: engine, raters together or alone, kind of standard error."""
    parts = [engine_label(row["engine"]), ESTIMAND_LABELS.get(row["estimand"], ""), se_label(row["se_kind"])]
    standard_error = f"{parts[2]} standard errors" if parts[2] else ""
    return sentence_case(", ".join(part for part in (*parts[:2], standard_error) if part))


def estimates_table(
    name: str,
    caption: str,
    frame: pd.DataFrame,
    *,
    by_model: bool = True,
    notes: Sequence[str] = (),
) -> Table:
    """Tabulate estimates: terms in words with their numbers, under headings that say how they were estimated.

    Parameters
    ----------
    name, caption : str
        As in :class:`Table`.
    frame : DataFrame
        Rows of an estimates table.
    by_model : bool
        Whether headings name the model too.
    notes : sequence of str
        What stands beneath.

    Returns
    -------
    Table
        One row per row of ``frame``; columns that are empty throughout are left out.
    """
    groups: dict[str, list[Cells]] = {}
    for _, row in frame.iterrows():
        model = f"{model_label(row['model'])}. " if by_model else ""
        title = f"{model}{estimation_words(row)}"
        cells = (term_label(row["term"], row["rater"], row["rater_b"]), *estimate_cells(row))
        groups.setdefault(title, []).append(cells)
    headings = ["Term", *ESTIMATE_HEADINGS]
    headings[headings.index("Interval")] = interval_heading(frame)
    return make_grouped_table(name, caption, headings, groups, notes=notes)


def status_words(status: str) -> str:
    """Say a status in words."""
    return status.replace("_", " ")


def refusal_table(name: str, frame: pd.DataFrame) -> Table:
    """Tabulate everything that was refused or not established, with the reason.

    Parameters
    ----------
    name : str
        As in :class:`Table`.
    frame : DataFrame
        Rows of estimates tables whose status is not ``ok``.

    Returns
    -------
    Table
        One row per model, quantity, status and reason; without rows when nothing was refused.
    """
    rows = [
        (
            model_label(row["model"]) or ABSENT,
            ABSENT if is_absent(row["term"]) else term_label(row["term"], row["rater"], row["rater_b"]),
            sentence_case(level_label(row["level"])) or ABSENT,
            status_words(row["status"]),
            row["reason"],
        )
        for _, row in frame.iterrows()
    ]
    headings = ("Model", "Quantity", "Level", "Status", "Reason")
    caption = "What was refused or is not established, and why."
    return make_table(name, caption, headings, dict.fromkeys(rows), numeric_from=len(headings))


def role_words(role: str | None) -> str:
    """Say a role in words."""
    return ROLE_LABELS.get(role, ABSENT)
