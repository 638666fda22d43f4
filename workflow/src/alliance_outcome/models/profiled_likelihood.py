"""Judge solutions for the variance ratios by the exact likelihood, and find a first one.

The profiled (restricted) likelihood on Gram matrices costs about a millisecond, so it serves to find start
values for an optimiser, to compare what different optimisers return, and to decide whether a maximum was
reached, on the boundary (a variance of zero, a correlation of one) as well as inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from alliance_outcome.models.gls import Gradient, GramDesign, Profile, gradient, profile
from alliance_outcome.models.random_structure import (
    RandomStructure,
    null_space,
    semidefinite_cholesky,
    without_tiny_variances,
)

#: Largest derivative of the log-likelihood with respect to a relative standard deviation that counts as zero.
#: With the curvature of even a small design (about 10) it leaves the log-likelihood within 5e-8 of its
#: maximum.
GRADIENT_TOLERANCE = 1e-3

#: At a variance of zero the log-likelihood may rise with the variance by no more than this fraction of the
#: two terms whose difference its derivative is.
BOUNDARY_TOLERANCE = 1e-6

#: Log-likelihoods closer than this are the same: parameters of two such solutions differ by about a
#: thousandth of a standard error.
LOG_LIKELIHOOD_TOLERANCE = 1e-6

#: Relative standard deviations scanned for a start value, one parameter at a time, twice.
SCAN = (0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Problem:
    """A scaled design and its random structure.

    Parameters
    ----------
    structure : RandomStructure
        Which random effects there are.
    design : GramDesign
        Cross-products of the scaled design.
    reml : bool
        Restricted likelihood or not.
    """

    structure: RandomStructure
    design: GramDesign
    reml: bool

    def profile(self, covariance: NDArray[np.float64], cluster_variance: float) -> Profile:
        """Evaluate the likelihood at variance ratios; see :func:`alliance_outcome.models.gls.profile`."""
        return profile(self.design, semidefinite_cholesky(covariance), cluster_variance, self.reml)


@dataclass(frozen=True)
class Solution:
    """Variance ratios that an optimiser returned, and the exact likelihood there.

    Parameters
    ----------
    optimiser, start : str
        Where the solution comes from.
    covariance : ndarray, shape (q, q)
        Relative covariance matrix of the unit's effects.
    cluster_variance : float
        Relative variance of the cluster's effect; 0 without a cluster level.
    profile : Profile
        Likelihood, and fixed effects by generalised least squares.
    gradient_max : float
        Largest derivative of the log-likelihood with respect to a relative standard deviation.
    converged : bool
        Whether the first-order conditions hold.
    """

    optimiser: str
    start: str
    covariance: NDArray[np.float64]
    cluster_variance: float
    profile: Profile
    gradient_max: float
    converged: bool

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of the scaled design."""
        return self.profile.log_likelihood

    def attempt(self) -> dict[str, object]:
        """Row of the table of attempts."""
        names = ("optimiser", "start", "log_likelihood", "converged", "gradient_max")
        return {name: getattr(self, name) for name in names}


def judged(
    problem: Problem, optimiser: str, start: str, covariance: NDArray[np.float64], cluster_variance: float
) -> Solution:
    """Round tiny variances to zero where the likelihood allows it, and check the first-order conditions.

    Parameters
    ----------
    problem : Problem
        The design.
    optimiser, start : str
        Where the variance ratios come from.
    covariance : ndarray, shape (q, q)
        Relative covariance matrix of the unit's effects.
    cluster_variance : float
        Relative variance of the cluster's effect.

    Returns
    -------
    Solution
    """
    at = problem.profile(covariance, cluster_variance)
    rounded = without_tiny_variances(covariance, problem.structure.correlated)
    rounded_cluster = float(without_tiny_variances(np.array([[cluster_variance]]), correlated=False)[0, 0])
    at_rounded = problem.profile(rounded, rounded_cluster)
    if at_rounded.log_likelihood >= at.log_likelihood - LOG_LIKELIHOOD_TOLERANCE:
        covariance, cluster_variance, at = rounded, rounded_cluster, at_rounded
    derivative = gradient(problem.design, at, problem.reml)
    parameters = problem.structure.pack(covariance, cluster_variance)
    interior = problem.structure.chain(parameters, derivative.unit, derivative.cluster)
    gradient_max = float(np.abs(interior).max())
    converged = gradient_max <= GRADIENT_TOLERANCE and _boundary_is_maximum(
        problem.structure, derivative, covariance, cluster_variance
    )
    return Solution(optimiser, start, covariance, cluster_variance, at, gradient_max, converged)


def _boundary_is_maximum(
    structure: RandomStructure, derivative: Gradient, covariance: NDArray[np.float64], cluster_variance: float
) -> bool:
    """Whether the log-likelihood falls (or stays) when variances that are zero are raised.

    With respect to a standard deviation its derivative vanishes at zero whatever the data say, which is where
    optimisers stick; with respect to the variance it does not.
    """
    rising = derivative.cluster > BOUNDARY_TOLERANCE * derivative.cluster_scale
    if structure.cluster and cluster_variance == 0.0 and rising:
        return False
    slack = BOUNDARY_TOLERANCE * derivative.unit_scale
    if not structure.correlated:
        at_zero = np.diag(covariance) == 0.0
        return bool(np.all(np.diag(derivative.unit)[at_zero] <= slack[at_zero]))
    directions = null_space(covariance)
    if directions.shape[1] == 0:
        return True
    steepest = float(np.linalg.eigvalsh(directions.T @ derivative.unit @ directions).max())
    return steepest <= float(slack.max())


def profiled_start(problem: Problem) -> Solution:
    """Find a maximum of the likelihood from a scan of relative standard deviations.

    Parameters
    ----------
    problem : Problem
        A design with at least one random effect.

    Returns
    -------
    Solution
        With ``optimiser`` "profiled likelihood".

    Raises
    ------
    numpy.linalg.LinAlgError
        If the likelihood cannot be evaluated even for moderate variance ratios.
    """
    structure = problem.structure

    def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        try:
            at = profile(problem.design, *structure.unpack(parameters), problem.reml)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros_like(parameters)
        derivative = gradient(problem.design, at, problem.reml)
        return -at.log_likelihood, -structure.chain(parameters, derivative.unit, derivative.cluster)

    # A step so long that the likelihood cannot be evaluated is infinitely bad; the line search then computes with inf.
    with np.errstate(all="ignore"):
        found = minimize(objective, _scan(problem), jac=True, method="BFGS", options={"gtol": 1e-7})
    factor, cluster_variance = structure.unpack(found.x)
    return judged(problem, "profiled likelihood", "scan", factor @ factor.T, cluster_variance)


def _scan(problem: Problem) -> NDArray[np.float64]:
    """Return the best of some relative standard deviations, one parameter at a time, correlations zero."""
    structure = problem.structure
    deviations = np.full(len(structure.terms) + (structure.cluster is not None), 0.3)

    def parameters(trial: NDArray[np.float64]) -> NDArray[np.float64]:
        unit = trial[1:] if structure.cluster else trial
        return structure.pack(np.diag(unit**2), float(trial[0] ** 2) if structure.cluster else 0.0)

    def height(trial: NDArray[np.float64]) -> float:
        return profile(problem.design, *structure.unpack(parameters(trial)), problem.reml).log_likelihood

    for _ in range(2):
        for position in range(len(deviations)):
            trials = np.tile(deviations, (len(SCAN), 1))
            trials[:, position] = SCAN
            deviations = max(trials, key=height)
    return parameters(deviations)
