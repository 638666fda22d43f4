"""How client and therapist see the same alliance, in words."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from alliance_outcome.analyses.perception_names import (
    BIAS,
    BIAS_CHANGE,
    RECIPROCITIES,
    SHARE,
    TRACKING,
    TRUTH_AND_BIAS,
)
from alliance_outcome.report.formatting import (
    estimate_with_interval,
    interval,
    is_absent,
    join_words,
    number,
    sentence_case,
    share,
)
from alliance_outcome.report.labels import rater_label
from alliance_outcome.report.references import cite

INTRODUCTION = (
    "Client and therapist rate the same sessions. Two models ask how far they see the same. The first splits each "
    "rater's ratings into what belongs to the therapist, to the client and the relationship, and to the session, and "
    "correlates the raters part by part (one-with-many design; Marcus, Kashy & Baldwin, 2009). The second takes one "
    f"rater's view as a judgement of the other's {cite('west_kenny')}: directional bias says how much higher or lower "
    "the judge rates, tracking how much the judge moves when the other does."
)

#: What not to conclude.
WARNINGS = (
    "Truth is the name of a yardstick, not a verdict: a therapist who does not track the client's rating may see "
    "something that the client does not, and the reverse.",
    "A client has one therapist, so what is particular to the client cannot be told from what is particular to the "
    "relationship. Dyadic reciprocity may come from clients who are easy to like as well as from relationships that "
    "both feel.",
    "A variance between therapists in what clients say is not the therapists' doing unless clients came to them by "
    "chance. Nothing here is about any single therapist.",
    "The part of the session contains measurement error, which pulls tracking within clients and the correlation of "
    "sessions towards zero; a trend over sessions that the raters share pulls the correlation up.",
    "Tracking between clients and therapists rests on means of the ratings there are, which are pulled towards the "
    "level below where clients have few sessions. The correlations of the first model are not.",
    "Change of bias is at the same rating of the other, not the change of a difference: where both ratings rise over "
    "sessions and tracking is below one, both judges may show a rise.",
    "Sessions that are missing because of how the alliance stood that day bias both models.",
)

#: Parts of a rater's variance in front of readers.
COMPONENT_LABELS = {
    "session": "Session",
    "client_and_relationship": "Client + relationship",
    "client_relationship_and_therapist": "Client + relationship + therapist",
    "therapist": "Therapist",
}
RECIPROCITY_LABELS = {
    "session_correlation": "Correlation of sessions",
    "dyadic_reciprocity": "Dyadic reciprocity",
    "pooled_reciprocity": "Dyadic reciprocity, therapists pooled",
    "generalised_reciprocity": "Generalised reciprocity",
}
RECIPROCITY_MEANINGS = {
    "session_correlation": "a session that one rates above the client's usual, the other rates above it too",
    "dyadic_reciprocity": "a client with whom one reports a better alliance than the therapist's others have, the "
    "other reports better too",
    "pooled_reciprocity": "a client with whom one reports a better alliance, the other reports better too",
    "generalised_reciprocity": "a therapist who reports better alliances with all clients is one whose clients report "
    "better ones",
}
_WHERE = {
    "session": "between sessions of a client",
    "client_and_relationship": "between clients of one therapist (client and relationship together)",
    "client_relationship_and_therapist": "between clients (client, relationship and therapist together)",
    "therapist": "between therapists",
}


def component_meaning(component: str, rater: str) -> str:
    """Say what a part of a rater's variance is about."""
    if component == "session":
        return "change from session to session, with error"
    if component != "therapist":
        return "what sets a client with the relationship apart"
    if rater == "client":
        return "therapist as partner: what clients of one therapist agree on"
    if rater == "therapist":
        return "therapist as perceiver: how a therapist sees all clients"
    return "what ratings of one therapist's clients share"


def split_sentences(table: pd.DataFrame) -> Iterator[str]:
    """Say how each rater's variance is split.

    Parameters
    ----------
    table : DataFrame
        ``one_with_many.csv``.

    Yields
    ------
    str
        A sentence for each rater beside each other rater.
    """
    shares = table[table["term"].str.startswith(SHARE, na=False)]
    for (rater, other), rows in shares.groupby(["rater", "rater_b"], sort=False):
        parts = [_share_words(row) for _, row in rows.iloc[::-1].iterrows()]
        beside = f", beside the {rater_label(other)}'s" if _several(table) else ""
        yield f"Of the variance in the {rater_label(rater)}'s ratings{beside}, {join_words(parts)}."


def _several(table: pd.DataFrame) -> bool:
    """Say whether there are several pairs of raters."""
    return len({frozenset(pair) for pair in table[["rater", "rater_b"]].dropna().to_numpy()}) > 1


def _share_words(row: pd.Series) -> str:
    where = _WHERE[row["term"].removeprefix(SHARE)]
    if row["status"] == "ok":
        limits = interval(100.0 * row["ci_low"], 100.0 * row["ci_high"], 0)
        return f"{share(row['estimate'])} {limits} lies {where}"
    return f"the part {where} is not established ({row['reason']})"


