"""The rows that models are fitted to: session pairs for the hybrid models, clients for the early-alliance model.

Each builder returns its rows with a count of what was left out at each step, so that the data-flow figure can show how
many sessions, clients and therapists every answer rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from alliance_outcome.design.covariates import covariate_columns
from alliance_outcome.design.timing import outcome_offset, position, session_slots
from alliance_outcome.settings import DesignSettings

#: Steps of the data flow, in the order in which rows are lost.
FLOW_COLUMNS = ["stage", "step", "text", "n_rows", "n_clients", "n_therapists", "n_removed"]


@dataclass
class RowFlow:
    """Count rows, clients and therapists from step to step.

    Parameters
    ----------
    stage : str
        ``hybrid`` or ``early``.
    """

    stage: str
    records: list[dict[str, object]] = field(default_factory=list)

    def note(self, step: str, text: str, rows: pd.DataFrame) -> pd.DataFrame:
        """Record the rows that are left after a step, and hand them on."""
        before = self.records[-1]["n_rows"] if self.records else len(rows)
        self.records.append(
            {
                "stage": self.stage,
                "step": step,
                "text": text,
                "n_rows": len(rows),
                "n_clients": rows["client"].nunique(),
                "n_therapists": rows["therapist"].nunique(),
                "n_removed": before - len(rows),
            }
        )
        return rows

    def frame(self) -> pd.DataFrame:
        """Return the steps as a table with :data:`FLOW_COLUMNS`."""
        return pd.DataFrame(self.records, columns=FLOW_COLUMNS)


@dataclass(frozen=True)
class ModelRows:
    """Rows of one analysis.

    Parameters
    ----------
    rows : DataFrame
        One row per session pair or client.
    trend, covariates : tuple of str
        Columns of f(t) and of the study's covariates.
    flow : DataFrame
        What was left out, with :data:`FLOW_COLUMNS`.
    """

    rows: pd.DataFrame
    trend: tuple[str, ...]
    covariates: tuple[str, ...]
    flow: pd.DataFrame


def hybrid_rows(
    sessions: pd.DataFrame,
    timings: Mapping[str, str],
    settings: DesignSettings,
    clients: pd.DataFrame,
    therapists: pd.DataFrame,
) -> ModelRows:
    """Pair each alliance rating with its lag-1 outcome.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    timings : mapping
        ``before`` or ``after`` for ``severity`` and each ``alliance_<rater>`` column.
    settings : DesignSettings
        Lag unit, largest gap, trend and covariates.
    clients, therapists : DataFrame
        Covariate tables.

    Returns
    -------
    ModelRows
        A row per outcome slot at which every rater's alliance, the outcome and the first severity are known:
        ``client, therapist, session, week, slot, outcome, outcome_before, severity_first``, the alliance columns,
        trend and covariates. ``outcome_before`` may be missing. All raters stand on the same rows.
    """
    alliances = _alliances(timings)
    pairs, flow = _lag_pairs(sessions, timings, settings, "hybrid")
    pairs = flow.note("rated", "… with alliance rated by every rater", pairs.dropna(subset=alliances))
    pairs = flow.note("outcome", "… and severity measured at lag 1", pairs.dropna(subset="outcome"))
    if settings.max_gap_weeks is not None:
        near = ~(pairs["gap_weeks"] > settings.max_gap_weeks)
        text = f"… at most {settings.max_gap_weeks:g} weeks apart"
        pairs = flow.note("gap", text, pairs[near])
    return _with_covariates(pairs, settings, clients, therapists, flow)


def incomplete_rows(
    sessions: pd.DataFrame,
    timings: Mapping[str, str],
    settings: DesignSettings,
    clients: pd.DataFrame,
    therapists: pd.DataFrame,
) -> ModelRows:
    """Pair each alliance rating with its lag-1 outcome, whichever of them is missing.

    Parameters
    ----------
    sessions, timings, settings, clients, therapists
        See :func:`hybrid_rows`.

    Returns
    -------
    ModelRows
        The rows of :func:`hybrid_rows`, and those in which one rating, the other, or the outcome is missing. An
        outcome that comes too late (`max_gap_weeks`) is missing; ratings stay.
    """
    pairs, flow = _lag_pairs(sessions, timings, settings, "joint")
    if settings.max_gap_weeks is not None:
        pairs["outcome"] = pairs["outcome"].mask(pairs["gap_weeks"] > settings.max_gap_weeks)
    known = pairs.dropna(subset=[*_alliances(timings), "outcome"], how="all")
    pairs = flow.note("rated", "… with alliance rated by anybody, or severity measured at lag 1", known)
    return _with_covariates(pairs, settings, clients, therapists, flow)


def _alliances(timings: Mapping[str, str]) -> list[str]:
    return [name for name in timings if name != "severity"]


def _lag_pairs(
    sessions: pd.DataFrame, timings: Mapping[str, str], settings: DesignSettings, stage: str
) -> tuple[pd.DataFrame, RowFlow]:
    """Pair every held session's ratings with their lag-1 outcome and the client's first severity, missing or not."""
    slots = _slot_table(sessions, settings.lag_unit)
    flow = RowFlow(stage)
    flow.note("held", "Held sessions", slots)
    pairs = _pair_with_alliance(slots, _alliances(timings), timings)
    first = first_severity(sessions, slots, timings)
    return pairs.assign(severity_first=pairs["client"].map(first)), flow


def _with_covariates(
    pairs: pd.DataFrame,
    settings: DesignSettings,
    clients: pd.DataFrame,
    therapists: pd.DataFrame,
    flow: RowFlow,
) -> ModelRows:
    """Keep rows whose covariates are known, and add the trend."""
    pairs = flow.note(
        "baseline", "… and severity before the first alliance rating", pairs.dropna(subset="severity_first")
    )
    pairs, names = covariate_columns(pairs, clients, therapists, settings.covariates)
    pairs = flow.note("covariates", "… and all covariates known", pairs.dropna(subset=list(names)))
    pairs, trend = _add_trend(pairs, settings)
    pairs = pairs.sort_values(["client", "slot"], ignore_index=True)
    return ModelRows(pairs, trend, tuple(names), flow.frame())


def _slot_table(sessions: pd.DataFrame, lag_unit: str) -> pd.DataFrame:
    """Return the held sessions with their slot, one row per client and slot."""
    slots = sessions.assign(slot=session_slots(sessions, lag_unit)).dropna(subset="slot")
    return slots.astype({"slot": "int64"}).sort_values(["client", "slot"], ignore_index=True)


def _pair_with_alliance(
    slots: pd.DataFrame, alliances: Iterable[str], timings: Mapping[str, str]
) -> pd.DataFrame:
    """Join each rater's alliance to the slot of its lag-1 outcome; whatever is missing stays missing."""
    offsets = {name: outcome_offset(timings[name], timings["severity"]) for name in alliances}
    lead = max(offsets.values())
    pairs = slots[["client", "therapist", "session", "week", "slot"]].copy()
    for name, offset in offsets.items():
        rated = slots[["client", "slot", name]].assign(slot=slots["slot"] + offset - lead)
        pairs = pairs.merge(rated, on=["client", "slot"], how="left")
    # ``slot`` is that of the earliest alliance rating of the pair; its outcome lies ``lead`` slots later.
    severity = slots[["client", "slot", "severity", "week"]]
    later = severity.rename(columns={"severity": "outcome", "week": "outcome_week"})
    earlier = severity[["client", "slot", "severity"]].rename(columns={"severity": "outcome_before"})
    pairs = pairs.merge(later.assign(slot=later["slot"] - lead), on=["client", "slot"], how="left")
    pairs = pairs.merge(earlier.assign(slot=earlier["slot"] - lead + 1), on=["client", "slot"], how="left")
    return pairs.assign(gap_weeks=pairs["outcome_week"] - pairs["week"]).drop(columns="outcome_week")


