"""The posterior of a cross-lagged panel model, by NUTS on the likelihood of maximum likelihood.

Therapists may have expected values of their own: what the clients of one have in common, for each variable, in all
waves. Coordinates are whitened by the information at the maximum, so that the sampler meets a posterior that is nearly
spherical.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from scipy import linalg
from xarray import DataTree

from alliance_outcome.models.bayesian import compiled_for_nutpie, sample_with_nutpie
from alliance_outcome.models.diagnostics import convergence_checks, summarise
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_coordinates import Coordinates, CovarianceBlock, factor_of
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_density import log_likelihood
from alliance_outcome.models.panel_fit import observed_information_of
from alliance_outcome.models.panel_result import PanelResult

#: Step of the differences behind whitening, and standard deviations of therapists to start from, as shares of the
#: scale.
_STEP, _THERAPIST_START = 1e-5, 0.2


@dataclass(frozen=True)
class PanelPriors:
    """Weakly informative priors, in units of standard deviations of the data.

    Parameters
    ----------
    path_sd : float
        Standard deviation of the normal(0, ·) priors of paths, in standard deviations within clients.
    mean_sd : float
        Of the normal priors of expected values about the mean of a variable, in its standard deviations.
    spread : float
        Scale of the half-normal priors of standard deviations: of intercepts, and of trends over all waves, in standard
        deviations of the variable; of what varies within clients in those within clients.
    lkj_eta : float
        Shape of the LKJ priors of correlations (Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008).
    """

    path_sd: float = 0.5
    mean_sd: float = 5.0
    spread: float = 2.0
    lkj_eta: float = 2.0


@dataclass(frozen=True, eq=False)
class PanelPosterior:
    """Draws from the posterior.

    Parameters
    ----------
    result : PanelResult
        The model at its maximum.
    parameters : ndarray, shape (chains, draws, n_parameters)
    therapist_sd : ndarray, shape (chains, draws, n_variables), or None
        Standard deviations of therapists' expected values; None without therapists.
    tree : DataTree
        What the sampler says of itself.
    """

    result: PanelResult
    parameters: FloatArray
    therapist_sd: FloatArray | None
    tree: DataTree

    def draws(self, label: str) -> FloatArray:
        """Return draws of a parameter, shape (chains, draws)."""
        return self.parameters[..., self.result.structure.labels.index(label)]

    @cached_property
    def within_sd(self) -> dict[str, FloatArray]:
        """Draws of latent standard deviations within clients, over the waves that predict, by variable."""
        chains, draws, k = self.parameters.shape
        rows = [self.result.latent_sd(each) for each in self.parameters.reshape(-1, k)]
        return {name: np.array([row[name] for row in rows]).reshape(chains, draws) for name in rows[0]}

    def effect(self, rater: str, lag: int = 1) -> FloatArray:
        """Return draws of a rater's path to the outcome, per standard deviation within clients.

        Parameters
        ----------
        rater : str
        lag : int

        Returns
        -------
        ndarray, shape (chains, draws)
            With the standard deviation of each draw.
        """
        description = self.result.description
        column = description.raters[rater]
        weights = self.result.path_weights(description.outcome, column, lag)
        return sum(weight * self.draws(label) for label, weight in weights.items()) * self.within_sd[column]

    def difference(self, first: str, second: str, lag: int = 1) -> FloatArray:
        """Return draws of D, the first rater's effect less the second's, shape (chains, draws)."""
        return self.effect(first, lag) - self.effect(second, lag)

    def summary(self) -> pd.DataFrame:
        """Summarise parameters, effects of raters and differences of the first rater and the others.

        Returns
        -------
        DataFrame
            The columns of :func:`~alliance_outcome.models.diagnostics.summarise` by quantity.
        """
        raters = list(self.result.description.raters)
        found = {label: self.draws(label) for label in self.result.structure.labels}
        found |= {f"effect of {rater}": self.effect(rater) for rater in raters}
        found |= {f"{raters[0]} − {other}": self.difference(raters[0], other) for other in raters[1:]}
        return pd.DataFrame({name: summarise(values) for name, values in found.items()}).T

    def checks(self) -> list[dict[str, Any]]:
        """Check convergence of everything that :meth:`summary` has."""
        return convergence_checks(self.summary().to_dict("index"), self.tree)


def sample_panel(
    result: PanelResult,
    *,
    priors: PanelPriors | None = None,
    chains: int = 4,
    draws: int = 1000,
    tune: int = 500,
    seed: int,
    cores: int = 1,
) -> PanelPosterior:
    """Sample the posterior of a cross-lagged model.

    Parameters
    ----------
    result : PanelResult
        The model at its maximum; of a model with clusters, therapists have expected values of their own.
    priors : PanelPriors, optional
    chains, draws, tune : int
        Chains, draws kept of each, and warm-up draws of each.
    seed : int
    cores : int
        Chains that run at the same time.

    Returns
    -------
    PanelPosterior

    Raises
    ------
    ValueError
        If the model is not a cross-lagged one.
    """
    if result.description.latent is None:
        raise ValueError(
            "only cross-lagged models are sampled: the dynamic one has no priors for what it takes as given"
        )
    priors = priors or PanelPriors()
    coordinates = coordinates_of(result, priors)
    therapists = Therapists.of(result, priors)
    model, parameters = build_model(result, coordinates, therapists)
    tree = sample_with_nutpie(
        compiled_for_nutpie(model), chains=chains, draws=draws, tune=tune, seed=seed, cores=cores
    )
    posterior = tree.posterior.dataset
    spread = None if therapists is None else posterior["therapist_sd"].to_numpy()
    return PanelPosterior(result, posterior[parameters].to_numpy(), spread, tree)


# -- Priors ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spreads:
    """Means and standard deviations of the data, by number of the variable.

    Parameters
    ----------
    mean, total, within : ndarray, shape (n_variables,)
        Mean, and standard deviation over everything and within clients.
    """

    mean: FloatArray
    total: FloatArray
    within: FloatArray

    @classmethod
    def of(cls, result: PanelResult) -> Spreads:
        """Describe the data of a fit."""
        numbers = result.rows.places[:, 1]
        own = [result.rows.values[:, numbers == number] for number in range(numbers.max() + 1)]
        names = [result.description.outcome, *result.description.raters.values()]
        return cls(
            np.array([np.nanmean(each) for each in own]),
            np.array([np.nanstd(each) for each in own]),
            np.array([result.description.within_sd[name] for name in names]),
        )


def coordinates_of(result: PanelResult, priors: PanelPriors) -> Coordinates:
    """Give a model's parameters coordinates and priors.

    Parameters
    ----------
    result : PanelResult
        Of a cross-lagged model.
    priors : PanelPriors

    Returns
    -------
    Coordinates
    """
    structure, spreads = result.structure, Spreads.of(result)
    n = len(spreads.mean)
    normal: dict[str, tuple[float, float]] = {}
    for entry in structure.entries:
        if entry.label is None or entry.label in normal:
            continue
        row, column = entry.row % n, entry.column % n
        if entry.part == "mean":
            normal[entry.label] = (float(spreads.mean[row]), float(priors.mean_sd * spreads.total[row]))
        elif entry.part == "path":
            unit = spreads.within[row] / spreads.within[column]
            normal[entry.label] = (0.0, float(priors.path_sd * unit))
    return Coordinates(structure, normal, tuple(_blocks(result, spreads, priors)), priors.lkj_eta)


def _blocks(result: PanelResult, spreads: Spreads, priors: PanelPriors) -> list[CovarianceBlock]:
    """List the covariance matrices among the parameters, each once."""
    entries = [each for each in result.structure.entries if each.label is not None]
    labels = {(e.row, e.column): e.label for e in entries if e.part == "covariance"}
    labels |= {(column, row): label for (row, column), label in labels.items()}
    found: dict[tuple[str, ...], CovarianceBlock] = {}
    for places in _connected(labels):
        triangle = tuple(tuple(labels[a, b] for b in places[: k + 1]) for k, a in enumerate(places))
        scales = tuple(_scale(place, result, spreads, priors) for place in places)
        block = CovarianceBlock(triangle, scales)
        found.setdefault(tuple(block.flat), block)
    for each in entries:
        if each.part == "error":
            scale = priors.spread * float(spreads.within[each.row % len(spreads.within)])
            found.setdefault((each.label,), CovarianceBlock(((each.label,),), (scale,)))
    return list(found.values())


def _connected(labels: dict[tuple[int, int], str]) -> list[list[int]]:
    """Group latent variables that have covariances among each other."""
    groups: list[set[int]] = []
    for pair in labels:
        joined = set(pair).union(*(group for group in groups if group & set(pair)))
        groups = [group for group in groups if not group & set(pair)] + [joined]
    return sorted(sorted(group) for group in groups)


def _scale(place: int, result: PanelResult, spreads: Spreads, priors: PanelPriors) -> float:
    """Return the scale of the prior of a latent variable's standard deviation."""
    n, waves = len(spreads.mean), result.description.n_waves
    number = place % n
    if place < n * waves:
        return float(priors.spread * spreads.within[number])
    if place < n * (waves + 1):
        return float(priors.spread * spreads.total[number])
    return float(priors.spread * spreads.total[number] / (waves - 1))


