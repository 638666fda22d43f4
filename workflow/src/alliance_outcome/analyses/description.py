"""What the data look like: sample, measures, missingness and trajectories, never one client at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from alliance_outcome.design.levels import (
    BETWEEN_CLIENT,
    BETWEEN_CLIENT_POOLED,
    BETWEEN_THERAPIST,
    WITHIN_CLIENT,
    level_column,
    level_sd,
    split_levels,
)
from alliance_outcome.models.design_checks import INTERCEPT, UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel

#: Smallest number of clients behind a published cell (the ACRO tool's default).
SMALLEST_CELL = 10


def held_sessions(sessions: pd.DataFrame) -> pd.DataFrame:
    """Return the sessions that took place."""
    return sessions[(sessions["occasion_kind"] == "session") & (sessions["attendance"] == "attended")]


def describe_sample(sessions: pd.DataFrame) -> pd.DataFrame:
    """Count units at every level.

    Parameters
    ----------
    sessions : DataFrame
        Session table.

    Returns
    -------
    DataFrame
        Columns ``quantity, value``.
    """
    held = held_sessions(sessions)
    per_client = held.groupby("client").size()
    quantities: dict[str, float] = {
        "n_clients": sessions["client"].nunique(),
        "n_sessions_held": len(held),
        "sessions_per_client_min": per_client.min(),
        "sessions_per_client_median": per_client.median(),
        "sessions_per_client_max": per_client.max(),
    }
    for value in ("cancelled", "no_show"):
        quantities[f"n_sessions_{value}"] = int((sessions["attendance"] == value).sum())
    if sessions["therapist"].notna().any():
        per_therapist = sessions.groupby("therapist")["client"].nunique()
        quantities |= {
            "n_therapists": len(per_therapist),
            "clients_per_therapist_min": per_therapist.min(),
            "clients_per_therapist_median": per_therapist.median(),
            "clients_per_therapist_max": per_therapist.max(),
            "therapists_with_one_client": int((per_therapist == 1).sum()),
        }
    return pd.DataFrame(
        {"quantity": list(quantities), "value": [float(value) for value in quantities.values()]}
    )


def describe_participants(clients: pd.DataFrame, therapists: pd.DataFrame) -> pd.DataFrame:
    """Count the categories of clients and therapists.

    Parameters
    ----------
    clients, therapists : DataFrame
        Covariate tables; numeric covariates appear as mean and standard deviation.

    Returns
    -------
    DataFrame
        Columns ``level, variable, category, n, share, suppressed``; a cell of fewer than
        :data:`SMALLEST_CELL` units is suppressed, and with a single such cell the next smallest one too.
    """
    records = []
    for level, table in (("client", clients), ("therapist", therapists)):
        for variable in table.columns.drop(level):
            if pd.api.types.is_numeric_dtype(table[variable]):
                records += _numeric_cells(level, variable, table[variable])
            else:
                records += _category_cells(level, variable, table[variable])
    return pd.DataFrame(records, columns=["level", "variable", "category", "n", "share", "suppressed"])


def _numeric_cells(level: str, variable: str, values: pd.Series) -> list[dict[str, object]]:
    base = {"level": level, "variable": variable, "n": int(values.notna().sum()), "suppressed": False}
    return [
        {**base, "category": "mean", "share": float(values.mean())},
        {**base, "category": "standard deviation", "share": float(values.std())},
    ]


def _category_cells(level: str, variable: str, values: pd.Series) -> list[dict[str, object]]:
    counts = values.fillna("missing").value_counts().sort_index()
    small = counts[counts < SMALLEST_CELL].index
    if len(small) == 1 and len(counts) > 1:
        # A single suppressed cell could be had by subtraction.
        small = small.append(pd.Index([counts.drop(small).idxmin()]))
    return [
        {
            "level": level,
            "variable": variable,
            "category": category,
            "n": None if category in small else int(count),
            "share": None if category in small else count / counts.sum(),
            "suppressed": category in small,
        }
        for category, count in counts.items()
    ]


def describe_measures(sessions: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Describe every measure over held sessions, with its spread at each level.

    Parameters
    ----------
    sessions, measures : DataFrame
        Session table, and the table of measures with ``column, construct, rater, low, high``.

    Returns
    -------
    DataFrame
        One row per measure: number of ratings and clients, mean, total SD, SDs by level (as the contrasts use them,
        on the measure's own rows), intraclass correlations, share missing and share at the top of the scale.
    """
    held = held_sessions(sessions)
    return pd.DataFrame([_describe_measure(held, measure) for measure in measures.to_dict("records")])


