"""Within-client process of the simulated study: a VAR(1) with a reverse path and ruptures.

The three deviations of a client from his or her own trend are, in this order, severity (CORE-10 points),
client alliance and therapist alliance (WAI-S points). :mod:`alliance_outcome.data.simulate` states the
equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.errors import Fault, StudyError
from alliance_outcome.simulation_settings import SimulationSettings

#: Order of the three variables in every array of the generator.
VARIABLES = ("severity", "client_alliance", "therapist_alliance")
N_VARIABLES = len(VARIABLES)
#: Codes of what happened in a session, in the order of ``RUPTURE_LABELS``.
NO_RUPTURE, REPAIRED, UNREPAIRED = 0, 1, 2
RUPTURE_LABELS = ("none", "repaired", "unrepaired")
#: A shock that has faded to this share of itself no longer counts: it sets the length of the burn-in.
_FADED = 1e-8

type Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class WithinProcess:
    """The VAR(1) in reduced form, x_t = transition x_{t-1} + loading (innovation + rupture)_t.

    Parameters
    ----------
    transition : ndarray, shape (3, 3)
        Effect of the state after one session on the state after the next.
    loading : ndarray, shape (3, 3)
        Effect of a shock on the state of the same session: a severity shock also moves alliance (reverse
        path).
    innovation_covariance : ndarray, shape (3, 3)
        Covariance of the Gaussian innovations.
    rupture_shocks : ndarray, shape (2, lags, 3)
        Shocks that a repaired (0) and an unrepaired (1) rupture sends at lag 0, 1, … sessions.
    """

    transition: Matrix
    loading: Matrix
    innovation_covariance: Matrix
    rupture_shocks: Matrix


def within_process(settings: SimulationSettings) -> WithinProcess:
    """Put the settings into matrices.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.

    Returns
    -------
    WithinProcess
        The process in reduced form.

    Raises
    ------
    StudyError
        If deviations would grow from session to session instead of fading.
    """
    effects = np.array([settings.within_client_effect_client, settings.within_client_effect_therapist])
    reverse = np.array([settings.reverse_path_client, settings.reverse_path_therapist])
    autoregression = np.array(
        [settings.client_alliance_autoregression, settings.therapist_alliance_autoregression]
    )
    transition = np.empty((N_VARIABLES, N_VARIABLES))
    transition[0] = [settings.severity_autoregression, *effects]
    transition[1:] = np.outer(reverse, transition[0])
    transition[1:, 1:] += np.diag(autoregression)
    loading = np.eye(N_VARIABLES)
    loading[1:, 0] = reverse
    if np.abs(np.linalg.eigvals(transition)).max() >= 1:
        raise StudyError([_not_stationary()])
    return WithinProcess(
        transition, loading, _innovation_covariance(settings), _rupture_shocks(settings, autoregression)
    )


def _not_stationary() -> Fault:
    return Fault(
        "study file",
        "simulation",
        (),
        "the autoregressions, within-client effects and reverse paths let deviations grow without limit",
        "bring the autoregressions, or the product of within-client effect and reverse path, closer to 0",
    )


def _innovation_covariance(settings: SimulationSettings) -> Matrix:
    sds = (
        settings.severity_innovation_sd,
        settings.client_alliance_innovation_sd,
        settings.therapist_alliance_innovation_sd,
    )
    correlations = np.eye(N_VARIABLES)
    correlations[1, 2] = correlations[2, 1] = settings.alliance_innovation_correlation
    return correlations * np.outer(sds, sds)


def _rupture_shocks(settings: SimulationSettings, autoregression: Matrix) -> Matrix:
    """Return the shocks of both kinds of rupture; an unrepaired one undoes what would heal by itself."""
    depth = np.array([settings.client_rupture_depth, settings.therapist_rupture_depth])
    shocks = np.zeros((2, 1 + settings.rupture_unrepaired_sessions, N_VARIABLES))
    shocks[:, 0, 1:] = -depth
    shocks[1, 1:, 1:] = -depth * (1 - autoregression)
    return shocks


def burn_in_length(process: WithinProcess) -> int:
    """Count the sessions after which a shock has faded, whatever the start.

    Parameters
    ----------
    process : WithinProcess
        The process.

    Returns
    -------
    int
        Number of sessions, at least the time for which a rupture sends shocks.
    """
    radius = np.abs(np.linalg.eigvals(process.transition)).max()
    fading = int(np.ceil(np.log(_FADED) / np.log(radius))) if radius > 0 else 1
    # Non-normal transition matrices may grow a little before they fade; the constant covers that.
    return process.rupture_shocks.shape[1] + fading + 10


def within_covariance(settings: SimulationSettings) -> Matrix:
    """Compute the exact stationary covariance of the within-client deviations.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.

    Returns
    -------
    ndarray, shape (3, 3)
        Covariance of severity, client alliance and therapist alliance, in products of their units.

    Notes
    -----
    The Gaussian part solves the discrete Lyapunov equation. Ruptures in different sessions are independent,
    so that their part is the sum over lags of the covariance of one session's response (a mixture of nothing,
    the response to a repaired and the response to an unrepaired rupture).
    """
    process = within_process(settings)
    shock = process.loading @ process.innovation_covariance @ process.loading.T
    operator = np.eye(N_VARIABLES**2) - np.kron(process.transition, process.transition)
    gaussian = np.linalg.solve(operator, shock.ravel()).reshape(N_VARIABLES, N_VARIABLES)
    shares = rupture_shares(settings)
    responses = _rupture_responses(process)
    second_moment = np.einsum("k,kli,klj->ij", shares, responses, responses)
    mean = np.einsum("k,kli->li", shares, responses)
    return gaussian + second_moment - mean.T @ mean


def rupture_shares(settings: SimulationSettings) -> Matrix:
    """Return the probabilities of a repaired and of an unrepaired rupture in a session, shape (2,)."""
    repaired = settings.rupture_repaired_share
    return settings.rupture_probability * np.array([repaired, 1 - repaired])


def _rupture_responses(process: WithinProcess) -> Matrix:
    """Return how the state departs from its course after a rupture, shape (2, lags, 3)."""
    n_shocks = process.rupture_shocks.shape[1]
    responses = np.zeros((2, n_shocks + burn_in_length(process), N_VARIABLES))
    state = np.zeros((2, N_VARIABLES))
    for lag in range(responses.shape[1]):
        state = state @ process.transition.T
        if lag < n_shocks:
            state = state + process.rupture_shocks[:, lag] @ process.loading.T
        responses[:, lag] = state
    return responses


def simulate_within(
    settings: SimulationSettings,
    n_clients: int,
    n_slots: int,
    innovation_stream: np.random.Generator,
    rupture_stream: np.random.Generator,
) -> tuple[Matrix, NDArray[np.int8]]:
    """Draw the within-client deviations of all clients, in stationarity from the first slot on.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    n_clients, n_slots : int
        Size of the result; slot 0 is the intake, slot t the t-th session.
    innovation_stream, rupture_stream : numpy.random.Generator
        Sources of randomness.

    Returns
    -------
    deviations : ndarray, shape (n_clients, n_slots, 3)
        Mean 0 and covariance :func:`within_covariance` in every slot.
    ruptures : ndarray of int8, shape (n_clients, n_slots)
        0 none, 1 repaired, 2 unrepaired; what happened in that slot.
    """
    process = within_process(settings)
    burn_in = burn_in_length(process)
    n_steps = burn_in + n_slots
    shocks, ruptures = _rupture_path(settings, process, n_clients, n_steps, rupture_stream)
    factor = _factor(process.innovation_covariance)
    state = np.zeros((n_clients, N_VARIABLES))
    deviations = np.empty((n_clients, n_slots, N_VARIABLES))
    for step in range(n_steps):
        innovation = innovation_stream.standard_normal((n_clients, N_VARIABLES)) @ factor.T
        state = state @ process.transition.T + (innovation + shocks[step]) @ process.loading.T
        if step >= burn_in:
            deviations[:, step - burn_in] = state
    return deviations, ruptures[burn_in:].T


def _rupture_path(
    settings: SimulationSettings,
    process: WithinProcess,
    n_clients: int,
    n_steps: int,
    stream: np.random.Generator,
) -> tuple[Matrix, NDArray[np.int8]]:
    """Draw ruptures; return their centred shocks, shape (n_steps, n_clients, 3), and their codes."""
    shares = rupture_shares(settings)
    uniform = stream.random((n_steps, n_clients))
    ruptures = np.select([uniform < shares[0], uniform < shares.sum()], [REPAIRED, UNREPAIRED], NO_RUPTURE)
    shocks = np.zeros((n_steps, n_clients, N_VARIABLES))
    for lag in range(min(process.rupture_shocks.shape[1], n_steps)):
        by_code = np.vstack([np.zeros(N_VARIABLES), process.rupture_shocks[:, lag]])
        shocks[lag:] += by_code[ruptures[: n_steps - lag]]
    return shocks - np.einsum("k,kli->i", shares, process.rupture_shocks), ruptures.astype(np.int8)


def _factor(covariance: Matrix) -> Matrix:
    """Return F with F F' = covariance; unlike a Cholesky factor it allows a variance of 0."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))
