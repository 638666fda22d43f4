"""How reliably is each rater's alliance measured, within a client from session to session and between clients?

From items where there are items, from subscales where there are none. A difference between raters in what goes with
outcome may be one in how well they are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.description import held_sessions
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.analyses.model_rows import order_by_content
from alliance_outcome.design.levels import BETWEEN_CLIENT_POOLED, BETWEEN_THERAPIST, WITHIN_CLIENT
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.item_covariances import ItemFit, ItemRows, fit_items
from alliance_outcome.models.item_reliability import (
    Interval,
    alphas,
    goodness_of_fit,
    intervals,
    mean_reliability,
    nested_components,
    omegas,
    pooled_alpha,
    score_components,
)
from alliance_outcome.models.replicate_summary import summarise_replicates
from alliance_outcome.provenance import derive_seed

ANALYSIS = "reliability"
TOTAL = "total"
#: Numbers of sessions whose mean is judged.
SESSIONS = (1, 3, 5, 10)
N_DRAWS = 1_000
#: With fewer clients nothing is said of differences between them.
FEWEST_CLIENTS = 30

_LEVELS = {"within_client": WITHIN_CLIENT, "between_client": BETWEEN_CLIENT_POOLED, "session": None}


def reliability_estimates(
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measures: pd.DataFrame,
    parts: Mapping[str, Mapping[str, Sequence[int]]],
    context: AnalysisContext,
    min_therapists: int,
    seed: int,
) -> pd.DataFrame:
    """Estimate the reliability of every rater's alliance, as a whole and of each part.

    Parameters
    ----------
    sessions, items : DataFrame
        Session table and item table.
    measures : DataFrame
        ``measures.csv``.
    parts : mapping of str to mapping of str to sequence of int
        Item numbers of the subscales of each form, such as goal, task and bond.
    context : AnalysisContext
    min_therapists : int
        With fewer therapists nothing is claimed of their means.
    seed : int
        Of the Monte Carlo intervals and the bootstrap of therapists.

    Returns
    -------
    DataFrame
        Estimates: ω and α within clients, between clients and of a session, reliability of means of sessions, and how
        well one factor at each level fits. Refusals are rows.
    """
    alliance = measures[measures["construct"] == "alliance"].set_index("rater")
    found = []
    for rater in context.raters:
        for scale, table, source in _tables(sessions, items, alliance.loc[rater], parts, rater):
            found += list(_rows(rater, scale, table, source, context, seed))
        if context.has_therapists:
            found += _therapist_rows(rater, held_sessions(sessions), context, min_therapists, seed)
    return estimates_frame(found)


def _tables(
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measure: pd.Series,
    parts: Mapping[str, Mapping[str, Sequence[int]]],
    rater: str,
) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Yield the scales of a rater: name, table of client and items, and what the items are."""
    table = rated_items(items, measure, rater)
    if len(table):
        yield TOTAL, table, "items"
        for name, numbers in parts.get(str(measure["instrument"]), {}).items():
            yield name, table[["client", *(number for number in numbers if number in table)]], "items"
        return
    yield TOTAL, rated_subscales(sessions, measure, rater), "subscales"


def rated_items(items: pd.DataFrame, measure: pd.Series, rater: str) -> pd.DataFrame:
    """Return a rater's items of the alliance, session by session.

    Parameters
    ----------
    items : DataFrame
        Item table.
    measure : Series
        The rater's row of ``measures.csv``.
    rater : str

    Returns
    -------
    DataFrame
        Client, and one column for each item; empty if there are none.
    """
    own = items[
        (items["rater"] == rater)
        & (items["instrument"] == measure["instrument"])
        & (items["occasion_kind"] == "session")
    ]
    wide = own.pivot_table(index=["client", "episode", "session"], columns="item", values="keyed")
    return wide.reset_index(level="client")


def rated_subscales(sessions: pd.DataFrame, measure: pd.Series, rater: str) -> pd.DataFrame:
    """Return a rater's subscale scores of the alliance in held sessions.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    measure : Series
        The rater's row of ``measures.csv``.
    rater : str

    Returns
    -------
    DataFrame
        Client, and one column for each subscale that there is.
    """
    subscales = str(measure["subscales"]).split() if pd.notna(measure["subscales"]) else []
    columns = [f"alliance_{rater}_{name}" for name in subscales]
    held = held_sessions(sessions)
    return held[["client", *(name for name in columns if name in held)]]


def item_rows(table: pd.DataFrame) -> ItemRows:
    """Put answers into an order of their own, so that a search ends at the same digits whatever clients are called.

    Parameters
    ----------
    table : DataFrame
        ``client``, and one column for each item.

    Returns
    -------
    ItemRows

    Raises
    ------
    UnfittableModel
        See :meth:`~alliance_outcome.models.item_covariances.ItemRows.of`.
    """
    items = list(table.columns.drop("client"))
    if items:
        table = order_by_content(table.reset_index(drop=True).assign(therapist=None), items)
    return ItemRows.of(table[items], table["client"])


