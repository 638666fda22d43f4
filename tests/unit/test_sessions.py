"""The session table's contract: what breaks it is reported by column and row, without quoting a cell."""

from __future__ import annotations

import pandas as pd
import pytest
from ingest_example import ExampleStudy

from alliance_outcome.data.sessions import DESIGN_COLUMNS, session_columns, session_schema, validate_sessions
from alliance_outcome.errors import StudyError


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """The small study, ingested."""
    return ExampleStudy(tmp_path_factory.mktemp("study")).written_ingest()


def put(row: int, column: str, value: object):
    """Put a value into a row (from 1) of the table."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row - 1, column] = value
        return table

    return change


def test_schema_holds_for_an_ingested_study(ingested):
    pd.testing.assert_frame_equal(validate_sessions(ingested.sessions, ingested.measures), ingested.sessions)
    assert list(session_schema(ingested.measures).columns) == list(ingested.sessions.columns)


def test_measures_read_back_from_csv_give_the_same_schema(ingested, tmp_path):
    ingested.measures.to_csv(tmp_path / "measures.csv", index=False)
    measures = pd.read_csv(tmp_path / "measures.csv")
    validate_sessions(ingested.sessions, measures)
    assert session_columns(measures) == session_columns(ingested.measures)


def test_design_columns_come_first(ingested):
    assert tuple(session_columns(ingested.measures)[: len(DESIGN_COLUMNS)]) == DESIGN_COLUMNS
    assert session_columns(ingested.measures)[-1] == "severity"


@pytest.mark.parametrize(
    ("change", "column", "rows", "problem"),
    [
        (put(3, "client", "Winifred Quill"), "client", (3,), "str_matches"),
        (put(3, "therapist", "Winifred Quill"), "therapist", (3,), "str_matches"),
        (put(3, "occasion_kind", "Winifred Quill"), "occasion_kind", (3,), "isin"),
        (put(3, "attendance", "Winifred Quill"), "attendance", (3,), "isin"),
        (put(3, "session", 0), "session", (3,), "greater_than_or_equal_to"),
        (put(3, "week", float("inf")), "week", (3,), "finite"),
        (put(3, "alliance_client", 7.5), "alliance_client", (3,), "in_range"),
        (put(3, "severity_core_10_client", -0.25), "severity_core_10_client", (3,), "in_range"),
        (put(3, "episode", 0), "episode", (3,), "greater_than_or_equal_to"),
        (put(1, "session", 1), None, (1,), "session numbers belong to sessions"),
        (put(1, "attendance", "attended"), None, (1,), "attendance belongs to sessions"),
        (put(3, "session", 1), None, (2, 3), "one row per client"),
        (put(3, "therapist", None), None, (3,), "therapist ids complete or absent"),
        (lambda table: table.assign(extra=1), None, (), "column_in_schema"),
        (lambda table: table.drop(columns="site"), None, (), "column_in_dataframe"),
        (lambda table: table.astype({"session": float}), "session", (), "dtype"),
    ],
)
def test_broken_contract_is_reported(ingested, change, column, rows, problem):
    table = change(ingested.sessions.copy())
    with pytest.raises(StudyError) as caught:
        validate_sessions(table, ingested.measures)
    found = [fault for fault in caught.value.faults if problem in fault.problem]
    assert [(fault.file, fault.column, fault.rows) for fault in found] == [("session table", column, rows)]
    assert "Winifred" not in str(caught.value)


def test_client_with_two_therapists_is_not_nested(ingested):
    others = ingested.sessions["therapist"].unique()
    table = ingested.sessions.copy()
    table.loc[0, "therapist"] = next(each for each in others if each != table.loc[0, "therapist"])
    with pytest.raises(StudyError, match="clients nested in therapists"):
        validate_sessions(table, ingested.measures)


def test_all_that_is_broken_is_reported_at_once(ingested):
    table = ingested.sessions.copy()
    table.loc[2, ["client", "occasion_kind"]] = "Winifred Quill"
    table.loc[4, "alliance_client"] = 9
    with pytest.raises(StudyError) as caught:
        validate_sessions(table, ingested.measures)
    assert {fault.column for fault in caught.value.faults} >= {"client", "occasion_kind", "alliance_client"}
    assert "Winifred" not in str(caught.value)
