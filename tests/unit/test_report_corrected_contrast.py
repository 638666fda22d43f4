"""What the report says of the contrast with equal reliability."""

import pytest
from report_example import write_example

from alliance_outcome.report.inputs import Results
from alliance_outcome.report.sections.corrected_contrast import (
    contrast_table,
    errors_sentence,
    level_sentences,
)


@pytest.fixture
def table(tmp_path):
    return Results(write_example(tmp_path)).estimates("corrected_contrast")


def test_a_difference_that_does_not_hold_is_said(table):
    first, *_ = level_sentences(table)
    assert first.startswith(
        "Within clients, D is −0.40 [−0.70, −0.10] as rated and −0.15 [−0.45, 0.15] corrected"
    )
    assert "not distinguished from zero once both are measured equally well" in first


def test_a_difference_that_holds_or_only_shows_then_is_said(table):
    difference = table["term"] == "difference"
    table.loc[difference, ["ci_low", "ci_high"]] = [-0.7, -0.1]
    assert "it reads the same" in level_sentences(table)[0]
    plain = table["row_id"].str.contains("uncorrected")
    table.loc[difference & plain, "ci_high"] = 0.1
    assert "shows only after correction" in level_sentences(table)[0]


def test_a_refused_version_has_its_reason_in_the_table_and_no_sentence(table):
    fair = table["row_id"].str.contains("within_client.corrected_0.difference", regex=False)
    table = table.astype({"reason": "object"})
    table.loc[fair, ["status", "reason"]] = ["refused", "no variance is left"]
    assert not level_sentences(table)[0].startswith("Within")
    rows = contrast_table(table, "points").groups[0].rows
    assert rows[1][-1] == "no variance is left"


def test_reliabilities_and_shared_errors_are_said(table):
    text = errors_sentence(table, ["client", "therapist"])
    assert "0.80 for the client, 0.70 for the therapist and 0.78 for severity" in text
    assert "correlate by 0.02 [−0.01, 0.05]" in text
    assert errors_sentence(table[table["term"] == "difference"], ["client", "therapist"]) == ""
