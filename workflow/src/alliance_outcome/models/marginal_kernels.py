"""Compiled loops over units and clusters for the marginal likelihood at given fixed effects, and what follows from it.

The model is that of :mod:`alliance_outcome.models.fitted_state`, in terms of standard normal effects b and c: u = Λ_u b
per unit and v = Λ_v c per cluster, in units of the residual standard deviation. Given the other parameters b and c are
Gaussian, and everything here comes from their conditional means and covariances: the likelihood, which they are
integrated out of, its gradient by Fisher's identity (the expectation of the complete-data score given the data; it
needs no inverse of a covariance matrix, so that variances may be zero), the likelihood of single units and clusters,
and exact draws of the effects.

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

#: Units of a block: some arrays of this length fit a first-level cache.
_BLOCK_UNITS = 256


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
        target[a] = 0.0
        for c in range(a + 1):
            _add(target[a], factor[a, c], source[c])


# -- Conditioning -----------------------------------------------------------------------------------------------------


@_inlined
def _next_block(cluster_starts, first):  # noqa: ANN001, ANN202
    """Return the cluster after a block that starts with cluster `first`."""
    stop = first + 1
    while stop < len(cluster_starts) - 1 and cluster_starts[stop + 1] - cluster_starts[first] <= _BLOCK_UNITS:
        stop += 1
    return stop


@_inlined
def _largest_block(cluster_starts):  # noqa: ANN001, ANN202
    largest, first = 0, 0
    while first < len(cluster_starts) - 1:
        stop = _next_block(cluster_starts, first)
        largest = max(largest, cluster_starts[stop] - cluster_starts[first])
        first = stop
    return largest


@_inlined
def _random_products(gram, first, stop, coefficients, s, products):  # noqa: ANN001, ANN202
    """Fill `products`, shape (s, n), with [Z_u Z_v]'(y - Xβ) of units."""
    last = gram.shape[1] - 1
    for a in range(s):
        products[a] = gram[a, last, first:stop]
        for b in range(len(coefficients)):
            _add(products[a], -coefficients[b], gram[a, s + b, first:stop])


@_inlined
def _whiten_units(gram, first, stop, factor_u, factor_v, products, half, triangle, whitened, link):  # noqa: ANN001, ANN202
    """Condition the units' effects b on all else.

    Fills `triangle`, shape (q, q, n), with L, LL' = I + Λ_u'Z_u'Z_uΛ_u, `whitened`, shape (q, n), with
    L⁻¹Λ_u'Z_u'(y - Xβ), and `link`, shape (r, q, n), with the transpose of L⁻¹Λ_u'Z_u'Z_vΛ_v; `half` is work space.
    Returns Σ log|LL'|.
    """
    q, r = len(factor_u), len(factor_v)
    for a in range(q):
        whitened[a] = 0.0
        for b in range(q + r):
            half[b] = 0.0
        for c in range(a, q):
            _add(whitened[a], factor_u[c, a], products[c])
            for b in range(q + r):
                _add(half[b], factor_u[c, a], gram[c, b, first:stop])
        for b in range(a + 1):
            triangle[a, b] = 1.0 if a == b else 0.0
            for c in range(b, q):
                _add(triangle[a, b], factor_u[c, b], half[c])
        for b in range(r):
            link[b, a] = 0.0
            for c in range(b, r):
                _add(link[b, a], factor_v[c, b], half[q + c])
    log_determinant = _factorise(triangle)
    _solve(triangle, whitened)
    for b in range(r):
        _solve(triangle, link[b])
    return log_determinant


@_inlined
def _cluster_products(gram, unit, stop, offset, factor_v, q, products, whitened, link, precision, score):  # noqa: ANN001, ANN202
    """Fill Λ_v'Z_v'W⁻¹Z_vΛ_v (lower triangle) and Λ_v'Z_v'W⁻¹(y - Xβ) of units, in a block from `offset` on."""
    r, end = len(factor_v), offset + stop - unit
    for a in range(r):
        score[a] = 0.0
        for c in range(a, r):
            score[a] += factor_v[c, a] * _sum(products[q + c, offset:end])
        for c in range(q):
            score[a] -= _dot(link[a, c, offset:end], whitened[c, offset:end])
        for b in range(a + 1):
            value = 0.0
            for c in range(a, r):
                for d in range(b, r):
                    value += factor_v[c, a] * factor_v[d, b] * _sum(gram[q + c, q + d, unit:stop])
            for c in range(q):
                value -= _dot(link[a, c, offset:end], link[b, c, offset:end])
            precision[a, b] = value


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


