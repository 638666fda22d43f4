"""Values of the priors of the Bayesian multilevel models, in units of the outcome; nothing here needs a sampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.fitted_state import FloatArray

if TYPE_CHECKING:
    from alliance_outcome.models.random_structure import RandomEffects
    from alliance_outcome.models.standardised_design import StandardisedDesign


@dataclass(frozen=True)
class EffectPrior:
    """A normal prior of the effect of one standard deviation of one predictor.

    Parameters
    ----------
    mean, sd : float
        In units of the outcome.
    """

    mean: float
    sd: float


@dataclass(frozen=True)
class Priors:
    """Weakly informative priors in units of the outcome.

    Parameters
    ----------
    intercept_mean, intercept_sd : float
        Normal prior of the expected outcome at average predictors.
    effect_sd : float
        Standard deviation of the normal(0, ·) prior of the effect of one standard deviation of a predictor.
    group_sd : float
        Scale of the half-normal priors of the standard deviations of random intercepts.
    slope_sd : float
        Scale of the half-normal prior of the standard deviation over units of the effect of one standard deviation.
    residual_sd : float
        Scale of the half-normal prior of the residual standard deviation.
    lkj_eta : float
        Shape of the LKJ prior of correlations of random effects; 1 is uniform over correlation matrices, larger values
        favour small correlations.
    effects : mapping of str to EffectPrior
        Predictors with a prior of their own.
    """

    intercept_mean: float
    intercept_sd: float
    effect_sd: float
    group_sd: float
    slope_sd: float
    residual_sd: float
    lkj_eta: float = 2.0
    effects: Mapping[str, EffectPrior] = field(default_factory=dict)

    def effect_means(self, design: StandardisedDesign) -> FloatArray:
        """Return the means of the priors of predictors, shape (n_terms - 1,)."""
        return np.array([self.effects[t].mean if t in self.effects else 0.0 for t in design.terms[1:]])

    def effect_sds(self, design: StandardisedDesign) -> FloatArray:
        """Return the standard deviations of the priors of predictors, shape (n_terms - 1,)."""
        return np.array(
            [self.effects[t].sd if t in self.effects else self.effect_sd for t in design.terms[1:]]
        )

    def group_scales(self, effects: RandomEffects) -> FloatArray:
        """Return the scales of the half-normal priors of a level's standard deviations, shape (q,)."""
        return np.array([self.group_sd if term == INTERCEPT else self.slope_sd for term in effects.terms])
