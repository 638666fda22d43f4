"""What the bias table says, in words."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.bias.designs import SCENARIOS
from alliance_outcome.report.formatting import count, join_words, lower_first, number
from alliance_outcome.report.labels import MODEL_LABELS

PROCESSES = {
    "trends": "the primary panel model, with trends of clients",
    "no_trends": "the same process without trends",
    "trends_and_error": "trends and autocorrelated measurement error",
}
ESTIMATORS = {
    "lagged_outcome": "Uncentred lagged severity",
    "centred_lag": "Centred lagged severity",
    "no_lag": "No lagged severity",
    "detrended": "Detrended alliance",
    "hybrid": "Hybrid model with random slopes",
    **{name: MODEL_LABELS[name] for name in ("dynamic_panel", "cross_lagged", "cross_lagged_trends")},
}

#: The scenario whose difference is not zero, and the one whose effects are equal.
DIFFERENT, EQUAL = "different", "equal"
#: An estimator recovers the difference if its bias is at most this share of it, or twice its Monte Carlo error.
NEGLIGIBLE = 0.05


def rows_of(bias: pd.DataFrame, quantity: str, scenario: str = DIFFERENT) -> pd.DataFrame:
    """Pick the rows of a quantity in a scenario that some replications converged in."""
    own = (bias["quantity"] == quantity) & (bias["scenario"] == scenario)
    return bias[own & bias["bias"].notna()]


def recovers(row: pd.Series) -> bool:
    """Whether an estimator's bias is negligible, or cannot be told from chance."""
    return abs(row["bias"]) <= max(NEGLIGIBLE * abs(row["truth"]), 2.0 * row["bias_mcse"])


def verdict(process: str, bias: pd.DataFrame, unit: str) -> str:
    """Say which estimators recover the effects if data arose from a process, and how far off the others are.

    Parameters
    ----------
    process : str
        Of :data:`PROCESSES`.
    bias : DataFrame
        ``bias.csv``.
    unit : str
        Unit of the outcome.

    Returns
    -------
    str
    """
    own = bias[bias["process"] == process]
    parts = [
        _sentence(rows_of(own, quantity), what, unit)
        for quantity, what in (("client", "an effect of the client's rating"), ("difference", "a D"))
    ]
    return f"If your data arose from {PROCESSES[process]}: {'; '.join(part for part in parts if part)}."


def _sentence(rows: pd.DataFrame, what: str, unit: str) -> str:
    """Say who recovers one quantity, and how far off the others are."""
    if rows.empty:
        return ""
    good = [lower_first(ESTIMATORS[row["estimator"]]) for _, row in rows.iterrows() if recovers(row)]
    off = [
        f"{lower_first(ESTIMATORS[row['estimator']])} (by {number(row['bias'], 2)})"
        for _, row in rows.iterrows()
        if not recovers(row)
    ]
    start = f"{what} of {number(rows['truth'].iloc[0], 2)} {unit} would be"
    recovered = f"recovered by {join_words(good)}" if good else "recovered by none"
    return f"{start} {recovered}" + (f", and missed by {join_words(off)}" if off else "")


def introduction(bias: pd.DataFrame) -> str:
    """Say what was simulated."""
    first = bias.iloc[0]
    planted = {each.name: each for each in SCENARIOS}
    equal, larger = number(planted[EQUAL].client, 2), planted[DIFFERENT]
    return (
        f"Studies with this one's {count(first['n_clients'])} clients, {count(first['n_waves'])} sessions and missing "
        f"values were simulated, {count(bias['n_replications'].max())} of each kind, with planted effects: none, equal "
        f"ones of both raters ({equal} standard deviations), and a larger one of the client's "
        f"({number(larger.client, 2)} against {number(larger.therapist, 2)}). "
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
