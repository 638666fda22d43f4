"""Put matplotlib's SVG files into a page: unique identifiers, a description, fluid width, the page's colours."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.figure_style import GRID, INK, MUTED, RATER_COLOURS, TRUTH

#: Page variable that replaces each colour of a figure, so that dark pages can lighten it; the colour is the fallback.
COLOUR_VARIABLES = {
    INK: "--figure-ink",
    MUTED: "--figure-muted",
    GRID: "--figure-grid",
    TRUTH: "--figure-truth",
    **{colour: f"--rater-{position}" for position, colour in enumerate(RATER_COLOURS, 1)},
}

_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_OPENING = re.compile(r"<svg\b[^>]*>", re.DOTALL)
_VIEW_BOX = re.compile(r'viewBox="([^"]+)"')


def inline_svg(figure: Figure) -> Markup:
    """Return a figure's SVG as markup for a page.

    Parameters
    ----------
    figure : Figure
        A figure that was drawn.

    Returns
    -------
    Markup
        An ``svg`` element without fixed size, with a title and a description for those who cannot see it. Identifiers
        carry the figure's name, so that several figures fit one page.
    """
    text = _METADATA.sub("", _PROLOGUE.sub("", figure.path.read_text(encoding="utf-8"), count=1))
    text = _prefix_identifiers(text, figure.name)
    for colour, variable in COLOUR_VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable}, {colour})")
    text = text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    opening = _OPENING.search(text)
    view_box = _VIEW_BOX.search(opening.group()).group(1)
    head = (
        f'<svg viewBox="{view_box}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'aria-labelledby="{figure.name}-title {figure.name}-desc">'
        f'<title id="{figure.name}-title">{escape(figure.title)}</title>'
        f'<desc id="{figure.name}-desc">{escape(figure.alt)}</desc>'
    )
    return Markup(head + text[opening.end() :])  # noqa: S704 - matplotlib escaped the texts, the head is escaped above


def _prefix_identifiers(text: str, prefix: str) -> str:
    """Make the identifiers of a figure unique in a page that holds several."""
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    return re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', text)
