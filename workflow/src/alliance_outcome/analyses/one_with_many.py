"""How much of each rater's alliance lies in sessions, clients and therapists, and do the raters see the same?

The reciprocal one-with-many design: a therapist (the one) with several clients (the many), both of whom rate. In what
clients say, therapists differ as partners: clients of one therapist agree on the alliance with that therapist. In what
therapists say, they differ as perceivers: some see better alliances wherever they look. Between clients of a therapist,
client and relationship are one component, because a client has one therapist. The correlation of the two raters'
therapist effects is generalised reciprocity, that of their effects of client and relationship dyadic reciprocity
(Kenny, Kashy & Cook 2006; Marcus, Kashy & Baldwin 2009).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.description import held_sessions
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields, wald_fields
from alliance_outcome.analyses.perception_names import (
    COMPONENTS,
    DEVIATION,
    FORMS_DIFFER,
    MEAN_DIFFERENCE,
    ONE_WITH_MANY,
    RECIPROCITIES,
    SHARE,
)
from alliance_outcome.design.levels import THREE_LEVELS, TWO_LEVELS
from alliance_outcome.models.contrast import CI_LEVEL, wald_contrast
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.one_with_many import OneWithMany, fit_one_with_many
from alliance_outcome.models.one_with_many_profiles import correlation_interval, share_interval
from alliance_outcome.models.one_with_many_ratings import Ratings

_PROFILE = {"ci_level": CI_LEVEL, "ci_kind": "profile"}
#: An interval of a correlation that is this wide holds all of them.
_WHOLE_RANGE = 2.0


def one_with_many_estimates(
    sessions: pd.DataFrame, context: AnalysisContext, min_therapists: int
) -> pd.DataFrame:
    """Split the ratings of each pair of raters into levels.

    Parameters
    ----------
    sessions : DataFrame
        Session table; held sessions with a rating of either rater are used.
    context : AnalysisContext
        Facts of the study; without therapist ids, or where therapists have one client each, the split has two levels.
    min_therapists : int
        With fewer therapists nothing is claimed between therapists.

    Returns
    -------
    DataFrame
        Estimates: shares of variance and standard deviations by rater and level, the raters' correlation by level with
        profile intervals, and the mean difference where the forms are commensurate. What is estimated on the boundary
        is not established, with the reason. Refusals are rows.
    """
    held = held_sessions(sessions)
    found = [
        row
        for pair in itertools.combinations(context.raters, 2)
        for row in _pair_rows(held, pair, context, min_therapists)
    ]
    if len(context.raters) < 2:
        reason = f"alliance is rated by the {context.raters[0]} only"
        refused = {"row_id": row_key(ONE_WITH_MANY, "refused"), "status": "refused", "reason": reason}
        found = [{**_base(held, context), **refused, "term": RECIPROCITIES["within_client"]}]
    return estimates_frame(found)


def _base(rows: pd.DataFrame, context: AnalysisContext) -> dict[str, Any]:
    return {
        **context.common_fields(ONE_WITH_MANY),
        "model": ONE_WITH_MANY,
        "engine": "multilevel",
        "role": "secondary",
        "means": "latent",
        "outcome": None,
        "outcome_rater": None,
        "lag": None,
        "lag_unit": None,
        "adjustment": "none",
        "missing_method": "all sessions with a rating of either rater; likelihood-based (MAR)",
        "quantity_kind": "deterministic",
        **sample_fields(rows, client_rows=False),
    }


def _pair_rows(
    held: pd.DataFrame, pair: tuple[str, str], context: AnalysisContext, min_therapists: int
) -> Iterator[dict[str, Any]]:
    """Yield the estimates of one pair of raters."""
    columns = [f"alliance_{rater}" for rater in pair]
    rows = held.dropna(subset=columns, how="all")
    base = {**_base(rows, context), "rater": pair[0], "rater_b": pair[1]}
    has_therapists = context.has_therapists and 1 < rows["therapist"].nunique() < rows["client"].nunique()
    try:
        ratings = Ratings.of(rows[columns], rows["client"], rows["therapist"] if has_therapists else None)
        fit = fit_one_with_many(ratings)
    except UnfittableModel as problem:
        row_id = row_key(ONE_WITH_MANY, *pair, "refused")
        yield {**base, "row_id": row_id, "status": "refused", "reason": problem.reason}
        return
    levels = THREE_LEVELS if has_therapists else TWO_LEVELS
    for at, level in enumerate(levels):
        status = status_fields(fit.converged, level, base["n_therapists"], min_therapists)
        own = {**base, "level": level}
        yield from _share_rows(own, fit, at, pair, status)
        yield _correlation_row(own, fit, at, pair, status)
    yield _difference_row(base, fit, pair, context)


def _share_rows(
    base: dict[str, Any], fit: OneWithMany, at: int, pair: tuple[str, str], status: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the share of a level in each rater's variance, and its standard deviation."""
    component = COMPONENTS[base["level"]]
    deviations = fit.covariances[fit.levels[at]].diagonal() ** 0.5
    for number, rater in enumerate(pair):
        share = float(fit.shares[at, number])
        low, high = share_interval(fit, at, number)
        zero = f"on the boundary: the variance of the {rater}'s ratings at this level is estimated as zero"
        own = {**base, **(status if share else _unless_worse(status, zero))}
        limits = {"ci_low": low, "ci_high": high, **_PROFILE}
        named = _named(pair, f"{SHARE}{component}", rater)
        yield {**own, **named, "estimate": share, **limits, "unit": "share of variance"}
        named = _named(pair, f"{DEVIATION}{component}", rater)
        yield {**own, **named, "estimate": float(deviations[number]), "unit": "scale points"}


