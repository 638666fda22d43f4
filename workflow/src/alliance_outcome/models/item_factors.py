"""Two-level factor models of items: fits, what is improper about them, how well they fit, and what they say.

One factor, correlated factors or a general factor beside those of groups, the same within clients and between them
(Muthén 1994, 10.1177/0049124194022003006). Indices of fit are those of lavaan (Rosseel 2012, 10.18637/jss.v048.i02)
for ``cluster=``: N is the number of sessions wherever one is needed, in the RMSEA and in the BIC, although clients are
what is independent; the baseline model of the CFI has uncorrelated items at both levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg, optimize, stats

from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.item_covariances import ItemFit, ItemRows, fit_items
from alliance_outcome.models.item_structures import ZERO, Factors, Structure

LEVELS = ("within", "between")
Scale = Literal["linear", "correlation", "share"]

#: A search by Newton's method that takes more steps is on a ridge.
_NEWTON_STEPS = 6
#: Where the search begins no unique variance is below this share of its item's, and factors are apart by this angle.
_FEWEST_UNIQUE, _APART = 0.05, 0.3
#: Shares of a general factor in what is common, where searches begin.
_GENERAL = (0.6, 0.3, 0.9)
#: A direction is not determined if it is a thousand times less certain than with everything else known.
_UNDETERMINED = 1e-6
_STEP = 1e-6
#: Searches for free matrices, and a gain in log-likelihood that is none.
_SEARCHES, _NO_GAIN = 8, 1e-5
#: An estimate that a bound fixes has no standard error; differences leave this much of it.
NO_ERROR = 1e-6
#: Share of the mean information that is added to each parameter's, where it only sets the length of steps.
_RIDGE = 0.1
#: A wider model may fall below a narrower one by this log-likelihood: searches end a little early.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Fault:
    """Why a fit is improper.

    Parameters
    ----------
    kind : {'search', 'undetermined', 'correlation', 'unique'}
        The search found no maximum; the data leave a direction open; factors cannot be told apart; an item has nothing
        unique.
    level : {'within', 'between'} or None
        None if it concerns both.
    reason : str
    """

    kind: Literal["search", "undetermined", "correlation", "unique"]
    level: str | None
    reason: str


@dataclass(frozen=True)
class Quantity:
    """An estimate with its interval.

    Parameters
    ----------
    estimate, std_error, low, high : float
        NaN where there is no standard error.
    """

    estimate: float
    std_error: float
    low: float
    high: float


@dataclass(frozen=True)
class FitIndices:
    """How well a model fits.

    Parameters
    ----------
    chi_square, df, p_value : float
        Against free matrices at both levels; no p without degrees of freedom.
    cfi, rmsea : float
        RMSEA is NaN without degrees of freedom.
    srmr_within, srmr_between : float
        Root mean squared difference of correlations, those of free matrices less those of the model.
    aic, bic : float
        BIC with the number of sessions.
    """

    chi_square: float
    df: int
    p_value: float
    cfi: float
    rmsea: float
    srmr_within: float
    srmr_between: float
    aic: float
    bic: float


@dataclass(frozen=True)
class Difference:
    """A likelihood-ratio test of a restricted model within another.

    Parameters
    ----------
    chi_square, p_value : float
    df : int
    """

    chi_square: float
    df: int
    p_value: float


def free_matrices(rows: ItemRows) -> ItemFit:
    """Maximise the likelihood of free matrices, more closely than reliability needs it.

    Parameters
    ----------
    rows : ItemRows

    Returns
    -------
    ItemFit
        Where a matrix is singular, the search goes on in steps as long as standard errors until it gains nothing: the
        χ² of factor models would depend on the order of rows otherwise.
    """
    found = fit_items(rows, "saturated", "saturated")
    for _ in range(_SEARCHES):
        before, metric = found, _metric(found.levels, found.parts(), rows, *_standardised(found))
        found = fit_items(rows, "saturated", "saturated", start=before.parameters, metric=metric)
        if found.log_likelihood - before.log_likelihood < _NO_GAIN:
            break
    return found


def _standardised(saturated: ItemFit) -> tuple[FloatArray, FloatArray]:
    """Return the matrix between of standardised items, and that of the error of clients' means.

    With the error, no matrix between clients is singular.
    """
    units = np.outer(saturated.rows.scale, saturated.rows.scale)
    within, between = (matrix / units for matrix in saturated.matrices())
    return between, within / saturated.rows.mean_rows


def _metric(
    levels: tuple[Structure, Structure],
    parts: tuple[FloatArray, FloatArray],
    rows: ItemRows,
    between: FloatArray,
    error: FloatArray,
) -> FloatArray:
    """Return about the information, by which steps are as long as standard errors."""
    n, n_clients = len(rows.values), int(rows.clients.max()) + 1
    return linalg.block_diag(
        n_clients * np.linalg.inv(between + error),
        _expected(levels[0], parts[0], np.zeros_like(error), n - n_clients),
        _expected(levels[1], parts[1], error, n_clients),
    )


def fit_factors(
    rows: ItemRows, saturated: ItemFit, within: Factors, between: Factors | None = None
) -> ItemFit:
    """Maximise the likelihood of a factor model.

    Parameters
    ----------
    rows : ItemRows
    saturated : ItemFit
        Free matrices of the same rows: the search begins at the factors nearest to them.
    within, between : Factors
        The same unless given.

    Returns
    -------
    ItemFit
        Not necessarily proper: see :func:`faults`.

    Raises
    ------
    UnfittableModel
        If the model has more parameters than the matrices it explains.
    """
    levels = within, within if between is None else between
    if any(each.size > len(rows.items) * (len(rows.items) + 1) // 2 for each in levels):
        raise UnfittableModel("the factor model has more parameters than items have covariances")
    between_free, error = _standardised(saturated)
    parts = (
        _nearest(levels[0], error * rows.mean_rows, np.zeros_like(error)),
        _nearest(levels[1], between_free, error),
    )
    metric = _metric(levels, parts, rows, between_free, error)
    start = np.concatenate([saturated.parameters[: len(rows.items)], *parts])
    return fit_items(rows, *levels, start=start, metric=metric, newton_steps=_NEWTON_STEPS)


def _expected(structure: Structure, own: FloatArray, error: FloatArray, n: int) -> FloatArray:
    """Return the information that so many complete rows are expected to hold, kept away from zero."""
    inverse = np.linalg.inv(structure.matrix(own)[0] + error)
    slopes = []
    for step in _STEP * np.eye(len(own)):
        change = structure.matrix(own + step)[0] - structure.matrix(own - step)[0]
        slopes.append(inverse @ change / (2.0 * _STEP))
    turned = np.array(slopes)
    found = 0.5 * n * np.einsum("iab,jba->ij", turned, turned)
    return found + _RIDGE * np.diag(found).mean() * np.eye(len(own))


def _nearest(structure: Factors, matrix: FloatArray, error: FloatArray) -> FloatArray:
    """Return the parameters whose matrix is nearest to one by the likelihood of complete data, away from bounds."""
    observed = matrix + error

    def discrepancy(own: FloatArray) -> tuple[float, FloatArray]:
        found, pull = structure.matrix(own)
        try:
            inverse = np.linalg.inv(found + error)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(own))
        weighed = inverse @ observed
        return float(np.trace(weighed) - np.linalg.slogdet(inverse)[1]), pull(inverse - weighed @ inverse)

    share = float(np.diag(matrix).mean())
    # There may be several hills where there is a general factor: from small, middling and large ones up.
    searches = [
        optimize.minimize(discrepancy, structure.start(share, general), jac=True, method="L-BFGS-B")
        for general in (_GENERAL if structure.has_general else _GENERAL[:1])
    ]
    best = min(searches, key=lambda each: float(each.fun))
    return structure.inside(structure.signed(best.x), _FEWEST_UNIQUE * np.diag(matrix), _APART)


def faults(fit: ItemFit) -> tuple[Fault, ...]:
    """Say what is improper about a fit.

    Parameters
    ----------
    fit : ItemFit
        Factors at both levels.

    Returns
    -------
    tuple of Fault
        None if everything is proper.
    """
    found = [] if fit.converged else [Fault("search", None, "the factor model did not converge")]
    for name, structure, own in zip(LEVELS, fit.levels, fit.parts(), strict=True):
        assert isinstance(structure, Factors)
        if np.linalg.eigvalsh(structure.correlations(own))[:1].sum() < ZERO**2 and structure.n_factors:
            reason = f"factors cannot be told apart {name} clients: their correlations reach ±1"
            found.append(Fault("correlation", name, reason))
        number = int((np.abs(own[structure.roots]) < ZERO).sum())
        if number:
            reason = f"the unique variance {name} clients of {number} of {structure.n_items} items is estimated as zero"
            found.append(Fault("unique", name, reason))
    if not _is_maximum(fit):
        found.append(Fault("search", None, "the search for the factor model ended on a saddle"))
    elif not _is_determined(fit):
        found.append(
            Fault("undetermined", None, "the data do not determine every parameter of the factor model")
        )
    return tuple(found)


def _scaled_eigenvalues(fit: ItemFit) -> FloatArray:
    """Return the eigenvalues of the information on free parameters, in units of each one's own."""
    own = fit.information[np.ix_(fit.free, fit.free)]
    scale = np.sqrt(np.abs(np.diag(own)))
    scale[scale == 0.0] = 1.0
    return np.linalg.eigvalsh(own / np.outer(scale, scale))


