"""Pseudonyms of clients and therapists, kept in a key file that never leaves the study's private folder.

The key file is the only place where an original identifier stands beside its pseudonym. Numbers are given
out in an order drawn from the operating system's entropy, never from the run's seed, so that they say nothing
about a person.
"""

from __future__ import annotations

import csv
import os
import re
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from alliance_outcome.errors import Fault, StudyError

KEY_COLUMNS = ("kind", "original", "pseudonym")
#: First letter and number of digits of each kind of pseudonym.
FORMATS: dict[str, tuple[str, int]] = {"client": ("C", 4), "therapist": ("T", 3)}

PseudonymKind = Literal["client", "therapist"]


class PseudonymKey:
    """The pseudonyms of one study.

    Parameters
    ----------
    path : Path
        The key file; made at the first :meth:`save`, read and extended later.

    Raises
    ------
    StudyError
        If the file exists and is not such a key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._issued: dict[tuple[str, str], str] = _read(path) if path.exists() else {}

    def issue(self, kind: PseudonymKind, originals: Iterable[str]) -> dict[str, str]:
        """Return the pseudonyms of identifiers; new ones get new numbers, in random order.

        Parameters
        ----------
        kind : {"client", "therapist"}
            Whose identifiers they are.
        originals : iterable of str
            Identifiers; repeats do no harm.

        Returns
        -------
        dict of str to str
            Pseudonym by identifier.
        """
        wanted = list(dict.fromkeys(originals))
        new = sorted(original for original in wanted if (kind, original) not in self._issued)
        secrets.SystemRandom().shuffle(new)
        letter, digits = FORMATS[kind]
        last = max((int(given[1:]) for (each, _), given in self._issued.items() if each == kind), default=0)
        for number, original in enumerate(new, last + 1):
            self._issued[kind, original] = f"{letter}{number:0{digits}d}"
        return {original: self._issued[kind, original] for original in wanted}

    def save(self) -> None:
        """Write the key file: mode 600, all or nothing; its folder, if it is new, gets mode 700."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(KEY_COLUMNS)
                writer.writerows((kind, original, given) for (kind, original), given in self._issued.items())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise


def _read(path: Path) -> dict[tuple[str, str], str]:
    """Read a key file; anything odd about it stops the run, because a lost pseudonym stays lost."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise _unreadable((), "it cannot be read as a UTF-8 CSV file") from None
    if not rows or tuple(rows[0]) != KEY_COLUMNS:
        raise _unreadable((1,), f"its columns are not {', '.join(KEY_COLUMNS)}")
    odd = [number for number, row in enumerate(rows[1:], 2) if not _is_entry(row)]
    if odd:
        raise _unreadable(tuple(odd), "these rows are no kind, identifier and pseudonym")
    issued = {(kind, original): given for kind, original, given in rows[1:]}
    if len(issued) < len(rows) - 1 or len(set(issued.values())) < len(issued):
        raise _unreadable((), "an identifier or a pseudonym stands in it twice")
    return issued


def _is_entry(row: list[str]) -> bool:
    if len(row) != len(KEY_COLUMNS) or row[0] not in FORMATS or not row[1]:
        return False
    letter, digits = FORMATS[row[0]]
    return re.fullmatch(rf"{letter}\d{{{digits},}}", row[2]) is not None


def _unreadable(rows: tuple[int, ...], problem: str) -> StudyError:
    remedy = "restore it from a backup, or delete it: new pseudonyms are then issued to everybody"
    return StudyError([Fault("pseudonym key", None, rows, problem, remedy)])
