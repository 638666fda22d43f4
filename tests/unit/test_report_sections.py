"""Sections of the report: what stands with the answer, and how steps, checks, refusals and truth are put together."""

import pandas as pd
import pytest
from report_example import write_example

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report import answer_text
from alliance_outcome.report.badges import badge_groups
from alliance_outcome.report.estimate_tables import estimates_tables, refusal_table
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import LEVELS
from alliance_outcome.report.sections.agreement import agreement_table
from alliance_outcome.report.sections.data_flow import announcement_table, flow
from alliance_outcome.report.sections.models import coefficient_blocks
from alliance_outcome.report.sections.truth import coverage_sentence, generating_meanings
from alliance_outcome.report.selection import failed_models, predictive_rows, shown_levels, truth_comparison


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(write_example(tmp_path_factory.mktemp("study")))


def headline(contrast):
    """Say which rows of a contrast table are D of the headline's model within clients."""
    return (contrast["model"] == "hybrid_three_level") & (contrast["level"] == "within_client")


def test_other_accounts_that_agree_are_said_to_agree(results):
    text = answer_text.further_accounts(results.contrast, results.answer)
    assert text == (
        "Other accounts of D and its uncertainty: cluster-robust (CR2), −0.77 to −0.01; a bootstrap of therapists that "
        "counts the standard deviations as estimated too, −0.73 to −0.05; with AR(1) residuals, D = −0.34, −0.66 to "
        "−0.02; Bayesian, −0.69 to −0.09 (probability that D is below zero .970). All of them agree with the interval "
        "above, which lies below zero."
    )


def test_an_account_that_disagrees_is_not_passed_over(results):
    contrast = results.contrast.copy()
    contrast.loc[headline(contrast) & (contrast["term"] == "difference_sd_uncertain"), "ci_high"] = 0.04
    text = answer_text.further_accounts(contrast, results.answer)
    assert "too, −0.73 to 0.04, which includes zero;" in text
    assert text.endswith("which lies below zero: the answer depends on how its uncertainty is computed.")


def test_the_cluster_of_the_bootstrap_is_that_of_the_model(results):
    two_level = results.contrast[results.contrast["model"] == "hybrid_two_level"]
    answer = {**results.answer, "model": "hybrid_two_level"}
    assert "a bootstrap of clients that counts" in answer_text.further_accounts(two_level, answer)


def test_accounts_are_read_by_the_region_of_practical_equivalence(results):
    # The interval of D and all but that of CR2 lie inside a region of ±0.75.
    text = answer_text.further_accounts(results.contrast, results.answer, rope=0.75)
    assert "cluster-robust (CR2), −0.77 to −0.01, which lies below zero;" in text
    assert "which lies inside the region of practical equivalence: the answer depends" in text


def test_without_an_answer_there_are_no_further_accounts(results):
    answer = {**results.answer, "status": "not_established"}
    assert answer_text.further_accounts(results.contrast, answer) == ""


def test_an_answer_that_is_not_established_names_the_failed_checks():
    checks = pd.DataFrame(
        {
            "stage": "bayesian",
            "name": [f"convergence.hybrid_three_level.joint.{name}" for name in ("r_hat", "divergences")],
            "passed": ["True", "False"],
            "text": [f"hybrid_three_level.joint: {text}" for text in ("fine", "7 divergent transitions")],
        }
    )
    answer = {"status": "not_established", "model": "hybrid_three_level", "uncertainty": "Something failed."}
    assert answer_text.uncertainty(answer, checks) == (
        "The model behind the answer (session to session, three levels) did not pass its checks: 7 divergent "
        "transitions (Bayesian models)."
    )
    assert answer_text.uncertainty(answer, checks.assign(passed="True")) == "Something failed."
    assert "not an answer" in answer_text.notices(answer)[0]


def test_models_with_failed_convergence_checks_are_found():
    checks = pd.DataFrame(
        [
            ("bayesian", "convergence.early_three_level.joint.r_hat", "False"),
            ("bayesian", "convergence.hybrid_three_level.joint.r_hat", "True"),
            ("multilevel", "convergence.hybrid_two_level.joint", "False"),
            ("multilevel", "convergence.hybrid_two_level.client", "False"),
            ("multilevel", "boundary.hybrid_lag_two_level.joint", "False"),
        ],
        columns=["stage", "name", "passed"],
    )
    assert failed_models(checks) == {("bayesian", "early_three_level"), ("likelihood", "hybrid_two_level")}


