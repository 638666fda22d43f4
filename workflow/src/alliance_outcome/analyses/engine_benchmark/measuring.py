"""Run the benchmark: every contestant on the same files, runs interleaved so that a busy moment hits all alike."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.contestants import ENGINE, LME4, Contestant
from alliance_outcome.analyses.engine_benchmark.designs import SIZES, DataFiles, Design
from alliance_outcome.analyses.engine_benchmark.fresh_processes import (
    FirstCall,
    engine_first_call,
    lme4_first_call,
)
from alliance_outcome.analyses.engine_benchmark.growth import growth_designs, measure_growth
from alliance_outcome.analyses.engine_benchmark.line_up import LineUp
from alliance_outcome.analyses.engine_benchmark.machine import describe_machine, load_average
from alliance_outcome.analyses.engine_benchmark.records import (
    BOOTSTRAP,
    BOOTSTRAP_ONE_CORE,
    EMPTY_CACHE,
    FIRST_CALL,
    HOT,
    IMPORT,
    PEAK_MEMORY,
    Recorder,
)

#: A bootstrap of lme4 that would take longer than this many seconds is timed on the smaller number of refits.
LONGEST_BOOTSTRAP, FEWER_REFITS = 60.0, 200


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    sizes : tuple of Design
        Smallest first.
    runs : int
        Interleaved runs, whose median counts.
    fresh : tuple of (Design, int)
        Sizes for first calls in fresh processes, and how many.
    compile_once : bool
        Whether to time a first call with nothing compiled too, on the first of these sizes.
    refits : int
        Refits of the parametric bootstrap, on the smallest size.
    cores : int
        Cores for lme4's bootstrap: as many as the engine's may use.
    growth : tuple of (str, Design)
        Designs over which growth is measured, and what grows.
    """

    sizes: tuple[Design, ...] = SIZES
    runs: int = 5
    fresh: tuple[tuple[Design, int], ...] = ((SIZES[2], 5), (SIZES[3], 3))
    compile_once: bool = True
    refits: int = 1_000
    cores: int = 2
    growth: tuple[tuple[str, Design], ...] = field(default_factory=lambda: tuple(growth_designs()))


@dataclass(frozen=True)
class Measured:
    """What a run of the benchmark found.

    Parameters
    ----------
    measurements : DataFrame
        One row per run, :data:`MEASUREMENT_COLUMNS`.
    growth : DataFrame
        See :func:`alliance_outcome.analyses.engine_benchmark.growth.measure_growth`.
    conditions : dict of str
        Machine, load and versions.
    left_out : list of str
        What was not measured, and why.
    """

    measurements: pd.DataFrame
    growth: pd.DataFrame
    conditions: dict[str, str]
    left_out: list[str]


def measure(plan: Plan, seed: int, script: Path, say: Callable[[str], None]) -> Measured:
    """Run the benchmark.

    Parameters
    ----------
    plan : Plan
    seed : int
        Of the simulated data.
    script : Path
        R's side, ``benchmark_engine.R``.
    say : callable
        Told what comes next.

    Returns
    -------
    Measured
        Contestants that are not installed are left out, with the reason.

    Raises
    ------
    BenchmarkFailed
        If a contestant that is installed does not finish.
    """
    conditions = describe_machine() | {"load before": load_average()}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as processes:
        files = DataFiles(Path(folder), seed)
        line_up = LineUp.gather(script, processes)
        recorder = Recorder()
        say("warm-up")
        _warm_up(line_up.all, plan.sizes[0], files)
        for design in plan.sizes:
            say(f"hot process, {design}")
            _time_hot(line_up.all, design, plan.runs, files, recorder)
        say("parametric bootstrap")
        _time_bootstrap(line_up, plan, files, recorder)
        for design, runs in plan.fresh:
            say(f"fresh processes, {design}")
            _time_fresh(design, runs, files, script if line_up.lme4 else None, recorder)
        if plan.compile_once:
            say("first call with nothing compiled")
            _time_empty_cache(plan.fresh[0][0], files, recorder)
        say("growth")
        growth = measure_growth(list(plan.growth), plan.runs, seed)
    conditions |= line_up.versions | {"load after": load_average()}
    return Measured(recorder.table, growth, conditions, line_up.left_out)


def _warm_up(contestants: list[Contestant], design: Design, files: DataFiles) -> None:
    """Let everybody compile and load what they do at their first calls."""
    for contestant in contestants:
        contestant.load(files.path(design), design)
        for _ in range(2):
            contestant.fit()


def _time_hot(
    contestants: list[Contestant], design: Design, runs: int, files: DataFiles, recorder: Recorder
) -> None:
    """Time whole calls in processes that have fitted before."""
    able = [contestant for contestant in contestants if design.rows <= contestant.most_rows]
    for contestant in able:
        contestant.load(files.path(design), design)
    for run in range(1, runs + 1):
        for contestant in able:
            timed = contestant.fit()
            recorder.add(HOT, contestant.name, design, run, timed.seconds, timed.log_likelihood)


def _time_bootstrap(line_up: LineUp, plan: Plan, files: DataFiles, recorder: Recorder) -> None:
    """Time the parametric bootstrap on the smallest size."""
    design, lme4 = plan.sizes[0], line_up.lme4
    fewer = min(FEWER_REFITS, plan.refits)
    for contestant in (line_up.engine, *([lme4] if lme4 else [])):
        contestant.load(files.path(design), design)
        contestant.fit()
    line_up.engine.bootstrap(fewer)
    pilot = lme4.bootstrap(fewer, plan.cores).seconds * plan.refits / fewer if lme4 else 0.0
    asked = fewer if pilot > LONGEST_BOOTSTRAP else plan.refits
    for run in range(1, plan.runs + 1):
        seconds = line_up.engine.bootstrap(plan.refits).seconds
        recorder.add(BOOTSTRAP, ENGINE, design, run, seconds, timed_refits=plan.refits)
        if lme4 is None:
            continue
        for measure, refits, cores in ((BOOTSTRAP, asked, plan.cores), (BOOTSTRAP_ONE_CORE, fewer, 1)):
            seconds = lme4.bootstrap(refits, cores).seconds * plan.refits / refits
            recorder.add(measure, LME4, design, run, seconds, timed_refits=refits)


def _time_fresh(design: Design, runs: int, files: DataFiles, script: Path | None, recorder: Recorder) -> None:
    """Time first calls in fresh processes, lme4's too where there is a script for it, and note their memory."""
    path = files.path(design)
    for run in range(1, runs + 1):
        _record_first_call(recorder, ENGINE, design, run, engine_first_call(path))
        if script is not None:
            _record_first_call(recorder, LME4, design, run, lme4_first_call(path, design, script))


def _time_empty_cache(design: Design, files: DataFiles, recorder: Recorder) -> None:
    """Time a first call that has to compile."""
    with tempfile.TemporaryDirectory() as cache:
        found = engine_first_call(files.path(design), Path(cache))
    recorder.add(EMPTY_CACHE, ENGINE, design, 1, found.seconds, found.log_likelihood)


def _record_first_call(
    recorder: Recorder, contestant: str, design: Design, run: int, found: FirstCall
) -> None:
    recorder.add(FIRST_CALL, contestant, design, run, found.seconds, found.log_likelihood)
    recorder.add(IMPORT, contestant, design, run, found.import_seconds)
    recorder.add(PEAK_MEMORY, contestant, design, run, found.peak_memory)
