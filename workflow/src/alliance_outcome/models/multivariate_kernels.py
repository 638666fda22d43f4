"""Compiled loops of the nested Gaussian model of several variables at once, some of them missing in some rows.

    z_t = C'x_t + T_cluster + B_unit + W_t,   W ~ N(0, Σ_W),   B ~ N(0, Σ_B),   T ~ N(0, Σ_T)

A row t has d variables z and p predictors x, the first of them 1. Rows of a unit in which the same variables are
observed make a cell. All that the likelihood needs of a cell is the sum of its rows [x z], missing values counted as
zero; sums of cross-products are needed over all rows of a pattern together, not by cell, because B and T shift all rows
of a unit alike. So an evaluation costs O(cells), whatever the number of rows.

With P_o the inverse of Σ_W's observed block, padded by zeros, and s_c the residual sum of a cell, a unit tells of the
shift μ = B + T of its rows the precision A = Σ n_c P_o and the information h = Σ P_o s_c. B is eliminated through the
Cholesky factor of I + F'AF, Σ_B = FF', then T likewise; neither Σ_B nor Σ_T is inverted, so that they may be singular
or zero. Derivatives are posterior expectations of the complete-data score (Fisher's identity; Louis 1982,
10.1111/j.2517-6161.1982.tb01203.x), in the form that has no inverse of Σ_B and Σ_T: with q = Z'V⁻¹r and Q = Z'V⁻¹Z of a
unit, ½ Σ (qq' − Q).

Everything here releases the interpreter's lock and is cached on disk. It stands in one module, without compiled code
from elsewhere, because a cache notices an edit of the module of the function that is called, not of those that it
calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(nogil=True, error_model="numpy")

#: A pivot of a semidefinite matrix is zero if it is below this fraction of its diagonal entry; one that is further
#: below zero than that makes the matrix indefinite.
_ZERO_PIVOT = 1e-14

#: Sizes that a vector of packed integers begins with.
_N_SIZES = 6

_LOG_TWO_PI = np.log(2.0 * np.pi)


class Cells(NamedTuple):
    """What the likelihood needs of the data, in a form that compiled code takes.

    Attributes
    ----------
    observed : ndarray of int, shape (n_patterns, d)
        1 where a variable is observed in the pattern, 0 where it is missing.
    grams : ndarray, shape (n_patterns, p + d, p + d)
        Cross-products of the rows [x z] of each pattern; missing values are zero.
    sums : ndarray, shape (n_cells, p + d)
        Sums of the rows [x z] of each cell; the first entry is its number of rows, x starting with 1.
    patterns : ndarray of int, shape (n_cells,)
        Pattern of each cell.
    unit_starts : ndarray of int, shape (n_units + 1,)
        First cell of each unit, and the number of cells.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units.
    """

    observed: np.ndarray
    grams: np.ndarray
    sums: np.ndarray
    patterns: np.ndarray
    unit_starts: np.ndarray
    cluster_starts: np.ndarray


@_kernel
def cross_products(joint, starts):  # noqa: ANN001, ANN201 - compiled for arrays of floats and integers
    """Sum the cross-products of consecutive rows.

    Parameters
    ----------
    joint : ndarray, shape (n_rows, m)
        Rows, those of a sum next to each other.
    starts : ndarray of int, shape (n_sums + 1,)
        First row of each sum, and the number of rows.

    Returns
    -------
    ndarray, shape (n_sums, m, m)
    """
    m = joint.shape[1]
    gram = np.zeros((len(starts) - 1, m, m))
    for i in range(len(starts) - 1):
        own = gram[i]
        for row in range(starts[i], starts[i + 1]):
            for a in range(m):
                value = joint[row, a]
                for b in range(a + 1):
                    own[a, b] += value * joint[row, b]
        for a in range(m):
            for b in range(a):
                own[b, a] = own[a, b]
    return gram


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
def _semidefinite_factor(covariance, factor):  # noqa: ANN001, ANN202
    """Fill `factor` with lower triangular F, FF' the matrix, which may be singular; return whether there is one."""
    size = len(covariance)
    factor[:] = 0.0
    for a in range(size):
        pivot = covariance[a, a]
        limit = _ZERO_PIVOT * abs(pivot)
        for c in range(a):
            pivot -= factor[a, c] * factor[a, c]
        if not pivot >= -limit:
            return False
        for b in range(a + 1, size):
            value = covariance[b, a]
            for c in range(a):
                value -= factor[b, c] * factor[a, c]
            if pivot > limit:
                factor[b, a] = value / np.sqrt(pivot)
            elif abs(value) > np.sqrt(_ZERO_PIVOT * abs(covariance[a, a] * covariance[b, b])):
                return False
        factor[a, a] = np.sqrt(pivot) if pivot > limit else 0.0
    return True


