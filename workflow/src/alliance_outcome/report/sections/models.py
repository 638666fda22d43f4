"""All models: timing, coefficients, other terms, variances, and what was refused."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Heading, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import degrees_of_freedom, lower_first, number, sentence_case
from alliance_outcome.report.labels import level_label, model_label, rater_label
from alliance_outcome.report.selection import (
    alliance_rows,
    levels_of,
    not_ok,
    other_fixed_rows,
    variance_rows,
)
from alliance_outcome.report.tables import Table, estimates_table, make_table, refusal_table

_CONCURRENT = (
    "Between clients and between therapists these coefficients are concurrent differences over the "
    "whole of therapy."
)


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    models = results.models
    sessions = models[models["model"].fillna("").str.startswith("hybrid")]
    early = models[models["model"].fillna("").str.startswith("early")]
    blocks: list[Block] = [
        FigureBlock.of(facts.figures["timing"]),
        Text(" ".join(results.design.timing_sentences)),
        FigureBlock.of(facts.figures["coefficients"]),
        Heading("Session to session"),
        *table_blocks(_coefficient_tables("session", sessions, (_CONCURRENT,))),
        Heading("Early alliance to the end of therapy"),
        *table_blocks(_coefficient_tables("early", early, ())),
        Heading("All contrasts of the raters"),
        *table_blocks(contrast_tables(results.contrast, facts.settings.outcome_unit)),
        Heading("Standard deviations, further terms and variances"),
        *table_blocks([scale_table(results.scales), further_table(models), variance_table(models)]),
        Heading("Refused or not established"),
    ]
    refused = refusal_table("refused", not_ok(results.contrast, models))
    blocks += table_blocks([refused]) or [Text("Nothing was refused.")]
    return Section("models", "The models", tuple(blocks))


def _coefficient_tables(name: str, frame: pd.DataFrame, notes: tuple[str, ...]) -> list[Table]:
    """Tabulate joint and single-rater coefficients, one table each."""
    rows = alliance_rows(frame)
    rows = rows[rows["status"] == "ok"]
    captions = {
        "unique": "All raters in one model: what a rater adds to the others, per point of the rating.",
        "total": "One rater at a time, on the same rows, per point of the rating.",
    }
    return [
        estimates_table(f"{name}-{estimand}", caption, rows[rows["estimand"] == estimand], notes=notes)
        for estimand, caption in captions.items()
    ]


def contrast_tables(contrast: pd.DataFrame, unit: str) -> list[Table]:
    """Tabulate the contrasts of every model, engine, estimand and standard error, one table per level."""
    rows = contrast[contrast["status"] == "ok"]
    return [
        estimates_table(
            f"contrasts-{level}",
            f"Contrasts {level_label(level)}, {unit} per standard deviation of the rating.",
            rows[rows["level"] == level],
            notes=() if level == "within_client" else (f"Session to session: {lower_first(_CONCURRENT)}",),
        )
        for level in levels_of(rows)
    ]


def scale_table(table: pd.DataFrame) -> Table:
    """Tabulate the standard deviations that coefficients are multiplied by, those of the joint models."""
    shown = table[table["estimand"] == "unique"]
    rows = [
        (
            sentence_case(level_label(row["level"])),
            sentence_case(rater_label(row["rater"])),
            model_label(row["model"]),
            number(row["sd"], 3),
            degrees_of_freedom(row["degrees_of_freedom"]),
        )
        for row in shown.to_dict("records")
    ]
    headings = ("Level", "Rater", "Model", "SD", "df")
    return make_table(
        "scales", "Standard deviations of the ratings at each level.", headings, rows, numeric_from=3
    )


def further_table(models: pd.DataFrame) -> Table:
    """Tabulate the fixed effects that are not alliance."""
    rows = other_fixed_rows(models)
    rows = rows[(rows["status"] == "ok") & (rows["estimand"] == "unique")]
    return estimates_table("further-terms", "Further terms of the models with all raters.", rows)


def variance_table(models: pd.DataFrame) -> Table:
    """Tabulate variances and covariances."""
    rows = models[variance_rows(models) & (models["status"] == "ok") & (models["estimand"] == "unique")]
    return estimates_table("variances", "Variances and covariances of the models with all raters.", rows)
