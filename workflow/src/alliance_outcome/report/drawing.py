"""What a figure module hands over: a canvas with words for those who cannot see it, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True)
class Drawing:
    """A drawn figure.

    Parameters
    ----------
    canvas : matplotlib Figure or None
        None where there is nothing to draw.
    alt : str
        The figure in words, with its main numbers; where there is no canvas, the reason.
    detail : str
        What the run adds to the caption's "how it was made".
    """

    canvas: Canvas | None
    alt: str
    detail: str = ""

    @classmethod
    def nothing(cls, reason: str) -> Drawing:
        """Say why there is no figure."""
        return cls(None, reason)
