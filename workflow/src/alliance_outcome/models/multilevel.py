"""Linear multilevel models of sessions in clients in therapists, with results in the user's own units.

One function fits every model of the study: random intercepts and slopes of clients, a random intercept of
therapists, models with one row per client, and ordinary least squares as the case without random effects. The
variance parameters come from statsmodels MixedLM under guard (:mod:`alliance_outcome.models.mixedlm`); fixed
effects and their covariance are always generalised least squares at those parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from alliance_outcome.models.clusters import sorted_positions
from alliance_outcome.models.contrast import CI_LEVEL, Contrast, wald_contrast
from alliance_outcome.models.degrees_of_freedom import inner_outer
from alliance_outcome.models.design_checks import INTERCEPT, RankDeficientDesign, UnfittableModel
from alliance_outcome.models.gls import Profile, profile
from alliance_outcome.models.jackknife import jackknife_covariance, leave_one_out_coefficients
from alliance_outcome.models.mixedlm import estimate
from alliance_outcome.models.nested_design import NestedDesign, nested_design
from alliance_outcome.models.profiled_likelihood import Problem, Solution
from alliance_outcome.models.scaling import Scaling
from alliance_outcome.models.variance_components import singular_components, variance_components

__all__ = [
    "INTERCEPT",
    "Contrast",
    "MultilevelFit",
    "RankDeficientDesign",
    "UnfittableModel",
    "fit_multilevel",
    "jackknife_covariance",
]


@dataclass(frozen=True, eq=False)
class MultilevelFit:
    """A fitted multilevel model, everything in the units of the data that were passed.

    Parameters
    ----------
    params : Series, index terms
        Fixed effects.
    covariance : DataFrame, terms by terms
        Their model-based covariance, σ²(X'V⁻¹X)⁻¹ at the estimated variance parameters.
    variance_components : DataFrame
        Columns level (therapist, client, residual), term, term2, kind (variance, covariance), value; `term2`
        equals `term` for variances.
    residual_variance : float
        Variance of the rows given all effects.
    log_likelihood : float
        Restricted (or full) log-likelihood with all constants, as lme4 reports it.
    converged : bool
        Whether the first-order conditions of the likelihood hold at the solution.
    singular : tuple of str
        Components estimated on the boundary: ``level:term`` for a variance of zero, ``level:covariance`` for
        a covariance matrix that is singular though its variances are not zero (a correlation of one).
    structure : str
        The random effects in words.
    attempts : DataFrame
        What was tried: optimiser, start, log_likelihood, converged, gradient_max.
    n_sessions, n_clients, n_therapists : int
        Rows, clients (rows, where no clients were named) and therapists (0 without a therapist level).
    reml : bool
        Whether the restricted likelihood was maximised.
    term_levels : dict of term to level
        Outermost level between whose units a term varies.
    level_counts : tuple of (level, number of units)
        Levels of the model, outermost first.
    cluster_level : str or None
        Level of the clusters of `leave_one_cluster_out`; None if every unlabelled row is one.
    cluster_labels : tuple
        Their labels.
    cluster_blocks : ndarray, shape (n_clusters, p + 1, p + 1)
        [X y]'V⁻¹[X y] per cluster, in the same order, scaled by `scaling`.
    scaling : Scaling
        How the design was scaled.
    """

    params: pd.Series
    covariance: pd.DataFrame
    variance_components: pd.DataFrame
    residual_variance: float
    log_likelihood: float
    converged: bool
    singular: tuple[str, ...]
    structure: str
    attempts: pd.DataFrame
    n_sessions: int
    n_clients: int
    n_therapists: int
    reml: bool
    term_levels: dict[str, str] = field(repr=False)
    level_counts: tuple[tuple[str, int], ...] = field(repr=False)
    cluster_level: str | None = field(repr=False)
    cluster_labels: tuple = field(repr=False)
    cluster_blocks: NDArray[np.float64] = field(repr=False)
    scaling: Scaling = field(repr=False)

    def degrees_of_freedom(self) -> pd.Series:
        """Return inner-outer degrees of freedom per term.

        Returns
        -------
        Series, index terms
            0 or less where a level has no more units than terms; see
            :func:`alliance_outcome.models.degrees_of_freedom.inner_outer`.
        """
        return inner_outer(self.term_levels, self.level_counts)

    def contrast(
        self, weights: Mapping[str, float] | pd.Series, df: float, ci_level: float = CI_LEVEL
    ) -> Contrast:
        """Test a linear combination of fixed effects.

        Parameters
        ----------
        weights : mapping or Series of term to float
            Terms that are not named have weight zero.
        df : float
            Degrees of freedom of the t distribution.
        ci_level : float
            Coverage of the interval.

        Returns
        -------
        Contrast

        Raises
        ------
        ValueError
            If a weight names no term of the model.
        """
        given = pd.Series(weights, dtype=float)
        unknown = [str(term) for term in given.index if term not in self.params.index]
        if unknown:
            raise ValueError(f"the model has no terms {', '.join(unknown)}")
        full = given.reindex(self.params.index, fill_value=0.0).to_numpy()
        variance = float(full @ self.covariance.to_numpy() @ full)
        return wald_contrast(float(full @ self.params.to_numpy()), float(np.sqrt(variance)), df, ci_level)

    def leave_one_cluster_out(self) -> pd.DataFrame:
        """Re-estimate the fixed effects without each top-level cluster, variance parameters held.

        Returns
        -------
        DataFrame, clusters by terms
            Sorted by cluster label. NaN where the other clusters do not identify all terms.
        """
        replicates = self.scaling.raw_coefficients(leave_one_out_coefficients(self.cluster_blocks))
        index = pd.Index(list(self.cluster_labels), name=self.cluster_level)
        return pd.DataFrame(replicates, index, self.params.index).iloc[sorted_positions(self.cluster_labels)]


def fit_multilevel(
    outcome: ArrayLike | pd.Series,
    fixed: pd.DataFrame,
    *,
    client: ArrayLike | pd.Series | None = None,
    therapist: ArrayLike | pd.Series | None = None,
    slopes: Sequence[str] = (),
    reml: bool = True,
) -> MultilevelFit:
    """Fit a linear multilevel model.

    Parameters
    ----------
    outcome : array_like or Series, shape (n_rows,)
        The outcome.
    fixed : DataFrame, shape (n_rows, n_terms)
        Fixed-effect columns, ``Intercept`` (ones) among them; column names are the terms.
    client, therapist : array_like or Series of labels, shape (n_rows,), optional
        Clients nested in therapists. With one row per client the client has no effect of its own.
    slopes : sequence of str
        Columns of `fixed` with random slopes at the client level.
    reml : bool
        Restricted maximum likelihood, or maximum likelihood.

    Returns
    -------
    MultilevelFit

    Raises
    ------
    RankDeficientDesign
        If fixed-effect columns are collinear.
    UnfittableModel
        If values are missing, clients are not nested, units are too few, or nothing is left for the residual.

    Notes
    -----
    Without a therapist level, client intercept and slopes have a full covariance matrix. Beside a therapist level
    they are uncorrelated (lme4's ``(1 | therapist) + (1 + x || therapist:client)``), and the origin of a slope
    column then matters: the model is that of the columns as they were passed. A boundary solution is a result, not
    an error.
    """
    design = nested_design(outcome, fixed, client, therapist, slopes)
    if design.levels.structure.unit is None:
        return _fit(design, *_least_squares(design, reml), reml)
    try:
        solution, attempts = estimate(Problem(design.levels.structure, design.gram, reml), design.rows)
    except np.linalg.LinAlgError:
        raise UnfittableModel(
            "next to the random effects no residual variance is left to estimate; leave out random slopes"
        ) from None
    return _fit(design, solution, attempts, reml)


def _least_squares(design: NestedDesign, reml: bool) -> tuple[Solution, pd.DataFrame]:
    """Solve the model without random effects, which needs no optimiser."""
    none = np.empty((0, 0))
    at: Profile = profile(design.gram, none, 0.0, reml)
    solution = Solution("least squares", "none", none, 0.0, at, gradient_max=0.0, converged=True)
    return solution, pd.DataFrame([solution.attempt()])


def _fit(design: NestedDesign, solution: Solution, attempts: pd.DataFrame, reml: bool) -> MultilevelFit:
    """Bring a solution back to raw units."""
    at, scaling, levels = solution.profile, design.scaling, design.levels
    terms = list(design.terms)
    shift = scaling.log_likelihood_shift(levels.n_rows, reml)
    return MultilevelFit(
        params=pd.Series(scaling.raw_coefficients(at.coefficients), index=terms, name="estimate"),
        covariance=pd.DataFrame(scaling.raw_covariance(at.covariance), index=terms, columns=terms),
        variance_components=variance_components(design, solution),
        residual_variance=at.residual_variance * scaling.outcome_scale**2,
        log_likelihood=at.log_likelihood + shift,
        converged=solution.converged,
        singular=singular_components(design, solution),
        structure=levels.structure.describe(),
        attempts=attempts.assign(log_likelihood=attempts["log_likelihood"] + shift),
        n_sessions=levels.n_rows,
        n_clients=levels.n_rows if levels.client is None else len(levels.client),
        n_therapists=0 if levels.therapist is None else len(levels.therapist),
        reml=reml,
        term_levels=design.term_levels,
        level_counts=levels.counts,
        cluster_level=design.cluster_level,
        cluster_labels=design.cluster_labels,
        cluster_blocks=at.blocks,
        scaling=scaling,
    )
