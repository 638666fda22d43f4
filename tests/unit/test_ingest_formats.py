"""The same study in every format and layout gives the same session table."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from ingest_example import (
    CORE_ITEMS,
    N_CLIENTS,
    N_SESSIONS,
    ROWS_PER_CLIENT,
    WAI_ITEMS,
    ExampleStudy,
    announced,
    described,
    row_of,
)

NUMBERS = ["session_no", "week", "rated_by_therapist", *WAI_ITEMS, *CORE_ITEMS]
ATTENDANCE_CODES = {"A": 1.0, "C": 2.0, "N": 3.0}


@pytest.fixture
def study(tmp_path):
    """The small study with a cancelled session and a missing code."""
    study = ExampleStudy(tmp_path)
    study.set(row_of(2, 3), "attendance", "C")
    for column in [*WAI_ITEMS, "rated_by_therapist"]:
        study.set(row_of(2, 3), column, "")
    study.set(row_of(3, 1), "core_01", "99")
    return study


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The session file as a program with types stores it."""
    numbers = table[NUMBERS].apply(lambda column: pd.to_numeric(column.replace("", np.nan)))
    return table.assign(**{column: numbers[column] for column in NUMBERS}).astype({"client_id": object})


def as_tsv(study):
    study.sessions.to_csv(study.folder / "sessions.tsv", index=False, sep="\t")
    return "sessions.tsv"


def as_semicolons(study):
    commas = study.sessions.assign(
        rated_by_therapist=study.sessions["rated_by_therapist"].str.replace(".", ",")
    )
    commas.to_csv(study.folder / "german.csv", index=False, sep=";", encoding="latin-1")
    study.file.update(delimiter=";", decimal=",", encoding="latin-1")
    return "german.csv"


def as_excel(study):
    typed(study.sessions).to_excel(study.folder / "sessions.xlsx", index=False)
    return "sessions.xlsx"


def as_parquet(study):
    typed(study.sessions).to_parquet(study.folder / "sessions.parquet", index=False)
    return "sessions.parquet"


def as_spss(study):
    """Attendance as labelled numbers, and 99 as a user-missing value of core_01."""
    table = typed(study.sessions)
    table["attendance"] = table["attendance"].map(ATTENDANCE_CODES)
    pyreadstat.write_sav(
        table,
        study.folder / "sessions.sav",
        variable_value_labels={"attendance": {1.0: "A", 2.0: "C", 3.0: "N"}},
        missing_ranges={"core_01": [99]},
    )
    return "sessions.sav"


def as_stata(study):
    table = typed(study.sessions)
    table["attendance"] = table["attendance"].map(ATTENDANCE_CODES)
    pyreadstat.write_dta(
        table,
        study.folder / "sessions.dta",
        variable_value_labels={"attendance": {1: "A", 2: "C", 3: "N"}},
    )
    return "sessions.dta"


@pytest.mark.parametrize("write", [as_tsv, as_semicolons, as_excel, as_parquet, as_spss, as_stata])
def test_every_format_gives_the_same_table(study, write):
    expected = study.written_ingest()
    study.file["path"] = write(study)
    assert study.check().faults == (), described(study.check().faults)
    ingested = study.ingest()
    pd.testing.assert_frame_equal(ingested.sessions, expected.sessions)
    pd.testing.assert_frame_equal(ingested.items, expected.items)
    assert announced(expected.announcements, "missing_code", "core_01") == [1]
    kind = "user_missing" if write is as_spss else "missing_code"
    assert announced(ingested.announcements, kind, "core_01") == [1]


def test_codes_behind_labels_can_be_recoded_too(study):
    expected = study.written_ingest()
    study.file["path"] = as_spss(study)
    study.file["recode"] = {"attendance": {"attended": [1], "cancelled": [2]}}
    pd.testing.assert_frame_equal(study.ingest().sessions, expected.sessions)


def test_wide_file_gives_the_same_table(study):
    """One row per client; the intake and the end have no alliance columns, a session not held no ratings."""
    expected = study.written_ingest()
    long = study.sessions.assign(place=[f"t{place}" for place in range(ROWS_PER_CLIENT)] * N_CLIENTS)
    cells = ["week", "attendance", "rated_by_therapist", *WAI_ITEMS, *CORE_ITEMS]
    table = long.pivot(index=["client_id", "therapist_id"], columns="place", values=cells)
    table.columns = [f"{column}__{place}" for column, place in table.columns]
    never = [
        f"{column}__{place}"
        for place in ("t0", "t7")
        for column in ["attendance", "rated_by_therapist", *WAI_ITEMS]
    ]
    table.drop(columns=never).reset_index().to_csv(study.folder / "wide.csv", index=False)
    study.content["files"]["sessions"] = {
        "path": "wide.csv",
        "layout": "wide",
        "columns": {
            "client": "client_id",
            "therapist": "therapist_id",
            "week": "week__{occasion}",
            "attendance": "attendance__{occasion}",
        },
        "recode": study.file["recode"],
        "missing_codes": [99],
        "occasions": {
            "t0": {"kind": "intake"},
            **{
                f"t{session}": {"kind": "session", "session": session} for session in range(1, N_SESSIONS + 1)
            },
            "t7": {"kind": "end"},
        },
    }
    study.measures["severity"]["items"] = "core_{item:02d}__{occasion}"
    study.measures["bond_client"]["items"] = "wai_{item:02d}__{occasion}"
    study.measures["bond_therapist"]["score"] = "rated_by_therapist__{occasion}"
    assert study.check().faults == (), described(study.check().faults)
    ingested = study.ingest()
    pd.testing.assert_frame_equal(ingested.sessions, expected.sessions)
    pd.testing.assert_frame_equal(ingested.items, expected.items)
    assert announced(ingested.announcements, "assumed") == [2, 2]


