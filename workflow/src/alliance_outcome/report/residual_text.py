"""Residuals and random effects of the model behind the answer in words and in a table."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.formatting import count, join_words, lower_first, number
from alliance_outcome.report.labels import SLOT_WORDS, random_effect_label
from alliance_outcome.report.tables import Table, make_table


def residual_value(table: pd.DataFrame, diagnostic: str, at: float | None = None) -> float | None:
    """Look up one number of the diagnostics; None where it is not there.

    Parameters
    ----------
    table : DataFrame
        ``diagnostics_multilevel.csv``.
    diagnostic : str
        Its name.
    at : float, optional
        Which of several.

    Returns
    -------
    float or None
    """
    rows = table[table["diagnostic"] == diagnostic]
    rows = rows if at is None else rows[rows["at"] == at]
    return float(rows["value"].iloc[0]) if len(rows) else None


def residual_sentences(table: pd.DataFrame, lag_unit: str) -> str:
    """Say what the diagnostics found.

    Parameters
    ----------
    table : DataFrame
        ``diagnostics_multilevel.csv``.
    lag_unit : str
        Unit in which the study counts lags.

    Returns
    -------
    str
        Sentences on shape, outliers, spread and autocorrelation; those whose numbers are missing are left out.
    """
    found = (_shape(table), _far_out(table), _spread(table), _autocorrelation(table, lag_unit))
    return " ".join(sentence for sentence in found if sentence)


def _shape(table: pd.DataFrame) -> str:
    skewness, kurtosis = (residual_value(table, f"residual_{name}") for name in ("skewness", "kurtosis"))
    if skewness is None or kurtosis is None:
        return ""
    return (
        f"Residuals have a skewness of {number(skewness)} and an excess kurtosis of {number(kurtosis)}; a normal "
        "distribution has 0 and 0."
    )


def _far_out(table: pd.DataFrame) -> str:
    beyond = residual_value(table, "residual_beyond_4")
    if beyond is None:
        return ""
    rows = table.loc[table["diagnostic"] == "residual_beyond_4", "n_rows"].iloc[0]
    found = count(beyond) if beyond else "None"
    return f"{found} of {count(rows)} residuals lie beyond four residual standard deviations."


def _spread(table: pd.DataFrame) -> str:
    values = table.loc[table["diagnostic"] == "residual_sd_by_slot", "value"]
    if len(values) < 2:
        return ""
    return (
        f"Over time their standard deviation ranges from {number(values.min())} to {number(values.max())} of the "
        "model's residual standard deviation."
    )


def _autocorrelation(table: pd.DataFrame, lag_unit: str) -> str:
    rows = table[table["diagnostic"] == "residual_autocorrelation"].sort_values("at")
    if rows.empty:
        return ""
    values = join_words([number(value) for value in rows["value"]])
    distances = join_words([count(at) for at in rows["at"]])
    unit = SLOT_WORDS.get(lag_unit, "slot")
    return f"Residuals {distances} {unit}s apart correlate by {values}; under the model they would not correlate."


def effect_table(table: pd.DataFrame) -> Table:
    """Tabulate skewness and excess kurtosis of the estimated effects of clients and therapists.

    Parameters
    ----------
    table : DataFrame
        ``diagnostics_multilevel.csv``.

    Returns
    -------
    Table
        One row per effect; without rows where there are too few units.
    """
    shapes = table[table["diagnostic"].isin(["effect_skewness", "effect_kurtosis"])]
    rows = []
    for (level, term), same in shapes.groupby(["level", "term"], sort=False):
        values = same.set_index("diagnostic")["value"]
        rows.append(
            (
                f"{level.capitalize()}s: {lower_first(random_effect_label(term))}",
                count(same["n_units"].iloc[0]),
                number(values.get("effect_skewness")),
                number(values.get("effect_kurtosis")),
            )
        )
    return make_table(
        "effects",
        "Shape of the estimated effects of clients and therapists.",
        ("Effect", "Units", "Skewness", "Excess kurtosis"),
        rows,
        notes=(
            "A normal distribution has 0 and 0. Estimated effects are pulled towards zero and towards a normal shape, "
            "so that only marked deviations show.",
        ),
    )
