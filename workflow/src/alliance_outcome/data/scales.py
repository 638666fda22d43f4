"""Scores of one measure on the rows of its file, whether from items or ready-made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import pandas as pd

TURNED = {"higher_is_better": "higher_is_worse", "higher_is_worse": "higher_is_better"}


@dataclass(frozen=True)
class ScaleScores:
    """Scores with what is known of their scale.

    Parameters
    ----------
    label : str
        Column or pattern that messages name.
    total : pandas.Series
        Total score of the m rows of the file, NaN where there is none.
    subscales : pandas.DataFrame
        Subscale scores, m rows, one column per subscale, perhaps none.
    answered : pandas.Series
        Whether there is any item or score, length m.
    low, high : float
        Lowest and highest possible total.
    subscale_ranges : dict of str to (float, float)
        The same of each subscale.
    direction : str
        ``higher_is_better`` or ``higher_is_worse``.
    title : str
        Full name of the form, as far as it is known.
    origin : {"items", "score", "subscales"}
        What the total was made of.
    scale_unit : str
        How the total is scored.
    form : str or None
        Identity of form, range and scoring; raters with the same one are commensurate.
    recall_days : int or None
        How many days back the form asks.
    verified : bool or None
        Whether the scoring key is verified; None where no key was used.
    source : str or None
        Where the key comes from.
    raw, keyed : pandas.DataFrame or None
        Items of the m rows, columns 1 … k.
    """

    label: str
    total: pd.Series
    subscales: pd.DataFrame
    answered: pd.Series
    low: float
    high: float
    subscale_ranges: dict[str, tuple[float, float]]
    direction: Literal["higher_is_better", "higher_is_worse"]
    title: str
    origin: Literal["items", "score", "subscales"]
    scale_unit: str
    form: str | None
    recall_days: int | None
    verified: bool | None
    source: str | None
    raw: pd.DataFrame | None = None
    keyed: pd.DataFrame | None = None

    def turned_round(self) -> ScaleScores:
        """Return the scores with x replaced by lowest + highest − x; items stay as they are."""
        turned = {name: sum(self.subscale_ranges[name]) - self.subscales[name] for name in self.subscales}
        return dataclasses.replace(
            self,
            total=self.low + self.high - self.total,
            subscales=pd.DataFrame(
                turned, index=self.subscales.index, columns=self.subscales.columns, dtype=float
            ),
            direction=TURNED[self.direction],
        )
