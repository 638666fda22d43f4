"""A person's name, wherever it stands in the data, never gets into a message, a log or a table for the report."""

from __future__ import annotations

import contextlib
import logging
import traceback

import pandas as pd
import pyreadstat
import pytest
from ingest_example import N_CLIENTS, ROWS_PER_CLIENT, ExampleStudy, row_of

from alliance_outcome.data.check_report import write_check
from alliance_outcome.errors import StudyError, rule_log

NAME = "Winifred Quill"


def in_cell(column: str, row: int = row_of(2, 3)):
    """The name in one cell of the session file."""
    return lambda study: study.set(row, column, NAME)


def in_column(column: str):
    """The name in all cells of a column of the session file."""
    return lambda study: study.sessions.__setitem__(column, NAME)


def in_table(table: str, column: str, row: int = 2):
    """The name in one cell of the client or therapist file."""

    def change(study):
        getattr(study, table).loc[row, column] = NAME

    return change


def as_client(study):
    """A client whose identifier is the name, in both files."""
    study.sessions["client_id"] = study.sessions["client_id"].replace("K02", NAME)
    study.clients["client_id"] = study.clients["client_id"].replace("K02", NAME)


def as_client_in_two_spellings(study):
    as_client(study)
    study.set(row_of(2, 3), "client_id", NAME.upper())


def as_client_twice(study):
    as_client(study)
    study.set(row_of(2, 3), "session_no", "2")


def as_therapist(study):
    """A therapist whose identifier is the name."""
    study.sessions["therapist_id"] = study.sessions["therapist_id"].replace("D2", NAME)
    study.therapists["therapist_id"] = study.therapists["therapist_id"].replace("D2", NAME)


def as_second_therapist(study):
    study.set(row_of(2, 6), "therapist_id", NAME)


def as_header(study):
    """The name as a header, and a column of the study file that is not there."""
    study.sessions = study.sessions.rename(columns={"core_01": NAME})


def as_header_twice(study):
    study.sessions = study.sessions.set_axis([NAME, NAME, *study.sessions.columns[2:]], axis=1)


def without_headers(study):
    """The first row of data, with the name in it, where the headers should be."""
    as_client(study)
    study.clients = study.clients.iloc[1:].set_axis(study.clients.iloc[1], axis=1)


def as_date(study):
    study.file["columns"]["date"] = study.file["columns"].pop("week")
    study.set(row_of(2, 3), "week", NAME)


def as_episode(study):
    study.sessions["episode"] = "1"
    study.file["columns"]["episode"] = "episode"
    study.set(row_of(2, 3), "episode", NAME)


def as_arm_and_site(study):
    study.file["columns"] |= {"arm": "arm", "site": "site"}
    study.sessions["site"] = "s"
    study.sessions["arm"] = "a"
    study.set(row_of(2, 3), "arm", NAME)
    study.set(row_of(2, 4), "site", NAME)


def as_covariate_that_varies(study):
    study.clients.loc[N_CLIENTS] = ["K01", NAME, NAME]


def as_path(study):
    study.content["files"]["clients"]["path"] = f"{NAME}.csv"


def as_ragged_row(study):
    study.write()
    path = study.folder / "clients.csv"
    path.write_text(path.read_text() + f"K77,30,man,{NAME}\n")
    study.write = lambda: None


def as_label(study):
    """The name as a value label of an SPSS file."""
    table = study.sessions.assign(attendance=study.sessions["attendance"].map({"A": 1.0, "": float("nan")}))
    for column in table.columns[6:]:
        table[column] = pd.to_numeric(table[column].replace("", None))
    labels = {"attendance": {1.0: NAME}}
    pyreadstat.write_sav(table, study.folder / "sessions.sav", variable_value_labels=labels)
    study.file["path"] = "sessions.sav"


