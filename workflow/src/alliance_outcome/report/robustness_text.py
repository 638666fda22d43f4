"""What the report says of tests under other assumptions about the residuals, beside the answer and among its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.report.estimate_tables import row_decimals, shared_decimals
from alliance_outcome.report.formatting import count, join_words, lower_first, number
from alliance_outcome.report.labels import model_label, name_slots, name_terms, split_model_name
from alliance_outcome.report.robustness import READINGS, Comparison, is_difference, reading


def interval_words(row: pd.Series) -> str:
    """Write an interval in words, for example ``−0.73 to −0.05``."""
    decimals = row_decimals(row)
    return f"{number(row['ci_low'], decimals)} to {number(row['ci_high'], decimals)}"


def robust_notice(comparisons: Sequence[Comparison], answer: Mapping[str, Any]) -> str:
    """Say that the answer, or a coefficient beside it, reads differently with cluster-robust standard errors.

    Parameters
    ----------
    comparisons : sequence of Comparison
        From :func:`~alliance_outcome.report.robustness.robust_comparisons`.
    answer : mapping
        ``answer.json``.

    Returns
    -------
    str
        A paragraph; empty where nothing at the answer's level and model changes, or where there is no answer.
    """
    if answer["status"] != "ok":
        return ""
    here = [each for each in comparisons if _is_of_answer(each, answer) and each.changes]
    differences = [each for each in here if is_difference(each.own)]
    coefficients = [_changed(each) for each in here if not is_difference(each.own)]
    sentences = [
        f"Cluster-robust standard errors ({each.other['se_kind']}) change how {each.name} reads: the interval then "
        f"{READINGS[reading(each.other, each.rope)]}, while the model's own {READINGS[reading(each.own, each.rope)]}. "
        "The answer follows the model's own, as planned, and rests on what the model assumes about residuals and "
        "random effects."
        for each in differences
    ]
    if coefficients:
        start = "They also" if differences else "Cluster-robust standard errors (CR2)"
        sentences.append(f"{start} change how these coefficients read: {join_words(coefficients)}.")
    return " ".join(sentences)


def _is_of_answer(comparison: Comparison, answer: Mapping[str, Any]) -> bool:
    own = comparison.own
    return own["model"] == answer["model"] and own["level"] == answer["level"]


def _changed(comparison: Comparison) -> str:
    """Say which interval becomes which."""
    return f"{comparison.name} ({interval_words(comparison.own)} becomes {interval_words(comparison.other)})"


def robust_limit(comparisons: Sequence[Comparison]) -> tuple[str, str] | None:
    """Say which quantities read differently with cluster-robust standard errors; None where none does."""
    compared = [each for each in comparisons if each.comparable]
    changed = [each for each in compared if each.changes]
    if not changed:
        return None
    by_model: dict[str, list[str]] = {}
    for each in changed:
        by_model.setdefault(model_label(each.own["model"]), []).append(_changed(each))
    listed = "; ".join(f"{lower_first(model)}: {join_words(names)}" for model, names in by_model.items())
    verb = "reads" if len(changed) == 1 else "read"
    return (
        "Cluster-robust check",
        f"Of {count(len(compared))} contrasts and coefficients of the models with all raters, "
        f"{count(len(changed))} {verb} differently with cluster-robust standard errors, which do not rest on "
        f"what the model assumes about residuals and random effects: {listed}. With few clusters these intervals are "
        "uncertain themselves, and a change may mean no more than that.",
    )


def autoregressive_paragraph(
    comparisons: Sequence[Comparison], checks: pd.DataFrame, answer: Mapping[str, Any], lag_unit: str
) -> str:
    """Say what the model behind the answer becomes when residuals may correlate from session to session.

    Parameters
    ----------
    comparisons : sequence of Comparison
        From :func:`~alliance_outcome.report.robustness.autoregressive_comparisons`.
    checks : DataFrame
        Checks of all stages.
    answer : mapping
        ``answer.json``.
    lag_unit : str
        Unit in which the study counts lags.

    Returns
    -------
    str
        The test of independent residuals, and what becomes of D; empty where neither is known.
    """
    sentences = []
    statement = autocorrelation_statement(checks, answer.get("model"))
    if statement:
        sentences.append(f"In the model behind the answer, {name_slots(lower_first(statement), lag_unit)}.")
    sentences += [
        _autoregressive_sentence(each)
        for each in comparisons
        if _is_of_answer(each, answer) and each.comparable
    ]
    return " ".join(sentences)


def _autoregressive_sentence(comparison: Comparison) -> str:
    """Say what becomes of D."""
    own, other = comparison.own, comparison.other
    decimals = shared_decimals(pd.DataFrame([own, other]))
    verdict = (
        f"its interval {READINGS[reading(own, comparison.rope)]} with the former and "
        f"{READINGS[reading(other, comparison.rope)]} with the latter"
        if comparison.changes
        else f"with either its interval {READINGS[reading(own, comparison.rope)]}"
    )
    return (
        f"{comparison.name} is {number(own['estimate'], decimals)} ({interval_words(own)}) with independent and "
        f"{number(other['estimate'], decimals)} ({interval_words(other)}) with AR(1) residuals; {verdict}."
    )


def autocorrelation_statement(checks: pd.DataFrame, model: str | None) -> str:
    """Return what the check on autocorrelated residuals of a joint model found; empty without such a check."""
    rows = checks[(checks["name"] == f"autocorrelation.{model}.joint") & checks["passed"].notna()]
    if rows.empty:
        return ""
    text = rows.iloc[0]["text"]
    named = split_model_name(text)
    return name_terms(text if named is None else named[2])


def autocorrelation_limit(
    comparisons: Sequence[Comparison], checks: pd.DataFrame, answer: Mapping[str, Any], lag_unit: str
) -> tuple[str, str] | None:
    """Say that the model behind the answer takes residuals for independent that are not, where a check found so."""
    if not _residuals_correlate(checks, answer):
        return None
    return (
        "Residuals that follow one another",
        f"{autoregressive_paragraph(comparisons, checks, answer, lag_unit)} The model behind the answer takes them for "
        "independent, as planned.",
    )


def autocorrelation_notice(
    comparisons: Sequence[Comparison], checks: pd.DataFrame, answer: Mapping[str, Any]
) -> str:
    """Say beside the answer that its model takes residuals for independent that are not, and what becomes of D."""
    if answer["status"] != "ok" or not _residuals_correlate(checks, answer):
        return ""
    start = "A check rejects what the model assumes: that residuals are independent from session to session."
    found = [
        f"With AR(1) residuals the interval of {each.name} {'' if each.changes else 'still '}"
        f"{READINGS[reading(each.other, each.rope)]}."
        for each in comparisons
        if _is_of_answer(each, answer) and each.comparable
    ]
    return " ".join([start, *found])


def _residuals_correlate(checks: pd.DataFrame, answer: Mapping[str, Any]) -> bool:
    """Say whether the check on autocorrelated residuals failed for the model behind the answer."""
    rows = checks[checks["name"] == f"autocorrelation.{answer.get('model')}.joint"]
    return len(rows) > 0 and str(rows.iloc[0]["passed"]).lower() == "false"
