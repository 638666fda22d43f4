"""Who samples in this process or in one that stays: the collapsed sampler, brms and bambi."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from alliance_outcome.analyses.bayesian_benchmark.model import (
    PREDICTORS,
    PRIORS,
    Draws,
    Sampled,
    bayesian_model,
    judge,
    sampled,
    standardised,
)
from alliance_outcome.analyses.engine_benchmark.designs import Design, read_data
from alliance_outcome.analyses.engine_benchmark.r_process import NotAvailable, RProcess
from alliance_outcome.models.prior_values import Priors

NUTS, COLLAPSED, BRMS, BAMBI = "NUTS", "collapsed", "brms", "bambi"

BAMBI_FORMULA = "y ~ x + z + w + (1 + x | client) + (1 | therapist)"
#: What effective sample sizes of bambi's posterior are taken of.
BAMBI_PARAMETERS = [
    "Intercept",
    *PREDICTORS,
    "sigma",
    "1|client_sigma",
    "x|client_sigma",
    "1|therapist_sigma",
]


class Contestant(Protocol):
    """Something that samples the benchmark's model.

    Attributes
    ----------
    name : str
    """

    name: str

    def load(self, path: Path, design: Design) -> None:
        """Read and standardise the data."""

    def sample(self, draws: Draws, seed: int, cores: int) -> Sampled:
        """Set the model up, compile where that is needed, and sample."""


class Collapsed:
    """The collapsed sampler of this package: nothing is compiled for a model."""

    name = COLLAPSED

    def load(self, path: Path, design: Design) -> None:  # noqa: ARG002 - the protocol's
        """Read and standardise the data."""
        self._data = standardised(read_data(path))

    def sample(self, draws: Draws, seed: int, cores: int) -> Sampled:
        """Set the model up and sample; the collapsed sampler has no warm-up."""
        gc.collect()
        start = time.perf_counter()
        model = bayesian_model(self._data)
        prepared = time.perf_counter()
        tree = model.sample(
            sampler="collapsed", chains=draws.chains, draws=draws.kept, seed=seed, cores=cores
        )
        return sampled(tree, prepared - start, time.perf_counter() - prepared)


class Brms:
    """R's brms: the model is compiled by Stan once, and then takes any data.

    Parameters
    ----------
    process : RProcess
        Of the script ``benchmark_brms.R``.
    """

    name = BRMS

    def __init__(self, process: RProcess) -> None:
        self._process = process
        self._compiling_seconds: float | None = None

    def load(self, path: Path, design: Design) -> None:
        """Read and standardise the data."""
        self._process.ask("load", path, design.rows)

    def sample(self, draws: Draws, seed: int, cores: int) -> Sampled:
        """Compile at the first call, and sample."""
        if self._compiling_seconds is None:
            priors = {name: value for name, value in asdict(PRIORS).items() if name != "effects"}
            self._compiling_seconds = float(self._process.ask("compile", json.dumps(priors))[0])
        seconds, size, scale_reduction, divergences = self._process.ask(
            "sample", draws.chains, draws.warm_up, draws.kept, cores, seed
        )
        return Sampled(
            self._compiling_seconds, float(seconds), float(size), float(scale_reduction), int(divergences)
        )


class Bambi:
    """The package bambi with its default sampler; it compiles at every call.

    Raises
    ------
    NotAvailable
        If it is not installed: it is a dependency of development only.
    """

    name = BAMBI

    def __init__(self) -> None:
        with _quiet():
            try:
                self._package: Any = importlib.import_module("bambi")
            except ModuleNotFoundError:
                raise NotAvailable("the package bambi is not installed") from None

    def load(self, path: Path, design: Design) -> None:  # noqa: ARG002 - the protocol's
        """Read and standardise the data."""
        self._data = standardised(read_data(path)).astype({"client": "category", "therapist": "category"})

    def sample(self, draws: Draws, seed: int, cores: int) -> Sampled:
        """Compile and sample."""
        gc.collect()
        start = time.perf_counter()
        with _quiet():
            model = self._package.Model(BAMBI_FORMULA, self._data, priors=bambi_priors(self._package, PRIORS))
            tree = model.fit(
                chains=draws.chains,
                tune=draws.warm_up,
                draws=draws.kept,
                cores=cores,
                random_seed=seed,
                progressbar=False,
                compute_convergence_checks=False,
            )
        seconds = time.perf_counter() - start
        sampling = float(tree.posterior.attrs["sampling_time"])
        divergences = int(tree.sample_stats["diverging"].sum())
        return Sampled(
            seconds - sampling, sampling, *judge(tree.posterior.dataset[BAMBI_PARAMETERS]), divergences
        )


def bambi_priors(package: Any, priors: Priors) -> dict[str, Any]:
    """Write priors as bambi's; its intercept, too, is that of centred predictors."""

    def effects(scale: float) -> Any:
        return package.Prior("Normal", mu=0, sigma=package.Prior("HalfNormal", sigma=scale))

    effect = package.Prior("Normal", mu=0, sigma=priors.effect_sd)
    return {
        "Intercept": package.Prior("Normal", mu=priors.intercept_mean, sigma=priors.intercept_sd),
        **dict.fromkeys(PREDICTORS, effect),
        "1|client": effects(priors.group_sd),
        "x|client": effects(priors.slope_sd),
        "1|therapist": effects(priors.group_sd),
        "sigma": package.Prior("HalfNormal", sigma=priors.residual_sd),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence a peer: what it would say is about simulated data, and about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
