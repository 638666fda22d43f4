"""The compiled loops against matrices of all rows, finite differences, and SciPy's optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import pytest
from dense_model import DenseModel, diagonal, nested_rows, unstructured
from engine_example import slopes
from scipy import optimize

from alliance_outcome.models import gram_kernels as kernels
from alliance_outcome.models.fitted_state import WorkingRows
from alliance_outcome.models.nested_likelihood import MOST_ITERATIONS, NestedLikelihood, Residual
from alliance_outcome.models.random_structure import RandomEffects, RandomStructure

#: Two ways to the same number in double precision, on 40 rows; the largest difference seen is 6e-15.
SAME = 1e-12

#: Five-point differences with steps of 1e-3: truncation is some 1e-12 of the function, rounding 1e-16 / 1e-3 of it, and
#: deviances are of the order of 100. The largest difference seen is 1.5e-10.
DIFFERENCE_STEP, DIFFERENCED = 1e-3, 1e-8

#: Effects of a unit, of a cluster, and whether each level's are correlated.
STRUCTURES = [
    (0, 0, True),
    (1, 0, True),
    (2, 0, True),
    (2, 0, False),
    (0, 1, True),
    (0, 2, True),
    (1, 1, True),
    (2, 1, True),
    (1, 2, False),
    (2, 2, True),
    (2, 2, False),
]

#: Kind of residual, its autocorrelation, and a factor of the whole gaps.
RESIDUALS: list[tuple[Residual, float | None, float]] = [
    ("independent", None, 1.0),
    ("ar1", 0.6, 1.0),
    ("ar1", -0.4, 1.0),
    ("continuous_ar1", 0.3, 0.7),
]


@dataclass(frozen=True)
class Case:
    """A likelihood, and parameters at which to look at it."""

    likelihood: NestedLikelihood
    parameters: np.ndarray

    def dense(self, parameters: np.ndarray) -> DenseModel:
        """Return the dense model with the best residual variance."""
        unit, cluster, phi = self.likelihood.unpack(parameters)
        return best_scale(DenseModel(self.likelihood.rows, unit, cluster, 1.0, phi), self.likelihood.reml)

    def deviance(self, parameters: np.ndarray) -> float:
        return -2.0 * self.dense(parameters).log_likelihood(self.likelihood.reml)


def best_scale(model: DenseModel, reml: bool) -> DenseModel:
    """Give a model of variance one the residual variance that suits it best."""
    n, p = model.rows.fixed.shape
    return replace(model, residual_variance=residual_sum(model) / (n - p if reml else n))


def residual_sum(model: DenseModel) -> float:
    """e'V⁻¹e, V relative to the residual variance."""
    residual = model.rows.outcome - model.rows.fixed @ model.coefficients
    relative = model.marginal_covariance / model.residual_variance
    return float(residual @ np.linalg.solve(relative, residual))


def rows(q: int, r: int, gap_factor: float = 1.0) -> WorkingRows:
    made = nested_rows(
        7, units_per_cluster=(3, 1, 4, 2), rows_per_unit=(1, 4, 3, 6, 5), q=q, r=r, with_gaps=True
    )
    return replace(made, gaps=gap_factor * made.gaps)


def make(
    q: int, r: int, correlated: bool, reml: bool, residual: tuple[Residual, float | None, float]
) -> Case:
    kind, phi, gap_factor = residual
    unit = RandomEffects("unit", ("Intercept", "x")[:q], correlated) if q else None
    cluster = RandomEffects("cluster", ("Intercept", "x")[:r], correlated) if r else None
    likelihood = NestedLikelihood(rows(q, r, gap_factor), RandomStructure(unit, cluster), reml, kind)
    covariance = np.array([[0.8, 0.3], [0.3, 0.5]])
    return Case(likelihood, likelihood.pack(covariance[:q, :q], 0.6 * covariance[:r, :r], phi))


@pytest.fixture(
    scope="module",
    params=list(product(STRUCTURES, (True, False), RESIDUALS)),
    ids=lambda case: f"{case[0]}-{'REML' if case[1] else 'ML'}-{case[2][0]}{case[2][1] or ''}",
)
def case(request: pytest.FixtureRequest) -> Case:
    structure, reml, residual = request.param
    return make(*structure, reml, residual)


def test_deviance_and_estimates_are_those_of_the_dense_model(case: Case) -> None:
    at, dense = case.likelihood.evaluate(case.parameters), case.dense(case.parameters)
    assert at.deviance == pytest.approx(case.deviance(case.parameters), rel=SAME)
    assert at.residual_variance == pytest.approx(dense.residual_variance, rel=SAME)
    assert at.coefficients == pytest.approx(dense.coefficients, rel=SAME, abs=SAME)
    assert at.covariance == pytest.approx(dense.covariance, rel=SAME, abs=SAME)
    determinant = np.linalg.slogdet(dense.marginal_covariance / dense.residual_variance)[1]
    assert at.log_determinant == pytest.approx(determinant, rel=SAME, abs=SAME)