def in_wide_file(study):
    study.clients[["client_id"]].assign(r_1="4", r_2=NAME).to_csv(study.folder / "wide.csv", index=False)
    study.content["files"]["wide"] = {
        "path": "wide.csv",
        "layout": "wide",
        "columns": {"client": "client_id"},
        "occasions": {"1": {"kind": "session", "session": 1}, "2": {"kind": "session", "session": 2}},
    }
    study.measures["bond_therapist"] |= {"file": "wide", "score": "r_{occasion}"}


def everywhere(study):
    for column in study.sessions.columns:
        study.set(row_of(2, 3), column, NAME)
    for column in study.clients.columns:
        study.clients.loc[2, column] = NAME
    for column in study.therapists.columns:
        study.therapists.loc[2, column] = NAME


PLACES = {
    "client": as_client,
    "client_in_one_row": in_cell("client_id"),
    "client_in_two_spellings": as_client_in_two_spellings,
    "client_twice": as_client_twice,
    "client_in_client_file_only": in_table("clients", "client_id"),
    "client_everywhere": in_column("client_id"),
    "therapist": as_therapist,
    "second_therapist": as_second_therapist,
    "therapist_in_therapist_file_only": in_table("therapists", "therapist_id"),
    "item": in_cell("core_04"),
    "item_column": in_column("wai_03"),
    "score": in_cell("rated_by_therapist"),
    "session": in_cell("session_no"),
    "session_of_an_intake": in_cell("session_no", row_of(2, 0)),
    "week": in_cell("week"),
    "date": as_date,
    "attendance": in_cell("attendance"),
    "attendance_of_an_intake": in_cell("attendance", row_of(2, 0)),
    "occasion_kind": in_cell("occasion"),
    "episode": as_episode,
    "arm_and_site": as_arm_and_site,
    "client_covariate": in_table("clients", "age"),
    "therapist_covariate": in_table("therapists", "years"),
    "covariate_that_varies": as_covariate_that_varies,
    "header": as_header,
    "header_twice": as_header_twice,
    "no_headers": without_headers,
    "path": as_path,
    "ragged_row": as_ragged_row,
    "value_label": as_label,
    "wide_file": in_wide_file,
    "everywhere": everywhere,
}


def leaks(text: str) -> bool:
    """Whether any part of the name is in a text."""
    return any(part in text.casefold() for part in NAME.casefold().split())


@pytest.mark.parametrize("place", PLACES)
def test_name_never_leaves_the_data(place, tmp_path, capfd, caplog):
    study = ExampleStudy(tmp_path)
    PLACES[place](study)
    study.write()
    said = []
    with caplog.at_level(logging.DEBUG):
        check = study.check()
        write_check(check.faults, check.announcements, check.risks, tmp_path / "check.json")
        said += [(tmp_path / "check.json").read_text(), *(repr(fault) for fault in check.faults)]
        stops = pytest.raises(SystemExit) if check.faults else contextlib.nullcontext()
        with stops, rule_log(tmp_path / "log", "small", "ingest"):
            try:
                ingested = study.ingest()
            except StudyError as error:
                said += [str(error), repr(error), "".join(traceback.format_exception(error))]
                raise
            said += [
                each.to_csv() for each in (ingested.announcements, ingested.data_flow, ingested.measures)
            ]
            assert not leaks(ingested.items.to_csv())
            assert not leaks(ingested.sessions.drop(columns=["arm", "site"]).to_csv())
    said += [(tmp_path / "log").read_text(), *capfd.readouterr(), caplog.text]
    assert not [text for text in said if leaks(text)]


def test_the_test_would_see_a_leak(tmp_path):
    """Key file and client table hold the name, and are found out by the same means."""
    study = ExampleStudy(tmp_path)
    as_client(study)
    study.clients["gender"] = NAME
    ingested = study.written_ingest()
    assert leaks((tmp_path / "key" / "key.csv").read_text())
    assert leaks(ingested.clients.to_csv())
    assert len(ingested.sessions) == N_CLIENTS * ROWS_PER_CLIENT
