"""Latent values of the simulated study: courses, departures from them, and who drops out.

:mod:`alliance_outcome.data.simulate` states the equations; the functions here follow their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.data.simulate_effects import Integers, StableEffects, stable_effects
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.data.simulate_within import Matrix, simulate_within
from alliance_outcome.simulation_settings import SimulationSettings

#: Individual alliance trends are stated per this many sessions.
TREND_SESSIONS = 10


@dataclass(frozen=True)
class LatentProcess:
    """Latent values of all clients, sorted by therapist.

    Slot 0 is the intake, slot t the t-th held session, slot ``planned + 1`` the end assessment. Therapies go
    on in all arrays after a dropout: what would have been is part of the model.

    Parameters
    ----------
    effects : StableEffects
        What does not change.
    planned, held : ndarray of int, shape (n_clients,)
        Sessions planned and held; held is less than planned in an unplanned ending.
    course : ndarray, shape (n_clients, n_slots, 3)
        Each client's own course: mean, stable differences and trends.
    within : ndarray, shape (n_clients, n_slots, 3)
        Departures from that course.
    rupture : ndarray of int8, shape (n_clients, n_slots)
        Kind of rupture in that slot.
    end_assessed : ndarray of bool, shape (n_clients,)
        Whether the end assessment took place.
    """

    effects: StableEffects
    planned: Integers
    held: Integers
    course: Matrix
    within: Matrix
    rupture: NDArray[np.int8]
    end_assessed: NDArray[np.bool_]

    @property
    def total(self) -> Matrix:
        """Severity, client and therapist alliance as they are, shape (n_clients, n_slots, 3)."""
        return self.course + self.within


def simulate_process(settings: SimulationSettings, streams: NamedStreams) -> LatentProcess:
    """Draw all latent values.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    streams : NamedStreams
        Sources of randomness.

    Returns
    -------
    LatentProcess
        Latent values and lengths of therapies.

    Raises
    ------
    StudyError
        If the within-client process is not stationary.
    """
    n_clients = settings.n_clients
    n_slots = settings.planned_sessions_max + 2
    effects = stable_effects(settings, streams)
    shortest, longest = settings.planned_sessions_min, settings.planned_sessions_max
    planned = streams.stream("planned sessions").integers(shortest, longest + 1, n_clients)
    course = individual_courses(settings, effects, n_slots)
    within, rupture = simulate_within(
        settings, n_clients, n_slots, streams.stream("innovations"), streams.stream("ruptures")
    )
    held = held_sessions(settings, planned, course + within, streams.stream("dropout"))
    chance = np.where(held < planned, settings.end_assessment_unplanned, settings.end_assessment_planned)
    end_assessed = streams.stream("end assessment").random(n_clients) < chance
    return LatentProcess(effects, planned, held, course, within, rupture, end_assessed)


def mean_courses(settings: SimulationSettings, n_slots: int) -> Matrix:
    """Compute the mean course of each variable over the slots.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    n_slots : int
        Number of slots, from the intake on.

    Returns
    -------
    ndarray, shape (n_slots, 3)
        Means in CORE-10 and WAI-S points.
    """
    slots = np.arange(n_slots)
    shape = np.log(np.maximum(slots, 1)) / np.log(settings.mean_planned_sessions + 1)
    starts = (settings.intake_severity_mean, settings.client_alliance_mean, settings.therapist_alliance_mean)
    changes = (
        settings.severity_change_mean,
        settings.client_alliance_change,
        settings.therapist_alliance_change,
    )
    return np.asarray(starts) + shape[:, None] * np.asarray(changes)


def individual_courses(settings: SimulationSettings, effects: StableEffects, n_slots: int) -> Matrix:
    """Add stable differences and individual trends to the mean courses.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    effects : StableEffects
        Random effects.
    n_slots : int
        Number of slots, from the intake on.

    Returns
    -------
    ndarray, shape (n_clients, n_slots, 3)
        Courses in CORE-10 and WAI-S points.
    """
    slots = np.arange(n_slots)
    linear = np.maximum(slots - 1, 0) / settings.mean_planned_sessions
    onset = settings.alliance_effect_onset
    delayed = np.maximum(slots - onset, 0) / (settings.mean_planned_sessions + 1 - onset)
    course = np.tile(mean_courses(settings, n_slots), (len(effects.intake), 1, 1))
    departure = effects.intake - settings.intake_severity_mean
    change = (settings.severity_stability - 1) * departure + effects.change
    course[:, :, 0] += departure[:, None] + np.outer(change, linear)
    course[:, :, 0] += np.outer(alliance_part(settings, effects), delayed)
    therapist_alliance = effects.alliance_between_therapist[effects.therapist]
    course[:, :, 1:] += (effects.alliance_between_client + therapist_alliance)[:, None, :]
    centred = (slots - settings.alliance_trend_centre) / TREND_SESSIONS
    course[:, :, 1:] += effects.alliance_trend[:, None, :] * centred[None, :, None]
    return course


def alliance_part(settings: SimulationSettings, effects: StableEffects) -> Matrix:
    """Compute what the stable alliances add to end severity after a therapy of mean length.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    effects : StableEffects
        Random effects.

    Returns
    -------
    ndarray, shape (n_clients,)
        Part of the change in severity, in CORE-10 points.
    """
    between_client = np.array(
        [settings.between_client_effect_client, settings.between_client_effect_therapist]
    )
    between_therapist = np.array(
        [settings.between_therapist_effect_client, settings.between_therapist_effect_therapist]
    )
    by_therapist = effects.alliance_between_therapist @ between_therapist
    return effects.alliance_between_client @ between_client + by_therapist[effects.therapist]


def held_sessions(
    settings: SimulationSettings, planned: Integers, total: Matrix, stream: np.random.Generator
) -> Integers:
    """Draw how many sessions each client comes to.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    planned : ndarray of int, shape (n_clients,)
        Sessions planned.
    total : ndarray, shape (n_clients, n_slots, 3)
        Severity and alliances.
    stream : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (n_clients,)
        Sessions held, at most the planned ones.
    """
    n_clients, n_slots = total.shape[:2]
    above_mean = total - mean_courses(settings, n_slots)
    log_odds = (
        settings.dropout_log_odds
        + settings.dropout_severity_effect * above_mean[:, :, 0]
        + settings.dropout_alliance_effect * above_mean[:, :, 1]
    )
    leaves = stream.random((n_clients, n_slots)) < 1 / (1 + np.exp(-log_odds))
    slots = np.arange(n_slots)
    leaves &= (slots >= settings.sessions_before_dropout) & (slots < planned[:, None])
    return np.where(leaves.any(axis=1), leaves.argmax(axis=1), planned)
