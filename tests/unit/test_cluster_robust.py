"""Cluster-robust inference against dense algebra, R's clubSandwich, and cases worked out by hand."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from dense_model import AUTOREGRESSIVE_EXAMPLES, EXAMPLES, DenseModel, nested_rows, unstructured
from small_sample_reference import EXPECTED, Reference, reference

from alliance_outcome.models import cluster_robust as module
from alliance_outcome.models.cluster_robust import ClusterRobust, cluster_robust
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FittedState, WorkingRows

KINDS = ("CR0", "CR1", "CR2", "CR3")

#: Two ways to the same number in double precision; the largest difference seen is 2e-13.
SAME = 1e-10

#: What the engine promises at R's variance parameters; the largest difference seen is 4e-12.
PARITY = 1e-8

MODELS = {
    **{name: case.model for name, case in EXAMPLES.items()},
    **{f"autoregressive_{name}": case.model for name, case in AUTOREGRESSIVE_EXAMPLES.items()},
}


def assert_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Compare covariance matrices entry by entry, relative to their standard errors."""
    theirs = np.asarray(theirs)
    errors = np.sqrt(np.diag(theirs))
    assert np.all(np.abs(ours - theirs) <= tolerance * np.outer(errors, errors))


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Symmetric power; zero eigenvalues stay zero, with clubSandwich's limit."""
    values, vectors = np.linalg.eigh(matrix)
    powers = np.where(values > 1e-12, np.abs(values) ** exponent, 0.0)
    return (vectors * powers) @ vectors.T


def adjustment(
    covariance: np.ndarray, fixed: np.ndarray, bread: np.ndarray, kind: str, count: int
) -> np.ndarray:
    """A_j by its definition."""
    if kind == "CR2":
        root = power(covariance, 0.5)
        return root @ power(root @ (covariance - fixed @ bread @ fixed.T) @ root, -0.5) @ root
    if kind == "CR3":
        return np.linalg.inv(np.eye(len(fixed)) - fixed @ bread @ fixed.T @ np.linalg.inv(covariance))
    return np.sqrt(count / (count - 1) if kind == "CR1" else 1.0) * np.eye(len(fixed))


@dataclass(frozen=True)
class DenseRobust:
    """The estimate, and covariances of its terms over all pairs of clusters, shape (J, J, p, p)."""

    covariance: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, model: DenseModel, starts: np.ndarray, kind: str) -> DenseRobust:
        fixed, total = model.rows.fixed, model.marginal_covariance / model.residual_variance
        bread = np.linalg.inv(fixed.T @ np.linalg.solve(total, fixed))
        residual = model.rows.outcome - fixed @ model.coefficients
        weights = np.zeros((len(starts) - 1, *fixed.shape))
        for j, (start, stop) in enumerate(pairwise(starts)):
            own, columns = total[start:stop, start:stop], fixed[start:stop]
            factor = adjustment(own, columns, bread, kind, len(starts) - 1)
            weights[j, start:stop] = factor.T @ np.linalg.solve(own, columns) @ bread
        scores = np.einsum("jna,n->ja", weights, residual)
        residual_covariance = total - fixed @ bread @ fixed.T
        pairs = np.einsum("jna,nm,kmb->jkab", weights, residual_covariance, weights, optimize=True)
        return cls(scores.T @ scores, pairs)

    def satterthwaite(self, row: np.ndarray) -> float:
        matrix = np.einsum("a,jkab,b->jk", row, self.pairs, row)
        return np.trace(matrix) ** 2 / np.sum(matrix**2)

    def hotelling(self, rows: np.ndarray) -> float:
        """Degrees of freedom η of the Wishart distribution with the same total variance."""
        pairs = np.einsum("sa,jkab,tb->jkst", rows, self.pairs, rows)
        root = power(np.einsum("jjst->st", pairs), -0.5)
        pairs = root @ pairs @ root
        total = np.einsum("jkst,jkts->", pairs, pairs) + np.sum(np.trace(pairs, axis1=2, axis2=3) ** 2)
        return len(rows) * (len(rows) + 1) / total


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> DenseModel:
    return MODELS[request.param]


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_agree_with_dense_algebra(model: DenseModel, kind: str) -> None:
    starts = model.rows.cluster_row_starts
    ours, dense = cluster_robust(model.state(), starts, kind), DenseRobust.of(model, starts, kind)
    assert ours.n_clusters == len(starts) - 1
    assert_close(ours.covariance, dense.covariance, SAME)
    for row in (*np.eye(4), np.array([0.0, 1.0, -2.0, 0.0])):
        single = ours.approximation(row)
        assert single.denominator_df == pytest.approx(dense.satterthwaite(row), rel=SAME)
        assert single.scaling == pytest.approx(1.0)
    rows, joint = np.eye(4)[1:3], ours.approximation(np.eye(4)[1:3])
    assert joint.numerator_df == 2
    assert joint.denominator_df == pytest.approx(dense.hotelling(rows) - 1, rel=SAME)
    assert joint.scaling == pytest.approx(1 - 1 / dense.hotelling(rows), rel=SAME)


