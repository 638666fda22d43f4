"""Fit the hybrid and early-alliance models of a study and put them into tidy tables.

Every specification is fitted or refused with its reason; a refusal is a row. Besides the estimates come what the rater
contrast needs: covariances, the standard deviations of the levels, and leave-one-cluster-out replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.model_rows import rows_of
from alliance_outcome.design.levels import BETWEEN_THERAPIST, WITHIN_CLIENT, jackknife_level_sds, scales_frame
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.multilevel import (
    MultilevelFit,
    RankDeficientDesign,
    UnfittableModel,
    fit_multilevel,
)

ENGINE = "mixedlm"


@dataclass(frozen=True)
class FittedModel:
    """A specification with its rows and its fit, or the reason why there is none.

    Parameters
    ----------
    specification : ModelSpecification
        What was asked.
    rows : DataFrame
        The model's rows, split by level.
    fit : MultilevelFit or None
        The fit.
    reason : str or None
        Why there is no fit.
    """

    specification: ModelSpecification
    rows: pd.DataFrame
    fit: MultilevelFit | None
    reason: str | None


@dataclass(frozen=True)
class MultilevelTables:
    """Tables of an analysis: estimates, covariances, scales, replicates and checks."""

    estimates: pd.DataFrame
    covariances: pd.DataFrame
    scales: pd.DataFrame
    replicates: pd.DataFrame
    checks: pd.DataFrame


def fit_specification(
    specification: ModelSpecification,
    rows: pd.DataFrame,
    *,
    outcome: str,
    all_raters: Sequence[str],
    trend: Sequence[str],
    covariates: Sequence[str],
    has_therapists: bool,
) -> FittedModel:
    """Fit one specification on the rows of the joint model.

    Parameters
    ----------
    specification : ModelSpecification
        What to fit.
    rows : DataFrame
        Rows of the analysis; those with a missing term are left out, and the levels are split on what is left.
    outcome : str
        Column of the outcome.
    all_raters : sequence of str
        Raters whose ratings must be complete, whether or not they are in this model.
    trend, covariates : sequence of str
        Further columns.
    has_therapists : bool
        Whether the study has therapist ids.

    Returns
    -------
    FittedModel
        With a reason in place of a fit where the model cannot be fitted.
    """
    if specification.three_level and not has_therapists:
        return FittedModel(specification, rows, None, "the study has no therapist ids")
    complete = rows_of(
        specification, rows, outcome=outcome, all_raters=all_raters, trend=trend, covariates=covariates
    )
    if complete.empty:
        return FittedModel(specification, complete, None, "no rows have all that the model needs")
    try:
        fit = fit_multilevel(
            complete[outcome],
            complete[specification.terms(trend, covariates)],
            client=complete["client"],
            therapist=complete["therapist"] if specification.three_level else None,
            slopes=specification.slopes,
        )
    except (RankDeficientDesign, UnfittableModel) as error:
        return FittedModel(specification, complete, None, str(error))
    return FittedModel(specification, complete, fit, None)


def tabulate(
    models: Sequence[FittedModel], context: AnalysisContext, analysis: str, min_therapists: int
) -> MultilevelTables:
    """Put fits and refusals into tables.

    Parameters
    ----------
    models : sequence of FittedModel
        All fits of one analysis.
    context : AnalysisContext
        Facts of the study.
    analysis : {'multilevel', 'early'}
        Name of the analysis.
    min_therapists : int
        With fewer therapists no between-therapist claim is made.

    Returns
    -------
    MultilevelTables
        Ready to be written.
    """
    fitted = [model for model in models if model.fit is not None]
    rows = [row for model in models for row in _estimate_rows(model, context, analysis, min_therapists)]
    return MultilevelTables(
        estimates=estimates_frame(rows),
        covariances=_stack([_covariance_table(model) for model in fitted]),
        scales=_stack([_scales_table(model) for model in fitted]),
        replicates=_stack([_replicate_table(model) for model in fitted]),
        checks=pd.DataFrame([row for model in models for row in _check_rows(model, analysis)]),
    )


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["model", "estimand", "raters"])
    )


def _identity(model: FittedModel) -> dict[str, str]:
    """Say which fit a row of a helper table belongs to."""
    specification = model.specification
    return {
        "model": specification.model,
        "estimand": specification.estimand,
        "raters": "+".join(specification.raters),
    }


def role(specification: ModelSpecification, level: str | None, *, has_therapists: bool) -> str:
    """Give the role of a coefficient, fixed before the data.

    Parameters
    ----------
    specification : ModelSpecification
        The model.
    level : str or None
        Level of the coefficient.
    has_therapists : bool
        Whether the study has therapist ids; without them the two-level early model is the primary one.

    Returns
    -------
    str
        ``primary``, ``secondary``, ``comparator`` or ``sensitivity`` (DESIGN.md, "Primary").
    """
    if not specification.is_early:
        return "comparator" if level == WITHIN_CLIENT else "secondary"
    primary = "early_three_level" if has_therapists else "early_two_level"
    if specification.model == primary:
        return "primary" if specification.estimand == "unique" else "secondary"
    return "sensitivity"


def _base_row(model: FittedModel, context: AnalysisContext, analysis: str) -> dict[str, Any]:
    """Return what all rows of one fit share."""
    specification = model.specification
    residual = "independent" if model.fit is None else f"independent; {model.fit.structure}"
    return {
        **context.common_fields(analysis),
        "model": specification.model,
        "engine": ENGINE,
        "estimand": specification.estimand,
        "residual": residual,
        "sample": "rows of the joint model",
        "quantity_kind": "deterministic",
        "rater": None if specification.estimand == "unique" else specification.raters[0],
    }


def _estimate_rows(
    model: FittedModel, context: AnalysisContext, analysis: str, min_therapists: int
) -> list[dict[str, Any]]:
    """Return one row per fixed effect and variance, or the refusals of the alliance terms."""
    base = _base_row(model, context, analysis)
    if model.fit is None:
        return _refusal_rows(model, base, context)
    counts = sample_fields(model.rows, client_rows=model.specification.is_early)
    degrees = model.fit.degrees_of_freedom()
    alliance = model.specification.alliance_terms()
    rows = []
    for term in model.fit.params.index:
        rater, level = alliance.get(term, (base["rater"], None))
        wald = model.fit.contrast({term: 1.0}, df=float(degrees[term]))
        row = {
            **base,
            **counts,
            "row_id": row_key(base["model"], base["estimand"], base["rater"], term),
            "role": role(model.specification, level, has_therapists=context.has_therapists),
            "rater": rater,
            "level": level,
            "term": term,
            "unit": f"{context.unit} per unit of the term",
            **wald_fields(wald),
        }
        status = status_fields(
            model.fit.converged, level, counts["n_therapists"], min_therapists, degrees[term]
        )
        rows.append({**row, **status})
    return rows + _variance_rows(model, base, counts, context)


def wald_fields(wald: Any) -> dict[str, Any]:
    """Put a Wald contrast of a fit into the columns of an estimates table."""
    return {
        "estimate": wald.estimate,
        "std_error": wald.std_error,
        "se_kind": "model",
        "df": wald.df,
        "df_method": "inner_outer",
        "statistic": wald.statistic,
        "p_value": wald.p_value,
        "ci_low": wald.ci_low,
        "ci_high": wald.ci_high,
        "ci_level": CI_LEVEL,
        "ci_kind": "wald_t",
    }


def status_fields(
    converged: bool,
    level: str | None,
    n_therapists: int | None,
    min_therapists: int,
    degrees: float = math.inf,
) -> dict[str, str | None]:
    """Say whether an estimate is established.

    Parameters
    ----------
    converged : bool
        Whether the fit met its convergence check.
    level : str or None
        Level of the estimate.
    n_therapists : int or None
        Therapists behind it.
    min_therapists : int
        With fewer no between-therapist claim is made.
    degrees : float
        Degrees of freedom of its interval.

    Returns
    -------
    dict
        ``status`` and ``reason``.
    """
    if not converged:
        return {"status": "not_established", "reason": "the model did not converge"}
    if level == BETWEEN_THERAPIST and (n_therapists or 0) < min_therapists:
        reason = (
            f"{n_therapists} therapists, fewer than the {min_therapists} that a between-therapist claim needs"
        )
        return {"status": "not_established", "reason": reason}
    if degrees < 1:
        return {"status": "not_established", "reason": "no degrees of freedom are left at this level"}
    return {"status": "ok", "reason": None}


def _refusal_rows(model: FittedModel, base: dict[str, Any], context: AnalysisContext) -> list[dict[str, Any]]:
    """Return a refused row for each alliance term that the model would have had."""
    return [
        {
            **base,
            "row_id": row_key(base["model"], base["estimand"], base["rater"], term),
            "role": role(model.specification, level, has_therapists=context.has_therapists),
            "rater": rater,
            "level": level,
            "term": term,
            "status": "refused",
            "reason": model.reason,
        }
        for term, (rater, level) in model.specification.alliance_terms().items()
    ]


def _variance_rows(
    model: FittedModel, base: dict[str, Any], counts: dict[str, int | None], context: AnalysisContext
) -> list[dict[str, Any]]:
    """Return one row per variance and covariance; MixedLM gives them no usable standard error."""
    rows = []
    for component in model.fit.variance_components.itertuples():
        names = component.term if component.kind == "variance" else f"{component.term}, {component.term2}"
        symbol = "var" if component.kind == "variance" else "cov"
        term = f"{symbol}({component.level}: {names})" if component.level != "residual" else "var(residual)"
        rows.append(
            {
                **base,
                **counts,
                "row_id": row_key(base["model"], base["estimand"], base["rater"], term),
                "role": "secondary",
                "level": component.level,
                "term": term,
                "estimate": component.value,
                "unit": f"squared {context.unit} per product of units of the terms",
                **status_fields(model.fit.converged, None, None, 0),
            }
        )
    return rows


def _covariance_table(model: FittedModel) -> pd.DataFrame:
    """Return the covariance of the alliance coefficients, long."""
    terms = list(model.specification.alliance_terms())
    long = model.fit.covariance.loc[terms, terms].rename_axis("term").reset_index()
    long = long.melt(id_vars="term", var_name="term2", value_name="covariance")
    return long.assign(**_identity(model))


def _scales_table(model: FittedModel) -> pd.DataFrame:
    """Return the standard deviations of the model's levels."""
    measures = [f"alliance_{rater}" for rater in model.specification.raters]
    return scales_frame(model.rows, measures, model.specification.levels).assign(**_identity(model))


