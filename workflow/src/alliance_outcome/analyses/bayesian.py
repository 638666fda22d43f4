"""The Bayesian models of a study: the joint hybrid and early-alliance models on the rows of the multilevel ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from xarray import Dataset, DataTree, open_datatree

from alliance_outcome.analyses.coefficient_rows import role
from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.analyses.model_rows import rows_of
from alliance_outcome.analyses.multilevel import multilevel_model
from alliance_outcome.analyses.rater_contrast import posterior_contrasts
from alliance_outcome.design.levels import level_column, level_sd
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.diagnostics import convergence_checks, predictive_summary, summarise
from alliance_outcome.settings import DecisionSettings, PriorSettings, SamplerSettings

#: Columns of a table of checks.
CHECK_COLUMNS = ["stage", "name", "passed", "value", "limit", "text"]
#: Attribute of a saved posterior that says why there are no draws.
REFUSAL = "refusal"
#: Attribute of a saved posterior that says which sampler drew it.
ENGINE = "engine"


@dataclass(frozen=True)
class BayesianTables:
    """Estimates, contrasts, checks and predictive summaries of both posteriors."""

    estimates: pd.DataFrame
    contrasts: pd.DataFrame
    checks: pd.DataFrame
    predictive: pd.DataFrame


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
    """Sample the posterior of one joint model.

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
        Seed of the sampler.
    cores : int
        Chains that run at the same time.

    Returns
    -------
    DataTree
        Draws, statistics and predictive samples; without a group but with the attribute ``refusal`` where the model
        cannot be fitted.
    """
    from alliance_outcome.models.bayesian import Priors, build_model, sample_posterior

    specification = joint_specification(context, analysis)
    complete = joint_rows(rows, context, analysis)
    if complete.empty:
        return _refused_tree("no rows have all that the model needs", sampler.engine)
    terms = joint_terms(context, analysis)
    fixed = complete[terms]
    client = None if specification.is_early else complete["client"]
    therapist = complete["therapist"] if specification.three_level else None
    try:
        multilevel_model(specification, complete, "outcome", terms)
    except UnfittableModel as error:
        return _refused_tree(str(error), sampler.engine)
    model = build_model(
        complete["outcome"],
        fixed,
        client=client,
        therapist=therapist,
        slopes=specification.slopes,
        scales=level_scales(complete, specification),
        priors=Priors(**priors.model_dump()),
    )
    posterior = sample_posterior(
        model,
        chains=sampler.chains,
        draws=sampler.draws,
        tune=sampler.tune,
        seed=seed,
        sampler=sampler.engine,
        cores=cores,
    )
    posterior.attrs[ENGINE] = sampler.engine
    return posterior


def _refused_tree(reason: str, engine: str) -> DataTree:
    """Return a posterior without draws that says why."""
    return DataTree(Dataset(attrs={REFUSAL: reason, ENGINE: engine}))


def summarise_posteriors(
    paths: Mapping[str, Path],
    rows: Mapping[str, pd.DataFrame],
    context: AnalysisContext,
    decision: DecisionSettings,
) -> BayesianTables:
    """Turn the posteriors of a study into tables.

    Parameters
    ----------
    paths : mapping
        Saved posteriors by analysis (``hybrid``, ``early``).
    rows : mapping
        Rows of the same analyses.
    context : AnalysisContext
        Facts of the study.
    decision : DecisionSettings
        ROPE and the smallest number of therapists for a claim.

    Returns
    -------
    BayesianTables
        A posterior that was refused has refused rows.
    """
    tables = []
    for analysis, path in paths.items():
        with open_datatree(path, engine="h5netcdf") as tree:
            tables.append(
                _summarise(
                    tree.load(), joint_rows(rows[analysis], context, analysis), context, analysis, decision
                )
            )
    return BayesianTables(
        estimates=estimates_frame(row for table in tables for row in table["estimates"]),
        contrasts=estimates_frame(row for table in tables for row in table["contrasts"]),
        checks=pd.DataFrame([row for table in tables for row in table["checks"]], columns=CHECK_COLUMNS),
        predictive=pd.concat([table["predictive"] for table in tables], ignore_index=True),
    )


def _summarise(
    tree: DataTree, rows: pd.DataFrame, context: AnalysisContext, analysis: str, decision: DecisionSettings
) -> dict[str, Any]:
    """Summarise one posterior, or give its refusals."""
    specification = joint_specification(context, analysis)
    base = _base_row(specification, context, tree.attrs[ENGINE])
    if REFUSAL in tree.attrs:
        return _refusals(specification, base, context, tree.attrs[REFUSAL])
    base |= sample_fields(rows, client_rows=specification.is_early)
    summaries = {name: summarise(draws) for name, draws in _quantities(tree).items()}
    estimates = _estimate_rows(summaries, specification, base, context, decision)
    contrasts = _contrast_rows(tree, rows, specification, base, context, decision)
    derived = {f"{row['term']} {row['level']}": row for row in contrasts}
    checks = convergence_checks({**summaries, **derived}, tree)
    if any(check["passed"] is False for check in checks):
        estimates, contrasts = _not_established(estimates), _not_established(contrasts)
    unit = rows["therapist" if specification.is_early and context.has_therapists else "client"]
    return {
        "estimates": estimates,
        "contrasts": contrasts,
        "checks": [_named_check(check, specification) for check in checks],
        "predictive": predictive_summary(tree, unit).assign(model=specification.model),
    }


def _not_established(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark the rows of a posterior that did not pass its checks."""
    return [
        {**row, "status": "not_established", "reason": "the sampler did not pass its checks"} for row in rows
    ]


