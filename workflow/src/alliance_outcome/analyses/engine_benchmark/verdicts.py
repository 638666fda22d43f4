"""From measurements to verdicts: medians, ratios, and whether the figures that the engine must reach are reached."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.contestants import ENGINE, LME4
from alliance_outcome.analyses.engine_benchmark.records import (
    BOOTSTRAP,
    BOOTSTRAP_ONE_CORE,
    EMPTY_CACHE,
    FIRST_CALL,
    HOT,
    IMPORT,
    PEAK_MEMORY,
)

#: A time passes at this fraction of its figure; memory has no such allowance.
ALLOWANCE = 0.8

#: Measures in the table's order.
MEASURES = (HOT, FIRST_CALL, EMPTY_CACHE, IMPORT, PEAK_MEMORY, BOOTSTRAP, BOOTSTRAP_ONE_CORE)

#: What is held against a peer's measurement of another kind: compiling has no counterpart in R, and a bootstrap on one
#: core stands beside the engine's only one.
_ENGINE_MEASURE = {BOOTSTRAP_ONE_CORE: BOOTSTRAP}
_PEER_MEASURE = {EMPTY_CACHE: FIRST_CALL}

SPEED_COLUMNS = (
    "measure",
    "rows",
    "clients",
    "therapists",
    "engine",
    "peer",
    "peer_value",
    "unit",
    "ratio",
    "must_reach",
    "passes_from",
    "passed",
    "log_likelihood_difference",
)


@dataclass(frozen=True)
class Requirement:
    """A figure to reach beside lme4.

    Parameters
    ----------
    measure : str
    rows : int
    must_reach : float
        lme4's value by the engine's.
    allowance : float
        Fraction of it that passes.
    """

    measure: str
    rows: int
    must_reach: float
    allowance: float = ALLOWANCE

    @property
    def passes_from(self) -> float:
        """Smallest ratio that passes."""
        return self.allowance * self.must_reach


#: 0.7 of lme4's memory at most, told as a ratio like the times.
REQUIREMENTS = (
    Requirement(HOT, 2_400, 8.0),
    Requirement(HOT, 24_000, 15.0),
    Requirement(HOT, 240_000, 35.0),
    Requirement(FIRST_CALL, 240_000, 20.0),
    Requirement(HOT, 966_000, 45.0),
    Requirement(PEAK_MEMORY, 966_000, 1.0 / 0.7, allowance=1.0),
    Requirement(BOOTSTRAP, 2_400, 60.0),
)


def speed_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Hold the engine against its peers.

    Parameters
    ----------
    measurements : DataFrame
        One row per run: measure, contestant, size, value, log-likelihood.

    Returns
    -------
    DataFrame
        One row per measure, size and peer, :data:`SPEED_COLUMNS`: medians, the ratio of the peer's to the engine's,
        the figure to reach, whether it is reached (missing where there is none), and the peer's log-likelihood less the
        engine's. Where no peer was measured, the engine stands alone.
    """
    size = ["rows", "clients", "therapists"]
    medians = measurements.groupby(["measure", *size, "contestant"])[["value", "log_likelihood"]].median()
    units = measurements.groupby("measure")["unit"].first()
    rows = []
    for measure in MEASURES:
        ours = _side(medians, _ENGINE_MEASURE.get(measure, measure))
        ours = ours[ours["contestant"] == ENGINE]
        theirs = _side(medians, _PEER_MEASURE.get(measure, measure))
        theirs = theirs[theirs["contestant"] != ENGINE]
        for _, engine in ours.iterrows():
            peers = theirs[(theirs[size] == engine[size]).all(axis=1)]
            if peers.empty and measure != BOOTSTRAP_ONE_CORE:
                rows.append(_row(measure, engine, None, units[measure]))
            rows += [_row(measure, engine, peer, units[measure]) for _, peer in peers.iterrows()]
    table = pd.DataFrame(rows, columns=list(SPEED_COLUMNS))
    return table.astype({"passed": "boolean"})


def _side(medians: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the medians of one measure, sizes ascending."""
    return medians.loc[[measure] if measure in medians.index.get_level_values(0) else []].reset_index()


def _row(measure: str, engine: pd.Series, peer: pd.Series | None, unit: str) -> tuple:
    """Return one comparison."""
    size = (engine["rows"], engine["clients"], engine["therapists"])
    if peer is None:
        return (measure, *size, engine["value"], None, None, unit, None, None, None, None, None)
    ratio = peer["value"] / engine["value"]
    difference = peer["log_likelihood"] - engine["log_likelihood"]
    found = requirement(measure, engine["rows"]) if peer["contestant"] == LME4 else None
    figures = (None, None, None) if found is None else judged(found, ratio)
    return (
        measure,
        *size,
        engine["value"],
        peer["contestant"],
        peer["value"],
        unit,
        ratio,
        *figures,
        difference,
    )


def requirement(measure: str, rows: int) -> Requirement | None:
    """Return the figure to reach, if there is one."""
    return next((each for each in REQUIREMENTS if (each.measure, each.rows) == (measure, rows)), None)


def judged(figure: Requirement, ratio: float) -> tuple[float, float, bool | None]:
    """Return the figure, from where it passes, and whether a ratio does; None if the ratio is not known.

    Parameters
    ----------
    figure : Requirement
    ratio : float
        NaN where a side could not be measured.
    """
    return (
        figure.must_reach,
        figure.passes_from,
        None if pd.isna(ratio) else bool(ratio >= figure.passes_from),
    )


def write_conditions(conditions: dict[str, str], left_out: list[str], path: Path) -> None:
    """Keep what a benchmark ran on and what it left out."""
    text = json.dumps({"conditions": conditions, "left_out": left_out}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_conditions(path: Path) -> tuple[dict[str, str], list[str]]:
    """Read what :func:`write_conditions` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["conditions"], content["left_out"]
