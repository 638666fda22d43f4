"""The answer first: one sentence, its figure, and the numbers at every level."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Notice, Section, Terms, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import lower_first, sentence_case
from alliance_outcome.report.labels import LEVEL_MEANINGS, engine_label, level_label, model_label, rater_label
from alliance_outcome.report.selection import engines, first_row, headline_model, headline_rows, shown_levels
from alliance_outcome.report.tables import (
    Table,
    estimate_text,
    interval_heading,
    make_grouped_table,
    role_words,
)


def build(facts: Facts) -> Section:
    """Build the section."""
    answer = facts.results.answer
    blocks: list[Block] = [Text(answer["sentence"], "lead")]
    if answer.get("notes"):
        blocks.append(Notice("To know beside it", tuple(answer["notes"])))
    blocks.append(FigureBlock.of(facts.figures["contrast"]))
    levels = shown_levels(facts.results.contrast)
    blocks += table_blocks([answer_table(facts, levels)])
    meanings = tuple((sentence_case(level_label(level)), LEVEL_MEANINGS[level]) for level in levels)
    blocks += [Terms(meanings)] if meanings else []
    return Section("answer", "The answer", tuple(blocks))


def answer_table(facts: Facts, levels: Sequence[str]) -> Table:
    """Tabulate D and the standardised coefficients at each level, engine by engine.

    Parameters
    ----------
    facts : Facts
        The run.
    levels : sequence of str
        The levels shown.

    Returns
    -------
    Table
        One group of rows per level, headed by the model that speaks for it and what its coefficients may be called.
    """
    contrast, raters = facts.results.contrast, facts.results.raters
    groups = {}
    for level in levels:
        block = headline_rows(contrast, level, facts.results.answer)
        model = headline_model(contrast, level, facts.results.answer)
        title = f"{sentence_case(level_label(level))}: {lower_first(model_label(model))} ({_wording(model, level)})"
        groups[title] = [
            _cells(block[block["engine"] == engine], engine, raters) for engine in engines(block)
        ]
    shown = interval_heading(contrast)
    headings = (
        "Engine",
        "Role",
        f"Difference D [{lower_first(shown)}]",
        *(f"{sentence_case(rater_label(rater))}-rated" for rater in raters),
    )
    return make_grouped_table(
        "answer",
        f"Both raters in one model, {facts.settings.outcome_unit} per standard deviation of the rating.",
        headings,
        groups,
        numeric_from=2,
        notes=(
            "D below zero: more improvement with the first rater's view. All contrasts stand with the models.",
        ),
    )


def _cells(block: pd.DataFrame, engine: str, raters: Sequence[str]) -> tuple[str, ...]:
    """Write one engine's row of the answer."""
    difference = first_row(block, term="difference")
    coefficients = (first_row(block, term="coefficient_standardised", rater=rater) for rater in raters)
    return (
        sentence_case(engine_label(engine)),
        role_words(None if difference is None else difference["role"]),
        estimate_text(difference),
        *(estimate_text(row) for row in coefficients),
    )


def _wording(model: str | None, level: str) -> str:
    """Say what the coefficients of this kind of model are, between levels of session-level models above all."""
    if str(model).startswith("early"):
        return "alliance before outcome"
    return "lag-1" if level == "within_client" else "concurrent differences over the whole of therapy"
