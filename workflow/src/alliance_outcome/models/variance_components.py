"""Variance components in raw units, and which of them lie on the boundary."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_design import NestedDesign
from alliance_outcome.models.nested_likelihood import Maximum, NestedLikelihood
from alliance_outcome.models.random_structure import ZERO_VARIANCE

#: Level and term of the residual.
RESIDUAL = "residual"

COLUMNS = ["level", "term", "term2", "kind", "value", "sd_or_correlation"]


def variance_components(design: NestedDesign, likelihood: NestedLikelihood, maximum: Maximum) -> pd.DataFrame:
    """Tabulate variances and covariances, outermost level first.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood
    maximum : Maximum

    Returns
    -------
    DataFrame
        Columns level, term, term2, kind (variance, covariance), value (raw units), sd_or_correlation; `term2` equals
        `term` for variances. A correlation with an effect without variance is NaN.
    """
    residual = maximum.at.residual_variance * design.scaling.outcome_scale**2
    rows = []
    for effects in design.structure.levels:
        psi = relative_covariance(design, likelihood, maximum.parameters, effects.level)
        matrix = residual * psi
        deviations = np.sqrt(np.diag(matrix))
        rows += [
            (effects.level, term, term, "variance", matrix[at, at], deviations[at])
            for at, term in enumerate(effects.terms)
        ]
        if effects.correlated:
            for second, first in zip(*np.tril_indices(len(effects), -1), strict=True):
                product = deviations[first] * deviations[second]
                # Rounding may carry a correlation of one beyond it.
                correlation = np.clip(matrix[second, first] / product, -1.0, 1.0) if product > 0.0 else np.nan
                names = (effects.terms[second], effects.terms[first])
                rows.append((effects.level, *names, "covariance", matrix[second, first], correlation))
    rows.append((RESIDUAL, RESIDUAL, RESIDUAL, "variance", residual, np.sqrt(residual)))
    return pd.DataFrame(rows, columns=COLUMNS)


def singular_components(
    design: NestedDesign, likelihood: NestedLikelihood, parameters: FloatArray
) -> tuple[str, ...]:
    """Name the components on the boundary of the parameter space.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)

    Returns
    -------
    tuple of str
        ``level:term`` for variances of zero (of raw columns, in their own units relative to the residual variance),
        then ``level:covariance`` if the covariance matrix has more directions without variance than that;
        ``residual:ar1`` for an autocorrelation of zero in continuous time.
    """
    names = []
    psi_u, psi_v, _ = likelihood.unpack(parameters)
    for effects in design.structure.levels:
        working = psi_u if effects is design.structure.unit else psi_v
        effect_map = design.effect_maps[effects.level]
        raw = np.diag(effect_map @ working @ effect_map.T) * np.diag(effect_map) ** -2
        zero = [term for term, value in zip(effects.terms, raw, strict=True) if value < ZERO_VARIANCE]
        names += [f"{effects.level}:{term}" for term in zero]
        if int(np.sum(np.linalg.eigvalsh(working) < ZERO_VARIANCE)) > len(zero):
            names.append(f"{effects.level}:covariance")
    if likelihood.uncorrelated(likelihood.unpack(parameters)[2]):
        names.append(f"{RESIDUAL}:ar1")
    return tuple(names)


def relative_covariance(
    design: NestedDesign, likelihood: NestedLikelihood, parameters: FloatArray, level: str
) -> FloatArray:
    """Return the covariance matrix of a level's effects on raw columns, relative to the residual variance.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood
    parameters : ndarray, shape (k,)
    level : str
        A level with random effects.

    Returns
    -------
    ndarray, shape (q, q)
    """
    psi_u, psi_v, _ = likelihood.unpack(parameters)
    unit = design.structure.unit
    working = psi_u if unit is not None and unit.level == level else psi_v
    effect_map = design.effect_maps[level]
    return effect_map @ working @ effect_map.T
