"""Simulated studies and what each estimator finds in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.bias.designs import (
    MULTILEVEL_ESTIMATORS,
    PANEL_ESTIMATORS,
    PROCESSES,
    SCENARIOS,
)
from alliance_outcome.analyses.bias.estimators import Paths, multilevel_paths, pairs_of, panel_paths
from alliance_outcome.analyses.bias.processes import Process, process_of
from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.panel_fits import main_versions
from alliance_outcome.analyses.panel_names import TRENDS
from alliance_outcome.analyses.panel_plan import panel_table
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_result import PanelResult

REPLICATION_COLUMNS = (
    *("n_clients", "n_waves", "n_values"),
    *("process", "scenario", "replication", "estimator", "quantity"),
    *("truth", "estimate", "std_error", "reason"),
)


@dataclass(frozen=True, eq=False)
class StudyModels:
    """The panel models of a study: what is simulated from, and what is applied.

    Parameters
    ----------
    generator : PanelResult or None
        The cross-lagged model with trends.
    estimators : mapping of str to PanelResult
        Panel models that the study is large enough for.
    reasons : mapping of str to str
        Why others are not there.
    """

    generator: PanelResult | None
    estimators: Mapping[str, PanelResult]
    reasons: Mapping[str, str]


def study_models(sessions: pd.DataFrame, context: AnalysisContext) -> StudyModels:
    """Fit the panel models of a study.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    context : AnalysisContext

    Returns
    -------
    StudyModels
        A model whose solution is not sound is applied all the same: what it starts from does not matter.
    """
    versions = list(main_versions(panel_table(sessions, context), context))
    fitted = {each.plan.name: each.result for each in versions if each.result is not None}
    reasons = {each.plan.name: each.reason or "" for each in versions if each.result is None}
    sound = next((each.result for each in versions if each.plan.name == TRENDS and each.is_sound), None)
    return StudyModels(sound, fitted, reasons)


def run_replications(models: StudyModels, numbers: Iterable[int], seed: int) -> pd.DataFrame:
    """Simulate studies and apply every estimator.

    Parameters
    ----------
    models : StudyModels
    numbers : iterable of int
        Of the replications; each has a stream of random numbers of its own, whatever job it is part of.
    seed : int

    Returns
    -------
    DataFrame
        :data:`REPLICATION_COLUMNS`: in units of the outcome per standard deviation of alliance within clients.
    """
    if models.generator is None:
        return pd.DataFrame(columns=list(REPLICATION_COLUMNS))
    processes = {
        (name, planted.name): process_of(models.generator, planted, name)
        for name in PROCESSES
        for planted in SCENARIOS
    }
    generator = models.generator
    size = {
        "n_clients": generator.n_clients,
        "n_waves": generator.description.n_waves,
        "n_values": generator.n_values,
    }
    rows = [
        {**size, "process": name, "scenario": scenario, "replication": number, **row}
        for number in numbers
        for place, ((name, scenario), process) in enumerate(processes.items())
        for row in _rows(models, process, np.random.default_rng([seed, number, place]))
    ]
    return pd.DataFrame(rows, columns=list(REPLICATION_COLUMNS))


def _rows(models: StudyModels, process: Process, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield what every estimator finds in one study."""
    values = process.draw(random)
    generator = models.generator
    assert generator is not None
    spreads = [process.within_sd[column] for column in list(generator.description.raters.values())[:2]]
    pairs = pairs_of(values.reshape(len(values), generator.description.n_waves, -1))
    for name in MULTILEVEL_ESTIMATORS:
        yield from _tried(name, process, spreads, lambda name=name: multilevel_paths(name, pairs))
    for name in PANEL_ESTIMATORS:
        fitted = models.estimators.get(name)
        if fitted is None:
            yield from _missing(name, process, models.reasons[name])
            continue
        own = _columns(values, generator, fitted)
        yield from _tried(name, process, spreads, lambda fitted=fitted, own=own: panel_paths(fitted, own))


def _columns(values: FloatArray, generator: PanelResult, fitted: PanelResult) -> FloatArray:
    """Pick the variables of a model, which may use fewer sessions or ratings than there are."""
    places = {tuple(place): number for number, place in enumerate(generator.rows.places)}
    return values[:, [places[tuple(place)] for place in fitted.rows.places]]


def _tried(name: str, process: Process, spreads: list[float], estimate: Any) -> Iterator[dict[str, Any]]:
    try:
        paths: Paths = estimate()
    except UnavailableInference as problem:
        yield from _missing(name, process, problem.reason)
        return
    weights = {
        "client": np.array([spreads[0], 0.0]),
        "therapist": np.array([0.0, spreads[1]]),
        "difference": np.array([spreads[0], -spreads[1]]),
    }
    for quantity, weight in weights.items():
        yield {
            "estimator": name,
            "quantity": quantity,
            "truth": process.truth[quantity],
            "estimate": float(weight @ paths.estimates),
            "std_error": float(np.sqrt(weight @ paths.covariance @ weight)),
        }


def _missing(name: str, process: Process, reason: str) -> Iterator[dict[str, Any]]:
    for quantity, truth in process.truth.items():
        yield {"estimator": name, "quantity": quantity, "truth": truth, "reason": reason}
