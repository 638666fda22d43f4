"""Draws of a Bayesian cross-lagged panel model: paths, and the contrast of the raters, draw by draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from xarray import DataArray, Dataset, DataTree

from alliance_outcome.models.diagnostics import convergence_checks, summarise
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_density import PanelDensity
from alliance_outcome.models.panel_result import PanelDescription

#: Whether standard deviations within clients are those of each draw, or held at their posterior mean.
Spreads = Literal["uncertain", "fixed"]

_BOTH = ("chain", "draw")


def posterior_dataset(
    density: PanelDensity, description: PanelDescription, coordinates: FloatArray, seed: int
) -> Dataset:
    """Turn draws of free coordinates into those of what they stand for.

    Parameters
    ----------
    density : PanelDensity
    description : PanelDescription
    coordinates : ndarray, shape (chains, draws, n_coordinates)
    seed : int
        Of the draws of clusters' deviations.

    Returns
    -------
    Dataset
        ``parameter`` (dims ``label``), ``within_sd`` (dims ``variable``: latent standard deviation within clients over
        the waves that predict) and, where expected values differ between clusters, ``cluster_mean`` (dims ``cluster,
        variable``: deviations, clusters in the order in which they come first among the clients), all in units of the
        variables, after the dimensions chain and draw.
    """
    shape, flat = coordinates.shape[:2], coordinates.reshape(-1, coordinates.shape[2])
    parameters = np.array([density.coordinates.parameters(each) for each in flat])
    spreads = np.array([_within_sd(density, description, each) for each in parameters])
    variables = {
        "parameter": ((*_BOTH, "label"), parameters.reshape(*shape, -1)),
        "within_sd": ((*_BOTH, "variable"), spreads.reshape(*shape, -1)),
    }
    coords: dict[str, Any] = {
        "chain": np.arange(shape[0]),
        "draw": np.arange(shape[1]),
        "label": list(density.coordinates.labels),
        "variable": [description.outcome, *description.raters.values()],
    }
    if density.has_clusters:
        rng = np.random.default_rng(seed)
        means = np.array([density.clusters(each).draw(rng) for each in parameters])
        variables["cluster_mean"] = ((*_BOTH, "cluster", "variable"), means.reshape(*shape, *means.shape[1:]))
        coords["cluster"] = np.arange(means.shape[1])
    return Dataset(variables, coords=coords)


def _within_sd(density: PanelDensity, description: PanelDescription, parameters: FloatArray) -> FloatArray:
    """Return the latent standard deviation of each variable within clients, over the waves that predict."""
    at = density.structure.at(parameters[: density.structure.n_parameters])
    variances = np.diag(at.latent_covariance)
    names = [description.outcome, *description.raters.values()]
    places = [[description.latent[name, wave] for wave in range(1, description.n_waves)] for name in names]
    return np.sqrt(variances[np.array(places)].mean(axis=1))


@dataclass(frozen=True, eq=False)
class PanelPosterior:
    """The posterior of a cross-lagged panel model.

    Parameters
    ----------
    description : PanelDescription
    tree : DataTree
        Groups ``posterior`` (see :func:`posterior_dataset`) and ``sample_stats``, as ArviZ takes them.
    """

    description: PanelDescription
    tree: DataTree

    def parameter(self, label: str) -> DataArray:
        """Return the draws of a parameter, dims chain and draw.

        Raises
        ------
        ValueError
            If the model has no such parameter.
        """
        draws = self.tree.posterior["parameter"]
        if label not in draws["label"].to_numpy():
            raise ValueError(f"the model has no parameter {label}")
        return draws.sel(label=label, drop=True)

    def path(self, effect: str, cause: str, lag: int = 1) -> DataArray:
        """Return the draws of the mean over waves of a path, dims chain and draw.

        Parameters
        ----------
        effect, cause : str
            Columns.
        lag : int
            Waves between them.

        Returns
        -------
        DataArray
            In units of the effect per unit of the cause.

        Raises
        ------
        ValueError
            If there is no such path.
        """
        labels = self.description.path_labels(effect, cause, lag)
        return self.tree.posterior["parameter"].sel(label=labels).mean("label")

    def effect_of(self, rater: str, lag: int = 1, spreads: Spreads = "uncertain") -> DataArray:
        """Return the draws of the path from a rater's alliance to the outcome, per standard deviation within clients.

        Parameters
        ----------
        rater : str
        lag : int
        spreads : {'uncertain', 'fixed'}
            Whether the standard deviation is that of each draw, or held at its posterior mean.

        Returns
        -------
        DataArray
            In units of the outcome, dims chain and draw.

        Raises
        ------
        ValueError
            If there is no such rater, path or kind of standard deviation.
        """
        if rater not in self.description.raters:
            raise ValueError(f"nobody called {rater} rates the alliance")
        if spreads not in ("uncertain", "fixed"):
            raise ValueError("standard deviations are uncertain or fixed")
        column = self.description.raters[rater]
        spread = self.tree.posterior["within_sd"].sel(variable=column, drop=True)
        if spreads == "fixed":
            spread = spread.mean()
        return self.path(self.description.outcome, column, lag) * spread

    def difference(self, first: str, second: str, lag: int = 1, spreads: Spreads = "uncertain") -> DataArray:
        """Return the draws of D = b₁·sd₁ − b₂·sd₂, the difference of two raters' paths to the outcome.

        Parameters
        ----------
        first, second : str
            Raters.
        lag : int
        spreads : {'uncertain', 'fixed'}
            See :meth:`effect_of`.

        Returns
        -------
        DataArray
            In units of the outcome, dims chain and draw.
        """
        return self.effect_of(first, lag, spreads) - self.effect_of(second, lag, spreads)

    def summary(self, ci_level: float = 0.95) -> pd.DataFrame:
        """Summarise paths, effects of the raters, their differences, and what else the model has.

        Parameters
        ----------
        ci_level : float
            Probability of the equal-tailed intervals.

        Returns
        -------
        DataFrame
            One row for each quantity, with the columns of :func:`~alliance_outcome.models.diagnostics.summarise`:
            posterior mean and standard deviation, interval, R-hat, effective sample sizes.
        """
        found = {name: summarise(draws.to_numpy(), ci_level) for name, draws in self._quantities().items()}
        return pd.DataFrame(found).T.infer_objects()

    def _quantities(self) -> dict[str, DataArray]:
        """Return the draws of everything that has a name; paths and the contrast of the raters first."""
        raters = list(self.description.raters)
        found = {
            label: self.parameter(label)
            for label in dict.fromkeys(row.label for row in self.description.paths)
        }
        found |= {f"effect of {rater}": self.effect_of(rater) for rater in raters}
        for place, first in enumerate(raters):
            for second in raters[place + 1 :]:
                found[f"difference {first} - {second}"] = self.difference(first, second)
        labels = [label for label in self.tree.posterior["label"].to_numpy() if label not in found]
        return found | {str(label): self.parameter(label) for label in labels}

    def checks(self) -> list[dict[str, Any]]:
        """Check convergence of all quantities of :meth:`summary`, and the sampler.

        Returns
        -------
        list of dict
            See :func:`~alliance_outcome.models.diagnostics.convergence_checks`.
        """
        return convergence_checks(self.summary().to_dict("index"), self.tree)
