"""Scores worked out by hand, missing rules at their limits, and the checks that catch a wrong key."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.data import item_checks, scoring
from alliance_outcome.data.instrument_files import load_instruments
from alliance_outcome.data.instruments import Instrument, MissingRule

KEYS = load_instruments().instruments
NAN = np.nan


def form(values: list[float] | np.ndarray) -> pd.DataFrame:
    """One filled-in form as a frame with one row."""
    return pd.DataFrame(
        [values], columns=[f"item{number}" for number in range(1, len(values) + 1)], dtype=float
    )


def scored(name: str, values: list[float] | np.ndarray, *, coding: str = "raw") -> scoring.ScoredForm:
    return scoring.score_items(scoring.key_items(form(values), KEYS[name], coding), KEYS[name])


def changed(name: str, **changes: object) -> Instrument:
    """A shipped key with some fields changed, validated again."""
    return Instrument.model_validate_json(json.dumps(KEYS[name].model_dump(mode="json") | changes))


def with_share(name: str, share: float) -> Instrument:
    """A shipped key under a study's own share of missing items."""
    rule = MissingRule(
        method="person_mean", max_missing_share=share, status="default", source="The study file."
    )
    return KEYS[name].with_study_settings(rule)


# --- every shipped form, worked out by hand ------------------------------------------------------------

#: Total with every box ticked at the lowest and at the highest value, as ticked (raw).
TICKED_THROUGH = {
    "wai-36": ((22 * 1 + 14 * 7) / 36, (22 * 7 + 14 * 1) / 36),
    "wai-s": ((10 * 1 + 2 * 7) / 12, (10 * 7 + 2 * 1) / 12),
    "wai-sr": (1, 5),
    "srs": (0, 40),
    "haq-ii": ((14 * 1 + 5 * 6) / 19, (14 * 6 + 5 * 1) / 19),
    "arm-5": ((4 * 1 + 7) / 5, (4 * 7 + 1) / 5),
    "core-10": (2 * 4, 8 * 4),
    "core-om": (10 * 8 * 4 / 34, 10 * 26 * 4 / 34),
    "oq-45": (9 * 4, 36 * 4),
    "phq-9": (0, 27),
    "gad-7": (0, 21),
    "ors": (0, 40),
    "k10": (10, 50),
}


@pytest.mark.parametrize("name", TICKED_THROUGH)
def test_ticked_through(name):
    key = KEYS[name]
    totals = [scored(name, np.full(key.n_items, value)).total.item() for value in key.item_range]
    assert totals == pytest.approx(TICKED_THROUGH[name], abs=1e-12)


@pytest.mark.parametrize("name", TICKED_THROUGH)
def test_keyed_values_reach_both_ends_of_the_range(name):
    key = KEYS[name]
    totals = [
        scored(name, np.full(key.n_items, value), coding="keyed").total.item() for value in key.item_range
    ]
    assert totals == pytest.approx(key.score_range(), abs=1e-12)