def _base_row(specification: ModelSpecification, context: AnalysisContext, engine: str) -> dict[str, Any]:
    """Return what all rows of one posterior share."""
    analysis = "early" if specification.is_early else "multilevel"
    return {
        **context.common_fields(analysis),
        "analysis": "bayesian",
        "model": specification.model,
        "engine": engine,
        "estimand": specification.estimand,
        "residual": "independent; client intercept and slopes correlated"
        if specification.slopes
        else "independent",
        "sample": "rows of the joint model",
        "se_kind": "posterior",
        "quantity_kind": "mcmc",
    }


def _quantities(tree: DataTree) -> dict[str, Any]:
    """Name every scalar of a posterior: fixed effects by term, then standard deviations and correlations."""
    posterior = tree.posterior
    found = {
        str(term): posterior["coefficient"].sel(term=term).to_numpy() for term in posterior["term"].to_numpy()
    }
    if "client_sd" in posterior:
        terms = [str(term) for term in posterior["client_term"].to_numpy()]
        for position, term in enumerate(terms):
            found[f"sd(client: {term})"] = posterior["client_sd"].isel(client_term=position).to_numpy()
            for other in range(position if "client_correlation" in posterior else 0):
                pair = posterior["client_correlation"].isel(client_term=position, client_term_b=other)
                found[f"cor(client: {terms[other]}, {term})"] = pair.to_numpy()
    if "therapist_sd" in posterior:
        found["sd(therapist: Intercept)"] = posterior["therapist_sd"].to_numpy()
    found["sd(residual)"] = posterior["residual_sd"].to_numpy()
    return found


def _estimate_rows(
    summaries: Mapping[str, Mapping[str, float]],
    specification: ModelSpecification,
    base: dict[str, Any],
    context: AnalysisContext,
    decision: DecisionSettings,
) -> list[dict[str, Any]]:
    """Return one row per quantity of the posterior."""
    alliance = specification.alliance_terms()
    rows = []
    for term, summary in summaries.items():
        rater, level = alliance.get(term, (None, None))
        is_spread = term.startswith(("sd(", "cor("))
        rows.append(
            {
                **base,
                **summary,
                **status_fields(True, level, base["n_therapists"], decision.min_therapists_for_claim),
                "row_id": row_key("bayesian", specification.model, specification.estimand, rater, term),
                "role": role(specification, level, has_therapists=context.has_therapists),
                "rater": rater,
                "level": level,
                "term": term,
                "unit": f"{context.unit}, standard deviation or correlation"
                if is_spread
                else f"{context.unit} per unit of the term",
                "prob_direction": None if is_spread else summary["prob_direction"],
            }
        )
    return rows


def _contrast_rows(
    tree: DataTree,
    rows: pd.DataFrame,
    specification: ModelSpecification,
    base: dict[str, Any],
    context: AnalysisContext,
    decision: DecisionSettings,
) -> list[dict[str, Any]]:
    """Contrast the raters at every level of one posterior."""
    if len(context.raters) < 2:
        return []
    found = []
    for level in specification.levels:
        terms = {rater: level_column(f"alliance_{rater}", level) for rater in context.raters}
        draws = {
            rater: tree.posterior["coefficient"].sel(term=term).to_numpy() for rater, term in terms.items()
        }
        sds = {rater: level_sd(rows, f"alliance_{rater}", level) for rater in context.raters}
        shared = {
            **base,
            **status_fields(True, level, base["n_therapists"], decision.min_therapists_for_claim),
            "analysis": "contrast",
            "level": level,
            "role": role(specification, level, has_therapists=context.has_therapists),
            "unit": f"{context.unit} per SD of alliance at that level",
        }
        found += posterior_contrasts(draws, sds, shared, summarise, decision.rope)
    return found


def _named_check(check: dict[str, Any], specification: ModelSpecification) -> dict[str, Any]:
    """Name a check of a posterior, so that it gates the answer of its model."""
    return {
        "stage": "bayesian",
        **check,
        "name": f"convergence.{specification.name}.{check['name']}",
        "text": f"{specification.name}: {check['text']}",
    }


def _refusals(
    specification: ModelSpecification, base: dict[str, Any], context: AnalysisContext, reason: str
) -> dict[str, Any]:
    """Return the refused rows of a posterior that could not be sampled."""
    refused = [
        {
            **base,
            "row_id": row_key("bayesian", specification.model, specification.estimand, rater, term),
            "role": role(specification, level, has_therapists=context.has_therapists),
            "rater": rater,
            "level": level,
            "term": term,
            "status": "refused",
            "reason": reason,
        }
        for term, (rater, level) in specification.alliance_terms().items()
    ]
    check = {
        "name": "sampling",
        "passed": None,
        "value": None,
        "limit": None,
        "text": f"not sampled: {reason}",
    }
    return {
        "estimates": refused,
        "contrasts": [],
        "checks": [_named_check(check, specification)],
        "predictive": pd.DataFrame(),
    }
