"""One raw file on its way into the session table, read block by block.

A long file has one block of rows; a wide file has one block for each occasion that the study file lists, over the same
raw rows. What is read from a file has one row per block and raw row, blocks one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.headers import closest, fill_pattern, require
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.values import count_missing_codes, design_text, numeric
from alliance_outcome.settings import ColumnSettings, FileSettings, OccasionSettings

TEXT = pd.StringDtype(na_value=np.nan)
#: Highest number of a session or episode; what is above is a date, an identifier or a typing error.
LARGEST_NUMBER = 9999


@dataclass
class SourceFile:
    """A raw file with what the study file says about it.

    Parameters
    ----------
    role : str
        Its name in the study file.
    table : RawTable
        Its content.
    settings : FileSettings
        What the study file says about it; layout long, wide or clients.
    ledger : Ledger
        Receives faults and announcements.
    rows : pandas.DataFrame
        One row per block and raw row, index 0 … m − 1: ``file``, ``position`` (of the raw row, from 0) and ``usable``
        (False once a fault of the row itself was noted); the design columns are added by ``occasions``.
    used : set of str
        Headers read so far.
    """

    role: str
    table: RawTable
    settings: FileSettings
    ledger: Ledger
    rows: pd.DataFrame = field(init=False, repr=False)
    used: set[str] = field(default_factory=set)
    _found: dict[tuple[str, str], list[str | None]] = field(default_factory=dict, repr=False)
    _claims: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        n, n_blocks = len(self.table.frame), len(self.occasions)
        self.rows = pd.DataFrame(
            {"file": self.role, "position": np.tile(np.arange(n), n_blocks), "usable": True},
            index=pd.RangeIndex(n * n_blocks),
        )

    @property
    def is_wide(self) -> bool:
        """Whether each raw row holds several occasions."""
        return self.settings.layout == "wide"

    @property
    def occasions(self) -> tuple[str, ...]:
        """Keys of the blocks: the occasions of a wide file, or one empty key."""
        return tuple(self.settings.occasions) or ("",)

    @property
    def columns(self) -> ColumnSettings:
        """The design columns that the study file names."""
        return self.settings.columns

    @property
    def design_settings(self) -> FileSettings:
        """Settings for design columns: missing codes are for items and scores, and there may be a session 99."""
        return self.settings.model_copy(update={"missing_codes": []})

    def key(self, *parts: str) -> str:
        """Dotted key of the study file below this file."""
        return ".".join(["files", self.role, *parts])

    def row_numbers(self, mask: pd.Series | np.ndarray) -> tuple[int, ...]:
        """Spreadsheet numbers of the raw rows behind a mask over ``rows``, each once."""
        return self.table.row_numbers(
            np.unique(self.rows["position"].to_numpy()[np.asarray(mask, dtype=bool)])
        )

    def blocks(self) -> Iterator[tuple[str, slice]]:
        """Yield the key of each block and its place in ``rows``."""
        n = len(self.table.frame)
        for number, occasion in enumerate(self.occasions):
            yield occasion, slice(number * n, (number + 1) * n)

    def spread(self, values: Callable[[OccasionSettings], object]) -> pd.Series:
        """Repeat a value of each occasion of a wide file over its block."""
        each = [values(setting) for setting in self.settings.occasions.values()]
        return pd.Series(each).repeat(len(self.table.frame)).set_axis(self.rows.index)

    def refuse(self, mask: pd.Series, header: str, problem: str, remedy: str) -> None:
        """Note a fault for the rows of a mask, if there are any, and use these rows no further."""
        if mask.any():
            self.ledger.fault(self.role, header, problem, remedy, self.row_numbers(mask))
            self.rows["usable"] &= ~mask

    def headers(self, pattern: str, key: str) -> list[str | None]:
        """Find the column of each block.

        In a wide file an occasion may be without (None), but not all of them.

        Parameters
        ----------
        pattern : str
            A header, in a wide file perhaps with ``{occasion}``.
        key : str
            Dotted key of the study file that gives it.

        Returns
        -------
        list of str or None
            One entry per block; all None after a fault.
        """
        if (pattern, key) in self._found:
            return self._found[pattern, key]
        wanted = self._wanted(pattern)
        found = [header if header in self.table.frame.columns else None for header in wanted]
        if not any(found) and len(set(wanted)) > 1:
            self.refuse_pattern(pattern, wanted[0], key)
        elif not any(found):
            require(self.table, wanted, key, self.ledger)
        self.used.update(header for header in found if header)
        self._found[pattern, key] = found
        return found

    def _wanted(self, pattern: str) -> list[str]:
        """Header of each block by a pattern; a pattern that cannot be read is taken as a header."""
        try:
            return [
                fill_pattern(pattern, occasion=occasion) if self.is_wide else pattern
                for occasion in self.occasions
            ]
        except ValueError:
            return [pattern] * len(self.occasions)

    def refuse_pattern(self, pattern: str, example: str, key: str) -> None:
        """Note that no column fits a pattern, with the header closest to what was looked for."""
        suggestion = closest(example, self.table.frame.columns)
        meant = f"the closest header is {suggestion!r}; " if suggestion else ""
        names = ", or the names of the occasions," if self.is_wide else ""
        self.ledger.fault(
            self.role,
            pattern,
            f"the pattern of {key} matches no column of the file",
            f"{meant}correct the pattern{names} in the study file",
        )

    def fits_layout(self, patterns: list[str], key: str) -> bool:
        """Check that ratings in a wide file of several occasions are looked for in several columns."""
        if len(self.occasions) > 1 and any(len(set(self._wanted(pattern))) == 1 for pattern in patterns):
            remedy = "write {occasion} where the headers name the occasion"
            self.ledger.fault(
                STUDY_FILE, key, "in a wide file, one column cannot hold several occasions", remedy
            )
            return False
        return True

    def has_any(self, patterns: list[str]) -> bool:
        """Whether the file has a column for any of some patterns."""
        return any(
            header in self.table.frame.columns for pattern in patterns for header in self._wanted(pattern)
        )

    def announce_absent(self, measure: str, headers: list[str | None]) -> None:
        """Announce the occasions of a wide file on which a measure has no column, by their keys in the study file."""
        absent = [
            occasion for occasion, header in zip(self.occasions, headers, strict=True) if header is None
        ]
        text = f"Measure {measure} has no column on {', '.join(absent)}: taken as not given then."
        self.ledger.announce("assumed", self.role, None, len(absent), text)

    def has(self, name: str) -> bool:
        """Whether the study file names a design column and the file has it."""
        pattern = getattr(self.columns, name)
        return pattern is not None and any(self.headers(pattern, self.key("columns", name)))

    def read(self, headers: list[str | None], read: Callable[[str], pd.Series]) -> pd.Series:
        """Read one column per block, each distinct column once; missing where a block has none.

        Parameters
        ----------
        headers : list of str or None
            From :meth:`headers`, not all None.
        read : callable
            Turns a header into a series over the raw rows.

        Returns
        -------
        pandas.Series
            On the index of ``rows``.
        """
        parsed = {header: read(header) for header in dict.fromkeys(headers) if header}
        some = next(iter(parsed.values()))
        nothing = some.where(pd.Series(False, index=some.index))
        return pd.concat([parsed.get(header, nothing) for header in headers], ignore_index=True)

    def texts(self, name: str, *, labelled: bool) -> pd.Series:
        """Read a design column as text; null where the study file names none."""
        if not self.has(name):
            return pd.Series(np.nan, index=self.rows.index, dtype=TEXT)
        headers = self.headers(getattr(self.columns, name), self.key("columns", name))
        return self.read(headers, lambda header: design_text(self.table, header, labelled=labelled)).astype(
            TEXT
        )

    def numbers(self, headers: list[str | None], what: str) -> pd.Series:
        """Read a design column as numbers; text is a fault."""
        settings, faults = self.design_settings, self.ledger.faults
        return self.read(headers, lambda header: numeric(self.table, header, settings, faults, what=what))

    def ratings(self, headers: list[str | None], measure: str, what: str) -> pd.Series:
        """Read item or score columns as numbers, without the file's missing codes.

        Parameters
        ----------
        headers : list of str or None
            From :meth:`headers`, not all None.
        measure : str
            Name of the measure; two measures cannot read one column.
        what : str
            What messages call the values.

        Returns
        -------
        pandas.Series
            Float, on the index of ``rows``.
        """
        for header in dict.fromkeys(header for header in headers if header):
            other = self._claims.setdefault(header, measure)
            if other != measure:
                remedy = "a column holds one measure of one rater; correct the study file"
                self.ledger.fault(
                    self.role, header, f"measures {other} and {measure} both read this column", remedy
                )
            n = count_missing_codes(self.table, header, self.settings)
            text = f"{counted(n, 'cell')} with a stated missing code, read as missing."
            self.ledger.announce("missing_code", self.role, header, n, text)
        faults = self.ledger.faults
        return self.read(
            headers, lambda header: numeric(self.table, header, self.settings, faults, what=what)
        )

    def whole_numbers(self, name: str, what: str, required: pd.Series, remedy: str) -> pd.Series:
        """Read a design column of whole numbers from 1 in the rows that need one.

        Parameters
        ----------
        name : str
            Name of the design column.
        what : str
            What messages call its values.
        required : pandas.Series
            Mask of these rows; the cells of the others are not looked at.
        remedy : str
            What to do about missing numbers and numbers below 1.

        Returns
        -------
        pandas.Series
            Float; NaN where there is no such number. Rows that need one and have none are not usable any more.
        """
        if not self.has(name):
            self.rows["usable"] &= ~required
            return pd.Series(np.nan, index=self.rows.index)
        header = getattr(self.columns, name)
        headers = self.headers(header, self.key("columns", name))
        number = self._required_only(headers, required).numbers(headers, what)
        blank = self.texts(name, labelled=False).isna()
        self.refuse(required & blank, header, f"the {what} is empty", remedy)
        self.refuse(number < 1, header, f"the {what} is below 1", remedy)
        self.refuse(number > LARGEST_NUMBER, header, f"the {what} is above {LARGEST_NUMBER}", remedy)
        fraction = number.notna() & (number != np.floor(number))
        self.refuse(fraction, header, f"the {what} is not a whole number", "correct the cells")
        self.rows["usable"] &= number.notna() | ~required
        return number.where(number.between(1, LARGEST_NUMBER) & ~fraction)

    def _required_only(self, headers: list[str | None], required: pd.Series) -> SourceFile:
        """Return this file with the cells of columns blanked in the raw rows that need no value."""
        needed = np.zeros(len(self.table.frame), dtype=bool)
        needed[self.rows["position"][required].to_numpy()] = True
        blanked = {header: self.table.frame[header].where(needed) for header in headers if header}
        return dataclasses.replace(
            self, table=dataclasses.replace(self.table, frame=self.table.frame.assign(**blanked))
        )

    def codes(self, name: str, allowed: tuple[str, ...], required: pd.Series | None = None) -> pd.Series:
        """Read a design column of codes by way of the file's recode; an unknown code is a fault.

        Parameters
        ----------
        name : str
            ``occasion_kind`` or ``attendance``.
        allowed : tuple of str
            The values there are.
        required : pandas.Series, optional
            Mask of the rows that need one; others may hold anything.

        Returns
        -------
        pandas.Series
            One of ``allowed``, or null where the cell is blank or its code unknown.
        """
        header = getattr(self.columns, name)
        recode = self.settings.recode.get(name, {})
        targets = {code_text(code): value for value in recode if value in allowed for code in recode[value]}
        meanings = {value: value for value in allowed} | targets
        labels = self.texts(name, labelled=True)
        values = labels.map(meanings).astype(TEXT)
        if labels.notna().any():
            values = values.fillna(self.texts(name, labelled=False).map(meanings).astype(TEXT))
        unknown = labels.notna() & values.isna()
        self.refuse(
            unknown if required is None else unknown & required,
            header,
            f"a code that is none of {', '.join(allowed)}",
            f"correct the cells, or list the file's own codes, in quotes, under {self.key('recode', name)}",
        )
        recoded = int((values.notna() & (values != labels)).sum())
        self.ledger.announce(
            "recoded", self.role, header, recoded, f"{counted(recoded, 'cell')} recoded as {name}."
        )
        return values


def code_text(code: str | float) -> str:
    """Write a code of the study file as cells are written by ``values.design_text``."""
    return f"{code:.15g}" if isinstance(code, int | float) else code.strip()