def test_gradients_are_the_slopes_of_the_dense_model(case: Case) -> None:
    at = case.likelihood.evaluate(case.parameters)
    by_parameters = slopes(case.deviance, case.parameters, DIFFERENCE_STEP)
    assert at.gradient == pytest.approx(by_parameters, rel=DIFFERENCED, abs=DIFFERENCED)
    of_residual = slopes(lambda moved: residual_sum(case.dense(moved)), case.parameters, DIFFERENCE_STEP)
    assert at.residual_slope == pytest.approx(of_residual, rel=DIFFERENCED, abs=DIFFERENCED)


def test_derivatives_by_covariances_are_the_slopes_of_the_dense_model(case: Case) -> None:
    at, dense = case.likelihood.evaluate(case.parameters), case.dense(case.parameters)
    for field, slope in (("unit_covariance", at.unit_slope), ("cluster_covariance", at.cluster_slope)):
        covariance = getattr(dense, field)
        patterns = [*unstructured(len(covariance)), *diagonal(len(covariance))]

        def deviance(steps: np.ndarray, field: str = field, patterns: list = patterns) -> float:
            moved = getattr(dense, field) + sum(
                step * each for step, each in zip(steps, patterns, strict=True)
            )
            model = best_scale(
                replace(dense, **{field: moved, "residual_variance": 1.0}), case.likelihood.reml
            )
            return -2.0 * model.log_likelihood(case.likelihood.reml)

        expected = slopes(deviance, np.zeros(len(patterns)), DIFFERENCE_STEP)
        ours = [float(np.sum(slope * pattern)) for pattern in patterns]
        assert ours == pytest.approx(expected, rel=DIFFERENCED, abs=DIFFERENCED)


@pytest.mark.parametrize("residual", RESIDUALS, ids=lambda residual: f"{residual[0]}{residual[1] or ''}")
@pytest.mark.parametrize("structure", [(1, 0, True), (2, 1, True), (2, 2, False)])
def test_minimum_is_that_of_another_optimiser(structure: tuple, residual: tuple) -> None:
    case = make(*structure, reml=True, residual=residual)
    found, deviance, gradient, status, _, _ = kernels.minimise(
        case.likelihood.problem, case.likelihood.start(), np.empty((0, 0)), 1e-8, MOST_ITERATIONS
    )
    theirs = optimize.minimize(case.deviance, case.likelihood.start(), method="BFGS", options={"gtol": 1e-4})
    # SciPy differentiates numerically and stops at slopes of 1e-4, or before where a minimum is flat.
    assert deviance == pytest.approx(theirs.fun, abs=1e-5)
    assert deviance <= theirs.fun + 1e-9
    assert status == kernels.CONVERGED
    assert np.max(np.abs(gradient)) <= 1e-8
    assert deviance == pytest.approx(case.deviance(found), rel=SAME)


def test_a_point_where_nothing_can_be_evaluated_is_reported() -> None:
    likelihood = make(1, 0, True, True, RESIDUALS[0]).likelihood
    status = kernels.minimise(likelihood.problem, np.array([np.nan]), np.empty((0, 0)), 1e-8, 10)[3]
    assert status == kernels.IMPOSSIBLE


def test_gram_matrices_are_products_of_the_rows_of_a_unit() -> None:
    joint, starts = np.random.default_rng(1).normal(size=(9, 3)), np.array([0, 1, 5, 9])
    expected = [joint[a:b].T @ joint[a:b] for a, b in pairwise(starts)]
    assert kernels.unit_grams(joint, starts) == pytest.approx(np.array(expected), rel=SAME)


def test_another_outcome_changes_the_last_row_and_column() -> None:
    rng = np.random.default_rng(2)
    joint, starts, outcome = rng.normal(size=(9, 3)), np.array([0, 1, 5, 9]), rng.normal(size=9)
    gram = kernels.unit_grams(joint, starts)
    kernels.replace_outcome(gram, joint, starts, outcome)
    replaced = np.column_stack([joint[:, :-1], outcome])
    assert gram == pytest.approx(kernels.unit_grams(replaced, starts), rel=SAME)


