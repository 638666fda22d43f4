"""statsmodels MixedLM as a second opinion: it agrees where it should, and disagreement is seen."""

import numpy as np
import pandas as pd
import pytest
import study_example
from statsmodels.regression.mixed_linear_model import MixedLM

from alliance_outcome.analyses import second_opinion as analysis
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.second_opinion import second_opinions
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.mixedlm import SecondOpinion, second_opinion
from alliance_outcome.models.multilevel import MultilevelModel


@pytest.fixture(scope="module")
def opinions(hybrid_models, early_models):
    return pd.DataFrame(second_opinions([*hybrid_models, *early_models])).set_index("name")


def test_every_model_has_one_and_it_agrees(opinions, hybrid_models, early_models):
    names = [f"second_opinion.{model.specification.name}" for model in (*hybrid_models, *early_models)]
    assert opinions.index.tolist() == names
    unasked = opinions[opinions["passed"].isna()]
    assert {name.split(".")[1] for name in unasked.index} == {"early_two_level"}
    assert unasked["text"].str.contains("without random effects").all()
    asked = opinions.drop(unasked.index)
    assert asked["passed"].all()
    # Far within the limits: two optimisers, two likelihoods.
    assert asked["value"].max() < 1e-5
    assert (asked["limit"] == 1e-3).all()
    assert asked["text"].str.contains("in the log-likelihood").all()


def test_three_level_models_are_compared_in_the_version_that_mixedlm_can_express(opinions):
    three = opinions.loc["second_opinion.hybrid_three_level.joint", "text"]
    assert "uncorrelated" in three
    assert "correlated" in opinions.loc["second_opinion.hybrid_two_level.joint", "text"]
    assert "uncorrelated" not in opinions.loc["second_opinion.hybrid_two_level.joint", "text"]