@_inlined
def _pattern_precisions(within, observed, precision):  # noqa: ANN001, ANN202
    """Fill `precision`, shape (n_patterns, d, d), with inverses of observed blocks padded by zeros.

    Returns |o| log 2π + log|Σ_W[o, o]| of each pattern o; NaN where a block is not positive definite.
    """
    n_patterns, d = observed.shape
    constants = np.empty(n_patterns)
    block, inverse = np.empty((d, d)), np.empty((d, d))
    where = np.empty(d, dtype=np.int64)
    for o in range(n_patterns):
        size = 0
        for a in range(d):
            if observed[o, a]:
                where[size] = a
                size += 1
        for a in range(size):
            for b in range(size):
                block[a, b] = within[where[a], where[b]]
                inverse[a, b] = 1.0 if a == b else 0.0
        constants[o] = size * _LOG_TWO_PI + _cholesky(block, size)
        _solve_lower(block, size, inverse)
        precision[o] = 0.0
        for a in range(size):
            for b in range(size):
                value = 0.0
                for c in range(max(a, b), size):
                    value += inverse[c, a] * inverse[c, b]
                precision[o, where[a], where[b]] = value
    return constants


@_inlined
def _decompose(within, unit, cluster, observed):  # noqa: ANN001, ANN202
    """Return pattern precisions, their log-constants, factors of Σ_B and Σ_T, and whether all are covariances."""
    n_patterns, d = observed.shape
    precision = np.empty((n_patterns, d, d))
    constants = _pattern_precisions(within, observed, precision)
    factor_unit, factor_cluster = np.empty((d, d)), np.empty((d, d))
    possible = _semidefinite_factor(unit, factor_unit) and _semidefinite_factor(cluster, factor_cluster)
    return precision, constants, factor_unit, factor_cluster, possible and np.isfinite(np.sum(constants))


@_inlined
def _residual_products(gram, coefficients, observed, cross, scatter):  # noqa: ANN001, ANN202
    """Fill X'R, shape (p, d), and R'R, shape (d, d), of the residuals R = Z − XC of a pattern's observed variables."""
    p, d = coefficients.shape
    for a in range(d):
        for j in range(p):
            value = 0.0
            if observed[a]:
                value = gram[j, p + a]
                for k in range(p):
                    value -= gram[j, k] * coefficients[k, a]
            cross[j, a] = value
    for a in range(d):
        for b in range(d):
            value = 0.0
            if observed[a] and observed[b]:
                value = gram[p + a, p + b]
                for j in range(p):
                    value -= gram[p + a, j] * coefficients[j, b] + coefficients[j, a] * cross[j, b]
            scatter[a, b] = value


@_inlined
def _trace_of_product(left, right):  # noqa: ANN001, ANN202
    """Return the trace of the product of two symmetric matrices."""
    value = 0.0
    for a in range(len(left)):
        for b in range(len(left)):
            value += left[a, b] * right[a, b]
    return value


@_inlined
def _residual_sums(cells, coefficients):  # noqa: ANN001, ANN202
    """Sum the residuals of each cell, shape (n_cells, d); zero where a variable is missing."""
    p, d = coefficients.shape
    residual_sums = np.zeros((len(cells.sums), d))
    for c in range(len(cells.sums)):
        for a in range(d):
            if cells.observed[cells.patterns[c], a]:
                value = cells.sums[c, p + a]
                for j in range(p):
                    value -= cells.sums[c, j] * coefficients[j, a]
                residual_sums[c, a] = value
    return residual_sums


