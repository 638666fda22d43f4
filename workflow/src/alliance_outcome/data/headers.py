"""Find the columns that a study file names, and suggest the closest header where there is none."""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.ledger import STUDY_FILE, Ledger

#: How alike a header must be before a message names it. Low values would quote unrelated headers, which in a file
#: without a header row are somebody's data.
SIMILARITY = 0.7


def closest(wanted: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a misspelt name most likely meant, ignoring case, or None.

    Parameters
    ----------
    wanted : str
        The name that was not found.
    candidates : iterable of str
        The names there are.
    """
    by_folded = {str(candidate).strip().casefold(): str(candidate) for candidate in candidates}
    matches = difflib.get_close_matches(wanted.strip().casefold(), list(by_folded), n=1, cutoff=SIMILARITY)
    return by_folded[matches[0]] if matches else None


def require(table: RawTable, headers: Iterable[str], key: str, ledger: Ledger) -> bool:
    """Check that columns exist.

    Parameters
    ----------
    table : RawTable
        The file.
    headers : iterable of str
        Column headers that the study file names.
    key : str
        Dotted key of the study file that names them.
    ledger : Ledger
        Receives a fault for each column that is not there.

    Returns
    -------
    bool
        True if all are there.
    """
    absent = [header for header in dict.fromkeys(headers) if header not in table.frame.columns]
    for header in absent:
        suggestion = closest(header, table.frame.columns)
        remedy = f"did you mean {suggestion!r}? " if suggestion else ""
        ledger.fault(
            table.role,
            header,
            f"the file has no such column, which {key} names",
            f"{remedy}correct {key} in the study file; headers are matched with case and blanks",
        )
    return not absent


def fill_pattern(pattern: str, **parts: str | int) -> str:
    """Fill ``{occasion}`` and ``{item}`` into a column pattern; other braces stay as they are.

    Parameters
    ----------
    pattern : str
        A header, or a pattern such as ``wai_{occasion}_{item:02d}``.
    **parts : str or int
        The values to fill in.

    Returns
    -------
    str
        The header.

    Raises
    ------
    ValueError
        If the braces of the pattern do not match or a format such as ``:02d`` does not fit.
    """
    filled = []
    for literal, name, specification, _ in string.Formatter().parse(pattern):
        filled.append(literal)
        if name is not None and name in parts:
            filled.append(format(parts[name], specification or ""))
        elif name is not None:
            filled.append("{" + name + (f":{specification}" if specification else "") + "}")
    return "".join(filled)


def item_patterns(items: str | list[str], n_items: int, key: str, ledger: Ledger) -> list[str] | None:
    """List the columns of a form's items in the order of the form; ``{occasion}`` stays as it is.

    Parameters
    ----------
    items : str or list of str
        Pattern with ``{item}``, or the columns.
    n_items : int
        Number of items that the scoring key has.
    key : str
        Dotted key of the study file.
    ledger : Ledger
        Receives a fault if the number of columns is not that of the key, or a pattern cannot be read.

    Returns
    -------
    list of str or None
        Headers or patterns of headers, or None after a fault.
    """
    if isinstance(items, list) and len(items) != n_items:
        ledger.fault(
            STUDY_FILE,
            key,
            f"{len(items)} item columns are listed, but the scoring key has {n_items} items",
            "list one column per item in the order of the form, or name the key that fits the form",
        )
        return None
    patterns = [items] * n_items if isinstance(items, str) else items
    try:
        filled = [fill_pattern(pattern, item=number) for number, pattern in enumerate(patterns, 1)]
    except ValueError:
        remedy = "write {item}, {item:02d} or {occasion}"
        ledger.fault(STUDY_FILE, key, "the braces of this pattern cannot be read", remedy)
        return None
    if len(set(filled)) < len(filled):
        ledger.fault(STUDY_FILE, key, "two items have the same column", "give every item its own column")
        return None
    return filled
