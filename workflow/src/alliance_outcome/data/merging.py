"""Put the rows of all files together: one row per client, episode and occasion.

Sessions are the same occasion when client, episode and session number are; other occasions when client, episode and
kind are, unless their weeks tell several apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.occasions import GROUP_COLUMNS, SESSION
from alliance_outcome.data.source_files import SourceFile

HELD = "attended"
#: Order of occasions within an episode; sessions and what lies between them by number and week.
KIND_ORDER = {"intake": 0, "session": 1, "between": 1, "end": 2, "follow_up": 3}
_EPISODE = ["client", "episode"]
_DAYS_PER_WEEK = 7
#: Weeks closer than this are the same (about a second, far above the rounding of decimals in a file).
_SAME_WEEK = 1e-6


class OccasionMerger:
    """Merge the rows of files into occasions.

    Parameters
    ----------
    sources : mapping of str to SourceFile
        Long and wide files by role, in the order of the study file. Their ``rows`` hold the design columns and
        whatever else is to be merged (each of those columns comes from one file).
    ledger : Ledger
        Receives faults and announcements.

    Attributes
    ----------
    rows : pandas.DataFrame
        The usable rows of all files with ``key``, the number of their occasion, and ``source_row``, their index in the
        file's ``rows``.
    """

    def __init__(self, sources: Mapping[str, SourceFile], ledger: Ledger) -> None:
        self.sources = sources
        self.ledger = ledger
        parts = [
            source.rows[source.rows["usable"]].rename_axis("source_row").reset_index()
            for source in sources.values()
        ]
        self.rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def merge(self) -> pd.DataFrame:
        """Merge; faults and announcements go to the ledger.

        Returns
        -------
        pandas.DataFrame
            One row per occasion, in order within clients, indexed by ``key``; columns as in the files' rows, ``week``
            complete where a date or week is known, ``attendance`` complete for sessions.
        """
        self._weeks_from_dates()
        self._number_occasions()
        self._refuse_duplicates()
        self._check_agreement()
        occasions = self.rows.drop(columns=["file", "position", "source_row", "usable", "date"])
        blanks = occasions.groupby("key", sort=True)[["therapist_blank", "attendance_blank"]].any()
        occasions = occasions.groupby("key", sort=True).first()
        occasions[blanks.columns] = blanks
        occasions = self._complete_attendance(_in_order(occasions))
        self._check_weeks(occasions)
        return occasions

    def refuse(self, mask: pd.Series, column: str, problem: str, remedy: str) -> None:
        """Note a fault in each file for the rows of a mask.

        Parameters
        ----------
        mask : pandas.Series
            Over :attr:`rows`.
        column : str
            Design column whose header the message names.
        problem, remedy : str
            See :class:`alliance_outcome.errors.Fault`.
        """
        for role, part in self.rows[mask].groupby("file", sort=False):
            source = self.sources[role]
            header = getattr(source.columns, column) or source.columns.client
            self.ledger.fault(
                role, header, problem, remedy, source.table.row_numbers(part["position"].unique())
            )

    def _weeks_from_dates(self) -> None:
        """Turn dates into weeks since the client's first held session of the episode."""
        rows = self.rows
        is_session = rows["occasion_kind"] == SESSION
        session = [rows[name] for name in (*_EPISODE, "session")]
        held = is_session & rows["attendance"].groupby(session).transform("first").fillna(HELD).eq(HELD)
        origin = rows["date"].where(held).groupby([rows[name] for name in _EPISODE]).transform("min")
        rows["week"] = rows["week"].fillna((rows["date"] - origin).dt.days / _DAYS_PER_WEEK)
        unplaced = int((rows["date"].notna() & rows["week"].isna()).sum())
        text = f"{counted(unplaced, 'row')} with a date of clients without a dated held session: their week is unknown."
        self.ledger.announce("warning", STUDY_FILE, "columns.date", unplaced, text)

    def _number_occasions(self) -> None:
        """Give the rows of one occasion one ``key``; occasions other than sessions differ by week where they do."""
        rows = self.rows
        is_session = rows["occasion_kind"] == SESSION
        days = (rows["date"] - pd.Timestamp(0)).dt.days / _DAYS_PER_WEEK
        moment = (rows["week"].fillna(days) / _SAME_WEEK).round()
        kind = [rows[name] for name in (*_EPISODE, "occasion_kind")]
        several = moment.groupby(kind).transform("nunique") > 1
        self.refuse(
            several & ~is_session & moment.isna(),
            "occasion_kind",
            "the client has several occasions of this kind, and this one has no week",
            "give the week or date of each, so that they can be told apart",
        )
        slot = rows["session"].where(is_session, moment.where(several))
        rows["key"] = (
            rows.assign(slot=slot)
            .groupby([*_EPISODE, "occasion_kind", "slot"], sort=False, dropna=False)
            .ngroup()
        )

    def _refuse_duplicates(self) -> None:
        """Refuse two rows of one file for one occasion, and go on with the first of them."""
        self.refuse(
            self.rows.duplicated(["file", "key"], keep=False),
            "client",
            "several rows for the same client and occasion",
            "keep one row per client and occasion; number episodes, or give weeks or dates, to tell occasions apart",
        )
        self.rows = self.rows[~self.rows.duplicated(["file", "key"])]

    def _check_agreement(self) -> None:
        """Check that files say the same about an occasion that stands in several of them."""
        for column in ("attendance", *GROUP_COLUMNS):
            first = self.rows.groupby("key")[column].transform("first")
            differs = self.rows[column].notna() & (self.rows[column] != first)
            self.refuse(
                differs,
                column,
                f"another file has another {column} for the same occasion",
                "make the files agree",
            )
        first = self.rows.groupby("key")["week"].transform("first")
        differs = (self.rows["week"] - first).abs() > _SAME_WEEK
        for role, n in differs.groupby(self.rows["file"], sort=False).sum().items():
            text = f"{counted(n, 'session')} with another week or date than in the file before: that file's was taken."
            self.ledger.announce("warning", role, None, n, text)

    def _complete_attendance(self, occasions: pd.DataFrame) -> pd.DataFrame:
        """Count sessions without any attendance column as attended, and refuse empty cells of such a column."""
        unknown = (occasions["occasion_kind"] == SESSION) & occasions["attendance"].isna()
        blank = self.rows["key"].isin(occasions.index[unknown]) & self.rows["attendance_blank"]
        self.refuse(
            blank,
            "attendance",
            "the attendance of a session is empty",
            "fill in attended, cancelled or no_show",
        )
        n = int((unknown & ~occasions["attendance_blank"]).sum())
        text = f"{counted(n, 'session')} without a column of attendance: counted as attended."
        self.ledger.announce("assumed", STUDY_FILE, "columns.attendance", n, text)
        return occasions.assign(attendance=occasions["attendance"].mask(unknown, HELD))

    def _check_weeks(self, occasions: pd.DataFrame) -> None:
        """Refuse sessions earlier than the one before, and announce other occasions that lie oddly."""
        sessions = occasions[(occasions["occasion_kind"] == SESSION) & occasions["week"].notna()]
        latest = (
            sessions.groupby(_EPISODE)["week"].cummax().groupby([sessions[name] for name in _EPISODE]).shift()
        )
        back = sessions.index[sessions["week"] < latest - _SAME_WEEK]
        wrong = self.rows["key"].isin(back) & self.rows["week"].notna()
        remedy = "correct the week, date or session number"
        for role in self.rows.loc[wrong, "file"].unique():
            source, problem = self.sources[role], "the week of a session is before that of an earlier session"
            own = wrong & (self.rows["file"] == role)
            if source.has("week") or source.has("date"):
                self.refuse(own, "week" if source.has("week") else "date", problem, remedy)
            else:
                self.ledger.fault(STUDY_FILE, source.key("occasions"), problem, remedy)
        self._announce_odd_weeks(occasions, sessions)

    def _announce_odd_weeks(self, occasions: pd.DataFrame, sessions: pd.DataFrame) -> None:
        """Announce intakes after the first session and ends before the last one that was held."""
        held = sessions[sessions["attendance"] == HELD].groupby(_EPISODE)["week"].agg(["min", "max"])
        spans = occasions[_EPISODE].join(held, on=_EPISODE)
        late = (occasions["occasion_kind"] == "intake") & (occasions["week"] > spans["min"] + _SAME_WEEK)
        early = (occasions["occasion_kind"] == "end") & (occasions["week"] < spans["max"] - _SAME_WEEK)
        for mask, text in (
            (late, "intake later than the first session"),
            (early, "end before the last session"),
        ):
            n = int(mask.sum())
            self.ledger.announce(
                "warning", STUDY_FILE, "columns.week", n, f"{counted(n, 'occasion')}: {text}."
            )


def _in_order(occasions: pd.DataFrame) -> pd.DataFrame:
    """Sort occasions by client and episode, then intake, sessions with what lies between, end, follow-up."""
    order = occasions.assign(
        kind_order=occasions["occasion_kind"].map(KIND_ORDER),
        place=occasions["session"].where(occasions["occasion_kind"] != "between", _places_between(occasions)),
    ).sort_values([*_EPISODE, "kind_order", "place", "week"], kind="stable")
    return occasions.loc[order.index]


def _places_between(occasions: pd.DataFrame) -> pd.Series:
    """Number of the last session before each occasion between sessions, plus a half; those without a week come last."""
    between = occasions[(occasions["occasion_kind"] == "between") & occasions["week"].notna()].sort_values(
        "week"
    )
    sessions = occasions[(occasions["occasion_kind"] == SESSION) & occasions["week"].notna()].sort_values(
        "week"
    )
    places = pd.Series(np.inf, index=occasions.index)
    if len(between):
        last = pd.merge_asof(
            between[[*_EPISODE, "week"]], sessions[[*_EPISODE, "week", "session"]], on="week", by=_EPISODE
        )
        places.loc[between.index] = last["session"].fillna(0).to_numpy() + 0.5
    return places
