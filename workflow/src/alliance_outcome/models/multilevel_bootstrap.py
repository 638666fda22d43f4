"""Bootstrap of a multilevel model: simulate from it, or draw its outermost units again, and fit each time.

Replicates start from the fit and its curvature and run in compiled threads. Those that end on the boundary or do not
converge are fitted once more from scratch, because a variance of zero is a stationary point whatever the data say.
Random numbers belong to replicates, not threads: results depend on the seed and the order of rows alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from alliance_outcome.models import gram_kernels as kernels
from alliance_outcome.models.clusters import Grouping
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray, WorkingRows
from alliance_outcome.models.nested_design import ModelColumns, NestedDesign
from alliance_outcome.models.nested_likelihood import MOST_ITERATIONS, RAISED_VARIANCE, NestedLikelihood
from alliance_outcome.models.random_structure import ZERO_VARIANCE, semidefinite_cholesky

if TYPE_CHECKING:
    from alliance_outcome.models.multilevel_result import MultilevelResult

Kind = Literal["parametric", "cases"]

#: Replicates that share a stream of random numbers and a call of compiled code: at most so many, and so many rows.
CHUNK, CHUNK_ROWS = 25, 2_000_000

#: Smallest eigenvalue of the scaled X'X of drawn units at which the fixed effects are still told apart.
IDENTIFIED = 1e-10

#: Largest derivative of the deviance at which a replicate has converged, as a fraction of the number of rows: it leaves
#: estimates within a thousandth of their standard errors of the maximum.
REPLICATE_GRADIENT = 1e-6

#: Two outcomes are the same number if they differ by less than this fraction of the outcome's spread.
SAME_OUTCOME = 1e-9


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates of all replicates, in raw units.

    Parameters
    ----------
    kind : {'parametric', 'cases'}
    params : DataFrame, shape (n, n_terms)
        Fixed effects; NaN in replicates whose units do not identify them all.
    covariances : dict of level to ndarray, shape (n, q, q)
        Covariance matrices of random effects, terms in the order of `terms`.
    terms : dict of level to tuple of str
    correlated : dict of level to bool
    scale : Series, shape (n,)
        Residual variance.
    ar1 : Series or None
        Autocorrelation of residuals.
    converged : Series of bool, shape (n,)
    draws : ndarray of int, shape (n, n_clusters), or None
        How often each outermost unit was drawn, in the order of ``result.design.cluster_labels``.
    statistics : DataFrame or None
        What a `statistic` returned.
    """

    kind: Kind
    params: pd.DataFrame
    covariances: dict[str, FloatArray]
    terms: dict[str, tuple[str, ...]]
    correlated: dict[str, bool] = field(repr=False)
    scale: pd.Series
    ar1: pd.Series | None
    converged: pd.Series
    draws: IndexArray | None
    statistics: pd.DataFrame | None

    @property
    def variance_components(self) -> pd.DataFrame:
        """Standard deviations and correlations of each replicate, columns named ``sd(client: x)`` and the like."""
        columns: dict[str, FloatArray] = {}
        for level, matrices in self.covariances.items():
            terms = self.terms[level]
            deviations = np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
            for at, term in enumerate(terms):
                columns[f"sd({level}: {term})"] = deviations[:, at]
            if not self.correlated[level]:
                continue
            for second, first in zip(*np.tril_indices(len(terms), -1), strict=True):
                product = deviations[:, first] * deviations[:, second]
                name = f"correlation({level}: {terms[second]}, {terms[first]})"
                columns[name] = np.divide(
                    matrices[:, second, first],
                    product,
                    out=np.full(len(product), np.nan),
                    where=product > 0.0,
                )
        columns["sd(residual)"] = np.sqrt(self.scale.to_numpy())
        if self.ar1 is not None:
            columns["ar1"] = self.ar1.to_numpy()
        return pd.DataFrame(columns)

    @property
    def estimates(self) -> pd.DataFrame:
        """Fixed effects, standard deviations and correlations, and statistics, side by side."""
        parts = [self.params, self.variance_components]
        return pd.concat(parts if self.statistics is None else [*parts, self.statistics], axis=1)

    def bse(self) -> pd.Series:
        """Return standard deviations over replicates."""
        return self.estimates.std().rename("std_error")

    def confint(self, ci_level: float = 0.95) -> pd.DataFrame:
        """Return percentile intervals.

        Parameters
        ----------
        ci_level : float
            Coverage.

        Returns
        -------
        DataFrame
            Columns ci_low and ci_high, one row per column of `estimates`; replicates without a value are left out.
        """
        tails = [(1.0 - ci_level) / 2.0, (1.0 + ci_level) / 2.0]
        limits = self.estimates.quantile(tails).T
        limits.columns = ["ci_low", "ci_high"]
        return limits


