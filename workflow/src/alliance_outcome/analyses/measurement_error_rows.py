"""Rows of the estimates table, and checks, from posteriors of the joint model of severity and all ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import arviz_stats as azs
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from xarray import DataTree

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.design.levels import level_column
from alliance_outcome.models.diagnostics import convergence_checks, summarise
from alliance_outcome.settings import DecisionSettings

if TYPE_CHECKING:
    from alliance_outcome.models.multivariate_design import JointSpecification

ANALYSIS = "measurement_error"
#: Models: latent means and all rows; the same corrected for the reliabilities that the study file states.
LATENT, CORRECTED = "joint_latent", "joint_corrected"

Array = NDArray[np.float64]


def summarise_variant(
    model: str, tree: DataTree, rows: pd.DataFrame, context: AnalysisContext, decision: DecisionSettings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Turn one posterior into rows and checks.

    Parameters
    ----------
    model : str
        :data:`LATENT` or :data:`CORRECTED`.
    tree : DataTree
        Groups ``posterior`` and ``sample_stats``; the attribute ``sampler``.
    rows : DataFrame
        What it was fitted to.
    context : AnalysisContext
        Facts of the study.
    decision : DecisionSettings
        ROPE and the smallest number of therapists for a claim.

    Returns
    -------
    estimates, checks : list of dict
        Rows of the estimates table and of a table of checks. A failed check marks every row as not established.
    """
    shared = {
        **_shared_fields(model, context),
        **sample_fields(rows, client_rows=False),
        "engine": tree.attrs["sampler"],
    }
    found = [
        {
            **shared,
            **status_fields(True, row["level"], shared["n_therapists"], decision.min_therapists_for_claim),
            **row,
            "row_id": _row_id(model, row),
        }
        for row in _quantities(tree, context, decision.rope)
    ]
    checks = convergence_checks({_name(row): row for row in found}, tree)
    if any(check["passed"] is False for check in checks):
        reason = "the sampler did not pass its checks"
        found = [{**row, "status": "not_established", "reason": reason} for row in found]
    return found, [_named_check(model, check) for check in checks]


def refused_rows(
    model: str, specification: JointSpecification, context: AnalysisContext, reason: str
) -> list[dict[str, Any]]:
    """Return the rows of a model that cannot be fitted.

    Parameters
    ----------
    model : str
    specification : JointSpecification
        Its levels and raters.
    context : AnalysisContext
    reason : str
        Why there is no posterior.

    Returns
    -------
    list of dict
        Standardised slopes and their differences at each level.
    """
    raters = context.raters
    quantities = [("coefficient_standardised", rater, None) for rater in raters]
    quantities += [("difference", first, second) for first, second in combinations(raters, 2)]
    found = [
        {"term": term, "rater": rater, "rater_b": rater_b, "level": level}
        for level in specification.levels
        for term, rater, rater_b in quantities
    ]
    shared = _shared_fields(model, context)
    refusal = {"status": "refused", "reason": reason}
    return [{**shared, **row, **refusal, "row_id": _row_id(model, row)} for row in found]


def not_sampled(model: str, reason: str) -> dict[str, Any]:
    """Return the check that says why a model was not sampled."""
    text = f"not sampled: {reason}"
    return _named_check(
        model, {"name": "sampling", "passed": None, "value": None, "limit": None, "text": text}
    )


def _shared_fields(model: str, context: AnalysisContext) -> dict[str, Any]:
    """Return what all rows of one variant share."""
    means = "client and therapist" if context.has_therapists else "client"
    return {
        **context.common_fields("multilevel"),
        "analysis": ANALYSIS,
        "model": model,
        "role": "sensitivity",
        "estimand": "unique" if len(context.raters) > 1 else "total",
        "means": "latent",
        "reliability_corrected": model == CORRECTED,
        "missing_method": "all rows; joint likelihood of severity and ratings (MAR)",
        "residual": f"independent; latent {means} means; slopes the same for all clients",
        "sample": "rows with a rating or an outcome",
        "se_kind": "posterior",
        "quantity_kind": "mcmc",
    }


