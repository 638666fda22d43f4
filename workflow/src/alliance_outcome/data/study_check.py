"""What the check of a study does beyond the ingest: use a faulty study file as far as possible, and look ahead."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from alliance_outcome.data.assembly import AssembledStudy
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.merging import HELD
from alliance_outcome.errors import StudyError
from alliance_outcome.settings import (
    NAME_PATTERN,
    FileSettings,
    IngestSettings,
    MeasureSettings,
    measure_column,
    validate_study,
)


def settings_to_check(content: Mapping[str, Any], ledger: Ledger) -> tuple[IngestSettings, bool]:
    """Validate a study file, and make the best of it if it is faulty.

    Parameters
    ----------
    content : mapping
        The study file as plain types.
    ledger : Ledger
        Receives its faults.

    Returns
    -------
    settings : IngestSettings
        The ingest section; of a faulty study file, the files and measures that are in order but for unknown keys, so
        that their content can be checked too.
    incomplete : bool
        Whether it is what could be saved of a faulty study file.
    """
    try:
        return validate_study(content), False
    except StudyError as error:
        ledger.faults.faults.extend(error.faults)
        references_checked = any(fault.column is None for fault in error.faults)
    files = _valid_entries(content.get("files"), FileSettings)
    listed = content.get("files") if isinstance(content.get("files"), Mapping) else {}
    measures = {
        name: measure
        for name, measure in _valid_entries(content.get("measures"), MeasureSettings).items()
        if measure.file in files or not (references_checked or measure.file in listed)
    }
    first_of_column = {measure_column(measure): name for name, measure in reversed(measures.items())}
    measures = {name: measures[name] for name in measures if name in first_of_column.values()}
    severity = [name for name, measure in measures.items() if measure.construct == "severity"]
    primary = content.get("primary_outcome")
    return IngestSettings.model_construct(
        files=files,
        measures=measures,
        client_columns=_valid_columns(content.get("client_columns"), "clients", files),
        therapist_columns=_valid_columns(content.get("therapist_columns"), "therapists", files),
        primary_outcome=primary if primary in severity else next(iter(severity), ""),
        therapist_change="exclude",
        episodes="first",
        accept_unverified_key=content.get("accept_unverified_key") is True,
    ), True


def check_weeks(content: Mapping[str, Any], study: AssembledStudy, ledger: Ledger) -> None:
    """Check that the weeks are known which ``lag_unit: week`` and ``max_gap_weeks`` need.

    Parameters
    ----------
    content : mapping
        The study file as plain types.
    study : AssembledStudy
        What could be assembled.
    ledger : Ledger
        Receives a fault for ``lag_unit``; for ``max_gap_weeks`` one only if no week is known, and an announcement
        otherwise.
    """
    by_week = content.get("lag_unit") == "week"
    if study.merger is None or not (by_week or content.get("max_gap_weeks") is not None):
        return
    key = "lag_unit" if by_week else "max_gap_weeks"
    held = study.occasions[study.occasions["attendance"] == HELD]
    unknown = held.index[held["week"].isna()]
    sources = study.files.occasions
    dated = [role for role, source in sources.items() if source.has("week") or source.has("date")]
    if len(unknown) == len(held):
        remedy = "name a week or date column, or choose another lag_unit and no max_gap_weeks"
        ledger.fault(STUDY_FILE, key, "this needs the week of each session, and no file has one", remedy)
    elif by_week:
        rows = study.merger.rows
        empty = rows["key"].isin(unknown) & rows["file"].isin(dated)
        column = {role: "week" if sources[role].has("week") else "date" for role in dated}
        for name in ("week", "date"):
            own = empty & (rows["file"].map(column) == name)
            remedy = "fill it in, or choose another lag_unit"
            study.merger.refuse(own, name, f"lag_unit: week needs the {name} of each held session", remedy)
        n = int((~pd.Index(unknown).isin(rows.loc[empty, "key"])).sum())
        if n:
            problem = f"{counted(n, 'held session')} without a week stand only in files without weeks"
            ledger.fault(STUDY_FILE, key, problem, "name a week or date column in these files")
    else:
        text = f"{counted(len(unknown), 'held session')} without a week: their gaps are not known."
        ledger.announce("warning", STUDY_FILE, key, len(unknown), text)


def _valid_entries[Entry: BaseModel](entries: object, model: type[Entry]) -> dict[str, Entry]:
    """Keep the entries of a section that are valid, or would be without unknown keys and with a timing."""
    valid = {}
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
            read = _validated(_mended(entry, model), model)
            if read is not None:
                valid[name] = read
    return valid


def _validated[Entry: BaseModel](entry: object, model: type[Entry]) -> Entry | None:
    try:
        return model.model_validate(entry)
    except ValidationError:
        return None


def _mended(entry: object, model: type[BaseModel]) -> object:
    """Return an entry without its unknown keys; timing, which does not matter here, is put in if it is amiss."""
    try:
        model.model_validate(entry)
    except ValidationError as error:
        entry = copy.deepcopy(entry)
        for detail in error.errors(include_input=False, include_url=False):
            *parents, last = detail["loc"] or (None,)
            if detail["type"] == "extra_forbidden":
                place = entry
                for parent in parents:
                    place = place[parent]
                del place[last]
            elif detail["loc"] == ("timing",):
                entry["timing"] = "before"
    return entry


def _valid_columns(columns: object, layout: str, files: Mapping[str, FileSettings]) -> dict[str, str]:
    """Keep covariates whose name and header are text, if there is a file to look for them."""
    if not isinstance(columns, Mapping) or layout not in {file.layout for file in files.values()}:
        return {}
    return {
        name: header
        for name, header in columns.items()
        if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) and isinstance(header, str)
    }
