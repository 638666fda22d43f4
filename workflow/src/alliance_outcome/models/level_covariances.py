"""Covariance matrices of a model's columns at each of its levels, also for resampled clusters.

A column is the sum of parts that vary at one level each: a row minus the mean of its client, that mean minus the mean
of the therapist's rows, and the therapist's mean. All means are over rows, so that parts of different levels are
uncorrelated over rows and their covariance matrices add up to that of the columns. Cross-products of the parts are sums
over clusters; :class:`LevelMoments` keeps them per cluster, and a bootstrap replicate is a weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class LevelledDesign:
    """The columns of a model with the levels that its rows are nested in; rows in any order.

    Parameters
    ----------
    terms : tuple of str
        Names of the fixed-effect columns.
    fixed : ndarray, shape (n_rows, p)
        Fixed-effect columns as the coefficients apply to them, the intercept's ones among them.
    levels : tuple of str
        Names of the levels, innermost first: that of the rows, then one for each of `groups`. With one row per client
        the rows' level is the client and the first group may be the therapist.
    groups : tuple of ndarray of int, each of shape (n_rows,)
        Code of the unit each row belongs to, innermost level first; each nested in the next. Empty for a model without
        random effects.
    random : tuple of ndarray, each of shape (n_rows, q)
        Columns with random effects for each of `groups`, the intercept's ones among them; q may be 0.

    Raises
    ------
    ValueError
        If shapes disagree, values are missing or infinite, or units are not nested.
    """

    terms: tuple[str, ...]
    fixed: FloatArray
    levels: tuple[str, ...]
    groups: tuple[IndexArray, ...]
    random: tuple[FloatArray, ...]

    def __post_init__(self) -> None:
        if len(set(self.levels)) != len(self.levels) or len(self.levels) != len(self.groups) + 1:
            raise ValueError("levels need distinct names: one for the rows and one for each grouping")
        if len(self.random) != len(self.groups):
            raise ValueError("each grouping needs its random-effect columns, possibly none")
        if self.fixed.shape != (self.n_rows, len(self.terms)) or self.n_rows < 2:
            raise ValueError("the fixed-effect columns need one name each and at least two rows")
        for columns in (self.fixed, *self.random):
            if columns.ndim != 2 or len(columns) != self.n_rows:
                raise ValueError("fixed and random columns must be matrices with the same number of rows")
            if not np.isfinite(columns).all():
                raise ValueError("fixed or random columns have missing or infinite values")
        for codes in self.groups:
            _require_codes(codes, self.n_rows)
        for inner, outer in pairwise(self.groups):
            _require_nested(inner, outer)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.fixed)

    @property
    def slopes(self) -> tuple[bool, ...]:
        """Whether each grouping has random effects other than that of an intercept."""
        return tuple(bool(np.any(np.ptp(columns, axis=0) > 0.0)) for columns in self.random)


@dataclass(frozen=True, eq=False)
class LevelCovariances:
    """Means of columns over rows, and the covariance matrices of their parts.

    Parameters
    ----------
    means : ndarray, shape (c,)
        Means over all rows.
    by_level : ndarray, shape (n_levels, c, c)
        Covariance matrix at each level, innermost first, with the denominator rows − 1 at every level.
    """

    means: FloatArray
    by_level: FloatArray


@dataclass(frozen=True, eq=False)
class DesignCovariances:
    """What a decomposition of variance needs to know of a design.

    Parameters
    ----------
    terms, levels
        As in :class:`LevelledDesign`.
    slopes : tuple of bool
        Whether each grouping has random slopes.
    fixed : LevelCovariances
        Of the fixed-effect columns.
    random : tuple of LevelCovariances
        Of the columns with random effects, one for each grouping.
    """

    terms: tuple[str, ...]
    levels: tuple[str, ...]
    slopes: tuple[bool, ...]
    fixed: LevelCovariances
    random: tuple[LevelCovariances, ...]


def design_covariances(design: LevelledDesign) -> DesignCovariances:
    """Compute the covariance matrices of a design at each level.

    Parameters
    ----------
    design : LevelledDesign
        The design.

    Returns
    -------
    DesignCovariances
    """
    groups = [_dense(codes) for codes in design.groups]
    fixed, *random = (_block_covariances(columns, groups) for columns in (design.fixed, *design.random))
    return DesignCovariances(design.terms, design.levels, design.slopes, fixed, tuple(random))


def _block_covariances(columns: FloatArray, groups: Sequence[IndexArray]) -> LevelCovariances:
    means = columns.mean(axis=0)
    parts = _level_parts(columns - means, groups)
    return LevelCovariances(means, np.stack([part.T @ part for part in parts]) / (len(columns) - 1))


@dataclass(frozen=True, eq=False)
class LevelMoments:
    """The sums over each cluster from which covariances of resampled clusters follow without going back to rows.

    Parameters
    ----------
    terms, levels, slopes
        As in :class:`DesignCovariances`.
    sizes : ndarray, shape (n_clusters,)
        Number of rows of each cluster, clusters in the order of their sorted codes.
    fixed : BlockMoments
        Of the fixed-effect columns.
    random : tuple of BlockMoments
        Of the columns with random effects, one for each grouping.
    """

    terms: tuple[str, ...]
    levels: tuple[str, ...]
    slopes: tuple[bool, ...]
    sizes: FloatArray
    fixed: BlockMoments
    random: tuple[BlockMoments, ...]

    @classmethod
    def of(cls, design: LevelledDesign, clusters: IndexArray | None = None) -> LevelMoments:
        """Sum a design over clusters.

        Parameters
        ----------
        design : LevelledDesign
            The design.
        clusters : ndarray of int, shape (n_rows,), optional
            What is resampled: the outermost grouping unless given, or each row in a design without groupings. It may be
            a level above those of the model, such as therapists where only clients have random effects.

        Returns
        -------
        LevelMoments
            It takes 8 n_clusters n_levels (p² + Σ q²) bytes.

        Raises
        ------
        ValueError
            If the outermost units of the design are not nested in `clusters`.
        """
        groups = [_dense(codes) for codes in design.groups] or [np.arange(design.n_rows)]
        resampled = groups[-1]
        if clusters is not None:
            _require_codes(clusters, design.n_rows)
            _require_nested(resampled, clusters)
            resampled = _dense(clusters)
        levels = groups[: len(design.groups)]
        fixed, *random = (
            BlockMoments.of(columns, levels, resampled) for columns in (design.fixed, *design.random)
        )
        sizes = np.bincount(resampled).astype(float)
        return cls(design.terms, design.levels, design.slopes, sizes, fixed, tuple(random))

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.sizes)

    def covariances(self, weights: FloatArray | None = None) -> DesignCovariances:
        """Compute the covariances of a sample of clusters.

        Parameters
        ----------
        weights : ndarray, shape (n_clusters,), optional
            How often each cluster was drawn; once each unless given. A cluster that was drawn twice counts as two
            clusters with equal rows.

        Returns
        -------
        DesignCovariances
            At a cost of n_clusters × n_levels × (p² + Σ q²) multiplications.

        Raises
        ------
        ValueError
            If weights are not one number of at least 0 for each cluster, or leave fewer than two rows.
        """
        weights = np.ones(self.n_clusters) if weights is None else np.asarray(weights, dtype=float)
        if weights.shape != self.sizes.shape or not np.all(weights >= 0.0):
            raise ValueError("each cluster needs a weight of 0 or more")
        n_rows = float(weights @ self.sizes)
        if n_rows < 2.0:
            raise ValueError("the weights leave fewer than two rows")
        return DesignCovariances(
            self.terms,
            self.levels,
            self.slopes,
            self.fixed.covariances(weights, n_rows),
            tuple(block.covariances(weights, n_rows) for block in self.random),
        )


@dataclass(frozen=True, eq=False)
class BlockMoments:
    """Sums over each cluster of a block of columns.

    Parameters
    ----------
    origin : ndarray, shape (c,)
        Means over all rows, subtracted before anything is squared, so that a large offset costs no digits.
    sums : ndarray, shape (n_clusters, c)
        Sums of the columns less their origin.
    crossproducts : ndarray, shape (n_clusters, n_levels, c, c)
        Sums over rows of the products of the parts at each level, innermost first.
    """

    origin: FloatArray
    sums: FloatArray
    crossproducts: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, groups: Sequence[IndexArray], clusters: IndexArray) -> BlockMoments:
        """Sum columns, shape (n_rows, c), over clusters, codes 0, 1, … of shape (n_rows,)."""
        origin = columns.mean(axis=0)
        centred = columns - origin
        crossproducts = [_cluster_crossproducts(part, clusters) for part in _level_parts(centred, groups)]
        return cls(origin, _cluster_sums(centred, clusters), np.stack(crossproducts, axis=1))

    def covariances(self, weights: FloatArray, n_rows: float) -> LevelCovariances:
        """Combine clusters, drawn `weights` times and `n_rows` rows in all, to covariances."""
        shift = weights @ self.sums / n_rows
        flat = weights @ self.crossproducts.reshape(len(weights), -1)
        products = flat.reshape(self.crossproducts.shape[1:])
        # Parts of inner levels have mean zero in every cluster; that of the outermost has the mean of the sample.
        products[-1] -= n_rows * np.outer(shift, shift)
        return LevelCovariances(self.origin + shift, products / (n_rows - 1.0))


def _level_parts(columns: FloatArray, groups: Sequence[IndexArray]) -> list[FloatArray]:
    """Split columns, shape (n_rows, c), into parts that vary at one level each, innermost first.

    Codes of `groups` are 0, 1, … without gaps.
    """
    parts = []
    for codes in groups:
        means = (_cluster_sums(columns, codes) / np.bincount(codes)[:, None])[codes]
        parts.append(columns - means)
        columns = means
    return [*parts, columns]


def _cluster_sums(columns: FloatArray, clusters: IndexArray) -> FloatArray:
    """Sum columns over clusters; shape (n_clusters, c)."""
    sums = np.empty((clusters.max() + 1, columns.shape[1]))
    for position, column in enumerate(columns.T):
        sums[:, position] = np.bincount(clusters, weights=column)
    return sums


def _cluster_crossproducts(columns: FloatArray, clusters: IndexArray) -> FloatArray:
    """Sum the products of all pairs of columns over clusters; shape (n_clusters, c, c)."""
    count = columns.shape[1]
    # Pair by pair: the products of all pairs at once would take c times the memory of the columns.
    products = np.empty((clusters.max() + 1, count, count))
    for first in range(count):
        for second in range(first + 1):
            sums = np.bincount(clusters, weights=columns[:, first] * columns[:, second])
            products[:, first, second] = products[:, second, first] = sums
    return products


def _dense(codes: IndexArray) -> IndexArray:
    """Renumber codes 0, 1, … in sorted order."""
    return np.unique(codes, return_inverse=True)[1]


def _require_codes(codes: IndexArray, n_rows: int) -> None:
    if codes.shape != (n_rows,) or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError("units need an integer code for each row")


def _require_nested(inner: IndexArray, outer: IndexArray) -> None:
    units = _dense(inner)
    above = np.empty(units.max() + 1, dtype=outer.dtype)
    above[units] = outer
    shared = len(np.unique(units[above[units] != outer]))
    if shared:
        raise ValueError(f"{shared} units belong to more than one unit of the level above")
