"""Errors: ours lead to a repair, all at once; foreign ones never bring a participant's data into a log."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pydantic
import pytest

from alliance_outcome.errors import (
    FAILURE_MARK,
    ROWS_SHOWN,
    AllianceOutcomeError,
    Fault,
    FaultCollector,
    StudyError,
    anonymous_description,
    describe_rows,
    rule_log,
)

#: A participant who must appear nowhere.
PARTICIPANT = "Winifred Quill"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((7,), "row 7"),
        ((2, 3), "rows 2, 3"),
        (tuple(range(2, 12)), "rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        (tuple(range(2, 13)), "rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 1 more"),
        (tuple(range(1000)), "rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 990 more"),
    ],
)
def test_rows_in_a_few_words(rows: tuple[int, ...], words: str):
    assert ROWS_SHOWN == 10
    assert describe_rows(rows) == words


def test_fault_says_where_what_and_what_to_do():
    fault = Fault("sessions", "phq_9", (4, 9), "values outside the range 0 to 3", "correct the cells")
    assert str(fault) == "sessions, phq_9 (rows 4, 9): values outside the range 0 to 3 -> correct the cells"
    assert str(Fault("sessions", None, (), "the file is empty", "export it again")) == (
        "sessions: the file is empty -> export it again"
    )


def test_study_error_lists_every_fault():
    faults = [Fault("sessions", f"phq_{item}", (item,), "too high", "correct it") for item in range(1, 31)]
    error = StudyError(faults)
    lines = str(error).splitlines()
    assert lines[0] == "30 faults found:"
    assert lines[1:] == [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
    assert error.faults == tuple(faults)
    assert str(StudyError(faults[:1])).startswith("1 fault found:")


def test_collector_raises_everything_or_nothing():
    collector = FaultCollector()
    collector.raise_if_any()
    collector.add("sessions", "week", "the week is empty", "fill it in", rows=pd.Series([5, 6]))
    collector.add("clients", None, "the file is empty", "export it again")
    with pytest.raises(StudyError) as caught:
        collector.raise_if_any()
    assert caught.value.faults == (
        Fault("sessions", "week", (5, 6), "the week is empty", "fill it in"),
        Fault("clients", None, (), "the file is empty", "export it again"),
    )
    assert all(type(row) is int for row in caught.value.faults[0].rows)


def _pandas_error() -> None:
    pd.to_numeric(pd.Series(["4", PARTICIPANT]))


def _pandera_error() -> None:
    schema = pa.DataFrameSchema({"client": pa.Column(str, pa.Check.str_matches(r"^C\d+$"))})
    schema.validate(pd.DataFrame({"client": ["C1", PARTICIPANT]}), lazy=True)


class _Rating(pydantic.BaseModel):
    score: float


def _pydantic_error() -> None:
    _Rating(score=PARTICIPANT)


def _key_error() -> None:
    {"C1": 1}[PARTICIPANT]


def _chained_error() -> None:
    try:
        _pandas_error()
    except ValueError as error:
        raise RuntimeError(f"cannot read {PARTICIPANT}") from error


FOREIGN_ERRORS = [_pandas_error, _pandera_error, _pydantic_error, _key_error, _chained_error]


@pytest.mark.parametrize("fail", FOREIGN_ERRORS)
def test_foreign_message_is_withheld(
    fail: Callable[[], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(Exception, match=PARTICIPANT) as bare:
        fail()
    with pytest.raises(SystemExit) as caught, rule_log(tmp_path / "ingest.log", "mine", "ingest"):
        fail()
    log = (tmp_path / "ingest.log").read_text(encoding="utf-8")
    terminal = capfd.readouterr()
    assert caught.value.code == 1
    for place in (log, terminal.err, terminal.out):
        assert "Winifred" not in place
        assert "Quill" not in place
    kind = f"{type(bare.value).__module__}.{type(bare.value).__qualname__}"
    assert log == terminal.err
    assert log.startswith(f"{FAILURE_MARK} study mine, rule ingest: {kind}, raised in ")
    assert "withheld because it may quote data" in log


@pytest.mark.parametrize("fail", FOREIGN_ERRORS)
def test_nothing_is_chained_to_the_exit(fail: Callable[[], None], tmp_path: Path):
    with pytest.raises(SystemExit) as caught, rule_log(tmp_path / "ingest.log", "mine", "ingest"):
        fail()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_own_error_is_written_in_full(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    faults = [Fault("sessions", f"phq_{item}", (item,), "too high", "correct it") for item in range(1, 21)]
    path = tmp_path / "logs" / "ingest.log"

    def script() -> None:
        with rule_log(path, "mine", "ingest") as say:
            say("3 files read")
            raise StudyError(faults)

    with pytest.raises(SystemExit) as caught:
        script()
    log = path.read_text(encoding="utf-8")
    assert caught.value.code == 1
    assert log == f"3 files read\n{FAILURE_MARK} study mine, rule ingest: {StudyError(faults)}\n"
    assert capfd.readouterr().err == log.removeprefix("3 files read\n")


def test_success_is_quiet_and_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with rule_log(tmp_path / "ingest.log", "mine", "ingest") as say:
        say("200 rows")
        say("20 clients\n")
    assert (tmp_path / "ingest.log").read_text(encoding="utf-8") == "200 rows\n20 clients\n"
    assert capfd.readouterr() == ("", "")


def test_a_log_is_begun_anew(tmp_path: Path):
    path = tmp_path / "ingest.log"
    path.write_text(f"{FAILURE_MARK} of yesterday\n", encoding="utf-8")
    with rule_log(path, "mine", "ingest"):
        pass
    assert path.read_text(encoding="utf-8") == ""


def test_foreign_warnings_and_loggers_are_quiet_inside_and_as_before_outside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with rule_log(tmp_path / "ingest.log", "mine", "ingest"):
        warnings.warn(f"odd value: {PARTICIPANT}", stacklevel=1)
        logging.getLogger("foreign").warning("odd value: %s", PARTICIPANT)
    assert PARTICIPANT not in capfd.readouterr().err
    assert logging.root.manager.disable == logging.NOTSET
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)


def test_description_names_our_module_too():
    try:
        FaultCollector().add("sessions", None, "problem", "remedy", rows=["not a row"])
    except ValueError as error:
        text = anonymous_description(error)
    assert text.startswith("builtins.ValueError, raised in errors line ")
    assert "not a row" not in text


def test_an_interruption_is_passed_on(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), rule_log(tmp_path / "ingest.log", "mine", "ingest"):
        raise KeyboardInterrupt


def test_a_script_that_fails_shows_one_line(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from alliance_outcome.errors import rule_log

            with rule_log("script.log", "mine", "script"):
                int("{PARTICIPANT}")
            """
        ),
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"{FAILURE_MARK} study mine, rule script: builtins.ValueError")
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "script.log").read_text(encoding="utf-8") == result.stderr


def test_own_errors_share_a_base():
    assert issubclass(StudyError, AllianceOutcomeError)
