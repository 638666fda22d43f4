"""Checks of the data: each finds what was planted, is silent without it, and tells of nobody."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.data_quality import data_quality
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS

RATERS = ("client", "therapist")
REVERSED = (3, 9)


def study(seed=1, clients=60, sessions=8):
    """Return sessions, items and measures of a study without anything wrong."""
    rng = np.random.default_rng(seed)
    keys = pd.DataFrame(
        {
            "client": np.repeat([f"C{k:03d}" for k in range(clients)], sessions),
            "episode": 1,
            "occasion_kind": "session",
            "session": np.tile(np.arange(1, sessions + 1), clients),
        }
    )
    table = keys.assign(attendance="attended", severity=rng.normal(15, 5, len(keys)).clip(0, 40))
    items = []
    for rater in RATERS:
        true = np.repeat(rng.normal(5, 0.7, clients), sessions) + rng.normal(0, 0.5, len(keys))
        answers = np.clip(np.rint(true[:, None] + rng.normal(0, 0.8, (len(keys), 12))), 1, 7)
        table[f"alliance_{rater}"] = answers.mean(axis=1)
        for item in range(12):
            keyed = answers[:, item]
            raw = 8 - keyed if item in REVERSED else keyed
            items.append(keys.assign(rater=rater, instrument="wai-s", item=item + 1, raw=raw, keyed=keyed))
    measures = pd.DataFrame(
        {
            "column": [f"alliance_{rater}" for rater in RATERS],
            "construct": "alliance",
            "rater": RATERS,
            "low": 1.0,
            "high": 7.0,
        }
    )
    return table, pd.concat(items, ignore_index=True), measures


NOTHING = pd.DataFrame({"kind": [], "file": [], "column": [], "text": []}, dtype="str")


def checked(sessions, items, measures, announcements=NOTHING):
    return data_quality(sessions, items, measures, announcements, RATERS).set_index("name")


@pytest.fixture
def clean():
    return study()


def test_data_without_faults_pass(clean):
    table = checked(*clean)
    assert table["passed"].all(), table.loc[~table["passed"], "text"].tolist()
    assert table.index.is_unique
    kinds = {name.split(".")[0] for name in table.index}
    assert {"straight_lining", "item_rest", "item_shift", "ceiling", "jumps", "copies", "attendance"} <= kinds


def test_straight_lining_is_found(clean):
    sessions, items, measures = clean
    lazy = (items["rater"] == "client") & (items["session"] == 8)
    items.loc[lazy, "raw"] = 4.0
    table = checked(sessions, items, measures)
    assert not table.loc["straight_lining.wai-s.client", "passed"]
    assert table.loc["straight_lining.wai-s.client", "value"] == pytest.approx(1 / 8, abs=1e-4)
    assert table.loc["straight_lining.wai-s.therapist", "passed"]


def test_an_item_with_the_wrong_key_is_named(clean):
    sessions, items, measures = clean
    wrong = (items["rater"] == "client") & (items["item"] == 5)
    items.loc[wrong, "keyed"] = 8 - items.loc[wrong, "keyed"]
    table = checked(sessions, items, measures)
    assert not table.loc["item_rest.wai-s.client", "passed"]
    assert "items 5" in table.loc["item_rest.wai-s.client", "text"]


def test_shifted_columns_are_suspected(clean):
    sessions, items, measures = clean
    # The file's items 1 to 12 are the form's 2 to 12 and 1: the key turns the wrong ones.
    own = items["rater"] == "client"
    moved = items[own].assign(item=lambda table: (table["item"] - 2) % 12 + 1)
    turned = moved["item"].isin([item + 1 for item in REVERSED])
    moved["keyed"] = np.where(turned, 8 - moved["raw"], moved["raw"])
    table = checked(sessions, pd.concat([moved, items[~own]]), measures)
    assert not table.loc["item_shift.wai-s.client", "passed"]
    assert "shifted" in table.loc["item_shift.wai-s.client", "text"]


def test_a_ceiling_and_jumps_are_found(clean):
    sessions, items, measures = clean
    sessions.loc[sessions["session"] <= 2, "alliance_client"] = 7.0
    odd = sessions["session"] == 5
    sessions.loc[odd, "alliance_therapist"] = 1.0
    table = checked(sessions, items, measures)
    assert not table.loc["ceiling.alliance_client", "passed"]
    assert not table.loc["jumps.alliance_therapist", "passed"]
    assert table.loc["jumps.alliance_therapist", "text"].startswith("therapist-rated alliance:")


def test_copied_records_are_found_and_nobody_is_named(clean):
    sessions, items, measures = clean
    wanted = [items["client"].eq(name) for name in ("C001", "C002")]
    items.loc[wanted[1], ["raw", "keyed"]] = items.loc[wanted[0], ["raw", "keyed"]].to_numpy()
    table = checked(sessions, items, measures)
    row = table.loc["copies"]
    assert not row["passed"]
    assert "entered twice" in row["text"]
    assert row["value"] == pytest.approx(16 / 480, abs=1e-4)
    assert not table["text"].str.contains(r"C\d{3}").any()


def test_small_counts_are_not_told(clean):
    sessions, items, measures = clean
    lazy = (items["rater"] == "client") & (items["session"] == 8) & (items["client"] < "C004")
    items.loc[lazy, "raw"] = 4.0
    row = checked(sessions, items, measures).loc["straight_lining.wai-s.client"]
    assert "fewer than 10 of 480" in row["text"]
    assert pd.isna(row["value"])


def test_leaving_and_missing_ratings_that_go_with_severity_are_found(clean):
    sessions, items, measures = clean
    rng = np.random.default_rng(3)
    bad = sessions["severity"] > 18
    sessions.loc[bad & (rng.uniform(size=len(sessions)) < 0.6), "alliance_client"] = np.nan
    leaves = (bad & (sessions["session"] >= 2)).groupby(sessions["client"]).cumsum()
    kept = sessions[leaves.groupby(sessions["client"]).shift(1, fill_value=0) == 0]
    table = checked(kept, items, measures)
    assert not table.loc["missing_ratings.client", "passed"]
    assert not table.loc["leaving", "passed"]
    assert "tipping point" in table.loc["leaving", "text"]


def test_appointments_that_were_not_kept_are_counted(clean):
    sessions, items, measures = clean
    sessions.loc[sessions["session"].isin([2, 4, 6]), "attendance"] = "no_show"
    row = checked(sessions, items, measures).loc["attendance"]
    assert not row["passed"]
    assert row["value"] == pytest.approx(3 / 8)


def test_without_items_the_scores_are_checked(clean):
    sessions, items, measures = clean
    table = data_quality(sessions, items.iloc[:0], measures, NOTHING, RATERS)
    assert list(table.columns) == list(CHECK_COLUMNS)
    assert not table["name"].str.startswith(("straight", "item", "copies")).any()
    assert table["name"].str.startswith("ceiling").any()


def test_stored_totals_that_contradict_their_items_are_found(clean):
    said = "3 stored totals of severity of 80 differ from the total of the items; the total of the items is used."
    row = {"kind": "stored_total", "file": "sessions", "column": "core_total", "text": said}
    found = checked(*clean, pd.DataFrame([row, {**row, "kind": "warning"}]))
    assert not found.loc["stored_totals.core_total", "passed"]
    assert "find out how it was scored" in found.loc["stored_totals.core_total", "text"]
    assert not checked(*clean).index.str.startswith("stored_totals").any()
