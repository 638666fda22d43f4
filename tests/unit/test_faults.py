"""Bad input: every fault names the file, the column, the rows and the remedy, and all are reported at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from ingest_example import N_CLIENTS, WAI_ITEMS, WAI_REVERSED, ExampleStudy, described, row_of

from alliance_outcome.data.ingest import check_study
from alliance_outcome.errors import StudyError

Change = Callable[[ExampleStudy], None]


@dataclass(frozen=True)
class Case:
    """One mistake, and what must be said about it."""

    change: Change
    file: str
    column: str | None
    rows: tuple[int, ...]
    problem: str
    remedy: str


def cell(row: int, column: str, text: str) -> Change:
    """Put text into one cell of the session file."""
    return lambda study: study.set(row, column, text)


def cells(changes: dict[tuple[int, str], str]) -> Change:
    """Put text into several cells of the session file."""

    def change(study: ExampleStudy) -> None:
        for (row, column), text in changes.items():
            study.set(row, column, text)

    return change


def study_key(path: str, value: object) -> Change:
    """Set a key of the study file by its dotted path; None removes it."""

    def change(study: ExampleStudy) -> None:
        *parents, last = path.split(".")
        place = study.content
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(study: ExampleStudy) -> None:
        for each in changes:
            each(study)

    return change


def swapped_items(study: ExampleStudy) -> None:
    """Store reversed items already reversed, and still call them raw."""
    for item in WAI_REVERSED:
        column = WAI_ITEMS[item - 1]
        answered = study.sessions[column] != ""
        study.sessions.loc[answered, column] = (8 - study.sessions.loc[answered, column].astype(int)).astype(
            str
        )


def repeated_row(study: ExampleStudy) -> None:
    """Give client 2 the session 3 twice."""
    study.set(row_of(2, 4), "session_no", "3")


def follow_ups(study: ExampleStudy) -> None:
    """Turn three sessions into follow-ups, one of them without a week."""
    for place, week in ((4, "20"), (5, "30"), (6, "")):
        for column, text in (
            ("occasion", "follow_up"),
            ("session_no", ""),
            ("attendance", ""),
            ("week", week),
        ):
            study.set(row_of(1, place), column, text)
        for column in [*WAI_ITEMS, "rated_by_therapist"]:
            study.set(row_of(1, place), column, "")


def repeated_client(study: ExampleStudy) -> None:
    """Give client 1 a second row in the client file, with another age."""
    study.clients.loc[N_CLIENTS] = ["K01", "77", "woman"]


def blank_cell(name: str, row: int, column: str) -> Change:
    """Empty a cell of the client or therapist file."""

    def change(study: ExampleStudy) -> None:
        getattr(study, name).loc[row - 2, column] = ""

    return change


def other_therapist_in_second_file(study: ExampleStudy) -> None:
    """Add a second file that gives client 1's session 2 to another therapist."""
    add_second_file(study)
    second = study.folder / "second.csv"
    second.write_text(second.read_text().replace("K01,D1,2,", "K01,D2,2,"))


def add_second_file(study: ExampleStudy) -> None:
    """Move the therapists' ratings to a file of their own."""
    held = study.sessions[study.sessions["occasion"] == "session"]
    held[["client_id", "therapist_id", "session_no", "rated_by_therapist"]].to_csv(
        study.folder / "second.csv", index=False
    )
    study.content["files"]["second"] = {
        "path": "second.csv",
        "columns": {"client": "client_id", "therapist": "therapist_id", "session": "session_no"},
    }
    study.measures["bond_therapist"]["file"] = "second"


def wide(study: ExampleStudy) -> None:
    """Add a wide file with the therapists' ratings of sessions 1 and 2."""
    table = study.clients[["client_id"]].assign(rating_s1="4", rating_s2="5")
    table.to_csv(study.folder / "wide.csv", index=False)
    study.content["files"]["wide"] = {
        "path": "wide.csv",
        "layout": "wide",
        "columns": {"client": "client_id"},
        "occasions": {"s1": {"kind": "session", "session": 1}, "s2": {"kind": "session", "session": 2}},
    }
    study.measures["bond_therapist"] |= {"file": "wide", "score": "rating_{occasion}"}


