"""What must not be published is found, whatever table it stands in, and stops the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.estimates import estimates_frame, read_estimates, write_estimates
from alliance_outcome.analyses.release import (
    RULES,
    Identifiers,
    audit_table,
    release_checks,
    require_anonymous,
    require_released,
)
from alliance_outcome.errors import StudyError

CLIENTS, THERAPISTS = 60, 12


def broken(table: pd.DataFrame, name: str = "tables/some.csv") -> set[str]:
    return {finding.rule for finding in audit_table(name, table, CLIENTS, THERAPISTS)}


def estimate(**fields) -> dict:
    base = {"row_id": "one", "analysis": "early", "model": "m", "term": "b", "estimate": 1.0, "n_clients": 60}
    return base | fields


TABLES = {
    "rows_of_people": [
        pd.DataFrame({"client": ["a"], "mean": [1.0]}),
        pd.DataFrame({"therapist": ["a"] * 3, "effect": [1.0, 2.0, 3.0]}),
        pd.DataFrame({"at": np.arange(60.0), "value": np.arange(60.0)}),
        pd.DataFrame({"at": np.arange(12.0)}),
        pd.DataFrame({"who": [f"person {n}" for n in range(12)], "mean": np.arange(12.0)}),
    ],
    "small_cells": [
        pd.DataFrame({"category": ["f", "m"], "n": [60, 4]}),
        pd.DataFrame({"diagnostic": ["x"], "n_units": [9]}),
        estimates_frame([estimate(n_clients=9)]),
        estimates_frame([estimate(level="between_therapist", n_therapists=8)]),
    ],
    "extremes": [
        pd.DataFrame({"quantity": ["sessions_per_client_max"], "value": [40.0]}),
        pd.DataFrame({"min_age": [18.0]}),
        pd.DataFrame({"mode": [3.0]}),
    ],
    "residual_df": [
        estimates_frame([estimate(row_id=str(k), term=f"b{k}", n_clients=12) for k in range(5)]),
    ],
    "rounded_counts": [pd.DataFrame({"column": ["severity"], "session": [1], "n_held": [57]})],
}


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, k) for rule, all_ in TABLES.items() for k in range(len(all_))]
)
def test_each_rule_finds_what_it_forbids(rule, number):
    assert rule in broken(TABLES[rule][number])


def test_every_rule_of_tables_is_attacked():
    assert set(TABLES) | {"identifiers"} == set(RULES)


HARMLESS = [
    pd.DataFrame({"category": ["f", "other"], "n": [48, 12]}),
    pd.DataFrame({"quantity": ["sessions_per_client_tenth_most"], "value": [18.0]}),
    pd.DataFrame({"column": ["severity"], "session": [1], "n_held": [55]}),
    estimates_frame([estimate()]),
    estimates_frame([estimate(n_clients=9, status="refused", reason="too few")]),
    # Twelve therapists are no units of an effect within clients; eight are none either.
    estimates_frame([estimate(level="within_client", n_therapists=8)]),
    # As many quantities as therapists, by chance.
    pd.DataFrame({"quantity": list("abcdefghijkl"), "value": np.arange(12.0)}),
    pd.DataFrame(),
]


@pytest.mark.parametrize("number", range(len(HARMLESS)))
def test_what_may_be_published_passes(number):
    assert not broken(HARMLESS[number])


def test_few_therapists_of_a_row_do_not_hide_a_small_cell_behind_them():
    """Counts stand in columns side by side: what is passed over in one is not passed over in the next."""
    table = pd.DataFrame({"level": ["within_client"], "n_therapists": [25], "n_units": [4]})
    assert broken(table) == {"small_cells"}


def test_the_data_flow_may_say_how_many_were_removed():
    table = pd.DataFrame({"stage": ["ingest"], "n_clients": [4]})
    assert broken(table) == {"small_cells"}
    assert not broken(table, "tables/data_flow_ingest.csv")


def test_estimates_of_few_clients_are_withheld_with_their_reason(tmp_path):
    frame = estimates_frame(
        [
            estimate(row_id="few", model="few", n_clients=9, std_error=0.5, ci_low=0.0),
            *(estimate(row_id=f"k{k}", term=f"b{k}", model="large", n_clients=12) for k in range(3)),
            estimate(row_id="fine", model="fine", n_clients=11),
        ]
    )
    write_estimates(frame, tmp_path / "early.csv")
    found = read_estimates(tmp_path / "early.csv").set_index("row_id")
    assert found["status"].to_dict() == dict.fromkeys(["few", "k0", "k1", "k2"], "refused") | {"fine": "ok"}
    assert found.loc["few", "reason"] == "withheld: fewer than 10 clients"
    assert found.loc["few", ["estimate", "std_error", "ci_low", "n_clients"]].isna().all()
    assert not broken(found.reset_index())


@pytest.fixture
def study(tmp_path):
    """A folder of results with a key of sixty clients and twelve therapists, and one harmless table."""
    for folder in ("data", "tables", "figures", "logs"):
        (tmp_path / folder).mkdir()
    rows = [("client", f"QX-{n:03d}", f"C{n:04d}") for n in range(CLIENTS - 1)]
    rows += [
        ("client", "Ada Lovelace", "C0999"),
        *(("therapist", str(n), f"T{n:03d}") for n in range(THERAPISTS)),
    ]
    pd.DataFrame(rows, columns=["kind", "original", "pseudonym"]).to_csv(
        tmp_path / "data/key.csv", index=False
    )
    pd.DataFrame({"quantity": ["n_clients"], "value": [60.0]}).to_csv(
        tmp_path / "tables/sample.csv", index=False
    )
    return tmp_path


def checks_of(study) -> pd.DataFrame:
    files = sorted(file for file in study.rglob("*.*") if file.parent.name != "data")
    return release_checks(study, files, study / "data/key.csv").set_index("name")


def test_a_clean_study_is_released(study):
    checks = checks_of(study)
    assert checks["passed"].drop("dominance").all()
    assert "cannot be searched for" in checks.loc["identifiers", "text"]
    require_released(checks.reset_index())


@pytest.mark.parametrize(
    "leak",
    ["QX-007", "of client C0012.", "C0012_2", "see T003", "Ada Lovelace was late", "<text>C0999</text>"],
)
@pytest.mark.parametrize(
    "place", ["tables/note.csv", "figures/plot.svg", "figures/figures.json", "logs/fit.log"]
)
def test_identifiers_are_found_wherever_they_stand(study, leak, place):
    (study / place).write_text(f"text\n{leak}\n", encoding="utf-8")
    checks = checks_of(study)
    assert not checks.loc["identifiers", "passed"]
    assert place in checks.loc["identifiers", "text"]
    assert leak not in checks.loc["identifiers", "text"]
    with pytest.raises(StudyError, match="do not share results"):
        require_released(checks.reset_index())


@pytest.mark.parametrize("text", ["C00123", "0.C0012x", "3.14", "Ada and Lovelace", "XQX-007"])
def test_other_text_is_no_identifier(study, text):
    assert not Identifiers.read(study / "data/key.csv").are_in(text)


def test_a_page_with_an_identifier_is_not_written(study):
    require_anonymous("<p>sixty clients</p>", study / "data/key.csv")
    with pytest.raises(StudyError, match="do not share the page"):
        require_anonymous("<h1>Ada Lovelace</h1>", study / "data/key.csv")
