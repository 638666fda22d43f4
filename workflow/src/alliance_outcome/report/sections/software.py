"""Software versions, and what the run cost."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Section, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import count, number, sentence_case
from alliance_outcome.report.labels import words
from alliance_outcome.report.tables import Table, make_table


def build(facts: Facts) -> Section:
    """Build the section on versions."""
    rows = list(facts.versions.items())
    table = make_table(
        "versions", "Software behind the numbers.", ("Software", "Version"), rows, numeric_from=9
    )
    return Section("software", "Software", tuple(table_blocks([table])))


def build_appendix(facts: Facts) -> Section | None:
    """Build the appendix on time and memory; None without benchmarks."""
    if facts.benchmarks is None or facts.benchmarks.empty:
        return None
    return Section(
        "cost", "Appendix: time and memory", tuple(table_blocks([benchmark_table(facts.benchmarks)]))
    )


def benchmark_table(benchmarks: pd.DataFrame) -> Table:
    """Tabulate time and memory of the rules that were measured."""
    rows = [
        (sentence_case(words(row["rule"])), number(row["seconds"], 1), count(row["max_rss_mb"]))
        for row in benchmarks.to_dict("records")
    ]
    headings = ("Rule", "Seconds", "Peak memory, MB")
    return make_table("benchmarks", "What the rules of the workflow cost.", headings, rows)
