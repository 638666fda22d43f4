"""Estimates of how two raters see the same alliance, by hand, for the tests of the report."""

from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.perception_names import COMPONENTS, RECIPROCITIES

RATERS = ("client", "therapist")
#: Share by level and rater, and the raters' correlation by level.
SPLIT = {
    "within_client": ((0.36, 0.34), 0.27),
    "between_client": ((0.56, 0.46), 0.45),
    "between_therapist": ((0.08, 0.20), -0.10),
}
#: Tracking by level.
TRACKED = {"within_client": 0.25, "between_client": 0.5, "between_therapist": 0.1}


def perception_frames(therapists=24, commensurate=True):
    """Return the split of both raters' ratings, and truth and bias of each as judge."""
    return (
        estimates_frame(_split_rows(therapists, commensurate)),
        estimates_frame([row for judge in RATERS for row in _judged_rows(judge, therapists, commensurate)]),
    )


def _base(analysis, therapists):
    return {
        "study": "example",
        "analysis": analysis,
        "model": analysis,
        "engine": "multilevel",
        "role": "secondary",
        "scale": "total",
        "quantity_kind": "deterministic",
        "n_sessions": 1204,
        "n_clients": 120,
        "n_therapists": therapists,
    }


def _status(level, therapists):
    if level == "between_therapist" and therapists < 10:
        return {"status": "not_established", "reason": f"{therapists} therapists are too few"}
    return {}


def _forms_differ():
    return {"status": "refused", "reason": "not applicable: the raters' forms differ"}


def _split_rows(therapists, commensurate):
    base = _base("one_with_many", therapists)
    limits = {"ci_level": 0.95, "ci_kind": "profile"}
    for level, (shares, correlation) in SPLIT.items():
        own = {**base, "level": level, **_status(level, therapists)}
        for rater, other, share in zip(RATERS, RATERS[::-1], shares, strict=True):
            pair = {**own, "rater": rater, "rater_b": other}
            for kind, value in (("share", share), ("sd", share**0.5)):
                term = f"{kind}_{COMPONENTS[level]}"
                named = {"row_id": f"one_with_many.{rater}.{other}.{term}", "term": term, "estimate": value}
                bounds = {"ci_low": share - 0.05, "ci_high": share + 0.05} if kind == "share" else {}
                yield {**pair, **named, **bounds, **limits}
        named = {"row_id": f"one_with_many.{RECIPROCITIES[level]}", "term": RECIPROCITIES[level]}
        bounds = {"ci_low": correlation - 0.2, "ci_high": correlation + 0.2}
        yield {
            **own,
            "rater": "client",
            "rater_b": "therapist",
            **named,
            "estimate": correlation,
            **bounds,
            **limits,
        }
    named = {"row_id": "one_with_many.mean_difference", "term": "mean_difference", "rater": "client"}
    numbers = {"estimate": 0.65, "ci_low": 0.45, "ci_high": 0.85} if commensurate else _forms_differ()
    yield {**base, **named, "rater_b": "therapist", **numbers, **limits}


def _judged_rows(judge, therapists, commensurate):
    truth = RATERS[1 - RATERS.index(judge)]
    base = {**_base("truth_and_bias", therapists), "rater": judge, "rater_b": truth}
    bias = -0.6 if judge == "therapist" else 0.7
    yield {
        **base,
        **_judged(judge, "directional_bias", None, bias, 0.08, "scale points"),
        **_own(commensurate),
    }
    unit = "scale points per session"
    yield {**base, **_judged(judge, "bias_change", None, 0.012, 0.002, unit), **_own(commensurate)}
    for level, value in TRACKED.items():
        status = _status(level, therapists)
        if commensurate:
            yield {**base, **_judged(judge, "tracking", level, value, 0.04, "points per point"), **status}
        yield {
            **base,
            **_judged(judge, "tracking_standardised", level, value - 0.01, 0.04, "SD per SD"),
            **status,
        }


def _own(commensurate):
    nothing = {"estimate": None, "std_error": None, "ci_low": None, "ci_high": None, "p_value": None}
    return {} if commensurate else {**nothing, **_forms_differ()}


def _judged(judge, term, level, estimate, std_error, unit):
    key = ".".join(part for part in ("truth_and_bias", judge, level, term) if part)
    return {
        "row_id": key,
        "term": term,
        "level": level,
        "estimate": estimate,
        "std_error": std_error,
        "ci_low": estimate - 2 * std_error,
        "ci_high": estimate + 2 * std_error,
        "ci_level": 0.95,
        "ci_kind": "wald_t",
        "df": 120.5,
        "p_value": 0.012,
        "unit": unit,
    }
