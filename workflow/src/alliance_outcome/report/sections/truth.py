"""Simulated studies only: the truth beside the estimates."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Heading, Section, Terms, Text, table_blocks
from alliance_outcome.report.estimate_tables import decimals_by_engine, interval_heading
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    DECIMALS,
    count,
    interval,
    is_absent,
    lower_first,
    number,
    sentence_case,
)
from alliance_outcome.report.labels import engine_label, level_label, model_label, term_label
from alliance_outcome.report.selection import truth_comparison
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

_THREE_NUMBERS = (
    (
        "Generating value",
        "What was put in: a parameter of the program that made the data, about the alliance as it is, free of "
        "measurement error.",
    ),
    (
        "Pseudo-true value",
        "What this model finds when it is given endless data of this kind. It differs from the generating value "
        "because ratings are unreliable, averages of few sessions stand for clients and therapists, and the model "
        "leaves out some of what made the data. The gap between the two is the bias of the model, which more data "
        "do not remove.",
    ),
    (
        "Estimate",
        "What this model found in the clients of this study. It scatters around the pseudo-true value, and "
        "its interval should hold that value as often as its level says.",
    ),
)


def build(facts: Facts) -> Section | None:
    """Build the section; None for a study of real data."""
    if not facts.simulated:
        return None
    results = facts.results
    comparison = truth_comparison(results.truth, results.contrast, results.answer)
    if comparison.empty:
        text = (
            "These data were simulated, but there is no contrast of the raters to hold against what is known."
        )
        return Section("truth", "Truth and estimates", (Text(text),))
    blocks: list[Block] = [
        Text(
            "These data were simulated, so the right answer is known. Three numbers have to be told apart for each "
            "quantity."
        ),
        Terms(_THREE_NUMBERS),
        Text(coverage_sentence(comparison)),
        *table_blocks([truth_table(comparison)]),
        FigureBlock.of(facts.figures["truth"]),
    ]
    if meanings := generating_meanings(comparison):
        blocks += [Heading("What the generating values are"), Terms(meanings)]
    return Section("truth", "Truth and estimates", tuple(blocks))


def coverage_sentence(comparison: pd.DataFrame) -> str:
    """Say how many intervals hold the pseudo-true and the generating value."""
    parts = []
    for name, column in (("pseudo-true", "pseudo_true_value"), ("generating", "generating_value")):
        known = comparison[comparison[column].notna() & comparison["ci_low"].notna()]
        held = int(known[column].between(known["ci_low"], known["ci_high"]).sum())
        parts += [f"{count(held)} of {count(len(known))} hold the {name} value"] if len(known) else []
    if not parts:
        return "No truth is known for these intervals."
    return f"Of the intervals below, {' and '.join(parts)}. One data set is no test of either."


def truth_table(comparison: pd.DataFrame) -> Table:
    """Tabulate generating value, pseudo-true value and estimates side by side.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`~alliance_outcome.report.selection.truth_comparison`.

    Returns
    -------
    Table
        One row per quantity and engine.
    """
    headings = (
        "Quantity",
        "Estimation",
        "Generating",
        "Pseudo-true",
        "Estimate",
        interval_heading(comparison),
        "Pseudo-true inside",
    )
    groups: dict[str, list[Cells]] = {}
    decimals = decimals_by_engine(comparison)
    for _, row in comparison.iterrows():
        parts = (sentence_case(level_label(row["level"])), lower_first(model_label(row["model"])))
        groups.setdefault(": ".join(part for part in parts if part), []).append(
            _cells(row, decimals.get(row["engine"], DECIMALS))
        )
    caption = "Generating values, pseudo-true values and estimates."
    return make_grouped_table("truth-table", caption, headings, groups, numeric_from=2)


def _cells(row: pd.Series, decimals: int) -> Cells:
    """Write one comparison."""
    covers = ABSENT if is_absent(row["covers"]) else ("yes" if row["covers"] else "no")
    return (
        term_label(row["term"], row["rater"], row["rater_b"]),
        sentence_case(engine_label(row["engine"])) or ABSENT,
        number(row["generating_value"]),
        number(row["pseudo_true_value"]),
        number(row["estimate"], decimals),
        interval(row["ci_low"], row["ci_high"], decimals),
        covers,
    )


def generating_meanings(comparison: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Say what the generating values of each level are, from the notes of the truth.

    Parameters
    ----------
    comparison : DataFrame
        From :func:`~alliance_outcome.report.selection.truth_comparison`.

    Returns
    -------
    tuple of tuple of str
        Level, and what was noted on its quantities, each sentence once.
    """
    noted = comparison[comparison["note"].notna()]
    return tuple(
        (sentence_case(level_label(level)), " ".join(dict.fromkeys(map(_as_sentence, rows["note"]))))
        for level, rows in noted.groupby("level", sort=False)
    )


def _as_sentence(note: str) -> str:
    """Write a note as a sentence without the numbers of one rater's scale."""
    stem, separator, rest = note.partition("; latent SD")
    if not separator:
        return f"{sentence_case(note).removesuffix('.')}."
    _, _, further = rest.partition(". ")
    return f"{stem}, per SD of the latent alliance at that level.{f' {further}' if further else ''}"
