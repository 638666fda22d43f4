"""A study with faults: all of them named, nothing quoted, and other studies go on."""

import pandas as pd
import pytest

PLANTED_NAME = "Winifred Quill"

STUDY = {
    "title": "A small clinic",
    "files": {
        "sessions": {
            "path": "sessions.csv",
            "columns": {"client": "id", "therapist": "th", "session": "session", "week": "week"},
            "constants": {"occasion_kind": "session"},
        }
    },
    "measures": {
        "severity": {
            "construct": "severity",
            "rater": "client",
            "file": "sessions",
            "instrument": "distress",
            "score": "distress",
            "range": [0, 40],
            "direction": "higher_is_worse",
            "timing": "before",
        },
        "alliance": {
            "construct": "alliance",
            "rater": "client",
            "file": "sessions",
            "instrument": "bond scale",
            "score": "bond",
            "range": [1, 7],
            "direction": "higher_is_better",
            "timing": "after",
        },
    },
    "primary_outcome": "severity",
    "therapist_change": "exclude",
    "episodes": "first",
    "lag_unit": "attended",
    "priors": {
        "intercept_mean": 15,
        "intercept_sd": 5,
        "effect_sd": 2,
        "group_sd": 4,
        "slope_sd": 1,
        "residual_sd": 4,
    },
}


@pytest.fixture
def faulty(empty_workspace):
    """A study with a name in a score column, an impossible score and an unknown column."""
    rows = pd.DataFrame(
        {
            "id": [1, 1, 2, 2],
            "th": [1, 1, 1, 1],
            "session": [1, 2, 1, 2],
            "week": [0, 1, 0, 1],
            "distress": ["20", PLANTED_NAME, "18", "99"],
        }
    )
    rows.to_csv(empty_workspace.path / "sessions.csv", index=False)
    empty_workspace.write_study(STUDY)
    return empty_workspace


def test_check_names_every_fault_and_exits_non_zero(faulty):
    run = faulty.run("check")
    assert run.returncode != 0
    assert PLANTED_NAME not in run.stdout
    for part in ("sessions, distress (row 3)", "sessions, distress (row 5)", "bond"):
        assert part in run.stdout


def test_a_failed_run_ends_with_study_rule_message_and_log(faulty):
    run = faulty.run()
    assert run.returncode != 0
    tail = run.stdout[run.stdout.rindex("What failed:") :]
    assert "study tiny, rule ingest" in tail
    assert "sessions, distress (row 3)" in tail
    assert "log: results/tiny/logs/ingest.log" in tail


def test_a_planted_name_reaches_no_log_and_no_output(faulty):
    run = faulty.run()
    assert PLANTED_NAME not in run.stdout
    for folder in ("results", ".snakemake"):
        for file in (faulty.path / folder).rglob("*"):
            if file.is_file():
                assert PLANTED_NAME.encode() not in file.read_bytes(), file.name


def test_settings_faults_are_reported_by_check_too(faulty):
    study = {**STUDY, "lag_units": "attended"}
    del study["lag_unit"]
    faulty.write_study(study)
    run = faulty.run("check")
    assert run.returncode != 0
    assert "lag_units: this key is not known" in run.stdout
    assert "lag_unit: this key is required" in run.stdout


def test_one_bad_study_does_not_stop_the_others(faulty):
    run = faulty.run("--keep-going", "--config", "studies=tiny,absent", "--until", "check_study")
    assert run.returncode == 0, run.stdout
    run = faulty.run("check", "--config", "studies=tiny,absent")
    assert run.returncode != 0
    assert "study absent: 1 fault found" in run.stdout
    assert "study tiny:" in run.stdout


def test_an_unknown_setting_of_the_run_is_named(faulty):
    run = faulty.run("--dry-run", "--config", "sede=3")
    assert run.returncode != 0
    assert "sede" in run.stdout
