"""Put the fits of an analysis into tidy tables: estimates, contrasts, covariances, scales and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.coefficient_rows import estimate_rows
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.inference import inferences
from alliance_outcome.analyses.model_checks import model_checks
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.rater_contrast import multilevel_contrasts
from alliance_outcome.design.levels import scales_frame
from alliance_outcome.models.degrees_of_freedom import small_sample_inference

#: Columns that say which fit a row of a helper table belongs to.
IDENTITY = ["model", "estimand", "raters"]


@dataclass(frozen=True)
class MultilevelTables:
    """Tables of an analysis.

    Parameters
    ----------
    estimates : DataFrame
        Coefficients and variances of every model, and what repeats the alliance coefficients with a cluster-robust
        covariance or AR(1) residuals.
    contrasts : DataFrame
        Standardised coefficients, and the contrasts of the raters in the joint models, standard deviations held fixed.
    covariances : DataFrame
        Covariances of the alliance coefficients behind the models' own standard errors: term, term2, covariance.
    scales : DataFrame
        Standard deviations of the alliance at each level.
    checks : DataFrame
        Columns stage, name, passed, value, limit, text.
    """

    estimates: pd.DataFrame
    contrasts: pd.DataFrame
    covariances: pd.DataFrame
    scales: pd.DataFrame
    checks: pd.DataFrame


def tabulate(models: Sequence[FittedModel], analysis: StudyAnalysis) -> MultilevelTables:
    """Put fits and refusals into tables.

    Parameters
    ----------
    models : sequence of FittedModel
        All fits of one analysis.
    analysis : StudyAnalysis

    Returns
    -------
    MultilevelTables
        Ready to be written. A study with one rater has no contrasts.
    """
    estimates, contrasts, checks = [], [], []
    for model in models:
        ways = [] if model.fit is None else inferences(model, analysis.context)
        estimates += estimate_rows(model, ways, analysis)
        checks += model_checks(model, ways, analysis.name)
        if len(analysis.context.raters) > 1:
            contrasts += multilevel_contrasts(model, ways, analysis)
    fitted = [model for model in models if model.fit is not None]
    return MultilevelTables(
        estimates=estimates_frame(estimates),
        contrasts=estimates_frame(contrasts),
        covariances=_stack([_covariance_table(model) for model in fitted]),
        scales=_stack([_scales_table(model) for model in fitted]),
        checks=pd.DataFrame(checks),
    )


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=IDENTITY)


def _identity(model: FittedModel) -> dict[str, str]:
    """Say which fit a row of a helper table belongs to."""
    specification = model.specification
    values = (specification.model, specification.estimand, "+".join(specification.raters))
    return dict(zip(IDENTITY, values, strict=True))


def _covariance_table(model: FittedModel) -> pd.DataFrame:
    """Return the covariance of the alliance coefficients, long."""
    terms = list(model.specification.alliance_terms())
    covariance = small_sample_inference(model.fit).cov_params().loc[terms, terms]
    long = covariance.rename_axis("term").reset_index()
    long = long.melt(id_vars="term", var_name="term2", value_name="covariance")
    return long.assign(**_identity(model))


def _scales_table(model: FittedModel) -> pd.DataFrame:
    """Return the standard deviations of the model's levels."""
    measures = [f"alliance_{rater}" for rater in model.specification.raters]
    return scales_frame(model.rows, measures, model.specification.levels).assign(**_identity(model))
