"""Raw files of every format are read as they are, and what cannot be read says where and why without quoting it."""

from __future__ import annotations

import datetime
import logging
import shutil
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from alliance_outcome.data.files import FORMATS, RawTable, read_raw_table
from alliance_outcome.data.values import count_missing_codes, dates, design_text, numeric
from alliance_outcome.errors import FaultCollector, StudyError
from alliance_outcome.settings import FileSettings

DAYS = [datetime.date(2020, 1, 2), datetime.date(2020, 2, 29), datetime.date(2021, 12, 31)]


def file_settings(path: Path | str, **keys: object) -> FileSettings:
    return FileSettings.model_validate({"path": str(path), "columns": {"client": "client"}} | keys)


def read(path: Path | str, root: Path = Path("."), **keys: object) -> RawTable:
    return read_raw_table("sessions", file_settings(path, **keys), root)


def fault_of(path: Path | str, root: Path = Path("."), **keys: object):
    """Read a file that has exactly one fault."""
    with pytest.raises(StudyError) as caught:
        read(path, root, **keys)
    (fault,) = caught.value.faults
    assert fault.file == "sessions"
    assert fault.remedy
    return fault


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def number_column(table: RawTable, column: str, **keys: object) -> list[float]:
    """Read a column that holds nothing but numbers and blanks."""
    faults = FaultCollector()
    values = numeric(table, column, file_settings("x.csv", **keys), faults, what="score")
    assert faults.faults == []
    return values.tolist()


def date_column(table: RawTable, column: str) -> list[pd.Timestamp]:
    """Read a column that holds nothing but dates and blanks."""
    faults = FaultCollector()
    values = dates(table, column, faults, what="date")
    assert faults.faults == []
    assert str(values.dtype) == "datetime64[us]"
    return values.tolist()


def same(left: list[float], right: list[float]) -> bool:
    return np.array_equal(np.array(left, float), np.array(right, float), equal_nan=True)


# --- text files ---------------------------------------------------------------------------------------------------


def test_csv_cells_stay_text(tmp_path):
    table = read(write(tmp_path / "a.csv", "client, score ,note\n007,1.0,NA\n08,,  x \n"))
    assert table.frame.columns.tolist() == ["client", "score", "note"]
    assert (table.frame.dtypes == "str").all()
    assert table.frame.index.tolist() == [0, 1]
    assert table.frame.to_numpy().tolist() == [["007", "1.0", "NA"], ["08", "", "  x "]]
    assert design_text(table, "client").tolist() == ["007", "08"]
    assert same(number_column(table, "score"), [1.0, np.nan])


def test_csv_german(tmp_path):
    table = read(write(tmp_path / "a.csv", "client;wert\r\n01;3,25\r\n02;-0,5\r\n03;\r\n"), delimiter=";")
    assert same(number_column(table, "wert", decimal=","), [3.25, -0.5, np.nan])


def test_csv_byte_order_mark_is_not_part_of_the_first_header(tmp_path):
    table = read(write(tmp_path / "a.csv", b"\xef\xbb\xbfclient,arm\n1,\xc3\xa4\n"))
    assert table.frame.columns.tolist() == ["client", "arm"]
    assert table.frame["arm"].tolist() == ["ä"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "UTF-8"])
def test_csv_in_the_stated_encoding(tmp_path, encoding):
    table = read(
        write(tmp_path / "a.csv", "client,arm\n1,Überbrückung\n".encode(encoding)), encoding=encoding
    )
    assert table.frame["arm"].tolist() == ["Überbrückung"]


def test_csv_latin_1_read_as_utf_8_names_the_rows(tmp_path):
    content = 'client,arm\n1,a\n2,"multi\nline"\n3,Über\n4,b\n5,é\n'.encode("latin-1")
    fault = fault_of(write(tmp_path / "a.csv", content))
    assert fault.rows == (4, 6)
    assert "not in the stated encoding" in fault.problem
    assert "files.sessions.encoding" in fault.remedy


def test_csv_utf_8_read_as_latin_1_is_noticed(tmp_path):
    fault = fault_of(write(tmp_path / "a.csv", "client,arm\n1,Über\n"), encoding="latin-1")
    assert "UTF-8" in fault.problem
    assert "encoding: utf-8" in fault.remedy