@_inlined
def _condition_clusters(  # noqa: ANN202
    gram,  # noqa: ANN001
    cluster_starts,  # noqa: ANN001
    first,  # noqa: ANN001
    stop,  # noqa: ANN001
    factor_v,  # noqa: ANN001
    q,  # noqa: ANN001
    products,  # noqa: ANN001
    whitened,  # noqa: ANN001
    link,  # noqa: ANN001
    mean_c,  # noqa: ANN001
    covariance_c,  # noqa: ANN001
):
    """Condition the effects c of the clusters of a block, and give every unit those of its cluster.

    Fills `mean_c`, shape (r, n), and `covariance_c`, shape (r, r, n). Returns the sum of log|.| of their precisions,
    and what c explains beyond b.
    """
    r, origin = len(factor_v), cluster_starts[first]
    if not r:
        return 0.0, 0.0
    precision, score = np.empty((r, r)), np.empty(r)
    column = np.empty(r)
    log_determinant, explained = 0.0, 0.0
    for j in range(first, stop):
        unit, end = cluster_starts[j], cluster_starts[j + 1]
        _cluster_products(
            gram, unit, end, unit - origin, factor_v, q, products, whitened, link, precision, score
        )
        log_determinant += _factorise_precision(precision)
        explained += _forward(precision, score)
        _backward(precision, score)
        for a in range(r):
            mean_c[a, unit - origin : end - origin] = score[a]
            column[:] = 0.0
            column[a] = 1.0
            _forward(precision, column)
            _backward(precision, column)
            for b in range(r):
                covariance_c[a, b, unit - origin : end - origin] = column[b]
    return log_determinant, explained


# -- The likelihood and its gradient ----------------------------------------------------------------------------------


@_inlined
def _unit_moments(triangle, whitened, link, mean_c, covariance_c, mean_b, covariance_b, with_c):  # noqa: ANN001, ANN202
    """Fill mean, shape (q, n), and covariance, (q, q, n), of b, and its covariance with c, shape (r, q, n)."""
    q, r = len(triangle), len(link)
    for a in range(q):
        mean_b[a] = whitened[a]
        for b in range(r):
            _subtract_product(mean_b[a], link[b, a], mean_c[b])
            with_c[b, a] = 0.0
            for c in range(r):
                _subtract_product(with_c[b, a], link[c, a], covariance_c[c, b])
    _solve_transposed(triangle, mean_b)
    _unit_covariance(triangle, link, with_c, covariance_b)
    for b in range(r):
        _solve_transposed(triangle, with_c[b])


@_inlined
def _unit_covariance(triangle, link, with_c, covariance_b):  # noqa: ANN001, ANN202
    """Fill L⁻ᵀ(I + link'Cov(c)link)L⁻¹; `with_c` holds -Cov(c)link."""
    q = len(triangle)
    for a in range(q):
        for b in range(a + 1):
            covariance_b[a, b] = 1.0 if a == b else 0.0
            for c in range(len(link)):
                _subtract_product(covariance_b[a, b], with_c[c, a], link[c, b])
            covariance_b[b, a] = covariance_b[a, b]
    for b in range(q):
        _solve_transposed(triangle, covariance_b[:, b])
    for a in range(q):
        _solve_transposed(triangle, covariance_b[a])


@_inlined
def _spread(factor_u, factor_v, covariance_b, with_c, covariance_c, spread):  # noqa: ANN001, ANN202
    """Fill `spread`, shape (s, s, n): row b is the covariance of (Λ_u b, Λ_v c) with the b-th of (b, c)."""
    q, r = len(factor_u), len(factor_v)
    for b in range(q):
        _transform(factor_u, covariance_b[b], spread[b])
        for a in range(r):
            spread[b, q + a] = 0.0
            for c in range(a + 1):
                _add(spread[b, q + a], factor_v[a, c], with_c[c, b])
    for b in range(r):
        _transform(factor_u, with_c[b], spread[q + b])
        for a in range(r):
            spread[q + b, q + a] = 0.0
            for c in range(a + 1):
                _add(spread[q + b, q + a], factor_v[a, c], covariance_c[c, b])


