"""Methods and limits are written from the run; snapshots of what they say."""

import re

import pytest
from report_example import CONTEXT, SETTINGS, STUDY, design_context, write_example

from alliance_outcome.report import estimation_text, inference_text, limits_text, methods_text
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
        "Kurowicka and Joe). Random effects are integrated out of the likelihood. Posteriors were sampled with the "
        "no-U-turn sampler (nutpie): 4 chains of 1,000 draws after 1,000 of warm-up. Its draws are checked by a "
        "collapsed sampler, which integrates the fixed effects out too. The largest R-hat (agreement of the chains) of "
        "any reported quantity is 1.002, the smallest effective sample size 1,900. Intervals: "
        "95\N{NO-BREAK SPACE}%, equal-tailed credible interval."
    )


def test_published_priors_are_named_with_their_source(results):
    text = estimation_text.bayesian_paragraph(
        results.estimates("bayesian"),
        PriorSettings(**STUDY["priors"], published=True),
        SamplerSettings(engine="collapsed"),
        SETTINGS.outcome_unit,
    )
    assert "−0.185 (SD 0.174; Falkenström et al., Nairobi study, standard error times 2)" in text
    assert "The no-U-turn sampler (nutpie) checks its draws." in text


def test_estimation_names_what_the_rows_say(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    assert estimation_text.estimation_paragraph(rows) == (
        "Models were estimated by restricted maximum likelihood (REML) with this package's own engine, which is exact "
        "for nested Gaussian models and maximises the criterion of lme4 (Bates et al., 2015). A client's intercept and "
        "slopes may correlate. Intervals: 95\N{NO-BREAK SPACE}%, Wald interval from the t distribution. Missing data: "
        "available rows (missing at random given the model)."
    )


def test_estimation_follows_the_rows(results):
    early = results.models[results.models["model"].str.startswith("early")]
    text = estimation_text.estimation_paragraph(early.assign(ci_level=0.9))
    assert "may correlate" not in text
    assert "90\N{NO-BREAK SPACE}%" in text


def test_tests_are_named_as_the_rows_say(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    assert inference_text.testing_paragraph(rows) == (
        "Fixed effects were tested with Kenward and Roger's adjusted standard errors and degrees of freedom (Kenward & "
        "Roger, 1997), which keep random effects whose variance is estimated as zero. As a check the tests of alliance "
        "and of D were repeated with cluster-robust standard errors (CR2) and Satterthwaite's degrees of freedom "
        "(Pustejovsky & Tipton, 2018); clusters are therapists in three-level models and clients in two-level ones. "
        "Models with all raters were also fitted with AR(1) residuals (session to session, two levels), which "
        "correlate the less the further apart they are, missed sessions included; restricted likelihoods were compared."
    )


def test_a_lagged_outcome_has_standard_errors_of_its_own(results):
    rows = results.models[results.models["model"].str.startswith("hybrid")]
    text = inference_text.testing_paragraph(rows)
    assert (
        "Fixed effects of models without the previous severity were tested with Kenward and Roger's" in text
    )
    assert "come from the whole observed information" in text
    assert "Their degrees of freedom are Satterthwaite's (Kuznetsova, Brockhoff & Christensen, 2017)." in text
    lagged = rows[rows["model"].str.startswith("hybrid_lag")]
    assert "Kenward and Roger's" not in inference_text.testing_paragraph(lagged)


def test_large_studies_are_said_to_have_satterthwaites_degrees_of_freedom(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    own = rows["se_kind"] == "kenward_roger"
    rows = rows[own].assign(se_kind="model", df_method="satterthwaite")
    text = inference_text.testing_paragraph(rows)
    assert text.startswith(
        "Fixed effects were tested with model-based standard errors with Satterthwaite's degrees"
    )
    assert "Kenward" not in text
    assert "CR2" not in text


def test_without_likelihood_or_bayesian_rows_nothing_is_described(results):
    none = results.models[results.models["engine"] == "none"]
    priors, sampler = PriorSettings(**STUDY["priors"]), SamplerSettings()
    assert (
        estimation_text.bayesian_paragraph(none, priors, sampler, "points")
        == "No Bayesian model was estimated."
    )
    assert "No model" in estimation_text.estimation_paragraph(none)
    assert inference_text.testing_paragraph(none) == ""
    assert inference_text.lagged_outcome_sentence(none) == ""
    assert inference_text.bootstrap_paragraph(results.contrast.iloc[:0], results.explained.iloc[:0]) == ""
    assert inference_text.explained_paragraph(results.explained.iloc[:0]) == ""


def test_the_bootstrap_says_what_rests_on_it_and_on_how_many_samples(results):
    text = inference_text.bootstrap_paragraph(results.contrast, results.explained)
    assert text == (
        "Intervals of contrasts of models with one rater at a time, D with uncertain standard deviations and explained "
        "variance come from 1,000 usable bootstrap samples of therapists (in two-level models of clients), with all "
        "their rows; every model was refitted to each. The percentiles at which intervals end were moved outwards for "
        "the small number of clusters (Hesterberg, 2015)."
    )
    fewer = results.explained.assign(n_draws=987)
    assert "987 to 1,000 usable" in inference_text.bootstrap_paragraph(results.contrast, fewer)
    alone = inference_text.bootstrap_paragraph(results.contrast.iloc[:0], results.explained)
    assert alone.startswith("Intervals of explained variance come from")


def test_explained_variance_names_its_framework_and_how_it_was_shared_out(results):
    text = inference_text.explained_paragraph(results.explained)
    assert "(Rights & Sterba, 2019)" in text
    assert "general dominance (Azen & Budescu, 2003)" in text
    one_rater = results.explained[results.explained["term"].str.startswith("r2_")]
    assert "dominance" not in inference_text.explained_paragraph(one_rater)


def test_random_effects_come_from_the_rows(results):
    rows = results.models[results.models["model"] == "hybrid_two_level"]
    assert estimation_text.structures(rows) == [
        (
            "Session to session, two levels",
            "Residuals independent; client: random intercept and random slopes of client-rated alliance, within "
            "clients, therapist-rated alliance, within clients, correlated.",
        )
    ]


def test_the_lagged_outcome_is_spoken_of_where_such_a_model_was_fitted(results):
    lag = results.models["model"].str.startswith("hybrid_lag")
    sentence = inference_text.lagged_outcome_sentence
    assert sentence(results.models).startswith("Standard errors of models with the previous severity")
    assert sentence(results.models[~lag]) == ""
    refused = results.models.assign(status=results.models["status"].mask(lag, "refused"))
    assert sentence(refused) == ""


def test_session_to_session_coefficients_between_clients_are_concurrent(results):
    text = methods_text.hybrid_paragraph(section(STUDY, DesignSettings), results.models)
    assert "concurrent differences over the whole of therapy" in text
    assert not re.search(r"\bpredict(s|ed)?\b", text)
    assert "Further comparators contain the previous severity." in text
    unlagged = results.models[~results.models["model"].str.startswith("hybrid_lag")]
    assert "Further comparators" not in methods_text.hybrid_paragraph(
        section(STUDY, DesignSettings), unlagged
    )


@pytest.mark.parametrize(("n_therapists", "warns"), [(8, True), (14, True), (15, False), (None, False)])
def test_few_therapists_are_warned_that_coverage_is_not_established(n_therapists, warns):
    limit = limits_text.few_therapists_limit(n_therapists)
    assert (limit is not None) == warns
    if warns:
        assert limit[1].startswith(f"With {n_therapists} therapists it is not established")
        # No other number: what a coverage study found is not part of this run.
        assert re.findall(r"\d+", limit[1]) == [str(n_therapists)]


def test_a_repeat_changes_what_the_run_says_it_may_change():
    assert methods_text.seed_paragraph(7, {"deterministic"}).endswith("Nothing in this run was sampled.")
    text = methods_text.seed_paragraph(7, {"mcmc", "bootstrap", "deterministic"})
    assert text == (
        "One seed (7) governs the run; every random step derives its own from it by name. Results from sampling a "
        "posterior agree between runs within Monte Carlo error. Bootstrap samples are the same in every run with this "
        "seed. Everything else agrees to the last digit on the same machine."
    )
    assert "posterior" not in methods_text.seed_paragraph(7, {"bootstrap"})


def test_contrast_rules_follow_the_settings(results):
    def paragraph(settings):
        return methods_text.contrast_paragraph(results.contrast, settings, ["client", "therapist"])

    with_rope = paragraph(section(STUDY, DecisionSettings))
    assert "a row that counts them as estimated stands beside it" in with_rope
    assert "CR3" not in with_rope
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
