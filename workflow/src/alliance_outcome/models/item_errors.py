"""The variance of measurement error of scale scores, and its covariance between raters who answer the same items.

In Cronbach's model (1951, 10.1007/BF02310555) what the items of a scale share is true and the rest is error: the error
variance of the mean of d items is the mean variance less the mean covariance of items, by d. Two raters' errors covary
by what they share in the same item beyond what they share in different ones. All from deviations within clients, in
sums over clusters, so that they can be resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.fitted_state import FloatArray, IndexArray


@dataclass(frozen=True, eq=False)
class ErrorSums:
    """Sums of squares and products within clients, cluster by cluster.

    Parameters
    ----------
    same : ndarray, shape (n_clusters,)
        Of each item by itself, or by the same item of the other rater, added up over items.
    means : ndarray, shape (n_clusters,)
        Of the means of items.
    degrees : ndarray, shape (n_clusters,)
        Rows less clients.
    n_items : int
    """

    same: FloatArray
    means: FloatArray
    degrees: FloatArray
    n_items: int

    def covariance(self, draws: FloatArray) -> FloatArray:
        """Return the error variance or covariance of the means of items.

        Parameters
        ----------
        draws : ndarray, shape (n_samples, n_clusters)

        Returns
        -------
        ndarray, shape (n_samples,)
            Variances may come out below zero where items share nothing.
        """
        d = self.n_items
        degrees = draws @ self.degrees
        with np.errstate(invalid="ignore", divide="ignore"):
            return (draws @ self.same / d - draws @ self.means) / ((d - 1.0) * degrees)

    def variance_of_means(self, draws: FloatArray) -> FloatArray:
        """Return the variance, or covariance, of the means of items within clients, shape (n_samples,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return draws @ self.means / (draws @ self.degrees)


def error_sums(
    first: FloatArray, second: FloatArray, clients: ArrayLike, clusters: IndexArray, n_clusters: int
) -> ErrorSums:
    """Add up what the error variance of a scale (both arguments the same), or the covariance of two, follows from.

    Parameters
    ----------
    first, second : ndarray, shape (n_rows, d)
        Answers without missing values.
    clients : array_like, shape (n_rows,)
    clusters : ndarray of int, shape (n_rows,)
        Whole clients; codes from 0.
    n_clusters : int

    Returns
    -------
    ErrorSums
    """
    codes = np.unique(np.asarray(clients), return_inverse=True)[1]
    one, two = _deviations(first, codes), _deviations(second, codes)
    n_rows = np.bincount(clusters, minlength=n_clusters)
    first_rows = np.unique(codes, return_index=True)[1]
    n_clients = np.bincount(clusters[first_rows], minlength=n_clusters)

    def per_cluster(values: FloatArray) -> FloatArray:
        return np.bincount(clusters, weights=values, minlength=n_clusters)

    return ErrorSums(
        per_cluster((one * two).sum(axis=1)),
        per_cluster(one.mean(axis=1) * two.mean(axis=1)),
        (n_rows - n_clients).astype(float),
        first.shape[1],
    )


def _deviations(values: FloatArray, clients: IndexArray) -> FloatArray:
    """Return deviations from each client's means."""
    counts = np.bincount(clients)
    means = np.stack([np.bincount(clients, weights=column) / counts for column in values.T], axis=1)
    return values - means[clients]
