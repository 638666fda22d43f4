"""From the session table to model rows, with the facts that every later stage states."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, order_raters
from alliance_outcome.design.early_rows import early_rows
from alliance_outcome.design.levels import THREE_LEVELS, TWO_LEVELS, level_deviations, split_levels
from alliance_outcome.design.rows import ModelRows, hybrid_rows, incomplete_rows
from alliance_outcome.design.timing import recall_warning, timing_sentence
from alliance_outcome.settings import DesignSettings

DAYS_PER_WEEK = 7


@dataclass(frozen=True)
class PreparedStudy:
    """Rows of all analyses, the study's context and the data flow of the design stage."""

    hybrid: pd.DataFrame
    joint: pd.DataFrame
    early: pd.DataFrame
    context: AnalysisContext
    flow: pd.DataFrame


def prepare_study(
    name: str,
    sessions: pd.DataFrame,
    measures: pd.DataFrame,
    clients: pd.DataFrame,
    therapists: pd.DataFrame,
    settings: DesignSettings,
    *,
    primary_outcome: str,
    outcome_unit: str,
) -> PreparedStudy:
    """Build the rows of the hybrid and early-alliance models.

    Parameters
    ----------
    name : str
        Study.
    sessions, measures, clients, therapists : DataFrame
        What ingest wrote.
    settings : DesignSettings
        Lags, trend, early sessions and covariates.
    primary_outcome : str
        Name of the primary severity measure.
    outcome_unit : str
        Unit of the outcome, for the report.

    Returns
    -------
    PreparedStudy
        Hybrid rows carry the level columns; early rows are split when a model's outcome is chosen; joint rows, in which
        ratings and outcomes may be missing, are never split.
    """
    outcome = measures.set_index("measure").loc[primary_outcome]
    alliance = measures[measures["construct"] == "alliance"].set_index("rater")
    raters = order_raters(list(alliance.index))
    timings = {f"alliance_{rater}": alliance.loc[rater, "timing"] for rater in raters}
    timings["severity"] = outcome["timing"]
    hybrid = hybrid_rows(sessions, timings, settings, clients, therapists)
    joint = incomplete_rows(sessions, timings, settings, clients, therapists)
    early = early_rows(sessions, timings, settings, clients, therapists)
    context = AnalysisContext(
        study=name,
        outcome=outcome["column"],
        outcome_rater=outcome["rater"],
        unit=outcome_unit,
        raters=raters,
        has_therapists=bool(sessions["therapist"].notna().any()),
        lag_unit=settings.lag_unit,
        timing=timings,
        timing_sentences=tuple(
            timing_sentence(rater, timings[f"alliance_{rater}"], timings["severity"], settings.lag_unit)
            for rater in raters
        ),
        commensurate=bool(alliance["form"].notna().all() and alliance["form"].nunique() == 1),
        trend=hybrid.trend,
        hybrid_covariates=hybrid.covariates,
        early_covariates=early.covariates,
        early_outcome=settings.early.outcome,
        early_fixed_session=settings.early.fixed_session,
        adjustment=_adjustment(settings),
        warnings=_warnings(hybrid, outcome["recall_days"], raters),
    )
    rows = split_levels(hybrid.rows, [f"alliance_{rater}" for rater in raters])
    flow = pd.concat([hybrid.flow, joint.flow, early.flow], ignore_index=True)
    return PreparedStudy(rows, joint.rows, early.rows, context, flow)


def _adjustment(settings: DesignSettings) -> str:
    """Say what the models adjust for."""
    covariates = [*settings.covariates.client, *settings.covariates.therapist]
    return ", ".join(["first severity", f"{settings.time_trend} trend over sessions", *covariates])


def _warnings(hybrid: ModelRows, recall_days: float | None, raters: tuple[str, ...]) -> tuple[str, ...]:
    """Collect the timing warnings of the raters."""
    gaps = hybrid.rows["gap_weeks"].dropna()
    if gaps.empty:
        return ()
    found = (recall_warning(rater, recall_days, float(gaps.median()) * DAYS_PER_WEEK) for rater in raters)
    return tuple(warning for warning in found if warning)


def collinearity(hybrid: pd.DataFrame, early: pd.DataFrame, context: AnalysisContext) -> pd.DataFrame:
    """Correlate the raters at each level of both analyses, on the rows of the joint models.

    Parameters
    ----------
    hybrid, early : DataFrame
        Model rows.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    DataFrame
        Columns ``analysis, level, rater, rater_b, correlation, variance_inflation``; each unit counts once.
    """
    measures = [f"alliance_{rater}" for rater in context.raters]
    records = []
    for analysis, rows in (("hybrid", hybrid), ("early", early)):
        split = split_levels(rows.dropna(subset=[*measures, "outcome"]), measures)
        levels = THREE_LEVELS if context.has_therapists else TWO_LEVELS
        for level in levels if analysis == "hybrid" else levels[1:]:
            for first, second in itertools.combinations(measures, 2):
                a, b = (level_deviations(split, measure, level).to_numpy() for measure in (first, second))
                spread = math.sqrt(float(a @ a) * float(b @ b))
                correlation = float(a @ b) / spread if spread > 0 else math.nan
                records.append(
                    {
                        "analysis": analysis,
                        "level": level,
                        "rater": first.removeprefix("alliance_"),
                        "rater_b": second.removeprefix("alliance_"),
                        "correlation": correlation,
                        "variance_inflation": 1 / (1 - correlation**2) if abs(correlation) < 1 else math.inf,
                    }
                )
    columns = ["analysis", "level", "rater", "rater_b", "correlation", "variance_inflation"]
    return pd.DataFrame(records, columns=columns)