def bootstrap(
    result: MultilevelResult,
    kind: Kind,
    n: int,
    seed: int,
    statistic: Callable[[MultilevelResult], Any] | None,
    threads: int | None,
) -> Bootstrap:
    """Refit a model to simulated or redrawn data; see :meth:`MultilevelResult.bootstrap`."""
    if kind not in ("parametric", "cases"):
        raise ValueError("kind must be 'parametric' or 'cases'")
    if n < 1:
        raise ValueError("a bootstrap needs at least one replicate")
    threads = threads or _processors()
    sampler = _Sampler(result)
    chunk = int(np.clip(CHUNK_ROWS // result.n_rows, 1, CHUNK))
    sizes = [min(chunk, n - start) for start in range(0, n, chunk)]
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(sizes))]
    quick = {"parametric": sampler.outcomes, "cases": sampler.clusters}[kind]
    whole = statistic is not None or (kind == "parametric" and result.lagged_outcome is not None)
    work = sampler.refits(kind, statistic) if whole else quick
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, streams, sizes))
    replicates = [replicate for part in parts for replicate in part]
    return _collected(result, kind, replicates, whole=statistic is not None)


def _processors() -> int:
    """Count the processors at hand; where the system does not say which those are, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class _Replicate:
    """One refit, in raw units."""

    params: FloatArray
    covariances: dict[str, FloatArray]
    scale: float
    ar1: float | None
    converged: bool
    draws: IndexArray | None = None
    statistic: pd.Series | None = None


def _collected(
    result: MultilevelResult, kind: Kind, replicates: list[_Replicate], *, whole: bool
) -> Bootstrap:
    """Stack replicates; with statistics, if there were any to compute."""
    effects = result.design.structure.levels
    statistics = None
    if whole:
        values = [pd.Series(dtype=float) if each.statistic is None else each.statistic for each in replicates]
        statistics = pd.DataFrame(values).reset_index(drop=True)
    return Bootstrap(
        kind,
        pd.DataFrame([replicate.params for replicate in replicates], columns=list(result.design.terms)),
        {each.level: np.stack([rep.covariances[each.level] for rep in replicates]) for each in effects},
        {each.level: each.terms for each in effects},
        {each.level: each.correlated for each in effects},
        pd.Series([replicate.scale for replicate in replicates], name="scale"),
        None if result.ar1 is None else pd.Series([replicate.ar1 for replicate in replicates], name="ar1"),
        pd.Series([replicate.converged for replicate in replicates], name="converged"),
        None if kind == "parametric" else np.stack([replicate.draws for replicate in replicates]),
        statistics,
    )


class _Sampler:
    """Draws replicates of one fit.

    Parameters
    ----------
    result : MultilevelResult
    """

    def __init__(self, result: MultilevelResult) -> None:
        self.result = result
        self.design: NestedDesign = result.design
        self.likelihood: NestedLikelihood = result.likelihood
        parameters = result.maximum.parameters
        psi_u, psi_v, self.phi = self.likelihood.unpack(parameters)
        self.factor_u, self.factor_v = semidefinite_cholesky(psi_u), semidefinite_cholesky(psi_v)
        self.sigma = float(np.sqrt(result.maximum.at.residual_variance))
        self.start, self.guess = self._start(parameters, psi_u, psi_v)
        self.tolerance = max(REPLICATE_GRADIENT * result.n_rows, self.likelihood.target)

    def _start(
        self, parameters: FloatArray, psi_u: FloatArray, psi_v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Start replicates from the fit; where it is on the boundary, a step inside, without its curvature."""
        if not self.result.singular:
            hessian = self.result.information.hessian
            profiled = hessian[:-1, :-1] - np.outer(hessian[:-1, -1], hessian[-1, :-1]) / hessian[-1, -1]
            values = np.linalg.eigvalsh(profiled) if len(profiled) else np.ones(1)
            return parameters, np.linalg.inv(profiled) if values[0] > 0.0 else np.empty((0, 0))
        unit, cluster = self.design.structure.unit, self.design.structure.cluster
        raised = self.likelihood.pack(
            None if unit is None else psi_u + RAISED_VARIANCE * np.eye(len(unit)),
            None if cluster is None else psi_v + RAISED_VARIANCE * np.eye(len(cluster)),
            self.phi,
        )
        return raised, np.empty((0, 0))

    # -- Simulated outcomes ---------------------------------------------------------------------------------------

    def simulate(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Simulate outcomes in working coordinates, shape (size, n_rows), lagged outcomes as they were."""
        noise = self._noise(rng, size)
        noise += self.likelihood.rows.fixed @ self.result.maximum.at.coefficients
        return noise

    def _noise(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Simulate random effects and residuals, shape (size, n_rows)."""
        rows = self.likelihood.rows
        levels = [
            (rows.unit_random, self.factor_u, rows.unit_starts),
            (rows.cluster_random, self.factor_v, rows.cluster_row_starts),
        ]
        effects_counts = [(len(starts) - 1) * len(factor) for _, factor, starts in levels]
        # One replicate after the other, so that none depends on how many share its stream.
        drawn = rng.standard_normal((size, len(rows.outcome) + sum(effects_counts)))
        noise, *effects = np.split(drawn, len(rows.outcome) + np.cumsum([0, *effects_counts[:-1]]), axis=1)
        if self.phi is not None:
            kernels.autocorrelate(noise, rows.unit_starts, rows.gaps, self.phi)
        for (columns, factor, starts), standardised in zip(levels, effects, strict=True):
            of_units = standardised.reshape(size, len(starts) - 1, len(factor)) @ factor.T
            of_rows = np.repeat(of_units, np.diff(starts), axis=1)
            for position in range(len(factor)):
                noise += columns[:, position] * of_rows[:, :, position]
        return self.sigma * noise

    def outcomes(self, rng: np.random.Generator, size: int) -> list[_Replicate]:
        """Refit simulated outcomes."""
        likelihood = self.likelihood
        outcomes = self.simulate(rng, size)
        parameters, deviances, coefficients, variances, statuses = kernels.refit_outcomes(
            likelihood.problem,
            likelihood.joint,
            likelihood.rows.unit_starts,
            outcomes,
            self.start,
            self.guess,
            self.tolerance,
            MOST_ITERATIONS,
        )
        found = self._raw_many(parameters, coefficients, variances)
        for at in np.flatnonzero((statuses != kernels.CONVERGED) | self._on_boundary(parameters)):
            own = replace(likelihood.rows, outcome=outcomes[at])
            found[at] = self._again(own, parameters[at], deviances[at], coefficients[at], variances[at])
        return found

    def _relative(self, parameters: FloatArray) -> dict[str, FloatArray]:
        """Return Ψ of each level in working coordinates, each (n, q, q), for parameters of shape (n, k)."""
        covariances, start = {}, 0
        for effects in self.design.structure.levels:
            rows, columns = effects.positions
            factor = np.zeros((len(parameters), len(effects), len(effects)))
            factor[:, rows, columns] = parameters[:, start : start + len(rows)]
            covariances[effects.level] = factor @ np.swapaxes(factor, 1, 2)
            start += len(rows)
        return covariances

    def _on_boundary(self, parameters: FloatArray) -> np.ndarray:
        """Say which parameters, shape (n, k), have a direction without variance."""
        found = np.zeros(len(parameters), dtype=bool)
        for psi in self._relative(parameters).values():
            found |= np.linalg.eigvalsh(psi)[:, 0] < ZERO_VARIANCE
        return found

    def _again(
        self,
        rows: WorkingRows,
        parameters: FloatArray,
        deviance: float,
        coefficients: FloatArray,
        variance: float,
        draws: IndexArray | None = None,
    ) -> _Replicate:
        """Fit a replicate from scratch, and take the better of both fits."""
        likelihood = NestedLikelihood(
            rows, self.likelihood.structure, self.likelihood.reml, self.likelihood.residual
        )
        try:
            maximum = likelihood.maximise()
        except np.linalg.LinAlgError:
            return self._raw(parameters, coefficients, variance, converged=False, draws=draws)
        if maximum.at.deviance > deviance:
            maximum = likelihood.judge(parameters)
        return self._raw(
            maximum.parameters,
            maximum.at.coefficients,
            maximum.at.residual_variance,
            converged=maximum.converged,
            draws=draws,
        )

    def _raw(
        self,
        parameters: FloatArray,
        coefficients: FloatArray,
        residual_variance: float,
        *,
        converged: bool,
        draws: IndexArray | None = None,
    ) -> _Replicate:
        """Bring a refit to raw units."""
        variances = np.array([residual_variance])
        found = self._raw_many(parameters[None], coefficients[None], variances)[0]
        return replace(found, converged=bool(converged), draws=draws)

    def _raw_many(
        self, parameters: FloatArray, coefficients: FloatArray, variances: FloatArray
    ) -> list[_Replicate]:
        """Bring converged refits to raw units, one row each."""
        scaling = self.design.scaling
        scales = variances * scaling.outcome_scale**2
        covariances = {}
        for level, psi in self._relative(parameters).items():
            back = self.design.effect_maps[level]
            covariances[level] = scales[:, None, None] * (back @ psi @ back.T)
        params = scaling.raw_coefficients(coefficients)
        return [
            _Replicate(
                params[at],
                {level: own[at] for level, own in covariances.items()},
                float(scales[at]),
                self._ar1(parameters[at]),
                converged=True,
            )
            for at in range(len(parameters))
        ]

    def _ar1(self, parameters: FloatArray) -> float | None:
        if self.phi is None:
            return None
        return float(self.design.raw_autocorrelation(self.likelihood.unpack(parameters)[2]))

    # -- Redrawn units --------------------------------------------------------------------------------------------

    def clusters(self, rng: np.random.Generator, size: int) -> list[_Replicate]:
        """Refit units of the outermost level, drawn with replacement; one drawn twice counts as two."""
        return [self._redrawn(rng) for _ in range(size)]

    def _redrawn(self, rng: np.random.Generator) -> _Replicate:
        starts = self.likelihood.rows.cluster_starts
        chosen = np.sort(rng.integers(0, len(starts) - 1, len(starts) - 1))
        draws = np.bincount(chosen, minlength=len(starts) - 1)
        rows = _chosen_rows(self.likelihood.rows, chosen)
        products = rows.fixed.T @ rows.fixed
        sizes = np.sqrt(np.diag(products))
        if not np.all(sizes > 0.0) or np.linalg.eigvalsh(products / np.outer(sizes, sizes))[0] < IDENTIFIED:
            return self._unidentified(draws)
        if not self._tells_levels_apart(rows):
            return self._unidentified(draws)
        likelihood = NestedLikelihood(
            rows, self.likelihood.structure, self.likelihood.reml, self.likelihood.residual
        )
        parameters, deviance, _, status, _, _ = kernels.minimise(
            likelihood.problem, self.start, self.guess, self.tolerance, MOST_ITERATIONS
        )
        if status == kernels.IMPOSSIBLE:
            return self._unidentified(draws)
        at = likelihood.evaluate(parameters)
        found = (parameters, at.coefficients, at.residual_variance)
        if status != kernels.CONVERGED or self._on_boundary(parameters[None])[0]:
            return self._again(rows, parameters, deviance, *found[1:], draws=draws)
        return self._raw(*found, converged=True, draws=draws)

    def _tells_levels_apart(self, rows: WorkingRows) -> bool:
        """Whether some unit has several rows and some cluster several units, if those are levels of the design."""
        levels = self.design.levels
        several_rows = not levels.grouped or np.diff(rows.unit_starts).max() > 1
        return bool(several_rows and (levels.cluster is None or np.diff(rows.cluster_starts).max() > 1))

    def _unidentified(self, draws: IndexArray) -> _Replicate:
        lacking = {
            effects.level: np.full((len(effects), len(effects)), np.nan)
            for effects in self.design.structure.levels
        }
        params = np.full(len(self.design.terms), np.nan)
        ar1 = None if self.phi is None else np.nan
        return _Replicate(params, lacking, np.nan, ar1, converged=False, draws=draws)

    # -- Whole refits ---------------------------------------------------------------------------------------------

    def refits(
        self, kind: Kind, statistic: Callable[[MultilevelResult], Any] | None
    ) -> Callable[[np.random.Generator, int], list[_Replicate]]:
        """Return what makes and fits whole replicates: for statistics, and where outcomes feed back into predictors."""

        def work(rng: np.random.Generator, size: int) -> list[_Replicate]:
            return [
                self._refit(columns, draws, statistic) for columns, draws in self._columns(kind, rng, size)
            ]

        return work

    def _columns(
        self, kind: Kind, rng: np.random.Generator, size: int
    ) -> Iterator[tuple[ModelColumns, IndexArray | None]]:
        """Make the columns of each replicate."""
        for _ in range(size):
            if kind == "cases":
                yield self._redrawn_columns(rng)
            elif self.result.lagged_outcome is None:
                working = self.simulate(rng, 1)[0]
                yield replace(self.design.columns, outcome=self._raw_outcome(working)), None
            else:
                yield self._fed_back(rng), None

    def _raw_outcome(self, working: FloatArray) -> FloatArray:
        scaling = self.design.scaling
        return self.design.order.put(scaling.outcome_mean + scaling.outcome_scale * working)

    def _fed_back(self, rng: np.random.Generator) -> ModelColumns:
        """Simulate row after row, each outcome entering the next row's predictors.

        Raises
        ------
        UnavailableInference
            If the lagged outcome has a random slope, or is nowhere the outcome of the previous row.
        """
        columns, order = self.design.columns, self.design.order
        term = self.result.lagged_outcome
        _require_single_column(columns, term)
        position = columns.terms.index(term)
        lagged = order.take(columns.fixed[:, position]).copy()
        outcome = order.take(columns.outcome)
        linked = self._linked(lagged, outcome)
        _require_links(linked, term)
        coefficient = np.full(len(outcome), self.result.params[term])
        simulated = self.simulate(rng, 1)[0] * self.design.scaling.outcome_scale
        base = simulated + self.design.scaling.outcome_mean - coefficient * lagged
        kernels.feed_back(base, coefficient, lagged, linked)
        fixed = columns.fixed.copy()
        fixed[:, position] = order.put(lagged)
        return replace(columns, outcome=order.put(base), fixed=fixed)

    def _linked(self, lagged: FloatArray, outcome: FloatArray) -> np.ndarray:
        """Find sorted rows whose lagged outcome is that of the unit's previous row.

        It must be the same number, and be so in most rows that are as far from the previous one: equal scores across a
        row that is not in the data are coincidences.
        """
        rows = self.design.rows
        later = np.ones(len(outcome), dtype=bool)
        later[rows.unit_starts[:-1]] = False
        linked = np.zeros(len(outcome), dtype=bool)
        linked[1:] = np.abs(lagged[1:] - outcome[:-1]) <= SAME_OUTCOME * self.design.scaling.outcome_scale
        linked &= later
        _, gap = np.unique(np.round(rows.gaps, 9), return_inverse=True)
        rows_at, linked_at = np.bincount(gap[later]), np.bincount(gap[later], linked[later])
        linked[later] &= 2.0 * linked_at[gap[later]] > rows_at[gap[later]]
        return linked

    def _redrawn_columns(self, rng: np.random.Generator) -> tuple[ModelColumns, IndexArray]:
        """Draw units of the outermost level with replacement, as new units."""
        rows, order, columns = self.design.rows, self.design.order, self.design.columns
        starts = rows.cluster_row_starts
        chosen = np.sort(rng.integers(0, len(starts) - 1, len(starts) - 1))
        sorted_rows = np.concatenate([np.arange(starts[j], starts[j + 1]) for j in chosen])
        positions = sorted_rows if order.rows is None else order.rows[sorted_rows]
        copies = np.repeat(np.arange(len(chosen)), np.diff(starts)[chosen])
        groups = []
        for grouping in columns.groups:
            codes, _ = pd.factorize(copies * np.int64(len(grouping)) + grouping.codes[positions])
            groups.append(Grouping(grouping.level, codes.astype(np.intp), np.arange(codes.max() + 1)))
        drawn = replace(
            columns,
            outcome=columns.outcome[positions],
            fixed=columns.fixed[positions],
            groups=tuple(groups),
            random={
                level: replace(own, values=own.values[positions]) for level, own in columns.random.items()
            },
            times=None if columns.times is None else columns.times[positions],
        )
        return drawn, np.bincount(chosen, minlength=len(starts) - 1)

    def _refit(
        self,
        columns: ModelColumns,
        draws: IndexArray | None,
        statistic: Callable[[MultilevelResult], Any] | None,
    ) -> _Replicate:
        try:
            refitted = self.result.refitted(columns)
        except UnfittableModel:
            if draws is None:
                raise
            return self._unidentified(draws)
        levels = [effects.level for effects in refitted.design.structure.levels]
        if levels != [effects.level for effects in self.design.structure.levels]:
            return self._unidentified(draws)
        value = None if statistic is None else statistic(refitted)
        return _Replicate(
            refitted.params.to_numpy(),
            {level: refitted.random_covariance(level).to_numpy() for level in levels},
            refitted.scale,
            refitted.ar1,
            refitted.converged,
            draws,
            None if statistic is None else _as_series(value),
        )


def _as_series(value: Any) -> pd.Series:
    """Return a statistic, a number or several, as a Series without a name."""
    if isinstance(value, pd.Series):
        return value.rename(None)
    return pd.Series(
        {"statistic": float(value)} if np.ndim(value) == 0 and not isinstance(value, Mapping) else value
    )


def _require_single_column(columns: ModelColumns, term: str) -> None:
    """Refuse lagged outcomes that other columns are made of too."""
    if any(term in own.terms for own in columns.random.values()):
        raise UnavailableInference(
            f"{term} has a random slope, for which no bootstrap is at hand; leave the slope out"
        )
    word = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)")
    others = [name for name in columns.terms if name != term and word.search(name)]
    if others:
        raise UnavailableInference(
            f"{', '.join(others)} would keep the observed {term}; no bootstrap is at hand for them"
        )


def _require_links(linked: np.ndarray, term: str | None) -> None:
    """Refuse a lagged outcome that is nowhere the outcome of the previous row."""
    if not linked.any():
        raise UnavailableInference(
            f"{term} is nowhere the outcome of the same unit's previous row; check the column and the times"
        )


def _chosen_rows(rows: WorkingRows, chosen: IndexArray) -> WorkingRows:
    """Return the rows of chosen clusters, in order."""
    row_starts = rows.cluster_row_starts
    positions = np.concatenate([np.arange(row_starts[j], row_starts[j + 1]) for j in chosen])
    units = np.concatenate([np.arange(rows.cluster_starts[j], rows.cluster_starts[j + 1]) for j in chosen])
    unit_sizes = np.diff(rows.unit_starts)[units]
    cluster_sizes = np.diff(rows.cluster_starts)[chosen]
    return WorkingRows(
        rows.outcome[positions],
        rows.fixed[positions],
        rows.unit_random[positions],
        rows.cluster_random[positions],
        np.concatenate([[0], np.cumsum(unit_sizes)]),
        np.concatenate([[0], np.cumsum(cluster_sizes)]),
        None if rows.gaps is None else rows.gaps[positions],
    )
