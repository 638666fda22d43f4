"""The result of a multilevel fit: estimates, tests, predictions, everything in the user's own units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance_outcome.models.cluster_robust import ClusterRobust, Kind, cluster_robust
from alliance_outcome.models.clusters import Grouping
from alliance_outcome.models.confidence_intervals import profile_intervals, wald_intervals
from alliance_outcome.models.contrast import CI_LEVEL, Contrast, require_coverage, wald_contrast
from alliance_outcome.models.design_checks import INTERCEPT, UnavailableInference, UnfittableModel, as_numbers
from alliance_outcome.models.dominance import DominanceAnalysis, dominance_analysis
from alliance_outcome.models.explained_variance import (
    ExplainedVariance,
    ModelEstimates,
    explained_variance,
)
from alliance_outcome.models.f_approximation import FApproximation, hypothesis_rows
from alliance_outcome.models.fitted_state import FittedState, FloatArray
from alliance_outcome.models.fixed_effect_tests import JointContrast, joint_contrast
from alliance_outcome.models.information import Information, Satterthwaite, information
from alliance_outcome.models.joint_covariance import joint_covariance_slopes
from alliance_outcome.models.kenward_roger import KenwardRoger, kenward_roger
from alliance_outcome.models.level_covariances import LevelledDesign, design_covariances
from alliance_outcome.models.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from alliance_outcome.models.model_formula import Specifications, new_columns
from alliance_outcome.models.multilevel_bootstrap import Bootstrap, bootstrap
from alliance_outcome.models.multilevel_summary import Summary, summarise
from alliance_outcome.models.nested_design import ModelColumns, NestedDesign, nested_design, term_positions
from alliance_outcome.models.nested_likelihood import Maximum, NestedLikelihood
from alliance_outcome.models.random_effect_predictions import Predictions, predict_effects
from alliance_outcome.models.variance_components import (
    relative_covariance,
    singular_components,
    variance_components,
)

DfMethod = Literal["satterthwaite", "kenward-roger", "normal"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit hands to its result.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood
    maximum : Maximum
    index : Index
        Labels of the rows, in the user's order.
    lagged_outcome : str or None
        The fixed effect that is an earlier outcome.
    specifications : Specifications or None
        How columns are made from a formula.
    n_dropped : int
        Rows left out because something was missing.
    """

    design: NestedDesign
    likelihood: NestedLikelihood
    maximum: Maximum
    index: pd.Index
    lagged_outcome: str | None
    specifications: Specifications | None
    n_dropped: int


@dataclass(frozen=True)
class _Normal:
    """Inference that takes the covariance matrix of the fixed effects for known."""

    covariance: FloatArray

    def approximation(self, hypothesis: ArrayLike) -> FApproximation:
        return FApproximation(len(hypothesis_rows(hypothesis, self.covariance)), np.inf, 1.0)


class RobustFixedEffects:
    """Fixed effects with cluster-robust standard errors.

    Parameters
    ----------
    result : MultilevelResult
    robust : ClusterRobust
        In working coordinates.
    level : str
        Level of the clusters.
    """

    def __init__(self, result: MultilevelResult, robust: ClusterRobust, level: str) -> None:
        self._result, self._robust, self.level = result, robust, level

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return self._robust.n_clusters

    def cov_params(self) -> pd.DataFrame:
        """Return the cluster-robust covariance matrix, terms by terms."""
        return self._result.in_raw_units(self._robust.covariance)

    @property
    def bse(self) -> pd.Series:
        """Cluster-robust standard errors by term."""
        covariance = self.cov_params()
        return pd.Series(np.sqrt(np.diag(covariance)), covariance.index, name="std_error")

    def contrast(self, weights: Any, ci_level: float = CI_LEVEL) -> Contrast | JointContrast:
        """Test combinations of fixed effects; see :meth:`MultilevelResult.contrast`.

        Returns
        -------
        Contrast or JointContrast
            With Satterthwaite degrees of freedom, Hotelling's T² for several rows (Pustejovsky & Tipton 2018,
            10.1080/07350015.2016.1247004).
        """
        return self._result.tested(self._robust.covariance, self._robust, weights, ci_level)


