"""Assemble a study: read, score, merge and nest, and collect every fault on the way.

Both the ingest, which stops if there is a fault, and the check, which reports them all, go through these stages. Here
clients and therapists still have the identifiers of the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alliance_outcome.data.covariates import client_design, read_covariates
from alliance_outcome.data.instrument_files import InstrumentLibrary, load_instruments
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.measures import Measure, read_measure
from alliance_outcome.data.merging import HELD, OccasionMerger
from alliance_outcome.data.nesting import fill_therapists, keep_episodes, nest_clients, number_units
from alliance_outcome.data.occasions import GROUP_COLUMNS, SESSION
from alliance_outcome.data.source_files import TEXT
from alliance_outcome.data.study_files import StudyFiles, read_study_files
from alliance_outcome.errors import StudyError
from alliance_outcome.settings import IngestSettings


@dataclass
class AssembledStudy:
    """A study on its way to the session table; faults are in the ledger.

    Parameters
    ----------
    files : StudyFiles
        The raw files.
    measures : list of Measure
        The measures that could be scored.
    merger : OccasionMerger or None
        Which rows make which occasion; None if no file has a usable row.
    occasions : pandas.DataFrame
        The occasions that are left, in order within clients, indexed by key, with ``unit``, the number of the part of
        a client that is treated as a client.
    clients, therapists : pandas.DataFrame
        Covariates by identifier.
    """

    files: StudyFiles
    measures: list[Measure] = field(default_factory=list)
    merger: OccasionMerger | None = None
    occasions: pd.DataFrame = field(default_factory=pd.DataFrame)
    clients: pd.DataFrame = field(default_factory=pd.DataFrame)
    therapists: pd.DataFrame = field(default_factory=pd.DataFrame)


def assemble_study(
    settings: IngestSettings,
    root: Path,
    instruments: Path | None,
    ledger: Ledger,
    *,
    incomplete: bool = False,
) -> AssembledStudy:
    """Go through all stages as far as faults allow.

    Parameters
    ----------
    settings : IngestSettings
        The study.
    root : Path
        Folder that relative paths start from.
    instruments : Path or None
        Folder with the user's own scoring keys.
    ledger : Ledger
        Receives faults, announcements and the data flow.
    incomplete : bool
        The settings are what could be saved of a faulty study file: nothing is concluded from what is not there.

    Returns
    -------
    AssembledStudy
        What could be assembled; it is complete if the ledger has no faults.
    """
    study = AssembledStudy(read_study_files(settings, root, ledger, incomplete=incomplete))
    library = _load_library(instruments, ledger)
    study.measures = _read_measures(settings, study.files, library, ledger)
    study.files.announce_user_missing(ledger)
    _drop_empty_occasions(study, ledger)
    _read_all_covariates(study, settings, ledger)
    if any(source.rows["usable"].any() for source in study.files.occasions.values()):
        study.merger = OccasionMerger(study.files.occasions, ledger)
        study.occasions = study.merger.merge()
        ledger.flow(
            "occasions", "The rows of all files, put together by client and occasion.", study.occasions
        )
        _check_ratings_of_sessions_not_held(study, ledger)
        _nest(study, settings, ledger)
    _refuse_unrated(study, settings, ledger)
    if not incomplete:
        _refuse_without_sessions(study, ledger)
    return study


def _load_library(directory: Path | None, ledger: Ledger) -> InstrumentLibrary:
    """Read the scoring keys; with faults in the user's own, go on with the shipped ones."""
    try:
        return load_instruments(directory)
    except StudyError as error:
        ledger.faults.faults.extend(error.faults)
        return load_instruments()


def _read_measures(
    settings: IngestSettings, files: StudyFiles, library: InstrumentLibrary, ledger: Ledger
) -> list[Measure]:
    """Score the measures, and put their scores beside the rows of their files."""
    measures, columns = [], set()
    for name, measure in settings.measures.items():
        file = settings.files.get(measure.file)
        if file is None:
            key = f"measures.{name}.file"
            ledger.fault(STUDY_FILE, key, "no file of the study has this name", "name one of the files")
        elif file.layout not in ("long", "wide"):
            key = f"measures.{name}.file"
            remedy = "measures belong to occasions: use layout wide, e.g. with one occasion of kind: intake"
            ledger.fault(STUDY_FILE, key, f"a file with layout {file.layout} holds no measures", remedy)
        elif measure.file in files.occasions:
            source = files.occasions[measure.file]
            read = read_measure(name, measure, source, library, settings.accept_unverified_key, ledger)
            if read is None:
                continue
            scores = read.table_columns()
            if columns & set(scores.columns):
                key = f"measures.{name}"
                remedy = "give one of the raters, subscales or instruments another name"
                ledger.fault(
                    STUDY_FILE, key, "another measure has the same column in the session table", remedy
                )
                continue
            columns |= set(scores.columns)
            source.rows[scores.columns] = scores
            measures.append(read)
    return measures


def _drop_empty_occasions(study: AssembledStudy, ledger: Ledger) -> None:
    """Leave out the occasions of wide files on which a client has nothing: no rating, attendance, week or date."""
    for role, source in study.files.occasions.items():
        if not source.is_wide:
            continue
        rows = source.rows
        recorded = rows["attendance"].notna() | rows["date"].notna()
        if source.has("week"):
            recorded |= rows["week"].notna()
        for measure in study.measures:
            if measure.settings.file == role:
                recorded |= measure.scores.answered
        empty = rows["usable"] & ~recorded
        rows["usable"] &= recorded
        text = f"Occasions of the wide file {role} on which nothing was recorded are left out."
        ledger.flow(f"empty_{role}", text, rows[rows["usable"]], int(empty.sum()))
        text = f"{counted(int(empty.sum()), 'occasion')} of the wide file with nothing recorded, left out."
        ledger.announce("dropped", role, None, int(empty.sum()), text)


