"""From the columns of a measure to its scores: higher alliance is better, higher severity is worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance_outcome.data.instrument_files import InstrumentLibrary
from alliance_outcome.data.item_scores import score_items_of
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.ready_made_scores import read_ready_made
from alliance_outcome.data.scales import ScaleScores
from alliance_outcome.data.source_files import SourceFile
from alliance_outcome.settings import MeasureSettings, measure_column

MEASURE_COLUMNS = (
    "measure",
    "column",
    "construct",
    "rater",
    "instrument",
    "title",
    "low",
    "high",
    "direction",
    "flipped",
    "timing",
    "recall_days",
    "verified",
    "form",
    "from",
    "scale_unit",
    "n_rated",
    "source",
    "subscales",
)
#: Direction of each construct in the session table.
DIRECTIONS = {"alliance": "higher_is_better", "severity": "higher_is_worse"}


@dataclass(frozen=True)
class Measure:
    """One measure with its scores.

    Parameters
    ----------
    name : str
        Its name in the study file.
    settings : MeasureSettings
        What the study file says about it.
    scores : ScaleScores
        Its scores and items on the rows of its file, in the direction of the session table.
    flipped : bool
        Whether the scores were turned round.
    """

    name: str
    settings: MeasureSettings
    scores: ScaleScores
    flipped: bool

    @property
    def column(self) -> str:
        """Its column in the session table."""
        return measure_column(self.settings)

    @property
    def subscales(self) -> tuple[str, ...]:
        """Names of the subscales in the session table, which has those of alliance measures."""
        return tuple(self.scores.subscales.columns) if self.settings.construct == "alliance" else ()

    def table_columns(self) -> pd.DataFrame:
        """Return the columns of the session table on the rows of the file: total first, then subscales."""
        columns = {self.column: self.scores.total}
        columns |= {f"{self.column}_{name}": self.scores.subscales[name] for name in self.subscales}
        return pd.DataFrame(columns)

    def description(self, n_rated: int) -> dict[str, Any]:
        """Return the row of tables/measures.csv."""
        settings, scores = self.settings, self.scores
        return {
            "measure": self.name,
            "column": self.column,
            "construct": settings.construct,
            "rater": settings.rater,
            "instrument": settings.instrument,
            "title": scores.title,
            "low": scores.low,
            "high": scores.high,
            "direction": DIRECTIONS[settings.construct],
            "flipped": self.flipped,
            "timing": settings.timing,
            "recall_days": scores.recall_days,
            "verified": scores.verified,
            "form": scores.form,
            "from": scores.origin,
            "scale_unit": scores.scale_unit,
            "n_rated": n_rated,
            "source": scores.source,
            "subscales": " ".join(self.subscales) or None,
        }


def read_measure(
    name: str,
    settings: MeasureSettings,
    source: SourceFile,
    library: InstrumentLibrary,
    accept_unverified_key: bool,
    ledger: Ledger,
) -> Measure | None:
    """Read and score one measure.

    Parameters
    ----------
    name : str
        Its name in the study file.
    settings : MeasureSettings
        What the study file says about it.
    source : SourceFile
        Its file.
    library : InstrumentLibrary
        The scoring keys at hand.
    accept_unverified_key : bool
        Whether the study accepts keys with facts from memory.
    ledger : Ledger
        Receives faults and announcements.

    Returns
    -------
    Measure or None
        None after a fault that leaves nothing to score.
    """
    if settings.items is not None:
        scores = score_items_of(name, settings, source, library, accept_unverified_key, ledger)
    else:
        scores = read_ready_made(name, settings, source, library, ledger)
    if scores is None:
        return None
    flipped = scores.direction != DIRECTIONS[settings.construct]
    if flipped:
        n = int(scores.total.notna().sum())
        better = "better" if settings.construct == "alliance" else "worse"
        text = f"{counted(n, 'score')} of {name} turned round, so that higher is {better}."
        ledger.announce("flipped", STUDY_FILE, f"measures.{name}", n, text)
        scores = scores.turned_round()
    return Measure(name, settings, scores, flipped)


def measures_table(measures: list[Measure], n_rated: dict[str, int]) -> pd.DataFrame:
    """Return tables/measures.csv.

    Parameters
    ----------
    measures : list of Measure
        In the order of the study file.
    n_rated : dict of str to int
        Number of scores in the session table by column.

    Returns
    -------
    pandas.DataFrame
        One row per measure, columns :data:`MEASURE_COLUMNS`.
    """
    rows = [measure.description(n_rated[measure.column]) for measure in measures]
    table = pd.DataFrame(rows, columns=list(MEASURE_COLUMNS))
    return table.astype({"recall_days": "Int64", "verified": "boolean", "low": float, "high": float})
