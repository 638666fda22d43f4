"""Structures of a covariance matrix of items: parameters, the matrix that they make, and derivatives passed back.

A matrix is free (saturated), or that of factors,

    Σ = Λ Φ Λ' + Θ

with chosen loadings Λ, factor correlations Φ, and Θ of what is unique to items. Φ is made of angles and Θ of square
roots, so that whatever the parameters, Σ is a covariance matrix: a correlation that reaches ±1 or a unique variance of
zero is a place like others, that a search can arrive at and that can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray, IndexArray

#: A square root of a variance, or a sine of an angle, that is taken for zero.
ZERO = 1e-3
#: Share of the items' variance in common where a search begins, and of that the share of a general factor.
_COMMON, _GENERAL = 0.5, 0.6
#: Correlations where a search begins: of factors, and of what is unique to two items.
_CORRELATION, _UNIQUE_CORRELATION = 0.6, 0.2
_NO_INDEX = np.zeros(0, dtype=np.intp)

Pull = Callable[[FloatArray], FloatArray]


class Structure(Protocol):
    """What is assumed of a covariance matrix."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    @property
    def is_regular(self) -> bool:
        """Whether second derivatives tell where the maximum is; they do not where a free matrix is singular."""

    @property
    def roots(self) -> IndexArray:
        """Places of the square roots of unique variances."""

    def matrix(self, own: FloatArray) -> tuple[FloatArray, Pull]:
        """Return the matrix, and what turns derivatives by it into those by parameters."""

    def loadings(self, own: FloatArray) -> FloatArray | None:
        """Return loadings on factors whose variance is 1, shape (d, k); None if there are no factors."""

    def start(self, share: float) -> FloatArray:
        """Return where a search begins, for items of that variance."""

    def signed(self, own: FloatArray) -> FloatArray:
        """Choose signs that mean nothing."""

    def determined(self, own: FloatArray) -> np.ndarray:
        """Say which parameters can have a standard error: those inside their bounds."""


