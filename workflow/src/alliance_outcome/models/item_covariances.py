"""Covariance matrices of several items within and between clients, and factor models of them, by maximum likelihood.

    z_t = μ + B_client + W_t,   W ~ N(0, Σ_W),   B ~ N(0, Σ_B)

with items missing at random in some rows. Each matrix has a structure of
:mod:`alliance_outcome.models.item_structures`: free, or that of factors (Muthén 1994, 10.1177/0049124194022003006).
The likelihood is that of :mod:`alliance_outcome.models.multivariate_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg, optimize

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.item_structures import Structure, named
from alliance_outcome.models.multivariate_cells import sorted_cells
from alliance_outcome.models.multivariate_kernels import Cells, evaluate
from alliance_outcome.models.panel_ascent import MAX_ITERATIONS, climb

Levels = tuple[Structure, Structure]

#: With two items one factor cannot be told from what is unique to each.
_FEWEST_ITEMS = 3
#: Share of an item's variance that starts between clients.
_BETWEEN = 0.4
#: Gain in log-likelihood below which a search that begins where the last one stopped is the last, and most of them.
_GAINED, _SEARCHES = 1e-3, 8
#: Directions with less than this share of the largest information are not determined by the data.
_UNDETERMINED = 1e-9
_OPTIONS = {"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-7, "maxcor": 30}
#: Step of the differences behind the information.
_STEP = 1e-5


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
    levels : tuple of Structure
        Within and between clients.
    parameters : ndarray
        As they were searched for: expected values, then those of both structures.
    log_likelihood : float
    converged : bool
    known_information : ndarray, optional
        Minus the second derivatives of the log-likelihood, where the search has them.
    """

    rows: ItemRows
    levels: Levels
    parameters: FloatArray
    log_likelihood: float
    converged: bool
    known_information: FloatArray | None = None

    def parts(self, parameters: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return the parameters of the structures within and between.

        Parameters
        ----------
        parameters : ndarray, optional
            Those of the maximum unless given.

        Returns
        -------
        within, between : ndarray
        """
        _, within, between = _split(
            self.parameters if parameters is None else parameters, self.levels, self.rows
        )
        return within, between

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
        units = np.outer(self.rows.scale, self.rows.scale)
        within, between = (
            level.matrix(own)[0] * units
            for level, own in zip(self.levels, self.parts(parameters), strict=True)
        )
        return within, between

    def loadings(self, parameters: FloatArray | None = None) -> tuple[FloatArray | None, FloatArray | None]:
        """Return loadings on factors, whose variance is 1, within and between; None where there are none.

        Parameters
        ----------
        parameters : ndarray, optional

        Returns
        -------
        within, between : ndarray, shape (d, k), or None
        """
        within, between = (
            None if loadings is None else loadings * self.rows.scale[:, None]
            for loadings in (
                level.loadings(own) for level, own in zip(self.levels, self.parts(parameters), strict=True)
            )
        )
        return within, between

    @cached_property
    def information(self) -> FloatArray:
        """Minus the second derivatives of the log-likelihood."""
        if self.known_information is not None:
            return self.known_information
        return _information(self.parameters, self.rows, self.levels)

    @cached_property
    def free(self) -> IndexArray:
        """Places of parameters inside their bounds."""
        inside = [level.determined(own) for level, own in zip(self.levels, self.parts(), strict=True)]
        return np.flatnonzero(np.concatenate([np.ones(len(self.rows.items), dtype=bool), *inside]))

    @cached_property
    def factor(self) -> FloatArray:
        """Lower triangular; with its transpose it makes the information on free parameters.

        Raises
        ------
        UnavailableInference
            If the information is not positive: the data do not determine every parameter.
        """
        try:
            return np.linalg.cholesky(self.information[np.ix_(self.free, self.free)])
        except np.linalg.LinAlgError as problem:
            raise UnavailableInference(
                "the data do not determine every parameter of the factor model"
            ) from problem

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
        normals = np.random.default_rng(seed).standard_normal((len(self.free), n_draws))
        found = np.tile(self.parameters, (n_draws, 1))
        found[:, self.free] += linalg.solve_triangular(self.factor.T, normals, lower=False).T
        for roots in self._roots:
            # Unique variances are drawn to first order: squares of draws of a root near zero would all lie above it.
            own = self.parameters[roots]
            linear = own**2 + 2.0 * own * (found[:, roots] - own)
            found[:, roots] = np.sqrt(np.maximum(linear, 0.0))
        return found

    @property
    def _roots(self) -> tuple[IndexArray, IndexArray]:
        """Places of the square roots of unique variances."""
        first = len(self.rows.items)
        within, between = self.levels
        return first + within.roots, first + within.size + between.roots


def _split(
    parameters: FloatArray, levels: Levels, rows: ItemRows
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return expected values and the parameters of both structures."""
    d = len(rows.items)
    last = d + levels[0].size
    return parameters[:d], parameters[d:last], parameters[last:]


def _evaluated(parameters: FloatArray, rows: ItemRows, levels: Levels) -> tuple[float, FloatArray]:
    """Return the log-likelihood and its derivatives."""
    means, own_within, own_between = _split(parameters, levels, rows)
    within, pull_within = levels[0].matrix(own_within)
    between, pull_between = levels[1].matrix(own_between)
    value, by_mean, by_within, by_between, _ = evaluate(
        np.ascontiguousarray(means[None, :]), within, between, np.zeros_like(within), rows.cells
    )
    return value, np.concatenate([by_mean[0], pull_within(by_within), pull_between(by_between)])


def fit_items(
    rows: ItemRows,
    within: str | Structure = "one_factor",
    between: str | Structure = "one_factor",
    *,
    start: FloatArray | None = None,
    metric: FloatArray | None = None,
    newton_steps: int = MAX_ITERATIONS,
) -> ItemFit:
    """Maximise the likelihood.

    Parameters
    ----------
    rows : ItemRows
    within, between : {'saturated', 'one_factor', 'uncorrelated'} or Structure
    start : ndarray, optional
        Where the search begins, close to the maximum.
    metric : ndarray, optional
        Positive definite, about the information there: steps are as long as standard errors.
    newton_steps : int
        Steps after which Newton's method is given up: on a ridge it has no end, and each step is dear.

    Returns
    -------
    ItemFit
    """
    d = len(rows.items)
    first, second = (named(each, d) if isinstance(each, str) else each for each in (within, between))
    levels: Levels = (first, second)
    place, value, converged = _searched(
        _start(rows, levels) if start is None else start, rows, levels, metric
    )
    information = None
    if first.is_regular and second.is_regular:
        # Free matrices may be singular, where second derivatives say nothing.
        place, value, converged, information = _polished(place, rows, levels, newton_steps)
    signed = _signed(place, rows, levels)
    if information is not None:
        information = _turned(information, place, signed)
    # The likelihood of standardised items is that of the items but for their units.
    units = float((~np.isnan(rows.values)).sum(axis=0) @ np.log(rows.scale))
    return ItemFit(rows, levels, signed, value - units, converged, information)


def _start(rows: ItemRows, levels: Levels) -> FloatArray:
    """Return where the search begins: a share of each item's variance between, and of that a share in common."""
    own = [level.start(share) for level, share in zip(levels, (1.0 - _BETWEEN, _BETWEEN), strict=True)]
    return np.concatenate([np.zeros(len(rows.items)), *own])


def _searched(
    place: FloatArray, rows: ItemRows, levels: Levels, metric: FloatArray | None
) -> tuple[FloatArray, float, bool]:
    """Climb by first derivatives."""
    n, value, gain = len(rows.values), -np.inf, np.inf
    root = None if metric is None else np.linalg.inv(np.linalg.cholesky(metric / n)).T

    def negative(steps: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _evaluated(steps if root is None else place + root @ steps, rows, levels)
        if not np.isfinite(value):
            return 1e10, np.zeros(len(steps))
        return -value / n, -(gradient if root is None else root.T @ gradient) / n

    at = place if root is None else np.zeros(len(place))
    for _ in range(_SEARCHES):
        found = optimize.minimize(negative, at, jac=True, method="L-BFGS-B", options=_OPTIONS)
        gain, at, value = -found.fun * n - value, found.x, -found.fun * n
        if gain < _GAINED:
            break
    return at if root is None else place + root @ at, value, gain < _GAINED


def _signed(place: FloatArray, rows: ItemRows, levels: Levels) -> FloatArray:
    """Choose signs that mean nothing."""
    means, within, between = _split(place, levels, rows)
    return np.concatenate([means, levels[0].signed(within), levels[1].signed(between)])


def _turned(information: FloatArray, place: FloatArray, signed: FloatArray) -> FloatArray | None:
    """Turn the information to other signs; None if more has changed than signs."""
    if not np.array_equal(np.abs(place), np.abs(signed)):
        return None
    signs = np.where(place * signed < 0.0, -1.0, 1.0)
    return information * np.outer(signs, signs)


@dataclass(frozen=True, eq=False)
class _Place:
    """Parameters with the log-likelihood and its derivatives there."""

    parameters: FloatArray
    value: float
    gradient: FloatArray


def _polished(
    place: FloatArray, rows: ItemRows, levels: Levels, newton_steps: int
) -> tuple[FloatArray, float, bool, FloatArray | None]:
    """Take Newton steps to the maximum: where a search stops depends on rounding, and so on the order of rows.

    The information is returned too, if it is that of the last place.
    """
    last: dict[str, FloatArray] = {}

    def step(at: _Place, near: bool) -> tuple[FloatArray, float]:  # noqa: ARG001 - it is near from the start
        last.update(place=at.parameters, information=_information(at.parameters, rows, levels))
        values, vectors = np.linalg.eigh(last["information"])
        # What the data do not determine is left where it is.
        known = values > _UNDETERMINED * values[-1]
        own = vectors[:, known]
        direction = own @ ((own.T @ at.gradient) / values[known])
        return direction, float(at.gradient @ direction)

    def move(at: _Place, change: FloatArray) -> _Place:
        moved = at.parameters + change
        return _Place(moved, *_evaluated(moved, rows, levels))

    found, converged, _ = climb(_Place(place, *_evaluated(place, rows, levels)), step, move, newton_steps)
    information = last["information"] if last["place"] is found.parameters else None
    return found.parameters, found.value, converged, information


def _information(place: FloatArray, rows: ItemRows, levels: Levels) -> FloatArray:
    """Return minus the second derivatives of the log-likelihood, by differences of exact first ones."""
    columns = []
    for number in range(len(place)):
        step = np.zeros(len(place))
        step[number] = _STEP
        above, below = (_evaluated(place + sign * step, rows, levels)[1] for sign in (1.0, -1.0))
        columns.append(-(above - below) / (2.0 * _STEP))
    found = np.array(columns)
    return 0.5 * (found + found.T)


def degrees_of_freedom(d: int, structure: str | Structure = "one_factor") -> int:
    """Return how many parameters a structure at both levels has fewer than free matrices.

    Parameters
    ----------
    d : int
        Items.
    structure : {'one_factor', 'uncorrelated'} or Structure

    Returns
    -------
    int
    """
    own = named(structure, d) if isinstance(structure, str) else structure
    return 2 * (named("saturated", d).size - own.size)
