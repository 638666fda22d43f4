"""What the calibration study simulates: sizes, priors, seed, and how many studies.

Everything here was fixed before the first run.

Simulation-based calibration draws parameters from the priors, data from the parameters, and ranks each parameter among
draws of its posterior; ranks are uniform if prior, likelihood and sampler belong together (Talts et al. 2018,
arXiv:1804.06788). Its priors are tighter than those of a study, so that simulated data look like data. Coverage of D is
counted at fixed true values instead, under the priors that a study has: the values of the coverage study of the
multilevel engine, and the same simulated studies.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from alliance_outcome.analyses.coverage.designs import parameters_digest as coverage_digest
from alliance_outcome.models.prior_values import Priors

#: Never changed after a result has been seen.
SEED = 40917

#: Error probability of all judged cells of a table together, if every posterior is exact.
FAMILY_ERROR = 0.01

#: Priors of simulation-based calibration, in CORE-10 points.
PRIORS = Priors(
    intercept_mean=15.0, intercept_sd=5.0, effect_sd=1.5, group_sd=2.5, slope_sd=1.0, residual_sd=3.0
)


@dataclass(frozen=True)
class RankDesign:
    """Data sets whose parameters come from the prior, for the multilevel model.

    Parameters
    ----------
    name : str
        Name in paths.
    analysis : {'hybrid', 'early'}
        Whose predictors the rows have.
    residual : {'independent', 'ar1'}
    therapists : int
        Predictors are those of the first simulated study of the coverage study's kind with so many therapists.
    simulations, chunk : int
        Data sets, and how many of them make a job.
    """

    name: str
    analysis: str
    residual: str
    therapists: int
    simulations: int
    chunk: int


@dataclass(frozen=True)
class MeasurementErrorDesign:
    """Data sets whose parameters come from the prior, for the joint model of severity and alliance.

    Parameters
    ----------
    name : str
        Name in paths.
    therapists, clients, sessions : int
        Therapists, clients of each and sessions of each client.
    missing : float
        Share of values that are missing, of severity and of each rating.
    known_reliability : float
        Of the client's ratings within and between clients.
    uncertain_reliability : tuple of float
        Mean and standard deviation of what is known of the therapist's, likewise.
    simulations, chunk : int
        Data sets, and how many of them make a job.
    """

    name: str
    therapists: int
    clients: int
    sessions: int
    missing: float
    known_reliability: float
    uncertain_reliability: tuple[float, float]
    simulations: int
    chunk: int


@dataclass(frozen=True)
class DifferenceDesign:
    """Studies with fixed true values, for the coverage of D.

    Parameters
    ----------
    name : str
        Name in paths.
    therapists, simulations, chunk : int
        Therapists of a study, studies, and how many of them make a job.
    """

    name: str
    therapists: int
    simulations: int
    chunk: int


MULTILEVEL_RANKS = (
    RankDesign("hybrid", "hybrid", "independent", therapists=12, simulations=600, chunk=150),
    RankDesign("early", "early", "independent", therapists=12, simulations=600, chunk=150),
    RankDesign("autoregressive", "hybrid", "ar1", therapists=8, simulations=500, chunk=125),
)
JOINT_RANKS = MeasurementErrorDesign(
    "measurement_error",
    therapists=10,
    clients=4,
    sessions=6,
    missing=0.15,
    known_reliability=0.85,
    uncertain_reliability=(0.7, 0.1),
    simulations=500,
    chunk=125,
)
DIFFERENCES = (
    DifferenceDesign("difference_15_therapists", therapists=15, simulations=2_000, chunk=250),
    DifferenceDesign("difference_30_therapists", therapists=30, simulations=2_000, chunk=250),
)

Design = RankDesign | MeasurementErrorDesign | DifferenceDesign
DESIGNS: dict[str, Design] = {
    design.name: design for design in (*MULTILEVEL_RANKS, JOINT_RANKS, *DIFFERENCES)
}

#: Chains and draws of a posterior; for ranks every so many draws are kept, which leaves them nearly independent.
CHAINS, RANK_DRAWS, KEEP_EVERY = 4, 500, 10
INTERVAL_DRAWS = 1_000
#: Warm-up of NUTS, where it samples.
WARM_UP = 400


def chunks(design: Design) -> list[range]:
    """List the numbers of the simulations of each job."""
    starts = range(0, design.simulations, design.chunk)
    return [range(start, min(start + design.chunk, design.simulations)) for start in starts]


def result_files(*, ranks: bool) -> list[str]:
    """List the files of all jobs that rank true values, or of those that compute intervals."""
    return [
        f"results/calibration/{name}/{numbers[0]}-{numbers[-1]}.parquet"
        for name, design in DESIGNS.items()
        if ranks != isinstance(design, DifferenceDesign)
        for numbers in chunks(design)
    ]


def parameters_digest() -> str:
    """Digest seed, sizes and priors, so that a stored table is known to belong to them."""
    content = {
        "seed": SEED,
        "family_error": FAMILY_ERROR,
        "priors": asdict(PRIORS),
        "designs": {name: asdict(design) for name, design in DESIGNS.items()},
        "draws": (CHAINS, RANK_DRAWS, KEEP_EVERY, INTERVAL_DRAWS, WARM_UP),
        "true_values": coverage_digest(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