@pytest.mark.parametrize("encoding", ["klingon", "base64", "a\0b"])
def test_csv_unknown_encoding(tmp_path, encoding):
    assert "not known" in fault_of(write(tmp_path / "a.csv", "client,a\n1,2\n"), encoding=encoding).problem


def test_csv_utf_16_without_saying_so(tmp_path):
    content = "client,arm\n1,b\n".encode("utf-16-le")
    assert "not text in the stated encoding" in fault_of(write(tmp_path / "a.csv", content)).problem


def test_csv_rows_are_numbered_as_in_a_spreadsheet(tmp_path):
    content = 'client,note\n1,"two\nlines"\n\n , \n2,b\n3,c\n\n'
    table = read(write(tmp_path / "a.csv", content))
    assert table.frame["client"].tolist() == ["1", "2", "3"]
    assert table.blank_rows == (3, 4)
    assert table.row_numbers(table.frame["client"] != "2") == (2, 6)
    assert table.row_numbers([1]) == (5,)


def test_csv_ragged_rows(tmp_path):
    fault = fault_of(write(tmp_path / "a.csv", "client,a,b\n1,2,3\n1,2\n1,2,3,4\n1,2,3,\n"))
    assert fault.rows == (3, 4)
    assert "3 cells" in fault.problem


def test_csv_quotation_mark_that_would_swallow_rows(tmp_path):
    fault = fault_of(write(tmp_path / "a.csv", 'client,a\n1,2\n2,"open\n3,4\n'))
    assert fault.rows == (3,)
    assert "double quote" in fault.problem


def test_csv_column_of_delimiters_is_no_column(tmp_path):
    assert read(write(tmp_path / "a.csv", "client,a,,\n1,2,,\n")).frame.columns.tolist() == ["client", "a"]


def test_csv_shape_faults_come_together(tmp_path):
    with pytest.raises(StudyError) as caught:
        read(write(tmp_path / "a.csv", "client,score,,score\n1,2,3,4\n1,2,3\n"))
    ragged, twice, headerless = caught.value.faults
    assert ragged.rows == (3,)
    assert "same header in columns B, D" in twice.problem
    assert "no header in column C" in headerless.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("client,a\n", "no data rows"),
        ("client,a\n,\n", "no data rows"),
        ("\nclient,a\n1,2\n", "row 1 is blank"),
    ],
)
def test_csv_without_data(tmp_path, content, problem):
    assert problem in fault_of(write(tmp_path / "a.csv", content)).problem


def test_csv_wrong_delimiter_names_the_likely_one(tmp_path):
    fault = fault_of(write(tmp_path / "a.csv", "client;a;b\n1;2,5;3\n"))
    assert "one column" in fault.problem
    assert "';'" in fault.remedy
    assert "one column" in fault_of(write(tmp_path / "b.tsv", "client,a\n1,2\n")).problem


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_csv_impossible_delimiter(tmp_path, delimiter):
    fault = fault_of(write(tmp_path / "a.csv", "client,a\n1,2\n"), delimiter=delimiter)
    assert "files.sessions.delimiter" in fault.remedy


def test_tsv(tmp_path):
    table = read(write(tmp_path / "a.tsv", "client\tnote\n001\ta,b\n"))
    assert table.frame.to_numpy().tolist() == [["001", "a,b"]]


# --- Excel --------------------------------------------------------------------------------------------------------


def write_workbook(path: Path, rows: list[list[object]], title: str = "Data") -> Path:
    workbook = openpyxl.Workbook()
    workbook.active.title = title
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)
    return path


def replace_in_sheet(path: Path, old: str, new: str) -> Path:
    """Edit the XML of a workbook's first sheet, for what openpyxl cannot write."""
    copy = path.with_suffix(".copy")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            target.writestr(name, content)
    shutil.move(copy, path)
    return path


def test_excel_cells_are_as_stored(tmp_path):
    rows = [
        ["client", "number", "whole", "note", "day", 2021.0],
        ["007", 1.5, 3, "999", DAYS[0], None],
        ["08", None, 999, " ", None, 1],
        [9, 2.0, 4, "2,5", DAYS[2], 2],
    ]
    table = read(write_workbook(tmp_path / "a.xlsx", rows))
    assert table.frame.columns.tolist() == ["client", "number", "whole", "note", "day", "2021"]
    assert design_text(table, "client").tolist() == ["007", "08", "9"]
    assert design_text(table, "number").fillna("-").tolist() == ["1.5", "-", "2"]
    assert same(number_column(table, "number"), [1.5, np.nan, 2.0])
    assert same(number_column(table, "whole", missing_codes=["999"]), [3, np.nan, 4])
    assert same(number_column(table, "note", missing_codes=[999], decimal=","), [np.nan, np.nan, 2.5])
    assert date_column(table, "day") == [pd.Timestamp(DAYS[0]), pd.NaT, pd.Timestamp(DAYS[2])]
    assert str(table.frame["day"].dtype) == "datetime64[us]"
    assert table.missing_counts == {}


