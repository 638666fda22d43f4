"""From posteriors to verdicts: effective draws a second, ratios, and whether the figures to reach are reached."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.bayesian_benchmark.contestants import BAMBI, BRMS, COLLAPSED, NUTS
from alliance_outcome.analyses.bayesian_benchmark.measuring import HOT, WHOLE
from alliance_outcome.analyses.engine_benchmark.verdicts import ALLOWANCE

#: NUTS once compiled, NUTS with compiling, and the collapsed sampler's whole call.
SAMPLING, WITH_COMPILING, WHOLE_CALL = "sampling", "with_compiling", "whole_call"
#: Limits of whole posteriors: seconds, and MiB.
SECONDS, PEAK_MEMORY = "seconds", "peak_memory"

_SIZE = ["rows", "clients", "therapists"]

RATIO_COLUMNS = (
    "measure",
    *_SIZE,
    "contestant",
    "ess_per_second",
    "peer",
    "peer_ess_per_second",
    "ratio",
    "must_reach",
    "passed",
)
LIMIT_COLUMNS = ("measure", *_SIZE, "contestant", "value", "unit", "at_most", "passed")


@dataclass(frozen=True)
class Requirement:
    """A figure to reach beside a peer: effective draws a second by the peer's.

    Parameters
    ----------
    measure : str
    rows : int
    peer : str
    must_reach : float
    """

    measure: str
    rows: int
    peer: str
    must_reach: float

    @property
    def passes_from(self) -> float:
        """Smallest ratio that passes."""
        return ALLOWANCE * self.must_reach


REQUIREMENTS = tuple(
    Requirement(measure, rows, peer, figure)
    for rows, peer, figures in (
        (2_400, BRMS, (200.0, 15.0, 1_500.0)),
        (24_000, BRMS, (1_500.0, 200.0, 5_000.0)),
        (2_400, BAMBI, (30.0, 2.5, 300.0)),
        (24_000, BAMBI, (200.0, 30.0, 800.0)),
    )
    for measure, figure in zip((SAMPLING, WITH_COMPILING, WHOLE_CALL), figures, strict=True)
)


@dataclass(frozen=True)
class Limit:
    """What a posterior may take.

    Parameters
    ----------
    measure : str
    rows : int
    contestant : str
    at_most : float
        Seconds of sampling, or MiB.
    """

    measure: str
    rows: int
    contestant: str
    at_most: float

    @property
    def passes_to(self) -> float:
        """Largest value that passes; memory has no allowance."""
        return self.at_most / ALLOWANCE if self.measure == SECONDS else self.at_most


LIMITS = (
    Limit(SECONDS, 240_000, NUTS, 15.0),
    Limit(SECONDS, 240_000, COLLAPSED, 5.0),
    Limit(PEAK_MEMORY, 240_000, NUTS, 1_000.0),
    Limit(PEAK_MEMORY, 240_000, COLLAPSED, 1_000.0),
)


def effective_draws(measurements: pd.DataFrame) -> pd.DataFrame:
    """Compute effective draws a second of every posterior.

    Parameters
    ----------
    measurements : DataFrame
        See :func:`alliance_outcome.analyses.bayesian_benchmark.measuring.measure`.

    Returns
    -------
    DataFrame
        One row per measure, size and contestant: the median over runs. A peer's figure is that of its sampling alone,
        whatever it is held against: its compiling is left out.
    """
    kinds = {
        (SAMPLING, NUTS): ["sampling_seconds"],
        (WITH_COMPILING, NUTS): ["preparing_seconds", "sampling_seconds"],
        (WHOLE_CALL, COLLAPSED): ["preparing_seconds", "sampling_seconds"],
        (SAMPLING, BRMS): ["sampling_seconds"],
        (SAMPLING, BAMBI): ["sampling_seconds"],
    }
    tables = []
    for (measure, contestant), seconds in kinds.items():
        process = WHOLE if contestant == NUTS else HOT
        runs = _runs(measurements, contestant, process)
        rate = runs["smallest_ess"] / runs[seconds].sum(axis=1)
        medians = runs.assign(ess_per_second=rate).groupby(_SIZE)["ess_per_second"].median().reset_index()
        tables.append(medians.assign(measure=measure, contestant=contestant))
    return pd.concat(tables, ignore_index=True)


def _runs(measurements: pd.DataFrame, contestant: str, process: str) -> pd.DataFrame:
    return measurements[(measurements["contestant"] == contestant) & (measurements["process"] == process)]


def ratio_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Hold this package against its peers.

    Parameters
    ----------
    measurements : DataFrame

    Returns
    -------
    DataFrame
        One row per measure, size and peer, :data:`RATIO_COLUMNS`; without peers, this package alone.
    """
    rates = effective_draws(measurements)
    ours = rates[rates["contestant"].isin([NUTS, COLLAPSED])]
    peers = rates[rates["contestant"].isin([BRMS, BAMBI])]
    peers = peers.rename(columns={"contestant": "peer", "ess_per_second": "peer_ess_per_second"})
    table = ours.merge(peers.drop(columns="measure"), on=_SIZE, how="left")
    table["ratio"] = table["ess_per_second"] / table["peer_ess_per_second"]
    found = [_requirement(*each) for each in zip(table["measure"], table["rows"], table["peer"], strict=True)]
    table["must_reach"] = [each.must_reach if each else float("nan") for each in found]
    table["passed"] = [
        bool(ratio >= each.passes_from) if each and pd.notna(ratio) else None
        for each, ratio in zip(found, table["ratio"], strict=True)
    ]
    return table[list(RATIO_COLUMNS)].astype({"passed": "boolean"})


def _requirement(measure: str, rows: int, peer: object) -> Requirement | None:
    wanted = (measure, rows, peer)
    return next((each for each in REQUIREMENTS if (each.measure, each.rows, each.peer) == wanted), None)


def limit_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Hold large posteriors against what they may take.

    Parameters
    ----------
    measurements : DataFrame

    Returns
    -------
    DataFrame
        One row per limit that something was measured for, :data:`LIMIT_COLUMNS`: medians; seconds are those of
        sampling.
    """
    columns = {SECONDS: ("sampling_seconds", "s"), PEAK_MEMORY: ("peak_memory", "MiB")}
    rows = []
    for limit in LIMITS:
        runs = _runs(measurements, limit.contestant, WHOLE)
        runs = runs[runs["rows"] == limit.rows]
        column, unit = columns[limit.measure]
        value = runs[column].median()
        if pd.notna(value):
            size = tuple(runs[_SIZE].iloc[0])
            passed = bool(value <= limit.passes_to)
            rows.append((limit.measure, *size, limit.contestant, value, unit, limit.at_most, passed))
    return pd.DataFrame(rows, columns=list(LIMIT_COLUMNS)).astype({"passed": "boolean"})


def whole_processes(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return medians of loading, compiling, sampling and memory of processes of their own.

    Parameters
    ----------
    measurements : DataFrame

    Returns
    -------
    DataFrame
        One row per contestant and size.
    """
    runs = measurements[measurements["process"] == WHOLE]
    columns = ["import_seconds", "preparing_seconds", "sampling_seconds", "smallest_ess", "peak_memory"]
    return runs.groupby(["contestant", *_SIZE], sort=False)[columns].median().reset_index()
