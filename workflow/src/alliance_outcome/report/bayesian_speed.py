"""The benchmark of the Bayesian model in words: tables, the conditions, and what was left out.

Plain text in Markdown, readable in a terminal too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from alliance_outcome.analyses.bayesian_benchmark.contestants import BAMBI, BRMS, COLLAPSED, NUTS
from alliance_outcome.analyses.bayesian_benchmark.verdicts import (
    PEAK_MEMORY,
    SAMPLING,
    SECONDS,
    WHOLE_CALL,
    WITH_COMPILING,
    limit_table,
    ratio_table,
    whole_processes,
)
from alliance_outcome.analyses.engine_benchmark.verdicts import ALLOWANCE
from alliance_outcome.report.engine_speed import closing, quantity, text_table, times

_MEASURES = {
    SAMPLING: "NUTS, sampling",
    WITH_COMPILING: "NUTS, with compiling",
    WHOLE_CALL: "collapsed, whole call",
}
_LIMITS = {SECONDS: "sampling", PEAK_MEMORY: "peak memory"}
_SIZE = "rows / clients / therapists"
_RATIO_HEADINGS = ("what", _SIZE, "ESS/s", "peer", "peer's ESS/s", "ratio", "must reach", "passes")
_LIMIT_HEADINGS = ("what", _SIZE, "takes", "at most", "passes")
_PROCESS_HEADINGS = (
    _SIZE,
    "sampler",
    "loading",
    "setting up",
    "sampling",
    "altogether",
    "ESS",
    "peak memory",
)

_INTRODUCTION = f"""Effective draws a second (ESS/s): the smallest bulk effective sample size of fixed effects, standard
deviations and correlations, by seconds of wall time, warm-up included; medians over interleaved runs. Two chains at a
time, on all sides. Compiling is left out of the peers' figures, whatever they are held against. A ratio passes at
{ALLOWANCE:g} of its figure, seconds at 1/{ALLOWANCE:g} of theirs, memory at its figure. The model is y ~ x + z + w with
correlated random intercepts and slopes of clients and random intercepts of therapists; priors are the same, but for
bambi, which has no correlation of random effects. NUTS runs in a process of its own each time, with compiled code of
libraries on disk: it sets the model up and compiles it, and then samples. The collapsed sampler is called in a process
that has sampled before."""


def bayesian_speed_page(
    measurements: pd.DataFrame, conditions: Mapping[str, str], left_out: Sequence[str]
) -> str:
    """Write the benchmark's page.

    Parameters
    ----------
    measurements : DataFrame
        See :func:`alliance_outcome.analyses.bayesian_benchmark.measuring.measure`.
    conditions : mapping of str
        Machine, load and versions.
    left_out : sequence of str
        What was not measured, and why.

    Returns
    -------
    str
        Markdown.
    """
    ratios, limits = ratio_table(measurements), limit_table(measurements)
    parts = [
        "# Speed of the Bayesian multilevel model",
        _INTRODUCTION,
        text_table(_RATIO_HEADINGS, [_ratio_cells(row) for _, row in ratios.iterrows()]),
        _verdict(ratios, limits),
        text_table(_LIMIT_HEADINGS, [_limit_cells(row) for _, row in limits.iterrows()])
        if len(limits)
        else "",
        "Processes of their own, from start to posterior:",
        text_table(
            _PROCESS_HEADINGS, [_process_cells(row) for _, row in whole_processes(measurements).iterrows()]
        ),
        _asked(measurements),
        *closing(conditions, left_out),
        "Every posterior is in `bayesian_measurements.csv`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _size(row: pd.Series) -> str:
    return f"{row['rows']:,} / {row['clients']:,} / {row['therapists']:,}"


def _passed(value: object) -> str:
    return "" if pd.isna(value) else ("yes" if value else "NO")


def _ratio_cells(row: pd.Series) -> list[str]:
    known = pd.notna(row["peer"])
    return [
        _MEASURES[row["measure"]],
        _size(row),
        f"{row['ess_per_second']:,.0f}",
        row["peer"] if known else "",
        f"{row['peer_ess_per_second']:,.3g}" if known else "",
        times(row["ratio"]),
        times(row["must_reach"]),
        _passed(row["passed"]),
    ]


def _limit_cells(row: pd.Series) -> list[str]:
    return [
        f"{row['contestant']}, {_LIMITS[row['measure']]}",
        _size(row),
        quantity(row["value"], row["unit"]),
        quantity(row["at_most"], row["unit"]),
        _passed(row["passed"]),
    ]


def _process_cells(row: pd.Series) -> list[str]:
    seconds = [row[f"{name}_seconds"] for name in ("import", "preparing", "sampling")]
    return [
        _size(row),
        row["contestant"],
        *(quantity(each, "s") for each in (*seconds, sum(seconds))),
        f"{row['smallest_ess']:,.0f}",
        quantity(row["peak_memory"], "MiB"),
    ]


def _verdict(ratios: pd.DataFrame, limits: pd.DataFrame) -> str:
    """Say how many of the figures are reached."""
    judged = [
        (f"{_MEASURES[row['measure']]} beside {row['peer']} at {row['rows']:,} rows", bool(row["passed"]))
        for _, row in ratios[ratios["passed"].notna()].iterrows()
    ]
    judged += [
        (f"{row['contestant']}, {_LIMITS[row['measure']]} at {row['rows']:,} rows", bool(row["passed"]))
        for _, row in limits.iterrows()
    ]
    if not judged:
        return "None of the figures could be judged."
    missed = [name for name, passed in judged if not passed]
    words = f"{len(judged) - len(missed)} of {len(judged)} figures pass."
    return words + (f" Missed: {'; '.join(missed)}." if missed else "")


def _asked(measurements: pd.DataFrame) -> str:
    """Say what everybody was asked for, and how good the posteriors are."""
    sentences = []
    for name in (NUTS, COLLAPSED, BRMS, BAMBI):
        runs = measurements[measurements["contestant"] == name]
        if runs.empty:
            continue
        asked = [
            f"{chains} × {kept:,} draws after {warm_up:,} of warm-up ({', '.join(f'{n:,}' for n in sizes)} rows)"
            for (chains, warm_up, kept), sizes in runs.groupby(["chains", "warm_up", "kept"], sort=False)[
                "rows"
            ]
            .unique()
            .items()
        ]
        sentences.append(
            f"{name}: {' and '.join(asked)}, largest R-hat {runs['largest_r_hat'].max():.3f}, "
            f"{runs['divergences'].sum():.0f} divergences."
        )
    return " ".join(sentences)
