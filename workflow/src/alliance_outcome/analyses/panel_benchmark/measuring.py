"""Run the benchmark of the panel models: the same data for all, runs interleaved."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alliance_outcome.analyses.engine_benchmark.machine import describe_machine, load_average
from alliance_outcome.analyses.engine_benchmark.r_process import NotAvailable, RProcess
from alliance_outcome.analyses.engine_benchmark.records import Measured
from alliance_outcome.analyses.panel_coverage import studies
from alliance_outcome.analyses.panel_coverage.designs import PLAIN, Design
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel import CrossLaggedModel
from alliance_outcome.models.panel_layout import long_panel
from alliance_outcome.models.panel_posterior import BayesianCrossLaggedModel
from alliance_outcome.models.panel_result import PanelResult

ENGINE, LAVAAN, NUTS = "engine", "lavaan", "NUTS"
#: What is timed: fit and standard errors, the fit alone, and seconds of sampling with the effective draws they gave.
WHOLE, FIT, SAMPLING = "fit_and_errors", "fit", "sampling"

MEASUREMENT_COLUMNS = (
    *("measure", "contestant", "clients", "waves", "run", "seconds"),
    *("log_likelihood", "smallest_ess"),
)

MISSING = 0.2


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    clients, many_clients : int
        Where all contestants are timed, and where this package is timed alone.
    waves : int
    runs : int
        Interleaved runs, whose median counts.
    chains, warm_up, kept : int
        Of NUTS.
    cores : int
        Chains that run at the same time.
    """

    clients: int = 400
    many_clients: int = 10_000
    waves: int = 8
    runs: int = 5
    chains: int = 4
    warm_up: int = 300
    kept: int = 1000
    cores: int = 2


def simulate(clients: int, waves: int, seed: int) -> FloatArray:
    """Simulate clients without trends, as the coverage study does, with values missing completely at random.

    Parameters
    ----------
    clients, waves : int
    seed : int

    Returns
    -------
    ndarray, shape (clients, waves, 3)
        Severity, then both raters' alliance; NaN where missing.
    """
    random = np.random.default_rng(seed)
    found = studies.simulate(Design("no_trends", clients, waves, "complete"), random)
    found[random.uniform(size=found.shape) < MISSING] = np.nan
    return found


def measure(plan: Plan, seed: int, script: Path, say: Callable[[str], None]) -> Measured:
    """Run the benchmark.

    Parameters
    ----------
    plan : Plan
    seed : int
        Of the simulated data and of the sampler.
    script : Path
        R's side, ``benchmark_lavaan.R``.
    say : callable
        Told what comes next.

    Returns
    -------
    Measured
        Without lavaan where it is not installed.

    Raises
    ------
    BenchmarkFailed
        If lavaan is installed and does not finish.
    """
    conditions = describe_machine() | {"load before": load_average()}
    rows: list[dict] = []
    left_out: list[str] = []
    values = simulate(plan.clients, plan.waves, seed)
    model = studies.model_of(PLAIN, values)
    say("warm-up")
    _fit(model)
    try:
        with RProcess(script, ("R", "lavaan")) as lavaan, tempfile.TemporaryDirectory() as folder:
            conditions |= lavaan.versions
            path = Path(folder) / "panel.csv"
            write_wide(values, path)
            lavaan.ask("load", path)
            rows += _side_by_side(plan, model, lavaan, say)
    except NotAvailable as reason:
        left_out.append(f"{LAVAAN}: {reason}")
        rows += _side_by_side(plan, model, None, say)
    rows += _many(plan, seed, say)
    rows += _sampled(plan, values, seed, say)
    conditions |= {"load after": load_average()}
    return Measured(pd.DataFrame(rows, columns=list(MEASUREMENT_COLUMNS)), conditions, left_out)


def write_wide(values: FloatArray, path: Path) -> None:
    """Write clients by variables, a column ``severity1`` and so on for each wave, for R.

    Parameters
    ----------
    values : ndarray, shape (clients, waves, 3)
    path : Path
    """
    names = [f"{name}{wave + 1}" for wave in range(values.shape[1]) for name in studies.NAMES]
    table = pd.DataFrame(values.reshape(len(values), -1), columns=names)
    table.to_csv(path, index=False, float_format="%.17g")


def _fit(model: CrossLaggedModel, *, errors: bool = True) -> tuple[float, PanelResult]:
    """Fit, with standard errors of everything or without; return seconds and the result."""
    gc.collect()
    start = time.perf_counter()
    result = model.fit()
    if errors:
        result.cov_params("observed")
    return time.perf_counter() - start, result


def _side_by_side(
    plan: Plan, model: CrossLaggedModel, lavaan: RProcess | None, say: Callable[[str], None]
) -> list[dict]:
    rows = []
    base = {"measure": WHOLE, "clients": plan.clients, "waves": plan.waves}
    for run in range(1, plan.runs + 1):
        say(f"fit and standard errors, run {run}")
        seconds, result = _fit(model)
        rows.append(
            {**base, "contestant": ENGINE, "run": run, "seconds": seconds, "log_likelihood": result.llf}
        )
        if lavaan is not None:
            taken, value = map(float, lavaan.ask("fit"))
            rows.append({**base, "contestant": LAVAAN, "run": run, "seconds": taken, "log_likelihood": value})
    return rows


def _many(plan: Plan, seed: int, say: Callable[[str], None]) -> list[dict]:
    """Time this package alone, on many clients: nearly every one has a pattern of missing values of their own."""
    model = studies.model_of(PLAIN, simulate(plan.many_clients, plan.waves, seed + 1))
    rows = []
    for run in range(1, plan.runs + 1):
        for measured, errors in ((FIT, False), (WHOLE, True)):
            say(f"{measured}, {plan.many_clients} clients, run {run}")
            seconds, result = _fit(model, errors=errors)
            rows.append(
                {
                    "measure": measured,
                    "contestant": ENGINE,
                    "clients": plan.many_clients,
                    "waves": plan.waves,
                    "run": run,
                    "seconds": seconds,
                    "log_likelihood": result.llf,
                }
            )
    return rows


def _sampled(plan: Plan, values: FloatArray, seed: int, say: Callable[[str], None]) -> list[dict]:
    """Time NUTS on the same model and data, the search of the mode included; nothing is compiled for a model."""
    model = BayesianCrossLaggedModel(
        long_panel(values, studies.NAMES), "severity", studies.RATERS, plan.waves
    )
    settings = {"chains": plan.chains, "tune": plan.warm_up, "cores": plan.cores}
    model.sample(draws=10, seed=seed, **settings)
    rows = []
    for run in range(1, plan.runs + 1):
        say(f"NUTS, run {run}")
        start = time.perf_counter()
        posterior = model.sample(draws=plan.kept, seed=seed + run, **settings)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "measure": SAMPLING,
                "contestant": NUTS,
                "clients": plan.clients,
                "waves": plan.waves,
                "run": run,
                "seconds": seconds,
                "smallest_ess": float(posterior.summary()["ess_bulk"].min()),
            }
        )
    return rows
