"""What the simulated clinic exports: sessions, clients and therapists, coded the way clinics code.

:mod:`alliance_outcome.data.simulate` lists the columns and codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.data.simulate_appointments import Appointments, simulate_appointments
from alliance_outcome.data.simulate_items import CORE10, CORE10_MISSING, WAI_CLIENT, WAI_THERAPIST, form_table
from alliance_outcome.data.simulate_process import LatentProcess
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.data.simulate_within import RUPTURE_LABELS, VARIABLES
from alliance_outcome.simulation_settings import SimulationSettings

#: Columns of the session file before the items.
SESSION_COLUMNS = ("client_id", "therapist_id", "occasion", "session", "week", "attendance")

# Shares of the categories; met exactly but for rounding, so that no category of 300 clients is small.
_AGE_BANDS = {"18 to 29": 0.28, "30 to 44": 0.36, "45 to 59": 0.24, "60 and over": 0.12}
_GENDERS = {"woman": 0.60, "man": 0.33, "another or not stated": 0.07}
_DIAGNOSES = {"depression": 0.40, "anxiety": 0.30, "adjustment": 0.18, "other": 0.12}
_EXPERIENCE = {"under 3 years": 0.28, "3 to 10 years": 0.44, "over 10 years": 0.28}
_ORIENTATIONS = {"cognitive-behavioural": 0.44, "psychodynamic": 0.32, "integrative": 0.24}
#: Integrative therapists give either treatment, the others that of their orientation.
_TREATMENTS = ("cognitive-behavioural", "psychodynamic")


@dataclass(frozen=True)
class ExportedTables:
    """The clinic's three tables, and the latent values by the same ids.

    Parameters
    ----------
    sessions, clients, therapists : DataFrame
        As exported.
    latent : DataFrame
        Latent values per client and slot.
    """

    sessions: pd.DataFrame
    clients: pd.DataFrame
    therapists: pd.DataFrame
    latent: pd.DataFrame


def export_tables(
    settings: SimulationSettings, process: LatentProcess, streams: NamedStreams
) -> ExportedTables:
    """Turn latent values into the clinic's tables.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    process : LatentProcess
        Latent values.
    streams : NamedStreams
        Sources of randomness.

    Returns
    -------
    ExportedTables
        All tables, sorted by id; client ids carry no order.
    """
    client_ids = _shuffled_ids("C", settings.n_clients, 4, streams.stream("client ids"))
    therapist_ids = _shuffled_ids("T", settings.n_therapists, 2, streams.stream("therapist ids"))
    appointments = simulate_appointments(settings, process, streams)
    therapists = _therapist_table(therapist_ids, streams)
    clients = _client_table(process, client_ids, therapists["orientation"].to_numpy(), streams)
    sessions = _session_table(settings, process, appointments, streams)
    sessions.insert(0, "client_id", client_ids[sessions["client"]])
    sessions.insert(1, "therapist_id", therapist_ids[process.effects.therapist[sessions["client"]]])
    sessions = sessions.drop(columns="client").sort_values("client_id", kind="stable", ignore_index=True)
    latent = _latent_table(process, appointments, client_ids, therapist_ids)
    return ExportedTables(
        sessions,
        clients.sort_values("client_id", ignore_index=True),
        therapists.sort_values("therapist_id", ignore_index=True),
        latent.sort_values("client_id", kind="stable", ignore_index=True),
    )


def _shuffled_ids(letter: str, count: int, min_width: int, stream: np.random.Generator) -> np.ndarray:
    width = max(min_width, len(str(count)))
    return np.array([f"{letter}{number:0{width}d}" for number in 1 + stream.permutation(count)], dtype=object)


def _in_shares(shares: dict[str, float], size: int, stream: np.random.Generator) -> np.ndarray:
    """Deal categories in random order, in their shares, which are rounded so that they add up."""
    bounds = np.rint(size * np.cumsum(list(shares.values()))).astype(int)
    counts = np.diff(bounds, prepend=0)
    return stream.permutation(np.repeat(np.array(list(shares), dtype=object), counts))


def _therapist_table(therapist_ids: np.ndarray, streams: NamedStreams) -> pd.DataFrame:
    size = len(therapist_ids)
    return pd.DataFrame(
        {
            "therapist_id": therapist_ids,
            "experience_band": _in_shares(_EXPERIENCE, size, streams.stream("experience")),
            "orientation": _in_shares(_ORIENTATIONS, size, streams.stream("orientation")),
        }
    )


def _client_table(
    process: LatentProcess, client_ids: np.ndarray, orientations: np.ndarray, streams: NamedStreams
) -> pd.DataFrame:
    size = len(client_ids)
    orientation = orientations[process.effects.therapist]
    either = np.array(_TREATMENTS, dtype=object)[streams.stream("treatment").integers(0, 2, size)]
    return pd.DataFrame(
        {
            "client_id": client_ids,
            "age_band": _in_shares(_AGE_BANDS, size, streams.stream("age")),
            "gender": _in_shares(_GENDERS, size, streams.stream("gender")),
            "diagnosis": _in_shares(_DIAGNOSES, size, streams.stream("diagnosis")),
            "treatment": np.where(np.isin(orientation, _TREATMENTS), orientation, either),
            "ending": np.where(process.held < process.planned, "unplanned", "planned"),
        }
    )


def _session_table(
    settings: SimulationSettings, process: LatentProcess, appointments: Appointments, streams: NamedStreams
) -> pd.DataFrame:
    """Put the items beside the appointments at which they were due; ``client`` is still a position."""
    frame = appointments.frame
    is_session = frame["occasion"].to_numpy() == "session"
    held = is_session & (frame["attendance"].to_numpy() == "A")
    severity_due = held | ~is_session
    total = process.total[frame["client"], frame["slot"]]
    tables = [frame[["client", "occasion", "session", "week", "attendance"]]]
    for form, variable, due in (
        (CORE10, 0, severity_due),
        (WAI_CLIENT, 1, held),
        (WAI_THERAPIST, 2, held),
    ):
        items = form_table(settings, streams, form, total[due, variable], held[due])
        if form is CORE10:
            items = items.fillna(CORE10_MISSING)
        tables.append(items.set_axis(frame.index[due]).reindex(frame.index).astype("Int16"))
    return pd.concat(tables, axis="columns")


def _latent_table(
    process: LatentProcess, appointments: Appointments, client_ids: np.ndarray, therapist_ids: np.ndarray
) -> pd.DataFrame:
    """List the latent values of every slot of every therapy as planned, held or not."""
    n_slots = process.within.shape[1]
    client, slot = np.nonzero(np.arange(n_slots) <= process.planned[:, None] + 1)
    is_end = slot == process.planned[client] + 1
    therapist = process.effects.therapist[client]
    table = {
        "client_id": client_ids[client],
        "therapist_id": therapist_ids[therapist],
        "occasion": np.select([slot == 0, is_end], ["intake", "end"], "session"),
        "slot": slot,
        "held": np.where(is_end, process.end_assessed[client], slot <= process.held[client]),
        "session": appointments.session_numbers(client, slot, process.held),
        "rupture": np.array(RUPTURE_LABELS)[process.rupture[client, slot]],
        "intake_severity": process.effects.intake[client],
    }
    for position, variable in enumerate(VARIABLES):
        within = process.within[client, slot, position]
        table[variable] = process.course[client, slot, position] + within
        table[f"{variable}_within_client"] = within
    for position, variable in enumerate(VARIABLES[1:]):
        table[f"{variable}_between_client"] = process.effects.alliance_between_client[client, position]
        table[f"{variable}_between_therapist"] = process.effects.alliance_between_therapist[
            therapist, position
        ]
    return pd.DataFrame(table).astype({"occasion": "category", "rupture": "category"})
