"""How often the two raters disagree: shares of discrepant pairs, told as rounded percentages of groups large enough.

A pair is discrepant when its two z scores differ by more than half a standard deviation, the convention of Fleenor,
McCauley & Brutus. Each rater's z scores are about that rater's own mean, so that a rater who rates everybody higher is
not discrepant for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.response_surface_model import SurfaceModel
from alliance_outcome.analyses.response_surface_names import (
    DISCREPANT,
    FIRST_HIGHER,
    IN_AGREEMENT,
    SECOND_HIGHER,
    SMALLEST_CELL,
    UNIT_OF_LEVEL,
)


def share_rows(surface: SurfaceModel, base: dict[str, Any]) -> list[dict[str, Any]]:
    """Count how often either rater's rating is the higher one.

    Parameters
    ----------
    surface : SurfaceModel
        With the rows of its model.
    base : dict
        Columns that all rows of the surface share.

    Returns
    -------
    list of dict
        Three rows for the estimates table, in whole per cent of sessions or of clients; refused together if fewer than
        :data:`SMALLEST_CELL` clients are behind any of them.
    """
    groups = discrepancies(*surface.ratings())
    clients = surface.model.rows["client"].groupby(groups.to_numpy()).nunique()
    told = all(clients.get(name, 0) >= SMALLEST_CELL for name in (FIRST_HIGHER, SECOND_HIGHER, IN_AGREEMENT))
    rows = []
    for name in (FIRST_HIGHER, SECOND_HIGHER, IN_AGREEMENT):
        row = {
            **base,
            "row_id": row_key("discrepancy", surface.level, name),
            "model": "discrepancy",
            "engine": "moments",
            "estimand": "total",
            "adjustment": "none",
            "term": name,
            "unit": f"per cent of {UNIT_OF_LEVEL[surface.level]}",
        }
        if told:
            row["estimate"] = float(round(100.0 * float((groups == name).mean())))
        else:
            reason = f"fewer than {SMALLEST_CELL} clients in a group, too few to be told of"
            row |= {"status": "refused", "reason": reason}
        rows.append(row)
    return rows


def discrepancies(first: pd.Series, second: pd.Series) -> pd.Series:
    """Say of each pair of ratings which is higher, or that they agree.

    Parameters
    ----------
    first, second : Series, shape (n_rows,)
        Ratings of both raters.

    Returns
    -------
    Series of str, shape (n_rows,)
    """
    z = [(rating - rating.mean()) / rating.std() for rating in (first, second)]
    difference = (z[0] - z[1]).to_numpy()
    names = np.select(
        [difference > DISCREPANT, difference < -DISCREPANT], [FIRST_HIGHER, SECOND_HIGHER], IN_AGREEMENT
    )
    return pd.Series(names, first.index)