def test_excel_blank_rows_and_formatting_beyond_the_data(tmp_path):
    rows = [["client", "a"], [1, 2, None], [], [2, 3, "  "], [None, None]]
    table = read(write_workbook(tmp_path / "a.xlsx", rows))
    assert table.frame.to_numpy().tolist() == [[1, 2], [2, 3]]
    assert table.blank_rows == (3,)
    assert table.row_numbers(np.array([False, True])) == (4,)


def test_excel_shape_faults(tmp_path):
    with pytest.raises(StudyError) as caught:
        read(write_workbook(tmp_path / "a.xlsx", [["client", "a", "a"], [1, 2, 3, 4]]))
    assert sorted(fault.problem.split(" in ")[0] for fault in caught.value.faults) == [
        "no header",
        "the same header",
    ]
    assert (
        "row 1 is blank"
        in fault_of(write_workbook(tmp_path / "b.xlsx", [[], ["client", "a"], [1, 2]])).problem
    )
    assert "no data rows" in fault_of(write_workbook(tmp_path / "c.xlsx", [["client", "a"]])).problem
    assert "empty" in fault_of(write_workbook(tmp_path / "d.xlsx", [])).problem


def test_excel_sheets(tmp_path):
    path = write_workbook(tmp_path / "a.xlsx", [["client"], ["first"]], title="One")
    workbook = openpyxl.load_workbook(path)
    for row in (["client"], ["second"]):
        if "Two" not in workbook.sheetnames:
            workbook.create_sheet("Two")
        workbook["Two"].append(row)
    workbook.save(path)
    assert read(path).frame["client"].tolist() == ["first"]
    assert read(path, sheet="Two").frame["client"].tolist() == ["second"]
    assert read(path, sheet=1).frame["client"].tolist() == ["second"]
    for absent in ("Three", 2, -1):
        fault = fault_of(path, sheet=absent)
        assert "no such sheet; it has 2" in fault.problem
        assert "One" not in str(fault)


def test_excel_stored_extent_is_not_believed(tmp_path):
    path = write_workbook(tmp_path / "a.xlsx", [["client", "a"], [1, 2], [3, 4]])
    replace_in_sheet(path, '<dimension ref="A1:B3"', '<dimension ref="A1:A1"')
    assert read(path).frame.to_numpy().tolist() == [[1, 2], [3, 4]]


def test_excel_formulas(tmp_path):
    path = write_workbook(tmp_path / "a.xlsx", [["client", "sum"], [1, "=1+1"], [2, None], [3, "=2+2"]])
    fault = fault_of(path)
    assert fault.rows == (2, 4)
    assert "formulas without a stored result" in fault.problem
    replace_in_sheet(path, "<f>1+1</f><v />", "<f>1+1</f><v>2</v>")
    assert fault_of(path).rows == (4,)
    # A formula whose result is the empty text is a blank cell, not one without a result.
    replace_in_sheet(path, '<c r="B4"><f>2+2</f><v />', '<c r="B4" t="str"><f>2+2</f><v></v>')
    assert same(number_column(read(path), "sum"), [2, np.nan, np.nan])


def test_excel_cell_that_is_no_date(tmp_path):
    path = tmp_path / "a.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.append(["client", "day"])
    workbook.active.append([1, DAYS[0]])
    workbook.active.append([2, 123_456_789_012])
    workbook.active["B3"].number_format = "yyyy-mm-dd"
    workbook.save(path)
    faults = FaultCollector()
    assert dates(read(path), "day", faults, what="date").isna().tolist() == [False, True]
    assert [fault.rows for fault in faults.faults] == [(3,)]


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv"])
def test_password_or_old_workbook(tmp_path, name):
    fault = fault_of(write(tmp_path / name, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)))
    assert "password" in fault.problem


# --- Parquet ------------------------------------------------------------------------------------------------------


