"""Cells become text, numbers and dates without a guess, and what they are not is a fault that names rows."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.values import count_missing_codes, dates, design_text, numeric
from alliance_outcome.errors import FaultCollector, StudyError
from alliance_outcome.settings import FileSettings


def settings(**keys: object) -> FileSettings:
    return FileSettings.model_validate({"path": "a.csv", "columns": {"client": "client"}} | keys)


def table_of(cells: list[object], dtype: str = "str", labels: dict | None = None) -> RawTable:
    """Make a table with one column ``x``."""
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=dtype)})
    return RawTable("sessions", frame, labels={} if labels is None else {"x": labels})


def numbers_of(table: RawTable, **keys: object) -> tuple[list[float], list]:
    faults = FaultCollector()
    values = numeric(table, "x", settings(**keys), faults, what="severity score")
    assert values.dtype == float
    assert values.index.equals(table.frame.index)
    return values.tolist(), faults.faults


def assert_numbers(table: RawTable, expected: list[float], **keys: object) -> None:
    values, faults = numbers_of(table, **keys)
    assert faults == []
    np.testing.assert_array_equal(values, np.array(expected, dtype=float))


# --- text ---------------------------------------------------------------------------------------------------------


def test_text_is_stripped_and_blank_is_missing():
    text = design_text(table_of([" 007 ", "", "  ", "NA", "NaN", ".", "#N/A", "N", "n.a."]), "x")
    assert text.dtype == "str"
    assert text.fillna("-").tolist() == ["007", "-", "-", "-", "-", "-", "-", "N", "n.a."]


def test_numbers_as_text_have_no_trailing_zero():
    cells = [1.0, 1.5, 7, True, None, np.nan, 1e16, np.int64(3), decimal.Decimal("4.00"), " a "]
    text = design_text(table_of(cells, "object"), "x")
    assert text.fillna("-").tolist() == [
        "1",
        "1.5",
        "7",
        "True",
        "-",
        "-",
        "10000000000000000",
        "3",
        "4",
        "a",
    ]
    assert design_text(table_of([12.0, np.nan, 0.25], "float64"), "x").fillna("-").tolist() == [
        "12",
        "-",
        "0.25",
    ]


def test_cells_that_are_lists_do_no_harm():
    assert design_text(table_of([[1.0], "a"], "object"), "x").tolist() == ["[1.0]", "a"]


def test_dates_as_text():
    cells = [
        pd.Timestamp(2021, 3, 4),
        pd.Timestamp(2021, 3, 4, 5, 6),
        pd.NaT,
        datetime.date(2021, 3, 4),
    ]
    text = design_text(table_of(cells, "object"), "x")
    assert text.fillna("-").tolist() == ["2021-03-04", "2021-03-04 05:06:00", "-", "2021-03-04"]


def test_value_labels():
    table = table_of([1.0, 2.0, 3.0, 4.0, np.nan], "float64", {1: " end ", 2.0: "follow-up", 4: " "})
    assert design_text(table, "x").fillna("-").tolist() == ["end", "follow-up", "3", "4", "-"]
    assert design_text(table, "x", labelled=False).fillna("-").tolist() == ["1", "2", "3", "4", "-"]
    assert design_text(table_of(["a", "b"], labels={"a": "alpha"}), "x").tolist() == ["alpha", "b"]


# --- numbers ------------------------------------------------------------------------------------------------------


def test_numbers_and_blanks_in_text():
    cells = ["1", " 2.50 ", "-.5", "+3.", "1e-2", "0007", "", "  ", "NA", "NaN", "nan", ".", "#N/A"]
    assert_numbers(table_of(cells), [1, 2.5, -0.5, 3, 0.01, 7, *[np.nan] * 7])


def test_stored_numbers():
    cells = [1, 2.5, None, np.nan, pd.NA, decimal.Decimal("1.5"), np.float32(0.1), "4"]
    assert_numbers(table_of(cells, "object"), [1, 2.5, np.nan, np.nan, np.nan, 1.5, 0.1, 4])
    assert_numbers(table_of([1.0, np.nan], "float64"), [1, np.nan])
    assert_numbers(table_of([3, 4], "int64"), [3, 4])


def test_decimal_comma():
    assert_numbers(table_of(["1,5", "2", "-,25", "1,0e1"]), [1.5, 2, -0.25, 10], decimal=",")


@pytest.mark.parametrize(
    ("decimal_mark", "cells"), [(".", ["1,5", "2", "3,25"]), (",", ["1.5", "2", "3.25"])]
)
def test_other_decimal_mark_is_named(decimal_mark, cells):
    values, (fault,) = numbers_of(table_of(cells), decimal=decimal_mark)
    other = "," if decimal_mark == "." else "."
    assert fault.rows == (2, 4)
    assert f'state files.sessions.decimal: "{other}"' in fault.remedy
    np.testing.assert_array_equal(values, [np.nan, 2, np.nan])


@pytest.mark.parametrize(
    "cell",
    [
        "x",
        "1 2",
        "1.234,5",
        "1,234.5",
        "1_000",
        "inf",
        "1e999",
        "٣",
        "--1",
        "1e",
        "0x1A",
        "7*",
        "£5",
        "TRUE",
        "2020-01-02",
    ],
)
def test_text_that_is_no_number(cell):
    values, (fault,) = numbers_of(table_of(["1", cell, "", cell, "2"]))
    assert fault.file == "sessions"
    assert fault.column == "x"
    assert fault.rows == (3, 5)
    assert fault.problem == "severity score: 2 of 5 cells hold something that is not a number"
    assert "missing_codes" in fault.remedy
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, np.nan, 2])


@pytest.mark.parametrize(
    "cell",
    [
        True,
        np.True_,
        pd.Timestamp(2021, 3, 4),
        datetime.time(1, 2),
        np.inf,
        -np.inf,
        10**400,
        [1.0],
        b"1",
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_cell_that_is_no_number(cell):
    values, (fault,) = numbers_of(table_of([1.0, cell], "object"))
    assert fault.rows == (3,)
    np.testing.assert_array_equal(values, [1, np.nan])


@pytest.mark.parametrize("code", [999, 999.0, "999", " 999 ", "999.0"])
def test_missing_code_matches_as_a_number(code):
    keys = {"missing_codes": [code]}
    text = table_of(["999", "999.0", " 999 ", "99", "9990", "0999"])
    assert_numbers(text, [np.nan, np.nan, np.nan, 99, 9990, np.nan], **keys)
    assert count_missing_codes(text, "x", settings(**keys)) == 4
    stored = table_of([999, 999.0, "999", 99, True, None], "object")
    assert count_missing_codes(stored, "x", settings(**keys)) == 3
    assert_numbers(table_of([999.0, 1.0], "float64"), [np.nan, 1], **keys)


def test_missing_code_with_the_decimal_mark_of_the_file():
    assert_numbers(table_of(["99,9", "1,5"]), [np.nan, 1.5], decimal=",", missing_codes=[99.9])


def test_missing_code_matches_as_text():
    keys = {"missing_codes": ["n/a", "refused", -9]}
    table = table_of(["n/a", " refused ", "-9", "3", "", "NA"])
    assert_numbers(table, [np.nan, np.nan, np.nan, 3, np.nan, np.nan], **keys)
    assert count_missing_codes(table, "x", settings(**keys)) == 3
    assert [fault.rows for fault in numbers_of(table_of(["N/A", "1"]), **keys)[1]] == [(2,)]


def test_blank_cells_are_no_missing_codes():
    table = table_of(["", "NA", ".", "1"])
    for codes in ([], ["999"], [""], [" "], [float("nan")]):
        assert count_missing_codes(table, "x", settings(missing_codes=codes)) == 0
    assert count_missing_codes(table, "x", settings(missing_codes=["NA"])) == 1
    assert count_missing_codes(table_of([1.0, np.nan], "float64"), "x", settings(missing_codes=["NA"])) == 0


def test_missing_codes_do_not_touch_identifiers():
    assert design_text(table_of(["999", "1"]), "x").tolist() == ["999", "1"]


def test_rows_count_blank_rows():
    table = RawTable("sessions", pd.DataFrame({"x": ["1", "?"]}, dtype="str"), blank_rows=(3, 4))
    assert numbers_of(table)[1][0].rows == (5,)


# --- dates --------------------------------------------------------------------------------------------------------


def dates_of(table: RawTable) -> tuple[list, list]:
    faults = FaultCollector()
    values = dates(table, "x", faults, what="session date")
    assert values.dtype == "datetime64[us]"
    assert values.index.equals(table.frame.index)
    return values.tolist(), faults.faults


def test_dates_in_text():
    cells = [
        "2021-03-04",
        "4.3.2021",
        "04.03.2021",
        "2021-03-04 10:30",
        "2021-03-04T10:30:00",
        "",
        "NA",
        " 2021-03-04 ",
    ]
    values, faults = dates_of(table_of(cells))
    day, moment = pd.Timestamp(2021, 3, 4), pd.Timestamp(2021, 3, 4, 10, 30)
    assert faults == []
    assert values == [day, day, day, moment, moment, pd.NaT, pd.NaT, day]


def test_stored_dates():
    day = pd.Timestamp(2021, 3, 4)
    cells = [
        day,
        datetime.date(2021, 3, 4),
        pd.Timestamp(2021, 3, 4),
        day.tz_localize("UTC"),
        None,
        "2021-03-04",
    ]
    values, faults = dates_of(table_of(cells, "object"))
    assert faults == []
    assert values == [day, day, day, day, pd.NaT, day]
    assert dates_of(table_of([day, None], "datetime64[us]"))[0] == [day, pd.NaT]


@pytest.mark.parametrize(
    "cell",
    [
        "03/04/2021",
        "2021-02-30",
        "31.04.2021",
        "4.3.21",
        "tomorrow",
        "20210304",
        "9999-12-31",
        "0021-03-04",
        "44259",
    ],
)
def test_text_that_is_no_date(cell):
    values, (fault,) = dates_of(table_of(["2021-03-04", cell]))
    assert fault.column == "x"
    assert fault.rows == (3,)
    assert "session date: 1 of 2 cells" in fault.problem
    assert "YYYY-MM-DD" in fault.remedy
    assert cell not in str(fault)
    assert values == [pd.Timestamp(2021, 3, 4), pd.NaT]


@pytest.mark.parametrize(
    "cell", [44259, 44259.5, True, datetime.time(10), datetime.date(1582, 10, 15)], ids=str
)
def test_cell_that_is_no_date(cell):
    values, (fault,) = dates_of(table_of([cell, None], "object"))
    assert fault.rows == (2,)
    assert values == [pd.NaT, pd.NaT]


# --- columns that are not there -----------------------------------------------------------------------------------


def test_absent_column():
    table, faults = table_of(["1", "2"]), FaultCollector()
    with pytest.raises(StudyError) as caught:
        design_text(table, "y")
    assert numeric(table, "y", settings(), faults, what="score").isna().tolist() == [True, True]
    assert dates(table, "y", faults, what="date").isna().tolist() == [True, True]
    assert count_missing_codes(table, "y", settings(missing_codes=[1])) == 0
    for fault in (*caught.value.faults, *faults.faults):
        assert (fault.file, fault.column) == ("sessions", "y")
        assert "no such column" in fault.problem
    assert len(faults.faults) == 2
