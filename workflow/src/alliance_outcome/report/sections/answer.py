"""The answer first: one sentence, its figure, and the numbers at every level."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.panel_names import PANEL_ENGINE
from alliance_outcome.report.answer_text import dagger_note, further_accounts, glossary, notices, uncertainty
from alliance_outcome.report.blocks import Block, FigureBlock, Notice, Section, Terms, Text, table_blocks
from alliance_outcome.report.estimate_tables import (
    decimals_by_engine,
    estimate_text,
    has_draws,
    interval_heading,
    role_words,
    row_decimals,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, lower_first, sentence_case
from alliance_outcome.report.labels import (
    LEVEL_MEANINGS,
    LIKELIHOOD_ENGINE,
    engine_label,
    level_label,
    model_label,
    rater_label,
)
from alliance_outcome.report.robustness import autoregressive_comparisons, robust_comparisons
from alliance_outcome.report.robustness_text import (
    autocorrelation_notice,
    robust_notice,
)
from alliance_outcome.report.selection import (
    autoregressive,
    cluster_robust,
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
    answer, contrast = facts.results.answer, facts.results.contrast
    rope = facts.decision.rope
    texts = (uncertainty(answer, facts.results.checks), further_accounts(contrast, answer, rope))
    blocks: list[Block] = [Text(answer["claim"], "lead")]
    blocks += [Text(text) for text in texts if text]
    found = (
        robust_notice(robust_comparisons(contrast, facts.results.models, rope), answer),
        autocorrelation_notice(autoregressive_comparisons(contrast, rope), facts.results.checks, answer),
    )
    if notes := notices(answer, *found):
        blocks.append(Notice("Read this with the answer", notes))
    blocks.append(FigureBlock.of(facts.figures["contrast"]))
    levels = shown_levels(contrast)
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
            if engine in (PANEL_ENGINE, LIKELIHOOD_ENGINE):
                groups[title] += _further_cells(contrast, level, model, engine, len(raters))
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


def _further_cells(
    contrast: pd.DataFrame, level: str, model: str | None, engine: str, n_raters: int
) -> list[Cells]:
    """Write the rows of D that repeat it under other assumptions."""
    own = (contrast["level"] == level) & (contrast["model"] == model) & (contrast["estimand"] == "unique")
    rows = contrast[own & (contrast["engine"] == engine)]
    robust = first_row(rows[cluster_robust(rows)], term="difference")
    found = {
        f"cluster-robust ({'' if robust is None else robust['se_kind']})": robust,
        "SDs estimated": sd_uncertain_row(contrast, level, model),
        "AR(1) residuals": first_row(rows[autoregressive(rows)], term="difference"),
    }
    return [
        (
            sentence_case(f"{engine_label(engine)}, {name}"),
            role_words(row["role"]),
            estimate_text(row, row_decimals(row)),
            *([ABSENT] * n_raters),
        )
        for name, row in found.items()
        if row is not None
    ]


def _wording(model: str | None, level: str) -> str:
    """Say what the coefficients of this kind of model are, between levels of session-level models above all."""
    if str(model).startswith("early"):
        return "alliance before outcome"
    if level == "within_client":
        return "alliance before the next severity"
    return "concurrent differences over the whole of therapy"