@dataclass(frozen=True)
class Saturated:
    """A free covariance matrix, by its Cholesky factor.

    Parameters
    ----------
    n_items : int
    """

    n_items: int
    is_regular = False

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.n_items * (self.n_items + 1) // 2

    @property
    def roots(self) -> IndexArray:
        """Nothing is unique to an item."""
        return _NO_INDEX

    def matrix(self, own: FloatArray) -> tuple[FloatArray, Pull]:
        """Return the matrix, and what turns derivatives by it into those by parameters."""
        rows, columns = np.tril_indices(self.n_items)
        factor = np.zeros((self.n_items, self.n_items))
        factor[rows, columns] = own
        return factor @ factor.T, lambda by: 2.0 * (by @ factor)[rows, columns]

    def loadings(self, own: FloatArray) -> None:
        """There are no factors."""

    def start(self, share: float) -> FloatArray:
        """Return where a search begins: half of the variance in common."""
        common, d = _COMMON * share, self.n_items
        matrix = common * np.ones((d, d)) + (share - common) * np.eye(d)
        return np.linalg.cholesky(matrix)[np.tril_indices(d)]

    def signed(self, own: FloatArray) -> FloatArray:
        """Leave parameters as they are: the matrix is all that is asked for."""
        return own

    def determined(self, own: FloatArray) -> np.ndarray:
        """All parameters are free."""
        return np.ones(len(own), dtype=bool)


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors of items.

    Parameters: loadings, roots of unique variances, angles of factor correlations, angles of correlations of what is
    unique to pairs of items, standard deviations of factors.

    Parameters
    ----------
    slots : ndarray of int, shape (d, k)
        Number of the loading of an item on a factor; −1 where there is none. Equal numbers are equal loadings.
    correlated : bool
        Whether all factors correlate; otherwise none do.
    pairs : tuple of tuple of int
        Pairs of items whose unique parts correlate; no item is in two.
    weights : ndarray, shape (d, k), optional
        What loadings are multiplied by: where equal ones are to be equal in other units. Ones unless given.
    scaled : tuple of int
        Factors with a free standard deviation, whose loadings are equal to those of a factor without.
    """

    slots: IndexArray
    correlated: bool = False
    pairs: tuple[tuple[int, int], ...] = ()
    weights: FloatArray | None = None
    scaled: tuple[int, ...] = ()

    @property
    def is_regular(self) -> bool:
        """Whether there are factors: without them the search by first derivatives is exact enough."""
        return self.n_factors > 0

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.slots)

    @property
    def n_factors(self) -> int:
        """Number of factors."""
        return self.slots.shape[1]

    @property
    def n_angles(self) -> int:
        """Number of factor correlations."""
        return self.n_factors * (self.n_factors - 1) // 2 if self.correlated else 0

    @cached_property
    def _limits(self) -> IndexArray:
        """Where each kind of parameter ends."""
        n_loadings = int(self.slots.max(initial=-1)) + 1
        return np.cumsum([n_loadings, self.n_items, self.n_angles, len(self.pairs), len(self.scaled)])

    @cached_property
    def _where(self) -> tuple[IndexArray, IndexArray, IndexArray, FloatArray]:
        """Items, factors, numbers and weights of loadings."""
        items, factors = np.nonzero(self.slots >= 0)
        weights = np.ones(self.slots.shape) if self.weights is None else self.weights
        return items, factors, self.slots[items, factors], weights[items, factors]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return int(self._limits[-1])

    @property
    def roots(self) -> IndexArray:
        """Places of the square roots of unique variances."""
        return np.arange(self._limits[0], self._limits[1])

    def matrix(self, own: FloatArray) -> tuple[FloatArray, Pull]:
        """Return the matrix, and what turns derivatives by it into those by parameters."""
        free, roots, angles, twists, scales = np.split(own, self._limits[:-1])
        items, factors, numbers, weights = self._where
        spread = np.ones(self.n_factors)
        spread[list(self.scaled)] = scales
        pattern = np.zeros(self.slots.shape)
        pattern[items, factors] = weights * free[numbers]
        loadings = pattern * spread
        triangle, slopes = _triangle(angles, self.n_factors)
        correlations = triangle @ triangle.T
        unique = np.diag(roots**2)
        for (one, other), twist in zip(self.pairs, twists, strict=True):
            unique[one, other] = unique[other, one] = roots[one] * roots[other] * np.cos(twist)

        def pull(by: FloatArray) -> FloatArray:
            by_loadings = 2.0 * by @ (loadings @ correlations if self.n_angles else loadings)
            by_pattern = (by_loadings * spread)[items, factors] * weights
            by_free = np.zeros(len(free))
            np.add.at(by_free, numbers, by_pattern)
            by_roots = 2.0 * np.diag(by) * roots
            by_twists = np.zeros(len(twists))
            for number, ((one, other), twist) in enumerate(zip(self.pairs, twists, strict=True)):
                own_by = 2.0 * by[one, other]
                by_roots[one] += own_by * roots[other] * np.cos(twist)
                by_roots[other] += own_by * roots[one] * np.cos(twist)
                by_twists[number] = -own_by * roots[one] * roots[other] * np.sin(twist)
            by_triangle = 2.0 * loadings.T @ by @ loadings @ triangle
            by_angles = np.array([np.sum(by_triangle * slope) for slope in slopes])
            by_scales = (by_loadings * pattern).sum(axis=0)[list(self.scaled)]
            return np.concatenate([by_free, by_roots, by_angles, by_twists, by_scales])

        return loadings @ correlations @ loadings.T + unique, pull

    def loadings(self, own: FloatArray) -> FloatArray:
        """Return loadings on factors whose variance is 1, shape (d, k)."""
        free, _, _, _, scales = np.split(own, self._limits[:-1])
        items, factors, numbers, weights = self._where
        found = np.zeros(self.slots.shape)
        found[items, factors] = weights * free[numbers]
        found[:, list(self.scaled)] *= scales
        return found

    def correlations(self, own: FloatArray) -> FloatArray:
        """Return factor correlations.

        Parameters
        ----------
        own : ndarray, shape (size,)

        Returns
        -------
        ndarray, shape (k, k)
        """
        triangle, _ = _triangle(own[self._limits[1] : self._limits[2]], self.n_factors)
        return triangle @ triangle.T

    @cached_property
    def has_general(self) -> bool:
        """Whether a factor of all items stands beside others."""
        return self.n_factors > 1 and bool((self.slots >= 0).all(axis=0).any())

    def start(self, share: float, general: float = _GENERAL) -> FloatArray:
        """Return where a search begins: half of the variance in common, and of that a share of a general factor."""
        common = _COMMON * share
        kinds = np.sum(self.slots >= 0, axis=1)
        items, factors, numbers, weights = self._where
        of_all = (self.slots >= 0).all(axis=0)
        parts = np.where(kinds[items] == 1, 1.0, np.where(of_all[factors], general, 1.0 - general))
        free = np.zeros(self._limits[0])
        free[numbers] = np.sqrt(common * parts) / weights
        unique = np.where(kinds > 0, share - common, share)
        first = np.full(self.n_angles, np.arccos(_CORRELATION))
        twists = np.full(len(self.pairs), np.arccos(_UNIQUE_CORRELATION))
        return np.concatenate([free, np.sqrt(unique), first, twists, np.ones(len(self.scaled))])

    def signed(self, own: FloatArray) -> FloatArray:
        """Choose signs that mean nothing: loadings on a factor add up to more than zero, roots are not below it."""
        found = own.copy()
        first, last, angles, twists = self._limits[:4]
        _, factors, numbers, _ = self._where
        flipped = self.loadings(own).sum(axis=0) < 0.0
        flipped[list(self.scaled)] = False
        flips = np.where(flipped, -1.0, 1.0)
        base = ~np.isin(factors, self.scaled)
        found[numbers[base]] *= flips[factors[base]]
        found[twists:] = np.abs(found[twists:])
        found[first:last] = np.abs(own[first:last])
        flips[list(self.scaled)] = np.sign(own[twists:]) * flips[self._base_of_scaled]
        # Those that are beyond a bound by rounding stay there, and second derivatives with them.
        inside = (own[last:angles] > -ZERO) & (own[last:angles] < np.pi + ZERO)
        if not inside.all() or (flips < 0.0).any():
            found[last:angles] = _angles(self.correlations(own) * np.outer(flips, flips))[: self.n_angles]
        for number, (one, other) in enumerate(self.pairs):
            sign = 1.0 if own[first + one] * own[first + other] >= 0.0 else -1.0
            found[angles + number] = np.arccos(np.clip(sign * np.cos(own[angles + number]), -1.0, 1.0))
        return found

    def inside(self, own: FloatArray, fewest_unique: FloatArray, apart: float) -> FloatArray:
        """Move parameters away from their bounds, where derivatives by them vanish and a search would stay.

        Parameters
        ----------
        own : ndarray, shape (size,)
            Signed.
        fewest_unique : ndarray, shape (d,)
            Unique variances are not below these.
        apart : float
            Angles are at least so far from those of correlations of ±1.

        Returns
        -------
        ndarray, shape (size,)
        """
        found = own.copy()
        first, last, _, twists = self._limits[:4]
        found[first:last] = np.maximum(found[first:last], np.sqrt(fewest_unique))
        found[last:twists] = np.clip(found[last:twists], apart, np.pi - apart)
        return found

    @property
    def _base_of_scaled(self) -> list[int]:
        """Factors whose loadings those with a free standard deviation share."""
        found = []
        for factor in self.scaled:
            shared = np.isin(self.slots, self.slots[:, factor][self.slots[:, factor] >= 0]).any(axis=0)
            found.append(next(each for each in np.flatnonzero(shared) if each not in self.scaled))
        return found

    def determined(self, own: FloatArray) -> np.ndarray:
        """Say which parameters are inside their bounds."""
        found = np.ones(len(own), dtype=bool)
        first, last, angles = self._limits[:3]
        at_zero = np.abs(own[first:last]) < ZERO
        found[first:last] = ~at_zero
        triangle, slopes = _triangle(own[last:angles], self.n_factors)
        # An angle behind a correlation of ±1 turns nothing.
        found[last:angles] = [
            np.abs(slope @ triangle.T + triangle @ slope.T).max() >= ZERO for slope in slopes
        ]
        for number, pair in enumerate(self.pairs):
            bounded = np.abs(np.sin(own[angles + number])) < ZERO
            found[angles + number] = not (bounded or at_zero[list(pair)].any())
        return found


def _triangle(angles: FloatArray, size: int) -> tuple[FloatArray, list[FloatArray]]:
    """Return the Cholesky factor of a correlation matrix from angles, and its derivatives by each of them.

    Entries of a row are products of sines and a cosine (Pinheiro & Bates 1996).
    """
    triangle = np.eye(size)
    slopes: list[FloatArray] = []
    if not len(angles):
        return triangle, slopes
    at = 0
    for row in range(1, size):
        own = angles[at : at + row]
        at += row
        sines, cosines = np.append(np.sin(own), 1.0), np.append(np.cos(own), 1.0)
        triangle[row, : row + 1] = _row(sines, cosines)
        for number in range(row):
            turned_sines, turned_cosines = sines.copy(), cosines.copy()
            turned_sines[number], turned_cosines[number] = cosines[number], -sines[number]
            slope = np.zeros((size, size))
            slope[row, number : row + 1] = _row(turned_sines, turned_cosines)[number:]
            slopes.append(slope)
    return triangle, slopes


def _row(sines: FloatArray, cosines: FloatArray) -> FloatArray:
    """Return the products of all earlier sines and an own cosine."""
    return np.concatenate([[1.0], np.cumprod(sines[:-1])]) * cosines


def _angles(correlations: FloatArray) -> FloatArray:
    """Return angles between 0 and π that make a correlation matrix."""
    found, triangle = [], np.eye(len(correlations))
    for row in range(1, len(correlations)):
        left, entries = 1.0, []
        for column in range(row):
            rest = correlations[row, column] - float(np.dot(entries, triangle[column, :column]))
            pivot = triangle[column, column]
            entry = rest / pivot if abs(pivot) > ZERO**2 else 0.0
            cosine = float(np.clip(entry / left, -1.0, 1.0)) if left > ZERO**2 else 0.0
            entries.append(left * cosine)
            found.append(np.arccos(cosine))
            left *= np.sqrt(1.0 - cosine**2)
        triangle[row, : row + 1] = [*entries, left]
    return np.array(found)


def one_factor(n_items: int) -> Factors:
    """Return the structure of one factor of all items.

    Parameters
    ----------
    n_items : int

    Returns
    -------
    Factors
    """
    return Factors(np.arange(n_items)[:, None])


def uncorrelated(n_items: int) -> Factors:
    """Return the structure without factors: items do not correlate.

    Parameters
    ----------
    n_items : int

    Returns
    -------
    Factors
    """
    return Factors(np.zeros((n_items, 0), dtype=np.intp))


def correlated_factors(groups: Sequence[int]) -> Factors:
    """Return the structure of correlated factors, each item on one.

    Parameters
    ----------
    groups : sequence of int, shape (d,)
        Number of the factor of each item, from zero on.

    Returns
    -------
    Factors
    """
    return Factors(_grouped(groups, 0), correlated=True)


def bifactor(groups: Sequence[int]) -> Factors:
    """Return the structure of a general factor, the first, and of one factor for each group; none correlate.

    Parameters
    ----------
    groups : sequence of int, shape (d,)
        Number of the group of each item, from zero on.

    Returns
    -------
    Factors
        The structure of Holzinger & Swineford (1937).
    """
    general = np.arange(len(groups))[:, None]
    return Factors(np.hstack([general, _grouped(groups, len(groups))]))


def _grouped(groups: Sequence[int], first: int) -> IndexArray:
    """Number one loading for each item, on the factor of its group."""
    own = np.asarray(groups)
    slots = np.full((len(own), int(own.max()) + 1), -1)
    slots[np.arange(len(own)), own] = first + np.arange(len(own))
    return slots


def paired_factors(scale: FloatArray, *, equal: bool) -> Factors:
    """Return the structure of two raters of the same items: one factor each, which correlate.

    What is unique to an item correlates across raters.

    Parameters
    ----------
    scale : ndarray, shape (d,)
        Standard deviations that items were divided by, the first rater's items first.
    equal : bool
        Whether loadings are equal across raters, in the items' units, but for a common factor: raters' factors may have
        different variances (metric invariance, Meredith 1993, 10.1007/BF02294825).

    Returns
    -------
    Factors
    """
    n_items = len(scale) // 2
    slots = np.full((2 * n_items, 2), -1)
    slots[:n_items, 0] = np.arange(n_items)
    slots[n_items:, 1] = np.arange(n_items) + (0 if equal else n_items)
    pairs = tuple((item, n_items + item) for item in range(n_items))
    if not equal:
        return Factors(slots, correlated=True, pairs=pairs)
    weights = np.repeat(1.0 / scale[:, None], 2, axis=1)
    return Factors(slots, correlated=True, pairs=pairs, weights=weights, scaled=(1,))


def named(name: str, n_items: int) -> Saturated | Factors:
    """Return the structure of a name.

    Parameters
    ----------
    name : {'saturated', 'one_factor', 'uncorrelated'}
    n_items : int

    Returns
    -------
    Saturated or Factors
    """
    makers: Mapping[str, Callable[[int], Saturated | Factors]] = {
        "saturated": Saturated,
        "one_factor": one_factor,
        "uncorrelated": uncorrelated,
    }
    return makers[name](n_items)
