"""Bayesian multilevel models: one posterior, two samplers.

    model = BayesianMultilevelModel(
        data["severity"], data[["Intercept", "alliance"]],
        groups={"therapist": data["therapist"], "client": data["client"]},
        random={"client": ["Intercept", "alliance"], "therapist": ["Intercept"]},
        priors=Priors(
            intercept_mean=15, intercept_sd=5, effect_sd=2.5, group_sd=4, slope_sd=1, residual_sd=4
        ),
    )
    tree = model.sample(seed=1)

NUTS (nutpie, or PyMC's own) samples the PyMC model with random effects integrated out. The collapsed sampler integrates
the fixed effects out too and samples what is left by independence Metropolis. The two share only the compiled
likelihood, so that their agreement checks sampling and priors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
from numpy.typing import ArrayLike
from xarray import Dataset, DataTree

from alliance_outcome.models.bayesian_priors import (
    PARTIAL_CORRELATION,
    STANDARDISED_SD,
    coordinates,
)
from alliance_outcome.models.collapsed_posterior import CollapsedPosterior
from alliance_outcome.models.collapsed_sampler import (
    CollapsedDraws,
    CollapsedSamplerFailed,
    sample_collapsed,
)
from alliance_outcome.models.marginal_likelihood import MarginalData
from alliance_outcome.models.marginal_model import build_marginal_model, quiet_about_blas
from alliance_outcome.models.posterior_draws import ParameterDraws, replicated_outcomes
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.readable_model import STANDARDISED
from alliance_outcome.models.standardised_design import StandardisedDesign

Sampler = Literal["nutpie", "pymc", "collapsed"]

#: Draws of the prior, and of the prior and posterior predictive distributions, that are kept for checks.
PREDICTIVE_DRAWS = 500
#: Acceptance that NUTS adapts its step size to.
TARGET_ACCEPT = 0.9
#: Endings of the names of variables that no later stage reads.
INTERNAL = (STANDARDISED, STANDARDISED_SD, PARTIAL_CORRELATION)
#: Attributes of a posterior: which sampler drew it, and why another one than was asked for.
SAMPLER, FALLBACK = "sampler", "fallback"


class BayesianMultilevelModel:
    """A Bayesian multilevel model.

    Parameters
    ----------
    outcome : array_like or Series, shape (n_rows,)
    fixed : DataFrame, shape (n_rows, n_terms)
        Fixed-effect columns, ``Intercept`` (ones) first.
    groups : mapping of level to labels, shape (n_rows,)
        Outermost level first; one or two.
    random : mapping of level to names of fixed-effect columns
        What varies between the units of a level; several effects of a level are correlated.
    priors : Priors
        In units of the outcome.
    scales : mapping, optional
        Standard deviation by which each column is divided; columns that are not named are divided by their own.
    residual : {'independent', 'ar1'}
    time : array_like or Series, shape (n_rows,), optional
        Times, which AR(1) residuals need.

    Raises
    ------
    UnfittableModel
        If the data cannot support the model.
    """

    def __init__(
        self,
        outcome: ArrayLike | pd.Series,
        fixed: pd.DataFrame,
        *,
        groups: Mapping[str, Any],
        random: Mapping[str, Sequence[str]],
        priors: Priors,
        scales: Mapping[str, float] | None = None,
        residual: Literal["independent", "ar1"] = "independent",
        time: ArrayLike | pd.Series | None = None,
    ) -> None:
        self.design = StandardisedDesign.of(
            outcome, fixed, groups=groups, random=random, scales=scales or {}, residual=residual, time=time
        )
        self.priors = priors

    @cached_property
    def data(self) -> MarginalData:
        """The Gram matrices of the rows."""
        return MarginalData.of(self.design.rows)

    @cached_property
    def pymc(self) -> pm.Model:
        """The model in PyMC, random effects integrated out."""
        return build_marginal_model(self.design, self.priors, self.data)

    @cached_property
    def compiled(self) -> Any:
        """The model compiled for nutpie."""
        return compiled_for_nutpie(self.pymc)

    def sample(
        self,
        *,
        sampler: Sampler = "nutpie",
        chains: int = 4,
        draws: int = 1000,
        tune: int = 1000,
        seed: int,
        cores: int = 1,
    ) -> DataTree:
        """Sample the posterior.

        Parameters
        ----------
        sampler : {'nutpie', 'pymc', 'collapsed'}
            Implementation of NUTS, or the collapsed sampler.
        chains, draws, tune : int
            Chains, draws kept per chain, and warm-up draws per chain (the collapsed sampler has none).
        seed : int
        cores : int
            Chains, or calls of compiled code, that run at the same time.

        Returns
        -------
        DataTree
            Groups ``posterior`` and ``sample_stats``. The attribute ``sampler`` names the sampler; where the collapsed
            one does not cover the posterior nutpie takes over, and the attribute ``fallback`` says why.

        Notes
        -----
        The same seed gives the same draws of NUTS only for the same compiled code: compare runs within Monte Carlo
        error.
        """
        if sampler == "collapsed":
            try:
                return self._collapsed(chains, draws, seed, cores)
            except CollapsedSamplerFailed as failure:
                tree = self.sample(
                    sampler="nutpie", chains=chains, draws=draws, tune=tune, seed=seed, cores=cores
                )
                tree.attrs[FALLBACK] = str(failure)
                return tree
        if sampler == "nutpie":
            return sample_with_nutpie(
                self.compiled, chains=chains, draws=draws, tune=tune, seed=seed, cores=cores
            )
        return sample_with_pymc(self.pymc, chains=chains, draws=draws, tune=tune, seed=seed, cores=cores)

    def _collapsed(self, chains: int, draws: int, seed: int, cores: int) -> DataTree:
        posterior = CollapsedPosterior(self.design, self.priors, self.data)
        found = sample_collapsed(posterior, chains=chains, draws=draws, seed=seed, threads=cores)
        tree = DataTree.from_dict(
            {
                "posterior": _named(found, posterior),
                "sample_stats": Dataset({"lp": (("chain", "draw"), found.log_density)}),
            }
        )
        tree.attrs |= {
            SAMPLER: "collapsed",
            "pareto_k": found.pareto_k,
            "acceptance": float(found.acceptance.mean()),
        }
        return tree

    def parameters(self, posterior: Dataset) -> ParameterDraws:
        """Return draws as compiled code takes them."""
        return ParameterDraws.of(posterior, self.design)

    def prior(self, draws: int, seed: int) -> Dataset:
        """Draw the parameters from their prior.

        Parameters
        ----------
        draws, seed : int

        Returns
        -------
        Dataset
            Variables and dimensions of a posterior with one chain.
        """
        wanted = [each for each in self.pymc.unobserved_RVs if not each.name.endswith(INTERNAL)]
        with quiet_about_blas():
            # Draws are few: the interpreter is faster than compiling them.
            values = pm.draw(wanted, draws=draws, random_seed=seed, mode="FAST_COMPILE")
        # A single draw comes without a dimension of draws.
        arrays = [np.asarray(each)[None] if draws == 1 else np.asarray(each) for each in values]
        dims = self.pymc.named_vars_to_dims
        found = {
            each.name: (("chain", "draw", *dims.get(each.name, ())), array[None])
            for each, array in zip(wanted, arrays, strict=True)
        }
        return Dataset(found, coords=coordinates(self.design))

    def predictive(self, posterior: Dataset, *, seed: int, prior: bool = False) -> Dataset:
        """Simulate outcomes from draws of the parameters, evenly taken from every chain.

        Parameters
        ----------
        posterior : Dataset
            Draws of the parameters, of the prior too.
        seed : int
        prior : bool
            Whether the draws are of the prior: random effects then are those of new units.

        Returns
        -------
        Dataset
            ``outcome``, dimensions chain, draw and row: at most :data:`PREDICTIVE_DRAWS` draws, rows as passed.
        """
        step = max(1, -(-posterior.sizes["chain"] * posterior.sizes["draw"] // PREDICTIVE_DRAWS))
        thinned = posterior.isel(draw=slice(None, None, step))
        outcomes = replicated_outcomes(
            self.parameters(thinned), self.design, self.data, seed, new_effects=prior
        )
        shape = (thinned.sizes["chain"], thinned.sizes["draw"], -1)
        return Dataset({"outcome": (("chain", "draw", "row"), outcomes.reshape(shape))})


def compiled_for_nutpie(model: pm.Model) -> Any:
    """Compile a PyMC model for nutpie.

    Only what is read later is computed for every draw.
    """
    with quiet_about_blas():
        return nutpie.compile_pymc_model(model, var_names=_kept_names(model))


def _kept_names(model: pm.Model) -> list[str]:
    """Name what later stages read: not clients' and therapists' own effects, nor how a prior is parametrised."""
    names = [each.name for each in model.unobserved_value_vars if each.name in model.named_vars]
    return [
        name for name in names if not name.endswith((STANDARDISED, "__", "_cholesky", "_standardised_sd"))
    ]


def sample_with_nutpie(
    compiled: Any, *, chains: int, draws: int, tune: int, seed: int, cores: int
) -> DataTree:
    """Sample a compiled model; see :meth:`BayesianMultilevelModel.sample`."""
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
    return _tree(tree, "nutpie")


def sample_with_pymc(
    model: pm.Model, *, chains: int, draws: int, tune: int, seed: int, cores: int
) -> DataTree:
    """Sample a PyMC model with PyMC's own NUTS; see :meth:`BayesianMultilevelModel.sample`."""
    with quiet_about_blas(), model:
        tree = pm.sample(
            chains=chains,
            draws=draws,
            tune=tune,
            cores=cores,
            random_seed=seed,
            var_names=_kept_names(model),
            # Without a name PyMC takes nutpie wherever it is installed.
            nuts_sampler="pymc",
            target_accept=TARGET_ACCEPT,
            progressbar=False,
            compute_convergence_checks=False,
        )
    return _tree(tree, "pymc")


