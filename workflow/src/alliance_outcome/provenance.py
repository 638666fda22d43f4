"""Where a number comes from: seeds by name, digests of code, versions of software."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import Path

PACKAGE_DIRECTORY = Path(__file__).parent

#: The packages whose versions decide numbers or layout; the report prints them.
REPORTED_PACKAGES = (
    "alliance-outcome",
    "snakemake",
    "pandas",
    "numpy",
    "scipy",
    "statsmodels",
    "pymc",
    "nutpie",
    "arviz",
    "pandera",
    "pydantic",
    "pyreadstat",
    "matplotlib",
)


def derive_seed(seed: int, *names: str) -> int:
    """Derive the seed of one random step from the run's seed and the step's name.

    Parameters
    ----------
    seed : int
        The run's seed.
    *names : str
        Study and step, for example ``("example", "bayesian", "hybrid")``; never an identifier of a participant.

    Returns
    -------
    int
        Between 0 and 2**32 - 1; unrelated for different names, so that a new step shifts no other.
    """
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def code_digest(paths: Iterable[str]) -> str:
    """Digest modules of this package, so that an edit re-runs the rules that use them.

    Parameters
    ----------
    paths : iterable of str
        Files or folders relative to the package, e.g. ``data`` or ``models/multilevel.py``.

    Returns
    -------
    str
        Hexadecimal SHA-256 over names and contents (bytecode left out), in sorted order.
    """
    digest = hashlib.sha256()
    for path in sorted(set(_expand(paths))):
        digest.update(str(path.relative_to(PACKAGE_DIRECTORY)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _expand(paths: Iterable[str]) -> Iterable[Path]:
    """List the files behind names; a folder stands for all its files."""
    for name in paths:
        path = PACKAGE_DIRECTORY / name
        if path.is_dir():
            yield from (
                file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
            )
        else:
            yield path


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide numbers, by name."""
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in REPORTED_PACKAGES}
    return versions


def file_digest(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
