"""Regression coefficients of multilevel models whose predictors, and outcome, are measured with error.

With U the errors in the columns [X y] and V⁻¹ the weights of the rows, the normal equations of generalised least
squares hold E[U'V⁻¹U] too much. Where errors are independent between occasions with known covariances that expectation
is known, and taking it away gives consistent coefficients, whatever weights do not depend on the errors (the corrected
score of Nakamura 1990; Fuller 1987, Measurement error models, chapter 2). Weights with random slopes of an error-prone
predictor would depend on them, so V has random intercepts only; slopes that vary cost precision, which a bootstrap of
clusters shows.

All sums are over clusters, which are the outermost units, so that they are computed once, and resampled by adding them
up again: a bootstrap of clusters with the weights held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from alliance_outcome.models.fitted_state import FloatArray, IndexArray

Precision = Callable[[IndexArray], FloatArray]


@dataclass(frozen=True, eq=False)
class ErrorColumn:
    """How errors enter a column.

    Parameters
    ----------
    column : int
        Place in [X y].
    source : int
        Which measure errs, a row of the covariance of errors.
    spread : sparse matrix, shape (n_rows, n_occasions)
        What an error at an occasion adds to each row: one in its own row for a rating as it is, 1/n in each row of a
        client whose mean it is part of, and so on.
    """

    column: int
    source: int
    spread: sparse.csr_array


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """What the normal equations add up, cluster by cluster.

    Parameters
    ----------
    products : ndarray, shape (n_clusters, p + 1, p + 1)
        [X y]'V⁻¹[X y].
    traces : ndarray, shape (n_clusters, q, q)
        tr(Lₐ'V⁻¹L_b) of the spreads of each pair of error-prone columns.
    columns, sources : ndarray of int, shape (q,)
        Of these columns.
    """

    products: FloatArray
    traces: FloatArray
    columns: IndexArray
    sources: IndexArray

    def coefficients(self, error_covariance: FloatArray, draws: FloatArray) -> FloatArray:
        """Solve the corrected normal equations.

        Parameters
        ----------
        error_covariance : ndarray, shape (n_sources, n_sources) or (n_samples, n_sources, n_sources)
            Of errors at one occasion; zeros give generalised least squares.
        draws : ndarray, shape (n_samples, n_clusters)
            How often each cluster counts: ones for the data themselves.

        Returns
        -------
        ndarray, shape (n_samples, p)
            NaN in samples in which the corrected products are not positive definite: there is no more variance than
            that of the errors.
        """
        total = np.einsum("sj,jab->sab", draws, self.products, optimize=True)
        spread = np.einsum("sj,jab->sab", draws, self.traces, optimize=True)
        errors = np.broadcast_to(error_covariance, (len(draws), *error_covariance.shape[-2:]))
        taken = spread * errors[:, self.sources[:, None], self.sources[None, :]]
        # Several error-prone columns may be one and the same column, so their parts add up.
        for place, column in enumerate(self.columns):
            for other, second in enumerate(self.columns):
                total[:, column, second] -= taken[:, place, other]
        return _solved(total)


def _solved(products: FloatArray) -> FloatArray:
    """Solve for the last column; NaN where the rest is not positive definite."""
    p = products.shape[-1] - 1
    found = np.full((len(products), p), np.nan)
    for sample, matrix in enumerate(products):
        scale = np.sqrt(np.maximum(np.diag(matrix)[:p], 0.0))
        if not (scale > 0.0).all():
            continue
        try:
            factor = np.linalg.cholesky(matrix[:p, :p] / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            continue
        half = np.linalg.solve(factor, matrix[:p, p] / scale)
        found[sample] = np.linalg.solve(factor.T, half) / scale
    return found


def cluster_sums(
    table: FloatArray, clusters: IndexArray, precision: Precision, errors: Sequence[ErrorColumn]
) -> ClusterSums:
    """Add up the normal equations within clusters.

    Parameters
    ----------
    table : ndarray, shape (n_rows, p + 1)
        Predictors, then the outcome.
    clusters : ndarray of int, shape (n_rows,)
        Codes from 0; rows of different clusters are independent.
    precision : callable
        Returns V⁻¹ of some rows, given their places.
    errors : sequence of ErrorColumn

    Returns
    -------
    ClusterSums
        Takes the cube of a cluster's rows in time.
    """
    n_clusters, q = int(clusters.max()) + 1, len(errors)
    products = np.zeros((n_clusters, table.shape[1], table.shape[1]))
    traces = np.zeros((n_clusters, q, q))
    for cluster in range(n_clusters):
        rows = np.flatnonzero(clusters == cluster)
        weights = precision(rows)
        own = table[rows]
        products[cluster] = own.T @ weights @ own
        spreads = [each.spread[rows] for each in errors]
        touched = np.unique(np.concatenate([each.indices for each in spreads] or [np.zeros(0, dtype=int)]))
        dense = [each[:, touched].toarray() for each in spreads]
        weighted = [weights @ each for each in dense]
        for place, first in enumerate(dense):
            for other, second in enumerate(weighted):
                traces[cluster, place, other] = np.sum(first * second)
    columns = np.array([each.column for each in errors], dtype=np.intp)
    sources = np.array([each.source for each in errors], dtype=np.intp)
    return ClusterSums(products, traces, columns, sources)


def nested_precision(
    clients: IndexArray, cluster_variance: float, client_variance: float, residual_variance: float
) -> Precision:
    """Return what gives V⁻¹ of the rows of a cluster, with random intercepts of clients and of clusters.

    Parameters
    ----------
    clients : ndarray of int, shape (n_rows,)
    cluster_variance, client_variance, residual_variance : float

    Returns
    -------
    callable
    """

    def precision(rows: IndexArray) -> FloatArray:
        own = clients[rows]
        covariance = np.where(own[:, None] == own[None, :], client_variance, 0.0) + cluster_variance
        covariance[np.diag_indices(len(rows))] += residual_variance
        return np.linalg.inv(covariance)

    return precision
