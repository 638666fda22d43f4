"""The fitted Gaussian multilevel model as the inference modules see it: rows in order, matrices, no labels.

The model is y = Xβ + Z_u u + Z_v v + e with u ~ N(0, σ²Ψ_u) per unit (the innermost level with random effects), v ~
N(0, σ²Ψ_v) per cluster of units (the level above, if there is one) and e ~ N(0, σ² R), R the identity or AR(1) in each
unit. Everything is in working coordinates: centred and scaled columns, whose map back to raw units is
:class:`alliance_outcome.models.scaling.Scaling`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


@dataclass(frozen=True)
class WorkingRows:
    """The rows of a nested design, sorted into units and units into clusters.

    Parameters
    ----------
    outcome : ndarray, shape (n_rows,)
    fixed : ndarray, shape (n_rows, p)
        Columns of X.
    unit_random : ndarray, shape (n_rows, q)
        Columns of Z_u; q may be 0.
    cluster_random : ndarray, shape (n_rows, r)
        Columns of Z_v; r is 0 without a second level.
    unit_starts : ndarray of int, shape (n_units + 1,)
        First row of each unit, and the number of rows last.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units last; without a second level every unit is a cluster.
    gaps : ndarray, shape (n_rows,), or None
        Time since the previous row of the same unit, 0 for its first row; None unless residuals are AR(1).
    """

    outcome: FloatArray
    fixed: FloatArray
    unit_random: FloatArray
    cluster_random: FloatArray
    unit_starts: IndexArray
    cluster_starts: IndexArray
    gaps: FloatArray | None = None

    @property
    def cluster_row_starts(self) -> IndexArray:
        """First row of each cluster, and the number of rows last."""
        return self.unit_starts[self.cluster_starts]


@dataclass(frozen=True)
class FittedState:
    """Variance parameters, and fixed effects by generalised least squares at them.

    Parameters
    ----------
    rows : WorkingRows
        The data.
    unit_covariance : ndarray, shape (q, q)
        Ψ_u, relative to the residual variance; may be singular.
    cluster_covariance : ndarray, shape (r, r)
        Ψ_v, likewise.
    residual_variance : float
        σ².
    autocorrelation : float or None
        φ, correlation of residuals one unit of time apart (φ ** gap); None for independent residuals.
    coefficients : ndarray, shape (p,)
        β.
    covariance : ndarray, shape (p, p)
        σ²(X'V⁻¹X)⁻¹ with V relative to σ².
    unit_components, cluster_components : tuple of ndarray
        Symmetric matrices E, of shape (q, q) and (r, r), such that Ψ is a sum of free parameters times E: one for each
        variance and, where effects are correlated, one for each covariance.
    reml : bool
        Whether the restricted likelihood was maximised.
    """

    rows: WorkingRows
    unit_covariance: FloatArray
    cluster_covariance: FloatArray
    residual_variance: float
    autocorrelation: float | None
    coefficients: FloatArray
    covariance: FloatArray
    unit_components: tuple[FloatArray, ...]
    cluster_components: tuple[FloatArray, ...]
    reml: bool
