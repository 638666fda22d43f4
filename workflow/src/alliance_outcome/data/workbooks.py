"""Read a sheet of an Excel workbook as stored: text, numbers and dates, with the results of formulas."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import openpyxl

from alliance_outcome.data.file_faults import file_error
from alliance_outcome.settings import FileSettings

#: A row of a sheet: values, or cells that know their type.
Row = tuple[Any, ...]


def read_workbook(role: str, settings: FileSettings, path: Path) -> list[list[object]]:
    """Read the cells of one sheet.

    Parameters
    ----------
    role : str
        What messages call the file.
    settings : FileSettings
        States the sheet.
    path : Path
        The workbook.

    Returns
    -------
    list of list
        One list for each row of the sheet from row 1, blank rows included; blank cells are None, and may be
        left out at the end of a row.

    Raises
    ------
    StudyError
        If there is no such sheet, or formulas have no stored result.
    """
    records = _rows(role, settings, path, lambda sheet: sheet.iter_rows(values_only=True))
    if _has_formulas(path):
        _check_results(role, settings, path)
    return [list(record) for record in records]


def _rows(
    role: str,
    settings: FileSettings,
    path: Path,
    rows_of: Callable[[Any], Iterable[Row]],
    *,
    results: bool = True,
) -> list[Row]:
    """Read the rows of the stated sheet, with formulas as their stored results or as formulas."""
    with path.open("rb") as stream:
        workbook = openpyxl.load_workbook(stream, read_only=True, data_only=results)
        sheet = _sheet(role, settings.sheet, workbook)
        # Some programs store a wrong extent, and reading would stop there.
        sheet.reset_dimensions()
        return list(rows_of(sheet))


def _sheet(role: str, wanted: str | int, workbook: openpyxl.Workbook) -> Any:
    """Find a sheet by name or position; existing ones are not quoted, they may be named after people."""
    sheets = workbook.worksheets
    if isinstance(wanted, int):
        found = [sheets[wanted]] if 0 <= wanted < len(sheets) else []
    else:
        found = [sheet for sheet in sheets if sheet.title == wanted]
    if not found:
        problem = f"the workbook has no such sheet; it has {len(sheets)}"
        remedy = (
            f"state files.{role}.sheet as one of their names, or as a position from 0 to {len(sheets) - 1}"
        )
        raise file_error(role, problem, remedy)
    return found[0]


def _has_formulas(path: Path) -> bool:
    """Whether any sheet of a workbook holds a formula; most exports hold none, and need not be read twice."""
    with zipfile.ZipFile(path) as archive:
        sheets = [
            name for name in archive.namelist() if name.startswith("xl/worksheets/") and name.endswith(".xml")
        ]
        return any(mark in archive.read(name) for name in sheets for mark in (b"<f>", b"<f ", b":f>", b":f "))


def _check_results(role: str, settings: FileSettings, path: Path) -> None:
    """Find formulas written by a program that did not calculate them: their cells would look blank.

    A formula whose result is the empty text has the type of a text, one without a result that of a number.
    """
    results = _rows(role, settings, path, lambda sheet: sheet.iter_rows())
    formulas = _rows(role, settings, path, lambda sheet: sheet.iter_rows(), results=False)
    rows = [
        number
        for number, (shown, stored) in enumerate(zip(results, formulas, strict=True), 1)
        if any(
            formula.data_type == "f" and cell.value is None and cell.data_type == "n"
            for cell, formula in zip(shown, stored, strict=True)
        )
    ]
    if rows:
        remedy = "open the workbook in Excel or LibreOffice, and save it"
        raise file_error(role, "formulas without a stored result", remedy, rows)
