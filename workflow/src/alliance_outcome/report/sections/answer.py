"""The answer first: one sentence, its figure, and the numbers at every level."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.answer_text import dagger_note, further_accounts, glossary, notices, uncertainty
from alliance_outcome.report.blocks import Block, FigureBlock, Notice, Section, Terms, Text, table_blocks
from alliance_outcome.report.estimate_tables import (
    decimals_by_engine,
    estimate_text,
    has_draws,
    interval_heading,
    role_words,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, lower_first, sentence_case
from alliance_outcome.report.labels import (
    LEVEL_MEANINGS,
    engine_label,
    level_label,
    model_label,
    rater_label,
)
from alliance_outcome.report.selection import (
    engines,
    failed_models,
    first_row,
    headline_model,
    headline_rows,
    sd_uncertain_row,
    shown_levels,
)
from alliance_outcome.report.tables import Cells, Table, make_grouped_table


def build(facts: Facts) -> Section:
    """Build the section."""
    answer = facts.results.answer
    texts = (
        uncertainty(answer, facts.results.checks),
        further_accounts(facts.results.contrast, answer),
    )
    blocks: list[Block] = [Text(answer["claim"], "lead")]
    blocks += [Text(text) for text in texts if text]
    if notes := notices(answer):
        blocks.append(Notice("Read this with the answer", notes))
    blocks.append(FigureBlock.of(facts.figures["contrast"]))
    levels = shown_levels(facts.results.contrast)
    if levels:
        meanings = tuple((sentence_case(level_label(level)), LEVEL_MEANINGS[level]) for level in levels)
        blocks += table_blocks([answer_table(facts, levels)])
        blocks.append(Terms((*meanings, *glossary(facts.results.raters)), "compact"))
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
    failed = failed_models(facts.results.checks)
    groups: dict[str, list[Cells]] = {}
    flagged: list[str] = []
    blocks = {level: headline_rows(contrast, level, facts.results.answer) for level in levels}
    decimals = decimals_by_engine(pd.concat(list(blocks.values())))
    for level, block in blocks.items():
        model = headline_model(contrast, level, facts.results.answer)
        title = f"{sentence_case(level_label(level))}: {lower_first(model_label(model))} ({_wording(model, level)})"
        groups[title] = []
        for engine in engines(block):
            rows = block[block["engine"] == engine]
            mark = _mark(rows, model, failed)
            flagged += [f"{engine_label(engine)}, {lower_first(model_label(model))}"] if mark else []
            label = f"{sentence_case(engine_label(engine))}{mark}"
            groups[title].append(_cells(rows, label, raters, decimals[engine]))
            if engine == "mixedlm":
                groups[title] += _robust_cells(sd_uncertain_row(contrast, level, model), len(raters))
    headings = (
        "Estimation",
        "Role",
        f"D [{lower_first(interval_heading(contrast))}]",
        *(f"{sentence_case(rater_label(rater))}-rated" for rater in raters),
    )
    caption = f"All raters in one model, {facts.settings.outcome_unit} per standard deviation of the rating."
    return make_grouped_table("answer", caption, headings, groups, numeric_from=2, notes=dagger_note(flagged))


def _mark(rows: pd.DataFrame, model: str | None, failed: set[tuple[str, str]]) -> str:
    """Mark the rows of a model of which a convergence check failed."""
    engine = "bayesian" if has_draws(rows.iloc[0]) else "likelihood"
    return " †" if (engine, model) in failed else ""


def _cells(rows: pd.DataFrame, label: str, raters: Sequence[str], decimals: int) -> Cells:
    """Write one engine's row of the answer."""
    difference = first_row(rows, term="difference")
    coefficients = (first_row(rows, term="coefficient_standardised", rater=rater) for rater in raters)
    return (
        label,
        role_words(None if difference is None else difference["role"]),
        estimate_text(difference, decimals),
        *(estimate_text(row, decimals) for row in coefficients),
    )


def _robust_cells(row: pd.Series | None, n_raters: int) -> list[Cells]:
    """Write the row of D that counts the standard deviations as estimated."""
    if row is None:
        return []
    label = "REML, cluster-robust, SDs estimated"
    return [(label, role_words(row["role"]), estimate_text(row), *([ABSENT] * n_raters))]


def _wording(model: str | None, level: str) -> str:
    """Say what the coefficients of this kind of model are, between levels of session-level models above all."""
    if str(model).startswith("early"):
        return "alliance before outcome"
    if level == "within_client":
        return "alliance before the next severity"
    return "concurrent differences over the whole of therapy"