#: A pattern with different values, as ticked, and its total by hand.
PATTERNS = {
    # 1..7 five times and a 1, 141 in all: the reversed items are ticked 1 3 7 2 3 4 5 1 6 6 1 3 5 6 (53), so
    # they count 14*8 - 53 = 59, and the others 141 - 53 = 88.
    "wai-36": ([(number - 1) % 7 + 1 for number in range(1, 37)], (88 + 59) / 36),
    # ticked sum 48; items 4 and 10 ticked 4 and 3 turn into 4 and 5.
    "wai-s": ([1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 7, 7], (48 - 7 + 9) / 12),
    "wai-sr": ([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 5, 1], 36 / 12),
    "srs": ([9.5, 8.25, 10, 7.75], 35.5),
    # ticked sum 64; items 4 8 11 16 19 ticked 4 2 5 4 1 (16) turn into 3 5 2 3 6 (19).
    "haq-ii": ([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1], (64 - 16 + 19) / 19),
    # item 3 ticked 2 turns into 6.
    "arm-5": ([7, 6, 2, 5, 4], (7 + 6 + 6 + 5 + 4) / 5),
    # items 2 and 3 ticked 1 and 4 turn into 3 and 0; the others sum to 16.
    "core-10": ([0, 1, 4, 3, 2, 1, 0, 4, 3, 3], 16 + 3 + 0),
    # every reversed item ticked 3 counts 1, every other item ticked 2: 8 + 52 = 60.
    "core-om": ([3 if number in {3, 4, 7, 12, 19, 21, 31, 32} else 2 for number in range(1, 35)], 600 / 34),
    # every reversed item ticked 4 counts 0, every other item ticked 1.
    "oq-45": ([4 if number in {1, 12, 13, 20, 21, 24, 31, 37, 43} else 1 for number in range(1, 46)], 36),
    "phq-9": ([0, 1, 2, 3, 0, 1, 2, 3, 1], 13),
    "gad-7": ([3, 2, 1, 0, 3, 2, 1], 12),
    "ors": ([2.5, 3.1, 4.4, 0], 10.0),
    "k10": ([1, 2, 3, 4, 5, 5, 4, 3, 2, 1], 30),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_mixed_pattern(name):
    values, total = PATTERNS[name]
    assert scored(name, values).total.item() == pytest.approx(total, abs=1e-12)


def test_wai_s_subscales():
    subscales = scored("wai-s", PATTERNS["wai-s"][0]).subscales.iloc[0].to_dict()
    # task 1 2 8 12; bond 3 5 7 9; goal 4 6 10 11 with 4 -> 4 and 3 -> 5.
    assert subscales == {
        "task": (1 + 2 + 1 + 7) / 4,
        "bond": (3 + 5 + 7 + 2) / 4,
        "goal": (4 + 6 + 5 + 7) / 4,
    }


def test_wai_sr_takes_items_8_and_10_into_the_other_subscale():
    only_item_8 = [1.0] * 12
    only_item_8[7] = 5.0
    assert scored("wai-sr", only_item_8).subscales.iloc[0].to_dict() == {"task": 1, "bond": 1, "goal": 8 / 4}
    # The same ticks on the WAI-S: item 8 is in task there, and the reversed 4 and 10 (both goal) count 7.
    assert scored("wai-s", only_item_8).subscales.iloc[0].to_dict() == {
        "task": 8 / 4,
        "bond": 1,
        "goal": 16 / 4,
    }


def test_wai_36_subscales_with_every_box_at_1():
    # Reversed: task 7 11 15 31 33, bond 1 20 29, goal 3 9 10 12 27 34; these count 7, the others 1.
    subscales = scored("wai-36", np.ones(36)).subscales.iloc[0].to_dict()
    assert subscales == {"task": (7 + 35) / 12, "bond": (9 + 21) / 12, "goal": (6 + 42) / 12}


def test_dass_21_is_doubled_and_has_no_total():
    values = np.zeros(21)
    values[[2, 4, 9, 12, 15, 16, 20]] = 3  # depression items at their highest
    values[1] = 2  # one anxiety item
    result = scored("dass-21", values)
    assert result.subscales.iloc[0].to_dict() == {"depression": 42, "anxiety": 4, "stress": 0}
    assert np.isnan(result.total.item())
    assert list(result.n_not_scored.index) == ["depression", "anxiety", "stress"]
    assert result.n_not_scored.to_numpy().sum() == 0


# --- raw and keyed -------------------------------------------------------------------------------------


def test_key_items_turns_reversed_items_round_and_no_others():
    keyed = scoring.key_items(form([1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 7, NAN]), KEYS["wai-s"], "raw")
    np.testing.assert_array_equal(keyed.iloc[0], [1, 2, 3, 4, 5, 6, 7, 1, 2, 5, 7, NAN])
    assert list(keyed.columns) == list(range(1, 13))


def test_keying_leaves_the_callers_frame_alone():
    raw = form([7.0] * 12)
    scoring.key_items(raw, KEYS["wai-s"], "raw")
    assert (raw == 7.0).all(axis=None)


def test_keyed_values_stay_as_they_are():
    values = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 7, 7]
    keyed = scoring.key_items(form(values), KEYS["wai-s"], "keyed")
    np.testing.assert_array_equal(keyed.iloc[0], values)


