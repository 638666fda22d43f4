"""What the data look like: sample, measures, missingness and trajectories, never one client at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from alliance_outcome.data.disclosure_risk import SMALLEST_CELL, unless_few
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

#: Numbers of clients by session are told to the nearest multiple: otherwise their differences, from one session to the
#: next or between the sessions held and rated, would count small groups.
ROUNDED_TO = 5
PARTICIPANT_COLUMNS = ("level", "variable", "category", "n", "share", "suppressed", "categories")
#: What categories are called that are put together.
OTHER = "other"


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
        Columns ``quantity, value``; the fewest and the most of single clients and therapists are not told, but what
        ten of them have at most and at least. Empty where too few stand behind a value.
    """
    held = held_sessions(sessions)
    quantities: dict[str, float | None] = {
        "n_clients": sessions["client"].nunique(),
        "n_sessions_held": len(held),
        **_spread("sessions_per_client", held.groupby("client").size()),
    }
    for value in ("cancelled", "no_show"):
        quantities[f"n_sessions_{value}"] = int((sessions["attendance"] == value).sum())
    if sessions["therapist"].notna().any():
        per_therapist = sessions.groupby("therapist")["client"].nunique()
        quantities |= {
            "n_therapists": len(per_therapist),
            **_spread("clients_per_therapist", per_therapist),
            "therapists_with_one_client": unless_few(int((per_therapist == 1).sum())),
        }
    values = [float("nan") if value is None else float(value) for value in quantities.values()]
    return pd.DataFrame({"quantity": list(quantities), "value": values})


def _spread(name: str, counts: pd.Series) -> dict[str, float | None]:
    """Return the median of counts, and the tenth from either end: the extremes are those of one person."""
    ordered = np.sort(counts.to_numpy())
    enough = len(ordered) >= 2 * SMALLEST_CELL
    return {
        f"{name}_tenth_fewest": ordered[SMALLEST_CELL - 1] if enough else None,
        f"{name}_median": float(np.median(ordered)) if len(ordered) >= SMALLEST_CELL else None,
        f"{name}_tenth_most": ordered[-SMALLEST_CELL] if enough else None,
    }


def describe_participants(clients: pd.DataFrame, therapists: pd.DataFrame) -> pd.DataFrame:
    """Count the categories of clients and therapists.

    Parameters
    ----------
    clients, therapists : DataFrame
        Covariate tables; numeric covariates appear as mean and standard deviation.

    Returns
    -------
    DataFrame
        Columns :data:`PARTICIPANT_COLUMNS`. Categories of fewer than :data:`SMALLEST_CELL` units are put together, with
        the next smallest ones until they are two or more and have as many units; suppressed if even all have fewer.
    """
    records = []
    for level, table in (("client", clients), ("therapist", therapists)):
        for variable in table.columns.drop(level):
            if pd.api.types.is_numeric_dtype(table[variable]):
                records += _numeric_cells(level, variable, table[variable])
            else:
                records += _category_cells(level, variable, table[variable])
    return pd.DataFrame(records, columns=list(PARTICIPANT_COLUMNS))


def _numeric_cells(level: str, variable: str, values: pd.Series) -> list[dict[str, object]]:
    n = int(values.notna().sum())
    few = n < SMALLEST_CELL
    base = {"level": level, "variable": variable, "n": None if few else n, "suppressed": few, "categories": 1}
    moments = {"mean": values.mean(), "standard deviation": values.std()}
    return [
        {**base, "category": name, "share": None if few else float(value)} for name, value in moments.items()
    ]


