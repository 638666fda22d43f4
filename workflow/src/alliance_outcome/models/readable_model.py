"""The Bayesian multilevel model with its random effects in plain sight: the reference of the marginal model.

    y = X β + Z_u u + Z_v v + e,   u ~ N(0, Σ_u) per unit,   v ~ N(0, Σ_v) per cluster,   e normal or Student-t

The same priors as :mod:`alliance_outcome.models.marginal_model`, but every random effect is a random variable, sampled
non-centred as a standard normal that is scaled afterwards: slower, and easy to read, change and extend. Heavy-tailed
residuals are at home here: with Student-t residuals the random effects cannot be integrated out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from alliance_outcome.models.bayesian_priors import (
    coordinates,
    declare_fixed_effects,
    declare_level,
    declare_residual,
)
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.marginal_model import quiet_about_blas
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.random_structure import RandomEffects
from alliance_outcome.models.standardised_design import StandardisedDesign

#: Gamma prior of the degrees of freedom of Student-t residuals (Juárez & Steel 2010, 10.1198/jbes.2009.07145).
DF_SHAPE, DF_RATE = 2.0, 0.1

#: Ending of the names of standardised random effects, which are sampled but of no use to anybody afterwards.
STANDARDISED = "_effects_standardised"


def build_readable_model(
    design: StandardisedDesign,
    priors: Priors,
    distribution: Literal["normal", "student_t"] = "normal",
) -> pm.Model:
    """Declare the model.

    Parameters
    ----------
    design : StandardisedDesign
        With independent residuals.
    priors : Priors
    distribution : {'normal', 'student_t'}
        Of the residuals.

    Returns
    -------
    Model
        With the variables of the marginal model and, for Student-t residuals, ``residual_df``; ``residual_sd`` then is
        their scale, not their standard deviation.

    Raises
    ------
    UnfittableModel
        If residuals are autocorrelated.
    """
    if design.residual != "independent":
        raise UnfittableModel("with every random effect in the model residuals must be independent")
    rows = design.rows
    with quiet_about_blas(), pm.Model(coords=coordinates(design)) as model:
        intercept, effect = declare_fixed_effects(design, priors)
        expected = (intercept - design.outcome_mean) + pt.dot(
            pm.Data("predictors", rows.fixed[:, 1:]), effect
        )
        for effects, columns, starts in (
            (design.unit, rows.unit_random, rows.unit_starts),
            (design.cluster, rows.cluster_random, rows.cluster_row_starts),
        ):
            if effects is not None:
                expected += _part(effects, columns, starts, design, priors)
        sigma, _ = declare_residual(design, priors)
        observed = pm.Data("centred_outcome", rows.outcome)
        if distribution == "student_t":
            df = pm.Gamma("residual_df", DF_SHAPE, DF_RATE)
            pm.StudentT("outcome", nu=df, mu=expected, sigma=sigma, observed=observed)
        else:
            pm.Normal("outcome", expected, sigma, observed=observed)
    return model


def _part(
    effects: RandomEffects,
    columns: FloatArray,
    starts: IndexArray,
    design: StandardisedDesign,
    priors: Priors,
) -> pt.TensorVariable:
    """Add the random effects of one level to the open model, and return their part of every row."""
    n_groups = len(starts) - 1
    codes = np.repeat(np.arange(n_groups), np.diff(starts))
    factor = declare_level(effects, design.effect_scales[effects.level], priors)
    standardised = pm.Normal(f"{effects.level}{STANDARDISED}", 0.0, 1.0, shape=(len(effects), n_groups))
    own = pt.dot(factor, standardised)
    return sum(own[position][codes] * columns[:, position] for position in range(len(effects)))
