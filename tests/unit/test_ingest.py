"""From raw files to the session table: what is read, scored, merged, nested, counted and announced."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
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

from alliance_outcome.data.ledger import ANNOUNCEMENT_COLUMNS, DATA_FLOW_COLUMNS
from alliance_outcome.data.measures import MEASURE_COLUMNS
from alliance_outcome.data.sessions import validate_sessions

N_ROWS = N_CLIENTS * ROWS_PER_CLIENT
#: Copies of the small study that make one of the example study's size.
N_COPIES = 37


@pytest.fixture
def study(tmp_path):
    """The small study, not yet written."""
    return ExampleStudy(tmp_path)


def pseudonym(study: ExampleStudy, original: str) -> str:
    """Look a pseudonym up in the key file."""
    key = pd.read_csv(study.folder / "key" / "key.csv", dtype="str")
    return key.set_index("original").loc[original, "pseudonym"]


def rows_of(study: ExampleStudy, table: pd.DataFrame, original: str) -> pd.DataFrame:
    """Rows of one client."""
    return table[table["client"] == pseudonym(study, original)].reset_index(drop=True)


def steps(data_flow: pd.DataFrame) -> dict[str, tuple[int, int, int, int]]:
    """Counts of the data flow by step."""
    counts = data_flow.set_index("step")[["n_rows", "n_clients", "n_therapists", "n_removed"]]
    return {step: tuple(row) for step, row in counts.iterrows()}


# --- the tables ------------------------------------------------------------------------------------------------


def test_tables_keep_their_contract(study):
    ingested = study.written_ingest()
    assert list(ingested.sessions.columns) == [
        "study",
        "therapist",
        "client",
        "episode",
        "occasion_kind",
        "session",
        "week",
        "attendance",
        "site",
        "arm",
        "alliance_client",
        "alliance_therapist",
        "alliance_client_task",
        "alliance_client_bond",
        "alliance_client_goal",
        "severity_core_10_client",
        "severity",
    ]
    assert len(ingested.sessions) == N_ROWS
    assert set(ingested.sessions["study"]) == {"small"}
    assert str(ingested.sessions["session"].dtype) == "Int64"
    assert ingested.sessions["site"].isna().all()
    assert list(ingested.announcements.columns) == list(ANNOUNCEMENT_COLUMNS)
    assert list(ingested.data_flow.columns) == list(DATA_FLOW_COLUMNS)
    assert list(ingested.measures.columns) == list(MEASURE_COLUMNS)
    assert list(ingested.clients.columns) == ["client", "age", "gender"]
    assert list(ingested.therapists.columns) == ["therapist", "years"]
    assert list(ingested.items.columns) == [
        "client",
        "episode",
        "occasion_kind",
        "session",
        "rater",
        "instrument",
        "item",
        "raw",
        "keyed",
    ]


def test_tables_survive_parquet(study, tmp_path):
    ingested = study.written_ingest()
    for name in ("sessions", "items", "clients", "therapists"):
        table = getattr(ingested, name)
        table.to_parquet(tmp_path / "table.parquet", index=False)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    validate_sessions(ingested.sessions, ingested.measures)


def test_no_identifier_of_the_files_is_left(study):
    ingested = study.written_ingest()
    for table in (ingested.sessions, ingested.items, ingested.clients, ingested.therapists):
        text = table.to_csv()
        assert "K01" not in text
        assert "D1" not in text


def test_occasions_are_in_order(study):
    ingested = study.written_ingest()
    assert ingested.sessions["client"].is_monotonic_increasing
    for _, rows in ingested.sessions.groupby("client"):
        assert list(rows["occasion_kind"]) == ["intake", *["session"] * N_SESSIONS, "end"]
        assert rows["session"].dropna().tolist() == list(range(1, N_SESSIONS + 1))
        assert rows["week"].tolist() == [-1.0, *range(N_SESSIONS), float(N_SESSIONS)]


def test_between_occasions_lie_between_their_sessions(study):
    extra = study.sessions.loc[[row_of(1, 0) - 2] * 2].assign(occasion="between", week=["2.5", "0.5"])
    study.sessions = pd.concat([study.sessions, extra], ignore_index=True)
    rows = rows_of(study, study.written_ingest().sessions, "K01")
    assert rows["week"].tolist() == [-1, 0, 0.5, 1, 2, 2.5, 3, 4, 5, 6]


def test_row_order_of_the_file_does_not_matter(study):
    first = study.written_ingest()
    study.sessions = study.sessions.sample(frac=1, random_state=1, ignore_index=True)
    study.clients = study.clients[::-1]
    second = study.written_ingest()
    pd.testing.assert_frame_equal(first.sessions, second.sessions)
    pd.testing.assert_frame_equal(first.clients, second.clients)
    pd.testing.assert_frame_equal(first.items, second.items)


def test_gaps_between_session_numbers_are_kept(study):
    study.sessions = study.sessions.drop(index=row_of(1, 3) - 2)
    rows = rows_of(study, study.written_ingest().sessions, "K01")
    assert rows["session"].dropna().tolist() == [1, 2, 4, 5, 6]


def test_covariates_stand_beside_pseudonyms(study):
    ingested = study.written_ingest()
    clients = ingested.clients.set_index("client")
    assert clients.loc[pseudonym(study, "K01"), "age"] == 20
    assert clients.loc[pseudonym(study, "K04"), "gender"] == "man"
    assert ingested.therapists.set_index("therapist").loc[pseudonym(study, "D3"), "years"] == 10
    assert clients["age"].dtype == float


def test_measures_say_what_they_are(study):
    measures = study.written_ingest().measures.set_index("measure")
    assert measures.loc["severity", "column"] == "severity_core_10_client"
    assert measures.loc["bond_client", ["low", "high"]].tolist() == [1, 7]
    assert measures.loc["bond_client", "subscales"].split() == ["task", "bond", "goal"]
    assert measures["from"].tolist() == ["items", "items", "score"]
    assert measures["n_rated"].tolist() == [N_ROWS, N_CLIENTS * N_SESSIONS, N_CLIENTS * N_SESSIONS]
    assert bool(measures.loc["bond_client", "verified"])
    assert pd.isna(measures.loc["bond_therapist", "verified"])
    assert pd.isna(measures.loc["bond_therapist", "form"])
    assert measures["timing"].tolist() == ["before", "after", "after"]


# --- scores by hand --------------------------------------------------------------------------------------------


def test_scores_by_hand(study):
    """WAI-S: items 4 and 10 reversed (8 − x), mean of 12. CORE-10: items 2 and 3 reversed (4 − x), mean × 10."""
    wai = [7, 6, 5, 2, 7, 6, 5, 4, 3, 1, 6, 7]
    core = [4, 0, 1, 2, 3, 2, 1, 0, 4, 3]
    for column, value in zip([*WAI_ITEMS, *CORE_ITEMS], [*wai, *core], strict=True):
        study.set(row_of(1, 2), column, str(value))
    ingested = study.written_ingest()
    row = rows_of(study, ingested.sessions, "K01").iloc[2]
    assert row["alliance_client"] == pytest.approx((7 + 6 + 5 + 6 + 7 + 6 + 5 + 4 + 3 + 7 + 6 + 7) / 12)
    assert row["alliance_client_task"] == pytest.approx((7 + 6 + 4 + 7) / 4)
    assert row["alliance_client_bond"] == pytest.approx((5 + 7 + 5 + 3) / 4)
    assert row["alliance_client_goal"] == pytest.approx((6 + 6 + 7 + 6) / 4)
    assert row["severity"] == pytest.approx((4 + 4 + 3 + 2 + 3 + 2 + 1 + 0 + 4 + 3) / 10 * 10)
    assert row["severity"] == row["severity_core_10_client"]
    items = rows_of(study, ingested.items, "K01").query("session == 2 and instrument == 'wai-s'")
    assert items["raw"].tolist() == wai
    assert items["keyed"].tolist() == [7, 6, 5, 6, 7, 6, 5, 4, 3, 7, 6, 7]
    assert items["item"].tolist() == list(range(1, 13))


def test_missing_items_are_replaced_within_the_rule_and_counted(study):
    """CORE-10 allows one missing item of ten: the mean of the other nine takes its place."""
    for column, value in zip(CORE_ITEMS, ["99", "4", "4", "2", "2", "2", "2", "2", "2", "1"], strict=True):
        study.set(row_of(1, 0), column, value)
    for column in CORE_ITEMS[:2]:
        study.set(row_of(2, 0), column, "")
    ingested = study.written_ingest()
    assert rows_of(study, ingested.sessions, "K01").loc[0, "severity"] == pytest.approx(130 / 9)
    assert np.isnan(rows_of(study, ingested.sessions, "K02").loc[0, "severity"])
    assert announced(ingested.announcements, "missing_code", "core_01") == [1]
    assert announced(ingested.announcements, "items_imputed") == [1]
    assert announced(ingested.announcements, "not_scored") == [1]
    items = rows_of(study, ingested.items, "K01").query("occasion_kind == 'intake'")
    assert items["raw"].isna().tolist() == [True, *[False] * 9]


def test_study_sets_its_own_missing_rule(study):
    study.measures["bond_client"]["max_missing_share"] = 0.5
    for column in WAI_ITEMS[:6]:
        study.set(row_of(1, 1), column, "")
    study.set(row_of(2, 1), WAI_ITEMS[0], "")
    ingested = study.written_ingest()
    assert rows_of(study, ingested.sessions, "K01").loc[1, "alliance_client"] > 0
    assert announced(ingested.announcements, "items_imputed") == [2]


def test_keyed_items_are_not_reversed_again(study):
    raw = study.written_ingest().sessions
    for item in (4, 10):
        column = WAI_ITEMS[item - 1]
        answered = study.sessions[column] != ""
        study.sessions.loc[answered, column] = (8 - study.sessions.loc[answered, column].astype(int)).astype(
            str
        )
    study.measures["bond_client"]["values"] = "keyed"
    pd.testing.assert_frame_equal(study.written_ingest().sessions, raw)


def test_ors_is_flipped_and_announced(study):
    items = [f"ors_{item}" for item in range(1, 5)]
    factor = np.linspace(0.5, 9, N_ROWS)
    for number, column in enumerate(items):
        study.sessions[column] = (factor + number / 10).round(2).astype(str)
    study.measures["severity"] |= {"instrument": "ors", "items": "ors_{item}"}
    ingested = study.written_ingest()
    expected = 40 - (4 * factor[0] + 0.6)
    assert rows_of(study, ingested.sessions, "K01").loc[0, "severity_ors_client"] == pytest.approx(
        expected, abs=0.02
    )
    assert announced(ingested.announcements, "flipped") == [N_ROWS]
    measure = ingested.measures.set_index("measure").loc["severity"]
    assert (measure["flipped"], measure["direction"]) == (True, "higher_is_worse")


def test_stored_total_is_recomputed_and_compared(study):
    study.sessions["core_total"] = study.sessions[CORE_ITEMS].astype(float).sum(axis=1).astype(str)
    study.measures["severity"]["score"] = "core_total"
    items = study.sessions[CORE_ITEMS].astype(float)
    items[["core_02", "core_03"]] = 4 - items[["core_02", "core_03"]]
    n_differ = int((items.sum(axis=1) != study.sessions["core_total"].astype(float)).sum())
    assert 0 < n_differ < N_ROWS
    without = study.written_ingest()
    assert announced(without.announcements, "stored_total") == [n_differ]
    del study.measures["severity"]["score"]
    pd.testing.assert_frame_equal(study.written_ingest().sessions, without.sessions)


def test_own_key_overrides_a_shipped_one(study, tmp_path):
    study.instruments = tmp_path / "instruments"
    study.instruments.mkdir()
    own = """
