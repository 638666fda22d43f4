"""The profiled (restricted) likelihood of a nested Gaussian model: evaluate, maximise, judge, differentiate twice.

Compiled loops are in :mod:`alliance_outcome.models.gram_kernels`. Here they get a structure of random effects, starting
values, and a verdict: whether a maximum was reached, on the boundary (a variance of zero, a correlation of one) as well
as inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alliance_outcome.models import gram_kernels as kernels
from alliance_outcome.models.fitted_state import FittedState, FloatArray, WorkingRows
from alliance_outcome.models.random_structure import (
    ROUNDING,
    RandomEffects,
    RandomStructure,
    null_space,
    without_tiny_variances,
)

#: How residuals of one unit are related: not at all, AR(1) with whole gaps, AR(1) in continuous time.
Residual = Literal["independent", "ar1", "continuous_ar1"]
_RESIDUAL_CODES: Mapping[Residual, int] = {"independent": 0, "ar1": 1, "continuous_ar1": 2}

#: The optimiser stops when no derivative of the deviance exceeds the first fraction of the number of rows; the second
#: still counts as a maximum, where rounding kept it from more: it leaves the deviance within 1e-12 per row of it.
TARGET_GRADIENT, LARGEST_GRADIENT = 1e-11, 1e-7

#: The same for the part of a large design that is fitted first.
PART_GRADIENT = 1e-6

#: Derivatives below this are zero in designs of any size.
SMALLEST_GRADIENT = 1e-7

#: At a variance of zero the deviance may fall with the variance by no more than this fraction of the two terms whose
#: difference its derivative is.
BOUNDARY_TOLERANCE = 1e-6

#: Rounding tiny variances to zero may cost this much deviance, relative to its size.
ROUNDED_DEVIANCE = 1e-11

#: Relative standard deviations to start from: of an intercept, of a slope.
START_INTERCEPT, START_SLOPE = 0.6, 0.3

#: A boundary solution that is no maximum is left by raising the variance to this ratio.
RAISED_VARIANCE = 0.05

MOST_ITERATIONS = 500

#: Correlation of neighbours' residuals in continuous time below which there is none.
NO_CORRELATION = 1e-4

#: Correlation of usual neighbours' residuals to start from.
START_CORRELATION = 0.1

#: Autocorrelation of residuals that stands for one.
LARGEST_CORRELATION = 1.0 - 1e-12

#: Designs with more units than this are first fitted to a part of the clusters of about this many units.
LARGE_DESIGN = 2_000
#: … unless that part would have fewer clusters than this.
FEWEST_CLUSTERS = 40


@dataclass(frozen=True)
class Evaluated:
    """The likelihood at given parameters.

    Parameters
    ----------
    deviance : float
    gradient : ndarray, shape (k,)
    residual_slope : ndarray, shape (k,)
        Derivatives of the residual sum e'V⁻¹e.
    evaluation : Evaluation
        See :class:`alliance_outcome.models.gram_kernels.Evaluation`.
    log_determinant : float
        log|V|, V relative to σ², log|R| included.
    residual_variance : float
        σ².
    unit_slope, cluster_slope : ndarray, shape (q, q) and (r, r)
        Derivatives of the deviance by Ψ_u and Ψ_v.
    unit_scale, cluster_scale : ndarray, shape (q,) and (r,)
        Size of the terms whose differences their diagonals are.
    """

    deviance: float
    gradient: FloatArray
    residual_slope: FloatArray
    evaluation: kernels.Evaluation
    log_determinant: float
    residual_variance: float
    unit_slope: FloatArray
    cluster_slope: FloatArray
    unit_scale: FloatArray
    cluster_scale: FloatArray

    @property
    def coefficients(self) -> FloatArray:
        """Fixed effects, shape (p,)."""
        return self.evaluation.coefficients

    @property
    def covariance(self) -> FloatArray:
        """Their covariance matrix at these variance parameters, shape (p, p)."""
        return self.residual_variance * self.evaluation.inverse


@dataclass(frozen=True)
class Maximum:
    """Where the optimiser stopped, and what is to be made of it.

    Parameters
    ----------
    parameters : ndarray, shape (k,)
        Entries of Λ_v, of Λ_u, and the transformed autocorrelation.
    at : Evaluated
        The likelihood there.
    converged : bool
        Whether the first-order conditions of a maximum hold, on the boundary too.
    """

    parameters: FloatArray
    at: Evaluated
    converged: bool


class NestedLikelihood:
    """The likelihood of one design.

    Parameters
    ----------
    rows : WorkingRows
        The data in working coordinates.
    structure : RandomStructure
        Random effects, in the order of the columns of `rows`.
    reml : bool
        Restricted likelihood or not.
    residual : {'independent', 'ar1', 'continuous_ar1'}
        How residuals of one unit are related.
    """

    def __init__(
        self, rows: WorkingRows, structure: RandomStructure, reml: bool, residual: Residual = "independent"
    ) -> None:
        self.rows = rows
        self.structure = structure
        self.reml = reml
        self.residual = residual
        self.joint = np.column_stack([rows.unit_random, rows.cluster_random, rows.fixed, rows.outcome])
        gram = kernels.unit_grams(self.joint, rows.unit_starts)
        self.problem = self._problem(gram, rows.cluster_starts, len(rows.outcome), self._residual_rows(rows))

    def _residual_rows(self, rows: WorkingRows) -> tuple[FloatArray, FloatArray, FloatArray]:
        if self.residual == "independent":
            return np.empty((0, 0)), np.empty(0, dtype=np.intp), np.empty(0)
        return self.joint, rows.unit_starts, rows.gaps

    def _problem(
        self, gram: FloatArray, cluster_starts: np.ndarray, n_rows: int, residual_rows: tuple
    ) -> kernels.Problem:
        unit, cluster = self.structure.unit, self.structure.cluster
        empty = np.empty(0, dtype=np.intp)
        return kernels.Problem(
            gram,
            cluster_starts,
            self.rows.unit_random.shape[1],
            self.rows.cluster_random.shape[1],
            self.rows.fixed.shape[1],
            n_rows,
            self.reml,
            *(unit.positions if unit else (empty, empty)),
            *(cluster.positions if cluster else (empty, empty)),
            _RESIDUAL_CODES[self.residual],
            *residual_rows,
        )

    @property
    def degrees(self) -> int:
        """Rows, less fixed effects under REML."""
        return self.problem.n_rows - self.problem.p if self.reml else self.problem.n_rows

    def pack(
        self, unit: FloatArray | None, cluster: FloatArray | None, autocorrelation: float | None = None
    ) -> FloatArray:
        """Return the parameters, shape (k,), of relative covariance matrices and an autocorrelation."""
        parts = []
        if self.structure.cluster is not None:
            parts.append(self.structure.cluster.pack(cluster))
        if self.structure.unit is not None:
            parts.append(self.structure.unit.pack(unit))
        if self.residual != "independent":
            parts.append([self.pack_autocorrelation(autocorrelation)])
        return np.concatenate([*parts, []])

    def pack_autocorrelation(self, autocorrelation: float) -> float:
        """Return the parameter of an autocorrelation, finite at the ends of its range too."""
        if self.residual == "ar1":
            return float(np.arctanh(np.clip(autocorrelation, -LARGEST_CORRELATION, LARGEST_CORRELATION)))
        inside = np.clip(autocorrelation, 1.0 - LARGEST_CORRELATION, LARGEST_CORRELATION)
        return float(0.5 * np.log(inside / (1.0 - inside)))

    def unpack(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float | None]:
        """Return Ψ_u, Ψ_v and φ of parameters; matrices are (0, 0) for levels without random effects."""
        n_cluster = len(self.problem.cluster_rows)
        n_unit = len(self.problem.unit_rows)
        unit, cluster = self.structure.unit, self.structure.cluster
        psi_v = cluster.unpack(parameters[:n_cluster]) if cluster else np.empty((0, 0))
        psi_u = unit.unpack(parameters[n_cluster : n_cluster + n_unit]) if unit else np.empty((0, 0))
        phi = None
        if self.residual == "ar1":
            phi = float(np.tanh(parameters[-1]))
        elif self.residual == "continuous_ar1":
            phi = float(1.0 / (1.0 + np.exp(-2.0 * parameters[-1])))
        return psi_u, psi_v, phi

    def evaluate(self, parameters: FloatArray) -> Evaluated:
        """Evaluate the likelihood at parameters, shape (k,)."""
        deviance, gradient, residual_slope, at, log_residual, *by_covariance = kernels.evaluate(
            self.problem, parameters
        )
        trace_u, residual_u, trace_v, residual_v = by_covariance
        precision = self.degrees / at.residual_sum
        return Evaluated(
            deviance,
            gradient,
            residual_slope,
            at,
            at.log_determinant + log_residual,
            at.residual_sum / self.degrees,
            trace_u - precision * residual_u,
            trace_v - precision * residual_v,
            np.abs(np.diag(trace_u)),
            np.abs(np.diag(trace_v)),
        )

    def state(self, parameters: FloatArray) -> FittedState:
        """Return the model at parameters as the inference modules take it."""
        at = self.evaluate(parameters)
        psi_u, psi_v, phi = self.unpack(parameters)
        unit, cluster = self.structure.unit, self.structure.cluster
        return FittedState(
            self.rows,
            psi_u,
            psi_v,
            at.residual_variance,
            phi,
            at.coefficients,
            at.covariance,
            unit.components if unit else (),
            cluster.components if cluster else (),
            self.reml,
        )

    def start(self) -> FloatArray:
        """Return parameters to start from: moderate variances, nothing correlated."""
        covariances = {}
        for effects in self.structure.levels:
            deviations = [START_INTERCEPT if term == "Intercept" else START_SLOPE for term in effects.terms]
            covariances[effects.level] = np.diag(np.square(deviations))
        unit, cluster = self.structure.unit, self.structure.cluster
        return self.pack(
            covariances[unit.level] if unit else None,
            covariances[cluster.level] if cluster else None,
            self.moderate_autocorrelation,
        )

    @property
    def moderate_autocorrelation(self) -> float | None:
        """An autocorrelation that leaves something between usual neighbours: 0.1 a day is nothing in a month."""
        if self.residual == "independent":
            return None
        gaps = self.rows.gaps[self.rows.gaps > 0.0]
        return float(START_CORRELATION ** (1.0 / np.median(gaps)))

    def uncorrelated(self, autocorrelation: float | None) -> bool:
        """Whether residuals in continuous time do not correlate even between the nearest rows."""
        if self.residual != "continuous_ar1" or autocorrelation is None:
            return False
        nearest = float(np.min(self.rows.gaps, initial=np.inf, where=self.rows.gaps > 0.0))
        return autocorrelation**nearest < NO_CORRELATION

    def regular(self, parameters: FloatArray) -> tuple[NestedLikelihood, FloatArray]:
        """Leave out effects without variance and an autocorrelation of zero that cannot be negative.

        What is left lies off the boundary.

        Parameters
        ----------
        parameters : ndarray, shape (k,)

        Returns
        -------
        NestedLikelihood
            Of the model without those effects: the same likelihood, fixed effects and residual variance. Itself, if
            there are none.
        ndarray
            Its parameters.
        """
        psi_u, psi_v, phi = self.unpack(parameters)
        unit, unit_basis = _with_variance(self.structure.unit, psi_u)
        cluster, cluster_basis = _with_variance(self.structure.cluster, psi_v)
        structure = RandomStructure(unit, cluster)
        residual = "independent" if self.uncorrelated(phi) else self.residual
        if structure == self.structure and residual == self.residual:
            return self, parameters
        rows = replace(
            self.rows,
            unit_random=self.rows.unit_random @ unit_basis,
            cluster_random=self.rows.cluster_random @ cluster_basis,
        )
        reduced = NestedLikelihood(rows, structure, self.reml, residual)
        return reduced, reduced.pack(
            unit_basis.T @ psi_u @ unit_basis, cluster_basis.T @ psi_v @ cluster_basis, phi
        )

    @property
    def target(self) -> float:
        """Derivative of the deviance at which the optimiser stops."""
        return max(TARGET_GRADIENT * self.problem.n_rows, SMALLEST_GRADIENT)

    def maximise(self, start: FloatArray | None = None) -> Maximum:
        """Maximise the likelihood.

        Parameters
        ----------
        start : ndarray, shape (k,), optional
            Parameters to start from.

        Returns
        -------
        Maximum

        Raises
        ------
        numpy.linalg.LinAlgError
            If the likelihood cannot be evaluated even for moderate variances.
        """
        guess = np.empty((0, 0))
        if start is None:
            start, guess = self._warm_start()
        found, at = self._minimise(start, guess)
        # A variance of zero is a stationary point whatever the data say: leave it if the likelihood rises with it.
        raised = self._raised(found, at)
        if raised is not None:
            again, at_again = self._minimise(raised, np.empty((0, 0)))
            if at_again.deviance < at.deviance:
                found, at = again, at_again
        return self._rounded(found, at)

    def _minimise(self, start: FloatArray, guess: FloatArray) -> tuple[FloatArray, Evaluated]:
        found, _, _, status, _, _ = kernels.minimise(self.problem, start, guess, self.target, MOST_ITERATIONS)
        if status == kernels.IMPOSSIBLE:
            raise np.linalg.LinAlgError("the likelihood cannot be evaluated at the starting values")
        return found, self.evaluate(found)

    def _warm_start(self) -> tuple[FloatArray, FloatArray]:
        """Fit a part of a large design first: return its solution and what it taught of the inverse Hessian.

        Clusters are taken at regular distances, so that the part does not depend on chance.
        """
        starts = self.rows.cluster_starts
        stride = len(self.problem.gram) // LARGE_DESIGN
        if stride < 2 or (len(starts) - 1) // stride < FEWEST_CLUSTERS or self.residual != "independent":
            return self.start(), np.empty((0, 0))
        kept = np.arange(0, len(starts) - 1, stride)
        units = np.concatenate([np.arange(starts[j], starts[j + 1]) for j in kept])
        sizes = starts[kept + 1] - starts[kept]
        unit_sizes = np.diff(self.rows.unit_starts)[units]
        part = self._problem(
            self.problem.gram[units],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
            int(unit_sizes.sum()),
            (self.problem.joint, self.problem.unit_starts, self.problem.gaps),
        )
        tolerance = PART_GRADIENT * part.n_rows
        found, _, _, status, _, learned = kernels.minimise(
            part, self.start(), np.empty((0, 0)), tolerance, MOST_ITERATIONS
        )
        if status != kernels.CONVERGED:
            return self.start(), np.empty((0, 0))
        return found, learned * (part.n_rows / self.problem.n_rows)

    def _raised(self, parameters: FloatArray, at: Evaluated) -> FloatArray | None:
        """Return parameters off the boundary if the likelihood rises with a variance that is zero there."""
        psi_u, psi_v, phi = self.unpack(parameters)
        covariances, changed = [], False
        for effects, psi, slope, scale in (
            (self.structure.unit, psi_u, at.unit_slope, at.unit_scale),
            (self.structure.cluster, psi_v, at.cluster_slope, at.cluster_scale),
        ):
            if effects is None:
                covariances.append(psi)
                continue
            rising = rising_directions(effects.correlated, psi, slope, scale)
            kept = without_tiny_variances(psi, effects.correlated)
            covariances.append(kept + RAISED_VARIANCE * rising @ rising.T)
            changed = changed or rising.shape[1] > 0
        return self.pack(*covariances, phi) if changed else None

    def _rounded(self, parameters: FloatArray, at: Evaluated) -> Maximum:
        """Round tiny variances to zero where the likelihood does not mind."""
        psi_u, psi_v, phi = self.unpack(parameters)
        unit, cluster = self.structure.unit, self.structure.cluster
        rounded_u = without_tiny_variances(psi_u, unit.correlated) if unit else psi_u
        rounded_v = without_tiny_variances(psi_v, cluster.correlated) if cluster else psi_v
        if rounded_u is not psi_u or rounded_v is not psi_v:
            rounded = self.pack(rounded_u, rounded_v, phi)
            at_rounded = self.evaluate(rounded)
            allowed = ROUNDED_DEVIANCE * max(abs(at.deviance), float(self.problem.n_rows))
            if at_rounded.deviance <= at.deviance + allowed:
                parameters, at = rounded, at_rounded
        return self._verdict(parameters, at)

    def judge(self, parameters: FloatArray) -> Maximum:
        """Say whether parameters, shape (k,), are a maximum: the first-order conditions, on the boundary too."""
        return self._verdict(parameters, self.evaluate(parameters))

    def _verdict(self, parameters: FloatArray, at: Evaluated) -> Maximum:
        limit = max(LARGEST_GRADIENT * self.problem.n_rows, 100.0 * SMALLEST_GRADIENT)
        stationary = bool(np.max(np.abs(at.gradient), initial=0.0) <= limit)
        return Maximum(parameters, at, stationary and self._raised(parameters, at) is None)


def _with_variance(
    effects: RandomEffects | None, covariance: FloatArray
) -> tuple[RandomEffects | None, FloatArray]:
    """Return the effects of a level that have variance, and the map to their columns."""
    if effects is None:
        return None, np.empty((0, 0))
    if not effects.correlated:
        kept = np.diag(covariance) > 0.0
        basis = np.eye(len(effects))[:, kept]
        terms = tuple(term for term, has in zip(effects.terms, kept, strict=True) if has)
        return (replace(effects, terms=terms) if terms else None), basis
    values, vectors = np.linalg.eigh(covariance)
    kept = values > ROUNDING * max(values.max(), ROUNDING)
    if kept.all():
        return effects, np.eye(len(effects))
    terms = tuple(f"direction {number}" for number in range(1, kept.sum() + 1))
    return (replace(effects, terms=terms) if terms else None), vectors[:, kept]


def rising_directions(
    correlated: bool, covariance: FloatArray, slope: FloatArray, scale: FloatArray
) -> FloatArray:
    """Find directions without variance in which the likelihood rises with the variance.

    Parameters
    ----------
    correlated : bool
        Whether any direction may have variance, or only the coordinate axes.
    covariance : ndarray, shape (q, q)
        Relative covariance matrix.
    slope : ndarray, shape (q, q)
        Derivative of the deviance by it.
    scale : ndarray, shape (q,)
        Size of the terms whose differences the diagonal of `slope` is.

    Returns
    -------
    ndarray, shape (q, number found)

    Notes
    -----
    With respect to a standard deviation the derivative vanishes at zero whatever the data say, which is where
    optimisers stick; with respect to the variance it does not.
    """
    covariance = without_tiny_variances(covariance, correlated)
    if not correlated:
        at_zero = np.diag(covariance) == 0.0
        falling = np.diag(slope) < -BOUNDARY_TOLERANCE * scale
        return np.eye(len(covariance))[:, at_zero & falling]
    directions = null_space(covariance)
    if directions.shape[1] == 0:
        return directions
    values, vectors = np.linalg.eigh(directions.T @ slope @ directions)
    return directions @ vectors[:, values < -BOUNDARY_TOLERANCE * scale.max()]
