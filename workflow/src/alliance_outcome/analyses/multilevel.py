"""Fit the hybrid and early-alliance models of a study.

Every specification is fitted or refused with its reason. Clients have a random intercept and correlated random slopes
of the within-client terms, therapists a random intercept: ``(1 + w_client + w_therapist | client) + (1 | therapist)``
in lme4's notation. Early models, with one row per client, have a random intercept of therapists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.model_rows import rows_of
from alliance_outcome.design.specification import LAGGED_OUTCOME, ModelSpecification
from alliance_outcome.models.design_checks import INTERCEPT, UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

ENGINE = "multilevel"


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A specification with its rows and its fit, or the reason why there is none.

    Parameters
    ----------
    specification : ModelSpecification
        What was asked.
    rows : DataFrame
        The model's rows, split by level.
    outcome : str
        Column of the outcome.
    terms : tuple of str
        Fixed-effect columns.
    fit : MultilevelResult or None
        The fit.
    reason : str or None
        Why there is no fit.
    """

    specification: ModelSpecification
    rows: pd.DataFrame
    outcome: str
    terms: tuple[str, ...]
    fit: MultilevelResult | None
    reason: str | None

    def is_joint(self, context: AnalysisContext) -> bool:
        """Say whether all raters of the study are in the model."""
        return len(self.specification.raters) == len(context.raters)

    def with_autoregression(self) -> MultilevelModel:
        """Return the same model with AR(1) residuals over a client's slots; gaps count."""
        return multilevel_model(self.specification, self.rows, self.outcome, self.terms, autocorrelated=True)

    def without_slope_correlations(self) -> MultilevelModel:
        """Return the same model with independent random effects of clients."""
        return multilevel_model(
            self.specification, self.rows, self.outcome, self.terms, uncorrelated=("client",)
        )


def random_structure(
    specification: ModelSpecification, rows: pd.DataFrame
) -> tuple[dict[str, pd.Series], dict[str, list[str]]]:
    """Return the groups of rows, outermost first, and which coefficients vary between them.

    Parameters
    ----------
    specification : ModelSpecification
        The model.
    rows : DataFrame
        Its rows.

    Returns
    -------
    groups : dict of level to Series
    random : dict of level to list of str
    """
    groups = {"client": rows["client"]}
    random = {"client": [INTERCEPT, *specification.slopes]}
    if specification.three_level:
        groups = {"therapist": rows["therapist"], **groups}
        random = {"therapist": [INTERCEPT], **random}
    return groups, random


def multilevel_model(
    specification: ModelSpecification,
    rows: pd.DataFrame,
    outcome: str,
    terms: Sequence[str],
    *,
    autocorrelated: bool = False,
    uncorrelated: Sequence[str] = (),
) -> MultilevelModel:
    """Set up the model of a specification.

    Parameters
    ----------
    specification : ModelSpecification
        The model.
    rows : DataFrame
        From :func:`~alliance_outcome.analyses.model_rows.rows_of`.
    outcome : str
        Column of the outcome.
    terms : sequence of str
        Fixed-effect columns.
    autocorrelated : bool
        Whether residuals are AR(1) over the slots of a client.
    uncorrelated : sequence of str
        Levels with independent random effects.

    Returns
    -------
    MultilevelModel

    Raises
    ------
    UnfittableModel
        If the rows cannot support it.
    """
    groups, random = random_structure(specification, rows)
    lagged = LAGGED_OUTCOME if specification.has_lagged_outcome else None
    return MultilevelModel(
        rows[outcome],
        rows[list(terms)],
        groups=groups,
        random=random,
        uncorrelated=uncorrelated,
        residual="ar1" if autocorrelated else "independent",
        time=rows["slot"] if autocorrelated or lagged else None,
        lagged_outcome=lagged,
    )


def fit_specification(
    specification: ModelSpecification,
    rows: pd.DataFrame,
    *,
    outcome: str,
    all_raters: Sequence[str],
    trend: Sequence[str],
    covariates: Sequence[str],
    has_therapists: bool,
) -> FittedModel:
    """Fit one specification on the rows of the joint model, by restricted maximum likelihood.

    Parameters
    ----------
    specification : ModelSpecification
        What to fit.
    rows : DataFrame
        Rows of the analysis; those with a missing term are left out, and the levels are split on what is left.
    outcome : str
        Column of the outcome.
    all_raters : sequence of str
        Raters whose ratings must be complete, whether or not they are in this model.
    trend, covariates : sequence of str
        Further columns.
    has_therapists : bool
        Whether the study has therapist ids.

    Returns
    -------
    FittedModel
        With a reason in place of a fit where the model cannot be fitted.
    """
    terms = tuple(specification.terms(trend, covariates))
    if specification.three_level and not has_therapists:
        return FittedModel(specification, rows, outcome, terms, None, "the study has no therapist ids")
    complete = rows_of(
        specification, rows, outcome=outcome, all_raters=all_raters, trend=trend, covariates=covariates
    )
    if complete.empty:
        reason = "no rows have all that the model needs"
        return FittedModel(specification, complete, outcome, terms, None, reason)
    try:
        fit = multilevel_model(specification, complete, outcome, terms).fit()
    except UnfittableModel as error:
        return FittedModel(specification, complete, outcome, terms, None, str(error))
    return FittedModel(specification, complete, outcome, terms, fit, None)
