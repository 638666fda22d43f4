"""How the covariance matrix of fixed effects beside a lagged outcome moves with the variance parameters.

With H the Hessian of the deviance, Σ = 2H⁻¹, C the covariance matrix of the fixed effects at given variances and B the
derivatives of the best fixed effects, that matrix is J = C + B'ΣB. Its degrees of freedom need dJ. H, B and C exist
everywhere, an inverse only where H is positive definite, which it need not be a small step away from a maximum. So H
and B are differenced and the inverse is not:

    dJ = dC + dB'ΣB + B'ΣdB + B'dΣB,    dΣ = −½ Σ dH Σ.

Away from the maximum, second derivatives depend on how variances are written. In a standard deviation θ the deviance is
even, so that beside a maximum near zero its curvature is negative at θ = 0 and changes sign on the way, however
ordinary the curvature by θ² is. dJ then has a term in 1/θ, and degrees of freedom fall to zero with θ although J hardly
moves. So second derivatives are taken by the elements of the relative covariance matrices Ψ = ΛΛ', in which the
likelihood is smooth up to the boundary, and in which another order or origin of the random effects' columns is a linear
map, which changes nothing (the autocorrelation's parameter and log σ² stay as they are). With Γ such that Γ[s, s] is
the second derivative of Ψ along s, expressed as a move of Λ, those second derivatives are H − Γg; the gradient g is
zero at the maximum and has the derivatives H there, so that

    dJ by Ψ = dJ by Λ + ½ H Γ[ΣB, ΣB].
"""

from __future__ import annotations

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.information import STEP, Information, difference_steps, information
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.random_structure import RandomEffects


def joint_covariance_slopes(
    likelihood: NestedLikelihood, parameters: FloatArray, residual_variance: float, at: Information
) -> FloatArray:
    """Differentiate :attr:`Information.joint_covariance` by the variance parameters, second derivatives being by Ψ.

    Parameters
    ----------
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)
        Its maximum, off the boundary.
    residual_variance : float
        σ².
    at : Information
        There.

    Returns
    -------
    ndarray, shape (k + 1, p, p)
        By the parameters, then by log σ². NaN where `at` is not the information of a maximum.
    """
    slopes = slopes_by_factors(likelihood, parameters, residual_variance, at)
    bends = _bends(likelihood, parameters, at.covariance @ at.coefficient_slopes)
    return slopes + 0.5 * np.einsum("ml,lab->mab", at.hessian, bends)


def slopes_by_factors(
    likelihood: NestedLikelihood, parameters: FloatArray, residual_variance: float, at: Information
) -> FloatArray:
    """Differentiate :attr:`Information.joint_covariance`, second derivatives being by the parameters as they are.

    Parameters
    ----------
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)
    residual_variance : float
    at : Information

    Returns
    -------
    ndarray, shape (k + 1, p, p)
        By three-point differences of the Hessian and of the slopes of the fixed effects.
    """
    moved = at.covariance @ at.coefficient_slopes
    slopes = at.covariance_slopes.copy()
    for position, step in enumerate(np.append(difference_steps(likelihood, parameters), STEP)):
        above, below = (
            _beside(likelihood, parameters, residual_variance, position, distance)
            for distance in (step, -step)
        )
        hessian_slope = (above.hessian - below.hessian) / (2.0 * step)
        turned = (above.coefficient_slopes - below.coefficient_slopes).T @ moved / (2.0 * step)
        slopes[position] += turned + turned.T - 0.5 * moved.T @ hessian_slope @ moved
    return slopes


def _beside(
    likelihood: NestedLikelihood,
    parameters: FloatArray,
    residual_variance: float,
    position: int,
    distance: float,
) -> Information:
    """Return the information with one parameter moved; the last is log σ²."""
    moved = np.append(parameters, np.log(residual_variance))
    moved[position] += distance
    return information(likelihood, moved[:-1], float(np.exp(moved[-1])))


def _bends(likelihood: NestedLikelihood, parameters: FloatArray, directions: FloatArray) -> FloatArray:
    """Return Γ[s_a, s_b] of the columns of `directions`, shape (k + 1, p); zero for parameters that are not in Λ.

    Returns
    -------
    ndarray, shape (k + 1, p, p)
    """
    bends = np.zeros((*directions.shape, directions.shape[1]))
    start = 0
    for effects in likelihood.structure.levels:
        own = slice(start, start + len(effects.positions[0]))
        bends[own] = _level_bends(effects, parameters[own], directions[own])
        start = own.stop
    return bends


def _level_bends(effects: RandomEffects, parameters: FloatArray, directions: FloatArray) -> FloatArray:
    """Solve ΛD' + DΛ' = S_aS_b' + S_bS_a' for lower-triangular D; shape (number of parameters, p, p).

    The right-hand side is the second derivative of Ψ along two directions; D = Λ F(Λ⁻¹ … Λ'⁻¹), where F keeps the lower
    triangle and half of the diagonal.
    """
    count, rows_columns = directions.shape[1], effects.positions
    factor = np.zeros((len(effects), len(effects)))
    factor[rows_columns] = parameters
    steps = np.zeros((count, *factor.shape))
    steps[:, *rows_columns] = directions.T
    inner = np.linalg.solve(factor, steps)
    products = np.einsum("aij,bkj->abik", inner, inner)
    halved = np.tril(products + np.swapaxes(products, 2, 3))
    halved[:, :, *np.diag_indices(len(effects))] /= 2.0
    solved = factor @ halved
    return np.moveaxis(solved[:, :, *rows_columns], 2, 0)
