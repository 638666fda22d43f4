"""What the report says of cluster-robust standard errors and AR(1) residuals beside the models' own tests."""

import pandas as pd
import pytest
from report_example import write_example

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.analyses.multilevel import ENGINE
from alliance_outcome.analyses.panel_names import PANEL_ENGINE
from alliance_outcome.report.formatting import ABSENT
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import LIKELIHOOD_ENGINE
from alliance_outcome.report.robust_tables import autoregressive_table, robust_table
from alliance_outcome.report.robustness import (
    autoregressive_comparisons,
    reading,
    robust_comparisons,
)
from alliance_outcome.report.robustness_text import (
    autocorrelation_limit,
    autocorrelation_notice,
    autoregressive_paragraph,
    robust_limit,
    robust_notice,
)
from alliance_outcome.report.selection import alliance_rows, autoregressive, cluster_robust, headline_rows

LAG_UNIT = "attended"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(write_example(tmp_path_factory.mktemp("study")))


def headline(frame):
    """Say which rows belong to the model and level of the answer."""
    return (frame["model"] == "hybrid_three_level") & (frame["level"] == "within_client")


def with_zero_inside(frame, rows):
    """Let the cluster-robust intervals of some rows include zero."""
    changed = frame.copy()
    changed.loc[rows & cluster_robust(frame), "ci_high"] = 0.06
    return changed


def test_the_report_names_the_engine_as_the_estimates_do():
    assert LIKELIHOOD_ENGINE == ENGINE


def test_repetitions_are_no_second_estimates(results):
    coefficients = alliance_rows(results.models)
    assert not is_repetition(coefficients).any()
    keys = ["engine", "model", "estimand", "term"]
    assert not coefficients.duplicated(keys).any()
    rows = headline_rows(results.contrast, "within_client", results.answer)
    assert not rows.duplicated(["engine", "term", "rater"]).any()
    assert is_repetition(results.models).equals(
        cluster_robust(results.models) | autoregressive(results.models)
    )


@pytest.mark.parametrize(
    ("low", "high", "rope", "expected"),
    [
        (-2.0, -1.0, None, "below"),
        (1.0, 2.0, None, "above"),
        (-1.0, 1.0, None, "open"),
        (-0.2, 0.2, 0.25, "equal"),
        (-0.2, -0.1, 0.25, "equal"),
        (-0.3, -0.1, 0.25, "below"),
    ],
)
def test_an_interval_reads_by_zero_and_the_region_of_practical_equivalence(low, high, rope, expected):
    assert reading({"ci_low": low, "ci_high": high}, rope) == expected


def test_a_coefficient_is_not_held_against_the_region_of_d():
    row = {"ci_low": -0.2, "ci_high": -0.1, "term": "alliance_client_within_client"}
    assert reading(row, 0.25) == "below"


def test_each_engine_is_compared_with_its_own_repetition(results):
    compared = robust_comparisons(results.contrast, results.models)
    assert {each.own["engine"] for each in compared} == {ENGINE, PANEL_ENGINE}
    assert sum(each.own["engine"] == PANEL_ENGINE for each in compared) == 3
    names = [(each.own["model"], each.name) for each in compared]
    assert len(set(names)) == len(names)
    # Five models without a lagged outcome: D at each level, and two coefficients.
    levels = {"hybrid_three_level": 3, "hybrid_two_level": 2, "early_three_level": 2}
    for model, count in levels.items():
        assert sum(each.own["model"] == model for each in compared) == 3 * count
    assert not any(each.own["model"].startswith("hybrid_lag") for each in compared)


def test_where_nothing_changes_there_is_neither_notice_nor_limit(results):
    compared = robust_comparisons(results.contrast, results.models)
    assert all(each.comparable for each in compared)
    unchanged = [each for each in compared if not each.changes]
    assert robust_notice(unchanged, results.answer) == ""
    assert robust_limit(unchanged) is None


def test_a_changed_answer_is_said_beside_it(results):
    contrast = with_zero_inside(results.contrast, headline(results.contrast))
    models = results.models[~headline(results.models)]
    notice = robust_notice(robust_comparisons(contrast, models), results.answer)
    assert notice == (
        "Cluster-robust standard errors (CR2) change how D within clients reads: the interval then includes zero, "
        "while the model's own lies below zero. The answer follows the model's own, as planned, and rests on what the "
        "model assumes about residuals and random effects."
    )


def test_a_changed_coefficient_is_said_with_its_intervals(results):
    # By hand, therapist-rated alliance: −0.30 ± 2 · 0.25 includes zero, and so does −0.30 ± 2 · 0.30.
    models = with_zero_inside(
        results.models, headline(results.models) & (results.models["rater"] == "client")
    )
    notice = robust_notice(robust_comparisons(results.contrast, models), results.answer)
    assert notice == (
        "Cluster-robust standard errors (CR2) change how these coefficients read: client-rated alliance, within "
        "clients (−1.40 to −0.40 becomes −1.50 to 0.06)."
    )
    contrast = with_zero_inside(results.contrast, headline(results.contrast))
    both = robust_notice(robust_comparisons(contrast, models), results.answer)
    assert " They also change how these coefficients read: client-rated alliance" in both


def test_without_an_answer_nothing_is_said_to_change_it(results):
    contrast = with_zero_inside(results.contrast, headline(results.contrast))
    answer = {**results.answer, "status": "not_established"}
    assert robust_notice(robust_comparisons(contrast, results.models), answer) == ""
    assert autocorrelation_notice([], results.checks, answer) == ""