name: core-10
title: Our version
construct: severity
raters: [client]
n_items: 10
item_range: [0, 4]
reversed: [2, 3]
score: {method: sum}
direction: higher_is_worse
missing: {method: none, status: read, source: Our manual.}
status: {items: read, range: read, reversed: read, subscales: null, score: read}
verified: true
source: Our manual.
"""
    (study.instruments / "core-10.yaml").write_text(own)
    ingested = study.written_ingest()
    assert announced(ingested.announcements, "overridden_key") == [1]
    assert ingested.measures.set_index("measure").loc["severity", "title"] == "Our version"
    (study.instruments / "core-10.yaml").rename(study.instruments / "ours.yaml")
    (study.instruments / "ours.yaml").write_text(own.replace("name: core-10", "name: ours"))
    study.measures["severity"]["instrument"] = "ours"
    assert "severity_ours_client" in study.written_ingest().sessions


def test_unverified_key_can_be_accepted(study):
    study.sessions[WAI_ITEMS] = study.sessions[WAI_ITEMS].replace({"6": "5", "7": "5"})
    for column in ("wai_04", "wai_10"):
        study.sessions[column] = study.sessions[column].replace({str(n): str(6 - n) for n in range(1, 6)})
    study.measures["bond_client"]["instrument"] = "wai-sr"
    study.content["accept_unverified_key"] = True
    assert study.written_check().faults == ()
    ingested = study.ingest()
    assert announced(ingested.announcements, "unverified_key") == [1]
    assert not ingested.measures.set_index("measure").loc["bond_client", "verified"]


# --- ready-made scores -----------------------------------------------------------------------------------------


def ready_made(study: ExampleStudy, **columns: list[str]) -> None:
    """Replace the client's alliance items by ready-made columns."""
    study.sessions = study.sessions.drop(columns=WAI_ITEMS)
    held = study.sessions["occasion"] == "session"
    for name, values in columns.items():
        study.sessions[name] = ""
        study.sessions.loc[held, name] = np.resize(values, held.sum())
    study.measures["bond_client"] = {
        "construct": "alliance",
        "rater": "client",
        "file": "sessions",
        "timing": "after",
        "direction": "higher_is_better",
        "range": [1, 7],
        "instrument": "clinic form",
    }


