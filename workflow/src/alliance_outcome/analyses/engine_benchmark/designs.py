"""Simulated data of a given size, in a file that Python and R read alike.

Sessions in clients in therapists: a column of sessions with a random slope, one of clients, one of therapists, and
random intercepts at both levels. Rows come as a clinic exports them, client after client, the clients of one therapist
scattered among those of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

#: The model of every contestant: in formulas of the engine, and in one of lme4, which mixedlm reads too.
FORMULA = "y ~ x + z + w"
GROUPS = ("therapist", "client")
RANDOM = {"client": "1 + x", "therapist": "1"}
LME4_FORMULA = f"{FORMULA} + (1 + x | client) + (1 | therapist)"

#: Columns of the file, in order: outcome; predictors of sessions, clients and therapists; numbers of the units.
COLUMNS = ("y", "x", "z", "w", "client", "therapist")

#: Generating values, in units of the residual standard deviation: fixed effects of intercept, x, z and w, standard
#: deviations of clients' intercepts and slopes with their correlation, and of therapists' intercepts.
COEFFICIENTS = (2.0, 0.3, 0.2, -0.1)
CLIENT_INTERCEPT, CLIENT_SLOPE, CLIENT_CORRELATION = 0.8, 0.35, 0.3
THERAPIST_INTERCEPT = 0.3

#: Every client has this many sessions and every therapist this many clients; the others are spread at random.
FEWEST_SESSIONS, FEWEST_CLIENTS = 3, 2


@dataclass(frozen=True)
class Design:
    """Size of a data set.

    Parameters
    ----------
    rows, clients, therapists : int
    """

    rows: int
    clients: int
    therapists: int

    def __str__(self) -> str:
        return f"{self.rows:,} / {self.clients:,} / {self.therapists:,}"


#: Twelve sessions per client, from one clinic to a national register.
SIZES = (
    Design(2_400, 206, 20),
    Design(24_000, 2_045, 100),
    Design(240_000, 20_210, 500),
    Design(966_000, 80_400, 2_000),
)


def simulate(design: Design, seed: int) -> pd.DataFrame:
    """Simulate a data set.

    Parameters
    ----------
    design : Design
    seed : int
        The benchmark's seed; each size has a stream of its own.

    Returns
    -------
    DataFrame
        One row per session with :data:`COLUMNS`, sorted by client.
    """
    rng = np.random.default_rng([seed, design.rows, design.clients, design.therapists])
    therapist = _spread(rng, design.clients, design.therapists, FEWEST_CLIENTS)
    rng.shuffle(therapist)
    client = _spread(rng, design.rows, design.clients, FEWEST_SESSIONS)
    x = rng.standard_normal(design.rows)
    z, w = rng.standard_normal(design.clients), rng.standard_normal(design.therapists)
    intercept, slope = _client_effects(rng, design.clients)
    fixed, of_x, of_z, of_w = COEFFICIENTS
    by_client = fixed + of_z * z + intercept
    by_client += (of_w * w + THERAPIST_INTERCEPT * rng.standard_normal(design.therapists))[therapist]
    y = by_client[client] + (of_x + slope[client]) * x + rng.standard_normal(design.rows)
    by_row = therapist[client]
    return pd.DataFrame(dict(zip(COLUMNS, (y, x, z[client], w[by_row], client, by_row), strict=True)))


def _spread(rng: np.random.Generator, n_members: int, n_units: int, fewest: int) -> np.ndarray:
    """Return the unit of each member, sorted: so many members for every unit, and the others at random."""
    sizes = fewest + rng.multinomial(n_members - fewest * n_units, np.full(n_units, 1.0 / n_units))
    return np.repeat(np.arange(n_units), sizes)


def _client_effects(rng: np.random.Generator, n_clients: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw correlated intercepts and slopes."""
    first, second = rng.standard_normal((2, n_clients))
    rest = np.sqrt(1.0 - CLIENT_CORRELATION**2)
    return CLIENT_INTERCEPT * first, CLIENT_SLOPE * (CLIENT_CORRELATION * first + rest * second)


def write_data(data: pd.DataFrame, path: Path) -> None:
    """Write a data set column after column as 64-bit numbers, lowest byte first: R and NumPy read that without loss."""
    np.stack([data[name].to_numpy(dtype="<f8") for name in COLUMNS]).tofile(path)


def read_data(path: Path) -> pd.DataFrame:
    """Read what :func:`write_data` wrote; units are whole numbers."""
    columns = dict(zip(COLUMNS, np.fromfile(path, dtype="<f8").reshape(len(COLUMNS), -1), strict=True))
    return pd.DataFrame(columns).astype(dict.fromkeys(GROUPS, np.int64))


class DataFiles:
    """Data sets, simulated and written once each.

    Parameters
    ----------
    folder : Path
    seed : int
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed

    def path(self, design: Design) -> Path:
        """Return the file of a design."""
        path = self._folder / f"{design.rows}_{design.clients}_{design.therapists}.bin"
        if not path.exists():
            write_data(simulate(design, self._seed), path)
        return path
