"""Does it matter that client and therapist agree about the alliance? A response surface at each level.

The outcome of the models is severity with its sign turned, and so are the coefficients b1 to b5 and a1 to a5 in the
estimates: more is better, and a4 below zero means that agreement is good. Reports turn the signs for display.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import (
    Inference,
    own_inference,
    robust_inference,
    status_fields,
    wald_fields,
)
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS, model_checks
from alliance_outcome.analyses.multilevel import ENGINE
from alliance_outcome.analyses.response_surface_conditions import condition_rows
from alliance_outcome.analyses.response_surface_grid import prediction_grid
from alliance_outcome.analyses.response_surface_model import SurfaceModel, fit_surface
from alliance_outcome.analyses.response_surface_names import ANALYSIS, GRID_COLUMNS
from alliance_outcome.analyses.response_surface_shares import share_rows
from alliance_outcome.models.contrast import Contrast
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.response_surface import COEFFICIENTS, LINES, ResponseSurface, excludes

#: Terms whose denominator is b4, the determinant of the curvatures, or a4.
_AXES = ("p10", "p11", "p20", "p21")
_STATIONARY = ("stationary_x", "stationary_y")
_SHIFT = "lateral_shift"
SECOND_ORDER = "second_order"


@dataclass(frozen=True)
class ResponseSurfaceTables:
    """Tables of the analysis.

    Parameters
    ----------
    estimates : DataFrame
        b1 to b5, a1 to a5, principal axes, stationary point, lateral shift, a joint test of the second-order terms, and
        shares of discrepant pairs, at each level; or why there are none.
    conditions : DataFrame
        The conditions of a congruence effect and the verdicts, with :data:`CHECK_COLUMNS`. A condition that is not met
        is a finding, not a fault, so they stand apart from the checks.
    checks : DataFrame
        Convergence and boundary of the fits, with :data:`CHECK_COLUMNS`.
    grid : DataFrame
        Predicted severity over the observed region, with :data:`GRID_COLUMNS`.
    """

    estimates: pd.DataFrame
    conditions: pd.DataFrame
    checks: pd.DataFrame
    grid: pd.DataFrame


def response_surfaces(
    hybrid: pd.DataFrame, early: pd.DataFrame, context: AnalysisContext
) -> ResponseSurfaceTables:
    """Fit the response surfaces of a study within and between clients.

    Parameters
    ----------
    hybrid : DataFrame
        Hybrid rows: outcome at the next session.
    early : DataFrame
        Early rows with their outcomes.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    ResponseSurfaceTables
        A single refusal where there is one rater only or the raters' forms differ.
    """
    reason = refusal(context)
    if reason is not None:
        row = {
            **_common(context),
            "row_id": row_key(ANALYSIS, "refused"),
            "status": "refused",
            "reason": reason,
        }
        return _tables([row], [], [], [])
    estimates, conditions, checks, grids = [], [], [], []
    for rows, is_early in ((hybrid, False), (early, True)):
        surface = fit_surface(rows, context, early=is_early)
        if surface.model.fit is None:
            estimates.append(_refused(surface, context))
            checks += model_checks(surface.model, [], ANALYSIS)
            continue
        ways = [own_inference(surface.model), robust_inference(surface.model)]
        for way in ways:
            estimates += _estimate_rows(surface, way, context)
        estimates += share_rows(surface, _base(surface, context))
        checks += model_checks(surface.model, ways, ANALYSIS)
        conditions += condition_rows(surface, surface_of(surface, ways[0]), context)
        grids.append(prediction_grid(surface))
    return _tables(estimates, conditions, checks, grids)


def refusal(context: AnalysisContext) -> str | None:
    """Say why a study has no response surface; None if it may have one."""
    if len(context.raters) < 2:
        return f"alliance is rated by the {context.raters[0]} only; agreement needs two raters"
    if not context.commensurate:
        return "not applicable: the raters' forms differ, so that equal ratings do not mean the same"
    return None


def surface_of(surface: SurfaceModel, inference: Inference) -> ResponseSurface:
    """Take the surface from a fit, with standard errors and degrees of freedom of one way to test it.

    Parameters
    ----------
    surface : SurfaceModel
        A model with a fit.
    inference : Inference
        A way that can be had.

    Returns
    -------
    ResponseSurface
    """
    terms = list(surface.terms)

    def precision(gradient: np.ndarray) -> tuple[float, float]:
        tested = inference.test(dict(zip(terms, gradient, strict=True)))
        return tested.std_error, tested.df

    return ResponseSurface(surface.model.fit.params[terms].to_numpy(), precision)


def _tables(
    estimates: list[dict[str, Any]],
    conditions: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    grids: list[pd.DataFrame],
) -> ResponseSurfaceTables:
    return ResponseSurfaceTables(
        estimates=estimates_frame(estimates),
        conditions=pd.DataFrame(conditions, columns=list(CHECK_COLUMNS)),
        checks=pd.DataFrame(checks, columns=list(CHECK_COLUMNS)),
        grid=pd.concat(grids, ignore_index=True) if grids else pd.DataFrame(columns=list(GRID_COLUMNS)),
    )


def _common(context: AnalysisContext) -> dict[str, Any]:
    """Return what all rows share; the outcome is named with a minus because its sign is turned."""
    return {
        **context.common_fields(ANALYSIS),
        "outcome": f"-{context.outcome}",
        "role": "secondary",
        "estimand": "unique",
        "quantity_kind": "deterministic",
    }


def _base(surface: SurfaceModel, context: AnalysisContext) -> dict[str, Any]:
    """Return what all rows of one surface share."""
    model = surface.model
    lag = {} if surface.is_within else {"lag": None, "lag_unit": None}
    return {
        **_common(context),
        **lag,
        "model": model.specification.model,
        "engine": ENGINE,
        "rater": surface.pair[0],
        "rater_b": surface.pair[1],
        "level": surface.level,
        "sample": "rows of the joint model",
        **sample_fields(model.rows, client_rows=not surface.is_within),
    }


def _refused(surface: SurfaceModel, context: AnalysisContext) -> dict[str, Any]:
    key = row_key(surface.model.specification.model, surface.level, "refused")
    return {**_base(surface, context), "row_id": key, "status": "refused", "reason": surface.model.reason}


def _estimate_rows(
    surface: SurfaceModel, inference: Inference, context: AnalysisContext
) -> Iterator[dict[str, Any]]:
    """Yield every quantity of a surface as tested in one way."""
    model = surface.model
    base = {
        **_base(surface, context),
        "residual": f"{inference.residual}; {model.fit.design.structure.describe()}",
        "role": "secondary" if inference.is_own else "sensitivity",
        "se_kind": inference.se_kind,
        "df_method": inference.df_method,
    }
    found = None if inference.test is None else surface_of(surface, inference)
    for term in (*COEFFICIENTS, *LINES, *_AXES, *_STATIONARY, _SHIFT, SECOND_ORDER):
        row = {
            **base,
            "row_id": row_key(model.specification.model, surface.level, term, inference.suffix),
            "term": term,
            "unit": _unit(term, context.unit),
        }
        if found is None:
            yield {**row, "status": "refused", "reason": inference.reason}
            continue
        try:
            yield {**row, **_numbers(term, found, surface, inference)}
        except UnavailableInference as error:
            yield {**row, "status": "refused", "reason": error.reason}


def _numbers(
    term: str, found: ResponseSurface, surface: SurfaceModel, inference: Inference
) -> dict[str, Any]:
    """Return estimate, interval and status of one quantity."""
    converged, level = surface.model.fit.converged, surface.level
    if term == SECOND_ORDER:
        joint = inference.test(list(surface.terms[2:]))
        status = status_fields(converged, level, None, 0, joint.df)
        tested = {"statistic": joint.statistic, "df": joint.df, "p_value": joint.p_value}
        return {"estimate": joint.statistic, **tested, **status}
    tested = _quantity(term, found)
    numbers = wald_fields(tested)
    if term in ("p11", "p21"):
        # That a slope is zero is nobody's hypothesis; it is held against 1 by its interval.
        numbers |= {"statistic": None, "p_value": None}
    status = status_fields(converged, level, None, 0, tested.df)
    open_reason = _left_open(term, found)
    if status["status"] == "ok" and open_reason is not None:
        status = {"status": "not_established", "reason": open_reason}
    return {**numbers, **status}


def _quantity(term: str, found: ResponseSurface) -> Contrast:
    """Compute one quantity of a surface."""
    if term in COEFFICIENTS:
        return found.coefficient(term)
    if term in LINES:
        return found.line(term)
    if term in _AXES:
        axis = found.principal_axis(_axis(term))
        return axis.intercept if term.endswith("0") else axis.slope
    if term in _STATIONARY:
        return found.stationary_point()[_STATIONARY.index(term)]
    return found.lateral_shift()


def _axis(term: str) -> Literal["first", "second"]:
    return "first" if term.startswith("p1") else "second"


def _left_open(term: str, found: ResponseSurface) -> str | None:
    """Say why a quotient is not established: its denominator may be zero."""
    if term in _AXES:
        return _axis_left_open(term, found)
    if term in _STATIONARY and not found.has_single_stationary_point:
        return "the surface may be a plane or a ridge, which has no single stationary point"
    if term == _SHIFT and not excludes(found.line("a4"), 0.0):
        return "the interval of a4 includes zero, so that there may be no best difference"
    return None


def _axis_left_open(term: str, found: ResponseSurface) -> str | None:
    if not found.axes_have_direction:
        return (
            "the interval of b4 includes zero, so that the data leave open which way the principal axes point"
        )
    if term in ("p10", "p20") and not found.principal_axis(_axis(term)).has_place:
        return "the surface may not be curved at right angles to the axis, so that the data leave open where it lies"
    return None


def _unit(term: str, unit: str) -> str:
    """Say what a quantity is measured in."""
    if term in ("b1", "b2", "a1", "a3"):
        return f"{unit} of improvement (less severity) per scale point"
    if term in (*COEFFICIENTS, *LINES):
        return f"{unit} of improvement (less severity) per squared scale point"
    if term == SECOND_ORDER:
        return "F test of b3, b4 and b5 together, 3 numerator degrees of freedom"
    return "scale points per scale point" if term in ("p11", "p21") else "scale points"