def test_parquet_columns(tmp_path):
    frame = pd.DataFrame(
        {
            "score": [1.5, np.nan, 999.0],
            "whole": pd.array([2**53 + 1, None, 2], dtype="Int64"),
            "arm": pd.Categorical(["A", None, "B"]),
            "day": DAYS,
            "moment": pd.to_datetime(["2020-01-02 10:30", None, "2021-12-31"], format="ISO8601").tz_localize(
                "UTC"
            ),
        },
        index=pd.Index(["007", "008", "009"], name="client"),
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.frame.index.tolist() == [0, 1, 2]
    assert design_text(table, "client").tolist() == ["007", "008", "009"]
    assert design_text(table, "whole").fillna("-").tolist() == ["9007199254740993", "-", "2"]
    assert design_text(table, "arm").fillna("-").tolist() == ["A", "-", "B"]
    assert table.frame["arm"].dtype == "str"
    assert same(number_column(table, "score", missing_codes=["999"]), [1.5, np.nan, np.nan])
    assert date_column(table, "day") == [pd.Timestamp(day) for day in DAYS]
    assert date_column(table, "moment")[0] == pd.Timestamp("2020-01-02 10:30")


def test_parquet_shape_faults(tmp_path):
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    assert "same header in columns A, B" in fault_of(tmp_path / "a.parquet").problem
    pd.DataFrame({"client": []}).to_parquet(tmp_path / "b.parquet")
    assert "no data rows" in fault_of(tmp_path / "b.parquet").problem


# --- SPSS ---------------------------------------------------------------------------------------------------------


def test_spss_values_labels_and_missing_definitions(tmp_path):
    frame = pd.DataFrame(
        {
            "client": ["007", "008", "009", "zz"],
            "arm": [1.0, 2.0, 9.0, 3.0],
            "score": [-5.0, 99.0, 2.5, np.nan],
            "low": [-1000.0, -1.0, 0.0, 1.0],
            "day": [*DAYS, None],
        }
    )
    pyreadstat.write_sav(
        frame,
        tmp_path / "a.sav",
        variable_value_labels={"arm": {1: " treatment ", 2: "control", 9: "unknown"}},
        missing_ranges={
            "client": ["zz"],
            "arm": [9],
            "score": [99, {"lo": -9, "hi": -1}],
            "low": [{"lo": -np.inf, "hi": -1}],
            "day": [(DAYS[2] - datetime.date(1582, 10, 14)).total_seconds()],
        },
    )
    table = read(tmp_path / "a.sav")
    assert table.missing_counts == {"client": 1, "arm": 1, "score": 2, "low": 2, "day": 1}
    assert design_text(table, "client").fillna("-").tolist() == ["007", "008", "009", "-"]
    assert design_text(table, "arm").fillna("-").tolist() == ["treatment", "control", "-", "3"]
    assert same(number_column(table, "arm"), [1, 2, np.nan, 3])
    assert same(number_column(table, "score"), [np.nan, np.nan, 2.5, np.nan])
    assert same(number_column(table, "low"), [np.nan, np.nan, 0, 1])
    assert date_column(table, "day") == [pd.Timestamp(DAYS[0]), pd.Timestamp(DAYS[1]), pd.NaT, pd.NaT]
    assert table.frame["day"].dtype == "datetime64[us]"


def test_spss_stated_missing_code_on_top(tmp_path):
    pyreadstat.write_sav(
        pd.DataFrame({"client": [1.0, 2.0], "score": [999.0, 3.0]}), tmp_path / "a.zsav", compress=True
    )
    table = read(tmp_path / "a.zsav")
    assert table.missing_counts == {}
    assert same(number_column(table, "score", missing_codes=[999]), [np.nan, 3])
    assert count_missing_codes(table, "score", file_settings("a.sav", missing_codes=["999"])) == 1


def test_spss_text_in_another_encoding_than_it_says(tmp_path):
    pyreadstat.write_sav(pd.DataFrame({"client": ["Jörg", "b"]}), tmp_path / "a.sav")
    content = (tmp_path / "a.sav").read_bytes().replace("ö".encode(), "ö ".encode("latin-1"))
    write(tmp_path / "a.sav", content)
    fault = fault_of(tmp_path / "a.sav")
    assert "encoding" in fault.problem
    assert read(tmp_path / "a.sav", encoding="latin-1").frame["client"].tolist() == ["Jö rg", "b"]
    assert "encoding is not known" in fault_of(tmp_path / "a.sav", encoding="klingon").problem


def test_spss_date_beyond_the_calendar(tmp_path):
    pyreadstat.write_sav(pd.DataFrame({"day": [1e12]}), tmp_path / "a.sav", variable_format={"day": "DATE11"})
    assert "year 9999" in fault_of(tmp_path / "a.sav").problem


# --- Stata --------------------------------------------------------------------------------------------------------


def test_stata_values_labels_and_extended_missing_values(tmp_path):
    frame = pd.DataFrame(
        {
            "client": ["007", "a", "z"],
            "arm": [1, 2, "b"],
            "score": [2.5, "a", "z"],
            "plain": [1.0, np.nan, 3.0],
            "day": [DAYS[0], "a", DAYS[2]],
        }
    )
    pyreadstat.write_dta(
        frame,
        tmp_path / "a.dta",
        variable_value_labels={"arm": {1: "treatment", 2: "control", "b": "refused"}},
        missing_user_values={"arm": ["b"], "score": ["a", "z"], "day": ["a"]},
    )
    table = read(tmp_path / "a.dta")
    assert table.missing_counts == {"arm": 1, "score": 2, "day": 1}
    # A letter in a text column is text.
    assert design_text(table, "client").tolist() == ["007", "a", "z"]
    assert design_text(table, "arm").fillna("-").tolist() == ["treatment", "control", "-"]
    assert same(number_column(table, "score"), [2.5, np.nan, np.nan])
    assert same(number_column(table, "plain"), [1, np.nan, 3])
    assert table.frame["score"].dtype == float
    assert table.frame["day"].dtype == "datetime64[us]"
    assert date_column(table, "day") == [pd.Timestamp(DAYS[0]), pd.NaT, pd.Timestamp(DAYS[2])]


def test_stata_file_from_before_unicode(tmp_path):
    frame = pd.DataFrame({"client": ["Jörg", "b"]})
    frame.to_stata(tmp_path / "a.dta", write_index=False, version=114)
    assert read(tmp_path / "a.dta").frame["client"].tolist() == ["Jörg", "b"]
    frame.iloc[1:].to_stata(tmp_path / "b.dta", write_index=False, version=114)
    assert read(tmp_path / "b.dta", encoding="euc_kr").frame["client"].tolist() == ["b"]


def test_stata_written_by_pandas(tmp_path):
    frame = pd.DataFrame(
        {"client": [1, 2], "arm": pd.Categorical(["low", "high"]), "day": pd.to_datetime(DAYS[:2])}
    )
    frame.to_stata(tmp_path / "a.dta", write_index=False, version=118, convert_dates={"day": "td"})
    table = read(tmp_path / "a.dta")
    assert design_text(table, "client").tolist() == ["1", "2"]
    assert design_text(table, "arm").tolist() == ["low", "high"]
    assert date_column(table, "day") == [pd.Timestamp(day) for day in DAYS[:2]]


# --- finding and recognising files --------------------------------------------------------------------------------


def test_paths_start_from_the_root_or_are_absolute(tmp_path):
    write(tmp_path / "a.csv", "client,a\n1,2\n")
    assert len(read("a.csv", tmp_path).frame) == 1
    assert len(read(tmp_path / "a.csv", Path("elsewhere")).frame) == 1


def test_missing_file_and_folder(tmp_path):
    (tmp_path / "b.csv").mkdir()
    for name in ("a.csv", "b.csv"):
        fault = fault_of(name, tmp_path)
        assert "does not exist" in fault.problem
        assert str(tmp_path) not in str(fault)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_arguments, **_keys):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    path = write(tmp_path / "a.csv", "client,a\n1,2\n")
    monkeypatch.setattr(Path, "open", refuse)
    fault = fault_of(path)
    assert "cannot be read (PermissionError)" in fault.problem
    assert str(tmp_path) not in str(fault)