def test_values_has_to_be_stated():
    with pytest.raises(ValueError, match="'raw' or 'keyed'"):
        scoring.key_items(form([4] * 12), KEYS["wai-s"], "unknown")


def test_index_is_kept_and_nullable_integers_are_read():
    raw = pd.DataFrame({f"i{n}": pd.array([1, None], dtype="Int64") for n in range(1, 6)}, index=[17, 3])
    keyed = scoring.key_items(raw, KEYS["arm-5"], "raw")
    assert list(keyed.index) == [17, 3]
    result = scoring.score_items(keyed, KEYS["arm-5"])
    assert result.total.loc[17] == pytest.approx((4 * 1 + 7) / 5)
    assert np.isnan(result.total.loc[3])
    assert list(result.subscales.index) == [17, 3]


def test_wrong_number_of_columns():
    with pytest.raises(ValueError, match="11 item columns for a form of 12 items"):
        scoring.key_items(form([4] * 11), KEYS["wai-s"], "raw")


def test_item_numbers_out_of_order():
    shuffled = pd.DataFrame([[4.0] * 5], columns=[2, 1, 3, 4, 5])
    with pytest.raises(ValueError, match="in the order of the form"):
        scoring.key_items(shuffled, KEYS["arm-5"], "raw")


def test_text_is_refused_without_being_quoted():
    raw = pd.DataFrame([[4, 4, "Mrs Example", 4, 4]])
    raw.columns = [f"i{n}" for n in range(1, 6)]
    with pytest.raises(TypeError, match="item 3 is not numeric") as caught:
        scoring.key_items(raw, KEYS["arm-5"], "raw")
    assert "Example" not in str(caught.value)


def test_a_column_without_any_value_is_no_text():
    raw = pd.DataFrame({"a": [1], "b": [1], "c": [1], "d": [1], "e": pd.Series([None], dtype=object)})
    assert np.isnan(scoring.key_items(raw, KEYS["arm-5"], "raw").loc[0, 5])


# --- range ---------------------------------------------------------------------------------------------


def test_out_of_range_of_a_likert_form():
    flags = item_checks.out_of_range(form([0, 1, 7, 8, 4.5]), KEYS["arm-5"]).iloc[0]
    assert flags.to_dict() == {1: True, 2: False, 3: False, 4: True, 5: True}


def test_missing_is_not_out_of_range_but_infinity_is():
    flags = item_checks.out_of_range(form([NAN, np.inf, -np.inf, 1, 1]), KEYS["arm-5"]).iloc[0]
    assert list(flags) == [False, True, True, False, False]


@pytest.mark.parametrize("name", ["srs", "ors"])
def test_visual_analogue_forms_have_decimals(name):
    flags = item_checks.out_of_range(form([0.0, 9.95, 10.0, 10.05]), KEYS[name]).iloc[0]
    assert list(flags) == [False, False, False, True]


@pytest.mark.parametrize("coding", ["raw", "keyed"])
def test_impossible_values_are_never_keyed(coding):
    # A blank scored as 0 and a reversed blank as 8, as seen in a real file.
    with pytest.raises(ValueError, match="2 values out of range"):
        scoring.key_items(form([0, 1, 8, 4, 4]), KEYS["arm-5"], coding)


def test_impossible_values_are_never_scored():
    with pytest.raises(ValueError, match="1 values out of range"):
        scoring.score_items(form([1, 1, 8, 4, 4]), KEYS["arm-5"])


# --- missing items -------------------------------------------------------------------------------------