@_inlined
def _unit_message(cells, i, precision, residual_sums, own_precision, own_information):  # noqa: ANN001, ANN202
    """Fill A and h: what the rows of unit i tell of the shift that they share."""
    d = precision.shape[1]
    own_precision[:] = 0.0
    own_information[:] = 0.0
    for c in range(cells.unit_starts[i], cells.unit_starts[i + 1]):
        inverse, count = precision[cells.patterns[c]], cells.sums[c, 0]
        for a in range(d):
            for b in range(d):
                own_precision[a, b] += count * inverse[a, b]
                own_information[a] += inverse[a, b] * residual_sums[c, b]


@_inlined
def _eliminate(factor, precision, information, small, whitened):  # noqa: ANN001, ANN202
    """Integrate over effects with covariance FF' of which the data tell `precision` and `information`.

    Fills `whitened`, shape (d, 2 d + 1), with L⁻¹F'[A h I], LL' = I + F'AF. Returns the log of the integral.
    """
    d = len(factor)
    for a in range(d):
        for b in range(d):
            value = 0.0
            for c in range(a, d):
                value += factor[c, a] * precision[c, b]
            whitened[a, b] = value
            whitened[a, d + 1 + b] = factor[b, a]
        value = 0.0
        for c in range(a, d):
            value += factor[c, a] * information[c]
        whitened[a, d] = value
    for a in range(d):
        for b in range(a + 1):
            value = 1.0 if a == b else 0.0
            for c in range(b, d):
                value += whitened[a, c] * factor[c, b]
            small[a, b] = value
    log_integral = -0.5 * _cholesky(small, d)
    _solve_lower(small, d, whitened)
    for a in range(d):
        log_integral += 0.5 * whitened[a, d] * whitened[a, d]
    return log_integral


@_inlined
def _pass_on(precision, information, whitened, left_precision, left_information):  # noqa: ANN001, ANN202
    """Fill what is left to tell of effects further out: A − AVA and h − AVh, V the conditional covariance."""
    d = len(information)
    for a in range(d):
        value = information[a]
        for c in range(d):
            value -= whitened[c, a] * whitened[c, d]
        left_information[a] = value
        for b in range(a + 1):
            value = precision[a, b]
            for c in range(d):
                value -= whitened[c, a] * whitened[c, b]
            left_precision[a, b] = value
            left_precision[b, a] = value


@_inlined
def _conditional_moments(whitened, mean, covariance):  # noqa: ANN001, ANN202
    """Fill mean Vh and covariance V of effects given the data and all effects further out."""
    d = len(mean)
    for a in range(d):
        value = 0.0
        for c in range(d):
            value += whitened[c, d + 1 + a] * whitened[c, d]
        mean[a] = value
        for b in range(d):
            value = 0.0
            for c in range(d):
                value += whitened[c, d + 1 + a] * whitened[c, d + 1 + b]
            covariance[a, b] = value


class Messages(NamedTuple):
    """What the units of one cluster tell, kept for the way back from the cluster to its units.

    Attributes
    ----------
    precision : ndarray, shape (n, d, d)
        A of each unit, n the size of the largest cluster.
    information : ndarray, shape (n, d)
        h of each unit.
    whitened : ndarray, shape (n, d, 2 d + 1)
        L⁻¹F'[A h I] of each unit.
    left_precision : ndarray, shape (n, d, d)
        What a unit tells of the cluster's effects.
    left_information : ndarray, shape (n, d)
    log_integral : ndarray, shape (n,)
        Of each unit's effects.
    """

    precision: np.ndarray
    information: np.ndarray
    whitened: np.ndarray
    left_precision: np.ndarray
    left_information: np.ndarray
    log_integral: np.ndarray


