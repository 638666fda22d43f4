"""Split a delimited text file into cells, without guessing its encoding, its delimiter or what cells mean."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from alliance_outcome.data.file_faults import file_error
from alliance_outcome.settings import FileSettings

#: Delimiters in use, with what a message calls them.
DELIMITERS = {",": "','", ";": "';'", "\t": r'"\t" (tab)', "|": "'|'"}


def read_text(role: str, settings: FileSettings, path: Path, default_delimiter: str) -> list[list[str]]:
    """Read the cells of a CSV or TSV file.

    Parameters
    ----------
    role : str
        What messages call the file.
    settings : FileSettings
        States encoding and delimiter.
    path : Path
        The file.
    default_delimiter : str
        Delimiter unless the settings state one.

    Returns
    -------
    list of list of str
        One list for each row of a spreadsheet, the header row first; a quoted cell may hold line breaks.
        Blank lines are empty lists.

    Raises
    ------
    StudyError
        If the encoding or the delimiter is wrong, or quotation marks do not match.
    """
    delimiter = settings.delimiter if settings.delimiter is not None else default_delimiter
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise file_error(
            role, "the stated delimiter is not a single character", f"correct files.{role}.delimiter"
        )
    text = _decoded(role, settings.encoding, path.read_bytes(), delimiter)
    records = _split(role, text, delimiter)
    if records and len(records[0]) == 1:
        others = {other: records[0][0].count(other) for other in DELIMITERS if other != delimiter}
        likely = max(others, key=others.__getitem__)
        named = f"state delimiter: {DELIMITERS[likely]}" if others[likely] else "state the delimiter"
        split_at = DELIMITERS.get(delimiter, "the stated delimiter")
        problem = f"the header row has one column only when split at {split_at}"
        raise file_error(role, problem, f"{named} under files.{role}", (1,))
    return records


def encoding_name(role: str, encoding: str) -> str:
    """Find the standard name of a text encoding.

    Parameters
    ----------
    role : str
        What messages call the file.
    encoding : str
        Any of its names.

    Returns
    -------
    str
        For example ``utf-8`` for UTF8, ``iso8859-1`` for latin-1.

    Raises
    ------
    StudyError
        If no text encoding is called so.
    """
    try:
        # Encoding a letter refuses codecs that do not make text of bytes, such as base64.
        "a".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = None
    if name is None:
        remedy = f"correct files.{role}.encoding, e.g. utf-8, cp1252 or latin-1"
        raise file_error(role, "the stated encoding is not known", remedy)
    return name


def _decoded(role: str, encoding: str, data: bytes, delimiter: str) -> str:
    """Decode a text file with the stated encoding, or say in which rows that fails."""
    encoding = encoding_name(role, encoding)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        text = None
    if text is None:
        remedy = (
            f"state files.{role}.encoding (cp1252 for most older Windows files, utf-16), or export as UTF-8"
        )
        rows = _undecodable_rows(data, encoding, delimiter)
        raise file_error(role, "the text is not in the stated encoding", remedy, rows)
    every_byte_a_character = len(text) == len(data) and not data.isascii()
    if every_byte_a_character and _decodes(data, "utf-8"):
        # Any bytes "are" Latin-1, but text in such an encoding does not happen to be valid UTF-8.
        raise file_error(
            role, "the text is UTF-8, not in the stated encoding", f"state files.{role}.encoding: utf-8"
        )
    if "\0" in text:
        raise file_error(
            role,
            "the file is not text in the stated encoding",
            f"state files.{role}.encoding (perhaps utf-16)",
        )
    return text


def _decodes(data: bytes, encoding: str) -> bool:
    """Whether bytes are text in an encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _undecodable_rows(data: bytes, encoding: str, delimiter: str) -> tuple[int, ...]:
    """Number the rows that are not in an encoding, after splitting the bytes as Latin-1, which takes any."""
    lines = csv.reader(io.StringIO(data.decode("latin-1"), newline=""), delimiter=delimiter)
    try:
        records = [delimiter.join(record) for record in lines]
    except csv.Error:
        return ()
    return tuple(
        number for number, record in enumerate(records, 1) if not _decodes(record.encode("latin-1"), encoding)
    )


def _split(role: str, text: str, delimiter: str) -> list[list[str]]:
    """Split text into records; ``strict`` finds quotation marks that would swallow the following rows."""
    records: list[list[str]] = []
    try:
        records.extend(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        complete = True
    except csv.Error:
        complete = False
    if not complete:
        raise file_error(
            role,
            "a double quote opens in this row and is not closed as it should be",
            'close it, or write "" for a double quote inside a quoted cell',
            (len(records) + 1,),
        )
    return records
