"""How well a covariance structure reproduces what was observed: the indices that readers of such models expect.

Definitions are those of lavaan (Rosseel 2012, 10.18637/jss.v048.i02): RMSEA with the number of clients, not one fewer
(Steiger 1990, 10.1207/s15327906mbr2502_4), CFI and TLI against variables that are independent of each other (Bentler
1990, 10.1037/0033-2909.107.2.238), SRMR with means, against the saturated model's moments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import optimize, stats

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_fit import Moments, PanelMaximum, independent
from alliance_outcome.models.panel_likelihood import TriangleIndex

#: Coverage of the RMSEA's interval, and the RMSEA that its test is against: "close fit".
RMSEA_LEVEL, CLOSE = 0.90, 0.05


def fit_indices(data: PanelData, maximum: PanelMaximum, moments: Moments) -> pd.Series:
    """Return the fit of a model.

    Parameters
    ----------
    data : PanelData
    maximum : PanelMaximum
    moments : Moments
        Of the saturated model.

    Returns
    -------
    Series
        chi_square, df, p_value, cfi, tli, rmsea with rmsea_low, rmsea_high (90 %) and rmsea_p_close, srmr, aic, bic;
        what rests on the saturated model is NaN where that did not converge, and RMSEA where there are no degrees of
        freedom.
    """
    p, n = data.n_variables, data.n_clients
    n_parameters = maximum.structure.n_parameters
    df = p * (p + 3) // 2 - n_parameters
    value = moments.value if moments.converged else np.nan
    chi_square = 2.0 * (value - maximum.value)
    baseline, baseline_df = 2.0 * (value - independent(data)), p * (p - 1) // 2
    found = {
        "chi_square": chi_square,
        "df": df,
        "p_value": float(stats.chi2.sf(chi_square, df)) if df > 0 else np.nan,
        "cfi": _comparative(chi_square, df, baseline, baseline_df),
        "tli": _tucker_lewis(chi_square, df, baseline, baseline_df),
        **_approximation_error(chi_square, df, n),
        "srmr": _residual_correlation(maximum, moments) if moments.converged else np.nan,
        **information_criteria(maximum, n),
    }
    return pd.Series(found)


def information_criteria(maximum: PanelMaximum, n_clients: int) -> dict[str, float]:
    """Return AIC and BIC, which need no other model.

    Parameters
    ----------
    maximum : PanelMaximum
    n_clients : int

    Returns
    -------
    dict of str to float
        aic and bic.
    """
    n_parameters = maximum.structure.n_parameters
    return {
        "aic": -2.0 * maximum.value + 2.0 * n_parameters,
        "bic": -2.0 * maximum.value + float(np.log(n_clients)) * n_parameters,
    }


def _comparative(chi_square: float, df: int, baseline: float, baseline_df: int) -> float:
    own, other = max(chi_square - df, 0.0), max(baseline - baseline_df, chi_square - df, 0.0)
    if np.isnan(chi_square):
        return np.nan
    return 1.0 - own / other if other > 0.0 else 1.0


def _tucker_lewis(chi_square: float, df: int, baseline: float, baseline_df: int) -> float:
    if df == 0 or baseline <= baseline_df:
        return np.nan
    return (baseline / baseline_df - chi_square / df) / (baseline / baseline_df - 1.0)


def _approximation_error(chi_square: float, df: int, n: int) -> dict[str, float]:
    """Return RMSEA, its 90 % interval and the p value of close fit."""
    names = ("rmsea", "rmsea_low", "rmsea_high", "rmsea_p_close")
    if df == 0 or np.isnan(chi_square):
        return dict.fromkeys(names, np.nan)
    tail = (1.0 - RMSEA_LEVEL) / 2.0
    ends = [_noncentrality(chi_square, df, 1.0 - tail), _noncentrality(chi_square, df, tail)]
    values = [np.sqrt(each / (n * df)) for each in (max(chi_square - df, 0.0), *ends)]
    close = float(stats.ncx2.sf(chi_square, df, n * df * CLOSE**2))
    return dict(zip(names, (*values, close), strict=True))


def _noncentrality(chi_square: float, df: int, share: float) -> float:
    """Return the noncentrality at which a χ² is exceeded with probability 1 − share; 0 where none does."""

    def excess(noncentrality: float) -> float:
        distribution: Callable[..., float] = stats.ncx2.cdf if noncentrality > 0.0 else stats.chi2.cdf
        arguments = (chi_square, df, noncentrality) if noncentrality > 0.0 else (chi_square, df)
        return float(distribution(*arguments)) - share

    if excess(0.0) <= 0.0:
        return 0.0
    high = max(chi_square, 1.0)
    while excess(high) > 0.0:
        high *= 2.0
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-10 * high, rtol=1e-12))


def _residual_correlation(maximum: PanelMaximum, moments: Moments) -> float:
    """Return the root of the mean squared difference of standardised moments."""
    at = maximum.at
    spread = np.sqrt(np.diag(moments.covariance))
    index = TriangleIndex(len(spread))
    differences: FloatArray = index.take((moments.covariance - at.covariance) / np.outer(spread, spread))
    of_means = (moments.mean - at.mean) / spread
    return float(np.sqrt((np.sum(differences**2) + np.sum(of_means**2)) / (len(differences) + len(of_means))))
