"""Centre and scale a design for computation, and bring results back to raw units exactly.

Columns with a large offset (a calendar year), very different scales or a high correlation make normal equations and
optimisers lose digits. Everything is estimated on centred columns of unit standard deviation, made uncorrelated where
they are nearly collinear, and on an outcome scaled likewise. The transformation is linear, so that estimates,
covariances and log-likelihoods have exact counterparts in raw units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Smallest eigenvalue of the columns' correlation matrix at which their cross-products still hold enough digits; nearer
#: to collinearity the columns are made uncorrelated first.
WELL_CONDITIONED = 1e-3


@dataclass(frozen=True)
class Scaling:
    """How a design was transformed.

    Parameters
    ----------
    outcome_mean, outcome_scale : float
        What was subtracted from the outcome (0 without an intercept), and its spread.
    means : ndarray, shape (n_terms,)
        Means of the fixed-effect columns; 0 for the intercept, and for all without one.
    transform : ndarray, shape (n_terms, n_terms)
        Scaled columns are ``(columns - means) @ transform``; the intercept stays as it is.
    intercept : int or None
        Position of the intercept.
    """

    outcome_mean: float
    outcome_scale: float
    means: FloatArray
    transform: FloatArray
    intercept: int | None

    @classmethod
    def of(
        cls, outcome: FloatArray, columns: FloatArray, intercept: int | None
    ) -> tuple[Scaling, FloatArray, FloatArray]:
        """Measure a design of full rank.

        Parameters
        ----------
        outcome : ndarray, shape (n_rows,)
            The outcome.
        columns : ndarray, shape (n_rows, n_terms)
            Fixed-effect columns.
        intercept : int or None
            Position of the column of ones.

        Returns
        -------
        Scaling
        ndarray, shape (n_rows,)
            The scaled outcome.
        ndarray, shape (n_rows, n_terms)
            The scaled columns.
        """
        means = np.zeros(columns.shape[1]) if intercept is None else columns.mean(axis=0)
        outcome_mean = 0.0 if intercept is None else float(outcome.mean())
        if intercept is not None:
            means[intercept] = 0.0
        centred = columns - means
        others = np.array([at for at in range(columns.shape[1]) if at != intercept], dtype=np.intp)
        transform = np.eye(columns.shape[1])
        if len(others):
            transform[np.ix_(others, others)] = _decorrelation(centred[:, others])
        outcome_centred = outcome - outcome_mean
        outcome_scale = float(np.sqrt(np.mean(outcome_centred**2)))
        return (
            cls(outcome_mean, outcome_scale, means, transform, intercept),
            outcome_centred / outcome_scale,
            centred @ transform,
        )

    def coefficient_map(self) -> FloatArray:
        """Return B: raw coefficients are ``B @ scaled``, plus the outcome's mean in the intercept.

        Returns
        -------
        ndarray, shape (n_terms, n_terms)
        """
        to_raw = self.transform.copy()
        if self.intercept is not None:
            to_raw[self.intercept] -= self.means @ self.transform
        return self.outcome_scale * to_raw

    def raw_coefficients(self, scaled: FloatArray) -> FloatArray:
        """Return coefficients in raw units.

        Parameters
        ----------
        scaled : ndarray, shape (..., n_terms)
            Coefficients of the scaled design.

        Returns
        -------
        ndarray, shape (..., n_terms)
        """
        raw = scaled @ self.coefficient_map().T
        if self.intercept is not None:
            raw[..., self.intercept] += self.outcome_mean
        return raw

    def raw_covariance(self, scaled: FloatArray) -> FloatArray:
        """Return covariance matrices of the raw coefficients, shape (..., n_terms, n_terms), symmetric."""
        to_raw = self.coefficient_map()
        raw = to_raw @ scaled @ to_raw.T
        return (raw + np.swapaxes(raw, -1, -2)) / 2.0

    def log_likelihood_shift(self, n_rows: int, reml: bool) -> float:
        """Return what to add to a log-likelihood of the scaled design to get that of the raw one.

        Parameters
        ----------
        n_rows : int
            Number of rows.
        reml : bool
            Whether the likelihood is restricted.

        Returns
        -------
        float

        Notes
        -----
        Dividing the outcome by c multiplies its density by c per row (per residual degree of freedom under REML);
        transforming the columns changes the determinant of X'V⁻¹X in the restricted likelihood.
        """
        if not reml:
            return float(-n_rows * np.log(self.outcome_scale))
        degrees = n_rows - len(self.means)
        return float(-degrees * np.log(self.outcome_scale) + np.linalg.slogdet(self.transform)[1])


def _decorrelation(centred: FloatArray) -> FloatArray:
    """Return the matrix that scales columns, and makes them uncorrelated if their cross-products would lose digits."""
    products = centred.T @ centred / len(centred)
    scales = np.sqrt(np.diag(products))
    smallest = np.linalg.eigvalsh(products / np.outer(scales, scales))[0]
    if smallest > WELL_CONDITIONED:
        return np.diag(1.0 / scales)
    triangle = np.linalg.qr(centred / scales, mode="r") / np.sqrt(len(centred))
    return np.linalg.inv(triangle) / scales[:, None]
