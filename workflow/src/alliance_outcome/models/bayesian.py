"""The multilevel model as a Bayesian one, in PyMC: readable, non-centred, priors in units of the outcome.

    y = X β + (u₀ + Σ_k u_k z_k)_client + v_therapist + e,   u ~ N(0, Σ),   v ~ N(0, τ²),   e ~ N(0, σ²)

Client intercept and slopes are correlated (LKJ prior; Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008).
Random effects are sampled non-centred, as standard normals that are scaled afterwards. Predictors are centred and
divided by a standard deviation of their own level, so that one prior fits them all; ``coefficient`` holds the fixed
effects in raw units again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import ArrayLike, NDArray
from xarray import Dataset, DataTree

#: Draws of the prior, and of the prior and posterior predictive distributions, that are kept for checks.
PREDICTIVE_DRAWS = 500
#: Acceptance that NUTS adapts its step size to: small steps, because a variance near zero makes a narrow funnel.
TARGET_ACCEPT = 0.95
#: Standardised random effects: sampled, but of no use to anybody afterwards.
NUISANCE = ("client_standardised", "therapist_standardised")


@dataclass(frozen=True)
class Priors:
    """Weakly informative priors in units of the outcome.

    Parameters
    ----------
    intercept_mean, intercept_sd : float
        Normal prior of the expected outcome at average predictors.
    effect_sd : float
        Standard deviation of the normal(0, ·) prior of the effect of one standard deviation of a predictor.
    group_sd : float
        Scale of the half-normal priors of the client and therapist intercept standard deviations.
    slope_sd : float
        Scale of the half-normal prior of the standard deviation over clients of the effect of one standard deviation.
    residual_sd : float
        Scale of the half-normal prior of the residual standard deviation.
    lkj_eta : float
        Shape of the LKJ prior; 1 is uniform over correlation matrices, larger values favour small correlations.
    """

    intercept_mean: float
    intercept_sd: float
    effect_sd: float
    group_sd: float
    slope_sd: float
    residual_sd: float
    lkj_eta: float = 2.0


def build_model(
    outcome: pd.Series,
    fixed: pd.DataFrame,
    *,
    client: ArrayLike | None = None,
    therapist: ArrayLike | None = None,
    slopes: Sequence[str] = (),
    scales: Mapping[str, float],
    priors: Priors,
) -> pm.Model:
    """Declare the model.

    Parameters
    ----------
    outcome : Series, shape (rows,)
        The outcome.
    fixed : DataFrame, shape (rows, terms)
        Fixed-effect columns, ``Intercept`` (ones) first.
    client, therapist : array_like of labels, shape (rows,), optional
        Clients nested in therapists; either may be left out (no client level with one row per client).
    slopes : sequence of str
        Columns of `fixed` with a random slope over clients.
    scales : mapping
        Standard deviation by which each column is divided; columns that are not named are divided by their own.
    priors : Priors
        In units of the outcome.

    Returns
    -------
    Model
        With ``coefficient`` (dims ``term``, raw units), ``client_sd`` and ``client_correlation`` (dims
        ``client_term``; standard deviations in raw units), ``therapist_sd`` and ``residual_sd``.
    """
    data = model_data(outcome, fixed, slopes=slopes, scales=scales)
    client_terms = ["Intercept", *slopes]
    coords = {
        "term": list(fixed.columns),
        "predictor": list(fixed.columns[1:]),
        "client_term": client_terms,
        "client_term_b": client_terms,
    }
    with _quiet_about_blas(), pm.Model(coords=coords) as model:
        values = {name: pm.Data(name, array) for name, array in data.items()}
        intercept = pm.Normal("centred_intercept", priors.intercept_mean, priors.intercept_sd)
        effect = pm.Normal("effect", 0.0, priors.effect_sd, dims="predictor")
        expected = intercept + pt.dot(values["predictors"], effect)
        if client is not None:
            expected += _client_effects(client, len(slopes), values, priors)
        if therapist is not None:
            expected += _therapist_effects(therapist, priors)
        residual_sd = pm.HalfNormal("residual_sd", priors.residual_sd)
        pm.Normal("outcome", expected, residual_sd, observed=values["observed_outcome"])
        raw = effect / values["scales"]
        raw_intercept = intercept - pt.dot(values["centres"], raw)
        pm.Deterministic("coefficient", pt.concatenate([raw_intercept[None], raw]), dims="term")
    return model


def model_data(
    outcome: pd.Series, fixed: pd.DataFrame, *, slopes: Sequence[str], scales: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """Centre and scale what the model is fitted to; a compiled model takes the same arrays of another study.

    Parameters
    ----------
    outcome, fixed, slopes, scales
        As in :func:`build_model`.

    Returns
    -------
    dict
        ``observed_outcome``; the standardised ``predictors`` (rows by predictors) with their ``centres`` and
        ``scales``; the ``slope_predictors`` with their ``slope_scales``, scaled but not centred: a random slope is a
        deviation around the client's own mean, which within-client columns have at zero already.
    """
    predictors = fixed.iloc[:, 1:]
    centre = predictors.mean()
    scale = pd.Series({name: scales.get(name, predictors[name].std()) for name in predictors})
    return {
        "observed_outcome": np.asarray(outcome, dtype=float),
        "predictors": ((predictors - centre) / scale).to_numpy(),
        "slope_predictors": (fixed[list(slopes)] / scale[list(slopes)]).to_numpy(),
        "slope_scales": scale[list(slopes)].to_numpy(dtype=float),
        "centres": centre.to_numpy(),
        "scales": scale.to_numpy(dtype=float),
    }


def _client_effects(
    client: ArrayLike, n_slopes: int, values: Mapping[str, pt.TensorVariable], priors: Priors
) -> pt.TensorVariable:
    """Add client intercepts and slopes to the model in context, and return their part of every row."""
    codes, labels = pd.factorize(np.asarray(client))
    standardised = pm.Normal("client_standardised", 0.0, 1.0, shape=(n_slopes + 1, len(labels)))
    if n_slopes == 0:
        sd = pm.HalfNormal("client_intercept_sd", priors.group_sd)
        pm.Deterministic("client_sd", sd[None], dims="client_term")
        return (sd * standardised[0])[codes]
    sds = pm.HalfNormal.dist(np.array([priors.group_sd] + [priors.slope_sd] * n_slopes), shape=n_slopes + 1)
    cholesky, correlation, spread = pm.LKJCholeskyCov(
        "client_cholesky", eta=priors.lkj_eta, n=n_slopes + 1, sd_dist=sds, store_in_trace=False
    )
    raw_spread = pt.concatenate([spread[:1], spread[1:] / values["slope_scales"]])
    pm.Deterministic("client_sd", raw_spread, dims="client_term")
    pm.Deterministic("client_correlation", correlation, dims=("client_term", "client_term_b"))
    effects = pt.dot(cholesky, standardised)
    part = effects[0][codes]
    for position in range(n_slopes):
        part += effects[position + 1][codes] * values["slope_predictors"][:, position]
    return part


def _therapist_effects(therapist: ArrayLike, priors: Priors) -> pt.TensorVariable:
    """Add therapist intercepts to the model in context, and return their part of every row."""
    codes, labels = pd.factorize(np.asarray(therapist))
    sd = pm.HalfNormal("therapist_sd", priors.group_sd)
    standardised = pm.Normal("therapist_standardised", 0.0, 1.0, shape=len(labels))
    return (sd * standardised)[codes]


def sample_posterior(
    model: pm.Model,
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
        Groups ``posterior``, ``sample_stats``, ``observed_data``, ``prior``, ``prior_predictive`` and
        ``posterior_predictive`` (:data:`PREDICTIVE_DRAWS` draws each of the last three).

    Notes
    -----
    The same seed gives the same draws only for the same compiled code: compare runs within Monte Carlo error.
    """
    sampler_seed, prior_seed, predictive_seed = (
        int(each) for each in np.random.SeedSequence(seed).generate_state(3)
    )
    settings = {"chains": chains, "draws": draws, "tune": tune, "cores": cores}
    with _quiet_about_blas():
        if sampler == "nutpie":
            compiled = nutpie.compile_pymc_model(model)
            tree = nutpie.sample(
                compiled,
                **settings,
                seed=sampler_seed,
                target_accept=TARGET_ACCEPT,
                progress_bar=False,
                save_warmup=False,
            )
        else:
            with model:
                tree = pm.sample(
                    **settings,
                    random_seed=sampler_seed,
                    # Without a name PyMC takes nutpie wherever it is installed.
                    nuts_sampler="pymc",
                    target_accept=TARGET_ACCEPT,
                    progressbar=False,
                    compute_convergence_checks=False,
                )
    thinned = tree.posterior.dataset.isel(draw=_thinned(chains, draws))
    # Predictive draws are few: the interpreter is faster than compiling them.
    compile_kwargs = {"mode": "FAST_COMPILE"}
    with _quiet_about_blas(), model:
        prior = pm.sample_prior_predictive(
            PREDICTIVE_DRAWS, random_seed=prior_seed, compile_kwargs=compile_kwargs
        )
        predictive = pm.sample_posterior_predictive(
            thinned, random_seed=predictive_seed, progressbar=False, compile_kwargs=compile_kwargs
        )
    return _kept(tree, prior, predictive)


def _thinned(chains: int, draws: int) -> slice:
    """Choose draws for the posterior predictive distribution, evenly over every chain."""
    step = max(1, -(-chains * draws // PREDICTIVE_DRAWS))
    return slice(None, None, step)


def _kept(tree: DataTree, prior: DataTree, predictive: DataTree) -> DataTree:
    """Keep what later stages read; clients' and therapists' own effects are left out."""

    def without_nuisance(group: DataTree) -> Dataset:
        dataset = group.dataset
        internal = [
            name
            for name in dataset.data_vars
            if name in NUISANCE or "__" in name or name == "client_cholesky"
        ]
        return dataset.drop_vars(internal)

    return DataTree.from_dict(
        {
            "posterior": without_nuisance(tree.posterior),
            "sample_stats": tree.sample_stats.dataset,
            "observed_data": prior.observed_data.dataset,
            "prior": without_nuisance(prior.prior),
            "prior_predictive": prior.prior_predictive.dataset,
            "posterior_predictive": predictive.posterior_predictive.dataset,
        }
    )


@contextmanager
def _quiet_about_blas() -> Iterator[None]:
    """Silence one warning: PyTensor is slow without a BLAS for C code, but the code here is compiled by Numba."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS installation")
        yield
