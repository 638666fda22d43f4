"""The first gate against disclosure: raw files with direct identifiers of persons are refused, column by column.

Every column is looked at, whether the study uses it or not: a file that holds names is not anonymised. A column is
refused for a cell that is certainly an identifier, for what nearly all of its cells are, or for what its header
announces and its cells bear out. Messages say which column and why, never what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from openpyxl.utils import get_column_letter

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.identifying_headers import BIRTH_DATE, FREE_TEXT, NAME, SOME_NAME, header_kind
from alliance_outcome.data.identifying_text import (
    ADDRESS,
    EMAIL,
    NATIONAL_NUMBER,
    TELEPHONE,
    possible_kind,
    sure_kind,
)
from alliance_outcome.data.ledger import Ledger
from alliance_outcome.data.values import design_text
from alliance_outcome.settings import FileSettings

OWN_NUMBER = "long numbers that each person has of their own"

#: Share of a column's distinct cells that makes it what they are, and how many distinct cells there must be.
_NEARLY_ALL, _SEVERAL = 0.8, 5
#: Distinct cells for each person from which a column is about persons, not about categories.
_OF_PERSONS = 0.5
#: Words, and characters, from which a cell is a sentence.
_WORDS_OF_A_SENTENCE, _LONG = 4, 100
#: Digits from which a number may be that of a person, and from which one of its own points at somebody.
_DIGITS, _DIGITS_OF_ITS_OWN = 6, 7
_DIGITS_OF_A_POSTAL_CODE = 4
#: Years over which the middle four fifths of clients' dates are spread if they are of birth, not of admission.
_YEARS_OF_BIRTH = 10.0

_SHORT_NUMBER = re.compile(r"[+-]?\d{0,5}([.,]\d*)?|[+-]?\d*[.,]\d+([eE][+-]?\d+)?")
_WORD = r"[^\W\d_][^\W\d_'\u2019.-]*([-'\u2019][^\W\d_]+)*\.?"
_SEVERAL_NAMES = re.compile(rf"{_WORD}(,? {_WORD}){{1,3}}")
_ONE_NAME = re.compile(r"[^\W\d_]{2,}([-'\u2019 ][^\W\d_]+)*")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([ T].*)?|\d\d?[./-]\d\d?[./-](\d{4}|\d\d)")


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a raw file, as text.

    Parameters
    ----------
    header : str
    text : Series of str
        Null where a cell is blank.
    persons : Series of str or None
        Whose row each is: clients, or therapists in their own file.
    identifies : bool
        Whether it is the column of clients or therapists itself.
    """

    header: str
    text: pd.Series
    persons: pd.Series | None
    identifies: bool

    @cached_property
    def distinct(self) -> list[str]:
        """Its different cells."""
        return self.text.dropna().unique().tolist()

    @cached_property
    def n_persons(self) -> int:
        """How many persons have a cell."""
        if self.persons is None:
            return int(self.text.notna().sum())
        return int(self.persons[self.text.notna()].nunique())

    @cached_property
    def is_constant(self) -> bool:
        """Whether (nearly) every person has one value only."""
        if self.persons is None:
            return True
        pairs = pd.DataFrame({"person": self.persons, "text": self.text}).dropna().drop_duplicates()
        return len(pairs) <= 1.05 * self.n_persons

    @property
    def is_of_persons(self) -> bool:
        """Whether there are several different cells, and one for every second person or more."""
        return len(self.distinct) >= max(_SEVERAL, _OF_PERSONS * self.n_persons)

    def share(self, matches: list[bool]) -> float:
        """Return the share of distinct cells that match."""
        return sum(matches) / len(self.distinct)


def refuse_identifying_columns(table: RawTable, settings: FileSettings, ledger: Ledger) -> None:
    """Note a fault for every column that identifies persons.

    Parameters
    ----------
    table : RawTable
        The file.
    settings : FileSettings
        Names the columns of clients and therapists, and the columns that the user has looked at
        (``not_identifying``).
    ledger : Ledger
        Receives the faults, and an announcement of what the user vouches for.
    """
    looked_at = [header for header in settings.not_identifying if header in table.frame.columns]
    for header in set(settings.not_identifying) - set(looked_at):
        remedy = f"correct files.{table.role}.not_identifying"
        ledger.fault(table.role, header, "the file has no such column, which not_identifying names", remedy)
    for header in looked_at:
        text = "Not searched for identifiers: the study file says that the column identifies nobody."
        ledger.announce("assumed", table.role, header, 1, text)
    own = _identifiers(settings)
    persons = design_text(table, own[0], labelled=False) if own[0] in table.frame.columns else None
    for place, header in enumerate(table.frame.columns, 1):
        if header in looked_at:
            continue
        is_own = header in own
        found = _finding(Column(header, design_text(table, header, labelled=not is_own), persons, is_own))
        if found is not None:
            kind, rows = found
            # A header that nobody named may itself be somebody's data: the first row of a file without headers.
            shown = header if is_own else f"column {get_column_letter(place)} (as a spreadsheet letters it)"
            ledger.fault(
                table.role,
                shown,
                f"this looks like {kind}",
                "delete the column and export the file again; if it identifies nobody, list its header under "
                f"files.{table.role}.not_identifying",
                table.row_numbers(rows) if rows is not None else (),
            )


