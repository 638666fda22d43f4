"""Who takes part: whoever is installed; of the others it is said why not."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from alliance_outcome.analyses.engine_benchmark.contestants import (
    LME4,
    MIXEDLM,
    STATSMODELS,
    Contestant,
    Engine,
    Lme4,
    Mixedlm,
    Statsmodels,
)
from alliance_outcome.analyses.engine_benchmark.r_process import NotAvailable, RProcess


@dataclass(frozen=True)
class LineUp:
    """Who takes part.

    Parameters
    ----------
    engine : Engine
    lme4 : Lme4 or None
    others : list of Contestant
    versions : dict of str
        Of what runs outside this process.
    left_out : list of str
        Who does not take part, or not always, and why.
    """

    engine: Engine
    lme4: Lme4 | None
    others: list[Contestant]
    versions: dict[str, str]
    left_out: list[str]

    @classmethod
    def gather(cls, script: Path, processes: contextlib.ExitStack) -> LineUp:
        """Start whoever is installed; `processes` ends R."""
        left_out, versions, others = [], {}, []
        lme4 = None
        try:
            process = processes.enter_context(RProcess(script))
            lme4, versions = Lme4(process), process.versions
        except NotAvailable as reason:
            left_out.append(f"{LME4}: {reason}")
        statsmodels = Statsmodels()
        others.append(statsmodels)
        left_out.append(
            f"{STATSMODELS}: beyond {statsmodels.most_rows:,} rows, where it takes minutes; and the covariance of "
            "intercepts and slopes, which it cannot express at two levels"
        )
        try:
            others.append(Mixedlm())
        except NotAvailable as reason:
            left_out.append(f"{MIXEDLM}: {reason}")
        return cls(Engine(), lme4, others, versions, left_out)

    @property
    def all(self) -> list[Contestant]:
        """Everybody, in the order in which they run."""
        return [self.engine, *([self.lme4] if self.lme4 else []), *self.others]
