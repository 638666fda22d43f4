"""Variance components in raw units, and which of them lie on the boundary."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.nested_design import NestedDesign
from alliance_outcome.models.profiled_likelihood import Solution
from alliance_outcome.models.random_structure import ZERO_VARIANCE

#: Level and term of the residual.
RESIDUAL = "residual"


def variance_components(design: NestedDesign, solution: Solution) -> pd.DataFrame:
    """Tabulate variances and covariances, outermost level first.

    Parameters
    ----------
    design : NestedDesign
        The design.
    solution : Solution
        Its variance ratios.

    Returns
    -------
    DataFrame
        Columns level, term, term2, kind (variance, covariance), value (raw units); `term2` equals `term` for
        variances.
    """
    structure = design.levels.structure
    residual = solution.profile.residual_variance * design.scaling.outcome_scale**2
    relative = _raw_relative_covariance(design, solution)
    rows = []
    if structure.cluster is not None:
        rows.append(
            (structure.cluster, INTERCEPT, INTERCEPT, "variance", residual * solution.cluster_variance)
        )
    rows += [
        (structure.unit, term, term, "variance", residual * relative[position, position])
        for position, term in enumerate(structure.terms)
    ]
    if structure.correlated:
        rows += [
            (structure.unit, structure.terms[second], structure.terms[first], "covariance", residual * value)
            for (first, second), value in np.ndenumerate(relative)
            if second < first
        ]
    rows.append((RESIDUAL, RESIDUAL, RESIDUAL, "variance", residual))
    return pd.DataFrame(rows, columns=["level", "term", "term2", "kind", "value"])


def singular_components(design: NestedDesign, solution: Solution) -> tuple[str, ...]:
    """Name the components on the boundary of the parameter space.

    Parameters
    ----------
    design : NestedDesign
        The design.
    solution : Solution
        Its variance ratios.

    Returns
    -------
    tuple of str
        ``level:term`` for variances of zero (in raw units, relative to the residual variance), then
        ``level:covariance`` if the covariance matrix has more directions without variance than that.
    """
    structure = design.levels.structure
    names = []
    if structure.cluster is not None and solution.cluster_variance < ZERO_VARIANCE:
        names.append(f"{structure.cluster}:{INTERCEPT}")
    relative = np.diag(_raw_relative_covariance(design, solution)) * np.diag(design.effect_map) ** -2
    zero = [term for term, value in zip(structure.terms, relative, strict=True) if value < ZERO_VARIANCE]
    names += [f"{structure.unit}:{term}" for term in zero]
    if int(np.sum(np.linalg.eigvalsh(solution.covariance) < ZERO_VARIANCE)) > len(zero):
        names.append(f"{structure.unit}:covariance")
    return tuple(names)


def _raw_relative_covariance(design: NestedDesign, solution: Solution) -> NDArray[np.float64]:
    """Covariance matrix of the unit's effects on raw columns, relative to the residual variance."""
    return design.effect_map @ solution.covariance @ design.effect_map.T