def wide_twice(study: ExampleStudy) -> None:
    """Give client 1 two rows in the wide file."""
    wide(study)
    path = study.folder / "wide.csv"
    path.write_text(path.read_text() + "K01,6,6\n")


def wide_with_some_items(study: ExampleStudy) -> None:
    """Put the clients' forms of sessions 1 and 2 into the wide file, without item 12 of session 2."""
    wide(study)
    columns = [f"w{occasion}_{item:02d}" for occasion in ("s1", "s2") for item in range(1, 13)]
    pd.DataFrame("4", index=range(N_CLIENTS), columns=columns[:-1]).assign(
        client_id=study.clients["client_id"], rating_s1="4", rating_s2="5"
    ).to_csv(study.folder / "wide.csv", index=False)
    study.measures["bond_client"] |= {"file": "wide", "items": "w{occasion}_{item:02d}"}


def sessions_without_week(study: ExampleStudy) -> None:
    """Leave sessions 1 of two clients to the second file, which has no weeks."""
    add_second_file(study)
    study.sessions = study.sessions.drop(index=[row_of(1, 1) - 2, row_of(2, 1) - 2])


CASES = {
    # --- files and headers
    "missing_file": Case(
        study_key("files.clients.path", "absent.csv"),
        "clients",
        None,
        (),
        "does not exist",
        "files.clients.path",
    ),
    "unknown_design_column": Case(
        study_key("files.sessions.columns.week", "weeks"),
        "sessions",
        "weeks",
        (),
        "no such column, which files.sessions.columns.week names",
        "did you mean 'week'?",
    ),
    "unknown_client_column": Case(
        study_key("files.sessions.columns.client", "Client_ID"),
        "sessions",
        "Client_ID",
        (),
        "no such column",
        "did you mean 'client_id'?",
    ),
    "unknown_score_column": Case(
        study_key("measures.bond_therapist.score", "rated_by_terapist"),
        "sessions",
        "rated_by_terapist",
        (),
        "no such column, which measures.bond_therapist.score names",
        "did you mean 'rated_by_therapist'?",
    ),
    "unknown_item_pattern": Case(
        study_key("measures.bond_client.items", "wai{item:02d}"),
        "sessions",
        "wai{item:02d}",
        (),
        "matches no column",
        "the closest header is 'wai_01'",
    ),
    "one_unknown_item_column": Case(
        study_key("measures.bond_client.items", [*WAI_ITEMS[:-1], "wai_21"]),
        "sessions",
        "wai_21",
        (),
        "no such column",
        "did you mean",
    ),
    "unreadable_pattern": Case(
        study_key("measures.bond_client.items", "wai_{item:02q}"),
        "study file",
        "measures.bond_client.items",
        (),
        "braces",
        "{item:02d}",
    ),
    "unknown_client_covariate": Case(
        study_key("client_columns.age", "agee"),
        "clients",
        "agee",
        (),
        "client_columns.age",
        "did you mean 'age'?",
    ),
    "unknown_therapist_covariate": Case(
        study_key("therapist_columns.years", "yeers"),
        "therapists",
        "yeers",
        (),
        "therapist_columns.years",
        "did you mean 'years'?",
    ),
    "unknown_therapist_id_column": Case(
        study_key("files.therapists.therapist_column", "therapist"),
        "therapists",
        "therapist",
        (),
        "files.therapists.therapist_column",
        "did you mean 'therapist_id'?",
    ),
    # --- item and score values
    "text_in_item": Case(
        cell(row_of(2, 3), "core_04", "often"),
        "sessions",
        "core_04",
        (row_of(2, 3),),
        "not a number",
        "correct the cells",
    ),
    "item_out_of_range": Case(
        cells({(row_of(1, 2), "wai_05"): "8", (row_of(3, 4), "wai_05"): "0"}),
        "sessions",
        "wai_05",
        (row_of(1, 2), row_of(3, 4)),
        "outside the range 1 to 7 of wai-s",
        "missing_codes",
    ),
    "fraction_in_item": Case(
        cell(row_of(4, 1), "wai_01", "3.5"),
        "sessions",
        "wai_01",
        (row_of(4, 1),),
        "not whole numbers",
        "correct",
    ),
    "score_out_of_range": Case(
        cells({(row_of(5, 1), "rated_by_therapist"): "7.2", (row_of(5, 2), "rated_by_therapist"): "0.9"}),
        "sessions",
        "rated_by_therapist",
        (row_of(5, 1), row_of(5, 2)),
        "2 values of bond_therapist outside the stated range 1 to 7",
        "measures.bond_therapist.range",
    ),
    "reversed_range": Case(
        study_key("measures.bond_therapist.range", [7, 1]),
        "study file",
        "measures.bond_therapist.range",
        (),
        "not two numbers in ascending order",
        "[lowest, highest]",
    ),
    "keyed_called_raw": Case(
        swapped_items,
        "sessions",
        "wai_{item:02d}",
        (),
        "items 4, 10 correlate negatively",
        "already reversed, state measures.bond_client.values: keyed",
    ),
    "raw_called_keyed": Case(
        study_key("measures.severity.values", "keyed"),
        "sessions",
        "core_{item:02d}",
        (),
        "items 2, 3 correlate negatively",
        "not yet reversed, state measures.severity.values: raw",
    ),
    "measure_without_values": Case(
        lambda study: study.sessions.__setitem__("rated_by_therapist", ""),
        "sessions",
        "rated_by_therapist",
        (),
        "bond_therapist has no value at all",
        "missing codes",
    ),
    "primary_outcome_never_measured": Case(
        lambda study: study.sessions.__setitem__([f"core_{item:02d}" for item in range(1, 11)], "99"),
        "sessions",
        "core_{item:02d}",
        (),
        "the primary outcome severity has no value at all",
        "missing codes",
    ),
    "never_scorable": Case(
        lambda study: study.sessions.__setitem__([f"core_{item:02d}" for item in range(1, 8)], ""),
        "sessions",
        "core_{item:02d}",
        (),
        "severity has no score on any occasion",
        "announcements",
    ),
    # --- instruments
    "unknown_instrument": Case(
        study_key("measures.bond_client.instrument", "wais"),
        "study file",
        "measures.bond_client.instrument",
        (),
        "no scoring key of this name",
        "did you mean wai-s?",
    ),
    "unverified_key": Case(
        both(
            study_key("measures.bond_client.instrument", "wai-sr"),
            lambda study: study.sessions.__setitem__(
                WAI_ITEMS, study.sessions[WAI_ITEMS].replace({"6": "5", "7": "5"})
            ),
            lambda study: study.sessions.__setitem__(
                ["wai_04", "wai_10"],
                study.sessions[["wai_04", "wai_10"]].replace({str(n): str(6 - n) for n in range(1, 6)}),
            ),
        ),
        "study file",
        "measures.bond_client.instrument",
        (),
        "not verified in a source",
        "accept_unverified_key: true",
    ),
    "wrong_number_of_items": Case(
        study_key("measures.bond_client.items", WAI_ITEMS[:-1]),
        "study file",
        "measures.bond_client.items",
        (),
        "11 item columns are listed, but the scoring key has 12 items",
        "one column per item",
    ),
    "item_listed_twice": Case(
        study_key("measures.bond_client.items", [*WAI_ITEMS[:-1], "wai_01"]),
        "study file",
        "measures.bond_client.items",
        (),
        "two items have the same column",
        "its own column",
    ),
    "form_of_another_construct": Case(
        study_key("measures.bond_client.instrument", "phq-9"),
        "study file",
        "measures.bond_client.construct",
        (),
        "phq-9 measures severity, not alliance",
        "construct or instrument",
    ),
    "form_without_total": Case(
        study_key("measures.severity.instrument", "dass-21"),
        "study file",
        "measures.severity.instrument",
        (),
        "no total score",
        "ready-made score",
    ),
    "direction_against_key": Case(
        study_key(
            "measures.bond_therapist",
            {
                "construct": "alliance",
                "rater": "therapist",
                "file": "sessions",
                "instrument": "wai-s",
                "score": "rated_by_therapist",
                "range": [1, 7],
                "direction": "higher_is_worse",
                "timing": "after",
            },
        ),
        "study file",
        "measures.bond_therapist.direction",
        (),
        "wai-s says higher_is_better",
        "correct direction",
    ),
    "two_measures_in_one_column": Case(
        study_key("measures.bond_therapist.score", "wai_01"),
        "sessions",
        "wai_01",
        (),
        "measures bond_client and bond_therapist both read this column",
        "one measure of one rater",
    ),
    # --- clients, therapists, occasions
    "empty_client_id": Case(
        cell(row_of(1, 7), "client_id", " "),
        "sessions",
        "client_id",
        (row_of(1, 7),),
        "the client's identifier is empty",
        "fill it in",
    ),
    "client_id_in_other_case": Case(
        cell(row_of(3, 5), "client_id", "k03"),
        "sessions",
        "client_id",
        (row_of(3, 5),),
        "only by upper and lower case or by blanks",
        "write the identifier alike",
    ),
    "client_id_with_blank": Case(
        cell(row_of(3, 6), "client_id", "K03 "),
        "sessions",
        "client_id",
        (row_of(3, 6),),
        "only by upper and lower case or by blanks",
        "write the identifier alike",
    ),
    "client_id_in_other_case_in_other_file": Case(
        lambda study: study.clients.__setitem__(
            "client_id", study.clients["client_id"].replace("K04", "k04")
        ),
        "clients",
        "client_id",
        (5,),
        "only by upper and lower case or by blanks",
        "write the identifier alike",
    ),
    "therapist_id_in_other_case": Case(
        cell(row_of(3, 5), "therapist_id", "d1"),
        "sessions",
        "therapist_id",
        (row_of(3, 5),),
        "another therapist's",
        "write the identifier alike",
    ),
    "empty_therapist_id_in_therapist_file": Case(
        blank_cell("therapists", 3, "therapist_id"),
        "therapists",
        "therapist_id",
        (3,),
        "the therapist's identifier is empty",
        "fill it in",
    ),
    "duplicate_session": Case(
        repeated_row,
        "sessions",
        "client_id",
        (row_of(2, 3), row_of(2, 4)),
        "several rows for the same client and occasion",
        "one row per client and occasion",
    ),
    "duplicate_wide_row": Case(
        wide_twice,
        "wide",
        "client_id",
        (2, 14),
        "several rows for the same client and occasion",
        "one row per client",
    ),
    "missing_session_number": Case(
        cell(row_of(2, 2), "session_no", ""),
        "sessions",
        "session_no",
        (row_of(2, 2),),
        "the session number is empty",
        "number sessions 1, 2",
    ),
    "session_zero": Case(
        cell(row_of(2, 1), "session_no", "0"),
        "sessions",
        "session_no",
        (row_of(2, 1),),
        "the session number is below 1",
        "occasion_kind",
    ),
    "negative_session": Case(
        cell(row_of(2, 1), "session_no", "-1"),
        "sessions",
        "session_no",
        (row_of(2, 1),),
        "the session number is below 1",
        "number sessions 1, 2",
    ),
    "date_as_session_number": Case(
        cell(row_of(2, 6), "session_no", "44200"),
        "sessions",
        "session_no",
        (row_of(2, 6),),
        "the session number is above 9999",
        "number sessions 1, 2",
    ),
    "endless_range": Case(
        study_key("measures.bond_therapist.range", [1, float("inf")]),
        "study file",
        "measures.bond_therapist.range",
        (),
        "not two numbers in ascending order",
        "[lowest, highest]",
    ),
    "half_session": Case(
        cell(row_of(2, 1), "session_no", "1.5"),
        "sessions",
        "session_no",
        (row_of(2, 1),),
        "not a whole number",
        "correct the cells",
    ),
    "text_as_session_number": Case(
        cell(row_of(2, 1), "session_no", "first"),
        "sessions",
        "session_no",
        (row_of(2, 1),),
        "not a number",
        "correct the cells",
    ),
    "unknown_attendance_code": Case(
        cell(row_of(6, 2), "attendance", "X"),
        "sessions",
        "attendance",
        (row_of(6, 2),),
        "none of attended, cancelled, no_show",
        "files.sessions.recode.attendance",
    ),
    "empty_attendance": Case(
        cell(row_of(6, 2), "attendance", ""),
        "sessions",
        "attendance",
        (row_of(6, 2),),
        "attendance of a session is empty",
        "attended, cancelled or no_show",
    ),
    "unknown_occasion_kind": Case(
        cell(row_of(6, 7), "occasion", "discharge"),
        "sessions",
        "occasion",
        (row_of(6, 7),),
        "none of intake, session, between, end, follow_up",
        "files.sessions.recode.occasion_kind",
    ),
    "empty_occasion_kind": Case(
        cell(row_of(6, 7), "occasion", ""),
        "sessions",
        "occasion",
        (row_of(6, 7),),
        "the kind of occasion is empty",
        "fill in one of",
    ),
    "alliance_of_cancelled_session": Case(
        cell(row_of(7, 3), "attendance", "C"),
        "sessions",
        "wai_{item:02d}",
        (row_of(7, 3),),
        "bond_client was rated on sessions that were not held",
        "correct the attendance",
    ),
    "week_goes_back": Case(
        cell(row_of(8, 4), "week", "1.5"),
        "sessions",
        "week",
        (row_of(8, 4),),
        "before that of an earlier session",
        "correct the week",
    ),
    "text_as_week": Case(
        cell(row_of(8, 4), "week", "third"),
        "sessions",
        "week",
        (row_of(8, 4),),
        "not a number",
        "correct the cells",
    ),
    "date_with_two_meanings": Case(
        both(
            study_key("files.sessions.columns.week", None),
            study_key("files.sessions.columns.date", "week"),
            lambda study: study.sessions.__setitem__("week", ""),
            cell(row_of(1, 2), "week", "03/04/2021"),
        ),
        "sessions",
        "week",
        (row_of(1, 2),),
        "not dates",
        "YYYY-MM-DD",
    ),
    "second_follow_up_without_week": Case(
        follow_ups,
        "sessions",
        "occasion",
        (row_of(1, 6),),
        "several occasions of this kind, and this one has no week",
        "told apart",
    ),
    "files_disagree_on_therapist": Case(
        other_therapist_in_second_file,
        "second",
        "therapist_id",
        (3,),
        "another file has another therapist",
        "make the files agree",
    ),
    "episode_below_one": Case(
        both(
            study_key("files.sessions.columns.episode", "episode"),
            lambda study: study.sessions.__setitem__("episode", "1"),
            cell(row_of(9, 0), "episode", "0"),
        ),
        "sessions",
        "episode",
        (row_of(9, 0),),
        "the episode number is below 1",
        "1, 2, …",
    ),
    "covariate_varies_within_client": Case(
        repeated_client,
        "clients",
        "age",
        (14,),
        "same identifier hold different values",
        "one row per client",
    ),
    "covariate_is_a_date": Case(
        lambda study: study.clients.__setitem__("age", "1980-02-03"),
        "clients",
        "age",
        (),
        "cannot be a calendar date",
        "age in years",
    ),
    # --- study file
    "typing_error_in_key": Case(
        study_key("primary_outcomes", "severity"),
        "study file",
        "primary_outcomes",
        (),
        "not known",
        "spelling",
    ),
    "typing_error_in_nested_key": Case(
        study_key("files.sessions.columns.sesion", "session_no"),
        "study file",
        "files.sessions.columns.sesion",
        (),
        "not known",
        "spelling",
    ),
    "timing_not_stated": Case(
        study_key("measures.severity.timing", None),
        "study file",
        "measures.severity.timing",
        (),
        "required",
        "add it",
    ),
    "lag_unit_not_stated": Case(
        study_key("lag_unit", None), "study file", "lag_unit", (), "required", "add it"
    ),
    "unknown_therapist_change": Case(
        study_key("therapist_change", "ignore"),
        "study file",
        "therapist_change",
        (),
        "'exclude'",
        "correct it",
    ),
    "measure_of_unknown_file": Case(
        both(study_key("measures.severity.file", "session"), study_key("lag_unit", "weeks")),
        "study file",
        "measures.severity.file",
        (),
        "no file of the study has this name",
        "one of the files",
    ),
    "measure_in_client_file": Case(
        study_key("measures.bond_therapist.file", "clients"),
        "study file",
        "measures.bond_therapist.file",
        (),
        "layout clients holds no measures",
        "layout wide",
    ),
    "occasions_in_client_file": Case(
        study_key("files.clients.columns.week", "age"),
        "study file",
        "files.clients.columns.week",
        (),
        "has no occasions",
        "layout long",
    ),
    "no_kind_of_occasion": Case(
        both(
            study_key("files.sessions.columns.occasion_kind", None),
            study_key("files.sessions.columns.session", None),
        ),
        "study file",
        "files.sessions.columns",
        (),
        "nothing says what kind of occasion a row is",
        "session column",
    ),
    "sessions_without_numbers": Case(
        study_key("files.sessions.columns.session", None),
        "study file",
        "files.sessions.columns.session",
        (),
        "no session number",
        "name its column",
    ),
    "no_sessions": Case(
        both(
            study_key("files.sessions.constants", {"occasion_kind": "end"}),
            study_key("files.sessions.columns.occasion_kind", None),
            lambda study: study.sessions.__setitem__("week", [str(n) for n in range(len(study.sessions))]),
        ),
        "study file",
        "files",
        (),
        "no file holds sessions",
        "occasion_kind",
    ),
    "recode_to_unknown_value": Case(
        study_key("files.sessions.recode.attendance.late", ["L"]),
        "study file",
        "files.sessions.recode.attendance.late",
        (),
        "not known",
        "attended, cancelled, no_show",
    ),
    "code_under_two_values": Case(
        study_key("files.sessions.recode.attendance.cancelled", ["C", "A"]),
        "study file",
        "files.sessions.recode.attendance",
        (),
        "one code stands under two values",
        "list each code once",
    ),
    "weeks_needed": Case(
        both(study_key("lag_unit", "week"), cell(row_of(10, 2), "week", "")),
        "sessions",
        "week",
        (row_of(10, 2),),
        "lag_unit: week needs the week",
        "another lag_unit",
    ),
    "no_weeks_at_all": Case(
        both(study_key("max_gap_weeks", 3), study_key("files.sessions.columns.week", None)),
        "study file",
        "max_gap_weeks",
        (),
        "no file has one",
        "week or date column",
    ),
    "wide_pattern_without_column": Case(
        both(wide, study_key("measures.bond_therapist.score", "score_{occasion}")),
        "wide",
        "score_{occasion}",
        (),
        "matches no column",
        "names of the occasions",
    ),
    "wide_column_for_several_occasions": Case(
        both(wide, study_key("measures.bond_therapist.score", "rating_s1")),
        "study file",
        "measures.bond_therapist.score",
        (),
        "one column cannot hold several occasions",
        "{occasion}",
    ),
    "wide_session_zero": Case(
        both(wide, study_key("files.wide.occasions.s1.session", 0)),
        "study file",
        "files.wide.occasions.s1.session",
        (),
        "numbered from 1",
        "kind: intake",
    ),
    "wide_week_goes_back": Case(
        both(
            wide,
            study_key("files.sessions.columns.week", None),
            study_key("files.wide.occasions.s1.week", 3),
            study_key("files.wide.occasions.s2.week", 2),
        ),
        "study file",
        "files.wide.occasions",
        (),
        "before that of an earlier session",
        "correct the week",
    ),
    "wide_week_given_twice": Case(
        both(
            wide,
            study_key("files.wide.columns.week", "rating_s1"),
            study_key("files.wide.occasions.s1.week", 4),
        ),
        "study file",
        "files.wide.occasions.s1.week",
        (),
        "given here and in a column",
        "keep one",
    ),
    "wide_file_with_kind_column": Case(
        both(wide, study_key("files.wide.columns.occasion_kind", "kind_{occasion}")),
        "study file",
        "files.wide.columns.occasion_kind",
        (),
        "occasions says this already",
        "remove this key",
    ),
    "wide_occasion_with_some_items": Case(
        wide_with_some_items,
        "wide",
        "w{occasion}_{item:02d}",
        (),
        "occasion s2 has columns for some of the items, but not for items 12",
        "add the columns",
    ),
    "wide_design_pattern_without_column": Case(
        both(wide, study_key("files.wide.columns.attendance", "attended_{occasion")),
        "wide",
        "attended_{occasion",
        (),
        "no such column",
        "files.wide.columns.attendance",
    ),
    "unknown_constant": Case(
        both(
            study_key("files.sessions.columns.attendance", None),
            study_key("files.sessions.constants", {"attendance": "A"}),
        ),
        "study file",
        "files.sessions.constants.attendance",
        (),
        "not known",
        "attended, cancelled, no_show",
    ),
    "episode_constant_is_no_number": Case(
        study_key("files.sessions.constants", {"episode": "first"}),
        "study file",
        "files.sessions.constants.episode",
        (),
        "a whole number from 1",
        "correct it",
    ),
    "unknown_episode_column": Case(
        study_key("files.sessions.columns.episode", "episode"),
        "sessions",
        "episode",
        (),
        "no such column",
        "files.sessions.columns.episode",
    ),
    "measures_in_one_column_of_the_table": Case(
        lambda study: study.measures.__setitem__(
            "bond_client_goal",
            study.measures["bond_therapist"] | {"rater": "client_goal", "score": "week", "range": [-1, 7]},
        ),
        "study file",
        "measures.bond_client_goal",
        (),
        "another measure has the same column in the session table",
        "another name",
    ),
    "unknown_stored_total": Case(
        study_key("measures.severity.score", "core_totl"),
        "sessions",
        "core_totl",
        (),
        "measures.severity.score",
        "headers are matched",
    ),
    "no_session_was_held": Case(
        both(
            lambda study: study.sessions.__setitem__(
                "attendance", study.sessions["attendance"].replace("A", "N")
            ),
            study_key("measures.bond_client.construct", "severity"),
            study_key(
                "measures.bond_client",
                {
                    "construct": "severity",
                    "rater": "client",
                    "file": "sessions",
                    "instrument": "wishes",
                    "score": "wai_01",
                    "range": [1, 7],
                    "direction": "higher_is_worse",
                    "timing": "before",
                },
            ),
            study_key("measures.bond_therapist.score", "at_intake"),
            lambda study: study.sessions.__setitem__(
                "at_intake", ["4" if kind == "intake" else "" for kind in study.sessions["occasion"]]
            ),
        ),
        "study file",
        "files",
        (),
        "no session that was held is left",
        "announcements",
    ),
    "weeks_only_in_another_file": Case(
        both(study_key("lag_unit", "week"), sessions_without_week),
        "study file",
        "lag_unit",
        (),
        "2 held sessions without a week stand only in files without weeks",
        "name a week or date column",
    ),
    "no_file_with_occasions": Case(
        both(
            study_key(
                "files",
                {"clients": {"path": "clients.csv", "layout": "clients", "columns": {"client": "client_id"}}},
            ),
            study_key("therapist_columns", {}),
            study_key("measures.severity.file", "clients"),
            study_key("measures.bond_client.file", "clients"),
            study_key("measures.bond_therapist.file", "clients"),
        ),
        "study file",
        "files",
        (),
        "no file holds occasions",
        "layout long or wide",
    ),
    "therapists_of_nobody": Case(
        study_key("files.sessions.columns.therapist", None),
        "study file",
        "files",
        (),
        "no client has a therapist",
        "therapist's identifier",
    ),
}


