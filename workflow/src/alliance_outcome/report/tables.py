"""What a table of the report is: rows of finished text under headings, with a caption and notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alliance_outcome.report.formatting import ABSENT

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
