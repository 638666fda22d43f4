"""Does it matter which part of the alliance is rated: goal, task or bond?"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import pair_coefficients, status_words
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, estimate_with_interval, number, sentence_case
from alliance_outcome.report.labels import level_label, model_label, rater_label, words
from alliance_outcome.report.references import cite
from alliance_outcome.report.robustness import reading
from alliance_outcome.report.selection import first_row
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

ANALYSIS = "alliance_parts"
TITLE = "Goal, task and bond"
#: Scale of contrasts of one rater's two parts, and the names of these.
AGAINST, PARTS = "cognitive against emotional", ("cognitive", "emotional")


def build(facts: Facts) -> Section:
    """Build the section; without scored parts it holds the reason."""
    table = facts.results.estimates(ANALYSIS)
    if table["model"].isna().all():
        return Section("alliance-parts", TITLE, (Text(f"Not computed: {table['reason'].iloc[0]}."),))
    raters, parts = table[table["scale"] != AGAINST], table[table["scale"] == AGAINST]
    blocks: list[Block] = [
        Text(
            f"The alliance has three parts {cite('bordin')}: agreement on goals, agreement on tasks, and the bond. "
            "Here each stands in the place of the whole, on the rows on which it was rated. The cognitive composite "
            "is the mean of goal and task, the emotional one the bond. Parts are shorter than the whole and so less "
            "reliable; several contrasts are looked at, so that one may stand out by chance."
        ),
        *(Text(text) for text in (spread_sentence(raters), *part_sentences(parts)) if text),
        *table_blocks([rater_table(raters, facts.settings.outcome_unit), part_table(parts, table)]),
    ]
    return Section("alliance-parts", TITLE, tuple(blocks))


def _within(table: pd.DataFrame) -> pd.DataFrame:
    return table[
        (table["term"] == "difference") & (table["level"] == "within_client") & (table["status"] == "ok")
    ]


def spread_sentence(table: pd.DataFrame) -> str:
    """Say whether D within clients has the same sign for all parts, and which intervals exclude zero."""
    own = _within(table)
    if own.empty:
        return ""
    clear = [words(str(row["scale"])) for _, row in own.iterrows() if reading(row, None) != "open"]
    signs = (
        "the same sign for every part"
        if own["estimate"].gt(0).nunique() == 1
        else "a sign that depends on the part"
    )
    if not clear:
        return f"Within clients, D has {signs}; no part's interval excludes zero."
    return f"Within clients, D has {signs}; its interval excludes zero for {', '.join(clear)}."


def part_sentences(table: pd.DataFrame) -> list[str]:
    """Say for each rater whether the cognitive or the emotional part goes with more improvement within clients."""
    texts = {
        "below": "the cognitive part goes with more improvement than the emotional one",
        "above": "the emotional part goes with more improvement than the cognitive one",
        "open": "the cognitive and the emotional part are not told apart",
    }
    return [
        f"Within clients, {texts[reading(row, None)]} in the {rater_label(str(row['rater']))}'s ratings."
        for _, row in _within(table).iterrows()
    ]


def rater_table(table: pd.DataFrame, unit: str) -> Table:
    """Tabulate the contrast of the raters by part."""
    differences = table[table["term"] == "difference"]
    groups: dict[str, list[Cells]] = {}
    for (model, level), own in differences.groupby(["model", "level"], sort=False):
        for _, row in own.iterrows():
            same = table[
                (table["model"] == model) & (table["level"] == level) & (table["scale"] == row["scale"])
            ]
            cells = (sentence_case(words(str(row["scale"]))), *pair_coefficients(same, row), _shown(row))
            groups.setdefault(f"{model_label(str(model))}: {level_label(str(level))}", []).append(cells)
    first = differences.iloc[0] if len(differences) else None
    names = (
        ("", "") if first is None else (rater_label(str(first["rater"])), rater_label(str(first["rater_b"])))
    )
    different = table["sample"].fillna("").str.endswith("different forms").any()
    return make_grouped_table(
        "parts-by-rater",
        f"The contrast of the raters by part, in {unit} per standard deviation of the part.",
        ("Part", f"β, {names[0]}", f"β, {names[1]}", "D [95\N{NO-BREAK SPACE}% interval]"),
        groups,
        notes=("The raters filled in different forms: parts of one name may differ in content.",)
        if different
        else (),
    )


def part_table(table: pd.DataFrame, everything: pd.DataFrame) -> Table:
    """Tabulate the contrast of the cognitive and the emotional part of each rater."""
    groups: dict[str, list[Cells]] = {}
    for _, row in table[table["term"] == "difference"].iterrows():
        prefix = str(row["row_id"]).rsplit(".", 3)[0]
        same = everything[everything["row_id"].str.startswith(prefix)]
        found = [first_row(same, term="coefficient_standardised", scale=part) for part in PARTS]
        cells = (
            f"{model_label(str(row['model']))}, {level_label(str(row['level']))}",
            *(
                ABSENT if each is None or each["status"] != "ok" else number(each["estimate"])
                for each in found
            ),
            _shown(row),
        )
        groups.setdefault(sentence_case(rater_label(str(row["rater"]))), []).append(cells)
    return make_grouped_table(
        "cognitive-and-emotional",
        "The cognitive against the emotional part of each rater's alliance.",
        ("Model and level", "β, cognitive", "β, emotional", "D [95\N{NO-BREAK SPACE}% interval]"),
        groups,
        notes=("Below zero: the cognitive part goes with less severity than the emotional one.",),
    )


def _shown(row: pd.Series) -> str:
    """Write an estimate with its interval, or what there is in its place."""
    if row["status"] != "ok":
        return status_words(row["status"])
    return estimate_with_interval(row["estimate"], row["ci_low"], row["ci_high"])