def _check_ratings_of_sessions_not_held(study: AssembledStudy, ledger: Ledger) -> None:
    """Refuse alliance ratings of sessions that were not held; severity may have been filled in at home."""
    rows = study.merger.rows
    attendance = study.occasions["attendance"].reindex(rows["key"]).set_axis(rows.index)
    not_held = attendance.notna() & (attendance != HELD)
    for measure in study.measures:
        role = measure.settings.file
        own = rows[not_held & (rows["file"] == role)]
        own = own[measure.scores.answered.loc[own["source_row"]].to_numpy()]
        if measure.settings.construct == "severity":
            text = f"{counted(len(own), 'rating')} of {measure.name} on sessions that were not held: kept."
            ledger.announce("warning", role, measure.scores.label, len(own), text)
        elif len(own):
            ledger.fault(
                role,
                measure.scores.label,
                f"measure {measure.name} was rated on sessions that were not held",
                "correct the attendance, or move the ratings to the session that they belong to",
                study.files.occasions[role].table.row_numbers(own["position"].unique()),
            )


def _read_all_covariates(study: AssembledStudy, settings: IngestSettings, ledger: Ledger) -> None:
    """Read the covariates of clients and therapists."""
    client_files = {
        role: (source.table, source.settings, source.rows["client"])
        for role, source in study.files.clients.items()
    }
    study.clients = read_covariates("client", settings.client_columns, client_files, ledger)
    study.therapists = read_covariates(
        "therapist", settings.therapist_columns, study.files.therapists, ledger
    )


def _nest(study: AssembledStudy, settings: IngestSettings, ledger: Ledger) -> None:
    """Complete therapist, site and arm, apply the rules for episodes and therapists, and join covariates."""
    occasions = _complete_from_client_files(study, ledger)
    all_clients, all_therapists = occasions["client"].unique(), occasions["therapist"].dropna().unique()
    occasions = keep_episodes(occasions, settings.episodes, ledger)
    occasions = fill_therapists(occasions, ledger)
    occasions = nest_clients(occasions, settings.therapist_change, ledger)
    study.occasions = occasions.assign(unit=number_units(occasions))
    parts = occasions["client"] + "\n" + study.occasions["unit"].astype(TEXT)
    ledger.flow("session_table", "Rows of the session table.", occasions.assign(client=parts))
    left = {"client": occasions["client"].unique(), "therapist": occasions["therapist"].dropna().unique()}
    for level, table, everyone, read in (
        ("client", study.clients, all_clients, study.files.clients),
        ("therapist", study.therapists, all_therapists, study.files.therapists),
    ):
        if not read:
            continue
        roles = ", ".join(read)
        n = int((~pd.Index(left[level]).isin(table.index)).sum())
        ledger.announce(
            "warning", roles, None, n, f"{counted(n, level)} of the sessions without a row in this file."
        )
        n = int((~table.index.isin(everyone)).sum())
        ledger.announce(
            "dropped", roles, None, n, f"{counted(n, level)} of this file without any occasion, not used."
        )


def _complete_from_client_files(study: AssembledStudy, ledger: Ledger) -> pd.DataFrame:
    """Fill in therapist, site and arm from files of clients where the occasion itself does not say."""
    occasions = study.occasions
    for role, source in study.files.clients.items():
        design = client_design(source)
        for name in design:
            stated = design[name].reindex(occasions["client"]).set_axis(occasions.index)
            differs = occasions[name].notna() & stated.notna() & (occasions[name] != stated)
            n = int(differs.sum())
            text = (
                f"{counted(n, 'occasion')} with another {name} than in this file: the occasion's own is kept."
            )
            ledger.announce("nesting" if name == "therapist" else "warning", role, None, n, text)
            occasions = occasions.assign(**{name: occasions[name].fillna(stated)})
    for name in GROUP_COLUMNS[1:]:
        n = int((occasions.groupby(["client", "episode"])[name].nunique() > 1).sum())
        ledger.announce(
            "warning",
            STUDY_FILE,
            f"columns.{name}",
            n,
            f"{counted(n, 'client')} with several values of {name}.",
        )
    return occasions


def _refuse_unrated(study: AssembledStudy, settings: IngestSettings, ledger: Ledger) -> None:
    """Refuse measures without a value."""
    complete = not ledger.faults.faults
    for measure in study.measures:
        what = "the primary outcome" if measure.name == settings.primary_outcome else "the measure"
        role, label = measure.settings.file, measure.scores.label
        if not measure.scores.answered.any():
            remedy = "check columns, missing codes and occasions in the study file, or remove the measure"
            ledger.fault(role, label, f"{what} {measure.name} has no value at all", remedy)
        elif complete and study.occasions[measure.column].isna().all():
            remedy = "see the announcements for what was not scored or left out"
            ledger.fault(
                role, label, f"{what} {measure.name} has no score on any occasion that is left", remedy
            )


def _refuse_without_sessions(study: AssembledStudy, ledger: Ledger) -> None:
    """Refuse a study without sessions, or without any that was held and is left."""
    kinds = [source.rows["occasion_kind"] for source in study.files.occasions.values()]
    if kinds and all(kind.notna().all() and not (kind == SESSION).any() for kind in kinds):
        remedy = "state which rows are sessions by a session column, occasion_kind or occasions"
        ledger.fault(STUDY_FILE, "files", "no file holds sessions", remedy)
    elif not ledger.faults.faults and not (study.occasions["attendance"] == HELD).any():
        remedy = (
            "see the announcements for what was left out; sessions need occasion_kind session and attendance"
        )
        ledger.fault(STUDY_FILE, "files", f"no {SESSION} that was held is left", remedy)
