"""Maximum likelihood of panel structures, their information, and the saturated and independence models beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_ascent import MAX_ITERATIONS, LastingCurvature, climb
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_kernels import LOG_TWO_PI
from alliance_outcome.models.panel_likelihood import (
    Evaluation,
    MomentInformation,
    NotPositiveDefinite,
    TriangleIndex,
    evaluate,
    expected_information,
    observed_information,
    observed_inverses,
    weighted_residuals,
)
from alliance_outcome.models.panel_structure import PanelStructure, StructureAt, curvature

#: Steps of the EM algorithm before those of Newton's method, for the saturated model.
_EM_STEPS = 20


@dataclass(frozen=True, eq=False)
class PanelMaximum:
    """A structure at its maximum of the likelihood.

    Parameters
    ----------
    structure : PanelStructure
    parameters : ndarray, shape (n_parameters,)
    value : float
        Log-likelihood.
    evaluation : Evaluation
    converged : bool
    n_iterations : int
    """

    structure: PanelStructure
    parameters: FloatArray
    value: float
    evaluation: Evaluation
    converged: bool
    n_iterations: int

    @cached_property
    def at(self) -> StructureAt:
        """The structure at these parameters."""
        return self.structure.at(self.parameters)

    @cached_property
    def gradient(self) -> FloatArray:
        """Derivatives of the log-likelihood, shape (n_parameters,)."""
        return self.at.gradient(self.evaluation.by_mean[0], self.evaluation.by_covariance)


def evaluated(data: PanelData, structure: PanelStructure, parameters: FloatArray) -> PanelMaximum:
    """Evaluate the likelihood, at what need not be its maximum.

    Parameters
    ----------
    data : PanelData
    structure : PanelStructure
    parameters : ndarray, shape (n_parameters,)

    Returns
    -------
    PanelMaximum
        Not converged.

    Raises
    ------
    NotPositiveDefinite
        If the covariance matrix is not positive definite.
    """
    at = structure.at(parameters)
    found = evaluate(data, at.mean, at.covariance)
    return PanelMaximum(structure, parameters, found.value, found, converged=False, n_iterations=0)


def maximise(
    data: PanelData, structure: PanelStructure, max_iterations: int = MAX_ITERATIONS
) -> PanelMaximum:
    """Maximise the likelihood.

    Parameters
    ----------
    data : PanelData
    structure : PanelStructure
        With its start.
    max_iterations : int
        Steps after which the search is given up.

    Returns
    -------
    PanelMaximum
        Fisher scoring from afar, Newton's method near by, steps halved where the likelihood would fall.

    Raises
    ------
    NotPositiveDefinite
        If the covariance matrix is not positive definite at the start.
    """
    curvature = LastingCurvature()

    def step(place: PanelMaximum, near: bool) -> tuple[FloatArray, float]:
        found = curvature.step(
            place.gradient,
            lambda: observed_information_of(data, place),
            lambda: expected_information_of(data, place),
            near=near,
        )
        if found is None:
            raise NotPositiveDefinite("the information matrix is not finite")
        return found

    def move(place: PanelMaximum, change: FloatArray) -> PanelMaximum:
        return evaluated(data, structure, place.parameters + change)

    place, converged, iterations = climb(
        evaluated(data, structure, structure.start), step, move, max_iterations
    )
    return replace(place, converged=converged, n_iterations=iterations)


def structure_information(at: StructureAt, moments: MomentInformation, index: TriangleIndex) -> FloatArray:
    """Turn information of expected values and covariances into that of parameters, without the structure's curvature.

    Parameters
    ----------
    at : StructureAt
    moments : MomentInformation
    index : TriangleIndex

    Returns
    -------
    ndarray, shape (n_parameters, n_parameters)
    """
    mean, covariance = at.jacobian(index)
    crossed = mean.T @ moments.mixed @ covariance
    return mean.T @ moments.mean @ mean + covariance.T @ moments.covariance @ covariance + crossed + crossed.T


def expected_information_of(data: PanelData, maximum: PanelMaximum) -> FloatArray:
    """Return Fisher's information of the parameters, given what is missing."""
    moments = expected_information(data, maximum.evaluation.precision)
    return structure_information(maximum.at, moments, TriangleIndex(data.n_variables))


def observed_information_of(data: PanelData, maximum: PanelMaximum) -> FloatArray:
    """Return minus the second derivatives of the log-likelihood by the parameters."""
    found = maximum.evaluation
    moments = observed_information(data, found)
    bent = curvature(maximum.structure, maximum.parameters, found.by_mean[0], found.by_covariance)
    return structure_information(maximum.at, moments, TriangleIndex(data.n_variables)) - bent


