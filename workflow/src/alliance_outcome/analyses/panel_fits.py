"""The panel models of a study, fitted or refused: of all clients, under other choices, and of parts of the sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.panel_names import DYNAMIC, PANEL_MODELS, TRENDS
from alliance_outcome.analyses.panel_plan import (
    FEWEST,
    SEVERITY,
    PanelPlan,
    build,
    plan,
    rater_columns,
)
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.panel_result import PanelResult
from alliance_outcome.settings import MeasurementErrorSettings

#: Effects beyond the next session are estimated up to this lag.
MOST_LAGS = 3
#: Whose sessions, where nobody is left out.
EVERYBODY = "all clients with a value in the sessions used"

_WAVES_BESIDE = (-2, 2)


@dataclass(frozen=True, eq=False)
class PanelVersion:
    """One panel model of one sample, fitted or refused.

    Parameters
    ----------
    plan : PanelPlan
    suffix : str or None
        What sets it apart from the model of the same name, in ``row_id``.
    sample : str
        Whose sessions.
    result : PanelResult or None
    reason : str or None
        Why there is none, or why it is not established.
    counts : dict
        ``n_sessions``, ``n_clients`` and ``n_therapists``.
    """

    plan: PanelPlan
    suffix: str | None
    sample: str
    result: PanelResult | None
    reason: str | None
    counts: dict[str, int | None] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name of the model in estimates: what sets a version apart is part of it."""
        return self.plan.name if self.suffix is None else f"{self.plan.name}_{self.suffix}"

    @property
    def is_sound(self) -> bool:
        """Whether there is a solution that can be relied on."""
        return self.result is not None and self.reason is None

    @property
    def status(self) -> dict[str, Any]:
        """Columns ``status`` and ``reason``."""
        if self.result is None:
            return {"status": "refused", "reason": self.reason}
        if self.reason is not None:
            return {"status": "not_established", "reason": self.reason}
        return {"status": "ok", "reason": None}


def primary_panel_model(waves: int) -> str:
    """Name the primary model of a study with so many usable sessions, whatever the data say."""
    return TRENDS if waves >= FEWEST[TRENDS] else DYNAMIC


def main_versions(table: pd.DataFrame, context: AnalysisContext) -> Iterator[PanelVersion]:
    """Yield every panel model of all clients.

    Parameters
    ----------
    table : DataFrame
        From :func:`~alliance_outcome.analyses.panel_plan.panel_table`.
    context : AnalysisContext

    Yields
    ------
    PanelVersion
    """
    for name in PANEL_MODELS:
        yield fitted_version(plan(name, table, context), table, context, None, EVERYBODY)


def panel_versions(
    table: pd.DataFrame,
    clients: pd.DataFrame,
    context: AnalysisContext,
    measurement: MeasurementErrorSettings,
    primary: str,
) -> Iterator[PanelVersion]:
    """Yield the models of all clients, then the primary one under other choices and of parts of the sample.

    Parameters
    ----------
    table : DataFrame
        From :func:`~alliance_outcome.analyses.panel_plan.panel_table`.
    clients : DataFrame
        Client table.
    context : AnalysisContext
    measurement : MeasurementErrorSettings
        Reliabilities, if any are known.
    primary : str
        Of :data:`~alliance_outcome.analyses.panel_names.PANEL_MODELS`.

    Yields
    ------
    PanelVersion
    """
    for version in main_versions(table, context):
        yield version
        if version.plan.name == primary:
            chosen = version.plan
    if chosen.refused:
        return
    for more in _WAVES_BESIDE:
        waves = chosen.n_waves + more
        if FEWEST[primary] <= waves <= table["slot"].max():
            other = replace(chosen, n_waves=waves)
            yield fitted_version(other, table, context, f"first_{waves}_sessions", EVERYBODY)
    if primary == TRENDS:
        for lags in range(2, MOST_LAGS + 1):
            yield fitted_version(replace(chosen, lags=lags), table, context, f"lags_{lags}", EVERYBODY)
        known = _reliability(measurement, context)
        if known:
            corrected = replace(chosen, reliability=known)
            yield fitted_version(corrected, table, context, "reliability", EVERYBODY)
    for suffix, sample, part in _parts(table, clients):
        proposal = plan(primary, part, context, chosen.n_waves)
        yield fitted_version(proposal, part, context, suffix, sample)


def _parts(table: pd.DataFrame, clients: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield parts of the sample, by how treatment ended and by how long it was."""
    if "ending" in clients:
        endings = table["client"].map(clients.set_index("client")["ending"])
        for ending in ("planned", "unplanned"):
            if (endings == ending).any():
                yield f"{ending}_ending", f"clients with {ending} ending", table[endings == ending]
    length = table.groupby("client")["slot"].transform("max").astype(float)
    median = float(table.groupby("client")["slot"].max().median())
    yield "shorter_treatment", f"clients with at most {median:g} sessions", table[length <= median]
    yield "longer_treatment", f"clients with more than {median:g} sessions", table[length > median]


def _reliability(measurement: MeasurementErrorSettings, context: AnalysisContext) -> dict[str, float]:
    """Return what is known of the reliability within clients, by column; an interval stands for its middle."""
    stated = measurement.shares(WITHIN_CLIENT)
    columns = rater_columns(context)
    return {columns[rater]: share for rater, share in stated.items() if rater in columns and share < 1.0}


def fitted_version(
    proposal: PanelPlan, table: pd.DataFrame, context: AnalysisContext, suffix: str | None, sample: str
) -> PanelVersion:
    """Fit a model, or say why there is none.

    Parameters
    ----------
    proposal : PanelPlan
    table : DataFrame
        From :func:`~alliance_outcome.analyses.panel_plan.panel_table`.
    context : AnalysisContext
    suffix : str or None
        What sets it apart from the model of the same name.
    sample : str
        Whose sessions, in words.

    Returns
    -------
    PanelVersion
    """
    if proposal.refused:
        return PanelVersion(proposal, suffix, sample, None, proposal.reason)
    counts = _counts(table[table["slot"] <= proposal.n_waves], context)
    try:
        result = build(proposal, table, context, clusters=context.has_therapists).fit()
    except UnfittableModel as problem:
        return PanelVersion(proposal, suffix, sample, None, problem.reason)
    return PanelVersion(proposal, suffix, sample, result, _doubt(result), counts)


def _doubt(result: PanelResult) -> str | None:
    """Say why a solution is not to be relied on."""
    if not result.converged:
        return "the model did not converge"
    if result.improper:
        return f"the solution is improper: {', '.join(result.improper)} could not be that of any data"
    try:
        result.cov_params("observed")
    except UnavailableInference as problem:
        return problem.reason
    return None


def _counts(table: pd.DataFrame, context: AnalysisContext) -> dict[str, int | None]:
    known = table[table[[SEVERITY, *rater_columns(context).values()]].notna().any(axis=1)]
    return {
        "n_sessions": len(known),
        "n_clients": int(known["client"].nunique()),
        "n_therapists": int(known["therapist"].nunique()) if context.has_therapists else None,
    }