def with_missing(name: str, n_missing: int, value: float = 1.0) -> np.ndarray:
    """A form with its last items missing and one value in all the others."""
    values = np.full(KEYS[name].n_items, value)
    values[values.size - n_missing :] = NAN
    return values


#: Most items that may be missing: 20 % of 36, 12, 4, 19 and 5 items rounded down, or the published number.
MOST_MISSING = {
    "wai-36": 7,
    "wai-s": 2,
    "wai-sr": 2,
    "srs": 0,
    "haq-ii": 3,
    "arm-5": 1,
    "core-10": 1,
    "core-om": 3,
    "oq-45": 0,
    "phq-9": 2,
    "gad-7": 0,
    "ors": 0,
    "k10": 0,
}


@pytest.mark.parametrize("name", MOST_MISSING)
def test_missing_items_up_to_the_limit(name):
    limit = MOST_MISSING[name]
    at_limit = scored(name, with_missing(name, limit), coding="keyed")
    complete = scored(name, with_missing(name, 0), coding="keyed")
    assert at_limit.total.item() == pytest.approx(complete.total.item())
    assert at_limit.n_imputed_items.item() == limit
    beyond = scored(name, with_missing(name, limit + 1), coding="keyed")
    assert np.isnan(beyond.total.item())
    assert beyond.n_imputed_items.item() == 0
    assert beyond.n_not_scored.loc["total"].sum() == 1


def test_person_mean_by_hand():
    # PHQ-9: seven items sum to 10; two missing ones take 10/7 each.
    values = [0, 1, 2, 3, 0, 1, 3, NAN, NAN]
    result = scored("phq-9", values)
    assert result.total.item() == pytest.approx(10 + 2 * 10 / 7)
    assert result.n_imputed_items.item() == 2


def test_person_mean_is_taken_after_reversing():
    # ARM-5: 7 6 (2 -> 6) 5 and a missing item: mean of 7 6 6 5.
    assert scored("arm-5", [7, 6, 2, 5, NAN]).total.item() == 6.0
    # A missing reversed item is not 8: mean of 7 6 5 4.
    assert scored("arm-5", [7, 6, NAN, 5, 4]).total.item() == 5.5


def test_core_om_is_ten_times_the_mean_of_the_answered_items():
    values = np.ones(34)
    values[:11] = 3
    values[[0, 1, 33]] = NAN
    # Items 3 to 11 count 3 and 12 to 33 count 1: 27 + 22 = 49 over 31 items.
    assert scored("core-om", values, coding="keyed").total.item() == pytest.approx(490 / 31)


def test_scales_are_judged_one_by_one():
    # Two of 12 items are missing: the total is scored. A fifth of four is none: neither task nor bond is.
    result = scored("wai-s", [NAN, 5, NAN, 4, 5, 5, 5, 5, 5, 3, 5, 5])
    assert result.total.item() == pytest.approx(49 / 10)  # item 4 counts 4 and item 10 counts 5
    assert result.subscales.isna().iloc[0].to_dict() == {"task": True, "bond": True, "goal": False}
    assert result.n_not_scored[scoring.TOO_MANY_MISSING].to_dict() == {
        "total": 0,
        "task": 1,
        "bond": 1,
        "goal": 0,
    }


def test_dass_21_allows_one_missing_item_per_scale():
    values = np.ones(21)
    values[[2, 1, 0]] = NAN  # one item of each scale
    result = scored("dass-21", values)
    assert result.subscales.iloc[0].to_dict() == {"depression": 14, "anxiety": 14, "stress": 14}
    assert result.n_imputed_items.item() == 3
    values[4] = NAN  # a second one of depression
    result = scored("dass-21", values)
    assert result.subscales.isna().iloc[0].to_dict() == {
        "depression": True,
        "anxiety": False,
        "stress": False,
    }
    assert result.n_imputed_items.item() == 2


