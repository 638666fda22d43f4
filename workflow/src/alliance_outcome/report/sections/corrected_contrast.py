"""Would the difference between the raters disappear if both were measured equally well?"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import pair_coefficients
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    estimate_with_interval,
    interval,
    join_words,
    number,
    sentence_case,
)
from alliance_outcome.report.labels import level_label, model_label, rater_label
from alliance_outcome.report.robustness import reading
from alliance_outcome.report.selection import first_row, levels_of
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

ANALYSIS = "corrected_contrast"
TITLE = "If both were measured equally well"
#: Versions by the part of the row id that names them.
_VERSIONS = {
    "uncorrected": "As rated",
    "corrected_0": "Corrected for unreliability",
    "corrected_0.1": "… and errors of alliance and severity correlate 0.1",
    "corrected_0.2": "… and errors of alliance and severity correlate 0.2",
}
_MAIN = ("uncorrected", "corrected_0")


def build(facts: Facts) -> Section | None:
    """Build the section; studies with one rater have none."""
    table = facts.results.estimates(ANALYSIS)
    if len(facts.results.raters) < 2:
        return None
    if (table["status"] == "refused").all():
        reasons = dict.fromkeys(table["reason"])
        return Section("corrected-contrast", TITLE, tuple(Text(f"Not computed: {each}.") for each in reasons))
    sentences = (errors_sentence(table, facts.results.raters), *level_sentences(table))
    blocks: list[Block] = [
        Text(
            "A rater who is measured less well has the smaller coefficient, all else equal. Here the "
            "session-to-session models are fitted again without what the errors of ratings and of severity add to "
            "their equations. Errors are what the items of a form do not share; their variances, the coefficients and "
            "D went through one bootstrap of the highest clusters together."
        ),
        *(Text(text) for text in sentences if text),
        *table_blocks([contrast_table(table, facts.settings.outcome_unit)]),
        Text(
            "Errors of one rater's alliance and severity on the same occasion, such as a mood or a way of answering "
            "that day, cannot be had from the data: rows with a correlation say what D would be if it were so. "
            "Coefficients are per standard deviation of true alliance. Corrected coefficients of models with a lagged "
            "outcome are still those of a comparator, with its other biases.",
            style="note",
        ),
    ]
    return Section("corrected-contrast", TITLE, tuple(blocks))


def errors_sentence(table: pd.DataFrame, raters: list[str]) -> str:
    """Say how reliable the measures are, and whether the raters' errors go together."""
    used = table[table["term"] == "reliability"].drop_duplicates(["rater", "scale"])
    if used.empty:
        return ""
    said = join_words(
        [
            f"{number(row['estimate'])} for "
            f"{'severity' if pd.isna(row['rater']) else 'the ' + rater_label(str(row['rater']))}"
            for _, row in used.iterrows()
        ]
    )
    shared = first_row(table[table["status"] == "ok"], term="error_correlation")
    text = f"Reliability within clients is {said}."
    if shared is None or len(raters) < 2:
        return text
    pair = f"the {rater_label(raters[0])} and the {rater_label(raters[1])}"
    size = f"{number(shared['estimate'])} {interval(shared['ci_low'], shared['ci_high'])}"
    return f"{text} Errors of {pair} correlate by {size}, from what the same item has in common for both."


def level_sentences(table: pd.DataFrame) -> list[str]:
    """Say for each level of the model without lagged outcome whether D reads the same after correction."""
    found = []
    own = _differences(table[~table["model"].fillna("").str.startswith("hybrid_lag")])
    for level in levels_of(own):
        rows = [first_row(own[own["version"] == name], level=level) for name in _MAIN]
        if any(row is None or row["status"] != "ok" for row in rows):
            continue
        before, after = rows
        words = sentence_case(level_label(level))
        same = reading(before, None) == reading(after, None)
        found.append(
            f"{words}, D is {_shown(before)} as rated and {_shown(after)} corrected: "
            + ("it reads the same." if same else _change(after))
        )
    return found


def _change(after: pd.Series) -> str:
    if reading(after, None) != "open":
        return "the difference shows only after correction."
    return "the difference is not distinguished from zero once both are measured equally well."


def contrast_table(table: pd.DataFrame, unit: str) -> Table:
    """Tabulate coefficients and D by model, level and version."""
    rows = table[table["model"].notna()].assign(version=_version(table))
    groups: dict[str, list[Cells]] = {}
    differences = rows[rows["term"] == "difference"]
    for (model, level), own in differences.groupby(["model", "level"], sort=False):
        title = f"{model_label(str(model))}: {level_label(str(level))}"
        for name, label in _VERSIONS.items():
            row = first_row(own[own["version"] == name])
            if row is not None:
                same = rows[(rows["model"] == model) & (rows["level"] == level) & (rows["version"] == name)]
                groups.setdefault(title, []).append((label, *pair_coefficients(same, row), _shown(row)))
    first = differences.iloc[0]
    return make_grouped_table(
        "corrected-contrast",
        f"The contrast with and without correction for unreliability, in {unit} per standard deviation.",
        (
            "Version",
            f"β, {rater_label(str(first['rater']))}",
            f"β, {rater_label(str(first['rater_b']))}",
            "D [95\N{NO-BREAK SPACE}% interval]",
        ),
        groups,
        notes=("Percentile intervals of a bootstrap of therapists, or of clients without therapist ids.",),
    )


def _differences(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["term"] == "difference"].assign(version=_version(table))


def _version(table: pd.DataFrame) -> pd.Series:
    """Return the version that each row id names."""
    return table["row_id"].str.extract(r"\.(uncorrected|corrected_0(?:\.\d)?)\.", expand=False)


def _shown(row: pd.Series) -> str:
    """Write an estimate with its interval, or why there is none."""
    if row["status"] == "refused":
        return str(row["reason"])
    return estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"])
