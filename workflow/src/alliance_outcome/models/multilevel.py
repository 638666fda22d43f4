"""Linear multilevel models of rows in units in clusters: sessions in clients in therapists.

Gaussian models with random intercepts and slopes at one or two nested levels, independent or AR(1) residuals, fitted
exactly by restricted or full maximum likelihood. Rows enter the likelihood through one Gram matrix per unit, so that
its cost does not grow with the number of rows (:mod:`alliance_outcome.models.gram_kernels`).

    model = MultilevelModel.from_formula(
        "severity ~ alliance + week", data, groups=["therapist", "client"],
        random={"client": "1 + alliance", "therapist": "1"},
    )
    result = model.fit()
    print(result.summary())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance_outcome.models.design_checks import UnfittableModel, require_residual_variation
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.model_formula import (
    FormulaColumns,
    Specifications,
    columns_from_arrays,
    columns_from_formula,
)
from alliance_outcome.models.multilevel_result import Fitted, MultilevelResult
from alliance_outcome.models.nested_design import (
    Levels,
    ModelColumns,
    NestedDesign,
    nested_design,
    term_positions,
)
from alliance_outcome.models.nested_likelihood import Maximum, NestedLikelihood, Residual

#: Relative standard deviation at which random effects take up all they can, and the residual variance per row, in units
#: of the outcome's, that then calls for a closer look.
BOUNDLESS, SUSPICIOUS = 1e4, 1e-6


class MultilevelModel:
    """A linear multilevel model.

    Parameters
    ----------
    outcome : array_like or Series, shape (n_rows,)
    fixed : DataFrame, shape (n_rows, n_terms)
        Fixed-effect columns; the one called ``Intercept`` holds ones.
    groups : mapping of level to labels, shape (n_rows,), optional
        Outermost level first; one or two. Without any, the model is ordinary least squares.
    random : mapping of level to names of fixed-effect columns, optional
        What varies between the units of a level; ``Intercept`` for a random intercept.
    uncorrelated : sequence of str
        Levels whose effects are independent of each other; elsewhere their covariance matrix is unstructured.
    residual : {'independent', 'ar1'}
        Residuals of one unit of the innermost level: independent, or with correlation φ ** gap.
    time : array_like or Series, shape (n_rows,), optional
        Times, which AR(1) residuals and a lagged outcome need.
    lagged_outcome : str, optional
        The fixed effect that is the outcome of an earlier row. Standard errors then come from the whole observed
        information, and the bootstrap simulates row after row.

    Raises
    ------
    UnfittableModel
        If the data cannot support the model; every message says what to do.
    RankDeficientDesign
        If fixed-effect columns are collinear.
    ValueError
        If arguments contradict each other.

    Notes
    -----
    A level whose units have one row each has no effects of its own: with one row per client, clients are the rows of a
    model of therapists. Uncorrelated effects depend on the origin of their columns: the model is that of the columns as
    they were passed. AR(1) residuals with whole gaps may be negatively correlated; otherwise φ is in (0, 1).
    """

    def __init__(
        self,
        outcome: ArrayLike | pd.Series,
        fixed: pd.DataFrame,
        *,
        groups: Mapping[str, Any] | None = None,
        random: Mapping[str, Sequence[str]] | None = None,
        uncorrelated: Sequence[str] = (),
        residual: Literal["independent", "ar1"] = "independent",
        time: ArrayLike | pd.Series | None = None,
        lagged_outcome: str | None = None,
    ) -> None:
        columns = columns_from_arrays(outcome, fixed, groups or {}, random or {}, uncorrelated, time)
        self._prepare(columns, residual, lagged_outcome, fixed.index)
        self.n_dropped = 0
        self._specifications: Specifications | None = None

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: pd.DataFrame,
        groups: str | Sequence[str] = (),
        random: Mapping[str, str] | None = None,
        residual: Literal["independent", "ar1"] = "independent",
        time: str | None = None,
        lagged_outcome: str | None = None,
    ) -> MultilevelModel:
        """Make a model from a formula.

        Parameters
        ----------
        formula : str
            ``outcome ~ terms``, in R's syntax.
        data : DataFrame
            One row each, in any order; rows in which something that the model uses is missing are dropped, and
            counted in `n_dropped`.
        groups : str or sequence of str
            Columns of the levels, outermost first; one or two.
        random : mapping of level to str, optional
            What varies between its units: ``1 + x``, or ``1 + x ||`` for independent effects. A random intercept for
            every level unless given.
        residual, lagged_outcome
            See the class.
        time : str, optional
            Column of times.

        Returns
        -------
        MultilevelModel

        Raises
        ------
        UnfittableModel
            If the data cannot support the model.
        ValueError
            If a formula cannot be read or names what the table does not have.
        """
        groups = [groups] if isinstance(groups, str) else groups
        random = dict.fromkeys(groups, "1") if random is None else random
        made: FormulaColumns = columns_from_formula(formula, data, groups, random, time)
        model = cls.__new__(cls)
        model._prepare(made.columns, residual, lagged_outcome, made.index)  # noqa: SLF001 - its own
        model.n_dropped = made.n_dropped
        model._specifications = made.specifications  # noqa: SLF001 - its own
        return model

    def _prepare(
        self, columns: ModelColumns, residual: str, lagged_outcome: str | None, index: pd.Index
    ) -> None:
        if len(columns.groups) > 2:
            raise ValueError("there can be two levels at most")
        if residual not in ("independent", "ar1"):
            raise ValueError("residual must be 'independent' or 'ar1'")
        if columns.times is None and (residual == "ar1" or lagged_outcome is not None):
            raise ValueError("AR(1) residuals and a lagged outcome need times: pass time")
        if lagged_outcome is not None:
            term_positions(columns.terms, [lagged_outcome])
        if residual == "ar1":
            _require_series(columns)
        self.design: NestedDesign = nested_design(columns)
        self.lagged_outcome = lagged_outcome
        self.index = index
        self._residual: Residual = "independent"
        if residual == "ar1":
            self._residual = "ar1" if self.design.whole_gaps else "continuous_ar1"

    def likelihood(self, *, reml: bool) -> NestedLikelihood:
        """Return the likelihood of the model in working coordinates."""
        return NestedLikelihood(self.design.rows, self.design.structure, reml, self._residual)

    def fit(self, *, reml: bool = True) -> MultilevelResult:
        """Maximise the likelihood.

        Parameters
        ----------
        reml : bool
            Restricted likelihood, or the full one.

        Returns
        -------
        MultilevelResult
            A solution on the boundary (a variance of zero, a correlation of one) is a result, and flagged.

        Raises
        ------
        UnfittableModel
            If nothing is left for the residual.
        """
        likelihood = self.likelihood(reml=reml)
        self._require_residual(likelihood)
        try:
            maximum = likelihood.maximise()
        except np.linalg.LinAlgError:
            raise UnfittableModel(
                "next to the random effects no residual variance is left to estimate; leave out random slopes"
            ) from None
        return self._result(likelihood, maximum)

    def evaluate(
        self, covariances: Mapping[str, ArrayLike], autocorrelation: float | None = None, *, reml: bool = True
    ) -> MultilevelResult:
        """Evaluate the model at given variances instead of the best ones.

        Parameters
        ----------
        covariances : mapping of level to array_like, shape (q, q)
            Covariance matrices of its random effects on the columns as they were passed, relative to the residual
            variance (ΛΛ' of lme4's θ).
        autocorrelation : float, optional
            φ of AR(1) residuals.
        reml : bool
            Restricted likelihood, or the full one.

        Returns
        -------
        MultilevelResult
            Fixed effects and residual variance are the best there; `converged` says whether this is a maximum.

        Raises
        ------
        ValueError
            If a level or the autocorrelation is lacking.
        """
        likelihood = self.likelihood(reml=reml)
        lacking = [
            effects.level for effects in self.design.structure.levels if effects.level not in covariances
        ]
        if lacking:
            raise ValueError(f"covariances lack the levels {', '.join(lacking)}")
        if self._residual != "independent":
            if autocorrelation is None:
                raise ValueError("the model has AR(1) residuals: pass their autocorrelation")
            autocorrelation = self.design.working_autocorrelation(autocorrelation)
        working = {}
        for effects in self.design.structure.levels:
            back = np.linalg.inv(self.design.effect_maps[effects.level])
            working[effects.level] = back @ np.asarray(covariances[effects.level], dtype=float) @ back.T
        unit, cluster = self.design.structure.unit, self.design.structure.cluster
        parameters = likelihood.pack(
            working[unit.level] if unit else None,
            working[cluster.level] if cluster else None,
            autocorrelation,
        )
        return self._result(likelihood, likelihood.judge(parameters))

    def _result(self, likelihood: NestedLikelihood, maximum: Maximum) -> MultilevelResult:
        return MultilevelResult(
            Fitted(
                self.design,
                likelihood,
                maximum,
                self.index,
                self.lagged_outcome,
                self._specifications,
                self.n_dropped,
            )
        )

    def _require_residual(self, likelihood: NestedLikelihood) -> None:
        """Refuse data in which nothing is left for the residual, where the likelihood has no maximum."""
        unit, cluster = self.design.structure.unit, self.design.structure.cluster
        boundless: FloatArray = likelihood.pack(
            None if unit is None else BOUNDLESS**2 * np.eye(len(unit)),
            None if cluster is None else BOUNDLESS**2 * np.eye(len(cluster)),
            likelihood.moderate_autocorrelation,
        )
        left = likelihood.evaluate(boundless).evaluation.residual_sum / likelihood.problem.n_rows
        if left > SUSPICIOUS:
            return
        columns, levels = self.design.columns, self.design.levels
        random = (
            columns.random[unit.level].values if unit is not None else np.empty((len(columns.outcome), 0))
        )
        require_residual_variation(columns.outcome, columns.fixed, random, levels.unit.codes)


def _require_series(columns: ModelColumns) -> None:
    """Refuse AR(1) residuals where no unit of the innermost level has several rows."""
    levels = Levels(columns.groups, len(columns.outcome))
    if not columns.groups:
        raise UnfittableModel("AR(1) residuals need a level whose units have several rows; name it in groups")
    if levels.innermost != "row":
        raise UnfittableModel(f"AR(1) residuals need {levels.innermost}s with several rows")
