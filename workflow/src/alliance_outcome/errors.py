"""Faults that people can mend, and logs that never quote data.

A :class:`Fault` says where something is wrong and what to do about it; a :class:`StudyError` carries all faults of a
study at once. :func:`rule_log` wraps every script of the workflow: our own errors are printed in full, a foreign
exception only as type, module and line, because its message may quote a cell (pandas, pandera and pydantic do).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: How many row numbers a message names before it says how many more there are.
ROWS_SHOWN = 10

#: First word of the line with which a log says why its rule failed; the workflow's ``onerror`` looks for it.
FAILURE_MARK = "FAILED"


class AllianceOutcomeError(Exception):
    """Base of the errors that this package raises on purpose; their messages never hold a participant's value."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a study, in words that lead to its repair.

    Parameters
    ----------
    file : str
        Role of the file in the study file (never its path), or ``study file``.
    column : str or None
        Column header, or the dotted key of the study file.
    rows : tuple of int
        Row numbers as a spreadsheet counts them (the header is row 1); empty when the fault is not in rows.
    problem : str
        What was expected and what is there, without any value of a participant.
    remedy : str
        What to do.
    """

    file: str
    column: str | None
    rows: tuple[int, ...]
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = self.file if self.column is None else f"{self.file}, {self.column}"
        where = f" ({describe_rows(self.rows)})" if self.rows else ""
        return f"{place}{where}: {self.problem} -> {self.remedy}"


class StudyError(AllianceOutcomeError):
    """All faults of a study (or of one stage of it), reported together.

    Parameters
    ----------
    faults : sequence of Fault
        At least one fault.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        header = f"{count} {'fault' if count == 1 else 'faults'} found:"
        super().__init__(
            "\n".join([header, *(f"  {number}. {fault}" for number, fault in enumerate(self.faults, 1))])
        )


class FaultCollector:
    """Collect faults and raise them together, so that a user mends a file once."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, file: str, column: str | None, problem: str, remedy: str, rows: Iterable[int] = ()) -> None:
        """Note one fault; see :class:`Fault` for the parameters."""
        self.faults.append(Fault(file, column, tuple(int(row) for row in rows), problem, remedy))

    def raise_if_any(self) -> None:
        """Raise :class:`StudyError` with everything collected so far, if there is anything."""
        if self.faults:
            raise StudyError(self.faults)


def describe_rows(rows: Sequence[int]) -> str:
    """Say which rows in a few words.

    Parameters
    ----------
    rows : sequence of int
        Spreadsheet row numbers.

    Returns
    -------
    str
        For example ``row 7`` or ``rows 2, 3, 9 and 41 more``.
    """
    shown = ", ".join(str(row) for row in rows[:ROWS_SHOWN])
    rest = len(rows) - ROWS_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def anonymous_description(error: BaseException) -> str:
    """Describe a foreign exception without its message.

    Parameters
    ----------
    error : BaseException
        Any exception that is not ours.

    Returns
    -------
    str
        Type, module and line of the innermost frame, and of the innermost frame in this package.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).stem} line {frame.lineno}" for frame in frames]
    ours = [place for frame, place in zip(frames, places, strict=True) if _is_ours(frame.filename)]
    inner = f"raised in {places[-1]}" if places else "raised at an unknown place"
    through = f", reached through {ours[-1]}" if ours and ours[-1] != places[-1] else ""
    return (
        f"{type(error).__module__}.{type(error).__qualname__}, {inner}{through}. "
        "The message of the exception is withheld because it may quote data."
    )


def _is_ours(filename: str) -> bool:
    """Tell this package's modules (but for this one) and the workflow's scripts from foreign code."""
    path = Path(filename)
    return path != Path(__file__) and ("alliance_outcome" in path.parts or "scripts" in path.parts)


@contextlib.contextmanager
def rule_log(log_path: str | Path, study: str, rule: str) -> Iterator[Callable[[str], None]]:
    """Run the body of a workflow script with its log written and its failure made readable.

    Parameters
    ----------
    log_path : str or Path
        File that receives the log.
    study, rule : str
        Names printed with a failure.

    Yields
    ------
    callable
        ``say(text)`` writes a line to the log; callers pass counts and settings, never a participant's value.

    Raises
    ------
    SystemExit
        With status 1 after any failure, once it has been written to the log and to the terminal. No exception goes
        on to Snakemake, which would print its message.
    """
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    with open(log_path, "w", encoding="utf-8") as log, _quiet_foreign_loggers():

        def say(text: str) -> None:
            log.write(text.rstrip("\n") + "\n")
            log.flush()

        try:
            yield say
        except AllianceOutcomeError as error:
            message = str(error)
        except Exception as error:  # noqa: BLE001 - everything foreign is reported without its message
            message = anonymous_description(error)
        else:
            return
        report = f"{FAILURE_MARK} study {study}, rule {rule}: {message}"
        say(report)
        print(report, file=sys.stderr, flush=True)
    # From nothing, so that no exception with data in its message is printed as the cause.
    raise SystemExit(1) from None


@contextlib.contextmanager
def _quiet_foreign_loggers() -> Iterator[None]:
    """Silence library loggers and warnings: their texts may quote cells."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
