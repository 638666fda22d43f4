"""The second gate against disclosure: what a study publishes is searched before a report is made of it.

Rules follow those of output checkers of research data centres (Smith et al. 2024, ACRO; thresholds are its defaults):
no cell of fewer than ten people, no minimum, maximum or mode, ten residual degrees of freedom. To them come rules of
this design: no row for each client or therapist, and no identifier or pseudonym anywhere.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.description import ROUNDED_TO
from alliance_outcome.analyses.estimates import clients_beyond_coefficients
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS, check
from alliance_outcome.data.disclosure_risk import SMALLEST_CELL
from alliance_outcome.errors import Fault, StudyError

STAGE = "release"

#: Rules, and what passes them.
RULES = {
    "identifiers": "No identifier and no pseudonym of a client or therapist stands in any table, figure or log.",
    "rows_of_people": "No table has a row for each client or each therapist.",
    "small_cells": f"No cell counts fewer than {SMALLEST_CELL} people.",
    "extremes": "No minimum, maximum or mode of people's values is told.",
    "residual_df": f"Every model with estimates has at least {SMALLEST_CELL} clients more than coefficients.",
    "rounded_counts": f"Numbers of clients by session are multiples of {ROUNDED_TO}: their differences count nobody.",
}
#: Tables that count what was done to a file, as STROBE and RECORD ask for: they say how many, not who, nor what values.
FLOW_TABLES = frozenset({"announcements", "data_flow_ingest", "data_flow_design", "withheld"})
_EXTREMES = re.compile(
    r"(^|_)(min|max|minimum|maximum|mode|fewest|most|lowest|highest|smallest|largest)($|_)"
)
#: The tenth from either end is nobody's own value; Pareto's k of left-out groups says how well they could be left out.
_NO_EXTREMES = re.compile(r"_tenth_(fewest|most)$|^largest_k$")
_ROW_COLUMNS = frozenset(
    {"client", "clients", "therapist", "therapists", "pseudonym", "original", "participant"}
)
#: An identifier that is shorter, or a number with fewer digits, cannot be told from other text.
_TELLING_LENGTH, _TELLING_DIGITS = 4, 6
_TOKEN = re.compile(r"[\w@.+-]+")


@dataclass(frozen=True)
class Finding:
    """Something that must not be published.

    Parameters
    ----------
    rule : str
        Of :data:`RULES`.
    file : str
        Where it is, below the study's results.
    text : str
        What it is, without the value.
    """

    rule: str
    file: str
    text: str


@dataclass(frozen=True)
class Identifiers:
    """Identifiers of a study's people that can be told from other text.

    Parameters
    ----------
    single : frozenset of str
        Without blanks.
    several : tuple of str
        With blanks.
    n_untold : int
        How many are too short to be searched for.
    n_people : dict of str to int
        How many clients and therapists there are.
    """

    single: frozenset[str]
    several: tuple[str, ...]
    n_untold: int
    n_people: dict[str, int]

    @classmethod
    def read(cls, key: Path) -> Identifiers:
        """Read the pseudonym key.

        Parameters
        ----------
        key : Path
            Written by the ingest.

        Returns
        -------
        Identifiers
        """
        with key.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        told = [row["original"] for row in rows if _is_telling(row["original"])]
        return cls(
            frozenset(row["pseudonym"] for row in rows) | {each for each in told if _TOKEN.fullmatch(each)},
            tuple(each for each in told if not _TOKEN.fullmatch(each)),
            len(rows) - len(told),
            Counter(row["kind"] for row in rows),
        )

    def are_in(self, text: str) -> bool:
        """Say whether any of them stands in a text, as a word of its own."""
        tokens = {token.strip(".+-") for token in _TOKEN.findall(text)}
        # A pseudonym of a part of a client ends in _2, _3 and so on.
        stems = {re.sub(r"_\d+$", "", token) for token in tokens}
        return not self.single.isdisjoint(tokens | stems) or any(each in text for each in self.several)


def _is_telling(original: str) -> bool:
    digits = sum(each.isdigit() for each in original)
    return len(original) >= _TELLING_LENGTH and (not original.isdigit() or digits >= _TELLING_DIGITS)


def release_checks(root: Path, files: Iterable[Path], key: Path) -> pd.DataFrame:
    """Search everything that a study publishes.

    Parameters
    ----------
    root : Path
        The study's results.
    files : iterable of Path
        Text files below `root`: tables and estimates, and figures, captions and logs.
    key : Path
        The pseudonym key.

    Returns
    -------
    DataFrame
        A row for each rule: ``stage, name, passed, value, limit, text``; ``value`` is the number of findings.
    """
    identifiers = Identifiers.read(key)
    n_clients, n_therapists = (identifiers.n_people.get(who, 0) for who in ("client", "therapist"))
    findings: list[Finding] = []
    for path in files:
        name = path.relative_to(root).as_posix()
        if path.suffix == ".csv":
            findings += audit_table(name, _read(path), n_clients, n_therapists)
        if identifiers.are_in(path.read_text(encoding="utf-8")):
            findings.append(Finding("identifiers", name, "an identifier or pseudonym"))
    rows = [_rule_row(rule, [each for each in findings if each.rule == rule], identifiers) for rule in RULES]
    text = "No totals of magnitudes are published, so dominance and p-ratio rules do not apply."
    rows.append(check(STAGE, "dominance", None, None, None, text))
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def _rule_row(rule: str, findings: list[Finding], identifiers: Identifiers) -> dict[str, object]:
    text = RULES[rule]
    if findings:
        text += " Found: " + "; ".join(dict.fromkeys(f"{each.file}: {each.text}" for each in findings)) + "."
    elif rule == "identifiers" and identifiers.n_untold:
        text += f" Identifiers under {_TELLING_LENGTH} letters or {_TELLING_DIGITS} digits cannot be searched for."
    return check(STAGE, rule, not findings, float(len(findings)), 0.0, text)


def audit_table(name: str, table: pd.DataFrame, n_clients: int, n_therapists: int) -> list[Finding]:
    """Search a table.

    Parameters
    ----------
    name : str
        File below the study's results.
    table : DataFrame
    n_clients, n_therapists : int
        Of the study.

    Returns
    -------
    list of Finding
    """
    columns = set(table.columns)
    found: dict[str, Iterable[str]] = {
        "rows_of_people": _rows_of_people(table, n_clients, n_therapists),
        "extremes": _extremes(table),
        "small_cells": () if Path(name).stem in FLOW_TABLES else _small_cells(table),
        "residual_df": _saturated(table) if {"row_id", "status"} <= columns else (),
        "rounded_counts": _unrounded(table) if {"session", "column"} <= columns else (),
    }
    return [Finding(rule, name, text) for rule, texts in found.items() for text in texts]


def _rows_of_people(table: pd.DataFrame, n_clients: int, n_therapists: int) -> Iterator[str]:
    for column in table.columns:
        if str(column).casefold() in _ROW_COLUMNS:
            yield f"the column {column} is of single people"
    for n, who in ((n_clients, "client"), (n_therapists, "therapist")):
        if n >= SMALLEST_CELL and len(table) == n and not _told_apart_by_words(table):
            yield f"there is one row for each {who}"


def _told_apart_by_words(table: pd.DataFrame) -> bool:
    """Say whether rows have names of quantities, not of numbers alone: by chance there may be as many as people."""
    texts = table.select_dtypes(include=["object", "str"]).astype("str")
    words = texts.apply(lambda column: column.str.replace(r"\d+", "", regex=True))
    return len(words.columns) > 0 and 2 * len(words.drop_duplicates()) >= len(table)


def _extremes(table: pd.DataFrame) -> Iterator[str]:
    named = table["quantity"].astype(str) if "quantity" in table else ()
    for word in (*map(str, table.columns), *named):
        if _EXTREMES.search(word) and not _NO_EXTREMES.search(word):
            yield word


def _counts_of_people(table: pd.DataFrame) -> Iterable[str]:
    return [
        each for each in ("n", "n_clients", "n_therapists", "n_rated", "n_held", "n_units") if each in table
    ]


def _small_cells(table: pd.DataFrame) -> Iterator[str]:
    told = table[table["status"] == "ok"] if "status" in table else table
    for column in _counts_of_people(told):
        counts = pd.to_numeric(told[column], errors="coerce")
        if column == "n_therapists" and "level" in told:
            # Therapists are the units of nothing but the between-therapist rows.
            counts = counts[told["level"] == "between_therapist"]
        if (counts.gt(0) & counts.lt(SMALLEST_CELL)).any():
            yield f"{column} under {SMALLEST_CELL}"


def _saturated(table: pd.DataFrame) -> Iterator[str]:
    told = table[table["status"] == "ok"]
    for model in told.loc[clients_beyond_coefficients(told).lt(SMALLEST_CELL), "model"].unique():
        yield f"{model} has too few clients for its coefficients"


def _unrounded(table: pd.DataFrame) -> Iterator[str]:
    for column in _counts_of_people(table):
        if (table[column].dropna() % ROUNDED_TO != 0).any():
            yield f"{column} by session is exact"


def require_released(checks: pd.DataFrame) -> None:
    """Stop the report of a study whose results may not be published.

    Parameters
    ----------
    checks : DataFrame
        Of :func:`release_checks`.

    Raises
    ------
    StudyError
        With a fault for each rule that is broken.
    """
    broken = checks[checks["passed"].astype("str") == "False"]
    if len(broken):
        remedy = "this is a fault of the pipeline, not of your data: do not share results/, and report it"
        raise StudyError(
            [Fault("results", row["name"], (), row["text"], remedy) for row in broken.to_dict("records")]
        )


def require_anonymous(page: str, key: Path) -> None:
    """Stop a page with an identifier in it.

    Parameters
    ----------
    page : str
        HTML or other text.
    key : Path
        The pseudonym key.

    Raises
    ------
    StudyError
    """
    if Identifiers.read(key).are_in(page):
        remedy = "look for names in the title, labels and covariates of the study file; do not share the page"
        raise StudyError([Fault("report", None, (), "an identifier or pseudonym stands in the page", remedy)])