def _quantities(tree: DataTree, context: AnalysisContext, rope: float | None) -> Iterator[dict[str, Any]]:
    """Summarise what varies: quantities of each rater at each level, and of each pair of raters."""
    levels = [str(level) for level in tree.posterior["level"].to_numpy()]
    for level in levels:
        for rater in context.raters:
            yield from _of_rater(tree, level, rater, context.unit)
        for first, second in combinations(context.raters, 2):
            yield from _of_pair(tree, level, (first, second), context.unit, rope)


def _of_rater(tree: DataTree, level: str, rater: str, unit: str) -> Iterator[dict[str, Any]]:
    """Summarise slopes, latent standard deviation and, where it is uncertain, reliability of one rater's alliance."""
    posterior, place = tree.posterior, {"level": level, "rater": rater}
    slope, standardised, latent_sd, reliability = (
        posterior[name].sel(place).to_numpy()
        for name in ("slope", "standardised_slope", "latent_sd", "reliability")
    )
    per_sd = f"{unit} per latent SD of alliance at that level"
    named = {**place, "rater_b": None}
    yield {
        **_summary_without_moments(slope),
        **named,
        "term": level_column(f"alliance_{rater}", level),
        "unit": f"{unit} per unit of the term; median",
    }
    yield {**summarise(standardised), **named, "term": "coefficient_standardised", "unit": per_sd}
    yield {**_summary_of_size(latent_sd), **named, "term": "latent_sd", "unit": "points of the rating"}
    if np.ptp(reliability) > 0.0:
        share = "share of variance"
        yield {**_summary_of_size(reliability), **named, "term": "reliability", "unit": share}


def _of_pair(
    tree: DataTree, level: str, pair: tuple[str, str], unit: str, rope: float | None
) -> Iterator[dict[str, Any]]:
    """Summarise D and the latent correlation of two raters."""
    first, second = pair
    difference = tree.posterior["difference"].sel(level=level, pair=f"{first} - {second}").to_numpy()
    correlation = (
        tree.posterior["latent_correlation"].sel(level=level, rater=first, rater_b=second).to_numpy()
    )
    named = {"level": level, "rater": first, "rater_b": second}
    yield {
        **summarise(difference),
        **named,
        "term": "difference",
        "unit": f"{unit} per latent SD of alliance at that level",
        "prob_direction": float((difference < 0.0).mean()),
        "prob_rope": None if rope is None else float((np.abs(difference) < rope).mean()),
    }
    yield {**summarise(correlation), **named, "term": "latent_correlation", "unit": "correlation"}


def _summary_of_size(draws: Array) -> dict[str, Any]:
    """Summarise what cannot be negative, so that its direction says nothing."""
    return summarise(draws) | {"prob_direction": None}


def _summary_without_moments(draws: Array) -> dict[str, Any]:
    """Summarise a ratio by its quantiles: where its divisor may be zero it has neither mean nor standard deviation."""
    return summarise(draws) | {
        "estimate": float(np.median(draws)),
        "std_error": None,
        "mcse_mean": float(azs.mcse(draws, method="median")),
        "mcse_sd": None,
    }


def _row_id(model: str, row: Mapping[str, Any]) -> str:
    return row_key(ANALYSIS, model, row["level"], row["rater"], row["rater_b"], row["term"])


def _name(row: Mapping[str, Any]) -> str:
    """Name a quantity in the text of a check."""
    raters = " and ".join(rater for rater in (row["rater"], row["rater_b"]) if rater)
    own = row["term"].startswith("alliance_")
    return row["term"] if own else f"{row['term']} {row['level']} ({raters})"


def _named_check(model: str, check: Mapping[str, Any]) -> dict[str, Any]:
    """Name a check of a posterior."""
    return {
        "stage": ANALYSIS,
        **check,
        "name": f"convergence.{model}.joint.{check['name']}",
        "text": f"{model}.joint: {check['text']}",
    }
