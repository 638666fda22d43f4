"""Read one raw file of a study as it is, whatever program wrote it.

Nothing is guessed here: text files stay text, workbooks stay as stored, SPSS and Stata files keep codes and
value labels. What cells mean is the business of :mod:`alliance_outcome.data.values`. Whatever goes wrong
becomes a :class:`~alliance_outcome.errors.StudyError` that names the file by its role, never a path, a cell,
a sheet or a header found in the file: without a header row, the "headers" are somebody's data.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from alliance_outcome.data.file_faults import file_error, guarded
from alliance_outcome.data.records import check_any_rows, check_headers, frame_of_records
from alliance_outcome.data.statistics_files import read_parquet, read_spss, read_stata
from alliance_outcome.data.text_files import read_text
from alliance_outcome.data.workbooks import read_workbook
from alliance_outcome.errors import FaultCollector
from alliance_outcome.settings import FileSettings

#: Format by the ending of a file's name.
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".parquet": "parquet",
    ".sav": "spss",
    ".zsav": "spss",
    ".dta": "stata",
}

#: How people call the formats.
FORMAT_NAMES = {
    "csv": "a text (CSV)",
    "tsv": "a text (TSV)",
    "excel": "an Excel (.xlsx)",
    "parquet": "a Parquet",
    "spss": "an SPSS",
    "stata": "a Stata",
}

#: First bytes that give a format away. Stata and text files have no such mark that is sure.
SIGNATURES = {b"PK\x03\x04": "excel", b"PAR1": "parquet", b"$FL2": "spss", b"$FL3": "spss"}

#: First bytes of an OLE compound file: a workbook with a password, or one of Excel before 2007.
OLE_SIGNATURE = b"\xd0\xcf\x11\xe0"

#: Spreadsheet number of the first row below the headers.
FIRST_ROW = 2


@dataclass(frozen=True)
class RawTable:
    """One raw file.

    Parameters
    ----------
    role : str
        What the study file calls the file; messages use it.
    frame : DataFrame
        Columns as in the file (blanks around headers removed), index 0 to n - 1. Cells of text files are
        ``str``, blank ones the empty string; cells of other files are as stored, columns of dates are
        ``datetime64``.
    labels : dict of str to dict
        Value labels of SPSS and Stata files: by column, the label of each code.
    missing_counts : dict of str to int
        By column, the cells set missing on reading because the file itself defines their value as missing
        (SPSS missing values and ranges, Stata ``.a`` to ``.z``). Missing codes stated in the study file hold
        for items and scores only, a client may be called 999; :func:`~alliance_outcome.data.values.numeric`
        applies and :func:`~alliance_outcome.data.values.count_missing_codes` counts them.
    first_row : int
        Spreadsheet number of the first row of ``frame``.
    blank_rows : tuple of int
        Spreadsheet numbers of the entirely blank rows between the rows of a text or Excel file; they are not
        in ``frame``.
    """

    role: str
    frame: pd.DataFrame = field(repr=False)
    labels: dict[str, dict[float | str, str]] = field(default_factory=dict, repr=False)
    missing_counts: dict[str, int] = field(default_factory=dict)
    first_row: int = FIRST_ROW
    blank_rows: tuple[int, ...] = ()

    def row_numbers(
        self, selection: pd.Series | np.ndarray | Sequence[int] | Sequence[bool]
    ) -> tuple[int, ...]:
        """Say which rows of a spreadsheet are meant.

        Parameters
        ----------
        selection : Series, array or sequence
            A boolean mask with one entry for each row of ``frame``, or positions in ``frame`` from 0.

        Returns
        -------
        tuple of int
            Row numbers as a spreadsheet counts them (the header is row 1), in the order of the selection.
        """
        chosen = selection if isinstance(selection, pd.Series) else np.asarray(selection)
        is_mask = pd.api.types.is_bool_dtype(chosen.dtype)
        positions = np.flatnonzero(chosen) if is_mask else np.asarray(chosen, dtype=int)
        all_rows = np.arange(self.first_row, self.first_row + len(self.frame) + len(self.blank_rows))
        return tuple(int(row) for row in np.setdiff1d(all_rows, self.blank_rows)[positions])


def read_raw_table(role: str, settings: FileSettings, root: Path) -> RawTable:
    """Read one raw file of a study.

    Parameters
    ----------
    role : str
        What the study file calls the file.
    settings : FileSettings
        Where it is and how to read it.
    root : Path
        Folder that relative paths start from.

    Returns
    -------
    RawTable
        The file's rows with what it says about its codes.

    Raises
    ------
    StudyError
        If the file is missing, of unknown format, damaged or protected, or not a table; all faults of a
        table's shape at once.

    Notes
    -----
    Warnings of the reading libraries are silenced because their texts may quote cells; what they warn of (a
    date that is none, say) stays in the table, and :mod:`alliance_outcome.data.values` reports it where it is
    used.
    """
    path = root / settings.path
    file_format = _file_format(role, settings, path)
    _check_content(role, file_format, path)
    return guarded(role, lambda: _READERS[file_format](role, settings, path, file_format))


def _file_format(role: str, settings: FileSettings, path: Path) -> str:
    """Tell the format from the study file or from the ending of the file's name."""
    ending = path.suffix.lower()
    if settings.format is None and ending == ".xls":
        raise file_error(role, "this is a workbook of Excel before 2007", "save it as .xlsx, name that file")
    file_format = settings.format or FORMATS.get(ending)
    if file_format is None:
        raise file_error(
            role,
            "the ending of the file's name belongs to no known format",
            f"state files.{role}.format, or use one of {', '.join(FORMATS)}",
        )
    if not path.is_file():
        raise file_error(role, "the file does not exist", f"correct files.{role}.path, or put the file there")
    return file_format


