"""The rater contrast against the arithmetic done by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import study_example
from scipy import stats

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.analyses.headline import all_contrasts, headline_answer, headline_model, hybrid_model
from alliance_outcome.analyses.panel_names import PANEL_ENGINE
from alliance_outcome.analyses.rater_contrast import posterior_contrasts
from alliance_outcome.design.levels import level_sd
from alliance_outcome.settings import DecisionSettings


@pytest.fixture(scope="module")
def contrasts(hybrid_tables, early_tables, bootstrap_tables):
    tables = [hybrid_tables.contrasts, early_tables.contrasts, *bootstrap_tables]
    return all_contrasts(tables, study_example.context())


def row(contrasts, model, estimand, level, term, rater="client", suffix=None):
    """Return one row of the contrast table."""
    same = (contrasts["model"] == model) & (contrasts["estimand"] == estimand) & (contrasts["level"] == level)
    same &= (contrasts["term"] == term) & (contrasts["rater"] == rater)
    repeats = contrasts["row_id"].str.endswith((".CR2", ".ar1"))
    wanted = ~repeats if suffix is None else contrasts["row_id"].str.endswith(f".{suffix}")
    return contrasts[same & wanted].squeeze()


def fitted(models, name):
    """Return one fitted model."""
    return next(model for model in models if model.specification.name == name)


def difference_weights(model, level):
    """Weights of D: +SD of the client's and −SD of the therapist's alliance."""
    terms = [f"alliance_{rater}_{level}" for rater in ("client", "therapist")]
    sds = [level_sd(model.rows, f"alliance_{rater}", level) for rater in ("client", "therapist")]
    return dict(zip(terms, np.array([1, -1]) * sds, strict=True))


def test_unique_difference_by_hand(contrasts, hybrid_models):
    model = fitted(hybrid_models, "hybrid_three_level.joint")
    adjusted = model.fit.in_raw_units(model.fit.kenward_roger.adjusted_covariance)
    for level in ("within_client", "between_client", "between_therapist"):
        weights = pd.Series(difference_weights(model, level))
        terms = list(weights.index)
        estimate = weights @ model.fit.params[terms]
        std_error = math.sqrt(weights @ adjusted.loc[terms, terms] @ weights)
        degrees = model.fit.contrast(weights, df="kenward-roger").df
        found = row(contrasts, "hybrid_three_level", "unique", level, "difference")
        assert found["estimate"] == pytest.approx(estimate, rel=1e-12)
        assert found["std_error"] == pytest.approx(std_error, rel=1e-12)
        assert found["df"] == pytest.approx(degrees, rel=1e-12)
        assert found["ci_low"] == pytest.approx(estimate - stats.t.ppf(0.975, degrees) * std_error, rel=1e-12)
        assert (found["rater"], found["rater_b"]) == ("client", "therapist")
        assert (found["se_kind"], found["df_method"]) == ("kenward_roger", "kenward_roger")


def test_degrees_of_freedom_of_a_difference_are_its_own(contrasts, hybrid_models):
    model = fitted(hybrid_models, "hybrid_three_level.joint")
    terms = [f"alliance_{rater}_within_client" for rater in ("client", "therapist")]
    singles = [model.fit.contrast(term, df="kenward-roger").df for term in terms]
    found = row(contrasts, "hybrid_three_level", "unique", "within_client", "difference")
    assert abs(found["df"] - min(singles)) > 1e-3


def test_a_difference_beside_a_lagged_outcome_rests_on_the_observed_information(contrasts, hybrid_models):
    model = fitted(hybrid_models, "hybrid_lag_three_level.joint")
    expected = model.fit.contrast(difference_weights(model, "within_client"), df="satterthwaite")
    found = row(contrasts, "hybrid_lag_three_level", "unique", "within_client", "difference")
    assert found["std_error"] == pytest.approx(expected.std_error, rel=1e-12)
    assert found["df"] == pytest.approx(expected.df, rel=1e-12)
    assert (found["se_kind"], found["df_method"]) == ("observed", "satterthwaite")


def test_standardised_coefficients_are_scaled_rows_of_the_estimates(contrasts, hybrid_models, hybrid_tables):
    model = fitted(hybrid_models, "hybrid_two_level.therapist")
    level = "between_client_pooled"
    sd = level_sd(model.rows, "alliance_therapist", level)
    key = f"hybrid_two_level.total.therapist.alliance_therapist_{level}"
    raw = hybrid_tables.estimates.set_index("row_id").loc[key]
    found = row(contrasts, "hybrid_two_level", "total", level, "coefficient_standardised", "therapist")
    for column in ("estimate", "std_error", "ci_low", "ci_high"):
        assert found[column] == pytest.approx(sd * raw[column], rel=1e-12)
    for column in ("df", "statistic", "p_value"):
        assert found[column] == pytest.approx(raw[column], rel=1e-12)


def test_the_difference_is_repeated_with_robust_errors_and_autoregressive_residuals(contrasts, hybrid_models):
    model = fitted(hybrid_models, "hybrid_three_level.joint")
    weights = difference_weights(model, "within_client")
    robust = model.fit.cluster_robust("CR2", "therapist").contrast(weights)
    autoregressive = model.with_autoregression().fit().contrast(weights, df="satterthwaite")
    for suffix, expected in (("CR2", robust), ("ar1", autoregressive)):
        found = row(contrasts, "hybrid_three_level", "unique", "within_client", "difference", suffix=suffix)
        assert found["estimate"] == pytest.approx(expected.estimate, rel=1e-8)
        assert found["std_error"] == pytest.approx(expected.std_error, rel=1e-8)
        assert found["df"] == pytest.approx(expected.df, rel=1e-6)
        assert found["role"] == "sensitivity"
    assert not is_repetition(contrasts[contrasts["model"].str.startswith("hybrid_lag")]).any()
    assert not contrasts.loc[contrasts["model"].str.startswith("early"), "residual"].str.match("ar1").any()


def test_absolute_difference(contrasts):
    for level in ("within_client", "between_client"):
        client = row(contrasts, "hybrid_three_level", "unique", level, "coefficient_standardised")
        therapist = row(
            contrasts, "hybrid_three_level", "unique", level, "coefficient_standardised", "therapist"
        )
        found = row(contrasts, "hybrid_three_level", "unique", level, "absolute_difference")
        assert found["estimate"] == pytest.approx(abs(client["estimate"]) - abs(therapist["estimate"]))


def test_every_row_is_unique_and_names_its_role(contrasts):
    assert contrasts["row_id"].is_unique
    assert contrasts["role"].notna().all()
    primary = contrasts[contrasts["role"] == "primary"]
    assert set(primary["model"]) == {"early_three_level"}
    assert set(primary["term"]) == {"difference", "coefficient_standardised"}
    main = contrasts[~is_repetition(contrasts)]
    assert not main.duplicated(["model", "estimand", "level", "rater", "rater_b", "term"]).any()


def test_headline_reads_the_within_client_row_of_the_three_level_model(contrasts, hybrid_tables):
    settings = DecisionSettings(primary="hybrid_three_level")
    answer = headline_answer(contrasts, hybrid_tables.checks, study_example.context(), settings)
    expected = row(contrasts, "hybrid_three_level", "unique", "within_client", "difference")
    assert answer.row_id == expected["row_id"]
    assert answer.estimate == expected["estimate"]
    assert any("hybrid" in note for note in answer.notes)
    assert any("confounded" in note for note in answer.notes)


def test_headline_model_is_the_primary_panel_model_or_what_the_study_says():
    panel = pd.DataFrame(
        {
            "engine": ["multilevel", PANEL_ENGINE, PANEL_ENGINE],
            "role": ["primary", "secondary", "primary"],
            "model": ["early_three_level", "cross_lagged", "cross_lagged_trends"],
        }
    )
    assert headline_model(panel, DecisionSettings()) == "cross_lagged_trends"
    override = DecisionSettings(primary="hybrid_lag_two_level")
    assert headline_model(panel, override) == "hybrid_lag_two_level"


def test_the_hybrid_model_follows_the_levels_there_are():
    assert hybrid_model(study_example.context(), DecisionSettings()) == "hybrid_three_level"
    assert hybrid_model(study_example.context(has_therapists=False), DecisionSettings()) == "hybrid_two_level"
    for primary, expected in (("hybrid_lag_two_level",) * 2, ("cross_lagged", "hybrid_three_level")):
        assert hybrid_model(study_example.context(), DecisionSettings(primary=primary)) == expected


def test_the_answer_of_a_panel_model_is_its_own_row(contrasts, hybrid_tables):
    own = contrasts[contrasts["model"] == "hybrid_three_level"].assign(
        engine=PANEL_ENGINE, model="dynamic_panel", role="primary", row_id=lambda t: "panel." + t["row_id"]
    )
    both = pd.concat([contrasts, own])
    answer = headline_answer(both, hybrid_tables.checks, study_example.context(), DecisionSettings())
    assert answer.row_id.startswith("panel.")
    assert any("Fewer than five sessions" in note for note in answer.notes)
    assert not any("hybrid" in note for note in answer.notes)


def test_an_override_is_printed(contrasts, hybrid_tables):
    settings = DecisionSettings(primary="hybrid_two_level")
    answer = headline_answer(contrasts, hybrid_tables.checks, study_example.context(), settings)
    assert any("overrides the model behind this answer: hybrid_two_level" in note for note in answer.notes)


def test_one_rater_gives_a_refusal_not_a_number():
    context = study_example.context(raters=("client",))
    contrasts = all_contrasts([], context)
    assert contrasts["status"].tolist() == ["refused"]
    answer = headline_answer(contrasts, pd.DataFrame(), context, DecisionSettings())
    assert answer.verdict == "refused"
    assert "rated by the client only" in answer.sentence


def test_posterior_contrasts_by_hand():
    generator = np.random.default_rng(4)
    draws = {
        "client": generator.normal(-1, 0.2, (4, 100)),
        "therapist": generator.normal(-0.5, 0.2, (4, 100)),
    }
    base = {"model": "hybrid_three_level", "engine": "nutpie", "estimand": "unique", "level": "within_client"}
    rows = posterior_contrasts(
        draws, {"client": 2.0, "therapist": 3.0}, base, lambda x: {"estimate": x.mean()}, rope=0.4
    )
    by_term = {each["term"]: each for each in rows}
    difference = 2 * draws["client"] - 3 * draws["therapist"]
    assert by_term["difference"]["estimate"] == pytest.approx(difference.mean())
    assert by_term["difference"]["prob_direction"] == (difference < 0).mean()
    assert by_term["difference"]["prob_rope"] == (abs(difference) < 0.4).mean()
    absolute = abs(2 * draws["client"]) - abs(3 * draws["therapist"])
    assert by_term["absolute_difference"]["estimate"] == pytest.approx(absolute.mean())
    assert len({each["row_id"] for each in rows}) == len(rows) == 4
