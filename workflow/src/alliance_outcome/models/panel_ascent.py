"""The way up a likelihood: Fisher scoring from afar, Newton's method near by, steps halved where it would fall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from scipy import linalg

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite

#: Squared length of a step, in standard errors, at which the maximum is reached: the log-likelihood is then within half
#: of it.
CONVERGED = 1e-10
#: Likewise where no step gains anything: what is left is rounding.
_ROUNDING = 1e-6
#: Fisher scoring until a step is shorter than this, Newton's method after that.
_NEAR = 1.0
MAX_ITERATIONS = 200
_HALVINGS = 30
#: An information matrix is used again while the squared length of steps by it falls below this share of the last one's.
_SHORTENED = 0.05
#: A step is taken if it gains this share of what its direction promises.
_GAIN = 1e-4
#: Added, one after the other, to an information matrix that is not positive definite.
RIDGES = (0.0, 1e-8, 1e-4, 1e-2, 1.0)


class Place(Protocol):
    """Parameters with their log-likelihood."""

    @property
    def value(self) -> float:
        """Log-likelihood."""


P = TypeVar("P", bound=Place)


def climb[P: Place](
    start: P,
    step: Callable[[P, bool], tuple[FloatArray, float] | None],
    move: Callable[[P, FloatArray], P | None],
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[P, bool, int]:
    """Maximise.

    Parameters
    ----------
    start : Place
    step : callable
        From a place, and whether the maximum is near, to a step uphill and its squared length in standard errors; None
        if there is none.
    move : callable
        From a place and a step to another place; None, :class:`NotPositiveDefinite` or LinAlgError where that is none.
    max_iterations : int
        Steps after which the search is given up.

    Returns
    -------
    place : Place
    converged : bool
    n_iterations : int
    """
    at, near = start, False
    for iteration in range(max_iterations):
        ahead = step(at, near)
        if ahead is None:
            return at, False, iteration
        direction, length = ahead
        if length < CONVERGED:
            return at, True, iteration
        near = length < _NEAR
        after = _uphill(at, direction, length, move)
        if after is None:
            return at, length < _ROUNDING, iteration
        at = after
    return at, False, max_iterations


def _uphill[P: Place](
    at: P, direction: FloatArray, length: float, move: Callable[[P, FloatArray], P | None]
) -> P | None:
    """Halve a step until it gains enough."""
    for halving in range(_HALVINGS):
        share = 0.5**halving
        try:
            after = move(at, share * direction)
        except (NotPositiveDefinite, linalg.LinAlgError):
            continue
        if after is not None and after.value - at.value > _GAIN * share * length:
            return after
    return None


class Curvature:
    """An information matrix, ready to be solved for steps, in units of each parameter's own information.

    Parameters
    ----------
    factor : tuple
        Of the scaled matrix, as SciPy's ``cho_solve`` takes it.
    scale : ndarray, shape (n,)
    """

    def __init__(self, factor: tuple[FloatArray, bool], scale: FloatArray) -> None:
        self._factor, self._scale = factor, scale

    @classmethod
    def of(cls, information: FloatArray, ridge: float = 0.0) -> Curvature | None:
        """Factorise a matrix.

        Parameters
        ----------
        information : ndarray, shape (n, n)
        ridge : float
            Added to the diagonal of the information in these units.

        Returns
        -------
        Curvature or None
            None if the matrix is not positive definite.
        """
        scale = np.sqrt(np.abs(np.diag(information)))
        if not (np.isfinite(scale).all() and (scale > 0.0).all()):
            return None
        scaled = information / np.outer(scale, scale) + ridge * np.eye(len(scale))
        try:
            return cls(linalg.cho_factor(scaled, lower=True), scale)
        except linalg.LinAlgError:
            return None

    def step(self, gradient: FloatArray) -> tuple[FloatArray, float]:
        """Return the step uphill, and its squared length in standard errors."""
        found = linalg.cho_solve(self._factor, gradient / self._scale) / self._scale
        return found, float(gradient @ found)


def curvature_of(
    observed: Callable[[], FloatArray],
    expected: Callable[[], FloatArray],
    *,
    near: bool,
    ridges: tuple[float, ...] = RIDGES,
) -> Curvature | None:
    """Return the curvature for a step: Newton's where the maximum is near and looks like one, else Fisher's.

    Parameters
    ----------
    observed, expected : callable
        Give information matrices, shape (n, n).
    near : bool
    ridges : tuple of float
        Tried in turn on the expected information.

    Returns
    -------
    Curvature or None
        None if no matrix is positive definite.
    """
    found = Curvature.of(observed()) if near else None
    if found is None:
        information = expected()
        tried = (Curvature.of(information, ridge) for ridge in ridges)
        found = next((each for each in tried if each is not None), None)
    return found


class LastingCurvature:
    """A curvature that is kept as long as steps by it shorten quickly.

    An information matrix costs many times what a gradient costs, and hardly changes near the maximum.

    Parameters
    ----------
    ridges : tuple of float
        See :func:`curvature_of`.
    """

    def __init__(self, ridges: tuple[float, ...] = RIDGES) -> None:
        self._ridges = ridges
        self._kept: Curvature | None = None
        self._length = np.inf

    def step(
        self,
        gradient: FloatArray,
        observed: Callable[[], FloatArray],
        expected: Callable[[], FloatArray],
        *,
        near: bool,
    ) -> tuple[FloatArray, float] | None:
        """Return a step uphill and its squared length in standard errors; None if no matrix is positive definite.

        Parameters
        ----------
        gradient : ndarray, shape (n,)
        observed, expected, near
            See :func:`curvature_of`.
        """
        if self._kept is not None:
            found = self._kept.step(gradient)
            if found[1] < _SHORTENED * self._length:
                self._length = found[1]
                return found
        self._kept = curvature_of(observed, expected, near=near, ridges=self._ridges)
        if self._kept is None:
            return None
        found = self._kept.step(gradient)
        self._length = found[1]
        return found
