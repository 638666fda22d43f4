"""What the joint Bayesian models of a study say: estimates, contrasts, checks and predictive summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from xarray import DataTree, open_datatree

from alliance_outcome.analyses.coefficient_rows import role
from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.cross_check import cross_check
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.analyses.posteriors import (
    CROSS_ENGINE,
    ENGINE,
    FALLBACK,
    REFUSAL,
    joint_rows,
    joint_specification,
)
from alliance_outcome.analyses.prior_sensitivity import (
    SENSITIVITY_COLUMNS,
    prior_sensitivity,
    sensitivity_check,
)
from alliance_outcome.analyses.rater_contrast import posterior_contrasts
from alliance_outcome.analyses.reporting_checklist import CHECKLIST_COLUMNS, reporting_checklist
from alliance_outcome.design.levels import level_column, level_sd
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.diagnostics import convergence_checks, predictive_summary, summarise
from alliance_outcome.models.explained_variance import TOTAL
from alliance_outcome.settings import DecisionSettings

#: Columns of a table of checks.
CHECK_COLUMNS = ["stage", "name", "passed", "value", "limit", "text"]


@dataclass(frozen=True)
class BayesianTables:
    """Estimates, contrasts, checks, predictive summaries, prior sensitivity and reporting guidelines of posteriors."""

    estimates: pd.DataFrame
    contrasts: pd.DataFrame
    checks: pd.DataFrame
    predictive: pd.DataFrame
    sensitivity: pd.DataFrame
    checklist: pd.DataFrame


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
        sensitivity=_stacked([table["sensitivity"] for table in tables], SENSITIVITY_COLUMNS),
        checklist=_stacked([table["checklist"] for table in tables], CHECKLIST_COLUMNS),
    )


def _stacked(tables: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Stack tables, some of which may be empty."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def _summarise(
    tree: DataTree, rows: pd.DataFrame, context: AnalysisContext, analysis: str, decision: DecisionSettings
) -> dict[str, Any]:
    """Summarise one posterior, or give its refusals."""
    specification = joint_specification(context, analysis)
    base = _base_row(specification, context, tree.attrs[ENGINE])
    if REFUSAL in tree.attrs:
        return _refusals(specification, base, context, tree.attrs[REFUSAL])
    base |= sample_fields(rows, client_rows=specification.is_early)
    quantities = _quantities(tree.posterior) | _explained(tree.r_squared)
    summaries = {name: summarise(draws) for name, draws in quantities.items()}
    shares = _levels_of_shares(tree.r_squared, specification)
    estimates = _estimate_rows(summaries, shares, specification, base, context, decision)
    contrasts = _contrast_rows(tree, rows, specification, base, context, decision)
    derived = {f"{row['term']} {row['level']}": row for row in contrasts}
    checks = convergence_checks({**summaries, **derived}, tree)
    checks.append(_cross_check(tree, rows, specification))
    sensitivity = prior_sensitivity(
        _quantities(tree.posterior) | _differences(tree.posterior, rows, specification),
        tree,
        specification.model,
    )
    if any(check["passed"] is False for check in checks):
        estimates, contrasts = _not_established(estimates), _not_established(contrasts)
    unit = rows["therapist" if specification.is_early and context.has_therapists else "client"]
    predictive = predictive_summary(tree, unit).assign(model=specification.model)
    named = [_named_check(check, specification) for check in checks]
    # Depending on a prior is no failure of sampling: it does not gate the answer.
    told = {"stage": "bayesian", **sensitivity_check(sensitivity)}
    told |= {"name": f"{told['name']}.{specification.name}", "text": f"{specification.name}: {told['text']}"}
    return {
        "estimates": estimates,
        "contrasts": contrasts,
        "checks": [*named, told],
        "predictive": predictive,
        "sensitivity": sensitivity,
        "checklist": reporting_checklist(specification.model, checks, predictive, sensitivity, decision.rope),
    }


def _cross_check(tree: DataTree, rows: pd.DataFrame, specification: ModelSpecification) -> dict[str, Any]:
    """Compare both samplers on every quantity and on D at each level."""
    drawn, checking = (
        _quantities(group) | _differences(group, rows, specification)
        for group in (tree.posterior, tree.cross_check)
    )
    check = cross_check(drawn, checking, (tree.attrs[ENGINE], tree.attrs[CROSS_ENGINE]))
    reason = tree.attrs[FALLBACK]
    return {**check, "text": f"{check['text']}; {reason}"} if reason else check


def _differences(
    posterior: DataTree, rows: pd.DataFrame, specification: ModelSpecification
) -> dict[str, NDArray[np.float64]]:
    """Return draws of D at each level, the first two raters against each other."""
    if len(specification.raters) < 2:
        return {}
    found = {}
    for level in specification.levels:
        standardised = [
            posterior["coefficient"].sel(term=level_column(f"alliance_{rater}", level)).to_numpy()
            * level_sd(rows, f"alliance_{rater}", level)
            for rater in specification.raters[:2]
        ]
        found[f"D {level}"] = standardised[0] - standardised[1]
    return found


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


def _quantities(posterior: DataTree) -> dict[str, NDArray[np.float64]]:
    """Name every scalar of a posterior: fixed effects by term, then standard deviations and correlations."""
    found = {
        str(term): posterior["coefficient"].sel(term=term).to_numpy() for term in posterior["term"].to_numpy()
    }
    for level in ("client", "therapist"):
        if f"{level}_sd" not in posterior:
            continue
        terms = [str(term) for term in posterior[f"{level}_term"].to_numpy()]
        for position, term in enumerate(terms):
            found[f"sd({level}: {term})"] = (
                posterior[f"{level}_sd"].isel({f"{level}_term": position}).to_numpy()
            )
            for other in range(position if f"{level}_correlation" in posterior else 0):
                pair = {f"{level}_term": position, f"{level}_term_b": other}
                found[f"cor({level}: {terms[other]}, {term})"] = (
                    posterior[f"{level}_correlation"].isel(pair).to_numpy()
                )
    found["sd(residual)"] = posterior["residual_sd"].to_numpy()
    return found


def _explained(r_squared: DataTree) -> dict[str, NDArray[np.float64]]:
    """Name the R² measures of a posterior as those of the multilevel models are."""
    values = r_squared["r_squared"]
    return {
        str(measure).lower(): values.sel(measure=measure).to_numpy()
        for measure in r_squared["measure"].to_numpy()
    }


def _levels_of_shares(r_squared: DataTree, specification: ModelSpecification) -> dict[str, str]:
    """Return the study's level of each R² measure that is of one level's variance."""
    measures = [str(each).lower() for each in r_squared["measure"].to_numpy()]
    levels = [str(each) for each in r_squared["measure_level"].to_numpy()]
    # The innermost comes first, as in the specification.
    ordered = list(dict.fromkeys(level for level in levels if level != TOTAL))
    return {
        measure: specification.levels[ordered.index(level)]
        for measure, level in zip(measures, levels, strict=True)
        if level != TOTAL
    }


def _estimate_rows(
    summaries: Mapping[str, Mapping[str, float]],
    shares: Mapping[str, str],
    specification: ModelSpecification,
    base: dict[str, Any],
    context: AnalysisContext,
    decision: DecisionSettings,
) -> list[dict[str, Any]]:
    """Return one row per quantity of the posterior; `shares` has the levels of those that are shares of one."""
    alliance = specification.alliance_terms()
    rows = []
    for term, summary in summaries.items():
        rater, level = alliance.get(term, (None, shares.get(term)))
        is_share, is_spread = term.startswith("r2_"), term.startswith(("sd(", "cor(", "r2_"))
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
                "unit": _unit(context, is_share=is_share, is_spread=is_spread),
                "prob_direction": None if is_spread else summary["prob_direction"],
            }
        )
    return rows


def _unit(context: AnalysisContext, *, is_share: bool, is_spread: bool) -> str:
    """Say what a quantity is measured in."""
    if is_share:
        return "share of the outcome's variance, in all or at a level"
    if is_spread:
        return f"{context.unit}, standard deviation or correlation"
    return f"{context.unit} per unit of the term"


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
        "sensitivity": pd.DataFrame(),
        "checklist": pd.DataFrame(),
    }
