"""The contrast of the raters with latent means, all rows, and reliabilities: severity and ratings in one model.

The other models take ratings as they are, and rows in which every rater answered. Here severity and all ratings are
outcomes of one Gaussian model (:mod:`alliance_outcome.models.measurement_error_model`): means of clients and of
therapists are latent, a row with any value counts, and a rater's reliability at each level, where the study file states
it, enters with its uncertainty. Slopes are the same for all clients. So the model answers whether a difference between
the raters is one of how well, or how often, they were asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from xarray import DataTree

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.measurement_error_rows import (
    CORRECTED,
    LATENT,
    not_sampled,
    refused_rows,
    summarise_variant,
)
from alliance_outcome.design.levels import (
    BETWEEN_CLIENT,
    BETWEEN_CLIENT_POOLED,
    BETWEEN_THERAPIST,
    WITHIN_CLIENT,
)
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.settings import (
    DecisionSettings,
    MeasurementErrorSettings,
    PriorSettings,
    ReliabilitySettings,
    SamplerSettings,
)

if TYPE_CHECKING:
    from alliance_outcome.models.measurement_error_model import Reliabilities
    from alliance_outcome.models.measurement_error_priors import MeasurementErrorPriors, Reliability
    from alliance_outcome.models.multivariate_design import JointDesign, JointSpecification

CHECK_COLUMNS = ("stage", "name", "passed", "value", "limit", "text")

#: Draws and warm-up of a chain are those of the run, but no more than this: with no random effect to be sampled, draws
#: are nearly independent, and a draw takes several times as long as one of the other models.
MAX_DRAWS, MAX_TUNE = 1000, 500


@dataclass(frozen=True)
class MeasurementErrorTables:
    """Estimates and checks of all variants."""

    estimates: pd.DataFrame
    checks: pd.DataFrame


def fit_measurement_error(
    rows: pd.DataFrame,
    measures: pd.DataFrame,
    context: AnalysisContext,
    priors: PriorSettings,
    measurement: MeasurementErrorSettings,
    decision: DecisionSettings,
    sampler: SamplerSettings,
    *,
    seed: int,
    cores: int,
) -> MeasurementErrorTables:
    """Sample the joint model, without and with reliabilities, and say what it says of the raters.

    Parameters
    ----------
    rows : DataFrame
        From :func:`~alliance_outcome.design.rows.incomplete_rows`.
    measures : DataFrame
        What ingest says of each measure: rater, lowest and highest possible value.
    context : AnalysisContext
        Facts of the study.
    priors : PriorSettings
        In units of the outcome; those of alliance follow from the ranges of its forms.
    measurement : MeasurementErrorSettings
        Reliabilities; without any below 1 there is no corrected variant.
    decision : DecisionSettings
        ROPE and the smallest number of therapists for a claim.
    sampler : SamplerSettings
        NUTS implementation (nutpie where it is ``collapsed``, which this model does not have); chains, draws and
        warm-up, the latter two at most :data:`MAX_DRAWS` and :data:`MAX_TUNE`.
    seed, cores : int
        Seed of every random step here, and chains that run at the same time.

    Returns
    -------
    MeasurementErrorTables
        By level: slopes, their differences, latent standard deviations and correlations, and uncertain reliabilities;
        refused rows where the model cannot be fitted.
    """
    from alliance_outcome.models.multivariate_design import joint_design

    specification = joint_specification(context)
    variants = _variants(measurement, context)
    try:
        design = joint_design(rows, specification)
    except UnfittableModel as problem:
        refused = [
            row for name in variants for row in refused_rows(name, specification, context, problem.reason)
        ]
        return _tables(refused, [not_sampled(name, problem.reason) for name in variants])
    joint = joint_priors(priors, measures, context)
    estimates: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for name, tree in _sample(design, joint, variants, sampler, seed, cores):
        found, of_variant = summarise_variant(name, tree, rows, context, decision)
        estimates += found
        checks += of_variant
    return _tables(estimates, checks)


def _tables(estimates: list[dict[str, Any]], checks: list[dict[str, Any]]) -> MeasurementErrorTables:
    """Put rows into their columns."""
    return MeasurementErrorTables(
        estimates_frame(estimates), pd.DataFrame(checks, columns=list(CHECK_COLUMNS))
    )


def _variants(
    measurement: MeasurementErrorSettings, context: AnalysisContext
) -> dict[str, dict[tuple[str, str], Reliability]]:
    """Return what each variant knows of reliability, by its name."""
    declared = declared_reliability(measurement, context)
    imperfect = any(each.known != 1.0 for each in declared.values())
    return {LATENT: {}} | ({CORRECTED: declared} if imperfect else {})


def joint_specification(context: AnalysisContext) -> JointSpecification:
    """Say which columns of the rows are severity, ratings, levels and covariates.

    Parameters
    ----------
    context : AnalysisContext

    Returns
    -------
    JointSpecification
        Covariates of severity are covariates of alliance too, which would otherwise be taken to be independent of them.
        Reliabilities are therefore those given the trend, first severity and the study's covariates; within clients
        only the trend counts, since the others are the same in all of a client's rows.
    """
    from alliance_outcome.models.multivariate_design import JointSpecification

    between = (
        {BETWEEN_CLIENT: "client", BETWEEN_THERAPIST: "therapist"}
        if context.has_therapists
        else {BETWEEN_CLIENT_POOLED: "client"}
    )
    return JointSpecification(
        outcome="outcome",
        raters={rater: f"alliance_{rater}" for rater in context.raters},
        levels={WITHIN_CLIENT: None, **between},
        outcome_covariates=(*context.trend, "severity_first", *context.hybrid_covariates),
    )


def joint_priors(
    priors: PriorSettings, measures: pd.DataFrame, context: AnalysisContext
) -> MeasurementErrorPriors:
    """Turn the study file's priors, and the ranges of the alliance forms, into those of the joint model.

    Parameters
    ----------
    priors : PriorSettings
    measures : DataFrame
    context : AnalysisContext

    Returns
    -------
    MeasurementErrorPriors
        Those of severity are the other models': a standardised slope is the effect of one standard deviation of a
        predictor. Severity given alliance has one scale at all levels, the larger of those for groups and residual.
    """
    from alliance_outcome.models.measurement_error_priors import MeasurementErrorPriors

    alliance = measures[measures["construct"] == "alliance"].set_index("rater")
    ranges = {
        rater: (float(alliance.loc[rater, "low"]), float(alliance.loc[rater, "high"]))
        for rater in context.raters
    }
    likely = (
        priors.intercept_mean - 2.0 * priors.intercept_sd,
        priors.intercept_mean + 2.0 * priors.intercept_sd,
    )
    return replace(
        MeasurementErrorPriors.of_ranges(likely, ranges),
        outcome_effect_sd=priors.effect_sd,
        slope_sd=priors.effect_sd,
        outcome_sd=max(priors.group_sd, priors.residual_sd),
    )


def declared_reliability(
    measurement: MeasurementErrorSettings, context: AnalysisContext
) -> dict[tuple[str, str], Reliability]:
    """Return reliabilities by level and rater, with the levels of the study's model.

    Parameters
    ----------
    measurement : MeasurementErrorSettings
    context : AnalysisContext

    Returns
    -------
    dict
        Where nothing is stated ratings are taken as they are.
    """
    names = {} if context.has_therapists else {BETWEEN_CLIENT: BETWEEN_CLIENT_POOLED}
    return {
        (names.get(level, level), rater): _reliability(stated)
        for rater, levels in measurement.reliability.items()
        for level, stated in levels.items()
    }


def _reliability(stated: ReliabilitySettings) -> Reliability:
    """Turn what the study file states into a number or a distribution."""
    from alliance_outcome.models.measurement_error_priors import Reliability

    if stated.interval is not None:
        low, high = stated.interval
        return Reliability.of_quantiles((0.025, low), (0.975, high))
    if stated.sd is None:
        return Reliability(known=stated.mean)
    return Reliability.of_moments(stated.mean, stated.sd)


def _sample(
    design: JointDesign,
    priors: MeasurementErrorPriors,
    variants: Mapping[str, Reliabilities],
    sampler: SamplerSettings,
    seed: int,
    cores: int,
) -> Iterator[tuple[str, DataTree]]:
    """Sample the posteriors of all variants."""
    from alliance_outcome.models.bayesian import compiled_for_nutpie, sample_with_nutpie, sample_with_pymc
    from alliance_outcome.models.measurement_error_model import build_model, reliability_data

    size = {
        "chains": sampler.chains,
        "draws": min(sampler.draws, MAX_DRAWS),
        "tune": min(sampler.tune, MAX_TUNE),
        "cores": cores,
    }
    seeds = [int(each) for each in np.random.SeedSequence(seed).generate_state(len(variants))]
    compiled: dict[frozenset[tuple[str, str]], Any] = {}
    for (name, reliability), own_seed in zip(variants.items(), seeds, strict=True):
        model = build_model(design, priors, reliability)
        if sampler.engine == "pymc":
            yield name, sample_with_pymc(model, **size, seed=own_seed)
            continue
        # Compiling takes longer than sampling; numbers that are known exactly are data, so they need it only once.
        uncertain = frozenset(key for key, each in reliability.items() if each.known is None)
        if uncertain not in compiled:
            compiled[uncertain] = compiled_for_nutpie(model)
        ready = compiled[uncertain].with_data(**reliability_data(design, reliability))
        yield name, sample_with_nutpie(ready, **size, seed=own_seed)