@_inlined
def _factor_scores(gram, first, stop, offset, left, spread, means, scale, scores):  # noqa: ANN001, ANN202
    """Add units' share of derivatives by a factor Λ whose effects stand from `offset` on: E[Z'e (b, c)'] / σ²."""
    for a in range(len(scores)):
        for b in range(a + 1):
            value = scale * _dot(left[offset + a], means[b])
            for c in range(len(spread)):
                value -= _dot(gram[offset + a, c, first:stop], spread[offset + b, c])
            scores[a, b] += value


@_inlined
def _correlation_score(change, first, stop, coefficients, effects, spread, factor_u, factor_v, scale):  # noqa: ANN001, ANN202
    """Return units' E[e'dK e] / σ², dK the derivative by φ of the inverse correlation matrix of residuals."""
    q, s, p, n = len(factor_u), len(effects), len(coefficients), stop - first
    m = s + p + 1
    weights = np.empty((m, n))
    covariance = np.empty(n)
    for a in range(m):
        if a < s:
            weights[a] = -effects[a]
        else:
            weights[a] = -coefficients[a - s] if a < m - 1 else 1.0
    quadratic, trace = 0.0, 0.0
    for a in range(m):
        for b in range(m):
            covariance[:] = 0.0
            _subtract_product(covariance, weights[a], weights[b])
            quadratic -= _dot(change[a, b, first:stop], covariance)
    for a in range(s):
        for b in range(s):
            covariance[:] = 0.0
            own, offset = (factor_u, 0) if b < q else (factor_v, q)
            for c in range(b - offset + 1):
                _add(covariance, own[b - offset, c], spread[offset + c, a])
            trace += _dot(change[a, b, first:stop], covariance)
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
    score_u, score_v = np.zeros((q, q)), np.zeros((r, r))
    by_coefficients, residual_sum = _fixed_score(total, coefficients, s)
    log_determinant, by_autocorrelation = 0.0, 0.0
    size = _largest_block(cluster_starts)
    space = np.empty((7 * s + q, size))
    squares = np.empty((2 * q + 2 * r + s, max(s, 1), size))
    first = 0
    while first < len(cluster_starts) - 1:
        stop = _next_block(cluster_starts, first)
        unit, end = cluster_starts[first], cluster_starts[stop]
        n = end - unit
        products, half, effects, left = (
            space[:s, :n],
            space[s : 2 * s, :n],
            space[2 * s : 3 * s, :n],
            space[3 * s : 4 * s, :n],
        )
        whitened, mean_b, mean_c = (
            space[4 * s : 4 * s + q, :n],
            space[5 * s : 5 * s + q, :n],
            space[6 * s : 6 * s + r, :n],
        )
        triangle, covariance_b = squares[:q, :q, :n], squares[q : 2 * q, :q, :n]
        link, with_c = squares[2 * q : 2 * q + r, :q, :n], squares[2 * q + r : 2 * q + 2 * r, :q, :n]
        spread = squares[2 * q + 2 * r :, :s, :n]
        covariance_c = np.empty((r, r, n))
        _random_products(gram, unit, end, coefficients, s, products)
        log_determinant += _whiten_units(
            gram, unit, end, relative_u, relative_v, products, half, triangle, whitened, link
        )
        for a in range(q):
            residual_sum -= _dot(whitened[a], whitened[a])
        own_determinant, explained = _condition_clusters(
            gram, cluster_starts, first, stop, relative_v, q, products, whitened, link, mean_c, covariance_c
        )
        log_determinant += own_determinant
        residual_sum -= explained
        _unit_moments(triangle, whitened, link, mean_c, covariance_c, mean_b, covariance_b, with_c)
        _transform(relative_u, mean_b, effects[:q])
        _transform(relative_v, mean_c, effects[q:])
        for a in range(s):
            left[a] = products[a]
            for b in range(s):
                _subtract_product(left[a], gram[a, b, unit:end], effects[b])
            for b in range(p):
                by_coefficients[b] -= _dot(gram[a, s + b, unit:end], effects[a])
        _spread(relative_u, relative_v, covariance_b, with_c, covariance_c, spread)
        _factor_scores(gram, unit, end, 0, left, spread, mean_b, scale, score_u)
        _factor_scores(gram, unit, end, q, left, spread, mean_c, scale, score_v)
        if change.shape[2]:
            by_autocorrelation -= 0.5 * _correlation_score(
                change, unit, end, coefficients, effects, spread, relative_u, relative_v, scale
            )
        first = stop
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
    size = _largest_block(cluster_starts)
    halves, triangles, inverse = np.empty((q, m, size)), np.empty((q, q, size)), np.empty(size)
    log_determinants[:] = 0.0
    products[:] = total[s:, s:]
    first = 0
    # Every draw visits a block while it is in the cache.
    while first < len(cluster_starts) - 1:
        stop = _next_block(cluster_starts, first)
        unit, end = cluster_starts[first], cluster_starts[stop]
        half, triangle = halves[:, :, : end - unit], triangles[:, :, : end - unit]
        for draw in range(len(log_determinants)):
            log_determinants[draw] += _whiten_columns(
                gram, unit, end, factor_u[draw], half, triangle, inverse[: end - unit]
            )
            for a in range(q):
                for b in range(width):
                    for c in range(b + 1):
                        products[draw, b, c] -= _dot(half[a, s + b], half[a, s + c])
            for j in range(first, stop if r else first):
                log_determinants[draw] += _take_cluster(
                    gram, cluster_starts[j], cluster_starts[j + 1], unit, factor_v[draw], half, products[draw]
                )
        first = stop
    for b in range(width):
        for c in range(b):
            products[:, c, b] = products[:, b, c]