def _category_cells(level: str, variable: str, values: pd.Series) -> list[dict[str, object]]:
    counts = values.fillna("missing").value_counts().sort_index()
    hidden = _suppressed(counts)
    shown = [(str(category), int(count), 1) for category, count in counts.drop(hidden).items()]
    if hidden:
        # Not even its name: that a category is there says that somebody is in it.
        shown.append((OTHER, int(counts[hidden].sum()), len(hidden)))
    return [
        {
            "level": level,
            "variable": variable,
            "category": category,
            "n": None if n < SMALLEST_CELL else n,
            "share": None if n < SMALLEST_CELL else n / counts.sum(),
            "suppressed": n < SMALLEST_CELL,
            "categories": categories,
        }
        for category, n, categories in shown
    ]


def _suppressed(counts: pd.Series) -> list[object]:
    """Return the categories to be put together: small ones, and those without which a small one could be had."""
    ascending = counts.sort_values(kind="stable")
    n = int((ascending < SMALLEST_CELL).sum())
    while 0 < n < len(ascending) and (n < 2 or ascending.iloc[:n].sum() < SMALLEST_CELL):
        n += 1
    return list(ascending.index[:n])


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
        Columns ``column, session, n_held, n_rated, share_rated``; numbers are multiples of :data:`ROUNDED_TO`, and
        empty if fewer than :data:`SMALLEST_CELL` are rated.
    """
    held = held_sessions(sessions)
    counts = held.groupby("session").size()
    frames = []
    for column in columns:
        rated = held.groupby("session")[column].count()
        frame = pd.DataFrame({"column": column, "n_held": counts, "n_rated": rated}).reset_index()
        frames.append(frame[frame["n_held"] >= SMALLEST_CELL])
    table = pd.concat(frames, ignore_index=True)
    told = table["n_rated"].map(unless_few).notna()
    # What is missing is rounded, not what is there: two roundings in the share would be off by twice as much.
    missing = _rounded(table["n_held"] - table["n_rated"])
    table["n_held"] = _rounded(table["n_held"])
    table["n_rated"] = (table["n_held"] - missing).where(told)
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
        Columns ``column, session, n, mean, sd, q25, q75``. Clients who have left are not in later means. Numbers are
        multiples of :data:`ROUNDED_TO`.
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
        frame = frame[frame["n"] >= SMALLEST_CELL].reset_index()
        frames.append(frame.assign(n=_rounded(frame["n"])))
    return pd.concat(frames, ignore_index=True)[["column", "session", "n", "mean", "sd", "q25", "q75"]]


def _rounded(counts: pd.Series) -> pd.Series:
    """Return the nearest multiples of :data:`ROUNDED_TO`."""
    return (counts / ROUNDED_TO).round() * ROUNDED_TO


def describe_withheld(sessions: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Say what the other tables keep back, so that nobody takes an empty cell for a mistake.

    Parameters
    ----------
    sessions : DataFrame
        Session table.
    tables : mapping of str to DataFrame
        ``sample``, ``participants``, ``missingness`` and ``trajectories`` as they are written.

    Returns
    -------
    DataFrame
        Columns ``table, n_withheld, text``; tables that keep nothing back are left out.
    """
    few = f"fewer than {SMALLEST_CELL}"
    reached = held_sessions(sessions)["session"].nunique() - tables["missingness"]["session"].nunique()
    shown = tables["missingness"].query("n_rated != 0")
    kept = (
        (
            "sample",
            int(tables["sample"]["value"].isna().sum()),
            f"values that {few} clients or therapists stand behind",
        ),
        (
            "participants",
            int(tables["participants"].query("suppressed or categories > 1")["categories"].sum()),
            f"categories of {few} people, and others from which these could be computed, put together as {OTHER}",
        ),
        ("missingness", reached, f"session numbers that {few} clients reached"),
        (
            "missingness",
            int(tables["missingness"]["n_rated"].isna().sum()),
            f"numbers of {few} ratings of a measure at a session that is shown",
        ),
        (
            "trajectories",
            len(shown) - len(tables["trajectories"]),
            f"means of a measure at a session with {few} ratings, among the sessions shown",
        ),
    )
    return pd.DataFrame([row for row in kept if row[1]], columns=["table", "n_withheld", "text"])
