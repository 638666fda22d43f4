"""Likelihoods of single rows given the other rows of their unit, for designs in which each row is a person."""

from __future__ import annotations

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray, WorkingRows
from alliance_outcome.models.posterior_draws import ParameterDraws

#: Numbers that an intermediate array holds at most.
CHUNK_NUMBERS = 2_000_000


def row_log_likelihoods(parameters: ParameterDraws, rows: WorkingRows) -> FloatArray:
    """Evaluate the likelihood of each row given all others.

    Parameters
    ----------
    parameters : ParameterDraws
    rows : WorkingRows
        With random effects of units only, and independent residuals.

    Returns
    -------
    ndarray, shape (n_draws, n_rows)
        log p(row | the other rows of its unit, parameters).

    Raises
    ------
    ValueError
        If clusters have random effects too, or residuals are AR(1).

    Notes
    -----
    With K the inverse covariance matrix of a unit's rows, a row given the others is normal with variance 1/K_ii, and
    its mean is off by [K(y - Xβ)]_i/K_ii (Bürkner, Gabry & Vehtari 2021, 10.1007/s00180-020-01045-4). Here
    K = (I - ZCZ')/σ², C = Λ(I + Λ'Z'ZΛ)⁻¹Λ', so that it is never formed.
    """
    if rows.cluster_random.shape[1] or rows.gaps is not None:
        raise ValueError("rows must have random effects at one level and independent residuals")
    found = np.empty((len(parameters), len(rows.outcome)))
    step = max(1, CHUNK_NUMBERS // len(rows.outcome))
    for first in range(0, len(parameters), step):
        chunk = slice(first, first + step)
        found[chunk] = _log_densities(parameters.chosen(chunk), rows)
    return found


def _log_densities(parameters: ParameterDraws, rows: WorkingRows) -> FloatArray:
    random, starts, sizes = rows.unit_random, rows.unit_starts[:-1], np.diff(rows.unit_starts)
    residuals = rows.outcome - parameters.coefficients @ rows.fixed.T
    explaining = _explaining(parameters, rows)
    left, unexplained = residuals.copy(), np.ones_like(residuals)
    for a in range(random.shape[1]):
        score = np.add.reduceat(residuals * random[:, a], starts, axis=1)
        for b in range(random.shape[1]):
            weight = explaining[:, :, a, b]
            left -= random[:, b] * np.repeat(weight * score, sizes, axis=1)
            unexplained -= random[:, a] * random[:, b] * np.repeat(weight, sizes, axis=1)
    variance = parameters.sigma[:, None] ** 2
    return -0.5 * (np.log(2.0 * np.pi * variance / unexplained) + left**2 / (variance * unexplained))


def _explaining(parameters: ParameterDraws, rows: WorkingRows) -> FloatArray:
    """Return C of each draw and unit, shape (n_draws, n_units, q, q)."""
    random = rows.unit_random
    gram = np.add.reduceat(random[:, :, None] * random[:, None, :], rows.unit_starts[:-1], axis=0)
    factor = (parameters.factor_u / parameters.sigma[:, None, None])[:, None]
    transposed = np.swapaxes(factor, 2, 3)
    precision = np.eye(random.shape[1]) + transposed @ gram @ factor
    return factor @ np.linalg.solve(precision, np.broadcast_to(transposed, precision.shape))
