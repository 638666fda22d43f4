"""A panel as the likelihood needs it: clients by variables, put together by what is missing.

Of the clients in whom the same variables are observed, the likelihood needs their number, their mean and their
cross-products; a triangular factor of the cross-products stands for them, so that no pattern has more rows than it has
observed variables, however many clients it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.fitted_state import FloatArray, IndexArray


@dataclass(frozen=True, eq=False)
class PanelData:
    """Sufficient statistics of a panel, by missing-data pattern and group of clients.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, p)
        Of each pattern: one row √n·mean of each group in it, and the rows of a factor R of what is left, R'R being the
        cross-products of deviations from these means; missing values are 0.
    shifts : ndarray, shape (n_rows,)
        √n of a row of means, and 0 elsewhere: so many times the expected values are to be subtracted.
    groups : ndarray of int, shape (n_rows,)
        Group of a row of means; 0 elsewhere.
    row_starts : ndarray of int, shape (n_patterns + 1,)
        First row of each pattern, and the number of rows.
    observed : ndarray of bool, shape (n_patterns, p)
    counts : ndarray, shape (n_patterns,)
        Clients of each pattern.
    """

    rows: FloatArray
    shifts: FloatArray
    groups: IndexArray
    row_starts: IndexArray
    observed: np.ndarray
    counts: FloatArray

    @classmethod
    def of(cls, values: ArrayLike, groups: ArrayLike | None = None) -> PanelData:
        """Summarise clients by variables.

        Parameters
        ----------
        values : array_like, shape (n_clients, p)
            NaN where a value is missing; clients of whom nothing is known must be left out before.
        groups : array_like of int, shape (n_clients,), optional
            Groups with expected values of their own; one group without.

        Returns
        -------
        PanelData

        Raises
        ------
        ValueError
            If nothing is known of a client.
        """
        table = np.asarray(values, dtype=float)
        own = np.zeros(len(table), dtype=np.intp) if groups is None else np.asarray(groups, dtype=np.intp)
        known = ~np.isnan(table)
        if not known.any(axis=1).all():
            raise ValueError("nothing is known of some clients: leave them out")
        patterns, members = np.unique(known, axis=0, return_inverse=True)
        members = members.ravel()
        order = np.argsort(members, kind="stable")
        starts = np.searchsorted(members[order], np.arange(len(patterns) + 1))
        pieces = [
            _pattern_rows(np.where(known[chosen], table[chosen], 0.0), own[chosen], pattern)
            for pattern, chosen in zip(patterns, np.split(order, starts[1:-1]), strict=True)
        ]
        return cls(
            np.concatenate([rows for rows, _, _ in pieces]),
            np.concatenate([shifts for _, shifts, _ in pieces]),
            np.concatenate([labels for _, _, labels in pieces]),
            np.concatenate([[0], np.cumsum([len(rows) for rows, _, _ in pieces])]).astype(np.intp),
            patterns,
            np.diff(starts).astype(float),
        )

    @property
    def n_variables(self) -> int:
        """Number of variables p."""
        return self.rows.shape[1]

    @cached_property
    def n_clients(self) -> int:
        """Number of clients."""
        return int(self.counts.sum())

    @cached_property
    def n_values(self) -> float:
        """Number of observed values."""
        return float(self.counts @ self.observed.sum(axis=1))

    @cached_property
    def missing(self) -> IndexArray:
        """Variables that are missing in a pattern, of one pattern after the other."""
        return np.nonzero(~self.observed)[1]

    @cached_property
    def missing_starts(self) -> IndexArray:
        """Where the missing variables of each pattern begin, and their number."""
        return np.concatenate([[0], np.cumsum((~self.observed).sum(axis=1))]).astype(np.intp)

    @cached_property
    def row_patterns(self) -> IndexArray:
        """Pattern of each row."""
        return np.repeat(np.arange(len(self.counts)), np.diff(self.row_starts))

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What compiled code takes: rows, shifts, groups, row starts, missing variables and their starts, counts."""
        return (
            np.ascontiguousarray(self.rows),
            self.shifts,
            self.groups.astype(np.int64),
            self.row_starts.astype(np.int64),
            self.missing.astype(np.int64),
            self.missing_starts.astype(np.int64),
            self.counts,
        )

    @cached_property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return bool(self.observed.all())


def _pattern_rows(
    values: FloatArray, groups: IndexArray, pattern: np.ndarray
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Return rows, shifts and groups of the clients of one pattern; missing values are 0."""
    labels, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.zeros((len(labels), values.shape[1]))
    np.add.at(means, places, values)
    means /= counts[:, None]
    deviations = (values - means[places])[counts[places] > 1]
    n_known = int(pattern.sum())
    if len(deviations) > n_known:
        factor = np.zeros((n_known, values.shape[1]))
        factor[:, pattern] = np.linalg.qr(deviations[:, pattern], mode="r")
        deviations = factor
    roots = np.sqrt(counts)
    return (
        np.concatenate([roots[:, None] * means, deviations]),
        np.concatenate([roots, np.zeros(len(deviations))]),
        np.concatenate([labels, np.zeros(len(deviations), dtype=np.intp)]),
    )