def oq_with_subscales() -> Instrument:
    """An OQ-45 key whose subscales are made up: only the arithmetic of the rule is on trial."""
    items = list(range(1, 46))
    status = KEYS["oq-45"].status.model_dump() | {"subscales": "memory"}
    subscales = {"sd": items[:25], "ir": items[25:36], "sr": items[36:]}
    return changed("oq-45", subscales=subscales, status=status, verified=False)


def test_oq_45_mean_of_the_rest_of_the_subscale_rounded():
    values = np.zeros(45)
    values[25:36] = [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, NAN]  # mean of the rest 1.5, rounded up to 2
    values[36:45] = [3, 3, 3, 3, 3, 3, 3, 2, NAN]  # mean of the rest 2.875, rounded to 3
    result = scoring.score_items(form(values), oq_with_subscales())
    assert result.subscales.iloc[0].to_dict() == {"sd": 0, "ir": 15 + 2, "sr": 23 + 3}
    assert result.total.item() == 17 + 26
    assert result.n_imputed_items.item() == 2


def test_oq_45_half_is_rounded_up_from_an_even_number_too():
    values = np.zeros(45)
    values[25:36] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, NAN]  # 0.5, which rounding to even would make 0
    assert scoring.score_items(form(values), oq_with_subscales()).total.item() == 6


def test_oq_45_without_any_answer_in_a_subscale_has_no_total():
    values = np.ones(45)
    values[36:45] = NAN
    result = scoring.score_items(form(values), oq_with_subscales())
    assert np.isnan(result.total.item())
    assert result.subscales.isna().iloc[0].to_dict() == {"sd": False, "ir": False, "sr": True}
    assert result.n_not_scored.loc["total", scoring.TOO_MANY_MISSING] == 1
    assert result.n_not_scored.loc["sr", scoring.NO_ITEM_ANSWERED] == 1


def test_shipped_oq_45_does_not_guess_subscales():
    result = scored("oq-45", with_missing("oq-45", 1))
    assert result.n_not_scored.loc["total", scoring.SUBSCALES_UNKNOWN] == 1
    assert np.isnan(result.total.item())


def test_total_limit_holds_within_subscales_too():
    missing = {
        "method": "person_mean",
        "within": "subscale",
        "max_missing_items": 2,
        "per_subscale": {"task": 1, "bond": 1, "goal": 1},
        "status": "read",
        "source": "A made-up manual.",
    }
    key = changed("wai-sr", missing=missing)
    two = form([NAN, 1, NAN, 4, 3, 4, 3, 4, 3, 1, 4, 1])
    assert scoring.score_items(two, key).total.item() == pytest.approx((4 * 1 + 4 * 3 + 4 * 4) / 12)
    three = form([NAN, 1, NAN, NAN, 3, 4, 3, 4, 3, 1, 4, 1])
    result = scoring.score_items(three, key)
    assert np.isnan(result.total.item())
    assert result.subscales.iloc[0].to_dict() == {"task": 1, "bond": 3, "goal": 4}


def test_limits_by_subscale_beside_a_total_limit():
    # As the CORE-OM has it: 2 of 12 in all, 1 in task, none in a subscale that is not listed.
    missing = {
        "method": "person_mean",
        "max_missing_items": 2,
        "per_subscale": {"task": 1},
        "status": "read",
        "source": "A made-up manual.",
    }
    result = scoring.score_items(
        form([NAN, 1, NAN, 4, 3, 4, 3, 4, 3, 1, 4, 1]), changed("wai-sr", missing=missing)
    )
    assert result.total.item() == pytest.approx(28 / 10)
    assert result.subscales.loc[0, "task"] == 1
    assert result.subscales.isna().iloc[0].to_dict() == {"task": False, "bond": True, "goal": False}


def test_share_of_the_study_replaces_the_rule():
    key = with_share("gad-7", 0.3)  # 2.1 of 7 items
    frame = pd.DataFrame([[1, 1, 1, 1, 3, NAN, NAN], [1, 1, 1, 1, NAN, NAN, NAN]], columns=list("abcdefg"))
    result = scoring.score_items(frame, key)
    assert result.total[0] == pytest.approx(7 * 7 / 5)
    assert np.isnan(result.total[1])


