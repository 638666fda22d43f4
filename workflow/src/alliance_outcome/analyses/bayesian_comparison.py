"""Which raters' alliance predicts clients and therapists that the model has not seen.

The models of each rater alone and of all raters together are held against each other on the same rows by their expected
log predictive density (elpd) of left-out clients and of left-out therapists. A model with more raters may predict
better because its raters tell more, or no better because they tell the same: neither says whose view matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.multilevel import random_structure
from alliance_outcome.analyses.posteriors import (
    declared_priors,
    joint_rows,
    joint_specification,
    level_scales,
)
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.diagnostics import convergence_checks, summarise
from alliance_outcome.provenance import derive_seed
from alliance_outcome.settings import PriorSettings, SamplerSettings

if TYPE_CHECKING:
    from xarray import DataTree

    from alliance_outcome.models.bayesian import BayesianMultilevelModel
    from alliance_outcome.models.leave_group_out import LeftOutPrediction

#: With fewer therapists the difference between models in predicting left-out therapists carries no decision.
MIN_THERAPISTS = 50
#: Differences smaller than this, or than this many standard errors, do not distinguish models: their standard errors
#: are too small there (Sivula, Magnusson, Matamoros & Vehtari 2020, arXiv:2008.10296).
MIN_DIFFERENCE, MIN_STANDARD_ERRORS = 4.0, 2.0

#: What can be said of a model: the one with the highest elpd, against which the others are held; and of the others.
REFERENCE, NOT_DISTINGUISHED, WORSE = "reference", "not distinguished", "predicts worse"
#: What is said where nothing may be.
NO_DECISION = "no decision"

#: Columns of the comparison. ``raters`` tells the models of an analysis apart; ``reference`` names the raters of the
#: model that ``elpd_diff`` is from.
COMPARISON_COLUMNS = [
    *("study", "analysis", "model", "raters", "left_out", "n_groups", "elpd", "se", "p_loo"),
    *("reference", "elpd_diff", "se_diff", "weight", "largest_k", "k_threshold", "n_refitted"),
    *("sampler", "fallback", "decision", "status", "reason"),
]

#: What is left out, the innermost level first.
LEFT_OUT = ("client", "therapist")


@dataclass(frozen=True)
class Sampling:
    """How posteriors are sampled.

    Parameters
    ----------
    settings : SamplerSettings
        Chains and draws; warm-up counts only where NUTS takes over.
    seed : int
        Of one analysis; every model and every refit derives its own from it by name.
    cores : int
    """

    settings: SamplerSettings
    seed: int
    cores: int


def compare_bayesian_models(
    rows: Mapping[str, pd.DataFrame],
    context: AnalysisContext,
    priors: PriorSettings,
    sampling: Mapping[str, Sampling],
) -> pd.DataFrame:
    """Compare joint and single-rater models of a study.

    Parameters
    ----------
    rows : mapping
        Rows by analysis (``hybrid``, ``early``).
    context : AnalysisContext
        Facts of the study.
    priors : PriorSettings
        In units of the outcome.
    sampling : mapping
        By analysis.

    Returns
    -------
    DataFrame
        Columns :data:`COMPARISON_COLUMNS`, one row per analysis, left-out level and model; what is refused has a row
        with its reason.
    """
    found = []
    for analysis, table in rows.items():
        if len(context.raters) < 2:
            reason = "one rater: there is no other model to compare with"
            found += _refusals(joint_specification(context, analysis), context, analysis, reason)
            continue
        found += _compare_analysis(
            joint_rows(table, context, analysis), context, analysis, priors, sampling[analysis]
        )
    return pd.DataFrame(found, columns=COMPARISON_COLUMNS)


def _compare_analysis(
    rows: pd.DataFrame, context: AnalysisContext, analysis: str, priors: PriorSettings, sampling: Sampling
) -> list[dict[str, Any]]:
    """Sample every model of one analysis, and compare those that could be."""
    joint = joint_specification(context, analysis)
    alone = [replace(joint, raters=(rater,), estimand="total") for rater in joint.raters]
    table: list[dict[str, Any]] = []
    predictions: dict[tuple[str, str], LeftOutPrediction] = {}
    for specification in (*alone, joint):
        try:
            model = rater_model(rows, specification, context, analysis, priors)
        except UnfittableModel as error:
            table += _refusals(specification, context, analysis, error.reason)
            continue
        own = _predict(model, specification, context, sampling)
        table += _prediction_rows(own, specification, context, analysis)
        predictions |= {(_raters(specification), level): each for level, each in own.predictions.items()}
    return [row for level in LEFT_OUT for row in _compared(table, predictions, level)]


def rater_model(
    rows: pd.DataFrame,
    specification: ModelSpecification,
    context: AnalysisContext,
    analysis: str,
    priors: PriorSettings,
) -> BayesianMultilevelModel:
    """Set up the Bayesian model of some of the raters.

    Parameters
    ----------
    rows : DataFrame
        Rows of the joint model, whatever the raters.
    specification : ModelSpecification
        Its raters and levels.
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
    hybrid = analysis == "hybrid"
    covariates = context.hybrid_covariates if hybrid else context.early_covariates
    groups, random = random_structure(specification, rows)
    return BayesianMultilevelModel(
        rows["outcome"],
        rows[specification.terms(context.trend if hybrid else (), covariates)],
        groups=groups,
        random=random,
        priors=declared_priors(rows, specification, priors),
        scales=level_scales(rows, specification),
    )


@dataclass(frozen=True, eq=False)
class _Sampled:
    """What one model predicts by left-out level, who sampled it and why, and whether its checks passed."""

    predictions: dict[str, LeftOutPrediction]
    sampler: str
    fallback: str | None
    passed: bool


