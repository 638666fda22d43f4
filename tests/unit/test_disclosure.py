"""Files with direct identifiers are refused, column by column; columns that only look like it are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ingest_example import N_CLIENTS, ROWS_PER_CLIENT, ExampleStudy, row_of
from openpyxl.utils import get_column_letter
from stdnum.be import nn as belgian
from stdnum.ca import sin as canadian
from stdnum.de import idnr as german
from stdnum.gb import nhs as british
from stdnum.se import personnummer as swedish

from alliance_outcome.data.identifying_headers import header_kind
from alliance_outcome.data.identifying_text import sure_kind

_rng = np.random.default_rng(51127)


def valid(country, pattern: str) -> list[str]:
    """Made-up numbers of a country, one for each client: # is any digit."""
    found: list[str] = []
    while len(found) < N_CLIENTS:
        text = "".join(str(_rng.integers(10)) if each == "#" else each for each in pattern)
        if country.is_valid(text) and text not in found:
            found.append(text)
    return found


def varied(*parts: str) -> list[str]:
    """Each client's own combination."""
    return [f"{parts[n % len(parts)]}{n}" for n in range(N_CLIENTS)]


FIRST = ["Ada", "Bo", "Cleo", "Dov", "Eva", "Finn", "Gus", "Hana", "Ines", "Jan", "Kim", "Lea"]
LAST = ["Moor", "Nagy", "Olsen", "Petit", "Quist", "Rossi", "Sand", "Thys", "Urban", "Vogt", "Weiss", "Zola"]

#: Header and cells of a column of the client file. Numbers are made up; those of documentation are the libraries' own.
WHOLE_COLUMNS = {
    "names": ("who", [f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)]),
    "names_last_first": ("who", [f"{b}, {a}" for a, b in zip(FIRST, LAST, strict=True)]),
    "small_names": ("who", [f"{a} {b}".lower() for a, b in zip(FIRST, LAST, strict=True)]),
    "first_names": ("x1", FIRST),
    "surname_by_header": ("Nachname", [*LAST[:3] * 4]),
    "french_first_name": ("Prénom", FIRST[:6] * 2),
    "initials": ("initials", [a[0] + b[0] for a, b in zip(FIRST, LAST, strict=True)]),
    "camel_header": ("lastName", LAST),
    "email": ("contact", [f"{a}@example.org".lower() for a in FIRST]),
    "email_in_words": ("contact", [f"write to {a}@example.org" for a in FIRST]),
    "telephone_international": ("contact", [f"+33 6 12 34 56 {n:02d}" for n in range(10, 22)]),
    "telephone_french": ("contact", [f"01 42 68 53 {n:02d}" for n in range(10, 22)]),
    "telephone_american": ("contact", [f"(212) 456-78{n:02d}" for n in range(10, 22)]),
    "telephone_bare": ("contact", [f"06123456{n:02d}" for n in range(10, 22)]),
    "telephone_german": ("contact", [f"030 / 22733{n:02d}" for n in range(10, 22)]),
    "telephone_by_header": ("mobile", [f"79123456{n:02d}" for n in range(10, 22)]),
    "street_english": ("where", [f"{n + 3} Old Mill Road" for n in range(N_CLIENTS)]),
    "street_french": ("where", [f"{n + 3} bis, rue de la Paix" for n in range(N_CLIENTS)]),
    "street_german": ("where", [f"Lange Straße {n + 3}" for n in range(N_CLIENTS)]),
    "street_swedish": ("where", [f"Storgatan {n + 3}" for n in range(N_CLIENTS)]),
    "postcode_british": ("area", [f"SW1A {n % 9 + 1}AA" for n in range(N_CLIENTS)]),
    "postcode_canadian": ("area", [f"K1A 0B{n % 9 + 1}" for n in range(N_CLIENTS)]),
    "postcode_by_header": ("PLZ", [str(10100 + n) for n in range(N_CLIENTS)]),
    "birth_date": ("b", [f"{1950 + 4 * n}-03-{n + 10}" for n in range(N_CLIENTS)]),
    "birth_date_dotted": ("b", [f"{n + 10}.03.{1950 + 4 * n}" for n in range(N_CLIENTS)]),
    "birth_date_by_header": ("Date de naissance", [f"{n + 10}/03/1990" for n in range(N_CLIENTS)]),
    "belgian": ("number", valid(belgian, "85073####0#")),
    "canadian_bare": ("number", valid(canadian, "#########")),
    "canadian": ("number", [f"{x[:3]} {x[3:6]} {x[6:]}" for x in valid(canadian, "#########")]),
    "british_bare": ("number", valid(british, "9#########")),
    "british": ("number", [f"{x[:3]} {x[3:6]} {x[6:]}" for x in valid(british, "9#########")]),
    "german_bare": ("number", valid(german, "###########")),
    "swedish": ("number", valid(swedish, "880320-####")),
    "swedish_bare": ("number", valid(swedish, "19880320####")),
    "american": ("number", [f"536-90-{4300 + n}" for n in range(N_CLIENTS)]),
    "american_bare": ("number", [f"53690{4300 + n}" for n in range(N_CLIENTS)]),
    "national_by_header": ("SSN", [f"53690{4300 + n % 3}" for n in range(N_CLIENTS)]),
    "record_number": ("number", [str(70014000 + 37 * n) for n in range(N_CLIENTS)]),
    "comments": ("remarks", ["", "cried a lot today", *[""] * 10]),
    "free_text": ("x2", [f"came late because of work {n}" for n in range(N_CLIENTS)]),
    "one_long_text": ("x2", ["no", "yes", "a long story " * 12, *["no"] * 9]),
}

