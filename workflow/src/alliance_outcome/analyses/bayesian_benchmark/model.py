"""The model that every contestant samples, on data of :mod:`alliance_outcome.analyses.engine_benchmark.designs`.

y ~ x + z + w with correlated random intercepts and slopes on x of clients and random intercepts of therapists; each
predictor is standardised over the units of its own level, and all contestants have the same priors. bambi alone has no
correlation between random effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from arviz_stats import ess, rhat
from xarray import Dataset, DataTree

from alliance_outcome.analyses.engine_benchmark.designs import GROUPS
from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.prior_values import Priors

#: In units of the outcome, whose residual standard deviation is 1.
PRIORS = Priors(
    intercept_mean=2.0, intercept_sd=2.0, effect_sd=1.0, group_sd=1.0, slope_sd=0.5, residual_sd=1.0
)

#: Predictors, and the unit over which each is standardised; none: over rows.
PREDICTORS = {"x": None, "z": "client", "w": "therapist"}
RANDOM = {"client": [INTERCEPT, "x"], "therapist": [INTERCEPT]}


@dataclass(frozen=True)
class Draws:
    """How many draws are asked for.

    Parameters
    ----------
    chains, warm_up, kept : int
        Chains, and warm-up draws and kept draws of each.
    """

    chains: int
    warm_up: int
    kept: int


@dataclass(frozen=True)
class Sampled:
    """A posterior, and what it took.

    Parameters
    ----------
    preparing_seconds : float
        Time before the first draw: to set the model up, and to compile it.
    sampling_seconds : float
        Wall time of warm-up and draws.
    smallest_ess : float
        Smallest bulk effective sample size of fixed effects, standard deviations and correlations.
    largest_r_hat : float
        Of the same.
    divergences : int
    """

    preparing_seconds: float
    sampling_seconds: float
    smallest_ess: float
    largest_r_hat: float
    divergences: int


def standardised(data: pd.DataFrame) -> pd.DataFrame:
    """Centre each predictor over rows, and divide it by its standard deviation over the units of its level."""
    found = data.copy()
    for name, level in PREDICTORS.items():
        units = data if level is None else data.drop_duplicates(level)
        found[name] = (data[name] - data[name].mean()) / units[name].std()
    return found


def bayesian_model(data: pd.DataFrame) -> BayesianMultilevelModel:
    """Set up the model of this package.

    Parameters
    ----------
    data : DataFrame
        From :func:`standardised`.

    Returns
    -------
    BayesianMultilevelModel
    """
    return BayesianMultilevelModel(
        data["y"],
        data.assign(**{INTERCEPT: 1.0})[[INTERCEPT, *PREDICTORS]],
        groups={level: data[level] for level in GROUPS},
        random=RANDOM,
        priors=PRIORS,
        scales=dict.fromkeys(PREDICTORS, 1.0),
    )


def parameters(posterior: Dataset) -> Dataset:
    """Keep what effective sample sizes are taken of in a posterior of this package."""
    kept: dict[str, Any] = {
        name: posterior[name] for name in ("coefficient", "client_sd", "therapist_sd", "residual_sd")
    }
    correlation = posterior["client_correlation"].values[..., 1, 0]
    return Dataset({**kept, "client_correlation": (("chain", "draw"), correlation)})


def judge(posterior: Dataset) -> tuple[float, float]:
    """Return the smallest bulk effective sample size and the largest R-hat of a posterior's variables."""
    sizes, scale_reductions = ess(posterior, method="bulk"), rhat(posterior)
    return (
        min(float(each.min()) for each in sizes.data_vars.values()),
        max(float(each.max()) for each in scale_reductions.data_vars.values()),
    )


def sampled(tree: DataTree, preparing_seconds: float, sampling_seconds: float) -> Sampled:
    """Judge a posterior of this package."""
    statistics = tree.sample_stats
    divergences = int(statistics["diverging"].sum()) if "diverging" in statistics else 0
    return Sampled(
        preparing_seconds, sampling_seconds, *judge(parameters(tree.posterior.dataset)), divergences
    )