def _describe_measure(held: pd.DataFrame, measure: dict[str, object]) -> dict[str, object]:
    column = measure["column"]
    rated = held.dropna(subset=column).reset_index(drop=True)
    top = measure["high"] if measure["construct"] == "alliance" or not measure["flipped"] else measure["low"]
    record = {key: measure[key] for key in ("column", "construct", "rater", "low", "high")}
    record |= {
        "n_ratings": len(rated),
        "n_clients": rated["client"].nunique(),
        "mean": rated[column].mean(),
        "sd": rated[column].std(),
        "share_missing": 1 - len(rated) / len(held),
        "share_at_top": float(np.isclose(rated[column], top).mean()),
    }
    split = split_levels(rated, [column])
    for level in (WITHIN_CLIENT, BETWEEN_CLIENT, BETWEEN_THERAPIST, BETWEEN_CLIENT_POOLED):
        known = level_column(column, level) in split
        record[f"sd_{level}"] = level_sd(split, column, level) if known else None
    return {**record, **intraclass_correlations(rated, column)}


def intraclass_correlations(rated: pd.DataFrame, column: str) -> dict[str, float | None]:
    """Estimate how much of a measure's variance lies between clients and between therapists.

    Parameters
    ----------
    rated : DataFrame
        Rows with ``client``, ``therapist`` and the measure.
    column : str
        The measure.

    Returns
    -------
    dict
        ``icc_client`` (clients within therapists), ``icc_therapist`` and ``icc_reason``: variance shares from an
        intercept-only REML model, or the reason why there are none.
    """
    if rated["client"].is_unique:
        return {"icc_client": None, "icc_therapist": None, "icc_reason": "no client has more than one rating"}
    has_therapists = bool(rated["therapist"].notna().all())
    levels = ["therapist", "client"] if has_therapists else ["client"]
    try:
        fit = MultilevelModel(
            rated[column],
            pd.DataFrame({INTERCEPT: 1.0}, index=rated.index),
            groups={level: rated[level] for level in levels},
            random={level: [INTERCEPT] for level in levels},
        ).fit()
    except UnfittableModel as error:
        return {"icc_client": None, "icc_therapist": None, "icc_reason": str(error)}
    shares = fit.icc().set_index("level")["share"]
    therapist = float(shares["therapist"]) if has_therapists else None
    return {"icc_client": float(shares["client"]), "icc_therapist": therapist, "icc_reason": None}


def describe_missingness(sessions: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Count who is rated at which session; sessions reached by few clients are left out.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    columns : iterable of str
        Measures.

    Returns
    -------
    DataFrame
        Columns ``column, session, n_held, n_rated, share_rated``.
    """
    held = held_sessions(sessions)
    counts = held.groupby("session").size()
    frames = []
    for column in columns:
        rated = held.groupby("session")[column].count()
        frame = pd.DataFrame({"column": column, "n_held": counts, "n_rated": rated}).reset_index()
        frames.append(frame[frame["n_held"] >= SMALLEST_CELL])
    table = pd.concat(frames, ignore_index=True)
    table["share_rated"] = table["n_rated"] / table["n_held"]
    return table[["column", "session", "n_held", "n_rated", "share_rated"]]


def describe_trajectories(sessions: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Describe each measure by session where enough clients are rated.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    columns : iterable of str
        Measures.

    Returns
    -------
    DataFrame
        Columns ``column, session, n, mean, sd, q25, q75``. Clients who have left are not in later means.
    """
    held = held_sessions(sessions)
    frames = []
    for column in columns:
        grouped = held.dropna(subset=column).groupby("session")[column]
        frame = pd.DataFrame(
            {
                "column": column,
                "n": grouped.count(),
                "mean": grouped.mean(),
                "sd": grouped.std(),
                "q25": grouped.quantile(0.25),
                "q75": grouped.quantile(0.75),
            }
        )
        frames.append(frame[frame["n"] >= SMALLEST_CELL].reset_index())
    return pd.concat(frames, ignore_index=True)[["column", "session", "n", "mean", "sd", "q25", "q75"]]