@pytest.fixture(
    params=[(name, kind) for name, stored in EXPECTED.items() for kind in stored["robust"]], ids="-".join
)
def stored(request: pytest.FixtureRequest) -> tuple[Reference, ClusterRobust, dict]:
    name, kind = request.param
    found = reference(name)
    ours = cluster_robust(found.state, found.state.rows.cluster_row_starts, kind)
    return found, ours, found.expected["robust"][kind]


# `boundary` has a coefficient that rests on one cluster, so that CR2 takes a pseudo-inverse.
def test_parity_with_clubsandwich_covariance(stored: tuple[Reference, ClusterRobust, dict]) -> None:
    _, ours, theirs = stored
    assert_close(ours.covariance, theirs["covariance"], PARITY)


def test_parity_with_clubsandwich_tests(stored: tuple[Reference, ClusterRobust, dict]) -> None:
    found, ours, theirs = stored
    singles = [ours.approximation(row).denominator_df for row in found.singles]
    assert singles == pytest.approx(theirs["single_df"], rel=PARITY)
    joint, estimate = ours.approximation(found.joint), found.joint @ found.state.coefficients
    wald = estimate @ np.linalg.solve(found.joint @ ours.covariance @ found.joint.T, estimate)
    assert joint.denominator_df == pytest.approx(theirs["joint_df"], rel=PARITY)
    assert joint.scaling == pytest.approx(theirs["joint_scaling"], rel=PARITY)
    assert joint.scaling * wald / 2 == pytest.approx(theirs["joint_statistic"], rel=PARITY)


def test_cr2_is_unbiased_if_the_model_is_right(model: DenseModel) -> None:
    found = cluster_robust(model.state(), model.rows.cluster_row_starts, "CR2")
    assert_close(found.expected, found.bread, SAME)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_of_the_estimate_agrees_with_dense_algebra(kind: str) -> None:
    model = MODELS["slopes_at_both_levels"]
    starts = model.rows.cluster_row_starts
    dense = np.einsum("jjab->ab", DenseRobust.of(model, starts, kind).pairs)
    assert_close(cluster_robust(model.state(), starts, kind).expected, dense, SAME)


def test_cr3_is_the_spread_of_estimates_without_each_cluster() -> None:
    model = MODELS["slopes_at_both_levels"]
    starts, state = model.rows.cluster_row_starts, model.state()
    fixed, total = model.rows.fixed, model.marginal_covariance
    spread = np.zeros((4, 4))
    for start, stop in pairwise(starts):
        kept = np.r_[0:start, stop : len(fixed)]
        weighted = np.linalg.solve(total[np.ix_(kept, kept)], fixed[kept]).T
        estimate = np.linalg.solve(weighted @ fixed[kept], weighted @ model.rows.outcome[kept])
        spread += np.outer(estimate - state.coefficients, estimate - state.coefficients)
    assert_close(cluster_robust(state, starts, "CR3").covariance, spread, SAME)


def independent_rows(outcome: Sequence[float], fixed: np.ndarray) -> FittedState:
    """One row per unit and no random effects."""
    count = len(outcome)
    none, starts = np.empty((count, 0)), np.arange(count + 1)
    rows = WorkingRows(np.asarray(outcome, dtype=float), fixed, none, none, starts, starts)
    return DenseModel(rows, np.empty((0, 0)), np.empty((0, 0)), 1.0).state()