def _predict(
    model: BayesianMultilevelModel,
    specification: ModelSpecification,
    context: AnalysisContext,
    sampling: Sampling,
) -> _Sampled:
    """Sample one model, and leave out each client and each therapist in turn."""
    from alliance_outcome.models.bayesian import FALLBACK, SAMPLER
    from alliance_outcome.models.leave_group_out import leave_out

    settings, raters = sampling.settings, _raters(specification)
    tree = model.sample(
        sampler="collapsed",
        chains=settings.chains,
        draws=settings.draws,
        tune=settings.tune,
        seed=derive_seed(sampling.seed, raters),
        cores=sampling.cores,
    )
    predictions = {
        level: leave_out(
            model,
            tree.posterior.to_dataset(),
            level,
            seed=derive_seed(sampling.seed, raters, level),
            tune=settings.tune,
            cores=sampling.cores,
        )
        for level in LEFT_OUT[: 1 + context.has_therapists]
    }
    return _Sampled(predictions, tree.attrs[SAMPLER], tree.attrs.get(FALLBACK), _passes(tree))


def _passes(tree: DataTree) -> bool:
    """Check the sampler on every coefficient and standard deviation."""
    names = [name for name in tree.posterior.data_vars if name == "coefficient" or name.endswith("_sd")]
    summaries = {}
    for name in names:
        draws = tree.posterior[name].to_numpy()
        for position, each in enumerate(draws.reshape(*draws.shape[:2], -1).transpose(2, 0, 1)):
            summaries[f"{name} {position}"] = summarise(each)
    return all(check["passed"] for check in convergence_checks(summaries, tree))


def _raters(specification: ModelSpecification) -> str:
    """Name the raters of a model in one word."""
    return "+".join(specification.raters)


def _base_row(
    specification: ModelSpecification, context: AnalysisContext, analysis: str, left_out: str
) -> dict[str, Any]:
    """Return what a row states whether or not it has numbers."""
    return {
        "study": context.study,
        "analysis": analysis,
        "model": specification.model,
        "raters": _raters(specification),
        "left_out": left_out,
    }


def _refusals(
    specification: ModelSpecification, context: AnalysisContext, analysis: str, reason: str
) -> list[dict[str, Any]]:
    """Return the refused rows of one model."""
    return [
        {**_base_row(specification, context, analysis, level), "status": "refused", "reason": reason}
        for level in LEFT_OUT
    ]


def _prediction_rows(
    sampled: _Sampled, specification: ModelSpecification, context: AnalysisContext, analysis: str
) -> list[dict[str, Any]]:
    """Return the rows of one model, before it is compared with others."""
    found = []
    for level in LEFT_OUT:
        base = _base_row(specification, context, analysis, level)
        if level in sampled.predictions:
            found.append({**base, **_numbers(sampled.predictions[level], sampled)})
        else:
            found.append({**base, "status": "refused", "reason": "the study has no therapist ids"})
    return found


def _numbers(prediction: LeftOutPrediction, sampled: _Sampled) -> dict[str, Any]:
    """Return the columns that one model fills alone."""
    reasons = [sampled.fallback, *prediction.fallbacks]
    refitted = len(prediction.fallbacks)
    by_nuts = f", {refitted} refits by nutpie" if refitted and sampled.sampler == "collapsed" else ""
    return {
        "n_groups": len(prediction.pareto_k),
        "elpd": float(prediction.elpd.elpd),
        "se": float(prediction.elpd.se),
        "p_loo": float(prediction.elpd.p),
        "largest_k": float(prediction.pareto_k.max()),
        "k_threshold": prediction.threshold,
        "n_refitted": len(prediction.refitted),
        "sampler": f"{sampled.sampler}{by_nuts}",
        "fallback": "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None,
        "decision": NO_DECISION,
        "status": "ok" if sampled.passed else "not_established",
        "reason": None if sampled.passed else "the sampler did not pass its checks",
    }


def _compared(
    table: list[dict[str, Any]], predictions: Mapping[tuple[str, str], LeftOutPrediction], level: str
) -> list[dict[str, Any]]:
    """Fill in differences, weights and decisions of the models of one analysis and left-out level."""
    from alliance_outcome.models.leave_group_out import compare_predictions

    rows = [row for row in table if row["left_out"] == level]
    usable = {row["raters"]: predictions[row["raters"], level] for row in rows if row["status"] == "ok"}
    if len(usable) < 2:
        return rows
    compared = compare_predictions(usable)
    reference = compared.index[0]
    return [
        _with_difference(row, compared.loc[row["raters"]], reference) if row["raters"] in usable else row
        for row in rows
    ]


def _with_difference(row: dict[str, Any], compared: pd.Series, reference: str) -> dict[str, Any]:
    numbers = {name: float(compared[name]) for name in ("elpd_diff", "se_diff", "weight")}
    decision = (
        NO_DECISION
        if row["left_out"] == "therapist" and row["n_groups"] < MIN_THERAPISTS
        else REFERENCE
        if row["raters"] == reference
        else decide(numbers["elpd_diff"], numbers["se_diff"])
    )
    return {**row, **numbers, "reference": reference, "decision": decision}


def decide(difference: float, std_error: float) -> str:
    """Say in words what a difference in elpd from the best model is worth.

    Parameters
    ----------
    difference : float
        Not positive.
    std_error : float
        Of the difference.

    Returns
    -------
    str
        :data:`NOT_DISTINGUISHED` if it is smaller than 4, or than 2 standard errors; else :data:`WORSE`.
    """
    size = abs(difference)
    if size < MIN_DIFFERENCE or size < MIN_STANDARD_ERRORS * std_error:
        return NOT_DISTINGUISHED
    return WORSE