def test_subscales_only_without_a_key(study):
    ready_made(study, g=["2", "4"], t=["3", "4"], b=["4", "5.5"])
    study.measures["bond_client"]["subscales"] = {"goal": "g", "task": "t", "bond": "b"}
    ingested = study.written_ingest()
    rows = rows_of(study, ingested.sessions, "K01")
    assert rows["alliance_client"].tolist()[1:3] == [3.0, 4.5]
    assert rows["alliance_client_bond"].tolist()[1:3] == [4.0, 5.5]
    assert announced(ingested.announcements, "assumed") == [N_CLIENTS * N_SESSIONS]
    assert ingested.measures.set_index("measure").loc["bond_client", "from"] == "subscales"


def test_subscales_with_a_key_are_weighted_by_their_items(study, tmp_path):
    study.instruments = tmp_path / "instruments"
    study.instruments.mkdir()
    (study.instruments / "uneven.yaml").write_text(
        """
name: uneven
title: Uneven form
construct: alliance
raters: [client]
n_items: 10
item_range: [1, 7]
reversed: []
subscales: {goal: [1, 2], bond: [3, 4, 5, 6, 7, 8, 9, 10]}
score: {method: sum}
direction: higher_is_better
missing: {method: none, status: read, source: Our manual.}
status: {items: read, range: read, reversed: read, subscales: read, score: read}
verified: true
source: Our manual.
"""
    )
    ready_made(study, g=["2"], b=["7"])
    study.measures["bond_client"] |= {"instrument": "uneven", "subscales": {"goal": "g", "bond": "b"}}
    means = rows_of(study, study.written_ingest().sessions, "K01")
    assert means.loc[1, "alliance_client"] == pytest.approx((2 * 2 + 8 * 7) / 10)
    ready_made_sums = {"g": "4", "b": "56"}
    for name, value in ready_made_sums.items():
        study.sessions[name] = study.sessions[name].where(study.sessions[name] == "", value)
    study.measures["bond_client"]["range"] = [10, 70]
    ingested = study.written_ingest()
    assert rows_of(study, ingested.sessions, "K01").loc[1, "alliance_client"] == 60
    assert ingested.measures.set_index("measure").loc["bond_client", ["low", "high"]].tolist() == [10, 70]
    study.measures["bond_client"]["range"] = [0, 100]
    faults = study.check().faults
    assert [fault.column for fault in faults] == ["measures.bond_client.range"], described(faults)


