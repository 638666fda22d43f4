"""A second opinion on a multilevel fit: statsmodels MixedLM, with its own likelihood and its own optimiser.

Nothing of the engine's likelihood is used here. MixedLM gets the data, the random effects that have variance in a given
solution, and start values near it; it says where it finds a maximum, and how high. It
cannot express correlated slopes beneath a second level, AR(1) residuals, or a model without random effects. It divides
by variances, so that it can neither start nor end at zero, and where a variance is practically zero it can return fixed
effects of exactly 0 with ``converged`` true (statsmodels issue 10239): effects without variance are left out of its
model, which has the same likelihood.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from alliance_outcome.models.design_checks import INTERCEPT, UnfittableModel

FloatArray = NDArray[np.float64]

#: Random effects with a smaller variance, relative to the residual variance and on columns of unit size, are left out.
NO_VARIANCE = 1e-8

#: MixedLM starts from the given variances times this, so that it has to find the maximum by itself, …
DISPLACEMENT = 2.0
#: … and, relative to the residual variance, from no less than this.
SMALLEST_START = 1e-4

#: Stopping rule for MixedLM's gradient, which is that of the log-likelihood per row.
GRADIENT_TOLERANCE = 1e-8


@dataclass(frozen=True)
class SecondOpinion:
    """What MixedLM found.

    Parameters
    ----------
    params : Series
        Fixed effects by term, in raw units.
    log_likelihood : float
        Its restricted log-likelihood at its own maximum, all constants included, for the columns as they were passed.
    converged : bool
        What it says of its optimiser.
    """

    params: pd.Series
    log_likelihood: float
    converged: bool


class _CovarianceFreeMixedLM(MixedLM):
    """MixedLM whose Hessian is not computed: it serves standard errors alone, and is singular near a boundary."""

    def hessian(self, params: object) -> tuple[FloatArray, bool]:  # noqa: ARG002 - the base class's
        return -np.eye(self.k_fe + self.k_re2 + self.k_vc), False


@dataclass(frozen=True, eq=False)
class _Columns:
    """Data on a common scale: outcome and columns centred, with unit standard deviation.

    Parameters
    ----------
    outcome : ndarray, shape (n,)
    fixed : ndarray, shape (n, p)
        The intercept's ones first.
    centre, spread : ndarray, shape (p - 1,)
        Of the other columns.
    outcome_centre, outcome_spread : float
    terms : list of str
        The intercept first.
    """

    outcome: FloatArray
    fixed: FloatArray
    centre: FloatArray
    spread: FloatArray
    outcome_centre: float
    outcome_spread: float
    terms: list[str]

    @classmethod
    def of(cls, outcome: pd.Series, fixed: pd.DataFrame) -> _Columns:
        others = fixed.drop(columns=INTERCEPT)
        values, raw = others.to_numpy(dtype=float), outcome.to_numpy(dtype=float)
        centre, spread = values.mean(axis=0), values.std(axis=0)
        columns = np.column_stack([np.ones(len(values)), (values - centre) / spread])
        scaled = (raw - raw.mean()) / raw.std()
        terms = [INTERCEPT, *others.columns]
        return cls(scaled, columns, centre, spread, float(raw.mean()), float(raw.std()), terms)

    def raw_coefficients(self, scaled: FloatArray) -> pd.Series:
        slopes = self.outcome_spread * scaled[1:] / self.spread
        intercept = self.outcome_centre + self.outcome_spread * scaled[0] - slopes @ self.centre
        return pd.Series([intercept, *slopes], self.terms)

    @property
    def log_likelihood_shift(self) -> float:
        """What to add to a restricted log-likelihood of the scaled data to get that of the data as they were passed.

        Dividing the outcome by c multiplies its density by c per residual degree of freedom; dividing columns changes
        the determinant of X'V⁻¹X.
        """
        degrees = len(self.outcome) - len(self.terms)
        return float(-degrees * np.log(self.outcome_spread) - np.sum(np.log(self.spread)))


def second_opinion(
    outcome: pd.Series,
    fixed: pd.DataFrame,
    groups: Mapping[str, pd.Series],
    covariances: Mapping[str, pd.DataFrame],
    residual_variance: float,
) -> SecondOpinion:
    """Fit a model by MixedLM, by restricted maximum likelihood, from the estimates of another fit.

    Parameters
    ----------
    outcome : Series, shape (n_rows,)
    fixed : DataFrame, shape (n_rows, n_terms)
        Fixed-effect columns, ``Intercept`` among them.
    groups : mapping of level to labels
        Outermost level first; one or two.
    covariances : mapping of level to DataFrame, shape (q, q)
        Covariance matrix of the random effects of each level that has any, in raw units, terms by terms. Beneath a
        second level effects are independent, and the second level has a random intercept alone.
    residual_variance : float
        In raw units.

    Returns
    -------
    SecondOpinion

    Raises
    ------
    UnfittableModel
        If no random effect has variance, MixedLM cannot express the model, or it breaks down numerically.

    Notes
    -----
    MixedLM's restricted log-likelihood is log|V| + log|X'V⁻¹X| + (n − p)(1 + log 2πs²), times −½, with V relative to
    the residual variance s²: lme4's, constants included, for the columns that it is given.
    """
    data = _Columns.of(outcome, fixed)
    model, start = _model(data, fixed, groups, covariances, residual_variance)
    # It takes logarithms of variances on the way to the boundary, and warns whenever its own criteria are unsure.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = model.fit(
                start_params=np.sqrt(DISPLACEMENT) * start, reml=True, method="bfgs", gtol=GRADIENT_TOLERANCE
            )
            log_likelihood = float(found.llf)
        except np.linalg.LinAlgError:
            raise UnfittableModel("statsmodels MixedLM broke down numerically") from None
    return SecondOpinion(
        data.raw_coefficients(np.asarray(found.fe_params)),
        log_likelihood + data.log_likelihood_shift,
        bool(found.converged),
    )


def _model(
    data: _Columns,
    fixed: pd.DataFrame,
    groups: Mapping[str, pd.Series],
    covariances: Mapping[str, pd.DataFrame],
    residual_variance: float,
) -> tuple[MixedLM, FloatArray]:
    """Set up MixedLM, and pack its start values: entries of a Cholesky factor, then standard deviations."""
    effects = {
        level: _effects(fixed, covariances[level], residual_variance)
        for level in groups
        if level in covariances
    }
    if not effects:
        raise UnfittableModel("statsmodels MixedLM cannot fit a model without random effects")
    if len(effects) == 1:
        ((level, (columns, relative)),) = effects.items()
        columns, relative = _with_variance(columns, relative)
        model = _CovarianceFreeMixedLM(data.outcome, data.fixed, groups=groups[level], exog_re=columns)
        factor = np.linalg.cholesky(relative + _lift(relative))
        return model, factor[np.tril_indices(len(factor))]
    return _nested(data, groups, effects)


def _nested(
    data: _Columns,
    groups: Mapping[str, pd.Series],
    effects: Mapping[str, tuple[FloatArray, FloatArray]],
) -> tuple[MixedLM, FloatArray]:
    """Set up a model with independent effects of units, as variance components within clusters."""
    (outer, (intercept, above)), (inner, (columns, relative)) = effects.items()
    if intercept.shape[1] != 1 or np.any(relative[~np.eye(len(relative), dtype=bool)] != 0.0):
        raise UnfittableModel("statsmodels MixedLM cannot correlate effects beneath a second level")
    kept = np.diag(relative) > NO_VARIANCE
    has_cluster = above[0, 0] > NO_VARIANCE
    if not kept.any() and not has_cluster:
        raise UnfittableModel("no random effect has variance")
    model = _CovarianceFreeMixedLM(
        data.outcome,
        data.fixed,
        groups=groups[outer],
        exog_re=intercept if has_cluster else None,
        exog_vc=_variance_components(columns[:, kept], groups[inner], groups[outer]) if kept.any() else None,
    )
    variances = np.append(above[0, :1][[has_cluster]], np.diag(relative)[kept])
    return model, np.sqrt(np.maximum(variances, SMALLEST_START))


def _effects(
    fixed: pd.DataFrame, covariance: pd.DataFrame, residual_variance: float
) -> tuple[FloatArray, FloatArray]:
    """Return columns with random effects, of unit size, and the relative covariance matrix of their effects."""
    columns = fixed[list(covariance.columns)].to_numpy(dtype=float)
    sizes = np.sqrt(np.mean(columns**2, axis=0))
    return columns / sizes, covariance.to_numpy() * np.outer(sizes, sizes) / residual_variance


def _with_variance(columns: FloatArray, relative: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn correlated effects to the directions that have variance."""
    values, vectors = np.linalg.eigh(relative)
    kept = values > NO_VARIANCE
    if not kept.any():
        raise UnfittableModel("no random effect has variance")
    if kept.all():
        return columns, relative
    return columns @ vectors[:, kept], np.diag(values[kept])


def _lift(relative: FloatArray) -> FloatArray:
    """Return what keeps a start matrix away from the boundary."""
    smallest = float(np.linalg.eigvalsh(relative)[0])
    return max(SMALLEST_START - smallest, 0.0) * np.eye(len(relative))


def _variance_components(columns: FloatArray, units: pd.Series, clusters: pd.Series) -> VCSpec:
    """One component per column: in a cluster, one column per unit, zero in other units' rows."""
    matrices: list[list[FloatArray]] = [[] for _ in columns.T]
    unit_codes = pd.factorize(units)[0]
    # MixedLM takes clusters in the order of their sorted labels.
    for rows in clusters.reset_index(drop=True).groupby(clusters.to_numpy()).indices.values():
        own = unit_codes[rows]
        indicator = (own[:, None] == np.unique(own)[None, :]).astype(float)
        for blocks, column in zip(matrices, columns.T, strict=True):
            blocks.append(indicator * column[rows, None])
    names = [[[str(unit) for unit in range(block.shape[1])] for block in blocks] for blocks in matrices]
    return VCSpec([str(position) for position in range(len(matrices))], names, matrices)
