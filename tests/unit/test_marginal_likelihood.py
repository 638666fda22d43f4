"""The marginal likelihood, its gradient and what follows from it, against matrices of all rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytensor
import pytest
from dense_model import DenseModel, nested_rows
from engine_example import slopes
from pytensor import tensor as pt
from scipy import stats

from alliance_outcome.models import marginal_kernels as kernels
from alliance_outcome.models.marginal_likelihood import MarginalData, MarginalLogLikelihood
from alliance_outcome.models.posterior_draws import ParameterDraws, group_log_likelihoods

#: Two ways to the same number in double precision, on 40 rows; the largest difference seen is 1.4e-13.
SAME = 1e-11

#: Five-point differences; the largest difference seen is 2e-9.
DIFFERENCE_STEP, DIFFERENCED = 1e-3, 1e-7

STRUCTURES = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (2, 2), (3, 2)]
AUTOCORRELATIONS = [None, 0.6, -0.4]


@dataclass(frozen=True)
class Case:
    """A design, and parameters at which to look at it."""

    data: MarginalData
    rows: object
    coefficients: np.ndarray
    factor_u: np.ndarray
    factor_v: np.ndarray
    sigma: float
    phi: float | None

    @property
    def dense(self) -> DenseModel:
        scale = self.sigma**2
        psi_u, psi_v = self.factor_u @ self.factor_u.T / scale, self.factor_v @ self.factor_v.T / scale
        return DenseModel(self.rows, psi_u, psi_v, scale, self.phi)

    @property
    def residual(self) -> np.ndarray:
        return self.rows.outcome - self.rows.fixed @ self.coefficients

    def log_density(self, chosen: np.ndarray | None = None) -> float:
        """Log density of some rows."""
        chosen = np.ones(len(self.residual), dtype=bool) if chosen is None else chosen
        covariance = self.dense.marginal_covariance[np.ix_(chosen, chosen)]
        return float(
            stats.multivariate_normal(np.zeros(chosen.sum()), covariance).logpdf(self.residual[chosen])
        )

    @property
    def inputs(self) -> list[np.ndarray]:
        parameters = [self.coefficients, self.factor_u, self.factor_v, self.sigma, self.phi or 0.0]
        data = self.data
        return [
            *(np.asarray(each, dtype=float) for each in parameters),
            *(data.gram, data.total, data.cluster_starts, data.joint, data.unit_starts, data.gaps),
        ]

    @property
    def draws(self) -> ParameterDraws:
        parameters = (self.coefficients, self.factor_u, self.factor_v, self.sigma, self.phi or 0.0)
        return ParameterDraws(*(np.asarray(each, dtype=float)[None] for each in parameters))


def make(q: int, r: int, phi: float | None) -> Case:
    made = nested_rows(
        7, units_per_cluster=(3, 1, 4, 2), rows_per_unit=(1, 4, 3, 6, 5), q=q, r=r, with_gaps=phi is not None
    )
    rng = np.random.default_rng(q + 10 * r)
    return Case(
        MarginalData.of(made),
        made,
        0.3 * rng.normal(size=made.fixed.shape[1]),
        np.tril(rng.normal(size=(q, q))),
        np.tril(rng.normal(size=(r, r))),
        0.8,
        phi,
    )


@pytest.fixture(
    scope="module",
    params=list(product(STRUCTURES, AUTOCORRELATIONS)),
    ids=lambda case: f"q{case[0][0]}-r{case[0][1]}-{case[1]}",
)
def case(request: pytest.FixtureRequest) -> Case:
    (q, r), phi = request.param
    return make(q, r, phi)


def evaluated(case: Case) -> list[np.ndarray]:
    op = MarginalLogLikelihood(autocorrelated=case.phi is not None)
    storage: list[list] = [[None] for _ in range(6)]
    op.perform(None, case.inputs, storage)
    return [each[0] for each in storage]


def test_the_likelihood_is_that_of_the_dense_model(case: Case) -> None:
    assert float(evaluated(case)[0]) == pytest.approx(case.log_density(), rel=SAME)


def test_derivatives_are_the_slopes_of_the_dense_model(case: Case) -> None:
    found = evaluated(case)[1:]
    for field, own in zip(("coefficients", "factor_u", "factor_v", "sigma", "phi"), found, strict=True):
        value = getattr(case, field)
        if value is None or np.size(value) == 0:
            continue
        where = np.tril_indices(len(value)) if np.ndim(value) == 2 else ...

        def moved(
            entries: np.ndarray, field: str = field, value: object = value, where: object = where
        ) -> float:
            changed = np.array(value, dtype=float)
            changed[where] = entries.reshape(changed[where].shape)
            given = float(changed) if changed.ndim == 0 else changed
            return replace(case, **{field: given}).log_density()

        start = np.atleast_1d(np.array(value, dtype=float)[where])
        expected = slopes(moved, start, DIFFERENCE_STEP)
        assert np.atleast_1d(np.asarray(own)[where]) == pytest.approx(
            expected, rel=DIFFERENCED, abs=DIFFERENCED
        )


def test_a_variance_of_zero_is_evaluated_too(case: Case) -> None:
    at_zero = replace(case, factor_u=0.0 * case.factor_u, factor_v=0.0 * case.factor_v)
    found = evaluated(at_zero)
    assert float(found[0]) == pytest.approx(at_zero.log_density(), rel=SAME)
    assert all(np.all(np.isfinite(each)) for each in found)


def test_groups_have_the_likelihood_of_their_rows(case: Case) -> None:
    by_unit, by_cluster = group_log_likelihoods(case.draws, case.data)
    whole = case.log_density()
    for cluster, found in enumerate(by_cluster[0]):
        own = case.dense.cluster_of_row == cluster
        assert found == pytest.approx(case.log_density(own), rel=SAME)
    for unit, found in enumerate(by_unit[0]):
        others = case.dense.unit_of_row != unit
        assert found == pytest.approx(whole - case.log_density(others), rel=1e-9, abs=1e-9)


def test_products_of_fixed_effects_are_weighted_by_the_inverse_covariance(case: Case) -> None:
    gram, _, log_residual = case.data.weighted(case.phi or 0.0)
    width = len(case.coefficients) + 1
    products, log_determinants = np.empty((1, width, width)), np.empty(1)
    kernels.fixed_effect_products(
        gram,
        gram.sum(axis=2),
        case.data.cluster_starts,
        case.factor_u[None] / case.sigma,
        case.factor_v[None] / case.sigma,
        products,
        log_determinants,
    )
    relative = case.dense.marginal_covariance / case.sigma**2
    columns = np.column_stack([case.rows.fixed, case.rows.outcome])
    assert products[0] == pytest.approx(columns.T @ np.linalg.solve(relative, columns), rel=1e-9, abs=1e-9)
    found = log_determinants[0] + log_residual.sum()
    assert found == pytest.approx(np.linalg.slogdet(relative)[1], rel=SAME, abs=SAME)


@pytest.mark.parametrize(("q", "r", "phi"), [(2, 1, None), (1, 0, None), (0, 1, None), (2, 1, 0.6)])
def test_drawn_effects_have_their_conditional_distribution(q: int, r: int, phi: float | None) -> None:
    case, count = make(q, r, phi), 20_000
    gram = case.data.weighted(phi or 0.0)[0]
    rng = np.random.default_rng(1)
    n_units, n_clusters = gram.shape[2], len(case.data.cluster_starts) - 1
    units, clusters = rng.standard_normal((count, q, n_units)), rng.standard_normal((count, r, n_clusters))

    def repeated(values: object) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype=float)[None], count, axis=0)

    kernels.draw_effects(
        gram,
        case.data.cluster_starts,
        repeated(case.coefficients),
        repeated(case.factor_u),
        repeated(case.factor_v),
        repeated(case.sigma),
        units,
        clusters,
    )
    drawn = np.concatenate([units.reshape(count, -1), clusters.reshape(count, -1)], axis=1)
    mean, covariance = conditional_effects(case)
    error = np.sqrt(np.diag(covariance) / count)
    assert np.abs((drawn.mean(axis=0) - mean) / error).max() < 4.5
    # The variance of a variance of normal draws, and Cauchy and Schwarz for covariances.
    sizes = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 2.0 / count)
    assert np.abs((np.cov(drawn.T) - covariance) / sizes).max() < 5.0


def conditional_effects(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of all random effects given the data, from matrices of all rows."""
    dense = case.dense

    def incidence(columns: np.ndarray, groups: np.ndarray) -> np.ndarray:
        own = np.eye(groups.max() + 1)[groups]
        return np.concatenate([own * column[:, None] for column in columns.T] or [own[:, :0]], axis=1)

    design = np.concatenate(
        [
            incidence(case.rows.unit_random, dense.unit_of_row),
            incidence(case.rows.cluster_random, dense.cluster_of_row),
        ],
        axis=1,
    )
    n_units, n_clusters = dense.unit_of_row.max() + 1, dense.cluster_of_row.max() + 1
    prior_u = np.kron(case.factor_u @ case.factor_u.T, np.eye(n_units))
    prior_v = np.kron(case.factor_v @ case.factor_v.T, np.eye(n_clusters))
    prior = np.zeros((design.shape[1], design.shape[1]))
    prior[: len(prior_u), : len(prior_u)] = prior_u
    prior[len(prior_u) :, len(prior_u) :] = prior_v
    gain = prior @ design.T @ np.linalg.inv(dense.marginal_covariance)
    return gain @ case.residual, prior - gain @ design @ prior


