"""Ranks of true values among draws of their posteriors, and whether they are uniform."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf, get_pointwise_confidence_band, simulate_confidence_bands
from scipy import stats
from xarray import Dataset

from alliance_outcome.models.fitted_state import FloatArray

RANK_COLUMNS = ("design", "simulation", "quantity", "rank", "kept", "sampler", "largest_r_hat")

#: Data sets of uniform ranks that a band is simulated with.
BAND_SIMULATIONS = 50_000
#: A band's random numbers are always the same.
BAND_SEED = 1


def flat_quantities(draws: Dataset) -> dict[str, FloatArray]:
    """Name every element of every variable.

    Parameters
    ----------
    draws : Dataset
        Dimensions chain and draw first.

    Returns
    -------
    dict of str to ndarray, shape (n_draws,)
        Chain after chain. Of a symmetric matrix, one half without the diagonal.
    """
    found = {}
    for name, variable in draws.data_vars.items():
        values = variable.transpose("chain", "draw", ...).to_numpy()
        values = values.reshape(-1, *values.shape[2:])
        labels = [
            [str(label) for label in variable[dim].to_numpy()]
            for dim in variable.dims
            if dim not in ("chain", "draw")
        ]
        for position in np.ndindex(values.shape[1:]):
            words = [axis[index] for axis, index in zip(labels, position, strict=True)]
            if not (_symmetric(variable.dims) and position[-2] >= position[-1]):
                found[" ".join([str(name), *words])] = values[(slice(None), *position)]
    return found


def _symmetric(dims: tuple) -> bool:
    """Return whether the last two dimensions are those of a matrix of one thing by itself."""
    return len(dims) > 1 and str(dims[-1]) == f"{dims[-2]}_b"


def rank_rows(truth: dict[str, float], draws: dict[str, FloatArray]) -> list[dict[str, object]]:
    """Rank true values among draws.

    Parameters
    ----------
    truth : dict of str to float
    draws : dict of str to ndarray
        By the same names.

    Returns
    -------
    list of dict
        Rank, between 0 and the number of draws, of each quantity that varies: a parameter that a model holds fixed has
        none.
    """
    return [
        {"quantity": name, "rank": int(np.sum(values < truth[name])), "kept": len(values)}
        for name, values in draws.items()
        if np.ptp(values) > 0.0
    ]


def uniform_values(ranks: FloatArray, kept: FloatArray, seed: int = BAND_SEED) -> FloatArray:
    """Spread each rank evenly over its share of the unit interval.

    Parameters
    ----------
    ranks, kept : ndarray, shape (n,)
        Ranks, and draws they are among.
    seed : int

    Returns
    -------
    ndarray, shape (n,)
        Uniform if ranks are: no ties are left.
    """
    return (ranks + np.random.default_rng(seed).uniform(size=len(ranks))) / (kept + 1.0)


@cache
def simultaneous_band(n: int, probability: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a band that the distribution function of uniform values stays in with a probability.

    Parameters
    ----------
    n : int
        Number of values.
    probability : float

    Returns
    -------
    points, low, high : ndarray, shape (n - 1,)
        Where the function is looked at, and its limits there.

    Notes
    -----
    By simulation, after Säilynoja, Bürkner & Vehtari (2022), 10.1007/s11222-021-10090-6, as ArviZ has it.
    """
    points = np.arange(1, n) / n
    rng = np.random.default_rng(BAND_SEED)
    pointwise = simulate_confidence_bands(n, 1, points, probability, BAND_SIMULATIONS, rng)
    low, high = get_pointwise_confidence_band(pointwise, n, points)
    return points, low, high


def uniformity(values: FloatArray, probability: float) -> tuple[bool, float, float]:
    """Say whether values look uniform.

    Parameters
    ----------
    values : ndarray, shape (n,)
    probability : float
        Of the simultaneous band.

    Returns
    -------
    inside : bool
        Whether their distribution function stays in the band.
    excess : float
        Largest distance of it from the uniform one.
    p_value : float
        Kolmogorov and Smirnov's.
    """
    points, low, high = simultaneous_band(len(values), probability)
    function = compute_ecdf(values, points)
    test = stats.kstest(values, "uniform")
    inside = bool(np.all((function >= low) & (function <= high)))
    return inside, float(np.abs(function - points).max()), float(test.pvalue)


def tabulated_ranks(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return ranks as a table with :data:`RANK_COLUMNS`."""
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS))
