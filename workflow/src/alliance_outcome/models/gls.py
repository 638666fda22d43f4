"""Generalised least squares and the profiled (restricted) likelihood of a nested Gaussian model.

The model is y = Xβ + Zu + v + e with u ~ N(0, σ²Ψ) per unit (client, or therapist in a model with one row per
client), v ~ N(0, σ²τ) per cluster of units (therapist) and e ~ N(0, σ²). A unit enters only through the Gram
matrix of [Z X y], built once; every evaluation eliminates u by a Cholesky factorisation per unit and v by a
rank-one correction per cluster. Variances of exactly zero need no special treatment: Ψ enters through a
factor Λ with Ψ = ΛΛ' that is never inverted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.models.clusters import CanonicalOrder


@dataclass(frozen=True)
class GramDesign:
    """What the likelihood needs to know of the data.

    Parameters
    ----------
    gram : ndarray, shape (n_units, q + p + 1, q + p + 1)
        Cross-products of [Z X y] per unit.
    n_random : int
        Number q of columns of Z; 0 for ordinary least squares.
    cluster_starts : ndarray of int, shape (n_clusters,)
        First unit of each top-level cluster.
    intercept : int
        Position of the column of ones in X.
    n_rows : int
        Number of rows.
    """

    gram: NDArray[np.float64]
    n_random: int
    cluster_starts: NDArray[np.intp]
    intercept: int
    n_rows: int

    @classmethod
    def of(
        cls,
        random: NDArray[np.float64],
        columns: NDArray[np.float64],
        outcome: NDArray[np.float64],
        order: CanonicalOrder,
        intercept: int,
    ) -> GramDesign:
        """Build the cross-products.

        Parameters
        ----------
        random : ndarray, shape (n_rows, q)
        columns : ndarray, shape (n_rows, p)
        outcome : ndarray, shape (n_rows,)
            All with rows in canonical order.
        order : CanonicalOrder
            Where units and clusters start.
        intercept : int
            Position of the column of ones in `columns`.

        Returns
        -------
        GramDesign
        """
        joint = np.column_stack([random, columns, outcome])
        gram = np.stack([unit.T @ unit for unit in np.split(joint, order.unit_starts[1:])])
        return cls(gram, random.shape[1], order.cluster_starts, intercept, len(outcome))

    @property
    def n_fixed(self) -> int:
        """Number p of columns of X."""
        return self.gram.shape[1] - self.n_random - 1


@dataclass(frozen=True)
class Profile:
    """The likelihood at given variance ratios, fixed effects and residual variance at their optimum.

    Parameters
    ----------
    weighted : ndarray, shape (n_units, q + p + 1, q + p + 1)
        [Z X y]'W⁻¹[Z X y] per unit, W without the cluster's variance.
    shrinkage : ndarray, shape (n_clusters,)
        τ / (1 + τ 1'W⁻¹1).
    blocks : ndarray, shape (n_clusters, p + 1, p + 1)
        [X y]'V⁻¹[X y] per cluster, V relative to the residual variance.
    coefficients : ndarray, shape (p,)
    unscaled_covariance : ndarray, shape (p, p)
        (X'V⁻¹X)⁻¹.
    residual_variance : float
    log_likelihood : float
        Restricted or not, all constants included.
    """

    weighted: NDArray[np.float64]
    shrinkage: NDArray[np.float64]
    blocks: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    unscaled_covariance: NDArray[np.float64]
    residual_variance: float
    log_likelihood: float

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance matrix of the coefficients, shape (p, p)."""
        return self.residual_variance * self.unscaled_covariance


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the log-likelihood with respect to the variance ratios.

    Parameters
    ----------
    unit : ndarray, shape (q, q)
        With respect to Ψ, symmetric: the change is ``trace(unit @ dPsi)``.
    cluster : float
        With respect to τ.
    unit_scale : ndarray, shape (q,)
        Sum over units of the diagonal of Z'V⁻¹Z, the size of the terms whose difference `unit` is.
    cluster_scale : float
        The same for τ.
    """

    unit: NDArray[np.float64]
    cluster: float
    unit_scale: NDArray[np.float64]
    cluster_scale: float


def profile(design: GramDesign, factor: NDArray[np.float64], cluster_variance: float, reml: bool) -> Profile:
    """Evaluate the profiled log-likelihood.

    Parameters
    ----------
    design : GramDesign
        The data.
    factor : ndarray, shape (q, q)
        Λ with Ψ = ΛΛ'.
    cluster_variance : float
        τ, not negative.
    reml : bool
        Restricted likelihood or not.

    Returns
    -------
    Profile

    Raises
    ------
    numpy.linalg.LinAlgError
        If rounding leaves no positive residual variance or weight, as at variance ratios of about 1e15.

    Notes
    -----
    Bates, Mächler, Bolker & Walker 2015 (10.18637/jss.v067.i01), the sparse Cholesky factor written out for nested
    levels.
    """
    q, p, one = design.n_random, design.n_fixed, design.intercept
    weighted, log_determinant = _eliminate_unit_effects(design.gram, q, factor)
    totals = np.add.reduceat(weighted[:, q:, q:], design.cluster_starts, axis=0)
    ones = totals[:, one, one]
    if not np.all(ones > 0.0):
        raise np.linalg.LinAlgError("a cluster has no weight left")
    shrinkage = cluster_variance / (1.0 + cluster_variance * ones)
    sums = totals[:, one]
    blocks = totals - shrinkage[:, None, None] * sums[:, :, None] * sums[:, None, :]
    total = blocks.sum(axis=0)
    cholesky = np.linalg.cholesky(total[:p, :p])
    inverse = np.linalg.inv(cholesky)
    projected = inverse @ total[:p, p]
    degrees = design.n_rows - p if reml else design.n_rows
    residual_variance = float(total[p, p] - projected @ projected) / degrees
    if not residual_variance > 0.0:
        raise np.linalg.LinAlgError("no positive residual variance is left")
    log_determinant += float(np.sum(np.log1p(cluster_variance * ones)))
    deviance = log_determinant + degrees * (np.log(2.0 * np.pi * residual_variance) + 1.0)
    if reml:
        deviance += 2.0 * float(np.sum(np.log(np.diag(cholesky))))
    return Profile(
        weighted=weighted,
        shrinkage=shrinkage,
        blocks=blocks,
        coefficients=inverse.T @ projected,
        unscaled_covariance=inverse.T @ inverse,
        residual_variance=residual_variance,
        log_likelihood=-0.5 * float(deviance),
    )


def _eliminate_unit_effects(
    gram: NDArray[np.float64], q: int, factor: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return [Z X y]'W⁻¹[Z X y] per unit and the sum of log|W|."""
    if q == 0:
        return gram, 0.0
    penalised = np.eye(q) + factor.T @ gram[:, :q, :q] @ factor
    cholesky = np.linalg.cholesky(penalised)
    explained = np.linalg.solve(cholesky, factor.T @ gram[:, :q, :])
    log_determinant = 2.0 * float(np.sum(np.log(np.diagonal(cholesky, axis1=1, axis2=2))))
    return gram - np.swapaxes(explained, 1, 2) @ explained, log_determinant


def gradient(design: GramDesign, at: Profile, reml: bool) -> Gradient:
    """Differentiate the profiled log-likelihood.

    Parameters
    ----------
    design : GramDesign
        The data.
    at : Profile
        Where to differentiate.
    reml : bool
        Restricted likelihood or not.

    Returns
    -------
    Gradient

    Notes
    -----
    With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹, a change dV of V moves the restricted log-likelihood by
    −½ [trace(P dV) − e'V⁻¹ dV V⁻¹e / σ²], e = y − Xβ; the unrestricted one has V⁻¹ for P.
    """
    q, one = design.n_random, design.intercept
    sums = np.add.reduceat(at.weighted[:, q:, q:], design.cluster_starts, axis=0)[:, one]
    sizes = np.diff(np.append(design.cluster_starts, len(design.gram)))
    units = at.weighted[:, :q, q:]
    own = units[:, :, one]
    shrinkage = np.repeat(at.shrinkage, sizes)[:, None, None]
    units = units - shrinkage * own[:, :, None] * np.repeat(sums, sizes, axis=0)[:, None, :]
    unit_total = (at.weighted[:, :q, :q] - shrinkage * own[:, :, None] * own[:, None, :]).sum(axis=0)
    clusters = sums * (1.0 - at.shrinkage * sums[:, one])[:, None]
    cluster_total = float(np.sum(clusters[:, one]))
    return Gradient(
        unit=-0.5 * (unit_total - _explained(units, at, reml)),
        cluster=-0.5 * (cluster_total - float(_explained(clusters[:, None, :], at, reml)[0, 0])),
        unit_scale=np.diag(unit_total).copy(),
        cluster_scale=cluster_total,
    )


def _explained(products: NDArray[np.float64], at: Profile, reml: bool) -> NDArray[np.float64]:
    """Sum over units what fixed effects (REML) and residuals take from the trace; products are Z'V⁻¹[X y]."""
    p = len(at.coefficients)
    residual = products[:, :, p] - products[:, :, :p] @ at.coefficients
    explained = residual.T @ residual / at.residual_variance
    if reml:
        explained += np.einsum(
            "iab,bc,idc->ad", products[:, :, :p], at.unscaled_covariance, products[:, :, :p]
        )
    return explained