def test_two_groups_of_independent_rows_give_welchs_standard_error() -> None:
    # CR2 of a difference of means is s₁²/n₁ + s₂²/n₂; with equal variances for the working model, each term of which is
    # a multiple of a chi-squared variable, its degrees of freedom follow by hand.
    outcome, group = [3.0, 5.0, 10.0, 2.0, 4.0, 4.5, 9.0, 1.0], np.repeat([0.0, 1.0], [3, 5])
    state = independent_rows(outcome, np.column_stack([np.ones(8), group]))
    found = cluster_robust(state, np.arange(9), "CR2")
    variances = np.var(outcome[:3], ddof=1) / 3, np.var(outcome[3:], ddof=1) / 5
    assert found.covariance[1, 1] == pytest.approx(sum(variances), rel=SAME)
    by_hand = (1 / 3 + 1 / 5) ** 2 / (1 / (3**2 * 2) + 1 / (5**2 * 4))
    assert found.approximation([0, 1]).denominator_df == pytest.approx(by_hand, rel=SAME)


def test_a_mean_of_independent_rows_has_the_usual_degrees_of_freedom() -> None:
    state = independent_rows([3.0, 5.0, 10.0, 2.0, 4.0], np.ones((5, 1)))
    for kind in KINDS:
        assert cluster_robust(state, np.arange(6), kind).approximation([1]).denominator_df == pytest.approx(4)


def test_coarser_clusters_are_allowed() -> None:
    model = MODELS["slopes_at_both_levels"]
    starts = model.rows.cluster_row_starts[[0, 2, 3, 5, 8]]
    ours, dense = cluster_robust(model.state(), starts), DenseRobust.of(model, starts, "CR2")
    assert_close(ours.covariance, dense.covariance, SAME)
    assert ours.approximation([0, 1, 0, 0]).denominator_df == pytest.approx(
        dense.satterthwaite(np.array([0, 1, 0, 0])), rel=SAME
    )


def test_rows_without_random_effects_may_be_clustered_at_will() -> None:
    model = MODELS["least_squares"]
    starts = np.array([0, 2, 20, 50, 51, 90, len(model.rows.outcome)])
    ours, dense = cluster_robust(model.state(), starts), DenseRobust.of(model, starts, "CR2")
    assert_close(ours.covariance, dense.covariance, SAME)


def test_only_the_space_that_the_rows_span_matters() -> None:
    model = MODELS["slopes_at_both_levels"]
    found = cluster_robust(model.state(), model.rows.cluster_row_starts)
    rows = np.eye(4)[1:3]
    mixed, plain = found.approximation([[1e3, 2.0], [3.0, -1e-3]] @ rows), found.approximation(rows)
    assert mixed.denominator_df == pytest.approx(plain.denominator_df, rel=SAME)


@pytest.mark.parametrize("kind", KINDS)
def test_the_unit_of_the_outcome_does_not_matter(kind: str) -> None:
    model, factor = MODELS["slopes_at_both_levels"], 1e6
    rows = replace(model.rows, outcome=factor * model.rows.outcome)
    scaled = replace(model, rows=rows, residual_variance=factor**2 * model.residual_variance)
    ours, plain = (cluster_robust(m.state(), rows.cluster_row_starts, kind) for m in (scaled, model))
    assert_close(ours.covariance, factor**2 * plain.covariance, SAME)
    assert ours.approximation([0, 1, 0, 0]).denominator_df == pytest.approx(
        plain.approximation([0, 1, 0, 0]).denominator_df, rel=SAME
    )


@pytest.mark.parametrize("name", ["slopes_at_both_levels", "autoregressive_slopes_at_both_levels"])
def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = MODELS[name]
    together = cluster_robust(model.state(), model.rows.cluster_row_starts)
    monkeypatch.setattr(module, "BATCH_NUMBERS", 1)
    apart = cluster_robust(model.state(), model.rows.cluster_row_starts)
    assert_close(apart.covariance, together.covariance, SAME)
    assert apart.exposures == pytest.approx(together.exposures, rel=SAME, abs=SAME)


def test_too_few_clusters_for_a_joint_test_are_said_to_be() -> None:
    model = MODELS["two_intercepts"]
    starts = model.rows.cluster_row_starts[[0, 3, 5, 8]]
    joint = cluster_robust(model.state(), starts, "CR0").approximation(np.eye(4)[1:])
    assert joint.denominator_df <= 0
    assert joint.scaling == 0


