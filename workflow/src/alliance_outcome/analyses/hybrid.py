"""The session-to-session hybrid models: comparators of the lag-1 effect, two-level and three-level side by side."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.multilevel import FittedModel, fit_specification
from alliance_outcome.design.specification import HYBRID_MODELS, specifications


def fit_hybrid_models(rows: pd.DataFrame, context: AnalysisContext) -> list[FittedModel]:
    """Fit the hybrid models with and without the lagged outcome, two-level and three-level, joint and alone.

    Parameters
    ----------
    rows : DataFrame
        Hybrid rows.
    context : AnalysisContext
        Facts of the study.

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
    ]
