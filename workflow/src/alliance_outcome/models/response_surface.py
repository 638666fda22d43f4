"""Second-order response surfaces of two predictors, and what has to hold before they show a congruence effect.

A surface is Z = b0 + b1·X + b2·Y + b3·X² + b4·XY + b5·Y², where X and Y are on one scale and centred on one point, and
higher Z is better. What is read off it are functions of b1 to b5: slope and curvature along the lines of congruence
(X = Y) and of incongruence (X = −Y), the stationary point, and the principal axes. Linear ones are tested as they are,
the others by the delta method, each with the degrees of freedom of the linear combination that approximates it.

Names and definitions are those of R's package RSA. No single number shows that agreement matters: Humberg, Nestler &
Back (2019, 10.1177/1948550618757600) give the conditions that must hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.models.contrast import Contrast, wald_contrast
from alliance_outcome.models.design_checks import UnavailableInference

FloatArray = NDArray[np.float64]

COEFFICIENTS = ("b1", "b2", "b3", "b4", "b5")

#: Slope and curvature along the line of congruence (a1, a2) and of incongruence (a3, a4), and what sets the two
#: predictors' curvatures apart (a5), as weights of b1 to b5.
LINES: dict[str, tuple[float, ...]] = {
    "a1": (1.0, 1.0, 0.0, 0.0, 0.0),
    "a2": (0.0, 0.0, 1.0, 1.0, 1.0),
    "a3": (1.0, -1.0, 0.0, 0.0, 0.0),
    "a4": (0.0, 0.0, 1.0, -1.0, 1.0),
    "a5": (0.0, 0.0, 1.0, 0.0, -1.0),
}

#: A denominator that is smaller than this beside the numbers that it is made of is zero but for rounding.
ROUNDING = 1e-10

#: From a gradient over b1 to b5, shape (5,), to the standard error of that combination and its degrees of freedom.
Precision = Callable[[FloatArray], tuple[float, float]]


@dataclass(frozen=True)
class PrincipalAxis:
    """A principal axis as the line Y = intercept + slope·X.

    Parameters
    ----------
    intercept, slope : Contrast
        The first axis has p10 and p11, the second p20 and p21.
    across : Contrast
        Twice the curvature at right angles to the axis, on which its place depends.
    """

    intercept: Contrast
    slope: Contrast
    across: Contrast

    @property
    def has_place(self) -> bool:
        """Whether the surface is curved at right angles to the axis: the interval of `across` excludes zero."""
        return excludes(self.across, 0.0)


@dataclass(frozen=True, eq=False)
class ResponseSurface:
    """A second-order surface with the precision of its coefficients.

    Parameters
    ----------
    coefficients : ndarray, shape (5,)
        b1 to b5, for an outcome of which more is better.
    precision : callable
        From weights of b1 to b5, shape (5,), to standard error and degrees of freedom of the combination.
    """

    coefficients: FloatArray
    precision: Precision

    @classmethod
    def from_covariance(
        cls,
        coefficients: ArrayLike,
        covariance: ArrayLike,
        degrees: float | Callable[[FloatArray], float] = np.inf,
    ) -> ResponseSurface:
        """Make a surface from coefficients and their joint covariance matrix.

        Parameters
        ----------
        coefficients : array_like, shape (5,)
            b1 to b5.
        covariance : array_like, shape (5, 5)
            Their covariance matrix.
        degrees : float or callable
            Degrees of freedom: the same for everything, or those of a combination of b1 to b5, shape (5,).

        Returns
        -------
        ResponseSurface

        Raises
        ------
        ValueError
            If shapes are wrong.
        """
        values, matrix = np.asarray(coefficients, dtype=float), np.asarray(covariance, dtype=float)
        if values.shape != (5,) or matrix.shape != (5, 5):
            raise ValueError("a surface has five coefficients and a five by five covariance matrix")

        def precision(gradient: FloatArray) -> tuple[float, float]:
            own = degrees(gradient) if callable(degrees) else degrees
            return float(np.sqrt(gradient @ matrix @ gradient)), own

        return cls(values, precision)

    def coefficient(self, name: str) -> Contrast:
        """Test one of b1 to b5 against zero."""
        return self._combination(np.eye(5)[COEFFICIENTS.index(name)])

    def line(self, name: str) -> Contrast:
        """Test one of a1 to a5 against zero."""
        return self._combination(np.array(LINES[name]))

    def _combination(self, weights: FloatArray) -> Contrast:
        return self._tested(float(weights @ self.coefficients), weights)

    def _tested(self, estimate: float, gradient: FloatArray) -> Contrast:
        """Give an estimate the standard error and degrees of freedom of its linear approximation."""
        return wald_contrast(estimate, *self.precision(gradient))

    @property
    def axes_have_direction(self) -> bool:
        """Whether the interval of b4 excludes zero.

        Where it does not, the data leave open which way the axes point: slopes are quotients by b4, and a first-order
        approximation says little of a quotient whose denominator may be zero.
        """
        return excludes(self.coefficient("b4"), 0.0)

    def principal_axis(self, which: Literal["first", "second"]) -> PrincipalAxis:
        """Find the line through the stationary point along which the surface falls least or most.

        Parameters
        ----------
        which : {'first', 'second'}
            Along the first axis it falls least (or rises most), along the second, at right angles, most.

        Returns
        -------
        PrincipalAxis
            p11 = (b5 − b3 + √((b3 − b5)² + b4²)) / b4 and p10 = Y0 − p11·X0 for the first axis; with the other sign of
            the root p21 and p20.

        Raises
        ------
        UnavailableInference
            If there is no such line: without b4 axes are parallel to those of X and Y or have no direction at all, and
            without curvature at right angles to an axis every parallel to it is as good.

        Notes
        -----
        The intercept is computed as (p·b1 − b2) / (b3 + b5 ∓ √(…)), the same number without the stationary point, which
        goes off to infinity where the surface becomes a ridge: exactly where raters' agreement is all that counts.
        """
        sign = 1.0 if which == "first" else -1.0
        b1, b2, b3, b4, b5 = self.coefficients
        root = float(np.hypot(b3 - b5, b4))
        if abs(b4) <= ROUNDING * max(abs(b3), abs(b5), abs(b4)) or root == 0.0:
            raise UnavailableInference(
                "the two ratings do not interact, so that the principal axes have no slope"
            )
        across = b3 + b5 - sign * root
        if abs(across) <= ROUNDING * (abs(b3) + abs(b5) + root):
            raise UnavailableInference(
                "the surface is not curved at right angles to the axis, which has no place then"
            )
        # Of two equal quotients the one without cancellation.
        slope = (b5 - b3 + sign * root) / b4 if sign * (b5 - b3) >= 0.0 else b4 / (b3 - b5 + sign * root)
        intercept = (slope * b1 - b2) / across
        by_slope = sign / root * np.array([0.0, 0.0, -slope, (1.0 - slope**2) / 2.0, slope])
        by_across = np.array([0.0, 0.0, 1.0, 0.0, 1.0]) - sign / root * np.array(
            [0.0, 0.0, b3 - b5, b4, b5 - b3]
        )
        moved = b1 * by_slope + np.array([slope, -1.0, 0.0, 0.0, 0.0])
        by_intercept = (moved - intercept * by_across) / across
        return PrincipalAxis(
            self._tested(intercept, by_intercept),
            self._tested(slope, by_slope),
            self._tested(across, by_across),
        )

    @property
    def has_single_stationary_point(self) -> bool:
        """Whether the interval of 4·b3·b5 − b4² excludes zero; otherwise it may be a plane or a ridge."""
        _, _, b3, b4, b5 = self.coefficients
        gradient = np.array([0.0, 0.0, 4.0 * b5, -2.0 * b4, 4.0 * b3])
        return excludes(self._tested(4.0 * b3 * b5 - b4**2, gradient), 0.0)

    def stationary_point(self) -> tuple[Contrast, Contrast]:
        """Find the point X0, Y0 at which the surface is level.

        Returns
        -------
        tuple of Contrast
            X0 and Y0.

        Raises
        ------
        UnavailableInference
            If there is none, or a whole line of them: a plane or a ridge.
        """
        b1, b2, b3, b4, b5 = self.coefficients
        if abs(4.0 * b3 * b5 - b4**2) <= ROUNDING * (4.0 * abs(b3 * b5) + b4**2):
            raise UnavailableInference("the surface is a plane or a ridge, without a single stationary point")
        curvature = np.array([[2.0 * b3, b4], [b4, 2.0 * b5]])
        x, y = np.linalg.solve(curvature, [-b1, -b2])
        moved = np.array([[1.0, 0.0, 2.0 * x, y, 0.0], [0.0, 1.0, 0.0, x, 2.0 * y]])
        at_x, at_y = -np.linalg.solve(curvature, moved)
        return self._tested(float(x), at_x), self._tested(float(y), at_y)

    def lateral_shift(self) -> Contrast:
        """Find C = a3 / a4, the difference Y − X at which the line of incongruence through the origin is level.

        Returns
        -------
        Contrast
            Where RSA's shifted squared difference or rising ridge model holds, its C: the ridge is then Y = X + C.

        Raises
        ------
        UnavailableInference
            If the surface is not curved along that line.
        """
        across, along = np.array(LINES["a4"]), np.array(LINES["a3"])
        curvature = float(across @ self.coefficients)
        if abs(curvature) <= ROUNDING * float(np.abs(self.coefficients[2:]).sum()):
            raise UnavailableInference("the surface is not curved along the line of incongruence")
        shift = float(along @ self.coefficients) / curvature
        return self._tested(shift, (along - shift * across) / curvature)


@dataclass(frozen=True)
class Condition:
    """One of the conditions of a congruence effect.

    Parameters
    ----------
    name : str
        The quantity that it is about: p10, p11, a4, a3, a1 or a2.
    wanted : {'includes', 'below'}
        Whether the interval must include `value` or lie below it.
    value : float
    tested : Contrast or None
        The quantity; None where there is none.
    met : bool or None
        None where it cannot be judged.
    """

    name: str
    wanted: Literal["includes", "below"]
    value: float
    tested: Contrast | None
    met: bool | None


@dataclass(frozen=True)
class CongruenceConditions:
    """The conditions of a congruence effect.

    Parameters
    ----------
    broad : tuple of Condition
        The ridge lies on the line of congruence (p10 not different from 0, p11 not from 1), the surface falls on either
        side of it (a4 below 0) and equally so (a3 not different from 0).
    strict : tuple of Condition
        What a strict effect has to have besides: the surface is level along the line of congruence (a1 and a2 not
        different from 0).
    """

    broad: tuple[Condition, ...]
    strict: tuple[Condition, ...]

    @property
    def broad_effect(self) -> bool | None:
        """Whether all broad conditions are met; None where none is violated but one cannot be judged."""
        return _all_met(self.broad)

    @property
    def strict_effect(self) -> bool | None:
        """Whether all conditions are met, the strict ones too."""
        return _all_met((*self.broad, *self.strict))


def congruence_conditions(surface: ResponseSurface) -> CongruenceConditions:
    """Judge the conditions of Humberg, Nestler & Back (2019, 10.1177/1948550618757600).

    Parameters
    ----------
    surface : ResponseSurface
        Of an outcome of which more is better.

    Returns
    -------
    CongruenceConditions
        By 95 % intervals. Those of the principal axis are not judged where the data leave open which way it points or
        where it lies: the interval of an axis without a direction includes anything, and a condition that holds for
        want of information is none.
    """
    axis = first_axis(surface)
    slope = None if axis is None else axis.slope
    intercept = axis.intercept if axis is not None and axis.has_place else None
    return CongruenceConditions(
        broad=(
            _including("p10", 0.0, intercept),
            _including("p11", 1.0, slope),
            _below("a4", 0.0, surface.line("a4")),
            _including("a3", 0.0, surface.line("a3")),
        ),
        strict=tuple(_including(name, 0.0, surface.line(name)) for name in ("a1", "a2")),
    )


def first_axis(surface: ResponseSurface) -> PrincipalAxis | None:
    """Return the first principal axis of a surface, or None where the data leave open which way it points."""
    try:
        return surface.principal_axis("first") if surface.axes_have_direction else None
    except UnavailableInference:
        return None


def excludes(tested: Contrast, value: float) -> bool:
    """Say whether an interval lies on one side of a value; an interval that could not be computed does not."""
    return tested.ci_low > value or tested.ci_high < value


def _including(name: str, value: float, tested: Contrast | None) -> Condition:
    met = None if not _has_interval(tested) else not excludes(tested, value)
    return Condition(name, "includes", value, tested, met)


def _below(name: str, value: float, tested: Contrast) -> Condition:
    met = None if not _has_interval(tested) else tested.ci_high < value
    return Condition(name, "below", value, tested, met)


def _has_interval(tested: Contrast | None) -> bool:
    return tested is not None and bool(np.isfinite([tested.ci_low, tested.ci_high]).all())


def _all_met(conditions: Sequence[Condition]) -> bool | None:
    found = [condition.met for condition in conditions]
    if False in found:
        return False
    return None if None in found else True
