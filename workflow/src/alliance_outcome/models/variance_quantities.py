"""Standard deviations, correlations and the autocorrelation of a fit as functions of its parameters.

Wald intervals need these quantities with their derivatives, on a scale on which their estimates are nearly normal.
Parameters are those of the likelihood, then log σ².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_design import NestedDesign
from alliance_outcome.models.nested_likelihood import NestedLikelihood

#: Step of central differences, for quantities that are smooth and of the order of one.
STEP = 1e-6


@dataclass(frozen=True, eq=False)
class Quantity:
    """One standard deviation, correlation or autocorrelation, in raw units.

    Parameters
    ----------
    name : str
        ``sd(client: x)``, ``correlation(client: x, Intercept)``, ``sd(residual)`` or ``ar1``.
    kind : {'sd', 'correlation', 'autocorrelation'}
    value : callable
        From parameters, shape (k + 1,), to the quantity.
    level : str or None
        Its level; None for those of the residuals.
    terms : tuple of str
        Its one or two terms; ``residual`` or ``ar1`` for those of the residuals.
    """

    name: str
    kind: str
    value: Callable[[FloatArray], float]
    level: str | None
    terms: tuple[str, ...]

    def slope(self, parameters: FloatArray) -> FloatArray:
        """Differentiate by the parameters, shape (k + 1,)."""
        slope = np.empty(len(parameters))
        for position in range(len(parameters)):
            moved = parameters.copy()
            moved[position] += STEP
            above = self.value(moved)
            moved[position] -= 2.0 * STEP
            slope[position] = (above - self.value(moved)) / (2.0 * STEP)
        return slope

    def transformed(self, value: float) -> float:
        """Bring a value to the scale on which its estimate is nearly normal: log, or Fisher's z."""
        return float(np.log(value) if self.kind == "sd" else np.arctanh(value))

    def back(self, transformed: float) -> float:
        """Invert `transformed`."""
        return float(np.exp(transformed) if self.kind == "sd" else np.tanh(transformed))

    def transformed_slope(self, parameters: FloatArray) -> FloatArray:
        """Differentiate the transformed quantity by the parameters, shape (k + 1,)."""
        value = self.value(parameters)
        return self.slope(parameters) / (value if self.kind == "sd" else 1.0 - value**2)


def variance_quantities(design: NestedDesign, likelihood: NestedLikelihood) -> list[Quantity]:
    """List the quantities of a model, outermost level first, the residual's last.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood

    Returns
    -------
    list of Quantity
    """
    found = []
    for effects in design.structure.levels:
        unit = effects is design.structure.unit
        for at, term in enumerate(effects.terms):
            name = f"sd({effects.level}: {term})"
            value = _deviation(design, likelihood, effects.level, unit, at)
            found.append(Quantity(name, "sd", value, effects.level, (term,)))
        if effects.correlated:
            for second, first in zip(*np.tril_indices(len(effects), -1), strict=True):
                terms = (effects.terms[second], effects.terms[first])
                name = f"correlation({effects.level}: {', '.join(terms)})"
                value = _correlation(design, likelihood, effects.level, unit, (int(second), int(first)))
                found.append(Quantity(name, "correlation", value, effects.level, terms))
    scale = design.scaling.outcome_scale

    def residual(parameters: FloatArray) -> float:
        return float(scale * np.exp(0.5 * parameters[-1]))

    found.append(Quantity("sd(residual)", "sd", residual, None, ("residual",)))
    if likelihood.residual != "independent":
        found.append(Quantity("ar1", "autocorrelation", _autocorrelation(design, likelihood), None, ("ar1",)))
    return found


def _autocorrelation(design: NestedDesign, likelihood: NestedLikelihood) -> Callable[[FloatArray], float]:
    def value(parameters: FloatArray) -> float:
        return float(design.raw_autocorrelation(likelihood.unpack(parameters[:-1])[2]))

    return value


def _raw_covariance(
    design: NestedDesign, likelihood: NestedLikelihood, level: str, unit: bool, parameters: FloatArray
) -> FloatArray:
    psi_u, psi_v, _ = likelihood.unpack(parameters[:-1])
    back = design.scaling.outcome_scale * design.effect_maps[level]
    return float(np.exp(parameters[-1])) * back @ (psi_u if unit else psi_v) @ back.T


def _deviation(
    design: NestedDesign, likelihood: NestedLikelihood, level: str, unit: bool, at: int
) -> Callable[[FloatArray], float]:
    def value(parameters: FloatArray) -> float:
        return float(np.sqrt(_raw_covariance(design, likelihood, level, unit, parameters)[at, at]))

    return value


def _correlation(
    design: NestedDesign, likelihood: NestedLikelihood, level: str, unit: bool, at: tuple[int, int]
) -> Callable[[FloatArray], float]:
    def value(parameters: FloatArray) -> float:
        matrix = _raw_covariance(design, likelihood, level, unit, parameters)
        second, first = at
        product = np.sqrt(matrix[first, first] * matrix[second, second])
        return float(np.clip(matrix[second, first] / product, -1.0, 1.0)) if product > 0.0 else np.nan

    return value
