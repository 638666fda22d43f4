"""The observed information of the variance parameters, and what follows from it for fixed effects.

The gradient of the likelihood is exact; it and the covariance matrix of the fixed effects are differentiated once more
by five-point differences. That gives the covariance matrix of the variance parameters, Satterthwaite degrees of freedom
(Kuznetsova, Brockhoff & Christensen 2017, 10.18637/jss.v082.i13), and, where a predictor is a lag of the outcome,
standard errors of the fixed effects from the information of all parameters together. How those move with the variance
parameters is in :mod:`alliance_outcome.models.joint_covariance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.f_approximation import FApproximation, hypothesis_rows
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.unprofiled_likelihood import unprofiled_gradient

#: Steps of numerical derivatives, as a fraction of the scale on which the likelihood bends.
STEP = 5e-3

#: Weights of the five-point derivative at -2, -1, 1 and 2 steps.
FIVE_POINTS = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))

#: Smallest share of the largest curvature (each parameter scaled to curvature one) at which the information is that of
#: a maximum.
CURVATURE = 1e-8

#: Curvature by one parameter, as a fraction of that by log σ² (the degrees of freedom of the residuals), at which the
#: likelihood is flat in it: rounding leaves some 1e-13.
FLAT = 1e-10

#: Degrees of freedom of a joint test that differ by less than this are one number.
SAME_DF = 1e-8


@dataclass(frozen=True)
class Information:
    """Second derivatives at a maximum. Parameters are those of the likelihood, then log σ².

    Parameters
    ----------
    hessian : ndarray, shape (k + 1, k + 1)
        Of the deviance.
    coefficients_covariance : ndarray, shape (p, p)
        σ²(X'V⁻¹X)⁻¹.
    covariance_slopes : ndarray, shape (k + 1, p, p)
        Its derivatives.
    coefficient_slopes : ndarray, shape (k + 1, p)
        Derivatives of the best fixed effects.
    """

    hessian: FloatArray
    coefficients_covariance: FloatArray
    covariance_slopes: FloatArray
    coefficient_slopes: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Covariance matrix of the parameters, twice the inverse of `hessian`; NaN if that is not a minimum's."""
        curvatures = np.diag(self.hessian)
        if not np.all(np.isfinite(self.hessian)) or not np.all(curvatures > FLAT * curvatures[-1]):
            return np.full_like(self.hessian, np.nan)
        sizes = np.sqrt(curvatures)
        scaled = self.hessian / np.outer(sizes, sizes)
        values, vectors = np.linalg.eigh(scaled)
        if values[0] <= CURVATURE * values[-1]:
            return np.full_like(self.hessian, np.nan)
        return 2.0 * (vectors / values) @ vectors.T / np.outer(sizes, sizes)

    @property
    def joint_covariance(self) -> FloatArray:
        """Covariance matrix of the fixed effects, shape (p, p), from the information of all parameters together.

        The block of the inverse of the whole observed information: it is larger than `coefficients_covariance` by what
        the fixed effects move with the variance parameters, which only predictors that do not depend on earlier
        residuals make negligible.
        """
        return self.coefficients_covariance + (
            self.coefficient_slopes.T @ self.covariance @ self.coefficient_slopes
        )


def information(
    likelihood: NestedLikelihood, parameters: FloatArray, residual_variance: float
) -> Information:
    """Differentiate the likelihood twice.

    Parameters
    ----------
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)
        Inside the parameter space: no variance on the boundary.
    residual_variance : float
        σ².

    Returns
    -------
    Information
    """
    steps = difference_steps(likelihood, parameters)
    k, p = len(parameters), likelihood.problem.p
    hessian = np.zeros((k + 1, k + 1))
    covariance_slopes, coefficient_slopes = np.zeros((k + 1, p, p)), np.zeros((k + 1, p))
    for position, step in enumerate(steps):
        for count, weight in FIVE_POINTS:
            moved = parameters.copy()
            moved[position] += count * step
            at = likelihood.evaluate(moved)
            share = weight / step
            hessian[position] += share * unprofiled_gradient(likelihood, at, residual_variance)
            covariance_slopes[position] += share * residual_variance * at.evaluation.inverse
            coefficient_slopes[position] += share * at.coefficients
    at = likelihood.evaluate(parameters)
    # By log σ² itself the derivatives are exact.
    hessian[k, :k] = -at.residual_slope / residual_variance
    hessian[k, k] = at.evaluation.residual_sum / residual_variance
    hessian[:k, k] = hessian[k, :k]
    hessian[:k, :k] = (hessian[:k, :k] + hessian[:k, :k].T) / 2.0
    covariance_slopes[k] = residual_variance * at.evaluation.inverse
    return Information(
        hessian, residual_variance * at.evaluation.inverse, covariance_slopes, coefficient_slopes
    )


def difference_steps(likelihood: NestedLikelihood, parameters: FloatArray) -> FloatArray:
    """Choose steps for numerical derivatives.

    Parameters
    ----------
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)

    Returns
    -------
    ndarray, shape (k,)

    Notes
    -----
    log(1 + nθ²) bends on the scale of θ where nθ² is large, of 1/√n where it is not.
    """
    rows = likelihood.rows
    scales, start = [], 0
    for effects in likelihood.structure.levels:
        starts = rows.unit_starts if effects is likelihood.structure.unit else rows.cluster_row_starts
        finest = 1.0 / np.sqrt(np.diff(starts).max())
        own_rows, columns = effects.positions
        own = parameters[start : start + len(own_rows)]
        diagonal = np.abs(own[own_rows == columns])
        scales += [max(diagonal[row], finest) for row in own_rows]
        start += len(own_rows)
    return STEP * np.array(scales + [1.0] * (len(parameters) - start))


@dataclass(frozen=True)
class Satterthwaite:
    """Inference for fixed effects with Satterthwaite degrees of freedom, in working coordinates.

    Parameters
    ----------
    covariance : ndarray, shape (p, p)
        Covariance matrix of the fixed effects.
    slopes : ndarray, shape (k, p, p)
        Its derivatives by the variance parameters.
    parameter_covariance : ndarray, shape (k, k)
        Covariance matrix of those.
    """

    covariance: FloatArray
    slopes: FloatArray
    parameter_covariance: FloatArray

    def approximation(self, hypothesis: ArrayLike) -> FApproximation:
        """Approximate the distribution of a Wald statistic.

        Parameters
        ----------
        hypothesis : array_like, shape (p,) or (n_rows, p)
            Weights of the fixed effects, one row per statement.

        Returns
        -------
        FApproximation
            Never scaled. Degrees of freedom are NaN where the information is not that of a maximum.

        Raises
        ------
        ValueError
            If rows are zero or dependent, or have the wrong length.

        Notes
        -----
        ``contest`` of R's lmerTest 3.1: several rows are turned into independent ones, whose degrees of freedom are
        pooled so that the F distribution has the expectation of an average of squared t variables.
        """
        rows = hypothesis_rows(hypothesis, self.covariance)
        if not np.all(np.isfinite(self.covariance)):
            return FApproximation(len(rows), np.nan, 1.0)
        _, vectors = np.linalg.eigh(rows @ self.covariance @ rows.T)
        degrees = np.array([self._degrees(row) for row in vectors.T @ rows])
        return FApproximation(len(rows), _pooled(degrees), 1.0)

    def _degrees(self, weights: FloatArray) -> float:
        """2v² / Var(v) for the variance v of one combination."""
        variance = float(weights @ self.covariance @ weights)
        gradient = np.einsum("i,kij,j->k", weights, self.slopes, weights)
        spread = float(gradient @ self.parameter_covariance @ gradient)
        return np.inf if spread == 0.0 else 2.0 * variance**2 / spread


def _pooled(degrees: FloatArray) -> float:
    """Denominator degrees of freedom of an F test from those of its independent parts."""
    if not np.all(np.isfinite(degrees)) or np.ptp(degrees) < SAME_DF:
        return float(degrees.mean())
    if np.any(degrees <= 2.0):
        return 2.0
    expectation = float(np.sum(degrees / (degrees - 2.0)))
    return 2.0 * expectation / (expectation - len(degrees))
