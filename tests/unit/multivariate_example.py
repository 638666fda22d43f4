"""Small studies of severity and alliance with missing values, and their joint density written out over all values."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.models.multivariate_design import JointSpecification

THREE_LEVELS = {"within_client": None, "between_client": "client", "between_therapist": "therapist"}


@dataclass(frozen=True)
class DenseRows:
    """Rows of several variables, with the model's covariance matrix over all their values; slow and plainly right."""

    predictors: np.ndarray
    values: np.ndarray
    unit: np.ndarray
    cluster: np.ndarray

    @property
    def seen(self):
        """Positions of the values that are there, row by row."""
        return np.flatnonzero(~np.isnan(self.values.ravel()))

    def rows_of(self, selected):
        return DenseRows(
            self.predictors[selected], self.values[selected], self.unit[selected], self.cluster[selected]
        )

    def moments(self, coefficients, within, unit, cluster):
        """Mean and covariance matrix of the values that are there."""
        same_unit = self.unit[:, None] == self.unit
        same_cluster = self.cluster[:, None] == self.cluster
        covariance = np.kron(np.eye(len(self.values)), within)
        covariance += np.kron(same_unit, unit) + np.kron(same_cluster, cluster)
        return (self.predictors @ coefficients).ravel()[self.seen], covariance[np.ix_(self.seen, self.seen)]

    def log_density(self, *parameters):
        if not len(self.seen):
            return 0.0
        mean, covariance = self.moments(*parameters)
        return float(stats.multivariate_normal(mean, covariance).logpdf(self.values.ravel()[self.seen]))

    def gradient(self, *parameters):
        """Derivatives of the log density by C, Σ_W, Σ_B and Σ_T; by all values' covariance V it is ½(aa' − V⁻¹)."""
        mean, covariance = self.moments(*parameters)
        shape, seen = self.values.shape, self.seen
        pull, by_value = np.zeros(self.values.size), np.zeros((self.values.size, self.values.size))
        pull[seen] = np.linalg.solve(covariance, self.values.ravel()[seen] - mean)
        by_value[np.ix_(seen, seen)] = -0.5 * np.linalg.inv(covariance)
        by_value = (by_value + 0.5 * np.outer(pull, pull)).reshape(*shape, *shape)
        row = np.arange(len(self.values))
        shared = [codes[:, None] == codes for codes in (row, self.unit, self.cluster)]
        by_covariance = [np.einsum("satb,st->ab", by_value, same.astype(float)) for same in shared]
        return [self.predictors.T @ pull.reshape(shape), *by_covariance]

    @property
    def loading(self):
        """Which effects, of all units and then of all clusters, the values that are there hold."""
        groups = [codes[:, None] == np.unique(codes) for codes in (self.unit, self.cluster)]
        return np.kron(np.column_stack(groups), np.eye(self.values.shape[1]))[self.seen]

    def effects(self, coefficients, within, unit, cluster):
        """Mean and covariance of all units' and clusters' effects given the values, units first."""
        d = self.values.shape[1]
        units, clusters, loading = np.unique(self.unit), np.unique(self.cluster), self.loading
        prior = np.zeros((loading.shape[1], loading.shape[1]))
        split = d * len(units)
        prior[:split, :split] = np.kron(np.eye(len(units)), unit)
        prior[split:, split:] = np.kron(np.eye(len(clusters)), cluster)
        mean, covariance = self.moments(coefficients, within, unit, cluster)
        weights = np.linalg.solve(covariance, loading @ prior).T
        return weights @ (self.values.ravel()[self.seen] - mean), prior - weights @ loading @ prior