@_inlined
def _message_space(cells, d):  # noqa: ANN001, ANN202
    largest = 0
    for j in range(len(cells.cluster_starts) - 1):
        largest = max(largest, cells.cluster_starts[j + 1] - cells.cluster_starts[j])
    return Messages(
        np.empty((largest, d, d)),
        np.empty((largest, d)),
        np.empty((largest, d, 2 * d + 1)),
        np.empty((largest, d, d)),
        np.empty((largest, d)),
        np.empty(largest),
    )


@_inlined
def _collect(cells, j, precision, residual_sums, factor, messages, small, total, summed):  # noqa: ANN001, ANN202
    """Integrate over the effects of cluster j's units; fill precision and information of the cluster's own effects."""
    total[:] = 0.0
    summed[:] = 0.0
    first = cells.cluster_starts[j]
    for i in range(first, cells.cluster_starts[j + 1]):
        k = i - first
        own_precision, own_information = messages.precision[k], messages.information[k]
        _unit_message(cells, i, precision, residual_sums, own_precision, own_information)
        messages.log_integral[k] = _eliminate(
            factor, own_precision, own_information, small, messages.whitened[k]
        )
        _pass_on(
            own_precision,
            own_information,
            messages.whitened[k],
            messages.left_precision[k],
            messages.left_information[k],
        )
        total += messages.left_precision[k]
        summed += messages.left_information[k]


@_inlined
def _add_score(information, precision, score):  # noqa: ANN001, ANN202
    """Add ½ (qq' − Q), the derivative of the log-likelihood by the covariance of effects."""
    for a in range(len(information)):
        for b in range(len(information)):
            score[a, b] += 0.5 * (information[a] * information[b] - precision[a, b])


@_inlined
def _unit_score(left_precision, left_information, mean, covariance, marginal, product, score):  # noqa: ANN001, ANN202
    """Add a unit's share of the derivative by Σ_B, given mean and covariance of its cluster's effects."""
    d = len(mean)
    for a in range(d):
        value = left_information[a]
        for b in range(d):
            value -= left_precision[a, b] * mean[b]
            inner = 0.0
            for c in range(d):
                inner += left_precision[a, c] * covariance[c, b]
            product[a, b] = inner
        marginal[a] = value
    for a in range(d):
        for b in range(d):
            value = left_precision[a, b]
            for c in range(d):
                value -= product[a, c] * left_precision[c, b]
            score[a, b] += 0.5 * (marginal[a] * marginal[b] - value)


@_inlined
def _shift_moments(precision, whitened, own_mean, own_covariance, mean, covariance, keep, shift, spread):  # noqa: ANN001, ANN202
    """Fill mean and covariance of a unit's shift B + T, given those of its cluster's effects T.

    `own_mean` and `own_covariance` are of B given T = 0; B given T has mean V(h − AT).
    """
    d = len(mean)
    _conditional_moments(whitened, own_mean, own_covariance)
    for a in range(d):
        for b in range(d):
            value = 1.0 if a == b else 0.0
            for c in range(d):
                value -= own_covariance[a, c] * precision[c, b]
            keep[a, b] = value
    for a in range(d):
        value = own_mean[a]
        for b in range(d):
            value += keep[a, b] * mean[b]
        shift[a] = value
    for a in range(d):
        for b in range(d):
            value = own_covariance[a, b]
            for c in range(d):
                inner = 0.0
                for e in range(d):
                    inner += covariance[c, e] * keep[b, e]
                value += keep[a, c] * inner
            spread[a, b] = value


@_inlined
def _remove_shift(cells, i, residual_sums, shift, spread, cross, scatter):  # noqa: ANN001, ANN202
    """Turn sums of residuals' products into expected ones of W, as far as they are unit i's."""
    d = len(shift)
    p = cross.shape[1]
    for c in range(cells.unit_starts[i], cells.unit_starts[i + 1]):
        o, count = cells.patterns[c], cells.sums[c, 0]
        for a in range(d):
            for j in range(p):
                cross[o, j, a] -= cells.sums[c, j] * shift[a]
            for b in range(d):
                scatter[o, a, b] += (
                    count * (shift[a] * shift[b] + spread[a, b])
                    - residual_sums[c, a] * shift[b]
                    - shift[a] * residual_sums[c, b]
                )


