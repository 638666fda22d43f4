"""Read all raw files of a study, each according to its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from alliance_outcome.data.covariates import read_client_file
from alliance_outcome.data.disclosure import refuse_identifying_columns
from alliance_outcome.data.files import RawTable, read_raw_table
from alliance_outcome.data.headers import require
from alliance_outcome.data.identifiers import refuse_spellings
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.occasions import read_occasions
from alliance_outcome.data.source_files import TEXT, SourceFile
from alliance_outcome.data.values import design_text
from alliance_outcome.errors import StudyError
from alliance_outcome.settings import FileSettings, IngestSettings


@dataclass
class StudyFiles:
    """The raw files of a study that could be read.

    Parameters
    ----------
    occasions : dict of str to SourceFile
        Files with layout long or wide, by role.
    clients : dict of str to SourceFile
        Files with layout clients.
    therapists : dict of str to (RawTable, FileSettings, pandas.Series)
        Files with layout therapists, with the identifier of each row.
    """

    occasions: dict[str, SourceFile] = field(default_factory=dict)
    clients: dict[str, SourceFile] = field(default_factory=dict)
    therapists: dict[str, tuple[RawTable, FileSettings, pd.Series]] = field(default_factory=dict)

    def announce_user_missing(self, ledger: Ledger) -> None:
        """Announce the cells of the columns in use that the files themselves define as missing."""
        for source in (*self.occasions.values(), *self.clients.values()):
            for header in source.table.frame.columns:
                n = source.table.missing_counts.get(header, 0) if header in source.used else 0
                text = f"{counted(n, 'cell')} with a value that the file itself defines as missing."
                ledger.announce("user_missing", source.role, header, n, text)


def read_study_files(settings: IngestSettings, root: Path, ledger: Ledger, *, incomplete: bool) -> StudyFiles:
    """Read the raw files of a study.

    Parameters
    ----------
    settings : IngestSettings
        Where they are and what they hold.
    root : Path
        Folder that relative paths start from.
    ledger : Ledger
        Receives faults, announcements and the number of rows of each file; a file that cannot be read is left out.
    incomplete : bool
        Files are left out of the settings, so that nothing is concluded from what is not there.

    Returns
    -------
    StudyFiles
        The others.
    """
    files = StudyFiles()
    for role, file in settings.files.items():
        try:
            table = read_raw_table(role, file, root)
        except StudyError as error:
            ledger.faults.faults.extend(error.faults)
            continue
        refuse_identifying_columns(table, file, ledger)
        n = len(table.blank_rows)
        ledger.announce("dropped", role, None, n, f"{counted(n, 'entirely blank row')} left out.")
        if file.layout == "therapists":
            _add_therapist_file(files, role, table, file, ledger)
        elif file.layout == "clients":
            files.clients[role] = read_client_file(role, table, file, ledger)
        else:
            source = read_occasions(role, table, file, ledger)
            files.occasions[role] = source
            raw_rows = source.rows.iloc[: len(table.frame)]
            ledger.flow(f"read_{role}", f"Rows of the file {role}, layout {file.layout}.", raw_rows)
    _check_identifiers(files, ledger)
    if not incomplete:
        _check_layouts(settings, ledger)
    return files


def _add_therapist_file(
    files: StudyFiles, role: str, table: RawTable, settings: FileSettings, ledger: Ledger
) -> None:
    """Read the identifiers of a file with a row per therapist; an empty one is a fault."""
    header = settings.therapist_column
    if not require(table, [header], f"files.{role}.therapist_column", ledger):
        return
    identifiers = design_text(table, header, labelled=False).astype(TEXT)
    empty = identifiers.isna()
    if empty.any():
        remedy = "fill it in, or delete the rows"
        ledger.fault(role, header, "the therapist's identifier is empty", remedy, table.row_numbers(empty))
    files.therapists[role] = (table, settings, identifiers)


def _check_identifiers(files: StudyFiles, ledger: Ledger) -> None:
    """Refuse identifiers that differ by case or blanks only, within and between files."""
    sources = [*files.occasions.values(), *files.clients.values()]
    for who in ("client", "therapist"):
        places = [
            (source.table, header)
            for source in sources
            if source.has(who)
            for header in dict.fromkeys(
                source.headers(getattr(source.columns, who), source.key("columns", who))
            )
            if header
        ]
        if who == "therapist":
            places += [(table, settings.therapist_column) for table, settings, _ in files.therapists.values()]
        refuse_spellings(places, who, ledger)


def _check_layouts(settings: IngestSettings, ledger: Ledger) -> None:
    """Check that there are files with occasions, and that files of therapists can be joined to them."""
    layouts = [file.layout for file in settings.files.values()]
    if "long" not in layouts and "wide" not in layouts:
        remedy = "add a file with layout long or wide"
        ledger.fault(STUDY_FILE, "files", "no file holds occasions", remedy)
    named = any(file.columns and file.columns.therapist for file in settings.files.values())
    if "therapists" in layouts and not named:
        remedy = (
            "name the column with the therapist's identifier in the columns of a file of sessions or clients"
        )
        ledger.fault(
            STUDY_FILE, "files", "there is a file of therapists, but no client has a therapist", remedy
        )
