"""From the raw files to the rows of the models: what was kept, dropped, recoded or flipped."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, Flow, FlowStep, Heading, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, is_absent, join_words, number, sentence_case
from alliance_outcome.report.labels import stage_label, words
from alliance_outcome.report.tables import Table, make_table

_UNITS = (("n_rows", "row"), ("n_clients", "client"), ("n_therapists", "therapist"))


def build(facts: Facts) -> Section:
    """Build the section."""
    blocks: list[Block] = [
        Text(
            "Each box says what was left after a step; what a step took away stands beside it. Nothing was repaired "
            "silently: the table beneath lists whatever was recoded, flipped, imputed or assumed."
        ),
        flow(facts.results.data_flow),
        Heading("What was announced while reading the files"),
    ]
    tables = table_blocks([announcement_table(facts.results.table("announcements"))])
    blocks += tables or [Text("Nothing was recoded, flipped, imputed or assumed.")]
    return Section("data-flow", "Data flow", tuple(blocks))


def flow(table: pd.DataFrame) -> Flow:
    """Turn the data-flow table into boxes.

    Parameters
    ----------
    table : DataFrame
        Steps in order, with ``stage, text, n_rows, n_clients, n_therapists, n_removed``.

    Returns
    -------
    Flow
        Stages in order, each with its steps.
    """
    stages = [
        (
            stage_label(stage),
            tuple(_step(row, position) for position, row in enumerate(rows.to_dict("records"))),
        )
        for stage, rows in table.groupby("stage", sort=False)
    ]
    return Flow(tuple(stages))


def _step(row: dict, position: int) -> FlowStep:
    """Write one box; the first of a stage is where it starts, so nothing can have been removed."""
    kept = [_counted(row[column], unit) for column, unit in _UNITS if not is_absent(row[column])]
    removed = row["n_removed"]
    taken = "" if is_absent(removed) else f"{_counted(removed, 'row') if removed else 'nothing'} removed"
    return FlowStep(row["text"], join_words(kept), taken if position or removed else "")


def _counted(value: float, unit: str) -> str:
    """Write a count with its unit."""
    return f"{count(value)} {unit}{'' if value == 1 else 's'}"


def announcement_table(table: pd.DataFrame) -> Table:
    """Tabulate what reading the files announced; what was said of each item of a form is said once.

    Parameters
    ----------
    table : DataFrame
        ``announcements.csv``.

    Returns
    -------
    Table
        One row per kind, file, text (apart from its leading count) and columns that differ in their number only.
    """
    shown = table.assign(
        stem=table["column"].fillna("").str.replace(r"\d+$", "", regex=True),
        said=table["text"].str.replace(r"^\d[\d,.]*\s+", "", regex=True),
    )
    keys = ["kind", "file", "stem", "said"]
    groups = shown.groupby(keys, sort=False, dropna=False)
    rows = [_announcement_cells(group) for _, group in groups]
    headings = ("Kind", "File", "Column", "What was done or assumed", "Count")
    return make_table(
        "announcements", "Announcements while reading the files.", headings, rows, numeric_from=4
    )


def _announcement_cells(group: pd.DataFrame) -> tuple[str, ...]:
    """Write one announcement, or several that differ in the number of their column only."""
    first = group.iloc[0]
    column = ABSENT if is_absent(first["column"]) else first["column"]
    total = pd.to_numeric(group["n"]).sum(min_count=1)
    several = len(group) > 1
    return (
        sentence_case(words(first["kind"])),
        ABSENT if is_absent(first["file"]) else words(first["file"]),
        f"{column} to {group['column'].iloc[-1]} ({len(group)} columns)" if several else column,
        sentence_case(first["said"]) if several else first["text"],
        number(total, 0),
    )
