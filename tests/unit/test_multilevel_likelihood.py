"""The likelihood behind the engine against matrices written out over all rows, and its verdicts at zero variance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

TERMS = ["Intercept", "alliance", "mood"]
SLOPES = {"none": (), "one": ("alliance",), "two": ("alliance", "mood")}
THERAPIST_VARIANCE = 0.6


def simulate(seed: int = 3, sd_client: float = 1.0, times: int = 1) -> pd.DataFrame:
    """Five therapists with 1 to 5 clients (`times` as many) with 2 to 6 sessions, in shuffled order."""
    rng = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(5), np.arange(1, 6) * times)
    clients = len(therapist)
    client = np.repeat(np.arange(clients), rng.integers(2, 7, size=clients))
    data = pd.DataFrame({"client": client, "therapist": therapist[client], "Intercept": 1.0})
    data["alliance"] = 4.0 + rng.normal(size=len(client))
    data["mood"] = rng.normal(size=len(client))
    slope = 0.6 * rng.normal(size=clients)[client]
    data["outcome"] = (0.5 + slope) * data["alliance"] + sd_client * rng.normal(size=clients)[client]
    data["outcome"] += 0.7 * rng.normal(size=5)[data["therapist"]] + rng.normal(size=len(client))
    return data.sample(frac=1.0, random_state=seed)


def model_of(data: pd.DataFrame, slopes: tuple[str, ...], three_level: bool) -> MultilevelModel:
    levels = ["therapist", "client"] if three_level else ["client"]
    return MultilevelModel(
        data["outcome"],
        data[TERMS],
        groups={level: data[level] for level in levels},
        random={level: ["Intercept", *(slopes if level == "client" else ())] for level in levels},
    )


def client_covariance(slopes: tuple[str, ...]) -> np.ndarray:
    """Relative to the residual variance, neither diagonal nor singular."""
    q = 1 + len(slopes)
    factor = np.tril(0.3 + 0.2 * np.arange(q * q).reshape(q, q) / q)
    return factor @ factor.T


class Dense:
    """The same model at the same variances, written out."""

    def __init__(self, data: pd.DataFrame, slopes: tuple[str, ...], three_level: bool) -> None:
        self.columns = data[TERMS].to_numpy()
        self.outcome = data["outcome"].to_numpy()
        z = data[["Intercept", *slopes]].to_numpy()
        client, therapist = data["client"].to_numpy(), data["therapist"].to_numpy()
        self.v = np.eye(len(data)) + (client[:, None] == client) * (z @ client_covariance(slopes) @ z.T)
        if three_level:
            self.v += THERAPIST_VARIANCE * (therapist[:, None] == therapist)
        inverse = np.linalg.inv(self.v)
        self.information = self.columns.T @ inverse @ self.columns
        self.coefficients = np.linalg.solve(self.information, self.columns.T @ inverse @ self.outcome)
        residual = self.outcome - self.columns @ self.coefficients
        self.residual_sum = residual @ inverse @ residual

    def variance(self, reml: bool) -> float:
        return self.residual_sum / (len(self.outcome) - reml * self.columns.shape[1])

    def log_likelihood(self, reml: bool) -> float:
        """Density of the outcome (ML), or of its error contrasts up to the constant of lme4 (REML), by scipy."""
        variance = self.variance(reml)
        fitted = self.columns @ self.coefficients
        density = stats.multivariate_normal(fitted, variance * self.v).logpdf(self.outcome)
        if not reml:
            return density
        return density - 0.5 * np.linalg.slogdet(self.information / (2 * np.pi * variance))[1]


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def reml(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[(slopes, three) for slopes in SLOPES for three in (True, False)], ids=str)
def structure(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], bool]:
    slopes, three_level = request.param
    return SLOPES[slopes], three_level


def evaluated(structure: tuple[tuple[str, ...], bool], reml: bool) -> MultilevelResult:
    slopes, _ = structure
    covariances = {"client": client_covariance(slopes), "therapist": [[THERAPIST_VARIANCE]]}
    return model_of(simulate(), *structure).evaluate(covariances, reml=reml)


def test_log_likelihood_against_dense_matrices(structure: tuple, reml: bool) -> None:
    dense = Dense(simulate(), *structure)
    assert evaluated(structure, reml).llf == pytest.approx(dense.log_likelihood(reml), rel=1e-10)


def test_fixed_effects_and_covariance_against_dense_matrices(structure: tuple) -> None:
    dense, result = Dense(simulate(), *structure), evaluated(structure, reml=True)
    covariance = dense.variance(reml=True) * np.linalg.inv(dense.information)
    np.testing.assert_allclose(result.cov_params(), covariance, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(result.params, dense.coefficients, rtol=1e-9)


def test_gradient_against_finite_differences(structure: tuple, reml: bool) -> None:
    likelihood = model_of(simulate(), *structure).likelihood(reml=reml)
    parameters = np.linspace(0.4, 1.1, len(likelihood.start()))
    steps = 1e-5 * np.eye(len(parameters))
    numeric = [
        (likelihood.evaluate(parameters + step).deviance - likelihood.evaluate(parameters - step).deviance)
        / 2e-5
        for step in steps
    ]
    analytic = likelihood.evaluate(parameters).gradient
    # Twice the tolerance of a log-likelihood, because a deviance is twice as large.
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("ratio", [0.0, 1e-18, 1e-12, 1e-10])
def test_fixed_effects_survive_vanishing_variance(ratio: float) -> None:
    """MixedLM's own fixed effects jump at a variance of 1e-10; these do not."""
    data = simulate(sd_client=0.0)
    plain = MultilevelModel(data["outcome"], data[TERMS]).fit()
    vanishing = model_of(data, (), three_level=False).evaluate({"client": [[ratio]]})
    assert np.all(np.abs(vanishing.params - plain.params) <= 1e-9 * plain.bse)


def test_zero_is_no_maximum_where_the_data_hold_variance() -> None:
    stuck = model_of(simulate(), (), three_level=True).evaluate({"client": [[0.0]], "therapist": [[0.0]]})
    # The derivative with respect to a standard deviation vanishes at zero whatever the data say.
    assert np.abs(stuck.gradient).max() == 0.0
    assert not stuck.converged


def test_a_correlation_of_one_is_no_maximum_where_the_data_hold_none() -> None:
    model = model_of(simulate(), ("alliance",), three_level=False)
    direction = np.array([[1.0], [0.5]])
    sizes = np.linspace(0.02, 1.0, 200)
    found = [model.evaluate({"client": size * direction @ direction.T}) for size in sizes]
    assert not max(found, key=lambda result: result.llf).converged


@pytest.mark.parametrize("three_level", [True, False])
def test_a_residual_ten_thousand_times_smaller_than_the_effects(three_level: bool) -> None:
    data = simulate(times=2)
    rng = np.random.default_rng(8)
    data["outcome"] += 1e4 * rng.normal(size=30)[data["client"]] - data["alliance"]
    fit = model_of(data, (), three_level).fit()
    columns = ["outcome", "alliance", "mood"]
    within = (data[columns] - data.groupby("client")[columns].transform("mean")).to_numpy()
    coefficients, rss, _, _ = np.linalg.lstsq(within[:, 1:], within[:, 0])
    # With so much variance between clients, generalised least squares is least squares within clients.
    assert fit.converged
    errors = fit.bse.to_numpy()[1:]
    assert np.all(np.abs(fit.params[["alliance", "mood"]] - coefficients) <= 1e-3 * errors)
    assert fit.scale == pytest.approx(rss[0] / (len(data) - 30 - 2), rel=1e-4)
