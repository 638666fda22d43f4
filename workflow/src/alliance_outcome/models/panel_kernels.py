"""Compiled loops of the Gaussian likelihood of panels in which values are missing.

The likelihood of what was observed of a client needs the inverse of that part of the covariance matrix Σ. It follows
from the part of the precision matrix Λ = Σ⁻¹ that belongs to what is missing, which is usually the smaller one:

    E[d_m | d_o] = −Λ_mm⁻¹ Λ_mo d_o,    var(d_m | d_o) = Λ_mm⁻¹,    log|Σ_oo| = log|Σ| + log|Λ_mm|

and d_o'Σ_oo⁻¹d_o is d'Λd with missing values at their expectation. So a pattern costs O(m³ + mk) for m missing and k
observed values, and all that is left is matrix products: by Fisher's identity the derivatives of the likelihood are
those of complete data at expected sums of squares (Dempster, Laird & Rubin 1977,
10.1111/j.2517-6161.1977.tb01600.x).

Everything here releases the interpreter's lock and is cached on disk. It stands in one module, without compiled code
from elsewhere, because a cache notices an edit of the module of the function that is called, not of those that it
calls.
"""

from __future__ import annotations

import numba
import numpy as np

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(nogil=True, error_model="numpy")

LOG_TWO_PI = np.log(2.0 * np.pi)


@_inlined
def _factorise(matrix, size):  # noqa: ANN001, ANN202
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
def _solve(factor, size, values):  # noqa: ANN001, ANN202
    """Solve LL'x = values in place."""
    for a in range(size):
        value = values[a]
        for c in range(a):
            value -= factor[a, c] * values[c]
        values[a] = value / factor[a, a]
    for a in range(size - 1, -1, -1):
        value = values[a]
        for c in range(a + 1, size):
            value -= factor[c, a] * values[c]
        values[a] = value / factor[a, a]


@_inlined
def _invert(factor, size, inverse):  # noqa: ANN001, ANN202
    """Write (LL')⁻¹, both triangles."""
    column = np.empty(size)
    for a in range(size):
        column[:] = 0.0
        column[a] = 1.0
        _solve(factor, size, column)
        for b in range(size):
            inverse[b, a] = column[b]


@_inlined
def _gather(precision, places, size, block):  # noqa: ANN001, ANN202
    """Copy the part of a matrix that belongs to some variables."""
    for a in range(size):
        for b in range(size):
            block[a, b] = precision[places[a], places[b]]


@_inlined
def _complete_rows(precision, inverse, places, rows, first, last):  # noqa: ANN001, ANN202
    """Put the missing values of the rows of a pattern at their expectation."""
    size, p = len(places), precision.shape[0]
    expected = np.empty(size)
    for row in range(first, last):
        # Missing entries are 0, so that whole rows of Λ may be taken.
        for a in range(size):
            value = 0.0
            for c in range(p):
                value -= precision[places[a], c] * rows[row, c]
            expected[a] = value
        for a in range(size):
            value = 0.0
            for b in range(size):
                value += inverse[a, b] * expected[b]
            rows[row, places[a]] = value


@_inlined
def _deviations(means, rows, shifts, groups, row_starts, missing, missing_starts):  # noqa: ANN001, ANN202
    """Subtract expected values from what was observed."""
    found = rows.copy()
    p = rows.shape[1]
    for pattern in range(len(row_starts) - 1):
        for row in range(row_starts[pattern], row_starts[pattern + 1]):
            if shifts[row] != 0.0:
                for c in range(p):
                    found[row, c] -= shifts[row] * means[groups[row], c]
            for at in range(missing_starts[pattern], missing_starts[pattern + 1]):
                found[row, missing[at]] = 0.0
    return found


@_inlined
def _n_values(p, missing_starts, counts):  # noqa: ANN001, ANN202
    """Count what was observed."""
    found = 0.0
    for pattern in range(len(counts)):
        found += counts[pattern] * (p - missing_starts[pattern + 1] + missing_starts[pattern])
    return found


