"""From one session to the next: the panel models, which do without the usual bias, and what they rest on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Heading, Section, Text, table_blocks
from alliance_outcome.report.dynamics_text import constraints_note, fit_note, question, sessions_sentence
from alliance_outcome.report.estimate_tables import estimate_text, interval_heading, role_words, row_decimals
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    count,
    interval,
    is_absent,
    lower_first,
    number,
    p_value,
    sentence_case,
)
from alliance_outcome.report.labels import column_label, model_label, rater_label
from alliance_outcome.report.latent_versions import Version, level_decimals
from alliance_outcome.report.panel_versions import (
    other_versions,
    panel_versions,
    tipping_sentence,
    version_label,
)
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

TITLE = "From one session to the next"


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    versions, others = panel_versions(results.contrast), other_versions(results.contrast)
    blocks: list[Block] = [Text(text) for text in question(results.raters)]
    blocks += [Text(text) for text in (sessions_sentence(results.dynamics, results.contrast),) if text]
    blocks.append(FigureBlock.of(facts.figures["dynamics"]))
    if versions:
        blocks += table_blocks(
            [versions_table("panel-models", "The contrast in each model", versions, facts)]
        )
    blocks += table_blocks([fit_table(results.panel_fit), constraints_table(results.panel_constraints)])
    paths = paths_table(results.dynamics)
    if paths.groups:
        blocks += [Heading("What acts on what"), *table_blocks([paths])]
    if others:
        blocks += [
            Heading("Under other choices, and in parts of the sample"),
            *(Text(text) for text in (tipping_sentence(results.contrast),) if text),
            *table_blocks([versions_table("panel-versions", "The primary model again", others, facts)]),
        ]
    return Section("dynamics", TITLE, tuple(blocks))


def versions_table(name: str, caption: str, versions: list[Version], facts: Facts) -> Table:
    """Tabulate D and the standardised paths of models.

    Parameters
    ----------
    name, caption : str
        As in :class:`~alliance_outcome.report.tables.Table`.
    versions : list of Version
        Models, or versions of one.
    facts : Facts
        The run.

    Returns
    -------
    Table
    """
    raters = facts.results.raters
    decimals = level_decimals(versions)
    shown = lower_first(interval_heading(pd.concat([version.rows for version in versions])))
    rows: dict[str, list[Cells]] = {}
    for version in versions:
        role = role_words(version.rows.iloc[0]["role"])
        rows.setdefault(role, []).append(_version_cells(version, raters, decimals))
    return make_grouped_table(
        name,
        f"{caption}, {facts.settings.outcome_unit} per standard deviation of alliance within clients.",
        ("Model", "Sessions / clients", f"D [{shown}]", *_rater_headings(raters)),
        {sentence_case(role): cells for role, cells in rows.items()},
    )


def _rater_headings(raters: list[str]) -> tuple[str, ...]:
    return tuple(f"{sentence_case(rater_label(rater))}-rated" for rater in raters)


def _version_cells(version: Version, raters: list[str], decimals: int) -> Cells:
    first = version.rows.iloc[0]
    return (
        version.label,
        f"{count(first['n_sessions'])} / {count(first['n_clients'])}",
        estimate_text(version.difference, decimals),
        *(estimate_text(version.coefficient(rater), decimals) for rater in raters),
    )


def fit_table(fit: pd.DataFrame) -> Table:
    """Tabulate how well the models reproduce what was observed."""
    rows = [
        (
            version_label(row.model),
            f"{count(row.n_waves)} / {count(row.n_parameters)}",
            _chi_square(row),
            p_value(row.p_value),
            number(row.cfi, 3),
            ABSENT
            if is_absent(row.rmsea)
            else f"{number(row.rmsea, 3)} {interval(row.rmsea_low, row.rmsea_high, 3)}",
            number(row.srmr, 3),
            number(row.aic, 0),
            number(row.bic, 0),
        )
        for row in fit.itertuples()
    ]
    headings = (
        "Model",
        "Sessions / parameters",
        "χ² (df)",
        "p",
        "CFI",
        "RMSEA [90 %]",
        "SRMR",
        "AIC",
        "BIC",
    )
    return make_grouped_table(
        "panel-fit",
        "How well the panel models fit.",
        headings,
        {"": rows} if rows else {},
        notes=(fit_note(),),
    )


def _chi_square(row: Any) -> str:
    """Write χ² with its degrees of freedom."""
    return ABSENT if is_absent(row.chi_square) else f"{number(row.chi_square, 1)} ({count(row.df)})"


def constraints_table(constraints: pd.DataFrame) -> Table:
    """Tabulate χ² difference tests of what the models take for granted."""
    groups = {
        model_label(str(model)): [
            (
                sentence_case(row.constraint)
                + ("" if is_absent(row.reason) else f" (not tested: {row.reason})"),
                _chi_square(row),
                p_value(row.p_value),
                number(row.aic_difference, 1),
                number(row.bic_difference, 1),
            )
            for row in rows.itertuples()
        ]
        for model, rows in constraints.groupby("model", sort=False)
    }
    return make_grouped_table(
        "panel-constraints",
        "Do the constraints hold? Each model against the one without the constraint.",
        ("Constraint", "χ² difference (df)", "p", "AIC", "BIC"),
        groups,
        notes=(constraints_note(),),
    )


def paths_table(dynamics: pd.DataFrame) -> Table:
    """Tabulate all paths of the primary model, whoever acts on whom."""
    own = dynamics[(dynamics["role"] == "primary") & dynamics["estimate"].notna()]
    groups: dict[str, list[Cells]] = {}
    for _, row in own.iterrows():
        effect, _, cause = row["term"].partition(" ~ ")
        name, _, lag = cause.partition("[-")
        when = f", {_sessions(lag)} before" if lag else ", same session"
        decimals = row_decimals(row)
        groups.setdefault(f"On {lower_first(column_label(effect))}", []).append(
            (
                f"{column_label(name)}{when}",
                number(row["estimate"], decimals + 1),
                number(row["std_error"], decimals + 1),
                interval(row["ci_low"], row["ci_high"], decimals + 1),
                p_value(row["p_value"]),
            )
        )
    return make_grouped_table(
        "panel-paths",
        "Paths within clients in the primary model, in points of the forms.",
        ("From", "Estimate", "SE", interval_heading(own) if len(own) else ABSENT, "p"),
        groups,
    )


def _sessions(lag: str) -> str:
    steps = int(lag.rstrip("]"))
    return "one session" if steps == 1 else f"{steps} sessions"