def test_ending_without_a_format(tmp_path):
    path = write(tmp_path / "a.txt", "client,a\n1,2\n")
    assert "no known format" in fault_of(path).problem
    assert len(read(path, format="csv").frame) == 1
    assert ".xlsx" in fault_of(write(tmp_path / "a.xls", "x")).remedy


def test_ending_in_capitals(tmp_path):
    assert len(read(write(tmp_path / "A.CSV", "client,a\n1,2\n")).frame) == 1


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_content_of_another_format(tmp_path, ending):
    other = tmp_path / "other.parquet"
    pd.DataFrame({"client": [1]}).to_parquet(other)
    if FORMATS[ending] == "parquet":
        other = write(tmp_path / "other.csv", "client,a\n1,2\n")
    fault = fault_of(shutil.copy(other, tmp_path / f"a{ending}"))
    assert "the content is not" in fault.problem
    assert "files.sessions.format" in fault.remedy


def test_row_numbers():
    table = RawTable("sessions", pd.DataFrame({"a": range(4)}), blank_rows=(4,))
    assert table.row_numbers([0, 1, 2, 3]) == (2, 3, 5, 6)
    assert table.row_numbers([3, 0]) == (6, 2)
    assert table.row_numbers([]) == ()
    assert table.row_numbers(pd.Series([True, False, True, False], dtype="boolean")) == (2, 5)
    assert table.row_numbers([True, False, False, False]) == (2,)
    assert table.row_numbers(np.zeros(4, dtype=bool)) == ()


