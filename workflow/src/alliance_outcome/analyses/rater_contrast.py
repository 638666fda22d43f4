"""The rater contrast: whose alliance goes with more improvement, at each level and by each engine.

D = b_client·sd_client − b_therapist·sd_therapist, in units of the outcome, with severity higher = worse: below zero,
the client's rating goes with less severity than the therapist's. Both raters' standardised coefficients and
|β_client| − |β_therapist| stand beside it. Standard deviations are held fixed here. ``unique`` contrasts are linear
combinations of the joint model's coefficients and are tested like these, with degrees of freedom of the very
combination; D is repeated with a cluster-robust covariance and with AR(1) residuals. ``total`` contrasts compare
coefficients of two models, and ``difference_sd_uncertain`` counts the standard deviations as estimated: both come from
a bootstrap (:mod:`alliance_outcome.analyses.bootstrap_contrasts`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alliance_outcome.analyses.coefficient_rows import base_row, residual_field, role, role_of, sample_of
from alliance_outcome.analyses.context import AnalysisContext, StudyAnalysis
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.inference import Inference
from alliance_outcome.analyses.multilevel import ENGINE, FittedModel
from alliance_outcome.design.levels import level_column, level_sd


def multilevel_contrasts(
    model: FittedModel, inferences: Sequence[Inference], analysis: StudyAnalysis
) -> list[dict[str, Any]]:
    """Standardise the coefficients of one model and, in a joint model, contrast the raters.

    Parameters
    ----------
    model : FittedModel
        A fit, or why there is none.
    inferences : sequence of Inference
        How its fixed effects are tested, the model's own way first; empty without a fit.
    analysis : StudyAnalysis

    Returns
    -------
    list of dict
        Rows for the estimates table, level by level: the standardised coefficients and, with estimand ``unique``, the
        contrasts of each pair of raters; refused where the model was refused.
    """
    rows: list[dict[str, Any]] = []
    for level in model.specification.levels:
        if model.fit is None:
            pairs = itertools.combinations(model.specification.raters, 2)
            rows += [refused_contrast(model, pair, analysis, level) for pair in pairs]
        else:
            rows += _level_rows(model, inferences, analysis, level)
    return rows


def _level_rows(
    model: FittedModel, inferences: Sequence[Inference], analysis: StudyAnalysis, level: str
) -> list[dict[str, Any]]:
    """Return the standardised coefficients and contrasts of one level."""
    base = contrast_base(model, analysis, level)
    limits = {
        "level": level,
        "n_therapists": base["n_therapists"],
        "min_therapists": analysis.min_therapists,
    }
    weights = {rater: {term: sd} for rater, (term, sd) in standardisation(model, level).items()}
    rows = [
        {
            **base,
            **contrast_name(base, rater, None, "coefficient_standardised"),
            **inferences[0].fields(own, **limits),
        }
        for rater, own in weights.items()
    ]
    for first, second in itertools.combinations(weights, 2):
        rows += [
            {
                **base,
                **contrast_name(base, first, second, term, inference.suffix),
                "role": _role(term, inference, model, level, analysis.context),
                "residual": residual_field(model, inference.residual),
                **inference.fields(combination, **limits),
            }
            for term, inference, combination in _combinations(weights[first], weights[second], inferences)
        ]
    return rows


def contrast_base(model: FittedModel, analysis: StudyAnalysis, level: str) -> dict[str, Any]:
    """Return what all contrast rows of one model and level share.

    Parameters
    ----------
    model : FittedModel
    analysis : StudyAnalysis
    level : str
        Level of the coefficients.

    Returns
    -------
    dict
        Columns of the estimates table; counts only where there is a fit.
    """
    return {
        **base_row(model, analysis),
        **({} if model.fit is None else sample_of(model)),
        "analysis": "contrast",
        "role": role(model.specification, level, has_therapists=analysis.context.has_therapists),
        "level": level,
        "unit": f"{analysis.context.unit} per SD of alliance at that level",
    }


def contrast_name(
    row: Mapping[str, Any], rater: str, rater_b: str | None, term: str, suffix: str | None = None
) -> dict[str, Any]:
    """Name a contrast row: its stable key, its raters and its term."""
    source = "" if row["engine"] == ENGINE else "bayesian"
    key = row_key(source, row["model"], row["estimand"], row["level"], rater, rater_b, term, suffix)
    return {"row_id": key, "rater": rater, "rater_b": rater_b, "term": term}


def refused_contrast(
    model: FittedModel, pair: tuple[str, str], analysis: StudyAnalysis, level: str
) -> dict[str, Any]:
    """Return the row that says why the raters of a refused model have no contrast at a level."""
    base = contrast_base(model, analysis, level)
    name = contrast_name(base, *pair, "difference")
    return {**base, **name, "status": "refused", "reason": model.reason}


def standardisation(model: FittedModel, level: str) -> dict[str, tuple[str, float]]:
    """Return, by rater, the alliance term of a level and the standard deviation that standardises it."""
    return {
        rater: (level_column(f"alliance_{rater}", level), level_sd(model.rows, f"alliance_{rater}", level))
        for rater in model.specification.raters
    }


def _combinations(
    first: dict[str, float], second: dict[str, float], inferences: Sequence[Inference]
) -> list[tuple[str, Inference, dict[str, float]]]:
    """List the contrasts of a pair of raters: term, how it is tested, weights of the coefficients."""
    own = inferences[0]
    difference = {**first, **{term: -sd for term, sd in second.items()}}
    absolute = {term: weight * float(np.sign(own.result.params[term])) for term, weight in difference.items()}
    return [
        ("difference", own, difference),
        ("absolute_difference", own, absolute),
        *(("difference", inference, difference) for inference in inferences[1:]),
    ]


def _role(term: str, inference: Inference, model: FittedModel, level: str, context: AnalysisContext) -> str:
    """Give the role of a contrast: D has that of its coefficients, all else is secondary or sensitivity."""
    if term == "absolute_difference":
        return "secondary"
    return role_of(inference, model, level, context)


def single_rater_refusal(context: AnalysisContext) -> dict[str, Any]:
    """Return the row that says why a study with one rater has no contrast."""
    return {
        **context.common_fields("contrast"),
        "row_id": "contrast.refused",
        "term": "difference",
        "rater": context.raters[0],
        "role": "primary",
        "status": "refused",
        "reason": f"alliance is rated by the {context.raters[0]} only; a contrast needs two raters",
    }


def posterior_contrasts(
    draws: dict[str, Any], sds: dict[str, float], base: dict[str, Any], summarise: Any, rope: float | None
) -> list[dict[str, Any]]:
    """Contrast the raters at one level from posterior draws, standard deviations held fixed.

    Parameters
    ----------
    draws : dict
        Draws of each rater's raw coefficient (arrays with ``chain`` and ``draw``), in rater order.
    sds : dict
        Standard deviation by rater.
    base : dict
        Columns shared by the rows, with ``model``, ``engine``, ``estimand`` and ``level``.
    summarise : callable
        Turns one array of draws into the Monte Carlo columns of the estimates table.
    rope : float or None
        Half-width of the region of practical equivalence.

    Returns
    -------
    list of dict
        Rows for the estimates table; ``prob_direction`` of D is P(D < 0).
    """
    scaled = {rater: values * sds[rater] for rater, values in draws.items()}
    rows = [
        {**base, **summarise(values), **contrast_name(base, rater, None, "coefficient_standardised")}
        for rater, values in scaled.items()
    ]
    for first, second in itertools.combinations(scaled, 2):
        difference = scaled[first] - scaled[second]
        below = float((difference < 0).mean())
        inside = None if rope is None else float((abs(difference) < rope).mean())
        rows.append(
            {
                **base,
                **summarise(difference),
                "prob_direction": below,
                "prob_rope": inside,
                **contrast_name(base, first, second, "difference"),
            }
        )
        absolute = abs(scaled[first]) - abs(scaled[second])
        rows.append(
            {
                **base,
                **summarise(absolute),
                "role": "secondary",
                **contrast_name(base, first, second, "absolute_difference"),
            }
        )
    return rows
