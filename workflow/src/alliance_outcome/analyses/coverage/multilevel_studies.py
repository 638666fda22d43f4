"""Simulated studies whose outcome comes from the very model that is fitted to them.

Ratings are drawn first, and lost where they are missing. What is left is split into levels as every analysis splits it,
and the outcome is drawn from these manifest columns with known coefficients. So the truth is that of the fitted model:
sampling error of observed means is no part of it, and an interval can only miss because of its standard error or its
degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.analyses.coverage.designs import (
    ALLIANCE,
    EARLY,
    FIRST_SEVERITY,
    HYBRID,
    RATERS,
    SEED,
    SIZES,
    MultilevelDesign,
    OutcomeModel,
)
from alliance_outcome.design.levels import (
    BETWEEN_CLIENT,
    BETWEEN_THERAPIST,
    WITHIN_CLIENT,
    level_column,
    split_levels,
)
from alliance_outcome.models.fitted_state import FloatArray, IndexArray

MEASURES = tuple(f"alliance_{rater}" for rater in RATERS)


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """The rows of both models of a simulated study.

    Parameters
    ----------
    hybrid : DataFrame
        One row per complete session: client, therapist, outcome, terms of the hybrid model.
    early : DataFrame
        One row per client with early ratings and an end assessment, likewise.
    """

    hybrid: pd.DataFrame
    early: pd.DataFrame


def coefficients(model: OutcomeModel) -> dict[str, float]:
    """Return the true value of each term."""
    by_level = {
        WITHIN_CLIENT: model.within_client,
        BETWEEN_CLIENT: model.between_client,
        BETWEEN_THERAPIST: model.between_therapist,
    }
    alliance = {
        level_column(measure, level): value
        for level, values in by_level.items()
        if values
        for measure, value in zip(MEASURES, values, strict=True)
    }
    return {**model.others, **alliance}


def simulate_study(design: MultilevelDesign, number: int) -> SimulatedStudy:
    """Simulate a study.

    Parameters
    ----------
    design : MultilevelDesign
    number : int
        Number of the study; each has a stream of random numbers of its own, whatever job it is part of.

    Returns
    -------
    SimulatedStudy
    """
    rng = np.random.default_rng([SEED, design.therapists, number])
    therapist = np.repeat(np.arange(design.therapists), _caseloads(rng, design.therapists))
    stable = _stable_alliance(rng, therapist)
    ratings = _ratings(rng, stable)
    clients = _first_severity(rng, therapist, stable)
    return SimulatedStudy(
        hybrid=_with_outcome(rng, _session_rows(rng, clients, ratings), HYBRID),
        early=_with_outcome(rng, _client_rows(rng, clients, ratings), EARLY),
    )


def _caseloads(rng: np.random.Generator, n_therapists: int) -> IndexArray:
    """Draw uneven numbers of clients."""
    fewest, most = SIZES.caseload
    return fewest + rng.binomial(most - fewest, rng.beta(*SIZES.caseload_shape, size=n_therapists))


def _pairs(
    rng: np.random.Generator, deviations: tuple[float, float], correlation: float, *shape: int
) -> FloatArray:
    """Draw correlated pairs, one member for each rater; shape (2, *shape)."""
    first, other = rng.standard_normal((2, *shape))
    second = correlation * first + np.sqrt(1.0 - correlation**2) * other
    return np.stack([deviations[0] * first, deviations[1] * second])


def _deviations(part: str) -> tuple[float, float]:
    return getattr(ALLIANCE.client, part), getattr(ALLIANCE.therapist, part)


def _stable_alliance(rng: np.random.Generator, therapist: IndexArray) -> FloatArray:
    """Draw the raters' stable alliance of each client; shape (2, n_clients)."""
    of_therapists = _pairs(
        rng, _deviations("between_therapist"), ALLIANCE.therapist_correlation, therapist.max() + 1
    )
    of_clients = _pairs(rng, _deviations("between_client"), ALLIANCE.client_correlation, len(therapist))
    return of_therapists[:, therapist] + of_clients