#: Mistakes that are several: two measures rated on the session that was not held, another mistake to get past the
#: first check of the study file, attendance by a code with two meanings, three measures without a file of occasions.
SEVERAL_FAULTS = {
    "alliance_of_cancelled_session": 2,
    "measure_of_unknown_file": 2,
    "code_under_two_values": 3,
    "no_file_with_occasions": 4,
}


@pytest.mark.parametrize("name", CASES)
def test_fault_names_place_and_remedy(name, tmp_path):
    case, study = CASES[name], ExampleStudy(tmp_path)
    case.change(study)
    faults = study.written_check().faults
    place = (case.file, case.column, case.rows)
    found = [fault for fault in faults if (fault.file, fault.column, fault.rows) == place]
    assert len(found) == 1, described(faults)
    assert case.problem in found[0].problem, described(faults)
    assert case.remedy in found[0].remedy, described(faults)
    assert len(faults) == SEVERAL_FAULTS.get(name, 1), described(faults)


def test_there_are_many_distinct_faults():
    assert len({(case.file, case.problem) for case in CASES.values()}) >= 60


def test_sound_study_has_no_fault(tmp_path):
    assert ExampleStudy(tmp_path).written_check().faults == ()


def test_all_faults_of_a_study_come_at_once(tmp_path):
    """One mistake of every stage: study file, scoring key, header, item, score, client, session, covariate."""
    study = ExampleStudy(tmp_path)
    names = [
        "typing_error_in_key",
        "timing_not_stated",
        "unknown_client_covariate",
        "text_in_item",
        "item_out_of_range",
        "score_out_of_range",
        "empty_client_id",
        "duplicate_session",
        "half_session",
        "unknown_attendance_code",
        "client_id_in_other_case",
        "raw_called_keyed",
        "week_goes_back",
        "empty_therapist_id_in_therapist_file",
    ]
    for name in names:
        CASES[name].change(study)
    places = {(fault.file, fault.column) for fault in study.written_check().faults}
    assert places >= {(CASES[name].file, CASES[name].column) for name in names}


