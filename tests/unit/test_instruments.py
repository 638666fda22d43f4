"""Scoring keys: the shipped ones agree with the table of facts, and a user's are checked in full."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from alliance_outcome.data.instrument_files import load_instruments
from alliance_outcome.data.instruments import Instrument, MissingRule
from alliance_outcome.errors import Fault, StudyError

SHIPPED = load_instruments().instruments

#: items, lowest, highest, reversed items, verified: from the table of scoring facts, not from the keys.
FACTS = {
    "wai-36": (36, 1, 7, {1, 3, 7, 9, 10, 11, 12, 15, 20, 27, 29, 31, 33, 34}, False),
    "wai-s": (12, 1, 7, {4, 10}, True),
    "wai-sr": (12, 1, 5, set(), False),
    "srs": (4, 0, 10, set(), True),
    "haq-ii": (19, 1, 6, {4, 8, 11, 16, 19}, False),
    "arm-5": (5, 1, 7, {3}, True),
    "core-10": (10, 0, 4, {2, 3}, True),
    "core-om": (34, 0, 4, {3, 4, 7, 12, 19, 21, 31, 32}, False),
    "oq-45": (45, 0, 4, {1, 12, 13, 20, 21, 24, 31, 37, 43}, True),
    "phq-9": (9, 0, 3, set(), True),
    "gad-7": (7, 0, 3, set(), True),
    "ors": (4, 0, 10, set(), True),
    "dass-21": (21, 0, 3, set(), False),
    "k10": (10, 1, 5, set(), True),
}

#: Lowest and highest score: sums of item values, item means, or item means times ten.
SCORE_RANGES = {
    "wai-36": (1, 7),
    "wai-s": (1, 7),
    "wai-sr": (1, 5),
    "srs": (0, 40),
    "haq-ii": (1, 6),
    "arm-5": (1, 7),
    "core-10": (0, 40),
    "core-om": (0, 40),
    "oq-45": (0, 180),
    "phq-9": (0, 27),
    "gad-7": (0, 21),
    "ors": (0, 40),
    "k10": (10, 50),
}

ALLIANCE = {"wai-36", "wai-s", "wai-sr", "srs", "haq-ii", "arm-5"}


def shipped_content(name: str) -> dict:
    """Content of a shipped key, as a user who starts from a copy has it."""
    text = (importlib.resources.files("alliance_outcome.data") / "keys" / f"{name}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def write_key(directory: Path, name: str, content: dict) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def faults_of(directory: Path) -> tuple[Fault, ...]:
    with pytest.raises(StudyError) as caught:
        load_instruments(directory)
    return caught.value.faults


def only_fault(directory: Path, **changes: object) -> Fault:
    """The single fault of a WAI-S key after some changes."""
    write_key(directory, "wai-s", shipped_content("wai-s") | changes)
    (fault,) = faults_of(directory)
    return fault


def test_ships_exactly_the_forms_with_known_keys():
    assert set(SHIPPED) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_shipped_key_holds_the_facts(name):
    key = SHIPPED[name]
    items, low, high, reversed_items, verified = FACTS[name]
    assert (key.n_items, key.item_range, set(key.reversed), key.verified) == (
        items,
        (low, high),
        reversed_items,
        verified,
    )
    assert key.construct == ("alliance" if name in ALLIANCE else "severity")
    better = name in ALLIANCE | {"ors"}
    assert key.direction == ("higher_is_better" if better else "higher_is_worse")


@pytest.mark.parametrize("name", SCORE_RANGES)
def test_score_range(name):
    assert SHIPPED[name].score_range() == SCORE_RANGES[name]


def test_mean_is_the_default_where_the_source_states_no_score():
    chosen = {name: key for name, key in SHIPPED.items() if key.status.score == "default"}
    assert set(chosen) == {"wai-36", "wai-s", "wai-sr", "haq-ii"}
    assert {(key.score.method, key.score.multiplier) for key in chosen.values()} == {("mean", 1.0)}


def test_subscale_score_ranges():
    assert SHIPPED["wai-s"].score_range("bond") == (1, 7)
    assert SHIPPED["dass-21"].score_range("anxiety") == (0, 42)


def test_only_visual_analogue_items_have_decimals():
    assert {name for name, key in SHIPPED.items() if key.decimals_allowed} == {"srs", "ors"}


def test_subscale_membership():
    assert SHIPPED["wai-s"].subscales == {"task": (1, 2, 8, 12), "bond": (3, 5, 7, 9), "goal": (4, 6, 10, 11)}
    assert SHIPPED["wai-sr"].subscales == {
        "task": (1, 2, 10, 12),
        "bond": (3, 5, 7, 9),
        "goal": (4, 6, 8, 11),
    }
    assert SHIPPED["wai-36"].subscales["task"] == (2, 4, 7, 11, 13, 15, 16, 18, 24, 31, 33, 35)
    assert SHIPPED["wai-36"].subscales["bond"] == (1, 5, 8, 17, 19, 20, 21, 23, 26, 28, 29, 36)
    assert SHIPPED["dass-21"].subscales["depression"] == (3, 5, 10, 13, 16, 17, 21)
    assert SHIPPED["dass-21"].subscales["anxiety"] == (2, 4, 7, 9, 15, 19, 20)


def test_subscales_partition_the_items():
    with_subscales = {name for name, key in SHIPPED.items() if key.subscales}
    assert with_subscales == {"wai-36", "wai-s", "wai-sr", "dass-21"}
    for name in with_subscales:
        members = sorted(item for items in SHIPPED[name].subscales.values() for item in items)
        assert members == list(range(1, SHIPPED[name].n_items + 1)), name


@pytest.mark.parametrize("name", FACTS)
def test_verified_means_nothing_from_memory(name):
    key = SHIPPED[name]
    assert key.verified == (not key.unverified_parts)


def test_unverified_parts_name_the_items():
    assert SHIPPED["core-om"].unverified_parts == ("reversed (items 31, 32)",)
    assert "reversed (items 31, 33, 34)" in SHIPPED["wai-36"].unverified_parts
    assert "range" in SHIPPED["haq-ii"].unverified_parts


def test_published_cut_offs_only():
    cut_offs = {name: key.cut_off.values for name, key in SHIPPED.items() if key.cut_off}
    assert cut_offs == {"core-om": (10,), "phq-9": (10,), "gad-7": (8, 10), "ors": (25,), "k10": (16, 22, 30)}
    changes = {name: key.reliable_change.value for name, key in SHIPPED.items() if key.reliable_change}
    assert changes == {"oq-45": 14, "ors": 5}


def test_two_published_cut_offs_leave_the_choice_open():
    assert SHIPPED["phq-9"].cut_off.value == 10
    assert SHIPPED["gad-7"].cut_off.value is None


def test_missing_rules():
    limits = {
        name: key.missing.max_missing_items for name, key in SHIPPED.items() if key.missing.max_missing_items
    }
    assert limits == {"core-10": 1, "core-om": 3, "phq-9": 2}
    assert {name for name, key in SHIPPED.items() if key.missing.max_missing_share == 0.2} == ALLIANCE
    assert {name for name, key in SHIPPED.items() if key.missing.method == "none"} == {"gad-7", "ors", "k10"}
    assert (SHIPPED["oq-45"].missing.method, SHIPPED["oq-45"].missing.within) == (
        "person_mean_rounded",
        "subscale",
    )


def test_recall_is_unknown_until_a_study_states_it():
    assert all(key.recall_days is None for key in SHIPPED.values())
    assert SHIPPED["phq-9"].with_study_settings(recall_days=14).recall_days == 14


def test_rule_of_the_study_replaces_that_of_the_key():
    rule = MissingRule(
        method="person_mean", max_missing_share=0.1, status="default", source="The study file."
    )
    assert SHIPPED["core-om"].with_study_settings(rule).missing == rule
    assert SHIPPED["core-om"].missing.max_missing_items == 3


def test_rule_of_the_study_has_to_fit_the_form():
    rule = MissingRule(method="person_mean", max_missing_items=34, status="default", source="The study file.")
    with pytest.raises(ValidationError):
        SHIPPED["core-om"].with_study_settings(rule)


def test_keys_do_not_change():
    with pytest.raises(ValidationError):
        SHIPPED["wai-s"].verified = False


def test_every_field_is_described():
    for model in (Instrument, MissingRule):
        assert all(field.description for field in model.model_fields.values())


def test_wai_s_and_wai_sr_are_not_commensurate():
    assert SHIPPED["wai-s"].commensurate_form != SHIPPED["wai-sr"].commensurate_form


def test_all_shipped_forms_differ():
    assert len({key.commensurate_form for key in SHIPPED.values()}) == len(SHIPPED)


@pytest.mark.parametrize(
    "changes",
    [
        {"item_range": [1, 5]},
        {"reversed": [4]},
        {"score": {"method": "sum"}},
        {"subscales": {"task": [1, 2, 8, 12], "bond": [3, 5, 7], "goal": [4, 6, 10, 11, 9]}},
    ],
    ids=["range", "reversals", "method", "subscales"],
)
def test_a_changed_score_is_not_commensurate(tmp_path, changes):
    write_key(tmp_path, "wai-s", shipped_content("wai-s") | changes)
    assert (
        load_instruments(tmp_path).instruments["wai-s"].commensurate_form
        != SHIPPED["wai-s"].commensurate_form
    )


def test_order_and_title_do_not_make_a_form_different(tmp_path):
    changes = {"reversed": [10, 4], "title": "the same form, translated", "recall_days": 7}
    write_key(tmp_path, "wai-s", shipped_content("wai-s") | changes)
    assert (
        load_instruments(tmp_path).instruments["wai-s"].commensurate_form
        == SHIPPED["wai-s"].commensurate_form
    )


def test_override_and_addition_are_announced(tmp_path):
    write_key(tmp_path, "wai-sr", shipped_content("wai-sr") | {"item_range": [1, 7]})
    write_key(tmp_path, "calpas-12", shipped_content("wai-s") | {"name": "calpas-12"})
    library = load_instruments(tmp_path)
    assert (library.overridden, library.added) == (("wai-sr",), ("calpas-12",))
    assert library.instruments["wai-sr"].item_range == (1, 7)
    assert set(library.instruments) == set(FACTS) | {"calpas-12"}


def test_no_directory_of_own_keys(tmp_path):
    library = load_instruments(tmp_path / "absent")
    assert (library.overridden, library.added) == ((), ())
    assert library.instruments == SHIPPED


def test_typo_is_named_with_the_key_meant(tmp_path):
    fault = only_fault(tmp_path, verifyed=True)
    assert fault.file == "instrument file wai-s.yaml"
    assert (fault.column, fault.problem, fault.remedy) == (
        "verifyed",
        "unknown key",
        "did you mean 'verified'?",
    )


def test_nested_typo_is_named(tmp_path):
    fault = only_fault(tmp_path, score={"method": "sum", "multiplyer": 2})
    assert (fault.column, fault.remedy) == ("score.multiplyer", "did you mean 'multiplier'?")


def test_reversed_item_beyond_the_form(tmp_path):
    fault = only_fault(tmp_path, reversed=[4, 10, 13])
    assert (fault.column, fault.problem) == ("reversed", "item 13 beyond the 12 items of the form")


def test_items_count_from_one(tmp_path):
    assert only_fault(tmp_path, reversed=[0, 4]).column == "reversed.0"


def test_reversed_item_listed_twice(tmp_path):
    assert only_fault(tmp_path, reversed=[4, 10, 4]).problem == "item 4 listed more than once"


def test_overlapping_subscales(tmp_path):
    fault = only_fault(
        tmp_path, subscales={"task": [1, 2, 8, 12], "bond": [3, 5, 7, 8], "goal": [4, 6, 10, 12]}
    )
    assert (fault.column, fault.problem) == ("subscales", "items 8, 12 in more than one subscale")


def test_subscale_item_beyond_the_form(tmp_path):
    assert "subscale 'bond': item 99 beyond" in only_fault(tmp_path, subscales={"bond": [3, 99]}).problem


def test_no_subscale_is_called_total(tmp_path):
    assert "'total'" in only_fault(tmp_path, subscales={"total": [1, 2]}).problem


def test_range_upside_down(tmp_path):
    assert only_fault(tmp_path, item_range=[7, 1]).column == "item_range"


def test_cut_off_in_the_wrong_units(tmp_path):
    cut_off = {"values": [100], "status": "read", "source": "A paper."}
    assert only_fault(tmp_path, cut_off=cut_off).problem == "a cut-off lies outside the score's range 1 to 7"


def test_cut_off_from_memory_is_refused(tmp_path):
    cut_off = {"values": [50], "status": "memory", "source": "Nobody knows."}
    assert only_fault(tmp_path, cut_off=cut_off).column == "cut_off.status"


def test_verified_has_to_be_earned(tmp_path):
    status = shipped_content("wai-s")["status"] | {"range": "memory"}
    fault = only_fault(tmp_path, status=status)
    assert (fault.column, fault.problem, fault.remedy) == (
        "verified",
        "verified although from memory: range",
        "set verified: false",
    )


def test_missing_rule_from_memory_is_not_verified(tmp_path):
    missing = shipped_content("wai-s")["missing"] | {"status": "memory"}
    assert "missing rule" in only_fault(tmp_path, missing=missing).problem


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"reversed": "read"}, "'reversed' is not 'memory'"),
        ({"subscales": "read"}, "'subscales' needs a status"),
    ],
)
def test_status_contradicts_the_key(tmp_path, status, words):
    content = shipped_content("core-om")
    write_key(tmp_path, "core-om", content | {"status": content["status"] | status})
    (fault,) = faults_of(tmp_path)
    assert fault.column == "status"
    assert words in fault.problem


def test_memory_items_have_to_be_reversed_items(tmp_path):
    status = shipped_content("wai-s")["status"] | {"reversed": "memory"}
    fault = only_fault(tmp_path, reversed_from_memory=[5], status=status, verified=False)
    assert (fault.column, fault.problem) == ("reversed_from_memory", "item 5 not among the reversed items")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"method": "none", "max_missing_items": 1}, "takes no limits"),
        ({"method": "person_mean", "max_missing_items": 1, "max_missing_share": 0.1}, "both"),
        ({"method": "person_mean", "max_missing_items": 12}, "no item to take the mean of"),
        (
            {"method": "person_mean", "max_missing_items": 1, "per_subscale": {"risk": 0}},
            "'risk' is no subscale",
        ),
        ({"method": "person_mean", "max_missing_items": 1, "per_subscale": {"task": 4}}, "no item of 'task'"),
        ({"method": "person_mean", "per_subscale": {"task": 1}}, "total without a limit"),
    ],
)
def test_missing_rule_contradicts_itself(tmp_path, rule, words):
    fault = only_fault(tmp_path, missing=rule | {"status": "read", "source": "A manual."})
    assert fault.column == "missing"
    assert words in fault.problem


def test_rule_within_subscales_needs_a_partition(tmp_path):
    missing = {"method": "person_mean", "within": "subscale", "status": "read", "source": "A manual."}
    fault = only_fault(tmp_path, missing=missing, subscales={"task": [1, 2, 8, 12]})
    assert fault.problem == "within 'subscale' needs every item to be in a subscale"


def test_form_without_any_score(tmp_path):
    status = shipped_content("wai-s")["status"] | {"subscales": None}
    fault = only_fault(tmp_path, has_total=False, subscales={}, status=status)
    assert (fault.column, fault.problem) == ("has_total", "neither a total nor subscales")


def test_text_is_no_number_and_the_field_is_explained(tmp_path):
    fault = only_fault(tmp_path, n_items="12")
    assert fault.column == "n_items"
    assert fault.remedy == "correct it: Number of items."


def test_missing_key_is_named_and_explained(tmp_path):
    content = shipped_content("wai-s")
    del content["direction"]
    write_key(tmp_path, "wai-s", content)
    (fault,) = faults_of(tmp_path)
    assert (fault.column, fault.problem) == ("direction", "the key is missing")
    assert fault.remedy == "add it: What a high score means."


def test_name_and_file_name_agree(tmp_path):
    write_key(tmp_path, "my-wai", shipped_content("wai-s"))
    (fault,) = faults_of(tmp_path)
    assert (fault.file, fault.column) == ("instrument file my-wai.yaml", "name")


def test_all_faults_of_all_files_in_one_go(tmp_path):
    typo_and_reversal = shipped_content("wai-s") | {"sorce": "A paper.", "reversed": [40]}
    write_key(tmp_path, "wai-s", typo_and_reversal)
    write_key(tmp_path, "phq-9", shipped_content("phq-9") | {"direction": "up", "item_range": [3, 0]})
    (tmp_path / "gad-7.yaml").write_text("name: gad-7\nname: gad-7\n", encoding="utf-8")
    (tmp_path / "k10.yml").write_text("name: k10\n", encoding="utf-8")
    places = {(fault.file.removeprefix("instrument file "), fault.column) for fault in faults_of(tmp_path)}
    assert places == {
        ("wai-s.yaml", "sorce"),
        ("wai-s.yaml", "reversed"),
        ("phq-9.yaml", "direction"),
        ("phq-9.yaml", "item_range"),
        ("gad-7.yaml", None),
        ("k10.yml", None),
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: a\nname: b\n", "the key 'name' is given twice (line 2)"),
        (b"name: [1, 2\ntitle: x\n", "not valid YAML"),
        (b"- wai-s\n", "not a list of keys and values"),
        (b"", "not a list of keys and values"),
        (b"title: caf\xe9\n", "not a UTF-8 text file"),
        (b"title: \x00\n", "not a UTF-8 text file"),
    ],
    ids=["duplicate", "syntax", "list", "empty", "latin-1", "control"],
)
def test_file_that_is_no_key(tmp_path, content, words):
    (tmp_path / "mine.yaml").write_bytes(content)
    (fault,) = faults_of(tmp_path)
    assert words in fault.problem


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("My keys.", encoding="utf-8")
    (tmp_path / "old.yaml").mkdir()
    assert load_instruments(tmp_path).instruments == SHIPPED
