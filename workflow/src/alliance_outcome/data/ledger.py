"""What happened to the data on its way in: faults, announcements and the data flow.

Nothing is repaired silently. Every stage of the ingest writes into one :class:`Ledger`, and goes on after a fault as
far as it can, so that a user is told everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from alliance_outcome.errors import FaultCollector

AnnouncementKind = Literal[
    "missing_code",
    "user_missing",
    "recoded",
    "flipped",
    "items_imputed",
    "not_scored",
    "unverified_key",
    "overridden_key",
    "dropped",
    "nesting",
    "stored_total",
    "warning",
    "assumed",
]
ANNOUNCEMENT_COLUMNS = ("kind", "file", "column", "n", "text")
DATA_FLOW_COLUMNS = ("order", "stage", "step", "text", "n_rows", "n_clients", "n_therapists", "n_removed")

#: What messages call the study file.
STUDY_FILE = "study file"


@dataclass
class Ledger:
    """Collector of one ingest; see the module's text.

    Parameters
    ----------
    faults : FaultCollector
        What stops the study.
    """

    faults: FaultCollector = field(default_factory=FaultCollector)
    _announcements: list[tuple[str, str, str | None, int, str]] = field(default_factory=list)
    _flow: list[tuple[int, str, str, str, int, int, int, int]] = field(default_factory=list)

    def fault(
        self, file: str, column: str | None, problem: str, remedy: str, rows: Iterable[int] = ()
    ) -> None:
        """Note a fault; see :class:`alliance_outcome.errors.Fault` for the parameters."""
        self.faults.add(file, column, problem, remedy, rows)

    def announce(self, kind: AnnouncementKind, file: str, column: str | None, n: int, text: str) -> None:
        """Note what people should know; nothing is noted for a count of 0.

        Parameters
        ----------
        kind : str
            One of the kinds of :data:`AnnouncementKind`.
        file : str
            Role of the file, or ``study file``.
        column : str or None
            Column header, or the dotted key of the study file.
        n : int
            How many cells, rows, clients or therapists; the text says which.
        text : str
            A sentence without any value of a participant.
        """
        if n:
            self._announcements.append((kind, file, column, int(n), text))

    def flow(self, step: str, text: str, rows: pd.DataFrame, n_removed: int = 0) -> None:
        """Note how many rows, clients and therapists there are after a step.

        Parameters
        ----------
        step : str
            Slug of the step.
        text : str
            A sentence for people.
        rows : pandas.DataFrame
            What is left, with columns ``client`` and ``therapist``.
        n_removed : int
            Rows removed at this step.
        """
        counts = (len(rows), rows["client"].nunique(), rows["therapist"].nunique(), int(n_removed))
        self._flow.append((len(self._flow) + 1, "ingest", step, text, *counts))

    def announcements(self) -> pd.DataFrame:
        """Return tables/announcements.csv: one row per announcement, columns :data:`ANNOUNCEMENT_COLUMNS`."""
        table = pd.DataFrame(self._announcements, columns=list(ANNOUNCEMENT_COLUMNS))
        return table.astype({"kind": "str", "file": "str", "column": "str", "n": "int64", "text": "str"})

    def data_flow(self) -> pd.DataFrame:
        """Return tables/data_flow.csv: one row per step, columns :data:`DATA_FLOW_COLUMNS`."""
        return pd.DataFrame(self._flow, columns=list(DATA_FLOW_COLUMNS))


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Say a count with its noun, e.g. ``1 row`` or ``12 rows``."""
    return f"{n} {singular if n == 1 else plural or singular + 's'}"