def test_ingest_stops_with_the_faults_of_the_check(tmp_path):
    study = ExampleStudy(tmp_path)
    for name in ("text_in_item", "duplicate_session", "score_out_of_range"):
        CASES[name].change(study)
    faults = study.written_check().faults
    with pytest.raises(StudyError) as caught:
        study.ingest()
    assert caught.value.faults == faults
    assert len(faults) == 3
    assert not (tmp_path / "key").exists()


def test_check_writes_nothing(tmp_path):
    study = ExampleStudy(tmp_path)
    study.write()
    before = sorted(tmp_path.rglob("*"))
    study.check()
    assert sorted(tmp_path.rglob("*")) == before


def test_faulty_scoring_key_does_not_hide_faults_of_files(tmp_path):
    study = ExampleStudy(tmp_path, instruments=tmp_path / "instruments")
    study.instruments.mkdir()
    (study.instruments / "mine.yaml").write_text("name: mine\n")
    CASES["text_in_item"].change(study)
    files = {fault.file for fault in study.written_check().faults}
    assert files == {"instrument file mine.yaml", "sessions"}


def test_faulty_file_entry_does_not_hide_faults_of_other_files(tmp_path):
    study = ExampleStudy(tmp_path)
    study.content["files"]["clients"]["layout"] = "persons"
    CASES["text_in_item"].change(study)
    assert {(fault.file, fault.column) for fault in study.written_check().faults} == {
        ("study file", "files.clients.layout"),
        ("sessions", "core_04"),
    }


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"files": None, "measures": None},
        {"files": [], "measures": "none", "client_columns": 3},
        {"files": {"sessions": None, 3: {}, "Bad Name": {}}, "measures": {"severity": [], None: {}}},
        {"files": {"sessions": {"path": "x.csv", "columns": {"client": 1, 2: 3}}}, "primary_outcome": ["a"]},
        {"client_columns": {"age": ["a"]}, "therapist_columns": {1: "b"}, 5: 6, "lag_unit": "week"},
    ],
)
def test_no_study_file_is_too_bad_to_be_checked(content, tmp_path):
    assert check_study(content, tmp_path, None).faults


CELLS = (
    "",
    " ",
    "x",
    "-1",
    "0",
    "1.5",
    "99",
    "1e9",
    "1e300",
    "NaN",
    "K01",
    "k01 ",
    "A",
    "session",
    "2021-13-01",
    "7",
    "\u00a0",
)


@pytest.mark.parametrize("seed", range(20))
def test_check_survives_random_damage(seed, tmp_path):
    """Whatever stands in the cells, the check reports it; an exception would show as a failure here."""
    rng = np.random.default_rng(seed)
    study = ExampleStudy(tmp_path)
    for table in (study.sessions, study.clients, study.therapists):
        for _ in range(rng.integers(1, 25)):
            table.iloc[rng.integers(len(table)), rng.integers(table.shape[1])] = rng.choice(CELLS)
    if seed % 3 == 0:
        columns = study.file["columns"]
        del columns[rng.choice([name for name in columns if name != "client"])]
    if seed % 4 == 0:
        study.sessions = study.sessions.drop(columns=rng.choice(study.sessions.columns))
    faults = study.written_check().faults
    assert all(fault.problem and fault.remedy for fault in faults)
