"""The benchmark of the multilevel engine in words: one table, the conditions, and what was left out.

Plain text in Markdown, readable in a terminal too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.contestants import LME4, MIXEDLM
from alliance_outcome.analyses.engine_benchmark.records import (
    BOOTSTRAP,
    BOOTSTRAP_ONE_CORE,
    EMPTY_CACHE,
    FIRST_CALL,
    HOT,
    IMPORT,
    PEAK_MEMORY,
)
from alliance_outcome.analyses.engine_benchmark.verdicts import ALLOWANCE

_MEASURES = {
    HOT: "fit",
    FIRST_CALL: "first call in a process",
    EMPTY_CACHE: "first call, nothing compiled yet",
    IMPORT: "loading the package",
    PEAK_MEMORY: "peak memory of a process",
    BOOTSTRAP: "bootstrap, 1,000 refits",
    BOOTSTRAP_ONE_CORE: "bootstrap, peer on one core",
}
_HEADINGS = (
    "what",
    "rows / clients / therapists",
    "engine",
    "peer",
    "peer's",
    "ratio",
    "must reach",
    "passes",
)
#: Peers that fit the very same model, whose likelihoods compare.
_SAME_MODEL = (LME4, MIXEDLM)

_INTRODUCTION = f"""Medians. A fit is the whole call, from formula and table to fixed effects and their covariance
matrix, in a process that has fitted before, runs of all contestants interleaved; reading data and loading packages is
left out. The ratio is the peer's value by the engine's. A time passes at {ALLOWANCE:g} of its figure, memory at its
figure (0.7 of lme4's). The model is y ~ x + z + w with random intercepts and slopes of clients and random intercepts of
therapists, by restricted maximum likelihood; lme4 runs with nloptwrap and without derivatives. Compiled code is on disk
except where nothing is compiled yet, as after an installation; lme4's first call stands beside both."""


def speed_page(
    speed: pd.DataFrame,
    measurements: pd.DataFrame,
    growth: str,
    conditions: Mapping[str, str],
    left_out: Sequence[str],
) -> str:
    """Write the benchmark's page.

    Parameters
    ----------
    speed : DataFrame
        See :func:`alliance_outcome.analyses.engine_benchmark.verdicts.speed_table`.
    measurements : DataFrame
        One row per run.
    growth : str
        The figure of growth in words.
    conditions : mapping of str
        Machine, load and versions.
    left_out : sequence of str
        What was not measured, and why.

    Returns
    -------
    str
        Markdown.
    """
    parts = [
        "# Speed of the multilevel engine",
        _INTRODUCTION,
        text_table(_HEADINGS, [_cells(row) for _, row in speed.iterrows()]),
        _verdict(speed),
        _agreement(speed),
        _scaled(measurements),
        *closing(conditions, left_out),
        f"Growth (`growth.svg`, values in `growth.csv`): {growth} Every run of the table is in `measurements.csv`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def closing(conditions: Mapping[str, str], left_out: Sequence[str]) -> list[str]:
    """Write what every benchmark's page ends with: the machine, and what was left out.

    Parameters
    ----------
    conditions : mapping of str
        Machine, load and versions.
    left_out : sequence of str
        What was not measured, and why.

    Returns
    -------
    list of str
        Paragraphs.
    """
    machine = "Machine: " + "; ".join(f"{name} {value}" for name, value in conditions.items()) + "."
    return (
        [machine, "Left out:\n\n" + "\n".join(f"- {reason}" for reason in left_out)]
        if left_out
        else [machine]
    )


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in Markdown with aligned columns.

    Parameters
    ----------
    headings : sequence of str
    rows : sequence of sequence of str

    Returns
    -------
    str
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _cells(row: pd.Series) -> list[str]:
    size = f"{row['rows']:,} / {row['clients']:,} / {row['therapists']:,}"
    passed = "" if pd.isna(row["passed"]) else ("yes" if row["passed"] else "NO")
    return [
        _MEASURES[row["measure"]],
        size,
        quantity(row["engine"], row["unit"]),
        "" if pd.isna(row["peer"]) else row["peer"],
        quantity(row["peer_value"], row["unit"]),
        times(row["ratio"]),
        times(row["must_reach"]),
        passed,
    ]


def quantity(value: float, unit: str) -> str:
    """Write a time or an amount of memory with three digits.

    Parameters
    ----------
    value : float
    unit : str

    Returns
    -------
    str
    """
    if pd.isna(value):
        return ""
    if unit == "s" and value < 1.0:
        return f"{1000.0 * value:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 100.0 else f"{value:.3g} {unit}"


def times(ratio: float) -> str:
    """Write a ratio; nothing where there is none.

    Parameters
    ----------
    ratio : float

    Returns
    -------
    str
    """
    return "" if pd.isna(ratio) else f"{ratio:.3g} ×"


def _verdict(speed: pd.DataFrame) -> str:
    """Say how many of the figures are reached."""
    judged = speed[speed["passed"].notna()]
    if judged.empty:
        return "None of the figures could be judged."
    passed = int(judged["passed"].sum())
    missed = judged[~judged["passed"].astype(bool)]
    words = f"{passed} of {len(judged)} figures pass."
    if len(missed):
        names = [f"{_MEASURES[row['measure']]} at {row['rows']:,} rows" for _, row in missed.iterrows()]
        words += f" Missed: {'; '.join(names)}."
    return words


def _agreement(speed: pd.DataFrame) -> str:
    """Say how far the likelihoods of peers with the same model are from the engine's."""
    same = speed[speed["peer"].isin(_SAME_MODEL) & (speed["measure"] == HOT)]
    lines = []
    for peer, rows in same.groupby("peer"):
        low, high = rows["log_likelihood_difference"].min(), rows["log_likelihood_difference"].max()
        lines.append(
            f"{peer}'s restricted log-likelihood less the engine's: between {low:.1e} and {high:.1e}."
        )
    return " ".join(lines)


def _scaled(measurements: pd.DataFrame) -> str:
    """Say which bootstraps were timed on fewer refits and scaled up."""
    runs = measurements[measurements["timed_refits"].notna()]
    if runs.empty:
        return ""
    most = runs["timed_refits"].max()
    fewer = runs[runs["timed_refits"] < most].drop_duplicates(["measure", "contestant"])
    words = [
        f"{row['contestant']} ({_MEASURES[row['measure']]}): {row['timed_refits']:.0f} refits timed, "
        f"scaled to {most:,.0f}"
        for _, row in fewer.iterrows()
    ]
    return "; ".join(words) + "." if words else ""
