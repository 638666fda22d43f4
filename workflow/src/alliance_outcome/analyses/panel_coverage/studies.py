"""Simulated studies of the panel models, and the intervals that each estimator gives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.bias.estimators import panel_paths
from alliance_outcome.analyses.panel_coverage.designs import (
    DYNAMIC,
    ESTIMATORS,
    INNOVATION,
    LEAVING,
    LEAVING_BY_SEVERITY,
    MEANS,
    PATHS,
    SEED,
    STABLE,
    TREND,
    TREND_SD,
    TRENDS,
    TRUTH,
    Design,
)
from alliance_outcome.analyses.panel_plan import is_given
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel
from alliance_outcome.models.panel_layout import long_panel
from alliance_outcome.models.panel_result import PanelResult
from alliance_outcome.models.panel_structure import PanelStructure

COLUMNS = ("study", "estimator", "quantity", "estimate", "std_error", "reason")

NAMES = ("severity", "alliance_client", "alliance_therapist")
RATERS = {"client": "alliance_client", "therapist": "alliance_therapist"}
#: Clients of the study that searches start from: its estimates are near the truth, whatever a study's own.
_PROTOTYPE = 4_000
_WEIGHTS = {"client": (1.0, 0.0), "therapist": (0.0, 1.0), "difference": (1.0, -1.0)}


def simulate(design: Design, random: np.random.Generator) -> FloatArray:
    """Simulate a study.

    Parameters
    ----------
    design : Design
    random : Generator

    Returns
    -------
    ndarray, shape (clients, sessions, 3)
        Severity, then both raters' alliance; NaN after leaving.
    """
    n, sessions = design.clients, design.sessions

    def normal(covariance: tuple) -> FloatArray:
        return random.standard_normal((n, 3)) @ np.linalg.cholesky(np.array(covariance)).T

    stable, trend = np.array(MEANS) + normal(STABLE), TREND_SD * normal(TREND) / (sessions - 1)
    paths, now = np.array(PATHS).T, random.standard_normal((n, 3))
    found = np.empty((n, sessions, 3))
    for session in range(sessions):
        if session:
            now = now @ paths + normal(INNOVATION)
        found[:, session] = stable + now + (session * trend if design.process == "trends" else 0.0)
    return _left(found, design.missing, random)


def _left(values: FloatArray, missing: str, random: np.random.Generator) -> FloatArray:
    """Let clients leave, the more probably the higher their severity: the last one seen, or the one not seen."""
    if missing == "complete":
        return values
    severity = values[..., 0] - MEANS[0]
    deciding = severity[:, :-1] if missing == "mar" else severity[:, 1:]
    leaves = random.uniform(size=deciding.shape) < 1.0 / (
        1.0 + np.exp(-LEAVING - LEAVING_BY_SEVERITY * deciding)
    )
    gone = np.cumsum(leaves, axis=1) > 0
    found = values.copy()
    found[:, 1:][gone] = np.nan
    return found


def model_of(estimator: str, values: FloatArray) -> CrossLaggedModel | DynamicPanelModel:
    """Set an estimator up.

    Parameters
    ----------
    estimator : str
        Of :data:`~alliance_outcome.analyses.panel_coverage.designs.ESTIMATORS`.
    values : ndarray, shape (clients, sessions, 3)

    Returns
    -------
    CrossLaggedModel or DynamicPanelModel
    """
    table, sessions = long_panel(values, NAMES), values.shape[1]
    if estimator == DYNAMIC:
        return DynamicPanelModel(table, "severity", RATERS, sessions)
    return CrossLaggedModel(table, "severity", RATERS, sessions, random_slopes=estimator == TRENDS)


@cache
def prototype(estimator: str, process: str, sessions: int) -> PanelResult:
    """Fit an estimator to a large study without missing values; searches start from its estimates.

    Parameters
    ----------
    estimator, process : str
    sessions : int

    Returns
    -------
    PanelResult
    """
    design = Design(process, _PROTOTYPE, sessions, "complete")
    return model_of(estimator, simulate(design, np.random.default_rng(SEED))).fit()


def free_parameters(structure: PanelStructure) -> int:
    """Count parameters, but for expected values and initial covariances.

    Parameters
    ----------
    structure : PanelStructure

    Returns
    -------
    int
        Without what describes the first session, and what the dynamic model takes as given.
    """
    return sum(
        not (label.startswith("mean(") or "(first " in label or is_given(label)) for label in structure.labels
    )


def intervals(design: Design, studies: range) -> pd.DataFrame:
    """Simulate studies and apply every estimator.

    Parameters
    ----------
    design : Design
    studies : range
        Each study has a stream of random numbers of its own, whatever job it is part of.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`.
    """
    rows = [row for number in studies for row in _study(design, number)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _study(design: Design, number: int) -> Iterator[dict[str, Any]]:
    stream = [
        SEED,
        design.clients,
        design.sessions,
        *map(ord, f"{design.process[0]}{design.missing[1]}"),
        number,
    ]
    values = simulate(design, np.random.default_rng(stream))
    for estimator in ESTIMATORS:
        base = {"study": number, "estimator": estimator}
        started = prototype(estimator, design.process, design.sessions)
        waves, numbers = started.rows.places.T
        try:
            _require_clients(started, values)
            paths = panel_paths(started, values[:, waves, numbers])
        except (UnavailableInference, UnfittableModel) as problem:
            yield from ({**base, "quantity": quantity, "reason": problem.reason} for quantity in TRUTH)
            continue
        for quantity, weights in _WEIGHTS.items():
            weight = np.array(weights)
            variance = float(weight @ paths.covariance @ weight)
            yield {
                **base,
                "quantity": quantity,
                "estimate": float(weight @ paths.estimates),
                "std_error": float(np.sqrt(variance)),
            }


def _require_clients(started: PanelResult, values: FloatArray) -> None:
    """Refuse as the models do when they are set up."""
    if len(values) <= len(started.rows.places):
        raise UnfittableModel(
            f"{len(values)} clients are too few for {len(started.rows.places)} variables of a client"
        )
