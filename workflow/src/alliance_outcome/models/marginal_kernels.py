"""Compiled loops over units and clusters for the marginal likelihood at given fixed effects, and what follows from it.

The model is that of :mod:`alliance_outcome.models.fitted_state`, in terms of standard normal effects b and c: u = Λ_u b
per unit and v = Λ_v c per cluster, in units of the residual standard deviation. Given the other parameters b and c are
Gaussian, and everything here comes from their conditional means and covariances: the likelihood, which they are
integrated out of, its gradient, the likelihood of single units and clusters, and exact draws of the effects. The
derivative by the covariance matrix ΛΛ' of u is Σ (ss' - Z'V⁻¹Z) / 2 over units, s = Z'V⁻¹(y - Xβ), and likewise for v;
no covariance matrix of effects is inverted, so that variances may be zero.

The Gram matrices are those of :mod:`alliance_outcome.models.gram_kernels`, of the rows [Z_u Z_v X y], weighted where
residuals are AR(1), but with units along the last axis: arithmetic on the same entry of many units runs in the
processor's vector units. Units are taken in blocks of whole clusters that stay in its cache. This module is compiled
apart from that one, because a cache of compiled code notices edits of one module only.
"""

from __future__ import annotations

import numba
import numpy as np

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(nogil=True, error_model="numpy")
#: Sums may be taken in any order, which lets them run in vector units.
_summed = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})

#: Products are turned into logarithms beyond this.
_LARGE = 1e150

#: Units of a block, whose arrays fit a second-level cache; smaller blocks spend more on beginning loops than they save.
_BLOCK_UNITS = 2048


# -- Arithmetic on one entry of many units ----------------------------------------------------------------------------


@_summed
def _dot(left, right):  # noqa: ANN001, ANN202
    value = 0.0
    for i in range(len(left)):
        value += left[i] * right[i]
    return value


@_summed
def _sum(values):  # noqa: ANN001, ANN202
    value = 0.0
    for i in range(len(values)):
        value += values[i]
    return value


# Written out, because an assignment to a slice is compiled for any strides and shapes, and takes four times as long.


@_inlined
def _fill(target, value):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] = value


@_inlined
def _copy(target, source):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] = source[i]


@_inlined
def _add(target, factor, source):  # noqa: ANN001, ANN202
    """Add a multiple of `source` to `target`."""
    for i in range(len(target)):
        target[i] += factor * source[i]


@_inlined
def _set(target, factor, source):  # noqa: ANN001, ANN202
    """Make `target` a multiple of `source`."""
    for i in range(len(target)):
        target[i] = factor * source[i]


@_inlined
def _multiply(target, factor):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] *= factor[i]


@_inlined
def _add_product(target, left, right):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] += left[i] * right[i]


@_inlined
def _subtract_product(target, left, right):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] -= left[i] * right[i]


@_inlined
def _divide(target, divisor):  # noqa: ANN001, ANN202
    for i in range(len(target)):
        target[i] /= divisor[i]


@_inlined
def _log_product(values):  # noqa: ANN001, ANN202
    """Return the sum of logarithms of numbers from one on; products are quicker, as long as they can be held."""
    total, product = 0.0, 1.0
    for i in range(len(values)):
        product *= values[i]
        if product > _LARGE:
            total += np.log(product)
            product = 1.0
    return total + np.log(product)


@_inlined
def _factorise(matrix):  # noqa: ANN001, ANN202
    """Replace positive definite matrices, shape (q, q, n), by their Cholesky factors; return Σ log|.|."""
    log_determinant = 0.0
    for a in range(len(matrix)):
        pivot = matrix[a, a]
        for c in range(a):
            _subtract_product(pivot, matrix[a, c], matrix[a, c])
        log_determinant += _log_product(pivot)
        for i in range(len(pivot)):
            pivot[i] = np.sqrt(pivot[i])
        for b in range(a + 1, len(matrix)):
            for c in range(a):
                _subtract_product(matrix[b, a], matrix[a, c], matrix[b, c])
            _divide(matrix[b, a], pivot)
    return log_determinant


@_inlined
def _solve(triangle, right):  # noqa: ANN001, ANN202
    """Replace columns `right`, shape (q, n), by L⁻¹ times them."""
    for a in range(len(triangle)):
        for c in range(a):
            _subtract_product(right[a], triangle[a, c], right[c])
        _divide(right[a], triangle[a, a])


