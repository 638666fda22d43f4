"""The collapsed posterior: its density against dense algebra and PyMC, and the engine as the case of flat priors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from alliance_outcome.models.collapsed_posterior import CollapsedPosterior
from alliance_outcome.models.collapsed_sampler import posterior_mode
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.prior_values import EffectPrior, Priors
from alliance_outcome.models.standardised_design import StandardisedDesign

PRIORS = Priors(10, 4, 1.5, 2, 0.8, 3, lkj_eta=1.7, effects={"x": EffectPrior(-0.4, 0.6)})

#: Where the partial correlations of clients' effects stand: behind the therapists' and three clients' deviations.
PARTIAL = slice(4, 7)

#: Residuals of every kind.
RESIDUALS = ["independent", "ar1", "continuous_ar1"]


def study(seed: int = 1, n_clients: int = 24, sessions: int = 8, step: float = 1.0) -> pd.DataFrame:
    """Simulate sessions of clients of therapists, in random order."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(n_clients), sessions)
    therapist = client // 4
    x, z = rng.normal(size=(2, len(client)))
    slope_x, slope_z = 0.6 * rng.normal(size=(2, n_clients))
    outcome = (
        11
        + (0.7 + slope_x[client]) * x
        + slope_z[client] * z
        + 1.2 * rng.normal(size=n_clients)[client]
        + 0.8 * rng.normal(size=n_clients // 4)[therapist]
        + rng.normal(size=len(client))
    )
    table = pd.DataFrame(
        {"Intercept": 1.0, "x": 3 + x, "z": z, "y": outcome, "client": client, "therapist": therapist}
    )
    table["time"] = step * np.tile(np.arange(sessions), n_clients)
    return table.sample(frac=1.0, random_state=seed, ignore_index=True)


def design(
    table: pd.DataFrame, residual: str = "independent", slopes: tuple = ("x", "z")
) -> StandardisedDesign:
    return StandardisedDesign.of(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={"therapist": table["therapist"], "client": table["client"]},
        random={"therapist": ["Intercept"], "client": ["Intercept", *slopes]},
        scales={"z": 0.5},
        residual="independent" if residual == "independent" else "ar1",
        time=None if residual == "independent" else table["time"],
    )


def collapsed(residual: str, priors: Priors | None = PRIORS) -> CollapsedPosterior:
    table = study(step=1.0 if residual == "ar1" else 0.7)
    found = CollapsedPosterior(design(table, residual), priors)
    assert found.design.residual == residual
    return found


def values(posterior: CollapsedPosterior, count: int) -> np.ndarray:
    """Return values around where the likelihood is largest, some of them not folded."""
    rng = np.random.default_rng(5)
    return posterior.start() * np.exp(0.3 * rng.normal(size=(count, posterior.n_parameters)))


def dense_log_density(posterior: CollapsedPosterior, value: np.ndarray) -> float:
    """Integrate random and fixed effects out by one large normal distribution, and add the priors of Stan's manual."""
    rows = posterior.design.rows
    factor_u, factor_v = (each[0] for each in posterior.factors(value[None]))
    sigma, phi = posterior.residual_sd(value[None])[0], posterior.autocorrelation(value[None])[0]
    unit = np.repeat(np.arange(len(rows.unit_starts) - 1), np.diff(rows.unit_starts))
    cluster = np.repeat(np.arange(len(rows.cluster_starts) - 1), np.diff(rows.cluster_row_starts))
    same_unit, same_cluster = unit[:, None] == unit, cluster[:, None] == cluster
    correlation = np.eye(len(unit))
    if rows.gaps is not None:
        time = np.cumsum(rows.gaps)
        correlation = same_unit * phi ** (same_unit * np.abs(time[:, None] - time))
    p = PRIORS
    means = np.array([p.intercept_mean - posterior.design.outcome_mean, -0.4, 0.0])
    covariance = sigma**2 * correlation
    covariance += same_unit * (rows.unit_random @ factor_u @ factor_u.T @ rows.unit_random.T)
    covariance += same_cluster * (rows.cluster_random @ factor_v @ factor_v.T @ rows.cluster_random.T)
    covariance += rows.fixed @ np.diag(np.square([p.intercept_sd, 0.6, p.effect_sd])) @ rows.fixed.T
    found = stats.multivariate_normal(rows.fixed @ means, covariance).logpdf(rows.outcome)
    sds = np.linalg.norm(factor_u, axis=1)
    found += stats.halfnorm.logpdf(sds, scale=[p.group_sd, p.slope_sd, p.slope_sd]).sum()
    found += stats.halfnorm.logpdf(factor_v[0, 0], scale=p.group_sd)
    found += stats.halfnorm.logpdf(sigma, scale=p.residual_sd)
    correlations = (factor_u / sds[:, None]) @ (factor_u / sds[:, None]).T
    found += (p.lkj_eta - 1.0) * np.linalg.slogdet(correlations)[1]
    # From correlations to transformed partial correlations; from the autocorrelation to its transformation.
    found += np.log(abs(np.linalg.det(correlation_jacobian(value[PARTIAL]))))
    if posterior.design.residual == "ar1":
        found += np.log(1.0 - phi**2)
    return float(found)


def correlation_jacobian(transformed: np.ndarray) -> np.ndarray:
    """Differentiate three correlations by three transformed partial correlations."""

    def correlations(each: np.ndarray) -> np.ndarray:
        first, second, third = np.tanh(each)
        inner = first * second + third * np.sqrt((1.0 - first**2) * (1.0 - second**2))
        return np.array([first, second, inner])

    step = 1e-6
    moves = step * np.eye(3)
    return np.array(
        [
            (correlations(transformed + move) - correlations(transformed - move)) / (2.0 * step)
            for move in moves
        ]
    )


@pytest.mark.parametrize("residual", RESIDUALS)
def test_density_is_the_one_that_is_documented(residual: str) -> None:
    posterior = collapsed(residual)
    points = posterior.fold(values(posterior, 6))
    found = posterior.evaluate(points).log_density
    expected = np.array([dense_log_density(posterior, point) for point in points])
    # Constants of the priors are left out.
    assert found - found[0] == pytest.approx(expected - expected[0], abs=1e-6)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_folding_leaves_the_density_as_it_is(residual: str) -> None:
    posterior = collapsed(residual)
    points = posterior.fold(values(posterior, 3))
    for signs in posterior.signs:
        turned = points * signs
        assert posterior.fold(turned) == pytest.approx(points)
        if residual == "continuous_ar1" and signs[-1] < 0.0:
            continue  # continued by folding, not by the model
        assert posterior.evaluate(turned).log_density == pytest.approx(
            posterior.evaluate(points).log_density, rel=1e-12
        )


def test_threads_and_chunks_change_nothing() -> None:
    posterior = collapsed("independent")
    points = values(posterior, 200)
    one, two = posterior.evaluate(points, 1), posterior.evaluate(points, 2)
    assert np.array_equal(one.log_density, two.log_density)
    assert np.array_equal(one.precision, two.precision)
    each = [posterior.evaluate(point[None]).log_density[0] for point in points]
    assert one.log_density == pytest.approx(np.array(each), rel=1e-12)


def test_an_impossible_value_has_no_density() -> None:
    posterior = collapsed("continuous_ar1")
    point = posterior.start()
    point[-1] = 1.2
    assert posterior.evaluate(point[None]).log_density[0] == -np.inf


@pytest.mark.parametrize("residual", RESIDUALS)
def test_with_flat_priors_the_mode_is_the_restricted_maximum(residual: str) -> None:
    posterior = collapsed(residual, priors=None)
    start = values(posterior, 1)[0]
    found = optimize.minimize(
        lambda value: -posterior.evaluate(value[None]).log_density[0],
        start,
        method="BFGS",
        options={"gtol": 1e-7},
    )
    mode = posterior.fold(found.x[None])
    table = study(step=1.0 if residual == "ar1" else 0.7)
    result = MultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={"therapist": table["therapist"], "client": table["client"]},
        random={"therapist": ["Intercept"], "client": ["Intercept", "x", "z"]},
        residual="independent" if residual == "independent" else "ar1",
        time=None if residual == "independent" else table["time"],
    ).fit(reml=True)
    factor_u, factor_v = (each[0] for each in posterior.factors(mode))
    scales = posterior.design.effect_scales["client"]
    unit = factor_u @ factor_u.T / np.outer(scales, scales)
    assert unit == pytest.approx(result.random_covariance("client").to_numpy(), rel=1e-5, abs=1e-5)
    cluster = result.random_covariance("therapist").to_numpy()
    assert factor_v @ factor_v.T == pytest.approx(cluster, rel=1e-5, abs=1e-5)
    assert posterior.residual_sd(mode)[0] ** 2 == pytest.approx(result.scale, rel=1e-5)
    if residual != "independent":
        phi = posterior.design.nested.raw_autocorrelation(posterior.autocorrelation(mode)[0])
        assert phi == pytest.approx(result.ar1, abs=1e-5)
    # Given the maximum, fixed effects are normal around generalised least squares with its covariance.
    at = posterior.evaluate(mode)
    covariance = np.linalg.inv(at.precision[0])
    working = covariance @ at.information[0]
    raw = posterior.design.raw_coefficients(
        np.asarray(working[0] + posterior.design.outcome_mean), working[1:]
    )
    assert raw == pytest.approx(result.params.to_numpy(), rel=1e-5, abs=1e-5)
    back = np.column_stack(
        [posterior.design.raw_coefficients(np.asarray(unit_[0]), unit_[1:]) for unit_ in np.eye(3)]
    )
    assert back @ covariance @ back.T == pytest.approx(result.cov_params().to_numpy(), rel=1e-4, abs=1e-7)


def test_newton_finds_the_mode() -> None:
    posterior = collapsed("independent")
    mode, covariance = posterior_mode(posterior)
    best = posterior.evaluate(mode[None]).log_density[0]
    assert np.all(np.linalg.eigvalsh(covariance) > 0.0)
    nearby = mode + 0.3 * np.sqrt(np.diag(covariance)) * np.vstack([np.eye(len(mode)), -np.eye(len(mode))])
    assert np.all(posterior.evaluate(nearby).log_density < best)