def test_representation_shows_no_cells():
    table = RawTable("sessions", pd.DataFrame({"client": ["Winifred Quill"]}), {"arm": {1: "Winifred Quill"}})
    assert "Winifred" not in repr(table)


# --- nothing that people wrote comes out --------------------------------------------------------------------------

NAME = "Winifred Quill"
COLUMNS = ("client", "score", "day", "absent")


def named_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"client": [NAME, "2", "3"], "score": [NAME, "2", "3"], "day": ["2020-01-01", NAME, "2020-01-03"]}
    )


def write_csv(path: Path) -> None:
    named_frame().to_csv(path, index=False)


def write_excel(path: Path) -> None:
    write_workbook(path, [named_frame().columns.tolist(), *named_frame().to_numpy().tolist()], title=NAME)


def write_parquet(path: Path) -> None:
    named_frame().to_parquet(path)


def write_spss(path: Path) -> None:
    pyreadstat.write_sav(named_frame(), path, compress=path.suffix == ".zsav")


def write_stata(path: Path) -> None:
    pyreadstat.write_dta(named_frame(), path)


WRITERS = {
    ".csv": write_csv,
    ".xlsx": write_excel,
    ".parquet": write_parquet,
    ".sav": write_spss,
    ".zsav": write_spss,
    ".dta": write_stata,
}


def text(content: str | bytes) -> Callable[[Path], object]:
    return lambda path: write(path, content)


def cut(writer: Callable[[Path], object], share: float) -> Callable[[Path], object]:
    """Write a file and keep its beginning only."""

    def damage(path: Path) -> None:
        writer(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return damage


def headers_are_names(path: Path) -> None:
    write_workbook(path, [[NAME, NAME, None], [1, 2, 3]], title=NAME)


def parquet_headers_are_names(path: Path) -> None:
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=[NAME, NAME]), path)


def excel_date_is_none(path: Path) -> None:
    write_excel(path)
    workbook = openpyxl.load_workbook(path)
    workbook.active["C2"] = 123_456_789_012
    workbook.active["C2"].number_format = "yyyy-mm-dd"
    workbook.save(path)


def excel_formula(path: Path) -> None:
    write_workbook(path, [["client", "score"], [NAME, f'="{NAME}"']])


def write_nothing(_path: Path) -> None:
    """Leave a path without its file."""


def spss_wrong_encoding(path: Path) -> None:
    pyreadstat.write_sav(pd.DataFrame({"client": [f"{NAME}ö"]}), path)
    path.write_bytes(path.read_bytes().replace("ö".encode(), "ö ".encode("latin-1")))


def spss_impossible_date(path: Path) -> None:
    frame = pd.DataFrame({"client": [NAME], "day": [1e12]})
    pyreadstat.write_sav(frame, path, variable_format={"day": "DATE11"})