def steps(*rows):
    """Make a data-flow table of stage, text, rows, clients, therapists and removed."""
    columns = ["stage", "text", "n_rows", "n_clients", "n_therapists", "n_removed"]
    return pd.DataFrame(rows, columns=columns)


def test_steps_that_removed_nothing_are_listed_with_their_counts():
    ((stage, boxes),) = flow(
        steps(
            ("ingest", "Rows of the file.", 50, 10, 2, 0),
            ("ingest", "Later episodes are left out.", 50, 10, 2, 0),
            ("ingest", "Clients with several therapists are left out.", 45, 9, 2, 5),
            ("ingest", "Rows of the session table.", 45, 9, 2, 0),
        )
    ).stages
    kept = "50\N{NO-BREAK SPACE}rows, 10\N{NO-BREAK SPACE}clients, 2\N{NO-BREAK SPACE}therapists"
    assert stage == "Reading the files"
    assert [box.text for box in boxes] == ["Rows of the file", "Clients with several therapists are left out"]
    assert [box.removed for box in boxes] == ["", "5\N{NO-BREAK SPACE}rows removed"]
    assert boxes[0].kept == kept
    assert boxes[0].harmless == (("Later episodes are left out", kept),)
    assert [text for text, _ in boxes[1].harmless] == ["Rows of the session table"]


def test_rows_that_are_clients_are_counted_as_clients_and_therapists_only_where_there_are_any():
    ((_, boxes),) = flow(
        steps(("early", "Clients with a held session", 10, 10, 0, 0), ("early", "… with an end", 9, 9, 0, 1))
    ).stages
    assert [box.kept for box in boxes] == [f"{count}\N{NO-BREAK SPACE}clients" for count in (10, 9)]
    assert boxes[1].removed == "1\N{NO-BREAK SPACE}client removed"


def test_an_announcement_says_its_count_once():
    announced = pd.DataFrame(
        [
            ("recoded", "sessions", "attendance", 3994, "3994 cells recoded as attendance."),
            ("unverified_key", None, "wai_sr", None, "wai-sr: key from memory"),
        ],
        columns=["kind", "file", "column", "n", "text"],
    )
    rows = announcement_table(announced).rows
    assert rows[0][-2:] == ("Cells recoded as attendance.", "3,994")
    assert rows[1][-2:] == ("wai-sr: key from memory", "–")


def test_estimates_of_an_engine_share_their_decimals(results):
    rows = results.contrast[headline(results.contrast)].copy()
    likelihood, posterior = estimates_tables("t", "Contrasts", rows)
    assert likelihood.caption == "Contrasts (REML)"
    assert posterior.caption == "Contrasts (Bayesian)"
    assert "−0.54" in posterior.rows[0]
    rows.loc[rows.index[-1], "mcse_ci_high"] = 0.06
    likelihood, posterior = estimates_tables("t", "Contrasts", rows)
    assert {row[2] for row in likelihood.rows} >= {"−0.54"}
    assert all(len(row[1].lstrip("−")) == len("0.5") for row in posterior.rows)


def test_the_probability_of_a_direction_is_that_of_the_more_probable_sign(results):
    rows = results.contrast[headline(results.contrast) & (results.contrast["engine"] == "nutpie")]
    rows = rows[rows["term"] == "difference"].assign(prob_direction=0.02)
    (table,) = estimates_tables("t", "Contrasts", rows)
    headings = [column.heading for column in table.columns]
    assert table.rows[0][headings.index("P(direction)")] == ".980"


def test_only_tables_with_a_lagged_outcome_speak_of_its_standard_errors(results):
    models = results.models[results.models["model"].str.startswith("hybrid")]
    warned = {
        block.table.name: any("whole observed information" in note for note in block.table.notes)
        for block in coefficient_blocks("session", models, "")
    }
    assert warned == {
        "session-unique-multilevel": True,
        "session-unique-nutpie": False,
        "session-total-multilevel": True,
    }


def test_without_therapists_clients_are_pooled(results):
    three_level = results.contrast["model"].str.contains("three_level|last_observed")
    contrast = results.contrast.assign(status=results.contrast["status"].mask(three_level, "refused"))
    assert shown_levels(contrast) == ["within_client", "between_client_pooled"]
    assert shown_levels(results.contrast) == ["within_client", "between_client", "between_therapist"]
    all_refused = results.contrast.assign(status="refused")
    assert shown_levels(all_refused) == ["within_client", "between_client", "between_therapist"]


