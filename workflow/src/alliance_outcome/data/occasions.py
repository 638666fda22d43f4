"""What a long or wide file says about occasions: who, with whom, when, and whether the session was held."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.source_files import TEXT, SourceFile, code_text
from alliance_outcome.data.values import dates
from alliance_outcome.settings import AttendanceValue, FileSettings, OccasionKind

OCCASION_KINDS: tuple[str, ...] = get_args(OccasionKind)
ATTENDANCE_VALUES: tuple[str, ...] = get_args(AttendanceValue)
SESSION = "session"
#: Design columns that may stand in any file, also in the one with a row per client.
GROUP_COLUMNS = ("therapist", "site", "arm")


def read_occasions(role: str, table: RawTable, settings: FileSettings, ledger: Ledger) -> SourceFile:
    """Read what a long or wide file says about occasions.

    Parameters
    ----------
    role : str
        Name of the file in the study file.
    table : RawTable
        Its content.
    settings : FileSettings
        Layout ``long`` or ``wide``.
    ledger : Ledger
        Receives faults and announcements.

    Returns
    -------
    SourceFile
        Its ``rows`` hold ``client, episode, occasion_kind, session`` (float), ``week``, ``date``, ``attendance``,
        ``therapist``, ``site``, ``arm``, and ``attendance_blank`` and ``therapist_blank``: there is a column, but the
        cell is empty.
    """
    source = SourceFile(role, table, settings, ledger)
    _check_design(source)
    _check_recode(source)
    read_clients(source)
    _read_episodes(source)
    _read_kinds(source)
    _read_sessions(source)
    _read_time(source)
    _read_attendance(source)
    for name in GROUP_COLUMNS:
        source.rows[name] = source.texts(name, labelled=name != "therapist")
    source.rows["therapist_blank"] = source.has("therapist") & source.rows["therapist"].isna()
    return source


def read_clients(source: SourceFile) -> None:
    """Read client identifiers (codes, not labels, which two clients may share); an empty one is a fault."""
    source.rows["client"] = source.texts("client", labelled=False)
    empty = source.rows["client"].isna()
    if source.has("client"):
        source.refuse(
            empty, source.columns.client, "the client's identifier is empty", "fill it in, or delete the rows"
        )
    source.rows["usable"] &= ~empty


def _check_design(source: SourceFile) -> None:
    """Check in the study file that the kind and the time of each occasion are stated, and stated once."""
    columns, ledger = source.columns, source.ledger
    if not source.is_wide:
        if not (columns.occasion_kind or columns.session or "occasion_kind" in source.settings.constants):
            ledger.fault(
                STUDY_FILE,
                source.key("columns"),
                "nothing says what kind of occasion a row is",
                "name a session column (every row is then a session), an occasion_kind column, or a constant",
            )
        return
    stated = [name for name in ("occasion_kind", "session") if getattr(columns, name)]
    for name in stated:
        ledger.fault(
            STUDY_FILE, source.key("columns", name), "occasions says this already", "remove this key"
        )
    for occasion, setting in source.settings.occasions.items():
        key = source.key("occasions", occasion)
        if setting.session == 0:
            remedy = "number the first session 1, or call an assessment before it kind: intake"
            ledger.fault(STUDY_FILE, f"{key}.session", "sessions are numbered from 1", remedy)
        if setting.week is not None and (columns.week or columns.date):
            ledger.fault(
                STUDY_FILE, f"{key}.week", "the week is given here and in a column", "keep one of the two"
            )


def _check_recode(source: SourceFile) -> None:
    """Check that constants and recodes lead to values there are, and that no code leads to two."""
    for name, allowed in (("occasion_kind", OCCASION_KINDS), ("attendance", ATTENDANCE_VALUES)):
        remedy = f"use {', '.join(allowed)}"
        if source.settings.constants.get(name, allowed[0]) not in allowed:
            source.ledger.fault(STUDY_FILE, source.key("constants", name), "this value is not known", remedy)
        recode = source.settings.recode.get(name, {})
        for value in recode:
            if value not in allowed:
                key = source.key("recode", name, value)
                source.ledger.fault(STUDY_FILE, key, "this value is not known", remedy)
        codes = [text for value in recode for text in {code_text(code) for code in recode[value]}]
        if len(set(codes)) < len(codes):
            key = source.key("recode", name)
            source.ledger.fault(STUDY_FILE, key, "one code stands under two values", "list each code once")


def _read_episodes(source: SourceFile) -> None:
    """Read treatment episodes: whole numbers from 1; 1 where the file says nothing."""
    source.rows["episode"] = 1
    if source.columns.episode:
        every = pd.Series(True, index=source.rows.index)
        remedy = "number each client's episodes 1, 2, … in every row"
        number = source.whole_numbers("episode", "episode number", every, remedy)
        source.rows["episode"] = number.fillna(1).astype("int64")
    elif "episode" in source.settings.constants:
        constant = source.settings.constants["episode"].strip()
        if constant.isdecimal() and int(constant) >= 1:
            source.rows["episode"] = int(constant)
        else:
            key = source.key("constants", "episode")
            source.ledger.fault(STUDY_FILE, key, "an episode is a whole number from 1", "correct it")


def _read_kinds(source: SourceFile) -> None:
    """Read what kind of occasion each row is."""
    columns = source.columns
    if source.is_wide:
        kinds = source.spread(lambda occasion: occasion.kind).astype(TEXT)
    elif columns.occasion_kind:
        kinds = source.codes("occasion_kind", OCCASION_KINDS)
        if source.has("occasion_kind"):
            blank = kinds.isna() & source.rows["usable"]
            remedy = f"fill in one of {', '.join(OCCASION_KINDS)}"
            source.refuse(blank, columns.occasion_kind, "the kind of occasion is empty", remedy)
    else:
        constant = source.settings.constants.get("occasion_kind", SESSION if columns.session else None)
        kinds = pd.Series(
            constant if constant in OCCASION_KINDS else np.nan, index=source.rows.index, dtype=TEXT
        )
    source.rows["occasion_kind"] = kinds
    source.rows["usable"] &= kinds.notna()


def _read_sessions(source: SourceFile) -> None:
    """Read session numbers: whole, from 1, on every session row and only there."""
    header = source.columns.session
    is_session = source.rows["occasion_kind"] == SESSION
    source.rows["session"] = np.nan
    if source.is_wide:
        source.rows["session"] = source.spread(lambda occasion: occasion.session).astype(float)
        source.rows["usable"] &= ~(source.rows["session"] < 1)
    elif header:
        remedy = (
            "number sessions 1, 2, … as the clinic counts, and give other assessments their occasion_kind"
        )
        number = source.whole_numbers("session", "session number", is_session, remedy)
        is_other = source.rows["occasion_kind"].notna() & ~is_session
        ignored = int((is_other & source.texts("session", labelled=False).notna()).sum())
        text = f"{counted(ignored, 'session number')} on rows that are no session: not used."
        source.ledger.announce("dropped", source.role, header, ignored, text)
        source.rows["session"] = number
    elif is_session.any():
        key = source.key("columns", "session")
        source.ledger.fault(
            STUDY_FILE, key, "there are session rows but no session number", "name its column"
        )
        source.rows["usable"] &= ~is_session


def _read_time(source: SourceFile) -> None:
    """Read weeks or calendar dates (days; the time of day is not used)."""
    columns, rows = source.columns, source.rows
    rows["week"] = np.nan
    rows["date"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")
    if source.has("week"):
        rows["week"] = source.numbers(source.headers(columns.week, source.key("columns", "week")), "week")
    elif source.has("date"):
        headers = source.headers(columns.date, source.key("columns", "date"))
        read = source.read(
            headers, lambda header: dates(source.table, header, source.ledger.faults, what="date")
        )
        rows["date"] = read.dt.normalize().astype("datetime64[us]")
    elif source.is_wide:
        rows["week"] = source.spread(lambda occasion: occasion.week).astype(float)


def _read_attendance(source: SourceFile) -> None:
    """Read whether sessions were held; null on other rows."""
    rows, header = source.rows, source.columns.attendance
    is_session = rows["occasion_kind"] == SESSION
    constant = source.settings.constants.get("attendance")
    rows["attendance_blank"] = False
    if header:
        attendance = source.codes("attendance", ATTENDANCE_VALUES, is_session)
        rows["attendance_blank"] = source.has("attendance") & rows["usable"] & is_session & attendance.isna()
    else:
        attendance = pd.Series(
            constant if constant in ATTENDANCE_VALUES else np.nan, index=rows.index, dtype=TEXT
        )
    rows["attendance"] = attendance.where(is_session)
