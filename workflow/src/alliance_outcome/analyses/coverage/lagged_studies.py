"""Simulated studies of a model with a lagged outcome.

Its likelihood takes the first outcome, which nothing predicts, as given and independent of the random intercepts. Where
that is so the estimator is consistent; where the first outcome has the intercepts in it, as in a process that has been
going on, it is not, and no interval can be right.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from alliance_outcome.analyses.coverage.designs import FIRST_OUTCOMES, LAGGED, SEED, LaggedDesign
from alliance_outcome.models.fitted_state import FloatArray, IndexArray

FirstOutcome = Literal["independent", "stationary"]

#: Fixed effects of the model, and the one that is an earlier outcome.
TERMS, LAGGED_TERM = ("Intercept", "outcome_before", "alliance"), "outcome_before"


def simulate_lagged_study(design: LaggedDesign, first_outcome: FirstOutcome, number: int) -> pd.DataFrame:
    """Simulate a study.

    Parameters
    ----------
    design : LaggedDesign
    first_outcome : {'independent', 'stationary'}
        Whether each client's first outcome is independent of the random intercepts, or from the same process as all
        others.
    number : int
        Number of the study; each has a stream of random numbers of its own, whatever job it is part of.

    Returns
    -------
    DataFrame
        One row per outcome that has a predecessor: client, therapist, session, outcome and the terms of the model.
    """
    stream = [SEED, design.clients, design.sessions, FIRST_OUTCOMES.index(first_outcome), number]
    rng = np.random.default_rng(stream)
    therapist = np.arange(design.clients) % design.therapists
    intercepts = LAGGED.client_sd * rng.standard_normal(design.clients)
    intercepts += LAGGED.therapist_sd * rng.standard_normal(design.therapists)[therapist]
    unseen = LAGGED.burn_in if first_outcome == "stationary" else 0
    alliance = _alliance(rng, design.clients, unseen + design.sessions)
    first = LAGGED.first_mean + LAGGED.first_sd * rng.standard_normal(design.clients)
    outcomes = _outcomes(rng, first, intercepts, alliance)
    return _rows(outcomes[:, unseen:], alliance[:, unseen:], therapist)


def _alliance(rng: np.random.Generator, n_clients: int, sessions: int) -> FloatArray:
    """Draw a predictor with stable differences between clients; shape (n_clients, sessions)."""
    innovations = LAGGED.innovation_sd * rng.standard_normal((n_clients, sessions))
    deviations = np.empty_like(innovations)
    deviations[:, 0] = innovations[:, 0] / np.sqrt(1.0 - LAGGED.carry_over**2)
    for session in range(1, sessions):
        deviations[:, session] = LAGGED.carry_over * deviations[:, session - 1] + innovations[:, session]
    return LAGGED.stable_sd * rng.standard_normal(n_clients)[:, None] + deviations


def _outcomes(
    rng: np.random.Generator, first: FloatArray, intercepts: FloatArray, alliance: FloatArray
) -> FloatArray:
    """Draw outcomes one after the other; shape (n_clients, sessions)."""
    expected = LAGGED.constant + LAGGED.effect * alliance + intercepts[:, None]
    outcomes = expected + LAGGED.residual_sd * rng.standard_normal(alliance.shape)
    outcomes[:, 0] = first
    for session in range(1, alliance.shape[1]):
        outcomes[:, session] += LAGGED.autoregression * outcomes[:, session - 1]
    return outcomes


def _rows(outcomes: FloatArray, alliance: FloatArray, therapist: IndexArray) -> pd.DataFrame:
    """Pair each outcome with its predecessor."""
    n_clients, sessions = outcomes.shape
    client = np.repeat(np.arange(n_clients), sessions - 1)
    return pd.DataFrame(
        {
            "client": client,
            "therapist": therapist[client],
            "session": np.tile(np.arange(2, sessions + 1), n_clients),
            "outcome": outcomes[:, 1:].ravel(),
            "Intercept": 1.0,
            LAGGED_TERM: outcomes[:, :-1].ravel(),
            "alliance": alliance[:, 1:].ravel(),
        }
    )
