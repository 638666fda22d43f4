"""Packaging: dependencies are pinned, used, explained and locked; modules import from the floors below only."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance_outcome.provenance import PACKAGE_DIRECTORY

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
RUNTIME = PROJECT["project"]["dependencies"]
DEVELOPMENT = PROJECT["dependency-groups"]["dev"]

#: What a distribution is imported as, where the names differ.
IMPORT_NAMES = {"python-stdnum": "stdnum", "pyyaml": "yaml"}
#: Used without an import: by name from another library, or as a command.
USED_OTHERWISE = {
    "h5netcdf": "xarray writes and reads posteriors with it",
    "h5py": "h5netcdf does",
    "arviz": "for those who look at a posterior; the pipeline itself uses its part arviz-stats",
    "jupyter": "a command of the README, and the kernel of the notebooks",
    "nbstripout": "a check",
    "pre-commit": "a command",
    "pytest-xdist": "pytest's option -n",
    "ruff": "a check",
    "snakefmt": "a check",
}
#: Floors from the ground up; modules directly in the package are on the ground.
FLOORS = ("data", "design", "models", "analyses", "report")


def imported_modules(paths: Iterator[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield path, node.module


def imports_below(*folders: str) -> set[str]:
    """Return the names of the packages that Python files import, without Python's own and ours."""
    paths = (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    names = {module.partition(".")[0] for _, module in imported_modules(paths)}
    ours = {"alliance_outcome", *(path.stem for path in (REPOSITORY / "tests").rglob("*.py"))}
    return names - set(sys.stdlib_module_names) - ours


def name_and_version(requirement: str) -> tuple[str, str]:
    """Return the name, without extras, and the exact version of a requirement."""
    found = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z]+\])?==([0-9][0-9.]*)", requirement)
    assert found, f"not pinned exactly: {requirement}"
    return found[1], found[2]


NAMES = [name_and_version(requirement)[0] for requirement in (*RUNTIME, *DEVELOPMENT)]


def import_name(name: str) -> str:
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


@pytest.mark.parametrize("requirement", [*RUNTIME, *DEVELOPMENT])
def test_direct_dependencies_are_pinned_and_locked(requirement: str):
    name, version = name_and_version(requirement)
    assert re.search(
        rf"^{name}(\[[a-z]+\])?=={re.escape(version)} \\\n    --hash=sha256:", LOCK, flags=re.MULTILINE
    )


def test_every_locked_package_has_a_version_and_hashes():
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    assert len(entries) > len(RUNTIME)
    bad = [
        entry.partition("\n")[0]
        for entry in entries
        if not re.match(r"[a-z0-9.-]+==\S+.*\\\n    --hash=", entry)
    ]
    assert bad == []


def test_the_lock_names_no_address():
    assert not re.search(r"://|^\s*-(i|f)\b|--(extra-)?index|--find|--trusted", LOCK, flags=re.MULTILINE)


def test_what_is_imported_is_declared():
    runtime = {import_name(name) for name in NAMES[: len(RUNTIME)]}
    assert imports_below("workflow") <= runtime
    assert imports_below("tests") <= {import_name(name) for name in NAMES}


def test_what_is_declared_is_used():
    used = imports_below("workflow", "tests")
    rules = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "workflow").rglob("*akefile"))
    used |= set(re.findall(r"^from (\w+)", rules, flags=re.MULTILINE))
    assert [name for name in NAMES if name not in USED_OTHERWISE and import_name(name) not in used] == []
    assert set(NAMES) >= USED_OTHERWISE.keys()


def test_every_dependency_is_explained():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    explained = re.findall(r"^\| `([a-z0-9-]+)` \| \S", text, flags=re.MULTILINE)
    assert explained == NAMES


def floor(module: Path | str) -> int:
    """Return the floor of a module of the package: 0 on the ground, len(FLOORS) at the top."""
    name = (
        module.relative_to(PACKAGE_DIRECTORY).parts[0] if isinstance(module, Path) else module.split(".")[1]
    )
    return FLOORS.index(name) + 1 if name in FLOORS else 0


def test_modules_import_from_their_own_floor_and_below():
    upward = [
        (path.relative_to(PACKAGE_DIRECTORY).as_posix(), module)
        for path, module in imported_modules(PACKAGE_DIRECTORY.rglob("*.py"))
        if module.startswith("alliance_outcome.") and floor(module) > floor(path)
    ]
    assert upward == []


def test_the_package_knows_no_snakemake():
    assert "snakemake" not in {
        module.partition(".")[0] for _, module in imported_modules(PACKAGE_DIRECTORY.rglob("*.py"))
    }


def test_versions_agree():
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert version in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "config/README.md"])
def test_documented_targets_are_rules(document: str):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    rules = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "workflow/rules").glob("*.smk")
    )
    targets = set(re.findall(r"uv run snakemake ([a-z_]+) --cores", text))
    assert targets
    assert targets <= set(re.findall(r"^rule (\w+):", rules, flags=re.MULTILINE))
