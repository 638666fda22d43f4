"""The likelihood at a residual variance that need not be the best one for the other parameters.

:meth:`NestedLikelihood.evaluate` puts the best residual variance in, s² = e'V⁻¹e / d with d degrees of freedom. Second
derivatives by all parameters, and profiles in which σ² is a parameter like the others, need it to be free:

    D(θ, σ²) = D(θ) − d (1 + log s²) + d log σ² + d s² / σ².
"""

from __future__ import annotations

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_likelihood import Evaluated, NestedLikelihood


def unprofiled_deviance(likelihood: NestedLikelihood, at: Evaluated, residual_variance: float) -> float:
    """Return the deviance at a residual variance.

    Parameters
    ----------
    likelihood : NestedLikelihood
    at : Evaluated
        The likelihood at the other parameters.
    residual_variance : float
        σ².

    Returns
    -------
    float
    """
    degrees, residual_sum = likelihood.degrees, at.evaluation.residual_sum
    best = degrees * (1.0 + np.log(residual_sum / degrees))
    own = degrees * np.log(residual_variance) + residual_sum / residual_variance
    return float(at.deviance - best + own)


def unprofiled_gradient(likelihood: NestedLikelihood, at: Evaluated, residual_variance: float) -> FloatArray:
    """Return the gradient of :func:`unprofiled_deviance`.

    Parameters
    ----------
    likelihood : NestedLikelihood
    at : Evaluated
        The likelihood at the other parameters.
    residual_variance : float
        σ².

    Returns
    -------
    ndarray, shape (k + 1,)
        By the parameters of the likelihood, then by log σ².
    """
    degrees, residual_sum = likelihood.degrees, at.evaluation.residual_sum
    by_parameters = at.gradient + (1.0 / residual_variance - degrees / residual_sum) * at.residual_slope
    return np.append(by_parameters, degrees - residual_sum / residual_variance)
