"""Second derivatives of the likelihood against those of the density written out over all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from dense_model import DenseModel
from engine_example import MODELS, example, fit, lagged_study, slopes, study
from scipy import stats

from alliance_outcome.models.information import Information, Satterthwaite, information
from alliance_outcome.models.joint_covariance import joint_covariance_slopes, slopes_by_factors
from alliance_outcome.models.multilevel_result import MultilevelResult
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.random_structure import RandomEffects
from alliance_outcome.models.unprofiled_likelihood import unprofiled_deviance, unprofiled_gradient

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


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("name", NAMES)
def test_deviance_and_gradient_at_any_residual_variance_are_those_of_the_dense_model(
    name: str, reml: bool
) -> None:
    result = small(name, reml)
    away = estimates(result) + 0.1 * np.arange(1, len(estimates(result)) + 1)
    at_parameters, variance = result.likelihood.evaluate(away[:-1]), float(np.exp(away[-1]))
    ours = unprofiled_gradient(result.likelihood, at_parameters, variance)
    theirs = slopes(lambda moved: deviance(result, moved), away, 1e-3)
    assert ours == pytest.approx(theirs, rel=1e-7, abs=1e-7)
    # Constants aside, which do not depend on the parameters.
    differences = [
        unprofiled_deviance(
            result.likelihood, result.likelihood.evaluate(moved[:-1]), float(np.exp(moved[-1]))
        )
        - deviance(result, moved)
        for moved in (away, estimates(result))
    ]
    assert differences[0] == pytest.approx(differences[1], abs=1e-9)


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


class ByCovariances:
    """The likelihood by the elements of Ψ instead of Λ, then the autocorrelation's parameter and log σ²."""

    def __init__(self, result: MultilevelResult) -> None:
        self.likelihood = result.likelihood

    def _parts(self, parameters: np.ndarray) -> Iterator[tuple[RandomEffects | None, np.ndarray]]:
        start = 0
        for effects in self.likelihood.structure.levels:
            stop = start + len(effects.positions[0])
            yield effects, parameters[start:stop]
            start = stop
        yield None, parameters[start:]

    def of(self, parameters: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [
                own if level is None else level.unpack(own)[level.positions]
                for level, own in self._parts(parameters)
            ]
        )

    def to_factors(self, elements: np.ndarray) -> np.ndarray:
        found = []
        for level, own in self._parts(elements):
            if level is None:
                found.append(own)
                continue
            matrix = np.zeros((len(level), len(level)))
            matrix[level.positions] = own
            found.append(level.pack(np.tril(matrix) + np.tril(matrix, -1).T))
        return np.concatenate(found)

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """Derivatives of the elements, shape (parameters, elements); exact, because they are quadratic."""
        return slopes(self.of, parameters, 1e-2)

    def gradient(self, elements: np.ndarray) -> np.ndarray:
        parameters = self.to_factors(elements)
        at = self.likelihood.evaluate(parameters[:-1])
        by_factors = unprofiled_gradient(self.likelihood, at, float(np.exp(parameters[-1])))
        return np.linalg.solve(self.jacobian(parameters), by_factors)

    def joint_covariance(self, elements: np.ndarray) -> np.ndarray:
        def coefficients(moved: np.ndarray) -> np.ndarray:
            return self.likelihood.evaluate(self.to_factors(moved)[:-1]).coefficients

        parameters = self.to_factors(elements)
        own = np.exp(parameters[-1]) * self.likelihood.evaluate(parameters[:-1]).evaluation.inverse
        moving = slopes(coefficients, elements, STEP)
        return own + moving.T @ (2.0 * np.linalg.inv(slopes(self.gradient, elements, STEP))) @ moving


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Between matrices, one for each parameter, relative to the largest number of each."""
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs).max(axis=(1, 2), keepdims=True)))


@cache
def lagged() -> MultilevelResult:
    """Fit a model whose lag moves with the variances."""
    data = lagged_study(3, clients=50, sessions=6)
    return fit(
        "y ~ x + before",
        data,
        groups=["client"],
        random={"client": "1 + x"},
        time="session",
        lagged_outcome="before",
    )


@pytest.fixture(params=[*NAMES, "lagged"])
def moving(request: pytest.FixtureRequest) -> MultilevelResult:
    return lagged() if request.param == "lagged" else small(request.param, reml=False)


def test_slopes_by_factors_are_differences_of_the_joint_covariance(moving: MultilevelResult) -> None:
    likelihood, variance = moving.likelihood, moving.maximum.at.residual_variance

    def joint(moved: np.ndarray) -> np.ndarray:
        return information(likelihood, moved[:-1], float(np.exp(moved[-1]))).joint_covariance

    ours = slopes_by_factors(likelihood, moving.maximum.parameters, variance, moving.information)
    # Three-point differences here: the largest difference seen is 5e-5.
    assert largest_difference(ours, slopes(joint, estimates(moving), 2e-3)) < 5e-4


def test_slopes_of_the_joint_covariance_are_those_by_covariances(moving: MultilevelResult) -> None:
    by_covariances, variance = ByCovariances(moving), moving.maximum.at.residual_variance
    point = estimates(moving)
    theirs = slopes(by_covariances.joint_covariance, by_covariances.of(point), STEP)
    theirs = np.einsum("pe,eab->pab", by_covariances.jacobian(point), theirs)
    ours = joint_covariance_slopes(moving.likelihood, moving.maximum.parameters, variance, moving.information)
    assert largest_difference(ours, theirs) < 5e-4


def test_beside_a_lag_second_derivatives_by_factors_are_something_else() -> None:
    result = lagged()
    arguments = (
        result.likelihood,
        result.maximum.parameters,
        result.maximum.at.residual_variance,
        result.information,
    )
    assert largest_difference(slopes_by_factors(*arguments), joint_covariance_slopes(*arguments)) > 0.1


def test_the_order_of_random_effects_does_not_matter_beside_a_lag() -> None:
    # Cholesky factors of Ψ with its rows turned around are no linear map of the others; the elements of Ψ are.
    result = lagged()
    rows = replace(result.likelihood.rows, unit_random=result.likelihood.rows.unit_random[:, ::-1])
    turned = NestedLikelihood(rows, result.likelihood.structure, result.reml)
    psi, _, _ = result.likelihood.unpack(result.maximum.parameters)
    parameters, variance = turned.pack(psi[::-1, ::-1], None), result.maximum.at.residual_variance
    at = information(turned, parameters, variance)
    other = Satterthwaite(
        at.joint_covariance, joint_covariance_slopes(turned, parameters, variance, at), at.covariance
    )
    for weights in np.eye(len(result.params)):
        ours = result.satterthwaite.approximation(weights).denominator_df
        assert ours == pytest.approx(other.approximation(weights).denominator_df, rel=1e-3)


def test_least_squares_knows_the_variance_of_its_residual_variance() -> None:
    # The log of a mean square has variance 2/df.
    result = example("least_squares")[0]
    degrees = result.n_rows - len(result.params)
    assert result.hessian == pytest.approx(np.array([[float(degrees)]]), rel=1e-10)
    assert result.information.covariance == pytest.approx(np.array([[2.0 / degrees]]), rel=1e-10)


def test_a_point_that_is_no_minimum_has_no_covariance() -> None:
    saddle = Information(np.diag([1.0, -2.0]), np.eye(1), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    flat = Information(np.diag([1.0, 0.0]), np.eye(1), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    # Rounding leaves something, of either sign, of a curvature of zero, which scaled to one would look like any other.
    nearly_flat = Information(np.diag([1e-12, 100.0]), np.eye(1), np.zeros((2, 1, 1)), np.zeros((2, 1)))
    for point in (saddle, flat, nearly_flat):
        assert np.isnan(point.covariance).all()


def test_gradient_and_hessian_have_the_same_parameters() -> None:
    result = example("client_slope")[0]
    # Therapist's intercept; client's intercept, covariance and slope; log σ² in the Hessian alone.
    assert result.gradient.shape == (4,)
    assert result.hessian.shape == (5, 5)
    assert result.hessian == pytest.approx(result.hessian.T, rel=1e-12)
    assert np.linalg.eigvalsh(result.hessian)[0] > 0.0