def test_refusals_stand_under_their_reason(results):
    reason = "the study has no therapist ids"
    refused = results.models[results.models["model"].isin(["hybrid_three_level", "early_three_level"])]
    # A refused model has no repetitions.
    refused = refused[
        refused["level"].isin(LEVELS) & (refused["engine"] == "multilevel") & ~is_repetition(refused)
    ]
    table = refusal_table("refused", refused.assign(status="refused", reason=reason))
    (group,) = table.groups
    assert group.title == f"Refused: {reason}"
    assert [row[:2] for row in group.rows] == [
        ("Session to session, three levels", "REML"),
        ("Early alliance to end of therapy, three levels", "REML"),
    ]
    assert group.rows[0][2].startswith(
        "Client-rated alliance, within clients; Therapist-rated alliance, within"
    )


def test_a_refused_repetition_is_told_from_the_row_that_it_repeats(results):
    rows = results.contrast[headline(results.contrast) & (results.contrast["engine"] == "multilevel")]
    rows = rows[(rows["term"] == "difference") & (rows["estimand"] == "unique")]
    (group,) = refusal_table("refused", rows.assign(status="not_established", reason="too few")).groups
    assert [row[1] for row in group.rows] == ["REML", "REML, cluster-robust (CR2)", "REML, AR(1) residuals"]


def test_checks_with_the_same_finding_share_a_badge():
    checks = pd.DataFrame(
        [
            ("early", "boundary.a", "True", "0", "0", "early_two_level.joint: nothing on the boundary"),
            ("early", "boundary.b", "True", "0", "0", "early_two_level.client: nothing on the boundary"),
            (
                "early",
                "boundary.c",
                "False",
                "1",
                "0",
                "early_three_level.joint: on the boundary: therapist:Intercept",
            ),
        ],
        columns=["stage", "name", "passed", "value", "limit", "text"],
    )
    (group,) = badge_groups(checks)
    failed, passed = group.badges
    assert failed.text == "On the boundary: variance over therapists of intercept"
    assert failed.detail == ""
    assert passed.places == "Early alliance to end of therapy, two levels (all raters, the client alone)"
    assert passed.n == 2


def test_agreement_names_raters_only_where_there_are_several_pairs(results):
    table = results.estimates("agreement")
    assert "Raters" not in [column.heading for column in agreement_table(table).columns]
    more = pd.concat([table, table.iloc[[0]].assign(rater_b="observer")])
    assert "Raters" in [column.heading for column in agreement_table(more).columns]
    assert (
        agreement_table(table).rows[-1][0] == "Mean difference (client minus therapist, points of the rating)"
    )


def test_summaries_of_unit_means_are_left_out_where_a_unit_is_a_row(results):
    predictive = results.table("predictive")
    kept = predictive_rows(predictive, has_therapists=False)
    assert set(kept.loc[kept["model"] == "early_three_level", "statistic"]) == {"mean", "floor"}
    assert len(predictive_rows(predictive, has_therapists=True)) == len(predictive)


def test_the_truth_is_not_held_against_estimates_that_are_not_established(results):
    contrast = results.contrast.copy()
    therapists = contrast["level"] == "between_therapist"
    contrast.loc[therapists, ["status", "reason"]] = ["not_established", "too few therapists"]
    compared = truth_comparison(results.truth, contrast, results.answer)
    established = compared["level"] != "between_therapist"
    assert compared.loc[established, "estimate"].notna().all()
    assert compared.loc[~established, "estimate"].isna().all()
    assert compared.loc[~established, "generating_value"].notna().all()


def test_intervals_that_hold_the_truth_are_counted():
    comparison = pd.DataFrame(
        {
            "pseudo_true_value": [0.0, 0.0, None],
            "generating_value": [0.5, 2.0, None],
            "ci_low": [-1.0, 0.1, -1.0],
            "ci_high": [1.0, 1.0, 1.0],
        }
    )
    sentence = coverage_sentence(comparison)
    assert "1 of 2 hold the pseudo-true value and 1 of 2 hold the generating value" in sentence
    assert coverage_sentence(comparison.iloc[[2]]) == "No truth is known for these intervals."


def test_notes_on_the_truth_are_said_once_per_level():
    comparison = pd.DataFrame(
        {
            "level": "within_client",
            "note": [
                "Effect of the latent deviation; latent SD 0.5239 WAI-S points.",
                "Effect of the latent deviation; latent SD 0.4057 WAI-S points.",
                "Effect of the latent deviation; latent SDs.",
            ],
        }
    )
    assert generating_meanings(comparison) == (
        ("Within clients", "Effect of the latent deviation, per SD of the latent alliance at that level."),
    )