def client_scores(values: FloatArray, maximum: PanelMaximum) -> FloatArray:
    """Return the derivatives of each client's log-likelihood.

    Parameters
    ----------
    values : ndarray, shape (n_clients, p)
        NaN where missing.
    maximum : PanelMaximum

    Returns
    -------
    ndarray, shape (n_clients, n_parameters)
        They sum to zero at the maximum.
    """
    # Every client is a group: its rows are the clients, pattern by pattern.
    data = PanelData.of(values, np.arange(len(values)))
    at, index = maximum.at, TriangleIndex(values.shape[1])
    found = evaluate(data, np.tile(at.mean, (len(values), 1)), at.covariance)
    inverses = np.concatenate([each for _, _, each in observed_inverses(data, found.precision)])
    residuals = weighted_residuals(data, found)
    squares = index.take(residuals[:, :, None] * residuals[:, None, :])
    by_covariance = 0.5 * (squares - inverses[data.row_patterns]) * index.twice_off_diagonal()
    mean, covariance = at.jacobian(index)
    scores = np.empty((len(values), maximum.structure.n_parameters))
    scores[data.groups] = residuals @ mean + by_covariance @ covariance
    return scores


@dataclass(frozen=True, eq=False)
class Moments:
    """Expected values and covariances without any structure, at the maximum of their likelihood.

    Parameters
    ----------
    mean : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
    value : float
        Log-likelihood.
    converged : bool
    """

    mean: FloatArray
    covariance: FloatArray
    value: float
    converged: bool


@dataclass(frozen=True, eq=False)
class _MomentPlace:
    """Expected values and covariances, with the likelihood there."""

    mean: FloatArray
    covariance: FloatArray
    evaluation: Evaluation

    @property
    def value(self) -> float:
        """Log-likelihood."""
        return self.evaluation.value

    @classmethod
    def of(cls, data: PanelData, mean: FloatArray, covariance: FloatArray) -> _MomentPlace:
        """Evaluate the likelihood."""
        return cls(mean, covariance, evaluate(data, mean, covariance))


def saturated(data: PanelData) -> Moments:
    """Estimate expected values and covariances without any structure.

    Parameters
    ----------
    data : PanelData

    Returns
    -------
    Moments
        By the EM algorithm first and by Newton's method then; not converged where the data do not determine them.
    """
    place = _MomentPlace.of(data, *_crude_moments(data))
    for _ in range(1 if data.is_complete else _EM_STEPS):
        place = _em_step(data, place)
    # Of complete data one step is all that it takes.
    converged = data.is_complete
    if not converged:
        place, converged = _newton(data, place)
    return Moments(place.mean, place.covariance, place.value, converged)


def _crude_moments(data: PanelData) -> tuple[FloatArray, FloatArray]:
    """Return means and variances of what was observed."""
    known = data.counts @ data.observed
    if not (known > 1).all():
        raise NotPositiveDefinite("a variable was hardly ever observed")
    mean = data.shifts @ data.rows / known
    return mean, np.diag((data.rows**2).sum(axis=0) / known - mean**2)


def _em_step(data: PanelData, place: _MomentPlace) -> _MomentPlace:
    """Move to the moments of data completed by their expectation."""
    found = place.evaluation
    shift = data.shifts @ found.completed / data.n_clients
    moved = found.scatter / data.n_clients - np.outer(shift, shift)
    return _MomentPlace.of(data, place.mean + shift, 0.5 * (moved + moved.T))


def _newton(data: PanelData, start: _MomentPlace) -> tuple[_MomentPlace, bool]:
    """Maximise in expected values and the lower triangle of the covariance matrix."""
    index, p = TriangleIndex(data.n_variables), data.n_variables
    # Where the data do not determine the moments, nothing should pretend that they do.
    curvature = LastingCurvature(ridges=(0.0,))

    def step(place: _MomentPlace, near: bool) -> tuple[FloatArray, float] | None:
        found = place.evaluation
        by_covariance = index.take(found.by_covariance) * index.twice_off_diagonal()
        return curvature.step(
            np.concatenate([found.by_mean[0], by_covariance]),
            lambda: observed_information(data, found).matrix,
            lambda: expected_information(data, found.precision).matrix,
            near=near,
        )

    def move(place: _MomentPlace, change: FloatArray) -> _MomentPlace:
        return _MomentPlace.of(data, place.mean + change[:p], place.covariance + index.symmetric(change[p:]))

    place, converged, _ = climb(start, step, move)
    return place, converged


def independent(data: PanelData) -> float:
    """Return the log-likelihood of variables that are independent of each other, each with its mean and variance."""
    known = data.counts @ data.observed
    _, covariance = _crude_moments(data)
    return -0.5 * float((known * (LOG_TWO_PI + np.log(np.diag(covariance)) + 1.0)).sum())
