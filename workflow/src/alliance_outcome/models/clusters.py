"""Which rows belong to which unit of a level, checked and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.models.design_checks import UnfittableModel


@dataclass(frozen=True, eq=False)
class Grouping:
    """Labels of one level as integer codes, in order of first appearance.

    Parameters
    ----------
    level : str
        Name of the level.
    codes : ndarray of int, shape (n_rows,)
        Code of the unit each row belongs to.
    labels : ndarray, shape (n_units,)
        Label of each code.
    """

    level: str
    codes: NDArray[np.intp]
    labels: NDArray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class RowOrder:
    """Rows sorted into units and units into clusters.

    Parameters
    ----------
    rows : ndarray of int, shape (n_rows,), or None
        Positions of the user's rows in sorted order; None if they are sorted as they are.
    unit_starts : ndarray of int, shape (n_units + 1,)
        First sorted row of each unit, and the number of rows last.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units last.
    """

    rows: NDArray[np.intp] | None
    unit_starts: NDArray[np.intp]
    cluster_starts: NDArray[np.intp]

    def take(self, values: NDArray) -> NDArray:
        """Sort an array of rows."""
        return values if self.rows is None else values[self.rows]

    def put(self, values: NDArray) -> NDArray:
        """Bring a sorted array back to the user's order."""
        if self.rows is None:
            return values
        back = np.empty_like(values)
        back[self.rows] = values
        return back


def group(labels: ArrayLike | pd.Series, n_rows: int, level: str) -> Grouping:
    """Code the labels of one level.

    Parameters
    ----------
    labels : array_like or Series of labels, shape (n_rows,)
        Any hashable labels.
    n_rows : int
        How many there must be.
    level : str
        Name of the level.

    Returns
    -------
    Grouping

    Raises
    ------
    UnfittableModel
        If there are more or fewer labels, or some are missing.
    """
    values = labels if isinstance(labels, pd.Series) else pd.Series(labels)
    if len(values) != n_rows:
        raise UnfittableModel(f"there are {len(values)} {level} labels for {n_rows} rows")
    codes, uniques = pd.factorize(values)
    missing = int(np.sum(codes < 0))
    if missing:
        raise UnfittableModel(f"{missing} rows have no {level} label; drop those rows and count them")
    return Grouping(level, codes.astype(np.intp, copy=False), np.asarray(uniques, dtype=object))


def require_nested(inner: Grouping, outer: Grouping) -> None:
    """Refuse units that appear in more than one cluster.

    Raises
    ------
    UnfittableModel
        With the number of such units.
    """
    last = np.empty(len(inner), dtype=np.intp)
    last[inner.codes] = outer.codes
    strays = np.unique(inner.codes[last[inner.codes] != outer.codes])
    if len(strays):
        raise UnfittableModel(
            f"{len(strays)} {inner.level}s appear with more than one {outer.level}; {inner.level}s must be nested in "
            f"{outer.level}s (split or drop those who changed)"
        )


def row_order(unit: Grouping, cluster: Grouping | None, times: NDArray[np.float64] | None) -> RowOrder:
    """Sort rows into units, by time if there are times, and units into clusters, by first appearance.

    Parameters
    ----------
    unit : Grouping
        The innermost level.
    cluster : Grouping or None
        The level above it.
    times : ndarray, shape (n_rows,), or None
        Time of each row.

    Returns
    -------
    RowOrder
    """
    outer = unit.codes if cluster is None else cluster.codes
    keys = (outer,) if cluster is None else (outer, unit.codes)
    if times is not None:
        keys = (*keys, times)
    rows = None if _sorted(keys) else np.lexsort(keys[::-1])
    sorted_units = unit.codes if rows is None else unit.codes[rows]
    sorted_outer = outer if rows is None else outer[rows]
    new_unit = np.flatnonzero(np.diff(sorted_units, prepend=-1) != 0)
    new_cluster = np.flatnonzero(np.diff(sorted_outer[new_unit], prepend=-1) != 0)
    return RowOrder(rows, np.append(new_unit, len(outer)), np.append(new_cluster, len(new_unit)))


def _sorted(keys: Sequence[NDArray]) -> bool:
    """Whether rows are sorted by the first key, ties by the next, and so on."""
    tied = np.ones(len(keys[0]) - 1, dtype=bool)
    for key in keys:
        change = np.diff(key)
        if np.any(tied & (change < 0)):
            return False
        tied &= change == 0
    return True
