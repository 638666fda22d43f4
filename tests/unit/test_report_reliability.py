"""What the report says of reliability."""

import pytest
from report_example import write_example

from alliance_outcome.report.inputs import Results
from alliance_outcome.report.reliability_text import comparison, refusals
from alliance_outcome.report.sections.reliability import (
    coefficient_table,
    means_table,
    parts_table,
    therapist_table,
)


@pytest.fixture
def table(tmp_path):
    return whole_of(every_part(tmp_path))


def every_part(folder):
    return Results(write_example(folder)).estimates("reliability")


def whole_of(table):
    return table[table["scale"] == "total"].reset_index(drop=True)


def test_unequal_reliability_is_said(table):
    text = comparison(table, ["client", "therapist"])
    assert "ω is 0.80 for the client and 0.70 for the therapist" in text
    assert "The therapist's ratings are less reliable" in text


def test_equal_reliability_is_said(table):
    table.loc[table["term"] == "omega_within_client", "estimate"] = [0.8, 0.78]
    assert "about equally well" in comparison(table, ["client", "therapist"])
    assert comparison(table[table["rater"] == "client"], ["client"]) == ""


def test_a_refusal_has_its_reason_and_no_row(table):
    table.loc[table["rater"] == "therapist", "status"] = "refused"
    kept = table.drop_duplicates(["rater", "status"]).assign(reason="few clients", term="omega")
    assert refusals(kept) == "Therapist: no reliability, because few clients."
    assert [group.title for group in coefficient_table(table).groups] == ["Client"]


def test_tables_hold_the_numbers(table):
    rows = coefficient_table(table).groups[0].rows
    assert rows[0] == ("Within clients", "0.80", "[0.78, 0.82]", "0.80", "121.4 (108)", ".180", "0.030")
    means = means_table(table).groups[0].rows
    assert means[0][1:] == ("0.60", "0.87", "0.92", "0.96", "–")
    assert means[1][1:] == ("0.50", "0.83", "0.90", "0.95", "0.66")


def test_parts_have_a_table_of_their_own(tmp_path):
    table = every_part(tmp_path)
    groups = parts_table(table[table["scale"] != "total"]).groups
    assert [group.title for group in groups] == ["Client", "Therapist"]
    assert [row[0] for row in groups[0].rows] == ["Goal", "Task", "Bond"]
    assert groups[1].rows[0][1] == "0.60 [0.56, 0.64]"


def test_therapists_means_have_a_table(table):
    found = therapist_table(table)
    assert found.groups[0].rows[0] == ("Client", "0.50 [0.20, 0.70]", "0.40 [0.10, 0.60]")
    table.loc[table["level"] == "between_therapist", "status"] = "not_established"
    assert therapist_table(table).groups[0].rows[0][1:] == ("not established", "not established")
    assert therapist_table(table[table["level"] != "between_therapist"]).rows == ()