def test_missing_subscale_leaves_no_total(study):
    ready_made(study, g=["2"], t=["3"])
    study.set(row_of(1, 1), "g", "")
    study.measures["bond_client"]["subscales"] = {"goal": "g", "task": "t"}
    ingested = study.written_ingest()
    assert np.isnan(rows_of(study, ingested.sessions, "K01").loc[1, "alliance_client"])
    assert rows_of(study, ingested.sessions, "K01").loc[1, "alliance_client_task"] == 3
    assert announced(ingested.announcements, "not_scored") == [1]


def test_alliance_scored_the_other_way_is_turned_round_with_its_subscales(study):
    ready_made(study, total=["2"], t=["3"])
    study.measures["bond_client"] |= {
        "score": "total",
        "subscales": {"task": "t"},
        "direction": "higher_is_worse",
    }
    rows = rows_of(study, study.written_ingest().sessions, "K01")
    assert rows.loc[1, ["alliance_client", "alliance_client_task"]].tolist() == [6, 5]


def test_column_called_wai_is_announced(study):
    """A column called WAI may hold the Weinberger Adjustment Inventory."""
    ready_made(study, WAI_total=["4"])
    study.measures["bond_client"]["score"] = "WAI_total"
    announcements = study.written_ingest().announcements
    assert "Weinberger" in announcements.loc[announcements["column"] == "WAI_total", "text"].item()


