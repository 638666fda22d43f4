"""The rater contrast against the arithmetic done by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import study_example
from scipy import stats

from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.headline import all_contrasts, headline_answer, headline_model
from alliance_outcome.analyses.rater_contrast import posterior_contrasts
from alliance_outcome.design.levels import level_sd, split_levels
from alliance_outcome.settings import DecisionSettings


@pytest.fixture(scope="module")
def contrasts(hybrid_tables, early_tables):
    tables = (hybrid_tables, early_tables)
    return all_contrasts(
        [table.estimates for table in tables],
        [table.covariances for table in tables],
        [table.scales for table in tables],
        [table.replicates for table in tables],
        estimates_frame([]),
        study_example.context(),
    )


def row(contrasts, model, estimand, level, term, rater="client"):
    """Return one row of the contrast table."""
    same = (contrasts["model"] == model) & (contrasts["estimand"] == estimand) & (contrasts["level"] == level)
    return contrasts[same & (contrasts["term"] == term) & (contrasts["rater"] == rater)].iloc[0]


def test_unique_difference_by_hand(contrasts, hybrid_models):
    model = next(model for model in hybrid_models if model.specification.name == "hybrid_three_level.joint")
    for level in ("within_client", "between_client", "between_therapist"):
        terms = [f"alliance_{rater}_{level}" for rater in ("client", "therapist")]
        weights = np.array([1, -1]) * [
            level_sd(model.rows, f"alliance_{rater}", level) for rater in ("client", "therapist")
        ]
        estimate = weights @ model.fit.params[terms]
        std_error = math.sqrt(weights @ model.fit.covariance.loc[terms, terms] @ weights)
        found = row(contrasts, "hybrid_three_level", "unique", level, "difference")
        assert found["estimate"] == pytest.approx(estimate, rel=1e-12)
        assert found["std_error"] == pytest.approx(std_error, rel=1e-12)
        degrees = min(model.fit.degrees_of_freedom()[terms])
        assert found["ci_low"] == pytest.approx(estimate - stats.t.ppf(0.975, degrees) * std_error, rel=1e-12)
        assert (found["rater"], found["rater_b"], found["se_kind"]) == ("client", "therapist", "model")


def test_total_difference_is_the_stacked_jackknife(contrasts, hybrid_models):
    level, models = "within_client", {}
    for rater in ("client", "therapist"):
        models[rater] = next(
            m for m in hybrid_models if m.specification.name == f"hybrid_three_level.{rater}"
        )
    sds = {rater: level_sd(model.rows, f"alliance_{rater}", level) for rater, model in models.items()}
    replicates = {
        rater: model.fit.leave_one_cluster_out()[f"alliance_{rater}_{level}"] * sds[rater]
        for rater, model in models.items()
    }
    difference = replicates["client"] - replicates["therapist"]
    count = len(difference)
    std_error = math.sqrt((count - 1) / count * ((difference - difference.mean()) ** 2).sum())
    found = row(contrasts, "hybrid_three_level", "total", level, "difference")
    assert found["std_error"] == pytest.approx(std_error, rel=1e-12)
    assert found["df"] == count - 1 == 11
    assert found["se_kind"] == "CR3"


def test_uncertain_standard_deviations_equal_refitting_the_whole_chain(contrasts, hybrid_models):
    model = next(model for model in hybrid_models if model.specification.name == "hybrid_three_level.joint")
    found = row(contrasts, "hybrid_three_level", "unique", "within_client", "difference_sd_uncertain")
    replicates = []
    coefficients = model.fit.leave_one_cluster_out()
    for therapist in sorted(model.rows["therapist"].unique()):
        rest = split_levels(
            model.rows[model.rows["therapist"] != therapist], ["alliance_client", "alliance_therapist"]
        )
        scaled = [
            coefficients.loc[therapist, f"alliance_{rater}_within_client"]
            * level_sd(rest, f"alliance_{rater}", "within_client")
            for rater in ("client", "therapist")
        ]
        replicates.append(scaled[0] - scaled[1])
    spread = np.sum((np.array(replicates) - np.mean(replicates)) ** 2) * 11 / 12
    assert found["std_error"] == pytest.approx(math.sqrt(spread), rel=1e-10)
    assert (
        found["estimate"]
        == row(contrasts, "hybrid_three_level", "unique", "within_client", "difference")["estimate"]
    )


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


def test_headline_reads_the_within_client_row_of_the_three_level_model(contrasts, hybrid_tables):
    answer = headline_answer(contrasts, hybrid_tables.checks, study_example.context(), DecisionSettings())
    expected = row(contrasts, "hybrid_three_level", "unique", "within_client", "difference")
    assert answer.row_id == expected["row_id"]
    assert answer.estimate == expected["estimate"]
    assert any("hybrid" in note for note in answer.notes)
    assert any("confounded" in note for note in answer.notes)


def test_headline_model_follows_the_study():
    assert headline_model(study_example.context(), DecisionSettings()) == "hybrid_three_level"
    assert (
        headline_model(study_example.context(has_therapists=False), DecisionSettings()) == "hybrid_two_level"
    )
    override = DecisionSettings(primary="hybrid_lag_two_level")
    assert headline_model(study_example.context(), override) == "hybrid_lag_two_level"


def test_an_override_is_printed(contrasts, hybrid_tables):
    settings = DecisionSettings(primary="hybrid_two_level")
    answer = headline_answer(contrasts, hybrid_tables.checks, study_example.context(), settings)
    assert any("overrides the model behind this answer: hybrid_two_level" in note for note in answer.notes)


def test_one_rater_gives_a_refusal_not_a_number():
    context = study_example.context(raters=("client",))
    contrasts = all_contrasts([], [], [], [], estimates_frame([]), context)
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


def test_a_contrast_that_rests_on_one_cluster_is_refused_with_its_reason(hybrid_tables):
    replicates = hybrid_tables.replicates.copy()
    total = (replicates["estimand"] == "total") & (replicates["raters"] == "client")
    within = total & (replicates["term"] == "alliance_client_within_client") & (replicates["cluster"] == 0)
    replicates.loc[within & (replicates["quantity"] == "coefficient"), "value"] = np.nan
    tables = (hybrid_tables.estimates, hybrid_tables.covariances, hybrid_tables.scales, replicates)
    found = all_contrasts(*([table] for table in tables), estimates_frame([]), study_example.context())
    refused = row(found, "hybrid_three_level", "total", "within_client", "difference")
    assert refused["status"] == "refused"
    assert "single cluster" in refused["reason"]
    assert np.isnan(refused["estimate"])
    assert row(found, "hybrid_three_level", "unique", "within_client", "difference")["status"] == "ok"