def test_occasions_of_a_wide_file_with_nothing_recorded_are_dropped(study):
    table = study.clients[["client_id"]].assign(**{f"rating_s{n}": "4" for n in range(1, N_SESSIONS + 3)})
    table.loc[2:, ["rating_s7", "rating_s8"]] = ""
    table.to_csv(study.folder / "wide.csv", index=False)
    study.content["files"]["wide"] = {
        "path": "wide.csv",
        "layout": "wide",
        "columns": {"client": "client_id"},
        "occasions": {f"s{n}": {"kind": "session", "session": n} for n in range(1, N_SESSIONS + 3)},
    }
    study.measures["bond_therapist"] |= {"file": "wide", "score": "rating_{occasion}"}
    study.set(row_of(2, 3), "attendance", "A")
    study.write()
    assert study.check().faults == (), described(study.check().faults)
    ingested = study.ingest()
    assert announced(ingested.announcements, "dropped") == [2 * (N_CLIENTS - 2)]
    assert len(ingested.sessions) == N_CLIENTS * ROWS_PER_CLIENT + 2 * 2
    assert announced(ingested.announcements, "assumed", "columns.attendance") == [2 * 2]


def test_measures_in_several_files_are_merged(study):
    """Clients' forms, therapists' forms and the outcome each in a file of its own, the intake in a fourth."""
    expected = study.written_ingest()
    sessions = study.sessions
    held = sessions["occasion"] == "session"
    common = ["client_id", "session_no"]
    parts = {
        "log": sessions.loc[held, [*common, "therapist_id", "week", "attendance"]],
        "clients_forms": sessions.loc[held, [*common, *WAI_ITEMS]].sample(frac=1, random_state=3),
        "therapists_forms": sessions.loc[
            held & (sessions["rated_by_therapist"] != ""), [*common, "rated_by_therapist"]
        ],
        "outcome": sessions[["client_id", "session_no", "occasion", "week", *CORE_ITEMS]],
    }
    del study.content["files"]["sessions"]
    for role, part in parts.items():
        part.to_csv(study.folder / f"{role}.csv", index=False)
        columns = {"client": "client_id", "session": "session_no"}
        study.content["files"][role] = {"path": f"{role}.csv", "columns": columns, "missing_codes": [99]}
    recode = {"attendance": {"attended": ["A"], "cancelled": ["C"]}}
    study.content["files"]["log"]["recode"] = recode
    study.content["files"]["log"]["columns"] |= {
        "therapist": "therapist_id",
        "week": "week",
        "attendance": "attendance",
    }
    study.content["files"]["outcome"]["columns"] |= {"occasion_kind": "occasion", "week": "week"}
    for measure, role in (
        ("severity", "outcome"),
        ("bond_client", "clients_forms"),
        ("bond_therapist", "therapists_forms"),
    ):
        study.measures[measure]["file"] = role
    assert study.check().faults == (), described(study.check().faults)
    ingested = study.ingest()
    pd.testing.assert_frame_equal(ingested.sessions, expected.sessions)
    pd.testing.assert_frame_equal(ingested.items, expected.items)
    assert announced(ingested.announcements, "nesting") == [2 * N_CLIENTS]


def test_constant_kind_of_occasion(study):
    """A file of intakes needs no column that says so."""
    expected = study.written_ingest()
    intake = study.sessions["occasion"] == "intake"
    study.sessions[~intake].to_csv(study.folder / "later.csv", index=False)
    study.sessions.loc[intake, ["client_id", "week"]].to_csv(study.folder / "intake.csv", index=False)
    study.content["files"]["sessions"]["path"] = "later.csv"
    study.content["files"]["intake"] = {
        "path": "intake.csv",
        "columns": {"client": "client_id", "week": "week"},
        "constants": {"occasion_kind": "intake"},
    }
    sessions = study.ingest().sessions
    design = ["client", "therapist", "occasion_kind", "session", "week", "attendance"]
    pd.testing.assert_frame_equal(sessions[design], expected.sessions[design])


@pytest.mark.parametrize("other", [datetime.date(1985, 1, 2), "unknown"])
def test_dates_of_birth_are_refused_as_covariates(study, other, tmp_path):
    born = [datetime.date(1990, 5, 6), other] * (N_CLIENTS // 2)
    study.clients.assign(age=pd.Series(born, dtype=object)).to_excel(tmp_path / "clients.xlsx", index=False)
    study.content["files"]["clients"]["path"] = "clients.xlsx"
    faults = study.written_check().faults
    assert [(fault.file, fault.column) for fault in faults] == [("clients", "age")], described(faults)
    assert "calendar date" in faults[0].problem
