"""Whether the contrast of the raters is one of how well, or how often, they were asked."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report.blocks import Block, Bullets, FigureBlock, Heading, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import (
    estimate_text,
    interval_heading,
    role_words,
    row_decimals,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, lower_first, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import (
    level_label,
    model_label,
    rater_label,
    term_label,
)
from alliance_outcome.report.latent_versions import (
    MANIFEST,
    Version,
    change_sentence,
    level_decimals,
    versions_by_level,
)
from alliance_outcome.report.measurement_error_text import reliability_words, rows_sentence, unstated_sentence
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import first_row, levels_of
from alliance_outcome.report.tables import Cells, Table, make_grouped_table
from alliance_outcome.settings import MeasurementErrorSettings

TITLE = "Measurement error and missing ratings"


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    latent = results.measurement_error
    blocks: list[Block] = [Text(_question(results))]
    if (latent["status"] == "refused").all():
        reasons = dict.fromkeys(latent["reason"])
        return Section(
            "measurement-error",
            TITLE,
            (*blocks, *(Text(f"It could not be fitted: {reason}.") for reason in reasons)),
        )
    versions = versions_by_level(results)
    sentences = [change_sentence(level, same, facts.decision.rope) for level, same in versions.items()]
    blocks += [
        *_sample_blocks(versions, latent),
        *([Bullets(tuple(text for text in sentences if text))] if any(sentences) else []),
        FigureBlock.of(facts.figures["measurement_error"]),
        *table_blocks([versions_table(versions, results, facts.settings.outcome_unit)]),
        Heading("What is known of the ratings' reliability"),
        *reliability_blocks(facts),
        *table_blocks([latent_table(latent)]),
    ]
    return Section("measurement-error", TITLE, tuple(blocks))


def _question(results: Results) -> str:
    """Say what the model is for."""
    asked = (
        "A rater who leaves more forms out, or whose form measures less well, can look less important than the other. "
        if len(results.raters) > 1
        else "A form that measures less well can make the alliance look less important. "
    )
    return (
        f"{asked}The models behind the answer take ratings as they are, and rows that are complete. Here severity and "
        "all ratings are outcomes of one model: means of clients and therapists are latent, so that averages of few "
        f"sessions do not stand for them {cite('luedtke')}; a row counts if anything in it was rated; and where the "
        "study file states how reliable ratings are, the model allows for their error. These are sensitivity analyses; "
        "the answer does not rest on them."
    )


def _sample_blocks(versions: dict[str, list[Version]], latent: pd.DataFrame) -> list[Block]:
    """Say how many rows there are, and why a variant has no numbers."""
    manifest = [each.rows for same in versions.values() for each in same if each.name == MANIFEST]
    complete = pd.concat(manifest) if manifest else latent.iloc[:0]
    sentence = rows_sentence(latent, complete)
    return [Text(sentence)] if sentence else []


def versions_table(versions: dict[str, list[Version]], results: Results, unit: str) -> Table:
    """Tabulate D and the standardised coefficients of each version.

    Parameters
    ----------
    versions : dict
        From :func:`~alliance_outcome.report.latent_versions.versions_by_level`.
    results : Results
        The finished study.
    unit : str
        Unit of the outcome.

    Returns
    -------
    Table
        One group per level.
    """
    several = len(results.raters) > 1
    groups: dict[str, list[Cells]] = {}
    for level, same in versions.items():
        decimals = level_decimals(same)
        groups[sentence_case(level_label(level))] = [
            _version_cells(version, results.raters, decimals, several=several) for version in same
        ]
    shown = lower_first(interval_heading(results.measurement_error))
    raters = (f"{sentence_case(rater_label(rater))}-rated" for rater in results.raters)
    return make_grouped_table(
        "measurement-error",
        f"The contrast with ratings as they are and with latent means, {unit} per standard deviation of alliance.",
        ("Version", "Role", "Rows", "Clients", *((f"D [{shown}]",) if several else ()), *raters),
        groups,
        numeric_from=2,
        notes=(
            "With latent means, standard deviations are latent too: once error is taken out they are smaller, so that "
            "a standardised coefficient grows less than one per point of the rating. In the model of complete rows, "
            "slopes differ between clients; with latent means they are the same for all.",
        ),
    )


def _version_cells(version: Version, raters: list[str], decimals: int, *, several: bool) -> Cells:
    """Write one version."""
    first = version.rows.iloc[0]
    difference = (estimate_text(version.difference, decimals),) if several else ()
    return (
        version.label,
        role_words(first["role"]),
        count(first["n_sessions"]),
        count(first["n_clients"]),
        *difference,
        *(estimate_text(version.coefficient(rater), decimals) for rater in raters),
    )


def reliability_blocks(facts: Facts) -> list[Block]:
    """Say which reliabilities the study file states, from where, and what is taken as free of error."""
    latent = facts.results.measurement_error
    unstated = unstated_sentence(facts.measurement, facts.results.raters, levels_of(latent))
    return [
        *table_blocks([reliability_table(facts.measurement, latent)]),
        *([Text(unstated)] if unstated else []),
    ]


def reliability_table(measurement: MeasurementErrorSettings, latent: pd.DataFrame) -> Table:
    """Tabulate the reliabilities that the study file states, with what the data made of those that are uncertain."""
    rows = latent[latent["term"] == "reliability"]
    groups: dict[str, list[Cells]] = {}
    for rater, levels in measurement.reliability.items():
        title = f"{sentence_case(rater_label(rater))}-rated alliance"
        groups[title] = []
        for level, stated in levels.items():
            own = rows[rows["level"].fillna("").str.removesuffix("_pooled") == level]
            after = first_row(own, rater=rater)
            text = ABSENT if after is None else estimate_text(after, row_decimals(after))
            cells = (
                sentence_case(level_label(level)),
                reliability_words(stated),
                text,
                sentence_case(stated.source),
            )
            groups[title].append(cells)
    return make_grouped_table(
        "reliability",
        "Reliabilities that the study file states.",
        ("Level", "Stated", f"After the data [{lower_first(interval_heading(rows))}]", "Source"),
        groups,
        numeric_from=4,
        notes=(
            "Reliability of what covariates leave of a rating at that level: within clients of a session's departure "
            f"from the client's mean and trend {cite('geldhof')}, between clients of the mean over endlessly many "
            "sessions.",
        ),
    )


def latent_table(latent: pd.DataFrame) -> Table:
    """Tabulate latent standard deviations and correlations of alliance."""
    spread = latent[latent["term"].isin(["latent_sd", "latent_correlation"]) & ~is_repetition(latent)]
    spread = spread[spread["status"] == "ok"]
    groups: dict[str, list[Cells]] = {}
    for (model, level), rows in spread.groupby(["model", "level"], sort=False):
        title = f"{model_label(model)}: {level_label(level)}"
        groups[title] = [
            (
                term_label(row["term"], row["rater"], row["rater_b"]),
                estimate_text(row, row_decimals(row)),
            )
            for _, row in rows.iterrows()
        ]
    return make_grouped_table(
        "latent-alliance",
        "Latent alliance given covariates: standard deviations and correlations.",
        ("Quantity", f"Estimate [{lower_first(interval_heading(spread))}]"),
        groups,
    )
