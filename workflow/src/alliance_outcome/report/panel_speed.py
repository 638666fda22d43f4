"""The benchmark of the panel models in words; plain text in Markdown, readable in a terminal too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.verdicts import ALLOWANCE
from alliance_outcome.analyses.panel_benchmark.measuring import FIT, SAMPLING, WHOLE
from alliance_outcome.analyses.panel_benchmark.verdicts import agreement, verdict_table
from alliance_outcome.report.engine_speed import closing, quantity, text_table, times

_MEASURES = {WHOLE: "fit and standard errors", FIT: "fit", SAMPLING: "NUTS, smallest ESS of all quantities"}
_HEADINGS = ("what", "clients / sessions", "takes", "lavaan takes", "ratio", "limit", "passes")
_INTRODUCTION = f"""The cross-lagged panel model with random intercepts of severity and two raters' alliance, residual
covariances of each session, by full-information maximum likelihood; 20 % of values are missing completely at random,
so that of many clients nearly each has a pattern of missing values of their own. Medians over interleaved runs, one
core; NUTS runs two chains at a time, warm-up and the search of the mode included. A ratio to lavaan, and effective
draws a second, pass at {ALLOWANCE:g} of their limit, seconds at their limit."""


def panel_speed_page(
    measurements: pd.DataFrame, conditions: Mapping[str, str], left_out: Sequence[str]
) -> str:
    """Write the benchmark's page.

    Parameters
    ----------
    measurements : DataFrame
        See :func:`alliance_outcome.analyses.panel_benchmark.measuring.measure`.
    conditions : mapping of str
        Machine, load and versions.
    left_out : sequence of str
        What was not measured, and why.

    Returns
    -------
    str
        Markdown.
    """
    verdicts = verdict_table(measurements)
    parts = [
        "# Speed of the panel models",
        _INTRODUCTION,
        text_table(_HEADINGS, [_cells(row) for _, row in verdicts.iterrows()]),
        _summary(verdicts),
        _agreement(agreement(measurements)),
        *closing(conditions, left_out),
        "Every run is in `panel_measurements.csv`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: pd.Series) -> list[str]:
    value = f"{row['value']:,.0f} ESS/s" if row["unit"] == "ESS/s" else quantity(row["value"], row["unit"])
    beside = pd.notna(row["beside"])
    limit = f"{row['limit']:,.0f} ESS/s" if row["unit"] == "ESS/s" else quantity(row["limit"], row["unit"])
    return [
        _MEASURES[row["what"]],
        f"{row['clients']:,} / {row['waves']:,}",
        value,
        quantity(row["beside"], "s") if beside else "",
        times(row["beside"] / row["value"]) if beside else "",
        times(row["limit"]) if beside else limit,
        "yes" if row["passed"] else "NO",
    ]


def _summary(verdicts: pd.DataFrame) -> str:
    """Say how many of the figures are reached."""
    missed = verdicts[~verdicts["passed"]]
    words = f"{len(verdicts) - len(missed)} of {len(verdicts)} figures pass."
    names = [f"{_MEASURES[row['what']]} of {row['clients']:,} clients" for _, row in missed.iterrows()]
    return words + (f" Missed: {'; '.join(names)}." if names else "")


def _agreement(difference: float) -> str:
    if pd.isna(difference):
        return ""
    return f"Log-likelihoods of this package and lavaan differ by {difference:.0e} of their size."