def _is_maximum(fit: ItemFit) -> bool:
    """Say whether nothing is uphill: neither inside the bounds nor off them."""
    bounded = np.setdiff1d(np.arange(len(fit.parameters)), fit.free)
    off_bounds = np.diag(fit.information)[bounded]
    tolerance = _UNDETERMINED * np.diag(fit.information).max()
    return bool(_scaled_eigenvalues(fit)[0] > -_UNDETERMINED and (off_bounds > -tolerance).all())


def _is_determined(fit: ItemFit) -> bool:
    return bool(_scaled_eigenvalues(fit)[0] > _UNDETERMINED)


def fit_indices(fit: ItemFit, saturated: ItemFit, baseline: ItemFit) -> FitIndices:
    """Return how well a factor model fits.

    Parameters
    ----------
    fit, saturated, baseline : ItemFit
        Of the same rows: factors, free matrices, and uncorrelated items, at both levels.

    Returns
    -------
    FitIndices
    """
    n = len(fit.rows.values)
    test, worst = difference(fit, saturated), difference(baseline, saturated)
    excess = max(test.chi_square - test.df, 0.0)
    most = max(excess, worst.chi_square - worst.df)
    srmr = [_srmr(own, free) for own, free in zip(fit.matrices(), saturated.matrices(), strict=True)]
    size = len(fit.parameters)
    return FitIndices(
        test.chi_square,
        test.df,
        test.p_value,
        1.0 - excess / most if most > 0.0 else 1.0,
        float(np.sqrt(excess / (test.df * n))) if test.df else float("nan"),
        *srmr,
        -2.0 * fit.log_likelihood + 2.0 * size,
        -2.0 * fit.log_likelihood + float(np.log(n)) * size,
    )


