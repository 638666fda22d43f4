"""Centre, scale and orthogonalise a design for computation, and bring results back to raw units exactly.

Columns with a large offset (a calendar year), very different scales or a high correlation make normal
equations and optimisers lose digits. Everything is estimated on centred, uncorrelated columns of unit
standard deviation and an outcome scaled likewise. The transformation is linear, so that estimates,
covariances and log-likelihoods have exact counterparts in raw units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaling:
    """How a design was transformed.

    Parameters
    ----------
    outcome_mean, outcome_scale : float
        Mean and standard deviation of the outcome.
    means : ndarray, shape (n_terms,)
        Means of the fixed-effect columns; 0 for the intercept.
    transform : ndarray, shape (n_terms, n_terms)
        Scaled columns are ``(columns - means) @ transform``; the intercept stays as it is.
    intercept : int
        Position of the intercept.
    """

    outcome_mean: float
    outcome_scale: float
    means: NDArray[np.float64]
    transform: NDArray[np.float64]
    intercept: int

    @classmethod
    def of(cls, outcome: NDArray[np.float64], columns: NDArray[np.float64], intercept: int) -> Scaling:
        """Measure a design of full rank.

        Parameters
        ----------
        outcome : ndarray, shape (n_rows,)
            The outcome.
        columns : ndarray, shape (n_rows, n_terms)
            Fixed-effect columns.
        intercept : int
            Position of the column of ones.

        Returns
        -------
        Scaling
        """
        means = columns.mean(axis=0)
        means[intercept] = 0.0
        others = np.delete(np.arange(columns.shape[1]), intercept)
        centred = (columns - means)[:, others]
        scales = np.sqrt(np.mean(centred**2, axis=0))
        triangle = np.linalg.qr(centred / scales, mode="r") / np.sqrt(len(columns))
        transform = np.eye(columns.shape[1])
        transform[np.ix_(others, others)] = np.linalg.inv(triangle) / scales[:, None]
        outcome_mean = float(outcome.mean())
        outcome_scale = float(np.sqrt(np.mean((outcome - outcome_mean) ** 2)))
        return cls(outcome_mean, outcome_scale, means, transform, intercept)

    def outcome(self, outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scaled outcome, shape (n_rows,)."""
        return (outcome - self.outcome_mean) / self.outcome_scale

    def columns(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scaled fixed-effect columns, shape (n_rows, n_terms)."""
        return (columns - self.means) @ self.transform

    def coefficient_map(self) -> NDArray[np.float64]:
        """Return B: raw coefficients are ``B @ scaled``, plus the outcome's mean in the intercept.

        Returns
        -------
        ndarray, shape (n_terms, n_terms)
        """
        to_raw = self.transform.copy()
        to_raw[self.intercept] -= self.means @ self.transform
        return self.outcome_scale * to_raw

    def raw_coefficients(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
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
        raw[..., self.intercept] += self.outcome_mean
        return raw

    def raw_covariance(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the covariance matrix of the raw coefficients, shape (n_terms, n_terms), symmetric."""
        to_raw = self.coefficient_map()
        raw = to_raw @ scaled @ to_raw.T
        return (raw + raw.T) / 2.0

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