@dataclass(frozen=True, eq=False)
class Therapists:
    """Expected values of therapists.

    Parameters
    ----------
    clusters : ndarray of int, shape (n_clients,)
    block : CovarianceBlock
        Of their covariance matrix.
    eta : float
        Of the LKJ prior.
    """

    clusters: np.ndarray
    block: CovarianceBlock
    eta: float

    @classmethod
    def of(cls, result: PanelResult, priors: PanelPriors) -> Therapists | None:
        """Describe a fit's therapists; None where it has none."""
        if result.rows.clusters is None:
            return None
        total = Spreads.of(result).total
        names = [result.description.outcome, *result.description.raters.values()]
        triangle = tuple(tuple(f"therapist {a}, {b}" for b in names[: k + 1]) for k, a in enumerate(names))
        clusters = np.unique(result.rows.clusters, return_inverse=True)[1]
        return cls(clusters, CovarianceBlock(triangle, tuple(float(each) for each in total)), priors.lkj_eta)

    @property
    def n_clusters(self) -> int:
        """Number of therapists."""
        return int(self.clusters.max()) + 1


# -- Model -------------------------------------------------------------------------------------------------------------


def build_model(
    result: PanelResult, coordinates: Coordinates, therapists: Therapists | None
) -> tuple[pm.Model, str]:
    """Build the PyMC model.

    Parameters
    ----------
    result : PanelResult
    coordinates : Coordinates
    therapists : Therapists or None

    Returns
    -------
    model : Model
    parameters : str
        Name of the variable that holds the parameters, in the structure's order.
    """
    centre, root = _whitening(result, coordinates)
    groups = None if therapists is None else therapists.clusters
    data = PanelData.of(result.rows.values, groups)
    with pm.Model() as model:
        whitened = pm.Flat("whitened__", shape=coordinates.size, initval=np.zeros(coordinates.size))
        parameters, log_prior = coordinates.parameters(centre + pt.dot(root, whitened))
        pm.Deterministic("parameters", parameters)
        pm.Potential("prior", log_prior)
        deviations = _therapist_deviations(result, therapists)
        pm.Potential("likelihood", log_likelihood(parameters, deviations, result.structure, data))
    return model, "parameters"