def _identifiers(settings: FileSettings) -> tuple[str, ...]:
    """List the headers of clients and therapists."""
    if settings.columns is None:
        return (settings.therapist_column or "",)
    return tuple(header for header in (settings.columns.client, settings.columns.therapist) if header)


def _finding(column: Column) -> tuple[str, pd.Series | None] | None:
    """Say what a column is, and in which rows, or None if it identifies nobody."""
    if all(_SHORT_NUMBER.fullmatch(cell) for cell in column.distinct):
        return (ADDRESS, None) if _holds_postal_codes(column) else None
    sure = {cell: kind for cell in column.distinct if (kind := sure_kind(cell))}
    if sure:
        first = next(iter(sure.values()))
        return first, column.text.isin([cell for cell, kind in sure.items() if kind == first])
    kind = next(_of_whole_column(column), None)
    return None if kind is None else (kind, None)


def _of_whole_column(column: Column) -> Iterator[str]:
    """Yield what header and cells together, or nearly all cells, say that a column is."""
    announced = header_kind(column.header)
    if announced is not None and _bears_out(column, announced):
        yield NAME if announced == SOME_NAME else announced
    possible = [possible_kind(cell) for cell in column.distinct] if len(column.distinct) >= _SEVERAL else []
    for kind in (NATIONAL_NUMBER, TELEPHONE):
        if possible.count(kind) >= _NEARLY_ALL * len(column.distinct):
            yield kind
    if _holds_names(column):
        yield NAME
    if column.identifies:
        return
    if _holds_sentences(column):
        yield FREE_TEXT
    if _holds_birth_dates(column):
        yield BIRTH_DATE
    if _holds_own_numbers(column):
        yield OWN_NUMBER


def _bears_out(column: Column, announced: str) -> bool:
    """Say whether the cells may be what the header announces: ``phone_sessions`` holds no telephone numbers."""
    cells = column.distinct
    if announced in (NAME, SOME_NAME):
        letters = column.share([bool(_ONE_NAME.fullmatch(cell.replace(".", ""))) for cell in cells])
        enough = column.is_of_persons if announced == SOME_NAME else len(cells) > 1
        return letters >= _NEARLY_ALL and enough
    if announced == EMAIL:
        return column.is_of_persons
    if announced in (TELEPHONE, NATIONAL_NUMBER):
        return column.share([_n_digits(cell) >= _DIGITS for cell in cells if not _DATE.fullmatch(cell)]) > 0.5
    if announced == ADDRESS:
        return column.is_of_persons and not any(_DATE.fullmatch(cell) for cell in cells)
    if announced == BIRTH_DATE:
        return column.share([bool(_DATE.fullmatch(cell)) for cell in cells]) > 0.5
    return any(len(cell.split()) >= _WORDS_OF_A_SENTENCE for cell in cells)


def _holds_postal_codes(column: Column) -> bool:
    """Say whether short numbers are postal codes: nothing in them says so, but the header may."""
    if header_kind(column.header) != ADDRESS or not column.is_of_persons:
        return False
    return (
        column.share([cell.isdigit() and len(cell) >= _DIGITS_OF_A_POSTAL_CODE for cell in column.distinct])
        > 0.5
    )


def _holds_names(column: Column) -> bool:
    """Say whether nearly all cells are two or more words, or single ones that differ between persons."""
    if not column.is_of_persons or not column.is_constant:
        return False
    several = column.share(
        [bool(_SEVERAL_NAMES.fullmatch(cell)) and _is_capital(cell) for cell in column.distinct]
    )
    one = column.share([bool(_ONE_NAME.fullmatch(cell)) for cell in column.distinct])
    return several >= _NEARLY_ALL or (
        one >= _NEARLY_ALL and len(column.distinct) >= _NEARLY_ALL * column.n_persons
    )


def _is_capital(cell: str) -> bool:
    """Whether every word begins with a capital, or all are small letters."""
    words = [word for word in re.split(r"[ ,]+", cell) if word]
    return all(word[0].isupper() for word in words) or cell.islower()


def _holds_sentences(column: Column) -> bool:
    if any(len(cell) > _LONG for cell in column.distinct):
        return True
    sentences = [len(cell.split()) >= _WORDS_OF_A_SENTENCE for cell in column.distinct]
    n = int(column.text.notna().sum())
    return sum(sentences) >= max(_SEVERAL, _OF_PERSONS * n)


def _holds_birth_dates(column: Column) -> bool:
    if not column.is_constant or not all(_DATE.fullmatch(cell) for cell in column.distinct):
        return False
    years = [int(max(re.findall(r"\d+", cell[:10]), key=len)) for cell in column.distinct]
    low, high = np.quantile(years, [0.1, 0.9])
    return bool(high - low > _YEARS_OF_BIRTH)


def _holds_own_numbers(column: Column) -> bool:
    if len(column.distinct) < max(_SEVERAL, _NEARLY_ALL * column.n_persons) or not column.is_constant:
        return False
    return (
        column.share([cell.isdigit() and len(cell) >= _DIGITS_OF_ITS_OWN for cell in column.distinct])
        >= _NEARLY_ALL
    )


def _n_digits(cell: str) -> int:
    return sum(each.isdigit() for each in cell)
