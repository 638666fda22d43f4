"""The nested Gaussian model written out over all rows, for tests: slow, short and plainly right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from alliance_outcome.models.fitted_state import FittedState, WorkingRows


@dataclass(frozen=True)
class DenseModel:
    """The model of :mod:`alliance_outcome.models.fitted_state` at given variance parameters."""

    rows: WorkingRows
    unit_covariance: np.ndarray
    cluster_covariance: np.ndarray
    residual_variance: float
    autocorrelation: float | None = None

    @property
    def unit_of_row(self) -> np.ndarray:
        return _positions(self.rows.unit_starts)

    @property
    def cluster_of_row(self) -> np.ndarray:
        return _positions(self.rows.cluster_row_starts)

    def unit_block(self, matrix: np.ndarray) -> np.ndarray:
        """Z_u `matrix` Z_u' in each unit, zero elsewhere; shape (n_rows, n_rows)."""
        same = self.unit_of_row[:, None] == self.unit_of_row
        return same * (self.rows.unit_random @ matrix @ self.rows.unit_random.T)

    def cluster_block(self, matrix: np.ndarray) -> np.ndarray:
        """Z_v `matrix` Z_v' in each cluster, zero elsewhere; shape (n_rows, n_rows)."""
        same = self.cluster_of_row[:, None] == self.cluster_of_row
        return same * (self.rows.cluster_random @ matrix @ self.rows.cluster_random.T)

    @property
    def residual_correlation(self) -> np.ndarray:
        """R, shape (n_rows, n_rows)."""
        if self.autocorrelation is None:
            return np.eye(len(self.rows.outcome))
        time = np.cumsum(self.rows.gaps)
        same = self.unit_of_row[:, None] == self.unit_of_row
        return same * self.autocorrelation ** (same * np.abs(time[:, None] - time))

    @property
    def marginal_covariance(self) -> np.ndarray:
        """Covariance matrix of the outcome, shape (n_rows, n_rows); the residual variance is in it."""
        relative = self.residual_correlation + self.unit_block(self.unit_covariance)
        return self.residual_variance * (relative + self.cluster_block(self.cluster_covariance))

    @property
    def covariance(self) -> np.ndarray:
        """Covariance matrix of the fixed effects, shape (p, p)."""
        fixed = self.rows.fixed
        return np.linalg.inv(fixed.T @ np.linalg.solve(self.marginal_covariance, fixed))

    @property
    def coefficients(self) -> np.ndarray:
        """Fixed effects by generalised least squares, shape (p,)."""
        weighted = np.linalg.solve(self.marginal_covariance, self.rows.outcome)
        return self.covariance @ (self.rows.fixed.T @ weighted)

    def log_likelihood(self, reml: bool) -> float:
        """Log-density of the outcome at the estimated fixed effects; restricted with lme4's constants."""
        mean = self.rows.fixed @ self.coefficients
        density = float(stats.multivariate_normal(mean, self.marginal_covariance).logpdf(self.rows.outcome))
        if not reml:
            return density
        p = self.rows.fixed.shape[1]
        return density + 0.5 * (np.linalg.slogdet(self.covariance)[1] + p * np.log(2.0 * np.pi))

    def state(
        self,
        unit_components: Sequence[np.ndarray] | None = None,
        cluster_components: Sequence[np.ndarray] | None = None,
        reml: bool = True,
    ) -> FittedState:
        """Return what the inference modules take; components are those of unstructured matrices by default."""
        q, r = len(self.unit_covariance), len(self.cluster_covariance)
        return FittedState(
            rows=self.rows,
            unit_covariance=self.unit_covariance,
            cluster_covariance=self.cluster_covariance,
            residual_variance=self.residual_variance,
            autocorrelation=self.autocorrelation,
            coefficients=self.coefficients,
            covariance=self.covariance,
            unit_components=tuple(unstructured(q) if unit_components is None else unit_components),
            cluster_components=tuple(unstructured(r) if cluster_components is None else cluster_components),
            reml=reml,
        )


def unstructured(size: int) -> list[np.ndarray]:
    """Return one matrix for each variance and covariance, column by column of the lower triangle, as lme4 does."""
    patterns = []
    for column in range(size):
        for row in range(column, size):
            pattern = np.zeros((size, size))
            pattern[row, column] = pattern[column, row] = 1.0
            patterns.append(pattern)
    return patterns


def diagonal(size: int) -> list[np.ndarray]:
    """Return one matrix for each variance: independent effects."""
    return [np.diag(row) for row in np.eye(size)]


