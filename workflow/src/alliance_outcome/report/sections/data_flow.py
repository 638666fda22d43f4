"""From the raw files to the rows of the models: what was kept, dropped, recoded or flipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.blocks import Block, Flow, FlowStep, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, is_absent, number, sentence_case
from alliance_outcome.report.labels import stage_label, words
from alliance_outcome.report.tables import Table, make_table

_UNITS = (("n_rows", "row"), ("n_clients", "client"), ("n_therapists", "therapist"))
_KINDS = {
    "flipped": "Turned round",
    "items_imputed": "Items filled in",
    "missing_code": "Missing code",
    "user_missing": "Missing by the file's own definition",
    "unverified_key": "Unverified scoring key",
    "overridden_key": "Overridden scoring key",
    "stored_total": "Stored total",
}
_STAGES = {
    "hybrid": "Session-to-session models",
    "joint": "Model of severity and all ratings",
    "early": "Early-alliance models",
}


def build(facts: Facts) -> Section:
    """Build the section."""
    blocks: list[Block] = [
        Text(
            "Each box says what was left after a step; what a step took away stands above it, and steps that took "
            "nothing away are listed in small print. Nothing was repaired silently: the table beneath lists whatever "
            "was recoded, turned round, filled in or assumed."
        ),
        flow(facts.results.data_flow),
    ]
    tables = table_blocks([announcement_table(facts.results.table("announcements"))])
    blocks += tables or [Text("Nothing was recoded, turned round, filled in or assumed.")]
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
        Stages in order, each with its boxes; a step that removed nothing is listed in the box before it.
    """
    known = [unit for unit in _UNITS if table[unit[0]].fillna(0).any()]
    stages = [
        (_STAGES.get(stage, stage_label(stage)), tuple(_boxes(rows, known)))
        for stage, rows in table.groupby("stage", sort=False)
    ]
    return Flow(tuple(stages))


def _boxes(rows: pd.DataFrame, units: Sequence[tuple[str, str]]) -> list[FlowStep]:
    """Write the boxes of one stage; its first step is where it starts."""
    one_row_per_client = bool((rows["n_rows"] == rows["n_clients"]).all())
    unit = "client" if one_row_per_client else "row"
    shown = [each for each in units if not (one_row_per_client and each[0] == "n_rows")]
    boxes: list[FlowStep] = []
    for row in rows.to_dict("records"):
        text = row["text"].removesuffix(".")
        removed = 0 if is_absent(row["n_removed"]) else row["n_removed"]
        kept = ", ".join(_counted(row[column], name) for column, name in shown if not is_absent(row[column]))
        if boxes and not removed:
            last = boxes[-1]
            boxes[-1] = dataclasses.replace(last, harmless=(*last.harmless, (text, kept)))
        else:
            boxes.append(FlowStep(text, kept, f"{_counted(removed, unit)} removed" if removed else ""))
    return boxes


def _counted(value: float, unit: str) -> str:
    """Write a count with its unit, kept on one line."""
    return f"{count(value)}\N{NO-BREAK SPACE}{unit}{'' if value == 1 else 's'}"


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
        "announcements", "What was announced while reading the files.", headings, rows, numeric_from=4
    )


def _announcement_cells(group: pd.DataFrame) -> tuple[str, ...]:
    """Write one announcement, or several that differ in the number of their column only."""
    first = group.iloc[0]
    column = ABSENT if is_absent(first["column"]) else first["column"]
    total = pd.to_numeric(group["n"]).sum(min_count=1)
    several = len(group) > 1
    counted = several or first["text"].startswith(f"{total:g} ")
    return (
        _KINDS.get(first["kind"], sentence_case(words(first["kind"]))),
        ABSENT if is_absent(first["file"]) else words(first["file"]),
        f"{column} to {group['column'].iloc[-1]} ({len(group)} columns)" if several else column,
        sentence_case(first["said"]) if counted else first["text"],
        number(total, 0),
    )