def test_fractions_in_a_sum_of_whole_items_are_counted(study):
    study.sessions["phq"] = "7"
    study.set(row_of(1, 1), "phq", "7.5")
    study.measures["severity"] = {
        "construct": "severity",
        "rater": "client",
        "file": "sessions",
        "instrument": "phq-9",
        "timing": "before",
        "score": "phq",
        "range": [0, 27],
        "direction": "higher_is_worse",
    }
    assert announced(study.written_ingest().announcements, "stored_total") == [1]


# --- less than everything --------------------------------------------------------------------------------------


def test_one_rater_study(study):
    del study.measures["bond_therapist"]
    sessions = study.written_ingest().sessions
    assert [column for column in sessions if column.startswith("alliance")] == [
        "alliance_client",
        "alliance_client_task",
        "alliance_client_bond",
        "alliance_client_goal",
    ]


def test_study_without_therapist_ids(study):
    del study.file["columns"]["therapist"]
    del study.content["files"]["therapists"]
    study.content["therapist_columns"] = {}
    ingested = study.written_ingest()
    assert ingested.sessions["therapist"].isna().all()
    assert list(ingested.therapists.columns) == ["therapist"]
    assert len(ingested.therapists) == 0
    assert announced(ingested.announcements, "nesting", "columns.therapist") == [N_ROWS]


def test_study_without_covariates(study):
    for role in ("clients", "therapists"):
        del study.content["files"][role]
        study.content[f"{role[:-1]}_columns"] = {}
    ingested = study.written_ingest()
    assert list(ingested.clients.columns) == ["client"]
    assert len(ingested.clients) == N_CLIENTS
    assert len(ingested.therapists) == N_CLIENTS // 3


def test_observer_is_a_rater_like_others(study):
    study.measures["bond_therapist"]["rater"] = "observer"
    assert "alliance_observer" in study.written_ingest().sessions


def test_form_of_another_rater_and_another_range_are_announced(study):
    study.measures["bond_client"]["rater"] = "observer"
    study.measures["bond_therapist"] |= {"instrument": "wai-s", "range": [0, 7]}
    announcements = study.written_ingest().announcements
    warned = announcements.loc[announcements["kind"] == "warning", "column"].tolist()
    assert warned == ["measures.bond_client.rater", "measures.bond_therapist.range"]


# --- attendance and time ---------------------------------------------------------------------------------------


def test_sessions_without_attendance_column_count_as_attended(study):
    del study.file["columns"]["attendance"]
    ingested = study.written_ingest()
    is_session = ingested.sessions["occasion_kind"] == "session"
    assert (ingested.sessions.loc[is_session, "attendance"] == "attended").all()
    assert ingested.sessions.loc[~is_session, "attendance"].isna().all()
    assert announced(ingested.announcements, "assumed", "columns.attendance") == [N_CLIENTS * N_SESSIONS]


def test_severity_of_a_session_not_held_is_kept_and_announced(study):
    study.set(row_of(1, 3), "attendance", "N")
    for column in [*WAI_ITEMS, "rated_by_therapist"]:
        study.set(row_of(1, 3), column, "")
    ingested = study.written_ingest()
    row = rows_of(study, ingested.sessions, "K01").loc[3]
    assert row["attendance"] == "no_show"
    assert row["severity"] >= 0
    text = ingested.announcements.query("kind == 'warning' and n == 1")["text"]
    assert text.str.contains("not held: kept").any()


