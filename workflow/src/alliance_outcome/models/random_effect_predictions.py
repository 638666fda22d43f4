"""Best linear unbiased predictions of random effects, and what is uncertain about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_likelihood import NestedLikelihood


@dataclass(frozen=True)
class Predictions:
    """Predicted random effects, in working coordinates.

    Parameters
    ----------
    unit : ndarray, shape (n_units, q)
    cluster : ndarray, shape (n_clusters, r)
    unit_covariance : ndarray, shape (n_units, q, q)
        Of the prediction errors, fixed effects and variance parameters taken for known.
    cluster_covariance : ndarray, shape (n_clusters, r, r)
    """

    unit: FloatArray
    cluster: FloatArray
    unit_covariance: FloatArray
    cluster_covariance: FloatArray


def predict_effects(likelihood: NestedLikelihood, parameters: FloatArray) -> Predictions:
    """Predict all random effects.

    Parameters
    ----------
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)

    Returns
    -------
    Predictions

    Notes
    -----
    Henderson 1975 (10.2307/2529430); the covariance matrices are lme4's ``condVar``.
    """
    q, r = likelihood.problem.q, likelihood.problem.r
    psi_u, psi_v, _ = likelihood.unpack(parameters)
    if q == 0:
        psi_u = np.empty((0, 0))
    at = likelihood.evaluate(parameters)
    weights, residual = at.evaluation.unit_weights, np.append(-at.coefficients, 1.0)
    cluster = at.evaluation.cluster_weights[:, :, r:] @ residual @ psi_v.T
    sizes = np.diff(likelihood.rows.cluster_starts)
    own_cluster = np.repeat(cluster, sizes, axis=0)
    left = weights[:, :, q + r :] @ residual - np.einsum("iab,ib->ia", weights[:, :, q : q + r], own_cluster)
    spread = at.evaluation.cluster_spread
    link = psi_u @ weights[:, :, q : q + r]
    given_cluster = psi_u - psi_u @ weights[:, :, :q] @ psi_u
    from_cluster = link @ np.repeat(spread, sizes, axis=0) @ np.swapaxes(link, 1, 2)
    return Predictions(
        left @ psi_u.T,
        cluster,
        at.residual_variance * (given_cluster + from_cluster),
        at.residual_variance * spread,
    )
