"""What every row of a study's estimates has in common, written by the design stage and read by the analyses."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Raters whose contrast is the question; others follow in the order of the study file.
LEADING_RATERS = ("client", "therapist")


@dataclass(frozen=True)
class AnalysisContext:
    """Facts of a study that its estimates state.

    Parameters
    ----------
    study : str
        Name of the study.
    outcome : str
        Session-table column of the primary outcome.
    outcome_rater : str
        Who rated it.
    unit : str
        Unit of the outcome.
    raters : tuple of str
        Raters of alliance, the client and the therapist first.
    has_therapists : bool
        Whether the study has therapist ids.
    lag_unit : str
        Unit of a lag.
    timing : dict
        ``before`` or ``after`` by session-table column.
    timing_sentences : tuple of str
        The resolved pairs in words.
    commensurate : bool
        Whether all raters used the same form, range and scoring.
    trend, hybrid_covariates, early_covariates : tuple of str
        Columns of the models.
    early_outcome : str
        ``end``, ``follow_up`` or ``fixed_session``.
    early_fixed_session : int or None
        The session for ``fixed_session``.
    adjustment : str
        What the models adjust for, in words.
    warnings : tuple of str
        What a reader must know about timing.
    """

    study: str
    outcome: str
    outcome_rater: str
    unit: str
    raters: tuple[str, ...]
    has_therapists: bool
    lag_unit: str
    timing: dict[str, str]
    timing_sentences: tuple[str, ...]
    commensurate: bool
    trend: tuple[str, ...]
    hybrid_covariates: tuple[str, ...]
    early_covariates: tuple[str, ...]
    early_outcome: str
    early_fixed_session: int | None
    adjustment: str
    warnings: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the context as JSON."""
        path.write_text(
            json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, path: Path) -> AnalysisContext:
        """Read a context that :meth:`write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        )

    def common_fields(self, analysis: str) -> dict[str, Any]:
        """Return the columns of an estimates table that do not vary within an analysis."""
        early = analysis == "early"
        return {
            "study": self.study,
            "analysis": analysis,
            "means": "manifest",
            "outcome": self.outcome,
            "outcome_rater": self.outcome_rater,
            "scale": "total",
            "lag": None if early else 1,
            "lag_unit": None if early else self.lag_unit,
            "timing": "; ".join(f"{name} {when}" for name, when in sorted(self.timing.items())),
            "adjustment": self.adjustment,
            "detrended": "none",
            "reliability_corrected": False,
            "missing_method": "rows complete for all raters; likelihood-based (MAR)",
        }


@dataclass(frozen=True)
class StudyAnalysis:
    """One analysis of a study: what all its rows state, and how many therapists a claim about them takes.

    Parameters
    ----------
    context : AnalysisContext
        Facts of the study.
    name : {'multilevel', 'early'}
        Name of the analysis.
    min_therapists : int
        With fewer therapists no between-therapist claim is made.
    """

    context: AnalysisContext
    name: str
    min_therapists: int


def order_raters(raters: list[str]) -> tuple[str, ...]:
    """Put the client and the therapist first and keep the study file's order of the others."""
    leading = [rater for rater in LEADING_RATERS if rater in raters]
    return tuple(leading + [rater for rater in raters if rater not in LEADING_RATERS])


def sample_fields(rows: Any, *, client_rows: bool) -> dict[str, int | None]:
    """Count sessions, clients and therapists behind an estimate; rows that are clients have no session count."""
    therapists = int(rows["therapist"].nunique())
    return {
        "n_sessions": None if client_rows else len(rows),
        "n_clients": int(rows["client"].nunique()),
        "n_therapists": therapists or None,
    }
