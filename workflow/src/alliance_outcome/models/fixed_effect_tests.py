"""Wald tests of fixed effects: one combination with its t interval, or several together with an F test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from alliance_outcome.models.contrast import CI_LEVEL, Contrast


@dataclass(frozen=True)
class JointContrast:
    """Several linear combinations of fixed effects, tested together against zero.

    Parameters
    ----------
    estimate, std_error : Series, shape (q,)
        Of each combination, in raw units.
    df : float
        Denominator degrees of freedom of the F distribution.
    df_numerator : int
        q, the number of combinations.
    statistic, p_value : float
        F test.
    ci_low, ci_high : Series, shape (q,)
        Limits of the intervals of the single combinations, each with its own degrees of freedom.
    ci_level : float
        Their coverage.
    """

    estimate: pd.Series
    std_error: pd.Series
    df: float
    df_numerator: int
    statistic: float
    p_value: float
    ci_low: pd.Series
    ci_high: pd.Series
    ci_level: float


def joint_contrast(
    singles: dict[str, Contrast], statistic: float, df: float, ci_level: float = CI_LEVEL
) -> JointContrast:
    """Put single combinations and their joint F statistic together.

    Parameters
    ----------
    singles : dict of name to Contrast
        Each combination by itself; they are linearly independent.
    statistic, df : float
        F, scaled where the method scales it, and its denominator degrees of freedom.
    ci_level : float
        Coverage of the intervals.

    Returns
    -------
    JointContrast
        With p value NaN where `df` is not positive.
    """

    def column(field: str) -> pd.Series:
        return pd.Series({name: getattr(single, field) for name, single in singles.items()}, dtype=float)

    count = len(singles)
    if np.isinf(df):
        p_value = float(special.chdtrc(count, count * statistic))
    else:
        p_value = float(special.fdtrc(count, df if df > 0 else np.nan, statistic))
    return JointContrast(
        column("estimate"),
        column("std_error"),
        float(df),
        count,
        float(statistic),
        p_value,
        column("ci_low"),
        column("ci_high"),
        ci_level,
    )
