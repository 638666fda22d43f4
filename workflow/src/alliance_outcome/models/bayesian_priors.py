"""Priors of the Bayesian multilevel models as random variables."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.random_structure import RandomEffects
from alliance_outcome.models.standardised_design import StandardisedDesign

#: Endings of the names of variables that only declare a prior; nobody reads them afterwards.
STANDARDISED_SD, PARTIAL_CORRELATION = "_standardised_sd", "_partial_correlation"


def declare_fixed_effects(
    design: StandardisedDesign, priors: Priors
) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Declare the expected outcome at average predictors, and the effects of standardised ones, in the open model."""
    intercept = pm.Normal("centred_intercept", priors.intercept_mean, priors.intercept_sd)
    effect = pm.Normal("effect", priors.effect_means(design), priors.effect_sds(design), dims="predictor")
    raw = effect / design.scales
    raw_intercept = intercept - pt.dot(design.centres, raw)
    pm.Deterministic("coefficient", pt.concatenate([raw_intercept[None], raw]), dims="term")
    return intercept, effect


def declare_level(effects: RandomEffects, effect_scales: FloatArray, priors: Priors) -> pt.TensorVariable:
    """Declare the covariance of one level's random effects in the open model.

    Parameters
    ----------
    effects : RandomEffects
    effect_scales : ndarray, shape (q,)
        By what the columns were divided.
    priors : Priors

    Returns
    -------
    TensorVariable, shape (q, q)
        Cholesky factor of the covariance matrix on standardised columns. The model gets ``<level>_sd`` (dims
        ``<level>_term``) and, with several correlated effects, ``<level>_correlation``, both on raw columns.

    Notes
    -----
    The LKJ prior is declared as what it is made of, independent beta distributions of canonical partial correlations
    (Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008). Beside standard deviations they leave a posterior
    without the singular point at which a Cholesky factor with a standard deviation of zero has no correlations.
    """
    level, size = effects.level, len(effects)
    spread = pm.HalfNormal(f"{level}{STANDARDISED_SD}", priors.group_scales(effects), shape=size)
    pm.Deterministic(f"{level}_sd", spread / effect_scales, dims=f"{level}_term")
    if size == 1 or not effects.correlated:
        return pt.diag(spread)
    shapes = np.array(
        [partial_correlation_shape(earlier, size, priors.lkj_eta) for _, earlier in pairs(size)]
    )
    halved = pm.Beta(f"{level}{PARTIAL_CORRELATION}", shapes, shapes)
    factor = correlation_factor(2.0 * halved - 1.0, size)
    pm.Deterministic(f"{level}_correlation", factor @ factor.T, dims=(f"{level}_term", f"{level}_term_b"))
    return spread[:, None] * factor


def pairs(size: int) -> list[tuple[int, int]]:
    """Return pairs of effects, the later one first, in the order of their partial correlations."""
    return [(later, earlier) for later in range(size) for earlier in range(later)]


def partial_correlation_shape(earlier: int, size: int, eta: float) -> float:
    """Return the shape of the symmetric beta distribution of a pair's partial correlation, on (-1, 1)."""
    return eta + 0.5 * (size - 2 - earlier)


def correlation_factor(partial: pt.TensorVariable, size: int) -> pt.TensorVariable:
    """Return the Cholesky factor, shape (q, q), of the correlation matrix with given partial correlations."""
    rows = [[pt.zeros(()) for _ in range(size)] for _ in range(size)]
    left = [pt.ones(()) for _ in range(size)]
    for position, (later, earlier) in enumerate(pairs(size)):
        rows[later][earlier] = partial[position] * left[later]
        left[later] *= pt.sqrt(1.0 - partial[position] ** 2)
    for position in range(size):
        rows[position][position] = left[position]
    return pt.stacklists(rows)


def declare_residual(
    design: StandardisedDesign, priors: Priors
) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Declare the residual standard deviation and, for AR(1), the autocorrelation (uniform; else a constant zero)."""
    sigma = pm.HalfNormal("residual_sd", priors.residual_sd)
    if design.residual == "independent":
        return sigma, pt.as_tensor_variable(0.0)
    lowest = -1.0 if design.residual == "ar1" else 0.0
    return sigma, pm.Uniform("autocorrelation", lowest, 1.0)


def coordinates(design: StandardisedDesign) -> dict[str, list[str]]:
    """Return the coordinates of a model: terms, predictors, and the terms of each level's random effects."""
    found = {"term": list(design.terms), "predictor": list(design.terms[1:])}
    for effects in design.levels:
        found[f"{effects.level}_term"] = found[f"{effects.level}_term_b"] = list(effects.terms)
    return found
