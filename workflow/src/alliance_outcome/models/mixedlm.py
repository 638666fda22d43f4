"""statsmodels MixedLM under guard: start values, several optimisers, and a check that ignores its flags.

MixedLM is the optimiser of record, but from its default start values it stops early on ordinary designs; it
divides by variances, so that it can neither start nor end at zero; and where a variance is practically zero
it can return fixed effects of exactly 0 with ``converged`` true (statsmodels issue 10239). Therefore it
starts at a maximum of the same likelihood found on Gram matrices; random effects without variance there are
left out of its model; only variance parameters are read from it; and
:mod:`alliance_outcome.models.profiled_likelihood` decides from the exact likelihood of the whole model
whether it converged.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from alliance_outcome.models.nested_design import ScaledRows
from alliance_outcome.models.profiled_likelihood import (
    LOG_LIKELIHOOD_TOLERANCE,
    Problem,
    Solution,
    judged,
    profiled_start,
)
from alliance_outcome.models.random_structure import ROUNDING, RandomStructure, semidefinite_cholesky

#: Optimisers of MixedLM and their start values, in the order in which they are tried until one converges.
ATTEMPTS = (("bfgs", "profiled"), ("lbfgs", "profiled"), ("bfgs", "unit"), ("cg", "unit"))

#: What is added to variance ratios that may be zero before MixedLM starts from them.
SMALLEST_START = 1e-4

#: Stopping rule for MixedLM's gradient, which is that of the log-likelihood per row.
MIXEDLM_GRADIENT_TOLERANCE = 1e-8


class _CovarianceFreeMixedLM(MixedLM):
    """MixedLM whose Hessian is not computed.

    ``fit`` needs it for standard errors alone, which here come from generalised least squares; near the
    boundary it is singular, and the failure to invert it would lose the solution.
    """

    def hessian(self, params: object) -> tuple[NDArray[np.float64], bool]:  # noqa: ARG002 - the base class's
        return -np.eye(self.k_fe + self.k_re2 + self.k_vc), False


@dataclass(frozen=True)
class _Formulation:
    """A random structure as MixedLM takes it, restricted to effects that have variance.

    Parameters
    ----------
    correlated : bool
        Whether the unit's effects are the group's correlated effects or variance components.
    basis : ndarray, shape (q, r)
        Directions of the unit's effects that have variance; columns of the identity where effects are
        uncorrelated.
    has_cluster : bool
        Whether the cluster's intercept has variance.
    """

    correlated: bool
    basis: NDArray[np.float64]
    has_cluster: bool

    @classmethod
    def whole(cls, structure: RandomStructure) -> _Formulation:
        """Every random effect of the structure."""
        return cls(structure.correlated, np.eye(len(structure.terms)), structure.cluster is not None)

    @classmethod
    def with_variance(cls, structure: RandomStructure, solution: Solution) -> _Formulation:
        """Only the effects that have variance in a solution."""
        if structure.correlated:
            values, vectors = np.linalg.eigh(solution.covariance)
            basis = vectors[:, values > ROUNDING * values.max()]
        else:
            basis = np.eye(len(structure.terms))[:, np.diag(solution.covariance) > 0.0]
        return cls(structure.correlated, basis, solution.cluster_variance > 0.0)

    @property
    def empty(self) -> bool:
        """Whether no random effect is left."""
        return self.basis.shape[1] == 0 and not self.has_cluster

    def pack(self, covariance: NDArray[np.float64], cluster_variance: float) -> NDArray[np.float64]:
        """Return MixedLM's parameters for variance ratios of the whole structure."""
        own = self.basis.T @ covariance @ self.basis
        if self.correlated:
            return semidefinite_cholesky(own)[np.tril_indices(len(own))]
        return np.sqrt(np.concatenate([[cluster_variance] if self.has_cluster else [], np.diag(own)]))

    def unpack(self, result: Any) -> tuple[NDArray[np.float64], float]:
        """Return the variance ratios of the whole structure from a result of MixedLM."""
        own = result.cov_re_unscaled if self.correlated else np.diag(result.vcomp / result.scale)
        covariance = self.basis @ np.asarray(own) @ self.basis.T
        return covariance, float(result.cov_re_unscaled[0, 0]) if self.has_cluster else 0.0

    def model(self, rows: ScaledRows) -> MixedLM:
        """Set up MixedLM."""
        order = rows.order
        unit_of_row = _codes(order.unit_starts, len(rows.outcome))
        random = rows.random @ self.basis
        if self.correlated:
            return _CovarianceFreeMixedLM(rows.outcome, rows.columns, groups=unit_of_row, exog_re=random)
        cluster_of_row = _codes(order.cluster_starts, len(order.unit_starts))[unit_of_row]
        return _CovarianceFreeMixedLM(
            rows.outcome,
            rows.columns,
            groups=cluster_of_row,
            exog_re=np.ones((len(rows.outcome), 1)) if self.has_cluster else None,
            exog_vc=_variance_components(random, unit_of_row, cluster_of_row) if random.shape[1] else None,
        )


