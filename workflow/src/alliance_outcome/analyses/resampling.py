"""Refit the models of a study to its clusters, drawn again with replacement.

Therapists are drawn in three-level models, clients otherwise: the outermost units of the model, with all their rows. A
cluster drawn twice counts as two. Fits of the same rows and clusters with the same seed get the same draws, so that
replicates of several models can be compared one by one. Draws belong to clusters in the order of
:func:`~alliance_outcome.analyses.model_rows.order_by_content`: neither labels nor the order of the file matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.models.multilevel_bootstrap import Bootstrap
from alliance_outcome.models.multilevel_result import MultilevelResult
from alliance_outcome.models.replicate_summary import USABLE_SHARE
from alliance_outcome.provenance import derive_seed


@dataclass(frozen=True)
class Resampling:
    """How clusters are drawn.

    Parameters
    ----------
    replicates : int
        Number of samples.
    seed : int
        From it each model derives its own, by name.
    threads : int
        Processors to use; results do not depend on it.
    """

    replicates: int
    seed: int
    threads: int = 1

    def draw(self, result: MultilevelResult, model: str) -> Bootstrap:
        """Refit a result to samples of its outermost units.

        Parameters
        ----------
        result : MultilevelResult
            A fit.
        model : str
            Name that the seed is derived from: fits of one name and the same rows have the same draws.

        Returns
        -------
        Bootstrap
        """
        return result.bootstrap(
            "cases", self.replicates, seed=derive_seed(self.seed, model), threads=self.threads
        )


@dataclass(frozen=True, eq=False)
class ResampledModel:
    """A fitted model and its refits.

    Parameters
    ----------
    model : FittedModel
        With a fit.
    bootstrap : Bootstrap
        Its replicates.
    """

    model: FittedModel
    bootstrap: Bootstrap

    @property
    def usable(self) -> np.ndarray:
        """Which replicates identify all coefficients and converged, shape (n,)."""
        return usable_replicates(self.bootstrap)

    @property
    def n_clusters(self) -> int:
        """Number of clusters that were drawn from."""
        return self.bootstrap.draws.shape[1]

    @property
    def cluster(self) -> str:
        """Level of the clusters."""
        return self.model.fit.design.cluster_level.level


def usable_replicates(bootstrap: Bootstrap) -> np.ndarray:
    """Say which replicates identify all coefficients and converged, shape (n,)."""
    return bootstrap.converged.to_numpy() & bootstrap.params.notna().all(axis=1).to_numpy()


def resample_models(models: Iterable[FittedModel], resampling: Resampling) -> list[ResampledModel]:
    """Refit models to samples of their clusters.

    Parameters
    ----------
    models : iterable of FittedModel
        Those without a fit are left out.
    resampling : Resampling
        How to draw.

    Returns
    -------
    list of ResampledModel
        Models of one name, joint and single, have the same draws.
    """
    return [
        ResampledModel(model, resampling.draw(model.fit, model.specification.model))
        for model in models
        if model.fit is not None
    ]


def require_same_draws(bootstraps: Iterable[Bootstrap]) -> None:
    """Refuse to compare replicates of different samples.

    Raises
    ------
    ValueError
        If samples differ.
    """
    first, *others = [each.draws for each in bootstraps]
    if not all(np.array_equal(first, draws) for draws in others):
        raise ValueError("replicates of different samples cannot be compared one by one")


def unusable_reason(usable: np.ndarray, cluster: str) -> str | None:
    """Say why replicates are too few for an interval, or nothing.

    Parameters
    ----------
    usable : ndarray of bool, shape (n,)
        Which replicates have an estimate.
    cluster : str
        What was drawn.

    Returns
    -------
    str or None
    """
    if usable.mean() >= USABLE_SHARE:
        return None
    return (
        f"the model could be fitted to only {int(usable.sum())} of {len(usable)} samples of {cluster}s; at least "
        f"{USABLE_SHARE:.0%} are wanted"
    )
