"""Turn the cells of a raw file into text, numbers and dates, without guessing.

A blank cell and the tokens in :data:`MISSING_TOKENS` are missing. Every other cell must be what the study
file says it is; what is not becomes a fault that names rows, never a cell.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import numbers
import re
from collections.abc import Callable, Hashable, Iterable

import numpy as np
import pandas as pd

from alliance_outcome.data.files import RawTable
from alliance_outcome.errors import Fault, FaultCollector, StudyError
from alliance_outcome.settings import FileSettings

#: Text that stands for a blank cell: what R, Python, Stata or SPSS, and Excel write.
MISSING_TOKENS = frozenset({"", "NA", "NaN", "nan", ".", "#N/A"})

#: Years outside which a date is a typing error or a placeholder.
PLAUSIBLE_YEARS = (1900, 2100)

_NUMBERS = {
    mark: re.compile(rf"[+-]?([0-9]+([{mark}][0-9]*)?|[{mark}][0-9]+)([eE][+-]?[0-9]+)?")
    for mark in (".", ",")
}
#: What :func:`_number` returns for a cell that holds something other than a number.
_NOT_A_NUMBER = math.inf
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?")
_DOTTED_DATE = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")


def design_text(table: RawTable, column: str, *, labelled: bool = True) -> pd.Series:
    """Read a column that describes the design: identifiers, occasions, arms, sites.

    Parameters
    ----------
    table : RawTable
        The file.
    column : str
        Header of the column.
    labelled : bool
        Give the value label where a code has one. Identifiers are safer without: two codes may share a label.

    Returns
    -------
    Series of str
        Text without surrounding blanks, numbers without a trailing ``.0``, dates as YYYY-MM-DD (with the time
        unless it is midnight); NaN where missing. Index as in the table.

    Raises
    ------
    StudyError
        If there is no such column.
    """
    if column not in table.frame.columns:
        raise StudyError([_no_such_column(table, column)])
    labels = {code: label.strip() for code, label in table.labels.get(column, {}).items()} if labelled else {}

    def text(cell: object) -> str | float:
        written = (labels.get(cell) if labels else None) or _cell_text(cell)
        return math.nan if written in MISSING_TOKENS else written

    return _by_distinct(table.frame[column], text).astype("str")


def numeric(
    table: RawTable, column: str, settings: FileSettings, faults: FaultCollector, *, what: str
) -> pd.Series:
    """Read a column of numbers.

    Parameters
    ----------
    table : RawTable
        The file.
    column : str
        Header of the column.
    settings : FileSettings
        States the decimal mark of text, and the codes that stand for missing.
    faults : FaultCollector
        Receives cells that are not numbers, or the absence of the column.
    what : str
        What the column holds, for the message, e.g. ``alliance items``.

    Returns
    -------
    Series of float
        NaN where missing, and where there is a fault. Index as in the table.

    Notes
    -----
    Codes of labelled columns stay codes. Truth values, dates and infinities are not numbers here.
    """
    if column not in table.frame.columns:
        faults.faults.append(_no_such_column(table, column))
        return pd.Series(math.nan, index=table.frame.index, name=column, dtype=float)
    cells = table.frame[column]
    missing = _is_missing_code(cells, settings)
    values = _by_distinct(cells, lambda cell: _number(cell, settings.decimal)).astype(float).mask(missing)
    wrong = np.isinf(values)
    if wrong.any():
        problem = f"{what}: {int(wrong.sum())} of {len(cells)} cells hold something that is not a number"
        faults.add(
            table.role,
            column,
            problem,
            _number_remedy(table.role, cells[wrong], settings),
            table.row_numbers(wrong),
        )
    return values.mask(wrong)


def count_missing_codes(table: RawTable, column: str, settings: FileSettings) -> int:
    """Count the cells that :func:`numeric` sets missing because the study file states their value as missing.

    Parameters
    ----------
    table : RawTable
        The file.
    column : str
        Header of the column.
    settings : FileSettings
        States the codes.

    Returns
    -------
    int
        Number of cells; 0 if there is no such column.
    """
    if column not in table.frame.columns:
        return 0
    return int(_is_missing_code(table.frame[column], settings).sum())


def dates(table: RawTable, column: str, faults: FaultCollector, *, what: str) -> pd.Series:
    """Read a column of calendar dates.

    Parameters
    ----------
    table : RawTable
        The file.
    column : str
        Header of the column.
    faults : FaultCollector
        Receives cells that are not dates, implausible dates, or the absence of the column.
    what : str
        What the column holds, for the message.

    Returns
    -------
    Series of datetime64
        Without a time zone; NaT where missing, and where there is a fault. Index as in the table.

    Notes
    -----
    Text is read as YYYY-MM-DD with or without a time, or as DD.MM.YYYY. 03/04/2021 may mean two days, and is a
    fault.
    """
    if column not in table.frame.columns:
        faults.faults.append(_no_such_column(table, column))
        return pd.Series(pd.NaT, index=table.frame.index, name=column, dtype="datetime64[us]")
    read = [_date(cell) for cell in table.frame[column]]
    wrong = np.array([value is None for value in read], dtype=bool)
    if wrong.any():
        first, last = PLAUSIBLE_YEARS
        problem = (
            f"{what}: {int(wrong.sum())} of {len(read)} cells are not dates in the years {first} to {last}"
        )
        faults.add(
            table.role,
            column,
            problem,
            "write dates as YYYY-MM-DD or DD.MM.YYYY, and leave a cell blank where there is none",
            table.row_numbers(wrong),
        )
    moments = [pd.NaT if value is None else value for value in read]
    return pd.Series(moments, table.frame.index, "datetime64[us]", column)


def _no_such_column(table: RawTable, column: str) -> Fault:
    """Say that a column of the study file is not in the file."""
    return Fault(table.role, column, (), "the file has no such column", "correct its name in the study file")


def _by_distinct(cells: pd.Series, function: Callable[[object], object]) -> pd.Series:
    """Map cells, each distinct value once; in columns of mixed types, 1 and True are distinct."""
    if cells.dtype == "object":
        once = functools.lru_cache(maxsize=None, typed=True)(function)
        mapped = [once(cell) if isinstance(cell, Hashable) else function(cell) for cell in cells]
        return pd.Series(mapped, cells.index, "object", cells.name)
    positions, distinct = pd.factorize(cells, use_na_sentinel=False)
    mapped_once = np.empty(len(distinct), dtype=object)
    mapped_once[:] = [function(cell) for cell in distinct]
    return pd.Series(mapped_once[positions], cells.index, "object", cells.name)


def _is_blank(cell: object) -> bool:
    """Whether a cell is missing by itself."""
    if isinstance(cell, float | np.floating | decimal.Decimal):
        return math.isnan(cell)
    return cell is None or cell is pd.NA or cell is pd.NaT


def _cell_text(cell: object) -> str:
    """Write a cell as text."""
    if _is_blank(cell):
        return ""
    if isinstance(cell, datetime.datetime):
        return str(cell.date()) if cell.time() == datetime.time() else cell.isoformat(sep=" ")
    if isinstance(cell, float | np.floating | decimal.Decimal) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def _number(cell: object, decimal_mark: str) -> float:
    """Read a cell as a number: NaN where missing, ``_NOT_A_NUMBER`` where it holds something else."""
    if _is_blank(cell):
        return math.nan
    if isinstance(cell, str):
        text = cell.strip()
        if text in MISSING_TOKENS:
            return math.nan
        is_number = _NUMBERS[decimal_mark].fullmatch(text)
        return float(text.replace(decimal_mark, ".")) if is_number else _NOT_A_NUMBER
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, numbers.Real | decimal.Decimal):
        return _NOT_A_NUMBER
    # By way of text, because an integer beyond the range of floats raises where text gives infinity.
    return float(str(cell))


def _is_missing_code(cells: pd.Series, settings: FileSettings) -> pd.Series:
    """Mark the cells that equal a stated missing code as text or as a number: 999 is 999.0 is "999"."""
    texts = {str(code).strip() for code in settings.missing_codes} - {""}
    values = {value for text in texts for mark in _NUMBERS if math.isfinite(value := _number(text, mark))}

    def is_code(cell: object) -> bool:
        if isinstance(cell, str) and cell.strip() in texts:
            return True
        return _number(cell, settings.decimal) in values

    return _by_distinct(cells, is_code).astype(bool)


def _number_remedy(role: str, cells: Iterable[object], settings: FileSettings) -> str:
    """Say how to mend cells that are not numbers; often the other decimal mark explains them all."""
    other = "," if settings.decimal == "." else "."
    if all(
        isinstance(cell, str) and other in cell and _NUMBERS[other].fullmatch(cell.strip()) for cell in cells
    ):
        return f'they are numbers with the other decimal mark: state files.{role}.decimal: "{other}"'
    return f"correct the cells, or list what stands for missing under files.{role}.missing_codes"


def _date(cell: object) -> datetime.datetime | pd.api.typing.NaTType | None:
    """Read a cell as a date: NaT where missing, None where it holds something else or an implausible year."""
    if _is_blank(cell) or (isinstance(cell, str) and cell.strip() in MISSING_TOKENS):
        return pd.NaT
    moment = _moment_of_text(cell.strip()) if isinstance(cell, str) else _moment(cell)
    first, last = PLAUSIBLE_YEARS
    return moment if moment is not None and first <= moment.year <= last else None


def _moment(cell: object) -> datetime.datetime | None:
    """Turn a date cell into a moment without a time zone."""
    if isinstance(cell, datetime.datetime):
        return cell.replace(tzinfo=None)
    return datetime.datetime.combine(cell, datetime.time()) if isinstance(cell, datetime.date) else None


def _moment_of_text(text: str) -> datetime.datetime | None:
    """Read a date as text."""
    dotted = _DOTTED_DATE.fullmatch(text)
    iso = f"{dotted[3]}-{dotted[2]:0>2}-{dotted[1]:0>2}" if dotted else text
    if not _ISO_DATE.fullmatch(iso):
        return None
    try:
        return datetime.datetime.fromisoformat(iso)
    except ValueError:
        return None
