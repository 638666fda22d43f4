"""The restricted likelihood of the nested Gaussian model of several variables, with its exact gradient.

Fixed effects are at their best for the covariance matrices given (generalised least squares). With l(C) the
log-likelihood of :mod:`alliance_outcome.models.multivariate_kernels` and M = X'V⁻¹X the information about C, the
restricted log-likelihood is

    l(Ĉ) − ½ log|M| + ½ k log 2π                                  (Patterson & Thompson 1971; Harville 1977)

l is quadratic in C, and so are its derivatives by a covariance matrix. So both are known everywhere once they are known
at zero, at one step along each coefficient, back along each, and along each pair: there M, Ĉ and tr(M⁻¹ dM) come from
exact derivatives, and nothing but the kernel is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import linalg

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.multivariate_kernels import Cells, evaluate


@dataclass(frozen=True, eq=False)
class RestrictedLikelihood:
    """A restricted (or full) log-likelihood at given covariance matrices.

    Parameters
    ----------
    value : float
        Constants included; minus infinity where a covariance matrix is none.
    by_levels : ndarray, shape (3, d, d)
        Its derivatives by the covariance matrices of rows, units and clusters; symmetric.
    coefficients : ndarray, shape (p, d)
        The best fixed effects there.
    covariance : ndarray, shape (p d, p d)
        Their covariance matrix M⁻¹, in the order of ``coefficients.ravel()``.
    """

    value: float
    by_levels: FloatArray
    coefficients: FloatArray
    covariance: FloatArray


def restricted_likelihood(cells: Cells, levels: FloatArray, *, reml: bool = True) -> RestrictedLikelihood:
    """Evaluate the likelihood that is left of the covariance matrices alone.

    Parameters
    ----------
    cells : Cells
        The data.
    levels : ndarray, shape (3, d, d)
        Covariance matrices of rows, units and clusters; zero for a level that is absent.
    reml : bool
        Restricted likelihood, or the full one at the best fixed effects.

    Returns
    -------
    RestrictedLikelihood
    """
    shape = (cells.sums.shape[1] - levels.shape[1], levels.shape[1])
    count = shape[0] * shape[1]
    expansion = _expansion(cells, levels, shape)
    try:
        factor = linalg.cholesky(expansion.information, lower=True)
    except (linalg.LinAlgError, ValueError):
        nothing = np.full((count, count), np.nan)
        return RestrictedLikelihood(-np.inf, np.zeros_like(levels), np.full(shape, np.nan), nothing)
    best = linalg.cho_solve((factor, True), expansion.slope)
    covariance = linalg.cho_solve((factor, True), np.eye(count))
    value = expansion.value + 0.5 * float(expansion.slope @ best)
    by_levels = expansion.by_levels_at(best)
    if reml:
        value += 0.5 * count * np.log(2.0 * np.pi) - float(np.sum(np.log(np.diag(factor))))
        by_levels = by_levels + 0.5 * np.tensordot(covariance, expansion.bends, axes=2)
    return RestrictedLikelihood(value, by_levels, best.reshape(shape), covariance)


@dataclass(frozen=True, eq=False)
class _Expansion:
    """The log-likelihood around fixed effects of zero: value, derivatives and second derivatives, all exact.

    Parameters
    ----------
    value : float
    slope : ndarray, shape (k,)
        X'V⁻¹y.
    information : ndarray, shape (k, k)
        X'V⁻¹X; NaN where the likelihood has no value.
    by_levels : ndarray, shape (3, d, d)
        Derivatives by covariance matrices.
    slopes : ndarray, shape (k, 3, d, d)
        Their derivatives by the fixed effects.
    bends : ndarray, shape (k, k, 3, d, d)
        Their second derivatives, which are minus those of the information.
    """

    value: float
    slope: FloatArray
    information: FloatArray
    by_levels: FloatArray
    slopes: FloatArray
    bends: FloatArray

    def by_levels_at(self, coefficients: FloatArray) -> FloatArray:
        """Return derivatives by covariance matrices at fixed effects, shape (k,)."""
        linear = np.tensordot(coefficients, self.slopes, axes=1)
        return self.by_levels + linear + 0.5 * np.tensordot(np.outer(coefficients, coefficients), self.bends)


def _expansion(cells: Cells, levels: FloatArray, shape: tuple[int, int]) -> _Expansion:
    """Evaluate the likelihood where it takes to know it everywhere."""
    count = shape[0] * shape[1]
    units = np.eye(count)

    def at(coefficients: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        value, by_coefficients, *by = evaluate(coefficients.reshape(shape), *levels, cells)
        return value, by_coefficients.ravel(), np.stack(by)

    value, slope, by_levels = at(np.zeros(count))
    ahead, back = [at(unit) for unit in units], [at(-unit)[2] for unit in units]
    information = np.stack([slope - own[1] for own in ahead])
    if not np.isfinite(value):
        information = np.full((count, count), np.nan)
    slopes = np.stack([0.5 * (own[2] - behind) for own, behind in zip(ahead, back, strict=True)])
    bends = np.empty((count, count, *by_levels.shape))
    for k in range(count):
        bends[k, k] = ahead[k][2] + back[k] - 2.0 * by_levels
    for k, m in combinations(range(count), 2):
        both = at(units[k] + units[m])[2]
        bends[k, m] = bends[m, k] = both - ahead[k][2] - ahead[m][2] + by_levels
    return _Expansion(value, slope, 0.5 * (information + information.T), by_levels, slopes, bends)
