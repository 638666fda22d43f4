"""A fitted panel model: estimates, standard errors, fit, standardised paths, the contrast of the raters, tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy import linalg, special

from alliance_outcome.models.contrast import CI_LEVEL, Contrast, wald_contrast
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.multilevel_summary import Summary
from alliance_outcome.models.panel_boundary import Tangent, maximise_properly
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_fit import (
    Moments,
    PanelMaximum,
    client_scores,
    expected_information_of,
    maximise,
    observed_information_of,
    saturated,
)
from alliance_outcome.models.panel_fit_indices import fit_indices, information_criteria
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite
from alliance_outcome.models.panel_structure import PanelStructure

CovarianceKind = Literal["observed", "expected", "robust"]

#: A covariance matrix is none if an eigenvalue is below zero by more than this share of its largest entry.
IMPROPER = 1e-8

#: Relative step of the differences behind the delta method.
_STEP = 1e-5


@dataclass(frozen=True)
class PathRow:
    """A path of the model, as the result names it.

    Parameters
    ----------
    effect, cause : str
        Variables.
    lag : int
        Waves from cause to effect.
    wave : int
        Wave of the effect, the first being 1.
    label : str
        The parameter.
    """

    effect: str
    cause: str
    lag: int
    wave: int
    label: str


@dataclass(frozen=True, eq=False)
class PanelDescription:
    """What a panel model is about, beside its covariance structure.

    Parameters
    ----------
    title : str
    outcome : str
        Column of the outcome.
    raters : dict of str to str
        Column of each rater's alliance.
    n_waves : int
    paths : tuple of PathRow
    blocks : tuple of (str, tuple of int)
        Parts of Ψ that must be covariance matrices, with their latent variables.
    bounded : tuple of int or None
        The latent variables among them whose covariance matrix is kept one.
    latent : dict of (str, int) to int, or None
        Place of a variable's departure within clients among the latent variables, by variable and wave; None where the
        model does not tell what is within clients.
    within_sd : dict of str to float
        Manifest standard deviation within clients of each variable.
    """

    title: str
    outcome: str
    raters: dict[str, str]
    n_waves: int
    paths: tuple[PathRow, ...]
    blocks: tuple[tuple[str, tuple[int, ...]], ...]
    bounded: tuple[int, ...] | None
    latent: dict[tuple[str, int], int] | None
    within_sd: dict[str, float]

    def path_labels(self, effect: str, cause: str, lag: int = 1) -> list[str]:
        """Name the parameter of a path in each wave; one name again and again where it is the same in all.

        Parameters
        ----------
        effect, cause : str
            Columns.
        lag : int
            Waves between them.

        Returns
        -------
        list of str

        Raises
        ------
        ValueError
            If there is no such path.
        """
        labels = [row.label for row in self.paths if (row.effect, row.cause, row.lag) == (effect, cause, lag)]
        if not labels:
            raise ValueError(f"the model has no path from {cause} to {effect} at lag {lag}")
        return labels


@dataclass(frozen=True, eq=False)
class PanelRows:
    """The data of a fit.

    Parameters
    ----------
    values : ndarray, shape (n_clients, p)
        NaN where missing.
    data : PanelData
    clusters : ndarray of int, shape (n_clients,), or None
    places : ndarray of int, shape (p, 2)
        Wave and number of each variable; the outcome has number 0.
    """

    values: FloatArray
    data: PanelData
    clusters: np.ndarray | None
    places: IndexArray


class PanelResult:
    """A panel model at the maximum of its likelihood.

    Parameters
    ----------
    description : PanelDescription
    rows : PanelRows
    maximum : PanelMaximum
    tangent : Tangent, optional
        Where the covariance matrix of what differs between clients is on the boundary.
    moments : Moments, optional
        Of the saturated model, where they are at hand already.
    """

    def __init__(
        self,
        description: PanelDescription,
        rows: PanelRows,
        maximum: PanelMaximum,
        tangent: Tangent | None = None,
        moments: Moments | None = None,
    ) -> None:
        self.description = description
        self.rows = rows
        self.maximum = maximum
        self._tangent = tangent
        self._given_moments = moments

    @classmethod
    def fitted(
        cls,
        description: PanelDescription,
        rows: PanelRows,
        structure: PanelStructure,
        moments: Moments | None = None,
    ) -> PanelResult:
        """Maximise the likelihood.

        Parameters
        ----------
        description : PanelDescription
        rows : PanelRows
        structure : PanelStructure
            With where to start.
        moments : Moments, optional

        Returns
        -------
        PanelResult

        Raises
        ------
        NotPositiveDefinite
            If the covariance matrix is not positive definite at the start.
        """
        if description.bounded is None:
            return cls(description, rows, maximise(rows.data, structure), None, moments)
        maximum, tangent = maximise_properly(rows.data, structure, description.bounded)
        return cls(description, rows, maximum, tangent, moments)

    # -- Estimates ----------------------------------------------------------------------------------------------------

    @property
    def structure(self) -> PanelStructure:
        """The covariance structure."""
        return self.maximum.structure

    @cached_property
    def params(self) -> pd.Series:
        """Estimates by parameter."""
        return pd.Series(self.maximum.parameters, index=list(self.structure.labels))

    @property
    def llf(self) -> float:
        """Log-likelihood."""
        return self.maximum.value

    @property
    def converged(self) -> bool:
        """Whether the maximum was found."""
        return self.maximum.converged

    @property
    def n_clients(self) -> int:
        """Clients of whom anything is known."""
        return self.rows.data.n_clients

    @property
    def n_values(self) -> int:
        """Observed values."""
        return int(self.rows.data.n_values)

    @property
    def n_clusters(self) -> int | None:
        """Clusters of clients behind robust standard errors; None without."""
        return None if self.rows.clusters is None else len(np.unique(self.rows.clusters))

    @property
    def n_parameters(self) -> int:
        """Free parameters, expected values included."""
        return self.structure.n_parameters

    @property
    def singular(self) -> bool:
        """Whether some combination of intercepts and trends is estimated not to differ between clients."""
        return self._tangent is not None

    @cached_property
    def improper(self) -> tuple[str, ...]:
        """Parts of the solution that no data could have: what should be a covariance matrix and is not."""
        matrices = self.maximum.at.matrices
        latent = matrices["covariance"]
        found = []
        for name, places in self.description.blocks:
            block = latent[np.ix_(places, places)]
            if linalg.eigvalsh(block)[0] < -IMPROPER * max(np.abs(block).max(), 1e-300):
                found.append(f"the covariance matrix of {name}")
        if (matrices["error"] < -IMPROPER).any():
            found.append("a variance of measurement error")
        return tuple(found)

    # -- Uncertainty --------------------------------------------------------------------------------------------------

    def cov_params(self, kind: CovarianceKind | None = None) -> pd.DataFrame:
        """Return the covariance matrix of the estimates.

        Parameters
        ----------
        kind : {'observed', 'expected', 'robust'}, optional
            From the observed information, which holds if values are missing at random; from the expected one; or a
            sandwich, by cluster where the model has clusters (Cameron & Miller 2015, 10.3368/jhr.50.2.317). Robust
            where there are clusters unless told otherwise, else observed.

        Returns
        -------
        DataFrame

        Raises
        ------
        UnavailableInference
            If the information matrix has no inverse: the data do not determine every parameter.
        """
        labels = list(self.structure.labels)
        return pd.DataFrame(self._covariances(kind), index=labels, columns=labels)

    def _covariances(self, kind: CovarianceKind | None = None) -> FloatArray:
        kind = kind or ("observed" if self.rows.clusters is None else "robust")
        if kind == "expected":
            return self._inverse(expected_information_of(self.rows.data, self.maximum))
        if kind == "observed":
            return self._observed
        if kind != "robust":
            raise ValueError("kind is 'observed', 'expected' or 'robust'")
        return self._robust

    @cached_property
    def _observed(self) -> FloatArray:
        return self._inverse(observed_information_of(self.rows.data, self.maximum))

    def _inverse(self, information: FloatArray) -> FloatArray:
        if self._tangent is None:
            return _inverse(information)
        along = self._tangent.directions
        return along @ _inverse(self._tangent.information(information)) @ along.T

    @cached_property
    def _robust(self) -> FloatArray:
        scores = client_scores(self.rows.values, self.maximum)
        if self.rows.clusters is not None:
            labels, places = np.unique(self.rows.clusters, return_inverse=True)
            if len(labels) < 2:
                raise UnavailableInference("all clients are of one cluster; leave clusters out")
            sums = np.zeros((len(labels), scores.shape[1]))
            np.add.at(sums, places, scores)
            scores = sums * np.sqrt(len(labels) / (len(labels) - 1.0))
        return self._observed @ (scores.T @ scores) @ self._observed

    @cached_property
    def bse(self) -> pd.Series:
        """Standard errors."""
        return pd.Series(np.sqrt(np.diag(self._covariances())), index=list(self.structure.labels))

    @property
    def df(self) -> float:
        """Degrees of freedom of intervals: clusters less one, or those of the normal distribution."""
        return np.inf if self.n_clusters is None else float(self.n_clusters - 1)

    def contrast(
        self,
        weights: Mapping[str, float] | str,
        ci_level: float = CI_LEVEL,
        kind: CovarianceKind | None = None,
    ) -> Contrast:
        """Test a linear combination of parameters against zero.

        Parameters
        ----------
        weights : mapping of str to float, or str
            By parameter; a parameter's name stands for itself.
        ci_level : float
            Coverage of the interval.
        kind : {'observed', 'expected', 'robust'}, optional
            See :meth:`cov_params`.

        Returns
        -------
        Contrast
        """
        vector = self._weights({weights: 1.0} if isinstance(weights, str) else weights)
        variance = float(vector @ self._covariances(kind) @ vector)
        estimate = float(vector @ self.maximum.parameters)
        return wald_contrast(estimate, float(np.sqrt(variance)), self._df_of(kind), ci_level)

    def _df_of(self, kind: CovarianceKind | None) -> float:
        return self.df if kind in (None, "robust") else np.inf

    def _weights(self, weights: Mapping[str, float]) -> FloatArray:
        labels = self.structure.labels
        unknown = [label for label in weights if label not in labels]
        if unknown:
            raise ValueError(f"the model has no parameters {', '.join(unknown)}")
        return np.array([float(weights.get(label, 0.0)) for label in labels])

    def delta(
        self,
        function: Callable[[FloatArray], float],
        ci_level: float = CI_LEVEL,
        kind: CovarianceKind | None = None,
    ) -> Contrast:
        """Test a smooth function of the parameters against zero by the delta method.

        Parameters
        ----------
        function : callable
            Of the vector of parameters.
        ci_level : float
        kind : {'observed', 'expected', 'robust'}, optional
            See :meth:`cov_params`.

        Returns
        -------
        Contrast
        """
        gradient = self._derivatives(function)[0]
        variance = float(gradient @ self._covariances(kind) @ gradient)
        return wald_contrast(
            function(self.maximum.parameters), float(np.sqrt(variance)), self._df_of(kind), ci_level
        )

    def _derivatives(self, function: Callable[[FloatArray], float | FloatArray]) -> FloatArray:
        """Return derivatives of a function of the parameters by central differences, shape (n_values, n_parameters)."""
        parameters = self.maximum.parameters
        columns = []
        for number, value in enumerate(parameters):
            step = np.zeros(len(parameters))
            step[number] = _STEP * max(1.0, abs(value))
            difference = np.atleast_1d(function(parameters + step)) - function(parameters - step)
            columns.append(difference / (2.0 * step[number]))
        return np.column_stack(columns)

    # -- What it is about ---------------------------------------------------------------------------------------------

    def path_weights(self, effect: str, cause: str, lag: int = 1) -> dict[str, float]:
        """Return weights of the mean over waves of a path.

        Parameters
        ----------
        effect, cause : str
            Columns.
        lag : int
            Waves between them.

        Returns
        -------
        dict of str to float
            By parameter: 1 where the path is the same in all waves.

        Raises
        ------
        ValueError
            If there is no such path.
        """
        labels = self.description.path_labels(effect, cause, lag)
        free = [label for label in labels if label in self.structure.labels]
        found: dict[str, float] = {}
        for label in free:
            found[label] = found.get(label, 0.0) + 1.0 / len(labels)
        return found

    @cached_property
    def within_sd(self) -> dict[str, float]:
        """Standard deviation within clients of each variable over the waves that predict, latent where it can be."""
        if self.description.latent is None:
            return self.description.within_sd
        return self.latent_sd(self.maximum.parameters)

    @property
    def means(self) -> Literal["latent", "manifest"]:
        """Whether standard deviations within clients are latent or manifest."""
        return "manifest" if self.description.latent is None else "latent"

    def latent_sd(self, parameters: FloatArray) -> dict[str, float]:
        """Return latent standard deviations within clients, over the waves that predict, at values of the parameters.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)

        Returns
        -------
        dict of str to float
            By variable.
        """
        latent = self.description.latent or {}
        variances = np.diag(self.structure.at(parameters).latent_covariance)
        waves = range(1, self.description.n_waves)
        names = [self.description.outcome, *self.description.raters.values()]
        return {
            name: float(np.sqrt(np.mean([variances[latent[name, wave]] for wave in waves]))) for name in names
        }

    def effect_of(self, rater: str, lag: int = 1, ci_level: float = CI_LEVEL) -> Contrast:
        """Return the path from a rater's alliance to the outcome, per standard deviation within clients.

        Parameters
        ----------
        rater : str
        lag : int
        ci_level : float

        Returns
        -------
        Contrast
            In units of the outcome; the standard deviation is held fixed.
        """
        return self.contrast(self.effect_weights(rater, lag), ci_level)

    def difference(self, first: str, second: str, lag: int = 1, ci_level: float = CI_LEVEL) -> Contrast:
        """Return D = b₁·sd₁ − b₂·sd₂, the difference of two raters' paths to the outcome, with their joint covariance.

        Parameters
        ----------
        first, second : str
            Raters.
        lag : int
        ci_level : float

        Returns
        -------
        Contrast
            In units of the outcome; standard deviations are held fixed.
        """
        return self.contrast(self.difference_weights(first, second, lag), ci_level)

    def difference_weights(self, first: str, second: str, lag: int = 1) -> dict[str, float]:
        """Return the weights of the parameters in :meth:`difference`."""
        return _less(self.effect_weights(first, lag), self.effect_weights(second, lag))

    def absolute_difference_weights(self, first: str, second: str, lag: int = 1) -> dict[str, float]:
        """Return the weights of the parameters in the difference of the two effects' sizes."""
        sizes = []
        for rater in (first, second):
            weights = self.effect_weights(rater, lag)
            sign = np.sign(sum(weight * self.params[label] for label, weight in weights.items()))
            sizes.append({label: float(sign) * weight for label, weight in weights.items()})
        return _less(*sizes)

    def difference_sd_uncertain(
        self,
        first: str,
        second: str,
        lag: int = 1,
        ci_level: float = CI_LEVEL,
        kind: CovarianceKind | None = None,
    ) -> Contrast:
        """Return D with the uncertainty of the standard deviations, by the delta method.

        Raises
        ------
        UnavailableInference
            If standard deviations are not parameters of the model.
        """
        if self.description.latent is None:
            raise UnavailableInference(
                "the standard deviations within clients are not parameters of the model"
            )
        columns = [self.description.raters[rater] for rater in (first, second)]
        weights = [
            self._weights(self.path_weights(self.description.outcome, column, lag)) for column in columns
        ]

        def difference(parameters: FloatArray) -> float:
            spreads = self.latent_sd(parameters)
            one, other = (
                float(weight @ parameters) * spreads[column]
                for weight, column in zip(weights, columns, strict=True)
            )
            return one - other

        return self.delta(difference, ci_level, kind)

    def effect_weights(self, rater: str, lag: int = 1) -> dict[str, float]:
        """Return the weights of the parameters in :meth:`effect_of`."""
        if rater not in self.description.raters:
            raise ValueError(f"nobody called {rater} rates the alliance")
        column = self.description.raters[rater]
        weights = self.path_weights(self.description.outcome, column, lag)
        return {label: weight * self.within_sd[column] for label, weight in weights.items()}

    def standardised(self, ci_level: float = CI_LEVEL) -> pd.DataFrame:
        """Return paths in standard deviations within clients, wave by wave.

        Parameters
        ----------
        ci_level : float

        Returns
        -------
        DataFrame
            effect, cause, lag, wave, estimate, std_error, ci_low, ci_high; by the delta method.

        Raises
        ------
        UnavailableInference
            If the model does not tell what varies within clients.
        """
        latent = self.description.latent
        if latent is None:
            raise UnavailableInference(
                "the model does not tell what varies within clients; use effect_of, per manifest standard deviation"
            )
        index = {label: number for number, label in enumerate(self.structure.labels)}
        rows = [row for row in self.description.paths if row.label in index]

        def all_paths(parameters: FloatArray) -> FloatArray:
            spreads = np.sqrt(np.diag(self.structure.at(parameters).latent_covariance))
            return np.array(
                [
                    parameters[index[row.label]]
                    * spreads[latent[row.cause, row.wave - row.lag]]
                    / spreads[latent[row.effect, row.wave]]
                    for row in rows
                ]
            )

        jacobian, covariance = self._derivatives(all_paths), self._covariances()
        errors = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian))
        estimates = all_paths(self.maximum.parameters)
        half = float(special.stdtrit(self.df, 0.5 + ci_level / 2.0)) * errors
        return pd.DataFrame(
            {
                "effect": [row.effect for row in rows],
                "cause": [row.cause for row in rows],
                "lag": [row.lag for row in rows],
                "wave": [row.wave for row in rows],
                "estimate": estimates,
                "std_error": errors,
                "ci_low": estimates - half,
                "ci_high": estimates + half,
            }
        )

    # -- Fit and tests ------------------------------------------------------------------------------------------------

    @cached_property
    def moments(self) -> Moments:
        """Expected values and covariances without any structure."""
        if self._given_moments is not None:
            return self._given_moments
        try:
            return saturated(self.rows.data)
        except NotPositiveDefinite:
            p = self.rows.data.n_variables
            return Moments(np.full(p, np.nan), np.full((p, p), np.nan), np.nan, converged=False)

    def fit_indices(self) -> pd.Series:
        """Return χ², its degrees of freedom and p value, CFI, TLI, RMSEA, SRMR, AIC and BIC.

        Returns
        -------
        Series
            See :func:`~alliance_outcome.models.panel_fit_indices.fit_indices`.
        """
        return fit_indices(self.rows.data, self.maximum, self.moments)

    def information_criteria(self) -> dict[str, float]:
        """Return AIC and BIC, without the fit of any other model."""
        return information_criteria(self.maximum, self.n_clients)

    def constrain(
        self, *, equal: Sequence[Sequence[str]] = (), fixed: Mapping[str, float] | None = None
    ) -> PanelResult:
        """Fit the model again with constraints.

        Parameters
        ----------
        equal : sequence of sequences of str
            Parameters that are equal to each other.
        fixed : mapping of str to float, optional
            Parameters that are held at values.

        Returns
        -------
        PanelResult
            :meth:`likelihood_ratio` with it is the χ² difference test of the constraints.
        """
        structure = self.structure.with_start(self.params.to_dict())
        for group in equal:
            structure = structure.with_equal(group)
        structure = structure.with_fixed(fixed or {})
        names = {label: group[0] for group in equal for label in group}
        paths = tuple(replace(row, label=names.get(row.label, row.label)) for row in self.description.paths)
        description = replace(self.description, paths=paths)
        return PanelResult.fitted(description, self.rows, structure, self._given_moments)

    def refitted(self, values: FloatArray) -> PanelResult:
        """Fit the same model to other values of the same clients.

        Parameters
        ----------
        values : ndarray, shape (n_clients, p)
            In the order of :attr:`rows`; NaN where missing.

        Returns
        -------
        PanelResult
            Searched for from these estimates on; standard deviations of manifest variables stay those of this fit.

        Raises
        ------
        NotPositiveDefinite
            If these estimates are no place to start from.
        """
        rows = replace(self.rows, values=values, data=PanelData.of(values))
        return PanelResult.fitted(self.description, rows, self.structure.with_start(self.params.to_dict()))

    def likelihood_ratio(self, other: PanelResult) -> dict[str, float]:
        """Test the smaller of two nested models of the same data against the larger one.

        Parameters
        ----------
        other : PanelResult

        Returns
        -------
        dict
            statistic, df and p_value, of the χ² distribution.

        Raises
        ------
        ValueError
            If the models are not of the same data, or have the same number of parameters.
        """
        if not np.array_equal(self.rows.values, other.rows.values, equal_nan=True):
            raise ValueError("the models are not of the same data")
        small, large = sorted((self, other), key=lambda each: each.n_parameters)
        df = large.n_parameters - small.n_parameters
        if df == 0:
            raise ValueError("the models have the same number of parameters: they are not nested")
        statistic = 2.0 * (large.llf - small.llf)
        return {"statistic": statistic, "df": df, "p_value": float(special.chdtrc(df, max(statistic, 0.0)))}

    # -- Words --------------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Describe the fit."""
        from alliance_outcome.models.panel_summary import summarise

        return summarise(self)


def _inverse(information: FloatArray) -> FloatArray:
    """Invert an information matrix, in units of each parameter's own information."""
    scale = np.sqrt(np.abs(np.diag(information)))
    try:
        factor = linalg.cho_factor(information / np.outer(scale, scale), lower=True)
    except (linalg.LinAlgError, ValueError) as problem:
        raise UnavailableInference(
            "the information matrix has no inverse: the data do not determine every parameter"
        ) from problem
    return linalg.cho_solve(factor, np.eye(len(scale))) / np.outer(scale, scale)


def _less(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Subtract weights from each other."""
    found = dict(first)
    for label, weight in second.items():
        found[label] = found.get(label, 0.0) - weight
    return found
