"""Cluster-robust covariance matrices of fixed effects, with their own degrees of freedom.

With V_j the covariance matrix that the model implies for cluster j, relative to the residual variance, M = (X'V⁻¹X)⁻¹
and e the residuals y − Xb,

    C = M [Σ_j X_j'V_j⁻¹A_j e_j e_j'A_j'V_j⁻¹X_j] M,

and A_j is what the kinds differ in: I (CR0), √(J/(J − 1)) I (CR1), the symmetric A with A(V_j − X_jMX_j')A = V_j, which
makes C unbiased if the model is right (CR2), or (I − X_jMX_j'V_j⁻¹)⁻¹, close to the jackknife (CR3).

V_j acts as the identity on all that is orthogonal to the columns of [Z X], if residuals are independent, and so does
A_j. Everything is therefore computed in an orthonormal basis of these columns; a cluster's size in rows hardly matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.f_approximation import FApproximation, hypothesis_rows
from alliance_outcome.models.fitted_state import FittedState, FloatArray, IndexArray

Kind = Literal["CR0", "CR1", "CR2", "CR3"]

#: In a direction in which fixed effects leave up to this of the variance, CR2 takes it that they leave none, and passes
#: the direction over; R's clubSandwich has the same limit in units of the residual variance.
NO_RESIDUAL = 1e-12

#: Clusters are worked through in batches of about this many elements of their covariance matrices.
BATCH_NUMBERS = 1_000_000

#: Less than this share is nothing: of the information on fixed effects that is left without a cluster, and of their
#: variance that a cluster-robust estimate finds on average.
SINGULAR = 1e-10


@dataclass(frozen=True)
class ClusterRobust:
    """A cluster-robust covariance matrix, in working coordinates, and what its distribution depends on.

    Parameters
    ----------
    kind : {"CR0", "CR1", "CR2", "CR3"}
    covariance : ndarray, shape (p, p)
        C.
    bread : ndarray, shape (p, p)
        M.
    exposures : ndarray, shape (n_clusters, p, p)
        L_j'X_j with L_j = A_j'V_j⁻¹X_j.
    spreads : ndarray, shape (n_clusters, p, p)
        L_j'V_jL_j.
    """

    kind: Kind
    covariance: FloatArray
    bread: FloatArray
    exposures: FloatArray
    spreads: FloatArray

    @property
    def n_clusters(self) -> int:
        """Number J of clusters."""
        return len(self.exposures)

    @property
    def expected(self) -> FloatArray:
        """Mean of C if the model is right, relative to the residual variance, shape (p, p).

        That of CR2 is M, except for coefficients that rest on a single cluster: there it shows how much is missing.
        """
        explained = self.exposures @ self.bread @ np.swapaxes(self.exposures, 1, 2)
        return self.bread @ np.sum(self.spreads - explained, axis=0) @ self.bread

    def approximation(self, hypothesis: ArrayLike) -> FApproximation:
        """Approximate the distribution of a Wald statistic that is formed with the cluster-robust covariance matrix.

        Parameters
        ----------
        hypothesis : array_like, shape (p,) or (n_rows, p)
            Weights of the fixed effects, one row per statement.

        Returns
        -------
        FApproximation
            For a single row with Satterthwaite degrees of freedom and scaling 1, otherwise Hotelling's T² with
            estimated degrees of freedom. Where these do not reach the number of rows, scaling is 0 and denominator
            degrees of freedom are not positive: there are too few clusters for the test.

        Raises
        ------
        ValueError
            If rows are zero or dependent, or have the wrong length.
        UnavailableInference
            If the estimate cannot but be zero, because fixed effects leave no residual in this direction.

        Notes
        -----
        Pustejovsky & Tipton 2018 (10.1080/07350015.2016.1247004), with the fitted model as the working model:
        ``coef_test(test = "Satterthwaite")`` and ``Wald_test(test = "HTZ")`` of R's clubSandwich. The estimate of the
        covariance matrix of Lb is Σ_j Y_jY_j' with Y normal and cov(Y_j, Y_k) = B_jk, where B_jk = δ_jk S_j − N_jN_k'.
        """
        rows = hypothesis_rows(hypothesis, self.bread)
        weights = rows @ self.bread
        spreads = weights @ self.spreads @ weights.T
        loadings = weights @ self.exposures @ np.linalg.cholesky(self.bread)
        root = _inverse_root(rows @ self.expected @ rows.T, rows @ self.bread @ rows.T)
        degrees = _hotelling_degrees(root @ spreads @ root, root @ loadings)
        q = len(rows)
        denominator = degrees - q + 1.0
        return FApproximation(q, denominator, max(denominator / degrees, 0.0))


def _inverse_root(expected: FloatArray, model: FloatArray) -> FloatArray:
    """Return the symmetric inverse root of the expected estimate, once it is more than rounding error."""
    sizes = np.sqrt(np.diag(model))
    if np.linalg.eigvalsh(expected / np.outer(sizes, sizes))[0] < SINGULAR:
        raise UnavailableInference(
            "fixed effects leave no residual in the direction of this hypothesis, because a coefficient rests on a "
            "single cluster or there are as many coefficients as clusters; use the model's own standard error"
        )
    values, vectors = np.linalg.eigh(expected)
    return (vectors / np.sqrt(values)) @ vectors.T


def _hotelling_degrees(spreads: FloatArray, loadings: FloatArray) -> float:
    """Degrees of freedom of the Wishart distribution with the total variance of Σ_j Y_jY_j', E of which is I.

    The total variance is Σ_jk tr(B_jkB_jk) + tr(B_jk)²; sums over pairs of clusters are products of sums over clusters.
    """
    q = loadings.shape[1]
    own = loadings @ np.swapaxes(loadings, 1, 2)
    flat = loadings.reshape(len(loadings), -1)
    products = (flat.T @ flat).reshape(loadings.shape[1:] * 2)
    total = np.sum(products**2) + np.sum(products * products.transpose(2, 1, 0, 3))
    total += np.sum(spreads * (spreads - 2.0 * own))
    traces, own_traces = np.trace(spreads, axis1=1, axis2=2), np.trace(own, axis1=1, axis2=2)
    total += np.sum(traces * (traces - 2.0 * own_traces))
    return float(q * (q + 1.0) / total)


def cluster_robust(state: FittedState, row_starts: IndexArray, kind: Kind = "CR2") -> ClusterRobust:
    """Estimate the covariance matrix of fixed effects from the residuals of whole clusters.

    Parameters
    ----------
    state : FittedState
        A fit.
    row_starts : ndarray of int, shape (n_clusters + 1,)
        First row of each cluster, and the number of rows last: ``state.rows.cluster_row_starts``, or coarser.
    kind : {"CR0", "CR1", "CR2", "CR3"}
        Correction for small samples.

    Returns
    -------
    ClusterRobust

    Raises
    ------
    UnavailableInference
        With a single cluster; if rows of different clusters are correlated in the model; for CR3, if a coefficient
        rests on a single cluster.
    ValueError
        If the kind is unknown, or the starts are not those of successive clusters.

    Notes
    -----
    ``vcovCR`` of R's clubSandwich for ``lmer`` fits: Bell & McCaffrey's CR2 as generalised by Pustejovsky & Tipton 2018
    (10.1080/07350015.2016.1247004), with the inverse of the model's covariance matrix for weights. Where a coefficient
    rests on a single cluster, CR2 takes a pseudo-inverse, as clubSandwich does, and is too small for it.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"a cluster-robust covariance is of kind {', '.join(get_args(Kind))}")
    starts = _checked_starts(row_starts, state)
    constant = (len(starts) - 1) / (len(starts) - 2) if kind == "CR1" else 1.0
    bread = state.covariance / state.residual_variance
    p = len(bread)
    scores, exposures, spreads = (np.empty((len(starts) - 1, *shape)) for shape in ((p,), (p, p), (p, p)))
    for batch, clusters in _batches(state, starts):
        weights = np.sqrt(constant) * np.swapaxes(_weights(clusters, bread, kind), 1, 2)
        scores[batch] = (weights @ clusters.residual[:, :, None])[:, :, 0]
        exposures[batch] = weights @ clusters.fixed
        spreads[batch] = weights @ np.swapaxes(weights, 1, 2)
    return ClusterRobust(kind, bread @ (scores.T @ scores) @ bread, bread, exposures, spreads)


