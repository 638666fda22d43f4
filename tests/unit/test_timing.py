"""Slots, positions and the lag-1 pair."""

import pandas as pd
import pytest

from alliance_outcome.design.timing import (
    outcome_offset,
    position,
    recall_warning,
    session_slots,
    timing_sentence,
)


@pytest.fixture
def sessions():
    """One client who misses session 2 and meets twice in week 3, and one with a gap; unordered rows."""
    table = pd.DataFrame(
        [
            ("a", "session", 4, 3.4, "attended"),
            ("a", "intake", None, -1.0, None),
            ("a", "session", 1, 0.0, "attended"),
            ("a", "session", 2, 1.0, "no_show"),
            ("a", "session", 3, 2.9, "attended"),
            ("b", "session", 1, 0.0, "attended"),
            ("b", "session", 5, 4.2, "attended"),
            ("b", "end", None, 9.0, None),
        ],
        columns=["client", "occasion_kind", "session", "week", "attendance"],
    )
    return table.astype({"session": "Int64"})


@pytest.mark.parametrize(
    ("lag_unit", "expected"),
    [
        ("attended", [3, None, 1, None, 2, 1, 2, None]),
        ("scheduled", [4, None, 1, None, 3, 1, 5, None]),
        ("week", [None, None, 0, None, 3, 0, 4, None]),
    ],
)
def test_slots_count_held_sessions_in_the_unit_of_the_lag(sessions, lag_unit, expected):
    # In weeks, a's sessions 3 and 4 both fall into week 3; the row that stands first keeps the slot.
    if lag_unit == "week":
        expected[0], expected[4] = 3, None
    slots = session_slots(sessions, lag_unit)
    assert [None if pd.isna(slot) else int(slot) for slot in slots] == expected


def test_week_slots_do_not_depend_on_row_order(sessions):
    ordered = sessions.sort_values(["client", "session"])
    first = session_slots(ordered, "week").reindex(sessions.index)
    assert first[4] == 3
    assert pd.isna(first[0])


@pytest.mark.parametrize(
    ("alliance", "severity", "offset"),
    [("after", "before", 1), ("after", "after", 1), ("before", "before", 1), ("before", "after", 0)],
)
def test_the_lag_1_outcome_is_the_first_strictly_later_severity(alliance, severity, offset):
    slot = pd.Series([4])
    rated = position(slot, alliance)
    measured = {later: position(slot + later, severity).item() for later in (0, 1, 2)}
    first_later = min(later for later, at in measured.items() if at > rated.item())
    assert first_later == offset == outcome_offset(alliance, severity)


def test_the_pair_is_said_in_words():
    assert timing_sentence("client", "after", "before", "attended") == (
        "Alliance rated by the client after a session is paired with severity taken before the next held session."
    )
    assert "after the same session" in timing_sentence("client", "before", "after", "week")


def test_recall_that_reaches_back_is_called_not_temporally_separated():
    assert "not temporally separated" in recall_warning("client", 14, 7.0)
    assert recall_warning("client", 7, 7.0) is None
    assert recall_warning("client", None, 7.0) is None
