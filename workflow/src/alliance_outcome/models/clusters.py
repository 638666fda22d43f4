"""Which rows belong to which client and therapist, put in an order that depends on their contents alone.

Floating-point sums depend on the order of their terms. Rows, clients and therapists are therefore sorted by
what they contain before anything is computed, so that neither the order of a file's rows nor the names of its
participants can move a result in its last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.models.design_checks import UnfittableModel


@dataclass(frozen=True)
class Grouping:
    """Labels of one level as integer codes.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Code of the cluster each row belongs to.
    labels : ndarray of object, shape (n_clusters,)
        Label of each code.
    """

    codes: NDArray[np.intp]
    labels: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class CanonicalOrder:
    """Rows sorted into units (the finest level with a random effect) and units into top-level clusters.

    Parameters
    ----------
    rows : ndarray of int, shape (n_rows,)
        Positions of the original rows in canonical order.
    unit_starts : ndarray of int, shape (n_units,)
        First position, in canonical order, of each unit's rows.
    cluster_starts : ndarray of int, shape (n_clusters,)
        First unit of each top-level cluster; without a second level every unit is a cluster.
    cluster_codes : ndarray of int, shape (n_clusters,)
        Original code of each top-level cluster.
    """

    rows: NDArray[np.intp]
    unit_starts: NDArray[np.intp]
    cluster_starts: NDArray[np.intp]
    cluster_codes: NDArray[np.intp]


def group(labels: ArrayLike | pd.Series | None, index: pd.Index, level: str) -> Grouping | None:
    """Code the labels of one level.

    Parameters
    ----------
    labels : array_like or Series of labels, shape (n_rows,), or None
        Any hashable labels; a Series must carry `index`.
    index : Index
        Index of the fixed-effect columns.
    level : str
        Name of the level, for messages.

    Returns
    -------
    Grouping or None
        None if there are no labels.

    Raises
    ------
    UnfittableModel
        If the labels do not fit the rows or some are missing.
    """
    if labels is None:
        return None
    if isinstance(labels, pd.Series) and not labels.index.equals(index):
        raise UnfittableModel(f"the {level} labels and the fixed-effect columns have different indices")
    series = pd.Series(labels)
    if len(series) != len(index):
        raise UnfittableModel(f"there are {len(series)} {level} labels for {len(index)} rows")
    codes, uniques = pd.factorize(series.to_numpy(dtype=object))
    missing = int(np.sum(codes < 0))
    if missing:
        raise UnfittableModel(f"{missing} rows have no {level} label; drop those rows and count them")
    return Grouping(codes.astype(np.intp), np.asarray(uniques, dtype=object))


def require_nested(client: Grouping, therapist: Grouping) -> None:
    """Refuse clients who appear with more than one therapist.

    Raises
    ------
    UnfittableModel
        With the number of such clients.
    """
    pairs = np.unique(np.column_stack([client.codes, therapist.codes]), axis=0)
    therapists_per_client = np.bincount(pairs[:, 0])
    shared = int(np.sum(therapists_per_client > 1))
    if shared:
        raise UnfittableModel(
            f"{shared} clients appear with more than one therapist; clients must be nested in therapists "
            "(split or drop those who changed)"
        )


def sorted_positions(labels: Sequence) -> list[int]:
    """Return the positions that sort labels, whatever their types.

    Parameters
    ----------
    labels : sequence
        Unique labels; labels of different types are sorted type by type.

    Returns
    -------
    list of int, length n_labels
    """
    try:
        return sorted(range(len(labels)), key=lambda position: labels[position])
    except TypeError:
        return sorted(range(len(labels)), key=lambda p: (type(labels[p]).__name__, str(labels[p])))


def canonical_order(
    contents: NDArray[np.float64], unit_codes: NDArray[np.intp], cluster_codes: NDArray[np.intp] | None
) -> CanonicalOrder:
    """Sort rows within units, units within clusters, and clusters, by their contents.

    Parameters
    ----------
    contents : ndarray, shape (n_rows, n_columns)
        Everything that enters the model, one row each.
    unit_codes : ndarray of int, shape (n_rows,)
        Unit of each row.
    cluster_codes : ndarray of int, shape (n_rows,), or None
        Top-level cluster of each row, if there is a level above the units.

    Returns
    -------
    CanonicalOrder

    Notes
    -----
    Ties are clusters with identical contents; which of them comes first makes no difference.
    """
    contents = contents + 0.0  # turns -0.0 into 0.0, whose bytes differ
    order = np.lexsort((*contents.T[::-1], unit_codes))
    boundaries = np.flatnonzero(np.diff(unit_codes[order])) + 1
    units = [(contents[rows].tobytes(), rows) for rows in np.split(order, boundaries)]
    units.sort(key=lambda unit: unit[0])
    if cluster_codes is None:
        clusters = [(code, [unit]) for code, unit in ((unit_codes[unit[1][0]], unit) for unit in units)]
    else:
        members: dict[int, list[tuple[bytes, NDArray[np.intp]]]] = {}
        for unit in units:
            members.setdefault(int(cluster_codes[unit[1][0]]), []).append(unit)
        clusters = sorted(members.items(), key=lambda item: [content for content, _ in item[1]])
    sizes = [len(rows) for _, members_ in clusters for _, rows in members_]
    return CanonicalOrder(
        rows=np.concatenate([rows for _, members_ in clusters for _, rows in members_]),
        unit_starts=_starts(sizes),
        cluster_starts=_starts([len(members_) for _, members_ in clusters]),
        cluster_codes=np.array([code for code, _ in clusters], dtype=np.intp),
    )


def _starts(sizes: list[int]) -> NDArray[np.intp]:
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
