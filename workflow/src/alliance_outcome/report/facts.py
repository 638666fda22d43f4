"""What a report knows about its run: results, settings, software, in one typed place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.formatting import is_absent
from alliance_outcome.report.inputs import Results
from alliance_outcome.settings import (
    BayesianSettings,
    DecisionSettings,
    DesignSettings,
    MeasurementErrorSettings,
    ReportSettings,
    SamplerSettings,
    section,
)


@dataclass(frozen=True)
class Facts:
    """Everything that sections draw on.

    Parameters
    ----------
    results : Results
        The finished study.
    figures : dict
        Drawn figures by name.
    settings : ReportSettings
        What the study and its outcome are called.
    study : mapping
        The study file as plain types.
    sampler : SamplerSettings
        How posteriors were sampled.
    seed : int
        The run's seed.
    study_name : str
        Name of the study's folder.
    simulated : bool
        Whether the data are simulated.
    versions : dict
        Software versions by package.
    benchmarks : DataFrame or None
        Columns ``rule, seconds, max_rss_mb``.
    """

    results: Results
    figures: dict[str, Figure]
    settings: ReportSettings
    study: Mapping[str, Any]
    sampler: SamplerSettings
    seed: int
    study_name: str
    simulated: bool
    versions: dict[str, str]
    benchmarks: pd.DataFrame | None

    @cached_property
    def design(self) -> DesignSettings:
        """The study's design settings."""
        return section(self.study, DesignSettings)

    @cached_property
    def priors(self) -> BayesianSettings:
        """The study's priors."""
        return section(self.study, BayesianSettings)

    @cached_property
    def measurement(self) -> MeasurementErrorSettings:
        """What the study file says of the reliability of ratings."""
        return section(self.study, MeasurementErrorSettings)

    @cached_property
    def decision(self) -> DecisionSettings:
        """What turns estimates into an answer."""
        return section(self.study, DecisionSettings)

    @property
    def has_bayesian(self) -> bool:
        """Whether any Bayesian estimate exists."""
        frame = self.results.estimates("bayesian")
        return bool((frame["status"] == "ok").any())

    @property
    def n_therapists(self) -> int | None:
        """Number of therapists; None in a study without therapist identifiers."""
        value = self.results.sample.get("n_therapists")
        return None if is_absent(value) or not value else int(value)

    @property
    def claims_between_therapists(self) -> bool:
        """Whether there are therapists enough for a between-therapist claim."""
        return self.n_therapists is not None and self.n_therapists >= self.decision.min_therapists_for_claim

    def figure(self, name: str) -> Figure | None:
        """Return a figure by name."""
        return self.figures.get(name)