def simulate(seed=3, sd_client=1.0, slope_sd=0.6):
    """Twelve therapists with three clients with six sessions, columns far from zero and of unlike sizes."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(36), 6)
    data = pd.DataFrame({"Intercept": 1.0, "client": client, "therapist": client // 3})
    data["alliance"] = rng.normal(size=len(client))
    data["year"] = 2000.0 + 0.01 * rng.normal(size=len(client))
    effects = sd_client * rng.normal(size=36)[client] + 0.8 * rng.normal(size=12)[data["therapist"]]
    slope = 0.5 + slope_sd * rng.normal(size=36)[client]
    data["outcome"] = 1e3 + 50.0 * (slope * data["alliance"] + effects + rng.normal(size=len(client)))
    return data


def fit(data, levels, slopes=(), uncorrelated=()):
    return MultilevelModel(
        data["outcome"],
        data[["Intercept", "alliance", "year"]],
        groups={level: data[level] for level in levels},
        random={level: ["Intercept", *(slopes if level == "client" else ())] for level in levels},
        uncorrelated=uncorrelated,
    ).fit()


def ask(data, result):
    levels = [effects.level for effects in result.design.structure.levels]
    return second_opinion(
        data["outcome"],
        data[["Intercept", "alliance", "year"]],
        {level: data[level] for level in levels},
        {level: result.random_covariance(level) for level in levels},
        result.scale,
    )


@pytest.mark.parametrize(
    ("levels", "slopes", "uncorrelated"),
    [
        (("client",), (), ()),
        (("client",), ("alliance",), ()),
        (("therapist", "client"), (), ()),
        (("therapist", "client"), ("alliance",), ("client",)),
    ],
)
def test_log_likelihoods_have_the_same_constants_in_raw_units(levels, slopes, uncorrelated):
    data = simulate().sample(frac=1.0, random_state=4)
    result = fit(data, levels, slopes, uncorrelated)
    opinion = ask(data, result)
    assert opinion.log_likelihood == pytest.approx(result.llf, abs=1e-7)
    assert np.all(np.abs(opinion.params[result.params.index] - result.params) <= 1e-5 * result.bse)


def test_effects_without_variance_are_left_out():
    data = simulate(slope_sd=0.0, sd_client=0.0)
    data["outcome"] -= data.groupby("client")["outcome"].transform("mean") - 1e3
    result = fit(data, ("therapist", "client"), ("alliance",), ("client",))
    assert result.singular == ("therapist:Intercept", "client:Intercept")
    assert ask(data, result).log_likelihood == pytest.approx(result.llf, abs=1e-6)
    with pytest.raises(UnfittableModel, match="no random effect has variance"):
        ask(data, fit(data, ("client",)))


def test_a_singular_covariance_matrix_is_asked_about_in_its_own_directions():
    data = simulate(seed=1)
    rng = np.random.default_rng(1)
    shared = rng.normal(size=36)[data["client"]]
    data["outcome"] = 1e3 + 50.0 * (shared + 0.7 * shared * data["alliance"] + rng.normal(size=len(data)))
    result = fit(data, ("client",), ("alliance",))
    assert result.singular == ("client:covariance",)
    assert ask(data, result).log_likelihood == pytest.approx(result.llf, abs=1e-6)


def test_correlated_effects_beneath_a_second_level_are_beyond_mixedlm():
    data = simulate()
    with pytest.raises(UnfittableModel, match="cannot correlate effects"):
        ask(data, fit(data, ("therapist", "client"), ("alliance",)))


def test_mixedlm_starts_away_from_the_solution(monkeypatch):
    data = simulate()
    result = fit(data, ("client",))
    starts = []
    honest = MixedLM.fit

    def watched(self, start_params, **options):
        starts.append(start_params)
        return honest(self, start_params=start_params, **options)

    monkeypatch.setattr(MixedLM, "fit", watched)
    ask(data, result)
    ratio = result.random_covariance("client").to_numpy() / result.scale
    assert starts[0] ** 2 == pytest.approx(2.0 * ratio[0], rel=1e-9)


def with_opinion(monkeypatch, model, change):
    """Check one model against a changed second opinion."""

    def changed(*arguments):
        return change(second_opinion(*arguments))

    monkeypatch.setattr(analysis, "second_opinion", changed)
    return second_opinions([model])[0]


def test_disagreement_is_seen(early_models, monkeypatch):
    model = early_models[0]
    errors = model.fit.bse
    term = "severity_first"

    def other_effect(opinion):
        params = opinion.params.copy()
        params[term] += 0.01 * errors[term]
        return SecondOpinion(params, opinion.log_likelihood, True)

    found = with_opinion(monkeypatch, model, other_effect)
    assert found["passed"] is False
    assert found["value"] == pytest.approx(0.01, rel=1e-3)
    higher = with_opinion(
        monkeypatch, model, lambda opinion: SecondOpinion(opinion.params, opinion.log_likelihood + 1e-3, True)
    )
    assert higher["passed"] is False
    assert "+1.0e-03 in the log-likelihood" in higher["text"]
    unsure = with_opinion(
        monkeypatch, model, lambda opinion: SecondOpinion(opinion.params, opinion.log_likelihood - 1.0, False)
    )
    assert unsure["passed"] is None
    assert "did not converge" in unsure["text"]


def test_a_breakdown_of_mixedlm_is_not_fatal(early_models, monkeypatch):
    def break_down(*_, **__):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(MixedLM, "fit", break_down)
    found = second_opinions([early_models[0]])[0]
    assert found["passed"] is None
    assert "broke down numerically" in found["text"]


def test_models_without_a_fit_and_very_large_ones_are_not_asked_about(early_models, monkeypatch):
    model = early_models[0]
    refused = FittedModel(model.specification, model.rows, model.outcome, model.terms, None, "collinear")
    assert second_opinions([refused])[0]["text"] == "early_three_level.joint: not fitted: collinear"
    monkeypatch.setattr(analysis, "MOST_ROWS", 10)
    assert "more than 10 rows" in second_opinions([model])[0]["text"]


def test_refused_early_models_do_not_stop_the_others():
    context = study_example.context(has_therapists=False)
    models = fit_early_models(study_example.early_rows().assign(therapist=None), context)
    found = second_opinions(models)
    assert len(found) == len(models)
    assert all(each["passed"] is None for each in found)
