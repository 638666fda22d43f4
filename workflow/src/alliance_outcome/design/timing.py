"""What comes before what: slots, positions and the lag-1 pair.

Every rating has the position 2·slot (taken before the session) or 2·slot + 1 (after it). The slot of a session depends
on the study's lag unit: the rank among held sessions, the clinic's session number, or the week. The lag-1 outcome of an
alliance rating is the first severity position strictly later than the rating.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd

LagUnit = Literal["attended", "scheduled", "week"]
Timing = Literal["before", "after"]

#: How a lag of one is said in words.
LAG_WORDS = {
    "attended": "the next held session",
    "scheduled": "the next scheduled session",
    "week": "the following week",
}


def session_slots(sessions: pd.DataFrame, lag_unit: LagUnit) -> pd.Series:
    """Number the held sessions of each client in units of the lag.

    Parameters
    ----------
    sessions : DataFrame
        Session table with ``client``, ``occasion_kind``, ``session``, ``week`` and ``attendance``.
    lag_unit : {'attended', 'scheduled', 'week'}
        The study's unit of a lag.

    Returns
    -------
    Series
        Nullable integers on the table's index; missing unless the row is a held session. With ``week`` only the
        first session of a week has a slot, so that slots stay unique within clients.
    """
    held = sessions[(sessions["occasion_kind"] == "session") & (sessions["attendance"] == "attended")]
    if lag_unit == "attended":
        slots = held.groupby("client")["session"].rank(method="first").astype("Int64")
    elif lag_unit == "scheduled":
        slots = held["session"].astype("Int64")
    else:
        weeks = held["week"].round().astype("Int64")
        repeated = pd.DataFrame({"client": held["client"], "week": weeks}).duplicated()
        slots = weeks.mask(repeated)
    return slots.reindex(sessions.index)


def position(slot: pd.Series, timing: Timing) -> pd.Series:
    """Place a rating on the time line: 2·slot before the session, 2·slot + 1 after it."""
    return 2 * slot + (timing == "after")


def outcome_offset(alliance: Timing, severity: Timing) -> int:
    """Count the slots from an alliance rating to its lag-1 outcome.

    Parameters
    ----------
    alliance, severity : {'before', 'after'}
        When each is taken.

    Returns
    -------
    int
        0 if severity is taken after the very session before which the alliance was rated, otherwise 1.

    Examples
    --------
    >>> outcome_offset("after", "before")
    1
    >>> outcome_offset("before", "after")
    0
    """
    return 0 if (alliance, severity) == ("before", "after") else 1


def timing_sentence(rater: str, alliance: Timing, severity: Timing, lag_unit: LagUnit) -> str:
    """Say the resolved lag-1 pair of one rater in a sentence.

    Parameters
    ----------
    rater : str
        Whose alliance rating.
    alliance, severity : {'before', 'after'}
        When each is taken.
    lag_unit : {'attended', 'scheduled', 'week'}
        The study's unit of a lag.

    Returns
    -------
    str
        For the report.
    """
    where = "the same session" if outcome_offset(alliance, severity) == 0 else LAG_WORDS[lag_unit]
    return f"Alliance rated by the {rater} {alliance} a session is paired with severity taken {severity} {where}."


def recall_warning(rater: str, recall_days: float | None, median_gap_days: float) -> str | None:
    """Warn when the outcome's recall window reaches back before the alliance rating.

    Parameters
    ----------
    rater : str
        Whose alliance rating.
    recall_days : float or None
        How many days back the severity form asks; unknown gives no warning.
    median_gap_days : float
        Median days between the alliance rating and its lag-1 outcome.

    Returns
    -------
    str or None
        A warning with the words that DESIGN.md asks for, or nothing.
    """
    if recall_days is None or pd.isna(recall_days) or recall_days <= median_gap_days:
        return None
    return (
        f"The severity form asks about the last {recall_days:.0f} days, and the median gap after the {rater}'s "
        f"rating is {median_gap_days:.0f} days: alliance and lag-1 outcome are not temporally separated."
    )
