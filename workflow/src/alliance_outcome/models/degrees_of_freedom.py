"""Denominator degrees of freedom of fixed effects by the inner-outer rule.

A term is tested against the number of units of the level at which it varies: a therapist's training against
the number of therapists, however many sessions they held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.design_checks import INTERCEPT

#: Within a cluster a column is constant if its values differ by no more than this fraction of the column's
#: spread, because cluster means carry rounding. It is R's ``sqrt(.Machine$double.eps)``, by which nlme tells
#: constants.
CONSTANT_TOLERANCE = float(np.sqrt(np.finfo(float).eps))


def varying_level(
    column: NDArray[np.float64], levels: Sequence[tuple[str, NDArray[np.intp]]], innermost: str
) -> str:
    """Find the level at which a column varies.

    Parameters
    ----------
    column : ndarray, shape (n_rows,)
        A fixed-effect column.
    levels : sequence of (name, codes), outermost first
        Grouping levels of the model with a cluster code per row.
    innermost : str
        Name of the rows' own level.

    Returns
    -------
    str
        The outermost level within whose clusters the column is constant (so that it varies between them),
        `innermost` if it varies within all.
    """
    tolerance = CONSTANT_TOLERANCE * float(np.abs(column - column.mean()).max())
    for name, codes in levels:
        highest = np.full(codes.max() + 1, -np.inf)
        lowest = np.full(codes.max() + 1, np.inf)
        np.maximum.at(highest, codes, column)
        np.minimum.at(lowest, codes, column)
        if float(np.max(highest - lowest)) <= tolerance:
            return name
    return innermost


def inner_outer(levels: Mapping[str, str], counts: Sequence[tuple[str, int]]) -> pd.Series:
    """Compute inner-outer degrees of freedom.

    Parameters
    ----------
    levels : mapping of term to level
        Level at which each fixed effect varies, the intercept among them.
    counts : sequence of (level, number of units), outermost first
        Levels of the model, the rows last.

    Returns
    -------
    Series, index terms
        Degrees of freedom; 0 or less where a level has no more units than terms.

    Notes
    -----
    Pinheiro & Bates 2000, section 2.4.2: level i has m_i − (m_{i−1} + p_i) degrees of freedom, with m_i units, p_i
    terms and m_0 = 1 for the intercept. The intercept itself takes the largest of them, as in ``nlme::lme``.
    """
    terms_per_level = pd.Series([level for term, level in levels.items() if term != INTERCEPT]).value_counts()
    degrees: dict[str, float] = {}
    units_above = 1
    for level, units in counts:
        degrees[level] = float(units - units_above - terms_per_level.get(level, 0))
        units_above = units
    return pd.Series(
        {
            term: max(degrees.values()) if term == INTERCEPT else degrees[level]
            for term, level in levels.items()
        },
        dtype=float,
        name="df",
    )