def _therapist_deviations(result: PanelResult, therapists: Therapists | None) -> Variable:
    """Return what is added to the expected values of each therapist's clients, shape (n_groups, p)."""
    numbers = result.rows.places[:, 1]
    if therapists is None:
        return pt.zeros((1, len(numbers)))
    n = therapists.block.size
    start = np.concatenate([np.full(n, _THERAPIST_START), np.zeros(n * (n - 1) // 2)])[None]
    own = pm.Flat("therapist_coordinates__", shape=start.shape, initval=start)
    rows, density = factor_of([therapists.block], own, therapists.eta)
    pm.Potential("therapist_prior", density)
    padded = [[entry[0] for entry in row] + [pt.as_tensor(0.0)] * (n - len(row)) for row in rows]
    factor = pt.stack([pt.stack(row) for row in padded])
    pm.Deterministic("therapist_sd", pt.sqrt((factor**2).sum(axis=1)))
    standardised = pm.Normal("therapist__", shape=(therapists.n_clusters, n))
    return pt.dot(standardised, factor.T)[:, numbers]


def _whitening(result: PanelResult, coordinates: Coordinates) -> tuple[FloatArray, FloatArray]:
    """Return coordinates near the maximum, and a root of the inverse information there, with that of the priors."""
    centre = coordinates.near(result.params.to_dict())
    given = pt.dvector()
    # Run a few hundred times: what compiling takes would not be earned back.
    evaluate = pytensor.function([given], coordinates.parameters(given)[0], mode="FAST_COMPILE")
    steps = _STEP * np.eye(coordinates.size)
    jacobian = np.column_stack(
        [(evaluate(centre + step) - evaluate(centre - step)) / (2.0 * _STEP) for step in steps]
    )
    information = observed_information_of(result.rows.data, result.maximum)
    values, vectors = linalg.eigh(jacobian.T @ information @ jacobian)
    return centre, vectors / np.sqrt(np.maximum(values, 0.0) + 1.0)
