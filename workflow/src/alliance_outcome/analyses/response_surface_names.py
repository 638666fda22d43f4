"""Names in the tables of the response surface analysis, apart from what computes them."""

from __future__ import annotations

from alliance_outcome.design.levels import BETWEEN_CLIENT, BETWEEN_CLIENT_POOLED, WITHIN_CLIENT

ANALYSIS = "response_surface"

#: What the model of a surface is called after the model whose terms, rows and random effects it shares.
SUFFIX = "_surface"

#: Share of a bivariate normal distribution that the ellipse of the figure holds.
ELLIPSE_SHARE = 0.9

#: Columns of the predictions that the figure shows: a polar grid over the ellipse, rings from its centre outwards.
GRID_COLUMNS = ("level", "rater", "rater_b", "ring", "spoke", "x", "y", "predicted")

#: Conditions of a congruence effect as the table of conditions names them, after the level, and the two verdicts.
BROAD_CONDITIONS = ("p10", "p11", "a4", "a3")
STRICT_CONDITIONS = ("a1", "a2")
BROAD_VERDICT, STRICT_VERDICT = "broad", "strict"

#: Two ratings are discrepant when their z scores differ by more than this (convention of Fleenor, McCauley & Brutus).
DISCREPANT = 0.5
#: Shares of discrepant and of agreeing pairs.
FIRST_HIGHER, SECOND_HIGHER, IN_AGREEMENT = "first_higher", "second_higher", "in_agreement"
#: Smallest number of clients that a share is told of.
SMALLEST_CELL = 10

#: What the surface is of at each level: sessions about the client's own mean, or clients.
UNIT_OF_LEVEL = {WITHIN_CLIENT: "sessions", BETWEEN_CLIENT: "clients", BETWEEN_CLIENT_POOLED: "clients"}


def condition_name(level: str, name: str) -> str:
    """Name a row of the table of conditions.

    Parameters
    ----------
    level : str
        Level of the surface.
    name : str
        One of the conditions or verdicts of this module.

    Returns
    -------
    str
        For example ``within_client.p11``.
    """
    return f"{level}.{name}"
