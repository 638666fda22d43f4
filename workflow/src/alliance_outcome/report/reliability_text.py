"""What the reliability of the ratings means for the contrast, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.formatting import join_words, number, sentence_case
from alliance_outcome.report.labels import rater_label

#: Scale of a rating as a whole, beside its parts.
WHOLE = "total"
#: Reliabilities within clients that differ by this much are called unequal.
UNEQUAL = 0.05

INTRODUCTION = (
    "An unreliable rating cannot predict much, whoever gives it. What counts for the session-to-session contrast is "
    "the reliability within a client: of how a session differs from the client's usual. It is lower than that of a "
    "single form (ω of a session), which is mostly about differences between clients."
)


def comparison(table: pd.DataFrame, raters: Sequence[str]) -> str:
    """Say whether the raters are measured equally well within clients.

    Parameters
    ----------
    table : DataFrame
        ``reliability.csv``.
    raters : sequence of str

    Returns
    -------
    str
        Empty where it is not known of two raters.
    """
    own = table[(table["term"] == "omega_within_client") & (table["status"] == "ok")].set_index("rater")[
        "estimate"
    ]
    known = [rater for rater in raters if rater in own.index]
    if len(known) < 2:
        return ""
    said = join_words([f"{number(own[rater])} for the {rater_label(rater)}" for rater in known])
    low, high = own[known].idxmin(), own[known].idxmax()
    if own[high] - own[low] < UNEQUAL:
        return f"Within clients ω is {said}: the raters are measured about equally well."
    return (
        f"Within clients ω is {said}. The {rater_label(low)}'s ratings are less reliable, which by itself makes their "
        "coefficient smaller; the report's models with known reliability say what is left of the contrast without that."
    )


def refusals(table: pd.DataFrame) -> str:
    """Say for whom there is no reliability, and why."""
    refused = table[(table["status"] == "refused") & (table["term"] == "omega")]
    return " ".join(
        f"{sentence_case(rater_label(row['rater']))}: no reliability, because {row['reason']}."
        for _, row in refused.iterrows()
    )
