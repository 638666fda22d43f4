"""A small study on disk, for the tests of the ingest: twelve clients of four therapists, six sessions each."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from alliance_outcome.data import assembly
from alliance_outcome.data.ingest import IngestedStudy, StudyCheck, check_study, ingest_study
from alliance_outcome.data.instrument_files import load_instruments
from alliance_outcome.errors import Fault
from alliance_outcome.settings import IngestSettings, section

N_CLIENTS = 12
CLIENTS_PER_THERAPIST = 3
N_SESSIONS = 6
#: Rows of one client in the file: intake, the sessions, end.
ROWS_PER_CLIENT = N_SESSIONS + 2
WAI_ITEMS = [f"wai_{item:02d}" for item in range(1, 13)]
CORE_ITEMS = [f"core_{item:02d}" for item in range(1, 11)]
WAI_REVERSED, CORE_REVERSED = (4, 10), (2, 3)

#: The shipped scoring keys are the same for every test; a study's own are read anew.
_load_shipped = cache(load_instruments)
_KEYS_READ_ONCE = mock.patch.object(
    assembly, "load_instruments", lambda own=None: load_instruments(own) if own else _load_shipped()
)

STUDY: dict[str, Any] = {
    "title": "A small study",
    "files": {
        "sessions": {
            "path": "sessions.csv",
            "columns": {
                "client": "client_id",
                "therapist": "therapist_id",
                "occasion_kind": "occasion",
                "session": "session_no",
                "week": "week",
                "attendance": "attendance",
            },
            "recode": {"attendance": {"attended": ["A"], "cancelled": ["C"], "no_show": ["N"]}},
            "missing_codes": [99],
        },
        "clients": {"path": "clients.csv", "layout": "clients", "columns": {"client": "client_id"}},
        "therapists": {
            "path": "therapists.csv",
            "layout": "therapists",
            "therapist_column": "therapist_id",
        },
    },
    "measures": {
        "severity": {
            "construct": "severity",
            "rater": "client",
            "file": "sessions",
            "instrument": "core-10",
            "items": "core_{item:02d}",
            "values": "raw",
            "timing": "before",
        },
        "bond_client": {
            "construct": "alliance",
            "rater": "client",
            "file": "sessions",
            "instrument": "wai-s",
            "items": "wai_{item:02d}",
            "values": "raw",
            "timing": "after",
        },
        "bond_therapist": {
            "construct": "alliance",
            "rater": "therapist",
            "file": "sessions",
            "instrument": "therapist form",
            "score": "rated_by_therapist",
            "range": [1, 7],
            "direction": "higher_is_better",
            "timing": "after",
        },
    },
    "primary_outcome": "severity",
    "client_columns": {"age": "age", "gender": "gender"},
    "therapist_columns": {"years": "years"},
    "therapist_change": "exclude",
    "episodes": "first",
    "lag_unit": "attended",
    "priors": {
        "intercept_mean": 15,
        "intercept_sd": 5,
        "effect_sd": 2.5,
        "group_sd": 4,
        "slope_sd": 1,
        "residual_sd": 4,
    },
}


def session_rows() -> pd.DataFrame:
    """Rows of the session file, all cells as text."""
    rng = np.random.default_rng(20261120)
    rows = []
    for number in range(N_CLIENTS):
        design = {
            "client_id": f"K{number + 1:02d}",
            "therapist_id": f"D{number // CLIENTS_PER_THERAPIST + 1}",
        }
        rows.append({**design, "occasion": "intake", "session_no": "", "week": "-1", "attendance": ""})
        rows += [
            {
                **design,
                "occasion": "session",
                "session_no": str(each),
                "week": str(each - 1),
                "attendance": "A",
            }
            for each in range(1, N_SESSIONS + 1)
        ]
        rows.append(
            {**design, "occasion": "end", "session_no": "", "week": str(N_SESSIONS), "attendance": ""}
        )
    table = pd.DataFrame(rows)
    is_session = (table["occasion"] == "session").to_numpy()
    wai = _answers(rng, len(table), WAI_ITEMS, (1, 7), WAI_REVERSED)
    core = _answers(rng, len(table), CORE_ITEMS, (0, 4), CORE_REVERSED)
    score = pd.Series(rng.integers(10, 71, len(table)) / 10, name="rated_by_therapist").astype("str")
    wai.loc[~is_session] = ""
    score[~is_session] = ""
    return pd.concat([table, wai, core, score], axis=1)


def _answers(
    rng: np.random.Generator,
    n: int,
    columns: list[str],
    bounds: tuple[int, int],
    reversed_items: tuple[int, ...],
) -> pd.DataFrame:
    """Answers with one common factor, as ticked."""
    low, high = bounds
    factor = rng.normal((low + high) / 2, (high - low) / 5, n)
    keyed = np.clip(np.rint(factor[:, None] + rng.normal(0, (high - low) / 10, (n, len(columns)))), low, high)
    keyed[:, [item - 1 for item in reversed_items]] = (
        low + high - keyed[:, [item - 1 for item in reversed_items]]
    )
    return pd.DataFrame(keyed.astype(int), columns=columns).astype("str")


def client_rows() -> pd.DataFrame:
    """Rows of the client file."""
    clients = [f"K{number + 1:02d}" for number in range(N_CLIENTS)]
    gender = ["woman", "man"] * (N_CLIENTS // 2)
    return pd.DataFrame(
        {"client_id": clients, "age": [str(20 + n) for n in range(N_CLIENTS)], "gender": gender}, dtype="str"
    )


def therapist_rows() -> pd.DataFrame:
    """Rows of the therapist file."""
    n = N_CLIENTS // CLIENTS_PER_THERAPIST
    return pd.DataFrame(
        {
            "therapist_id": [f"D{each + 1}" for each in range(n)],
            "years": [str(5 * each) for each in range(n)],
        },
        dtype="str",
    )


def row_of(client: int, place: int) -> int:
    """Spreadsheet row of a client (from 1) and place (0 intake, 1 … 6 sessions, 7 end)."""
    return 2 + (client - 1) * ROWS_PER_CLIENT + place


@dataclass
class ExampleStudy:
    """Study file and raw files, to be changed before they are written."""

    folder: Path
    content: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(STUDY))
    sessions: pd.DataFrame = field(default_factory=session_rows)
    clients: pd.DataFrame = field(default_factory=client_rows)
    therapists: pd.DataFrame = field(default_factory=therapist_rows)
    instruments: Path | None = None

    def set(self, row: int, column: str, text: str) -> None:
        """Put text into a cell of the session file, by spreadsheet row."""
        self.sessions.loc[row - 2, column] = text

    @property
    def file(self) -> dict[str, Any]:
        """The session file's part of the study file."""
        return self.content["files"]["sessions"]

    @property
    def measures(self) -> dict[str, Any]:
        """The measures of the study file."""
        return self.content["measures"]

    def write(self) -> None:
        """Write the raw files as CSV."""
        for name in ("sessions", "clients", "therapists"):
            getattr(self, name).to_csv(self.folder / f"{name}.csv", index=False)

    def check(self) -> StudyCheck:
        """Check the study as it stands on disk."""
        with _KEYS_READ_ONCE:
            return check_study(self.content, self.folder, self.instruments)

    def ingest(self) -> IngestedStudy:
        """Ingest the study as it stands on disk."""
        settings = section(self.content, IngestSettings)
        key = self.folder / "key" / "key.csv"
        with _KEYS_READ_ONCE:
            return ingest_study("small", settings, self.folder, self.instruments, key)

    def written_check(self) -> StudyCheck:
        """Write the raw files and check the study."""
        self.write()
        return self.check()

    def written_ingest(self) -> IngestedStudy:
        """Write the raw files and ingest the study."""
        self.write()
        return self.ingest()


def announced(table: pd.DataFrame, kind: str, column: str | None = None) -> list[int]:
    """Counts of the announcements of a kind."""
    rows = table[table["kind"] == kind]
    return rows["n"].tolist() if column is None else rows.loc[rows["column"] == column, "n"].tolist()


def described(faults: tuple[Fault, ...]) -> str:
    """All faults in words, for the message of an assertion."""
    return "\n".join(str(fault) for fault in faults)
