"""The item table: every answered form, item by item, as given and as keyed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance_outcome.data.measures import Measure
from alliance_outcome.data.source_files import TEXT

ITEM_COLUMNS = (
    "client",
    "episode",
    "occasion_kind",
    "session",
    "rater",
    "instrument",
    "item",
    "raw",
    "keyed",
)


def item_table(measures: list[Measure], rows: pd.DataFrame, occasions: pd.DataFrame) -> pd.DataFrame:
    """Put the items of all measures together.

    Parameters
    ----------
    measures : list of Measure
        The measures of the study.
    rows : pandas.DataFrame
        Rows of the files with ``file``, ``source_row`` and ``key`` of their occasion.
    occasions : pandas.DataFrame
        The occasions of the session table in its order, by key.

    Returns
    -------
    pandas.DataFrame
        One row per item of each form with at least one answer, measure by measure and then in the order of the session
        table; ``raw`` and ``keyed`` are NaN where the item is missing.
    """
    parts = [_items_of(measure, rows, occasions) for measure in measures if measure.scores.raw is not None]
    columns = list(ITEM_COLUMNS)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    types = dict.fromkeys(["client", "occasion_kind", "rater", "instrument"], TEXT)
    types |= {"episode": "int64", "session": "Int64", "item": "int64", "raw": "float64", "keyed": "float64"}
    return table.astype(types)[columns]


def _items_of(measure: Measure, rows: pd.DataFrame, occasions: pd.DataFrame) -> pd.DataFrame:
    """Return the items of one measure, form by form."""
    own = rows[(rows["file"] == measure.settings.file) & rows["key"].isin(occasions.index)]
    own = own[measure.scores.answered.loc[own["source_row"]].to_numpy()]
    own = own.iloc[np.argsort(occasions.index.get_indexer(own["key"]))]
    raw, keyed = (frame.loc[own["source_row"]] for frame in (measure.scores.raw, measure.scores.keyed))
    forms = occasions.loc[own["key"], ["client", "episode", "occasion_kind", "session"]]
    n_forms, n_items = raw.shape
    return forms.loc[forms.index.repeat(n_items)].assign(
        rater=measure.settings.rater,
        instrument=measure.settings.instrument,
        item=np.tile(np.arange(1, n_items + 1), n_forms),
        raw=raw.to_numpy().ravel(),
        keyed=keyed.to_numpy().ravel(),
    )