def _replicate_table(model: FittedModel) -> pd.DataFrame:
    """Return coefficients and standard deviations without each cluster, long; clusters are numbered, not named."""
    specification = model.specification
    cluster = "therapist" if specification.three_level else "client"
    replicates = model.fit.leave_one_cluster_out()
    columns = {("coefficient", term): replicates[term].to_numpy() for term in specification.alliance_terms()}
    for term, (rater, level) in specification.alliance_terms().items():
        sds = jackknife_level_sds(model.rows, f"alliance_{rater}", level, cluster)
        columns[("sd", term)] = sds.to_numpy()
    long = pd.concat(
        [
            pd.DataFrame({"quantity": quantity, "term": term, "cluster": range(len(values)), "value": values})
            for (quantity, term), values in columns.items()
        ]
    )
    return long.assign(**_identity(model))


def _check_rows(model: FittedModel, analysis: str) -> list[dict[str, Any]]:
    """Return the checks of a fit: convergence gates the answer, a boundary is shown."""
    name = model.specification.name
    if model.fit is None:
        return [
            _check(
                analysis, f"convergence.{name}", None, None, None, f"{name} was not fitted: {model.reason}"
            )
        ]
    fit = model.fit
    return [
        _check(
            analysis,
            f"convergence.{name}",
            fit.converged,
            float(fit.attempts["converged"].sum()),
            1.0,
            f"{name}: {int(fit.attempts['converged'].sum())} of {len(fit.attempts)} optimiser runs converged",
        ),
        _check(
            analysis,
            f"boundary.{name}",
            not fit.singular,
            float(len(fit.singular)),
            0.0,
            f"{name}: "
            + (
                f"estimated on the boundary: {', '.join(fit.singular)}"
                if fit.singular
                else "nothing on the boundary"
            ),
        ),
    ]


def _check(
    stage: str, name: str, passed: bool | None, value: float | None, limit: float | None, text: str
) -> dict[str, Any]:
    return {"stage": stage, "name": name, "passed": passed, "value": value, "limit": limit, "text": text}
