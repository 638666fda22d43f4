"""Maximum likelihood of panel structures, their information, and the saturated and independence models beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_likelihood import (
    LOG_TWO_PI,
    Evaluation,
    MomentInformation,
    NotPositiveDefinite,
    TriangleIndex,
    evaluate,
    expected_information,
    observed_information,
)
from alliance_outcome.models.panel_structure import PanelStructure, StructureAt, curvature

#: Squared length of a Newton step, in standard errors, at which the maximum is reached: the log-likelihood is then
#: within half of it.
CONVERGED = 1e-10
MAX_ITERATIONS = 200
#: Fisher scoring until a step is shorter than this, Newton's method after that.
_NEAR = 1.0
_HALVINGS = 30
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

    @property
    def at(self) -> StructureAt:
        """The structure at these parameters."""
        return self.structure.at(self.parameters)


def maximise(data: PanelData, structure: PanelStructure) -> PanelMaximum:
    """Maximise the likelihood.

    Parameters
    ----------
    data : PanelData
    structure : PanelStructure
        With its start.

    Returns
    -------
    PanelMaximum
        Fisher scoring from afar, Newton's method near by, steps halved where the likelihood would fall.

    Raises
    ------
    NotPositiveDefinite
        If the covariance matrix is not positive definite at the start.
    """
    index = TriangleIndex(data.n_variables)
    parameters = structure.start
    at = structure.at(parameters)
    found = evaluate(data, at.mean, at.covariance)
    near = False
    for iteration in range(MAX_ITERATIONS):
        gradient = at.gradient(found.by_mean[0], found.by_covariance)
        step = _step(data, structure, parameters, at, found, index, gradient, near=near)
        length = float(gradient @ step)
        if length < CONVERGED:
            return PanelMaximum(
                structure, parameters, found.value, found, converged=True, n_iterations=iteration
            )
        near = length < _NEAR
        moved = _search(data, structure, parameters, step, found.value, length)
        if moved is None:
            # No step of this direction gains anything: rounding, if what could be gained is little.
            return PanelMaximum(
                structure, parameters, found.value, found, converged=length < 1e-6, n_iterations=iteration
            )
        parameters, at, found = moved
    return PanelMaximum(
        structure, parameters, found.value, found, converged=False, n_iterations=MAX_ITERATIONS
    )


def _step(
    data: PanelData,
    structure: PanelStructure,
    parameters: FloatArray,
    at: StructureAt,
    found: Evaluation,
    index: TriangleIndex,
    gradient: FloatArray,
    *,
    near: bool,
) -> FloatArray:
    """Return a step uphill."""
    if near:
        information = structure_information(at, observed_information(data, found), index) - curvature(
            structure, parameters, found.by_mean[0], found.by_covariance
        )
        step = solved(information, gradient, 0.0)
        if step is not None:
            return step
    information = structure_information(at, expected_information(data, found.precision), index)
    for ridge in (0.0, 1e-8, 1e-4, 1e-2, 1.0):
        step = solved(information, gradient, ridge)
        if step is not None:
            return step
    raise NotPositiveDefinite("the information matrix is not finite")


def solved(information: FloatArray, gradient: FloatArray, ridge: float) -> FloatArray | None:
    """Solve for a step, in units of each parameter's own information.

    Parameters
    ----------
    information : ndarray, shape (n, n)
    gradient : ndarray, shape (n,)
    ridge : float
        Added to the diagonal of the information in these units.

    Returns
    -------
    ndarray, shape (n,), or None
        None if the matrix is not positive definite.
    """
    scale = np.sqrt(np.abs(np.diag(information)))
    if not (np.isfinite(scale).all() and (scale > 0.0).all()):
        return None
    scaled = information / np.outer(scale, scale) + ridge * np.eye(len(scale))
    try:
        factor = linalg.cho_factor(scaled, lower=True)
    except linalg.LinAlgError:
        return None
    return linalg.cho_solve(factor, gradient / scale) / scale


def _search(
    data: PanelData,
    structure: PanelStructure,
    parameters: FloatArray,
    step: FloatArray,
    value: float,
    length: float,
) -> tuple[FloatArray, StructureAt, Evaluation] | None:
    """Halve a step until it gains a tenth of a thousandth of what its direction promises."""
    share = 1.0
    for _ in range(_HALVINGS):
        moved = parameters + share * step
        try:
            at = structure.at(moved)
            found = evaluate(data, at.mean, at.covariance)
        except (NotPositiveDefinite, linalg.LinAlgError):
            share *= 0.5
            continue
        if found.value - value > 1e-4 * share * length:
            return moved, at, found
        share *= 0.5
    return None


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
    from alliance_outcome.models.panel_kernels import observed_precisions

    at, p = maximum.at, values.shape[1]
    index = TriangleIndex(p)
    patterns, members = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    members = members.ravel()
    starts = np.concatenate([[0], np.cumsum((~patterns).sum(axis=1))]).astype(np.intp)
    inverses = np.empty((len(patterns), len(index.rows)))
    missing = np.nonzero(~patterns)[1]
    observed_precisions(maximum.evaluation.precision, missing, starts, 0, len(patterns), inverses)
    deviations = np.where(np.isnan(values), 0.0, values - at.mean)
    residuals = np.empty_like(deviations)
    for pattern, triangle in enumerate(inverses):
        own = members == pattern
        residuals[own] = deviations[own] @ index.symmetric(triangle)
    by_covariance = 0.5 * (index.take(residuals[:, :, None] * residuals[:, None, :]) - inverses[members])
    mean, covariance = at.jacobian(index)
    return residuals @ mean + (by_covariance * index.twice_off_diagonal()) @ covariance


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
    mean, covariance = _crude_moments(data)
    for _ in range(_EM_STEPS):
        mean, covariance = _em_step(data, mean, covariance)
        if data.is_complete:
            found = evaluate(data, mean, covariance)
            return Moments(mean, covariance, found.value, converged=True)
    return _newton(data, mean, covariance)


def _crude_moments(data: PanelData) -> tuple[FloatArray, FloatArray]:
    """Return means and variances of what was observed."""
    known = data.counts @ data.observed
    if not (known > 1).all():
        raise NotPositiveDefinite("a variable was hardly ever observed")
    mean = data.shifts @ data.rows / known
    return mean, np.diag((data.rows**2).sum(axis=0) / known - mean**2)


def _em_step(data: PanelData, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Move to the moments of data completed by their expectation."""
    found = evaluate(data, mean, covariance)
    shift = data.shifts @ found.completed / data.n_clients
    moved = found.scatter / data.n_clients - np.outer(shift, shift)
    return mean + shift, 0.5 * (moved + moved.T)


