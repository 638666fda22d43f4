"""The tidy table of estimates: one row per quantity, the same columns for every estimator.

DESIGN.md's contract: ``row_id`` is stable and unique within study and analysis, a refusal is a row, and a column that
does not apply is empty. ``write_estimates`` is the only way estimates reach a file, so that every CSV has the same
columns, order and number format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.data.disclosure_risk import SMALLEST_CELL

ESTIMATE_COLUMNS = (
    "row_id",
    "study",
    "analysis",
    "model",
    "engine",
    "role",
    "estimand",
    "means",
    "outcome",
    "outcome_rater",
    "scale",
    "rater",
    "rater_b",
    "level",
    "term",
    "lag",
    "lag_unit",
    "timing",
    "adjustment",
    "residual",
    "detrended",
    "reliability_corrected",
    "missing_method",
    "sample",
    "estimate",
    "std_error",
    "se_kind",
    "df",
    "df_method",
    "statistic",
    "p_value",
    "ci_low",
    "ci_high",
    "ci_level",
    "ci_kind",
    "unit",
    "n_sessions",
    "n_clients",
    "n_therapists",
    "status",
    "reason",
    "quantity_kind",
    "r_hat",
    "ess_bulk",
    "ess_tail",
    "mcse_mean",
    "mcse_sd",
    "mcse_ci_low",
    "mcse_ci_high",
    "n_draws",
    "prob_direction",
    "prob_rope",
)

#: Columns that hold text; everything else is a number.
TEXT_COLUMNS = (
    *ESTIMATE_COLUMNS[: ESTIMATE_COLUMNS.index("lag")],
    "lag_unit",
    "timing",
    "adjustment",
    "residual",
    "detrended",
    "missing_method",
    "sample",
    "se_kind",
    "df_method",
    "ci_kind",
    "unit",
    "status",
    "reason",
    "quantity_kind",
)

#: What a row loses that is not to be published: everything that was computed from so few.
_NUMBERS = (
    *("estimate", "std_error", "df", "statistic", "p_value", "ci_low", "ci_high", "n_sessions", "n_clients"),
    *ESTIMATE_COLUMNS[ESTIMATE_COLUMNS.index("r_hat") :],
)

STATUSES = ("ok", "not_established", "refused")


def row_key(*parts: str | None) -> str:
    """Join the parts of a ``row_id``; empty parts are left out.

    Parameters
    ----------
    *parts : str or None
        From the general to the special: model, estimand, raters, level, term.

    Returns
    -------
    str
        For example ``hybrid_three_level.unique.client.alliance_client_within_client``.
    """
    return ".".join(part for part in parts if part)


def estimates_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Put rows into the contracted columns.

    Parameters
    ----------
    rows : iterable of mapping
        Each with any of :data:`ESTIMATE_COLUMNS`; what is left out is empty. ``status`` defaults to ``ok``.

    Returns
    -------
    DataFrame
        All contracted columns in order.

    Raises
    ------
    ValueError
        For an unknown column, an unknown status, a refusal without a reason or a repeated ``row_id``.
    """
    records = [{"status": "ok", **row} for row in rows]
    unknown = {key for record in records for key in record} - set(ESTIMATE_COLUMNS)
    if unknown:
        raise ValueError(f"not columns of an estimates table: {sorted(unknown)}")
    frame = pd.DataFrame(records, columns=list(ESTIMATE_COLUMNS))
    repeated = frame["row_id"][frame["row_id"].duplicated()]
    if len(repeated):
        raise ValueError(f"row_id is not unique: {sorted(set(repeated))}")
    if not frame["status"].isin(STATUSES).all():
        raise ValueError(f"status must be one of {STATUSES}")
    if frame.loc[frame["status"] != "ok", "reason"].isna().any():
        raise ValueError("a row that is refused or not established needs a reason")
    return frame


def is_repetition(frame: pd.DataFrame) -> pd.Series:
    """Say which rows repeat another row of their model under other assumptions about the residuals.

    Parameters
    ----------
    frame : DataFrame
        Estimates.

    Returns
    -------
    Series of bool
        True for cluster-robust rows (``se_kind`` CR2) and rows with AR(1) residuals (``residual`` begins with ``ar1``).
        What is left has one row per model, estimand, level, raters and term.
    """
    robust = frame["se_kind"].astype("str").str.match(r"CR\d").fillna(False)
    autoregressive = frame["residual"].astype("str").str.startswith("ar1").fillna(False)
    return (robust | autoregressive).astype(bool)


def clients_beyond_coefficients(frame: pd.DataFrame) -> pd.Series:
    """Return how many clients more than terms the model of each row has.

    Parameters
    ----------
    frame : DataFrame
        Estimates.

    Returns
    -------
    Series of float
        Missing where the number of clients is.
    """
    models = frame.groupby(["analysis", "model", "estimand", "sample"], dropna=False)
    return models["n_clients"].transform("min").astype("float") - models["term"].transform("nunique")


def withhold_small_groups(frame: pd.DataFrame) -> pd.DataFrame:
    """Refuse what fewer than ten clients stand behind, or a model with hardly more clients than coefficients.

    Parameters
    ----------
    frame : DataFrame
        Estimates.

    Returns
    -------
    DataFrame
        The same rows; those withheld without numbers, with the reason.
    """
    told = frame["status"] == "ok"
    few = told & frame["n_clients"].astype("float").lt(SMALLEST_CELL)
    saturated = told & ~few & clients_beyond_coefficients(frame[told]).reindex(frame.index).lt(SMALLEST_CELL)
    reasons = {
        f"withheld: fewer than {SMALLEST_CELL} clients": few,
        f"withheld: not {SMALLEST_CELL} clients more than coefficients": saturated,
    }
    kept = frame.astype({"reason": "object"})
    for reason, rows in reasons.items():
        if rows.any():
            kept.loc[rows, list(_NUMBERS)] = np.nan
            kept.loc[rows, ["status", "reason"]] = ["refused", reason]
    return kept


def write_estimates(frame: pd.DataFrame, path: Path) -> None:
    """Write an estimates table without what is to be withheld; numbers keep every digit that a double has."""
    withhold_small_groups(frame).to_csv(path, index=False, float_format="%.17g", lineterminator="\n")


def read_estimates(path: Path) -> pd.DataFrame:
    """Read an estimates table back with text as text and numbers as numbers.

    Parameters
    ----------
    path : Path
        A file written by :func:`write_estimates`.

    Returns
    -------
    DataFrame
        All contracted columns; empty text cells are missing.
    """
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, "str"))
    return frame[list(ESTIMATE_COLUMNS)]
