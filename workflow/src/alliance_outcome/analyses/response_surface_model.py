"""The models behind the response surfaces: those of the raters' contrast, with second-order terms of both ratings.

Within clients the surface is of both raters' deviations from the client's own mean, in the rows, terms and random
effects of the joint hybrid model: raters who *change together*. Between clients it is of early alliance, one row per
client, in the terms and random effects of the joint early-alliance model. There both ratings are centred on one common
point, halfway between the two raters' means, so that X = Y means the same rating; the therapists' means stay in the
model beside them, so that the linear terms are still differences between clients of one therapist.

The outcome is severity with its sign turned, so that more is better and published conditions apply as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.model_rows import rows_of
from alliance_outcome.analyses.multilevel import FittedModel, multilevel_model
from alliance_outcome.analyses.response_surface_names import SUFFIX
from alliance_outcome.design.levels import WITHIN_CLIENT, level_column
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.design_checks import UnfittableModel

#: Severity with its sign turned.
IMPROVEMENT = "improvement"


@dataclass(frozen=True, eq=False)
class SurfaceModel:
    """The model of one surface.

    Parameters
    ----------
    model : FittedModel
        The fit, or why there is none.
    level : str
        Level of the two ratings.
    terms : tuple of str
        Columns of b1 to b5: X, Y, X², XY, Y².
    """

    model: FittedModel
    level: str
    terms: tuple[str, ...]

    @property
    def pair(self) -> tuple[str, str]:
        """The raters of X and Y."""
        first, second = self.model.specification.raters
        return first, second

    @property
    def is_within(self) -> bool:
        """Whether the surface is of deviations from the client's own mean."""
        return self.level == WITHIN_CLIENT

    def ratings(self) -> tuple[pd.Series, pd.Series]:
        """Return X and Y, centred, one value per row."""
        return self.model.rows[self.terms[0]], self.model.rows[self.terms[1]]


def surface_specification(context: AnalysisContext, *, early: bool) -> ModelSpecification:
    """Say which model a surface is made of: both raters, with therapists as a level where the study has them.

    Parameters
    ----------
    context : AnalysisContext
        Facts of a study with two raters or more.
    early : bool
        Early alliance, one row per client; otherwise from session to session.

    Returns
    -------
    ModelSpecification
    """
    levels = "three_level" if context.has_therapists else "two_level"
    name = f"{'early' if early else 'hybrid'}_{levels}{SUFFIX}"
    return ModelSpecification(name, context.raters[:2], "unique", context.has_therapists)


def fit_surface(rows: pd.DataFrame, context: AnalysisContext, *, early: bool) -> SurfaceModel:
    """Fit the model of one surface by restricted maximum likelihood.

    Parameters
    ----------
    rows : DataFrame
        Hybrid rows, or early rows with their outcomes.
    context : AnalysisContext
        Facts of a study with two commensurate raters.
    early : bool
        Which of the two.

    Returns
    -------
    SurfaceModel
        With a reason in place of a fit where the model cannot be fitted.
    """
    specification = surface_specification(context, early=early)
    trend = () if early else context.trend
    covariates = context.early_covariates if early else context.hybrid_covariates
    level = specification.levels[0]
    complete = rows_of(
        specification,
        rows,
        outcome="outcome",
        all_raters=context.raters,
        trend=trend,
        covariates=covariates,
    )
    linear, squares = _surface_columns(specification.raters, level)
    own = [column for column, (_, at) in specification.alliance_terms().items() if at == level]
    others = [term for term in specification.terms(trend, covariates) if term not in own]
    terms = (*others, *linear, *squares)
    surface = (*linear, *squares)
    if complete.empty:
        reason = "no rows have all that the model needs"
        return SurfaceModel(
            FittedModel(specification, complete, IMPROVEMENT, terms, None, reason), level, surface
        )
    table = _with_surface(complete, specification.raters, level)
    try:
        fit, reason = multilevel_model(specification, table, IMPROVEMENT, terms).fit(), None
    except UnfittableModel as error:
        fit, reason = None, str(error)
    return SurfaceModel(FittedModel(specification, table, IMPROVEMENT, terms, fit, reason), level, surface)


def _surface_columns(pair: Sequence[str], level: str) -> tuple[tuple[str, str], tuple[str, str, str]]:
    """Name the columns of X and Y, and of X², XY and Y²."""
    first, second = (f"alliance_{rater}" for rater in pair)
    if level == WITHIN_CLIENT:
        linear = level_column(first, level), level_column(second, level)
    else:
        linear = f"{first}_centred", f"{second}_centred"
    return linear, (f"{linear[0]}_squared", f"{linear[0]}_product", f"{linear[1]}_squared")


def _with_surface(rows: pd.DataFrame, pair: Sequence[str], level: str) -> pd.DataFrame:
    """Add the columns of the surface and the outcome with its sign turned."""
    linear, squares = _surface_columns(pair, level)
    if level == WITHIN_CLIENT:
        x, y = (rows[name] for name in linear)
    else:
        ratings = rows[[f"alliance_{rater}" for rater in pair]]
        x, y = (ratings - ratings.mean().mean()).to_numpy().T
    columns = [np.asarray(values, dtype=float) for values in (x, y, x * x, x * y, y * y)]
    return rows.assign(
        **dict(zip((*linear, *squares), columns, strict=True)), **{IMPROVEMENT: -rows["outcome"]}
    )