@_inlined
def _solve_transposed(triangle, right):  # noqa: ANN001, ANN202
    """Replace columns `right`, shape (q, n), by L⁻ᵀ times them."""
    for a in range(len(triangle) - 1, -1, -1):
        for c in range(a + 1, len(triangle)):
            _subtract_product(right[a], triangle[c, a], right[c])
        _divide(right[a], triangle[a, a])


@_inlined
def _transform(factor, source, target):  # noqa: ANN001, ANN202
    """Fill `target`, shape (size, n), with Λ times `source`."""
    for a in range(len(factor)):
        _set(target[a], factor[a, 0], source[0])
        for c in range(1, a + 1):
            _add(target[a], factor[a, c], source[c])


@_inlined
def _transform_transposed(factor, source, target):  # noqa: ANN001, ANN202
    """Fill `target`, shape (size, n), with Λ' times `source`."""
    for a in range(len(factor)):
        _set(target[a], factor[a, a], source[a])
        for c in range(a + 1, len(factor)):
            _add(target[a], factor[c, a], source[c])


# -- Conditioning -----------------------------------------------------------------------------------------------------


@_inlined
def _next_block(cluster_starts, first):  # noqa: ANN001, ANN202
    """Return the cluster after a block that starts with cluster `first`."""
    stop = first + 1
    while stop < len(cluster_starts) - 1 and cluster_starts[stop + 1] - cluster_starts[first] <= _BLOCK_UNITS:
        stop += 1
    return stop


@_inlined
def _random_products(gram, first, stop, coefficients, s, products):  # noqa: ANN001, ANN202
    """Fill `products`, shape (s, n), with [Z_u Z_v]'(y - Xβ) of units."""
    last = gram.shape[1] - 1
    for a in range(s):
        _copy(products[a], gram[a, last, first:stop])
        for b in range(len(coefficients)):
            _add(products[a], -coefficients[b], gram[a, s + b, first:stop])


@_inlined
def _whiten_columns(gram, first, stop, factor, solved, half, triangle, inverse):  # noqa: ANN001, ANN202
    """Condition the units' effects b on all else.

    Fills `triangle`, shape (q, q, n), with L, LL' = I + Λ_u'Z_u'Z_uΛ_u, and `half`, shape (q, m, n), with
    L⁻¹Λ_u'Z_u' times the first m of [Z_u Z_v X y], but only from the column `solved` on: those before lack L⁻¹.
    `inverse` is work space. Returns Σ log|LL'|.
    """
    q, m = half.shape[0], half.shape[1]
    for a in range(q):
        for b in range(m):
            _set(half[a, b], factor[a, a], gram[a, b, first:stop])
            for c in range(a + 1, q):
                _add(half[a, b], factor[c, a], gram[c, b, first:stop])
        for b in range(a + 1):
            _fill(triangle[a, b], 1.0 if a == b else 0.0)
            for c in range(b, q):
                _add(triangle[a, b], factor[c, b], half[a, c])
    log_determinant = _factorise(triangle)
    for a in range(q):
        # One division for all columns.
        _fill(inverse, 1.0)
        _divide(inverse, triangle[a, a])
        for b in range(solved, m):
            for c in range(a):
                _subtract_product(half[a, b], triangle[a, c], half[c, b])
            _multiply(half[a, b], inverse)
    return log_determinant


@_inlined
def _cluster_products(gram, unit, stop, origin, factor_v, products, half, whitened, precision, score):  # noqa: ANN001, ANN202
    """Fill Λ_v'Z_v'W⁻¹Z_vΛ_v (lower triangle) and Λ_v'Z_v'W⁻¹(y - Xβ) of units.

    `products`, `half` and `whitened` are of a block whose first unit is `origin`.
    """
    r, q = len(factor_v), len(whitened)
    begin, end = unit - origin, stop - origin
    for a in range(r):
        score[a] = 0.0
        for c in range(a, r):
            value = _sum(products[q + c, begin:end])
            for d in range(q):
                value -= _dot(half[d, q + c, begin:end], whitened[d, begin:end])
            score[a] += factor_v[c, a] * value
        for b in range(a + 1):
            precision[a, b] = 0.0
    for c in range(r):
        for d in range(r):
            value = _sum(gram[q + c, q + d, unit:stop])
            for e in range(q):
                value -= _dot(half[e, q + c, begin:end], half[e, q + d, begin:end])
            for a in range(c + 1):
                for b in range(min(a, d) + 1):
                    precision[a, b] += factor_v[c, a] * factor_v[d, b] * value


