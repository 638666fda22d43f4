"""How the engine's time grows: with rows at a fixed number of clients, and with clients."""

from __future__ import annotations

import statistics
import time

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.contestants import fit_engine
from alliance_outcome.analyses.engine_benchmark.designs import FORMULA, GROUPS, RANDOM, Design, simulate
from alliance_outcome.models.multilevel import MultilevelModel

#: Clients, and therapists, while rows grow; and rows per client, and clients per therapist, while clients grow.
FIXED_CLIENTS, FIXED_THERAPISTS = 2_000, 100
ROWS_PER_CLIENT, CLIENTS_PER_THERAPIST = 12, 20

#: Sizes: each is twice the last.
GROWING_ROWS = tuple(6_000 * 2**step for step in range(8))
GROWING_CLIENTS = tuple(500 * 2**step for step in range(8))

#: Columns of the table: what was varied, the size, and medians of the whole call and of the optimiser in it.
GROWTH_COLUMNS = ("varied", "rows", "clients", "therapists", "seconds", "optimiser_seconds")


def growth_designs() -> list[tuple[str, Design]]:
    """List what grows, and the designs in which it does."""
    by_rows = [("rows", Design(rows, FIXED_CLIENTS, FIXED_THERAPISTS)) for rows in GROWING_ROWS]
    by_clients = [
        ("clients", Design(clients * ROWS_PER_CLIENT, clients, clients // CLIENTS_PER_THERAPIST))
        for clients in GROWING_CLIENTS
    ]
    return by_rows + by_clients


def measure_growth(designs: list[tuple[str, Design]], runs: int, seed: int) -> pd.DataFrame:
    """Time the engine over designs.

    Parameters
    ----------
    designs : list of tuple
        What is varied, and the size.
    runs : int
        Runs per design, whose median is kept.
    seed : int

    Returns
    -------
    DataFrame
        One row per design, :data:`GROWTH_COLUMNS`.
    """
    rows = []
    for varied, design in designs:
        data = simulate(design, seed)
        fit_engine(data)
        times = [_time_once(data) for _ in range(runs)]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        rows.append((varied, design.rows, design.clients, design.therapists, *medians))
    return pd.DataFrame(rows, columns=list(GROWTH_COLUMNS))


def _time_once(data: pd.DataFrame) -> tuple[float, float]:
    """Time the whole call, and apart from it the optimiser on Gram matrices that are already built."""
    start = time.perf_counter()
    fit_engine(data)
    seconds = time.perf_counter() - start
    model = MultilevelModel.from_formula(FORMULA, data, groups=list(GROUPS), random=RANDOM)
    likelihood = model.likelihood(reml=True)
    start = time.perf_counter()
    likelihood.maximise()
    return seconds, time.perf_counter() - start
