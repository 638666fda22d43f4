"""Likelihood ratio tests of nested multilevel models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from alliance_outcome.models.multilevel_result import MultilevelResult

#: A larger model whose log-likelihood is lower than the smaller one's by more than this is not a larger model.
NOT_NESTED = 1e-4


@dataclass(frozen=True)
class LikelihoodRatio:
    """Test of a smaller model against a larger one.

    Parameters
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df : int
        Difference of the numbers of parameters.
    p_value : float
        From the χ² distribution with `df` degrees of freedom.
    p_value_boundary : float
        Where one variance is tested, with its covariances if it has any: from the equal mixture of χ² distributions
        with `df` and one fewer degrees of freedom (Stram & Lee 1994, 10.2307/2533455); `p_value` is too large there.
        NaN where no variance or more than one is tested.
    reml : bool
        Whether restricted likelihoods were compared, as they can be between models with the same fixed effects.
    log_likelihoods : tuple of float
        Of the smaller and the larger model.
    """

    statistic: float
    df: int
    p_value: float
    p_value_boundary: float
    reml: bool
    log_likelihoods: tuple[float, float]


def likelihood_ratio(one: MultilevelResult, other: MultilevelResult) -> LikelihoodRatio:
    """Compare two nested models of the same rows.

    Parameters
    ----------
    one, other : MultilevelResult
        In any order. Unless both have the same fixed effects and likelihood, they are refitted by maximum likelihood.

    Returns
    -------
    LikelihoodRatio

    Raises
    ------
    ValueError
        If they differ in their outcomes or have equally many parameters, or the larger one fits worse.
    """
    if not _same_rows(one, other):
        raise ValueError("the models were fitted to different rows or outcomes")
    smaller, larger = sorted((one, other), key=lambda result: result.n_parameters)
    df = larger.n_parameters - smaller.n_parameters
    if df == 0:
        raise ValueError(
            "the models have equally many parameters, so that neither is a special case of the other"
        )
    same_fixed = _same_fixed_effects(one, other)
    reml = same_fixed and one.reml and other.reml
    smaller, larger = smaller.refit(reml=reml), larger.refit(reml=reml)
    statistic = 2.0 * (larger.llf - smaller.llf)
    if statistic < -2.0 * NOT_NESTED:
        raise ValueError("the larger model fits worse, so that the smaller one is not a special case of it")
    statistic = max(statistic, 0.0)
    p_value = float(special.chdtrc(df, statistic))
    boundary = np.nan
    if same_fixed and _variances(larger) - _variances(smaller) == 1:
        below = float(special.chdtrc(df - 1, statistic)) if df > 1 else float(statistic <= 0.0)
        boundary = 0.5 * (p_value + below)
    return LikelihoodRatio(statistic, df, p_value, boundary, reml, (smaller.llf, larger.llf))


def _same_rows(one: MultilevelResult, other: MultilevelResult) -> bool:
    """Whether both have the same outcomes, in any order."""
    return np.array_equal(np.sort(one.design.columns.outcome), np.sort(other.design.columns.outcome))


def _same_fixed_effects(one: MultilevelResult, other: MultilevelResult) -> bool:
    """Whether both have the same terms with the same columns, in any order of terms and rows."""
    if sorted(one.params.index) != sorted(other.params.index):
        return False
    first, second = one.design.columns, other.design.columns
    return all(
        np.array_equal(
            np.sort(first.fixed[:, first.terms.index(term)]),
            np.sort(second.fixed[:, second.terms.index(term)]),
        )
        for term in first.terms
    )


def _variances(result: MultilevelResult) -> int:
    return sum(len(effects) for effects in result.design.structure.levels)
