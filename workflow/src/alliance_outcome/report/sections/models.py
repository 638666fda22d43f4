"""All models: timing, coefficients, other terms, variances, and what was refused."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report.blocks import (
    Block,
    FigureBlock,
    Heading,
    Section,
    TableBlock,
    Terms,
    Text,
    table_blocks,
)
from alliance_outcome.report.estimate_tables import (
    LIKELIHOOD_TERMS,
    POSTERIOR_TERMS,
    estimates_tables,
    has_draws,
    refusal_table,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import degrees_of_freedom, lower_first, number, sentence_case
from alliance_outcome.report.inference_text import lagged_outcome_sentence
from alliance_outcome.report.labels import level_label, model_label, rater_label
from alliance_outcome.report.robust_tables import autoregressive_table, robust_table
from alliance_outcome.report.robustness import autoregressive_comparisons, robust_comparisons
from alliance_outcome.report.robustness_text import autoregressive_paragraph
from alliance_outcome.report.selection import (
    alliance_rows,
    joint_rows,
    levels_of,
    not_ok,
    other_fixed_rows,
    variance_rows,
)
from alliance_outcome.report.tables import Table, make_grouped_table

_CONCURRENT = (
    "Between clients and between therapists these coefficients are concurrent differences over the "
    "whole of therapy."
)


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    models = results.models
    blocks: list[Block] = [
        Text(
            "First which rating is paired with which severity, then the coefficients of all models, side by side and "
            "in numbers. The section Methods says how they were estimated."
        ),
        FigureBlock.of(facts.figures["timing"]),
        Text(" ".join(results.design.timing_sentences)),
        FigureBlock.of(facts.figures["coefficients"]),
        Heading("How to read the tables"),
        Terms(table_terms(facts), "compact"),
        Heading("Session to session"),
        *coefficient_blocks("session", _of_kind(models, "hybrid"), _CONCURRENT),
        Heading("Early alliance to the end of therapy"),
        *coefficient_blocks("early", _of_kind(models, "early"), ""),
    ]
    contrasts = contrast_blocks(results.contrast, facts.settings.outcome_unit)
    blocks += [Heading("All contrasts of the raters"), *contrasts] if contrasts else []
    blocks += [
        *robust_blocks(facts),
        *autoregressive_blocks(facts),
        Heading("Standard deviations, further terms and variances"),
        *table_blocks([scale_table(results.scales)]),
        *further_blocks(models),
        *variance_blocks(models),
        Heading("Refused or not established"),
    ]
    refused = refusal_table(
        "refused",
        not_ok(results.contrast, models, results.explained, results.measurement_error, results.dynamics),
    )
    blocks += table_blocks([refused]) or [Text("Nothing was refused.")]
    return Section("models", "The models", tuple(blocks))


def table_terms(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Explain the headings of the tables that the study has."""
    return (*LIKELIHOOD_TERMS, *(POSTERIOR_TERMS if facts.has_bayesian else ()))


def _of_kind(models: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Pick the models of one kind."""
    return models[models["model"].fillna("").str.startswith(kind)]


def _notes(first: str = "") -> Callable[[pd.DataFrame], tuple[str, ...]]:
    """Make the notes of a table: a first sentence, and what the standard errors of a lagged outcome are worth."""

    def notes(rows: pd.DataFrame) -> tuple[str, ...]:
        return tuple(text for text in (first, lagged_outcome_sentence(rows)) if text)

    return notes


def coefficient_blocks(name: str, frame: pd.DataFrame, note: str) -> list[TableBlock]:
    """Tabulate joint and single-rater coefficients."""
    rows = alliance_rows(frame)
    rows = rows[rows["status"] == "ok"]
    captions = {
        "unique": "All raters in one model: what a rater adds to the others, per point of the rating",
        "total": "One rater at a time, on the same rows, per point of the rating"
        if (rows["estimand"] == "unique").any()
        else "Coefficients of alliance, per point of the rating",
    }
    tables = []
    for estimand, caption in captions.items():
        shown = rows[rows["estimand"] == estimand]
        tables += estimates_tables(f"{name}-{estimand}", caption, shown, notes=_notes(note))
    return table_blocks(tables)


def contrast_blocks(contrast: pd.DataFrame, unit: str) -> list[TableBlock]:
    """Tabulate the contrasts of every model, engine and estimand, level by level."""
    rows = contrast[(contrast["status"] == "ok") & ~is_repetition(contrast)]
    tables = []
    for level in levels_of(rows):
        shown = rows[rows["level"] == level]
        note = "" if level == "within_client" else f"Session to session: {lower_first(_CONCURRENT)}"
        tables += estimates_tables(
            f"contrasts-{level}",
            f"Contrasts {level_label(level)}, {unit} per standard deviation of the rating",
            shown,
            notes=_notes(note),
        )
    return table_blocks(tables)


def robust_blocks(facts: Facts) -> list[Block]:
    """Hold the models' own intervals against cluster-robust ones."""
    results = facts.results
    tables = table_blocks(
        [robust_table(robust_comparisons(results.contrast, results.models, facts.decision.rope))]
    )
    return [Heading("Cluster-robust check"), *tables] if tables else []


def autoregressive_blocks(facts: Facts) -> list[Block]:
    """Hold independent against AR(1) residuals."""
    results = facts.results
    compared = autoregressive_comparisons(results.contrast, facts.decision.rope)
    tables = table_blocks([autoregressive_table(compared, results.models, results.design.lag_unit)])
    if not tables:
        return []
    text = autoregressive_paragraph(compared, results.checks, results.answer, results.design.lag_unit)
    return [Heading("Residuals from session to session"), *([Text(text)] if text else []), *tables]


def scale_table(table: pd.DataFrame) -> Table:
    """Tabulate the standard deviations that coefficients are multiplied by, those of the joint models."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in joint_rows(table).to_dict("records"):
        label = f"{sentence_case(rater_label(row['rater']))}-rated alliance, {level_label(row['level'])}"
        cells = (label, number(row["sd"], 3), degrees_of_freedom(row["degrees_of_freedom"]))
        groups.setdefault(model_label(row["model"]), []).append(cells)
    return make_grouped_table(
        "scales",
        "Standard deviations of the ratings at each level, on the rows of each model.",
        ("Rating", "SD", "df"),
        groups,
        notes=("They turn coefficients per point into coefficients per standard deviation.",),
    )


def further_blocks(models: pd.DataFrame) -> list[TableBlock]:
    """Tabulate the fixed effects that are not alliance."""
    rows = joint_rows(other_fixed_rows(models))
    rows = rows[rows["status"] == "ok"]
    caption = "Further terms of the models with all raters, per unit of the term"
    return table_blocks(estimates_tables("further-terms", caption, rows, notes=_notes(), one_unit=False))


def variance_blocks(models: pd.DataFrame) -> list[TableBlock]:
    """Tabulate variances and covariances, or standard deviations and correlations where there are draws."""
    rows = joint_rows(models[variance_rows(models) & (models["status"] == "ok")])
    caption = "Spread of clients, therapists and residuals in the models with all raters"
    return table_blocks(estimates_tables("variances", caption, rows, notes=_variance_notes, one_unit=False))


def _variance_notes(rows: pd.DataFrame) -> tuple[str, ...]:
    """Say in which units the spread is given."""
    if has_draws(rows.iloc[0]):
        return ("Standard deviations in units of the outcome per unit of the term, and correlations.",)
    return (
        "Variances in squared units of the outcome per unit of the term; they come without standard errors.",
    )