#: One cell in a column of ordinary answers of the session file.
SINGLE_CELLS = {
    "email": "k.weiss@example.org",
    "french": "2 95 10 99 126 111 93",
    "french_together": "295109912611193",
    "belgian": "85.07.30-033 28",
    "swiss": "756.9217.0769.85",
    "swiss_together": "7569217076985",
    "canadian": "123-456-782",
    "british": "943 476 5870",
    "american": "536-90-4399",
    "german": "36 574 261 809",
    "swedish": "880320-0016",
    "insurance": "AB 12 34 56 C",
    "telephone": "+32 2 555 12 12",
    "postcode": "EC1A 1BB",
    "street": "12 Rue des Lilas",
    "account": "GR16 0110 1050 0000 1054 7023 795",
}

#: Header and cells of columns that are nobody's name or number.
HARMLESS = {
    "phone_sessions": [str(n % 6) for n in range(N_CLIENTS)],
    "telephone_contact": ["yes", "no"] * 6,
    "email_consent": ["yes", "no"] * 6,
    "mail_reminders": [str(n) for n in range(N_CLIENTS)],
    "birth_order": [str(n % 4 + 1) for n in range(N_CLIENTS)],
    "birth_year": [str(1960 + n) for n in range(N_CLIENTS)],
    "birth_country": ["Belgium", "France", "Chad"] * 4,
    "date_of_birth_known": ["1", "0"] * 6,
    "name": ["WAI", "CORE"] * 6,
    "nom_echelle": ["WAI"] * 12,
    "site_name": ["North", "South", "West"] * 4,
    "drug_name": ["Sertraline", "Citalopram", "none"] * 4,
    "address_change": ["0", "1"] * 6,
    "home_address_known": ["yes", "no"] * 6,
    "street_drug_use": [str(n % 4) for n in range(N_CLIENTS)],
    "ssn_provided": ["yes", "no"] * 6,
    "social_security_benefits": ["yes", "no"] * 6,
    "insurance_number_of_sessions": [str(10 * n) for n in range(N_CLIENTS)],
    "notes_taken": ["yes", "no"] * 6,
    "comments_count": [str(n) for n in range(N_CLIENTS)],
    "mobile_app_minutes": [str(17 * n) for n in range(N_CLIENTS)],
    "diagnosis": ["F32.1", "F33.0", "F41.1"] * 4,
    "diagnosis_text": ["major depressive disorder, single episode", "social anxiety disorder, severe type"]
    * 6,
    "ward": varied("A", "B"),
    "study_code": [f"R-{n:04d}" for n in range(N_CLIENTS)],
    "admission": [f"2023-0{n % 9 + 1}-15" for n in range(N_CLIENTS)],
    "score_exact": [repr(float(each)) for each in _rng.normal(3.0, 1.0, N_CLIENTS)],
    "milliseconds": [str(int(each)) for each in _rng.integers(100, 99999, N_CLIENTS)],
    "income_band": ["20000-29999", "30000-39999"] * 6,
    "hours": ["09:30", "14:15"] * 6,
    "manual_version": ["1.2.3", "2.0.10"] * 6,
    "dose": ["20 mg", "40 mg", "10 mg"] * 4,
    "therapy_manual_name": ["Unified Protocol", "Mind Over Mood"] * 6,
    "occupation": ["nurse", "teacher", "student"] * 4,
    "share": [f"{n / 12:.15f}" for n in range(N_CLIENTS)],
    "small_p": [f"{10.0**-n:.3e}" for n in range(N_CLIENTS)],
    "weeks_on_list": [str(52 - n) for n in range(N_CLIENTS)],
    "religion": ["none", "other"] * 6,
}