@_inlined
def _factorise_precision(precision):  # noqa: ANN001, ANN202
    """Add I to a lower triangle, replace it by its Cholesky factor, and return log|.|."""
    log_determinant = 0.0
    for a in range(len(precision)):
        value = precision[a, a] + 1.0
        for c in range(a):
            value -= precision[a, c] * precision[a, c]
        precision[a, a] = np.sqrt(value)
        log_determinant += np.log(value)
        for b in range(a + 1, len(precision)):
            value = precision[b, a]
            for c in range(a):
                value -= precision[a, c] * precision[b, c]
            precision[b, a] = value / precision[a, a]
    return log_determinant


@_inlined
def _forward(triangle, right):  # noqa: ANN001, ANN202
    """Replace a vector by L⁻¹ times it; return its sum of squares."""
    total = 0.0
    for a in range(len(triangle)):
        for c in range(a):
            right[a] -= triangle[a, c] * right[c]
        right[a] /= triangle[a, a]
        total += right[a] * right[a]
    return total


@_inlined
def _backward(triangle, right):  # noqa: ANN001, ANN202
    """Replace a vector by L⁻ᵀ times it."""
    for a in range(len(triangle) - 1, -1, -1):
        for c in range(a + 1, len(triangle)):
            right[a] -= triangle[c, a] * right[c]
        right[a] /= triangle[a, a]


# -- The likelihood and its gradient ----------------------------------------------------------------------------------


@_inlined
def _marginal_products(gram, first, stop, half, whitened, products, crossed):  # noqa: ANN001, ANN202
    """Integrate the units' effects out of cross-products of Z = [Z_u Z_v].

    Replaces `products`, shape (s, n), Z'(y - Xβ), by Z'W⁻¹(y - Xβ), and fills the lower triangle of `crossed`, shape
    (s, s, n), with Z'W⁻¹Z, W the covariance matrix of a unit's rows given its cluster's effects.
    """
    for a in range(len(products)):
        for c in range(len(half)):
            _subtract_product(products[a], half[c, a], whitened[c])
        for b in range(a + 1):
            _copy(crossed[a, b], gram[b, a, first:stop])
            for c in range(len(half)):
                _subtract_product(crossed[a, b], half[c, a], half[c, b])


@_inlined
def _cluster_information(products, crossed, unit, stop, score, information):  # noqa: ANN001, ANN202
    """Sum Z_v'W⁻¹(y - Xβ) and Z_v'W⁻¹Z_v over a cluster's units."""
    r = len(score)
    q = len(products) - r
    for a in range(r):
        score[a] = _sum(products[q + a, unit:stop])
        for b in range(a + 1):
            information[a, b] = _sum(crossed[q + a, q + b, unit:stop])
            information[b, a] = information[a, b]


@_inlined
def _cluster_moments(factor, score, information, triangle, columns, mean, covariance):  # noqa: ANN001, ANN202
    """Fill mean and covariance of a cluster's v, both relative to the residual variance.

    `triangle` and `columns`, shape (r, r), are work space. Returns log|I + Λ_v'Z_v'W⁻¹Z_vΛ_v| and what v explains
    beyond u.
    """
    r = len(factor)
    for a in range(r):
        mean[a] = 0.0
        for b in range(r):
            columns[a, b] = factor[a, b] if b <= a else 0.0
        for b in range(a + 1):
            triangle[a, b] = 0.0
            for c in range(a, r):
                for d in range(b, r):
                    triangle[a, b] += factor[c, a] * information[c, d] * factor[d, b]
    log_determinant = _factorise_precision(triangle)
    # Rows are now those of ΛL⁻ᵀ.
    for a in range(r):
        _forward(triangle, columns[a])
    explained = 0.0
    for c in range(r):
        effect = 0.0
        for a in range(r):
            effect += columns[a, c] * score[a]
        explained += effect * effect
        for a in range(r):
            mean[a] += columns[a, c] * effect
    _outer(columns, covariance)
    return log_determinant, explained


@_inlined
def _outer(left, product):  # noqa: ANN001, ANN202
    """Fill `product` with a matrix times its transpose."""
    for a in range(len(left)):
        for b in range(len(left)):
            product[a, b] = 0.0
            for c in range(left.shape[1]):
                product[a, b] += left[a, c] * left[b, c]


