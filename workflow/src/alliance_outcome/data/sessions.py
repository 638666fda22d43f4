"""The session table: one row per client, episode and occasion, and the contract that it keeps.

Columns, in this order: ``study, therapist, client, episode, occasion_kind, session, week, attendance, site, arm``, then
``alliance_<rater>`` for each rater, ``alliance_<rater>_<subscale>``, ``severity_<instrument>_<rater>`` for each
outcome, and ``severity``, a copy of the primary one. Rows are sorted by client, then intake, sessions, end, follow-up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from alliance_outcome.data.ledger import Ledger
from alliance_outcome.data.occasions import ATTENDANCE_VALUES, OCCASION_KINDS, SESSION
from alliance_outcome.data.source_files import TEXT
from alliance_outcome.errors import StudyError

#: Columns that every session table has.
DESIGN_COLUMNS = (
    "study",
    "therapist",
    "client",
    "episode",
    "occasion_kind",
    "session",
    "week",
    "attendance",
    "site",
    "arm",
)
#: Column with the primary outcome.
PRIMARY = "severity"
#: What messages call the table.
ROLE = "session table"
#: How far rounding may carry a score beyond the end of its scale.
_ROUNDING = 1e-9


def session_columns(measures: pd.DataFrame) -> list[str]:
    """List the columns of the session table.

    Parameters
    ----------
    measures : pandas.DataFrame
        tables/measures.csv.

    Returns
    -------
    list of str
        In order.
    """
    alliance = measures[measures["construct"] == "alliance"]
    severity = measures[measures["construct"] == "severity"]
    subscales = [column for _, row in alliance.iterrows() for column in _subscale_columns(row)]
    return [*DESIGN_COLUMNS, *alliance["column"], *subscales, *severity["column"], PRIMARY]


def session_schema(measures: pd.DataFrame) -> pa.DataFrameSchema:
    """Build the schema of a study's session table.

    Parameters
    ----------
    measures : pandas.DataFrame
        tables/measures.csv: which columns there are besides the design, and the range of each measure.

    Returns
    -------
    pandera.DataFrameSchema
        Strict: columns, their order and their types are those of the contract. It also holds that clients are nested
        in one therapist each, therapist ids are complete or absent, session numbers and attendance belong to sessions,
        and no occasion occurs twice.
    """
    columns = _design_schema()
    ranges = measures.set_index("column")[["low", "high"]]
    for column in session_columns(measures)[len(DESIGN_COLUMNS) :]:
        checks = []
        if column in ranges.index:
            low, high = ranges.loc[column]
            checks = [pa.Check.in_range(low - _ROUNDING, high + _ROUNDING)]
        columns[column] = pa.Column(float, checks, nullable=True)
    return pa.DataFrameSchema(
        columns,
        checks=[
            pa.Check(_nested, name="clients nested in therapists"),
            pa.Check(_therapists_complete, name="therapist ids complete or absent"),
            pa.Check(_sessions_numbered, name="session numbers belong to sessions"),
            pa.Check(_attendance_of_sessions, name="attendance belongs to sessions"),
            pa.Check(_occasions_distinct, name="one row per client, episode and occasion"),
        ],
        strict=True,
        ordered=True,
        name=ROLE,
    )


def validate_sessions(frame: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Hold a session table against its contract.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    measures : pandas.DataFrame
        tables/measures.csv.

    Returns
    -------
    pandas.DataFrame
        The same table.

    Raises
    ------
    StudyError
        With all that is wrong, by column and row (the first row of the table is row 1), without any cell.
    """
    try:
        return session_schema(measures).validate(frame, lazy=True)
    except SchemaErrors as error:
        failures = error.failure_cases[["schema_context", "column", "check", "index"]].copy()
    ledger = Ledger()
    of_column = (failures["schema_context"] == "Column") & failures["column"].isin(frame.columns)
    failures["column"] = failures["column"].astype(object).where(of_column, None)
    for (column, check), part in failures.groupby(["column", "check"], sort=False, dropna=False):
        rows = part["index"].dropna()
        positions = frame.index.get_indexer(rows[rows.isin(frame.index)].unique())
        ledger.fault(
            ROLE,
            None if pd.isna(column) else column,
            f"the table breaks its contract: {check}",
            "make it anew from the raw files with the rule that ingests the study",
            sorted(position + 1 for position in positions),
        )
    raise StudyError(ledger.faults.faults)


def arrange_sessions(
    study: str, occasions: pd.DataFrame, measures: pd.DataFrame, primary: str
) -> pd.DataFrame:
    """Give occasions the form of the session table.

    Parameters
    ----------
    study : str
        Name of the study.
    occasions : pandas.DataFrame
        Occasions in the order of the table, with pseudonyms and scores.
    measures : pandas.DataFrame
        tables/measures.csv.
    primary : str
        Column of the primary outcome.

    Returns
    -------
    pandas.DataFrame
        The session table, index 0 … n − 1.
    """
    table = occasions.reset_index(drop=True)
    table["study"] = study
    table["session"] = table["session"].astype("Int64")
    table["episode"] = table["episode"].astype("int64")
    table[PRIMARY] = table[primary]
    text = ["study", "therapist", "client", "occasion_kind", "attendance", "site", "arm"]
    return table.astype(dict.fromkeys(text, TEXT))[session_columns(measures)]


def _subscale_columns(measure: pd.Series) -> Iterator[str]:
    """Yield the subscale columns of a row of tables/measures.csv."""
    names = measure["subscales"]
    yield from (f"{measure['column']}_{name}" for name in ([] if pd.isna(names) else names.split()))


def _design_schema() -> dict[str, pa.Column]:
    finite = pa.Check(np.isfinite, name="finite")
    return {
        "study": pa.Column(TEXT),
        "therapist": pa.Column(TEXT, pa.Check.str_matches(r"^T\d{3,}$"), nullable=True),
        "client": pa.Column(TEXT, pa.Check.str_matches(r"^C\d{4,}(_\d+)?$")),
        "episode": pa.Column("int64", pa.Check.ge(1)),
        "occasion_kind": pa.Column(TEXT, pa.Check.isin(OCCASION_KINDS)),
        "session": pa.Column("Int64", pa.Check.ge(1), nullable=True),
        "week": pa.Column(float, finite, nullable=True),
        "attendance": pa.Column(TEXT, pa.Check.isin(ATTENDANCE_VALUES), nullable=True),
        "site": pa.Column(TEXT, nullable=True),
        "arm": pa.Column(TEXT, nullable=True),
    }


def _nested(table: pd.DataFrame) -> pd.Series:
    return table.groupby("client")["therapist"].transform("nunique") <= 1


def _therapists_complete(table: pd.DataFrame) -> pd.Series:
    return table["therapist"].notna() | table["therapist"].isna().all()


def _sessions_numbered(table: pd.DataFrame) -> pd.Series:
    return (table["occasion_kind"] == SESSION) == table["session"].notna()


def _attendance_of_sessions(table: pd.DataFrame) -> pd.Series:
    return (table["occasion_kind"] == SESSION) == table["attendance"].notna()


def _occasions_distinct(table: pd.DataFrame) -> pd.Series:
    week = table["week"].where(table["occasion_kind"] != SESSION)
    keys = table[["client", "episode", "occasion_kind", "session"]].assign(week=week)
    return ~keys.duplicated(keep=False)
