"""Two raters' scores of the same sessions, split into sessions, clients and therapists at once.

    z_t = μ + T_therapist + B_client + W_t,   W ~ N(0, Σ_W),   B ~ N(0, Σ_B),   T ~ N(0, Σ_T)

with z the two scores, either of them missing at random in some rows, and each Σ a free 2×2 covariance matrix: the
reciprocal one-with-many design (Kenny, Kashy & Cook 2006, Dyadic Data Analysis, chapter 10; Marcus, Kashy & Baldwin
2009), with sessions as a third level. Everything is estimated in one step by restricted (or full) maximum likelihood.

Parameters are standard deviations with a sign, and the arc sine of correlations, so that a variance of zero and a
correlation of one are ordinary points of the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.one_with_many_ratings import SESSION, Ratings
from alliance_outcome.models.panel_ascent import climb
from alliance_outcome.models.restricted_likelihood import RestrictedLikelihood, restricted_likelihood

#: A variance of less than this share of its rater's, or a correlation this near to one, is on the boundary; to be there
#: exactly may then cost no more than this much log-likelihood.
_NO_SHARE, _NO_DISTANCE, _NO_COST = 1e-5, 1e-5, 1e-5
#: Shares of the variance, and correlation, that the search starts from.
_STARTS = {3: (0.5, 0.35, 0.15), 2: (0.6, 0.4)}
_START_CORRELATION = 0.3
#: Standard deviation to which effects without variance are raised before the search is tried again.
_OFF_ZERO = 0.2
#: Largest derivative, per row, at which a search stops, and the value of what is no place at all.
_GRADIENT, _NOWHERE = 1e-8, 1e10
#: Step of the differences of gradients behind the last steps uphill.
_STEP = 1e-5
#: Directions with less than this share of the largest information are left where they are.
_UNDETERMINED = 1e-9


@dataclass(frozen=True, eq=False)
class Spread:
    """Covariance matrices of all levels, written as standard deviations and angles.

    Parameters
    ----------
    roots : ndarray, shape (n_levels, 2)
        Standard deviations of the two raters' effects, possibly with a minus, in those of their scores.
    angles : ndarray, shape (n_levels,)
        Arc sines of the correlations.
    """

    roots: FloatArray
    angles: FloatArray

    @classmethod
    def of(cls, parameters: FloatArray) -> Spread:
        """Unpack parameters: all roots, then all angles."""
        count = len(parameters) // 3
        return cls(parameters[: 2 * count].reshape(count, 2), parameters[2 * count :])

    @property
    def parameters(self) -> FloatArray:
        """Pack what :meth:`of` unpacks."""
        return np.concatenate([self.roots.ravel(), self.angles])

    @property
    def matrices(self) -> FloatArray:
        """Covariance matrices of rows, clients and therapists, shape (3, 2, 2); zero for a level that is absent."""
        found = np.zeros((3, 2, 2))
        for at, (roots, angle) in enumerate(zip(self.roots, self.angles, strict=True)):
            between = roots[0] * roots[1] * np.sin(angle)
            found[at] = [[roots[0] ** 2, between], [between, roots[1] ** 2]]
        return found

    def pull(self, by_levels: FloatArray) -> Spread:
        """Turn derivatives by covariance matrices into those by roots and angles."""
        by = by_levels[: len(self.angles)]
        off, sines, cosines = by[:, 0, 1], np.sin(self.angles), np.cos(self.angles)
        own = np.stack([by[:, 0, 0], by[:, 1, 1]], axis=1)
        by_roots = 2.0 * self.roots * own + 2.0 * self.roots[:, ::-1] * (sines * off)[:, None]
        return Spread(by_roots, 2.0 * self.roots.prod(axis=1) * cosines * off)

    def normal(self) -> Spread:
        """Return the same matrices with roots of at least zero and angles between −π/2 and π/2."""
        signs = np.where(self.roots < 0.0, -1.0, 1.0).prod(axis=1)
        return Spread(np.abs(self.roots), np.arcsin(np.clip(np.sin(self.angles) * signs, -1.0, 1.0)))

    def off_boundary(self) -> Spread:
        """Give effects without variance some, and take correlations away from one: a search would stick there."""
        small = np.abs(self.roots) < 0.1 * _OFF_ZERO
        angles = np.where(small.any(axis=1), 0.0, np.clip(self.angles, -1.2, 1.2))
        return Spread(np.where(small, _OFF_ZERO, self.roots), angles)


@dataclass(frozen=True, eq=False)
class OneWithMany:
    """The split of two raters' scores.

    Parameters
    ----------
    ratings : Ratings
    spread : Spread
        In standard deviations of each rater's scores.
    at : RestrictedLikelihood
        There.
    reml : bool
    converged : bool
        Whether no step uphill is left.
    """

    ratings: Ratings
    spread: Spread
    at: RestrictedLikelihood
    reml: bool
    converged: bool

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, innermost first."""
        return self.ratings.levels

    @property
    def log_likelihood(self) -> float:
        """Restricted (or full) log-likelihood of the scores in their own units, constants included."""
        lost = self.ratings.counts - (1 if self.reml else 0)
        return self.at.value - float(lost @ np.log(self.ratings.scale))

    @property
    def means(self) -> FloatArray:
        """Mean of each rater over therapists, shape (2,)."""
        return self.ratings.centre + self.ratings.scale * self.at.coefficients[0]

    @property
    def mean_covariance(self) -> FloatArray:
        """Covariance matrix of the means, shape (2, 2)."""
        return self.at.covariance * np.outer(self.ratings.scale, self.ratings.scale)

    @property
    def covariances(self) -> dict[str, FloatArray]:
        """Covariance matrix of each level in the scores' units, shape (2, 2)."""
        units = np.outer(self.ratings.scale, self.ratings.scale)
        return dict(zip(self.levels, self.spread.matrices * units, strict=False))

    @property
    def shares(self) -> FloatArray:
        """Share of each level in each rater's variance, shape (n_levels, 2)."""
        squares = self.spread.roots**2
        return squares / squares.sum(axis=0)

    @property
    def correlations(self) -> FloatArray:
        """Correlation of the raters at each level, shape (n_levels,); NaN where one of them has no variance."""
        known = (self.spread.roots > 0.0).all(axis=1)
        return np.where(known, np.sin(self.spread.angles), np.nan)


