"""Rows of several variables, some missing, summed into what their joint likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.models.multivariate_kernels import Cells, cross_products

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SortedCells:
    """Rows sorted into cells, cells into units, units into clusters.

    Parameters
    ----------
    cells : Cells
        What the likelihood needs.
    joint : ndarray, shape (n_rows, p + d)
        Sorted rows [x z], zero where missing.
    cell_starts : ndarray of int, shape (n_cells + 1,)
        First sorted row of each cell, and the number of rows.
    units : ndarray of int, shape (n_units,)
        Code of each unit in sorted order.
    clusters : ndarray of int, shape (n_clusters,)
        The same of each cluster.
    """

    cells: Cells
    joint: FloatArray
    cell_starts: NDArray[np.int64]
    units: NDArray[np.intp]
    clusters: NDArray[np.intp]

    @property
    def cell_grams(self) -> FloatArray:
        """Cross-products of each cell's rows, shape (n_cells, p + d, p + d)."""
        return cross_products(self.joint, self.cell_starts)


def sorted_cells(
    predictors: FloatArray, values: FloatArray, unit: NDArray[np.intp], cluster: NDArray[np.intp]
) -> SortedCells:
    """Sort rows and sum them.

    Parameters
    ----------
    predictors : ndarray, shape (n_rows, p)
        Ones first.
    values : ndarray, shape (n_rows, d)
        Variables, NaN where missing.
    unit, cluster : ndarray of int, shape (n_rows,)
        Code of the unit and of the cluster of each row; units are nested in clusters.

    Returns
    -------
    SortedCells
    """
    observed, pattern = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    order = np.lexsort((pattern, unit, cluster))
    joint = np.ascontiguousarray(np.column_stack([predictors, np.nan_to_num(values)])[order])
    pattern, unit, cluster = pattern[order], unit[order], cluster[order]
    cells = _firsts(unit, pattern)
    units = _firsts(unit[cells])
    clusters = _firsts(cluster[cells][units])
    cell_starts = np.append(cells, len(unit))
    # One sum per pattern: sorted by it, since equal patterns of different units are not next to each other.
    by_pattern = np.argsort(pattern, kind="stable")
    pattern_starts = np.searchsorted(pattern[by_pattern], np.arange(len(observed) + 1))
    return SortedCells(
        Cells(
            observed=observed.astype(np.int64),
            grams=cross_products(np.ascontiguousarray(joint[by_pattern]), pattern_starts.astype(np.int64)),
            sums=np.add.reduceat(joint, cells),
            patterns=pattern[cells].astype(np.int64),
            unit_starts=np.append(units, len(cells)).astype(np.int64),
            cluster_starts=np.append(clusters, len(units)).astype(np.int64),
        ),
        joint,
        cell_starts.astype(np.int64),
        unit[cells][units],
        cluster[cells][units][clusters],
    )


def _firsts(*keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the positions at which some key differs from the position before."""
    return np.flatnonzero(np.any([np.diff(key, prepend=-1) != 0 for key in keys], axis=0))