def test_changes_at_other_levels_and_models_are_limits(results):
    early = (results.contrast["model"] == "early_three_level") & (
        results.contrast["level"] == "between_client"
    )
    contrast = with_zero_inside(results.contrast, early)
    compared = robust_comparisons(contrast, results.models)
    assert robust_notice(compared, results.answer) == ""
    title, text = robust_limit(compared)
    assert title == "Cluster-robust check"
    assert text.startswith(
        f"Of {len(compared)} contrasts and coefficients of the models with all raters, 1 reads"
    )
    assert (
        "early alliance to end of therapy, three levels: D between clients of one therapist (−0.69 to" in text
    )


def test_d_names_its_raters_where_there_are_several_pairs(results):
    rows = results.contrast[headline(results.contrast)]
    more = pd.concat([rows, rows[rows["rater_b"].notna()].assign(rater_b="observer")])
    names = {each.name for each in robust_comparisons(more, results.models.iloc[:0])}
    assert names == {
        "D (client against therapist) within clients",
        "D (client against observer) within clients",
    }


def test_the_robust_table_has_both_intervals_and_says_how_they_read(results):
    contrast = with_zero_inside(results.contrast, headline(results.contrast))
    table = robust_table(robust_comparisons(contrast, results.models))
    assert [column.heading for column in table.columns][2:6] == [
        "Model's 95\N{NO-BREAK SPACE}% interval",
        "df",
        "Robust 95\N{NO-BREAK SPACE}% interval",
        "df (robust)",
    ]
    cells = ("−0.39", "[−0.69, −0.09]", "41.5", "[−0.77, 0.06]", "18.2", "differently")
    assert table.groups[0].rows[0] == ("D within clients", *cells)
    assert table.groups[0].rows[1][-1] == "alike"


def test_a_robust_row_that_is_not_established_compares_with_nothing(results):
    contrast = results.contrast.copy()
    contrast.loc[headline(contrast) & cluster_robust(contrast), "status"] = "not_established"
    compared = robust_comparisons(contrast, results.models)
    assert not compared[0].comparable
    assert not compared[0].changes
    row = robust_table(compared).groups[0].rows[0]
    assert row == ("D within clients", ABSENT, "[−0.69, −0.09]", ABSENT, "not established", ABSENT, ABSENT)


def test_a_study_without_repetitions_has_empty_tables(results):
    contrast, models = (frame[~is_repetition(frame)] for frame in (results.contrast, results.models))
    assert robust_table(robust_comparisons(contrast, models)).rows == ()
    assert autoregressive_table(autoregressive_comparisons(contrast), models, LAG_UNIT).rows == ()


def test_autoregressive_residuals_are_told_with_test_and_d(results):
    compared = autoregressive_comparisons(results.contrast)
    assert autoregressive_paragraph(compared, results.checks, results.answer, LAG_UNIT) == (
        "In the model behind the answer, residuals one held session apart correlate by 0.31 with AR(1) residuals; "
        "likelihood ratio 41.2 on 1 degree of freedom (p < .001), AIC 39.2 lower than with independent residuals. D "
        "within clients is −0.39 (−0.69 to −0.09) with independent and −0.34 (−0.66 to −0.02) with AR(1) residuals; "
        "with either its interval lies below zero."
    )


def test_a_d_that_changes_with_autoregressive_residuals_is_said_to(results):
    def texts(contrast):
        compared = autoregressive_comparisons(contrast)
        return (
            autocorrelation_notice(compared, results.checks, results.answer),
            autoregressive_paragraph(compared, results.checks, results.answer, LAG_UNIT),
        )

    notice, _ = texts(results.contrast)
    assert notice == (
        "A check rejects what the model assumes: that residuals are independent from session to session. With AR(1) "
        "residuals the interval of D within clients still lies below zero."
    )
    contrast = results.contrast.copy()
    contrast.loc[headline(contrast) & autoregressive(contrast), "ci_high"] = 0.02
    notice, paragraph = texts(contrast)
    assert notice.endswith("With AR(1) residuals the interval of D within clients includes zero.")
    assert paragraph.endswith(
        "its interval lies below zero with the former and includes zero with the latter."
    )


def test_residuals_that_pass_their_check_are_no_limit(results):
    compared = autoregressive_comparisons(results.contrast)
    title, text = autocorrelation_limit(compared, results.checks, results.answer, LAG_UNIT)
    assert title == "Residuals that follow one another"
    assert text.endswith("The model behind the answer takes them for independent, as planned.")
    passed = results.checks.assign(passed="True")
    assert autocorrelation_limit(compared, passed, results.answer, LAG_UNIT) is None
    assert autocorrelation_notice(compared, passed, results.answer) == ""
    without = results.checks[~results.checks["name"].str.startswith("autocorrelation.")]
    assert autocorrelation_limit(compared, without, results.answer, LAG_UNIT) is None
    text = autoregressive_paragraph(compared, without, results.answer, LAG_UNIT)
    assert text.startswith("D within clients is")


def test_the_autoregressive_table_begins_with_phi(results):
    compared = autoregressive_comparisons(results.contrast)
    table = autoregressive_table(compared, results.models, "week")
    assert [group.title for group in table.groups] == [
        "Session to session, three levels",
        "Session to session, two levels",
    ]
    assert table.groups[0].rows[:2] == (
        ("φ", "0 by assumption", "0.31 [0.25, 0.37]"),
        ("D within clients", "−0.39 [−0.69, −0.09]", "−0.34 [−0.66, −0.02]"),
    )
    assert "one week apart" in table.notes[0]
