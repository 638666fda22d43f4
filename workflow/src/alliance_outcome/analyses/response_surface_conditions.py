"""The conditions of a congruence effect as rows with their numbers, and the verdicts in plain language."""

from __future__ import annotations

from typing import Any

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.model_checks import check
from alliance_outcome.analyses.response_surface_model import SurfaceModel
from alliance_outcome.analyses.response_surface_names import (
    ANALYSIS,
    BROAD_VERDICT,
    STRICT_VERDICT,
    condition_name,
)
from alliance_outcome.models.response_surface import (
    Condition,
    CongruenceConditions,
    ResponseSurface,
    congruence_conditions,
)

_WHERE = {True: "Within clients", False: "Between clients"}
_AGREEING = {
    True: "sessions in which the two change together",
    False: "clients whose alliance the two rate alike early in therapy",
}

#: What each condition is about, in terms of severity, which is why a1 to a4 have a minus.
_MEANINGS = {
    "p10": "the valley of severity crosses the middle of the line of agreement (p10, to include {value:g})",
    "p11": "the valley of severity runs along the line of agreement (p11, to include {value:g})",
    "a4": "severity rises with the distance between the raters (−a4, to lie above {value:g})",
    "a3": "severity rises equally whoever rates higher (−a3, to include {value:g})",
    "a1": "severity is level along the line of agreement (−a1, to include {value:g})",
    "a2": "severity is not curved along the line of agreement (−a2, to include {value:g})",
}


def condition_rows(
    surface: SurfaceModel, found: ResponseSurface, context: AnalysisContext
) -> list[dict[str, Any]]:
    """Judge the conditions of a congruence effect of one surface.

    Parameters
    ----------
    surface : SurfaceModel
        A model with a fit.
    found : ResponseSurface
        Its surface, of an outcome of which more is better.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    list of dict
        With the columns of checks: the conditions, and a verdict for the broad and for the strict version. ``value`` is
        of the surface as fitted; texts turn the signs of a1 to a4, so that they speak of severity. `passed` is empty
        where a condition cannot be judged: without convergence none can.
    """
    conditions = congruence_conditions(found)
    converged = surface.model.fit.converged
    rows = [_row(surface, condition, converged) for condition in (*conditions.broad, *conditions.strict)]
    broad = conditions.broad_effect if converged else None
    strict = conditions.strict_effect if converged else None
    return [
        *rows,
        _verdict(surface, BROAD_VERDICT, broad, broad_words(conditions, broad, *_outcome(surface, context))),
        _verdict(surface, STRICT_VERDICT, strict, strict_words(broad, strict)),
    ]


def _row(surface: SurfaceModel, condition: Condition, converged: bool) -> dict[str, Any]:
    met = condition.met if converged else None
    value = None if condition.tested is None else condition.tested.estimate
    meaning = _MEANINGS[condition.name].format(value=condition.value)
    text = f"{_WHERE[surface.is_within]}: {meaning}: {_numbers(condition)}"
    return check(ANALYSIS, condition_name(surface.level, condition.name), met, value, condition.value, text)


def _numbers(condition: Condition) -> str:
    """Write an estimate with its interval, signs turned where it is one of severity."""
    tested = condition.tested
    if tested is None:
        return "not judged, because the data leave open where the first principal axis runs"
    numbers = tested.estimate, tested.ci_low, tested.ci_high
    if condition.name.startswith("a"):
        numbers = -tested.estimate, -tested.ci_high, -tested.ci_low
    estimate, low, high = (f"{number + 0.0:.3g}" for number in numbers)
    return f"{estimate} [{low}, {high}]"


def _verdict(surface: SurfaceModel, name: str, met: bool | None, words: str) -> dict[str, Any]:
    text = f"{_WHERE[surface.is_within]}: {words}"
    return check(ANALYSIS, condition_name(surface.level, name), met, None, None, text)


def _outcome(surface: SurfaceModel, context: AnalysisContext) -> tuple[str, str]:
    """Say what agrees, and when severity was assessed."""
    if surface.is_within:
        return _AGREEING[True], "at the next session"
    session = f"at session {context.early_fixed_session}"
    times = {"end": "at the end of therapy", "follow_up": "at follow-up", "fixed_session": session}
    return _AGREEING[False], times[context.early_outcome]


def broad_words(conditions: CongruenceConditions, met: bool | None, agreeing: str, when: str) -> str:
    """Say in plain language whether agreement matters.

    Parameters
    ----------
    conditions : CongruenceConditions
    met : bool or None
        Whether the broad conditions hold together.
    agreeing : str
        Sessions or clients on which the raters agree.
    when : str
        When severity was assessed.

    Returns
    -------
    str
    """
    if met:
        return (
            f"the conditions of a congruence effect hold together: {agreeing} go with less severity "
            f"{when}, whichever way the raters differ"
        )
    if met is None:
        return f"whether agreement of the raters goes with less severity {when} could not be judged"
    violated = [condition.name for condition in conditions.broad if condition.met is False]
    if "a4" in violated:
        return f"it was not shown that agreement of the raters goes with less severity {when}"
    return (
        f"severity {when} is curved along the line of disagreement, but not with its valley where the raters agree "
        f"({' and '.join(violated)} against it), so that this is no congruence effect"
    )


def strict_words(broad: bool | None, strict: bool | None) -> str:
    """Say in plain language whether agreement is all that matters, or how high the raters agree as well.

    Parameters
    ----------
    broad, strict : bool or None
        Whether the broad conditions hold together, and all conditions.

    Returns
    -------
    str
    """
    if strict:
        return "severity does not recognisably depend on how high the raters agree (strict congruence)"
    if strict is None:
        return "whether the effect is a strict one could not be judged"
    if broad:
        return "how high the raters agree matters as well, so that this is a broad, not a strict congruence effect"
    return "no strict congruence effect, which takes the broad one and more"
