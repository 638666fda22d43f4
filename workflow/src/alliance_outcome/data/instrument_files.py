"""Files of scoring keys: the shipped ones and a user's own, read together and checked in full.

Every fault of every file is found in one go and put into words that lead to its repair.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from alliance_outcome.data.instruments import (
    INCONSISTENT,
    CutOff,
    Instrument,
    MissingRule,
    PartStatus,
    ReliableChange,
    Score,
)
from alliance_outcome.errors import FaultCollector


@dataclass(frozen=True)
class InstrumentLibrary:
    """All scoring keys at hand.

    Parameters
    ----------
    instruments : dict of str to Instrument
        Every key by its name.
    overridden : tuple of str
        Shipped keys that a user's file replaces, to be announced.
    added : tuple of str
        Names that only the user's files have.
    """

    instruments: dict[str, Instrument]
    overridden: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def subscales(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Item numbers of the subscales of each form."""
        return {name: instrument.subscales for name, instrument in self.instruments.items()}


def load_instruments(extra_directory: Path | None = None) -> InstrumentLibrary:
    """Read the shipped scoring keys and a user's own.

    Parameters
    ----------
    extra_directory : Path, optional
        Directory of ``<name>.yaml`` files; each adds a key or replaces the shipped one of that name as a
        whole. A path that is no directory holds no keys.

    Returns
    -------
    InstrumentLibrary
        The keys by name, with the names overridden and added.

    Raises
    ------
    StudyError
        With every fault of every file.
    """
    faults = FaultCollector()
    shipped = _read_directory(importlib.resources.files("alliance_outcome.data") / "keys", faults)
    own: dict[str, Instrument] = {}
    if extra_directory is not None and extra_directory.is_dir():
        own = _read_directory(extra_directory, faults)
    faults.raise_if_any()
    return InstrumentLibrary(
        instruments=shipped | own,
        overridden=tuple(name for name in own if name in shipped),
        added=tuple(name for name in own if name not in shipped),
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice, which YAML readers otherwise settle silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping after checking that its keys differ."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_directory(directory: Traversable, faults: FaultCollector) -> dict[str, Instrument]:
    instruments = {}
    files = [entry for entry in directory.iterdir() if entry.is_file()]
    for file in sorted(files, key=lambda entry: entry.name):
        role = f"instrument file {file.name}"
        if file.name.endswith(".yml"):
            faults.add(role, None, "the ending .yml is not read", "rename the file to end in .yaml")
        elif file.name.endswith(".yaml"):
            instrument = _read_instrument(file, role, faults)
            if instrument is not None:
                instruments[instrument.name] = instrument
    return instruments


def _read_instrument(file: Traversable, role: str, faults: FaultCollector) -> Instrument | None:
    content = _read_yaml(file, role, faults)
    if content is None:
        return None
    try:
        # By way of JSON, where strict validation takes a list for a tuple but still no text for a number.
        instrument = Instrument.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _add_fault(detail, role, faults)
        return None
    if f"{instrument.name}.yaml" != file.name:
        faults.add(role, "name", "the name is not that of the file", "make the two equal")
    return instrument


def _read_yaml(file: Traversable, role: str, faults: FaultCollector) -> dict[Any, Any] | None:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        faults.add(role, None, f"not valid YAML: {error.problem}{line}", "correct that line")
        return None
    except (UnicodeDecodeError, yaml.YAMLError):
        faults.add(role, None, "not a UTF-8 text file", "save the file as UTF-8")
        return None
    if not isinstance(content, dict):
        faults.add(role, None, "not a list of keys and values", "start from a copy of a shipped key")
        return None
    return content


def _add_fault(detail: ErrorDetails, role: str, faults: FaultCollector) -> None:
    """Put one of pydantic's errors into words that lead to its repair."""
    key = ".".join(str(part) for part in detail["loc"])
    model, last = _model_at(detail["loc"])
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(last, model.model_fields, n=1)
        faults.add(role, key, "unknown key", f"did you mean '{close[0]}'?" if close else "remove it")
    elif detail["type"] == INCONSISTENT:
        faults.add(role, key, detail["msg"], detail["ctx"]["remedy"])
    else:
        field = model.model_fields.get(last)
        description = f": {field.description}" if field is not None else ""
        problem = "the key is missing" if detail["type"] == "missing" else detail["msg"]
        faults.add(
            role, key, problem, f"{'add it' if detail['type'] == 'missing' else 'correct it'}{description}"
        )


def _model_at(location: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """Find the model in which an error lies and the name of its key there."""
    nested: dict[str, type[BaseModel]] = {
        "score": Score,
        "missing": MissingRule,
        "cut_off": CutOff,
        "reliable_change": ReliableChange,
        "status": PartStatus,
    }
    first = str(location[0])
    if first in nested and len(location) > 1:
        return nested[first], str(location[1])
    return Instrument, first
