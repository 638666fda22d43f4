"""Tables that hold a model's own tests against those under other assumptions about the residuals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.report.estimate_tables import (
    estimate_text,
    interval_heading,
    shared_decimals,
    status_words,
)
from alliance_outcome.report.formatting import (
    ABSENT,
    degrees_of_freedom,
    interval,
    lower_first,
    number,
    sentence_case,
)
from alliance_outcome.report.labels import SLOT_WORDS, model_label
from alliance_outcome.report.robustness import Comparison
from alliance_outcome.report.selection import autoregressive, joint_rows
from alliance_outcome.report.tables import Cells, Table, make_grouped_table


def robust_table(comparisons: Sequence[Comparison]) -> Table:
    """Tabulate D and the alliance coefficients with the model's own and with cluster-robust intervals.

    Parameters
    ----------
    comparisons : sequence of Comparison
        From :func:`~alliance_outcome.report.robustness.robust_comparisons`.

    Returns
    -------
    Table
        One group per model; without rows where no model has cluster-robust rows.
    """
    groups: dict[str, list[Cells]] = {}
    for each in comparisons:
        groups.setdefault(model_label(each.own["model"]), []).append(_robust_cells(each))
    heading = lower_first(
        interval_heading(pd.DataFrame([each.own for each in comparisons], columns=["ci_level"]))
    )
    return make_grouped_table(
        "cluster-robust",
        "Cluster-robust standard errors beside the model's own, all raters in one model.",
        ("Quantity", "Estimate", f"Model's {heading}", "df", f"Robust {heading}", "df (robust)", "Reads"),
        groups,
        notes=(
            "D per standard deviation of the rating, coefficients per point. Clusters are therapists in three-level "
            "and panel models and clients in two-level ones; standard errors are CR2, in panel models CR1. “Reads” "
            "compares whether the intervals hold zero.",
        ),
    )


def _robust_cells(comparison: Comparison) -> Cells:
    """Write one quantity with both intervals."""
    own, other = comparison.own, comparison.other
    name = sentence_case(comparison.name)
    if not comparison.comparable:
        return (name, ABSENT, _interval_or_status(own), ABSENT, _interval_or_status(other), ABSENT, ABSENT)
    return (
        name,
        number(own["estimate"]),
        interval(own["ci_low"], own["ci_high"]),
        degrees_of_freedom(own["df"]),
        interval(other["ci_low"], other["ci_high"]),
        degrees_of_freedom(other["df"]),
        "differently" if comparison.changes else "alike",
    )


def _interval_or_status(row: pd.Series) -> str:
    """Write an interval, or the status of a row without one that is established."""
    return interval(row["ci_low"], row["ci_high"]) if row["status"] == "ok" else status_words(row["status"])


def autoregressive_table(comparisons: Sequence[Comparison], models: pd.DataFrame, lag_unit: str) -> Table:
    """Tabulate φ and D with independent and with AR(1) residuals.

    Parameters
    ----------
    comparisons : sequence of Comparison
        From :func:`~alliance_outcome.report.robustness.autoregressive_comparisons`.
    models : DataFrame
        Coefficients of all models, which hold φ.
    lag_unit : str
        Unit in which the study counts lags.

    Returns
    -------
    Table
        One group per model; without rows where no model was fitted with AR(1) residuals.
    """
    rows = joint_rows(models)
    phis = rows[autoregressive(rows) & (rows["term"] == "phi(residual)")]
    groups: dict[str, list[Cells]] = {
        model_label(phi["model"]): [("φ", "0 by assumption", estimate_text(phi))]
        for _, phi in phis.iterrows()
    }
    for each in comparisons:
        both = pd.DataFrame([each.own, each.other])
        cells = [estimate_text(row, shared_decimals(both)) for row in (each.own, each.other)]
        groups.setdefault(model_label(each.own["model"]), []).append((sentence_case(each.name), *cells))
    unit = SLOT_WORDS.get(lag_unit, "slot")
    heading = lower_first(interval_heading(phis))
    return make_grouped_table(
        "autoregressive",
        "Independent and AR(1) residuals, all raters in one model.",
        ("Quantity", f"Independent [{heading}]", f"AR(1) [{heading}]"),
        groups,
        notes=(
            f"φ is the correlation of residuals one {unit} apart; of residuals d steps apart it is φ to the power of "
            "d, whatever was missed in between.",
        ),
    )
