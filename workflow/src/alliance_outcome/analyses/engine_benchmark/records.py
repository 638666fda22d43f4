"""What is measured, and the table that measurements are kept in."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.designs import Design

#: What is measured; seconds, but for memory.
HOT, FIRST_CALL, EMPTY_CACHE, IMPORT, PEAK_MEMORY = (
    "hot",
    "first_call",
    "first_call_empty_cache",
    "import",
    "peak_memory",
)
BOOTSTRAP, BOOTSTRAP_ONE_CORE = "bootstrap", "bootstrap_one_core"

MEASUREMENT_COLUMNS = (
    "measure",
    "contestant",
    "rows",
    "clients",
    "therapists",
    "run",
    "value",
    "unit",
    "log_likelihood",
    "timed_refits",
)


@dataclass(frozen=True)
class Measured:
    """What a run of a benchmark found.

    Parameters
    ----------
    measurements : DataFrame
        One row per run, in the benchmark's columns.
    conditions : dict of str
        Machine, load and versions.
    left_out : list of str
        What was not measured, and why.
    """

    measurements: pd.DataFrame
    conditions: dict[str, str]
    left_out: list[str]


class Recorder:
    """Collects measurements."""

    def __init__(self) -> None:
        self._rows: list[tuple] = []

    def add(
        self,
        measure: str,
        contestant: str,
        design: Design,
        run: int,
        value: float,
        log_likelihood: float = float("nan"),
        timed_refits: int | None = None,
    ) -> None:
        """Note one measurement; `timed_refits` where a bootstrap's time was scaled up from fewer refits."""
        unit = "MiB" if measure == PEAK_MEMORY else "s"
        size = (design.rows, design.clients, design.therapists)
        self._rows.append((measure, contestant, *size, run, value, unit, log_likelihood, timed_refits))

    @property
    def table(self) -> pd.DataFrame:
        """Everything so far."""
        table = pd.DataFrame(self._rows, columns=list(MEASUREMENT_COLUMNS))
        return table.astype({"timed_refits": "Int64"})