def _checked_starts(row_starts: ArrayLike, state: FittedState) -> IndexArray:
    """Return the starts of the clusters, once rows of different clusters are known to be uncorrelated in the model."""
    starts, rows = np.asarray(row_starts, dtype=np.intp), state.rows
    if not len(starts) or starts[0] != 0 or starts[-1] != len(rows.outcome) or np.any(np.diff(starts) <= 0):
        raise ValueError(
            "clusters must start at increasing rows, from the first, with the number of rows last"
        )
    if len(starts) < 3:
        raise UnavailableInference("a cluster-robust covariance needs at least two clusters")
    correlated_units = rows.unit_random.shape[1] > 0 or state.autocorrelation is not None
    if rows.cluster_random.shape[1] and not np.all(np.isin(starts, rows.cluster_row_starts)):
        raise UnavailableInference(
            "random effects of the outer level correlate rows of different clusters; use the clusters of the outer "
            "level for a cluster-robust covariance, or leave out its random effects"
        )
    if correlated_units and not np.all(np.isin(starts, rows.unit_starts)):
        raise UnavailableInference(
            "rows of one unit, correlated in the model, are in different clusters; use clusters that hold whole units"
        )
    return starts


@dataclass(frozen=True)
class _Clusters:
    """Clusters of the same dimension d, in coordinates in which the model's covariance matrix V is the identity.

    Parameters
    ----------
    root : ndarray, shape (n, d, d)
        Lower-triangular R with RR' = V.
    fixed : ndarray, shape (n, d, p)
        R⁻¹X.
    residual : ndarray, shape (n, d)
        R⁻¹e.
    """

    root: FloatArray
    fixed: FloatArray
    residual: FloatArray


