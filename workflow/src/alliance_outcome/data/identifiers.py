"""Check identifiers before they become pseudonyms: one person must not hide behind two spellings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from alliance_outcome.data.files import RawTable
from alliance_outcome.data.ledger import Ledger
from alliance_outcome.data.values import design_text


def refuse_spellings(places: Iterable[tuple[RawTable, str]], who: str, ledger: Ledger) -> None:
    """Note a fault where identifiers differ only by case or blanks, within a file or between files.

    Parameters
    ----------
    places : iterable of (RawTable, str)
        Files and their columns with identifiers of one kind.
    who : str
        What messages call them: client or therapist.
    ledger : Ledger
        Receives a fault for each column, with the rows of the rarer spellings (of two equally frequent ones, the
        later).
    """
    places = list(places)
    written = [_as_written(table, header) for table, header in places]
    if not written:
        return
    pooled = pd.concat(written, keys=range(len(written)), names=["place", "row"]).dropna()
    spellings = pooled.groupby(pooled, sort=False).size().sort_values(ascending=False, kind="stable").index
    usual = spellings[~spellings.map(lambda text: " ".join(text.split()).casefold()).duplicated()]
    unusual = pooled[~pooled.isin(usual)]
    for place, (table, header) in enumerate(places):
        rows = unusual.index[unusual.index.get_level_values("place") == place].get_level_values("row")
        if len(rows):
            ledger.fault(
                table.role,
                header,
                f"identifiers that differ from another {who}'s only by upper and lower case or by blanks",
                f"if it is one {who}, write the identifier alike everywhere; if not, give another identifier",
                table.row_numbers(np.asarray(rows)),
            )


def _as_written(table: RawTable, header: str) -> pd.Series:
    """Return identifiers with the blanks around them, null where there is none; index: positions from 0."""
    text = design_text(table, header, labelled=False)
    cells = table.frame[header]
    if pd.api.types.is_string_dtype(cells.dtype) or cells.dtype == object:
        is_text = np.fromiter((isinstance(cell, str) for cell in cells), dtype=bool, count=len(cells))
        text = text.where(text.isna() | ~is_text, cells.astype("str"))
    return text.reset_index(drop=True).rename("written")