def test_weeks_from_dates_count_from_the_first_held_session(study):
    """Client 1 misses session 1 on 4 January; session 2 on 11 January is week 0."""
    start = pd.Timestamp("2021-01-04")
    weeks = study.sessions["week"].astype(int)
    study.sessions["week"] = [(start + pd.Timedelta(weeks=week)).strftime("%Y-%m-%d") for week in weeks]
    study.file["columns"]["date"] = study.file["columns"].pop("week")
    study.set(row_of(1, 1), "attendance", "C")
    for column in [*WAI_ITEMS, "rated_by_therapist"]:
        study.set(row_of(1, 1), column, "")
    ingested = study.written_ingest()
    assert rows_of(study, ingested.sessions, "K01")["week"].tolist() == [-2, -1, 0, 1, 2, 3, 4, 5]
    assert rows_of(study, ingested.sessions, "K02")["week"].tolist() == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert "2021" not in ingested.sessions.to_csv()


def test_end_before_the_last_session_is_announced(study):
    study.set(row_of(1, 7), "week", "2")
    announcements = study.written_ingest().announcements
    assert announcements["text"].str.contains("end before the last session").any()


def test_sessions_without_a_week_are_announced_where_gaps_count(study):
    study.content["max_gap_weeks"] = 3
    study.set(row_of(1, 3), "week", "")
    check = study.written_check()
    assert check.faults == ()
    assert announced(check.announcements, "warning", "max_gap_weeks") == [1]


def test_episode_may_be_the_same_for_all_rows(study):
    study.file["constants"] = {"episode": "2"}
    assert set(study.written_ingest().sessions["episode"]) == {2}


# --- therapists and episodes -----------------------------------------------------------------------------------


def change_therapist(study: ExampleStudy) -> None:
    """Give client 1 another therapist from session 4 on; the end assessment has none."""
    for place in (4, 5, 6):
        study.set(row_of(1, place), "therapist_id", "D2")
    study.set(row_of(1, 7), "therapist_id", "")


def test_clients_who_change_therapist_are_excluded(study):
    change_therapist(study)
    ingested = study.written_ingest()
    assert steps(ingested.data_flow)["therapist_change"] == (N_ROWS - 8, N_CLIENTS - 1, 4, 8)
    assert ingested.sessions["client"].nunique() == N_CLIENTS - 1
    assert announced(ingested.announcements, "nesting", "therapist_change") == [1]
    assert study.check().faults == ()


def test_clients_who_change_therapist_keep_the_first(study):
    change_therapist(study)
    study.content["therapist_change"] = "first"
    ingested = study.written_ingest()
    rows = rows_of(study, ingested.sessions, "K01")
    assert rows["occasion_kind"].tolist() == ["intake", "session", "session", "session"]
    assert steps(ingested.data_flow)["therapist_change"] == (N_ROWS - 4, N_CLIENTS, 4, 4)


def test_clients_who_change_therapist_are_split(study):
    change_therapist(study)
    study.content["therapist_change"] = "split"
    ingested = study.written_ingest()
    first = pseudonym(study, "K01")
    parts = ingested.sessions[ingested.sessions["client"].str.startswith(first)].groupby("client")
    assert {client: len(rows) for client, rows in parts} == {first: 4, f"{first}_2": 4}
    assert {client: rows["therapist"].unique().tolist() for client, rows in parts} == {
        first: [pseudonym(study, "D1")],
        f"{first}_2": [pseudonym(study, "D2")],
    }
    assert len(ingested.clients) == N_CLIENTS + 1
    assert ingested.clients.set_index("client").loc[f"{first}_2", "age"] == 20
    assert steps(ingested.data_flow)["session_table"][1] == N_CLIENTS + 1
    assert f"{first}_2" in set(ingested.items["client"])


def test_missing_therapist_ids_take_the_only_one_and_are_counted(study):
    for place in (2, 3):
        study.set(row_of(1, place), "therapist_id", "")
    ingested = study.written_ingest()
    assert rows_of(study, ingested.sessions, "K01")["therapist"].nunique() == 1
    assert ingested.sessions["therapist"].notna().all()
    assert announced(ingested.announcements, "nesting", "columns.therapist") == [2]


