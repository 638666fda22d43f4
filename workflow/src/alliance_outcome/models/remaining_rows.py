"""A design without some of its rows, in the standardised coordinates of all rows.

Refits that leave out a group have to keep centres and scales: otherwise every refit would have another prior.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.clusters import Grouping, RowOrder
from alliance_outcome.models.fitted_state import IndexArray, WorkingRows
from alliance_outcome.models.nested_design import Levels, ModelColumns, NestedDesign
from alliance_outcome.models.standardised_design import StandardisedDesign


def without_rows(design: StandardisedDesign, left_out: slice) -> StandardisedDesign:
    """Leave out neighbouring rows of a design.

    Parameters
    ----------
    design : StandardisedDesign
    left_out : slice
        Rows in sorted order, those of `design.rows`. With AR(1) residuals only whole units may be left out, because the
        time since a unit's previous row is kept.

    Returns
    -------
    StandardisedDesign
        The other rows, sorted as they were. Centres, scales, the mean of the outcome and random effects are those of
        all rows; whether a design of the other rows alone would be accepted is not checked, because priors are proper.
    """
    nested = design.nested
    kept = np.ones(len(nested.columns.outcome), dtype=bool)
    kept[left_out] = False
    columns = _columns_at(nested.columns, nested.order.take(np.arange(len(kept)))[kept])
    order = _order_of(nested.order, kept)
    remaining = NestedDesign(
        columns,
        Levels(columns.groups, len(columns.outcome)),
        nested.structure,
        nested.scaling,
        nested.effect_maps,
        order,
        _working_rows(nested.rows, kept, order),
        nested.whole_gaps,
        nested.time_unit,
    )
    return replace(design, nested=remaining)


def _columns_at(columns: ModelColumns, positions: IndexArray) -> ModelColumns:
    """Pick rows, by their positions as the user passed them."""
    return replace(
        columns,
        outcome=columns.outcome[positions],
        fixed=columns.fixed[positions],
        groups=tuple(_grouping_at(grouping, positions) for grouping in columns.groups),
        random={level: replace(own, values=own.values[positions]) for level, own in columns.random.items()},
        times=None if columns.times is None else columns.times[positions],
    )


def _grouping_at(grouping: Grouping, positions: IndexArray) -> Grouping:
    codes, left = pd.factorize(grouping.codes[positions])
    return Grouping(grouping.level, codes.astype(np.intp, copy=False), grouping.labels[left])


def _order_of(order: RowOrder, kept: NDArray[np.bool_]) -> RowOrder:
    """Count what is left of each unit and cluster; those of which nothing is left go."""
    rows = np.add.reduceat(kept, order.unit_starts[:-1], dtype=np.intp)
    units = np.add.reduceat(rows > 0, order.cluster_starts[:-1], dtype=np.intp)
    return RowOrder(None, _starts(rows), _starts(units))


def _starts(sizes: IndexArray) -> IndexArray:
    return np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.intp)


def _working_rows(rows: WorkingRows, kept: NDArray[np.bool_], order: RowOrder) -> WorkingRows:
    return WorkingRows(
        rows.outcome[kept],
        rows.fixed[kept],
        rows.unit_random[kept],
        rows.cluster_random[kept],
        order.unit_starts,
        order.cluster_starts,
        None if rows.gaps is None else rows.gaps[kept],
    )


def rows_of_cluster(rows: WorkingRows, cluster: int) -> WorkingRows:
    """Return the rows of one cluster, shape of a design with that cluster alone.

    Parameters
    ----------
    rows : WorkingRows
    cluster : int
        Its position; without a second level units are clusters.

    Returns
    -------
    WorkingRows
    """
    units = slice(rows.cluster_starts[cluster], rows.cluster_starts[cluster + 1])
    own = slice(rows.unit_starts[units.start], rows.unit_starts[units.stop])
    return WorkingRows(
        rows.outcome[own],
        rows.fixed[own],
        rows.unit_random[own],
        rows.cluster_random[own],
        rows.unit_starts[units.start : units.stop + 1] - own.start,
        np.array([0, units.stop - units.start], dtype=np.intp),
        None if rows.gaps is None else rows.gaps[own],
    )