def faults_of_clients(folder, columns: dict[str, list[str]], **file):
    """Faults of the client file with further columns, by the letters that a spreadsheet gives them."""
    study = ExampleStudy(folder)
    first = study.clients.shape[1] + 1
    study.clients = pd.concat([study.clients, pd.DataFrame(columns)], axis=1)
    study.content["files"]["clients"] |= file
    faults = study.written_check().faults
    letters = {
        f"column {get_column_letter(first + place)} (as a spreadsheet letters it)": place
        for place in range(99)
    }
    assert all(fault.file == "clients" for fault in faults)
    return {letters[fault.column]: fault for fault in faults}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Every column of identifiers in one file; headers that say nothing are numbered to tell them apart."""
    folder = tmp_path_factory.mktemp("refused")
    columns = {}
    for header, cells in WHOLE_COLUMNS.values():
        columns[header if header not in columns else f"{header}{len(columns)}"] = cells
    return faults_of_clients(folder, columns)


@pytest.mark.parametrize("name", WHOLE_COLUMNS)
def test_columns_of_identifiers_are_refused(name, refused):
    _, cells = WHOLE_COLUMNS[name]
    assert len(cells) == N_CLIENTS
    fault = refused[list(WHOLE_COLUMNS).index(name)]
    assert "not_identifying" in fault.remedy
    assert not [cell for cell in cells if len(cell) > 3 and cell in str(fault)]


def test_who_has_looked_at_a_column_may_keep_it(tmp_path):
    columns = dict(WHOLE_COLUMNS[name] for name in ("names", "email", "free_text"))
    assert len(faults_of_clients(tmp_path, columns)) == 3
    assert not faults_of_clients(tmp_path, columns, not_identifying=list(columns))


@pytest.fixture(scope="module", params=["sessions", "clients"])
def single(request, tmp_path_factory):
    """A file with a column of ordinary answers for each kind of identifier, with one of them in row 6."""
    study = ExampleStudy(tmp_path_factory.mktemp("single"))
    table = getattr(study, request.param)
    first = table.shape[1] + 1
    for name, text in SINGLE_CELLS.items():
        table[f"answer_{name[0]}{len(name)}_{table.shape[1]}"] = [str(n % 5) for n in range(len(table))]
        table.iloc[4, -1] = text
    faults = study.written_check().faults
    assert {fault.file for fault in faults} == {request.param}
    letters = [
        f"column {get_column_letter(first + place)} (as a spreadsheet letters it)" for place in range(16)
    ]
    return {letters.index(fault.column): fault for fault in faults}


@pytest.mark.parametrize("name", SINGLE_CELLS)
def test_a_single_identifier_is_found(name, single):
    fault = single[list(SINGLE_CELLS).index(name)]
    assert fault.rows == (6,)
    assert SINGLE_CELLS[name] not in str(fault)


def test_columns_that_look_alike_are_not_refused(tmp_path):
    assert all(len(cells) == N_CLIENTS for cells in HARMLESS.values())
    found = faults_of_clients(tmp_path, HARMLESS)
    assert [list(HARMLESS)[place] for place in found] == []


def test_there_are_as_many_attacks_as_promised():
    assert len(WHOLE_COLUMNS) + len(SINGLE_CELLS) >= 30
    assert len(HARMLESS) >= 30


def test_moments_of_sessions_are_not_numbers_of_persons(tmp_path):
    """Each row has its own moment, in seconds, with ten digits, as have telephones and national numbers."""
    study = ExampleStudy(tmp_path)
    study.sessions["saved_at"] = [str(1700000000 + 86413 * n) for n in range(len(study.sessions))]
    study.sessions["saved_on"] = [
        f"2023-{n % 12 + 1:02d}-{n % 28 + 1:02d} 10:00" for n in range(len(study.sessions))
    ]
    assert not study.written_check().faults


def test_identifiers_of_clients_may_be_codes_but_not_names_or_national_numbers(tmp_path):
    for identifiers, refused in (
        ([f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)], True),
        (valid(british, "9#########"), True),
        ([f"{a}@example.org" for a in FIRST], True),
        ([str(70014000 + 37 * n) for n in range(N_CLIENTS)], False),
        ([f"Z{n:05d}" for n in range(N_CLIENTS)], False),
    ):
        study = ExampleStudy(tmp_path)
        new = dict(zip(study.clients["client_id"], identifiers, strict=True))
        study.clients["client_id"] = study.clients["client_id"].map(new)
        study.sessions["client_id"] = study.sessions["client_id"].map(new)
        faults = study.written_check().faults
        expected = [("sessions", "client_id"), ("clients", "client_id")] if refused else []
        assert [(fault.file, fault.column) for fault in faults] == expected


def test_names_of_therapists_are_refused(tmp_path):
    study = ExampleStudy(tmp_path)
    study.therapists["therapist_name"] = ["Orla", "Piet", "Rosa", "Tove"]
    assert [fault.file for fault in study.written_check().faults] == ["therapists"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx", "parquet", "sav", "dta"])
def test_every_file_format_is_searched(ending, tmp_path):
    import pyreadstat

    study = ExampleStudy(tmp_path)
    study.clients["number"] = valid(swedish, "19880320####")
    study.clients["born"] = pd.to_datetime([f"{1950 + 4 * n}-03-{n + 10}" for n in range(N_CLIENTS)])
    study.write()
    path = tmp_path / f"clients.{ending}"
    {
        "csv": lambda table: table.to_csv(path, index=False),
        "tsv": lambda table: table.to_csv(path, index=False, sep="\t"),
        "xlsx": lambda table: table.to_excel(path, index=False),
        "parquet": lambda table: table.astype({"number": "int64"}).to_parquet(path, index=False),
        "sav": lambda table: pyreadstat.write_sav(table.astype({"number": "float"}), str(path)),
        "dta": lambda table: table.to_stata(path, write_index=False),
    }[ending](study.clients)
    study.content["files"]["clients"]["path"] = path.name
    assert [fault.problem for fault in study.check().faults] == [
        "this looks like national or account numbers",
        "this looks like dates of birth",
    ]


def test_labels_of_values_are_searched(tmp_path):
    """In an SPSS file, codes may stand for names."""
    import pyreadstat

    study = ExampleStudy(tmp_path)
    study.write()
    table = study.clients.assign(who=np.arange(float(N_CLIENTS)))
    labels = {"who": {float(n): f"{FIRST[n]} {LAST[n]}" for n in range(N_CLIENTS)}}
    pyreadstat.write_sav(table, str(tmp_path / "clients.sav"), variable_value_labels=labels)
    study.content["files"]["clients"]["path"] = "clients.sav"
    assert [fault.problem for fault in study.check().faults] == ["this looks like names of persons"]


def test_a_column_that_is_vouched_for_must_be_there_and_is_announced(tmp_path):
    study = ExampleStudy(tmp_path)
    study.content["files"]["clients"]["not_identifying"] = ["gender"]
    check = study.written_check()
    assert not check.faults
    assert "gender" in check.announcements.query("kind == 'assumed'")["column"].tolist()
    study.content["files"]["clients"]["not_identifying"] = ["sex"]
    assert [fault.column for fault in study.written_check().faults] == ["sex"]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("E-Mail", "e-mail addresses"),
        ("email address", "e-mail addresses"),
        ("Geburtsdatum", "dates of birth"),
        ("dateOfBirth", "dates of birth"),
        ("Straße", "postal addresses"),
        ("Förnamn", "names of persons"),
        ("numéro de sécurité sociale", "national or account numbers"),
        ("tel.", "telephone numbers"),
        ("telling", None),
        ("wai_01", None),
        ("nominal", None),
        ("singing", None),
    ],
)
def test_headers_are_read_in_several_languages(header, kind):
    assert header_kind(header) == kind


@pytest.mark.parametrize(
    "text",
    ["2023-03-04", "03/04/2021", "10-12", "0.25", "123-456-789", "943 476 5871", "F32.1", "GB 12 34 56 C"],
)
def test_nearly_identifiers_are_none(text):
    """Dates, and numbers whose check digit or prefix is wrong."""
    assert sure_kind(text) is None


def test_row_of_the_example_is_where_the_fault_says(tmp_path):
    study = ExampleStudy(tmp_path)
    study.sessions["answer"] = "1"
    row = row_of(3, 2)
    study.set(row, "answer", "k.weiss@example.org")
    assert study.written_check().faults[0].rows == (row,)
    assert len(study.sessions) == N_CLIENTS * ROWS_PER_CLIENT
