"""A linear combination of fixed effects with its Wald t interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

#: Coverage of every interval unless a caller asks for another.
CI_LEVEL = 0.95


@dataclass(frozen=True)
class Contrast:
    """A linear combination of fixed effects, tested against zero.

    Parameters
    ----------
    estimate, std_error : float
        In raw units.
    df : float
        Degrees of freedom of the t distribution.
    statistic, p_value : float
        Two-sided Wald t test.
    ci_low, ci_high : float
        Limits of the interval.
    ci_level : float
        Its coverage.
    """

    estimate: float
    std_error: float
    df: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float
    ci_level: float


def require_coverage(ci_level: float) -> None:
    """Refuse a coverage that is none.

    Raises
    ------
    ValueError
    """
    if not 0.0 < ci_level < 1.0:
        raise ValueError("ci_level must be between 0 and 1")


def wald_contrast(estimate: float, std_error: float, df: float, ci_level: float = CI_LEVEL) -> Contrast:
    """Test an estimate against zero.

    Parameters
    ----------
    estimate, std_error : float
        The estimate and its standard error.
    df : float
        Degrees of freedom; ``inf`` gives the normal distribution.
    ci_level : float
        Coverage of the interval.

    Returns
    -------
    Contrast
        With p value and limits NaN where `df` is not positive: nothing can be said there. A combination
        without sampling variance (all weights zero) has no test statistic.
    """
    require_coverage(ci_level)
    usable = df if df > 0 else np.nan
    statistic = estimate / std_error if std_error > 0 else np.nan
    half_width = float(special.stdtrit(usable, 0.5 + ci_level / 2.0)) * std_error
    return Contrast(
        estimate=estimate,
        std_error=std_error,
        df=df,
        statistic=statistic,
        p_value=float(2.0 * special.stdtr(usable, -abs(statistic))),
        ci_low=estimate - half_width,
        ci_high=estimate + half_width,
        ci_level=ci_level,
    )
