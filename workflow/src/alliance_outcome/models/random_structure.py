"""Which random effects a model has, and how their variances are written as parameters.

Variances are ratios to the residual variance. The parameters are relative standard deviations (a Cholesky
factor where client effects are correlated), unbounded: a sign is immaterial, so that an optimiser meets no
wall at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.models.design_checks import INTERCEPT

#: A relative variance (an eigenvalue of a relative covariance matrix) below this is taken for zero: a random
#: effect with a thousandth of the residual's standard deviation shifts the variance of a mean of 50 sessions
#: by 0.005 %.
ZERO_VARIANCE = 1e-6

#: Eigenvalues below this fraction of the largest are zeros with rounding error.
ROUNDING = 1e-12

#: Where correlation is lost; said in every fit that it concerns.
UNCORRELATED_REASON = "statsmodels MixedLM cannot correlate client slopes beside a therapist level"


@dataclass(frozen=True)
class RandomStructure:
    """Random effects of a nested model.

    Parameters
    ----------
    unit : str or None
        Level of the innermost random effects: ``client``; ``therapist`` with one row per client; None for
        ordinary least squares.
    cluster : str or None
        Level above it that has a random intercept: ``therapist`` or None.
    slopes : tuple of str
        Columns with random slopes at the unit level.
    """

    unit: str | None
    cluster: str | None
    slopes: tuple[str, ...]

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms with random effects at the unit level."""
        return () if self.unit is None else (INTERCEPT, *self.slopes)

    @property
    def correlated(self) -> bool:
        """Whether the unit's effects have a full covariance matrix."""
        return self.cluster is None

    @property
    def n_parameters(self) -> int:
        """Number of variance parameters, the residual variance not counted."""
        q = len(self.terms)
        return q * (q + 1) // 2 if self.correlated else q + 1

    def unpack(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Return the factor Λ, shape (q, q), of the unit's relative covariance, and the cluster's ratio.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)
            The cluster's relative standard deviation first, if there is a cluster level; then relative
            standard deviations, or the rows of the lower triangle of Λ.
        """
        q = len(self.terms)
        if not self.correlated:
            return np.diag(parameters[1:]), float(parameters[0] ** 2)
        factor = np.zeros((q, q))
        factor[np.tril_indices(q)] = parameters
        return factor, 0.0

    def pack(self, covariance: NDArray[np.float64], cluster_variance: float) -> NDArray[np.float64]:
        """Return the parameters, shape (n_parameters,), of variance ratios; inverse of `unpack`."""
        if not self.correlated:
            return np.sqrt(np.concatenate([[cluster_variance], np.diag(covariance)]))
        return semidefinite_cholesky(covariance)[np.tril_indices(len(self.terms))]

    def chain(
        self, parameters: NDArray[np.float64], unit_gradient: NDArray[np.float64], cluster_gradient: float
    ) -> NDArray[np.float64]:
        """Turn derivatives with respect to variance ratios into derivatives with respect to the parameters.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)
        unit_gradient : ndarray, shape (q, q)
        cluster_gradient : float
            See :class:`alliance_outcome.models.gls.Gradient`.

        Returns
        -------
        ndarray, shape (n_parameters,)
        """
        factor, _ = self.unpack(parameters)
        factor_gradient = 2.0 * unit_gradient @ factor
        if not self.correlated:
            return np.concatenate([[2.0 * parameters[0] * cluster_gradient], np.diag(factor_gradient)])
        return factor_gradient[np.tril_indices(len(self.terms))]

    def describe(self) -> str:
        """Say in words which random effects the model has."""
        if self.unit is None:
            return "no random effects: one row per client and no therapist level (ordinary least squares)"
        nested = f"{self.unit} (nested in {self.cluster})" if self.cluster else self.unit
        effects = "random intercept"
        if self.slopes:
            relation = "correlated" if self.correlated else f"uncorrelated ({UNCORRELATED_REASON})"
            effects = f"random intercept and random slopes of {', '.join(self.slopes)}, {relation}"
        above = f"{self.cluster}: random intercept; " if self.cluster else ""
        return f"{above}{nested}: {effects}"


def semidefinite_cholesky(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a lower-triangular factor of a covariance matrix that may be singular.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)

    Returns
    -------
    ndarray, shape (q, q)
        L with ``L @ L.T`` equal to `covariance`, negative eigenvalues (rounding) set to zero.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    return np.linalg.qr(root.T, mode="r").T


def without_tiny_variances(covariance: NDArray[np.float64], correlated: bool) -> NDArray[np.float64]:
    """Set relative variances below `ZERO_VARIANCE` to exactly zero.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)
        Relative covariance matrix of the unit's effects.
    correlated : bool
        If true, also directions (eigenvectors) of tiny variance are removed.

    Returns
    -------
    ndarray, shape (q, q)
    """
    kept = np.diag(covariance) >= ZERO_VARIANCE
    covariance = np.where(kept[:, None] & kept[None, :], covariance, 0.0)
    if not correlated:
        return covariance
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.where(values < ZERO_VARIANCE, 0.0, values)) @ vectors.T


def null_space(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the directions without variance.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)
        A covariance matrix after `without_tiny_variances`.

    Returns
    -------
    ndarray, shape (q, q - rank)
    """
    values, vectors = np.linalg.eigh(covariance)
    return vectors[:, values <= ROUNDING * values.max()]
