"""What limits the answer, as sentences that follow from the study's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.report.formatting import count, is_absent, join_words, number
from alliance_outcome.report.labels import rater_label
from alliance_outcome.report.references import cite

#: Sessions per client that a reliability of .90 of client means needs (Crits-Christoph et al. 2011).
SESSIONS_FOR_RELIABLE_MEANS = 4

#: With fewer therapists a warning says that the coverage of intervals between therapists is not established.
THERAPISTS_FOR_COVERAGE = 15

Limit = tuple[str, str]


def hybrid_limit(level: str | None, model: str | None) -> Limit | None:
    """Say that the headline rests on the hybrid comparator, where it does."""
    if level != "within_client" or not str(model).startswith("hybrid"):
        return None
    return (
        "The headline rests on the hybrid comparator",
        "The study file asks for it. Its within-client coefficient is biased in short series and where clients differ "
        "in their trends; panel models, which separate a client's level and trend from session-to-session change "
        f"{cite('hamaker')}, stand beside it.",
    )


def shared_rater_limit(outcome_rater: str, raters: Sequence[str]) -> Limit | None:
    """Warn when one alliance rater also rates the outcome.

    Parameters
    ----------
    outcome_rater : str
        Who rates the outcome.
    raters : sequence of str
        Who rates the alliance.

    Returns
    -------
    tuple of str or None
        Title and text.
    """
    if outcome_rater not in raters:
        return None
    who = rater_label(outcome_rater)
    concerned = "D is" if len(raters) > 1 else "their association is"
    return (
        "Alliance and outcome share a rater",
        f"The {who} rates both alliance and severity, so {who}-rated alliance and {who}-rated severity have a rater "
        f"in common: {concerned} confounded with common method variance unless another rater's outcome is modelled "
        f"too {cite('zilcha_mano')}.",
    )


def timing_limits(warnings: Sequence[str]) -> list[Limit]:
    """Pass on what the design found about timing."""
    return [("Timing", warning) for warning in warnings]


def therapist_limit(n_therapists: int | None, minimum: int) -> Limit:
    """Say what the number of therapists allows."""
    if n_therapists is None:
        return (
            "No therapist identifiers",
            "Differences between therapists are mixed into differences between clients, and standard errors treat "
            "clients of one therapist as unrelated.",
        )
    few = n_therapists < minimum
    consequence = (
        f"fewer than the {count(minimum)} that a claim needs, so nothing is claimed between therapists"
        if few
        else "so between-therapist coefficients and three-level standard errors rest on that many units"
    )
    return (
        "Number of therapists",
        f"The study has {count(n_therapists)} therapists, {consequence} {cite('falkenstroem')}.",
    )


def means_limit(sample: Mapping[str, float], early_sessions: int) -> Limit:
    """Say how reliable the means behind the between coefficients can be."""
    median = sample.get("sessions_per_client_median")
    known = (
        ""
        if is_absent(median)
        else f" The median client here has {number(median, 0 if median % 1 == 0 else 1)} sessions."
    )
    return (
        "Means of few sessions",
        "Averages over sessions stand for a client, and averages over clients for a therapist. Being noisy, they "
        f"pull a between coefficient towards the effect one level below; about {SESSIONS_FOR_RELIABLE_MEANS} or "
        f"more sessions per client are needed for a reliability of .90 {cite('crits_christoph')}.{known} The "
        f"early-alliance means rest on at most {count(early_sessions)} sessions.",
    )


def concurrent_limit(models: pd.DataFrame) -> Limit | None:
    """Say what between coefficients of session-level models are, where there are any."""
    between = models["level"].fillna("").str.startswith("between") & models["model"].fillna(
        ""
    ).str.startswith("hybrid")
    if not between.any():
        return None
    return (
        "Concurrent differences",
        "Between coefficients of the session-to-session models are concurrent differences over the whole of therapy: "
        "their means include sessions that came after the severity in question. Only the early-alliance model puts "
        "alliance before outcome at those levels.",
    )


def few_therapists_limit(n_therapists: int | None) -> Limit | None:
    """Say that intervals between therapists are not known to keep their level with few therapists."""
    if n_therapists is None or n_therapists >= THERAPISTS_FOR_COVERAGE:
        return None
    return (
        "Intervals between therapists",
        f"With {count(n_therapists)} therapists it is not established that intervals of between-therapist coefficients "
        "and of D at that level hold the truth as often as their level says, whatever the method: few units carry "
        "them, and the variance between those units is hardly known. Small-sample degrees of freedom widen the "
        "intervals but cannot make up for that. Read them as rough.",
    )


def commensurate_limit(commensurate: bool, raters: Sequence[str]) -> Limit | None:
    """Say what different forms rule out."""
    if commensurate or len(raters) < 2:
        return None
    return (
        "Different forms",
        "The raters' scores do not share form, range and scoring. Mean differences and contrasts in raw points are "
        "not applicable; correlations and contrasts in standard deviations remain.",
    )


def scoring_limits(measures: pd.DataFrame, announcements: pd.DataFrame) -> list[Limit]:
    """List scoring keys that nobody could verify in a source."""
    unverified = measures.loc[measures["verified"].astype(str).str.lower() == "false", "title"]
    listed = list(dict.fromkeys(unverified))
    texts = announcements.loc[announcements["kind"] == "unverified_key", "text"].dropna()
    if not listed and texts.empty:
        return []
    named = f"For {join_words(listed)} the" if listed else "The"
    return [
        (
            "Unverified scoring keys",
            f"{named} scoring could not be verified in a source. {' '.join(texts)}".strip(),
        )
    ]


def standing_limits(n_raters: int) -> list[Limit]:
    """Return the limits of every study of this design."""
    limits = [
        (
            "Not an experiment",
            "Nobody assigned the alliance. Whatever changes both alliance and severity, and is not in the model, is "
            "part of every coefficient.",
        ),
        (
            "Missing ratings",
            "Models use the rows that are complete for all raters, but for that of measurement error and missing "
            "ratings, which uses all. Their results hold if, given what is in the model, missing ratings do not depend "
            "on their own values.",
        ),
    ]
    if n_raters > 1:
        limits.append(
            (
                "Comparing significance is not comparing raters",
                "That one rater's coefficient is significant and the other's is not says nothing about their "
                "difference; only the interval of D does.",
            )
        )
    return limits


def all_limits(
    answer: Mapping[str, Any],
    design: AnalysisContext,
    sample: Mapping[str, float],
    models: pd.DataFrame,
    measures: pd.DataFrame,
    announcements: pd.DataFrame,
    n_therapists: int | None,
    minimum: int,
    early_sessions: int,
    residual_limits: Sequence[Limit | None] = (),
) -> list[Limit]:
    """Collect every limit that applies, the gravest first.

    Parameters
    ----------
    answer : mapping
        ``answer.json``.
    design : AnalysisContext
        ``design.json``.
    sample : mapping
        ``sample.csv`` as quantity → value.
    models, measures, announcements : DataFrame
        Model coefficients, ``measures.csv`` and ``announcements.csv``.
    n_therapists : int or None
        Number of therapists.
    minimum : int
        Therapists that a claim needs.
    early_sessions : int
        Sessions behind the early-alliance means.
    residual_limits : sequence of tuple of str or None
        What follows from holding the models against other assumptions about the residuals.

    Returns
    -------
    list of tuple of str
        Title and text of each limit.
    """
    raters = design.raters
    limits = [
        hybrid_limit(answer.get("level"), answer.get("model")),
        shared_rater_limit(design.outcome_rater, raters),
        *timing_limits(design.warnings),
        *residual_limits,
        therapist_limit(n_therapists, minimum),
        few_therapists_limit(n_therapists),
        means_limit(sample, early_sessions),
        concurrent_limit(models),
        commensurate_limit(design.commensurate, raters),
        *scoring_limits(measures, announcements),
        *standing_limits(len(raters)),
    ]
    return [limit for limit in limits if limit is not None]
