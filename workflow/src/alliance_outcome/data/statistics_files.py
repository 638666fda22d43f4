"""Read files with typed columns: SPSS and Stata, with value labels and user-missing values, and Parquet.

Each reader returns the frame as stored, the value labels by column and code, and the number of cells by
column that it set missing because the file itself defines their value as missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pyreadstat

from alliance_outcome.data.file_faults import damaged, file_error
from alliance_outcome.data.text_files import encoding_name
from alliance_outcome.settings import FileSettings

#: The setting's default, which SPSS and Stata files are free to ignore.
DEFAULT_ENCODING = "utf-8"

#: A frame, value labels by column and code, and user-missing cells by column.
StoredData = tuple[pd.DataFrame, dict[str, dict[float | str, str]], dict[str, int]]


def read_spss(role: str, settings: FileSettings, path: Path) -> StoredData:
    """Read an SPSS file.

    Parameters
    ----------
    role : str
        What messages call the file.
    settings : FileSettings
        May state an encoding, for files that do not say theirs.
    path : Path
        The .sav or .zsav file.

    Returns
    -------
    tuple
        Frame, value labels and user-missing counts; single missing values and ranges are set missing.

    Raises
    ------
    StudyError
        If the file's text or dates cannot be read.
    """
    frame, metadata = _read_statistics_file(pyreadstat.read_sav, role, settings, path)
    masks = {column: _in_ranges(frame[column], ranges) for column, ranges in metadata.missing_ranges.items()}
    return _without(frame, masks), metadata.variable_value_labels, _counts(masks)


def read_stata(role: str, settings: FileSettings, path: Path) -> StoredData:
    """Read a Stata file.

    Parameters
    ----------
    role, settings, path
        As for :func:`read_spss`.

    Returns
    -------
    tuple
        Frame, value labels and user-missing counts; ``.a`` to ``.z`` are set missing and counted, the
        system-missing ``.`` is a blank cell and not counted.

    Raises
    ------
    StudyError
        If the file's text or dates cannot be read.
    """
    frame, metadata = _read_statistics_file(pyreadstat.read_dta, role, settings, path)
    # In columns of numbers and dates, and only there, text is the letter of a user-missing value.
    masks = {
        column: frame[column].map(lambda cell: isinstance(cell, str)).astype(bool)
        for column, kind in metadata.readstat_variable_types.items()
        if kind != "string" and frame[column].dtype == "object"
    }
    return _without(frame, masks), metadata.variable_value_labels, _counts(masks)


def read_parquet(_role: str, _settings: FileSettings, path: Path) -> StoredData:
    """Read a Parquet file.

    Parameters
    ----------
    _role, _settings
        Not needed; the readers of this module are called alike.
    path : Path
        The file.

    Returns
    -------
    tuple
        Frame, no value labels and no user-missing counts. Whole numbers stay whole beside blanks, categories
        become what they stand for.
    """
    with pyarrow.parquet.ParquetFile(path) as file:
        stored = file.read()
    frame = stored.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    for position, kind in enumerate(frame.dtypes):
        if isinstance(kind, pd.CategoricalDtype):
            frame.isetitem(position, frame.iloc[:, position].astype(kind.categories.dtype))
    return frame, {}, {}


def _read_statistics_file(
    read: Callable[..., tuple[pd.DataFrame, Any]], role: str, settings: FileSettings, path: Path
) -> tuple[pd.DataFrame, Any]:
    """Run pyreadstat; text that it cannot decode and dates after the year 9999 get faults of their own."""
    encoding = encoding_name(role, settings.encoding)
    # These files say their encoding; ours is passed on only where the study file states another one.
    override = None if encoding == DEFAULT_ENCODING else encoding.replace("_", "-")
    try:
        return read(path, user_missing=True, encoding=override)
    except OverflowError:
        failure = "date"
    except pyreadstat.ReadstatError as error:
        message = str(error)
        failure = "text" if "encoding" in message or "character set" in message else "file"
    if failure == "date":
        problem = "there are dates after the year 9999"
        raise file_error(role, problem, "set them missing in the program that wrote the file")
    if failure == "text":
        problem = "the text cannot be read in the encoding that the file or the study file states"
        remedy = f"state files.{role}.encoding (cp1252 for most older files), or save the file as Unicode"
        raise file_error(role, problem, remedy)
    raise damaged(role, "ReadstatError")


def _in_ranges(cells: pd.Series, ranges: list[dict[str, Any]]) -> pd.Series:
    """Mark the cells that lie in SPSS missing ranges; a single missing value is a range of its own."""
    present = cells.dropna()
    inside = pd.Series(False, index=present.index)
    for limits in ranges:
        inside |= present.between(limits["lo"], limits["hi"])
    return inside.reindex(cells.index, fill_value=False)


def _without(frame: pd.DataFrame, masks: dict[str, pd.Series]) -> pd.DataFrame:
    """Set cells missing; columns of numbers that held letters become columns of numbers."""
    cleaned = {column: frame[column].mask(mask).infer_objects() for column, mask in masks.items()}
    return frame.assign(**cleaned)


def _counts(masks: dict[str, pd.Series]) -> dict[str, int]:
    """Count the marked cells of each column that has any."""
    return {column: int(mask.sum()) for column, mask in masks.items() if mask.any()}
