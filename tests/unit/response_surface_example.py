"""Rows with a planted response surface, for tests."""

import numpy as np
import pandas as pd

#: b1 to b5 of improvement: agreement is all that counts, or height alone, or one rater's curvature.
CONGRUENCE = (0.0, 0.0, -1.0, 2.0, -1.0)
MAIN_EFFECTS = (1.0, 0.5, 0.0, 0.0, 0.0)
ONE_CURVATURE = (0.0, 0.0, 0.0, 0.0, -1.5)


def surface(x, y, b):
    """Evaluate a surface."""
    return b[0] * x + b[1] * y + b[2] * x**2 + b[3] * x * y + b[4] * y**2


def hybrid_rows(seed, b, n_therapists=12, clients_each=8, sessions_each=8, slope_sd=0.5):
    """Simulate session pairs whose surface is of deviations from the client's mean, with slopes that differ."""
    generator = np.random.default_rng(seed)
    n_clients = n_therapists * clients_each
    client = np.repeat(np.arange(n_clients), sessions_each)
    therapist = client // clients_each
    slot = np.tile(np.arange(1, sessions_each + 1), n_clients)
    change = generator.multivariate_normal([0, 0], [[0.36, 0.1], [0.1, 0.36]], len(client))
    change -= pd.DataFrame(change).groupby(client).transform("mean").to_numpy()
    stable = generator.multivariate_normal([5.2, 4.8], [[0.25, 0.1], [0.1, 0.25]], n_clients)[client]
    first = generator.normal(20, 4, n_clients)[client]
    slopes = generator.normal(0, slope_sd, (n_clients, 2))[client]
    noise = generator.normal(0, 1, n_therapists)[therapist] + generator.normal(0, 2, n_clients)[client]
    improvement = surface(*change.T, b) + np.sum(slopes * change, axis=1) + stable.sum(axis=1)
    return pd.DataFrame(
        {
            "client": [f"C{label:03d}" for label in client],
            "therapist": [f"T{label:02d}" for label in therapist],
            "slot": slot,
            "time": np.log(slot),
            "severity_first": first,
            "outcome": 15 + 0.3 * first + noise - improvement + generator.normal(0, 1.5, len(client)),
            "alliance_client": stable[:, 0] + change[:, 0],
            "alliance_therapist": stable[:, 1] + change[:, 1],
        }
    )


def early_rows(seed, b, n_therapists=20, clients_each=12):
    """Simulate clients whose surface is of both ratings about 5, the point halfway between the raters' means."""
    generator = np.random.default_rng(seed)
    size = n_therapists * clients_each
    therapist = np.arange(size) // clients_each
    ratings = generator.multivariate_normal([0.2, -0.2], [[0.5, 0.15], [0.15, 0.5]], size)
    ratings += generator.normal(0, 0.3, (n_therapists, 2))[therapist]
    first = generator.normal(20, 4, size)
    before = 0.7 * first + generator.normal(0, 3, size)
    noise = generator.normal(0, 1, n_therapists)[therapist] + generator.normal(0, 2, size)
    return pd.DataFrame(
        {
            "client": [f"C{label:03d}" for label in range(size)],
            "therapist": [f"T{label:02d}" for label in therapist],
            "severity_first": first,
            "severity_before": before,
            "outcome": 5 + 0.5 * before - surface(*ratings.T, b) + noise,
            "alliance_client": 5 + ratings[:, 0],
            "alliance_therapist": 5 + ratings[:, 1],
        }
    )
