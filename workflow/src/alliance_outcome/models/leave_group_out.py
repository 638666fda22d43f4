"""How well a Bayesian multilevel model predicts clients and therapists that it has not seen.

Leaving out one row of a client would ask how well its other rows predict it. Here whole groups are left out: clients,
predicted from all other clients, those of their therapist among them, or therapists with all their clients. Random
effects are integrated out exactly, so that importance sampling (PSIS-LOO; Vehtari, Gelman & Gabry 2017,
10.1007/s11222-016-9696-4) reweights the few parameters only. Groups for which it fails are left out for real: the
collapsed sampler refits the model to the remaining rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from arviz_stats import compare, loo, reloo
from arviz_stats.loo import SamplingWrapper
from arviz_stats.utils import ELPDDataLOO
from numpy.typing import NDArray
from xarray import DataArray, Dataset, DataTree

from alliance_outcome.models.bayesian import FALLBACK, BayesianMultilevelModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.marginal_likelihood import MarginalData
from alliance_outcome.models.posterior_draws import ParameterDraws, group_log_likelihoods
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.remaining_rows import rows_of_cluster, without_rows
from alliance_outcome.models.row_log_likelihoods import row_log_likelihoods
from alliance_outcome.models.standardised_design import StandardisedDesign
from alliance_outcome.provenance import derive_seed


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of one level, in the order of the sorted rows.

    Parameters
    ----------
    level : str
        Name of the level.
    kind : {'cluster', 'unit', 'row'}
        What a group is in the design.
    starts : ndarray of int, shape (n_groups + 1,)
        First sorted row of each group, and the number of rows.
    clusters : ndarray of int, shape (n_groups,)
        Position of the cluster that each group belongs to; no other rows depend on its own.
    """

    level: str
    kind: Literal["cluster", "unit", "row"]
    starts: IndexArray
    clusters: IndexArray

    def __len__(self) -> int:
        return len(self.clusters)

    @classmethod
    def of(cls, design: StandardisedDesign, level: str) -> Groups:
        """Find the groups of a level: the levels with several rows to a unit, and what the rows are.

        Raises
        ------
        ValueError
            If the design has no such level.
        """
        levels, rows = design.nested.levels, design.rows
        clusters = np.arange(len(rows.cluster_starts) - 1)
        units_of = np.repeat(clusters, np.diff(rows.cluster_starts))
        if levels.cluster is not None and level == levels.cluster.level:
            return cls(level, "cluster", rows.cluster_row_starts, clusters)
        if level == levels.unit.level:
            return cls(level, "unit", rows.unit_starts, units_of)
        if level == levels.innermost:
            rows_of = np.repeat(units_of, np.diff(rows.unit_starts))
            return cls(level, "row", np.arange(len(rows.outcome) + 1), rows_of)
        raise ValueError(f"the model has no level {level}")

    def rows(self, group: int) -> slice:
        """Return which sorted rows a group has."""
        return slice(int(self.starts[group]), int(self.starts[group + 1]))

    def log_likelihoods(self, parameters: ParameterDraws, model: BayesianMultilevelModel) -> FloatArray:
        """Evaluate log p(group | all other rows, parameters), shape (n_draws, n_groups)."""
        if self.kind == "row":
            return row_log_likelihoods(parameters, model.design.rows)
        by_unit, by_cluster = group_log_likelihoods(parameters, model.data)
        return by_cluster if self.kind == "cluster" else by_unit

    def log_likelihood(
        self, group: int, parameters: ParameterDraws, design: StandardisedDesign
    ) -> FloatArray:
        """Evaluate the same for one group, shape (n_draws,), which takes the rows of its cluster only."""
        cluster = self.clusters[group]
        rows = rows_of_cluster(design.rows, cluster)
        position = group - int(np.searchsorted(self.clusters, cluster))
        if self.kind == "row":
            return row_log_likelihoods(parameters, rows)[:, position]
        by_unit, by_cluster = group_log_likelihoods(parameters, MarginalData.of(rows))
        return by_cluster[:, 0] if self.kind == "cluster" else by_unit[:, position]


class RemainingRowsModel(BayesianMultilevelModel):
    """A model of some of the rows, standardised as all rows are.

    Parameters
    ----------
    design : StandardisedDesign
        From :func:`~alliance_outcome.models.remaining_rows.without_rows`.
    priors : Priors
    """

    def __init__(self, design: StandardisedDesign, priors: Priors) -> None:
        self.design, self.priors = design, priors


class GroupRefits(SamplingWrapper):
    """Refits without one group, as ArviZ asks for them.

    Parameters
    ----------
    model : BayesianMultilevelModel
        Of all rows.
    tree : DataTree
        With ``posterior`` and ``log_likelihood``.
    groups : Groups
    seed : int
        Every refit derives its own from it.
    settings : mapping
        Chains, draws, warm-up draws and cores of a refit.
    """

    def __init__(
        self,
        model: BayesianMultilevelModel,
        tree: DataTree,
        groups: Groups,
        seed: int,
        settings: Mapping[str, int],
    ) -> None:
        super().__init__(model, idata_orig=tree, sample_kwargs=dict(settings))
        self.groups, self.seed = groups, seed
        self.refitted: list[int] = []
        self.fallbacks: list[str] = []

    def sel_observations(self, idx: int) -> tuple[int, int]:
        """Name the group twice: the remaining rows are those without it."""
        return int(idx), int(idx)

    def sample(self, modified_observed_data: int) -> DataTree:
        """Sample the posterior given the remaining rows."""
        group = modified_observed_data
        remaining = without_rows(self.model.design, self.groups.rows(group))
        tree = RemainingRowsModel(remaining, self.model.priors).sample(
            sampler="collapsed",
            seed=derive_seed(self.seed, self.groups.level, str(group)),
            **self.sample_kwargs,
        )
        self.refitted.append(group)
        if FALLBACK in tree.attrs:
            self.fallbacks.append(tree.attrs[FALLBACK])
        return tree

    def get_inference_data(self, fitted_model: DataTree) -> DataTree:
        """Return the posterior as it is."""
        return fitted_model

    def log_likelihood__i(self, excluded_obs: int, idata__i: DataTree) -> DataArray:
        """Evaluate log p(group | remaining rows, parameters) for each draw given the remaining rows."""
        posterior = idata__i.posterior.to_dataset()
        parameters = ParameterDraws.of(posterior, self.model.design)
        values = self.groups.log_likelihood(excluded_obs, parameters, self.model.design)
        return _by_chain(values, posterior)


