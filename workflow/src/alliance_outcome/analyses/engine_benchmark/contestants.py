"""Who is timed: the engine and its peers, each asked for the same thing in its own words.

A timed call is the whole of what a user waits for: from a formula and a table to the fixed effects and their covariance
matrix. Reading data is left out, and so is loading the package. Rubbish is collected beforehand, on all sides.
"""

from __future__ import annotations

import gc
import importlib
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from alliance_outcome.analyses.engine_benchmark.designs import (
    FORMULA,
    GROUPS,
    LME4_FORMULA,
    RANDOM,
    Design,
    read_data,
)
from alliance_outcome.analyses.engine_benchmark.r_process import NotAvailable, RProcess
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

ENGINE, LME4, STATSMODELS, MIXEDLM = "engine", "lme4", "statsmodels", "mixedlm"

#: MixedLM is asked for no more rows than this: beyond, it takes minutes.
MOST_STATSMODELS_ROWS = 24_000


@dataclass(frozen=True)
class Timed:
    """A timed call.

    Parameters
    ----------
    seconds : float
    log_likelihood : float
        Restricted log-likelihood that was reached; NaN where there is none to report.
    """

    seconds: float
    log_likelihood: float = float("nan")


class Contestant(Protocol):
    """Something that fits the benchmark's model.

    Attributes
    ----------
    name : str
    most_rows : float
        It is not asked for more.
    """

    name: str
    most_rows: float

    def load(self, path: Path, design: Design) -> None:
        """Read the data."""

    def fit(self) -> Timed:
        """Fit by restricted maximum likelihood."""


def fit_engine(data: pd.DataFrame) -> MultilevelResult:
    """Make the engine's timed call."""
    model = MultilevelModel.from_formula(FORMULA, data, groups=list(GROUPS), random=RANDOM)
    result = model.fit(reml=True)
    _ = result.params, result.cov_params()
    return result


class Engine:
    """The multilevel engine of this package."""

    name, most_rows = ENGINE, float("inf")

    def load(self, path: Path, design: Design) -> None:  # noqa: ARG002 - the protocol's
        """Read the data."""
        self._data = read_data(path)
        self._result: MultilevelResult | None = None

    def fit(self) -> Timed:
        """Fit by restricted maximum likelihood."""
        gc.collect()
        start = time.perf_counter()
        self._result = fit_engine(self._data)
        return Timed(time.perf_counter() - start, self._result.llf)

    def bootstrap(self, refits: int) -> Timed:
        """Refit the latest fit to so many simulated outcomes."""
        gc.collect()
        start = time.perf_counter()
        self._result.bootstrap(kind="parametric", n=refits, seed=1)
        return Timed(time.perf_counter() - start)


class Lme4:
    """R's lme4 with nloptwrap, without derivatives at the end.

    Parameters
    ----------
    process : RProcess
    """

    name, most_rows = LME4, float("inf")

    def __init__(self, process: RProcess) -> None:
        self._process = process

    def load(self, path: Path, design: Design) -> None:
        """Read the data."""
        self._process.ask("load", path, design.rows)

    def fit(self) -> Timed:
        """Fit by restricted maximum likelihood."""
        return Timed(*map(float, self._process.ask("fit")))

    def bootstrap(self, refits: int, cores: int) -> Timed:
        """Refit the latest fit to so many simulated outcomes, on so many cores."""
        return Timed(float(self._process.ask("bootstrap", refits, cores)[0]))

    def peak_memory(self) -> float:
        """Return the highest resident memory of the R process in MiB; NaN where the system does not tell it."""
        return float(self._process.ask("peak_memory")[0]) / 1024.0


class Statsmodels:
    """MixedLM of statsmodels: it cannot express the covariance of intercepts and slopes, and goes without."""

    name, most_rows = STATSMODELS, MOST_STATSMODELS_ROWS

    def __init__(self) -> None:
        # Loaded late: a process that is to show the engine's own first call has no use for it.
        from statsmodels.regression.mixed_linear_model import MixedLM

        self._model: Any = MixedLM

    def load(self, path: Path, design: Design) -> None:  # noqa: ARG002 - the protocol's
        """Read the data."""
        self._data = read_data(path)

    def fit(self) -> Timed:
        """Fit by restricted maximum likelihood."""
        components = {"intercept": "0 + C(client)", "slope": "0 + C(client):x"}
        gc.collect()
        start = time.perf_counter()
        with warnings.catch_warnings():
            # It warns about its own optimisers; what it reached is reported beside the time.
            warnings.simplefilter("ignore")
            model = self._model.from_formula(
                FORMULA, self._data, groups="therapist", re_formula="1", vc_formula=components
            )
            result = model.fit(reml=True)
            _ = result.fe_params, result.cov_params()
        return Timed(time.perf_counter() - start, float(result.llf))


class Mixedlm:
    """The package mixedlm, which is written after lme4.

    Raises
    ------
    NotAvailable
        If it is not installed: it is a dependency of development only.
    """

    name, most_rows = MIXEDLM, float("inf")

    def __init__(self) -> None:
        try:
            self._package: Any = importlib.import_module("mixedlm")
        except ModuleNotFoundError:
            raise NotAvailable("the package mixedlm is not installed") from None

    def load(self, path: Path, design: Design) -> None:  # noqa: ARG002 - the protocol's
        """Read the data."""
        self._data = read_data(path)

    def fit(self) -> Timed:
        """Fit by restricted maximum likelihood."""
        gc.collect()
        start = time.perf_counter()
        result = self._package.lmer(LME4_FORMULA, self._data, REML=True)
        _ = result.fixef(), result.vcov()
        return Timed(time.perf_counter() - start, float(result.logLik().value))
