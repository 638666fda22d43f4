"""The Bayesian random-intercept cross-lagged panel model, with or without differences between therapists.

    y_kv = ν_kv + t_v + I_v + (k − 1) S_v + w_kv (+ e_kv),    w_k = A w_{k−1} + u_k,    t ~ N(0, Σ_T)

as :mod:`alliance_outcome.models.panel_cross_lagged` has it, t being what the clients of a therapist have in common in
all waves. The likelihood is that of maximum likelihood; clients' and therapists' own values are integrated out, so that
only parameters are sampled, by NUTS (Hoffman & Gelman 2014, arXiv:1111.4246) in coordinates that the curvature at the
mode makes round. Nothing is compiled for a model: the likelihood's compiled code is the same for all of them.

    model = BayesianCrossLaggedModel(
        sessions, outcome="severity", raters={"client": "alliance_client", "therapist": "alliance_therapist"},
        n_waves=8, clusters="therapist", cluster_means=True,
    )
    posterior = model.sample(seed=1)
    print(posterior.summary(), posterior.difference("client", "therapist").mean())
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import nutpie
import pandas as pd
from nutpie.compiled_pyfunc import from_pyfunc
from xarray import DataTree

from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel import CrossLaggedModel
from alliance_outcome.models.panel_coordinates import panel_coordinates
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_density import PanelDensity, Whitened, whitened_at_mode
from alliance_outcome.models.panel_layout import spread
from alliance_outcome.models.panel_posterior_result import PanelPosterior, posterior_dataset
from alliance_outcome.models.panel_priors import ManifestScales, PanelPriors

#: Acceptance that NUTS adapts its step size to.
TARGET_ACCEPT = 0.8
#: Name of the sampled coordinates.
_WHITE = "white"
#: Fewest therapists between whom there can be differences with a covariance matrix.
FEWEST_CLUSTERS = 3


class BayesianCrossLaggedModel(CrossLaggedModel):
    """Random-intercept cross-lagged panel model with priors.

    ``fit`` still maximises the likelihood, without priors and without differences between clusters.

    Parameters
    ----------
    sessions, outcome, raters, n_waves
        See :class:`~alliance_outcome.models.panel.CrossLaggedModel`.
    priors : PanelPriors, optional
        Weakly informative ones in the data's standard deviations unless given.
    cluster_means : bool
        Whether expected values differ between the clusters of clients, which `clusters` names: therapists.
    **settings
        Of :class:`~alliance_outcome.models.panel.CrossLaggedModel`; covariance matrices are always proper here.

    Raises
    ------
    UnfittableModel
        If there are too few sessions, clients or clusters.
    ValueError
        If arguments contradict each other.
    """

    def __init__(
        self,
        sessions: pd.DataFrame,
        outcome: str,
        raters: Mapping[str, str],
        n_waves: int,
        *,
        priors: PanelPriors | None = None,
        cluster_means: bool = False,
        **settings: Any,
    ) -> None:
        if not settings.get("proper", True):
            raise ValueError("covariance matrices are always proper in the Bayesian model")
        if cluster_means and settings.get("clusters") is None:
            raise ValueError("differences between clusters need a column of clusters")
        super().__init__(sessions, outcome, raters, n_waves, **settings)
        self.priors = PanelPriors() if priors is None else priors
        self.cluster_means = cluster_means
        self.density = self._density()

    def _density(self) -> PanelDensity:
        rows, structure = self._rows(self.places), self.structure()
        data = rows.data
        if self.cluster_means:
            data = PanelData.of(rows.values, rows.clusters)
            if len(np.unique(rows.clusters)) < FEWEST_CLUSTERS:
                raise UnfittableModel(f"differences between clusters need at least {FEWEST_CLUSTERS} of them")
        scales = ManifestScales.of(
            self.panel.values,
            np.sqrt(spread(self.panel.values)[1]),
            np.array(list(self._within_sd().values())),
        )
        coordinates = panel_coordinates(
            self.model, structure, self.priors, scales, cluster_means=self.cluster_means
        )
        return PanelDensity(structure, data, coordinates, len(self.variables))

    def mode(self) -> Whitened:
        """Find the mode of the density of free coordinates, where sampling starts from.

        Returns
        -------
        Whitened
        """
        coordinates, structure = self.density.coordinates, self.density.structure
        more = np.zeros(coordinates.n_coordinates - structure.n_parameters)
        return whitened_at_mode(
            self.density, coordinates.coordinates(np.concatenate([structure.start, more]))
        )

    def sample(
        self, *, chains: int = 4, draws: int = 1000, tune: int = 300, seed: int, cores: int = 1
    ) -> PanelPosterior:
        """Sample the posterior by NUTS.

        Parameters
        ----------
        chains, draws, tune : int
            Chains, draws kept per chain, and warm-up draws per chain: few are needed, since only the step size and
            small corrections of the scales remain to be adapted.
        seed : int
        cores : int
            Chains that run at the same time.

        Returns
        -------
        PanelPosterior

        Raises
        ------
        ValueError
            If there are no chains, draws or warm-up draws.
        """
        if min(chains, draws, tune, cores) < 1:
            raise ValueError("chains, draws, warm-up draws and cores are at least 1 each")
        sampler_seed, cluster_seed = (int(each) for each in np.random.SeedSequence(seed).generate_state(2))
        white = self.mode()
        tree = nutpie.sample(
            _sampled(white),
            chains=chains,
            draws=draws,
            tune=tune,
            cores=cores,
            seed=sampler_seed,
            target_accept=TARGET_ACCEPT,
            progress_bar=False,
            save_warmup=False,
        )
        coordinates = white.place(tree.posterior[_WHITE].to_numpy())
        description = self._description()
        posterior = posterior_dataset(self.density, description, coordinates, cluster_seed)
        found = DataTree.from_dict({"posterior": posterior, "sample_stats": tree.sample_stats.dataset})
        found.attrs["sampler"] = "nutpie"
        return PanelPosterior(description, found)


def _sampled(white: Whitened) -> Any:
    """Return a density as what nutpie samples: starts are drawn from the normal distribution that it is close to."""
    size = len(white.mode)

    def start(seed: int) -> FloatArray:
        found = np.random.default_rng(seed).standard_normal(size)
        # A chain does not find its way out of where there is no density; there is some at the mode.
        while not np.isfinite(white(found)[0]):
            found *= 0.5
        return found

    def kept(z: FloatArray) -> dict[str, FloatArray]:
        return {_WHITE: np.asarray(z)}

    return from_pyfunc(
        size,
        lambda: white,
        lambda *_: kept,
        [np.dtype(float)],
        [(size,)],
        [_WHITE],
        make_initial_point_fn=start,
    )
