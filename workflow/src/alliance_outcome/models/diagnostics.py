"""What draws say: summaries with their Monte Carlo error, convergence checks and predictive checks.

R-hat is the rank-normalised split R-hat, ESS the bulk and tail effective sample size (Vehtari et al. 2021,
10.1214/20-BA1221), as ArviZ computes them. They work on any quantity that was computed draw by draw, so that contrasts
are diagnosed like parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import arviz_stats as azs
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from xarray import DataArray, DataTree

#: Limits of the convergence checks (Vehtari et al. 2021).
MAX_R_HAT = 1.01
MIN_ESS = 400.0
#: Energy fraction below which momentum resampling explores badly (Betancourt 2016, arXiv:1604.00695).
MIN_BFMI = 0.3
#: Pareto shape from which importance ratios cannot be trusted (Vehtari et al. 2024, arXiv:1507.02646).
MAX_PARETO_K = 0.7


def summarise(draws: ArrayLike, ci_level: float = 0.95) -> dict[str, float]:
    """Summarise one quantity with its Monte Carlo error.

    Parameters
    ----------
    draws : array_like, shape (chains, draws)
        Draws of one quantity.
    ci_level : float
        Probability of the equal-tailed interval.

    Returns
    -------
    dict
        Columns of the estimates table: ``estimate`` (posterior mean), ``std_error`` (posterior standard deviation),
        interval, R-hat, ESS, the Monte Carlo standard errors of mean, standard deviation and interval ends, number of
        draws and ``prob_direction`` (the larger of P(< 0) and P(> 0)). A diagnostic that cannot be computed is NaN.
    """
    values = np.asarray(draws, dtype=float)
    low, high = (1 - ci_level) / 2, (1 + ci_level) / 2
    with np.errstate(all="ignore"):
        return {
            "estimate": float(values.mean()),
            "std_error": float(values.std(ddof=1)),
            "ci_low": float(np.quantile(values, low)),
            "ci_high": float(np.quantile(values, high)),
            "ci_level": ci_level,
            "ci_kind": "equal_tailed",
            "r_hat": float(azs.rhat(values)),
            "ess_bulk": float(azs.ess(values, method="bulk")),
            "ess_tail": float(azs.ess(values, method="tail", prob=(low, high))),
            "mcse_mean": float(azs.mcse(values, method="mean")),
            "mcse_sd": float(azs.mcse(values, method="sd")),
            "mcse_ci_low": float(azs.mcse(values, method="quantile", prob=low)),
            "mcse_ci_high": float(azs.mcse(values, method="quantile", prob=high)),
            "n_draws": values.size,
            "prob_direction": float(max((values < 0).mean(), (values > 0).mean())),
        }


def convergence_checks(
    summaries: Mapping[str, Mapping[str, float]], tree: DataTree | None
) -> list[dict[str, Any]]:
    """Check the sampler on parameters and derived quantities.

    Parameters
    ----------
    summaries : mapping
        From :func:`summarise`, by name of the quantity.
    tree : DataTree or None
        With ``sample_stats``, for divergences and energy; None for derived quantities alone.

    Returns
    -------
    list of dict
        ``name, passed, value, limit, text``. A diagnostic that could not be computed does not pass.
    """
    found = [
        _worst(summaries, "r_hat", max, MAX_R_HAT, "largest R-hat"),
        _worst(summaries, "ess_bulk", min, MIN_ESS, "smallest bulk ESS"),
        _worst(summaries, "ess_tail", min, MIN_ESS, "smallest tail ESS"),
    ]
    if tree is None:
        return found
    statistics = tree.sample_stats.to_dataset()
    if "diverging" not in statistics:
        found.append(_coverage(float(tree.attrs["pareto_k"])))
        return found
    found.append(_none_of(statistics["diverging"], "divergences", "divergent transitions"))
    # nutpie and PyMC name the same statistic differently.
    cut_short = [name for name in ("maxdepth_reached", "reached_max_treedepth") if name in statistics]
    words = "trajectories cut short at the deepest tree"
    found += [_none_of(statistics[name], "tree_depth", words) for name in cut_short]
    found.append(_energy(statistics["energy"].to_numpy()))
    return found


def _coverage(pareto_k: float) -> dict[str, Any]:
    """Check that the proposals of the collapsed sampler cover the posterior."""
    text = f"Pareto shape of the largest importance ratios {pareto_k:.2f}, less than {MAX_PARETO_K:g} wanted"
    return {
        "name": "pareto_k",
        "passed": pareto_k < MAX_PARETO_K,
        "value": pareto_k,
        "limit": MAX_PARETO_K,
        "text": text,
    }


def _none_of(happened: DataArray, name: str, words: str) -> dict[str, Any]:
    """Check that something happened in no draw."""
    count = float(happened.sum())
    return {"name": name, "passed": count == 0, "value": count, "limit": 0.0, "text": f"{count:.0f} {words}"}


def _energy(energy: NDArray[np.float64]) -> dict[str, Any]:
    """Check the estimated Bayesian fraction of missing information of the worst chain."""
    smallest = float((np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1)).min())
    text = f"smallest energy fraction of a chain {smallest:.2f}, at least {MIN_BFMI:g} wanted"
    return {
        "name": "energy",
        "passed": smallest >= MIN_BFMI,
        "value": smallest,
        "limit": MIN_BFMI,
        "text": text,
    }


def _worst(
    summaries: Mapping[str, Mapping[str, float]],
    diagnostic: str,
    worst: Callable[..., float],
    limit: float,
    words: str,
) -> dict[str, Any]:
    """Check a diagnostic at its worst quantity."""
    values = {name: summary[diagnostic] for name, summary in summaries.items()}
    unknown = [name for name, value in values.items() if not np.isfinite(value)]
    if unknown:
        text = f"{words}: could not be computed for {unknown[0]}"
        return {"name": diagnostic, "passed": False, "value": np.nan, "limit": limit, "text": text}
    name = worst(values, key=values.__getitem__)
    value = values[name]
    passed = value <= limit if worst is max else value >= limit
    relation = "at most" if worst is max else "at least"
    shown = f"{value:.3f}" if worst is max else f"{value:.0f}"
    text = f"{words} {shown} ({name}), {relation} {limit:g} wanted"
    return {"name": diagnostic, "passed": bool(passed), "value": float(value), "limit": limit, "text": text}


#: Statistics of the predictive checks: name, words, function of the outcome by row and of the unit of each row.
STATISTICS: dict[str, tuple[str, Callable[[NDArray[np.float64], NDArray[np.intp]], float]]] = {
    "mean": ("mean outcome", lambda values, _: float(values.mean())),
    "sd": ("standard deviation over all rows", lambda values, _: float(values.std())),
    "low": ("5th percentile", lambda values, _: float(np.quantile(values, 0.05))),
    "high": ("95th percentile", lambda values, _: float(np.quantile(values, 0.95))),
    "between": (
        "standard deviation of the unit means",
        lambda values, unit: float(_unit_means(values, unit).std()),
    ),
    "within": (
        "standard deviation around the unit means",
        lambda values, unit: float((values - _unit_means(values, unit)[unit]).std()),
    ),
}


def _unit_means(values: NDArray[np.float64], unit: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.bincount(unit, weights=values) / np.bincount(unit)


def predictive_summary(tree: DataTree, unit: ArrayLike) -> pd.DataFrame:
    """Compare the observed outcome with what prior and posterior predict.

    Parameters
    ----------
    tree : DataTree
        With ``observed_data``, ``prior_predictive`` and ``posterior_predictive``, each with ``outcome``.
    unit : array_like, shape (rows,)
        Client (or, with one row per client, therapist) of each row.

    Returns
    -------
    DataFrame
        Columns ``check`` (prior, posterior), ``statistic``, ``text``, ``observed``, quantiles ``q05``, ``q50``,
        ``q95`` of the predictive draws and ``p_value``, the share of draws above the observed value.
    """
    codes = pd.factorize(np.asarray(unit))[0]
    observed = tree.observed_data["outcome"].to_numpy()
    records = []
    for check in ("prior", "posterior"):
        draws = tree[f"{check}_predictive"]["outcome"].to_numpy().reshape(-1, len(observed))
        for name, (words, statistic) in STATISTICS.items():
            values = np.array([statistic(draw, codes) for draw in draws])
            actual = statistic(observed, codes)
            q05, q50, q95 = np.quantile(values, [0.05, 0.5, 0.95])
            records.append(
                {
                    "check": check,
                    "statistic": name,
                    "text": words,
                    "observed": actual,
                    "q05": q05,
                    "q50": q50,
                    "q95": q95,
                    "p_value": float((values > actual).mean()),
                }
            )
    return pd.DataFrame(records)
