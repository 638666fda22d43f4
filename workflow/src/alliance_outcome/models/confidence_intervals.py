"""Intervals of all parameters of a multilevel model: Wald, profile likelihood, bootstrap percentiles.

Wald intervals of standard deviations are symmetric on the log scale, those of correlations on Fisher's z, as in nlme
(Pinheiro & Bates 2000, section 2.4.3). Profile intervals hold a parameter at a value, maximise the full likelihood over
all others, and keep the values at which twice the log-likelihood falls by less than the quantile of a χ² distribution
with one degree of freedom (lme4's default).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.profile_likelihood import HeldQuantity
from alliance_outcome.models.variance_quantities import Quantity, variance_quantities

if TYPE_CHECKING:
    from alliance_outcome.models.multilevel_result import MultilevelResult

COLUMNS = ["estimate", "ci_low", "ci_high"]

#: Factor by which the search for an end of a profile interval steps on, and how often.
GROWTH, MOST_STEPS = 1.6, 40

#: An interval's end is found to this fraction of the first step.
END_TOLERANCE = 1e-6

#: First step of that search, as a fraction of a standard deviation, or of a correlation.
FIRST_STEP = 0.2


def wald_intervals(result: MultilevelResult, ci_level: float, df: str) -> pd.DataFrame:
    """Return Wald intervals.

    Parameters
    ----------
    result : MultilevelResult
    ci_level : float
        Coverage.
    df : {'satterthwaite', 'kenward-roger', 'normal'}
        Degrees of freedom of fixed effects.

    Returns
    -------
    DataFrame
        Columns estimate, ci_low, ci_high; fixed effects first. NaN for standard deviations and correlations of effects
        that are on the boundary.
    """
    rows = {}
    for term in result.params.index:
        single = result.contrast(term, df=df, ci_level=ci_level)
        rows[term] = (single.estimate, single.ci_low, single.ci_high)
    quantile = float(special.ndtri(0.5 + ci_level / 2.0))
    parameters = _with_scale(result.maximum.parameters, result.maximum.at.residual_variance)
    # On the boundary the information is that of a smaller model, and the residual's alone carries over.
    spread = result.information.covariance
    for quantity in variance_quantities(result.design, result.likelihood):
        value = quantity.value(parameters)
        if _on_boundary(result, quantity):
            rows[quantity.name] = (value, np.nan, np.nan)
            continue
        slope = quantity.transformed_slope(parameters)[-len(spread) :]
        half = quantile * float(np.sqrt(slope @ spread @ slope))
        centre = quantity.transformed(value)
        rows[quantity.name] = (value, quantity.back(centre - half), quantity.back(centre + half))
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)


def _on_boundary(result: MultilevelResult, quantity: Quantity) -> bool:
    """Whether a quantity has no Wald interval: only the residuals' have one beside effects on the boundary."""
    if quantity.name == "sd(residual)":
        return False
    if quantity.name == "ar1":
        return "residual:ar1" in result.singular
    return bool(result.singular)


def _with_scale(parameters: FloatArray, residual_variance: float) -> FloatArray:
    return np.append(parameters, np.log(residual_variance))


def profile_intervals(result: MultilevelResult, ci_level: float) -> pd.DataFrame:
    """Return profile likelihood intervals.

    Parameters
    ----------
    result : MultilevelResult
        A maximum likelihood fit.
    ci_level : float
        Coverage.

    Returns
    -------
    DataFrame
        Columns estimate, ci_low, ci_high; fixed effects first. A standard deviation may reach down to 0, a correlation
        to -1 or 1. NaN for correlations with an effect that has no variance.
    """
    limit = float(special.chdtri(1, 1.0 - ci_level))
    rows: dict[str, tuple[float, float, float]] = {}
    errors = result.bse
    for term in result.params.index:
        rise = _fixed_effect_rise(result, term)
        estimate = float(result.params[term])
        rows[term] = (estimate, *interval_ends(rise, estimate, float(errors[term]), limit, (-np.inf, np.inf)))
    for quantity in variance_quantities(result.design, result.likelihood):
        rows[quantity.name] = _profiled(result, quantity, limit)
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)


