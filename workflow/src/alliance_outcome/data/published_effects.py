"""Published effects that can stand in for a prior guess, with what they estimate and where they were read.

An effect is used only where the estimand is the same: same rater, level and lag. A correlation of alliance and outcome
over clients, for instance, is no guess of an effect within clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

#: The shipped table.
EFFECTS = files("alliance_outcome") / "data" / "published" / "effects.csv"


@dataclass(frozen=True)
class PublishedEffect:
    """A published effect.

    Parameters
    ----------
    rater, level : str
    lag : int
        Sessions from the rating to the outcome.
    mean, sd : float
        Effect and its standard error, in standard deviations of the outcome per standard deviation of alliance, both at
        that level; negative where more alliance goes with less severity.
    source, url : str
    """

    rater: str
    level: str
    lag: int
    mean: float
    sd: float
    source: str
    url: str


def published_effects() -> list[PublishedEffect]:
    """Read the shipped table."""
    with EFFECTS.open(encoding="utf-8") as handle:
        table = pd.read_csv(handle)
    fields = ["rater", "level", "lag", "mean", "sd", "source", "url"]
    return [PublishedEffect(*row) for row in table[fields].itertuples(index=False, name=None)]


def find_published_effect(rater: str, level: str, lag: int) -> PublishedEffect | None:
    """Return the effect of one estimand, if one is shipped."""
    return next(
        (each for each in published_effects() if (each.rater, each.level, each.lag) == (rater, level, lag)),
        None,
    )
