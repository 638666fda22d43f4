"""Profile intervals of shares of variance and of correlations between two raters.

A quantity is held at a value by writing the covariance matrices so that it is one of their parameters: the roots of one
rater's variances are a total times a unit vector, whose entry at the level in question is the root of the share; a
correlation is the sine of its angle. The restricted likelihood is maximised over everything else, and the values are
kept at which twice its logarithm falls by less than the quantile of a χ² distribution with one degree of freedom. So an
interval stays within its range, is lopsided where the data are, and ends on the boundary where they do not exclude it,
which no Wald interval does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from alliance_outcome.models.confidence_intervals import interval_ends
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.one_with_many import OneWithMany, Spread, Surface
from alliance_outcome.models.one_with_many_ratings import SESSION

#: First step of the search for an end, and the largest derivative at which a search within it stops.
_FIRST_STEP, _GRADIENT = 0.1, 1e-4
#: The raters' residuals of a session are not the same: there the likelihood has no value.
_NOT_ONE = 1.0 - 1e-9


@dataclass(frozen=True)
class HeldShare:
    """The share of a level in the variance of one rater, held at a value.

    Parameters
    ----------
    level, rater : int
        Positions.
    """

    level: int
    rater: int

    def free(self, spread: Spread) -> FloatArray:
        """Return the parameters that are left: total root, angle between other levels (of three), and the others."""
        own = spread.roots[:, self.rater]
        others = np.delete(own, self.level)
        turn = [np.arctan2(others[1], others[0])] if len(others) == 2 else []
        total = np.sqrt(np.sum(own**2))
        return np.concatenate([[total], turn, spread.roots[:, 1 - self.rater], spread.angles])

    def _direction(self, free: FloatArray, value: float, n_levels: int) -> tuple[FloatArray, FloatArray]:
        """Return the unit vector of the rater's roots, and its derivative by the angle between other levels."""
        left = np.sqrt(1.0 - value)
        turn = free[1] if n_levels == 3 else 0.0
        unit = np.insert(
            left * np.array([np.cos(turn), np.sin(turn)])[: n_levels - 1], self.level, np.sqrt(value)
        )
        slope = left * np.array([-np.sin(turn), np.cos(turn)])[: n_levels - 1]
        return unit, np.insert(slope, self.level, 0.0)

    def spread(self, free: FloatArray, value: float, n_levels: int) -> Spread:
        """Return the matrices with the share at a value."""
        unit, _ = self._direction(free, value, n_levels)
        roots = np.empty((n_levels, 2))
        roots[:, self.rater] = free[0] * unit
        roots[:, 1 - self.rater] = free[-2 * n_levels : -n_levels]
        return Spread(roots, free[-n_levels:])

    def pull(self, slope: Spread, free: FloatArray, value: float) -> FloatArray:
        """Turn derivatives by roots and angles into those by the free parameters."""
        n_levels = len(slope.angles)
        unit, turned = self._direction(free, value, n_levels)
        own = slope.roots[:, self.rater]
        by_turn = [free[0] * float(turned @ own)] if n_levels == 3 else []
        return np.concatenate([[unit @ own], by_turn, slope.roots[:, 1 - self.rater], slope.angles])


@dataclass(frozen=True)
class HeldCorrelation:
    """The correlation of the raters at a level, held at a value.

    Parameters
    ----------
    level : int
        Position.
    """

    level: int

    def free(self, spread: Spread) -> FloatArray:
        """Return the parameters that are left."""
        return np.delete(spread.parameters, 2 * len(spread.angles) + self.level)

    def spread(self, free: FloatArray, value: float, n_levels: int) -> Spread:
        """Return the matrices with the correlation at a value."""
        # Roots without sign, which would be that of the correlation.
        found = Spread.of(np.insert(free, 2 * n_levels + self.level, np.arcsin(value)))
        roots = found.roots.copy()
        roots[self.level] = np.abs(roots[self.level])
        return Spread(roots, found.angles)

    def pull(self, slope: Spread, free: FloatArray, value: float) -> FloatArray:  # noqa: ARG002 - as for a share
        """Turn derivatives by roots and angles into those by the free parameters."""
        own = self.free(slope)
        at = slice(2 * self.level, 2 * self.level + 2)
        own[at] *= np.where(free[at] < 0.0, -1.0, 1.0)
        return own


