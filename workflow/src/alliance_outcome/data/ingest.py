"""From the raw files of a study to its session table, or to a list of everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alliance_outcome.data.assembly import AssembledStudy, assemble_study
from alliance_outcome.data.disclosure_risk import RISK_COLUMNS, disclosure_risks
from alliance_outcome.data.item_table import item_table
from alliance_outcome.data.ledger import Ledger
from alliance_outcome.data.measures import measures_table
from alliance_outcome.data.pseudonyms import PseudonymKey
from alliance_outcome.data.sessions import arrange_sessions, validate_sessions
from alliance_outcome.data.source_files import TEXT
from alliance_outcome.data.study_check import check_weeks, settings_to_check
from alliance_outcome.errors import Fault
from alliance_outcome.settings import IngestSettings, measure_column


@dataclass(frozen=True)
class IngestedStudy:
    """What the ingest hands on; identifiers are pseudonyms.

    Parameters
    ----------
    sessions : pandas.DataFrame
        The session table, see :mod:`alliance_outcome.data.sessions`.
    items : pandas.DataFrame
        One row per item of each answered form: ``client, episode, occasion_kind, session, rater, instrument, item, raw,
        keyed``.
    clients, therapists : pandas.DataFrame
        Covariates: ``client`` or ``therapist``, then one column each; only that column if there are none.
    data_flow : pandas.DataFrame
        ``order, stage, step, text, n_rows, n_clients, n_therapists, n_removed``; from the step ``occasions`` on, the
        rows of a step are those of the step before less ``n_removed``.
    announcements : pandas.DataFrame
        ``kind, file, column, n, text``: everything that was recoded, flipped, left out or assumed.
    measures : pandas.DataFrame
        One row per measure, see :data:`alliance_outcome.data.measures.MEASURE_COLUMNS`.
    risks : pandas.DataFrame
        How easily somebody could be recognised in the data, see :mod:`alliance_outcome.data.disclosure_risk`.
    """

    sessions: pd.DataFrame
    items: pd.DataFrame
    clients: pd.DataFrame
    therapists: pd.DataFrame
    data_flow: pd.DataFrame
    announcements: pd.DataFrame
    measures: pd.DataFrame
    risks: pd.DataFrame


@dataclass(frozen=True)
class StudyCheck:
    """What is wrong with a study, and what people should know about it.

    Parameters
    ----------
    faults : tuple of Fault
        Empty if the study can be ingested.
    announcements : pandas.DataFrame
        ``kind, file, column, n, text``.
    risks : pandas.DataFrame
        How easily somebody could be recognised in the data; no rows for a study with faults.
    """

    faults: tuple[Fault, ...]
    announcements: pd.DataFrame
    risks: pd.DataFrame


def ingest_study(
    name: str, settings: IngestSettings, root: Path, instruments: Path | None, key_path: Path
) -> IngestedStudy:
    """Turn the raw files of a study into the session table.

    Parameters
    ----------
    name : str
        Name of the study.
    settings : IngestSettings
        The ingest section of the study file.
    root : Path
        Folder that relative paths start from.
    instruments : Path or None
        Folder with the user's own scoring keys.
    key_path : Path
        The pseudonym key; written with mode 600 at the first ingest, extended later.

    Returns
    -------
    IngestedStudy
        The tables.

    Raises
    ------
    StudyError
        With every fault that could be found.
    """
    ledger = Ledger()
    study = assemble_study(settings, root, instruments, ledger)
    ledger.faults.raise_if_any()
    key = PseudonymKey(key_path)
    clients = _client_pseudonyms(study, key)
    therapists = key.issue("therapist", study.occasions["therapist"].dropna().unique())
    occasions = study.occasions.assign(client=clients, therapist=study.occasions["therapist"].map(therapists))
    # By pseudonym, because the order of the identifiers says something about them.
    occasions = occasions.sort_values("client", kind="stable")
    n_rated = {each.column: int(occasions[each.column].notna().sum()) for each in study.measures}
    measures = measures_table(study.measures, n_rated)
    primary = measure_column(settings.measures[settings.primary_outcome])
    sessions = validate_sessions(arrange_sessions(name, occasions, measures, primary), measures)
    originals = study.occasions.assign(pseudonym=clients).drop_duplicates("pseudonym")
    ingested = IngestedStudy(
        sessions=sessions,
        items=item_table(study.measures, study.merger.rows, occasions),
        clients=_covariate_table(
            "client", dict(zip(originals["pseudonym"], originals["client"], strict=True)), study.clients
        ),
        therapists=_covariate_table(
            "therapist", {pseudonym: original for original, pseudonym in therapists.items()}, study.therapists
        ),
        data_flow=ledger.data_flow(),
        announcements=ledger.announcements(),
        measures=measures,
        risks=_risks(study),
    )
    key.save()
    return ingested


def check_study(content: Mapping[str, Any], root: Path, instruments: Path | None) -> StudyCheck:
    """Find everything that is wrong with a study in one go.

    Parameters
    ----------
    content : mapping
        The study file as plain types.
    root : Path
        Folder that relative paths start from.
    instruments : Path or None
        Folder with the user's own scoring keys.

    Returns
    -------
    StudyCheck
        Faults of the study file, of scoring keys, of files and of values, as far as they can be found with what is
        right; no exception is raised for a bad study.
    """
    ledger = Ledger()
    settings, incomplete = settings_to_check(content, ledger)
    study = assemble_study(settings, root, instruments, ledger, incomplete=incomplete)
    check_weeks(content, study, ledger)
    faults = tuple(dict.fromkeys(ledger.faults.faults))
    risks = pd.DataFrame(columns=list(RISK_COLUMNS)) if faults else _risks(study)
    return StudyCheck(faults, ledger.announcements(), risks)


def _risks(study: AssembledStudy) -> pd.DataFrame:
    columns = [measure.column for measure in study.measures]
    return disclosure_risks(study.occasions, study.clients, columns)


def _client_pseudonyms(study: AssembledStudy, key: PseudonymKey) -> pd.Series:
    """Pseudonym of each occasion's client; parts of a client that are treated as clients have numbers from _2 on."""
    issued = key.issue("client", study.occasions["client"].unique())
    pseudonyms = study.occasions["client"].map(issued).astype(TEXT)
    part = study.occasions["unit"]
    return pseudonyms.where(part == 1, pseudonyms + "_" + part.astype(TEXT))


def _covariate_table(level: str, originals: Mapping[str, str], covariates: pd.DataFrame) -> pd.DataFrame:
    """Put covariates beside pseudonyms, sorted by them."""
    pseudonyms = sorted(originals)
    table = covariates.reindex([originals[pseudonym] for pseudonym in pseudonyms]).reset_index(drop=True)
    table.insert(0, level, pd.Series(pseudonyms, dtype=TEXT))
    return table
