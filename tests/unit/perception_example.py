"""Two raters' scores of sessions of clients of therapists, with a planted split and planted correlations."""

import numpy as np
import pandas as pd

#: Standard deviations by level (session, client, therapist) and rater, and the raters' correlation by level.
DEVIATIONS = ((0.6, 0.5), (0.7, 0.5), (0.35, 0.6))
CORRELATIONS = (0.2, 0.3, 0.4)
MEANS = (5.0, 4.5)


def two_raters(
    seed=1,
    n_therapists=20,
    clients_each=6,
    sessions_each=5,
    deviations=DEVIATIONS,
    correlations=CORRELATIONS,
    missing=0.1,
):
    """Simulate a table with ``client, therapist, session, alliance_client, alliance_therapist``."""
    generator = np.random.default_rng(seed)
    n_clients = n_therapists * clients_each
    client = np.repeat(np.arange(n_clients), sessions_each)
    therapist = client // clients_each
    sizes, codes = (len(client), n_clients, n_therapists), (np.arange(len(client)), client, therapist)
    values = np.array(MEANS) + sum(
        _pairs(generator, size, *own)[code]
        for size, code, own in zip(sizes, codes, zip(deviations, correlations, strict=True), strict=True)
    )
    values[generator.random(values.shape) < missing] = np.nan
    return pd.DataFrame(
        {
            "client": [f"C{code:04d}" for code in client],
            "therapist": [f"T{code:03d}" for code in therapist],
            "session": np.tile(np.arange(1, sessions_each + 1), n_clients),
            "alliance_client": values[:, 0],
            "alliance_therapist": values[:, 1],
        }
    )


def _pairs(generator, size, deviations, correlation):
    normals = generator.standard_normal((size, 2))
    second = correlation * normals[:, 0] + np.sqrt(1.0 - correlation**2) * normals[:, 1]
    return np.column_stack([normals[:, 0], second]) * deviations


def planted_shares(deviations=DEVIATIONS):
    """Return the shares of variance, levels by raters."""
    squares = np.array(deviations) ** 2
    return squares / squares.sum(axis=0)


def session_table(scores):
    """Make a session table of held sessions, with severity before each."""
    generator = np.random.default_rng(3)
    first = scores.drop_duplicates("client").set_index("client").index
    severity = pd.Series(generator.normal(20.0, 5.0, len(first)), first)
    return scores.assign(
        occasion_kind="session",
        attendance="attended",
        session=scores["session"].astype("Int64"),
        week=scores["session"].astype(float),
        severity=scores["client"].map(severity) - 0.5 * scores["session"],
    )
