"""The joint Bayesian models of a study: which they are, on which rows, and draws from their posteriors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from xarray import Dataset, DataTree

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.model_rows import rows_of
from alliance_outcome.analyses.multilevel import random_structure
from alliance_outcome.data.published_effects import find_published_effect
from alliance_outcome.design.levels import level_sd
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.settings import PriorSettings, SamplerSettings

if TYPE_CHECKING:
    from alliance_outcome.models.bayesian import BayesianMultilevelModel, Sampler
    from alliance_outcome.models.prior_values import Priors

#: Attributes of a saved posterior: why there are no draws; which sampler drew it, and which one checks that; and why
#: either is not the one that was asked for.
REFUSAL, ENGINE, CROSS_ENGINE, FALLBACK = "refusal", "engine", "cross_engine", "fallback"

#: Standard errors of published effects are this much larger as priors.
WIDENED = 2.0


def joint_specification(context: AnalysisContext, analysis: str) -> ModelSpecification:
    """Specify the model that a study's posterior is of.

    Parameters
    ----------
    context : AnalysisContext
        Facts of the study.
    analysis : {'hybrid', 'early'}
        Which analysis.

    Returns
    -------
    ModelSpecification
        All raters together, with a therapist level if there are therapist ids.
    """
    levels = "three_level" if context.has_therapists else "two_level"
    estimand = "unique" if len(context.raters) > 1 else "total"
    return ModelSpecification(f"{analysis}_{levels}", context.raters, estimand, context.has_therapists)


def joint_rows(rows: pd.DataFrame, context: AnalysisContext, analysis: str) -> pd.DataFrame:
    """Return the rows of the joint model, as the multilevel fit has them."""
    covariates = context.hybrid_covariates if analysis == "hybrid" else context.early_covariates
    return rows_of(
        joint_specification(context, analysis),
        rows,
        outcome="outcome",
        all_raters=context.raters,
        trend=context.trend if analysis == "hybrid" else (),
        covariates=covariates,
    )


def joint_terms(context: AnalysisContext, analysis: str) -> list[str]:
    """Return the fixed terms of the joint model."""
    hybrid = analysis == "hybrid"
    covariates = context.hybrid_covariates if hybrid else context.early_covariates
    return joint_specification(context, analysis).terms(context.trend if hybrid else (), covariates)


def level_scales(rows: pd.DataFrame, specification: ModelSpecification) -> dict[str, float]:
    """Return the standard deviation of each alliance term at its level."""
    return {
        term: level_sd(rows, f"alliance_{rater}", level)
        for term, (rater, level) in specification.alliance_terms().items()
    }


def joint_model(
    rows: pd.DataFrame, context: AnalysisContext, analysis: str, priors: PriorSettings
) -> BayesianMultilevelModel:
    """Set up one joint model.

    Parameters
    ----------
    rows : DataFrame
        From :func:`joint_rows`.
    context : AnalysisContext
        Facts of the study.
    analysis : {'hybrid', 'early'}
        Which analysis.
    priors : PriorSettings
        In units of the outcome.

    Returns
    -------
    BayesianMultilevelModel

    Raises
    ------
    UnfittableModel
        If the rows cannot support it.
    """
    from alliance_outcome.models.bayesian import BayesianMultilevelModel

    if rows.empty:
        raise UnfittableModel("no rows have all that the model needs")
    specification = joint_specification(context, analysis)
    groups, random = random_structure(specification, rows)
    return BayesianMultilevelModel(
        rows["outcome"],
        rows[joint_terms(context, analysis)],
        groups=groups,
        random=random,
        priors=declared_priors(rows, specification, priors),
        scales=level_scales(rows, specification),
    )


def declared_priors(rows: pd.DataFrame, specification: ModelSpecification, priors: PriorSettings) -> Priors:
    """Turn the study file's priors into those of a model.

    Parameters
    ----------
    rows : DataFrame
        From :func:`joint_rows`.
    specification : ModelSpecification
        The model.
    priors : PriorSettings
        In units of the outcome.

    Returns
    -------
    Priors
        With published effects where the study asks for them and the estimand is the same: only session-to-session
        effects within clients, in standard deviations of the outcome within clients, with :data:`WIDENED` times their
        standard error, because no two studies are alike.
    """
    from alliance_outcome.models.prior_values import EffectPrior, Priors

    stated = Priors(**priors.model_dump(exclude={"range", "published"}))
    if not priors.published or specification.is_early:
        return stated
    effects = {}
    for term, (rater, level) in specification.alliance_terms().items():
        published = find_published_effect(rater, level, lag=1)
        if published is not None:
            scale = within_client_sd(rows)
            effects[term] = EffectPrior(published.mean * scale, WIDENED * published.sd * scale)
    return replace(stated, effects=effects)


def within_client_sd(rows: pd.DataFrame) -> float:
    """Return the standard deviation of the outcome within clients, √(SS / (rows − clients))."""
    deviations = rows["outcome"] - rows.groupby("client")["outcome"].transform("mean")
    return float(np.sqrt((deviations**2).sum() / (len(rows) - rows["client"].nunique())))


def sample_joint_model(
    rows: pd.DataFrame,
    context: AnalysisContext,
    analysis: str,
    priors: PriorSettings,
    sampler: SamplerSettings,
    *,
    seed: int,
    cores: int,
) -> DataTree:
    """Sample the posterior of one joint model, twice by different samplers.

    Parameters
    ----------
    rows : DataFrame
        Rows of the analysis.
    context : AnalysisContext
        Facts of the study.
    analysis : {'hybrid', 'early'}
        Which analysis.
    priors : PriorSettings
        In units of the outcome.
    sampler : SamplerSettings
        Chains, draws, warm-up and engine.
    seed : int
        Seed of every random step here.
    cores : int
        Chains that run at the same time.

    Returns
    -------
    DataTree
        Groups ``posterior``, ``sample_stats``, ``cross_check`` (draws of the other sampler), ``observed_data``,
        ``prior``, ``prior_predictive``, ``posterior_predictive``, ``log_prior``, ``log_likelihood`` (of all rows
        together) and ``r_squared``; without a group but with the attribute ``refusal`` where the model cannot be
        fitted.
    """
    complete = joint_rows(rows, context, analysis)
    try:
        model = joint_model(complete, context, analysis, priors)
    except UnfittableModel as error:
        return DataTree(Dataset(attrs={REFUSAL: str(error), ENGINE: sampler.engine}))
    return _sampled(model, sampler, seed, cores)


def _sampled(model: BayesianMultilevelModel, sampler: SamplerSettings, seed: int, cores: int) -> DataTree:
    """Draw everything that later stages read."""
    from alliance_outcome.models.bayesian import PREDICTIVE_DRAWS
    from alliance_outcome.models.posterior_draws import log_priors
    from alliance_outcome.models.posterior_r_squared import posterior_r_squared

    seeds = [int(each) for each in np.random.SeedSequence(seed).generate_state(5)]
    other: Sampler = "nutpie" if sampler.engine == "collapsed" else "collapsed"
    settings = {"chains": sampler.chains, "draws": sampler.draws, "tune": sampler.tune, "cores": cores}
    drawn = model.sample(sampler=sampler.engine, seed=seeds[0], **settings)
    checking = model.sample(sampler=other, seed=seeds[1], **settings)
    posterior = drawn.posterior.to_dataset()
    prior = model.prior(PREDICTIVE_DRAWS, seeds[2])
    tree = DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": drawn.sample_stats.to_dataset(),
            "cross_check": checking.posterior.to_dataset(),
            "observed_data": Dataset({"outcome": ("row", model.design.nested.columns.outcome)}),
            "prior": prior,
            "prior_predictive": model.predictive(prior, seed=seeds[3], prior=True),
            "posterior_predictive": model.predictive(posterior, seed=seeds[4]),
            "log_prior": log_priors(posterior, model.design, model.priors),
            "log_likelihood": _whole_likelihood(model, posterior),
            "r_squared": posterior_r_squared(posterior, model.design),
        }
    )
    tree.attrs |= drawn.attrs | {
        ENGINE: drawn.attrs["sampler"],
        CROSS_ENGINE: checking.attrs["sampler"],
        FALLBACK: drawn.attrs.get("fallback", checking.attrs.get("fallback", "")),
    }
    return tree


def _whole_likelihood(model: BayesianMultilevelModel, posterior: Dataset) -> Dataset:
    """Return the logarithm of the likelihood of all rows for each draw; no person's or group's own."""
    from alliance_outcome.models.posterior_draws import group_log_likelihoods

    _, by_cluster = group_log_likelihoods(model.parameters(posterior), model.data)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    return Dataset({"outcome": (("chain", "draw"), by_cluster.sum(axis=1).reshape(shape))})
