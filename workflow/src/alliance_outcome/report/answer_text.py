"""What stands with the headline: other accounts of its uncertainty, and what to know beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance_outcome.report.estimate_tables import shared_decimals
from alliance_outcome.report.formatting import is_absent, join_words, lower_first, number, probability
from alliance_outcome.report.labels import (
    engine_label,
    model_label,
    name_terms,
    rater_label,
    split_model_name,
    stage_label,
)
from alliance_outcome.report.selection import first_row, sd_uncertain_row

_NOT_ESTABLISHED = (
    "The numbers below are those of models of which one did not pass its checks. They are shown so that it can be "
    "mended, and are not an answer."
)


def uncertainty(answer: Mapping[str, Any], checks: pd.DataFrame) -> str:
    """Say how sure the answer is; without one, which checks of its model failed.

    Parameters
    ----------
    answer : mapping
        ``answer.json``.
    checks : DataFrame
        Checks of all stages.

    Returns
    -------
    str
        A paragraph.
    """
    gate = f"convergence.{answer['model']}.joint"
    failed = checks[checks["name"].fillna("").str.startswith(gate)]
    failed = failed[failed["passed"].fillna("").str.lower() == "false"]
    if answer["status"] != "not_established" or failed.empty:
        return name_terms(answer["uncertainty"])
    found = [f"{_statement(row.text)} ({stage_label(row.stage)})" for row in failed.itertuples()]
    model = lower_first(model_label(answer["model"]))
    return f"The model behind the answer ({model}) did not pass its checks: {join_words(found)}."


def _statement(text: str) -> str:
    """Return what a check found, without the model that it names."""
    named = split_model_name(text)
    return name_terms(text if named is None else named[2])


def further_accounts(contrast: pd.DataFrame, answer: Mapping[str, Any]) -> str:
    """Say what other ways of computing the uncertainty of D give, and whether the claim depends on the choice.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.
    answer : mapping
        ``answer.json``.

    Returns
    -------
    str
        A paragraph; empty without an answer or without another account.
    """
    if answer["status"] != "ok":
        return ""
    accounts = _accounts(contrast, answer)
    if not accounts:
        return ""
    own = _excludes_zero(answer)
    agree = [_excludes_zero(row) == own for row, _ in accounts]
    known = "excludes" if own else "includes"
    if all(agree):
        verdict = f"All of them agree with the interval above, which {known} zero."
    else:
        verdict = (
            f"Not all of them agree with the interval above, which {known} zero: the answer depends on how its "
            "uncertainty is computed."
        )
    return f"Other accounts of the uncertainty of D: {'; '.join(text for _, text in accounts)}. {verdict}"


def _accounts(contrast: pd.DataFrame, answer: Mapping[str, Any]) -> list[tuple[pd.Series, str]]:
    """List the other rows of the headline's D with what is said of them."""
    level, model = answer["level"], answer["model"]
    found = []
    robust = sd_uncertain_row(contrast, level, model)
    if robust is not None:
        words = "cluster-robust, with the standard deviations counted as estimated"
        found.append((robust, f"{words}, {_range(robust)}"))
    same = contrast[
        (contrast["level"] == level) & (contrast["model"] == model) & (contrast["status"] == "ok")
    ]
    other = first_row(same[same["quantity_kind"] == "mcmc"], term="difference")
    if other is not None:
        below = probability(other["prob_direction"])
        known = "" if is_absent(other["prob_direction"]) else f" (probability that D is below zero {below})"
        found.append((other, f"{engine_label(other['engine'])}, {_range(other)}{known}"))
    return found


def _range(row: pd.Series) -> str:
    """Write an interval in words."""
    decimals = shared_decimals(row.to_frame().T)
    return f"{number(row['ci_low'], decimals)} to {number(row['ci_high'], decimals)}"


def _excludes_zero(row: Mapping[str, Any]) -> bool:
    """Say whether an interval lies on one side of zero."""
    return row["ci_low"] > 0 or row["ci_high"] < 0


def notices(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """List what a reader must know beside the answer."""
    first = (_NOT_ESTABLISHED,) if answer["status"] == "not_established" else ()
    return (*first, *answer.get("notes", ()))


def glossary(raters: list[str]) -> tuple[tuple[str, str], ...]:
    """Define the terms that the answer uses, for the raters of the study."""
    first, second = (rater_label(rater) for rater in raters[:2])
    return (
        (
            "D",
            f"The {first}'s coefficient times the standard deviation (SD) of the {first}'s ratings at that level, "
            f"minus the same for the {second}. Below zero: more improvement goes with the {first}'s view.",
        ),
        (
            "REML and Bayesian",
            "Two ways to estimate the same model: restricted maximum likelihood, and the posterior distribution that "
            "follows from priors and data.",
        ),
        (
            "Cluster-robust",
            "Standard errors from leaving out one cluster (therapist, or client where there are no therapists) at a "
            "time. They do not rest on the model's assumptions about the residuals.",
        ),
        (
            "Role",
            "Fixed before the data. A primary row is the planned estimate at its level, a comparator what the field "
            "usually reports; secondary rows look at the same quantity in another way.",
        ),
    )


def dagger_note(flagged: list[str]) -> tuple[str, ...]:
    """Explain the mark on rows of models that failed a check."""
    return (
        (f"† A convergence check failed ({'; '.join(dict.fromkeys(flagged))}); see Diagnostics.",)
        if flagged
        else ()
    )