@_inlined
def _add_slopes(score, information, mean, covariance, scale, left, spread, slopes):  # noqa: ANN001, ANN202
    """Add one cluster's twice the derivative by its effects' relative covariance matrix: ss'/σ² - Z_v'V⁻¹Z_v.

    `left`, shape (r,), and `spread`, shape (r, r), are work space.
    """
    r = len(score)
    for a in range(r):
        left[a] = score[a]
        for b in range(r):
            left[a] -= information[a, b] * mean[b]
            spread[a, b] = 0.0
            for c in range(r):
                spread[a, b] += information[a, c] * covariance[c, b]
    for a in range(r):
        for b in range(a + 1):
            slopes[a, b] += scale * left[a] * left[b] - information[a, b]
            for c in range(r):
                slopes[a, b] += spread[a, c] * information[c, b]


@_inlined
def _condition_clusters(  # noqa: ANN202
    cluster_starts,  # noqa: ANN001
    first,  # noqa: ANN001
    stop,  # noqa: ANN001
    factor,  # noqa: ANN001
    products,  # noqa: ANN001
    crossed,  # noqa: ANN001
    scale,  # noqa: ANN001
    slopes,  # noqa: ANN001
    mean_v,  # noqa: ANN001
    covariance_v,  # noqa: ANN001
):
    """Condition the effects v of the clusters of a block, and give every unit those of its cluster.

    Fills `mean_v`, shape (r, n), and `covariance_v`, shape (r, r, n); adds to `slopes`, shape (r, r). Returns the sum
    of log|.| of their precisions, and what v explains beyond u.
    """
    r, origin = len(factor), cluster_starts[first]
    score, mean, left = np.empty(r), np.empty(r), np.empty(r)
    information, covariance = np.empty((r, r)), np.empty((r, r))
    triangle, columns, spread = np.empty((r, r)), np.empty((r, r)), np.empty((r, r))
    log_determinant, explained = 0.0, 0.0
    for j in range(first, stop if r else first):
        unit, end = cluster_starts[j] - origin, cluster_starts[j + 1] - origin
        _cluster_information(products, crossed, unit, end, score, information)
        own_determinant, own_explained = _cluster_moments(
            factor, score, information, triangle, columns, mean, covariance
        )
        log_determinant += own_determinant
        explained += own_explained
        _add_slopes(score, information, mean, covariance, scale, left, spread, slopes)
        for a in range(r):
            _fill(mean_v[a, unit:end], mean[a])
            for b in range(r):
                _fill(covariance_v[a, b, unit:end], covariance[a, b])
    return log_determinant, explained


@_inlined
def _add_unit_slopes(products, crossed, mean_v, covariance_v, scale, spread, slopes):  # noqa: ANN001, ANN202
    """Add units' twice the derivative by the relative covariance matrix of u, ss'/σ² - Z_u'V⁻¹Z_u, lower triangle.

    Replaces the first q of `products` by s = Z_u'V⁻¹(y - Xβ); `spread`, shape (r, n), is work space.
    """
    r, q = len(mean_v), len(products) - len(mean_v)
    for a in range(q):
        for c in range(r):
            _subtract_product(products[a], crossed[q + c, a], mean_v[c])
    for a in range(q):
        for c in range(r):
            _fill(spread[c], 0.0)
            for d in range(r):
                _add_product(spread[c], covariance_v[c, d], crossed[q + d, a])
        for b in range(a + 1):
            slopes[a, b] += scale * _dot(products[a], products[b]) - _sum(crossed[a, b])
            for c in range(r):
                slopes[a, b] += _dot(spread[c], crossed[q + c, b])


@_inlined
def _factor_slopes(slopes, factor):  # noqa: ANN001, ANN202
    """Turn twice the derivative by ΛΛ', of which the lower triangle is read, into that by the lower triangle of Λ."""
    size = len(factor)
    found = np.zeros((size, size))
    for a in range(size):
        for b in range(a + 1):
            for c in range(b, size):
                found[a, b] += slopes[max(a, c), min(a, c)] * factor[c, b]
    return found


@_inlined
def _answers(triangle, half, factor_u, columns, answers):  # noqa: ANN001, ANN202
    """Fill `columns`, shape (q, q, n), with columns of L⁻¹Λ_u', and `answers`, (r, q, n), with how u answers to v."""
    q = len(factor_u)
    for a in range(q):
        for c in range(q):
            _fill(columns[a, c], factor_u[a, c] if c <= a else 0.0)
        _solve(triangle, columns[a])
        for b in range(len(answers)):
            _fill(answers[b, a], 0.0)
            for c in range(q):
                _subtract_product(answers[b, a], columns[a, c], half[c, q + b])