def _newton(data: PanelData, mean: FloatArray, covariance: FloatArray) -> Moments:
    """Maximise by Fisher scoring and, near by, Newton's method, in the lower triangle of the covariance matrix."""
    index, p = TriangleIndex(data.n_variables), data.n_variables
    found = evaluate(data, mean, covariance)
    doubles = index.twice_off_diagonal()
    near = False
    for _ in range(MAX_ITERATIONS):
        gradient = np.concatenate([found.by_mean[0], index.take(found.by_covariance) * doubles])
        moments = observed_information(data, found) if near else expected_information(data, found.precision)
        information = np.block([[moments.mean, moments.mixed], [moments.mixed.T, moments.covariance]])
        step = solved(information, gradient, 0.0)
        if step is None and near:
            near = False
            continue
        if step is None:
            break
        length = float(gradient @ step)
        if length < CONVERGED:
            return Moments(mean, covariance, found.value, converged=True)
        near = length < _NEAR
        share = 1.0
        for _ in range(_HALVINGS):
            moved = mean + share * step[:p], covariance + share * index.symmetric(step[p:])
            try:
                trial = evaluate(data, *moved)
            except NotPositiveDefinite:
                share *= 0.5
                continue
            if trial.value - found.value > 1e-4 * share * length:
                break
            share *= 0.5
        else:
            return Moments(mean, covariance, found.value, converged=length < 1e-6)
        (mean, covariance), found = moved, trial
    return Moments(mean, covariance, found.value, converged=False)


def independent(data: PanelData) -> float:
    """Return the log-likelihood of variables that are independent of each other, each with its mean and variance."""
    known = data.counts @ data.observed
    _, covariance = _crude_moments(data)
    return -0.5 * float((known * (LOG_TWO_PI + np.log(np.diag(covariance)) + 1.0)).sum())
