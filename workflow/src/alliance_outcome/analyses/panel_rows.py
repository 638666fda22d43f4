"""The estimates of a panel model: its paths, and the contrast of the raters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.inference import wald_fields
from alliance_outcome.analyses.panel_fits import PanelVersion
from alliance_outcome.analyses.panel_names import DYNAMIC, PANEL_ENGINE, TRENDS
from alliance_outcome.analyses.panel_plan import PanelPlan
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.models.contrast import Contrast
from alliance_outcome.models.design_checks import UnavailableInference

ANALYSIS = "dynamics"
#: End of ``row_id``, and kind of standard error, of rows that allow for therapists.
CLUSTERED = "CR1"


def role_of(version: PanelVersion, primary: str) -> str:
    """Give the role of a model's contrast, fixed before the data."""
    if version.suffix is not None:
        return "sensitivity"
    return "primary" if version.plan.name == primary else "secondary"


def base_row(version: PanelVersion, context: AnalysisContext, role: str) -> dict[str, Any]:
    """Return the columns that all rows of a model share.

    Parameters
    ----------
    version : PanelVersion
    context : AnalysisContext
    role : str
        From :func:`role_of`.

    Returns
    -------
    dict
    """
    proposal = version.plan
    trends = proposal.name == TRENDS
    return {
        **context.common_fields(ANALYSIS),
        **version.counts,
        **version.status,
        "model": version.model,
        "engine": PANEL_ENGINE,
        "role": role,
        "estimand": "unique" if len(context.raters) > 1 else "total",
        "means": "manifest" if proposal.name == DYNAMIC else "latent",
        "level": WITHIN_CLIENT,
        "adjustment": _adjustment(proposal),
        "residual": "different in every session"
        if proposal.residuals == "varying"
        else "the same in all sessions",
        "detrended": "linear" if trends else "none",
        "reliability_corrected": bool(proposal.reliability),
        "missing_method": "all clients; full-information maximum likelihood (MAR)",
        "sample": f"{version.sample}; first {proposal.n_waves} sessions"
        if proposal.n_waves
        else version.sample,
        "quantity_kind": "deterministic",
    }


def _adjustment(proposal: PanelPlan) -> str:
    """Say in words what a path is net of."""
    stable = "what is stable of a client"
    if proposal.name == DYNAMIC:
        return f"previous severity, {stable}, level of each session"
    trends = " and its linear trend" if proposal.name == TRENDS else ""
    return f"previous severity and alliance within clients, {stable}{trends}, level of each session"


def _key(version: PanelVersion, *parts: str | None) -> str:
    return row_key(ANALYSIS, version.model, *parts)


# -- Paths -------------------------------------------------------------------------------------------------------------


def path_rows(version: PanelVersion, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the paths of a model; those that are the same in all sessions are one row."""
    if version.result is None:
        reason = {"row_id": _key(version, "refused"), "term": "paths", "lag": None}
        yield {**base, **reason}
        return
    result = version.result
    for label, row in {row.label: row for row in result.description.paths}.items():
        raters = {column: rater for rater, column in result.description.raters.items()}
        named = {
            "row_id": _key(version, label),
            "term": label,
            "rater": raters.get(row.cause),
            "rater_b": raters.get(row.effect),
            "lag": row.lag,
            "unit": "units of the effect per unit of the cause",
        }
        yield {
            **base,
            **named,
            **interval_fields(version, lambda label=label: result.contrast(label, kind="observed")),
        }


def interval_fields(
    version: PanelVersion, test: Any, se_kind: str = "observed", df_method: str = "normal"
) -> dict[str, Any]:
    """Return a test's columns, or why it is not to be had; an improper solution gives no number."""
    if version.result is None or version.reason is not None:
        return {}
    try:
        contrast: Contrast = test()
    except UnavailableInference as problem:
        return {"status": "refused", "reason": problem.reason}
    return {**wald_fields(contrast), "se_kind": se_kind, "df_method": df_method}


# -- Contrast of the raters --------------------------------------------------------------------------------------------


def contrast_rows(
    version: PanelVersion, base: Mapping[str, Any], context: AnalysisContext
) -> Iterator[dict[str, Any]]:
    """Yield standardised paths to severity and their differences at the last lag; shorter ones have models too."""
    pairs = list(combinations(context.raters, 2))
    if version.result is None:
        for first, second in pairs:
            yield {**base, **named_row(version.model, "difference", first, second, 1)}
        return
    result, lag = version.result, version.plan.lags
    for rater in context.raters:
        named = named_row(version.model, "coefficient_standardised", rater, None, lag)
        weights = result.effect_weights(rater, lag)
        tested = interval_fields(version, lambda own=weights: result.contrast(own, kind="observed"))
        yield {**base, **named, "unit": contrast_unit(context), **tested}
    for pair in pairs:
        yield from _pair_rows(version, base, context, pair, lag)


def _pair_rows(
    version: PanelVersion,
    base: Mapping[str, Any],
    context: AnalysisContext,
    pair: tuple[str, str],
    lag: int,
) -> Iterator[dict[str, Any]]:
    """Yield D, the difference in size, D with uncertain standard deviations and D allowing for therapists."""
    result = version.result
    assert result is not None
    unit = {"unit": contrast_unit(context)}
    difference = result.difference_weights(*pair, lag)
    own = {**base, **unit}
    name = named_row(version.model, "difference", *pair, lag)
    yield {**own, **name, **interval_fields(version, lambda: result.contrast(difference, kind="observed"))}
    if version.suffix is not None:
        return
    absolute = result.absolute_difference_weights(*pair, lag)
    name = named_row(version.model, "absolute_difference", *pair, lag)
    tested = interval_fields(version, lambda: result.contrast(absolute, kind="observed"))
    yield {**own, **name, "role": "secondary", **tested}
    if result.means == "latent":
        name = named_row(version.model, "difference_sd_uncertain", *pair, lag)
        tested = interval_fields(version, lambda: result.difference_sd_uncertain(*pair, lag, kind="observed"))
        yield {**own, **name, "role": "sensitivity", **tested}
    if context.has_therapists:
        name = named_row(version.model, "difference", *pair, lag, CLUSTERED)
        tested = interval_fields(
            version, lambda: result.contrast(difference, kind="robust"), CLUSTERED, "clusters less one"
        )
        yield {**own, **name, "role": "sensitivity", "se_kind": CLUSTERED, **tested}


def contrast_unit(context: AnalysisContext) -> str:
    """Return the unit of D."""
    return f"{context.unit} per SD of alliance within clients"


def named_row(
    model: str, term: str, rater: str, rater_b: str | None, lag: int, suffix: str | None = None
) -> dict[str, Any]:
    """Return the columns that say which quantity a row of the contrast is."""
    key = row_key(ANALYSIS, model, f"lag_{lag}" if lag > 1 else None, rater, rater_b, term, suffix)
    return {"row_id": key, "term": term, "rater": rater, "rater_b": rater_b, "lag": lag}
