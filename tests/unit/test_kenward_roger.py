"""Kenward–Roger inference against dense algebra, R's pbkrtest, and designs whose F tests are exact."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from dense_model import EXAMPLES, DenseModel, Example, example, nested_rows, unstructured
from small_sample_reference import EXPECTED, Reference, reference

from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FittedState, WorkingRows
from alliance_outcome.models.kenward_roger import KenwardRoger, kenward_roger

#: Two ways to the same number in double precision; the largest difference seen is 2e-12, at relative variances of 80.
SAME = 1e-10

#: What the engine promises at R's variance parameters; the largest difference seen is 2e-14.
PARITY = 1e-8


def assert_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Compare matrices entry by entry, relative to the roots of the products of their diagonals."""
    theirs = np.asarray(theirs)
    sizes = np.sqrt(np.abs(np.diagonal(theirs, axis1=-2, axis2=-1)))
    scale = sizes[..., :, None] * sizes[..., None, :]
    assert np.all(np.abs(ours - theirs) <= tolerance * scale)


class DenseKenwardRoger:
    """The paper's formulas with matrices of all rows."""

    def __init__(self, case: Example) -> None:
        model, fixed = case.model, case.model.rows.fixed
        parts = [model.unit_block(pattern) for pattern in case.unit_components]
        parts += [model.cluster_block(pattern) for pattern in case.cluster_components]
        parts.append(np.eye(len(fixed)))
        inverse = np.linalg.inv(model.marginal_covariance)
        self.phi = phi = model.covariance
        self.p = [-fixed.T @ inverse @ part @ inverse @ fixed for part in parts]
        information, excess = np.empty((2, len(parts), len(parts))), {}
        for k, one in enumerate(parts):
            for m, other in enumerate(parts):
                q = fixed.T @ inverse @ one @ inverse @ other @ inverse @ fixed
                explained = self.p[k] @ phi @ self.p[m]
                excess[k, m] = q - explained
                trace = np.trace(inverse @ one @ inverse @ other)
                information[:, k, m] = trace - 2 * np.trace(phi @ q) + np.trace(phi @ explained)
        self.w = 2.0 * np.linalg.pinv(information[0], rcond=1e-10)
        correction = sum(self.w[pair] * matrix for pair, matrix in excess.items())
        self.adjusted = phi + 2.0 * phi @ correction @ phi

    def approximation(self, rows: np.ndarray) -> tuple[float, float]:
        """Denominator degrees of freedom and scaling, in the notation of the paper."""
        count = len(rows)
        theta = rows.T @ np.linalg.inv(rows @ self.phi @ rows.T) @ rows
        steps = [theta @ self.phi @ p @ self.phi for p in self.p]
        a1 = sum(
            self.w[k, m] * np.trace(x) * np.trace(y) for k, x in enumerate(steps) for m, y in enumerate(steps)
        )
        a2 = sum(self.w[k, m] * np.trace(x @ y) for k, x in enumerate(steps) for m, y in enumerate(steps))
        b = (a1 + 6 * a2) / (2 * count)
        g = ((count + 1) * a1 - (count + 4) * a2) / ((count + 2) * a2)
        c1, c2, c3 = (x / (3 * count + 2 * (1 - g)) for x in (g, count - g, count + 2 - g))
        mean = 1 / (1 - a2 / count)
        variance = 2 / count * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
        rho = variance / (2 * mean**2)
        df = 4 + (count + 2) / (count * rho - 1)
        return df, df / (mean * (df - 2))