def test_clients_without_any_therapist_are_left_out_and_counted(study):
    for place in range(ROWS_PER_CLIENT):
        study.set(row_of(1, place), "therapist_id", "")
    ingested = study.written_ingest()
    assert steps(ingested.data_flow)["no_therapist"] == (N_ROWS - 8, N_CLIENTS - 1, 4, 8)
    assert announced(ingested.announcements, "dropped", "columns.therapist") == [1]


def test_therapists_may_stand_in_the_client_file(study):
    study.clients["their_therapist"] = study.sessions["therapist_id"][::ROWS_PER_CLIENT].to_numpy()
    by_session = study.written_ingest().sessions
    del study.file["columns"]["therapist"]
    study.content["files"]["clients"]["columns"]["therapist"] = "their_therapist"
    pd.testing.assert_frame_equal(study.written_ingest().sessions, by_session)


def second_episode(study: ExampleStudy) -> None:
    """Give client 1 a second episode of two sessions."""
    study.sessions["episode"] = "1"
    again = study.sessions.loc[[row_of(1, 1) - 2, row_of(1, 2) - 2]].assign(episode="2", week=["50", "51"])
    study.sessions = pd.concat([study.sessions, again], ignore_index=True)
    study.file["columns"]["episode"] = "episode"


def test_first_episode_is_kept(study):
    second_episode(study)
    ingested = study.written_ingest()
    assert len(rows_of(study, ingested.sessions, "K01")) == 8
    assert steps(ingested.data_flow)["later_episodes"] == (N_ROWS, N_CLIENTS, 4, 2)


def test_episodes_are_separate_clients(study):
    second_episode(study)
    study.content["episodes"] = "separate"
    ingested = study.written_ingest()
    second = ingested.sessions[ingested.sessions["client"] == f"{pseudonym(study, 'K01')}_2"]
    assert second["episode"].tolist() == [2, 2]
    assert second["week"].tolist() == [50, 51]


def test_data_flow_is_conserved(study):
    change_therapist(study)
    second_episode(study)
    for place in range(ROWS_PER_CLIENT):
        study.set(row_of(5, place), "therapist_id", "")
    flow = study.written_ingest().data_flow
    assert flow["order"].tolist() == list(range(1, len(flow) + 1))
    merged = flow[flow["order"] >= flow.loc[flow["step"] == "occasions", "order"].item()]
    assert (merged["n_rows"].diff().dropna() == -merged["n_removed"].iloc[1:]).all()
    assert (merged["n_removed"] > 0).sum() == 3


def test_unmatched_clients_and_therapists_are_announced(study):
    study.clients = study.clients.iloc[1:]
    study.clients.loc[99] = ["K99", "50", "man"]
    study.therapists = study.therapists.iloc[1:]
    ingested = study.written_ingest()
    text = " ".join(ingested.announcements["text"])
    assert "1 client of the sessions without a row in this file" in text
    assert "1 client of this file without any occasion" in text
    assert "1 therapist of the sessions without a row in this file" in text
    assert np.isnan(ingested.clients.set_index("client").loc[pseudonym(study, "K01"), "age"])
    assert len(ingested.clients) == N_CLIENTS


def test_client_file_may_repeat_a_client_with_the_same_values(study):
    study.clients = pd.concat([study.clients, study.clients.iloc[:2].assign(age="")], ignore_index=True)
    ingested = study.written_ingest()
    assert ingested.clients.set_index("client").loc[pseudonym(study, "K01"), "age"] == 20
    assert announced(ingested.announcements, "dropped") == [2]


def test_speed_of_the_example_study(study):
    """3,552 rows with 22 items and 444 clients in two seconds of one processor, as promised."""
    copies = [
        study.sessions.assign(
            client_id=study.sessions["client_id"] + f"x{copy}",
            therapist_id=study.sessions["therapist_id"] + f"x{copy}",
        )
        for copy in range(N_COPIES)
    ]
    study.sessions = pd.concat(copies, ignore_index=True)
    study.write()
    study.ingest()
    start = time.process_time()
    assert len(study.ingest().sessions) == N_COPIES * N_ROWS
    assert time.process_time() - start < 2
