"""Does the contrast of the raters differ between goal, task and bond, and which part counts for a rater?

Each part of the alliance (Bordin 1979, 10.1037/h0085885) goes through the models in place of the whole: the raters are
contrasted on the same part, and for each rater the cognitive composite, goal and task, is contrasted with the emotional
one, bond. Rows are those on which the parts in a model are known, so that samples may differ a little.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, StudyAnalysis
from alliance_outcome.analyses.early import fit_early_models, with_implied_outcome
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.inference import own_inference
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.rater_contrast import multilevel_contrasts
from alliance_outcome.design.early_rows import early_rows
from alliance_outcome.design.rows import hybrid_rows
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.settings import DesignSettings

ANALYSIS = "alliance_parts"
COGNITIVE, EMOTIONAL = "cognitive", "emotional"
#: The parts of the cognitive composite, and the one of the emotional.
COGNITIVE_PARTS, EMOTIONAL_PART = ("goal", "task"), "bond"


@dataclasses.dataclass(frozen=True)
class StudyTables:
    """What the models of the parts are fitted to.

    Parameters
    ----------
    sessions, clients, therapists : DataFrame
        Session table and covariates.
    settings : DesignSettings
    min_therapists : int
        With fewer therapists nothing is claimed between therapists.
    """

    sessions: pd.DataFrame
    clients: pd.DataFrame
    therapists: pd.DataFrame
    settings: DesignSettings
    min_therapists: int


def part_contrasts(study: StudyTables, context: AnalysisContext) -> pd.DataFrame:
    """Contrast the raters on each part, and the parts within each rater.

    Parameters
    ----------
    study : StudyTables
    context : AnalysisContext

    Returns
    -------
    DataFrame
        Estimates with the part as ``scale``: standardised coefficients and D at each level of the joint hybrid and
        early models; ``scale`` is ``cognitive against emotional`` where parts of one rater are contrasted. Refused if
        no part was scored for every rater.
    """
    parts = _parts(study.sessions, context)
    shared = [
        name for name in (*COGNITIVE_PARTS, EMOTIONAL_PART) if all(name in own for own in parts.values())
    ]
    found: list[dict[str, Any]] = []
    if len(context.raters) > 1:
        for name in (*shared, *_composite(shared)):
            columns = {rater: _column(study.sessions, rater, name) for rater in context.raters}
            found += _rows(study, context, columns, {rater: rater for rater in context.raters}, name)
    for rater, own in parts.items():
        if {*COGNITIVE_PARTS, EMOTIONAL_PART} <= own:
            columns = {
                COGNITIVE: _column(study.sessions, rater, COGNITIVE),
                EMOTIONAL: _column(study.sessions, rater, EMOTIONAL_PART),
            }
            owners = dict.fromkeys(columns, rater)
            found += _rows(study, context, columns, owners, f"{COGNITIVE} against {EMOTIONAL}")
    if not found:
        reason = "goal, task and bond were not scored for every rater"
        found = [_refusal(context, reason)]
    return estimates_frame(found)


def _refusal(context: AnalysisContext, reason: str) -> dict[str, Any]:
    return {
        **context.common_fields(ANALYSIS),
        "row_id": row_key(ANALYSIS, "refused"),
        "term": "difference",
        "role": "secondary",
        "status": "refused",
        "reason": reason,
    }


def _parts(sessions: pd.DataFrame, context: AnalysisContext) -> dict[str, set[str]]:
    """Return which parts each rater's form has."""
    return {
        rater: {
            name
            for name in (*COGNITIVE_PARTS, EMOTIONAL_PART)
            if f"alliance_{rater}_{name}" in sessions and sessions[f"alliance_{rater}_{name}"].notna().any()
        }
        for rater in context.raters
    }


def _composite(shared: list[str]) -> tuple[str, ...]:
    return (COGNITIVE,) if set(COGNITIVE_PARTS) <= set(shared) else ()


def _column(sessions: pd.DataFrame, rater: str, part: str) -> pd.Series:
    """Return a part; the cognitive one is the mean of goal and task where both are known."""
    names = COGNITIVE_PARTS if part == COGNITIVE else (part,)
    return sessions[[f"alliance_{rater}_{name}" for name in names]].mean(axis=1, skipna=False)


def _rows(
    study: StudyTables,
    context: AnalysisContext,
    columns: Mapping[str, pd.Series],
    owners: Mapping[str, str],
    scale: str,
) -> Iterator[dict[str, Any]]:
    """Yield the contrast of two predictors, which stand where the raters' alliance stands."""
    own = dataclasses.replace(
        context,
        raters=tuple(columns),
        timing={f"alliance_{name}": context.timing[f"alliance_{owner}"] for name, owner in owners.items()}
        | {"severity": context.timing["severity"]},
    )
    others = [name for name in study.sessions if name.startswith("alliance_")]
    sessions = study.sessions.drop(columns=others).assign(
        **{f"alliance_{name}": column for name, column in columns.items()}
    )
    key = owners[next(iter(owners))] if len(set(owners.values())) == 1 else None
    for model in _fitted(study, own, sessions):
        name = "early" if model.specification.is_early else "multilevel"
        analysis = StudyAnalysis(own, name, study.min_therapists)
        ways = [] if model.fit is None else [own_inference(model)]
        for row in multilevel_contrasts(model, ways, analysis):
            yield {
                **row,
                "row_id": row_key(ANALYSIS, key, scale.replace(" ", "_"), row["row_id"]),
                "analysis": ANALYSIS,
                "role": "secondary",
                "scale": _scale_of(row, owners, scale),
                "rater": owners[row["rater"]],
                "rater_b": None if row["rater_b"] is None else owners[row["rater_b"]],
                "timing": "; ".join(f"{column} {when}" for column, when in sorted(context.timing.items())),
                "sample": _sample(row, context, key),
            }


def _scale_of(row: Mapping[str, Any], owners: Mapping[str, str], scale: str) -> str:
    """Name the part that a row is of: of one rater's two parts, a coefficient has one, D both."""
    is_one_raters = len(set(owners.values())) == 1
    return str(row["rater"]) if is_one_raters and row["rater_b"] is None else scale


def _sample(row: Mapping[str, Any], context: AnalysisContext, key: str | None) -> str:
    sample = str(row["sample"])
    return sample if context.commensurate or key is not None else f"{sample}; different forms"


def _fitted(study: StudyTables, context: AnalysisContext, sessions: pd.DataFrame) -> list[FittedModel]:
    """Fit the joint models that the contrast of the whole rests on."""
    arguments = (sessions, context.timing, study.settings, study.clients, study.therapists)
    hybrid = hybrid_rows(*arguments).rows
    early = with_implied_outcome(early_rows(*arguments).rows, sessions, context)
    levels = "three_level" if context.has_therapists else "two_level"
    wanted = {f"hybrid_{levels}", f"early_{levels}"}

    def only(specification: ModelSpecification) -> bool:
        return specification.model in wanted and specification.estimand == "unique"

    return [*fit_hybrid_models(hybrid, context, only), *fit_early_models(early, context, only)]