def _srmr(own: FloatArray, free: FloatArray) -> float:
    """Return the root mean square of the differences of correlations, the diagonal counted."""
    one, other = (matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix))) for matrix in (own, free))
    return float(np.sqrt(np.mean((one - other)[np.tril_indices(len(own))] ** 2)))


def difference(restricted: ItemFit, free: ItemFit) -> Difference:
    """Test a restricted model within another.

    Parameters
    ----------
    restricted, free : ItemFit
        Of the same rows.

    Returns
    -------
    Difference
        Where the restriction is at a bound of the other model, such as correlations of 1, p is too large: the test
        says too seldom that models differ (Savalei & Kolenikov 2008).

    Raises
    ------
    UnavailableInference
        If the wider model is less likely than the restricted one: its search ended on a lower hill.
    """
    if free.log_likelihood < restricted.log_likelihood - _ROUNDING:
        raise UnavailableInference("the search for the wider model ended below the narrower one")
    df = len(free.parameters) - len(restricted.parameters)
    chi_square = max(2.0 * (free.log_likelihood - restricted.log_likelihood), 0.0)
    return Difference(chi_square, df, float(stats.chi2.sf(chi_square, df)) if df else float("nan"))


def estimated(
    fit: ItemFit, quantities: Callable[[FloatArray], FloatArray], scale: Scale = "linear"
) -> list[Quantity]:
    """Return functions of parameters with standard errors by the delta method from the observed information.

    Parameters
    ----------
    fit : ItemFit
    quantities : callable
        From parameters to an array of any shape.
    scale : {'linear', 'correlation', 'share'}
        Where the interval is symmetric: as it is, after Fisher's z, or after the logit; so that it keeps to its range.

    Returns
    -------
    list of Quantity
        Parameters at their bounds are taken as known.

    Raises
    ------
    UnavailableInference
        If the data do not determine every parameter.
    """
    slopes = np.zeros((len(fit.free), np.size(quantities(fit.parameters))))
    for place, number in enumerate(fit.free):
        step = np.zeros(len(fit.parameters))
        step[number] = _STEP
        above, below = (np.ravel(quantities(fit.parameters + sign * step)) for sign in (1.0, -1.0))
        slopes[place] = (above - below) / (2.0 * _STEP)
    errors = np.linalg.norm(linalg.solve_triangular(fit.factor, slopes, lower=True), axis=0)
    values = np.ravel(quantities(fit.parameters))
    return [_quantity(value, error, scale) for value, error in zip(values, errors, strict=True)]


