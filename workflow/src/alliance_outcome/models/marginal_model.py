"""The Bayesian multilevel model in PyMC, random effects integrated out.

    y = X β + Z_u u + Z_v v + e,   u ~ N(0, Σ_u) per unit,   v ~ N(0, Σ_v) per cluster,   e ~ N(0, σ² R)

Priors are ordinary random variables of PyMC; the Gaussian likelihood is one operation with an analytic gradient
(:mod:`alliance_outcome.models.marginal_likelihood`). What is left to sample are the fixed effects and a handful of
standard deviations and correlations, whatever the number of clients.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pymc as pm
import pytensor.tensor as pt

from alliance_outcome.models.bayesian_priors import (
    coordinates,
    declare_fixed_effects,
    declare_level,
    declare_residual,
)
from alliance_outcome.models.marginal_likelihood import MarginalData, marginal_log_likelihood
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.random_structure import RandomEffects
from alliance_outcome.models.standardised_design import StandardisedDesign

#: Arrays of the data in the model, in the order in which the likelihood takes them.
DATA_NAMES = ("gram", "total", "cluster_starts", "joint", "unit_starts", "gaps")


def build_marginal_model(
    design: StandardisedDesign, priors: Priors, data: MarginalData | None = None
) -> pm.Model:
    """Declare the model.

    Parameters
    ----------
    design : StandardisedDesign
    priors : Priors
    data : MarginalData, optional
        The Gram matrices of `design.rows`, where they are at hand already.

    Returns
    -------
    Model
        With ``coefficient`` (dims ``term``, raw units), ``<level>_sd`` and ``<level>_correlation`` of each level,
        ``residual_sd`` and, for AR(1), ``autocorrelation`` one `time_unit` of the design apart. The data are the
        mutable arrays :data:`DATA_NAMES`, so that a compiled model takes another study of the same shape.
    """
    arrays = MarginalData.of(design.rows) if data is None else data
    with quiet_about_blas(), pm.Model(coords=coordinates(design)) as model:
        values = [pm.Data(name, getattr(arrays, name)) for name in DATA_NAMES]
        intercept, effect = declare_fixed_effects(design, priors)
        factors = [_factor(effects, design, priors) for effects in (design.unit, design.cluster)]
        sigma, autocorrelation = declare_residual(design, priors)
        # The outcome of the data is centred.
        coefficients = pt.concatenate([(intercept - design.outcome_mean)[None], effect])
        parameters = [coefficients, *factors, sigma, autocorrelation]
        autocorrelated = design.residual != "independent"
        pm.Potential(
            "log_likelihood",
            marginal_log_likelihood(parameters, values, autocorrelated=autocorrelated),
        )
    return model


def _factor(effects: RandomEffects | None, design: StandardisedDesign, priors: Priors) -> pt.TensorVariable:
    if effects is None:
        return pt.zeros((0, 0))
    return declare_level(effects, design.effect_scales[effects.level], priors)


@contextmanager
def quiet_about_blas() -> Iterator[None]:
    """Silence one warning: PyTensor is slow without a BLAS for C code, but the code here is compiled by Numba."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS installation")
        yield
