"""Compiled loops over units and clusters: Gram matrices, the profiled deviance, its gradient and its minimum.

The model is that of :mod:`alliance_outcome.models.fitted_state`. A unit enters the likelihood only through the Gram
matrix of its rows [Z_u Z_v X y], built once; an evaluation eliminates u by a q × q Cholesky factorisation per unit, v
by an r × r one per cluster, then β (Bates, Mächler, Bolker & Walker 2015, 10.18637/jss.v067.i01, the sparse Cholesky
factor written out for nested levels), at a cost that does not grow with the number of rows. With AR(1) residuals the
Gram matrices depend on the autocorrelation and are built again at each evaluation.

Parameters are the entries of the factors Λ_v and Λ_u with Ψ = ΛΛ', then, for AR(1), the autocorrelation transformed to
the real line. They are unbounded: the deviance is even in the sign of a column of Λ, so that an optimiser meets no wall
at a variance of zero.

Everything here releases the interpreter's lock and is cached on disk. It stands in one module because a cache notices
an edit of the module of the function that is called, not of those that it calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numba.core.registry import cpu_target

# Numba loads its registries at the first call of a compiled function, which takes as long as fitting 200,000 rows. A
# user expects that from an import.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(nogil=True, error_model="numpy")

#: Sufficient decrease and curvature of a line search step (weak Wolfe conditions).
_DECREASE, _CURVATURE = 1e-4, 0.9

#: Most evaluations of one line search.
_LINE_STEPS = 40

#: First step without knowledge of the curvature, in the parameter that moves most.
_FIRST_STEP = 0.25

#: Longest step of the optimiser in any parameter, in relative standard deviations.
_LONGEST_STEP = 2.0

#: Rounding error of the deviance, as a fraction of its size: steps that change it by less are judged by slope alone.
_ROUNDING = 1e-14

#: What `minimise` returns as its status.
CONVERGED, STALLED, EXHAUSTED, IMPOSSIBLE = 0, 1, 2, 3


class Problem(NamedTuple):
    """Everything the deviance needs, in a form that compiled code takes.

    Attributes
    ----------
    gram : ndarray, shape (n_units, m, m)
        Gram matrices of [Z_u Z_v X y], m = q + r + p + 1; a work space where residuals are AR(1).
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units.
    q, r, p : int
        Columns of Z_u, Z_v and X.
    n_rows : int
        Number of rows.
    reml : bool
        Restricted likelihood or not.
    unit_rows, unit_columns : ndarray of int
        Where in Λ_u each of its parameters stands.
    cluster_rows, cluster_columns : ndarray of int
        The same for Λ_v.
    residual : int
        0 independent, 1 AR(1) with an autocorrelation in (-1, 1), 2 AR(1) with one in (0, 1).
    joint : ndarray, shape (n_rows, m)
        Rows [Z_u Z_v X y]; empty unless residuals are AR(1).
    unit_starts : ndarray of int, shape (n_units + 1,)
        First row of each unit, and the number of rows; empty unless residuals are AR(1).
    gaps : ndarray, shape (n_rows,)
        Time since the unit's previous row; empty unless residuals are AR(1).
    """

    gram: np.ndarray
    cluster_starts: np.ndarray
    q: int
    r: int
    p: int
    n_rows: int
    reml: bool
    unit_rows: np.ndarray
    unit_columns: np.ndarray
    cluster_rows: np.ndarray
    cluster_columns: np.ndarray
    residual: int
    joint: np.ndarray
    unit_starts: np.ndarray
    gaps: np.ndarray


@_kernel
def unit_grams(joint, unit_starts):  # noqa: ANN001, ANN201 - compiled for arrays of floats and integers
    """Build the Gram matrix of each unit's rows.

    Parameters
    ----------
    joint : ndarray, shape (n_rows, m)
        Rows in order of units.
    unit_starts : ndarray of int, shape (n_units + 1,)
        First row of each unit, and the number of rows.

    Returns
    -------
    ndarray, shape (n_units, m, m)
    """
    m = joint.shape[1]
    gram = np.zeros((len(unit_starts) - 1, m, m))
    for i in range(len(unit_starts) - 1):
        own = gram[i]
        for row in range(unit_starts[i], unit_starts[i + 1]):
            for a in range(m):
                value = joint[row, a]
                for b in range(a + 1):
                    own[a, b] += value * joint[row, b]
        for a in range(m):
            for b in range(a):
                own[b, a] = own[a, b]
    return gram


@_kernel
def replace_outcome(gram, joint, unit_starts, outcome):  # noqa: ANN001, ANN201
    """Put another outcome into Gram matrices whose last column is the outcome's.

    Parameters
    ----------
    gram : ndarray, shape (n_units, m, m)
        Changed in place.
    joint : ndarray, shape (n_rows, m)
        Rows [Z_u Z_v X y].
    unit_starts : ndarray of int, shape (n_units + 1,)
    outcome : ndarray, shape (n_rows,)
        The new outcome.
    """
    last = joint.shape[1] - 1
    for i in range(len(unit_starts) - 1):
        own = gram[i]
        for a in range(last + 1):
            own[last, a] = 0.0
        for row in range(unit_starts[i], unit_starts[i + 1]):
            value = outcome[row]
            for a in range(last):
                own[last, a] += value * joint[row, a]
            own[last, last] += value * value
        for a in range(last):
            own[a, last] = own[last, a]


@_inlined
def _power(phi, gap):  # noqa: ANN001, ANN202
    """Raise an autocorrelation, which is negative only with whole gaps, to a gap; and differentiate by it."""
    if phi < 0.0:
        sign = 1.0 if round(gap) % 2 == 0 else -1.0
        value = sign * (-phi) ** gap
    else:
        value = phi**gap
    slope = 1.0 if gap == 1.0 else (0.0 if phi == 0.0 else gap * value / phi)
    return value, slope


@_kernel
def autocorrelated_grams(joint, unit_starts, gaps, phi, gram, change):  # noqa: ANN001, ANN201
    """Build Gram matrices weighted by the inverse AR(1) correlation matrix of each unit's residuals.

    Parameters
    ----------
    joint, unit_starts
        As for :func:`unit_grams`.
    gaps : ndarray, shape (n_rows,)
        Time since the unit's previous row; the first row's is not read.
    phi : float
        Autocorrelation one unit of time apart.
    gram, change : ndarray, shape (n_units, m, m)
        Filled with the matrices and with their derivatives by `phi`.

    Returns
    -------
    log_determinant, slope : float
        Sum over units of log|R|, and its derivative by `phi`.

    Notes
    -----
    A row given the previous one has mean a times it and variance 1 − a², a = φ ** gap, so that the Gram matrix is a sum
    over rows of (x − a x₋)(x − a x₋)' / (1 − a²).
    """
    m = joint.shape[1]
    log_determinant, slope = 0.0, 0.0
    for i in range(len(unit_starts) - 1):
        own, own_change = gram[i], change[i]
        own[:] = 0.0
        own_change[:] = 0.0
        first = unit_starts[i]
        for a in range(m):
            for b in range(a + 1):
                own[a, b] = joint[first, a] * joint[first, b]
        for row in range(first + 1, unit_starts[i + 1]):
            rho, rho_slope = _power(phi, gaps[row])
            left = 1.0 - rho * rho
            weight = 1.0 / left
            weight_slope = 2.0 * rho * weight * weight
            log_determinant += np.log(left)
            slope -= 2.0 * rho * rho_slope * weight
            for a in range(m):
                x_a, before_a = joint[row, a], joint[row - 1, a]
                innovation_a = x_a - rho * before_a
                for b in range(a + 1):
                    before_b = joint[row - 1, b]
                    innovation_b = joint[row, b] - rho * before_b
                    product = innovation_a * innovation_b
                    own[a, b] += weight * product
                    cross = before_a * innovation_b + innovation_a * before_b
                    own_change[a, b] += rho_slope * (weight_slope * product - weight * cross)
        for a in range(m):
            for b in range(a):
                own[b, a] = own[a, b]
                own_change[b, a] = own_change[a, b]
    return log_determinant, slope


@_inlined
def _cholesky(matrix, size):  # noqa: ANN001, ANN202
    """Factorise the leading block in place (lower triangle); return log|.|, NaN if it is not positive definite."""
    log_determinant = 0.0
    for a in range(size):
        pivot = matrix[a, a]
        for c in range(a):
            pivot -= matrix[a, c] * matrix[a, c]
        if not pivot > 0.0:
            return np.nan
        root = np.sqrt(pivot)
        matrix[a, a] = root
        log_determinant += 2.0 * np.log(root)
        for b in range(a + 1, size):
            value = matrix[b, a]
            for c in range(a):
                value -= matrix[b, c] * matrix[a, c]
            matrix[b, a] = value / root
    return log_determinant


@_inlined
def _eliminate(own, factor, size, explained, small):  # noqa: ANN001, ANN202
    """Whiten the products of random columns with all columns.

    `own` is a Gram matrix whose first `size` columns have random effects with factor Λ. Fills `explained`, shape (size,
    columns), with E = L⁻¹Λ'[own rows], LL' = I + Λ'ZZΛ, so that ``own - E'E`` is the Gram matrix weighted by the
    inverse covariance; `small` keeps L. Returns log|LL'|.
    """
    columns = own.shape[1]
    for a in range(size):
        for b in range(columns):
            value = 0.0
            for c in range(a, size):
                value += factor[c, a] * own[c, b]
            explained[a, b] = value
    for a in range(size):
        for b in range(a + 1):
            value = 1.0 if a == b else 0.0
            for c in range(b, size):
                value += explained[a, c] * factor[c, b]
            small[a, b] = value
    log_determinant = _cholesky(small, size)
    _solve_lower(small, size, explained)
    return log_determinant


@_inlined
def _solve_lower(triangle, size, right):  # noqa: ANN001, ANN202
    """Replace `right`, shape (size, columns), by L⁻¹ `right`."""
    for a in range(size):
        for c in range(a):
            ratio = triangle[a, c]
            for b in range(right.shape[1]):
                right[a, b] -= ratio * right[c, b]
        inverse = 1.0 / triangle[a, a]
        for b in range(right.shape[1]):
            right[a, b] *= inverse


@_inlined
def _conditional_covariance(factor, small, size, out):  # noqa: ANN001, ANN202
    """Fill `out` with Λ(LL')⁻¹Λ', the covariance (relative to σ²) of random effects given the data and all else."""
    half = np.zeros((size, size))
    for column in range(size):
        for a in range(size):
            value = factor[column, a]
            for c in range(a):
                value -= small[a, c] * half[c, column]
            half[a, column] = value / small[a, a]
    for a in range(size):
        for b in range(size):
            value = 0.0
            for c in range(size):
                value += half[c, a] * half[c, b]
            out[a, b] = value


@_inlined
def _factor(parameters, start, rows, columns, size):  # noqa: ANN001, ANN202
    factor = np.zeros((size, size))
    for position in range(len(rows)):
        factor[rows[position], columns[position]] = parameters[start + position]
    return factor


@_inlined
def _autocorrelation(parameter, residual):  # noqa: ANN001, ANN202
    """Return φ and its derivative by the parameter: tanh, or its half above zero for continuous time."""
    if residual == 1:
        phi = np.tanh(parameter)
        return phi, 1.0 - phi * phi
    phi = 1.0 / (1.0 + np.exp(-2.0 * parameter))
    return phi, 2.0 * phi * (1.0 - phi)


class Evaluation(NamedTuple):
    """What an evaluation of the likelihood leaves behind.

    Attributes
    ----------
    log_determinant : float
        log|V|, V relative to σ².
    log_determinant_fixed : float
        log|X'V⁻¹X|.
    residual_sum : float
        e'V⁻¹e at the best β.
    coefficients : ndarray, shape (p,)
    inverse : ndarray, shape (p, p)
        (X'V⁻¹X)⁻¹.
    unit_weights : ndarray, shape (n_units, q, m)
        Z_u'W⁻¹[Z_u Z_v X y] of each unit, W without the cluster's effects.
    cluster_weights : ndarray, shape (n_clusters, r, m - q)
        Z_v'V⁻¹[Z_v X y] of each cluster.
    cluster_sums : ndarray, shape (n_clusters, r, m - q)
        Z_v'W⁻¹[Z_v X y] of each cluster.
    cluster_spread : ndarray, shape (n_clusters, r, r)
        Covariance of each cluster's effects given the data and β, relative to σ².
    blocks : ndarray, shape (n_clusters, p + 1, p + 1)
        [X y]'V⁻¹[X y] of each cluster.
    """

    log_determinant: float
    log_determinant_fixed: float
    residual_sum: float
    coefficients: np.ndarray
    inverse: np.ndarray
    unit_weights: np.ndarray
    cluster_weights: np.ndarray
    cluster_sums: np.ndarray
    cluster_spread: np.ndarray
    blocks: np.ndarray


@_inlined
def _symmetrise(matrix):  # noqa: ANN001, ANN202
    """Copy the lower triangle to the upper one, in place."""
    for a in range(len(matrix)):
        for b in range(a):
            matrix[b, a] = matrix[a, b]


@_inlined
def _less_explained(own, explained, a, b, size):  # noqa: ANN001, ANN202
    """Return an entry of the Gram matrix less what random effects take up, ``own - E'E``."""
    value = own[a, b]
    for c in range(size):
        value -= explained[c, a] * explained[c, b]
    return value


@_inlined
def _eliminate_units(gram, first, stop, factor, q, explained, small, unit_weights, summed):  # noqa: ANN001, ANN202
    """Eliminate the effects of one cluster's units: fill their weights, and the sum of what is left; return log|.|."""
    m = gram.shape[1]
    summed[:] = 0.0
    log_determinant = 0.0
    for i in range(first, stop):
        own = gram[i]
        log_determinant += _eliminate(own, factor, q, explained, small)
        for a in range(q):
            for b in range(m):
                value = own[a, b]
                for c in range(q):
                    value -= explained[c, a] * explained[c, b]
                unit_weights[i, a, b] = value
        for a in range(q, m):
            for b in range(q, a + 1):
                value = own[a, b]
                for c in range(q):
                    value -= explained[c, a] * explained[c, b]
                summed[a - q, b - q] += value
    _symmetrise(summed)
    return log_determinant


@_inlined
def _solve_fixed(total, p):  # noqa: ANN001, ANN202
    """Return log|X'V⁻¹X|, the residual sum, β and (X'V⁻¹X)⁻¹ from [X y]'V⁻¹[X y], which is overwritten."""
    log_determinant = _cholesky(total, p)
    inverse_factor = np.eye(p)
    _solve_lower(total, p, inverse_factor)
    inverse = np.zeros((p, p))
    coefficients = np.zeros(p)
    residual_sum = total[p, p]
    for a in range(p):
        projected = 0.0
        for c in range(a + 1):
            projected += inverse_factor[a, c] * total[p, c]
        residual_sum -= projected * projected
        for c in range(a + 1):
            coefficients[c] += inverse_factor[a, c] * projected
            for b in range(a + 1):
                inverse[b, c] += inverse_factor[a, b] * inverse_factor[a, c]
    return log_determinant, residual_sum, coefficients, inverse


@_inlined
def _evaluate(problem, factor_u, factor_v):  # noqa: ANN001, ANN202
    """Eliminate random and fixed effects at given factors; Gram matrices are as they are."""
    q, r, p = problem.q, problem.r, problem.p
    m = q + r + p + 1
    starts = problem.cluster_starts
    n_clusters = len(starts) - 1
    unit_weights = np.empty((len(problem.gram), q, m))
    cluster_weights = np.empty((n_clusters, r, m - q))
    cluster_sums = np.empty((n_clusters, r, m - q))
    cluster_spread = np.empty((n_clusters, r, r))
    blocks = np.empty((n_clusters, p + 1, p + 1))
    total = np.zeros((p + 1, p + 1))
    explained_u, small_u = np.empty((q, m)), np.empty((q, q))
    explained_v, small_v = np.empty((r, m - q)), np.empty((r, r))
    summed = np.empty((m - q, m - q))
    log_determinant = 0.0
    for j in range(n_clusters):
        log_determinant += _eliminate_units(
            problem.gram, starts[j], starts[j + 1], factor_u, q, explained_u, small_u, unit_weights, summed
        )
        log_determinant += _eliminate(summed, factor_v, r, explained_v, small_v)
        _conditional_covariance(factor_v, small_v, r, cluster_spread[j])
        for a in range(r):
            for b in range(m - q):
                cluster_sums[j, a, b] = summed[a, b]
                cluster_weights[j, a, b] = _less_explained(summed, explained_v, a, b, r)
        for a in range(p + 1):
            for b in range(a + 1):
                value = _less_explained(summed, explained_v, r + a, r + b, r)
                blocks[j, a, b] = value
                blocks[j, b, a] = value
                total[a, b] += value
    log_determinant_fixed, residual_sum, coefficients, inverse = _solve_fixed(total, p)
    return Evaluation(
        log_determinant,
        log_determinant_fixed,
        residual_sum,
        coefficients,
        inverse,
        unit_weights,
        cluster_weights,
        cluster_sums,
        cluster_spread,
        blocks,
    )


@_inlined
def _accumulate(weights, offset, size, at, gradient_trace, gradient_residual, reml, half, residual):  # noqa: ANN001, ANN202
    """Add one unit's (or cluster's) share of d log-determinants / dΨ and of -d residual sum / dΨ.

    `weights`, shape (size, …), holds Z'V⁻¹[Z … X y] with X from column `offset` on; `half` and `residual` are work
    space.
    """
    p = len(at.coefficients)
    for a in range(size):
        value = weights[a, offset + p]
        for b in range(p):
            value -= weights[a, offset + b] * at.coefficients[b]
            if reml:
                product = 0.0
                for c in range(p):
                    product += at.inverse[b, c] * weights[a, offset + c]
                half[a, b] = product
        residual[a] = value
    for a in range(size):
        for b in range(a + 1):
            value = weights[a, b]
            if reml:
                for c in range(p):
                    value -= half[a, c] * weights[b, offset + c]
            gradient_trace[a, b] += value
            gradient_residual[a, b] += residual[a] * residual[b]


@_inlined
def _unit_weights(own, sums, spread, q, r, weights, link):  # noqa: ANN001, ANN202
    """Fill `weights`, shape (q, columns), with Z_u'V⁻¹[Z_u · X y] of a unit; columns of Z_v are left as they are.

    `own` is Z_u'W⁻¹[Z_u Z_v X y]; V differs from W by the cluster's effects, which all its units share.
    """
    for a in range(q):
        for b in range(r):
            value = 0.0
            for c in range(r):
                value += own[a, q + c] * spread[c, b]
            link[a, b] = value
        for b in range(q):
            value = own[a, b]
            for c in range(r):
                value -= link[a, c] * own[b, q + c]
            weights[a, b] = value
        for b in range(q + r, own.shape[1]):
            value = own[a, b]
            for c in range(r):
                value -= link[a, c] * sums[c, b - q]
            weights[a, b] = value


@_inlined
def _covariance_gradient(problem, at):  # noqa: ANN001, ANN202
    """Differentiate by Ψ_u and Ψ_v: traces (log-determinants) and residual terms (minus the residual sum)."""
    q, r, p = problem.q, problem.r, problem.p
    trace_u, residual_u = np.zeros((q, q)), np.zeros((q, q))
    trace_v, residual_v = np.zeros((r, r)), np.zeros((r, r))
    starts = problem.cluster_starts
    weights = np.empty((q, q + r + p + 1))
    link = np.empty((q, r))
    half, left = np.empty((max(q, r), p)), np.empty(max(q, r))
    for j in range(len(starts) - 1):
        _accumulate(at.cluster_weights[j], r, r, at, trace_v, residual_v, problem.reml, half, left)
        for i in range(starts[j], starts[j + 1]):
            _unit_weights(at.unit_weights[i], at.cluster_sums[j], at.cluster_spread[j], q, r, weights, link)
            _accumulate(weights, q + r, q, at, trace_u, residual_u, problem.reml, half, left)
    for matrix in (trace_u, residual_u, trace_v, residual_v):
        _symmetrise(matrix)
    return trace_u, residual_u, trace_v, residual_v


@_inlined
def _quadratic(matrix, left, right, columns):  # noqa: ANN001, ANN202
    """Return left' matrix right for vectors of `columns` entries."""
    value = 0.0
    for a in range(columns):
        inner = 0.0
        for b in range(columns):
            inner += matrix[a, b] * right[b]
        value += left[a] * inner
    return value


@_inlined
def _traced(matrix, loading, offset, covariance):  # noqa: ANN001, ANN202
    """Return the trace of `matrix` times FCF', F the columns of `loading` from `offset` on, C their covariance."""
    value = 0.0
    for a in range(len(covariance)):
        for b in range(len(covariance)):
            if covariance[a, b] != 0.0:
                value += covariance[a, b] * _quadratic(
                    matrix, loading[:, offset + a], loading[:, offset + b], len(matrix)
                )
    return value


@_inlined
def _unit_loading(own, psi, effects_v, q, r, p, loading):  # noqa: ANN001, ANN202
    """Fill `loading`, shape (m, q + r + p + 1): how prediction errors make up the rows of [Z_u Z_v X y].

    Columns: the unit's effects given all else, the cluster's given β, then each column of [X y] less its predictions.
    """
    loading[:] = 0.0
    for a in range(q):
        loading[a, a] = 1.0
        for b in range(r + p + 1):
            value = 0.0
            for c in range(q):
                product = own[c, q + b]
                if b >= r:
                    for d in range(r):
                        product -= own[c, q + d] * effects_v[d, b - r]
                value += psi[a, c] * product
            loading[a, q + b] = -value
    for a in range(r):
        loading[q + a, q + a] = 1.0
        for b in range(p + 1):
            loading[q + a, q + r + b] = -effects_v[a, b]
    for b in range(p + 1):
        loading[q + r + b, q + r + b] = 1.0


@_inlined
def _correlation_gradient(problem, change, at, factor_u, factor_v):  # noqa: ANN001, ANN202
    """Differentiate log-determinants and residual sum by φ, log|R| apart.

    With K = R⁻¹, d log|V| + d log|X'V⁻¹X| is the trace of dK times the covariance of the prediction errors of u, v and
    β (Henderson 1975, 10.2307/2529430), and d e'V⁻¹e the quadratic form of dK in the conditional residuals.
    """
    q, r, p = problem.q, problem.r, problem.p
    psi_u, psi_v = factor_u @ factor_u.T, factor_v @ factor_v.T
    starts = problem.cluster_starts
    loading = np.zeros((q + r + p + 1, q + r + p + 1))
    spread_u = np.empty((q, q))
    combination = np.append(-at.coefficients, 1.0)
    trace, residual_change = 0.0, 0.0
    for j in range(len(starts) - 1):
        effects_v = psi_v @ np.ascontiguousarray(at.cluster_weights[j][:, r:])
        for i in range(starts[j], starts[j + 1]):
            own = at.unit_weights[i]
            _unit_loading(own, psi_u, effects_v, q, r, p, loading)
            residual = np.ascontiguousarray(loading[:, q + r :]) @ combination
            residual_change += _quadratic(change[i], residual, residual, len(loading))
            spread_u[:] = psi_u - psi_u @ np.ascontiguousarray(own[:, :q]) @ psi_u
            trace += _traced(change[i], loading, 0, spread_u)
            trace += _traced(change[i], loading, q, at.cluster_spread[j])
            if problem.reml:
                trace += _traced(change[i], loading, q + r, at.inverse)
    return trace, residual_change


@_inlined
def _chain(rows, columns, factor, trace, residual, start, gradient, slope):  # noqa: ANN001, ANN202
    """Fill derivatives by entries of Λ from those by Ψ: of log-determinants, and of the residual sum."""
    for position in range(len(rows)):
        a, b = rows[position], columns[position]
        by_trace, by_residual = 0.0, 0.0
        for c in range(len(factor)):
            by_trace += trace[a, c] * factor[c, b]
            by_residual += residual[a, c] * factor[c, b]
        gradient[start + position] = 2.0 * by_trace
        slope[start + position] = -2.0 * by_residual


@_inlined
def _profile(problem, parameters, change):  # noqa: ANN001, ANN202
    """Evaluate the deviance, β and σ² at their best; fill the derivatives of Gram matrices by φ.

    Returns the deviance (infinite where it cannot be evaluated), the evaluation, Λ_u, Λ_v, log|R|, and the derivatives
    of log|R| by φ and of φ by its parameter.
    """
    n_v = len(problem.cluster_rows)
    n_u = len(problem.unit_rows)
    factor_v = _factor(parameters, 0, problem.cluster_rows, problem.cluster_columns, problem.r)
    factor_u = _factor(parameters, n_v, problem.unit_rows, problem.unit_columns, problem.q)
    log_residual, log_residual_slope, phi_slope = 0.0, 0.0, 0.0
    if problem.residual > 0:
        phi, phi_slope = _autocorrelation(parameters[n_v + n_u], problem.residual)
        log_residual, log_residual_slope = autocorrelated_grams(
            problem.joint, problem.unit_starts, problem.gaps, phi, problem.gram, change
        )
    at = _evaluate(problem, factor_u, factor_v)
    degrees = problem.n_rows - problem.p if problem.reml else problem.n_rows
    deviance = at.log_determinant + log_residual
    deviance += degrees * (1.0 + np.log(2.0 * np.pi * at.residual_sum / degrees))
    if problem.reml:
        deviance += at.log_determinant_fixed
    if not (np.isfinite(deviance) and at.residual_sum > 0.0):
        deviance = np.inf
    return deviance, at, factor_u, factor_v, log_residual, log_residual_slope, phi_slope


@_inlined
def _objective(problem, parameters, change, gradient, slope):  # noqa: ANN001, ANN202
    """Evaluate the deviance, β and σ² at their best; fill its gradient and that of e'V⁻¹e; see :func:`evaluate`."""
    n_v = len(problem.cluster_rows)
    n_u = len(problem.unit_rows)
    deviance, at, factor_u, factor_v, log_residual, log_residual_slope, phi_slope = _profile(
        problem, parameters, change
    )
    trace_u, residual_u, trace_v, residual_v = _covariance_gradient(problem, at)
    if not np.isfinite(deviance):
        gradient[:] = 0.0
        slope[:] = 0.0
        return deviance, at, log_residual, trace_u, residual_u, trace_v, residual_v
    _chain(problem.cluster_rows, problem.cluster_columns, factor_v, trace_v, residual_v, 0, gradient, slope)
    _chain(problem.unit_rows, problem.unit_columns, factor_u, trace_u, residual_u, n_v, gradient, slope)
    if problem.residual > 0:
        trace, residual_change = _correlation_gradient(problem, change, at, factor_u, factor_v)
        gradient[n_v + n_u] = phi_slope * (log_residual_slope + trace)
        slope[n_v + n_u] = phi_slope * residual_change
    degrees = problem.n_rows - problem.p if problem.reml else problem.n_rows
    for position in range(len(gradient)):
        gradient[position] += degrees / at.residual_sum * slope[position]
    return deviance, at, log_residual, trace_u, residual_u, trace_v, residual_v


@_inlined
def _change_space(problem):  # noqa: ANN001, ANN202
    return np.empty_like(problem.gram) if problem.residual > 0 else np.empty((0, 0, 0))


@_kernel
def evaluate(problem, parameters):  # noqa: ANN001, ANN201
    """Evaluate the likelihood.

    Parameters
    ----------
    problem : Problem
        The data and structure; Gram matrices are built anew where residuals are AR(1).
    parameters : ndarray, shape (k,)

    Returns
    -------
    deviance : float
        Profiled over β and σ², constants included; infinite where the likelihood cannot be evaluated.
    gradient : ndarray, shape (k,)
    residual_slope : ndarray, shape (k,)
        Derivatives of e'V⁻¹e.
    evaluation : Evaluation
    log_residual : float
        log|R|, which `evaluation` leaves out.
    trace_u, residual_u, trace_v, residual_v : ndarray
        Derivatives by Ψ_u and Ψ_v of the log-determinants and of minus the residual sum.
    """
    gradient, slope = np.zeros(len(parameters)), np.zeros(len(parameters))
    deviance, at, log_residual, trace_u, residual_u, trace_v, residual_v = _objective(
        problem, parameters, _change_space(problem), gradient, slope
    )
    return deviance, gradient, slope, at, log_residual, trace_u, residual_u, trace_v, residual_v


@_inlined
def _update(inverse_hessian, step, change, first):  # noqa: ANN001, ANN202
    """BFGS update of the inverse Hessian, in place; a step without curvature is left out."""
    curvature = np.dot(step, change)
    if not curvature > 1e-12 * np.sqrt(np.dot(step, step) * np.dot(change, change)):
        return
    size = len(step)
    if first:
        scale = curvature / np.dot(change, change)
        for a in range(size):
            for b in range(size):
                inverse_hessian[a, b] = scale if a == b else 0.0
    product = inverse_hessian @ change
    factor = (1.0 + np.dot(change, product) / curvature) / curvature
    for a in range(size):
        for b in range(size):
            inverse_hessian[a, b] += (
                factor * step[a] * step[b] - (product[a] * step[b] + step[a] * product[b]) / curvature
            )


@_inlined
def _search(problem, parameters, direction, deviance, slope, length, change_space, gradient, unused):  # noqa: ANN001, ANN202
    """Search along a direction for a step that satisfies the weak Wolfe conditions; fill its gradient.

    Returns the step's length (0 if there is none), its deviance, and the number of evaluations.
    """
    low, high = 0.0, np.inf
    rounding = _ROUNDING * (max(1.0, abs(deviance)) + problem.n_rows)
    for count in range(1, _LINE_STEPS + 1):
        trial = parameters + length * direction
        trial_deviance = _objective(problem, trial, change_space, gradient, unused)[0]
        if not trial_deviance <= deviance + _DECREASE * length * slope + rounding:
            high = length
        elif np.dot(gradient, direction) < _CURVATURE * slope:
            low = length
        else:
            return length, trial_deviance, count
        length = 0.5 * (low + high) if np.isfinite(high) else 2.0 * low
    return 0.0, deviance, _LINE_STEPS


@_inlined
def _first_length(direction, fresh):  # noqa: ANN001, ANN202
    """Length of the first trial step: short without knowledge of the curvature, and never very long."""
    longest = np.max(np.abs(direction))
    if fresh:
        return _FIRST_STEP / longest
    return min(1.0, _LONGEST_STEP / longest)


@_inlined
def _minimise(problem, parameters, inverse_hessian, tolerance, most):  # noqa: ANN001, ANN202
    """Minimise the deviance in place by BFGS with a weak Wolfe line search; see :func:`minimise`."""
    size = len(parameters)
    change_space = _change_space(problem)
    fresh = inverse_hessian.shape[0] != size
    hessian = np.eye(size) if fresh else inverse_hessian.copy()
    gradient, trial_gradient, unused = np.zeros(size), np.zeros(size), np.zeros(size)
    deviance = _objective(problem, parameters, change_space, gradient, unused)[0]
    evaluations = 1
    if not np.isfinite(deviance):
        return deviance, gradient, IMPOSSIBLE, evaluations, hessian
    for _ in range(most if size else 0):
        if np.max(np.abs(gradient)) <= tolerance:
            return deviance, gradient, CONVERGED, evaluations, hessian
        direction = -(hessian @ gradient)
        slope = np.dot(direction, gradient)
        if not slope < 0.0:
            hessian, fresh = np.eye(size), True
            direction = -gradient
            slope = np.dot(direction, gradient)
        length, deviance, count = _search(
            problem,
            parameters,
            direction,
            deviance,
            slope,
            _first_length(direction, fresh),
            change_space,
            trial_gradient,
            unused,
        )
        evaluations += count
        if length == 0.0:
            if fresh:
                return deviance, gradient, STALLED, evaluations, hessian
            # What was learned elsewhere may mislead here: once more, along the gradient.
            hessian, fresh = np.eye(size), True
            continue
        step = length * direction
        _update(hessian, step, trial_gradient - gradient, fresh)
        fresh = False
        parameters += step
        gradient[:] = trial_gradient
    return deviance, gradient, (EXHAUSTED if size else CONVERGED), evaluations, hessian


@_kernel
def minimise(problem, start, inverse_hessian, tolerance, most):  # noqa: ANN001, ANN201
    """Minimise the deviance.

    Parameters
    ----------
    problem : Problem
    start : ndarray, shape (k,)
        Parameters to start from.
    inverse_hessian : ndarray, shape (k, k) or (0, 0)
        A guess of the inverse Hessian at the minimum, or none.
    tolerance : float
        Largest derivative that counts as zero.
    most : int
        Most iterations.

    Returns
    -------
    parameters : ndarray, shape (k,)
    deviance : float
    gradient : ndarray, shape (k,)
    status : int
        `CONVERGED`; `STALLED` where no step makes the deviance smaller in the digits that it has; `EXHAUSTED` after
        `most` iterations; `IMPOSSIBLE` where it cannot be evaluated at the start.
    evaluations : int
    learned : ndarray, shape (k, k)
        What the steps taught of the inverse Hessian.

    Notes
    -----
    The line search is that of Lewis & Overton 2013 (10.1007/s10107-012-0514-2).
    """
    parameters = start.copy()
    deviance, gradient, status, evaluations, learned = _minimise(
        problem, parameters, inverse_hessian, tolerance, most
    )
    return parameters, deviance, gradient, status, evaluations, learned


@_kernel
def refit_outcomes(problem, joint, unit_starts, outcomes, start, inverse_hessian, tolerance, most):  # noqa: ANN001, ANN201
    """Refit the model to many outcomes on the same predictors.

    Parameters
    ----------
    problem : Problem
        The fitted problem; its Gram matrices are copied, not changed.
    joint, unit_starts
        The rows; `outcomes` replaces their last column.
    outcomes : ndarray, shape (n_replicates, n_rows)
    start, inverse_hessian, tolerance, most
        See :func:`minimise`.

    Returns
    -------
    parameters : ndarray, shape (n_replicates, k)
    deviances : ndarray, shape (n_replicates,)
    coefficients : ndarray, shape (n_replicates, p)
    residual_variances : ndarray, shape (n_replicates,)
    statuses : ndarray of int, shape (n_replicates,)
    """
    count, p = len(outcomes), problem.p
    last = joint.shape[1] - 1
    own_joint = joint.copy() if problem.residual > 0 else joint
    own = Problem(
        problem.gram.copy(),
        problem.cluster_starts,
        problem.q,
        problem.r,
        problem.p,
        problem.n_rows,
        problem.reml,
        problem.unit_rows,
        problem.unit_columns,
        problem.cluster_rows,
        problem.cluster_columns,
        problem.residual,
        own_joint,
        problem.unit_starts,
        problem.gaps,
    )
    parameters = np.empty((count, len(start)))
    deviances, residual_variances = np.empty(count), np.empty(count)
    coefficients = np.empty((count, p))
    statuses = np.empty(count, dtype=np.int64)
    change_space = _change_space(problem)
    degrees = problem.n_rows - p if problem.reml else problem.n_rows
    for replicate in range(count):
        if problem.residual > 0:
            own_joint[:, last] = outcomes[replicate]
        else:
            replace_outcome(own.gram, joint, unit_starts, outcomes[replicate])
        parameters[replicate] = start
        _, _, status, _, _ = _minimise(own, parameters[replicate], inverse_hessian, tolerance, most)
        statuses[replicate] = status
        found = _profile(own, parameters[replicate], change_space)
        deviances[replicate] = found[0]
        coefficients[replicate] = found[1].coefficients
        residual_variances[replicate] = found[1].residual_sum / degrees
    return parameters, deviances, coefficients, residual_variances, statuses


@_kernel
def autocorrelate(noise, unit_starts, gaps, phi):  # noqa: ANN001, ANN201
    """Turn white noise into AR(1) noise of the same variance, in place.

    Parameters
    ----------
    noise : ndarray, shape (n_replicates, n_rows)
    unit_starts : ndarray of int, shape (n_units + 1,)
    gaps : ndarray, shape (n_rows,)
    phi : float
    """
    for i in range(len(unit_starts) - 1):
        for row in range(unit_starts[i] + 1, unit_starts[i + 1]):
            rho, _ = _power(phi, gaps[row])
            scale = np.sqrt(1.0 - rho * rho)
            for replicate in range(len(noise)):
                noise[replicate, row] = rho * noise[replicate, row - 1] + scale * noise[replicate, row]


@_kernel
def feed_back(base, coefficient, lagged, linked):  # noqa: ANN001, ANN201
    """Simulate outcomes that depend on the unit's previous outcome.

    Parameters
    ----------
    base : ndarray, shape (n_rows,)
        Everything but the previous outcome's share; becomes the outcome, in place.
    coefficient : ndarray, shape (n_rows,)
        Of the previous outcome.
    lagged : ndarray, shape (n_rows,)
        The previous outcome as observed; replaced, in place, where it is simulated.
    linked : ndarray of bool, shape (n_rows,)
        Whether the previous row's outcome is the previous outcome.
    """
    for row in range(len(base)):
        if linked[row]:
            lagged[row] = base[row - 1]
        base[row] += coefficient[row] * lagged[row]
