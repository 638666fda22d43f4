"""Turn the rows of a text file or a sheet into a frame, after checking that they are a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from openpyxl.utils import get_column_letter

from alliance_outcome.data.file_faults import file_error
from alliance_outcome.errors import FaultCollector

#: A row with its spreadsheet number.
NumberedRecord = tuple[int, Sequence[object]]


def frame_of_records(
    role: str, records: Sequence[Sequence[object]], *, rectangular: bool
) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """Make a frame of rows whose first one holds the headers.

    Parameters
    ----------
    role : str
        What messages call the file.
    records : sequence of sequences
        All rows from row 1, blank ones included.
    rectangular : bool
        Whether rows may only differ in length because blank cells were left out at their end, as in a sheet.
        A row of a text file that is short or long has lost or gained a delimiter, so its cells may stand in
        wrong columns.

    Returns
    -------
    frame : DataFrame
        Columns of ``object`` cells where rectangular, of ``str`` otherwise. Without entirely blank rows, and
        without columns that have neither header nor cell.
    blank_rows : tuple of int
        Spreadsheet numbers of the entirely blank rows above the last row with cells.

    Raises
    ------
    StudyError
        With all faults of the table's shape: ragged rows, columns without a header, headers that occur twice,
        no data.
    """
    numbered = [
        (number, record) for number, record in enumerate(records, 1) if not all(map(_is_blank, record))
    ]
    if not numbered:
        raise file_error(role, "the file is empty", "export it again, with the headers in row 1")
    if numbered[0][0] != 1:
        raise file_error(role, "row 1 is blank", "put the headers in row 1", (1,))
    (_, header_cells), *body = numbered
    faults = FaultCollector()
    width = len(header_cells)
    if rectangular:
        width = max(len(record) for _, record in numbered)
    else:
        _check_widths(role, width, body, faults)
    headers = [_header(cell) for cell in header_cells] + [""] * (width - len(header_cells))
    columns = [
        [record[place] if place < len(record) else None for _, record in body] for place in range(width)
    ]
    kept = [place for place in range(width) if headers[place] or not all(map(_is_blank, columns[place]))]
    check_headers(role, {place: headers[place] for place in kept}, faults)
    check_any_rows(role, len(body), faults)
    faults.raise_if_any()
    kind = "object" if rectangular else "str"
    frame = pd.DataFrame({headers[place]: pd.Series(columns[place], dtype=kind) for place in kept})
    rows_with_cells = {number for number, _ in numbered}
    return frame, tuple(row for row in range(1, numbered[-1][0]) if row not in rows_with_cells)


def check_headers(role: str, headers: dict[int, str], faults: FaultCollector) -> None:
    """Find columns without a header, and headers that occur twice.

    Parameters
    ----------
    role : str
        What messages call the file.
    headers : dict of int to str
        Headers by place from 0. Messages give the place: without a header row, the headers are somebody's
        data.
    faults : FaultCollector
        Receives what is found.
    """
    places: dict[str, list[int]] = {}
    for place, header in headers.items():
        places.setdefault(header, []).append(place)
    for header, same in places.items():
        if not header:
            problem = f"no header in {_columns(same)}"
            faults.add(role, None, problem, "put the headers in row 1, one for every column", (1,))
        elif len(same) > 1:
            problem = f"the same header in {_columns(same)}"
            faults.add(role, None, problem, "give every column a header of its own", (1,))


def check_any_rows(role: str, n_rows: int, faults: FaultCollector) -> None:
    """Find files that end after their headers.

    Parameters
    ----------
    role : str
        What messages call the file.
    n_rows : int
        Number of rows below the headers.
    faults : FaultCollector
        Receives what is found.
    """
    if n_rows == 0:
        faults.add(role, None, "the file has headers but no data rows", "export it again, with the data")


def _is_blank(cell: object) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _header(cell: object) -> str:
    """Write a header cell as text; sheets may hold a number there."""
    return "" if cell is None else str(cell).strip()


def _check_widths(role: str, width: int, body: Sequence[NumberedRecord], faults: FaultCollector) -> None:
    """Find rows with fewer or more cells than headers; blank cells beyond the last header are no loss."""
    ragged = [
        number for number, record in body if len(record) < width or not all(map(_is_blank, record[width:]))
    ]
    if ragged:
        problem = f"these rows do not have the {width} cells of the header row"
        remedy = f"check files.{role}.delimiter, and put double quotes around cells that hold the delimiter"
        faults.add(role, None, problem, remedy, ragged)


def _columns(places: Sequence[int]) -> str:
    """Name columns by place, as a spreadsheet does."""
    letters = ", ".join(get_column_letter(place + 1) for place in places)
    return f"{'column' if len(places) == 1 else 'columns'} {letters} (as a spreadsheet letters them)"
