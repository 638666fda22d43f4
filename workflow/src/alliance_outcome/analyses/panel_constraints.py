"""Do the panel models' constraints hold? χ² difference tests against models without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.panel_fits import PanelVersion, fitted_version
from alliance_outcome.analyses.panel_names import DYNAMIC, PLAIN, TRENDS
from alliance_outcome.analyses.panel_plan import PanelPlan

CONSTRAINT_COLUMNS = (
    *("model", "constraint", "chi_square", "df", "p_value"),
    *("aic_difference", "bic_difference", "reason"),
)

#: What is tested, in words: paths, residual (co)variances, and that clients have no trends of their own.
SAME_PATHS = "paths are the same in all sessions"
SAME_RESIDUALS = "residual variances and covariances are the same in all sessions"
NO_TRENDS = "clients have no trends of their own"


def constraint_rows(
    version: PanelVersion, versions: Sequence[PanelVersion], table: pd.DataFrame, context: AnalysisContext
) -> Iterator[dict[str, Any]]:
    """Test what a model takes for granted, and what it might have.

    Parameters
    ----------
    version : PanelVersion
        A model of all clients.
    versions : sequence of PanelVersion
        Among them the model without trends.
    table : DataFrame
        From :func:`~alliance_outcome.analyses.panel_plan.panel_table`.
    context : AnalysisContext

    Yields
    ------
    dict
        The columns of :data:`CONSTRAINT_COLUMNS`. Statistics are those of the model with the constraint against the one
        without; differences of AIC and BIC below zero speak for the constraint.
    """
    if not version.is_sound:
        return
    chosen = version.plan
    free = replace(chosen, paths="varying")
    yield _row(version, SAME_PATHS, version, fitted_version(free, table, context, None, version.sample))
    if chosen.name != DYNAMIC and chosen.residuals == "varying":
        same = replace(chosen, residuals="invariant")
        small = fitted_version(same, table, context, None, version.sample)
        yield _row(version, SAME_RESIDUALS, small, version)
    if chosen.name == TRENDS:
        small = _without_trends(chosen, versions) or fitted_version(
            replace(chosen, name=PLAIN), table, context, None, version.sample
        )
        yield _row(version, NO_TRENDS, small, version)


def _without_trends(chosen: PanelPlan, versions: Sequence[PanelVersion]) -> PanelVersion | None:
    """Find the model that differs by having no trends, if it is there already."""
    wanted = replace(chosen, name=PLAIN)
    return next((each for each in versions if each.suffix is None and each.plan == wanted), None)


def _row(version: PanelVersion, constraint: str, small: PanelVersion, large: PanelVersion) -> dict[str, Any]:
    """Return one test, or why there is none."""
    base = {"model": version.model, "constraint": constraint}
    for each in (small, large):
        if not each.is_sound:
            return {**base, "reason": each.reason}
    one, other = small.result, large.result
    assert one is not None
    assert other is not None
    test = other.likelihood_ratio(one)
    criteria, against = one.information_criteria(), other.information_criteria()
    return {
        **base,
        "chi_square": test["statistic"],
        "df": test["df"],
        "p_value": test["p_value"],
        "aic_difference": criteria["aic"] - against["aic"],
        "bic_difference": criteria["bic"] - against["bic"],
    }
