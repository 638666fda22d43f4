"""Covariance matrices of several items within and between clients, and factor models of them, by maximum likelihood.

    z_t = μ + B_client + W_t,   W ~ N(0, Σ_W),   B ~ N(0, Σ_B)

with items missing at random in some rows. Each matrix is free (saturated), or that of one factor, λλ' + Θ with Θ
diagonal (Muthén 1994, 10.1177/0049124194022003006). The likelihood is that of
:mod:`alliance_outcome.models.multivariate_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg, optimize

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.multivariate_cells import sorted_cells
from alliance_outcome.models.multivariate_kernels import Cells, evaluate
from alliance_outcome.models.panel_ascent import climb

Form = Literal["saturated", "one_factor"]

#: With two items one factor cannot be told from what is unique to each.
_FEWEST_ITEMS = 3
#: Share of an item's variance that starts between clients, and that of a factor.
_BETWEEN, _COMMON = 0.4, 0.5
#: Gain in log-likelihood below which a search that begins where the last one stopped is the last, and most of them.
_GAINED, _SEARCHES = 1e-3, 8
#: Directions with less than this share of the largest information are not determined by the data.
_UNDETERMINED = 1e-9
_OPTIONS = {"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-7, "maxcor": 30}
#: Step of the differences behind the information, and a standard deviation that is taken for zero.
_STEP, _ZERO = 1e-5, 1e-3


@dataclass(frozen=True, eq=False)
class ItemRows:
    """Items of sessions of clients.

    Parameters
    ----------
    values : ndarray, shape (n_rows, d)
        In standard deviations of each item; NaN where missing.
    clients : ndarray of int, shape (n_rows,)
    cells : Cells
    scale : ndarray, shape (d,)
        Standard deviations.
    items : tuple of str
    """

    values: FloatArray
    clients: IndexArray
    cells: Cells
    scale: FloatArray
    items: tuple[str, ...]

    @classmethod
    def of(cls, items: pd.DataFrame, clients: ArrayLike) -> ItemRows:
        """Sort rows.

        Parameters
        ----------
        items : DataFrame, shape (n_rows, d)
            One column for each item; rows in which all are missing are left out.
        clients : array_like, shape (n_rows,)

        Returns
        -------
        ItemRows

        Raises
        ------
        UnfittableModel
            If there are fewer than three items, an item does not vary, or no client has several rows.
        """
        table = items.to_numpy(dtype=float)
        known = ~np.isnan(table).all(axis=1)
        table, codes = table[known], pd.factorize(np.asarray(clients)[known])[0]
        if table.shape[1] < _FEWEST_ITEMS:
            raise UnfittableModel(f"reliability needs at least {_FEWEST_ITEMS} items")
        scale = np.nanstd(table, axis=0) if len(table) else np.zeros(table.shape[1])
        if not (scale > 0.0).all():
            raise UnfittableModel("some items do not vary")
        if len(codes) == 0 or np.bincount(codes).max() < 2:
            raise UnfittableModel("no client was rated more than once")
        values = (table - np.nanmean(table, axis=0)) / scale
        ones = np.ones((len(values), 1))
        # Clients are the units; each stands in a cluster of their own, which has no effects.
        cells = sorted_cells(ones, values, codes.astype(np.intp), codes.astype(np.intp)).cells
        return cls(values, codes.astype(np.intp), cells, scale, tuple(map(str, items.columns)))

    @cached_property
    def mean_rows(self) -> float:
        """Harmonic mean of the rows of clients."""
        counts = np.bincount(self.clients)
        return float(len(counts) / np.sum(1.0 / counts))


@dataclass(frozen=True, eq=False)
class ItemFit:
    """Covariance matrices of items at both levels.

    Parameters
    ----------
    rows : ItemRows
    forms : tuple of {'saturated', 'one_factor'}
        Within and between clients.
    parameters : ndarray
        As they were searched for.
    log_likelihood : float
    converged : bool
    """

    rows: ItemRows
    forms: tuple[Form, Form]
    parameters: FloatArray
    log_likelihood: float
    converged: bool

    def matrices(self, parameters: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return Σ_W and Σ_B in the items' units.

        Parameters
        ----------
        parameters : ndarray, optional
            Those of the maximum unless given.

        Returns
        -------
        within, between : ndarray, shape (d, d)
        """
        _, within, between = _unpacked(
            self.parameters if parameters is None else parameters, len(self.rows.items), self.forms
        )
        units = np.outer(self.rows.scale, self.rows.scale)
        return within * units, between * units

    def loadings(self, parameters: FloatArray | None = None) -> tuple[FloatArray | None, FloatArray | None]:
        """Return loadings on the factor, whose variance is 1, within and between; None where there is none.

        Parameters
        ----------
        parameters : ndarray, optional

        Returns
        -------
        within, between : ndarray, shape (d,), or None
        """
        own = self.parameters if parameters is None else parameters
        d = len(self.rows.items)
        found, at = [], d
        for form in self.forms:
            found.append(own[at : at + d] * self.rows.scale if form == "one_factor" else None)
            at += _size(form, d)
        return found[0], found[1]

    @cached_property
    def information(self) -> FloatArray:
        """Minus the second derivatives of the log-likelihood."""
        return _information(self.parameters, self.rows, self.forms)

    def draws(self, n_draws: int, seed: int) -> FloatArray:
        """Draw parameters from their approximate distribution.

        Parameters
        ----------
        n_draws, seed : int

        Returns
        -------
        ndarray, shape (n_draws, n_parameters)

        Raises
        ------
        UnavailableInference
            If the information is not positive: the data do not determine every parameter.
        """
        information = self.information
        roots_at_zero = np.concatenate([np.flatnonzero(_in(roots, self)) for roots in self._roots] or [[]])
        free = np.setdiff1d(np.arange(len(self.parameters)), roots_at_zero.astype(int))
        try:
            factor = np.linalg.cholesky(information[np.ix_(free, free)])
        except np.linalg.LinAlgError as problem:
            raise UnavailableInference(
                "the data do not determine every parameter of the factor model"
            ) from problem
        normals = np.random.default_rng(seed).standard_normal((len(free), n_draws))
        found = np.tile(self.parameters, (n_draws, 1))
        found[:, free] += linalg.solve_triangular(factor.T, normals, lower=False).T
        for roots in self._roots:
            # Unique variances are drawn to first order: squares of draws of a root near zero would all lie above it.
            own = self.parameters[roots]
            linear = own**2 + 2.0 * own * (found[:, roots] - own)
            found[:, roots] = np.sqrt(np.maximum(linear, 0.0))
        return found

    @property
    def _roots(self) -> list[slice]:
        """Places of the square roots of unique variances."""
        d = len(self.rows.items)
        found, at = [], d
        for form in self.forms:
            if form == "one_factor":
                found.append(slice(at + d, at + 2 * d))
            at += _size(form, d)
        return found