@_inlined
def _go_back(cells, j, residual_sums, messages, mean, covariance, by_unit, cross, scatter):  # noqa: ANN001, ANN202
    """Take mean and covariance of cluster j's effects back to its units: add to scores and expected products."""
    d = len(mean)
    keep, product, spread, own_covariance = (
        np.empty((d, d)),
        np.empty((d, d)),
        np.empty((d, d)),
        np.empty((d, d)),
    )
    marginal, own_mean, shift = np.empty(d), np.empty(d), np.empty(d)
    first = cells.cluster_starts[j]
    for i in range(first, cells.cluster_starts[j + 1]):
        k = i - first
        left_precision, left_information = messages.left_precision[k], messages.left_information[k]
        _unit_score(left_precision, left_information, mean, covariance, marginal, product, by_unit)
        own_precision, whitened = messages.precision[k], messages.whitened[k]
        _shift_moments(
            own_precision, whitened, own_mean, own_covariance, mean, covariance, keep, shift, spread
        )
        _remove_shift(cells, i, residual_sums, shift, spread, cross, scatter)


@_inlined
def _row_scores(cells, precision, cross, scatter, by_coefficients, by_within):  # noqa: ANN001, ANN202
    """Fill the derivatives by C and Σ_W from expected products of W with predictors and with itself."""
    n_patterns, d = cells.observed.shape
    p = cross.shape[1]
    half = np.empty((d, d))
    by_coefficients[:] = 0.0
    by_within[:] = 0.0
    for o in range(n_patterns):
        inverse, count = precision[o], cells.grams[o, 0, 0]
        for a in range(d):
            for b in range(d):
                value = 0.0
                for c in range(d):
                    value += inverse[a, c] * scatter[o, c, b]
                half[a, b] = value
                for j in range(p):
                    by_coefficients[j, a] += cross[o, j, b] * inverse[b, a]
        for a in range(d):
            for b in range(d):
                value = -count * inverse[a, b]
                for c in range(d):
                    value += half[a, c] * inverse[c, b]
                by_within[a, b] += 0.5 * value


