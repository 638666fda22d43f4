"""One row per client: early alliance, what preceded it and the end of therapy."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance_outcome.design.covariates import covariate_columns
from alliance_outcome.design.rows import ModelRows, RowFlow, first_severity, last_severity_before
from alliance_outcome.design.timing import position, session_slots
from alliance_outcome.settings import DesignSettings


def early_rows(
    sessions: pd.DataFrame,
    timings: Mapping[str, str],
    settings: DesignSettings,
    clients: pd.DataFrame,
    therapists: pd.DataFrame,
) -> ModelRows:
    """Build the rows of the early-alliance analysis.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    timings : mapping
        ``before`` or ``after`` for ``severity`` and each ``alliance_<rater>`` column.
    settings : DesignSettings
        The early sessions, how many must be rated, the outcome and the covariates.
    clients, therapists : DataFrame
        Covariate tables.

    Returns
    -------
    ModelRows
        ``client, therapist, outcome`` (missing where the study asks for a model-implied severity, which
        ``analyses`` fills in), ``outcome_last`` (last observed session after the alliance, else missing),
        ``severity_first`` (Y_0), ``severity_before`` (just before the first alliance session used), the mean
        early alliance of each rater and the covariates.
    """
    alliances = [name for name in timings if name != "severity"]
    flow = RowFlow("early")
    slots = _early_slots(sessions, settings)
    everyone = slots.drop_duplicates("client")[["client", "therapist"]]
    flow.note("clients", "Clients with a held session", everyone)
    window = slots[slots["number"].isin(settings.early.sessions)]
    rated = everyone.merge(_early_means(window, alliances, settings.early.min_rated), on="client")
    numbers = ", ".join(str(number) for number in settings.early.sessions)
    flow.note(
        "alliance",
        f"… with alliance rated by every rater in at least {settings.early.min_rated} of sessions {numbers}",
        rated,
    )
    used = window[window[alliances].notna().any(axis=1)]
    rows = rated.merge(_severity_around(sessions, slots, used, timings), on="client", how="left")
    rows = flow.note(
        "baseline",
        "… and severity before the alliance ratings",
        rows.dropna(subset=["severity_first", "severity_before"]),
    )
    rows = _add_outcomes(rows, sessions, slots, used, timings, settings, flow)
    rows, names = covariate_columns(rows, clients, therapists, settings.covariates)
    rows = rows.dropna(subset=names)
    # A model-implied outcome is filled in later; until then nothing is lost for want of it.
    complete = rows if settings.early.outcome == "fixed_session" else rows.dropna(subset="outcome")
    flow.note("covariates", "… and all covariates known", complete)
    return ModelRows(rows.sort_values("client", ignore_index=True), (), tuple(names), flow.frame())


def _early_slots(sessions: pd.DataFrame, settings: DesignSettings) -> pd.DataFrame:
    """Return held sessions in order (``slot``) with the session number that the early window counts (``number``)."""
    order = session_slots(sessions, "attended")
    number = order if settings.lag_unit == "attended" else sessions["session"]
    slots = sessions.assign(slot=order, number=number).dropna(subset="slot")
    return slots.astype({"slot": "int64"}).sort_values(["client", "slot"], ignore_index=True)


def _early_means(window: pd.DataFrame, alliances: list[str], min_rated: int) -> pd.DataFrame:
    """Average each rater's early alliance where enough sessions are rated by every rater."""
    grouped = window.groupby("client")[alliances]
    enough = (grouped.count() >= min_rated).all(axis=1)
    return grouped.mean()[enough].reset_index()


def _severity_around(
    sessions: pd.DataFrame, slots: pd.DataFrame, used: pd.DataFrame, timings: Mapping[str, str]
) -> pd.DataFrame:
    """Find Y_0 and the severity just before the first alliance session used, by client."""
    alliances = [name for name in timings if name != "severity"]
    earliest = "before" if any(timings[name] == "before" for name in alliances) else "after"
    limits = position(used["slot"], earliest).groupby(used["client"]).min()
    before = last_severity_before(sessions, slots, timings["severity"], limits)
    first = first_severity(sessions, slots, timings)
    return (
        pd.DataFrame({"severity_first": first, "severity_before": before}).rename_axis("client").reset_index()
    )


def _add_outcomes(
    rows: pd.DataFrame,
    sessions: pd.DataFrame,
    slots: pd.DataFrame,
    used: pd.DataFrame,
    timings: Mapping[str, str],
    settings: DesignSettings,
    flow: RowFlow,
) -> pd.DataFrame:
    """Join the primary outcome and the last observed severity; neither may precede the last rating used."""
    last_used = used.sort_values("slot").groupby("client")[["slot", "week"]].last()
    observed = slots.dropna(subset="severity")
    last_rating = position(observed["client"].map(last_used["slot"]), "after")
    after = position(observed["slot"], timings["severity"]) > last_rating
    last = observed[after].groupby("client")["severity"].last()
    rows = rows.assign(outcome_last=rows["client"].map(last), outcome=pd.NA)
    if settings.early.outcome == "fixed_session":
        return rows.astype({"outcome": "float64"})
    final = sessions[(sessions["occasion_kind"] == settings.early.outcome) & sessions["severity"].notna()]
    rows["outcome"] = rows["client"].map(final.groupby("client")["severity"].last())
    rows = rows.astype({"outcome": "float64"})
    words = {"end": "end-of-therapy", "follow_up": "follow-up"}[settings.early.outcome]
    flow.note("outcome", f"… and an {words} assessment", rows.dropna(subset="outcome"))
    early = rows["client"].map(final.groupby("client")["week"].last()) <= rows["client"].map(
        last_used["week"]
    )
    rows.loc[early, "outcome"] = float("nan")
    flow.note("order", "… later than the last alliance rating used", rows.dropna(subset="outcome"))
    return rows
