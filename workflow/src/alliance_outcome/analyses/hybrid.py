"""The session-to-session hybrid models: comparators of the lag-1 effect, two-level and three-level side by side."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.multilevel import FittedModel, fit_specification
from alliance_outcome.design.specification import HYBRID_MODELS, ModelSpecification, specifications


def fit_hybrid_models(
    rows: pd.DataFrame, context: AnalysisContext, only: Callable[[ModelSpecification], bool] | None = None
) -> list[FittedModel]:
    """Fit the hybrid models with and without the lagged outcome, two-level and three-level, joint and alone.

    Parameters
    ----------
    rows : DataFrame
        Hybrid rows.
    context : AnalysisContext
        Facts of the study.
    only : callable, optional
        Says of a specification whether it is wanted; all are unless given.

    Returns
    -------
    list of FittedModel
        In the order of :data:`HYBRID_MODELS`.
    """
    return [
        fit_specification(
            specification,
            rows,
            outcome="outcome",
            all_raters=context.raters,
            trend=context.trend,
            covariates=context.hybrid_covariates,
            has_therapists=context.has_therapists,
        )
        for specification in specifications(
            HYBRID_MODELS, context.raters, has_therapists=context.has_therapists
        )
        if only is None or only(specification)
    ]
