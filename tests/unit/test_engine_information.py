"""Second derivatives of the likelihood against those of the density written out over all rows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from dense_model import DenseModel
from engine_example import MODELS, example, fit, slopes, study
from scipy import stats

from alliance_outcome.models.information import Information, information, joint_covariance_slopes
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Steps of the tests' second differences: truncation is some h⁴ of the sixth derivative, rounding 1e-13 of a deviance
#: of hundreds over h², both near 1e-8 of curvatures of the order of ten.
STEP = 5e-3

#: Relative to the roots of the products of the diagonal; the largest difference seen is 7e-7.
SECOND = 1e-5

NAMES = [name for name in MODELS if name != "least_squares"]


@cache
def small(name: str, reml: bool = True) -> MultilevelResult:
    """Fit a model of `MODELS` to rows few enough for second differences of the density."""
    arguments = dict(MODELS[name])
    if name == "slopes_at_both_levels":
        arguments["random"] = {"client": "1 + x", "therapist": "1 + x"}
    data = study(
        4,
        clients=(3, 2, 4, 3, 2, 3),
        sessions=(5, 6, 4),
        therapist_sd=1.0,
        therapist_slope_sd=0.8,
        autocorrelation=0.5 if "residual" in arguments else 0.0,
        time=arguments.get("time", "session"),
    )
    return fit(data=data, reml=reml, **arguments)


def at(result: MultilevelResult, parameters: np.ndarray) -> DenseModel:
    """Return the dense model at the likelihood's parameters and log σ²."""
    unit, cluster, phi = result.likelihood.unpack(parameters[:-1])
    return DenseModel(result.likelihood.rows, unit, cluster, float(np.exp(parameters[-1])), phi)


def estimates(result: MultilevelResult) -> np.ndarray:
    return np.append(result.maximum.parameters, np.log(result.maximum.at.residual_variance))


def deviance(result: MultilevelResult, parameters: np.ndarray) -> float:
    """Not profiled over σ²."""
    return -2.0 * at(result, parameters).log_likelihood(result.reml)


def assert_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    scale = np.sqrt(np.abs(np.diag(theirs)))
    assert np.all(np.abs(ours - theirs) <= tolerance * np.outer(scale, scale))


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("name", NAMES)
def test_hessian_is_that_of_the_dense_deviance(name: str, reml: bool) -> None:
    result = small(name, reml)
    assert not result.singular
    theirs = slopes(
        lambda inner: slopes(lambda outer: deviance(result, outer), inner, STEP), estimates(result), STEP
    )
    assert_close(result.hessian, theirs, SECOND)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_of_fixed_effects_are_those_of_the_dense_model(name: str) -> None:
    result = small(name)
    of_coefficients = slopes(lambda moved: at(result, moved).coefficients, estimates(result), 1e-3)
    assert result.information.coefficient_slopes == pytest.approx(of_coefficients, abs=1e-7)
    of_covariance = slopes(lambda moved: at(result, moved).covariance, estimates(result), 1e-3)
    assert result.information.covariance_slopes == pytest.approx(of_covariance, abs=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_joint_covariance_inverts_the_information_of_all_parameters(name: str) -> None:
    result = small(name, reml=False)
    count = len(result.params)
    whole = np.append(result.maximum.at.coefficients, estimates(result))

    def minus_log_density(parameters: np.ndarray) -> float:
        model = at(result, parameters[count:])
        mean = model.rows.fixed @ parameters[:count]
        return -float(stats.multivariate_normal(mean, model.marginal_covariance).logpdf(model.rows.outcome))

    # Only β against the rest, and the rest, need differences; the block of β is known.
    observed = slopes(lambda inner: slopes(minus_log_density, inner, STEP), whole, STEP)
    covariance = np.linalg.inv(observed)
    assert_close(result.information.joint_covariance, covariance[:count, :count], SECOND)
    assert_close(result.information.covariance, covariance[count:, count:], 1e-4)


def test_satterthwaite_degrees_of_freedom_by_their_definition() -> None:
    # 2v²/Var(v) with numeric slopes of v and the inverse of the numeric Hessian.
    result = small("client_slope")
    point = estimates(result)
    hessian = slopes(lambda inner: slopes(lambda outer: deviance(result, outer), inner, STEP), point, STEP)
    for position, term in enumerate(result.params.index):
        weights = result.design.scaling.coefficient_map()[position]

        def variance(moved: np.ndarray, weights: np.ndarray = weights) -> float:
            return float(weights @ at(result, moved).covariance @ weights)

        gradient = slopes(variance, point, 1e-3)
        df = 2.0 * variance(point) ** 2 / (gradient @ (2.0 * np.linalg.inv(hessian)) @ gradient)
        assert result.contrast(term).df == pytest.approx(df, rel=1e-4)


def test_slopes_of_the_joint_covariance_are_its_differences() -> None:
    result = small("client_slope", reml=False)
    likelihood, variance = result.likelihood, result.maximum.at.residual_variance
    ours = joint_covariance_slopes(likelihood, result.maximum.parameters, variance)

    def joint(moved: np.ndarray) -> np.ndarray:
        return information(likelihood, moved[:-1], float(np.exp(moved[-1]))).joint_covariance

    theirs = slopes(joint, estimates(result), 2e-3)
    # Differences of differences: three points with steps of 5e-3 here leave some 1e-4.
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3 * np.abs(theirs).max())


def test_least_squares_knows_the_variance_of_its_residual_variance() -> None:
    # The log of a mean square has variance 2/df.
    result = example("least_squares")[0]
    degrees = result.n_rows - len(result.params)
    assert result.hessian == pytest.approx(np.array([[float(degrees)]]), rel=1e-10)
    assert result.information.covariance == pytest.approx(np.array([[2.0 / degrees]]), rel=1e-10)


def test_a_point_that_is_no_minimum_has_no_covariance() -> None:
    saddle = Information(np.diag([1.0, -2.0]), np.eye(1), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    flat = Information(np.diag([1.0, 0.0]), np.eye(1), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    assert np.isnan(saddle.covariance).all()
    assert np.isnan(flat.covariance).all()


def test_gradient_and_hessian_have_the_same_parameters() -> None:
    result = example("client_slope")[0]
    # Therapist's intercept; client's intercept, covariance and slope; log σ² in the Hessian alone.
    assert result.gradient.shape == (4,)
    assert result.hessian.shape == (5, 5)
    assert result.hessian == pytest.approx(result.hessian.T, rel=1e-12)
    assert np.linalg.eigvalsh(result.hessian)[0] > 0.0
