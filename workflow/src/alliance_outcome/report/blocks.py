"""The pieces that sections are made of; the template knows how each kind looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pandas as pd
from markupsafe import Markup

from alliance_outcome.report.captions import Caption
from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.formatting import is_absent, number, sentence_case
from alliance_outcome.report.inline_svg import inline_svg
from alliance_outcome.report.labels import (
    model_label,
    name_terms,
    raters_in_model,
    split_model_name,
    stage_label,
    words,
)
from alliance_outcome.report.tables import Table


@dataclass(frozen=True)
class Text:
    """A paragraph; ``lead`` sets it large, ``note`` small."""

    kind: ClassVar[str] = "text"
    text: str
    style: Literal["", "lead", "note"] = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """A list of terms with what they mean; a compact one has both on a line where the page is wide."""

    kind: ClassVar[str] = "terms"
    items: tuple[tuple[str, str], ...]
    style: Literal["", "compact"] = ""


@dataclass(frozen=True)
class Notice:
    """A box that nobody should overlook."""

    kind: ClassVar[str] = "notice"
    title: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class TableBlock:
    """A table in a box of its own that scrolls when the page is narrow."""

    kind: ClassVar[str] = "table"
    table: Table


@dataclass(frozen=True)
class FigureBlock:
    """A figure with its caption, or the reason why it is missing."""

    kind: ClassVar[str] = "figure"
    name: str
    caption: Caption
    alt: str
    svg: Markup | None

    @classmethod
    def of(cls, figure: Figure) -> FigureBlock:
        """Load a figure that was drawn."""
        return cls(figure.name, figure.caption, figure.alt, inline_svg(figure) if figure.drawn else None)


@dataclass(frozen=True)
class FlowStep:
    """One box of the data flow.

    Parameters
    ----------
    text : str
        What the step asks for.
    kept : str
        What was left after it.
    removed : str
        What it took away; empty where nothing can have been taken away.
    harmless : tuple of tuple of str
        Steps after it that took nothing away: what each asks for, and what there was after it.
    """

    text: str
    kept: str
    removed: str
    harmless: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Flow:
    """The data flow as a column of boxes, stage by stage."""

    kind: ClassVar[str] = "flow"
    stages: tuple[tuple[str, tuple[FlowStep, ...]], ...]


@dataclass(frozen=True)
class Badge:
    """A check, or the same finding in several models: its state in a word and a symbol, never in colour alone.

    Parameters
    ----------
    state : {"passed", "failed", "not applicable"}
        The outcome.
    text : str
        What was found.
    detail : str
        Value and limit, where the text does not give them.
    where : tuple of tuple of str
        Model and raters with this finding, one entry per check; empty for a check of no particular model.
    """

    state: Literal["passed", "failed", "not applicable"]
    text: str
    detail: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def n(self) -> int:
        """Return how many checks the badge stands for."""
        return max(1, len(self.where))

    @property
    def places(self) -> str:
        """List the models with this finding, each with the raters in it."""
        raters: dict[str, list[str]] = {}
        for model, name in self.where:
            raters.setdefault(model_label(model), []).append(raters_in_model(name))
        return "; ".join(f"{model} ({', '.join(names)})" for model, names in raters.items())

    @property
    def symbol(self) -> str:
        """Return the symbol of the state."""
        return {"passed": "✓", "failed": "✗", "not applicable": "○"}[self.state]


@dataclass(frozen=True)
class Badges:
    """The checks of one stage, failed ones first."""

    kind: ClassVar[str] = "badges"
    title: str
    badges: tuple[Badge, ...]


Block = Text | Heading | Bullets | Terms | Notice | TableBlock | FigureBlock | Flow | Badges


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Parameters
    ----------
    name : str
        Anchor.
    title : str
        Heading.
    blocks : tuple of Block
        Contents in order.
    """

    name: str
    title: str
    blocks: tuple[Block, ...] = field(default=())


def table_blocks(tables: Sequence[Table]) -> list[TableBlock]:
    """Wrap tables, leaving out those without rows."""
    return [TableBlock(table) for table in tables if table.rows]


_STATES = {"true": "passed", "false": "failed"}


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
        the same finding share a badge.
    """
    groups = []
    for stage, rows in checks.groupby("stage", sort=False):
        merged: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for row in rows.to_dict("records"):
            badge = _badge(row)
            merged.setdefault((badge.state, badge.text, badge.detail), []).extend(badge.where)
        badges = [Badge(*key, tuple(where)) for key, where in merged.items()]
        badges.sort(key=lambda badge: ("failed", "passed", "not applicable").index(badge.state))
        groups.append(Badges(stage_label(stage), tuple(badges)))
    return groups


def _badge(row: dict[str, Any]) -> Badge:
    """Turn one check into a badge."""
    state = "not applicable" if is_absent(row["passed"]) else _STATES[str(row["passed"]).lower()]
    text = words(row["name"]) if is_absent(row["text"]) else row["text"]
    named = split_model_name(text)
    where = () if named is None else (named[:2],)
    statement = sentence_case(name_terms(text if named is None else named[2]))
    return Badge(state, statement, _detail(row, statement), where)


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
