"""Sampling the joint model of severity and alliance: prior, posterior and their predictive distributions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import nutpie
import pymc as pm
from numpy.typing import NDArray
from nutpie.compile_pymc import CompiledPyMCModel
from xarray import Dataset, DataTree

from alliance_outcome.models.measurement_error_model import INTERNAL, quiet_about_blas
from alliance_outcome.models.measurement_error_predictive import simulate_from_prior, simulate_values
from alliance_outcome.models.multivariate_design import OUTCOME, JointDesign

#: Acceptance that NUTS adapts its step size to.
TARGET_ACCEPT = 0.9

#: Draws of the prior, and of the prior and posterior predictive distributions, that are kept for checks.
PREDICTIVE_DRAWS = 500


def compile_model(model: pm.Model) -> CompiledPyMCModel:
    """Compile the model for nutpie; ``with_data(**cell_data(...))`` of the result takes other values."""
    with quiet_about_blas():
        return nutpie.compile_pymc_model(model)


def draw_posterior(
    compiled: CompiledPyMCModel, *, chains: int, draws: int, tune: int, seed: int, cores: int = 1
) -> DataTree:
    """Sample the posterior of a compiled model by nutpie.

    Parameters
    ----------
    compiled : CompiledPyMCModel
        From :func:`compile_model`.
    chains, draws, tune : int
        Chains, draws kept per chain, and warm-up draws per chain.
    seed : int
        Seed of the sampler.
    cores : int
        Chains that run at the same time.

    Returns
    -------
    DataTree
        Groups ``posterior`` and ``sample_stats``.
    """
    tree = nutpie.sample(
        compiled,
        chains=chains,
        draws=draws,
        tune=tune,
        cores=cores,
        seed=seed,
        target_accept=TARGET_ACCEPT,
        progress_bar=False,
        save_warmup=False,
    )
    return _kept(tree)


def sample_by_pymc(
    model: pm.Model, *, chains: int, draws: int, tune: int, seed: int, cores: int = 1
) -> DataTree:
    """Sample the posterior by PyMC's own NUTS; see :func:`draw_posterior` for the parameters."""
    with quiet_about_blas(), model:
        tree = pm.sample(
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            random_seed=seed,
            # Without a name PyMC takes nutpie wherever it is installed.
            nuts_sampler="pymc",
            target_accept=TARGET_ACCEPT,
            progressbar=False,
            compute_convergence_checks=False,
        )
    return _kept(tree)


def _kept(tree: DataTree) -> DataTree:
    """Keep what is reported."""
    posterior = tree.posterior.dataset
    internal = [name for name in posterior.data_vars if name in INTERNAL or "__" in str(name)]
    return DataTree.from_dict(
        {"posterior": posterior.drop_vars(internal), "sample_stats": tree.sample_stats.dataset}
    )


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
        it is observed (``<variable>_row``, numbered in the user's order).

    Notes
    -----
    The same seed gives the same draws only for the same compiled code: compare runs within Monte Carlo error.
    """
    sampler_seed, prior_seed, predictive_seed = (
        int(each) for each in np.random.SeedSequence(seed).generate_state(3)
    )
    settings = {"chains": chains, "draws": draws, "tune": tune, "seed": sampler_seed, "cores": cores}
    if sampler == "nutpie":
        tree = draw_posterior(compile_model(model), **settings)
    else:
        tree = sample_by_pymc(model, **settings)
    posterior = tree.posterior.dataset
    step = max(1, -(-chains * draws // PREDICTIVE_DRAWS))
    thinned = posterior.isel(draw=slice(None, None, step))
    prior = simulate_from_prior(model, design, PREDICTIVE_DRAWS, prior_seed)
    predicted = simulate_values(design, thinned, predictive_seed, "same")
    return DataTree.from_dict(
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
