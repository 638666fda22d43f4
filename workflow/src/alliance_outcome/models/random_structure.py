"""Which random effects a model has, and how their variances are written as parameters.

Variances are ratios to the residual variance. The parameters are the entries of a factor Λ with Ψ = ΛΛ': its lower
triangle where effects are correlated, its diagonal (relative standard deviations) where they are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: A relative variance (an eigenvalue of a relative covariance matrix) below this is taken for zero, if the likelihood
#: does not mind: a random effect with a thousandth of the residual's standard deviation shifts the variance of a mean
#: of 50 sessions by 0.005 %.
ZERO_VARIANCE = 1e-6

#: Eigenvalues below this fraction of the largest are zeros with rounding error.
ROUNDING = 1e-12


@dataclass(frozen=True)
class RandomEffects:
    """Random effects of the units of one level.

    Parameters
    ----------
    level : str
        Name of the level.
    terms : tuple of str
        Terms whose coefficients vary between units.
    correlated : bool
        Whether their covariance matrix is unstructured; otherwise it is diagonal.
    """

    level: str
    terms: tuple[str, ...]
    correlated: bool = True

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the free entries of Λ."""
        if self.correlated:
            return np.tril_indices(len(self))
        return np.diag_indices(len(self))

    @property
    def components(self) -> tuple[FloatArray, ...]:
        """Symmetric matrices E, each (q, q): Ψ is a sum of free parameters times E."""
        found = []
        for row, column in zip(*self.positions, strict=True):
            matrix = np.zeros((len(self), len(self)))
            matrix[row, column] = matrix[column, row] = 1.0
            found.append(matrix)
        return tuple(found)

    def unpack(self, parameters: FloatArray) -> FloatArray:
        """Return Ψ, shape (q, q), of parameters in the order of `positions`."""
        factor = np.zeros((len(self), len(self)))
        factor[self.positions] = parameters
        return factor @ factor.T

    def pack(self, covariance: FloatArray) -> FloatArray:
        """Return the parameters of Ψ, shape (q, q); inverse of `unpack` up to signs of columns."""
        if self.correlated:
            return semidefinite_cholesky(covariance)[self.positions]
        return np.sqrt(np.diag(covariance))

    def describe(self) -> str:
        """Say in words what varies between the units of the level."""
        slopes = [term for term in self.terms if term != "Intercept"]
        named = f"random slope{'s' if len(slopes) > 1 else ''} of {', '.join(slopes)}"
        if len(slopes) == len(self.terms):
            effects = f"{named}, no random intercept"
        else:
            effects = f"random intercept and {named}" if slopes else "random intercept"
        if len(self.terms) < 2:
            return f"{self.level}: {effects}"
        return f"{self.level}: {effects}, {'correlated' if self.correlated else 'uncorrelated'}"


@dataclass(frozen=True)
class RandomStructure:
    """Random effects of a model.

    Parameters
    ----------
    unit : RandomEffects or None
        Those of the innermost level that has any; None for ordinary least squares.
    cluster : RandomEffects or None
        Those of the level above it.
    """

    unit: RandomEffects | None
    cluster: RandomEffects | None = None

    @property
    def levels(self) -> tuple[RandomEffects, ...]:
        """Levels with random effects, outermost first, as their parameters are ordered."""
        return tuple(effects for effects in (self.cluster, self.unit) if effects is not None)

    def describe(self) -> str:
        """Say in words which random effects the model has."""
        return "; ".join(effects.describe() for effects in self.levels) or "no random effects"


def semidefinite_cholesky(covariance: FloatArray) -> FloatArray:
    """Return a lower-triangular factor of a covariance matrix that may be singular.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)

    Returns
    -------
    ndarray, shape (q, q)
        L with ``L @ L.T`` equal to `covariance`, negative eigenvalues (rounding) set to zero; no negative number on its
        diagonal.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    triangle = np.linalg.qr(root.T, mode="r").T
    return triangle * np.where(np.diag(triangle) < 0.0, -1.0, 1.0)


def without_tiny_variances(covariance: FloatArray, correlated: bool) -> FloatArray:
    """Set relative variances below `ZERO_VARIANCE` to exactly zero.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)
        Relative covariance matrix.
    correlated : bool
        If true, also directions (eigenvectors) of tiny variance are removed.

    Returns
    -------
    ndarray, shape (q, q)
        `covariance` itself, if there is nothing to set to zero.
    """
    kept = np.diag(covariance) >= ZERO_VARIANCE
    if not kept.all():
        covariance = np.where(kept[:, None] & kept[None, :], covariance, 0.0)
    if not correlated:
        return covariance
    values, vectors = np.linalg.eigh(covariance)
    if values.min(initial=np.inf) >= ZERO_VARIANCE:
        return covariance
    return (vectors * np.where(values < ZERO_VARIANCE, 0.0, values)) @ vectors.T


def null_space(covariance: FloatArray) -> FloatArray:
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
    return vectors[:, values <= ROUNDING * max(values.max(initial=0.0), ROUNDING)]