def first_severity(sessions: pd.DataFrame, slots: pd.DataFrame, timings: Mapping[str, str]) -> pd.Series:
    """Find Y_0: the last severity observed before a client's first alliance rating by any rater.

    Parameters
    ----------
    sessions : DataFrame
        Session table; an intake assessment counts when no session's severity precedes the first rating.
    slots : DataFrame
        Held sessions with ``slot``.
    timings : mapping
        ``before`` or ``after`` for ``severity`` and each ``alliance_<rater>`` column.

    Returns
    -------
    Series
        By client, in outcome units; clients without such a severity are absent.
    """
    alliances = [name for name in timings if name != "severity"]
    ratings = [
        pd.DataFrame({"client": slots["client"], "at": position(slots["slot"], timings[name])})[
            slots[name].notna()
        ]
        for name in alliances
    ]
    first_rating = pd.concat(ratings).groupby("client")["at"].min()
    return last_severity_before(sessions, slots, timings["severity"], first_rating)


def last_severity_before(
    sessions: pd.DataFrame, slots: pd.DataFrame, severity_timing: str, limits: pd.Series
) -> pd.Series:
    """Find the last observed severity strictly before a position, by client.

    Parameters
    ----------
    sessions, slots : DataFrame
        Session table, and its held sessions with ``slot``.
    severity_timing : {'before', 'after'}
        When severity is taken.
    limits : Series
        Positions by client.

    Returns
    -------
    Series
        Severity by client; the intake assessment stands in where no session's severity is earlier.
    """
    observed = pd.DataFrame(
        {
            "client": slots["client"],
            "at": position(slots["slot"], severity_timing),
            "severity": slots["severity"],
        }
    )
    intake = sessions.loc[sessions["occasion_kind"] == "intake", ["client", "severity"]].assign(at=-np.inf)
    observed = pd.concat([intake, observed.astype({"at": "float64"})]).dropna(subset="severity")
    observed = observed[observed["at"] < observed["client"].map(limits)]
    return observed.sort_values("at", kind="stable").groupby("client")["severity"].last()