def _batches(state: FittedState, starts: IndexArray) -> Iterator[tuple[IndexArray, _Clusters]]:
    """Yield clusters, as many of the same dimension at a time as memory and speed suggest, and their positions."""
    layout = _Layout.of(state)
    dimensions = np.array([layout.dimension(*pair) for pair in pairwise(starts)])
    order = np.argsort(dimensions, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(dimensions[order])) + 1):
        size = max(1, BATCH_NUMBERS // int(dimensions[same[0]]) ** 2)
        for batch in np.split(same, range(size, len(same), size)):
            blocks = [layout.block(starts[cluster], starts[cluster + 1]) for cluster in batch]
            covariance, columns = (np.stack(part) for part in zip(*blocks, strict=True))
            root = np.linalg.cholesky(covariance)
            white = np.linalg.solve(root, columns)
            yield batch, _Clusters(root, white[:, :, :-1], white[:, :, -1])


@dataclass(frozen=True)
class _Layout:
    """Rows with what it takes to write out the covariance matrix of some of them.

    Parameters
    ----------
    unit_effects, cluster_effects : ndarray, shape (n_rows, rank of Ψ)
        ZΛ with ΛΛ' = Ψ.
    columns : ndarray, shape (n_rows, p + 1)
        [X e].
    unit, cluster : ndarray of int, shape (n_rows,)
        Which of them a row belongs to.
    time : ndarray, shape (n_rows,), or None
        Time since any origin, the same in a unit; None with independent residuals.
    autocorrelation : float or None
    """

    unit_effects: FloatArray
    cluster_effects: FloatArray
    columns: FloatArray
    unit: IndexArray
    cluster: IndexArray
    time: FloatArray | None
    autocorrelation: float | None

    @classmethod
    def of(cls, state: FittedState) -> _Layout:
        rows = state.rows
        residual = rows.outcome - rows.fixed @ state.coefficients
        return cls(
            unit_effects=rows.unit_random @ _factor(state.unit_covariance),
            cluster_effects=rows.cluster_random @ _factor(state.cluster_covariance),
            columns=np.column_stack([rows.fixed, residual]),
            unit=_groups(rows.unit_starts),
            cluster=_groups(rows.cluster_row_starts),
            time=None if state.autocorrelation is None else np.cumsum(rows.gaps),
            autocorrelation=state.autocorrelation,
        )

    def dimension(self, start: int, stop: int) -> int:
        """Return the size of the covariance matrix that `block` writes out."""
        if self.autocorrelation is not None:
            return stop - start
        columns = (self.unit[stop - 1] - self.unit[start] + 1) * self.unit_effects.shape[1]
        columns += (self.cluster[stop - 1] - self.cluster[start] + 1) * self.cluster_effects.shape[1]
        return min(stop - start, int(columns) + self.columns.shape[1])

    def block(self, start: int, stop: int) -> tuple[FloatArray, FloatArray]:
        """Return the covariance matrix of successive rows and their [X e], in an orthonormal basis of [Z X e]."""
        rows = slice(start, stop)
        effects = np.column_stack(
            [
                _apart(self.unit_effects[rows], self.unit[rows]),
                _apart(self.cluster_effects[rows], self.cluster[rows]),
            ]
        )
        columns, residual = self.columns[rows], np.eye(self.dimension(start, stop))
        if self.autocorrelation is not None:
            residual = self._autoregression(rows)
        elif len(residual) < len(columns):
            joint = np.linalg.qr(np.column_stack([effects, columns]), mode="r")
            effects, columns = np.split(joint, [effects.shape[1]], axis=1)
        return residual + effects @ effects.T, columns

    def _autoregression(self, rows: slice) -> FloatArray:
        unit, time = self.unit[rows], self.time[rows]
        same = unit[:, None] == unit
        return same * self.autocorrelation ** (same * np.abs(time[:, None] - time))


def _factor(covariance: FloatArray) -> FloatArray:
    """Return Λ with ΛΛ' = Ψ and as many columns as Ψ has positive eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 0.0
    return vectors[:, kept] * np.sqrt(values[kept])


def _groups(starts: IndexArray) -> IndexArray:
    """Number the group of each row from the first row of each group."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _apart(effects: FloatArray, group: IndexArray) -> FloatArray:
    """Give each group's rows columns of their own, shape (n_rows, n_groups * n_effects)."""
    position = group - group[0]
    columns = np.zeros((len(group), position[-1] + 1, effects.shape[1]))
    columns[np.arange(len(group)), position] = effects
    return columns.reshape(len(group), -1)


def _weights(clusters: _Clusters, bread: FloatArray, kind: Kind) -> FloatArray:
    """Return R'L, shape (n, d, p); that of CR1 without its constant."""
    if kind == "CR2":
        return _unbiased_weights(clusters, bread)
    if kind == "CR3":
        return _left_out_weights(clusters, bread)
    return clusters.fixed


def _unbiased_weights(clusters: _Clusters, bread: FloatArray) -> FloatArray:
    """Solve for CR2: with D = R' and KK' = D(V − XMX')D', A is D'(KK')^(−1/2)D.

    The square root of I − R⁻¹XMX'R'⁻¹ inside K, and the singular values of K rather than eigenvalues of KK', keep
    the digits that squares would lose.
    """
    product = np.swapaxes(clusters.root, 1, 2) @ clusters.root
    basis, lengths, _ = np.linalg.svd(clusters.fixed @ np.linalg.cholesky(bread), full_matrices=False)
    left = 1.0 - np.minimum(lengths, 1.0) ** 2
    shortening = 1.0 - np.sqrt(np.where(left > NO_RESIDUAL, left, 0.0))
    shortened = (product @ basis * shortening[:, None, :]) @ np.swapaxes(basis, 1, 2)
    vectors, values, _ = np.linalg.svd(product - shortened)
    limit = values.shape[1] * np.finfo(float).eps * values[:, :1]
    inverses = 1.0 / np.where(values > limit, values, np.inf)
    return product @ vectors @ (inverses[:, :, None] * (np.swapaxes(vectors, 1, 2) @ clusters.fixed))


def _left_out_weights(clusters: _Clusters, bread: FloatArray) -> FloatArray:
    """Solve for CR3: L is V⁻¹X(I − MX'V⁻¹X)⁻¹."""
    information = np.swapaxes(clusters.fixed, 1, 2) @ clusters.fixed
    root = np.linalg.cholesky(bread)
    if np.any(1.0 - np.linalg.eigvalsh(root.T @ information @ root)[:, -1] < SINGULAR):
        raise UnavailableInference(
            "CR3 leaves out each cluster in turn, and one term rests on a single cluster; use CR2 or leave the term out"
        )
    return clusters.fixed @ np.linalg.inv(np.eye(len(bread)) - bread @ information)