@_inlined
def _whiten_columns(gram, first, stop, factor, half, triangle, inverse):  # noqa: ANN001, ANN202
    """Fill `half`, shape (q, m, n), with L⁻¹Λ_u'Z_u'[Z_u Z_v X y] of units; return Σ log|LL'|."""
    q, m = half.shape[0], half.shape[1]
    for a in range(q):
        for b in range(m):
            _set(half[a, b], factor[a, a], gram[a, b, first:stop])
            for c in range(a + 1, q):
                _add(half[a, b], factor[c, a], gram[c, b, first:stop])
        for b in range(a + 1):
            triangle[a, b] = 1.0 if a == b else 0.0
            for c in range(b, q):
                _add(triangle[a, b], factor[c, b], half[a, c])
    log_determinant = _factorise(triangle)
    for a in range(q):
        # One division for all columns.
        inverse[:] = 1.0
        _divide(inverse, triangle[a, a])
        for b in range(q, m):
            for c in range(a):
                _subtract_product(half[a, b], triangle[a, c], half[c, b])
            _multiply(half[a, b], inverse)
    return log_determinant


@_inlined
def _cluster_block(gram, unit, end, origin, half, block):  # noqa: ANN001, ANN202
    """Fill `block`, shape (r, r + p + 1), with Z_v'W⁻¹[Z_v X y] of a cluster's units, which `half` whitens."""
    q = len(half)
    begin, finish = unit - origin, end - origin
    for a in range(len(block)):
        for b in range(block.shape[1]):
            value = _sum(gram[q + a, q + b, unit:end])
            for c in range(q):
                value -= _dot(half[c, q + a, begin:finish], half[c, q + b, begin:finish])
            block[a, b] = value


@_inlined
def _take_cluster(gram, unit, end, origin, factor, half, products):  # noqa: ANN001, ANN202
    """Take what a cluster's effects explain from [X y]'W⁻¹[X y], lower triangle; return log|.| of their precision."""
    r, width = len(factor), len(products)
    block, precision = np.empty((r, r + width)), np.zeros((r, r))
    weighted = np.zeros((r + width, r))
    _cluster_block(gram, unit, end, origin, half, block)
    for a in range(r):
        for c in range(a, r):
            for b in range(r + width):
                weighted[b, a] += factor[c, a] * block[c, b]
    for a in range(r):
        for b in range(a + 1):
            for c in range(b, r):
                precision[a, b] += weighted[c, a] * factor[c, b]
    log_determinant = _factorise_precision(precision)
    for b in range(width):
        column = weighted[r + b]
        _forward(precision, column)
        for c in range(b + 1):
            products[b, c] -= _dot(column, weighted[r + c])
    return log_determinant