def test_share_that_is_a_whole_number_of_items_is_not_lost_to_rounding_error():
    # 13 / 45 * 45 is 12.999999999999998 in floating point.
    key = with_share("oq-45", 13 / 45)
    values = np.ones(45)
    values[:13] = NAN
    assert scoring.score_items(form(values), key).total.item() == pytest.approx(45)


def test_a_form_that_nobody_filled_in_is_never_scored():
    key = with_share("gad-7", 1 - 1e-12)
    result = scoring.score_items(form([NAN] * 7), key)
    assert np.isnan(result.total.item())
    assert result.n_not_scored.loc["total", scoring.NO_ITEM_ANSWERED] == 1


def test_reasons_are_counted_once_per_form():
    frame = pd.DataFrame(np.ones((4, 9)), columns=[f"i{n}" for n in range(9)])
    frame.iloc[0, :3] = NAN
    frame.iloc[1, :] = NAN
    frame.iloc[2, :2] = NAN
    counts = scoring.score_items(frame, KEYS["phq-9"]).n_not_scored.loc["total"].to_dict()
    assert counts == {
        scoring.NO_ITEM_ANSWERED: 1,
        scoring.TOO_MANY_MISSING: 1,
        scoring.NO_MISSING_RULE: 0,
        scoring.SUBSCALES_UNKNOWN: 0,
    }


def test_form_without_a_rule_says_so():
    result = scored("ors", [5, 5, 5, NAN])
    assert result.n_not_scored.loc["total", scoring.NO_MISSING_RULE] == 1


def test_no_forms_at_all():
    empty = pd.DataFrame(columns=[f"i{n}" for n in range(12)], dtype=float)
    result = scoring.score_items(scoring.key_items(empty, KEYS["wai-s"], "raw"), KEYS["wai-s"])
    assert (len(result.total), result.subscales.shape) == (0, (0, 3))
    assert item_checks.negative_items(empty, 30).not_judged == tuple(range(1, 13))


# --- item-rest correlations ----------------------------------------------------------------------------


def agreeing_items(n_rows: int, n_items: int) -> np.ndarray:
    """Items on 1 to 7 that share one source, drawn with a fixed seed."""
    generator = np.random.default_rng(20)
    level = generator.normal(size=(n_rows, 1))
    return np.clip(np.rint(4 + 1.2 * level + generator.normal(size=(n_rows, n_items))), 1, 7)


def test_item_rest_correlation_equals_the_textbook_definition():
    frame = pd.DataFrame(agreeing_items(80, 6), columns=list("abcdef"))
    expected = [np.corrcoef(frame[c], frame.drop(columns=c).sum(axis=1))[0, 1] for c in frame]
    np.testing.assert_allclose(item_checks.item_rest_correlations(frame), expected, atol=1e-12)


def test_item_rest_correlation_by_hand():
    # Item 1 is 1 2 3; the rest means 2 4 3: deviations -1 0 1 and -1 1 0, so r = 1 / sqrt(2 * 2).
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [1, 5, 3], "c": [3, 3, 3]}, dtype=float)
    correlations = item_checks.item_rest_correlations(frame)
    assert correlations[1] == pytest.approx(0.5)
    assert np.isnan(correlations[3])


def test_item_rest_correlation_uses_the_rows_that_have_both():
    frame = pd.DataFrame({"a": [1, 2, 3, NAN, 7], "b": [1, 5, 3, 6, NAN]}, dtype=float)
    # Rows 1 to 3 have both items: deviations -1 0 1 and -2 2 0, so r = 2 / sqrt(2 * 8).
    np.testing.assert_allclose(item_checks.item_rest_correlations(frame), [0.5, 0.5])