@_inlined
def _effect_covariances(columns, answers, covariance_v, spread):  # noqa: ANN001, ANN202
    """Fill the lower triangle of `spread`, shape (s, s, n), with the relative covariance matrix of (u, v)."""
    q, r = len(columns), len(covariance_v)
    for a in range(r):
        for b in range(r):
            _copy(spread[q + a, q + b], covariance_v[a, b])
        for b in range(q):
            _fill(spread[q + a, b], 0.0)
            for c in range(r):
                _add_product(spread[q + a, b], covariance_v[a, c], answers[c, b])
    for a in range(q):
        for b in range(a + 1):
            _fill(spread[a, b], 0.0)
            for c in range(q):
                _add_product(spread[a, b], columns[a, c], columns[b, c])
            for c in range(r):
                _add_product(spread[a, b], answers[c, a], spread[q + c, b])


@_inlined
def _correlation_score(change, first, stop, coefficients, effects, spread, scale):  # noqa: ANN001, ANN202
    """Return units' E[e'dK e] / σ², dK the derivative by φ of the inverse correlation matrix of residuals."""
    s, p, n = len(effects), len(coefficients), stop - first
    m = s + p + 1
    weights = np.empty((m, n))
    product = np.empty(n)
    for a in range(m):
        if a < s:
            weights[a] = -effects[a]
        else:
            weights[a] = -coefficients[a - s] if a < m - 1 else 1.0
    quadratic, trace = 0.0, 0.0
    for a in range(m):
        for b in range(m):
            _fill(product, 0.0)
            _add_product(product, weights[a], weights[b])
            quadratic += _dot(change[a, b, first:stop], product)
    for a in range(s):
        for b in range(a + 1):
            trace += (1.0 if a == b else 2.0) * _dot(change[a, b, first:stop], spread[a, b])
    return scale * quadratic + trace


@_kernel
def marginal_likelihood(  # noqa: ANN201
    gram,  # noqa: ANN001
    total,  # noqa: ANN001
    change,  # noqa: ANN001
    cluster_starts,  # noqa: ANN001
    n_rows,  # noqa: ANN001
    coefficients,  # noqa: ANN001
    factor_u,  # noqa: ANN001
    factor_v,  # noqa: ANN001
    sigma,  # noqa: ANN001
):
    """Evaluate the logarithm of the likelihood with random effects integrated out, and differentiate it.

    Parameters
    ----------
    gram : ndarray, shape (m, m, n_units)
        Gram matrices of [Z_u Z_v X y], m = q + r + p + 1.
    total : ndarray, shape (m, m)
        Their sum.
    change : ndarray, shape (m, m, n_units) or (m, m, 0)
        Their derivatives by the autocorrelation of residuals, if there is one.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units.
    n_rows : int
    coefficients : ndarray, shape (p,)
        β.
    factor_u, factor_v : ndarray, shape (q, q) and (r, r)
        Lower triangular factors of the covariance matrices of u and v, in the outcome's units.
    sigma : float
        Residual standard deviation.

    Returns
    -------
    log_likelihood : float
        log|R| apart; minus infinity where it cannot be evaluated.
    by_coefficients : ndarray, shape (p,)
    by_factor_u, by_factor_v : ndarray, shape (q, q) and (r, r)
        Zero above the diagonal.
    by_sigma : float
    by_autocorrelation : float
        The derivative of log|R| apart.
    """
    q, r, p = len(factor_u), len(factor_v), len(coefficients)
    s = q + r
    relative_u, relative_v = factor_u / sigma, factor_v / sigma
    scale = 1.0 / (sigma * sigma)
    slopes_u, slopes_v = np.zeros((q, q)), np.zeros((r, r))
    by_coefficients, residual_sum = _fixed_score(total, coefficients, s)
    log_determinant, by_autocorrelation = 0.0, 0.0
    first = 0
    while first < len(cluster_starts) - 1:
        stop = _next_block(cluster_starts, first)
        unit, end = cluster_starts[first], cluster_starts[stop]
        n = end - unit
        # Of the block's own length, so that every row of them is contiguous.
        products, effects, inverse = np.empty((s, n)), np.empty((s, n)), np.empty(n)
        whitened, mean_b, mean_v, carried = (
            np.empty((q, n)),
            np.empty((q, n)),
            np.empty((r, n)),
            np.empty((r, n)),
        )
        half, triangle, crossed = np.empty((q, s, n)), np.empty((q, q, n)), np.empty((s, s, n))
        covariance_v = np.empty((r, r, n))
        _random_products(gram, unit, end, coefficients, s, products)
        log_determinant += _whiten_columns(gram, unit, end, relative_u, 0, half, triangle, inverse)
        _transform_transposed(relative_u, products, whitened)
        _solve(triangle, whitened)
        for a in range(q):
            residual_sum -= _dot(whitened[a], whitened[a])
        _marginal_products(gram, unit, end, half, whitened, products, crossed)
        own_determinant, explained = _condition_clusters(
            cluster_starts, first, stop, relative_v, products, crossed, scale, slopes_v, mean_v, covariance_v
        )
        log_determinant += own_determinant
        residual_sum -= explained
        _add_unit_slopes(products, crossed, mean_v, covariance_v, scale, carried, slopes_u)
        # The units' effects are Λ_uΛ_u'Z_u'V⁻¹(y - Xβ).
        _transform_transposed(relative_u, products, mean_b)
        _transform(relative_u, mean_b, effects)
        for a in range(r):
            _copy(effects[q + a], mean_v[a])
        for a in range(s):
            for b in range(p):
                by_coefficients[b] -= _dot(gram[a, s + b, unit:end], effects[a])
        if change.shape[2]:
            columns, answers, spread = np.empty((q, q, n)), np.empty((r, q, n)), np.empty((s, s, n))
            _answers(triangle, half, relative_u, columns, answers)
            _effect_covariances(columns, answers, covariance_v, spread)
            by_autocorrelation -= 0.5 * _correlation_score(
                change, unit, end, coefficients, effects, spread, scale
            )
        first = stop
    score_u, score_v = _factor_slopes(slopes_u, relative_u), _factor_slopes(slopes_v, relative_v)
    log_likelihood = -0.5 * (
        n_rows * np.log(2.0 * np.pi * sigma * sigma) + log_determinant + scale * residual_sum
    )
    by_sigma = scale * residual_sum / sigma - n_rows / sigma
    by_sigma -= (np.sum(score_u * relative_u) + np.sum(score_v * relative_v)) / sigma
    if not np.isfinite(log_likelihood):
        log_likelihood = -np.inf
    return (
        log_likelihood,
        by_coefficients * scale,
        score_u / sigma,
        score_v / sigma,
        by_sigma,
        by_autocorrelation,
    )