@_kernel
def complete(precision, rows, row_starts, missing, missing_starts, counts):  # noqa: ANN001, ANN201
    """Put missing values at their expectation, and sum what is uncertain about them.

    Parameters
    ----------
    precision : ndarray, shape (p, p)
        Λ.
    rows : ndarray, shape (n_rows, p)
        Deviations from expected values, of one pattern after the other; missing ones are 0, and are filled in.
    row_starts : ndarray of int, shape (n_patterns + 1,)
        First row of each pattern, and the number of rows.
    missing : ndarray of int, shape (n_missing,)
        Variables that are missing in a pattern, of one pattern after the other.
    missing_starts : ndarray of int, shape (n_patterns + 1,)
        Where the variables of each pattern begin, and their number.
    counts : ndarray, shape (n_patterns,)
        Clients of each pattern.

    Returns
    -------
    log_determinant : float
        Sum of log|Λ_mm| over clients; NaN if a block is not positive definite.
    covariance : ndarray, shape (p, p)
        Sum of var(d_m | d_o) over clients.
    """
    p = precision.shape[0]
    total = np.zeros((p, p))
    block, inverse = np.empty((p, p)), np.empty((p, p))
    log_determinant = 0.0
    for pattern in range(len(counts)):
        places = missing[missing_starts[pattern] : missing_starts[pattern + 1]]
        size = len(places)
        if size == 0:
            continue
        _gather(precision, places, size, block)
        own = _factorise(block, size)
        if np.isnan(own):
            return np.nan, total
        log_determinant += counts[pattern] * own
        _invert(block, size, inverse)
        for a in range(size):
            for b in range(size):
                total[places[a], places[b]] += counts[pattern] * inverse[a, b]
        _complete_rows(precision, inverse, places, rows, row_starts[pattern], row_starts[pattern + 1])
    return log_determinant, total


@_kernel
def evaluate_panel(  # noqa: ANN201
    means,  # noqa: ANN001
    covariance,  # noqa: ANN001
    rows,  # noqa: ANN001
    shifts,  # noqa: ANN001
    groups,  # noqa: ANN001
    row_starts,  # noqa: ANN001
    missing,  # noqa: ANN001
    missing_starts,  # noqa: ANN001
    counts,  # noqa: ANN001
):
    """Evaluate the log-likelihood and its derivatives.

    Parameters
    ----------
    means : ndarray, shape (n_groups, p)
        Expected values of each group of clients.
    covariance : ndarray, shape (p, p)
        Σ.
    rows, shifts, groups, row_starts, missing, missing_starts, counts
        See :class:`~alliance_outcome.models.panel_data.PanelData`.

    Returns
    -------
    value : float
        Log-likelihood; NaN, and nothing else of use, if Σ is not positive definite.
    by_mean : ndarray, shape (n_groups, p)
    by_covariance : ndarray, shape (p, p)
        By entries that are free of each other; symmetric.
    precision : ndarray, shape (p, p)
    completed : ndarray, shape (n_rows, p)
        Deviations from expected values, missing ones at their expectation.
    scatter : ndarray, shape (p, p)
        Expected sum of squares and products of deviations.
    """
    p, n = covariance.shape[0], counts.sum()
    precision = np.zeros((p, p))
    sums = np.zeros(means.shape)
    completed = _deviations(means, rows, shifts, groups, row_starts, missing, missing_starts)
    factor = covariance.copy()
    log_determinant = _factorise(factor, p)
    if np.isnan(log_determinant):
        return np.nan, sums, precision, precision, completed, precision
    _invert(factor, p, precision)
    taken, uncertain = complete(precision, completed, row_starts, missing, missing_starts, counts)
    squares = np.dot(completed.T, completed)
    scatter = squares + uncertain
    n_values = _n_values(p, missing_starts, counts)
    value = -0.5 * (n_values * LOG_TWO_PI + n * log_determinant + taken + (precision * squares).sum())
    for row in range(len(shifts)):
        if shifts[row] != 0.0:
            for c in range(p):
                sums[groups[row], c] += shifts[row] * completed[row, c]
    by_covariance = 0.5 * (np.dot(np.dot(precision, scatter), precision) - n * precision)
    return value, np.dot(sums, precision), by_covariance, precision, completed, scatter


@_kernel
def observed_precisions(precision, missing, missing_starts, first, last, found):  # noqa: ANN001, ANN201
    """Write the inverse of the observed part of Σ, padded by zeros, for some patterns.

    Parameters
    ----------
    precision, missing, missing_starts
        See :func:`complete`.
    first, last : int
        The patterns.
    found : ndarray, shape (last - first, p (p + 1) / 2)
        Receives the lower triangles, row by row.

    Returns
    -------
    bool
        Whether all of them could be had.
    """
    p = precision.shape[0]
    block, inverse, taken = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    is_missing = np.empty(p, dtype=np.bool_)
    for pattern in range(first, last):
        places = missing[missing_starts[pattern] : missing_starts[pattern + 1]]
        size = len(places)
        _gather(precision, places, size, block)
        if np.isnan(_factorise(block, size)):
            return False
        _invert(block, size, inverse)
        is_missing[:] = False
        is_missing[places] = True
        for a in range(size):
            for c in range(p):
                value = 0.0
                for b in range(size):
                    value += inverse[a, b] * precision[places[b], c]
                taken[a, c] = value
        at = 0
        for a in range(p):
            for b in range(a + 1):
                value = 0.0
                if not (is_missing[a] or is_missing[b]):
                    value = precision[a, b]
                    for c in range(size):
                        value -= precision[a, places[c]] * taken[c, b]
                found[pattern - first, at] = value
                at += 1
    return True


