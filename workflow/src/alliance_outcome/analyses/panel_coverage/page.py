"""The table of the panel models' coverage as a page to read."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.panel_coverage.designs import (
    DESIGNS,
    PATHS,
    SEED,
    SESSIONS,
    STUDIES,
    TREND_SD,
)
from alliance_outcome.analyses.panel_coverage.table import verdict

_INTRODUCTION = """\
# How often 95 % intervals of the panel models hold the truth

Written by `uv run snakemake panel_coverage --cores 2`, together with a table for each design, which has every
number in full.

**{verdict}**

Each cell rests on {studies:,} simulated studies. The seed ({seed}), sizes, true values and the cells that are judged
were fixed before the first run, and no cell is left out. Severity and two raters' alliance follow a first-order
process about what is stable of a client: paths to severity {to_severity}, from the same before (standard deviations
within clients near 1). With trends, each variable changes by {trend:g} standard deviations from the first session to
the last, in clients' own directions. Clients leave, the more probably the higher their last severity (*MAR*) or the
severity that is not seen any more (*MNAR*); at average severity one in ten before each session.

Cells in **bold** are judged: the model is right, values are missing at random, and there are 400 clients or five for
each parameter (but for expected values and initial covariances). Coverage must lie within 1.5 points and three Monte
Carlo standard errors of 95 %. ✗ marks judged cells outside. The others have no pass mark: misspecified models, values
missing not at random, few clients. Entries are coverage in percent and bias in thousandths, of the difference of the
raters' paths (planted: −0.10); a dash where a model is refused or hardly ever converges. Studies without an interval
are not counted; their share stands in the tables.
"""

_LABELS = {
    "dynamic_panel": "Dynamic panel model",
    "cross_lagged": "Cross-lagged, no trends",
    "cross_lagged_trends": "Cross-lagged, trends",
}
_MISSING = {"complete": "complete", "mar": "MAR", "mnar": "MNAR"}
_PROCESSES = {"no_trends": "Clients without trends", "trends": "Clients with trends"}


def coverage_page(tables: Sequence[pd.DataFrame]) -> str:
    """Write the page.

    Parameters
    ----------
    tables : sequence of DataFrame
        From :func:`~alliance_outcome.analyses.panel_coverage.table.coverage_table`, one for each design that was run.

    Returns
    -------
    str
        Markdown.
    """
    table = pd.concat(list(tables), ignore_index=True)
    missing = _not_run(set(table["design"]))
    text = _INTRODUCTION.format(
        verdict=verdict([table]), studies=STUDIES, seed=SEED, to_severity=PATHS[0], trend=TREND_SD
    )
    parts = [text] + [f"Not run yet: {', '.join(missing)}.\n"] * bool(missing)
    for process, rows in table.groupby("process", sort=False):
        parts.append(f"## {_PROCESSES[str(process)]}\n\n{_grid(rows)}\n")
    return "\n".join(parts)


def _not_run(known: set[str]) -> list[str]:
    """Say how many designs there are no tables of, by number of sessions."""
    found = []
    for sessions in SESSIONS:
        own = [name for name, design in DESIGNS.items() if design.sessions == sessions]
        absent = [name for name in own if name not in known]
        if absent:
            found.append(f"{len(absent)} of {len(own)} designs with {sessions} sessions")
    return found


def _grid(rows: pd.DataFrame) -> str:
    """Write estimators in columns, designs in rows."""
    own = rows[rows["quantity"] == "difference"]
    names = list(_LABELS)
    lines = [
        "| Sessions | Clients | Missing | " + " | ".join(_LABELS[name] for name in names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for (sessions, clients, missing), cells in own.groupby(["sessions", "clients", "missing"], sort=False):
        by_name = cells.set_index("estimator")
        entries = [_entry(by_name.loc[name]) for name in names]
        lines.append(f"| {sessions} | {clients} | {_MISSING[missing]} | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def _entry(row: pd.Series) -> str:
    if pd.isna(row["coverage"]):
        return "–"
    text = f"{100.0 * row['coverage']:.1f} ({1000.0 * row['bias']:+.0f})".replace("-", "−")
    if pd.isna(row["passed"]):
        return text
    return f"**{text}**" if row["passed"] else f"**{text}** ✗"
