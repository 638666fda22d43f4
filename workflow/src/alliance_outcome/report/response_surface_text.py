"""What response surfaces are and are not, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.response_surface_names import (
    BROAD_VERDICT,
    FIRST_HIGHER,
    IN_AGREEMENT,
    SECOND_HIGHER,
    STRICT_VERDICT,
    condition_name,
)
from alliance_outcome.design.levels import WITHIN_CLIENT
from alliance_outcome.report.formatting import (
    degrees_of_freedom,
    is_absent,
    number,
    p_value,
    sentence_case,
)
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import first_row, levels_of


def question(raters: Sequence[str]) -> str:
    """Say what is asked, and why not by difference scores."""
    first, second = (rater_label(rater) for rater in raters[:2])
    return (
        f"Does it matter that {first} and {second} agree about the alliance, or only how high each of them rates it? A "
        "difference of the two ratings cannot tell, because it goes with severity whenever either rating does. A "
        "response surface can: severity is regressed on both ratings, their squares and their product, and agreement "
        f"counts only if several conditions hold together {cite('humberg')}."
    )


def verdicts(conditions: pd.DataFrame, levels: Sequence[str]) -> list[str]:
    """Say at each level whether agreement matters, as the conditions of the run have it.

    Parameters
    ----------
    conditions : DataFrame
        ``conditions_response_surface.csv``.
    levels : sequence of str
        Levels with a surface.

    Returns
    -------
    list of str
        One paragraph per level.
    """
    texts = conditions.set_index("name")["text"]
    states = conditions.set_index("name")["passed"].astype("str").str.lower()
    paragraphs = []
    for level in levels:
        broad, strict = (condition_name(level, name) for name in (BROAD_VERDICT, STRICT_VERDICT))
        text = f"{texts[broad]}."
        if states[broad] == "true":
            text += f" {sentence_case(texts[strict].partition(': ')[2])}."
        paragraphs.append(text)
    return paragraphs


def joint_test_sentence(estimates: pd.DataFrame) -> str:
    """Say whether curvature of any kind improves on a plane, level by level; empty without a test."""
    parts = []
    for level in levels_of(estimates):
        row = first_row(_own(estimates, level), term="second_order")
        if row is not None and row["status"] == "ok" and not is_absent(row["p_value"]):
            p = p_value(row["p_value"])
            equals = "" if p.startswith("<") else "= "
            test = f"F(3, {degrees_of_freedom(row['df'])}) = {number(row['statistic'])}"
            parts.append(f"{level_label(level)}, {test}, p {equals}{p}")
    return f"Squares and product together, against a plane: {'; '.join(parts)}." if parts else ""


def share_sentence(estimates: pd.DataFrame) -> str:
    """Say how often the raters disagree; groups too small to be told of are left out with the reason."""
    parts = []
    for level in levels_of(estimates):
        rows = _own(estimates, level)
        found = {name: first_row(rows, term=name) for name in (IN_AGREEMENT, FIRST_HIGHER, SECOND_HIGHER)}
        if any(row is None or row["status"] != "ok" for row in found.values()):
            continue
        shares = {name: number(row["estimate"], 0) for name, row in found.items()}
        row = found[IN_AGREEMENT]
        unit = row["unit"].removeprefix("per cent of ")
        parts.append(
            f"{level_label(level)}, the two agree in {shares[IN_AGREEMENT]} % of {unit}, the "
            f"{rater_label(row['rater'])}'s rating is the higher one in {shares[FIRST_HIGHER]} % and the "
            f"{rater_label(row['rater_b'])}'s in {shares[SECOND_HIGHER]} %"
        )
    if not parts:
        return ""
    return (
        f"By the convention that ratings differ when their z scores are more than half a standard deviation apart: "
        f"{'; '.join(parts)}. Where hardly any pair differs, there is nothing from which to learn what differing does."
    )


def _own(estimates: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return the rows of a level that do not repeat others."""
    return estimates[(estimates["level"] == level) & (estimates["role"] != "sensitivity")]


def robust_sentence(estimates: pd.DataFrame) -> str:
    """Say of the curvature a4 whether a cluster-robust standard error leaves its sign as clear as it was."""
    parts = []
    for level in levels_of(estimates):
        rows = estimates[(estimates["level"] == level) & (estimates["term"] == "a4")]
        own = first_row(rows[rows["role"] != "sensitivity"])
        robust = first_row(rows[rows["role"] == "sensitivity"])
        if own is None or robust is None or "refused" in (own["status"], robust["status"]):
            continue
        # The interval of −a4, which speaks of severity.
        limits = f"{number(-robust['ci_high'])} to {number(-robust['ci_low'])}"
        same = (own["ci_high"] < 0) == (robust["ci_high"] < 0)
        verdict = "says the same" if same else "says otherwise, so that the answer depends on it"
        parts.append(f"{level_label(level)}, {limits}, which {verdict}")
    return (
        f"With cluster-robust (CR2) standard errors the interval of −a4 is: {'; '.join(parts)}."
        if parts
        else ""
    )


def cautions(levels: Sequence[str]) -> tuple[str, ...]:
    """Say what not to conclude."""
    within = (
        "Within clients both ratings are deviations from the client's own average in that rater's eyes. Agreement "
        "means that the two change together, not that they give the same number.",
    )
    return (
        *(within if WITHIN_CLIENT in levels else ()),
        "That conditions are not violated is no proof that they hold: an interval that includes the wanted value "
        "includes others. Conversely, each of them is missed by chance in one study of twenty, so that a congruence "
        "effect that exists fails some condition more often than that.",
        "“Not shown” is not “absent”: curvature takes more clients and sessions to see than a slope does, above all "
        "where the raters seldom differ.",
        "A congruence effect says nothing about which of the raters should be higher where they differ, nor that "
        "bringing them to agree would help: severity, its course and the ease of agreeing may have a common cause.",
        "Unreliable ratings flatten squares and products more than slopes, so that the surface of true ratings is "
        "usually more curved.",
    )
