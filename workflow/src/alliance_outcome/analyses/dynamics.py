"""From one session to the next: panel models of severity and every rater's alliance, and what they say of the raters.

The primary contrast within clients comes from the cross-lagged model with random intercepts and trends, or from the
dynamic panel model where fewer than five sessions are usable; the other panel models stand beside it. Which one is
primary, and of how many sessions, is decided before anything is estimated
(:mod:`alliance_outcome.analyses.panel_plan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS, check
from alliance_outcome.analyses.panel_constraints import CONSTRAINT_COLUMNS, constraint_rows
from alliance_outcome.analyses.panel_departure import departure_rows
from alliance_outcome.analyses.panel_fits import (
    PanelVersion,
    main_versions,
    panel_versions,
    primary_panel_model,
)
from alliance_outcome.analyses.panel_plan import panel_table, usable_waves
from alliance_outcome.analyses.panel_rows import ANALYSIS, base_row, contrast_rows, path_rows, role_of
from alliance_outcome.settings import MeasurementErrorSettings


@dataclass(frozen=True)
class DynamicsTables:
    """Paths, contrasts of the raters, fit, tests of constraints and checks of all panel models."""

    estimates: pd.DataFrame
    contrasts: pd.DataFrame
    fit: pd.DataFrame
    constraints: pd.DataFrame
    checks: pd.DataFrame


def fit_dynamics(
    sessions: pd.DataFrame,
    clients: pd.DataFrame,
    context: AnalysisContext,
    measurement: MeasurementErrorSettings,
    seed: int,
) -> DynamicsTables:
    """Fit the panel models of a study.

    Parameters
    ----------
    sessions, clients : DataFrame
        Session table and client table.
    context : AnalysisContext
        Facts of the study.
    measurement : MeasurementErrorSettings
        Reliabilities, if any are known.
    seed : int
        Of what is imputed for those who left.

    Returns
    -------
    DynamicsTables
        Refusals are rows.
    """
    table = panel_table(sessions, context)
    primary = primary_panel_model(usable_waves(table))
    versions = list(panel_versions(table, clients, context, measurement, primary))
    estimates, contrasts, constraints = [], [], []
    for version in versions:
        base = base_row(version, context, role_of(version, primary))
        estimates += list(path_rows(version, base))
        contrasts += list(contrast_rows(version, base, context))
        if version.suffix is None:
            constraints += list(constraint_rows(version, versions, table, context))
        if version.is_sound and version.suffix is None and version.plan.name == primary:
            contrasts += list(departure_rows(version, base, context, seed))
    return DynamicsTables(
        estimates_frame(estimates),
        estimates_frame(contrasts),
        pd.DataFrame([_fit_row(version) for version in versions if version.result is not None]),
        pd.DataFrame(constraints, columns=list(CONSTRAINT_COLUMNS)),
        pd.DataFrame([_convergence(version) for version in versions], columns=list(CHECK_COLUMNS)),
    )


def main_contrasts(sessions: pd.DataFrame, context: AnalysisContext) -> pd.DataFrame:
    """Return the contrasts of the raters in every panel model of all clients, without any repetition.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    context : AnalysisContext

    Returns
    -------
    DataFrame
        Estimates table.
    """
    table = panel_table(sessions, context)
    primary = primary_panel_model(usable_waves(table))
    return estimates_frame(
        row
        for version in main_versions(table, context)
        for row in contrast_rows(version, base_row(version, context, role_of(version, primary)), context)
    )


def _fit_row(version: PanelVersion) -> dict[str, Any]:
    """Return how well a model fits."""
    result = version.result
    assert result is not None
    return {
        "model": version.model,
        "sample": version.sample,
        "n_waves": version.plan.n_waves,
        "n_clients": result.n_clients,
        "n_parameters": result.n_parameters,
        "log_likelihood": result.llf,
        **result.fit_indices().to_dict(),
    }


def _convergence(version: PanelVersion) -> dict[str, Any]:
    """Check that the maximum was found and is one that data could have."""
    place = f"{version.model}.joint"
    name = f"convergence.{place}"
    if version.result is None:
        return check(ANALYSIS, name, None, None, None, f"{place} was not fitted: {version.reason}")
    sound = "a maximum of the likelihood was reached, and the solution is proper"
    return check(ANALYSIS, name, version.reason is None, None, None, f"{place}: {version.reason or sound}")