def _in(roots: slice, fit: ItemFit) -> np.ndarray:
    """Say which parameters are square roots of unique variances that are estimated as zero."""
    found = np.zeros(len(fit.parameters), dtype=bool)
    found[roots] = np.abs(fit.parameters[roots]) < _ZERO
    return found


def _size(form: Form, d: int) -> int:
    return d * (d + 1) // 2 if form == "saturated" else 2 * d


def _matrix(own: FloatArray, d: int, form: Form) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    """Return a covariance matrix of parameters, and what turns derivatives by it into those by parameters."""
    if form == "saturated":
        rows, columns = np.tril_indices(d)
        factor = np.zeros((d, d))
        factor[rows, columns] = own
        return factor @ factor.T, lambda by: 2.0 * (by @ factor)[rows, columns]
    loadings, roots = own[:d], own[d:]
    # Square roots with a sign: unique variances cannot fall below zero, and may be zero.
    return (
        np.outer(loadings, loadings) + np.diag(roots**2),
        lambda by: np.concatenate([2.0 * by @ loadings, 2.0 * np.diag(by) * roots]),
    )


def _unpacked(
    parameters: FloatArray, d: int, forms: tuple[Form, Form]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return expected values and both matrices."""
    first = d + _size(forms[0], d)
    within, _ = _matrix(parameters[d:first], d, forms[0])
    between, _ = _matrix(parameters[first:], d, forms[1])
    return parameters[:d], within, between


def _evaluated(parameters: FloatArray, rows: ItemRows, forms: tuple[Form, Form]) -> tuple[float, FloatArray]:
    """Return the log-likelihood and its derivatives."""
    d = len(rows.items)
    first = d + _size(forms[0], d)
    within, pull_within = _matrix(parameters[d:first], d, forms[0])
    between, pull_between = _matrix(parameters[first:], d, forms[1])
    value, by_mean, by_within, by_between, _ = evaluate(
        np.ascontiguousarray(parameters[None, :d]), within, between, np.zeros((d, d)), rows.cells
    )
    return value, np.concatenate([by_mean[0], pull_within(by_within), pull_between(by_between)])


def _start(rows: ItemRows, forms: tuple[Form, Form]) -> FloatArray:
    """Return where the search begins: a share of each item's variance between, and of that a share in common."""
    d = len(rows.items)
    found = [np.zeros(d)]
    for form, share in zip(forms, (1.0 - _BETWEEN, _BETWEEN), strict=True):
        common = _COMMON * share
        if form == "one_factor":
            found += [np.full(d, np.sqrt(common)), np.full(d, np.sqrt(share - common))]
        else:
            matrix = common * np.ones((d, d)) + (share - common) * np.eye(d)
            found.append(np.linalg.cholesky(matrix)[np.tril_indices(d)])
    return np.concatenate(found)


def fit_items(rows: ItemRows, within: Form = "one_factor", between: Form = "one_factor") -> ItemFit:
    """Maximise the likelihood.

    Parameters
    ----------
    rows : ItemRows
    within, between : {'saturated', 'one_factor'}

    Returns
    -------
    ItemFit
    """
    forms: tuple[Form, Form] = (within, between)
    n = len(rows.values)

    def negative(parameters: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _evaluated(parameters, rows, forms)
        if not np.isfinite(value):
            return 1e10, np.zeros(len(parameters))
        return -value / n, -gradient / n

    place, value = _start(rows, forms), -np.inf
    for _ in range(_SEARCHES):
        found = optimize.minimize(negative, place, jac=True, method="L-BFGS-B", options=_OPTIONS)
        gain, place, value = -found.fun * n - value, found.x, -found.fun * n
        if gain < _GAINED:
            break
    converged = gain < _GAINED
    if "saturated" not in forms:
        # Free matrices may be singular, where second derivatives say nothing.
        place, value, converged = _polished(place, rows, forms)
    place = _signed(place, len(rows.items), forms)
    # The likelihood of standardised items is that of the items but for their units.
    units = float((~np.isnan(rows.values)).sum(axis=0) @ np.log(rows.scale))
    return ItemFit(rows, forms, place, value - units, converged)


def _signed(place: FloatArray, d: int, forms: tuple[Form, Form]) -> FloatArray:
    """Choose signs that mean nothing: loadings add up to more than zero, roots of unique variances are not below it."""
    found, at = place.copy(), d
    for form in forms:
        if form == "one_factor":
            found[at : at + d] *= 1.0 if found[at : at + d].sum() >= 0.0 else -1.0
            found[at + d : at + 2 * d] = np.abs(found[at + d : at + 2 * d])
        at += _size(form, d)
    return found


@dataclass(frozen=True, eq=False)
class _Place:
    """Parameters with the log-likelihood and its derivatives there."""

    parameters: FloatArray
    value: float
    gradient: FloatArray


def _polished(place: FloatArray, rows: ItemRows, forms: tuple[Form, Form]) -> tuple[FloatArray, float, bool]:
    """Take Newton steps to the maximum: where a search stops depends on rounding, and so on the order of rows."""

    def step(at: _Place, near: bool) -> tuple[FloatArray, float]:  # noqa: ARG001 - it is near from the start
        values, vectors = np.linalg.eigh(_information(at.parameters, rows, forms))
        # What the data do not determine is left where it is.
        known = values > _UNDETERMINED * values[-1]
        own = vectors[:, known]
        direction = own @ ((own.T @ at.gradient) / values[known])
        return direction, float(at.gradient @ direction)

    def move(at: _Place, change: FloatArray) -> _Place:
        moved = at.parameters + change
        return _Place(moved, *_evaluated(moved, rows, forms))

    found, converged, _ = climb(_Place(place, *_evaluated(place, rows, forms)), step, move)
    return found.parameters, found.value, converged


def _information(place: FloatArray, rows: ItemRows, forms: tuple[Form, Form]) -> FloatArray:
    """Return minus the second derivatives of the log-likelihood, by differences of exact first ones."""
    columns = []
    for number in range(len(place)):
        step = np.zeros(len(place))
        step[number] = _STEP
        above, below = (_evaluated(place + sign * step, rows, forms)[1] for sign in (1.0, -1.0))
        columns.append(-(above - below) / (2.0 * _STEP))
    found = np.array(columns)
    return 0.5 * (found + found.T)


def degrees_of_freedom(d: int) -> int:
    """Return how many parameters two factors have fewer than free matrices."""
    return 2 * (_size("saturated", d) - _size("one_factor", d))
