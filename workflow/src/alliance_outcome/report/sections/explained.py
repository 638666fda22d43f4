"""How much of the outcome's variance the models explain, at which level, and through whose view."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Heading, Section, Terms, Text, table_blocks
from alliance_outcome.report.estimate_tables import interval_heading, status_words
from alliance_outcome.report.explained_shares import (
    CONDITIONAL,
    MARGINAL,
    find_share,
    is_listed,
    is_shared_part,
    measure_label,
    model_levels,
    notation,
    share_cells,
    share_text,
    shared_label,
    shown_models,
    variance_of,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, join_words, lower_first, sentence_case
from alliance_outcome.report.labels import level_label, model_label
from alliance_outcome.report.references import cite
from alliance_outcome.report.tables import Cells, Table, make_grouped_table, make_table

_MEANINGS = (
    (
        "Marginal and conditional R²",
        "Share of the outcome's variance that the fixed effects account for, and that fixed and random effects account "
        "for together. The rest is residual.",
    ),
    (
        "Unique and common",
        "What one rater's alliance explains beyond everything else in the model, and what either rater's would explain "
        "as well as the other's. A negative common part means that the views suppress each other.",
    ),
    (
        "Average contribution",
        "What a rater's alliance adds on average over the orders in which the raters can enter (general dominance).",
    ),
)


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    explained = results.explained
    title = "How much is explained"
    models = shown_models(explained, results.contrast, results.answer)
    if not models:
        return Section("explained", title, (Text("No explained variance could be computed."),))
    several = len(results.raters) > 1
    level_of = {results.answer.get("model"): results.answer.get("level")}
    shared = [
        FigureBlock.of(facts.figures["explained"]),
        *table_blocks([shared_table(explained, models)]),
    ]
    blocks: list[Block] = [
        Text(
            f"The variance of the outcome that a model implies has parts {_where(facts)}; each part is explained by "
            f"fixed effects, or left to random effects and residuals {cite('rights_sterba')}. Shares are not clipped: "
            "they may be negative."
        ),
        *(Text(text) for model in models if (text := summary(explained, model, level_of.get(model)))),
        *(shared if several else []),
        Terms(_MEANINGS if several else _MEANINGS[:1], "compact"),
        Heading("Parts of the variance"),
        *table_blocks([parts_table(explained, models), models_table(explained)]),
    ]
    return Section("explained", title, tuple(blocks))


def _where(facts: Facts) -> str:
    """Say at which levels the study's outcome varies."""
    if facts.results.design.has_therapists:
        return "within clients, between clients and between therapists"
    return "within clients and between clients"


def summary(explained: pd.DataFrame, model: str, level: str | None) -> str:
    """Say what one model explains.

    Parameters
    ----------
    explained : DataFrame
        ``explained.csv``.
    model : str
        The model.
    level : str or None
        Level whose variance is said to be shared out among raters.

    Returns
    -------
    str
        A paragraph; empty where the model has no shares.
    """
    rows = explained[explained["model"] == model]
    marginal, conditional = find_share(rows, MARGINAL), find_share(rows, CONDITIONAL)
    if marginal is None or conditional is None:
        return ""
    start = (
        f"{model_label(model)}: fixed effects account for {share_text(marginal)} of the variance of the outcome, fixed "
        f"and random effects together for {share_text(conditional)}."
    )
    return f"{start} {_level_sentence(rows, level)}".strip()


def _level_sentence(rows: pd.DataFrame, level: str | None) -> str:
    """Say how one level's variance is shared out among the raters; empty where it is not."""
    own = rows[(rows["level"] == level) & rows["term"].fillna("").str.match(r"(unique|common)\(")]
    own = own[own["status"] == "ok"]
    if own.empty:
        return ""
    shares = [f"{share_text(row)} is {shared_label(row['term'])}" for _, row in own.iterrows()]
    return f"Of the variance {level_label(level)}, {join_words(shares)}."


def shared_table(explained: pd.DataFrame, models: Sequence[str]) -> Table:
    """Tabulate what raters share out among them, of the total variance and of each level's.

    Parameters
    ----------
    explained : DataFrame
        ``explained.csv``.
    models : sequence of str
        Models shown.

    Returns
    -------
    Table
        One group per model and level; without rows in a study with one rater.
    """
    groups: dict[str, list[Cells]] = {}
    for model in models:
        rows = explained[(explained["model"] == model) & explained["term"].map(is_shared_part)]
        for _, row in rows.iterrows():
            title = f"{model_label(model)}: {variance_of(row['level'])}"
            groups.setdefault(title, []).append((sentence_case(shared_label(row["term"])), *_cells(row)))
    return make_grouped_table(
        "shared-variance",
        "What each rater's alliance explains, alone and in common.",
        ("Part", "Share", interval_heading(explained)),
        groups,
    )


def parts_table(explained: pd.DataFrame, models: Sequence[str]) -> Table:
    """Tabulate the parts of the variance of some models, of the total and level by level."""
    groups: dict[str, list[Cells]] = {}
    for model in models:
        rows = explained[explained["model"] == model]
        levels = model_levels(rows)
        for _, row in rows.iterrows():
            if is_listed(row, levels):
                title = f"{model_label(model)}: {variance_of(row['level'])}"
                label = measure_label(row["term"], levels)
                groups.setdefault(title, []).append((label, notation(row["term"]), *_cells(row)))
    return make_grouped_table(
        "variance-parts",
        "Parts of the variance of the outcome.",
        ("Part", "Symbol", "Share", interval_heading(explained)),
        groups,
        numeric_from=2,
        notes=(
            f"Symbols are those of the R² framework of Rights and Sterba {cite('rights_sterba')}, levels numbered from "
            "the innermost. At a level where no random effect has variance, fixed effects account for everything that "
            "the model places there.",
        ),
    )


def models_table(explained: pd.DataFrame) -> Table:
    """Tabulate marginal and conditional R² of every model."""
    rows = []
    for model, same in explained.groupby("model", sort=False):
        shares = [find_share(same, term) for term in (MARGINAL, CONDITIONAL)]
        if any(share is not None for share in shares):
            rows.append((model_label(model), *(share_text(share) for share in shares)))
    heading = lower_first(interval_heading(explained))
    return make_table(
        "r-squared",
        "R² of all models; where there are several raters, of those with all of them.",
        ("Model", f"Marginal R² [{heading}]", f"Conditional R² [{heading}]"),
        rows,
    )


def _cells(row: pd.Series) -> Cells:
    """Write a share and its interval, or why there is none."""
    if row["status"] != "ok":
        return status_words(row["status"]), ABSENT
    return share_cells(row)
