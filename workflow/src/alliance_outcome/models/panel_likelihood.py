"""The Gaussian likelihood of a panel, by expected values and covariance matrix of all variables of a client.

Full-information maximum likelihood: every client counts with whatever was observed of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_kernels import evaluate_panel, observed_precisions

#: Patterns whose precision matrices are held in memory at a time.
_PATTERNS_AT_A_TIME = 1_024


class NotPositiveDefinite(ArithmeticError):
    """A covariance matrix has an eigenvalue that is not above zero."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The log-likelihood at expected values and a covariance matrix, with what its derivatives are made of.

    Parameters
    ----------
    value : float
        Log-likelihood.
    precision : ndarray, shape (p, p)
        Λ, the inverse of the covariance matrix.
    completed : ndarray, shape (n_rows, p)
        Deviations of the data's rows from expected values, missing ones at their expectation.
    scatter : ndarray, shape (p, p)
        Expected sum over clients of squares and products of deviations.
    by_mean : ndarray, shape (n_groups, p)
        Derivatives by the expected values of each group.
    by_covariance : ndarray, shape (p, p)
        Derivatives by the entries of the covariance matrix, taken to be free of each other; symmetric.
    """

    value: float
    precision: FloatArray
    completed: FloatArray
    scatter: FloatArray
    by_mean: FloatArray
    by_covariance: FloatArray


@dataclass(frozen=True, eq=False)
class MomentInformation:
    """Minus the second derivatives of the log-likelihood, by expected values and by the lower triangle of Σ.

    Parameters
    ----------
    mean : ndarray, shape (p, p)
    covariance : ndarray, shape (p (p + 1) / 2, p (p + 1) / 2)
    mixed : ndarray, shape (p, p (p + 1) / 2)
        Zero in the expected information.
    """

    mean: FloatArray
    covariance: FloatArray
    mixed: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """All of it in one matrix, expected values first."""
        return np.block([[self.mean, self.mixed], [self.mixed.T, self.covariance]])


def evaluate(data: PanelData, mean: FloatArray, covariance: FloatArray) -> Evaluation:
    """Evaluate the log-likelihood and its derivatives.

    Parameters
    ----------
    data : PanelData
    mean : ndarray, shape (p,) or (n_groups, p)
        Expected values.
    covariance : ndarray, shape (p, p)

    Returns
    -------
    Evaluation

    Raises
    ------
    NotPositiveDefinite
        If the covariance matrix is not positive definite.
    """
    value, by_mean, by_covariance, precision, completed, scatter = evaluate_panel(
        np.ascontiguousarray(np.atleast_2d(mean), dtype=float),
        np.ascontiguousarray(covariance, dtype=float),
        *data.arrays,
    )
    if not np.isfinite(value):
        raise NotPositiveDefinite("the covariance matrix has no Cholesky factor")
    return Evaluation(float(value), precision, completed, scatter, by_mean, by_covariance)


class TriangleIndex:
    """Where the entries of a symmetric matrix are in its lower triangle, row by row.

    Parameters
    ----------
    p : int
        Size of the matrix.
    """

    def __init__(self, p: int) -> None:
        self.p = p
        self.rows, self.columns = np.tril_indices(p)

    @cached_property
    def positions(self) -> np.ndarray:
        """Place of every entry of the matrix, shape (p, p)."""
        found = np.zeros((self.p, self.p), dtype=np.intp)
        found[self.rows, self.columns] = np.arange(len(self.rows))
        found[self.columns, self.rows] = np.arange(len(self.rows))
        return found

    def take(self, matrices: FloatArray) -> FloatArray:
        """Return the lower triangles of matrices, shape (..., p (p + 1) / 2)."""
        return matrices[..., self.rows, self.columns]

    def symmetric(self, triangle: FloatArray) -> FloatArray:
        """Return the matrix with this lower triangle."""
        return triangle[self.positions]

    def twice_off_diagonal(self) -> FloatArray:
        """Return 1 for entries of the diagonal and 2 elsewhere: how often the matrix has an entry of the triangle."""
        return np.where(self.rows == self.columns, 1.0, 2.0)

    def products(self, tensor: FloatArray) -> FloatArray:
        """Return Σ tr(U P V W) for U, V of the triangle's unit matrices, from Σ vech(P) vech(W)'.

        Parameters
        ----------
        tensor : ndarray, shape (p (p + 1) / 2, p (p + 1) / 2)
            Sum over patterns.

        Returns
        -------
        ndarray, shape (p (p + 1) / 2, p (p + 1) / 2)
            Symmetrised.
        """
        at, i, j = self.positions, self.rows, self.columns
        # tr(U P V W) with U = e_i e_j' and V = e_k e_l' is P_jk W_li.
        found = tensor[at[j[:, None], i], at[j, i[:, None]]]
        found = found + tensor[at[i[:, None], i], at[j, j[:, None]]]
        found += tensor[at[j[:, None], j], at[i, i[:, None]]]
        found += tensor[at[i[:, None], j], at[i, j[:, None]]]
        # A diagonal entry's unit matrix has one entry, not two.
        halves = 0.5 * self.twice_off_diagonal()
        found *= halves[:, None] * halves
        return 0.5 * (found + found.T)


def expected_information(data: PanelData, precision: FloatArray) -> MomentInformation:
    """Return Fisher's information of expected values and covariances, given what is missing.

    Parameters
    ----------
    data : PanelData
    precision : ndarray, shape (p, p)
        Inverse of the covariance matrix.

    Returns
    -------
    MomentInformation
        Of one group.
    """
    index = TriangleIndex(data.n_variables)
    size = len(index.rows)
    tensor, mean = np.zeros((size, size)), np.zeros(size)
    for first, last, inverses in observed_inverses(data, precision):
        weights = data.counts[first:last]
        tensor += 0.5 * inverses.T @ (weights[:, None] * inverses)
        mean += weights @ inverses
    return MomentInformation(
        index.symmetric(mean), index.products(tensor), np.zeros((data.n_variables, size))
    )


def observed_information(data: PanelData, found: Evaluation) -> MomentInformation:
    """Return minus the second derivatives of the log-likelihood by expected values and covariances.

    Parameters
    ----------
    data : PanelData
        Of one group.
    found : Evaluation

    Returns
    -------
    MomentInformation
    """
    index, p = TriangleIndex(data.n_variables), data.n_variables
    size = len(index.rows)
    residuals = weighted_residuals(data, found)
    tensor, mean, mixed = np.zeros((size, size)), np.zeros(size), np.zeros((size, p))
    for first, last, inverses in observed_inverses(data, found.precision):
        weights = data.counts[first:last]
        rows = slice(data.row_starts[first], data.row_starts[last])
        starts = data.row_starts[first:last] - data.row_starts[first]
        squares = index.take(residuals[rows, :, None] * residuals[rows, None, :])
        outer = np.add.reduceat(squares, starts, axis=0)
        tensor += inverses.T @ (outer - 0.5 * weights[:, None] * inverses)
        mean += weights @ inverses
        shifted = np.add.reduceat(data.shifts[rows, None] * residuals[rows], starts, axis=0)
        mixed += inverses.T @ shifted
    return MomentInformation(index.symmetric(mean), index.products(tensor), _mixed(index, mixed))


def _mixed(index: TriangleIndex, sums: FloatArray) -> FloatArray:
    """Return Σ P U z for the triangle's unit matrices, shape (p, p (p + 1) / 2), from Σ vech(P) z'."""
    at, every = index.positions, np.arange(index.p)[:, None]
    i, j = index.rows, index.columns
    found = sums[at[every, i], j] + sums[at[every, j], i]
    return found * (0.5 * index.twice_off_diagonal())


def weighted_residuals(data: PanelData, found: Evaluation) -> FloatArray:
    """Return P d of the data's rows, P the inverse of the observed part of Σ, padded by zeros.

    Parameters
    ----------
    data : PanelData
    found : Evaluation

    Returns
    -------
    ndarray, shape (n_rows, p)
    """
    return np.where(data.observed[data.row_patterns], found.completed @ found.precision, 0.0)


def observed_inverses(data: PanelData, precision: FloatArray) -> Iterator[tuple[int, int, FloatArray]]:
    """Yield the inverses of the observed parts of Σ, padded by zeros, some patterns at a time.

    Parameters
    ----------
    data : PanelData
    precision : ndarray, shape (p, p)
        Inverse of the covariance matrix.

    Yields
    ------
    first, last : int
        The patterns.
    inverses : ndarray, shape (last - first, p (p + 1) / 2)
        Lower triangles.

    Raises
    ------
    NotPositiveDefinite
        If some cannot be had.
    """
    size = data.n_variables * (data.n_variables + 1) // 2
    for first in range(0, len(data.counts), _PATTERNS_AT_A_TIME):
        last = min(first + _PATTERNS_AT_A_TIME, len(data.counts))
        inverses = np.empty((last - first, size))
        if not observed_precisions(precision, data.missing, data.missing_starts, first, last, inverses):
            raise NotPositiveDefinite("a part of the precision matrix has no Cholesky factor")
        yield first, last, inverses