@_inlined
def _fixed_score(total, coefficients, s):  # noqa: ANN001, ANN202
    """Return X'(y - Xβ) and (y - Xβ)'(y - Xβ) of all rows."""
    p = len(coefficients)
    score = np.empty(p)
    residual_sum = total[s + p, s + p]
    for a in range(p):
        score[a] = total[s + a, s + p]
        for b in range(p):
            score[a] -= total[s + a, s + b] * coefficients[b]
        residual_sum -= coefficients[a] * (score[a] + total[s + a, s + p])
    return score, residual_sum


# -- Fixed effects integrated out too ---------------------------------------------------------------------------------


@_kernel
def fixed_effect_products(gram, total, cluster_starts, factor_u, factor_v, products, log_determinants):  # noqa: ANN001, ANN201
    """Weight the cross-products of fixed-effect columns and outcome by the inverse covariance, draw by draw.

    Parameters
    ----------
    gram, total, cluster_starts
        See :func:`marginal_likelihood`.
    factor_u, factor_v : ndarray, shape (n_draws, q, q) and (n_draws, r, r)
        Relative to the residual standard deviation.
    products : ndarray, shape (n_draws, p + 1, p + 1)
        Filled with [X y]'V⁻¹[X y], V relative to σ².
    log_determinants : ndarray, shape (n_draws,)
        Filled with log|V|, log|R| apart.
    """
    q, r = factor_u.shape[1], factor_v.shape[1]
    s, m = q + r, len(total)
    width = m - s
    block, precision, weighted = np.empty((r, r + width)), np.empty((r, r)), np.empty((r + width, r))
    log_determinants[:] = 0.0
    products[:] = total[s:, s:]
    first = 0
    # Every draw visits a block while it is in the cache.
    while first < len(cluster_starts) - 1:
        stop = _next_block(cluster_starts, first)
        unit, end = cluster_starts[first], cluster_starts[stop]
        n = end - unit
        half, triangle, inverse = np.empty((q, m, n)), np.empty((q, q, n)), np.empty(n)
        linked = np.empty((r, r + width, n))
        for draw in range(len(log_determinants)):
            log_determinants[draw] += _whiten_columns(
                gram, unit, end, factor_u[draw], q, half, triangle, inverse
            )
            for a in range(q):
                for b in range(width):
                    for c in range(b + 1):
                        products[draw, b, c] -= _dot(half[a, s + b], half[a, s + c])
            if r:
                _linked_columns(gram, unit, end, half, linked)
            for j in range(first, stop if r else first):
                log_determinants[draw] += _take_cluster(
                    linked,
                    cluster_starts[j] - unit,
                    cluster_starts[j + 1] - unit,
                    factor_v[draw],
                    block,
                    precision,
                    weighted,
                    products[draw],
                )
        first = stop
    for b in range(width):
        for c in range(b):
            products[:, c, b] = products[:, b, c]


