"""Predicting left-out clients and therapists: against matrices of all rows, and against leaving them out for real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense_model import DenseModel, nested_rows
from scipy import stats
from test_collapsed_posterior import PRIORS, study

from alliance_outcome.analyses.bayesian_comparison import (
    NO_DECISION,
    NOT_DISTINGUISHED,
    WORSE,
    Sampling,
    compare_bayesian_models,
    decide,
)
from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.leave_group_out import Groups, leave_out
from alliance_outcome.models.posterior_draws import ParameterDraws
from alliance_outcome.models.remaining_rows import without_rows
from alliance_outcome.models.row_log_likelihoods import row_log_likelihoods
from alliance_outcome.settings import PriorSettings, SamplerSettings

LEVELS = {"therapist": ["Intercept"], "client": ["Intercept", "x"]}


def model(table: pd.DataFrame, levels: dict = LEVELS) -> BayesianMultilevelModel:
    return BayesianMultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={level: table[level] for level in levels},
        random=levels,
        priors=PRIORS,
    )


@pytest.fixture(scope="module")
def small() -> BayesianMultilevelModel:
    return model(study(n_clients=20, sessions=5))


def test_a_row_given_the_others_has_the_density_of_the_dense_model() -> None:
    rows = replace(nested_rows(7, (1,) * 6, (4, 3, 6), q=2, r=0), gaps=None)
    rng = np.random.default_rng(1)
    factor, beta, sigma = np.tril(rng.normal(size=(2, 2))), 0.3 * rng.normal(size=4), 0.8
    draws = ParameterDraws(beta[None], factor[None], np.zeros((1, 0, 0)), np.array([sigma]), np.zeros(1))
    found = row_log_likelihoods(draws, rows)[0]
    dense = DenseModel(rows, factor @ factor.T / sigma**2, np.zeros((0, 0)), sigma**2)
    residual = rows.outcome - rows.fixed @ beta
    covariance = dense.marginal_covariance
    whole = stats.multivariate_normal(np.zeros(len(residual)), covariance).logpdf(residual)
    for row, own in enumerate(found):
        others = np.arange(len(residual)) != row
        rest = stats.multivariate_normal(np.zeros(others.sum()), covariance[np.ix_(others, others)])
        assert own == pytest.approx(whole - rest.logpdf(residual[others]), abs=1e-9)


@pytest.mark.parametrize("level", ["client", "therapist"])
def test_the_remaining_rows_are_those_of_the_other_groups(small: BayesianMultilevelModel, level: str) -> None:
    groups = Groups.of(small.design, level)
    for group in (0, len(groups) - 1):
        rows = groups.rows(group)
        remaining = without_rows(small.design, rows)
        kept = np.ones(len(small.design.rows.outcome), dtype=bool)
        kept[rows] = False
        assert np.array_equal(remaining.rows.outcome, small.design.rows.outcome[kept])
        assert np.array_equal(remaining.rows.fixed, small.design.rows.fixed[kept])
        assert remaining.rows.unit_starts[-1] == kept.sum()


@pytest.mark.parametrize("level", ["client", "therapist"])
def test_importance_sampling_predicts_what_refits_do(small: BayesianMultilevelModel, level: str) -> None:
    posterior = small.sample(sampler="collapsed", draws=2_000, seed=1).posterior.to_dataset()
    quick = leave_out(small, posterior, level, seed=2)
    whole = leave_out(small, posterior, level, seed=3, threshold=-np.inf)
    assert len(whole.refitted) == len(quick.pareto_k) == len(Groups.of(small.design, level))
    difference = quick.elpd.elpd_i.to_numpy() - whole.elpd.elpd_i.to_numpy()
    # Monte Carlo error of a log mean of 8,000 densities, larger where few draws count; groups are worth some -10 each.
    assert np.abs(difference[quick.pareto_k < 0.5]).max() < 0.1
    assert np.abs(difference).max() < 0.5
    assert float(quick.elpd.elpd) == pytest.approx(float(whole.elpd.elpd), abs=0.6)


def test_an_odd_therapist_is_left_out_for_real() -> None:
    table = study(n_clients=20, sessions=5)
    table.loc[table["therapist"] == 0, "y"] += 25.0
    odd = model(table)
    posterior = odd.sample(sampler="collapsed", draws=1_000, seed=1).posterior.to_dataset()
    found = leave_out(odd, posterior, "therapist", seed=2)
    assert found.pareto_k.max() > found.threshold
    assert len(found.refitted) >= 1


def test_a_level_that_the_model_lacks_is_refused(small: BayesianMultilevelModel) -> None:
    with pytest.raises(ValueError, match="no level clinic"):
        Groups.of(small.design, "clinic")


@pytest.mark.parametrize(
    ("difference", "std_error", "words"),
    [(-3.9, 0.1, NOT_DISTINGUISHED), (-10.0, 6.0, NOT_DISTINGUISHED), (-10.0, 4.0, WORSE)],
)
def test_small_differences_distinguish_nothing(difference: float, std_error: float, words: str) -> None:
    assert decide(difference, std_error) == words


def test_the_rater_who_has_the_effect_predicts_better() -> None:
    import study_example

    context, rows = study_example.context(), study_example.hybrid_rows()
    table = rows.copy()
    # All of the outcome that alliance explains is the client's.
    rng = np.random.default_rng(1)
    deviation = table["alliance_client"] - table.groupby("client")["alliance_client"].transform("mean")
    table["outcome"] = 15.0 - 3.0 * deviation + rng.normal(size=len(table))
    priors = PriorSettings(range=(0, 40))
    sampling = Sampling(SamplerSettings(draws=2000), 1, 1)
    found = compare_bayesian_models({"hybrid": table}, context, priors, {"hybrid": sampling})
    by_client = found[found["left_out"] == "client"].set_index("raters")
    assert by_client.loc["therapist", "decision"] == WORSE
    assert by_client.loc["client", "elpd"] > by_client.loc["therapist", "elpd"] + 50.0
    # Fewer than 50 therapists decide nothing.
    assert set(found.loc[found["left_out"] == "therapist", "decision"]) == {NO_DECISION}
    assert set(found["status"]) == {"ok"}


def test_one_rater_has_nothing_to_be_compared_with() -> None:
    import study_example

    context = replace(study_example.context(), raters=("client",))
    sampling = {"hybrid": Sampling(SamplerSettings(draws=100), 1, 1)}
    rows = {"hybrid": study_example.hybrid_rows()}
    found = compare_bayesian_models(rows, context, PriorSettings(range=(0, 40)), sampling)
    assert set(found["status"]) == {"refused"}
    assert found["reason"].str.contains("one rater").all()
