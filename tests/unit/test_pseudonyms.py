"""Pseudonyms: issued once, in random order, kept in a private file."""

from __future__ import annotations

import csv
import stat

import pytest

from alliance_outcome.data.pseudonyms import PseudonymKey
from alliance_outcome.errors import StudyError

CLIENTS = [f"client {number}" for number in range(60)]


def test_pseudonyms_are_distinct_and_numbered(tmp_path):
    issued = PseudonymKey(tmp_path / "key.csv").issue("client", [*CLIENTS, *CLIENTS])
    assert sorted(issued.values()) == [f"C{number:04d}" for number in range(1, 61)]
    assert list(issued) == CLIENTS


def test_order_is_random(tmp_path):
    """Two keys agree on the order of 60 clients once in 60! times."""
    first, second = (PseudonymKey(tmp_path / f"{n}.csv").issue("client", CLIENTS) for n in range(2))
    assert first != second
    assert list(first.values()) != sorted(first.values())


def test_key_is_private(tmp_path):
    key = PseudonymKey(tmp_path / "private" / "key.csv")
    key.issue("client", CLIENTS)
    key.save()
    assert stat.S_IMODE((tmp_path / "private" / "key.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["key.csv"]


def test_key_that_was_opened_to_others_is_closed_again(tmp_path):
    key = PseudonymKey(tmp_path / "key.csv")
    key.save()
    key.path.chmod(0o644)
    PseudonymKey(key.path).save()
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600


def test_pseudonyms_are_kept_and_never_issued_again(tmp_path):
    path = tmp_path / "key.csv"
    key = PseudonymKey(path)
    first = key.issue("client", CLIENTS[:30])
    therapists = key.issue("therapist", CLIENTS[:3])
    key.save()
    later = PseudonymKey(path)
    # Ten clients have left the study; their numbers stay taken.
    second = later.issue("client", CLIENTS[10:])
    later.save()
    assert {client: second[client] for client in CLIENTS[10:30]} == {
        client: first[client] for client in CLIENTS[10:30]
    }
    assert not {second[client] for client in CLIENTS[30:]} & set(first.values())
    assert PseudonymKey(path).issue("client", CLIENTS) == first | second
    assert sorted(therapists.values()) == ["T001", "T002", "T003"]


def test_odd_identifiers_survive_the_file(tmp_path):
    odd = ['O"Neil, A.', "línea\nnueva", "=1+1", "007"]
    key = PseudonymKey(tmp_path / "key.csv")
    issued = key.issue("client", odd)
    key.save()
    assert PseudonymKey(tmp_path / "key.csv").issue("client", odd) == issued


def test_more_clients_than_digits(tmp_path):
    key = PseudonymKey(tmp_path / "key.csv")
    issued = key.issue("therapist", (str(number) for number in range(1200)))
    key.save()
    assert "T1200" in issued.values()
    assert PseudonymKey(tmp_path / "key.csv").issue("therapist", ["0"]) == {"0": issued["0"]}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "columns are not"),
        ([["kind", "original"]], "columns are not"),
        ([["kind", "original", "pseudonym"], ["client", "Winifred Quill", "0001"]], "no kind, identifier"),
        ([["kind", "original", "pseudonym"], ["person", "Winifred Quill", "C0001"]], "no kind, identifier"),
        ([["kind", "original", "pseudonym"], ["client", "Winifred Quill"]], "no kind, identifier"),
        (
            [["kind", "original", "pseudonym"], *[["client", "Winifred Quill", f"C000{n}"] for n in (1, 2)]],
            "stands in it twice",
        ),
        (
            [
                ["kind", "original", "pseudonym"],
                ["client", "Winifred Quill", "C0001"],
                ["client", "b", "C0001"],
            ],
            "stands in it twice",
        ),
    ],
)
def test_damaged_key_stops_without_quoting_it(tmp_path, rows, problem):
    path = tmp_path / "key.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(StudyError, match=problem) as caught:
        PseudonymKey(path)
    assert "Winifred" not in str(caught.value)
    assert "restore it from a backup" in str(caught.value)


def test_key_in_another_encoding_stops(tmp_path):
    (tmp_path / "key.csv").write_bytes(b"\xff\xfe\x00kind")
    with pytest.raises(StudyError, match="cannot be read"):
        PseudonymKey(tmp_path / "key.csv")


def test_failed_write_leaves_the_old_key(tmp_path, monkeypatch):
    path = tmp_path / "key.csv"
    key = PseudonymKey(path)
    issued = key.issue("client", CLIENTS)
    key.save()
    key.issue("client", ["one more"])

    def fail(*_arguments):
        raise InterruptedError("in the middle")

    monkeypatch.setattr(csv, "writer", fail)
    with pytest.raises(InterruptedError, match="in the middle"):
        key.save()
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["key.csv"]
    assert PseudonymKey(path).issue("client", CLIENTS) == issued
