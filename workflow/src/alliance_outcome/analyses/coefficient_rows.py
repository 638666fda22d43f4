"""Rows of the estimates tables of the multilevel and early analyses: fixed effects and variances, or refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alliance_outcome.analyses.context import AnalysisContext, StudyAnalysis, sample_fields
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.inference import Inference, status_fields
from alliance_outcome.analyses.multilevel import ENGINE, FittedModel
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.contrast import CI_LEVEL


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


def role_of(inference: Inference, model: FittedModel, level: str | None, context: AnalysisContext) -> str:
    """Give the role of a coefficient; whatever repeats another row is a sensitivity row."""
    if not inference.is_own:
        return "sensitivity"
    return role(model.specification, level, has_therapists=context.has_therapists)


def base_row(model: FittedModel, analysis: StudyAnalysis) -> dict[str, Any]:
    """Return what all rows of one fit share."""
    specification = model.specification
    return {
        **analysis.context.common_fields(analysis.name),
        "model": specification.model,
        "engine": ENGINE,
        "estimand": specification.estimand,
        "residual": residual_field(model, "independent"),
        "sample": "rows of the joint model",
        "quantity_kind": "deterministic",
        "rater": None if specification.estimand == "unique" else specification.raters[0],
    }


def residual_field(model: FittedModel, residual: str) -> str:
    """Say which residuals and random effects a row rests on."""
    return residual if model.fit is None else f"{residual}; {model.fit.design.structure.describe()}"


def sample_of(model: FittedModel) -> dict[str, int | None]:
    """Count sessions, clients and therapists behind a model."""
    return sample_fields(model.rows, client_rows=model.specification.is_early)


def estimate_rows(
    model: FittedModel, inferences: Sequence[Inference], analysis: StudyAnalysis
) -> list[dict[str, Any]]:
    """Return one row per fixed effect and variance, then what repeats the alliance coefficients; or the refusals.

    Parameters
    ----------
    model : FittedModel
        A fit, or why there is none.
    inferences : sequence of Inference
        How the fixed effects are tested, the model's own way first; empty without a fit.
    analysis : StudyAnalysis

    Returns
    -------
    list of dict
        Rows for the estimates table.
    """
    base = base_row(model, analysis)
    if model.fit is None:
        return _refusal_rows(model, base, analysis.context)
    base |= sample_of(model)
    rows = []
    for inference in inferences:
        rows += _coefficient_rows(model, inference, base, analysis)
        if inference.is_own:
            rows += _variance_rows(model, base, analysis.context)
        elif inference.residual == "ar1" and inference.result is not None:
            rows.append(_autocorrelation_row(model, inference, base))
    return rows


def _coefficient_rows(
    model: FittedModel, inference: Inference, base: dict[str, Any], analysis: StudyAnalysis
) -> list[dict[str, Any]]:
    """Return a row for every term; for a repetition, for every alliance term."""
    alliance = model.specification.alliance_terms()
    rows = []
    for term in model.fit.params.index if inference.is_own else alliance:
        rater, level = alliance.get(term, (base["rater"], None))
        rows.append(
            {
                **base,
                "row_id": row_key(base["model"], base["estimand"], base["rater"], term, inference.suffix),
                "role": role_of(inference, model, level, analysis.context),
                "residual": residual_field(model, inference.residual),
                "rater": rater,
                "level": level,
                "term": term,
                "unit": f"{analysis.context.unit} per unit of the term",
                **inference.fields(
                    {term: 1.0},
                    level=level,
                    n_therapists=base["n_therapists"],
                    min_therapists=analysis.min_therapists,
                ),
            }
        )
    return rows


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
    model: FittedModel, base: dict[str, Any], context: AnalysisContext
) -> list[dict[str, Any]]:
    """Return one row per variance and covariance, as estimates alone."""
    rows = []
    for component in model.fit.variance_components.itertuples():
        names = component.term if component.kind == "variance" else f"{component.term}, {component.term2}"
        symbol = "var" if component.kind == "variance" else "cov"
        term = f"{symbol}({component.level}: {names})" if component.level != "residual" else "var(residual)"
        rows.append(
            {
                **base,
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


def _autocorrelation_row(model: FittedModel, inference: Inference, base: dict[str, Any]) -> dict[str, Any]:
    """Return the row of φ, the correlation of residuals one slot apart, with its interval on Fisher's z."""
    interval = inference.result.confint("wald", CI_LEVEL, df="normal").loc["ar1"]
    return {
        **base,
        "row_id": row_key(base["model"], base["estimand"], base["rater"], "phi", inference.suffix),
        "role": "sensitivity",
        "residual": residual_field(model, inference.residual),
        "level": "residual",
        "term": "phi(residual)",
        "estimate": interval["estimate"],
        "ci_low": interval["ci_low"],
        "ci_high": interval["ci_high"],
        "ci_level": CI_LEVEL,
        "ci_kind": "wald_z",
        "unit": "correlation of residuals one slot apart",
        **status_fields(inference.result.converged, None, None, 0),
    }