@dataclass(frozen=True, eq=False)
class LeftOutPrediction:
    """Expected log predictive density of the groups of one level, each left out in turn.

    Parameters
    ----------
    level : str
        What was left out.
    elpd : ELPDDataLOO
        ArviZ's result, refits included; ``elpd_i`` by group.
    pareto_k : ndarray, shape (n_groups,)
        k-hat of importance sampling, before any refit.
    threshold : float
        k-hat beyond which groups were refitted.
    refitted : ndarray of int, shape (n_refitted,)
        Groups that were left out for real.
    fallbacks : tuple of str
        Why NUTS refitted instead of the collapsed sampler, for each time it did.
    """

    level: str
    elpd: ELPDDataLOO
    pareto_k: FloatArray
    threshold: float
    refitted: NDArray[np.intp]
    fallbacks: tuple[str, ...]


def leave_out(
    model: BayesianMultilevelModel,
    posterior: Dataset,
    level: str,
    *,
    seed: int,
    tune: int = 1000,
    cores: int = 1,
    threshold: float | None = None,
) -> LeftOutPrediction:
    """Predict each group of a level from all others.

    Parameters
    ----------
    model : BayesianMultilevelModel
        With independent residuals, if the groups are single rows.
    posterior : Dataset
        Draws of its posterior, dimensions chain and draw.
    level : str
        Level of the groups: one with random effects, or what the rows are.
    seed : int
        Of the refits.
    tune, cores : int
        Of the refits; they have as many chains and draws as the posterior.
    threshold : float, optional
        k-hat beyond which a group is left out for real; ArviZ's own by default (Vehtari et al. 2024, arXiv:1507.02646).

    Returns
    -------
    LeftOutPrediction

    Raises
    ------
    ValueError
        If the design has no such level.
    """
    groups = Groups.of(model.design, level)
    values = groups.log_likelihoods(model.parameters(posterior), model)
    likelihood = Dataset({"log_density": _by_chain(values, posterior)})
    tree = DataTree.from_dict({"posterior": posterior, "log_likelihood": likelihood})
    sizes = {"chains": posterior.sizes["chain"], "draws": posterior.sizes["draw"]}
    refits = GroupRefits(model, tree, groups, seed, {**sizes, "tune": tune, "cores": cores})
    with warnings.catch_warnings():
        # What ArviZ warns of is what the refits are for.
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto distribution")
        found = loo(tree, pointwise=True)
    # As large as the likelihoods, and not read again.
    found.log_weights = None
    limit = found.good_k if threshold is None else threshold
    elpd = reloo(refits, loo_orig=found, k_threshold=limit, pointwise=True)
    k = found.pareto_k.to_numpy()
    refitted = np.array(refits.refitted, dtype=np.intp)
    return LeftOutPrediction(level, elpd, k, float(limit), refitted, tuple(refits.fallbacks))


def _by_chain(values: FloatArray, posterior: Dataset) -> DataArray:
    """Give log-likelihoods, shape (n_draws, …), chains and draws; groups are numbered, never labelled."""
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], *values.shape[1:])
    dims = ("chain", "draw", "group")[: len(shape)]
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in zip(dims, shape, strict=True)}
    return DataArray(values.reshape(shape), dims=dims, coords=coords)


def compare_predictions(predictions: Mapping[str, LeftOutPrediction]) -> pd.DataFrame:
    """Compare models by what they predict for the same groups.

    Parameters
    ----------
    predictions : mapping
        By model, of the same groups.

    Returns
    -------
    DataFrame
        Indexed by model, the one with the highest elpd first: ``elpd_diff`` from that one, ``se_diff`` its standard
        error over groups, and ``weight`` in a stack of predictive distributions (Yao et al. 2018, 10.1214/17-BA1091).
    """
    best_of_group = np.max([each.elpd.elpd_i.to_numpy() for each in predictions.values()], axis=0)
    table = compare(
        {name: _relative(each.elpd, best_of_group) for name, each in predictions.items()},
        method="stacking",
        round_to="none",
    )
    return table.rename(columns={"dse": "se_diff"})[["elpd_diff", "se_diff", "weight"]].astype(float)


def _relative(elpd: ELPDDataLOO, best_of_group: FloatArray) -> ELPDDataLOO:
    """Subtract a constant from each group, which moves neither differences nor weights.

    ArviZ takes exponentials for the weights; those of a therapist with hundreds of rows would all be zero.
    """
    by_group = elpd.elpd_i - best_of_group
    return replace(elpd, elpd_i=by_group, elpd=float(by_group.sum()))
