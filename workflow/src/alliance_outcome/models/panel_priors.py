"""Priors of the Bayesian cross-lagged panel model, in manifest standard deviations of the data."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray


@dataclass(frozen=True)
class PanelPriors:
    """Weakly informative priors, whatever the instruments' units.

    A normal prior is centred at zero unless something else is said; standard deviations have half-normal ones, whose
    scale is given; correlations have the LKJ prior (Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008).

    Parameters
    ----------
    mean_sd : float
        Of expected values, around the mean of all values of the variable, in its standard deviations.
    path_sd : float
        Of paths, in standard deviations within clients of effect and cause. With 0.5 a standardised path is between −1
        and 1 with probability 0.95, carry-over being among them.
    between_sd : float
        Scale of the standard deviation of intercepts, in standard deviations of the variable.
    trend_sd : float
        Scale of that of slopes, of the change from first to last wave in standard deviations of the variable.
    within_sd : float
        Scale of that of the first wave, of residuals and of estimated measurement error.
    cluster_sd : float
        Scale of that of clusters' deviations.
    lkj_eta : float
        Shape of the prior of correlations; 1 is uniform over correlation matrices, larger values favour small ones.

    Raises
    ------
    ValueError
        If a value is not above zero.
    """

    mean_sd: float = 5.0
    path_sd: float = 0.5
    between_sd: float = 1.0
    trend_sd: float = 1.0
    within_sd: float = 1.0
    cluster_sd: float = 0.5
    lkj_eta: float = 2.0

    def __post_init__(self) -> None:
        """Refuse scales that are none."""
        wrong = [each.name for each in fields(self) if not 0.0 < getattr(self, each.name) < np.inf]
        if wrong:
            raise ValueError(f"priors have scales above zero; that of {wrong[0]} is not")


@dataclass(frozen=True, eq=False)
class ManifestScales:
    """Units of the priors, by variable.

    Parameters
    ----------
    centres : ndarray, shape (n_variables,)
        Means of all values.
    total : ndarray, shape (n_variables,)
        Standard deviations around the means of waves.
    within : ndarray, shape (n_variables,)
        Standard deviations within clients.
    """

    centres: FloatArray
    total: FloatArray
    within: FloatArray

    @classmethod
    def of(cls, values: FloatArray, total: FloatArray, within: FloatArray) -> ManifestScales:
        """Take means out of values, shape (n_clients, n_waves, n_variables), NaN where missing.

        A variable that does not vary within clients is measured in its standard deviation `total`.
        """
        usable = np.isfinite(within) & (within > 0.0)
        return cls(np.nanmean(values, axis=(0, 1)), total, np.where(usable, within, total))
