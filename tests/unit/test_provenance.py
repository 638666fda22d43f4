"""Provenance: seeds are stable and unrelated, and digests change with what they stand for and with nothing else."""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from alliance_outcome import provenance
from alliance_outcome.provenance import code_digest, derive_seed, file_digest, software_versions

#: printf '20261120\x1fexample\x1fsimulate' | sha256sum begins with 8a6ac732.
EXAMPLE_SEED = 0x8A6AC732


def test_seed_is_the_one_that_anybody_can_compute():
    assert derive_seed(20261120, "example", "simulate") == EXAMPLE_SEED


def test_seed_is_the_same_in_every_process():
    code = "from alliance_outcome.provenance import derive_seed; print(derive_seed(20261120, 'example', 'simulate'))"
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert int(result.stdout) == EXAMPLE_SEED


def test_seeds_of_different_steps_are_different():
    paths = [(), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("a", ""), ("", "a"), ("a b",), ("1", "a")]
    seeds = {(seed, path): derive_seed(seed, *path) for seed in (0, 1, 11) for path in paths}
    assert len(set(seeds.values())) == len(seeds)


def test_seeds_fill_their_range_evenly():
    seeds = [derive_seed(1, str(number)) for number in range(4000)]
    assert all(0 <= seed < 2**32 for seed in seeds)
    upper_half = sum(seed >= 2**31 for seed in seeds)
    # Binomial with a standard deviation of 32 around 2000; the seeds are fixed, so that this never changes.
    assert 1800 < upper_half < 2200


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a small package that digests are taken of."""
    for name, text in {
        "settings.py": "A = 1\n",
        "models/fit.py": "B = 2\n",
        "models/keys.yaml": "c: 3\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(provenance, "PACKAGE_DIRECTORY", tmp_path)
    return tmp_path


ALL: Sequence[str] = ("settings.py", "models")


def test_digest_stays_while_nothing_changes(package: Path):
    before = code_digest(ALL)
    (package / "models/fit.py").touch()
    bytecode = package / "models/__pycache__/fit.cpython-312.pyc"
    bytecode.parent.mkdir()
    bytecode.write_bytes(b"\0")
    (package / "other.py").write_text("D = 4\n", encoding="utf-8")
    assert code_digest(ALL) == before
    assert code_digest(reversed(ALL)) == before
    assert code_digest([*ALL, "models/fit.py"]) == before, "a module named twice counts once"


def test_digest_changes_with_an_edit_a_new_file_and_a_new_name(package: Path):
    digests = [code_digest(ALL)]
    (package / "models/fit.py").write_text("B = 3\n", encoding="utf-8")
    digests.append(code_digest(ALL))
    (package / "models/keys.yaml").write_text("c: 4\n", encoding="utf-8")
    digests.append(code_digest(ALL))
    (package / "models/more.py").write_text("", encoding="utf-8")
    digests.append(code_digest(ALL))
    (package / "models/more.py").rename(package / "models/less.py")
    digests.append(code_digest(ALL))
    assert all(before != after for before, after in itertools.pairwise(digests))
    assert len(set(digests)) == len(digests)


def test_digest_of_a_part_ignores_the_rest(package: Path):
    before = code_digest(["settings.py"])
    (package / "models/fit.py").write_text("B = 3\n", encoding="utf-8")
    assert code_digest(["settings.py"]) == before


@pytest.mark.usefixtures("package")
def test_digest_of_a_module_that_is_not_there_fails():
    with pytest.raises(FileNotFoundError):
        code_digest(["setings.py"])


def test_digest_of_the_real_package():
    assert code_digest(["settings.py"]) != code_digest(["errors.py"])
    assert code_digest(["."]) != code_digest(["settings.py"])


def test_file_digest(tmp_path: Path):
    path = tmp_path / "ratings.csv"
    path.write_bytes(b"id,wai\r\n1,5\r\n")
    assert file_digest(path) == hashlib.sha256(b"id,wai\r\n1,5\r\n").hexdigest()


def test_versions_name_every_package_that_decides_numbers():
    versions = software_versions()
    assert versions["python"] == platform.python_version()
    assert set(versions) == {"python", *provenance.REPORTED_PACKAGES}
    assert all(version[0].isdigit() for version in versions.values())