@_inlined
def _stacked(rows, row_starts, reach, missing, missing_starts):  # noqa: ANN001, ANN202
    """Put what a cluster's deviations reach of a pattern below the pattern's rows; 0 where values are missing."""
    p, v = reach.shape
    n_patterns = len(row_starts) - 1
    found = np.empty((len(rows) + v * n_patterns, p))
    starts = np.empty(n_patterns + 1, dtype=np.int64)
    starts[0] = 0
    for pattern in range(n_patterns):
        first, last = row_starts[pattern], row_starts[pattern + 1]
        own = starts[pattern] + last - first
        found[starts[pattern] : own] = rows[first:last]
        starts[pattern + 1] = own + v
        for a in range(v):
            for c in range(p):
                found[own + a, c] = reach[c, a]
            for at in range(missing_starts[pattern], missing_starts[pattern + 1]):
                found[own + a, missing[at]] = 0.0
    return found, starts


@_inlined
def _product(first, second):  # noqa: ANN001, ANN202
    """Multiply two short vectors, for which calling a library would take longer than the product."""
    found = 0.0
    for c in range(len(first)):
        found += first[c] * second[c]
    return found


@_inlined
def _cluster_information(stacked, weighted, starts, shifts, groups, information, score):  # noqa: ANN001, ANN202
    """Sum over clusters what the likelihood says about their deviations, H = ΣC'PC and b = ΣC'Pd; return Σd'Pd."""
    v, row, quadratic = score.shape[1], 0, 0.0
    own = np.empty((v, v))
    for pattern in range(len(starts) - 1):
        last = starts[pattern + 1] - v
        for a in range(v):
            for b in range(a + 1):
                own[a, b] = own[b, a] = _product(weighted[last + a], stacked[last + b])
        for at in range(starts[pattern], last):
            quadratic += _product(weighted[at], stacked[at])
            if shifts[row] != 0.0:
                for a in range(v):
                    score[groups[row], a] += shifts[row] * _product(weighted[last + a], stacked[at])
                    for b in range(v):
                        information[groups[row], a, b] += shifts[row] ** 2 * own[a, b]
            row += 1
    return quadratic


@_inlined
def _cluster_moments(factor, information, score, centres, spreads, by_cluster):  # noqa: ANN001, ANN202
    """Write mean and covariance matrix of each cluster's deviations given the data, and derivatives by their Σ.

    Everything is made of A = I + L'HL, so that L may be singular. Returns Σ b'm − log|A| over clusters.
    """
    n_clusters, v = score.shape
    total = 0.0
    for g in range(n_clusters):
        precision = np.eye(v) + np.dot(factor.T, np.dot(information[g], factor))
        log_determinant = _factorise(precision, v)
        inverse = np.empty((v, v))
        _invert(precision, v, inverse)
        spreads[g] = np.dot(factor, np.dot(inverse, factor.T))
        centres[g] = np.dot(spreads[g], score[g])
        total += np.dot(score[g], centres[g]) - log_determinant
        left = score[g] - np.dot(information[g], centres[g])
        explained = np.dot(information[g], np.dot(spreads[g], information[g]))
        for a in range(v):
            for b in range(v):
                by_cluster[a, b] += 0.5 * (left[a] * left[b] - information[g, a, b] + explained[a, b])
    return total


@_inlined
def _less_cluster(row, reached, shift, centre):  # noqa: ANN001, ANN202
    """Subtract a cluster's expected deviations from a row, so many times as it counts."""
    for a in range(len(centre)):
        for c in range(len(row)):
            row[c] -= shift * centre[a] * reached[a, c]


