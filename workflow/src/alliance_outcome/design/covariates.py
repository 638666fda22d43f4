"""Covariates of clients and therapists as columns of a design."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.data.disclosure_risk import SMALLEST_CELL
from alliance_outcome.errors import FaultCollector
from alliance_outcome.settings import CovariateSettings


def covariate_columns(
    rows: pd.DataFrame, clients: pd.DataFrame, therapists: pd.DataFrame, settings: CovariateSettings
) -> tuple[pd.DataFrame, list[str]]:
    """Join the study's covariates to model rows.

    Parameters
    ----------
    rows : DataFrame
        Model rows with ``client`` and ``therapist``.
    clients, therapists : DataFrame
        Covariate tables.
    settings : CovariateSettings
        Which covariates enter at which level.

    Returns
    -------
    rows : DataFrame
        With the columns added. A category becomes an indicator against the most frequent category (ties: the first
        in alphabetical order), named ``name[T.category]``; a missing covariate is missing in all its columns.
    names : list of str
        The added columns.

    Raises
    ------
    StudyError
        If a covariate takes a single value: it can explain nothing, and its missing values would go unnoticed. If fewer
        than ten clients stand behind a category: its coefficient would be about them.
    """
    faults = FaultCollector()
    names: list[str] = []
    for unit, table in (("client", clients), ("therapist", therapists)):
        for covariate in getattr(settings, unit):
            values = table.set_index(unit)[covariate]
            if values.nunique() < 2:
                remedy = f"remove it from covariates.{unit}"
                faults.add(
                    "study file", f"covariates.{unit}", f"{covariate} takes fewer than two values", remedy
                )
                continue
            if _smallest_category(rows, unit, values) < SMALLEST_CELL:
                remedy = "put small categories together in the file, or remove the covariate from the models"
                problem = f"{covariate} has a category of fewer than {SMALLEST_CELL} clients, whom its effect is about"
                faults.add("study file", f"covariates.{unit}", problem, remedy)
                continue
            added = _columns(covariate, values)
            rows = rows.join(added, on=unit)
            names += list(added.columns)
    faults.raise_if_any()
    return rows, names


def _smallest_category(rows: pd.DataFrame, unit: str, values: pd.Series) -> float:
    """Return how many clients stand behind the smallest category; infinity for a number."""
    if pd.api.types.is_numeric_dtype(values):
        return float("inf")
    people = rows.drop_duplicates("client")
    return float(people[unit].map(values).value_counts().min())


def _columns(name: str, values: pd.Series) -> pd.DataFrame:
    """Return a numeric covariate as it is and a categorical one as indicators, indexed by unit."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64").to_frame(name)
    counts = values.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    indicators = {
        f"{name}[T.{category}]": (values == category).astype("float64").where(values.notna())
        for category in sorted(counts.index[1:])
    }
    return pd.DataFrame(indicators, index=values.index)
