"""What the report says of the panel models, and of what each estimator would find."""

import pandas as pd
import pytest
from report_example import write_example

from alliance_outcome.report.bias_text import introduction, rows_of, verdict
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import name_terms, split_model_name
from alliance_outcome.report.panel_versions import (
    other_versions,
    panel_versions,
    tipping_sentence,
)
from alliance_outcome.report.sections.bias import difference_table, paths_table


@pytest.fixture
def results(tmp_path):
    return Results(write_example(tmp_path))


def bias_rows(values, error=0.005):
    return pd.DataFrame(
        {
            "process": "no_trends",
            "scenario": "different",
            "quantity": "difference",
            "estimator": ["hybrid", "dynamic_panel", "cross_lagged_trends"],
            "bias": values,
            "bias_mcse": error,
            "truth": -0.3,
        }
    )


def test_the_primary_model_stands_first_and_the_usual_ones_last(results):
    names = [version.name for version in panel_versions(results.contrast)]
    assert names[:3] == ["cross_lagged_trends", "cross_lagged", "dynamic_panel"]
    assert all(name.startswith("hybrid") for name in names[3:])
    assert len(names) > 3


def test_versions_say_what_sets_them_apart(results):
    labels = [version.label for version in other_versions(results.contrast)]
    assert "Effect two sessions later" in labels
    assert "Severity after leaving 1 SD below what is expected" in labels
    assert "Severity after leaving 2 SD above what is expected" in labels


def test_no_shift_that_changes_what_is_said_is_said(results):
    assert "does not change up to 2 SD above or below" in tipping_sentence(results.contrast)


def test_the_tipping_point_is_the_smallest_shift_that_changes_what_is_said(results):
    contrast = results.contrast.copy()
    shifted = contrast["model"] == "cross_lagged_trends_after_leaving_2_sd_worse"
    contrast.loc[shifted, "ci_high"] = 0.1
    text = tipping_sentence(contrast)
    assert "the interval of D excludes zero changes from 2 SD above what is expected" in text


def test_without_imputed_rows_there_is_no_tipping_point(results):
    kept = ~results.contrast["model"].fillna("").str.contains("after_leaving")
    assert tipping_sentence(results.contrast[kept]) == ""


def test_who_recovers_the_difference_and_who_is_off():
    # By hand: 5 % of 0.3 is 0.015.
    text = verdict("no_trends", bias_rows([0.08, 0.012, -0.014]), "points")
    assert text == (
        "If your data arose from the same process without trends: a D of −0.30 points would be recovered by dynamic "
        "panel model and cross-lagged panel model with trends of clients, and missed by hybrid model with random "
        "slopes (by 0.08)."
    )
    assert "recovered by none" in verdict("no_trends", bias_rows([0.08, 0.09, 0.1]), "points")
    # A bias that chance may have made is none.
    assert "missed" not in verdict("no_trends", bias_rows([0.08, 0.09, 0.1], error=0.06), "points")


def test_a_study_without_a_bias_table_has_no_rows(tmp_path):
    write_example(tmp_path)
    (tmp_path / "tables/bias.csv").write_text("process,scenario,quantity,bias\n", encoding="utf-8")
    assert rows_of(Results(tmp_path).bias, "client").empty


def test_checks_of_versions_are_named_in_words():
    text = "cross_lagged_trends_first_9_sessions.joint: a maximum of the likelihood was reached"
    assert split_model_name(text) == (
        "cross_lagged_trends_first_9_sessions",
        "joint",
        "a maximum of the likelihood was reached",
    )
    assert name_terms(text).startswith(
        "Cross-lagged panel model with trends of clients: first 9 sessions, all raters"
    )


def test_an_estimator_that_never_converged_has_dashes(results):
    bias = results.bias.copy()
    never = bias["estimator"] == "dynamic_panel"
    numbers = [
        "bias",
        "bias_mcse",
        "rmse",
        "rmse_mcse",
        "coverage",
        "coverage_mcse",
        "rejected",
        "rejected_mcse",
    ]
    bias.loc[never, numbers] = float("nan")
    bias.loc[never, "n_converged"] = 0
    cells = {row[0]: row[1:] for row in difference_table(bias, "points").groups[0].rows}
    assert cells["Dynamic panel model"] == ("0 of 600", *["–"] * 5)
    assert cells["Hybrid model with random slopes"] == (
        *("594 of 600", "0.06 (0.005)", "0.11 (0.004)"),
        *("94\N{NO-BREAK SPACE}% (1.7)", "6\N{NO-BREAK SPACE}% (2.0)", "70\N{NO-BREAK SPACE}% (2.0)"),
    )
    paths = {row[0]: row[1:] for row in paths_table(bias, "points").groups[0].rows}
    assert paths["Dynamic panel model"] == ("–",) * 4
    assert paths["Hybrid model with random slopes"][0] == "0.06 (0.005)"


def test_planted_effects_are_told_as_they_were_planted(results):
    text = introduction(results.bias)
    assert "(−0.15 standard deviations)" in text
    assert "(−0.15 against −0.05)" in text