@_inlined
def _less_clusters(stacked, starts, shifts, groups, centres, spreads, scaled):  # noqa: ANN001, ANN202
    """Subtract clusters' expected deviations from rows, and write what their uncertainty adds to sums of squares.

    Returns the sum of completed rows, so many times as they count.
    """
    v, row = centres.shape[1], 0
    total, spread = np.zeros(stacked.shape[1]), np.empty((v, v))
    scaled[:] = stacked
    for pattern in range(len(starts) - 1):
        last = starts[pattern + 1] - v
        reached = stacked[last : last + v]
        spread[:] = 0.0
        for at in range(starts[pattern], last):
            if shifts[row] != 0.0:
                _less_cluster(stacked[at], reached, shifts[row], centres[groups[row]])
                spread += shifts[row] ** 2 * spreads[groups[row]]
                total += shifts[row] * stacked[at]
                scaled[at] = stacked[at]
            row += 1
        scaled[last : last + v] = 0.0
        for a in range(v):
            # Subtracting so many times minus a row adds it.
            _less_cluster(scaled[last + a], reached, -1.0, spread[a])
    return total


@_kernel
def evaluate_clustered_panel(  # noqa: ANN201
    mean,  # noqa: ANN001
    covariance,  # noqa: ANN001
    factor,  # noqa: ANN001
    reach,  # noqa: ANN001
    n_clusters,  # noqa: ANN001
    rows,  # noqa: ANN001
    shifts,  # noqa: ANN001
    groups,  # noqa: ANN001
    row_starts,  # noqa: ANN001
    missing,  # noqa: ANN001
    missing_starts,  # noqa: ANN001
    counts,  # noqa: ANN001
):
    """Evaluate the log-likelihood of clients whose clusters deviate from the expected values.

    Clients of cluster j have expected values μ + C u_j, u_j ~ N(0, LL'), and deviations u_j are integrated out. Given
    the data, u_j is Gaussian with mean m_j and covariance matrix V_j, and by Fisher's identity derivatives are those at
    known u_j, expected over it.

    Parameters
    ----------
    mean : ndarray, shape (p,)
        μ.
    covariance : ndarray, shape (p, p)
        Σ of clients within a cluster.
    factor : ndarray, shape (v, v)
        L, which may be singular.
    reach : ndarray, shape (p, v)
        C.
    n_clusters : int
    rows, shifts, groups, row_starts, missing, missing_starts, counts
        See :class:`~alliance_outcome.models.panel_data.PanelData`, the groups being clusters.

    Returns
    -------
    value : float
        Log-likelihood; NaN, and nothing else of use, if Σ is not positive definite.
    by_mean : ndarray, shape (p,)
    by_covariance : ndarray, shape (p, p)
        By entries that are free of each other; symmetric.
    by_cluster : ndarray, shape (v, v)
        The same by entries of LL'.
    centres : ndarray, shape (n_clusters, v)
        m_j.
    spreads : ndarray, shape (n_clusters, v, v)
        V_j.
    """
    p, v, n = reach.shape[0], reach.shape[1], counts.sum()
    precision, by_cluster = np.zeros((p, p)), np.zeros((v, v))
    centres, spreads = np.zeros((n_clusters, v)), np.zeros((n_clusters, v, v))
    triangle = covariance.copy()
    log_determinant = _factorise(triangle, p)
    if np.isnan(log_determinant):
        return np.nan, mean, precision, by_cluster, centres, spreads
    _invert(triangle, p, precision)
    means, nowhere = mean.copy().reshape((1, p)), np.zeros_like(groups)
    deviations = _deviations(means, rows, shifts, nowhere, row_starts, missing, missing_starts)
    stacked, starts = _stacked(deviations, row_starts, reach, missing, missing_starts)
    taken, uncertain = complete(precision, stacked, starts, missing, missing_starts, counts)
    weighted = np.dot(stacked, precision)
    information, score = np.zeros((n_clusters, v, v)), np.zeros((n_clusters, v))
    quadratic = _cluster_information(stacked, weighted, starts, shifts, groups, information, score)
    quadratic -= _cluster_moments(factor, information, score, centres, spreads, by_cluster)
    scaled = np.empty_like(stacked)
    total = _less_clusters(stacked, starts, shifts, groups, centres, spreads, scaled)
    scatter = np.dot(stacked.T, scaled) + uncertain
    n_values = _n_values(p, missing_starts, counts)
    value = -0.5 * (n_values * LOG_TWO_PI + n * log_determinant + taken + quadratic)
    by_covariance = 0.5 * (np.dot(np.dot(precision, scatter), precision) - n * precision)
    return value, np.dot(precision, total), by_covariance, by_cluster, centres, spreads
