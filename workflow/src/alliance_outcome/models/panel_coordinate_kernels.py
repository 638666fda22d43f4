"""Compiled loops between covariance matrices and free coordinates, in which a sampler may go anywhere.

A covariance matrix of k variables is DRD, with standard deviations τ_i |s_i| and the correlation matrix R of
canonical partial correlations tanh(z_ij), whose LKJ prior is a product of Beta distributions on (−1, 1) (Lewandowski,
Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008). Logarithms of standard deviations would have long left tails where
the data leave open that there is no variance. On its own scale the density goes on smoothly below zero, D having the
elements τ_i s_i: turning a sign, and those of the variable's correlations with it, changes neither matrix nor prior. So
half-normal priors are normal ones of s, and only matrices tell something, not their coordinates. With R = FF',

    F_ij = tanh(z_ij) Π_{c<j} sech(z_ic),   F_ii = Π_{c<i} sech(z_ic)

The coordinates of a matrix are s, then z row by row of the lower triangle.
"""

from __future__ import annotations

import numba
import numpy as np

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(nogil=True, error_model="numpy")


@_inlined
def _write_factor(coordinates, first, size, scales, factor):  # noqa: ANN001, ANN202
    """Write T = DF, a lower triangular root of a covariance matrix TT'."""
    at = first + size
    for i in range(size):
        left = scales[i] * coordinates[first + i]
        for j in range(i):
            factor[i, j] = np.tanh(coordinates[at]) * left
            left /= np.cosh(coordinates[at])
            at += 1
        factor[i, i] = left


@_kernel
def place_covariances(coordinates, firsts, sizes, numbers, scales, parameters):  # noqa: ANN001, ANN201
    """Write the entries of covariance matrices among parameters.

    Parameters
    ----------
    coordinates : ndarray, shape (n_coordinates,)
    firsts, sizes : ndarray of int, shape (n_blocks,)
        First coordinate and number of variables of each matrix.
    numbers : ndarray of int, shape (n_blocks, k, k)
        Parameter of each entry, of the leading part of that size.
    scales : ndarray, shape (n_blocks, k)
        τ.
    parameters : ndarray, shape (n_parameters,)
        Receives the entries.
    """
    factor = np.zeros(numbers.shape[1:])
    for block in range(len(sizes)):
        size = sizes[block]
        _write_factor(coordinates, firsts[block], size, scales[block], factor)
        for i in range(size):
            for j in range(i + 1):
                value = 0.0
                for c in range(j + 1):
                    value += factor[i, c] * factor[j, c]
                parameters[numbers[block, i, j]] = value


@_kernel
def pull_covariances(coordinates, firsts, sizes, numbers, scales, by_parameters, gradient):  # noqa: ANN001, ANN201
    """Turn derivatives by the entries of covariance matrices into those by coordinates.

    Parameters
    ----------
    coordinates, firsts, sizes, numbers, scales
        See :func:`place_covariances`.
    by_parameters : ndarray, shape (n_parameters,)
        An entry off the diagonal being one parameter, which the matrix has twice.
    gradient : ndarray, shape (n_coordinates,)
        Receives derivatives.
    """
    factor = np.zeros(numbers.shape[1:])
    pulled = np.zeros(numbers.shape[1])
    for block in range(len(sizes)):
        size, first = sizes[block], firsts[block]
        _write_factor(coordinates, first, size, scales[block], factor)
        at = first + size
        for i in range(size):
            # Derivatives by row i of T are 2GT, of symmetric derivatives G by the matrix TT'.
            for j in range(i + 1):
                value = 0.0
                for c in range(j, size):
                    slope = by_parameters[numbers[block, max(i, c), min(i, c)]]
                    value += (2.0 if c == i else 1.0) * slope * factor[c, j]
                pulled[j] = value
            gradient[first + i], remaining, left = 0.0, 0.0, 1.0
            for j in range(i + 1):
                remaining += pulled[j] * factor[i, j]
            for j in range(i):
                own, partial = pulled[j] * factor[i, j], np.tanh(coordinates[at])
                squeezed = 1.0 / np.cosh(coordinates[at])
                remaining -= own
                whole = scales[block, i] * coordinates[first + i] * left
                gradient[at] = pulled[j] * whole * squeezed**2 - partial * remaining
                gradient[first + i] += scales[block, i] * pulled[j] * left * partial
                left *= squeezed
                at += 1
            gradient[first + i] += scales[block, i] * pulled[i] * left


@_kernel
def covariance_priors(coordinates, firsts, sizes, eta, gradient):  # noqa: ANN001, ANN201
    """Evaluate the prior density of the coordinates of covariance matrices up to a constant.

    Parameters
    ----------
    coordinates, firsts, sizes
        See :func:`place_covariances`.
    eta : float
        Shape of the LKJ prior.
    gradient : ndarray, shape (n_coordinates,)
        Derivatives are added to it.

    Returns
    -------
    float
        Logarithm of standard normal densities of s and of the LKJ density, with the Jacobian of tanh.
    """
    value = 0.0
    for block in range(len(sizes)):
        size, first = sizes[block], firsts[block]
        at = first + size
        for i in range(size):
            value -= 0.5 * coordinates[first + i] ** 2
            gradient[first + i] -= coordinates[first + i]
            for j in range(i):
                shape = eta + 0.5 * (size - 2 - j)
                value -= 2.0 * shape * np.log(np.cosh(coordinates[at]))
                gradient[at] -= 2.0 * shape * np.tanh(coordinates[at])
                at += 1
    return value
