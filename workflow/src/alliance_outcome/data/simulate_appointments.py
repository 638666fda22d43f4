"""The simulated clinic's calendar: appointments kept and missed, the intake and the end assessment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.data.simulate_effects import Integers
from alliance_outcome.data.simulate_process import LatentProcess
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.simulation_settings import SimulationSettings

#: Codes of the clinic: attended, cancelled, no-show.
ATTENDED, CANCELLED, NO_SHOW = "A", "C", "N"
#: So many appointments in a row may be missed before one is held.
MAX_MISSED = 3
_DAYS_PER_WEEK = 7
#: First and last possible day of the intake before the first session, of the end after the last.
_INTAKE_LEAD_DAYS = (7, 28)
_END_DELAY_DAYS = (7, 14)


@dataclass(frozen=True)
class Appointments:
    """All rows of the clinic's session file, without the items.

    Parameters
    ----------
    frame : DataFrame
        ``client`` (position), ``slot`` (of the latent process; a missed appointment has that of the session
        it precedes), ``occasion``, ``session`` (appointment number), ``week``, ``attendance``; by client, in
        order.
    numbers : ndarray of int, shape (n_clients, n_slots)
        Appointment number at which the session of a slot is held; 0 for slots that are not sessions.
    """

    frame: pd.DataFrame
    numbers: Integers

    def session_numbers(self, client: Integers, slot: Integers, held: Integers) -> pd.arrays.IntegerArray:
        """Look up the appointment numbers of sessions.

        Parameters
        ----------
        client, slot : ndarray of int, shape (n,)
            Positions.
        held : ndarray of int, shape (n_clients,)
            Sessions held.

        Returns
        -------
        IntegerArray, shape (n,)
            Numbers as in the session file; missing where no session was held.
        """
        not_held = (slot == 0) | (slot > held[client])
        return pd.arrays.IntegerArray(self.numbers[client, slot], not_held)


@dataclass(frozen=True)
class _Calendar:
    """Days and numbers of appointments; along the last axis missed ones, then the session they precede."""

    used: NDArray[np.bool_]
    day: Integers
    number: Integers


def simulate_appointments(
    settings: SimulationSettings, process: LatentProcess, streams: NamedStreams
) -> Appointments:
    """Draw the calendar of all clients.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    process : LatentProcess
        Lengths of therapies and end assessments.
    streams : NamedStreams
        Sources of randomness.

    Returns
    -------
    Appointments
        One row per intake, appointment and end assessment that took place.
    """
    calendar = _planned_calendar(settings, streams)
    held, planned = process.held, process.planned
    clients = np.arange(len(held))
    intake_days = streams.stream("intake days").integers(*_INTAKE_LEAD_DAYS, len(held), endpoint=True)
    end_delays = streams.stream("end days").integers(*_END_DELAY_DAYS, len(held), endpoint=True)
    end_days = calendar.day[clients, planned - 1, MAX_MISSED] + end_delays
    assessed = process.end_assessed
    rows = pd.concat(
        [
            _rows(clients, 0, "intake", None, -intake_days, None),
            _kept_and_missed(settings, calendar, held, streams),
            _last_no_shows(settings, calendar, process, streams),
            _rows(clients[assessed], planned[assessed] + 1, "end", None, end_days[assessed], None),
        ]
    )
    rows = rows.sort_values("client", kind="stable", ignore_index=True)
    numbers = np.zeros((len(held), process.within.shape[1]), dtype=np.int64)
    numbers[:, 1:-1] = calendar.number[:, :, MAX_MISSED]
    return Appointments(rows, numbers)


def _rows(
    client: Integers,
    slot: Integers | int,
    occasion: str,
    session: Integers | None,
    day: Integers,
    attendance: NDArray[np.str_] | str | None,
) -> pd.DataFrame:
    """Build rows of the session file from columns or constants; None stands for blank."""
    return pd.DataFrame(
        {
            "client": client,
            "slot": slot,
            "occasion": occasion,
            "session": pd.Series(session, index=range(len(client)), dtype="Int64"),
            "week": np.round(day / _DAYS_PER_WEEK, 2),
            "attendance": pd.Series(attendance, index=range(len(client)), dtype="str"),
        }
    )


def _planned_calendar(settings: SimulationSettings, streams: NamedStreams) -> _Calendar:
    """Draw the calendar of the longest therapy for everybody; what comes after the end is not used."""
    shape = (settings.n_clients, settings.planned_sessions_max)
    attempts = streams.stream("missed appointments").geometric(
        1 - settings.missed_appointment_probability, shape
    )
    missed = np.minimum(attempts - 1, MAX_MISSED)
    # Week 0 is the first session, so that no missed appointment precedes it.
    missed[:, 0] = 0
    used = np.arange(MAX_MISSED + 1) < missed[:, :, None]
    used[:, :, MAX_MISSED] = True
    weeks = 1 + (streams.stream("skipped weeks").random(used.shape) < settings.skipped_week_probability)
    # A day earlier or later now and then, never enough to swap two appointments.
    shift = streams.stream("days of the week").integers(-1, 1, used.shape, endpoint=True)
    gaps = (_DAYS_PER_WEEK * weeks + shift) * used
    gaps[:, 0] = 0
    days = gaps.reshape(len(gaps), -1).cumsum(axis=1).reshape(used.shape)
    numbers = used.reshape(len(used), -1).cumsum(axis=1).reshape(used.shape)
    return _Calendar(used, days, numbers)


def _kept_and_missed(
    settings: SimulationSettings, calendar: _Calendar, held: Integers, streams: NamedStreams
) -> pd.DataFrame:
    """Return the appointments up to the last held session."""
    until_last = np.arange(calendar.used.shape[1]) < held[:, None]
    client, session, place = np.nonzero(calendar.used & until_last[:, :, None])
    no_show = (
        streams.stream("no-shows").random(calendar.used.shape)[client, session, place]
        < settings.no_show_share
    )
    attendance = np.select([place == MAX_MISSED, no_show], [ATTENDED, NO_SHOW], CANCELLED)
    day = calendar.day[client, session, place]
    number = calendar.number[client, session, place]
    return _rows(client, session + 1, "session", number, day, attendance)


def _last_no_shows(
    settings: SimulationSettings, calendar: _Calendar, process: LatentProcess, streams: NamedStreams
) -> pd.DataFrame:
    """Return the appointments that clients who dropped out did not come to."""
    recorded = streams.stream("last no-shows").random(settings.n_clients) < settings.dropout_no_show
    client = np.flatnonzero(recorded & (process.held < process.planned))
    last = process.held[client]
    number = calendar.number[client, last - 1, MAX_MISSED] + 1
    day = calendar.day[client, last - 1, MAX_MISSED] + _DAYS_PER_WEEK
    return _rows(client, last + 1, "session", number, day, NO_SHOW)