def _tree(tree: DataTree, sampler: str) -> DataTree:
    found = DataTree.from_dict(
        {"posterior": tree.posterior.dataset, "sample_stats": tree.sample_stats.dataset}
    )
    found.attrs[SAMPLER] = sampler
    return found


def _named(found: CollapsedDraws, posterior: CollapsedPosterior) -> Dataset:
    """Give draws of the collapsed sampler the names and units of the PyMC model's."""
    design = posterior.design
    chains, draws, k = found.values.shape
    values = found.values.reshape(-1, k)
    coefficients = found.coefficients
    intercept, effect = coefficients[..., 0] + design.outcome_mean, coefficients[..., 1:]
    both = ("chain", "draw")
    variables: dict[str, Any] = {
        "centred_intercept": (both, intercept),
        "effect": ((*both, "predictor"), effect),
        "coefficient": ((*both, "term"), design.raw_coefficients(intercept, effect)),
        "residual_sd": (both, posterior.residual_sd(values).reshape(chains, draws)),
    }
    if design.residual != "independent":
        variables["autocorrelation"] = (both, posterior.autocorrelation(values).reshape(chains, draws))
    for effects, factor in zip((design.unit, design.cluster), posterior.factors(values), strict=True):
        if effects is None:
            continue
        term = f"{effects.level}_term"
        covariance = factor @ np.swapaxes(factor, 1, 2)
        sds = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        shape = (chains, draws, len(effects))
        variables[f"{effects.level}_sd"] = (
            (*both, term),
            (sds / design.effect_scales[effects.level]).reshape(shape),
        )
        if effects.correlated and len(effects) > 1:
            correlation = covariance / (sds[:, :, None] * sds[:, None, :])
            variables[f"{effects.level}_correlation"] = (
                (*both, term, f"{term}_b"),
                correlation.reshape(*shape, len(effects)),
            )
    coords = {"chain": np.arange(chains), "draw": np.arange(draws), **coordinates(design)}
    return Dataset(variables, coords=coords)
