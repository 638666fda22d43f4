"""The within/between split of a rater's alliance, and the standard deviation of each level.

``within_client`` is a rating minus the client's mean; ``between_client`` the client's mean minus the therapist's mean
of client means; ``between_therapist`` that mean, centred on the mean over therapists. Without a therapist level the
second is ``between_client_pooled``: the client's mean minus the mean over clients. The parts add up to the rating
(Curran & Bauer 2011, 10.1146/annurev.psych.093008.100356).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

WITHIN_CLIENT = "within_client"
BETWEEN_CLIENT = "between_client"
BETWEEN_THERAPIST = "between_therapist"
BETWEEN_CLIENT_POOLED = "between_client_pooled"

#: The levels of a coefficient in a three-level and in a two-level model.
THREE_LEVELS = (WITHIN_CLIENT, BETWEEN_CLIENT, BETWEEN_THERAPIST)
TWO_LEVELS = (WITHIN_CLIENT, BETWEEN_CLIENT_POOLED)


def level_column(measure: str, level: str) -> str:
    """Name the column that holds one level of a measure."""
    return f"{measure}_{level}"


def split_levels(rows: pd.DataFrame, measures: Iterable[str]) -> pd.DataFrame:
    """Split measures into their levels.

    Parameters
    ----------
    rows : DataFrame
        Model rows with ``client``, ``therapist`` (all missing if the study has no therapist ids) and the measures,
        none of them missing. Means are taken over exactly these rows.
    measures : iterable of str
        Columns to split, e.g. ``alliance_client``.

    Returns
    -------
    DataFrame
        The rows with ``<measure>_<level>`` columns added. Without therapist ids the ``between_client`` and
        ``between_therapist`` columns are absent. Sums run in the order of the rows, never of the labels.
    """
    parts = {}
    has_therapists = bool(rows["therapist"].notna().all()) and len(rows) > 0
    for measure in measures:
        client_mean = rows.groupby("client")[measure].transform("mean")
        parts[level_column(measure, WITHIN_CLIENT)] = rows[measure] - client_mean
        clients = rows.assign(_mean=client_mean).drop_duplicates("client")
        parts[level_column(measure, BETWEEN_CLIENT_POOLED)] = client_mean - clients["_mean"].mean()
        if has_therapists:
            therapists = clients.groupby("therapist", sort=False)["_mean"].mean()
            therapist_mean = rows["therapist"].map(therapists)
            parts[level_column(measure, BETWEEN_CLIENT)] = client_mean - therapist_mean
            parts[level_column(measure, BETWEEN_THERAPIST)] = therapist_mean - therapists.mean()
    return rows.assign(**parts)


def level_deviations(rows: pd.DataFrame, measure: str, level: str) -> pd.Series:
    """Return the deviations of one level, each unit once, indexed by unit where the unit is not a row."""
    column = level_column(measure, level)
    if level == WITHIN_CLIENT:
        return rows[column]
    unit = _unit(level)
    return rows.drop_duplicates(unit).set_index(unit)[column]


def level_degrees(rows: pd.DataFrame, level: str) -> int:
    """Count the degrees of freedom behind the standard deviation of a level.

    Parameters
    ----------
    rows : DataFrame
        Model rows with ``client`` and ``therapist``.
    level : str
        One of the levels of this module.

    Returns
    -------
    int
        rows − clients, clients − therapists, therapists − 1 or (pooled) clients − 1.
    """
    clients = rows["client"].nunique()
    therapists = rows["therapist"].nunique()
    return {
        WITHIN_CLIENT: len(rows) - clients,
        BETWEEN_CLIENT: clients - therapists,
        BETWEEN_THERAPIST: therapists - 1,
        BETWEEN_CLIENT_POOLED: clients - 1,
    }[level]


def level_sd(rows: pd.DataFrame, measure: str, level: str) -> float:
    """Compute the standard deviation of a measure at a level, counting each unit once.

    Parameters
    ----------
    rows : DataFrame
        Rows from :func:`split_levels`.
    measure : str
        E.g. ``alliance_client``.
    level : str
        One of the levels of this module.

    Returns
    -------
    float
        √(sum of squares / degrees of freedom), in units of the measure; NaN without degrees of freedom.
    """
    degrees = level_degrees(rows, level)
    if degrees < 1:
        return math.nan
    deviations = level_deviations(rows, measure, level).to_numpy()
    return float(np.sqrt(np.sum(deviations**2) / degrees))


def scales_frame(rows: pd.DataFrame, measures: Iterable[str], levels: Iterable[str]) -> pd.DataFrame:
    """Tabulate the standard deviations that standardise the coefficients of a model.

    Parameters
    ----------
    rows : DataFrame
        Rows of the model, from :func:`split_levels`.
    measures : iterable of str
        Split alliance measures.
    levels : iterable of str
        Levels of the model.

    Returns
    -------
    DataFrame
        Columns ``level, rater, measure, sd, degrees_of_freedom``.
    """
    records = [
        {
            "level": level,
            "rater": measure.removeprefix("alliance_"),
            "measure": measure,
            "sd": level_sd(rows, measure, level),
            "degrees_of_freedom": level_degrees(rows, level),
        }
        for level in levels
        for measure in measures
    ]
    return pd.DataFrame(records, columns=["level", "rater", "measure", "sd", "degrees_of_freedom"])


def resampled_level_sds(
    rows: pd.DataFrame, measure: str, level: str, clusters: pd.Series, draws: np.ndarray
) -> np.ndarray:
    """Compute the standard deviation of a level in samples of clusters, from sums over each cluster.

    Parameters
    ----------
    rows : DataFrame
        Rows of the model, from :func:`split_levels`.
    measure, level : str
        E.g. ``alliance_client`` and ``within_client``.
    clusters : Series of int, shape (rows,)
        Position of each row's cluster among the columns of `draws`; a cluster holds whole therapists, or whole clients
        where no level is above them.
    draws : ndarray of int, shape (samples, clusters)
        How often each cluster was drawn; one drawn twice counts as two.

    Returns
    -------
    ndarray, shape (samples,)
        NaN in samples without degrees of freedom. Equal to splitting each sample again: deviations within a cluster do
        not depend on the other clusters, and those of the highest level are centred again on the sample.
    """
    deviations = level_deviations(rows, measure, level).to_numpy()
    of_unit = clusters if level == WITHIN_CLIENT else clusters[~rows[_unit(level)].duplicated()]

    def per_cluster(codes: pd.Series, values: np.ndarray | None = None) -> np.ndarray:
        return draws @ np.bincount(codes, weights=values, minlength=draws.shape[1])

    squares, units = per_cluster(of_unit, deviations**2), per_cluster(of_unit)
    if level in (BETWEEN_THERAPIST, BETWEEN_CLIENT_POOLED):
        squares, means = squares - per_cluster(of_unit, deviations) ** 2 / units, 1
    else:
        above = "client" if level == WITHIN_CLIENT else "therapist"
        means = per_cluster(clusters[~rows[above].duplicated()])
    degrees = (units - means).astype(float)
    squares = np.maximum(squares, 0.0)  # rounding, where a sample holds one cluster again and again
    return np.sqrt(np.divide(squares, degrees, out=np.full(len(draws), np.nan), where=degrees > 0))


def _unit(level: str) -> str:
    """Name the unit that a between level counts once."""
    return "therapist" if level == BETWEEN_THERAPIST else "client"
