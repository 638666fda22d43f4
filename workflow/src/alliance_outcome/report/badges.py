"""Checks as badges: models with the same finding share one, with the range of its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from alliance_outcome.report.blocks import Badge, Badges
from alliance_outcome.report.formatting import is_absent, number, plain_number, sentence_case
from alliance_outcome.report.labels import (
    STAGE_NOTES,
    name_terms,
    split_model_name,
    stage_label,
    words,
)

State = Literal["passed", "failed", "not applicable"]

_STATES: dict[str, State] = {"true": "passed", "false": "failed"}
_ORDER: tuple[State, ...] = ("failed", "passed", "not applicable")
#: Names that keep their small letter at the start of a sentence.
_NAMES = ("statsmodels",)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


def badge_groups(checks: pd.DataFrame) -> list[Badges]:
    """Turn checks into badges, one group per stage.

    Parameters
    ----------
    checks : DataFrame
        Columns ``stage, name, passed, value, limit, text``; an empty ``passed`` means not applicable.

    Returns
    -------
    list of Badges
        In the order in which stages appear; within a stage failed checks come first, and checks of several models with
        the same finding share a badge. Findings that did not fail are the same if they differ in numbers alone; their
        badge has the range of each number.
    """
    return [
        Badges(
            stage_label(stage),
            _merged([_badge(row) for row in rows.to_dict("records")]),
            STAGE_NOTES.get(stage, ""),
        )
        for stage, rows in checks.groupby("stage", sort=False)
    ]


def _merged(badges: Sequence[Badge]) -> tuple[Badge, ...]:
    """Merge badges with the same finding, failed ones first."""
    same: dict[tuple[str, ...], list[Badge]] = {}
    for badge in badges:
        text = badge.text if badge.state == "failed" else _NUMBER.sub("#", badge.text)
        same.setdefault((badge.state, text, badge.detail), []).append(badge)
    merged = [
        Badge(
            found[0].state,
            _polished([badge.text for badge in found]),
            found[0].detail,
            tuple(place for badge in found for place in badge.where),
        )
        for found in same.values()
    ]
    return tuple(sorted(merged, key=lambda badge: _ORDER.index(badge.state)))


def _polished(texts: Sequence[str]) -> str:
    """Write texts that differ in numbers alone as one, each number with its range and as readers know it."""
    numbers = iter(list(zip(*(_NUMBER.findall(text) for text in texts), strict=True)))
    return _NUMBER.sub(lambda _: _range(next(numbers)), texts[0])


def _range(numbers: Sequence[str]) -> str:
    """Write the smallest and the largest of some numbers, or the one that they all are."""
    ordered = sorted(dict.fromkeys(numbers), key=lambda text: float(text.replace(",", "")))
    low, high = plain_number(ordered[0]), plain_number(ordered[-1])
    return low if low == high else f"{low} to {high}"


def _badge(row: dict[str, Any]) -> Badge:
    """Turn one check into a badge."""
    state = "not applicable" if is_absent(row["passed"]) else _STATES[str(row["passed"]).lower()]
    text = words(row["name"]) if is_absent(row["text"]) else row["text"]
    named = split_model_name(text)
    where = () if named is None else (named[:2],)
    statement = name_terms(text if named is None else named[2])
    if not statement.startswith(_NAMES):
        statement = sentence_case(statement)
    return Badge(state, statement, "" if state == "not applicable" else _detail(row, statement), where)


def _detail(row: dict[str, Any], statement: str) -> str:
    """Give value and limit of a check whose statement has no number of its own; counts speak for themselves."""
    if any(character.isdigit() for character in statement) or _is_count(row["value"]):
        return ""
    return ", ".join(f"{name} {_value(row[name])}" for name in ("value", "limit") if not is_absent(row[name]))


def _is_count(text: str) -> bool:
    """Say whether a value of a check is a whole number."""
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _value(text: str) -> str:
    """Write a value or limit of a check: numbers rounded, anything else as it is."""
    try:
        value = float(text)
    except ValueError:
        return str(text)
    return number(value, 0 if value.is_integer() else 3)
