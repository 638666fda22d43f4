"""Simulation-based calibration of the joint model of severity and alliance, sampled by NUTS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats import rhat
from xarray import Dataset

from alliance_outcome.analyses.calibration.designs import (
    CHAINS,
    JOINT_RANKS,
    KEEP_EVERY,
    RANK_DRAWS,
    SEED,
    WARM_UP,
)
from alliance_outcome.analyses.calibration.ranks import flat_quantities, rank_rows, tabulated_ranks
from alliance_outcome.design.levels import BETWEEN_CLIENT, BETWEEN_THERAPIST, WITHIN_CLIENT
from alliance_outcome.models.bayesian import SAMPLER, compiled_for_nutpie, sample_with_nutpie
from alliance_outcome.models.measurement_error_model import INTERNAL, build_model, cell_data
from alliance_outcome.models.measurement_error_predictive import simulate_from_prior
from alliance_outcome.models.measurement_error_priors import MeasurementErrorPriors, Reliability
from alliance_outcome.models.multivariate_design import JointDesign, JointSpecification, joint_design

#: In points of CORE-10 and of WAI-S.
PRIORS = MeasurementErrorPriors(
    outcome_mean=15.0,
    outcome_mean_sd=4.0,
    outcome_effect_sd=1.5,
    slope_sd=1.5,
    outcome_sd=3.0,
    alliance_mean=5.0,
    alliance_mean_sd=0.7,
    alliance_effect_sd=0.3,
    alliance_sd=0.7,
)
SPECIFICATION = JointSpecification(
    outcome="severity",
    raters={"client": "alliance_client", "therapist": "alliance_therapist"},
    levels={WITHIN_CLIENT: None, BETWEEN_CLIENT: "client", BETWEEN_THERAPIST: "therapist"},
    outcome_covariates=("log_session",),
)


def reliability() -> dict[tuple[str, str], Reliability]:
    """Return what is known of each rater's reliability: a number, or a distribution."""
    known = Reliability(known=JOINT_RANKS.known_reliability)
    uncertain = Reliability.of_moments(*JOINT_RANKS.uncertain_reliability)
    levels = (WITHIN_CLIENT, BETWEEN_CLIENT)
    return {
        (level, rater): each
        for level in levels
        for rater, each in (("client", known), ("therapist", uncertain))
    }


def design_rows() -> JointDesign:
    """Return the design: covariates, groups and which values are missing; its values are of no account."""
    sizes = JOINT_RANKS
    rng = np.random.default_rng([SEED, 1_000_003])
    client = np.repeat(np.arange(sizes.therapists * sizes.clients), sizes.sessions)
    session = np.tile(np.arange(1, sizes.sessions + 1), sizes.therapists * sizes.clients)
    table = pd.DataFrame(
        rng.standard_normal((len(client), 3)), columns=[SPECIFICATION.outcome, *SPECIFICATION.raters.values()]
    )
    table = table.mask(rng.random(table.shape) < sizes.missing)
    return joint_design(
        table.assign(client=client, therapist=client // sizes.clients, log_session=np.log(session)),
        SPECIFICATION,
    )


def joint_ranks(simulations: Iterable[int]) -> pd.DataFrame:
    """Rank true values in simulated data sets.

    Parameters
    ----------
    simulations : iterable of int
        Numbers of the data sets; each has random numbers of its own.

    Returns
    -------
    DataFrame
        As :func:`~alliance_outcome.analyses.calibration.multilevel_ranks.multilevel_ranks` returns; the model is
        compiled once.
    """
    design = design_rows()
    model = build_model(design, PRIORS, reliability())
    compiled = compiled_for_nutpie(model)
    found = []
    for number in simulations:
        seeds = [int(each) for each in np.random.SeedSequence([SEED, number]).generate_state(2)]
        simulated = simulate_from_prior(model, design, 1, seeds[0])
        tree = sample_with_nutpie(
            compiled.with_data(**cell_data(design.with_values(simulated.values[0]))),
            chains=CHAINS,
            draws=RANK_DRAWS,
            tune=WARM_UP,
            cores=1,
            seed=seeds[1],
        )
        posterior = tree.posterior.dataset
        truth = {name: float(values[0]) for name, values in _quantities(simulated.parameters).items()}
        facts: dict[str, Any] = {
            "design": JOINT_RANKS.name,
            "simulation": number,
            "sampler": tree.attrs[SAMPLER],
            "largest_r_hat": float(rhat(posterior["standardised_slope"]).max()),
        }
        draws = _quantities(posterior.isel(draw=slice(None, None, KEEP_EVERY)))
        found += [facts | row for row in rank_rows(truth, draws)]
    return tabulated_ranks(found)


def _quantities(draws: Dataset) -> dict[str, np.ndarray]:
    return flat_quantities(draws.drop_vars([name for name in INTERNAL if name in draws]))
