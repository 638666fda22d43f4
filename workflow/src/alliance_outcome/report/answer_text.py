"""What stands with the headline: other accounts of its uncertainty, and what to know beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance_outcome.report.estimate_tables import row_decimals
from alliance_outcome.report.formatting import is_absent, join_words, lower_first, number, probability
from alliance_outcome.report.labels import (
    engine_label,
    model_label,
    name_terms,
    rater_label,
    split_model_name,
    stage_label,
)
from alliance_outcome.report.robustness import READINGS, reading
from alliance_outcome.report.robustness_text import interval_words
from alliance_outcome.report.selection import (
    autoregressive,
    cluster_robust,
    clusters_of,
    first_row,
    sd_uncertain_row,
)

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


def further_accounts(contrast: pd.DataFrame, answer: Mapping[str, Any], rope: float | None = None) -> str:
    """Say what other ways of computing the uncertainty of D give, and whether the claim depends on the choice.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.
    answer : mapping
        ``answer.json``.
    rope : float or None
        Region of practical equivalence.

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
    own = reading(answer, rope)
    told = [_told(row, text, own, rope) for row, text in accounts]
    if all(reading(row, rope) == own for row, _ in accounts):
        verdict = f"All of them agree with the interval above, which {READINGS[own]}."
    else:
        verdict = (
            f"Not all of them agree with the interval above, which {READINGS[own]}: the answer depends on how its "
            "uncertainty is computed."
        )
    return f"Other accounts of D and its uncertainty: {'; '.join(told)}. {verdict}"


def _told(row: pd.Series, text: str, own: str, rope: float | None) -> str:
    """Write one account; say how it reads where that differs from the answer's own interval."""
    found = reading(row, rope)
    return text if found == own else f"{text}, which {READINGS[found]}"


def _accounts(contrast: pd.DataFrame, answer: Mapping[str, Any]) -> list[tuple[pd.Series, str]]:
    """List the other rows of the headline's D with what is said of them."""
    same = contrast[
        (contrast["level"] == answer["level"])
        & (contrast["model"] == answer["model"])
        & (contrast["estimand"] == "unique")
        & (contrast["status"] == "ok")
    ]
    found = []
    robust = first_row(same[cluster_robust(same)], term="difference")
    if robust is not None:
        found.append((robust, f"cluster-robust ({robust['se_kind']}), {interval_words(robust)}"))
    uncertain = sd_uncertain_row(contrast, answer["level"], answer["model"])
    if uncertain is not None:
        redrawn = uncertain["quantity_kind"] == "bootstrap"
        way = f"a bootstrap of {clusters_of(uncertain)}s" if redrawn else "an interval"
        words = f"{way} that counts the standard deviations as estimated too"
        found.append((uncertain, f"{words}, {interval_words(uncertain)}"))
    ar1 = first_row(same[autoregressive(same)], term="difference")
    if ar1 is not None:
        estimate = number(ar1["estimate"], row_decimals(ar1))
        found.append((ar1, f"with AR(1) residuals, D = {estimate}, {interval_words(ar1)}"))
    other = first_row(same[same["quantity_kind"] == "mcmc"], term="difference")
    if other is not None:
        below = probability(other["prob_direction"])
        known = "" if is_absent(other["prob_direction"]) else f" (probability that D is below zero {below})"
        found.append((other, f"{engine_label(other['engine'])}, {interval_words(other)}{known}"))
    return found


def notices(answer: Mapping[str, Any], *found: str) -> tuple[str, ...]:
    """List what a reader must know beside the answer; `found` is what the report itself found, empty texts left out."""
    first = (_NOT_ESTABLISHED,) if answer["status"] == "not_established" else ()
    return (*first, *(text for text in found if text), *answer.get("notes", ()))


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
            "REML, maximum likelihood and Bayesian",
            "Ways to estimate a model: restricted maximum likelihood (REML) for multilevel models, full-information "
            "maximum likelihood for panel models, and the posterior distribution that follows from priors and data.",
        ),
        (
            "Cluster-robust (CR1, CR2)",
            "Standard errors from how much whole clusters (therapists, or clients in two-level models) deviate from "
            "the model, corrected for their small number (CR1 less well than CR2). They do not rest on what "
            "the model assumes about residuals and random effects, and need many clusters.",
        ),
        (
            "SDs estimated",
            "D has its standard deviations held fixed. In this row they count as estimated: clusters are drawn again "
            "and again (a bootstrap), and models and standard deviations are computed anew in each sample; in panel "
            "models standard deviations are parameters, whose uncertainty is known.",
        ),
        (
            "AR(1) residuals",
            "A model in which what one session leaves unexplained may carry over to the next.",
        ),
        (
            "Role",
            "Fixed before the data. A primary row is the planned estimate at its level, a comparator what the field "
            "usually reports; secondary rows look at the same quantity in another way, and sensitivity rows repeat one "
            "under other assumptions.",
        ),
    )


def dagger_note(flagged: list[str]) -> tuple[str, ...]:
    """Explain the mark on rows of models that failed a check."""
    return (
        (f"† A convergence check failed ({'; '.join(dict.fromkeys(flagged))}); see Diagnostics.",)
        if flagged
        else ()
    )
