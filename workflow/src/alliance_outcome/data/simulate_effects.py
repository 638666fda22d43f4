"""Random effects of the simulated study: caseloads, and what is stable in therapists and clients.

:mod:`alliance_outcome.data.simulate` states the equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.data.simulate_within import Matrix
from alliance_outcome.simulation_settings import SimulationSettings

type Integers = NDArray[np.int64]


@dataclass(frozen=True)
class StableEffects:
    """What does not change over a therapy.

    Parameters
    ----------
    therapist : ndarray of int, shape (n_clients,)
        Position of each client's therapist.
    intake : ndarray, shape (n_clients,)
        Stable severity at intake I, in CORE-10 points.
    alliance_between_client : ndarray, shape (n_clients, 2)
        Stable client and therapist alliance, as departures from the therapist's, in WAI-S points.
    alliance_between_therapist : ndarray, shape (n_therapists, 2)
        The therapists' departures from the mean, in WAI-S points.
    change : ndarray, shape (n_clients,)
        Unexplained change in severity v + r over a mean therapy, in CORE-10 points.
    alliance_trend : ndarray, shape (n_clients, 2)
        Trends k of client and therapist alliance, in WAI-S points per 10 sessions.
    """

    therapist: Integers
    intake: Matrix
    alliance_between_client: Matrix
    alliance_between_therapist: Matrix
    change: Matrix
    alliance_trend: Matrix


def caseload_sizes(settings: SimulationSettings, stream: np.random.Generator) -> Integers:
    """Draw how many clients each therapist has: log-normal shares, kept between the bounds.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    stream : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (n_therapists,)
        Sizes that add up to the number of clients.
    """
    shares = np.exp(settings.caseload_spread * stream.standard_normal(settings.n_therapists))
    expected = settings.n_clients * shares / shares.sum()
    sizes = np.clip(np.rint(expected), settings.caseload_min, settings.caseload_max).astype(np.int64)
    while (surplus := int(sizes.sum()) - settings.n_clients) != 0:
        step = -np.sign(surplus)
        bound = settings.caseload_min if step < 0 else settings.caseload_max
        movable = stream.permutation(np.flatnonzero(sizes != bound))
        sizes[movable[: abs(surplus)]] += step
    return sizes


def stable_effects(settings: SimulationSettings, streams: NamedStreams) -> StableEffects:
    """Draw the random effects of therapists and clients.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    streams : NamedStreams
        Sources of randomness.

    Returns
    -------
    StableEffects
        Random effects; clients are sorted by therapist.
    """
    n_therapists = settings.n_therapists
    therapist = np.repeat(np.arange(n_therapists), caseload_sizes(settings, streams.stream("caseloads")))
    therapist_stream = streams.stream("therapist effects")
    therapist_alliance = _correlated(
        therapist_stream,
        n_therapists,
        (settings.client_alliance_sd_between_therapist, settings.therapist_alliance_sd_between_therapist),
        (settings.alliance_correlation_between_therapist,),
    )
    therapist_intake = settings.intake_severity_sd_therapist * therapist_stream.standard_normal(n_therapists)
    therapist_change = settings.severity_change_sd_therapist * therapist_stream.standard_normal(n_therapists)
    stable = _stable_client_effects(settings, streams.stream("client effects"))
    trends = _client_trends(settings, streams.stream("client trends"))
    return StableEffects(
        therapist=therapist,
        intake=settings.intake_severity_mean + therapist_intake[therapist] + stable[:, 0],
        alliance_between_client=stable[:, 1:],
        alliance_between_therapist=therapist_alliance,
        change=therapist_change[therapist] + trends[:, 0],
        alliance_trend=trends[:, 1:],
    )


def _stable_client_effects(settings: SimulationSettings, stream: np.random.Generator) -> Matrix:
    """Draw intake severity and both stable alliances of clients, as departures from their therapists'."""
    return _correlated(
        stream,
        settings.n_clients,
        (
            settings.intake_severity_sd_client,
            settings.client_alliance_sd_between_client,
            settings.therapist_alliance_sd_between_client,
        ),
        (
            settings.intake_client_alliance_correlation,
            settings.intake_therapist_alliance_correlation,
            settings.alliance_correlation_between_client,
        ),
    )


def _client_trends(settings: SimulationSettings, stream: np.random.Generator) -> Matrix:
    """Draw unexplained change in severity and the trends of both alliances."""
    return _correlated(
        stream,
        settings.n_clients,
        (
            settings.severity_change_sd_client,
            settings.client_alliance_trend_sd,
            settings.therapist_alliance_trend_sd,
        ),
        (
            settings.severity_client_trend_correlation,
            settings.severity_therapist_trend_correlation,
            settings.alliance_trend_correlation,
        ),
    )


def _correlated(
    stream: np.random.Generator, size: int, sds: tuple[float, ...], correlations: tuple[float, ...]
) -> Matrix:
    """Draw Gaussian effects; the correlations are the upper triangle of their matrix, row by row."""
    matrix = np.eye(len(sds))
    upper = np.triu_indices(len(sds), k=1)
    matrix[upper] = correlations
    matrix.T[upper] = correlations
    return stream.standard_normal((size, len(sds))) @ np.linalg.cholesky(matrix).T * np.asarray(sds)