# -- Single units and clusters ----------------------------------------------------------------------------------------


@_inlined
def _unit_residual_sums(gram, coefficients, s, sums):  # noqa: ANN001, ANN202
    """Fill `sums`, shape (n_units,), with (y - Xβ)'(y - Xβ) of each unit."""
    last, p = len(gram) - 1, len(coefficients)
    sums[:] = gram[last, last]
    for a in range(p):
        _add(sums, -2.0 * coefficients[a], gram[s + a, last])
        for b in range(p):
            _add(sums, coefficients[a] * coefficients[b], gram[s + a, s + b])


@_inlined
def _unit_log_determinants(triangle, log_determinants):  # noqa: ANN001, ANN202
    """Fill log|LL'| of each unit from the factors L, shape (q, q, n)."""
    log_determinants[:] = 0.0
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
    products, half, whitened = np.empty((s, n)), np.empty((s, n)), np.empty((q, n))
    triangle, link = np.empty((q, q, n)), np.empty((r, q, n))
    own, sums = np.empty(n), np.empty(n)
    precision, score = np.empty((r, r)), np.empty(r)
    whole, whole_score = np.empty((r, r)), np.empty(r)
    for draw in range(len(sigma)):
        relative_u, relative_v = factor_u[draw] / sigma[draw], factor_v[draw] / sigma[draw]
        scale = 1.0 / (sigma[draw] * sigma[draw])
        log_density = np.log(2.0 * np.pi * sigma[draw] * sigma[draw])
        _random_products(gram, 0, n, coefficients[draw], s, products)
        _whiten_units(gram, 0, n, relative_u, relative_v, products, half, triangle, whitened, link)
        _unit_log_determinants(triangle, own)
        _unit_residual_sums(gram, coefficients[draw], s, sums)
        for a in range(q):
            _subtract_product(sums, whitened[a], whitened[a])
        for i in range(n):
            own[i] += unit_constants[i] + unit_rows[i] * log_density + scale * sums[i]
        for j in range(len(cluster_starts) - 1):
            first, stop = cluster_starts[j], cluster_starts[j + 1]
            _cluster_products(
                gram, first, stop, first, relative_v, q, products, whitened, link, whole, whole_score
            )
            precision[:] = whole
            score[:] = whole_score
            determinant = _factorise_precision(precision)
            explained = scale * _forward(precision, score)
            by_cluster[draw, j] = -0.5 * (np.sum(own[first:stop]) + determinant - explained)
            for i in range(first, stop):
                _cluster_products(
                    gram, i, i + 1, i, relative_v, q, products, whitened, link, precision, score
                )
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
    products, half, whitened = np.empty((q + r, n)), np.empty((q + r, n)), np.empty((q, n))
    triangle, link, drawn_c = np.empty((q, q, n)), np.empty((r, q, n)), np.empty((r, n))
    precision, score = np.empty((r, r)), np.empty(r)
    for draw in range(len(sigma)):
        relative_u, relative_v = factor_u[draw] / sigma[draw], factor_v[draw] / sigma[draw]
        _random_products(gram, 0, n, coefficients[draw], q + r, products)
        _whiten_units(gram, 0, n, relative_u, relative_v, products, half, triangle, whitened, link)
        for j in range(len(cluster_starts) - 1):
            first, stop = cluster_starts[j], cluster_starts[j + 1]
            _cluster_products(
                gram, first, stop, first, relative_v, q, products, whitened, link, precision, score
            )
            _factorise_precision(precision)
            _forward(precision, score)
            score += sigma[draw] * clusters[draw, :, j]
            _backward(precision, score)
            for a in range(r):
                drawn_c[a, first:stop] = score[a]
            clusters[draw, :, j] = relative_v @ score
        for a in range(q):
            _add(whitened[a], sigma[draw], units[draw, a])
            for b in range(r):
                _subtract_product(whitened[a], link[b, a], drawn_c[b])
        _solve_transposed(triangle, whitened)
        _transform(relative_u, whitened, units[draw])