class MultilevelResult:
    """A fitted multilevel model.

    Parameters
    ----------
    fitted : Fitted

    Attributes
    ----------
    params : Series
        Fixed effects by term, in lme4's order.
    bse : Series
        Their standard errors: of the model, or from the whole observed information beside a lagged outcome (NaN where
        that is not the information of a maximum).
    llf : float
        Log-likelihood, restricted after REML, with all constants, for the columns as they were passed (lme4's).
    aic, bic : float
        Of `llf`, with all fixed effects and variance parameters counted, and all rows.
    scale : float
        Residual variance.
    ar1 : float or None
        Autocorrelation of residuals one unit of time apart.
    converged : bool
        Whether the first-order conditions of a maximum hold.
    singular : tuple of str
        Components on the boundary: ``level:term`` for a variance of zero, ``level:covariance`` for a covariance matrix
        that is singular though its variances are not zero.
    n_dropped : int
        Rows left out because something was missing.
    """

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self.design = fitted.design
        self.likelihood = fitted.likelihood
        self.maximum = fitted.maximum
        at, scaling = fitted.maximum.at, fitted.design.scaling
        terms = list(fitted.design.terms)
        self.params = pd.Series(scaling.raw_coefficients(at.coefficients), terms, name="estimate")
        shift = scaling.log_likelihood_shift(fitted.likelihood.problem.n_rows, fitted.likelihood.reml)
        self.llf = -0.5 * at.deviance + shift
        self.scale = at.residual_variance * scaling.outcome_scale**2
        _, _, phi = fitted.likelihood.unpack(fitted.maximum.parameters)
        self.ar1 = None if phi is None else float(fitted.design.raw_autocorrelation(phi))
        self.converged = fitted.maximum.converged
        self.n_dropped = fitted.n_dropped

    # -- What was fitted ------------------------------------------------------------------------------------------

    @property
    def reml(self) -> bool:
        """Whether the restricted likelihood was maximised."""
        return self.likelihood.reml

    @property
    def lagged_outcome(self) -> str | None:
        """The fixed effect that is an earlier outcome."""
        return self._fitted.lagged_outcome

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.likelihood.problem.n_rows

    @property
    def n_units(self) -> dict[str, int]:
        """Number of units by level, outermost first, without the rows."""
        return {grouping.level: len(grouping) for grouping in self.design.levels.groups}

    @property
    def n_parameters(self) -> int:
        """Number of fixed effects and variance parameters."""
        return len(self.params) + len(self.maximum.parameters) + 1

    @property
    def aic(self) -> float:
        """Akaike's criterion; restricted likelihoods compare only between models with the same fixed effects."""
        return -2.0 * self.llf + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows."""
        return -2.0 * self.llf + float(np.log(self.n_rows)) * self.n_parameters

    @property
    def singular(self) -> tuple[str, ...]:
        """Components on the boundary of the parameter space."""
        return singular_components(self.design, self.likelihood, self.maximum.parameters)

    @cached_property
    def variance_components(self) -> pd.DataFrame:
        """Variances and covariances: level, term, term2, kind, value, sd_or_correlation; outermost level first."""
        return variance_components(self.design, self.likelihood, self.maximum)

    def random_covariance(self, level: str) -> pd.DataFrame:
        """Return the covariance matrix of a level's random effects, terms by terms, in raw units.

        Raises
        ------
        ValueError
            If the level has no random effects.
        """
        for effects in self.design.structure.levels:
            if effects.level == level:
                psi = relative_covariance(self.design, self.likelihood, self.maximum.parameters, level)
                return pd.DataFrame(self.scale * psi, list(effects.terms), list(effects.terms))
        raise ValueError(f"the model has no random effects of {level}")

    def structure_in_words(self) -> str:
        """Say which random effects and residuals the model has."""
        words = self.design.structure.describe()
        return words if self.ar1 is None else f"{words}; residuals AR(1)"

    # -- Second derivatives ---------------------------------------------------------------------------------------

    @property
    def gradient(self) -> FloatArray:
        """Derivatives of the deviance at the solution, by the relative factors of the working columns."""
        return self.maximum.at.gradient

    @cached_property
    def _regular(self) -> tuple[NestedLikelihood, FloatArray]:
        return self.likelihood.regular(self.maximum.parameters)

    @cached_property
    def information(self) -> Information:
        """Observed information; at a boundary, that of the model without the effects that have no variance."""
        likelihood, parameters = self._regular
        return information(likelihood, parameters, self.maximum.at.residual_variance)

    @property
    def hessian(self) -> FloatArray:
        """Second derivatives of the deviance by the parameters of :attr:`gradient`, then by log σ²."""
        return self.information.hessian

    @cached_property
    def state(self) -> FittedState:
        """The fit in working coordinates; at a boundary, without the effects that have no variance.

        The working model of cluster-robust errors, which Kenward and Roger's method does not use.
        """
        likelihood, parameters = self._regular
        return likelihood.state(parameters)

    # -- Fixed effects --------------------------------------------------------------------------------------------

    @cached_property
    def _covariance(self) -> FloatArray:
        if self.lagged_outcome is None:
            return self.maximum.at.covariance
        return self.information.joint_covariance

    def in_raw_units(self, covariance: FloatArray) -> pd.DataFrame:
        """Bring a covariance matrix of fixed effects, shape (p, p), from working coordinates to raw units."""
        terms = list(self.design.terms)
        return pd.DataFrame(self.design.scaling.raw_covariance(covariance), terms, terms)

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects, terms by terms."""
        return self.in_raw_units(self._covariance)

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the fixed effects by term."""
        covariance = self.cov_params()
        return pd.Series(np.sqrt(np.diag(covariance)), covariance.index, name="std_error")

    @cached_property
    def kenward_roger(self) -> KenwardRoger:
        """Kenward & Roger's adjustment, in working coordinates.

        Raises
        ------
        UnavailableInference
            After maximum likelihood, with AR(1) residuals (whatever their estimate), and beside a lagged outcome, for
            which it is not derived.

        Notes
        -----
        Effects on the boundary stay in the model, as in R's pbkrtest: that a variance is estimated as zero does not
        mean that it is known to be zero, and its uncertainty counts. Satterthwaite's method takes them out.
        """
        if self.lagged_outcome is not None:
            raise UnavailableInference(
                "Kenward and Roger's method takes predictors for fixed, and one here is an earlier outcome; use "
                "Satterthwaite degrees of freedom"
            )
        return kenward_roger(self.likelihood.state(self.maximum.parameters))

    @cached_property
    def satterthwaite(self) -> Satterthwaite:
        """Covariance matrix of the fixed effects with Satterthwaite degrees of freedom, in working coordinates.

        At a boundary, that of the model without the effects that have no variance.
        """
        at = self.information
        if self.lagged_outcome is None:
            return Satterthwaite(at.coefficients_covariance, at.covariance_slopes, at.covariance)
        slopes = joint_covariance_slopes(*self._regular, self.maximum.at.residual_variance, at)
        return Satterthwaite(at.joint_covariance, slopes, at.covariance)

    def contrast(
        self, weights: Any, df: DfMethod = "satterthwaite", ci_level: float = CI_LEVEL
    ) -> Contrast | JointContrast:
        """Test linear combinations of fixed effects.

        Parameters
        ----------
        weights : str, mapping of term to float, Series, array; or a sequence, mapping or DataFrame of several
            One combination: a term, or weights of terms (those not named weigh zero). Several: tested together.
        df : {'satterthwaite', 'kenward-roger', 'normal'}
            Degrees of freedom; Kenward and Roger's also adjust the standard error. Where effects are on the boundary,
            Kenward and Roger's method keeps them, as R's pbkrtest does, and Satterthwaite's is that of the model
            without them.
        ci_level : float
            Coverage of the intervals.

        Returns
        -------
        Contrast or JointContrast
            The latter for several combinations. Degrees of freedom, p and limits are NaN where the data leave open what
            the standard error depends on; beside a lagged outcome the standard error is NaN too. With fewer than one
            degree of freedom the data hardly determine the standard error, and the interval says nothing.

        Raises
        ------
        ValueError
            If a weight names no term of the model, or combinations are dependent.
        UnavailableInference
            If Kenward and Roger's method does not exist for the model.
        """
        if df == "kenward-roger":
            return self.tested(self.kenward_roger.adjusted_covariance, self.kenward_roger, weights, ci_level)
        if df == "satterthwaite":
            return self.tested(self._covariance, self.satterthwaite, weights, ci_level)
        if df == "normal":
            return self.tested(self._covariance, _Normal(self._covariance), weights, ci_level)
        raise ValueError("df must be 'satterthwaite', 'kenward-roger' or 'normal'")

    def tested(
        self, covariance: FloatArray, method: Any, weights: Any, ci_level: float
    ) -> Contrast | JointContrast:
        """Test combinations with a covariance matrix, shape (p, p), and an approximation in working coordinates."""
        rows = self._weight_rows(weights)
        to_raw = self.design.scaling.coefficient_map()
        singles = {}
        for name, row in rows.items():
            working = row @ to_raw
            variance = float(working @ covariance @ working)
            degrees = method.approximation(working).denominator_df
            estimate = float(row @ self.params.to_numpy())
            singles[name] = wald_contrast(estimate, float(np.sqrt(variance)), degrees, ci_level)
        if len(singles) == 1 and _is_single(weights):
            return next(iter(singles.values()))
        working = np.stack(list(rows.values())) @ to_raw
        approximation = method.approximation(working)
        estimates = np.array([single.estimate for single in singles.values()])
        wald = float(estimates @ np.linalg.solve(working @ covariance @ working.T, estimates))
        statistic = approximation.scaling * wald / approximation.numerator_df
        return joint_contrast(singles, statistic, approximation.denominator_df, ci_level)

    def _weight_rows(self, weights: Any) -> dict[str, FloatArray]:
        """Return named rows of weights, each shape (p,)."""
        if _is_single(weights):
            return {weights if isinstance(weights, str) else "combination": self._weight_row(weights)}
        if isinstance(weights, pd.DataFrame):
            named = list(weights.iterrows())
        elif isinstance(weights, Mapping):
            named = list(weights.items())
        else:
            named = [
                (row if isinstance(row, str) else f"combination {at}", row)
                for at, row in enumerate(weights, 1)
            ]
        rows = {str(name): self._weight_row(row) for name, row in named}
        if len(rows) < len(named):
            raise ValueError("a row of the hypothesis is a combination of the others; leave it out")
        return rows

    def _weight_row(self, weights: Any) -> FloatArray:
        terms = self.design.terms
        if isinstance(weights, str):
            weights = {weights: 1.0}
        if isinstance(weights, Mapping | pd.Series):
            given = pd.Series(weights, dtype=float)
            row = np.zeros(len(terms))
            row[term_positions(terms, list(given.index))] = given.to_numpy()
            return row
        row = np.asarray(weights, dtype=float)
        if row.shape != (len(terms),):
            raise ValueError(f"weights of {len(terms)} terms have shape {row.shape}")
        return row

    def cluster_robust(self, kind: Kind = "CR2", level: str | None = None) -> RobustFixedEffects:
        """Estimate the covariance matrix of the fixed effects from the clusters' own residuals.

        Parameters
        ----------
        kind : {'CR0', 'CR1', 'CR2', 'CR3'}
            As in R's clubSandwich; the fitted model is the working model.
        level : str, optional
            Level of the clusters; the outermost unless given.

        Returns
        -------
        RobustFixedEffects

        Raises
        ------
        UnavailableInference
            If clusters of the level are not independent in the model, or beside a lagged outcome.
        ValueError
            If the model has no such level.
        """
        if self.lagged_outcome is not None:
            raise UnavailableInference(
                "cluster-robust standard errors take predictors for fixed, and one here is an earlier outcome; use the "
                "observed information"
            )
        outermost = self.design.cluster_level.level
        level = outermost if level is None else level
        rows = self.state.rows
        if level == outermost:
            starts = rows.cluster_row_starts
        elif level == self.design.levels.unit.level:
            starts = rows.unit_starts
        else:
            raise ValueError(f"the model has no level {level}")
        return RobustFixedEffects(self, cluster_robust(self.state, starts, kind), level)

    # -- Predictions ----------------------------------------------------------------------------------------------

    @cached_property
    def _predictions(self) -> Predictions:
        return predict_effects(self.likelihood, self.maximum.parameters)

    def random_effects(self, level: str) -> pd.DataFrame:
        """Predict the random effects of a level.

        Parameters
        ----------
        level : str

        Returns
        -------
        DataFrame
            One row per unit and term, units in order of first appearance: the level's label, term, estimate, std_error
            (of the prediction error, fixed effects and variance parameters taken for known, as in lme4).

        Raises
        ------
        ValueError
            If the level has no random effects.
        """
        effects, values, covariances = self._raw_predictions(level)
        errors = np.sqrt(np.maximum(np.diagonal(covariances, axis1=1, axis2=2), 0.0))
        grouping, codes = self._units(level)
        values, errors, labels = values[np.argsort(codes)], errors[np.argsort(codes)], grouping.labels
        return pd.DataFrame(
            {
                level: np.repeat(labels, len(effects)),
                "term": list(effects) * len(labels),
                "estimate": values.ravel(),
                "std_error": errors.ravel(),
            }
        )

    def _raw_predictions(self, level: str) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
        """Return terms, effects (units, q) and covariances of their errors (units, q, q) in raw units."""
        structure = self.design.structure
        scale = self.design.scaling.outcome_scale
        for effects, values, covariances in (
            (structure.unit, self._predictions.unit, self._predictions.unit_covariance),
            (structure.cluster, self._predictions.cluster, self._predictions.cluster_covariance),
        ):
            if effects is not None and effects.level == level:
                back = scale * self.design.effect_maps[level]
                return effects.terms, values @ back.T, back @ covariances @ back.T
        raise ValueError(f"the model has no random effects of {level}")

    def _units(self, level: str) -> tuple[Grouping, np.ndarray]:
        """Return a level and the codes of its units in sorted order."""
        design = self.design
        grouping = next(each for each in design.levels.groups if each.level == level)
        inner = grouping is design.levels.unit
        first = design.rows.unit_starts[:-1] if inner else design.rows.cluster_row_starts[:-1]
        return grouping, design.order.take(grouping.codes)[first]

    @cached_property
    def fittedvalues(self) -> pd.Series:
        """Fixed part plus predicted random effects, row by row."""
        rows, effects = self.design.rows, self._predictions
        fitted = rows.fixed @ self.maximum.at.coefficients
        if rows.unit_random.shape[1]:
            own = np.repeat(effects.unit, np.diff(rows.unit_starts), axis=0)
            fitted += np.sum(rows.unit_random * own, axis=1)
        if rows.cluster_random.shape[1]:
            own = np.repeat(effects.cluster, np.diff(rows.cluster_row_starts), axis=0)
            fitted += np.sum(rows.cluster_random * own, axis=1)
        scaling = self.design.scaling
        raw = scaling.outcome_mean + scaling.outcome_scale * self.design.order.put(fitted)
        return pd.Series(raw, self._fitted.index, name="fitted")

    @property
    def resid(self) -> pd.Series:
        """Outcome less fitted values, row by row."""
        return (self.design.columns.outcome - self.fittedvalues).rename("residual")

    def predict(
        self,
        new_data: pd.DataFrame,
        include: str | Sequence[str] = "all",
        *,
        new_units: bool = False,
    ) -> pd.Series:
        """Predict the outcome for new rows.

        Parameters
        ----------
        new_data : DataFrame
            The formula's columns, or the fixed-effect columns of a model that was made from columns; with the levels'
            columns where their effects are included.
        include : 'all', 'fixed', a level or several
            Which random effects to add to the fixed part.
        new_units : bool
            Whether units that were not in the data count as average; otherwise they are refused.

        Returns
        -------
        Series
            NaN where a predictor is missing.

        Raises
        ------
        ValueError
            If columns are lacking, or units are new; the message counts them.
        """
        levels = [effects.level for effects in self.design.structure.levels]
        wanted = {"all": levels, "fixed": []}.get(include, [include]) if isinstance(include, str) else include
        predicted = self._new_columns(new_data) @ self.params.to_numpy()
        for level in wanted:
            terms, effects, _ = self._raw_predictions(level)
            if level not in new_data.columns:
                raise ValueError(f"the new data have no column {level}")
            grouping, codes = self._units(level)
            position = pd.Index(grouping.labels[codes]).get_indexer(new_data[level].to_numpy(dtype=object))
            unknown = int(np.sum(position < 0))
            if unknown and not new_units:
                raise ValueError(
                    f"{unknown} rows belong to {level}s that were not in the data; include only the fixed part, or "
                    "pass new_units=True to count them as average"
                )
            own = np.where(position[:, None] < 0, 0.0, effects[position])
            predicted = predicted + np.sum(self._new_columns(new_data, level, terms) * own, axis=1)
        return pd.Series(predicted, new_data.index, name="predicted")

    def _new_columns(
        self, new_data: pd.DataFrame, level: str | None = None, terms: Sequence[str] | None = None
    ) -> FloatArray:
        """Make the columns of the fixed part, or of a level's random effects, from new data."""
        specifications = self._fitted.specifications
        if specifications is not None:
            specification = specifications.fixed if level is None else specifications.random[level]
            return new_columns(specification, new_data)
        names = list(self.design.terms if terms is None else terms)
        table = new_data if INTERCEPT in new_data.columns else new_data.assign(**{INTERCEPT: 1.0})
        lacking = [name for name in names if name not in table.columns]
        if lacking:
            raise ValueError(f"the new data have no columns {', '.join(lacking)}")
        return as_numbers(table[names], "a column of the new data")

    # -- Intervals and comparisons --------------------------------------------------------------------------------

    def confint(
        self,
        method: Literal["wald", "profile", "bootstrap"] = "wald",
        ci_level: float = CI_LEVEL,
        *,
        df: DfMethod = "satterthwaite",
        n: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Return intervals of fixed effects, standard deviations, correlations and the autocorrelation.

        Parameters
        ----------
        method : {'wald', 'profile', 'bootstrap'}
            Profile intervals are of the full likelihood, to which a REML fit is refitted, as in lme4. Bootstrap
            intervals are percentiles of the parametric bootstrap.
        ci_level : float
            Coverage.
        df : {'satterthwaite', 'kenward-roger', 'normal'}
            Degrees of freedom of Wald intervals of fixed effects.
        n, seed : int
            Replicates and seed of the bootstrap; the seed must be given.

        Returns
        -------
        DataFrame
            Columns estimate, ci_low, ci_high; rows are terms, ``sd(client: x)``, ``correlation(client: x,
            Intercept)``, ``sd(residual)``, ``ar1``.

        Raises
        ------
        ValueError
            If the method is unknown, `ci_level` is not between 0 and 1, or a bootstrap has no seed.
        """
        require_coverage(ci_level)
        if method == "wald":
            return wald_intervals(self, ci_level, df)
        if method == "profile":
            return profile_intervals(self.refit(reml=False), ci_level)
        if method == "bootstrap":
            if seed is None:
                raise ValueError("a bootstrap needs a seed")
            limits = self.bootstrap(n=n, seed=seed).confint(ci_level)
            limits.insert(0, "estimate", wald_intervals(self, ci_level, "normal")["estimate"])
            return limits
        raise ValueError("method must be 'wald', 'profile' or 'bootstrap'")

    def likelihood_ratio(self, other: MultilevelResult) -> LikelihoodRatio:
        """Test this model against another of the same rows; see :func:`likelihood_ratio`."""
        return likelihood_ratio(self, other)

    def bootstrap(
        self,
        kind: Literal["parametric", "cases"] = "parametric",
        n: int = 1000,
        *,
        seed: int,
        statistic: Callable[[MultilevelResult], Any] | None = None,
        threads: int | None = None,
    ) -> Bootstrap:
        """Refit the model to simulated outcomes, or to units of the outermost level drawn with replacement.

        Parameters
        ----------
        kind : {'parametric', 'cases'}
            Simulated outcomes keep the predictors, but for a lagged outcome, which is simulated row after row where it
            is the outcome of the unit's previous row. A unit drawn twice counts as two.
        n : int
            Replicates.
        seed : int
            Of all random numbers. They belong to rows and units in their order of appearance.
        statistic : callable, optional
            From a result to a number, mapping or Series, evaluated for each replicate; replicates then become whole
            results, which takes about ten times as long.
        threads : int, optional
            As many as there are processors unless given; results do not depend on it.

        Returns
        -------
        Bootstrap
        """
        return bootstrap(self, kind, n, seed, statistic, threads)

    def summary(self, df: DfMethod = "satterthwaite") -> Summary:
        """Describe the fit as text."""
        return summarise(self, df)

    # -- Explained variance ---------------------------------------------------------------------------------------

    @cached_property
    def levelled_design(self) -> LevelledDesign:
        """Columns of fixed and random effects by level, as the R² measures take them."""
        return self.design.levelled

    def estimates_for_levels(self) -> ModelEstimates:
        """Return the estimates in the order of `levelled_design`, in raw units."""
        with_effects = [effects.level for effects in self.design.structure.levels]
        return ModelEstimates(
            self.params.to_numpy(),
            tuple(
                self.random_covariance(grouping.level).to_numpy()
                if grouping.level in with_effects
                else np.empty((0, 0))
                for grouping in self.design.levels.grouped[::-1]
            ),
            self.scale,
        )

    def r_squared(self) -> ExplainedVariance:
        """Take the variance of the outcome apart: marginal and conditional R², and the parts of each level.

        Returns
        -------
        ExplainedVariance
            See :mod:`alliance_outcome.models.explained_variance`.
        """
        return explained_variance(design_covariances(self.levelled_design), self.estimates_for_levels())

    def icc(self) -> pd.DataFrame:
        """Return intraclass correlations by level, given the fixed effects; see `ExplainedVariance`."""
        return self.r_squared().intraclass_correlations()

    def dominance(self, groups: Mapping[str, Sequence[str]]) -> DominanceAnalysis:
        """Share explained variance out among groups of terms: alone, unique, common, and who dominates whom.

        Parameters
        ----------
        groups : mapping of name to terms
            Terms that are in no group stay in every model.

        Returns
        -------
        DominanceAnalysis
            Of R² (fixed effects) of the total variance and, beside other levels, of that of each level. Models without
            some groups are refitted with the same random effects.

        Raises
        ------
        ValueError
            If a term is unknown or in two groups.
        """
        named = {name: list(terms) for name, terms in groups.items()}
        flat = [term for terms in named.values() for term in terms]
        term_positions(self.design.terms, flat)
        if len(set(flat)) < len(flat):
            raise ValueError("a term is in two groups")

        def measures(subset: frozenset[str]) -> dict[str, float]:
            dropped = {term for name, terms in named.items() if name not in subset for term in terms}
            return self._without(dropped).fixed_shares()

        return dominance_analysis(list(named), measures)

    def _without(self, dropped: set[str]) -> MultilevelResult:
        """Refit without some fixed effects, random effects as they are."""
        if not dropped:
            return self
        columns = self.design.columns
        kept = [at for at, term in enumerate(columns.terms) if term not in dropped]
        terms = tuple(columns.terms[at] for at in kept)
        return self.refitted(replace(columns, fixed=columns.fixed[:, kept], terms=terms))

    def fixed_shares(self) -> dict[str, float]:
        """Return R² of the fixed effects: of the total variance, and of the variance of each level."""
        explained = self.r_squared()
        shares = {"total": explained.marginal}
        for level in explained.levels if len(explained.levels) > 1 else ():
            variance = explained.variance(level)
            shares[level] = explained.variance(level, "f") / variance if variance > 0.0 else np.nan
        return shares

    # -- Refits ---------------------------------------------------------------------------------------------------

    def refitted(self, columns: ModelColumns) -> MultilevelResult:
        """Fit the same model to other columns.

        Raises
        ------
        UnfittableModel
            If they cannot support it.
        """
        design = nested_design(columns)
        likelihood = NestedLikelihood(design.rows, design.structure, self.reml, self.likelihood.residual)
        try:
            maximum = likelihood.maximise()
        except np.linalg.LinAlgError:
            raise UnfittableModel(
                "next to the random effects no residual variance is left to estimate"
            ) from None
        index = (
            self._fitted.index if len(columns.outcome) == self.n_rows else pd.RangeIndex(len(columns.outcome))
        )
        return MultilevelResult(
            replace(self._fitted, design=design, likelihood=likelihood, maximum=maximum, index=index)
        )

    def refit(self, *, reml: bool) -> MultilevelResult:
        """Fit the same model by the other likelihood, restricted or full."""
        if reml == self.reml:
            return self
        design = self.design
        likelihood = NestedLikelihood(design.rows, design.structure, reml, self.likelihood.residual)
        maximum = likelihood.maximise(self.maximum.parameters)
        return MultilevelResult(replace(self._fitted, likelihood=likelihood, maximum=maximum))


def _is_single(weights: Any) -> bool:
    """Whether weights are of one combination."""
    if isinstance(weights, str | pd.Series):
        return True
    if isinstance(weights, pd.DataFrame):
        return False
    if isinstance(weights, Mapping):
        return all(np.isscalar(value) for value in weights.values())
    return np.ndim(weights) == 1 and not any(isinstance(each, str | Mapping | pd.Series) for each in weights)