@pytest.fixture(params=list(EXAMPLES))
def case(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def test_covariance_agrees_with_dense_algebra(case: Example) -> None:
    ours, dense = kenward_roger(case.state), DenseKenwardRoger(case)
    assert_close(ours.adjusted_covariance, dense.adjusted, SAME)
    assert_close(ours.information_derivatives, np.array(dense.p), SAME)
    assert_close(ours.parameter_covariance, dense.w, SAME)
    assert np.array_equal(ours.covariance, case.state.covariance)


@pytest.mark.parametrize(
    "rows", [[[0, 1, 0, 0]], [[0, 1, -2, 0]], [[0, 1, 0, 0], [0, 0, 1, 0]], np.eye(4)[1:], np.eye(4)], ids=len
)
def test_degrees_of_freedom_agree_with_dense_algebra(case: Example, rows: Sequence) -> None:
    df, scaling = DenseKenwardRoger(case).approximation(np.array(rows, dtype=float))
    ours = kenward_roger(case.state).approximation(rows)
    assert ours.numerator_df == len(rows)
    assert ours.denominator_df == pytest.approx(df, rel=SAME)
    assert ours.scaling == pytest.approx(scaling, rel=SAME)


@pytest.fixture(params=list(EXPECTED))
def stored(request: pytest.FixtureRequest) -> Reference:
    return reference(request.param)


def test_parity_with_pbkrtest_covariance(stored: Reference) -> None:
    ours, theirs = kenward_roger(stored.state), stored.expected["kenward_roger"]
    assert_close(ours.adjusted_covariance, theirs["covariance"], PARITY)
    assert_close(ours.information_derivatives, theirs["derivatives"], PARITY)
    assert_close(ours.parameter_covariance, theirs["parameter_covariance"], PARITY)


def test_parity_with_pbkrtest_degrees_of_freedom(stored: Reference) -> None:
    ours, theirs = kenward_roger(stored.state), stored.expected["kenward_roger"]
    singles = [ours.approximation(row) for row in stored.singles]
    assert [single.denominator_df for single in singles] == pytest.approx(theirs["single_df"], rel=PARITY)
    assert [single.scaling for single in singles] == pytest.approx(theirs["single_scaling"], rel=PARITY)
    joint = ours.approximation(stored.joint)
    assert joint.denominator_df == pytest.approx(theirs["joint_df"], rel=PARITY)
    assert joint.scaling == pytest.approx(theirs["joint_scaling"], rel=PARITY)


def balanced(units: int, per_unit: int = 5) -> FittedState:
    """Units of equal size, a predictor of units and one that has the same values in every unit."""
    unit = np.repeat(np.arange(units), per_unit)
    rows = WorkingRows(
        outcome=np.random.default_rng(1).normal(size=len(unit)),
        fixed=np.column_stack([np.ones(len(unit)), unit % 2, np.tile(np.arange(per_unit), units)]).astype(
            float
        ),
        unit_random=np.ones((len(unit), 1)),
        cluster_random=np.empty((len(unit), 0)),
        unit_starts=np.arange(units + 1) * per_unit,
        cluster_starts=np.arange(units + 1),
    )
    return DenseModel(rows, np.array([[0.5]]), np.empty((0, 0)), 2.0).state()


# With 6, 4 and 3 units the degrees of freedom are 4, 2 and 1, where divisors of the general formula vanish.
@pytest.mark.parametrize("units", [3, 4, 6, 11, 30])
def test_balanced_designs_have_their_exact_tests(units: int) -> None:
    state = balanced(units)
    found = kenward_roger(state)
    between, within = found.approximation([0, 1, 0]), found.approximation([0, 0, 1])
    assert between.denominator_df == pytest.approx(units - 2, rel=SAME)
    assert within.denominator_df == pytest.approx(5 * units - units - 1, rel=SAME)
    assert between.scaling == pytest.approx(1.0, rel=SAME)
    assert within.scaling == pytest.approx(1.0, rel=SAME)
    assert_close(found.adjusted_covariance[1:, 1:], state.covariance[1:, 1:], SAME)


def test_least_squares_has_the_residual_degrees_of_freedom() -> None:
    state = EXAMPLES["least_squares"].state
    found, rows = kenward_roger(state), len(state.rows.outcome)
    assert found.adjusted_covariance == pytest.approx(state.covariance, rel=SAME)
    assert found.approximation([0, 1, 0, 0]).denominator_df == pytest.approx(rows - 4, rel=SAME)
    joint = found.approximation(np.eye(4)[1:])
    assert (joint.denominator_df, joint.scaling) == pytest.approx((rows - 4, 1.0), rel=SAME)


def test_only_the_space_that_the_rows_span_matters() -> None:
    found = kenward_roger(EXAMPLES["slopes_at_both_levels"].state)
    rows = np.eye(4)[1:3]
    mixed = found.approximation([[1e3, 2.0], [3.0, -1e-3]] @ rows)
    plain = found.approximation(rows)
    assert mixed.denominator_df == pytest.approx(plain.denominator_df, rel=SAME)
    assert mixed.scaling == pytest.approx(plain.scaling, rel=SAME)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_outcome_does_not_matter(factor: float) -> None:
    case = EXAMPLES["slopes_at_both_levels"]
    rows = replace(case.model.rows, outcome=factor * case.model.rows.outcome)
    scaled = replace(case.model, rows=rows, residual_variance=factor**2 * case.model.residual_variance)
    ours, plain = kenward_roger(scaled.state()), kenward_roger(case.state)
    assert_close(ours.adjusted_covariance, factor**2 * plain.adjusted_covariance, SAME)
    assert ours.approximation([0, 1, 0, 0]).denominator_df == pytest.approx(
        plain.approximation([0, 1, 0, 0]).denominator_df, rel=SAME
    )


def test_a_variance_that_cannot_be_told_from_the_residual_is_passed_over() -> None:
    # With one row per unit the two are one parameter, so that the test is that of least squares.
    rows = nested_rows(4, [1] * 12, [1], q=1, r=0)
    state = DenseModel(rows, np.array([[0.5]]), np.empty((0, 0)), 2.0).state()
    found = kenward_roger(state)
    assert found.approximation([0, 1, 0, 0]).denominator_df == pytest.approx(12 - 4, rel=SAME)
    assert found.adjusted_covariance == pytest.approx(state.covariance, rel=SAME)


def test_a_variance_that_fixed_effects_absorb_is_passed_over() -> None:
    # A coefficient for each cluster leaves nothing of the cluster's variance; the rest is a test between units.
    case = example(((0.6,),), ((0.5,),))
    clusters = np.eye(8)[case.model.cluster_of_row]
    within = case.model.rows.fixed[:, 1:3]
    absorbed = replace(case.model, rows=replace(case.model.rows, fixed=np.column_stack([clusters, within])))
    without = replace(
        absorbed,
        rows=replace(absorbed.rows, cluster_random=np.empty((len(within), 0)), cluster_starts=np.arange(24)),
        cluster_covariance=np.empty((0, 0)),
    )
    weights = [*np.zeros(8), 1.0, 0.0]
    ours, plain = (kenward_roger(model.state()).approximation(weights) for model in (absorbed, without))
    assert ours.denominator_df == pytest.approx(plain.denominator_df, rel=1e-8)


def test_the_information_is_as_regular_on_the_boundary_as_elsewhere(case: Example) -> None:
    # It is a Gram matrix of the derivatives of V, so that its rank is the design's.
    count = len(case.unit_components) + len(case.cluster_components) + 1
    found = kenward_roger(case.state)
    assert found.unidentified.shape == (count, 0)
    assert np.linalg.matrix_rank(found.parameter_covariance) == count


def test_what_fixed_effects_absorb_leaves_no_degrees_of_freedom_where_it_matters() -> None:
    # A coefficient for each of 8 clusters: what they are worth depends on a variance of which nothing is left.
    case = example(((0.6,),), ((0.5,),))
    clusters = np.eye(8)[case.model.cluster_of_row]
    fixed = np.column_stack([clusters, case.model.rows.fixed[:, 1:3]])
    state = replace(case.model, rows=replace(case.model.rows, fixed=fixed)).state()
    found = kenward_roger(state)
    assert found.unidentified.shape == (3, 1)
    between, within = np.eye(10)[0] - np.eye(10)[1], np.eye(10)[8]
    assert np.isnan(found.approximation(between).denominator_df)
    assert np.isnan(found.approximation([between, within]).denominator_df)
    assert found.approximation(within).denominator_df > 10.0


@pytest.fixture(scope="module")
def found() -> KenwardRoger:
    return kenward_roger(EXAMPLES["two_intercepts"].state)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0, 0, 0]], "no fixed effect any weight"),
        ([[0, 1, 0, 0], [0, 2, 0, 0]], "combination of the others"),
        ([[0, 1, 0]], "a hypothesis on 4 fixed effects"),
        (np.empty((0, 4)), "a hypothesis on 4 fixed effects"),
    ],
)
def test_hypotheses_that_cannot_be_tested_are_refused(
    found: KenwardRoger, rows: Sequence, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        found.approximation(rows)


def test_autoregressive_residuals_are_refused() -> None:
    with pytest.raises(UnavailableInference, match="linear in its parameters"):
        kenward_roger(example(((0.6,),), (), autocorrelation=0.3).state)


def test_maximum_likelihood_is_refused() -> None:
    with pytest.raises(UnavailableInference, match="reml=True"):
        kenward_roger(EXAMPLES["two_intercepts"].model.state(reml=False))


def test_twenty_thousand_units_need_no_more_than_their_cross_products() -> None:
    # 100,000 rows: a matrix of rows by rows takes 80 GB, one of units by units 3 GB.
    rows = nested_rows(2, [40] * 500, [5], q=2, r=1)
    p = rows.fixed.shape[1]
    covariances = np.array([[0.8, 0.2], [0.2, 0.3]]), np.array([[0.5]])
    patterns = tuple(unstructured(2)), tuple(unstructured(1))
    state = FittedState(
        rows, *covariances, 1.0, None, np.zeros(p), np.eye(p) / len(rows.outcome), *patterns, reml=True
    )
    tracemalloc.start()
    try:
        found = kenward_roger(state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(np.isfinite(found.adjusted_covariance))
    assert peak < 100e6