def _check_content(role: str, file_format: str, path: Path) -> None:
    """Compare the first bytes of a file with its format, for clearer words than a reader's failure gives."""
    head = guarded(role, lambda: _first_bytes(path))
    if not head:
        raise file_error(role, "the file is empty", "export it again")
    if head == OLE_SIGNATURE:
        raise file_error(
            role,
            "the workbook is protected by a password, or was written by Excel before 2007",
            "save a copy as .xlsx without a password",
        )
    content = SIGNATURES.get(head)
    marked = file_format in SIGNATURES.values()
    if content != file_format and (content is not None or marked):
        found = "" if content is None else f" but {FORMAT_NAMES[content]} file"
        raise file_error(
            role,
            f"the content is not {FORMAT_NAMES[file_format]} file{found}",
            f"export it again, or state files.{role}.format; a file with a password cannot be read",
        )


def _first_bytes(path: Path) -> bytes:
    """Return the bytes that give a format away."""
    with path.open("rb") as stream:
        return stream.read(len(OLE_SIGNATURE))


def _text_table(role: str, settings: FileSettings, path: Path, file_format: str) -> RawTable:
    """Read a CSV or TSV file."""
    records = read_text(role, settings, path, default_delimiter="\t" if file_format == "tsv" else ",")
    frame, blank_rows = frame_of_records(role, records, rectangular=False)
    return RawTable(role, frame, blank_rows=blank_rows)


def _workbook_table(role: str, settings: FileSettings, path: Path, _file_format: str) -> RawTable:
    """Read a sheet of an Excel workbook."""
    frame, blank_rows = frame_of_records(role, read_workbook(role, settings, path), rectangular=True)
    return RawTable(role, _with_dates(frame), blank_rows=blank_rows)


def _stored_table(role: str, settings: FileSettings, path: Path, file_format: str) -> RawTable:
    """Read a file that keeps typed columns: Parquet, SPSS or Stata."""
    reader = {"parquet": read_parquet, "spss": read_spss, "stata": read_stata}[file_format]
    frame, labels, missing_counts = reader(role, settings, path)
    headers = [str(header).strip() for header in frame.columns]
    faults = FaultCollector()
    check_headers(role, dict(enumerate(headers)), faults)
    check_any_rows(role, len(frame), faults)
    faults.raise_if_any()
    stripped = dict(zip(frame.columns, headers, strict=True))
    return RawTable(
        role,
        _with_dates(frame.set_axis(headers, axis="columns").reset_index(drop=True)),
        {stripped[column]: codes for column, codes in labels.items()},
        {stripped[column]: count for column, count in missing_counts.items()},
    )


#: What reads each format.
_READERS: dict[str, Callable[[str, FileSettings, Path, str], RawTable]] = {
    "csv": _text_table,
    "tsv": _text_table,
    "excel": _workbook_table,
    "parquet": _stored_table,
    "spss": _stored_table,
    "stata": _stored_table,
}


def _with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the columns of Python dates into ``datetime64`` columns; mixed columns stay as stored."""
    frame = frame.copy()
    for column in frame.columns[frame.dtypes == "object"]:
        present = frame[column].dropna()
        if len(present) and present.map(lambda cell: isinstance(cell, datetime.date)).all():
            frame[column] = pd.to_datetime(frame[column]).astype("datetime64[us]")
    return frame