@pytest.mark.parametrize(("phi", "gap_factor"), [(0.6, 1.0), (0.0, 1.0), (-0.7, 1.0), (0.4, 0.35)], ids=str)
def test_autoregressive_gram_matrices_and_their_slopes(phi: float, gap_factor: float) -> None:
    made = rows(1, 1, gap_factor)
    joint = np.column_stack([made.fixed, made.outcome])

    def by_matrices(at: np.ndarray) -> np.ndarray:
        correlation = DenseModel(made, np.empty((0, 0)), np.empty((0, 0)), 1.0, at[0]).residual_correlation
        blocks = [(slice(a, b), correlation[a:b, a:b]) for a, b in pairwise(made.unit_starts)]
        grams = [joint[own].T @ np.linalg.solve(block, joint[own]) for own, block in blocks]
        return np.append(np.ravel(grams), np.linalg.slogdet(correlation)[1])

    gram = np.empty((len(made.unit_starts) - 1, joint.shape[1], joint.shape[1]))
    change = np.empty_like(gram)
    determinant, slope = kernels.autocorrelated_grams(joint, made.unit_starts, made.gaps, phi, gram, change)
    at = np.array([phi])
    assert np.append(gram, determinant) == pytest.approx(by_matrices(at), rel=SAME, abs=SAME)
    expected = slopes(by_matrices, at, DIFFERENCE_STEP)[0]
    assert np.append(change, slope) == pytest.approx(expected, rel=DIFFERENCED, abs=DIFFERENCED)


@pytest.mark.parametrize("residual", RESIDUALS[:3], ids=lambda residual: f"{residual[0]}{residual[1] or ''}")
def test_refits_of_many_outcomes_are_single_fits(residual: tuple) -> None:
    likelihood = make(2, 1, True, True, residual).likelihood
    made = likelihood.rows
    outcomes = made.outcome + np.random.default_rng(3).normal(size=(4, len(made.outcome)))
    start, nothing = likelihood.start(), np.empty((0, 0))
    many = kernels.refit_outcomes(
        likelihood.problem,
        likelihood.joint,
        made.unit_starts,
        outcomes,
        start,
        nothing,
        1e-8,
        MOST_ITERATIONS,
    )
    for outcome, parameters, deviance, coefficients, variance, status in zip(outcomes, *many, strict=True):
        own = NestedLikelihood(
            replace(made, outcome=outcome), likelihood.structure, likelihood.reml, likelihood.residual
        )
        found, least, _, own_status, _, _ = kernels.minimise(
            own.problem, start, nothing, 1e-8, MOST_ITERATIONS
        )
        assert status == own_status
        # Another outcome is put into Gram matrices as if they were built with it, so that the paths are the same.
        assert parameters == pytest.approx(found, abs=1e-8)
        assert deviance == pytest.approx(least, rel=SAME)
        assert coefficients == pytest.approx(own.evaluate(found).coefficients, abs=1e-8)
        assert variance == pytest.approx(own.evaluate(found).residual_variance, rel=1e-8)


def test_refits_leave_the_problem_as_it_was() -> None:
    likelihood = make(1, 1, True, True, RESIDUALS[0]).likelihood
    before = likelihood.problem.gram.copy()
    outcomes = np.ones((1, len(likelihood.rows.outcome))) + likelihood.rows.fixed[:, 1]
    kernels.refit_outcomes(
        likelihood.problem,
        likelihood.joint,
        likelihood.rows.unit_starts,
        outcomes,
        likelihood.start(),
        np.empty((0, 0)),
        1e-8,
        50,
    )
    assert np.array_equal(likelihood.problem.gram, before)


@pytest.mark.parametrize(("phi", "gap_factor"), [(0.6, 1.0), (-0.7, 1.0), (0.4, 0.35)])
def test_autocorrelated_noise_has_the_correlation_of_the_model(phi: float, gap_factor: float) -> None:
    made = rows(1, 1, gap_factor)
    # White noise with the identity for covariance matrix: one row for each source.
    noise = np.eye(len(made.outcome))
    kernels.autocorrelate(noise, made.unit_starts, made.gaps, phi)
    expected = DenseModel(made, np.empty((0, 0)), np.empty((0, 0)), 1.0, phi).residual_correlation
    assert noise.T @ noise == pytest.approx(expected, abs=SAME)


def test_outcomes_feed_back_where_rows_are_linked() -> None:
    base, lagged = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, 30.0, 40.0])
    kernels.feed_back(base, np.full(4, 0.5), lagged, np.array([False, True, False, True]))
    # 1 + .5·10 = 6, 2 + .5·6 = 5, 3 + .5·30 = 18 as observed, 4 + .5·18 = 13.
    assert base.tolist() == [6.0, 5.0, 18.0, 13.0]
    assert lagged.tolist() == [10.0, 6.0, 30.0, 18.0]