@_kernel
def evaluate(coefficients, within, unit, cluster, cells):  # noqa: ANN001, ANN201
    """Evaluate the log-likelihood and its gradient.

    Parameters
    ----------
    coefficients : ndarray, shape (p, d)
        C: fixed effects of each predictor on each variable.
    within, unit, cluster : ndarray, shape (d, d)
        Σ_W, positive definite where observed; Σ_B and Σ_T, positive semidefinite, zero for a level that is absent.
    cells : Cells
        The data.

    Returns
    -------
    log_likelihood : float
        Constants included; minus infinity where a covariance matrix is none.
    by_coefficients : ndarray, shape (p, d)
    by_within, by_unit, by_cluster : ndarray, shape (d, d)
        Symmetric; the change of the log-likelihood with a covariance matrix is the sum of the products of all entries
        with their changes. All are zero where the log-likelihood is minus infinity.
    """
    p, d = coefficients.shape
    n_patterns = len(cells.observed)
    by_coefficients = np.zeros((p, d))
    by_within, by_unit, by_cluster = np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    precision, constants, factor_unit, factor_cluster, possible = _decompose(
        within, unit, cluster, cells.observed
    )
    if not possible:
        return -np.inf, by_coefficients, by_within, by_unit, by_cluster
    cross, scatter = np.empty((n_patterns, p, d)), np.empty((n_patterns, d, d))
    log_likelihood = 0.0
    for o in range(n_patterns):
        _residual_products(cells.grams[o], coefficients, cells.observed[o], cross[o], scatter[o])
        log_likelihood -= 0.5 * cells.grams[o, 0, 0] * constants[o]
        log_likelihood -= 0.5 * _trace_of_product(precision[o], scatter[o])
    residual_sums = _residual_sums(cells, coefficients)
    messages = _message_space(cells, d)
    small, total, left, covariance = np.empty((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    summed, marginal, mean, whitened = np.empty(d), np.empty(d), np.empty(d), np.empty((d, 2 * d + 1))
    for j in range(len(cells.cluster_starts) - 1):
        _collect(cells, j, precision, residual_sums, factor_unit, messages, small, total, summed)
        n_units = cells.cluster_starts[j + 1] - cells.cluster_starts[j]
        log_likelihood += np.sum(messages.log_integral[:n_units])
        log_likelihood += _eliminate(factor_cluster, total, summed, small, whitened)
        _pass_on(total, summed, whitened, left, marginal)
        _add_score(marginal, left, by_cluster)
        _conditional_moments(whitened, mean, covariance)
        _go_back(cells, j, residual_sums, messages, mean, covariance, by_unit, cross, scatter)
    if not np.isfinite(log_likelihood):
        by_unit[:] = 0.0
        by_cluster[:] = 0.0
        return -np.inf, by_coefficients, by_within, by_unit, by_cluster
    _row_scores(cells, precision, cross, scatter, by_coefficients, by_within)
    return log_likelihood, by_coefficients, by_within, by_unit, by_cluster


@_kernel
def unpack(numbers, structure):  # noqa: ANN001, ANN201
    """Return the data that :func:`pack` made into two vectors.

    Parameters
    ----------
    numbers : ndarray
        Floating-point numbers of all fields of :class:`Cells`.
    structure : ndarray of int
        The sizes (patterns, variables, columns of [x z], cells, units, clusters), then all integers.

    Returns
    -------
    Cells
        Views of the vectors.
    """
    n_patterns, d, m = structure[0], structure[1], structure[2]
    n_cells, n_units, n_clusters = structure[3], structure[4], structure[5]
    grams = n_patterns * m * m
    observed = _N_SIZES + n_patterns * d
    patterns = observed + n_cells
    unit_starts = patterns + n_units + 1
    return Cells(
        structure[_N_SIZES:observed].reshape(n_patterns, d),
        numbers[:grams].reshape(n_patterns, m, m),
        numbers[grams:].reshape(n_cells, m),
        structure[observed:patterns],
        structure[patterns:unit_starts],
        structure[unit_starts : unit_starts + n_clusters + 1],
    )


def pack(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Make data into two vectors, of numbers and of integers: PyTensor takes long to compile many inputs.

    Parameters
    ----------
    cells : Cells

    Returns
    -------
    numbers, structure : ndarray
        As :func:`unpack` takes them.
    """
    sizes = [*cells.observed.shape, cells.sums.shape[1], len(cells.patterns)]
    sizes += [len(cells.unit_starts) - 1, len(cells.cluster_starts) - 1]
    numbers = np.concatenate([cells.grams.ravel(), cells.sums.ravel()])
    integers = [cells.observed.ravel(), cells.patterns, cells.unit_starts, cells.cluster_starts]
    return numbers, np.concatenate([sizes, *integers]).astype(np.int64)


@_kernel
def group_log_likelihoods(coefficients, within, unit, cluster, cells, cell_grams):  # noqa: ANN001, ANN201
    """Split the log-likelihood by cluster, and condition each unit on the others of its cluster.

    Parameters
    ----------
    coefficients, within, unit, cluster, cells
        As for :func:`evaluate`.
    cell_grams : ndarray, shape (n_cells, p + d, p + d)
        Cross-products of the rows [x z] of each cell.

    Returns
    -------
    by_cluster : ndarray, shape (n_clusters,)
        Log-density of each cluster's data; clusters are independent, so that these add up to the log-likelihood.
    by_unit : ndarray, shape (n_units,)
        Log-density of each unit's data given the data of the other units of its cluster.

    Notes
    -----
    Both are NaN where a covariance matrix is none. They are what leaving out a cluster or a unit takes: the posterior
    without it is the full one divided by this density.
    """
    p, d = coefficients.shape
    by_cluster = np.full(len(cells.cluster_starts) - 1, np.nan)
    by_unit = np.full(len(cells.unit_starts) - 1, np.nan)
    precision, constants, factor_unit, factor_cluster, possible = _decompose(
        within, unit, cluster, cells.observed
    )
    if not possible:
        return by_cluster, by_unit
    residual_sums = _residual_sums(cells, coefficients)
    messages = _message_space(cells, d)
    cross, scatter = np.empty((p, d)), np.empty((d, d))
    small, total, rest = np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    summed, whitened = np.empty(d), np.empty((d, 2 * d + 1))
    for j in range(len(by_cluster)):
        first, stop = cells.cluster_starts[j], cells.cluster_starts[j + 1]
        _collect(cells, j, precision, residual_sums, factor_unit, messages, small, total, summed)
        shared = _eliminate(factor_cluster, total, summed, small, whitened)
        by_cluster[j] = shared
        for i in range(first, stop):
            k = i - first
            own = messages.log_integral[k]
            for c in range(cells.unit_starts[i], cells.unit_starts[i + 1]):
                o = cells.patterns[c]
                _residual_products(cell_grams[c], coefficients, cells.observed[o], cross, scatter)
                own -= 0.5 * (cells.sums[c, 0] * constants[o] + _trace_of_product(precision[o], scatter))
            by_cluster[j] += own
            rest[:] = total - messages.left_precision[k]
            others = _eliminate(factor_cluster, rest, summed - messages.left_information[k], small, whitened)
            by_unit[i] = own + shared - others
    return by_cluster, by_unit


@_inlined
def _draw(whitened, normals, covariance, mean, drawn):  # noqa: ANN001, ANN202
    """Fill `drawn` with Vh + FL⁻ᵀ `normals`, whose covariance is V."""
    _conditional_moments(whitened, mean, covariance)
    for a in range(len(mean)):
        value = mean[a]
        for c in range(len(mean)):
            value += whitened[c, len(mean) + 1 + a] * normals[c]
        drawn[a] = value


@_kernel
def draw_effects(coefficients, within, unit, cluster, cells, unit_normals, cluster_normals):  # noqa: ANN001, ANN201
    """Draw the effects of units and clusters given data and parameters.

    Parameters
    ----------
    coefficients, within, unit, cluster, cells
        As for :func:`evaluate`.
    unit_normals : ndarray, shape (n_units, d)
        Standard normal noise; zeros give expected effects.
    cluster_normals : ndarray, shape (n_clusters, d)

    Returns
    -------
    unit_effects : ndarray, shape (n_units, d)
        B; NaN where a covariance matrix is none.
    cluster_effects : ndarray, shape (n_clusters, d)
        T.
    """
    d = coefficients.shape[1]
    unit_effects, cluster_effects = (
        np.full(unit_normals.shape, np.nan),
        np.full(cluster_normals.shape, np.nan),
    )
    precision, _, factor_unit, factor_cluster, possible = _decompose(within, unit, cluster, cells.observed)
    if not possible:
        return unit_effects, cluster_effects
    residual_sums = _residual_sums(cells, coefficients)
    messages = _message_space(cells, d)
    small, total, covariance = np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    summed, mean, information = np.empty(d), np.empty(d), np.empty(d)
    whitened = np.empty((d, 2 * d + 1))
    for j in range(len(cluster_effects)):
        first = cells.cluster_starts[j]
        _collect(cells, j, precision, residual_sums, factor_unit, messages, small, total, summed)
        _eliminate(factor_cluster, total, summed, small, whitened)
        _draw(whitened, cluster_normals[j], covariance, mean, cluster_effects[j])
        for i in range(first, cells.cluster_starts[j + 1]):
            k = i - first
            for a in range(d):
                value = messages.information[k, a]
                for b in range(d):
                    value -= messages.precision[k, a, b] * cluster_effects[j, b]
                information[a] = value
            _eliminate(factor_unit, messages.precision[k], information, small, whitened)
            _draw(whitened, unit_normals[i], covariance, mean, unit_effects[i])
    return unit_effects, cluster_effects