def test_values_declared_raw_that_were_keyed_name_the_reversed_items():
    keyed_already = pd.DataFrame(agreeing_items(200, 36)).add_prefix("i")
    wrong = scoring.key_items(keyed_already, KEYS["wai-36"], "raw")
    assert item_checks.negative_items(wrong, 30).negative == KEYS["wai-36"].reversed
    right = scoring.key_items(keyed_already, KEYS["wai-36"], "keyed")
    check = item_checks.negative_items(right, 30)
    assert (check.negative, check.not_judged) == ((), ())
    assert check.text == "No item runs against the rest of the form."


def test_values_declared_keyed_that_were_raw_name_the_reversed_items():
    ticked = agreeing_items(200, 19)
    ticked = np.clip(ticked, 1, 6)
    reversed_columns = np.array([4, 8, 11, 16, 19]) - 1
    ticked[:, reversed_columns] = 7 - ticked[:, reversed_columns]
    wrong = scoring.key_items(pd.DataFrame(ticked).add_prefix("i"), KEYS["haq-ii"], "keyed")
    check = item_checks.negative_items(wrong, 30)
    assert check.negative == (4, 8, 11, 16, 19)
    assert check.text == "Against the rest of the form run items: 4, 8, 11, 16, 19."


def test_too_few_rows_are_said_not_judged():
    frame = pd.DataFrame(agreeing_items(40, 4), columns=list("abcd"))
    frame["d"] = 8 - frame["d"]
    frame.loc[20:, "d"] = NAN
    check = item_checks.negative_items(frame, 30)
    assert (check.negative, check.not_judged) == ((), (4,))
    assert check.text.endswith("Fewer than 30 rows or no variation, so not judged: 4.")
    assert item_checks.negative_items(frame, 20).negative == (4,)


def test_an_item_without_variation_is_not_judged():
    frame = pd.DataFrame(agreeing_items(40, 3), columns=list("abc")).assign(d=0.1)
    assert item_checks.negative_items(frame, 30).not_judged == (4,)


def test_a_correlation_of_zero_is_not_negative():
    frame = pd.DataFrame({"a": [1, 1, 3, 3], "b": [1, 3, 1, 3]}, dtype=float) / 3
    assert item_checks.negative_items(frame, 4).negative == ()


# --- stored totals -------------------------------------------------------------------------------------


def test_stored_totals_that_disagree():
    stored = pd.Series([10.0, 12.0, NAN, 5.0, 20.5])
    recomputed = pd.Series([10.0, 11.0, 7.0, NAN, 20.0])
    result = item_checks.rescore_disagreements(stored, recomputed, tolerance=0.5)
    assert (result.rows, result.count) == ((1,), 1)
    assert result.rows_not_recomputed == (3,)
    assert result.n_compared == 3


def test_blanks_scored_as_zero_are_found():
    # The real file's mistake on an ARM-5: a blank counted 0, a reversed blank 8; honest totals agree.
    raw = pd.DataFrame([[7, 6, 2, 5, 4], [7, 6, 2, 5, NAN], [7, 6, NAN, 5, 4]], columns=list("abcde"))
    stored = pd.Series([28 / 5, (7 + 6 + 6 + 5 + 0) / 5, (7 + 6 + 8 + 5 + 4) / 5])
    recomputed = scoring.score_items(scoring.key_items(raw, KEYS["arm-5"], "raw"), KEYS["arm-5"]).total
    assert item_checks.rescore_disagreements(stored, recomputed, tolerance=0.05).rows == (1, 2)


def test_tolerance_is_not_lost_to_rounding_error():
    # 0.4 - 0.3 is 0.10000000000000003 in floating point.
    result = item_checks.rescore_disagreements(pd.Series([0.3]), pd.Series([0.4]), tolerance=0.1)
    assert result.count == 0


def test_stored_totals_on_other_rows_are_refused():
    with pytest.raises(ValueError, match="same rows"):
        item_checks.rescore_disagreements(pd.Series([1.0]), pd.Series([1.0], index=[5]), tolerance=0.0)