def _rows(
    rater: str, scale: str, table: pd.DataFrame, source: str, context: AnalysisContext, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the estimates of one scale of one rater."""
    values = table.drop(columns="client")
    base = _base(rater, scale, table, source, context)
    try:
        fit, saturated = _fitted(table)
    except UnfittableModel as problem:
        yield {**base, **_named(rater, scale, "omega", None), "status": "refused", "reason": problem.reason}
        return
    yield from _coefficient_rows(base, rater, scale, fit, saturated, seed)
    pooled = {"estimate": pooled_alpha(values), "level": None}
    yield {**base, **_named(rater, scale, "alpha_pooled", None), **pooled}
    for number in SESSIONS:
        named = _named(rater, scale, f"mean_reliability_{number}", BETWEEN_CLIENT_POOLED)
        yield {**base, **named, "estimate": mean_reliability(saturated, number)}
    yield from _generalisability_rows(base, rater, scale, table)
    yield from _fit_rows(base, rater, scale, fit, saturated)


def _fitted(table: pd.DataFrame) -> tuple[ItemFit, ItemFit]:
    """Fit one factor and free matrices at each level."""
    if table["client"].nunique() < FEWEST_CLIENTS:
        raise UnfittableModel(f"fewer than {FEWEST_CLIENTS} clients were rated")
    rows = item_rows(table)
    fits = fit_items(rows), fit_items(rows, "saturated", "saturated")
    if not all(fit.converged for fit in fits):
        raise UnfittableModel("the factor model did not converge")
    return fits


def _coefficient_rows(
    base: dict[str, Any], rater: str, scale: str, fit: ItemFit, saturated: ItemFit, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield ω with its interval and α, level by level."""
    try:
        drawn = intervals(fit, N_DRAWS, seed)
    except UnavailableInference:
        drawn = dict.fromkeys(omegas(fit))
    for name, value in omegas(fit).items():
        level = _LEVELS[name.removeprefix("omega_")]
        yield {**base, **_named(rater, scale, name, level), "estimate": value, **_interval(drawn[name])}
    for name, value in alphas(*saturated.matrices(), fit.rows.mean_rows).items():
        level = _LEVELS[name.removeprefix("alpha_")]
        yield {**base, **_named(rater, scale, name, level), "estimate": value}


def _interval(found: Interval | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "std_error": found.std_error,
        "ci_low": found.low,
        "ci_high": found.high,
        "ci_level": CI_LEVEL,
        "ci_kind": "monte_carlo",
        "se_kind": "observed",
        "n_draws": N_DRAWS,
    }


def _generalisability_rows(
    base: dict[str, Any], rater: str, scale: str, table: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield coefficients of generalisability: of clients' means, and of change."""
    found = nested_components(table.drop(columns="client"), table["client"])
    own = {**base, "model": "nested_components", "engine": "multilevel"}
    change = _named(rater, scale, "generalisability_change", WITHIN_CLIENT)
    yield {**own, **change, "estimate": found.of_change}
    for number in SESSIONS:
        named = _named(rater, scale, f"generalisability_{number}", BETWEEN_CLIENT_POOLED)
        yield {**own, **named, "estimate": found.of_clients(number)}


def _therapist_rows(
    rater: str, held: pd.DataFrame, context: AnalysisContext, min_therapists: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the reliability of therapists' means, of as many clients as there are and of ten."""
    column = f"alliance_{rater}"
    rated = order_by_content(held.dropna(subset=[column, "therapist"]), [column, "session"])
    base = {
        **_base(rater, TOTAL, rated, "scores", context),
        "model": "nested_components",
        "engine": "multilevel",
        "missing_method": "all sessions; likelihood-based (MAR)",
        "n_therapists": int(rated["therapist"].nunique()),
    }
    named = {None: "therapist_mean_reliability", 10.0: "therapist_mean_reliability_10"}
    try:
        columns = (rated[column], rated["client"], rated["therapist"])
        estimated, resampled = score_components(*columns, N_DRAWS, derive_seed(seed, rater))
    except UnfittableModel as problem:
        row = _named(rater, TOTAL, named[None], BETWEEN_THERAPIST)
        yield {**base, **row, "status": "refused", "reason": problem.reason}
        return
    for clients, term in named.items():
        status = status_fields(True, BETWEEN_THERAPIST, base["n_therapists"], min_therapists)
        replicates = resampled.of_therapists(clients)
        own = summarise_replicates(float(estimated.of_therapists(clients)), replicates, base["n_therapists"])
        yield {**base, **_named(rater, TOTAL, term, BETWEEN_THERAPIST), **own, **status}


def _fit_rows(
    base: dict[str, Any], rater: str, scale: str, fit: ItemFit, saturated: ItemFit
) -> Iterator[dict[str, Any]]:
    """Yield how well one factor at each level fits."""
    found = goodness_of_fit(fit, saturated)
    if not found["df"]:
        reason = "three parts of a scale fit one factor by necessity"
        yield {**base, **_named(rater, scale, "rmsea", None), "status": "refused", "reason": reason}
        return
    chi_square = {"statistic": found["chi_square"], "df": found["df"], "p_value": found["p_value"]}
    yield {**base, **_named(rater, scale, "rmsea", None), "estimate": found["rmsea"], **chi_square}


def _base(
    rater: str, scale: str, table: pd.DataFrame, source: str, context: AnalysisContext
) -> dict[str, Any]:
    return {
        **context.common_fields(ANALYSIS),
        "model": "two_level_one_factor",
        "engine": "fiml",
        "role": "secondary",
        "means": "latent",
        "lag": None,
        "lag_unit": None,
        "adjustment": "none",
        "outcome": None,
        "outcome_rater": None,
        "rater": rater,
        "scale": scale,
        "missing_method": "all sessions; full-information maximum likelihood (MAR)",
        "sample": f"sessions, from {source}",
        "n_sessions": len(table),
        "n_clients": int(table["client"].nunique()),
        "quantity_kind": "deterministic",
    }


def _named(rater: str, scale: str, term: str, level: str | None) -> dict[str, Any]:
    return {"row_id": row_key(ANALYSIS, rater, scale, term), "term": term, "level": level}
