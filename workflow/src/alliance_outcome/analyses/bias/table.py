"""Bias, spread, coverage and error rates of estimators over simulated studies, each with its Monte Carlo error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.panel_names import TRENDS
from alliance_outcome.models.fitted_state import FloatArray

BIAS_COLUMNS = (
    *("n_clients", "n_waves", "n_values"),
    *("process", "scenario", "estimator", "quantity", "truth", "n_replications", "n_converged"),
    *(
        "bias",
        "bias_mcse",
        "rmse",
        "rmse_mcse",
        "coverage",
        "coverage_mcse",
        "rejected",
        "rejected_mcse",
        "reason",
    ),
)

#: Standard errors on either side of an estimate in a 95 % interval.
NORMAL = float(stats.norm.ppf(0.975))


def bias_table(replications: pd.DataFrame) -> pd.DataFrame:
    """Summarise replications.

    Parameters
    ----------
    replications : DataFrame
        From :func:`~alliance_outcome.analyses.bias.replications.run_replications`.

    Returns
    -------
    DataFrame
        :data:`BIAS_COLUMNS`. ``rejected`` is the share of replications whose 95 % interval excludes zero: type-I error
        where the truth is zero, power elsewhere. Monte Carlo errors are those of Morris, White & Crowther (2019,
        10.1002/sim.8086).
    """
    keys = ["n_clients", "n_waves", "n_values", "process", "scenario", "estimator", "quantity"]
    rows = [
        {**dict(zip(keys, key, strict=True)), **_summary(group)}
        for key, group in replications.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows, columns=list(BIAS_COLUMNS))


def stored_table(path: Path, fit: pd.DataFrame) -> pd.DataFrame:
    """Return the stored table of a study.

    Parameters
    ----------
    path : Path
        Where it is stored, or would be.
    fit : DataFrame
        ``fit_dynamics.csv``.

    Returns
    -------
    DataFrame
        :data:`BIAS_COLUMNS`; without rows where there is none, or where it is of another number of clients or sessions.
    """
    nothing = pd.DataFrame(columns=list(BIAS_COLUMNS))
    if not path.is_file():
        return nothing
    table = pd.read_csv(path)
    own = fit[fit["model"] == TRENDS] if "model" in fit else fit
    if own.empty or table.empty:
        return nothing
    same = (table["n_clients"] == own["n_clients"].iloc[0]) & (table["n_waves"] == own["n_waves"].iloc[0])
    return table if same.all() else nothing


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    truth = float(group["truth"].iloc[0])
    known = group[group["estimate"].notna()]
    base = {"truth": truth, "n_replications": len(group), "n_converged": len(known)}
    if len(known) < 2:
        reasons = group["reason"].dropna()
        return {**base, "reason": reasons.iloc[0] if len(reasons) else ""}
    error = known["estimate"].to_numpy() - truth
    squares = error**2
    rmse = float(np.sqrt(squares.mean()))
    rejected = np.abs(error + truth) > NORMAL * known["std_error"].to_numpy()
    return {
        **base,
        **bias_and_coverage(error, known["std_error"].to_numpy()),
        "rmse": rmse,
        "rmse_mcse": float(squares.std(ddof=1) / np.sqrt(len(known)) / (2.0 * rmse)) if rmse > 0.0 else 0.0,
        **_share("rejected", rejected),
    }


def bias_and_coverage(error: FloatArray, std_error: FloatArray) -> dict[str, float]:
    """Return bias and the coverage of 95 % intervals, with their Monte Carlo errors.

    Parameters
    ----------
    error : ndarray, shape (n,)
        Estimates less the truth, of at least two replications.
    std_error : ndarray, shape (n,)

    Returns
    -------
    dict of str to float
        bias, bias_mcse, coverage and coverage_mcse.
    """
    return {
        "bias": float(error.mean()),
        "bias_mcse": float(error.std(ddof=1) / np.sqrt(len(error))),
        **_share("coverage", np.abs(error) <= NORMAL * std_error),
    }


def _share(name: str, happened: np.ndarray) -> dict[str, float]:
    share = float(happened.mean())
    return {name: share, f"{name}_mcse": float(np.sqrt(share * (1.0 - share) / len(happened)))}
