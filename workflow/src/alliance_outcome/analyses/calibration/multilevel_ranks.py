"""Simulation-based calibration of the multilevel model, sampled by the collapsed sampler."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from arviz_stats import rhat
from xarray import DataArray, Dataset

from alliance_outcome.analyses.calibration.designs import (
    CHAINS,
    DESIGNS,
    KEEP_EVERY,
    PRIORS,
    RANK_DRAWS,
    SEED,
    WARM_UP,
    RankDesign,
)
from alliance_outcome.analyses.calibration.ranks import flat_quantities, rank_rows, tabulated_ranks
from alliance_outcome.analyses.coverage.designs import RATERS, MultilevelDesign
from alliance_outcome.analyses.coverage.intervals import SPECIFICATIONS
from alliance_outcome.analyses.coverage.multilevel_studies import simulate_study
from alliance_outcome.analyses.multilevel import random_structure
from alliance_outcome.analyses.posteriors import level_scales
from alliance_outcome.design.levels import level_column
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.bayesian import SAMPLER, BayesianMultilevelModel
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.posterior_draws import group_log_likelihoods
from alliance_outcome.models.prior_values import Priors

#: What the true values of a data set are compared by, beside parameters and D (Modrák et al. 2023, 10.1214/23-BA1404).
LOG_LIKELIHOOD = "log_likelihood"


def predictor_rows(design: RankDesign) -> tuple[pd.DataFrame, ModelSpecification, list[str]]:
    """Return rows with the predictors of a design, the model's specification and its fixed terms."""
    specification, trend = SPECIFICATIONS[design.analysis]
    study = simulate_study(MultilevelDesign(design.therapists), 0)
    return getattr(study, design.analysis), specification, specification.terms(trend, ())


def model_of(
    rows: pd.DataFrame,
    outcome: FloatArray,
    specification: ModelSpecification,
    terms: list[str],
    priors: Priors,
    residual: str = "independent",
) -> BayesianMultilevelModel:
    """Set up the model of a data set, as the analyses of a study do.

    Parameters
    ----------
    rows : DataFrame
    outcome : ndarray, shape (n_rows,)
    specification : ModelSpecification
    terms : list of str
        Fixed terms.
    priors : Priors
    residual : {'independent', 'ar1'}

    Returns
    -------
    BayesianMultilevelModel
    """
    groups, random = random_structure(specification, rows)
    return BayesianMultilevelModel(
        outcome,
        rows[terms],
        groups=groups,
        random=random,
        priors=priors,
        scales=level_scales(rows, specification),
        residual=residual,
        # Rows are complete sessions: numbers have gaps.
        time=np.exp(rows["log_session"]).round() if residual == "ar1" else None,
    )


def differences(
    draws: Dataset, rows: pd.DataFrame, specification: ModelSpecification
) -> dict[str, DataArray]:
    """Return D of each level, with the standard deviations of the rows.

    Parameters
    ----------
    draws : Dataset
        With ``coefficient``.
    rows : DataFrame
    specification : ModelSpecification

    Returns
    -------
    dict of str to DataArray
        By level.
    """
    scales = level_scales(rows, specification)
    first, second = RATERS
    found = {}
    for level in specification.levels:
        terms = [level_column(f"alliance_{rater}", level) for rater in (first, second)]
        betas = [scales[term] * draws["coefficient"].sel(term=term, drop=True) for term in terms]
        found[level] = betas[0] - betas[1]
    return found


def multilevel_ranks(name: str, simulations: Iterable[int]) -> pd.DataFrame:
    """Rank true values in simulated data sets.

    Parameters
    ----------
    name : str
        Of a :class:`~alliance_outcome.analyses.calibration.designs.RankDesign`.
    simulations : iterable of int
        Numbers of the data sets; each has random numbers of its own.

    Returns
    -------
    DataFrame
        :data:`~alliance_outcome.analyses.calibration.ranks.RANK_COLUMNS`, one row per data set and quantity: elements
        of parameters, D of each level, and the logarithm of the likelihood of all rows. Where the collapsed sampler
        does not cover a posterior NUTS takes over, as in a study.
    """
    design = DESIGNS[name]
    rows, specification, terms = predictor_rows(design)
    # The outcome is of no account to the prior.
    template = model_of(rows, rows["outcome"].to_numpy(), specification, terms, PRIORS, design.residual)
    found = []
    for number in simulations:
        seeds = _seeds(design, number)
        truth = template.prior(1, seeds[0])
        outcome = template.predictive(truth, seed=seeds[1], prior=True)["outcome"].to_numpy().ravel()
        model = model_of(rows, outcome, specification, terms, PRIORS, design.residual)
        tree = model.sample(sampler="collapsed", chains=CHAINS, draws=RANK_DRAWS, tune=WARM_UP, seed=seeds[2])
        posterior = tree.posterior.dataset
        ranked = rank_rows(
            {key: float(values[0]) for key, values in quantities(truth, model, rows, specification).items()},
            quantities(posterior.isel(draw=slice(None, None, KEEP_EVERY)), model, rows, specification),
        )
        facts = {
            "design": name,
            "simulation": number,
            "sampler": tree.attrs[SAMPLER],
            "largest_r_hat": float(rhat(posterior["coefficient"]).max()),
        }
        found += [facts | row for row in ranked]
    return tabulated_ranks(found)


def _seeds(design: RankDesign, number: int) -> list[int]:
    entropy = [SEED, list(DESIGNS).index(design.name), number]
    return [int(each) for each in np.random.SeedSequence(entropy).generate_state(3)]


def quantities(
    draws: Dataset, model: BayesianMultilevelModel, rows: pd.DataFrame, specification: ModelSpecification
) -> dict[str, FloatArray]:
    """Return draws of everything that is ranked.

    Parameters
    ----------
    draws : Dataset
        Parameters, of the prior or a posterior.
    model : BayesianMultilevelModel
        The likelihood is that of its data.
    rows : DataFrame
    specification : ModelSpecification

    Returns
    -------
    dict of str to ndarray, shape (n_chains * n_draws,)
    """
    # Parameters follow from these, which the collapsed sampler does not have.
    sampled = ("centred_intercept", "effect", "_partial_correlation")
    kept = [name for name in draws.data_vars if not str(name).endswith(sampled)]
    found = flat_quantities(draws[kept])
    for level, difference in differences(draws, rows, specification).items():
        found[f"difference {level}"] = difference.transpose("chain", "draw").to_numpy().ravel()
    _, by_cluster = group_log_likelihoods(model.parameters(draws), model.data)
    return found | {LOG_LIKELIHOOD: by_cluster.sum(axis=1)}