class Profile:
    """The fall of the log-likelihood with one quantity held, everything else at its best.

    Parameters
    ----------
    fit : OneWithMany
    held : HeldShare or HeldCorrelation

    Notes
    -----
    Without variance of a rater at a level a correlation there may be anything. So the fall of a correlation is never
    more than that of such a variance held at zero, where the profile is flat; if that is little, the interval reaches
    to −1 and 1. The search follows the other branch, which starts at the estimate.
    """

    def __init__(self, fit: OneWithMany, held: HeldShare | HeldCorrelation) -> None:
        self._surface, self._held = Surface(fit.ratings, reml=fit.reml), held
        self._best, self._n_levels = fit.at.value, len(fit.levels)
        self._rows = fit.ratings.n_units[SESSION]
        self._estimate = self._last = fit.spread
        self._bend: FloatArray | None = None
        self._known: dict[float, float] = {}
        self._most = np.inf
        if isinstance(held, HeldCorrelation) and fit.levels[held.level] != SESSION:
            nothing = (Profile(fit, HeldShare(held.level, rater)).rise(0.0) for rater in (0, 1))
            self._most = min(nothing)

    def rise(self, value: float) -> float:
        """Return by how much twice the log-likelihood falls if the quantity has a value."""
        if value not in self._known:
            self._known[value] = min(self._searched(value), self._most)
        return self._known[value]

    def _searched(self, value: float) -> float:
        def negative(free: FloatArray) -> tuple[float, FloatArray]:
            spread = self._held.spread(free, value, self._n_levels)
            reached, slope = self._surface.evaluate(spread)
            return -reached / self._rows, -self._held.pull(slope, free, value) / self._rows

        options = {"gtol": _GRADIENT / self._rows}
        start = self._last.off_boundary()
        if not np.array_equal(start.parameters, self._last.parameters):
            start = self._estimate.off_boundary()
        elif self._bend is not None:
            # From value to value the curvature hardly changes.
            options["hess_inv0"] = self._bend
        found = optimize.minimize(negative, self._held.free(start), jac=True, method="BFGS", options=options)
        self._last = self._held.spread(found.x, value, self._n_levels).normal()
        self._bend = 0.5 * (found.hess_inv + found.hess_inv.T)
        return 2.0 * (self._best + float(found.fun) * self._rows)


def share_interval(
    fit: OneWithMany, level: int, rater: int, ci_level: float = CI_LEVEL
) -> tuple[float, float]:
    """Return the profile interval of a share of variance.

    Parameters
    ----------
    fit : OneWithMany
    level, rater : int
        Positions.
    ci_level : float
        Coverage.

    Returns
    -------
    low, high : float
        Between 0 and 1.
    """
    held = HeldShare(level, rater)
    return _interval(fit, held, float(fit.shares[level, rater]), (0.0, _NOT_ONE), ci_level)


def correlation_interval(fit: OneWithMany, level: int, ci_level: float = CI_LEVEL) -> tuple[float, float]:
    """Return the profile interval of the raters' correlation at a level.

    Parameters
    ----------
    fit : OneWithMany
    level : int
        Position.
    ci_level : float
        Coverage.

    Returns
    -------
    low, high : float
        NaN where a rater has no variance at the level.
    """
    value = float(fit.correlations[level])
    if not np.isfinite(value):
        return np.nan, np.nan
    limit = _NOT_ONE if fit.levels[level] == SESSION else 1.0
    return _interval(fit, HeldCorrelation(level), value, (-limit, limit), ci_level)


def _interval(
    fit: OneWithMany,
    held: HeldShare | HeldCorrelation,
    value: float,
    bounds: tuple[float, float],
    ci_level: float,
) -> tuple[float, float]:
    limit = float(special.chdtri(1, 1.0 - ci_level))
    return interval_ends(Profile(fit, held).rise, value, _FIRST_STEP, limit, bounds)
