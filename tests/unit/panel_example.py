"""Panels with known truth, for tests."""

import numpy as np
import pandas as pd

NAMES = ("severity", "alliance_client", "alliance_therapist")
RATERS = {"client": "alliance_client", "therapist": "alliance_therapist"}
CARRIED = np.array([[0.4, -0.15, -0.05], [-0.15, 0.3, 0.1], [-0.1, 0.1, 0.3]])
INNOVATION = np.array([[0.8, -0.2, -0.1], [-0.2, 0.8, 0.2], [-0.1, 0.2, 0.8]])
STABLE = np.array([[1.0, -0.4, -0.3], [-0.4, 1.0, 0.5], [-0.3, 0.5, 1.0]])
MEANS = np.array([5.0, 3.0, 4.0])


def panel_values(seed, clients, waves, *, trends=0.0, missing=0.0):
    """Simulate clients by waves by variables from a first-order process around what is stable of a client."""
    rng = np.random.default_rng(seed)
    stable = rng.multivariate_normal(np.zeros(3), STABLE, size=clients)
    slopes = trends * rng.normal(size=(clients, 3))
    departure = rng.multivariate_normal(np.zeros(3), np.eye(3), size=clients)
    factor = np.linalg.cholesky(INNOVATION)
    found = np.empty((clients, waves, 3))
    for wave in range(waves):
        if wave:
            departure = departure @ CARRIED.T + rng.normal(size=(clients, 3)) @ factor.T
        found[:, wave] = MEANS + stable + wave * slopes + departure
    found[rng.uniform(size=found.shape) < missing] = np.nan
    return found


def sessions_of(values, *, therapists=10):
    """Return the long table of sessions."""
    clients, waves, _ = values.shape
    table = pd.DataFrame(
        {
            "client": np.repeat(np.arange(clients), waves),
            "therapist": np.repeat(np.arange(clients) % therapists, waves),
            "session": np.tile(np.arange(1, waves + 1), clients),
        }
    )
    for number, name in enumerate(NAMES):
        table[name] = values[:, :, number].ravel()
    return table