def profile_interval(result: MultilevelResult, name: str, ci_level: float) -> tuple[float, float, float]:
    """Return the profile likelihood interval of one standard deviation, correlation or autocorrelation.

    Parameters
    ----------
    result : MultilevelResult
        A maximum likelihood fit.
    name : str
        For example ``sd(client: x)``.
    ci_level : float
        Coverage.

    Returns
    -------
    estimate, low, high : float
        As in :func:`profile_intervals`.

    Raises
    ------
    StopIteration
        If the model has no such quantity.
    """
    limit = float(special.chdtri(1, 1.0 - ci_level))
    quantities = variance_quantities(result.design, result.likelihood)
    return _profiled(result, next(each for each in quantities if each.name == name), limit)


def _profiled(result: MultilevelResult, quantity: Quantity, limit: float) -> tuple[float, float, float]:
    """Return estimate and profile interval of a quantity."""
    parameters, variance = result.maximum.parameters, result.maximum.at.residual_variance
    value = quantity.value(_with_scale(parameters, variance))
    if not np.isfinite(value):
        return value, np.nan, np.nan
    held = HeldQuantity(
        result.design, result.likelihood, parameters, variance, quantity.level, quantity.terms
    )
    residual = float(np.sqrt(result.scale))
    step = max(FIRST_STEP * value, 0.1 * FIRST_STEP * residual) if quantity.kind == "sd" else FIRST_STEP
    return value, *interval_ends(held.rise, value, step, limit, _bounds(result, quantity))


def _bounds(result: MultilevelResult, quantity: Quantity) -> tuple[float, float]:
    """Range of possible values."""
    if quantity.kind == "sd":
        return 0.0, np.inf
    continuous = quantity.kind == "autocorrelation" and result.likelihood.residual == "continuous_ar1"
    return (0.0 if continuous else -1.0), 1.0


def _fixed_effect_rise(result: MultilevelResult, term: str) -> Callable[[float], float]:
    """Return the rise of the deviance from its minimum when a fixed effect is held at a raw value."""
    scaling, rows = result.design.scaling, result.likelihood.rows
    position = result.design.terms.index(term)
    row = scaling.coefficient_map()[position]
    offset = scaling.outcome_mean if position == scaling.intercept else 0.0
    # Coordinates whose first coefficient is the raw one: working columns times the inverse of [row; a complement].
    pivot = int(np.argmax(np.abs(row)))
    complement = np.delete(np.eye(len(row)), pivot, axis=0)
    columns = rows.fixed @ np.linalg.inv(np.vstack([row, complement]))
    start = result.maximum.parameters

    def rise(value: float) -> float:
        held = replace(rows, outcome=rows.outcome - (value - offset) * columns[:, 0], fixed=columns[:, 1:])
        likelihood = NestedLikelihood(held, result.likelihood.structure, False, result.likelihood.residual)
        best = likelihood.maximise(start if not result.singular else None)
        return best.at.deviance - result.maximum.at.deviance

    return rise


def interval_ends(
    rise: Callable[[float], float], estimate: float, step: float, limit: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Find where the deviance has risen by a limit on both sides of an estimate."""
    return (
        _end(rise, estimate, -step, limit, bounds[0]),
        _end(rise, estimate, step, limit, bounds[1]),
    )


def _end(rise: Callable[[float], float], estimate: float, step: float, limit: float, bound: float) -> float:
    """Find one end: step away until the deviance has risen enough or the bound is reached, then look between."""
    # Loading it takes longer than most fits, and few ask for profiles.
    from scipy import optimize

    inside, distance = estimate, step
    for _ in range(MOST_STEPS):
        outside = max(estimate + distance, bound) if step < 0 else min(estimate + distance, bound)
        if outside == inside:
            return bound
        if rise(outside) > limit:
            found = optimize.brentq(
                lambda value: rise(value) - limit, inside, outside, xtol=END_TOLERANCE * abs(step)
            )
            return float(found)
        inside, distance = outside, GROWTH * distance
    return bound
