"""Shares of explained variance: which rows are shown, what they are called, and how they are written.

``explained.csv`` names its measures in the notation of Rights and Sterba, ``r2_t(f1)`` of the total variance and
``r2_1(f1)`` of that of a level, and what is shared out among raters ``unique(client)``, ``common(client, therapist)``
and ``general(client)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.report.formatting import (
    ABSENT,
    interval,
    is_absent,
    join_words,
    monte_carlo_decimals,
    number,
)
from alliance_outcome.report.labels import LEVELS, level_label, rater_label
from alliance_outcome.report.selection import first_row, headline_model, shown_levels

#: Measures of the total variance that every model is summed up by.
MARGINAL, CONDITIONAL = "r2_t(f)", "r2_t(fvm)"
#: Decimals of a percentage.
DECIMALS = 1

_MEASURE = re.compile(r"^r2_(?P<of>[a-z0-9]+)\((?P<part>[a-z]+)(?P<numbers>\d*)\)$")
_SHARED = re.compile(r"^(?P<kind>unique|common|general)\((?P<raters>[^()]+)\)$")


def shown_models(explained: pd.DataFrame, contrast: pd.DataFrame, answer: Mapping[str, Any]) -> list[str]:
    """List the models whose shares are shown in full: those that speak for a level.

    Parameters
    ----------
    explained : DataFrame
        ``explained.csv``.
    contrast : DataFrame
        ``contrast.csv``.
    answer : mapping
        ``answer.json``.

    Returns
    -------
    list of str
        The answer's model first; without a contrast the first session-to-session and the first early model.
    """
    present = list(dict.fromkeys(explained.loc[explained["estimate"].notna(), "model"]))
    chosen = [headline_model(contrast, level, answer) for level in shown_levels(contrast)]
    if not chosen:
        chosen = [
            next((model for model in present if model.startswith(kind)), None) for kind in ("hybrid", "early")
        ]
    return [model for model in dict.fromkeys(chosen) if model in present]


def speaking_rows(
    explained: pd.DataFrame, contrast: pd.DataFrame, answer: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """Return, by level, what the model that speaks for the level shares out among raters.

    The variance of a level is the total variance where the model has no other level.
    """
    found = {}
    for level in shown_levels(contrast):
        own = explained[explained["model"] == headline_model(contrast, level, answer)]
        rows = own[own["level"] == level] if model_levels(own) else own
        rows = rows[rows["term"].fillna("").str.match(r"(unique|common)\(")]
        if len(rows):
            found[level] = rows
    return found


def model_levels(rows: pd.DataFrame) -> list[str]:
    """List the levels of one model, innermost first."""
    return [level for level in LEVELS if (rows["level"] == level).any()]


def is_shared_part(term: str) -> bool:
    """Say whether a row is what raters share out among them, and not a measure of the whole model."""
    return _SHARED.match(str(term)) is not None


def shared_label(term: str) -> str:
    """Name what is unique to a rater, common to several, or a rater's average.

    Parameters
    ----------
    term : str
        ``unique(client)``, ``common(client, therapist)`` or ``general(client)``.

    Returns
    -------
    str
        For example ``unique to the client``.
    """
    match = _SHARED.match(term)
    raters = [f"the {rater_label(rater)}" for rater in match["raters"].split(", ")]
    if match["kind"] == "general":
        return f"average contribution of {raters[0]}"
    return f"{match['kind']} to {join_words(raters)}"


def measure_label(term: str, levels: Sequence[str]) -> str:
    """Name a measure of a whole model.

    Parameters
    ----------
    term : str
        For example ``r2_t(f1)``.
    levels : sequence of str
        The model's levels, innermost first; empty for a model that has one level alone.

    Returns
    -------
    str
        For example ``Fixed effects, within clients``.
    """
    match = _MEASURE.match(term)
    part, numbers, of_total = match["part"], match["numbers"], match["of"] == "t"
    if term == MARGINAL:
        return "Fixed effects (marginal R²)"
    if term == CONDITIONAL:
        return "Fixed and random effects (conditional R²)"
    where = f", {_level(levels, numbers[0])}" if numbers and of_total and part != "m" else ""
    units = f" of {_units(levels, numbers[-1])}" if numbers else ""
    return {
        "f": f"Fixed effects{where}",
        "v": f"Random slopes{units}",
        "m": f"Random intercepts{units}",
        "fv": "Fixed effects and random slopes",
    }.get(part, term)


def _level(levels: Sequence[str], number_of_level: str) -> str:
    """Name a level by its number, innermost first."""
    position = int(number_of_level) - 1
    return level_label(levels[position]) if position < len(levels) else f"level {number_of_level}"


def _units(levels: Sequence[str], number_of_level: str) -> str:
    """Name the units of a level by its number; the units of the outermost level are what it lies between."""
    position = int(number_of_level) - 1
    level = levels[position] if position < len(levels) else ""
    return "therapists" if level == "between_therapist" else "clients"


def notation(term: str) -> str:
    """Return the part of a measure in the notation of Rights and Sterba, for example ``f1``."""
    match = _MEASURE.match(term)
    return f"{match['part']}{match['numbers']}"


def is_listed(row: Mapping[str, Any], levels: Sequence[str]) -> bool:
    """Say whether a measure of a model is tabulated: of the total variance, sums other than R² would repeat parts.

    Parameters
    ----------
    row : mapping
        Row of ``explained.csv``.
    levels : sequence of str
        The model's levels; without any, all its fixed effects are of one level.

    Returns
    -------
    bool
    """
    match = _MEASURE.match(str(row["term"]))
    if match is None:
        return False
    if not is_absent(row["level"]) or row["term"] in (MARGINAL, CONDITIONAL):
        return True
    return bool(match["numbers"]) and bool(levels)


def share_decimals(row: Mapping[str, Any]) -> int:
    """Say how many decimals of a percentage the Monte Carlo error of its interval allows."""
    errors = [row[name] for name in ("mcse_ci_low", "mcse_ci_high") if not is_absent(row[name])]
    return monte_carlo_decimals(100.0 * max(errors, default=0.0), DECIMALS)


def share_text(row: Mapping[str, Any]) -> str:
    """Write a share with its interval, for example ``3.0 % [1.7, 5.0]``; without the interval where there is none."""
    if row is None or is_absent(row["estimate"]):
        return ABSENT
    estimate, limits = share_cells(row)
    return estimate if limits == ABSENT else f"{estimate} {limits}"


def share_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    """Write a share and its interval as cells of a table."""
    decimals = share_decimals(row)
    estimate = f"{number(100.0 * row['estimate'], decimals)}\N{NO-BREAK SPACE}%"
    if is_absent(row["ci_low"]):
        return estimate, ABSENT
    return estimate, interval(100.0 * row["ci_low"], 100.0 * row["ci_high"], decimals)


def find_share(rows: pd.DataFrame, term: str, level: str | None = None) -> pd.Series | None:
    """Return the row of a measure, of the total variance unless a level is given; None where there is none."""
    of_level = rows[rows["level"].isna()] if level is None else rows[rows["level"] == level]
    return first_row(of_level[of_level["estimate"].notna()], term=term)


def variance_of(level: str | None) -> str:
    """Say which variance shares are of."""
    return "of the total variance" if is_absent(level) else f"of the variance {level_label(level)}"
