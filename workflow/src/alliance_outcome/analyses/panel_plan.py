"""Which panel models a study gets, of how many sessions, before anything is estimated.

The number of sessions does not depend on results: the first K, K being the last that at least half of the clients
reach, or as many of these as the number of clients carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.panel_names import DYNAMIC, PLAIN, TRENDS
from alliance_outcome.design.timing import outcome_offset, session_slots
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.panel import FEWEST_WAVES, CrossLaggedModel, DynamicPanelModel, Share
from alliance_outcome.models.panel_layout import Order

#: Share of clients who reach the last session that is used, and the most sessions that are.
REACHED, MOST_WAVES = 0.5, 12
#: Clients for each parameter, expected values and covariances of what is not explained left out.
CLIENTS_PER_PARAMETER = 2.0
#: With fewer usable sessions trends cannot be told apart.
FEWEST = {TRENDS: FEWEST_WAVES["slopes"], PLAIN: FEWEST_WAVES["plain"], DYNAMIC: FEWEST_WAVES["plain"]}

SEVERITY = "severity"


@dataclass(frozen=True)
class PanelPlan:
    """One panel model of a study.

    Parameters
    ----------
    name : str
        Of :data:`PANEL_MODELS`.
    n_waves : int
        Sessions that are used; 0 for a refusal.
    paths, residuals : {'varying', 'invariant'}
        Whether paths, and residual (co)variances, are those of each session, or the same in all.
    lags : int
        Number of earlier sessions that act directly.
    reliability : mapping of str to float
        Reliability within clients that is allowed for, by column.
    reason : str or None
        Why there is none.
    """

    name: str
    n_waves: int
    residuals: Share = "varying"
    paths: Share = "invariant"
    lags: int = 1
    reliability: Mapping[str, float] | None = None
    reason: str | None = None

    @property
    def refused(self) -> bool:
        """Whether nothing is fitted."""
        return self.reason is not None


def panel_table(sessions: pd.DataFrame, context: AnalysisContext) -> pd.DataFrame:
    """Return the held sessions with their slots.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    context : AnalysisContext

    Returns
    -------
    DataFrame
        client, therapist, slot, severity and every rater's alliance.
    """
    columns = ["client", "therapist", SEVERITY, *rater_columns(context).values()]
    table = sessions.assign(slot=session_slots(sessions, context.lag_unit))
    return table.loc[table["slot"].notna(), [*columns, "slot"]].reset_index(drop=True)


def rater_columns(context: AnalysisContext) -> dict[str, str]:
    """Return the column of each rater's alliance."""
    return {rater: f"alliance_{rater}" for rater in context.raters}


def timing_of(context: AnalysisContext) -> dict[str, dict[str, Order] | dict[str, int]]:
    """Say when each rater answers: the rating that a wave has is the one that comes next before the next outcome.

    Parameters
    ----------
    context : AnalysisContext

    Returns
    -------
    dict
        ``order`` and ``shift`` by rater, as :class:`~alliance_outcome.models.panel.PanelModel` takes them.
    """
    order: dict[str, Order] = {}
    shift: dict[str, int] = {}
    for rater, column in rater_columns(context).items():
        alliance, severity = context.timing[column], context.timing[SEVERITY]
        shift[rater] = 1 - outcome_offset(alliance, severity)
        order[rater] = "after" if shift[rater] or alliance != severity else "same"
    return {"order": order, "shift": shift}


def usable_waves(table: pd.DataFrame) -> int:
    """Return the last session that at least half of the clients reach, at most :data:`MOST_WAVES`.

    Parameters
    ----------
    table : DataFrame
        From :func:`panel_table`.

    Returns
    -------
    int
    """
    last = table.groupby("client")["slot"].max().to_numpy(dtype=float)
    if not len(last):
        return 0
    reached = [wave for wave in range(1, MOST_WAVES + 1) if np.mean(last >= wave) >= REACHED]
    return max(reached, default=0)


def plan(name: str, table: pd.DataFrame, context: AnalysisContext, most: int | None = None) -> PanelPlan:
    """Decide of how many sessions a model is fitted.

    Parameters
    ----------
    name : str
        Of :data:`PANEL_MODELS`.
    table : DataFrame
        From :func:`panel_table`.
    context : AnalysisContext
    most : int, optional
        Most sessions; those of :func:`usable_waves` unless given.

    Returns
    -------
    PanelPlan
        The largest number of sessions that clients are enough for; of few clients, residual variances are the same in
        all sessions. A refusal where there are too few sessions or clients.
    """
    usable = usable_waves(table) if most is None else most
    if usable < FEWEST[name]:
        reason = (
            f"{usable} sessions are usable (the last that half of the clients reach), and this model needs "
            f"{FEWEST[name]}"
        )
        return PanelPlan(name, 0, reason=reason)
    n_clients = table["client"].nunique()
    needed = np.inf
    for residuals in ("varying", "invariant") if name != DYNAMIC else ("varying",):
        for n_waves in range(usable, FEWEST[name] - 1, -1):
            proposal = PanelPlan(name, n_waves, residuals)
            try:
                needed = CLIENTS_PER_PARAMETER * counted_parameters(proposal, table, context)
            except UnfittableModel:
                continue
            # Sessions are worth more than residual variances of their own: half of the usable ones at least.
            if n_clients >= needed and n_waves >= min(usable, max(FEWEST[name], usable // 2)):
                return proposal
    reason = (
        f"{n_clients} clients are too few: {FEWEST[name]} sessions need {needed:.0f} "
        f"({CLIENTS_PER_PARAMETER:g} for each parameter)"
    )
    return PanelPlan(name, 0, reason=reason)


def counted_parameters(proposal: PanelPlan, table: pd.DataFrame, context: AnalysisContext) -> int:
    """Count the parameters that clients must be enough for: no expected values, no covariances of what is unexplained.

    Parameters
    ----------
    proposal : PanelPlan
    table : DataFrame
    context : AnalysisContext

    Returns
    -------
    int
    """
    structure = build(proposal, table.iloc[:0], context).structure()
    return sum(not (label.startswith("mean(") or is_given(label)) for label in structure.labels)


def is_given(label: str) -> bool:
    """Whether a parameter describes what the dynamic model takes as given: first severity, ratings, covariances."""
    return "[" in label and "~" not in label and "residual" not in label


def build(
    proposal: PanelPlan, table: pd.DataFrame, context: AnalysisContext, *, clusters: bool = False
) -> CrossLaggedModel | DynamicPanelModel:
    """Set a model up.

    Parameters
    ----------
    proposal : PanelPlan
    table : DataFrame
        From :func:`panel_table`.
    context : AnalysisContext
    clusters : bool
        Whether standard errors allow for therapists.

    Returns
    -------
    CrossLaggedModel or DynamicPanelModel

    Raises
    ------
    UnfittableModel
        If there are too few sessions.
    """
    panel = {
        **timing_of(context),
        "session": "slot",
        "clusters": "therapist" if clusters else None,
    }
    arguments = (table, SEVERITY, rater_columns(context), proposal.n_waves)
    if proposal.name == DYNAMIC:
        return DynamicPanelModel(*arguments, paths=proposal.paths, **panel)
    return CrossLaggedModel(
        *arguments,
        random_slopes=proposal.name == TRENDS,
        lags=proposal.lags,
        paths=proposal.paths,
        residuals=proposal.residuals,
        reliability=proposal.reliability,
        **panel,
    )
