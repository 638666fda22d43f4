"""From seconds to verdicts: ratios, and whether the figures to reach are reached."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.verdicts import ALLOWANCE
from alliance_outcome.analyses.panel_benchmark.measuring import ENGINE, FIT, LAVAAN, NUTS, SAMPLING, WHOLE

#: Times faster than lavaan; seconds of many clients; effective draws a second.
MUST_REACH, SECONDS, EFFECTIVE_DRAWS = 20.0, {FIT: 5.0, WHOLE: 15.0}, 100.0

VERDICT_COLUMNS = ("what", "clients", "waves", "value", "unit", "beside", "limit", "passed")


def verdict_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Judge medians over interleaved runs.

    Parameters
    ----------
    measurements : DataFrame
        See :func:`~alliance_outcome.analyses.panel_benchmark.measuring.measure`.

    Returns
    -------
    DataFrame
        :data:`VERDICT_COLUMNS`: a ratio and effective draws must reach their limit, with the allowance of the other
        benchmarks, seconds must stay below it.
    """
    size = ["clients", "waves"]
    medians = measurements.groupby(["measure", "contestant", *size])["seconds"].median().reset_index()
    rows = []
    for row in medians[medians["contestant"] == ENGINE].itertuples():
        here = (medians["measure"] == row.measure) & (medians["clients"] == row.clients)
        peer = medians[here & (medians["contestant"] == LAVAAN)]
        if len(peer):
            other = float(peer["seconds"].iloc[0])
            ratio = other / row.seconds
            passed = ratio >= ALLOWANCE * MUST_REACH
            rows.append((row.measure, row.clients, row.waves, row.seconds, "s", other, MUST_REACH, passed))
        elif row.clients == measurements["clients"].max():
            limit = SECONDS[row.measure]
            passed = row.seconds <= limit
            rows.append((row.measure, row.clients, row.waves, row.seconds, "s", float("nan"), limit, passed))
    nuts = measurements[measurements["contestant"] == NUTS]
    if len(nuts):
        rate = float((nuts["smallest_ess"] / nuts["seconds"]).median())
        first = nuts.iloc[0]
        passed = rate >= ALLOWANCE * EFFECTIVE_DRAWS
        rows.append(
            (SAMPLING, first["clients"], first["waves"], rate, "ESS/s", float("nan"), EFFECTIVE_DRAWS, passed)
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS)).astype({"passed": "boolean"})


def agreement(measurements: pd.DataFrame) -> float:
    """Return the relative difference of the log-likelihoods of this package and lavaan; NaN without lavaan."""
    found = measurements[measurements["measure"] == WHOLE]
    smallest = (
        found[found["clients"] == found["clients"].min()].groupby("contestant")["log_likelihood"].first()
    )
    if LAVAAN not in smallest:
        return float("nan")
    return abs(smallest[ENGINE] - smallest[LAVAAN]) / abs(smallest[LAVAAN])