def fit_one_with_many(ratings: Ratings, *, reml: bool = True) -> OneWithMany:
    """Split two raters' scores into levels.

    Parameters
    ----------
    ratings : Ratings
    reml : bool
        Restricted likelihood, or the full one.

    Returns
    -------
    OneWithMany
        A solution on the boundary is exact: a correlation of ±1, or standard deviations of 0. A single one of 0 is
        rare: as long as the other rater has variance at the level, some covariance beside it fits better.
    """
    surface = Surface(ratings, reml=reml)
    count = len(ratings.levels)
    first = Spread(
        np.sqrt(np.tile(_STARTS[count], (2, 1)).T), np.full(count, float(np.arcsin(_START_CORRELATION)))
    )
    best = surface.search(first)
    again = surface.search(best.off_boundary())
    best = max(best, again, key=lambda spread: surface.at(spread).value)
    spread, converged = surface.polish(surface.to_boundary(best.normal()))
    return OneWithMany(ratings, spread.normal(), surface.at(spread), reml, converged)


@dataclass(frozen=True, eq=False)
class _Place:
    """Parameters with the log-likelihood and its derivatives there."""

    parameters: FloatArray
    value: float
    gradient: FloatArray


@dataclass(frozen=True, eq=False)
class Surface:
    """The log-likelihood over standard deviations and angles.

    Parameters
    ----------
    ratings : Ratings
    reml : bool
    """

    ratings: Ratings
    reml: bool = True

    def at(self, spread: Spread) -> RestrictedLikelihood:
        """Evaluate the log-likelihood."""
        return restricted_likelihood(self.ratings.cells, spread.matrices, reml=self.reml)

    def evaluate(self, spread: Spread) -> tuple[float, Spread]:
        """Return the log-likelihood and its derivatives by roots and angles; minus `_NOWHERE` where it has no value."""
        found = self.at(spread)
        if not np.isfinite(found.value):
            return -_NOWHERE, Spread(np.zeros_like(spread.roots), np.zeros_like(spread.angles))
        return found.value, spread.pull(found.by_levels)

    def search(self, start: Spread) -> Spread:
        """Climb from a start until the slope is small."""
        n = self.ratings.n_units[SESSION]

        def negative(parameters: FloatArray) -> tuple[float, FloatArray]:
            value, slope = self.evaluate(Spread.of(parameters))
            return -value / n, -slope.parameters / n

        options = {"gtol": _GRADIENT, "maxiter": 500}
        found = optimize.minimize(negative, start.parameters, jac=True, method="BFGS", options=options)
        return Spread.of(found.x)

    def to_boundary(self, spread: Spread) -> Spread:
        """Put variances near zero and correlations near one exactly there, if that costs nothing."""
        totals = np.sqrt(np.sum(spread.roots**2, axis=0))
        reference = self.at(spread).value
        for at, angle in enumerate(spread.angles):
            small = spread.roots[at] ** 2 < _NO_SHARE * totals**2
            near = 1.0 - abs(np.sin(angle)) < _NO_DISTANCE
            roots, angles = spread.roots.copy(), spread.angles.copy()
            roots[at, small] = 0.0
            angles[at] = 0.0 if small.any() else np.sign(angle) * np.pi / 2.0 if near else angle
            moved = Spread(roots, angles)
            if self.at(moved).value > reference - _NO_COST:
                spread = moved
        return spread

    def polish(self, spread: Spread) -> tuple[Spread, bool]:
        """Take Newton's steps inside the boundary: where a search stops depends on rounding, and so on order."""
        on_zero = spread.roots == 0.0
        fixed = on_zero.any(axis=1) | (np.abs(spread.angles) >= np.pi / 2.0)
        free = ~np.concatenate([on_zero.ravel(), fixed])

        def place(parameters: FloatArray) -> _Place:
            value, slope = self.evaluate(Spread.of(parameters))
            return _Place(parameters, value, slope.parameters[free])

        def step(at: _Place, near: bool) -> tuple[FloatArray, float]:  # noqa: ARG001 - it is near from the start
            values, vectors = np.linalg.eigh(self._information(at.parameters, free))
            known = values > _UNDETERMINED * values[-1]
            own = vectors[:, known]
            direction = own @ ((own.T @ at.gradient) / values[known])
            return direction, float(at.gradient @ direction)

        def move(at: _Place, change: FloatArray) -> _Place:
            moved = at.parameters.copy()
            moved[free] += change
            return place(moved)

        found, converged, _ = climb(place(spread.parameters), step, move)
        if converged and free.any():
            # Near the maximum a step squares the error, which is then that of rounding.
            found = move(found, step(found, True)[0])
        return Spread.of(found.parameters), converged

    def _information(self, parameters: FloatArray, free: np.ndarray) -> FloatArray:
        """Return minus the second derivatives, by differences of exact first ones."""
        columns = []
        for at in np.flatnonzero(free):
            step = np.zeros(len(parameters))
            step[at] = _STEP
            above, below = (
                self.evaluate(Spread.of(parameters + sign * step))[1].parameters[free] for sign in (1.0, -1.0)
            )
            columns.append(-(above - below) / (2.0 * _STEP))
        found = np.array(columns)
        return 0.5 * (found + found.T)