@pytest.mark.parametrize("name", [name for name, stored in EXPECTED.items() if stored["inner_cluster"]])
def test_clusters_inside_an_outer_level_are_refused_as_by_clubsandwich(name: str) -> None:
    found = reference(name)
    assert found.expected["inner_cluster"].startswith("Non-nested random effects detected")
    with pytest.raises(UnavailableInference, match="use the clusters of the outer level"):
        cluster_robust(found.state, found.state.rows.unit_starts)


@pytest.mark.parametrize("name", ["unit_intercept", "autoregressive_residuals_alone"])
def test_clusters_that_split_a_unit_are_refused(name: str) -> None:
    model = MODELS[name]
    starts = np.array([0, 3, len(model.rows.outcome)])
    assert 3 not in model.rows.unit_starts
    with pytest.raises(UnavailableInference, match="whole units"):
        cluster_robust(model.state(), starts)


def test_a_single_cluster_is_refused() -> None:
    model = MODELS["two_intercepts"]
    with pytest.raises(UnavailableInference, match="at least two clusters"):
        cluster_robust(model.state(), np.array([0, len(model.rows.outcome)]))


@pytest.mark.parametrize("change", [[1, 50], [0, 50, 40], [0, 50, 50]])
def test_starts_that_are_not_those_of_successive_clusters_are_refused(change: list[int]) -> None:
    model = MODELS["least_squares"]
    with pytest.raises(ValueError, match="increasing rows"):
        cluster_robust(model.state(), np.array([*change, len(model.rows.outcome)]))


def test_starts_without_the_number_of_rows_are_refused() -> None:
    model = MODELS["two_intercepts"]
    with pytest.raises(ValueError, match="number of rows last"):
        cluster_robust(model.state(), model.rows.cluster_row_starts[:-1])


def test_an_unknown_kind_is_refused() -> None:
    model = MODELS["two_intercepts"]
    with pytest.raises(ValueError, match="CR0, CR1, CR2, CR3"):
        cluster_robust(model.state(), model.rows.cluster_row_starts, "CR9")


def test_cr3_is_refused_where_a_coefficient_rests_on_one_cluster() -> None:
    state = reference("boundary").state
    with pytest.raises(UnavailableInference, match="rests on a single cluster"):
        cluster_robust(state, state.rows.cluster_row_starts, "CR3")


def test_a_coefficient_whose_estimate_cannot_but_be_zero_has_no_test() -> None:
    # The second column is that of the first row alone, which it fits exactly.
    fixed = np.column_stack([[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    found = cluster_robust(independent_rows([1.0, 2.0, 4.0, 3.0], fixed), np.arange(5), "CR2")
    assert found.covariance[1, 1] == pytest.approx(0.0, abs=SAME)
    assert found.approximation([1, 0]).denominator_df == pytest.approx(2)
    with pytest.raises(UnavailableInference, match="no residual in the direction"):
        found.approximation([0, 1])


def test_cr2_says_how_much_is_missing_where_a_coefficient_rests_on_one_cluster() -> None:
    found = reference("boundary")
    robust = cluster_robust(found.state, found.state.rows.cluster_row_starts, "CR2")
    share = np.diag(robust.expected) / np.diag(robust.bread)
    assert share[1:3] == pytest.approx(1.0, abs=0.01)
    assert share[4] < 0.5


@pytest.mark.parametrize(
    ("units_per_cluster", "r"), [([1] * 20_000, 0), ([20] * 1_000, 1)], ids=["units", "clusters"]
)
def test_twenty_thousand_units_need_no_more_than_their_clusters(units_per_cluster: list[int], r: int) -> None:
    # 100,000 rows: a matrix of rows by rows takes 80 GB, one of units by units 3 GB.
    rows = nested_rows(2, units_per_cluster, [5], q=1, r=r)
    p = rows.fixed.shape[1]
    covariances = np.array([[0.8]]), 0.5 * np.eye(r)
    patterns = tuple(unstructured(1)), tuple(unstructured(r))
    bread = np.linalg.inv(rows.fixed.T @ rows.fixed)
    state = FittedState(rows, *covariances, 1.0, None, np.zeros(p), bread, *patterns, reml=True)
    tracemalloc.start()
    try:
        found = cluster_robust(state, rows.cluster_row_starts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(np.isfinite(found.covariance))
    assert peak < 200e6