@pytest.mark.parametrize("phi", [None, 0.6])
def test_a_compiled_graph_gives_what_python_gives(phi: float | None) -> None:
    case = make(2, 1, phi)
    op = MarginalLogLikelihood(autocorrelated=phi is not None)
    variables = [pt.as_tensor_variable(each).type() for each in case.inputs]
    value = op(*variables)[0]
    parameters = variables[: op.PARAMETERS - (phi is None)]
    compiled = pytensor.function(
        variables, [value, *pytensor.grad(2.0 * value, parameters)], mode="NUMBA", on_unused_input="ignore"
    )
    found, expected = compiled(*case.inputs), evaluated(case)
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-14)
    for own, reference in zip(found[1:], expected[1 : len(found)], strict=True):
        assert np.asarray(own) == pytest.approx(2.0 * np.asarray(reference), rel=1e-12)


def test_blocks_of_many_units_give_what_one_gives() -> None:
    # 1,500 units in clusters of three: six blocks.
    made = nested_rows(3, units_per_cluster=(3,) * 500, rows_per_unit=(2, 1, 3), q=2, r=1)
    data = MarginalData.of(made)
    args = (np.zeros(4), np.array([[0.7, 0.0], [0.2, 0.4]]), np.array([[0.5]]), 0.9)
    value = kernels.marginal_likelihood(
        data.gram, data.total, data.gram[:, :, :0], data.cluster_starts, 3000, *args
    )
    parts = []
    for first, stop in ((0, 150), (150, 500)):
        units = data.cluster_starts[first : stop + 1]
        gram = np.ascontiguousarray(data.gram[:, :, units[0] : units[-1]])
        n_rows = int(data.unit_starts[units[-1]] - data.unit_starts[units[0]])
        parts.append(
            kernels.marginal_likelihood(
                gram, gram.sum(axis=2), gram[:, :, :0], units - units[0], n_rows, *args
            )
        )
    for whole, one, other in zip(value, *parts, strict=True):
        assert np.asarray(whole) == pytest.approx(np.asarray(one) + np.asarray(other), rel=1e-10)