def reciprocity_sentences(table: pd.DataFrame) -> Iterator[str]:
    """Say which of the raters' parts go together.

    Parameters
    ----------
    table : DataFrame
        ``one_with_many.csv``.

    Yields
    ------
    str
        A sentence for each correlation: what it shows, that it shows nothing, or why it is not established.
    """
    for _, row in table[table["term"].isin(RECIPROCITIES.values()) & table["level"].notna()].iterrows():
        name = RECIPROCITY_LABELS[row["term"]]
        if _several(table):
            name = f"{name}, {rater_label(row['rater'])} with {rater_label(row['rater_b'])}"
        if row["status"] != "ok":
            yield f"{name} is not established: {row['reason']}."
            continue
        numbers = estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"])
        meaning = RECIPROCITY_MEANINGS[row["term"]]
        if row["ci_low"] > 0.0:
            yield f"{name} is {numbers}: {meaning}, as a tendency."
        elif row["ci_high"] < 0.0:
            yield f"{name} is {numbers}, below zero: the opposite of “{meaning}”."
        else:
            yield f"{name} is {numbers}: the data do not say whether {meaning}."


def judgement_sentences(table: pd.DataFrame) -> Iterator[str]:
    """Say how each judge is biased and tracks the other.

    Parameters
    ----------
    table : DataFrame
        ``truth_and_bias.csv``.

    Yields
    ------
    str
        A paragraph for each judge of whom something is established.
    """
    own = table[table["model"] == TRUTH_AND_BIAS]
    for (judge, truth), rows in own.groupby(["rater", "rater_b"], sort=False):
        known = rows[rows["status"] == "ok"]
        parts = [*_bias_words(known, judge, truth), *_tracking_words(known, judge, truth)]
        if parts:
            yield " ".join(parts)


def _one(rows: pd.DataFrame, term: str, level: str | None = None) -> pd.Series | None:
    found = rows[rows["term"] == term]
    found = found if level is None else found[found["level"] == level]
    return None if found.empty else found.iloc[0]


def _bias_words(rows: pd.DataFrame, judge: str, truth: str) -> Iterator[str]:
    """Say how much higher or lower a judge rates, and how that changes."""
    bias, change = _one(rows, BIAS), _one(rows, BIAS_CHANGE)
    if bias is None:
        return
    named = sentence_case(rater_label(judge))
    if bias["ci_low"] <= 0.0 <= bias["ci_high"]:
        numbers = estimate_with_interval(bias["estimate"], bias["ci_low"], bias["ci_high"])
        yield f"{named}s as judges: no directional bias is shown, {numbers} {bias['unit']}."
    else:
        limits = sorted((abs(bias["ci_low"]), abs(bias["ci_high"])))
        side = "higher" if bias["estimate"] > 0.0 else "lower"
        yield (
            f"{named}s rate {number(abs(bias['estimate']))} {interval(*limits)} {bias['unit']} {side} than "
            f"{rater_label(truth)}s where those are at their mean, at the mean session number."
        )
    if change is not None and not change["ci_low"] <= 0.0 <= change["ci_high"]:
        moves = "up" if change["estimate"] > 0.0 else "down"
        limits = sorted((abs(change["ci_low"]), abs(change["ci_high"])))
        size = f"{number(abs(change['estimate']), 3)} {interval(*limits, 3)}"
        named = rater_label(judge)
        yield f"With each session the {named}'s rating goes {moves} by {size} at the same rating of the other."


def _tracking_words(rows: pd.DataFrame, judge: str, truth: str) -> Iterator[str]:
    """Say how closely a judge follows the other from session to session."""
    tracked = _one(rows, TRACKING, "within_client")
    if tracked is None:
        tracked = _one(rows, f"{TRACKING}_standardised", "within_client")
    if tracked is None or is_absent(tracked["ci_low"]):
        return
    numbers = estimate_with_interval(tracked["estimate"], tracked["ci_low"], tracked["ci_high"])
    if tracked["ci_low"] <= 0.0 <= tracked["ci_high"]:
        yield f"That {rater_label(judge)}s track {rater_label(truth)}s from session to session is not shown: {numbers}."
        return
    unit = "point" if tracked["term"] == TRACKING else "standard deviation within clients"
    yield (
        f"Where a {rater_label(truth)} rates a session one {unit} above that client's usual, the "
        f"{rater_label(judge)} rates it {numbers} {unit}s above it (tracking within clients)."
    )


def refusals(*tables: pd.DataFrame) -> list[str]:
    """Say what could not be fitted at all, and why."""
    found = []
    for table in tables:
        rows = table[(table["status"] == "refused") & table["term"].isna()]
        found += [str(reason) for reason in rows["reason"]]
    return [f"{sentence_case(reason)}." for reason in dict.fromkeys(found)]
