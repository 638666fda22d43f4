"""How reliably is each rater's alliance measured?"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import status_words
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    count,
    estimate_with_interval,
    interval,
    number,
    p_value,
    sentence_case,
)
from alliance_outcome.report.labels import rater_label, words
from alliance_outcome.report.references import cite
from alliance_outcome.report.reliability_text import INTRODUCTION, WHOLE, comparison, refusals
from alliance_outcome.report.tables import Cells, Table, make_grouped_table, make_table

_NAMES = {
    "within_client": "Within clients",
    "between_client": "Between clients, of a client's mean",
    "session": "Of a single session",
}
_TERMS = tuple(f"omega_{name}" for name in _NAMES)


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    table = results.estimates("reliability")
    is_whole = table["scale"] == WHOLE
    whole, parts = table[is_whole], table[~is_whole]
    blocks: list[Block] = [Text(INTRODUCTION)]
    blocks += [Text(text) for text in (comparison(whole, results.raters), refusals(whole)) if text]
    blocks.append(FigureBlock.of(facts.figures["reliability"]))
    tables = [coefficient_table(whole), parts_table(parts), means_table(whole), therapist_table(whole)]
    blocks += table_blocks(tables)
    return Section("reliability", "How reliably alliance is measured", tuple(blocks))


def coefficient_table(table: pd.DataFrame) -> Table:
    """Tabulate ω and α of each rater, and the fit of the factor model that ω rests on."""
    groups = {}
    for rater, rows in table[table["status"] == "ok"].groupby("rater", sort=False):
        own = rows.set_index("term")
        name = sentence_case(rater_label(str(rater)))
        groups[name] = [
            *(_cells(own, name, heading) for name, heading in _NAMES.items()),
            (
                "All sessions pooled",
                ABSENT,
                ABSENT,
                number(own.loc["alpha_pooled", "estimate"]),
                ABSENT,
                ABSENT,
                ABSENT,
            ),
        ]
        fit = own.loc["rmsea"] if "rmsea" in own.index else None
        groups[name][0] = (*groups[name][0][:4], *_fit_cells(fit))
    return make_grouped_table(
        "reliability-coefficients",
        "Reliability of the alliance ratings.",
        ("Level", "ω", "95\N{NO-BREAK SPACE}% interval", "α", "χ² (df)", "p", "RMSEA"),
        groups,
        notes=(
            f"ω of one factor at each level, with Monte Carlo intervals {cite('lai')}; α from the same covariances. "
            "χ² is that of one factor within and one between clients against free covariances. Between clients, "
            "error from a client's sessions is counted.",
        ),
    )


def _fit_cells(fit: pd.Series | None) -> Cells:
    """Write how well one factor at each level fits."""
    if fit is None:
        return (ABSENT, ABSENT, ABSENT)
    return (
        f"{number(fit['statistic'], 1)} ({count(fit['df'])})",
        p_value(fit["p_value"]),
        number(fit["estimate"], 3),
    )


def _cells(own: pd.DataFrame, name: str, heading: str) -> Cells:
    omega = own.loc[f"omega_{name}"]
    return (
        heading,
        number(omega["estimate"]),
        interval(omega["ci_low"], omega["ci_high"]),
        number(own.loc[f"alpha_{name}", "estimate"]),
        ABSENT,
        ABSENT,
        ABSENT,
    )


def parts_table(table: pd.DataFrame) -> Table:
    """Tabulate ω of the parts of the alliance."""
    groups = {}
    for rater, rows in table[table["term"].isin(_TERMS) & (table["status"] == "ok")].groupby(
        "rater", sort=False
    ):
        groups[sentence_case(rater_label(str(rater)))] = [
            (sentence_case(words(str(scale))), *_part_cells(own.set_index("term")))
            for scale, own in rows.groupby("scale", sort=False)
        ]
    return make_grouped_table(
        "reliability-parts",
        "Reliability (ω) of the parts of the alliance.",
        ("Part", *_NAMES.values()),
        groups,
        notes=("With 95\N{NO-BREAK SPACE}% Monte Carlo intervals. Parts have fewer items than the whole.",),
    )


def _part_cells(own: pd.DataFrame) -> list[str]:
    rows = [own.loc[term] for term in _TERMS]
    return [estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"]) for row in rows]


def means_table(table: pd.DataFrame) -> Table:
    """Tabulate how reliable means of more sessions are, and what is generalisable of change."""
    groups = {}
    named = table["term"].str.extract(r"^mean_reliability_(\d+)$", expand=False).dropna()
    sessions = list(dict.fromkeys(named.astype(int)))
    for rater, rows in table[table["status"] == "ok"].groupby("rater", sort=False):
        own = rows.set_index("term")["estimate"]
        groups[sentence_case(rater_label(str(rater)))] = [
            ("Reliability of the mean", *_by_sessions(own, "mean_reliability", sessions), ABSENT),
            (
                "Generalisability",
                *_by_sessions(own, "generalisability", sessions),
                number(own["generalisability_change"]),
            ),
        ]
    headings = [f"{n} session{'s' if n > 1 else ''}" for n in sessions]
    return make_grouped_table(
        "mean-reliability",
        "How well a client's mean over sessions measures the client, and single sessions change.",
        ("Coefficient", *headings, "Change within clients"),
        groups,
        notes=(
            "Reliability of the mean counts all that varies between clients as true. Generalisability, R of Shrout and "
            "Lane with items and sessions as random samples, counts what the items share.",
        ),
    )


def therapist_table(table: pd.DataFrame) -> Table:
    """Tabulate how well the mean of a therapist's clients measures the therapist."""
    own = table[table["term"].fillna("").str.startswith("therapist_mean_reliability")]
    rows = [
        (sentence_case(rater_label(str(rater))), *(_therapist_cell(row) for _, row in rows.iterrows()))
        for rater, rows in own.groupby("rater", sort=False)
    ]
    return make_table(
        "therapist-reliability",
        "How well the mean rating of a therapist's clients measures the therapist.",
        ("Rater", "With the clients there are", "With ten clients each"),
        [row for row in rows if len(row) == 3],
        notes=(
            "Share of the variance of observed means that lies between therapists, clients and sessions being samples; "
            "intervals from redrawn therapists. Where it is low, a between-therapist coefficient is mostly one between "
            "clients.",
        ),
    )


def _therapist_cell(row: pd.Series) -> str:
    if row["status"] != "ok":
        return status_words(row["status"])
    return estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"])


def _by_sessions(own: pd.Series, name: str, sessions: list[int]) -> list[str]:
    return [number(own[f"{name}_{n}"]) for n in sessions]
