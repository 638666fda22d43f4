"""What bootstrap replicates say: standard errors, percentile intervals, and the Monte Carlo error of both.

Replicates of a bootstrap of J clusters vary too little by a factor √((J − 1)/J), and their percentiles stand where
normal quantiles would, not those of a t distribution with J − 1 degrees of freedom. With few clusters intervals between
the 2.5th and 97.5th percentile therefore hold the truth too seldom. The percentiles here are moved outwards by both
factors (Hesterberg 2015, 10.1080/00031305.2015.1089789, as in his R package resample); with many clusters they are the
usual ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from alliance_outcome.models.contrast import CI_LEVEL

#: Smallest share of replicates with an estimate that an interval may rest on.
USABLE_SHARE = 0.9

#: Probabilities of one normal standard deviation below and above the median.
_ONE_DEVIATION = tuple(stats.norm.cdf([-1.0, 1.0]))


def expanded_tails(n_clusters: int, ci_level: float = CI_LEVEL) -> tuple[float, float]:
    """Return the probabilities at whose percentiles an interval ends.

    Parameters
    ----------
    n_clusters : int
        Number J of clusters that were drawn from, at least 2.
    ci_level : float
        Coverage of the interval.

    Returns
    -------
    tuple of float
        Φ(±√(J/(J − 1))·t), with t the quantile of Student's distribution with J − 1 degrees of freedom.
    """
    quantile = float(stats.t.ppf(0.5 + ci_level / 2.0, n_clusters - 1))
    tail = float(stats.norm.sf(quantile * np.sqrt(n_clusters / (n_clusters - 1))))
    return tail, 1.0 - tail


def summarise_replicates(
    estimate: float, replicates: ArrayLike, n_clusters: int, ci_level: float = CI_LEVEL
) -> dict[str, Any]:
    """Summarise the replicates of one quantity.

    Parameters
    ----------
    estimate : float
        The quantity in the data themselves.
    replicates : array_like, shape (n,)
        Independent replicates, at least two, none of them missing.
    n_clusters : int
        Number of clusters that were drawn from.
    ci_level : float
        Coverage of the interval.

    Returns
    -------
    dict
        Columns of the estimates table. The estimate has no Monte Carlo error, so that ``mcse_mean`` is left out.
    """
    values = np.sort(np.asarray(replicates, dtype=float))
    low, high = expanded_tails(n_clusters, ci_level)
    return {
        "estimate": estimate,
        "std_error": float(values.std(ddof=1)),
        "se_kind": "bootstrap",
        "ci_low": float(np.quantile(values, low)),
        "ci_high": float(np.quantile(values, high)),
        "ci_level": ci_level,
        "ci_kind": "percentile",
        "quantity_kind": "bootstrap",
        "n_draws": len(values),
        "mcse_sd": deviation_error(values),
        "mcse_ci_low": quantile_error(values, low),
        "mcse_ci_high": quantile_error(values, high),
    }


def deviation_error(values: NDArray[np.float64]) -> float:
    """Return the Monte Carlo standard error of the standard deviation of independent values; the delta method."""
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    if variance == 0.0:
        return 0.0
    spread = float(np.mean(centred**4)) - variance**2
    return float(np.sqrt(spread / (4.0 * variance * len(values))))


def quantile_error(ordered: NDArray[np.float64], probability: float) -> float:
    """Return the Monte Carlo standard error of a quantile of independent values.

    Parameters
    ----------
    ordered : ndarray, shape (n,)
        Values in ascending order.
    probability : float
        Which quantile.

    Returns
    -------
    float
        Half the distance of the order statistics between which the true quantile lies as often as a normal variable
        within one standard deviation (from the binomial distribution of how many values are below it, as ArviZ has it).
    """
    count = len(ordered)
    below, above = stats.beta.ppf(
        _ONE_DEVIATION, count * probability + 1.0, count * (1.0 - probability) + 1.0
    )
    first = max(int(np.floor(below * count)), 1) - 1
    last = min(int(np.ceil(above * count)), count) - 1
    return float(ordered[last] - ordered[first]) / 2.0
