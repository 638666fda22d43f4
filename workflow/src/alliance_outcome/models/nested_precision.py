"""Traces and quadratic forms in the inverse covariance matrix of a nested model, without any matrix of its size.

K is the inverse of V relative to the residual variance. With W_i = [Z_u Z_v X]'(I + Z_uΨ_uZ_u')⁻¹[Z_u Z_v X] of unit i
and S = Σ_i W_i over a cluster,

    Z_i'KZ_i' = δ_ii' W_i[u,u] − W_i[u,v] M W_i'[v,u],    M = Ψ_v(I + S[v,v]Ψ_v)⁻¹,

so that a sum over all pairs of units of a cluster is one over units and one over products of size r. Singular Ψ need no
special treatment, because neither Ψ is inverted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alliance_outcome.models.fitted_state import FittedState, FloatArray, IndexArray, WorkingRows


@dataclass(frozen=True)
class Component:
    """A derivative of the covariance matrix: Z_uEZ_u' in each unit, or Z_vEZ_v' in each cluster.

    Parameters
    ----------
    pattern : ndarray, shape (q, q) or (r, r)
        E, symmetric.
    of_units : bool
        Whether the effect is the units'.
    """

    pattern: FloatArray
    of_units: bool


@dataclass(frozen=True)
class NestedPrecision:
    """Products of the design with K.

    Parameters
    ----------
    own : ndarray, shape (n_units, q, q)
        W_i[u,u].
    shared : ndarray, shape (n_units, q, r)
        W_i[u,v].
    shrinkage : ndarray, shape (n_clusters, r, r)
        M.
    unit_cluster : ndarray, shape (n_units, q, r)
        Z_u'KZ_v.
    unit_fixed : ndarray, shape (n_units, q, p)
        Z_u'KX.
    cluster_cluster : ndarray, shape (n_clusters, r, r)
        Z_v'KZ_v.
    cluster_fixed : ndarray, shape (n_clusters, r, p)
        Z_v'KX.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units last.
    """

    own: FloatArray
    shared: FloatArray
    shrinkage: FloatArray
    unit_cluster: FloatArray
    unit_fixed: FloatArray
    cluster_cluster: FloatArray
    cluster_fixed: FloatArray
    cluster_starts: IndexArray

    @classmethod
    def of(cls, state: FittedState) -> NestedPrecision:
        """Eliminate the units' effects, then the clusters'.

        Parameters
        ----------
        state : FittedState
            A fit with independent residuals.

        Returns
        -------
        NestedPrecision
        """
        q, r = len(state.unit_covariance), len(state.cluster_covariance)
        starts = state.rows.cluster_starts
        effects, above = _without_unit_effects(_cross_products(state.rows), state.unit_covariance)
        own, shared, fixed = np.split(effects, [q, q + r], axis=2)
        sums = np.add.reduceat(above, starts[:-1], axis=0)
        kept = np.linalg.inv(np.eye(r) + state.cluster_covariance @ sums[:, :, :r])
        shrinkage = kept @ state.cluster_covariance
        sizes = np.diff(starts)
        return cls(
            own=own,
            shared=shared,
            shrinkage=shrinkage,
            unit_cluster=shared @ np.repeat(kept, sizes, axis=0),
            unit_fixed=fixed - shared @ np.repeat(shrinkage @ sums[:, :, r:], sizes, axis=0),
            cluster_cluster=sums[:, :, :r] @ kept,
            cluster_fixed=np.swapaxes(kept, 1, 2) @ sums[:, :, r:],
            cluster_starts=starts,
        )

    def trace(self, component: Component) -> float:
        """Return tr(K dV)."""
        if component.of_units:
            return float(np.sum(self._diagonal_blocks * component.pattern))
        return float(np.sum(self.cluster_cluster * component.pattern))

    def first_order(self, component: Component) -> FloatArray:
        """Return X'K dV KX, shape (p, p)."""
        fixed = self._fixed(component)
        return _sum_of_products(fixed, component.pattern @ fixed)

    def second_order(self, one: Component, other: Component) -> tuple[float, FloatArray]:
        """Return tr(K dV₁ K dV₂) and X'K dV₁ K dV₂ KX, shape (p, p).

        Parameters
        ----------
        one, other : Component
            Of any levels.

        Returns
        -------
        tuple of float and ndarray
        """
        if one.of_units and other.of_units:
            return self._trace_of_units(one, other), self._form_of_units(one, other)
        if other.of_units:
            trace, form = self.second_order(other, one)
            return trace, form.T
        middle = self.unit_cluster if one.of_units else self.cluster_cluster
        left = one.pattern @ middle
        trace = float(np.sum(left * (middle @ other.pattern)))
        right = other.pattern @ self._fixed(other)
        if one.of_units:
            right = np.repeat(right, self._sizes, axis=0)
        return trace, _sum_of_products(self._fixed(one), left @ right)

    def _fixed(self, component: Component) -> FloatArray:
        return self.unit_fixed if component.of_units else self.cluster_fixed

    @property
    def _sizes(self) -> IndexArray:
        return np.diff(self.cluster_starts)

    @property
    def _unit_shrinkage(self) -> FloatArray:
        return np.repeat(self.shrinkage, self._sizes, axis=0)

    @property
    def _diagonal_blocks(self) -> FloatArray:
        """Z_i'KZ_i, shape (n_units, q, q)."""
        return self.own - self.shared @ self._unit_shrinkage @ np.swapaxes(self.shared, 1, 2)

    def _trace_of_units(self, one: Component, other: Component) -> float:
        """Pairs of the same unit, then pairs of different units of a cluster."""
        blocks = self._diagonal_blocks
        same = np.sum((one.pattern @ blocks) * (blocks @ other.pattern))
        first, second = (self._shared_pattern(component) @ self._unit_shrinkage for component in (one, other))
        first_sum, second_sum = (
            np.add.reduceat(x, self.cluster_starts[:-1], axis=0) for x in (first, second)
        )
        all_pairs = np.sum(first_sum * np.swapaxes(second_sum, 1, 2))
        return float(same + all_pairs - np.sum(first * np.swapaxes(second, 1, 2)))

    def _shared_pattern(self, component: Component) -> FloatArray:
        """W_i[v,u]EW_i[u,v], shape (n_units, r, r)."""
        return np.swapaxes(self.shared, 1, 2) @ component.pattern @ self.shared

    def _form_of_units(self, one: Component, other: Component) -> FloatArray:
        left, right = one.pattern @ self.unit_fixed, other.pattern @ self.unit_fixed
        shared = np.swapaxes(self.shared, 1, 2)
        left_sum, right_sum = (
            np.add.reduceat(shared @ x, self.cluster_starts[:-1], axis=0) for x in (left, right)
        )
        return _sum_of_products(left, self.own @ right) - _sum_of_products(
            left_sum, self.shrinkage @ right_sum
        )


def _cross_products(rows: WorkingRows) -> FloatArray:
    """[Z_u Z_v]'[Z_u Z_v X] per unit, shape (n_units, q + r, q + r + p)."""
    random = np.column_stack([rows.unit_random, rows.cluster_random])
    columns = np.column_stack([random, rows.fixed])
    starts = rows.unit_starts
    products = np.empty((len(starts) - 1, random.shape[1], columns.shape[1]))
    for position in range(random.shape[1]):
        products[:, position] = np.add.reduceat(random[:, [position]] * columns, starts[:-1], axis=0)
    return products


def _without_unit_effects(products: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return W_i[u, :] and W_i[v, (v x)]."""
    q = len(covariance)
    effects = np.linalg.solve(np.eye(q) + products[:, :q, :q] @ covariance, products[:, :q])
    explained = products[:, q:, :q] @ covariance @ effects[:, :, q:]
    return effects, products[:, q:, q:] - explained


def _sum_of_products(left: FloatArray, right: FloatArray) -> FloatArray:
    """Σ_i L_i'R_i of stacked matrices with the same numbers of rows."""
    return left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2])
