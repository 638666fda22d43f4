"""Do client and therapist see the same alliance?"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.perception_names import (
    BIAS,
    BIAS_BY_SEVERITY,
    BIAS_CHANGE,
    COMPONENTS,
    DEVIATION,
    MEAN_DIFFERENCE,
    RECIPROCITIES,
    SHARE,
    STANDARDISED_TRACKING,
    TRACKING,
    TRACKING_BY_SEVERITY,
    TRACKING_CHANGE,
    TRACKING_SPREAD,
)
from alliance_outcome.report.blocks import Block, Bullets, FigureBlock, Heading, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import interval_heading, status_words
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    degrees_of_freedom,
    interval,
    number,
    p_value,
    sentence_case,
    share,
)
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.perception_text import (
    COMPONENT_LABELS,
    INTRODUCTION,
    RECIPROCITY_LABELS,
    WARNINGS,
    component_meaning,
    judgement_sentences,
    reciprocity_sentences,
    refusals,
    split_sentences,
)
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

_TITLE = "Seeing the same alliance"
_TERMS = {
    BIAS: "Directional bias",
    BIAS_CHANGE: "Change of bias",
    TRACKING: "Tracking",
    STANDARDISED_TRACKING: "Tracking, standardised",
    TRACKING_CHANGE: "Change of tracking",
    TRACKING_SPREAD: "SD of tracking over clients",
    BIAS_BY_SEVERITY: "Bias by first severity",
    TRACKING_BY_SEVERITY: "Tracking by first severity",
}
#: Terms that are small numbers per unit of a moderator.
_SMALL = (BIAS_CHANGE, TRACKING_CHANGE, BIAS_BY_SEVERITY, TRACKING_BY_SEVERITY)


def build(facts: Facts) -> Section:
    """Build the section; one rater has nobody to see the same with."""
    results = facts.results
    split, judged = results.estimates("one_with_many"), results.estimates("truth_and_bias")
    if len(results.raters) < 2:
        text = f"Alliance is rated by the {rater_label(results.raters[0])} only, so there are no two views to compare."
        return Section("perception", _TITLE, (Text(text),))
    blocks: list[Block] = [
        Text(INTRODUCTION),
        *_bullets([*split_sentences(split), *reciprocity_sentences(split)]),
        *_bullets(list(judgement_sentences(judged))),
        *(Text(text, "note") for text in refusals(split, judged)),
        FigureBlock.of(facts.figures["perception"]),
        *table_blocks([split_table(split), reciprocity_table(split), judgement_table(judged)]),
        Heading("What not to conclude"),
        Bullets(WARNINGS),
    ]
    return Section("perception", _TITLE, tuple(blocks))


def _bullets(sentences: list[str]) -> list[Block]:
    """List sentences, if there are any."""
    return [Bullets(tuple(sentences))] if sentences else []


def split_table(table: pd.DataFrame) -> Table:
    """Tabulate the parts of each rater's variance."""
    shares = table[table["term"].str.startswith(SHARE, na=False)]
    groups: dict[str, list[Cells]] = {}
    for _, row in shares.iterrows():
        component = row["term"].removeprefix(SHARE)
        spread = table[
            (table["term"] == f"{DEVIATION}{component}")
            & (table["rater"] == row["rater"])
            & (table["rater_b"] == row["rater_b"])
        ].iloc[0]
        title = (
            f"{sentence_case(rater_label(row['rater']))}'s ratings (with the {rater_label(row['rater_b'])}'s)"
        )
        known = row["status"] == "ok"
        groups.setdefault(title, []).append(
            (
                COMPONENT_LABELS[component],
                component_meaning(component, row["rater"]),
                "" if known else row["reason"],
                number(spread["estimate"]),
                share(row["estimate"]) if known else status_words(row["status"]),
                interval(100.0 * row["ci_low"], 100.0 * row["ci_high"], 0),
            )
        )
    return make_grouped_table(
        "perception-shares",
        "Where each rater's ratings vary.",
        ("Part", "What it is about", "Reason", "SD", "Share", interval_heading(shares)),
        {title: list(reversed(rows)) for title, rows in groups.items()},
        numeric_from=3,
        notes=(
            "One model of both raters, by restricted maximum likelihood on all sessions that either rated. SD in "
            "points of the rater's form; shares in percent, with profile-likelihood intervals, also where an estimate "
            "is on the boundary.",
        ),
    )


def reciprocity_table(table: pd.DataFrame) -> Table:
    """Tabulate the raters' correlations part by part, and the difference of their means."""
    own = table[table["term"].isin([*RECIPROCITIES.values(), MEAN_DIFFERENCE]) & table["rater_b"].notna()]
    groups: dict[str, list[Cells]] = {}
    for _, row in own.iterrows():
        known, first, second = row["status"] == "ok", rater_label(row["rater"]), rater_label(row["rater_b"])
        difference = row["term"] == MEAN_DIFFERENCE
        name = (
            f"{sentence_case(first)} minus {second}, points"
            if difference
            else RECIPROCITY_LABELS[row["term"]]
        )
        groups.setdefault(f"{sentence_case(first)} and {second}", []).append(
            (
                name,
                "Means over therapists" if difference else sentence_case(level_label(row["level"])),
                "" if known else row["reason"],
                number(row["estimate"]) if known else status_words(row["status"]),
                interval(row["ci_low"], row["ci_high"]),
            )
        )
    return make_grouped_table(
        "perception-reciprocity",
        "What the raters' views have in common, part by part.",
        ("Quantity", "Level", "Reason", "Estimate", interval_heading(own)),
        groups,
        numeric_from=3,
        notes=(
            "Correlations of effects, not of means of ratings: they are not pulled towards zero by few sessions. "
            "Profile-likelihood intervals; one from −1 to 1 says that the data know nothing of the correlation, as "
            "where a rater's ratings need not vary at the level at all.",
        ),
    )


def judgement_table(table: pd.DataFrame) -> Table:
    """Tabulate bias and tracking of each judge."""
    groups: dict[str, list[Cells]] = {}
    for _, row in table[table["term"].isin(_TERMS)].iterrows():
        known, decimals = row["status"] == "ok", 3 if row["term"] in _SMALL else 2
        judge, truth = rater_label(row["rater"]), rater_label(row["rater_b"])
        groups.setdefault(f"The {judge} as judge of the {truth}'s view", []).append(
            (
                _TERMS[row["term"]],
                sentence_case(level_label(row["level"])),
                "" if known else row["reason"],
                row["unit"] if isinstance(row["unit"], str) else "",
                number(row["estimate"], decimals) if known else status_words(row["status"]),
                number(row["std_error"], decimals) if known else ABSENT,
                interval(row["ci_low"], row["ci_high"], decimals),
                degrees_of_freedom(row["df"]) if known else ABSENT,
                p_value(row["p_value"]) if known else ABSENT,
            )
        )
    return make_grouped_table(
        "perception-judgement",
        "Directional bias and tracking.",
        ("Quantity", "Level", "Reason", "Unit", "Estimate", "SE", interval_heading(table), "df", "p"),
        groups,
        numeric_from=4,
        notes=(
            "Sessions that both rated. The judge's rating is centred on the truth's mean; bias is that at the mean "
            "session number, and its change is at the same rating of the other. Multilevel model with random "
            "intercepts of therapists and clients and a random slope of tracking over clients; Satterthwaite degrees "
            "of freedom, profile interval of the SD. Standardised: standard deviations of the level, held fixed.",
        ),
    )


assert set(COMPONENT_LABELS) == set(COMPONENTS.values()), "every part of variance has a label"
