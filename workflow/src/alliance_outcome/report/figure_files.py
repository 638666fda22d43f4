"""The figures of a report as files: SVG images with an index of their captions.

Apart from the drawing itself, so that the report is rendered without loading matplotlib.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from alliance_outcome.errors import Fault, StudyError
from alliance_outcome.report.captions import Caption

#: Files beside the figures that hold their captions: those of every study, and that of a simulated one.
INDEX_NAME = "figures.json"
TRUTH_INDEX_NAME = "truth.json"


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Parameters
    ----------
    name : str
        Stem of its file.
    title : str
        Short title.
    caption : Caption
        How to read it, how it was made, when it misleads.
    path : Path
        The SVG file.
    alt : str
        The figure in words; where there was nothing to draw, the reason.
    drawn : bool
        Whether there was anything to draw; otherwise the file holds the reason as text.
    """

    name: str
    title: str
    caption: Caption
    path: Path
    alt: str
    drawn: bool


def write_index(figures: list[Figure], out: Path, name: str = INDEX_NAME) -> None:
    """Keep titles, captions and descriptions beside the figures.

    Parameters
    ----------
    figures : list of Figure
        In the report's order.
    out : Path
        Their folder.
    name : str
        File name of the index.
    """
    entries = [{**asdict(figure), "path": figure.path.name} for figure in figures]
    (out / name).write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_figures(folder: Path) -> dict[str, Figure]:
    """Read the figures that :func:`draw_figures` wrote.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    dict
        Figures by name, in the report's order.

    Raises
    ------
    StudyError
        If the folder holds no index.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise StudyError(
            [Fault("figures", None, (), f"{INDEX_NAME} does not exist", "draw the figures first")]
        )
    entries = json.loads(path.read_text(encoding="utf-8"))
    truth = folder / TRUTH_INDEX_NAME
    entries += json.loads(truth.read_text(encoding="utf-8")) if truth.is_file() else []
    return {
        entry["name"]: Figure(
            **{**entry, "caption": Caption(**entry["caption"]), "path": folder / entry["path"]}
        )
        for entry in entries
    }
