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

#: Parts of a covariance structure, as entries are coded.
MEAN, PATH, COVARIANCE, ERROR = 0, 1, 2, 3


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
    n_values = n * p
    for pattern in range(len(counts)):
        n_values -= counts[pattern] * (missing_starts[pattern + 1] - missing_starts[pattern])
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


@_kernel
def evaluate_structure(  # noqa: ANN201
    parameters,  # noqa: ANN001
    deviations,  # noqa: ANN001
    loadings,  # noqa: ANN001
    fixed,  # noqa: ANN001
    entries,  # noqa: ANN001
    rows,  # noqa: ANN001
    shifts,  # noqa: ANN001
    groups,  # noqa: ANN001
    row_starts,  # noqa: ANN001
    missing,  # noqa: ANN001
    missing_starts,  # noqa: ANN001
    counts,  # noqa: ANN001
):
    """Evaluate the log-likelihood of a covariance structure and its derivatives.

    The moments are those of :mod:`alliance_outcome.models.panel_structure`, in compiled code so that a sampler that
    runs several chains in threads is not held up by the interpreter.

    Parameters
    ----------
    parameters : ndarray, shape (n_parameters,)
    deviations : ndarray, shape (n_groups, p)
        What is added to the expected values of each group of clients.
    loadings : ndarray, shape (p, q)
    fixed : ndarray, shape (4, q, q)
        ν, A, Ψ and Θ where they are fixed, vectors on the diagonal.
    entries : ndarray of int, shape (n_entries, 4)
        Part, row, column and parameter of what is not.
    rows, shifts, groups, row_starts, missing, missing_starts, counts
        See :class:`~alliance_outcome.models.panel_data.PanelData`.

    Returns
    -------
    value : float
        Minus infinity where the covariance matrix is not positive definite.
    by_parameters : ndarray, shape (n_parameters,)
    by_deviations : ndarray, shape (n_groups, p)
    """
    p, q = loadings.shape
    parts = fixed.copy()
    for k in range(len(entries)):
        part, row, column, number = entries[k]
        parts[part, row, column] = parameters[number]
        if part == COVARIANCE:
            parts[part, column, row] = parameters[number]
    total_effects = np.linalg.inv(np.eye(q) - parts[PATH])
    reach = np.dot(loadings, total_effects)
    carried = np.dot(np.dot(reach, parts[COVARIANCE]), total_effects.T)
    covariance = np.dot(carried, loadings.T)
    covariance = 0.5 * (covariance + covariance.T)
    means = deviations.copy()
    for a in range(p):
        covariance[a, a] += parts[ERROR, a, a]
        for group in range(len(means)):
            means[group, a] += parts[MEAN, a, a]
    value, by_means, by_covariance, _, _, _ = evaluate_panel(
        means, covariance, rows, shifts, groups, row_starts, missing, missing_starts, counts
    )
    found = np.zeros(len(parameters))
    if np.isnan(value):
        return -np.inf, found, np.zeros(deviations.shape)
    pulled = np.dot(by_covariance, reach)
    by_path = 2.0 * np.dot(pulled.T, carried)
    by_latent = np.dot(reach.T, pulled)
    by_mean = by_means.sum(axis=0)
    for k in range(len(entries)):
        part, row, column, number = entries[k]
        if part == MEAN:
            found[number] += by_mean[row]
        elif part == PATH:
            found[number] += by_path[row, column]
        elif part == COVARIANCE:
            found[number] += by_latent[row, column] * (1.0 if row == column else 2.0)
        else:
            found[number] += by_covariance[row, row]
    return value, found, by_means
