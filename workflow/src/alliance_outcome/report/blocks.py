"""The pieces that sections are made of; the template knows how each kind looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

from alliance_outcome.report.captions import Caption
from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.inline_svg import inline_svg
from alliance_outcome.report.labels import model_label, raters_in_model
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
        """List the models with this finding and the raters in them; models with the same raters stand together."""
        raters: dict[str, list[str]] = {}
        for model, name in self.where:
            raters.setdefault(model_label(model), []).append(raters_in_model(name))
        models: dict[str, list[str]] = {}
        for model, names in raters.items():
            models.setdefault(", ".join(names), []).append(model)
        return "; ".join(
            f"{'; '.join(same)} ({'each: ' if len(same) > 1 else ''}{names})"
            for names, same in models.items()
        )

    @property
    def symbol(self) -> str:
        """Return the symbol of the state."""
        return {"passed": "✓", "failed": "✗", "not applicable": "○"}[self.state]


@dataclass(frozen=True)
class Badges:
    """The checks of one stage, failed ones first, with a note on what they are where that needs saying."""

    kind: ClassVar[str] = "badges"
    title: str
    badges: tuple[Badge, ...]
    note: str = ""


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