@_inlined
def _linked_columns(gram, unit, end, half, linked):  # noqa: ANN001, ANN202
    """Fill `linked`, shape (r, r + p + 1, n), with Z_v'W⁻¹[Z_v X y] of units, which `half` whitens."""
    q = len(half)
    for a in range(len(linked)):
        for b in range(linked.shape[1]):
            _copy(linked[a, b], gram[q + a, q + b, unit:end])
            for c in range(q):
                _subtract_product(linked[a, b], half[c, q + a], half[c, q + b])


@_inlined
def _take_cluster(linked, begin, finish, factor, block, precision, weighted, products):  # noqa: ANN001, ANN202, C901
    """Take what a cluster's effects explain from [X y]'W⁻¹[X y], lower triangle; return log|.| of their precision.

    `block`, shape (r, r + p + 1), `precision`, (r, r), and `weighted`, (r + p + 1, r), are work space.
    """
    r, columns = len(factor), block.shape[1]
    for b in range(columns):
        for a in range(r):
            block[a, b] = _sum(linked[a, b, begin:finish])
        for a in range(r):
            weighted[b, a] = 0.0
            for c in range(a, r):
                weighted[b, a] += factor[c, a] * block[c, b]
    for a in range(r):
        for b in range(a + 1):
            precision[a, b] = 0.0
            for c in range(b, r):
                precision[a, b] += weighted[c, a] * factor[c, b]
    log_determinant = _factorise_precision(precision)
    for b in range(r, columns):
        _forward(precision, weighted[b])
        for c in range(r, b + 1):
            for a in range(r):
                products[b - r, c - r] -= weighted[b, a] * weighted[c, a]
    return log_determinant


# -- Single units and clusters ----------------------------------------------------------------------------------------


@_inlined
def _unit_residual_sums(gram, coefficients, s, sums):  # noqa: ANN001, ANN202
    """Fill `sums`, shape (n_units,), with (y - Xβ)'(y - Xβ) of each unit."""
    last, p = len(gram) - 1, len(coefficients)
    _copy(sums, gram[last, last])
    for a in range(p):
        _add(sums, -2.0 * coefficients[a], gram[s + a, last])
        for b in range(p):
            _add(sums, coefficients[a] * coefficients[b], gram[s + a, s + b])


@_inlined
def _unit_log_determinants(triangle, log_determinants):  # noqa: ANN001, ANN202
    """Fill log|LL'| of each unit from the factors L, shape (q, q, n)."""
    _fill(log_determinants, 0.0)
    for a in range(len(triangle)):
        for i in range(len(log_determinants)):
            log_determinants[i] += 2.0 * np.log(triangle[a, a, i])


