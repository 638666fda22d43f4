"""What the bias table says, in words."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.formatting import count, join_words, lower_first, number
from alliance_outcome.report.labels import MODEL_LABELS

PROCESSES = {
    "trends": "the primary panel model, with trends of clients",
    "no_trends": "the same process without trends",
    "trends_and_error": "the process with trends, rated with autocorrelated measurement error",
}
ESTIMATORS = {
    "lagged_outcome": "Previous severity as it is",
    "centred_lag": "Previous severity, centred within clients",
    "no_lag": "No previous severity",
    "detrended": "Alliance detrended within clients",
    "hybrid": "Hybrid model with random slopes",
    **{name: MODEL_LABELS[name] for name in ("dynamic_panel", "cross_lagged", "cross_lagged_trends")},
}

#: The scenario whose difference is not zero, and the one whose effects are equal.
DIFFERENT, EQUAL = "different", "equal"
#: An estimator recovers the difference if its bias is at most this share of it, or twice its Monte Carlo error.
NEGLIGIBLE = 0.05


def differences(bias: pd.DataFrame, scenario: str = DIFFERENT) -> pd.DataFrame:
    """Pick the rows of D of a scenario that some replications converged in."""
    own = (bias["quantity"] == "difference") & (bias["scenario"] == scenario)
    return bias[own & bias["bias"].notna()]


def recovers(row: pd.Series) -> bool:
    """Whether an estimator's bias is negligible, or cannot be told from chance."""
    return abs(row["bias"]) <= max(NEGLIGIBLE * abs(row["truth"]), 2.0 * row["bias_mcse"])


def verdict(process: str, rows: pd.DataFrame, unit: str) -> str:
    """Say which estimators recover D if data arose from a process, and how far off the others are.

    Parameters
    ----------
    process : str
        Of :data:`PROCESSES`.
    rows : DataFrame
        Rows of D of that process.
    unit : str
        Unit of the outcome.

    Returns
    -------
    str
    """
    good = [lower_first(ESTIMATORS[row["estimator"]]) for _, row in rows.iterrows() if recovers(row)]
    off = [
        f"{lower_first(ESTIMATORS[row['estimator']])} by {number(row['bias'], 2)}"
        for _, row in rows.iterrows()
        if not recovers(row)
    ]
    truth = number(rows["truth"].iloc[0], 2)
    start = f"If your data arose from {PROCESSES[process]}, with a D of {truth} {unit}"
    parts = []
    if good:
        verb = "would recover it" if len(good) > 1 else "alone would recover it"
        parts.append(f"{join_words(good)} {verb}")
    if off:
        subject = "others" if good else "every estimator"
        parts.append(f"{subject} would be off: {join_words(off)}")
    return f"{start}: {'; '.join(parts)}."


def introduction(bias: pd.DataFrame) -> str:
    """Say what was simulated."""
    first = bias.iloc[0]
    return (
        f"Studies with this one's {count(first['n_clients'])} clients, {count(first['n_waves'])} sessions and missing "
        f"values were simulated, {count(bias['n_replications'].max())} of each kind, with planted effects: none, equal "
        "ones of both raters (−0.15 standard deviations), and a larger one of the client's (−0.15 against −0.05). "
        "Everything else is as the primary panel model estimated it. The paths that count here are planted, never "
        "those estimated, and the primary model was fixed before: the table says what to make of the others."
    )


NOT_RUN = (
    "How far off each estimator would be in a study of this size can be simulated: run the target bias, then the "
    "workflow again."
)
NOTE = (
    "Per standard deviation of alliance within clients, as planted; Monte Carlo standard errors in brackets. "
    "Coverage is that of 95 % intervals; type-I error is how often D seems to differ from zero where effects are "
    "equal, power where they differ. Multilevel models have a random intercept of clients; session means are taken "
    "out before."
)
