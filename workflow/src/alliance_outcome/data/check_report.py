"""The result of checking a study, as a file: what every later stage looks at before it starts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from alliance_outcome.errors import Fault, StudyError


def write_check(
    faults: Sequence[Fault], announcements: pd.DataFrame, risks: pd.DataFrame, path: Path
) -> None:
    """Write the faults, announcements and disclosure risks of a study as JSON.

    Parameters
    ----------
    faults : sequence of Fault
        Empty if the study is sound.
    announcements : DataFrame
        What ingest would drop, recode or flip.
    risks : DataFrame
        How easily somebody could be recognised in the data.
    path : Path
        Where to.
    """
    content = {
        "faults": [dataclasses.asdict(fault) for fault in faults],
        "announcements": json.loads(announcements.to_json(orient="records")),
        "risks": json.loads(risks.to_json(orient="records")),
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_faults(path: Path) -> list[Fault]:
    """Read the faults that :func:`write_check` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Fault(**{**fault, "rows": tuple(fault["rows"])}) for fault in content["faults"]]


def read_announcements(path: Path) -> list[dict[str, object]]:
    """Read the announcements that :func:`write_check` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))["announcements"]


def read_risks(path: Path) -> list[dict[str, object]]:
    """Read the disclosure risks that :func:`write_check` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))["risks"]


def require_sound(path: Path) -> None:
    """Stop a stage of a study that did not pass its check.

    Parameters
    ----------
    path : Path
        File written by :func:`write_check`.

    Raises
    ------
    StudyError
        With all faults, if there are any.
    """
    faults = read_faults(path)
    if faults:
        raise StudyError(faults)
