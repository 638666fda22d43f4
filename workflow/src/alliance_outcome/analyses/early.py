"""The early-alliance analysis: does alliance early in therapy go with severity at its end?

Predictive by design: alliance at the early sessions, severity before them and the end assessment are separate in time.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.multilevel import FittedModel, fit_specification
from alliance_outcome.design.specification import EARLY_MODELS, ModelSpecification, specifications
from alliance_outcome.design.timing import session_slots
from alliance_outcome.models.growth import implied_severity


def with_implied_outcome(
    rows: pd.DataFrame, sessions: pd.DataFrame, context: AnalysisContext
) -> pd.DataFrame:
    """Fill in the outcome of studies that ask for the severity at a fixed session.

    Parameters
    ----------
    rows : DataFrame
        Early rows.
    sessions : DataFrame
        Session table.
    context : AnalysisContext
        Facts of the study, with ``early_outcome`` and ``early_fixed_session``.

    Returns
    -------
    DataFrame
        The rows, unchanged unless the study asks for ``fixed_session``. The growth model uses every held session's
        severity of the clients in the analysis.
    """
    if context.early_outcome != "fixed_session":
        return rows
    slots = sessions.assign(slot=session_slots(sessions, "attended")).dropna(subset=["slot", "severity"])
    slots = slots[slots["client"].isin(rows["client"])].reset_index(drop=True)
    implied = implied_severity(slots["severity"], slots["slot"], slots["client"], context.early_fixed_session)
    return rows.assign(outcome=rows["client"].map(implied))


def fit_early_models(
    rows: pd.DataFrame, context: AnalysisContext, only: Callable[[ModelSpecification], bool] | None = None
) -> list[FittedModel]:
    """Fit the early-alliance models: three-level, two-level, and with the last observed session as outcome.

    Parameters
    ----------
    rows : DataFrame
        Early rows with their outcomes.
    context : AnalysisContext
        Facts of the study.
    only : callable, optional
        Says of a specification whether it is wanted; all are unless given.

    Returns
    -------
    list of FittedModel
        Joint and single-rater fits of each model.
    """
    return [
        fit_specification(
            specification,
            rows,
            outcome="outcome_last" if specification.model == "early_last_observed" else "outcome",
            all_raters=context.raters,
            trend=(),
            covariates=context.early_covariates,
            has_therapists=context.has_therapists,
        )
        for specification in specifications(
            EARLY_MODELS, context.raters, has_therapists=context.has_therapists
        )
        if only is None or only(specification)
    ]
