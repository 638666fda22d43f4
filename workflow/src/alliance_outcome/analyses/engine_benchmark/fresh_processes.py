"""First calls: the engine and lme4, each in a process that has done nothing before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alliance_outcome.analyses.engine_benchmark.contestants import Lme4
from alliance_outcome.analyses.engine_benchmark.designs import Design
from alliance_outcome.analyses.engine_benchmark.r_process import BenchmarkFailed, RProcess

#: Where numba keeps compiled code, if not beside the modules.
CACHE_VARIABLE = "NUMBA_CACHE_DIR"


@dataclass(frozen=True)
class FirstCall:
    """A first call in a process.

    Parameters
    ----------
    import_seconds : float
        Time to load the package, which is not part of `seconds`.
    seconds : float
        Time of the call.
    peak_memory : float
        Highest resident memory of the process, data and package included, in MiB.
    log_likelihood : float
    """

    import_seconds: float
    seconds: float
    peak_memory: float
    log_likelihood: float


def engine_first_call(path: Path, cache: Path | None = None) -> FirstCall:
    """Fit with the engine in a process of its own.

    Parameters
    ----------
    path : Path
        A data set.
    cache : Path, optional
        Folder for compiled code; an empty one shows what it takes to compile.

    Returns
    -------
    FirstCall

    Raises
    ------
    BenchmarkFailed
        If the process fails.
    """
    environment: Mapping[str, str] = os.environ | ({} if cache is None else {CACHE_VARIABLE: str(cache)})
    module = "alliance_outcome.analyses.engine_benchmark.first_call"
    finished = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", module, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines()
        raise BenchmarkFailed(f"the engine's first call failed: {lines[-1] if lines else 'without a word'}")
    return FirstCall(**json.loads(finished.stdout))


def lme4_first_call(path: Path, design: Design, script: Path) -> FirstCall:
    """Fit with lme4 in a process of its own; see :func:`engine_first_call`."""
    with RProcess(script) as process:
        lme4 = Lme4(process)
        lme4.load(path, design)
        timed = lme4.fit()
        return FirstCall(process.library_seconds, timed.seconds, lme4.peak_memory(), timed.log_likelihood)
