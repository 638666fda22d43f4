"""Sampling the joint model of severity and alliance: prior, posterior and their predictive distributions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from xarray import Dataset, DataTree

from alliance_outcome.models.bayesian import (
    PREDICTIVE_DRAWS,
    compiled_for_nutpie,
    sample_with_nutpie,
    sample_with_pymc,
)
from alliance_outcome.models.measurement_error_model import INTERNAL
from alliance_outcome.models.measurement_error_predictive import simulate_from_prior, simulate_values
from alliance_outcome.models.multivariate_design import OUTCOME, JointDesign


def sample_posterior(
    model: pm.Model,
    design: JointDesign,
    *,
    chains: int,
    draws: int,
    tune: int,
    seed: int,
    sampler: Literal["nutpie", "pymc"] = "nutpie",
    cores: int = 1,
) -> DataTree:
    """Sample prior, posterior and their predictive distributions.

    Parameters
    ----------
    model : Model
        From :func:`build_model`.
    design : JointDesign
        The design the model was built from.
    chains, draws, tune : int
        Chains, draws kept per chain, and warm-up draws per chain.
    seed : int
        Seed of every random step here.
    sampler : {'nutpie', 'pymc'}
        NUTS implementation.
    cores : int
        Chains that run at the same time.

    Returns
    -------
    DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data``, ``prior``, ``prior_predictive`` (new clients and
        therapists) and ``posterior_predictive`` (those of the data), about :data:`PREDICTIVE_DRAWS` draws each of the
        last three. Observed and predictive data hold ``outcome`` and ``alliance_<rater>``, each over the rows in which
        it is observed (``<variable>_row``, numbered in the user's order). The attribute ``sampler`` names the sampler.

    Notes
    -----
    The same seed gives the same draws only for the same compiled code: compare runs within Monte Carlo error.
    """
    sampler_seed, prior_seed, predictive_seed = (
        int(each) for each in np.random.SeedSequence(seed).generate_state(3)
    )
    settings = {"chains": chains, "draws": draws, "tune": tune, "seed": sampler_seed, "cores": cores}
    if sampler == "nutpie":
        tree = sample_with_nutpie(compiled_for_nutpie(model), **settings)
    else:
        tree = sample_with_pymc(model, **settings)
    posterior = tree.posterior.dataset.drop_vars(list(INTERNAL), errors="ignore")
    step = max(1, -(-chains * draws // PREDICTIVE_DRAWS))
    thinned = posterior.isel(draw=slice(None, None, step))
    prior = simulate_from_prior(model, design, PREDICTIVE_DRAWS, prior_seed)
    predicted = simulate_values(design, thinned, predictive_seed, "same")
    found = DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": tree.sample_stats.dataset,
            "observed_data": _observed_dataset(design, design.values),
            "prior": prior.parameters,
            "prior_predictive": _observed_dataset(design, prior.values[None]),
            "posterior_predictive": _observed_dataset(
                design, predicted.reshape(chains, -1, *design.values.shape)
            ),
        }
    )
    found.attrs |= tree.attrs
    return found


def _observed_dataset(design: JointDesign, values: NDArray[np.float64]) -> Dataset:
    """Put values, shape (…, n_rows, d) after chains and draws, by variable and without the missing ones."""
    leading = ("chain", "draw")[: values.ndim - 2]
    arrays, coords = {}, {}
    for position, variable in enumerate(design.specification.variables):
        name = variable if variable == OUTCOME else f"alliance_{variable}"
        rows = np.flatnonzero(design.observed[:, position])
        arrays[name] = ((*leading, f"{name}_row"), values[..., rows, position])
        coords[f"{name}_row"] = rows
    return Dataset(arrays, coords=coords)
