"""A nested design on standardised columns, so that one prior fits every predictor.

Predictors are centred and divided by a standard deviation of their own level; columns with random slopes are divided by
the same but not centred, because a random slope is a deviation around the unit's own mean, which within-unit columns
have at zero already. The outcome keeps its units and loses its mean, against cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance_outcome.models.design_checks import INTERCEPT, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, WorkingRows
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.nested_design import NestedDesign
from alliance_outcome.models.nested_likelihood import Residual
from alliance_outcome.models.random_structure import RandomEffects


@dataclass(frozen=True, eq=False)
class StandardisedDesign:
    """A checked design in standardised coordinates.

    Parameters
    ----------
    nested : NestedDesign
        The design as the multilevel engine checks and sorts it.
    residual : {'independent', 'ar1', 'continuous_ar1'}
        How residuals of one unit are related.
    outcome_mean : float
        What was subtracted from the outcome.
    centres, scales : ndarray, shape (n_terms - 1,)
        Of the predictors: all fixed-effect columns but the intercept, which comes first.
    effect_scales : mapping of level to ndarray, shape (q,)
        By what the columns with random effects were divided; 1 for an intercept.
    """

    nested: NestedDesign
    residual: Residual
    outcome_mean: float
    centres: FloatArray
    scales: FloatArray
    effect_scales: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        outcome: ArrayLike | pd.Series,
        fixed: pd.DataFrame,
        *,
        groups: Mapping[str, Any],
        random: Mapping[str, Sequence[str]],
        scales: Mapping[str, float],
        residual: str = "independent",
        time: ArrayLike | pd.Series | None = None,
    ) -> StandardisedDesign:
        """Check and standardise a design.

        Parameters
        ----------
        outcome, fixed, groups, random, residual, time
            See :class:`alliance_outcome.models.multilevel.MultilevelModel`.
        scales : mapping
            Standard deviation by which a column is divided; columns that are not named are divided by their own.

        Returns
        -------
        StandardisedDesign

        Raises
        ------
        UnfittableModel
            If the data cannot support the model, or the intercept does not come first.
        """
        if not len(fixed.columns) or fixed.columns[0] != INTERCEPT:
            raise UnfittableModel(f"the first fixed-effect column must be {INTERCEPT}")
        model = MultilevelModel(outcome, fixed, groups=groups, random=random, residual=residual, time=time)
        predictors = model.design.columns.fixed[:, 1:]
        names = list(fixed.columns[1:])
        own = predictors.std(axis=0, ddof=1)
        chosen = np.array([scales.get(name, spread) for name, spread in zip(names, own, strict=True)])
        by_term = {INTERCEPT: 1.0, **dict(zip(names, chosen, strict=True))}
        return cls(
            model.design,
            model.likelihood(reml=False).residual,
            float(model.design.columns.outcome.mean()),
            predictors.mean(axis=0),
            chosen,
            {
                effects.level: np.array([by_term[term] for term in effects.terms])
                for effects in model.design.structure.levels
            },
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the fixed-effect columns, the intercept first."""
        return self.nested.terms

    @property
    def unit(self) -> RandomEffects | None:
        """Random effects of the innermost level that has any."""
        return self.nested.structure.unit

    @property
    def cluster(self) -> RandomEffects | None:
        """Random effects of the level above it."""
        return self.nested.structure.cluster

    @property
    def levels(self) -> tuple[RandomEffects, ...]:
        """Levels with random effects, outermost first."""
        return self.nested.structure.levels

    @cached_property
    def rows(self) -> WorkingRows:
        """The rows, sorted, in standardised coordinates."""
        columns, order = self.nested.columns, self.nested.order
        standardised = np.ones_like(columns.fixed)
        standardised[:, 1:] = (columns.fixed[:, 1:] - self.centres) / self.scales
        return WorkingRows(
            order.take(columns.outcome - self.outcome_mean),
            order.take(standardised),
            self._random_columns(self.unit),
            self._random_columns(self.cluster),
            order.unit_starts,
            order.cluster_starts,
            self.nested.rows.gaps if self.residual != "independent" else None,
        )

    def _random_columns(self, effects: RandomEffects | None) -> FloatArray:
        if effects is None:
            return np.empty((len(self.nested.columns.outcome), 0))
        values = self.nested.columns.random[effects.level].values
        return self.nested.order.take(values / self.effect_scales[effects.level])

    def raw_coefficients(self, intercept: FloatArray, effects: FloatArray) -> FloatArray:
        """Return fixed effects of the columns as they were passed.

        Parameters
        ----------
        intercept : ndarray, shape (...,)
            Expected outcome at average predictors.
        effects : ndarray, shape (..., n_terms - 1)
            Of standardised predictors.

        Returns
        -------
        ndarray, shape (..., n_terms)
        """
        raw = effects / self.scales
        return np.concatenate([(intercept - raw @ self.centres)[..., None], raw], axis=-1)

    def working_coefficients(self, raw: FloatArray) -> FloatArray:
        """Return the coefficients of `rows`, shape (..., n_terms), of raw ones."""
        raw = np.asarray(raw, dtype=float)
        intercept = raw[..., 0] + raw[..., 1:] @ self.centres - self.outcome_mean
        return np.concatenate([intercept[..., None], raw[..., 1:] * self.scales], axis=-1)