def _ratings(rng: np.random.Generator, stable: FloatArray) -> FloatArray:
    """Draw both raters' ratings, missing (NaN) after the last session and at random; shape (2, n_clients, sessions)."""
    n_clients, (fewest, most) = stable.shape[1], SIZES.sessions
    innovations = _pairs(rng, _deviations("innovation"), ALLIANCE.innovation_correlation, n_clients, most)
    carried = np.array(_deviations("autoregression"))[:, None]
    deviations = np.empty_like(innovations)
    deviations[..., 0] = innovations[..., 0] / np.sqrt(1.0 - carried**2)
    for session in range(1, most):
        deviations[..., session] = carried * deviations[..., session - 1] + innovations[..., session]
    planned = rng.integers(fewest, most, size=n_clients, endpoint=True)
    missing = rng.random((2, n_clients, most)) < np.array(_deviations("missing"))[:, None, None]
    missing |= np.arange(most) >= planned[:, None]
    return np.where(missing, np.nan, stable[..., None] + deviations)


def _first_severity(rng: np.random.Generator, therapist: IndexArray, stable: FloatArray) -> pd.DataFrame:
    """Draw severity before the ratings; one row per client."""
    values, correlation = FIRST_SEVERITY, FIRST_SEVERITY.alliance_correlation
    spread = np.hypot(*(getattr(ALLIANCE.client, part) for part in ("between_client", "between_therapist")))
    own = correlation * stable[0] / spread
    own += np.sqrt(1.0 - correlation**2) * rng.standard_normal(len(therapist))
    first = values.mean + values.client_sd * own
    first += values.therapist_sd * rng.standard_normal(therapist.max() + 1)[therapist]
    later = values.stability * first + values.later_sd * rng.standard_normal(len(therapist))
    return pd.DataFrame(
        {
            "client": np.arange(len(therapist)),
            "therapist": therapist,
            "severity_first": first,
            "severity_before": later,
        }
    )


def _session_rows(rng: np.random.Generator, clients: pd.DataFrame, ratings: FloatArray) -> pd.DataFrame:
    """Return the sessions that have all ratings, split by level."""
    complete = np.isfinite(ratings).all(axis=0)
    complete &= rng.random(complete.shape) >= SIZES.severity_missing
    client, session = np.nonzero(complete)
    rows = clients.iloc[client].reset_index(drop=True)
    rows["log_session"] = np.log(session + 1.0)
    return _split(rows, ratings[:, client, session])


def _client_rows(rng: np.random.Generator, clients: pd.DataFrame, ratings: FloatArray) -> pd.DataFrame:
    """Return the clients that have early ratings and an end assessment, split by level."""
    early = ratings[:, :, np.array(SIZES.early_sessions) - 1]
    kept = np.all(np.isfinite(early).sum(axis=2) >= SIZES.fewest_early_ratings, axis=0)
    kept &= rng.random(len(clients)) >= SIZES.end_missing
    return _split(clients[kept].reset_index(drop=True), np.nanmean(early[:, kept], axis=2))


def _split(rows: pd.DataFrame, ratings: FloatArray) -> pd.DataFrame:
    rated = rows.assign(Intercept=1.0, **dict(zip(MEASURES, ratings, strict=True)))
    return split_levels(rated, MEASURES)


def _with_outcome(rng: np.random.Generator, rows: pd.DataFrame, model: OutcomeModel) -> pd.DataFrame:
    """Draw the outcome from the columns that are fitted."""
    truth = coefficients(model)
    outcome = rows[list(truth)].to_numpy() @ np.array(list(truth.values()))
    therapists = rng.standard_normal(rows["therapist"].max() + 1)
    outcome += model.therapist_sd * therapists[rows["therapist"]]
    if model.client_sd:
        effects = _client_effects(rng, model, rows["client"].max() + 1)[rows["client"]]
        slopes = [level_column(measure, WITHIN_CLIENT) for measure in MEASURES]
        outcome += np.sum(effects * rows[["Intercept", *slopes]].to_numpy(), axis=1)
    outcome += model.residual_sd * rng.standard_normal(len(rows))
    return rows.assign(outcome=outcome)


def _client_effects(rng: np.random.Generator, model: OutcomeModel, n_clients: int) -> FloatArray:
    """Draw correlated intercepts and slopes; shape (n_clients, 3)."""
    correlation = np.eye(len(model.client_sd))
    above = np.triu_indices(len(correlation), 1)
    correlation[above] = correlation.T[above] = model.client_correlations
    root = np.array(model.client_sd)[:, None] * np.linalg.cholesky(correlation)
    return rng.standard_normal((n_clients, len(correlation))) @ root.T