def nested_rows(
    seed: int,
    units_per_cluster: Sequence[int],
    rows_per_unit: Sequence[int],
    q: int,
    r: int,
    p: int = 4,
    with_gaps: bool = False,
) -> WorkingRows:
    """Simulate a design with predictors that vary between rows, units and clusters, in turn.

    Sizes of units repeat `rows_per_unit`. X, Z_u and Z_v start with ones; the other columns of Z_u and Z_v vary between
    rows, the first of them is in X too. Without Z_v every unit is a cluster.
    """
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(units_per_cluster)), units_per_cluster)
    sizes = np.resize(rows_per_unit, len(clusters))
    unit = np.repeat(np.arange(len(clusters)), sizes)
    levels = [np.arange(len(unit)), unit, clusters[unit]]
    varying = [rng.normal(size=(level.max() + 1, p))[level] for level in levels]
    fixed = np.column_stack([np.ones(len(unit)), *(varying[j % 3][:, j] for j in range(p - 1))])
    random = np.column_stack([np.ones(len(unit)), varying[0]])
    unit_starts = np.concatenate([[0], np.cumsum(sizes)])
    gaps = rng.integers(1, 4, size=len(unit)).astype(float)
    gaps[unit_starts[:-1]] = 0.0
    return WorkingRows(
        outcome=rng.normal(size=len(unit)) + rng.normal(size=len(clusters))[unit],
        fixed=fixed,
        unit_random=random[:, :q],
        cluster_random=random[:, :r],
        unit_starts=unit_starts,
        cluster_starts=np.concatenate([[0], np.cumsum(units_per_cluster)])
        if r
        else np.arange(len(clusters) + 1),
        gaps=gaps if with_gaps else None,
    )


def _positions(starts: np.ndarray) -> np.ndarray:
    """Number the rows' groups from the first row of each."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


@dataclass(frozen=True)
class Example:
    """A small model and the components of its covariance matrices."""

    model: DenseModel
    unit_components: tuple[np.ndarray, ...]
    cluster_components: tuple[np.ndarray, ...]

    @property
    def state(self) -> FittedState:
        return self.model.state(self.unit_components, self.cluster_components)


def example(
    unit_covariance: Sequence[Sequence[float]],
    cluster_covariance: Sequence[Sequence[float]],
    *,
    independent: bool = False,
    rows_per_unit: Sequence[int] = (1, 5, 4, 13, 7),
    autocorrelation: float | None = None,
) -> Example:
    """Eight clusters of one to five units, with one to thirteen rows each."""
    unit, cluster = (_square(matrix) for matrix in (unit_covariance, cluster_covariance))
    rows = nested_rows(
        11,
        units_per_cluster=(3, 1, 4, 2, 5, 3, 3, 2),
        rows_per_unit=rows_per_unit,
        q=len(unit),
        r=len(cluster),
        with_gaps=autocorrelation is not None,
    )
    patterns = diagonal if independent else unstructured
    model = DenseModel(rows, unit, cluster, residual_variance=1.7, autocorrelation=autocorrelation)
    return Example(model, tuple(patterns(len(unit))), tuple(patterns(len(cluster))))


def _square(matrix: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(matrix, dtype=float).reshape(len(matrix), len(matrix))


_SLOPE = ((0.8, 0.2), (0.2, 0.3))
_OTHER_SLOPE = ((0.4, -0.1), (-0.1, 0.2))

#: Every shape of model with independent residuals that the engine knows, boundaries included.
EXAMPLES = {
    "least_squares": example((), ()),
    "unit_intercept": example(((0.6,),), ()),
    "unit_slope": example(_SLOPE, ()),
    "independent_unit_slope": example(((0.8, 0.0), (0.0, 0.3)), (), independent=True),
    "cluster_intercept_alone": example((), ((0.5,),)),
    "two_intercepts": example(((0.6,),), ((0.5,),)),
    "slopes_at_both_levels": example(_SLOPE, _OTHER_SLOPE),
    "independent_slopes_at_both_levels": example(
        ((0.8, 0.0), (0.0, 0.3)), ((0.4, 0.0), (0.0, 0.2)), independent=True
    ),
    "three_unit_effects": example(((0.8, 0.2, 0.1), (0.2, 0.3, 0.0), (0.1, 0.0, 0.5)), ((0.5,),)),
    "one_row_per_unit_above": example((), ((0.5,),), rows_per_unit=(1,)),
    "no_cluster_variance": example(_SLOPE, ((0.0,),)),
    "no_variance_at_all": example(((0.0,),), ((0.0,),)),
    "no_variance_of_slopes": example(((0.8, 0.0), (0.0, 0.0)), ((0.5,),)),
    "no_cluster_variance_of_either_effect": example(_SLOPE, ((0.0, 0.0), (0.0, 0.0))),
    "correlation_of_one": example(((0.8, 0.4), (0.4, 0.2)), ((0.5,),)),
    "large_variances": example(((80.0, 2.0), (2.0, 30.0)), ((50.0,),)),
}

#: The same with AR(1) residuals and gaps.
AUTOREGRESSIVE_EXAMPLES = {
    "residuals_alone": example((), (), autocorrelation=0.5),
    "negative": example(((0.6,),), (), autocorrelation=-0.3),
    "slopes_at_both_levels": example(_SLOPE, _OTHER_SLOPE, autocorrelation=0.4),
}