def _quantity(value: float, error: float, scale: Scale) -> Quantity:
    """Return an estimate with its interval."""
    half = stats.norm.ppf(0.5 + 0.5 * CI_LEVEL) * error
    if scale == "correlation" and abs(value) < 1.0:
        half /= 1.0 - value**2
        low, high = np.tanh(np.arctanh(value) - half), np.tanh(np.arctanh(value) + half)
    elif scale == "share" and 0.0 < value < 1.0:
        half /= value * (1.0 - value)
        odds = np.log(value / (1.0 - value))
        low, high = 1.0 / (1.0 + np.exp(half - odds)), 1.0 / (1.0 + np.exp(-half - odds))
    else:
        low, high = value - half, value + half
    return Quantity(float(value), float(error), float(low), float(high))


def standardised_loadings(fit: ItemFit, parameters: FloatArray | None = None) -> FloatArray:
    """Return loadings of standardised items on standardised factors.

    Parameters
    ----------
    fit : ItemFit
    parameters : ndarray, optional
        Those of the maximum unless given.

    Returns
    -------
    ndarray, shape (2, d, k)
        Within and between; zero where an item has no loading.
    """
    found = []
    for loadings, matrix in zip(fit.loadings(parameters), fit.matrices(parameters), strict=True):
        assert loadings is not None
        found.append(loadings / np.sqrt(np.diag(matrix))[:, None])
    return np.array(found)


def factor_correlations(fit: ItemFit, parameters: FloatArray | None = None) -> FloatArray:
    """Return correlations of factors.

    Parameters
    ----------
    fit : ItemFit
    parameters : ndarray, optional
        Those of the maximum unless given.

    Returns
    -------
    ndarray, shape (2, k, k)
        Within and between.
    """
    found = []
    for structure, own in zip(fit.levels, fit.parts(parameters), strict=True):
        assert isinstance(structure, Factors)
        found.append(structure.correlations(own))
    return np.array(found)


def explained_common_variance(fit: ItemFit, parameters: FloatArray | None = None) -> FloatArray:
    """Return the general factor's share of what is common to items (Reise 2012, 10.1080/00273171.2012.715555).

    Parameters
    ----------
    fit : ItemFit
        A bifactor model: the general factor is the first.
    parameters : ndarray, optional

    Returns
    -------
    ndarray, shape (2,)
        Of standardised items, within and between.
    """
    squares = (standardised_loadings(fit, parameters) ** 2).sum(axis=1)
    return squares[:, 0] / squares.sum(axis=1)


def omega_hierarchical(fit: ItemFit, parameters: FloatArray | None = None) -> FloatArray:
    """Return the general factor's share of the variance of the sum of items (McDonald 1999, Test theory).

    Parameters
    ----------
    fit : ItemFit
        A bifactor model: the general factor is the first.
    parameters : ndarray, optional

    Returns
    -------
    ndarray, shape (2,)
        Within clients, and of clients' observed means, whose variance holds error of the client's sessions: as ω in
        :mod:`alliance_outcome.models.item_reliability` (Lai 2021, 10.1037/met0000287).
    """
    within, between = (matrix.sum() for matrix in fit.matrices(parameters))
    general = [loadings[:, 0].sum() ** 2 for loadings in fit.loadings(parameters) if loadings is not None]
    return np.array([general[0] / within, general[1] / (between + within / fit.rows.mean_rows)])


def grouped(groups: Sequence[Sequence[str]], items: Sequence[str]) -> list[int]:
    """Number the group of each item.

    Parameters
    ----------
    groups : sequence of sequence of str
        Items of each group.
    items : sequence of str

    Returns
    -------
    list of int

    Raises
    ------
    UnfittableModel
        If an item is in no group or in several.
    """
    found = []
    for item in items:
        own = [number for number, group in enumerate(groups) if item in group]
        if len(own) != 1:
            raise UnfittableModel("every item has to belong to one subscale")
        found.append(own[0])
    return found