FAILURES: dict[str, tuple[str, Callable[[Path], object], dict[str, object]]] = {
    **{f"text for a number{ending}": (ending, writer, {}) for ending, writer in WRITERS.items()},
    **{
        f"cut to 60 %{ending}": (ending, cut(writer, 0.6), {})
        for ending, writer in WRITERS.items()
        if ending != ".csv"
    },
    "ragged row": (".csv", text(f"client,score\n{NAME},1,{NAME}\n"), {}),
    "open quotation mark": (".csv", text(f'client,score\n1,2\n1,"{NAME}\n'), {}),
    "wrong encoding": (".csv", text(f"client,score\n{NAME},ö\n".encode("latin-1")), {}),
    "wrong encoding that decodes": (".csv", text(f"client,score\n{NAME},ö\n"), {"encoding": "latin-1"}),
    "utf-16": (".csv", text(f"client,score\n{NAME},2\n".encode("utf-16-le")), {}),
    "unknown encoding": (".csv", text(f"client,score\n{NAME},2\n"), {"encoding": "klingon"}),
    "wrong delimiter": (".csv", text(f"client;score\n{NAME};2\n"), {}),
    "impossible delimiter": (".csv", text(f"client;score\n{NAME};2\n"), {"delimiter": ";;"}),
    "no header row, one column": (".csv", text(f"{NAME}\n{NAME}\n"), {}),
    "no header row": (".csv", text(f"{NAME},{NAME},\n1,2,3\n"), {}),
    "headers only": (".csv", text(f"{NAME},score\n"), {}),
    "blank first row": (".csv", text(f"\n{NAME},score\n1,2\n"), {}),
    "other decimal mark beside text": (".csv", text(f'client,score\n1,"1,5"\n2,{NAME}\n'), {}),
    "empty file": (".csv", text(""), {}),
    "unknown ending": (".txt", write_csv, {}),
    "text named as a workbook": (".xlsx", write_csv, {}),
    "workbook named as text": (".csv", write_excel, {}),
    "password": (".xlsx", text(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NAME.encode() * 9), {}),
    "absent sheet": (".xlsx", write_excel, {"sheet": "Data"}),
    "absent sheet number": (".xlsx", write_excel, {"sheet": 7}),
    "no header row in a workbook": (".xlsx", headers_are_names, {}),
    "date that is none": (".xlsx", excel_date_is_none, {}),
    "formula without result": (".xlsx", excel_formula, {}),
    "the same header twice": (".parquet", parquet_headers_are_names, {}),
    "SPSS wrong encoding": (".sav", spss_wrong_encoding, {}),
    "SPSS unknown encoding": (".sav", write_spss, {"encoding": "klingon"}),
    "SPSS impossible date": (".sav", spss_impossible_date, {}),
    "Stata in name only": (".dta", text(f"{NAME}\n" * 40), {}),
    "file that is not there": (".csv", write_nothing, {}),
}


def read_and_use(path: Path, **keys: object) -> None:
    """Read a file and everything in it as text, numbers and dates; raise all that is wrong with it."""
    settings = file_settings(path, **keys)
    table = read_raw_table("sessions", settings, Path("."))
    faults = FaultCollector()
    for column in COLUMNS:
        numeric(table, column, settings, faults, what="score")
        dates(table, column, faults, what="date")
        count_missing_codes(table, column, settings)
    faults.raise_if_any()


def assert_silent(error: StudyError) -> None:
    """Nothing of the file is in an error, in what is printed of it, or in an exception behind it."""
    printed = "".join(traceback.format_exception(error))
    assert "Winifred" not in printed
    assert "Quill" not in printed
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_quotes_the_file(tmp_path, caplog, capfd, failure):
    ending, writer, keys = FAILURES[failure]
    folder = tmp_path / NAME
    folder.mkdir()
    path = folder / f"{NAME}{ending}"
    writer(path)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(StudyError) as caught:
            read_and_use(path, **keys)
    assert_silent(caught.value)
    for fault in caught.value.faults:
        assert fault.file == "sessions"
        assert fault.problem
        assert fault.remedy
    assert "Winifred" not in caplog.text + "".join(capfd.readouterr())
    assert [str(warning.message) for warning in warned] == []


@pytest.mark.parametrize("ending", WRITERS)
def test_damage_anywhere_is_a_fault_or_harmless(tmp_path, ending):
    """Cut or overwrite a file at 40 places: whatever the libraries raise then, none of it comes through."""
    path = tmp_path / f"{NAME}{ending}"
    WRITERS[ending](path)
    whole = path.read_bytes()
    generator = np.random.default_rng(20261120)
    n_faults = 0
    for round_number in range(40):
        content = bytearray(whole)
        if round_number % 4 == 0:
            del content[generator.integers(len(content)) :]
        else:
            for _ in range(3):
                content[generator.integers(len(content))] = generator.integers(256)
        path.write_bytes(content)
        try:
            read_raw_table("sessions", file_settings(path), Path("."))
        except StudyError as error:
            assert_silent(error)
            n_faults += 1
    assert n_faults >= 5