def _codes(starts: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(starts)), np.diff(np.append(starts, length)))


def _variance_components(
    random: NDArray[np.float64], unit_of_row: NDArray[np.intp], cluster_of_row: NDArray[np.intp]
) -> VCSpec:
    """One component per random column: in a cluster, one column per unit, zero in other units' rows."""
    matrices: list[list[NDArray[np.float64]]] = [[] for _ in random.T]
    for rows in np.split(np.arange(len(unit_of_row)), np.flatnonzero(np.diff(cluster_of_row)) + 1):
        units = unit_of_row[rows]
        indicator = (units[:, None] == np.unique(units)[None, :]).astype(float)
        for blocks, column in zip(matrices, random.T, strict=True):
            blocks.append(indicator * column[rows, None])
    names = [[[str(unit) for unit in range(block.shape[1])] for block in blocks] for blocks in matrices]
    return VCSpec([str(position) for position in range(len(matrices))], names, matrices)


def estimate(problem: Problem, rows: ScaledRows) -> tuple[Solution, pd.DataFrame]:
    """Maximise the likelihood over the variance ratios.

    Parameters
    ----------
    problem : Problem
        A design with at least one random effect.
    rows : ScaledRows
        The rows it was built from.

    Returns
    -------
    Solution
        The solution of MixedLM with the highest likelihood among those that converged. If none converged, or
        the start value is better, the start value; if that did not converge either, the highest of all.
    DataFrame
        One row per attempt, the start value first: optimiser, start, log_likelihood (of the scaled design),
        converged, gradient_max. An optimiser that broke down has no likelihood. Where no variance is left at
        the start value, MixedLM has nothing to estimate and the start value stands alone.
    """
    start = profiled_start(problem)
    table, solutions = [start.attempt()], []
    if start.converged and _Formulation.with_variance(problem.structure, start).empty:
        return start, pd.DataFrame(table)
    for optimiser, start_name in ATTEMPTS:
        formulation, parameters = _formulated(problem.structure, start_name, start)
        solution = _attempt(problem, rows, formulation, parameters, (optimiser, start_name))
        if solution is None:
            table.append({"optimiser": optimiser, "start": start_name, "converged": False})
            continue
        table.append(solution.attempt())
        solutions.append(solution)
        if solution.converged and _not_below(solution, start):
            break
    return _best(solutions, start), pd.DataFrame(table)


def _formulated(
    structure: RandomStructure, start_name: str, start: Solution
) -> tuple[_Formulation, NDArray[np.float64]]:
    """Return what MixedLM is asked to fit, and where it starts."""
    whole = _Formulation.whole(structure)
    if start_name == "unit":
        return whole, whole.pack(np.eye(len(structure.terms)), 1.0)
    if start.converged:
        reduced = _Formulation.with_variance(structure, start)
        return reduced, reduced.pack(start.covariance, start.cluster_variance)
    away_from_zero = start.covariance + SMALLEST_START * np.eye(len(structure.terms))
    return whole, whole.pack(away_from_zero, start.cluster_variance + SMALLEST_START)


def _not_below(solution: Solution, other: Solution) -> bool:
    return solution.log_likelihood >= other.log_likelihood - LOG_LIKELIHOOD_TOLERANCE


def _best(solutions: list[Solution], start: Solution) -> Solution:
    converged = [solution for solution in solutions if solution.converged]
    best = max(converged, key=lambda solution: solution.log_likelihood, default=None)
    if best is not None and (_not_below(best, start) or not start.converged):
        return best
    if start.converged:
        return start
    return max([*solutions, start], key=lambda solution: solution.log_likelihood)


def _attempt(
    problem: Problem,
    rows: ScaledRows,
    formulation: _Formulation,
    parameters: NDArray[np.float64],
    names: tuple[str, str],
) -> Solution | None:
    """Run one optimiser; None if it broke down numerically."""
    optimiser, start_name = names
    settings = {} if optimiser == "lbfgs" else {"gtol": MIXEDLM_GRADIENT_TOLERANCE}
    # MixedLM divides by variances and takes their logarithm on the way to the boundary, and warns whenever
    # its own criteria are unsure; whether the result is a maximum is judged afterwards from the exact
    # likelihood.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = formulation.model(rows).fit(
                start_params=parameters, reml=problem.reml, method=optimiser, **settings
            )
            covariance, cluster_variance = formulation.unpack(result)
            if not (np.all(np.isfinite(covariance)) and np.isfinite(cluster_variance)):
                return None
            return judged(problem, optimiser, start_name, covariance, cluster_variance)
        except np.linalg.LinAlgError:
            return None
