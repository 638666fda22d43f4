"""Methods and limits are written from the run; snapshots of what they say."""

import re

import pytest
from report_example import CONTEXT, SETTINGS, STUDY, design_context, write_example

from alliance_outcome.report import estimation_text, limits_text, methods_text
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.references import REFERENCES, cite, cited
from alliance_outcome.settings import (
    DecisionSettings,
    DesignSettings,
    PriorSettings,
    SamplerSettings,
    section,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(write_example(tmp_path_factory.mktemp("study")))


def test_bayesian_methods_state_priors_sampler_and_diagnostics(results):
    text = estimation_text.bayesian_paragraph(
        results.estimates("bayesian"),
        PriorSettings(**STUDY["priors"]),
        SamplerSettings(**CONTEXT["sampler"]),
        SETTINGS.outcome_unit,
    )
    assert text == (
        "The models with all raters were also fitted in a Bayesian way (Kruschke, 2021) with these priors, in "
        "CORE-10 points: intercept normal(15, 10), the effect of one standard deviation of a predictor normal(0, "
        "2.5), standard deviations of client and therapist intercepts half-normal(5), standard deviation over "
        "clients of the effect of one within-client standard deviation half-normal(1.5), residual standard "
        "deviation half-normal(6), correlations of client effects LKJ(2; the distribution of Lewandowski, "
        "Kurowicka and Joe). Posteriors were sampled with the no-U-turn sampler (nutpie): 4 chains of 1,000 draws "
        "after 1,000 of warm-up. The largest R-hat (agreement of the chains) of any reported quantity is 1.002, "
        "the smallest effective sample size 1,900. Intervals: 95\N{NO-BREAK SPACE}%, equal-tailed credible "
        "interval."
    )


def test_estimation_names_what_the_rows_say(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    text = estimation_text.estimation_paragraph(rows)
    assert text == (
        "Models were estimated by restricted maximum likelihood (REML; statsmodels MixedLM). Standard errors: "
        "model-based. Degrees of freedom (df): inner–outer rule (a term is tested against the units of the level at "
        "which it varies). It is optimistic for within-client alliance, whose effect varies over clients: it counts "
        "sessions, although clients are fewer. Intervals: 95\N{NO-BREAK SPACE}%, Wald interval from the t "
        "distribution. Missing data: available rows (missing at random given the model)."
    )


def test_estimation_follows_the_rows(results):
    rows = results.models.assign(se_kind="CR2", df_method="kenward_roger", ci_level=0.9)
    text = estimation_text.estimation_paragraph(rows)
    assert "Kenward–Roger" in text
    assert "cluster-robust (CR2)" in text
    assert "90\N{NO-BREAK SPACE}%" in text
    assert "inner" not in text
    assert "optimistic" not in text


def test_without_likelihood_or_bayesian_rows_nothing_is_described(results):
    none = results.models[results.models["engine"] == "none"]
    priors, sampler = PriorSettings(**STUDY["priors"]), SamplerSettings()
    assert (
        estimation_text.bayesian_paragraph(none, priors, sampler, "points")
        == "No Bayesian model was estimated."
    )
    assert "No model" in estimation_text.estimation_paragraph(none)
    assert estimation_text.lag_error_sentence(none) == ""


def test_random_effects_come_from_the_rows(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    assert estimation_text.structures(rows) == [
        (
            "Session to session, two levels",
            "Residuals independent; client: random intercept and random slopes of client-rated alliance, within "
            "clients, therapist-rated alliance, within clients, correlated.",
        )
    ]


def test_the_lagged_outcome_is_warned_of_where_such_a_model_was_fitted(results):
    lag = results.models["model"].str.startswith("hybrid_lag")
    assert "standard errors of models with the previous severity" in estimation_text.lag_error_sentence(
        results.models
    )
    assert estimation_text.lag_error_sentence(results.models[~lag]) == ""
    refused = results.models.assign(status=results.models["status"].mask(lag, "refused"))
    assert estimation_text.lag_error_sentence(refused) == ""


def test_standard_errors_and_degrees_of_freedom_are_limits_where_they_are_optimistic(results):
    titles = [title for title, _ in limits_text.standard_error_limits(results.models)]
    assert titles == [
        "Standard errors with a lagged outcome",
        "Degrees of freedom",
        "Client effects in the three-level models",
    ]
    early = results.models[results.models["model"].str.startswith("early")]
    assert limits_text.standard_error_limits(early) == []


def test_session_to_session_coefficients_between_clients_are_concurrent(results):
    text = methods_text.hybrid_paragraph(section(STUDY, DesignSettings), results.models)
    assert "concurrent differences over the whole of therapy" in text
    assert not re.search(r"\bpredict(s|ed)?\b", text)
    assert "standard errors of models with the previous severity" in text


def test_contrast_rules_follow_the_settings(results):
    def paragraph(settings):
        return methods_text.contrast_paragraph(results.contrast, settings, ["client", "therapist"])

    with_rope = paragraph(section(STUDY, DecisionSettings))
    without = paragraph(DecisionSettings(min_therapists_for_claim=12))
    assert "minus the same product for the therapist" in with_rope
    assert "±0.25" in with_rope
    assert "nothing is called practically equal" in without
    assert "fewer than 12 therapists" in without
    assert "session to session, two levels" in paragraph(DecisionSettings(primary="hybrid_two_level"))


def test_measures_say_who_rated_and_whether_scores_compare(results):
    measures = results.table("measures")
    same = methods_text.measures_paragraph(SETTINGS, design_context(), measures)
    other = methods_text.measures_paragraph(
        SETTINGS, design_context("observer", commensurate=False), measures
    )
    assert "rated by the client with the CORE-10" in same
    assert (
        "Alliance was rated by the client and therapist with the WAI-SR (client) and WAI-SR (therapist)."
        in same
    )
    assert "are commensurate" in same
    assert "rated by the observer" in other
    assert "not commensurate" in other


@pytest.mark.parametrize(
    ("outcome_rater", "raters", "warns"),
    [
        ("client", ["client", "therapist"], True),
        ("therapist", ["client", "therapist"], True),
        ("observer", ["client", "therapist"], False),
    ],
)
def test_a_shared_rater_is_a_limit(outcome_rater, raters, warns):
    limit = limits_text.shared_rater_limit(outcome_rater, raters)
    assert (limit is not None) == warns
    if warns:
        assert f"{outcome_rater}-rated alliance and {outcome_rater}-rated severity" in limit[1]
        assert "common method variance" in limit[1]


def test_therapist_limit_follows_their_number():
    assert "nothing is claimed" in limits_text.therapist_limit(9, 10)[1]
    assert "nothing is claimed" not in limits_text.therapist_limit(10, 10)[1]
    assert limits_text.therapist_limit(None, 10)[0] == "No therapist identifiers"


def test_unverified_keys_are_a_limit(results):
    measures, announcements = results.table("measures"), results.table("announcements")
    ((_, text),) = limits_text.scoring_limits(measures, announcements)
    assert "WAI-SR (client) and WAI-SR (therapist)" in text
    assert limits_text.scoring_limits(measures.assign(verified=True), announcements.iloc[:1]) == []


def test_the_headline_rests_on_the_hybrid_only_while_it_does():
    assert limits_text.hybrid_limit("within_client", "hybrid_three_level")
    assert limits_text.hybrid_limit("within_client", "ri_clpm") is None


def test_only_cited_sources_are_listed():
    assert cited([cite("kruschke"), "nothing"]) == [REFERENCES["kruschke"]]
    assert cite("curran_bauer", "wang_maxwell") == "(Curran & Bauer, 2011; Wang & Maxwell, 2015)"
