"""Faults of a whole file, and the guard that keeps foreign messages, which may quote cells, from people."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from alliance_outcome.errors import AllianceOutcomeError, Fault, StudyError


def file_error(role: str, problem: str, remedy: str, rows: Sequence[int] = ()) -> StudyError:
    """Make the error for a single fault that leaves a file unread.

    Parameters
    ----------
    role : str
        What the study file calls the file.
    problem, remedy : str
        As in :class:`~alliance_outcome.errors.Fault`.
    rows : sequence of int
        Spreadsheet row numbers, if the fault is in rows.

    Returns
    -------
    StudyError
        To be raised outside of any exception handler, so that no foreign exception becomes its context.
    """
    return StudyError([Fault(role, None, tuple(rows), problem, remedy)])


def guarded[Result](role: str, read: Callable[[], Result]) -> Result:
    """Run a reader of a foreign library, silence its warnings and translate its exceptions.

    Parameters
    ----------
    role : str
        What the study file calls the file.
    read : callable
        Reads the file.

    Returns
    -------
    Result
        What ``read`` returns.

    Raises
    ------
    StudyError
        Ours as they are; instead of anything else, one fault with no more than the type of the exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except AllianceOutcomeError:
        raise
    except Exception as error:  # noqa: BLE001 - every foreign exception may quote a cell or a path
        kind = type(error).__name__
        # Arrow raises OSError for damaged content too; the system's own failures carry a number.
        unreadable = isinstance(error, OSError) and error.errno is not None
    if unreadable:
        raise file_error(role, f"the file cannot be read ({kind})", "check its permissions, or copy it again")
    raise damaged(role, kind)


def damaged(role: str, kind: str) -> StudyError:
    """Say that a file cannot be understood.

    Parameters
    ----------
    role : str
        What the study file calls the file.
    kind : str
        Type of the foreign exception, for those who want to look further.

    Returns
    -------
    StudyError
        To be raised, as that of :func:`file_error`.
    """
    return file_error(
        role,
        f"the file is damaged, protected by a password, or not what its format says ({kind})",
        "open it in the program that wrote it, and save or export it again without a password",
    )