@_kernel
def group_likelihoods(  # noqa: ANN201
    gram,  # noqa: ANN001
    cluster_starts,  # noqa: ANN001
    unit_constants,  # noqa: ANN001
    unit_rows,  # noqa: ANN001
    coefficients,  # noqa: ANN001
    factor_u,  # noqa: ANN001
    factor_v,  # noqa: ANN001
    sigma,  # noqa: ANN001
    by_unit,  # noqa: ANN001
    by_cluster,  # noqa: ANN001
):
    """Evaluate the logarithms of the likelihoods of groups of rows, draw by draw.

    Parameters
    ----------
    gram, cluster_starts
        See :func:`marginal_likelihood`.
    unit_constants : ndarray, shape (n_units,)
        log|R| of each unit.
    unit_rows : ndarray of int, shape (n_units,)
        Rows of each unit.
    coefficients : ndarray, shape (n_draws, p)
    factor_u, factor_v : ndarray, shape (n_draws, q, q) and (n_draws, r, r)
    sigma : ndarray, shape (n_draws,)
    by_unit : ndarray, shape (n_draws, n_units)
        Filled with log p(unit's rows | all other rows, parameters), which other units of the same cluster inform.
    by_cluster : ndarray, shape (n_draws, n_clusters)
        Filled with log p(cluster's rows | parameters).
    """
    q, r, n = factor_u.shape[1], factor_v.shape[1], gram.shape[2]
    s = q + r
    products, whitened, inverse = np.empty((s, n)), np.empty((q, n)), np.empty(n)
    half, triangle = np.empty((q, s, n)), np.empty((q, q, n))
    own, sums = np.empty(n), np.empty(n)
    precision, score = np.empty((r, r)), np.empty(r)
    whole, whole_score = np.empty((r, r)), np.empty(r)
    for draw in range(len(sigma)):
        relative_u, relative_v = factor_u[draw] / sigma[draw], factor_v[draw] / sigma[draw]
        scale = 1.0 / (sigma[draw] * sigma[draw])
        log_density = np.log(2.0 * np.pi * sigma[draw] * sigma[draw])
        _random_products(gram, 0, n, coefficients[draw], s, products)
        _whiten_columns(gram, 0, n, relative_u, q, half, triangle, inverse)
        _transform_transposed(relative_u, products, whitened)
        _solve(triangle, whitened)
        _unit_log_determinants(triangle, own)
        _unit_residual_sums(gram, coefficients[draw], s, sums)
        for a in range(q):
            _subtract_product(sums, whitened[a], whitened[a])
        for i in range(n):
            own[i] += unit_constants[i] + unit_rows[i] * log_density + scale * sums[i]
        for j in range(len(cluster_starts) - 1):
            first, stop = cluster_starts[j], cluster_starts[j + 1]
            _cluster_products(gram, first, stop, 0, relative_v, products, half, whitened, whole, whole_score)
            precision[:] = whole
            score[:] = whole_score
            determinant = _factorise_precision(precision)
            explained = scale * _forward(precision, score)
            by_cluster[draw, j] = -0.5 * (np.sum(own[first:stop]) + determinant - explained)
            for i in range(first, stop):
                _cluster_products(gram, i, i + 1, 0, relative_v, products, half, whitened, precision, score)
                # What is left of the cluster without the unit.
                for a in range(r):
                    score[a] = whole_score[a] - score[a]
                    for b in range(a + 1):
                        precision[a, b] = whole[a, b] - precision[a, b]
                rest = _factorise_precision(precision) - scale * _forward(precision, score)
                by_unit[draw, i] = -0.5 * (own[i] + determinant - explained - rest)


@_kernel
def draw_effects(  # noqa: ANN201
    gram,  # noqa: ANN001
    cluster_starts,  # noqa: ANN001
    coefficients,  # noqa: ANN001
    factor_u,  # noqa: ANN001
    factor_v,  # noqa: ANN001
    sigma,  # noqa: ANN001
    units,  # noqa: ANN001
    clusters,  # noqa: ANN001
):
    """Draw random effects from their Gaussian distribution given data and parameters, draw by draw.

    Parameters
    ----------
    gram, cluster_starts
        See :func:`marginal_likelihood`.
    coefficients, factor_u, factor_v, sigma
        See :func:`group_likelihoods`.
    units : ndarray, shape (n_draws, q, n_units)
        Standard normal noise; replaced by u, in place.
    clusters : ndarray, shape (n_draws, r, n_clusters)
        The same for v.
    """
    q, r, n = factor_u.shape[1], factor_v.shape[1], gram.shape[2]
    products, whitened, inverse = np.empty((q + r, n)), np.empty((q, n)), np.empty(n)
    half, triangle, drawn_v = np.empty((q, q + r, n)), np.empty((q, q, n)), np.empty((r, n))
    precision, score = np.empty((r, r)), np.empty(r)
    for draw in range(len(sigma)):
        relative_u, relative_v = factor_u[draw] / sigma[draw], factor_v[draw] / sigma[draw]
        _random_products(gram, 0, n, coefficients[draw], q + r, products)
        _whiten_columns(gram, 0, n, relative_u, q, half, triangle, inverse)
        _transform_transposed(relative_u, products, whitened)
        _solve(triangle, whitened)
        for j in range(len(cluster_starts) - 1):
            first, stop = cluster_starts[j], cluster_starts[j + 1]
            _cluster_products(gram, first, stop, 0, relative_v, products, half, whitened, precision, score)
            _factorise_precision(precision)
            _forward(precision, score)
            score += sigma[draw] * clusters[draw, :, j]
            _backward(precision, score)
            clusters[draw, :, j] = relative_v @ score
            for a in range(r):
                _fill(drawn_v[a, first:stop], clusters[draw, a, j])
        for a in range(q):
            _add(whitened[a], sigma[draw], units[draw, a])
            for b in range(r):
                _subtract_product(whitened[a], half[a, q + b], drawn_v[b])
        _solve_transposed(triangle, whitened)
        _transform(relative_u, whitened, units[draw])