def _add_trend(rows: pd.DataFrame, settings: DesignSettings) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Add the columns of f(t), where t counts slots from 1 (weeks: from the first week)."""
    time = rows["slot"].to_numpy(dtype=float) + (1.0 if settings.lag_unit == "week" else 0.0)
    if settings.time_trend == "log":
        return rows.assign(time=np.log(time)), ("time",)
    if settings.time_trend == "linear":
        return rows.assign(time=time), ("time",)
    basis = restricted_cubic_spline(time)
    names = tuple(f"time_{number}" for number in range(1, basis.shape[1] + 1))
    return rows.assign(**dict(zip(names, basis.T, strict=True))), names


def restricted_cubic_spline(values: np.ndarray) -> np.ndarray:
    """Evaluate a restricted cubic spline with four knots at the .05, .35, .65 and .95 quantiles.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Times.

    Returns
    -------
    ndarray, shape (n, 3)
        The linear term and two cubic terms that are linear beyond the outer knots (Harrell 2015, Regression
        Modeling Strategies).
    """
    knots = np.unique(np.quantile(values, [0.05, 0.35, 0.65, 0.95]))
    last, before_last = knots[-1], knots[-2]

    def cubic(knot: float) -> np.ndarray:
        return np.clip(values - knot, 0, None) ** 3

    terms = [
        cubic(knot)
        - cubic(before_last) * (last - knot) / (last - before_last)
        + cubic(last) * (before_last - knot) / (last - before_last)
        for knot in knots[:-2]
    ]
    return np.column_stack([values, *(term / (last - knots[0]) ** 2 for term in terms)])