def dense_rows(seed, d, units_per_cluster=(1, 3, 2, 3), rows_per_unit=(3, 4, 1, 2, 5), missing=0.3):
    """Simulate rows of `d` variables in which some values, all of some rows, and a variable of a unit are missing."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(units_per_cluster)), units_per_cluster)
    sizes = np.resize(rows_per_unit, len(clusters))
    unit = np.repeat(np.arange(len(clusters)), sizes)
    predictors = np.column_stack([np.ones(len(unit)), rng.normal(size=(len(unit), 2))])
    values = 2.0 * rng.normal(size=(len(unit), d))
    values[rng.random(values.shape) < missing] = np.nan
    values[unit == 0, 0] = np.nan
    values[1] = np.nan
    values[-1] = 1.0
    return DenseRows(predictors, values, unit, clusters[unit])


def covariance_matrix(rng, d, rank=None):
    factor = rng.normal(size=(d, d if rank is None else rank))
    return factor @ factor.T


def parameters(seed, d, kind="full"):
    """Draw C, Σ_W, Σ_B and Σ_T; the last two full, singular or zero."""
    rng = np.random.default_rng(seed)
    within = covariance_matrix(rng, d) + 0.5 * np.eye(d)
    rank = 1 if kind == "singular" else None
    unit, cluster = covariance_matrix(rng, d, rank), covariance_matrix(rng, d, rank)
    if kind in ("no cluster", "rows only"):
        cluster = np.zeros((d, d))
    if kind in ("no unit", "rows only"):
        unit = np.zeros((d, d))
    return rng.normal(size=(3, d)), within, unit, cluster


@dataclass(frozen=True)
class Truth:
    """What a simulated study is made of; one entry per level, then per rater."""

    standardised: np.ndarray
    latent_sd: np.ndarray
    correlation: np.ndarray
    reliability: np.ndarray
    residual_sd: np.ndarray
    outcome: np.ndarray  # intercept at average covariates, effects of ``base`` and ``time``
    alliance: np.ndarray  # the same of each rater, shape (3, raters)

    def covariance(self, level):
        """Covariance matrix of severity and ratings at a level."""
        correlation = np.full((2, 2), self.correlation[level])
        np.fill_diagonal(correlation, 1.0)
        sd, slope = self.latent_sd[level], self.standardised[level]
        ratings = np.outer(sd, sd) * correlation
        ratings += np.diag(sd**2 * (1.0 / self.reliability[level] - 1.0))
        shared = correlation @ slope
        full = np.empty((3, 3))
        full[0, 0] = slope @ shared + self.residual_sd[level] ** 2
        full[0, 1:] = full[1:, 0] = sd * shared
        full[1:, 1:] = ratings
        return full

    def manifest_difference(self, level):
        """What D is if ratings are taken for latent alliance: regression of severity on the ratings of a level."""
        covariance = self.covariance(level)
        slopes = np.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
        return float(np.subtract(*(slopes * np.sqrt(np.diag(covariance)[1:]))))


TRUTH = Truth(
    standardised=np.array([[-1.0, -0.3], [-1.5, -0.5], [-0.8, -0.2]]),
    latent_sd=np.array([[0.6, 0.5], [0.8, 0.6], [0.4, 0.5]]),
    correlation=np.array([0.3, 0.5, 0.2]),
    reliability=np.array([[0.85, 0.7], [0.9, 0.8], [1.0, 1.0]]),
    residual_sd=np.array([2.0, 2.0, 1.0]),
    outcome=np.array([15.0, 2.0, -1.0]),
    alliance=np.array([[5.0, 5.2], [-0.1, 0.0], [0.2, 0.1]]),
)

SPECIFICATION = JointSpecification(
    outcome="severity",
    raters={"client": "alliance_client", "therapist": "alliance_therapist"},
    levels=THREE_LEVELS,
    outcome_covariates=("base", "time"),
)

VALUES = ["severity", "alliance_client", "alliance_therapist"]


def study(truth, seed, n_therapists=40, clients_each=6, sessions_each=8):
    """Simulate a complete study; covariates are standardised, so that effects are those of one standard deviation."""
    rng = np.random.default_rng(seed)
    n_clients = n_therapists * clients_each
    client = np.repeat(np.arange(n_clients), sessions_each)
    therapist = client // clients_each
    base = np.random.default_rng(0).normal(size=n_clients)[client]
    time = np.tile(np.log1p(np.arange(sessions_each)), n_clients)
    covariates = np.column_stack([base, time])
    covariates = (covariates - covariates.mean(axis=0)) / covariates.std(axis=0)
    effects = np.column_stack([truth.outcome, truth.alliance])
    values = np.column_stack([np.ones(len(client)), covariates]) @ effects
    for level, codes in enumerate((np.arange(len(client)), client, therapist)):
        noise = rng.multivariate_normal(np.zeros(3), truth.covariance(level), size=codes.max() + 1)
        values += noise[codes]
    table = pd.DataFrame(values, columns=VALUES)
    return table.assign(
        client=[f"C{code:04d}" for code in client],
        therapist=[f"T{code:03d}" for code in therapist],
        base=covariates[:, 0],
        time=covariates[:, 1],
    )
