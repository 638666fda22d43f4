"""Client-level and therapist-level covariates, and what a file with a row per client says about its clients."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal

import pandas as pd

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.headers import require
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.occasions import GROUP_COLUMNS, read_clients
from alliance_outcome.data.source_files import TEXT, SourceFile, code_text
from alliance_outcome.data.values import count_missing_codes, design_text, numeric
from alliance_outcome.errors import FaultCollector
from alliance_outcome.settings import FileSettings

_ISO_DATE = r"\d{4}-\d{2}-\d{2}.*"
_OCCASION_COLUMNS = ("occasion_kind", "session", "week", "date", "attendance", "episode")


def read_client_file(role: str, table: RawTable, settings: FileSettings, ledger: Ledger) -> SourceFile:
    """Read the identifiers of a file with layout clients, and therapist, site and arm if it holds them.

    Parameters
    ----------
    role : str
        Name of the file in the study file.
    table : RawTable
        Its content.
    settings : FileSettings
        What the study file says about it.
    ledger : Ledger
        Receives faults.

    Returns
    -------
    SourceFile
        With ``client``, ``therapist``, ``site`` and ``arm`` in its rows.
    """
    source = SourceFile(role, table, settings, ledger)
    for name in _OCCASION_COLUMNS:
        if getattr(settings.columns, name):
            remedy = "remove this key, or use layout long"
            ledger.fault(
                STUDY_FILE, source.key("columns", name), "a file of clients has no occasions", remedy
            )
    read_clients(source)
    for name in GROUP_COLUMNS:
        source.rows[name] = source.texts(name, labelled=name != "therapist")
    return source


def client_design(source: SourceFile) -> pd.DataFrame:
    """Return therapist, site and arm by client; a client with two of them in a file of clients is a fault."""
    rows = source.rows[source.rows["usable"]].set_index("client")
    columns = {
        name: _one_each(
            rows[name], getattr(source.columns, name), source.table, rows["position"], source.ledger
        )
        for name in GROUP_COLUMNS
        if source.has(name)
    }
    return pd.DataFrame(columns, index=rows.index.unique())


def read_covariates(
    level: Literal["client", "therapist"],
    columns: Mapping[str, str],
    files: Mapping[str, tuple[RawTable, FileSettings, pd.Series]],
    ledger: Ledger,
) -> pd.DataFrame:
    """Read the covariates of clients or therapists.

    Parameters
    ----------
    level : {"client", "therapist"}
        Whose covariates they are.
    columns : mapping of str to str
        Name and column header of each covariate.
    files : mapping of str to (RawTable, FileSettings, pandas.Series)
        The files of that layout by role, with the identifier of each row (null: the row is not used).
    ledger : Ledger
        Receives faults and announcements.

    Returns
    -------
    pandas.DataFrame
        One row per identifier, which is the index; float columns for numbers, text for the rest.
    """
    values = {}
    for name, header in columns.items():
        holding = [each for each in files.values() if header in each[0].frame.columns]
        if not holding:
            for table, _, _ in files.values():
                require(table, [header], f"{level}_columns.{name}", ledger)
            continue
        table, settings, identifiers = holding[0]
        column = _read_column(table, header, settings, ledger)
        known = identifiers.notna().to_numpy()
        positions = pd.Series(range(len(table.frame)))[known]
        by_identifier = pd.Series(column.to_numpy()[known], index=identifiers[known], dtype=column.dtype)
        values[name] = _one_each(by_identifier, header, table, positions, ledger)
    identifiers = [each[2].dropna() for each in files.values()]
    index = pd.Index(pd.concat(identifiers).unique() if identifiers else [], name=level, dtype=TEXT)
    for role, (_, _, each) in files.items():
        n = int(each.duplicated().sum() - max(each.isna().sum() - 1, 0))
        text = f"{counted(n, 'row')} with a {level} that an earlier row has already, with the same values."
        ledger.announce("dropped", role, None, n, text)
    return pd.DataFrame({name: column.reindex(index) for name, column in values.items()}, index=index)


def _one_each(
    values: pd.Series, header: str, table: RawTable, positions: pd.Series, ledger: Ledger
) -> pd.Series:
    """Return the one value of each identifier (the index); two different ones are a fault, with the later rows."""
    first = values.groupby(level=0, sort=False).first()
    differs = (values.notna() & (values != first.reindex(values.index))).to_numpy()
    if differs.any():
        ledger.fault(
            table.role,
            header,
            "rows with the same identifier hold different values",
            "keep one row per client or therapist, or make the rows agree",
            table.row_numbers(positions.to_numpy()[differs]),
        )
    return first


def _read_column(table: RawTable, header: str, settings: FileSettings, ledger: Ledger) -> pd.Series:
    """Read a covariate: numbers as such, anything else (and labelled codes) as text; a calendar date is a fault."""
    n = count_missing_codes(table, header, settings)
    text = f"{counted(n, 'cell')} with a stated missing code, read as missing."
    ledger.announce("missing_code", table.role, header, n, text)
    n = table.missing_counts.get(header, 0)
    text = f"{counted(n, 'cell')} with a value that the file itself defines as missing."
    ledger.announce("user_missing", table.role, header, n, text)
    texts = design_text(table, header).astype(TEXT)
    if _holds_dates(table.frame[header], texts):
        remedy = "replace dates by a number, such as the age in years; calendar dates are not kept"
        ledger.fault(table.role, header, "a covariate cannot be a calendar date", remedy)
        return pd.Series(pd.NA, index=texts.index, dtype=TEXT)
    trial = FaultCollector()
    numbers = numeric(table, header, settings, trial, what="covariate")
    codes = design_text(table, header, labelled=False).astype(TEXT)
    labelled = bool(table.labels.get(header)) and bool((texts != codes)[texts.notna()].all())
    if not trial.faults and not labelled:
        return numbers
    return texts.mask(codes.isin({code_text(code) for code in settings.missing_codes}))


def _holds_dates(cells: pd.Series, texts: pd.Series) -> bool:
    """Whether a column holds calendar dates, as such or as text."""
    if pd.api.types.is_datetime64_any_dtype(cells):
        return True
    if cells.dtype == object and any(isinstance(cell, datetime.date) for cell in cells):
        return True
    present = texts.dropna()
    return len(present) > 0 and bool(present.str.fullmatch(_ISO_DATE).all())
