"""Run the benchmark: every contestant on the same files, runs interleaved so that a busy moment hits all alike."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.bayesian_benchmark.contestants import (
    BAMBI,
    BRMS,
    COLLAPSED,
    NUTS,
    Bambi,
    Brms,
    Collapsed,
    Contestant,
)
from alliance_outcome.analyses.bayesian_benchmark.model import Draws, Sampled
from alliance_outcome.analyses.engine_benchmark.designs import SIZES, DataFiles, Design
from alliance_outcome.analyses.engine_benchmark.machine import describe_machine, load_average
from alliance_outcome.analyses.engine_benchmark.r_process import BenchmarkFailed, NotAvailable, RProcess
from alliance_outcome.analyses.engine_benchmark.records import Measured

#: Whether a process had sampled before, or does nothing else.
HOT, WHOLE = "hot", "whole"

MEASUREMENT_COLUMNS = (
    "contestant",
    "process",
    "rows",
    "clients",
    "therapists",
    "run",
    "chains",
    "warm_up",
    "kept",
    "import_seconds",
    "preparing_seconds",
    "sampling_seconds",
    "smallest_ess",
    "largest_r_hat",
    "divergences",
    "peak_memory",
)

#: Names of nutpie and of the collapsed sampler where models are sampled.
_SAMPLERS = {NUTS: "nutpie", COLLAPSED: "collapsed"}


def _draws() -> dict[str, Draws]:
    # Warm-up is each sampler's own default: 400 draws of nutpie, 1,000 of Stan and of PyMC.
    return {
        NUTS: Draws(4, 400, 1_000),
        COLLAPSED: Draws(4, 0, 1_000),
        BRMS: Draws(4, 1_000, 1_000),
        BAMBI: Draws(4, 1_000, 1_000),
    }


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    sizes : tuple of Design
        Where all contestants are timed.
    large : tuple of Design
        Where this package is timed alone, in processes of their own.
    runs, large_runs : int
        Interleaved runs, whose median counts; brms runs once.
    draws : mapping of str to Draws
        By contestant.
    fewer : mapping of (str, Design) to Draws
        Where a contestant is asked for fewer, because it would take a quarter of an hour.
    cores : int
        Chains that every contestant may run at the same time.
    """

    sizes: tuple[Design, ...] = SIZES[:2]
    large: tuple[Design, ...] = SIZES[2:3]
    runs: int = 5
    large_runs: int = 3
    draws: Mapping[str, Draws] = field(default_factory=_draws)
    fewer: Mapping[tuple[str, Design], Draws] = field(
        default_factory=lambda: {(BRMS, SIZES[1]): Draws(4, 500, 500)}
    )
    cores: int = 2

    def draws_of(self, contestant: str, design: Design) -> Draws:
        """Return how many draws a contestant is asked for."""
        return self.fewer.get((contestant, design), self.draws[contestant])


def measure(plan: Plan, seed: int, script: Path, say: Callable[[str], None]) -> Measured:
    """Run the benchmark.

    Parameters
    ----------
    plan : Plan
    seed : int
        Of the simulated data and of the samplers.
    script : Path
        R's side, ``benchmark_brms.R``.
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
        bench = _Bench(plan, seed, DataFiles(Path(folder), seed), say)
        hot, versions, left_out = _line_up(script, processes)
        bench.warm_up()
        for design in plan.sizes:
            bench.time(design, hot)
        for design in plan.large:
            bench.time_large(design)
    conditions |= versions | {"load after": load_average()}
    return Measured(bench.table, conditions, left_out)


def _line_up(
    script: Path, processes: contextlib.ExitStack
) -> tuple[list[Contestant], dict[str, str], list[str]]:
    """Start whoever is installed."""
    hot: list[Contestant] = [Collapsed()]
    versions: dict[str, str] = {}
    left_out = []
    try:
        process = processes.enter_context(RProcess(script, ("R", "brms", "rstan")))
        hot.append(Brms(process))
        versions = process.versions
    except NotAvailable as reason:
        left_out.append(f"{BRMS}: {reason}")
    try:
        hot.append(Bambi())
    except NotAvailable as reason:
        left_out.append(f"{BAMBI}: {reason}")
    return hot, versions, left_out


class _Bench:
    """Samples and notes what that took."""

    def __init__(self, plan: Plan, seed: int, files: DataFiles, say: Callable[[str], None]) -> None:
        self._plan, self._seed, self._files, self._say = plan, seed, files, say
        self._rows: list[tuple] = []

    @property
    def table(self) -> pd.DataFrame:
        """Everything so far."""
        return pd.DataFrame(self._rows, columns=list(MEASUREMENT_COLUMNS))

    def warm_up(self) -> None:
        """Let this process load compiled code, and compile what is not on disk yet."""
        self._say("warm-up")
        design = (*self._plan.sizes, *self._plan.large)[0]
        collapsed = Collapsed()
        collapsed.load(self._files.path(design), design)
        collapsed.sample(self._plan.draws[COLLAPSED], self._seed, self._plan.cores)
        self._whole(NUTS, design)

    def time(self, design: Design, hot: list[Contestant]) -> None:
        """Time everybody."""
        for contestant in hot:
            contestant.load(self._files.path(design), design)
        for run in range(1, self._plan.runs + 1):
            for contestant in hot:
                if contestant.name != BRMS or run == 1:
                    self._say(f"{contestant.name}, {design}, run {run}")
                    draws = self._plan.draws_of(contestant.name, design)
                    found = contestant.sample(draws, self._seed + run, self._plan.cores)
                    self._note(contestant.name, HOT, design, run, found)
            self._note_whole(NUTS, design, run)

    def time_large(self, design: Design) -> None:
        """Time this package alone."""
        for run in range(1, self._plan.large_runs + 1):
            for name in (NUTS, COLLAPSED):
                self._note_whole(name, design, run)

    def _note_whole(self, name: str, design: Design, run: int) -> None:
        self._say(f"{name} in a process of its own, {design}, run {run}")
        answer = self._whole(name, design, run)
        found = Sampled(**answer["sampled"])
        self._note(name, WHOLE, design, run, found, answer["import_seconds"], answer["peak_memory"])

    def _whole(self, name: str, design: Design, run: int = 0) -> dict:
        """Sample in a process of its own."""
        draws = self._plan.draws_of(name, design)
        numbers = (draws.chains, draws.warm_up, draws.kept, self._seed + run, self._plan.cores)
        module = "alliance_outcome.analyses.bayesian_benchmark.whole_process"
        finished = subprocess.run(  # noqa: S603 - ourselves
            [
                *(sys.executable, "-m", module, str(self._files.path(design)), _SAMPLERS[name]),
                *map(str, numbers),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            lines = finished.stderr.strip().splitlines()
            raise BenchmarkFailed(f"{name} failed: {lines[-1] if lines else 'without a word'}")
        return json.loads(finished.stdout)

    def _note(
        self,
        name: str,
        process: str,
        design: Design,
        run: int,
        found: Sampled,
        import_seconds: float = float("nan"),
        peak_memory: float = float("nan"),
    ) -> None:
        draws = self._plan.draws_of(name, design)
        size = (design.rows, design.clients, design.therapists)
        asked = (draws.chains, draws.warm_up, draws.kept)
        took = (found.preparing_seconds, found.sampling_seconds)
        quality = (found.smallest_ess, found.largest_r_hat, found.divergences)
        self._rows.append((name, process, *size, run, *asked, import_seconds, *took, *quality, peak_memory))