def _correlation_row(
    base: dict[str, Any], fit: OneWithMany, at: int, pair: tuple[str, str], status: dict[str, Any]
) -> dict[str, Any]:
    """Return the raters' correlation at a level."""
    value = float(fit.correlations[at])
    own = {**base, **_named(pair, RECIPROCITIES[base["level"]], None), "unit": "correlation"}
    if math.isnan(value):
        reason = "no correlation: at this level the variance of a rater's ratings is estimated as zero"
        return {**own, "status": "refused", "reason": reason}
    low, high = correlation_interval(fit, at)
    numbers = {"estimate": value, "ci_low": low, "ci_high": high, **_PROFILE}
    if abs(value) == 1.0:
        status = _unless_worse(status, f"on the boundary: the correlation is estimated as {value:.0f}")
    elif high - low >= _WHOLE_RANGE:
        status = _unless_worse(
            status, "its interval holds every correlation, so that the data say nothing of it"
        )
    return {**own, **numbers, **status}


def _difference_row(
    base: dict[str, Any], fit: OneWithMany, pair: tuple[str, str], context: AnalysisContext
) -> dict[str, Any]:
    """Return the difference between the raters' means, with the highest units as degrees of freedom."""
    own = {**base, **_named(pair, MEAN_DIFFERENCE, None), "unit": "scale points"}
    if not context.commensurate:
        return {**own, "status": "refused", "reason": FORMS_DIFFER}
    covariance = fit.mean_covariance
    variance = covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]
    units = fit.ratings.n_units[fit.levels[-1]]
    tested = wald_contrast(float(fit.means[0] - fit.means[1]), math.sqrt(variance), units - 1)
    kinds = {"se_kind": "model", "df_method": "clusters_minus_1"}
    return {**own, **wald_fields(tested), **kinds, **status_fields(fit.converged, None, None, 0)}


def _named(pair: tuple[str, str], term: str, rater: str | None) -> dict[str, Any]:
    """Name a quantity of a pair of raters, or of one of them beside the other."""
    order = pair if rater in (None, pair[0]) else pair[::-1]
    own = {} if rater is None else {"rater": order[0], "rater_b": order[1]}
    return {"row_id": row_key(ONE_WITH_MANY, *order, term), "term": term, **own}


def _unless_worse(status: dict[str, Any], reason: str) -> dict[str, Any]:
    """Say why a quantity is not established, unless there is something worse to say."""
    return status if status["status"] != "ok" else {"status": "not_established", "reason": reason}
