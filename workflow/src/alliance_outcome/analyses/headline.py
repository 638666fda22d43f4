"""Which row is the headline of a study, fixed before the data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.answer import Answer, decide, failed_gates
from alliance_outcome.analyses.context import LEADING_RATERS, AnalysisContext
from alliance_outcome.analyses.estimates import estimates_frame, is_repetition
from alliance_outcome.analyses.multilevel import ENGINE
from alliance_outcome.analyses.panel_names import DYNAMIC, PANEL_ENGINE, PANEL_MODELS
from alliance_outcome.analyses.rater_contrast import single_rater_refusal
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.design.specification import HYBRID_MODELS
from alliance_outcome.settings import DecisionSettings


def hybrid_model(context: AnalysisContext, settings: DecisionSettings) -> str:
    """Name the multilevel model that speaks for its kind: the study's override, or the one with all levels."""
    three_level, two_level = HYBRID_MODELS[:2]
    own = three_level if context.has_therapists else two_level
    return settings.primary if settings.primary in HYBRID_MODELS else own


def headline_model(contrasts: pd.DataFrame, settings: DecisionSettings) -> str:
    """Name the model behind the headline: the study's override, or the primary panel model.

    Parameters
    ----------
    contrasts : DataFrame
        ``contrast.csv``; which panel model has the role ``primary`` depends on the number of usable sessions alone.
    settings : DecisionSettings

    Returns
    -------
    str
    """
    if settings.primary:
        return settings.primary
    panel = contrasts[(contrasts["engine"] == PANEL_ENGINE) & (contrasts["role"] == "primary")]
    return panel["model"].iloc[0]


def all_contrasts(contrasts: Sequence[pd.DataFrame], context: AnalysisContext) -> pd.DataFrame:
    """Put the contrasts of every model of every engine together.

    Parameters
    ----------
    contrasts : sequence of DataFrame
        Those of the multilevel and early fits, of the bootstrap and of the posteriors.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    DataFrame
        ``contrast.csv``; a study with one rater has a single refused row.
    """
    if len(context.raters) < 2:
        return estimates_frame([single_rater_refusal(context)])
    return estimates_frame(row for table in contrasts for row in table.to_dict("records"))


def headline_answer(
    contrasts: pd.DataFrame, checks: pd.DataFrame, context: AnalysisContext, settings: DecisionSettings
) -> Answer:
    """Answer the question from the within-client contrast.

    Parameters
    ----------
    contrasts : DataFrame
        ``contrast.csv``.
    checks : DataFrame
        Checks of all stages.
    context : AnalysisContext
        Facts of the study.
    settings : DecisionSettings
        ROPE and override.

    Returns
    -------
    Answer
        With the notes that belong beside it.
    """
    if len(context.raters) < 2:
        row = contrasts[contrasts["row_id"] == "contrast.refused"].to_dict("records")[0]
        return decide(row, {}, rope=None, failed=(), unit=context.unit)
    model = headline_model(contrasts, settings)
    rows = contrasts[
        (contrasts["model"] == model)
        & contrasts["engine"].isin([PANEL_ENGINE, ENGINE])
        & (contrasts["estimand"] == "unique")
        & (contrasts["level"] == WITHIN_CLIENT)
        & ~is_repetition(contrasts)
    ]
    pair = _headline_pair(context.raters)
    differences = rows[
        (rows["term"] == "difference") & (rows["rater"] == pair[0]) & (rows["rater_b"] == pair[1])
    ]
    standardised = rows[rows["term"] == "coefficient_standardised"].set_index("rater")
    return decide(
        differences.to_dict("records")[0],
        {rater: standardised.loc[rater].to_dict() for rater in pair if rater in standardised.index},
        rope=settings.rope,
        failed=failed_gates(checks, model),
        unit=context.unit,
        notes=_notes(context, settings, pair, model),
    )


def _headline_pair(raters: Sequence[str]) -> tuple[str, str]:
    """Contrast the client with the therapist, or the first two raters where one of them did not rate."""
    return LEADING_RATERS if set(LEADING_RATERS) <= set(raters) else (raters[0], raters[1])


def _notes(
    context: AnalysisContext, settings: DecisionSettings, pair: tuple[str, str], model: str
) -> tuple[str, ...]:
    """Collect what a reader must know beside the answer."""
    notes = []
    if model not in PANEL_MODELS:
        notes.append(
            "This answer rests on the hybrid model, a comparator: with few sessions or with individual trends it is "
            "biased. The panel models, which avoid this bias, stand beside it."
        )
    if model == DYNAMIC:
        notes.append(
            "Fewer than five sessions are usable, so that trends of clients cannot be told apart from what one session "
            "does to the next."
        )
    if settings.primary:
        notes.append(f"The study file overrides the model behind this answer: {settings.primary}.")
    if context.outcome_rater in pair:
        notes.append(
            f"The outcome is rated by the {context.outcome_rater}, as is one of the two alliances: the contrast is "
            "confounded with what the two ratings share because one person gave them."
        )
    return (*notes, *context.warnings)
