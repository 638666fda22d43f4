"""Do the results reproduce? Estimates against stored reference estimates, row by row.

Deterministic numbers must agree within a tolerance relative to the row's standard error (or to the number itself where
there is none); Monte Carlo numbers within |Δ| ≤ 4.5·√(mcse₁² + mcse₂²), each column against its own error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

#: Tolerance in standard errors for deterministic numbers, wide enough for another machine's floating point.
DETERMINISTIC_TOLERANCE = 1e-3
#: Tolerance on log10 p, and the value below which two p-values are the same.
P_VALUE_TOLERANCE = 0.01
SMALLEST_P_VALUE = 1e-10
#: Width of the Monte Carlo band in standard errors of a difference.
MONTE_CARLO_WIDTH = 4.5

#: Columns compared, and the column that holds each one's Monte Carlo standard error.
NUMBERS = {
    "estimate": "mcse_mean",
    "std_error": "mcse_sd",
    "ci_low": "mcse_ci_low",
    "ci_high": "mcse_ci_high",
}
COUNTS = ("n_sessions", "n_clients", "n_therapists")
TEXTS = ("status", "reason", "role", "level", "rater", "rater_b", "unit")
VERIFICATION_COLUMNS = ["analysis", "row_id", "verdict", "column", "reference", "new", "tolerance"]


def compare_estimates(analysis: str, reference: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Hold an estimates table against its reference.

    Parameters
    ----------
    analysis : str
        Name of the analysis.
    reference, new : DataFrame
        Estimates tables, as :func:`~alliance_outcome.analyses.estimates.read_estimates` returns them.

    Returns
    -------
    DataFrame
        One row per ``row_id`` with verdict ``reproduced``, ``missing`` or ``new``, and one row per column that
        ``differs``, with both values and the tolerance.
    """
    old_rows = {record["row_id"]: record for record in reference.to_dict("records")}
    new_rows = {record["row_id"]: record for record in new.to_dict("records")}
    found: list[dict[str, Any]] = []
    for row_id in {**old_rows, **new_rows}:
        base = {"analysis": analysis, "row_id": row_id}
        if row_id not in new_rows:
            found.append({**base, "verdict": "missing"})
        elif row_id not in old_rows:
            found.append({**base, "verdict": "new"})
        else:
            differences = row_differences(old_rows[row_id], new_rows[row_id])
            found += [{**base, "verdict": "differs", **each} for each in differences] or [
                {**base, "verdict": "reproduced"}
            ]
    return pd.DataFrame(found, columns=VERIFICATION_COLUMNS)


def row_differences(reference: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the columns in which two rows of estimates differ beyond tolerance.

    Parameters
    ----------
    reference, new : mapping
        Rows of an estimates table.

    Returns
    -------
    list of dict
        ``column, reference, new, tolerance`` of each difference.
    """
    found = []
    for column, error_column in NUMBERS.items():
        tolerance = _tolerance(column, error_column, reference, new)
        if not _close(reference[column], new[column], tolerance):
            found.append(_difference(column, reference, new, tolerance))
    if reference["quantity_kind"] != "mcmc" and not _same_p_value(reference["p_value"], new["p_value"]):
        found.append(_difference("p_value", reference, new, P_VALUE_TOLERANCE))
    for column in (*COUNTS, *TEXTS):
        same = reference[column] == new[column] or (pd.isna(reference[column]) and pd.isna(new[column]))
        if not same:
            found.append(_difference(column, reference, new, None))
    return found


def _difference(
    column: str, reference: Mapping[str, Any], new: Mapping[str, Any], tolerance: float | None
) -> dict:
    return {"column": column, "reference": reference[column], "new": new[column], "tolerance": tolerance}


def _tolerance(column: str, error_column: str, reference: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """Give the largest difference that still counts as the same number."""
    if reference["quantity_kind"] == "mcmc":
        return MONTE_CARLO_WIDTH * math.hypot(reference[error_column], new[error_column])
    scale = reference["std_error"]
    if pd.isna(scale) or column == "std_error":
        scale = abs(reference[column])
    return DETERMINISTIC_TOLERANCE * scale


def _close(reference: float, new: float, tolerance: float) -> bool:
    """Compare two numbers; two empty cells are the same, one empty cell is a difference."""
    if pd.isna(reference) or pd.isna(new):
        return bool(pd.isna(reference) and pd.isna(new))
    return abs(reference - new) <= tolerance


def _same_p_value(reference: float, new: float) -> bool:
    """Compare p-values on the log scale; very small ones are all the same."""
    if pd.isna(reference) or pd.isna(new):
        return bool(pd.isna(reference) and pd.isna(new))
    if max(reference, new) < SMALLEST_P_VALUE:
        return True
    if min(reference, new) == 0:
        return False
    return abs(math.log10(reference) - math.log10(new)) <= P_VALUE_TOLERANCE
