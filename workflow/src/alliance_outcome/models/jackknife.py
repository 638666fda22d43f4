"""Leave one cluster out: cluster-robust covariances of fixed effects, also across models of the same rows.

With the variance parameters held, the generalised least-squares estimate without a cluster follows from that
cluster's own cross-products, so that all replicates cost one small linear system each. Replicates of two
models on the same clusters can be stood side by side: the jackknife covariance of the joined table holds the
covariances between models.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.design_checks import UnfittableModel

#: Reciprocal condition number below which what is left without a cluster does not identify the coefficients.
SINGULAR = 1e-12


def leave_one_out_coefficients(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Re-estimate coefficients without each cluster in turn.

    Parameters
    ----------
    blocks : ndarray, shape (n_clusters, p + 1, p + 1)
        [X y]'V⁻¹[X y] of each cluster.

    Returns
    -------
    ndarray, shape (n_clusters, p)
        NaN where the other clusters do not identify all coefficients.
    """
    p = blocks.shape[1] - 1
    total = blocks.sum(axis=0)
    sizes = np.sqrt(np.diag(total)[:p])
    replicates = np.full((len(blocks), p), np.nan)
    for position, rest in enumerate(total - blocks):
        system = rest[:p, :p] / np.outer(sizes, sizes)
        if 1.0 / np.linalg.cond(system) > SINGULAR:
            replicates[position] = np.linalg.solve(system, rest[:p, p] / sizes) / sizes
    return replicates


def jackknife_covariance(replicates: pd.DataFrame) -> pd.DataFrame:
    """Covariance matrix from leave-one-cluster-out replicates.

    Parameters
    ----------
    replicates : DataFrame, shape (n_clusters, n_quantities)
        One row per left-out cluster; columns of several models may stand side by side.

    Returns
    -------
    DataFrame, shape (n_quantities, n_quantities)

    Raises
    ------
    UnfittableModel
        With fewer than two clusters, or if a quantity cannot be estimated without some cluster.

    Notes
    -----
    (J − 1)/J Σ (b₍ⱼ₎ − b̄)(b₍ⱼ₎ − b̄)', the jackknife centred at the mean of the replicates (``vcovJK`` of R's
    sandwich; MacKinnon, Nielsen & Webb 2022, arXiv 2205.03288). With the full-sample estimate for b̄ and without
    the factor it is ``CR3`` of R's clubSandwich.
    """
    count = len(replicates)
    if count < 2:
        raise UnfittableModel("a jackknife needs at least two clusters")
    lacking = [str(name) for name in replicates.columns if replicates[name].isna().any()]
    if lacking:
        raise UnfittableModel(
            "the jackknife is not available: one term rests on a single cluster, without which "
            f"{', '.join(lacking)} cannot be told apart"
        )
    deviations = (replicates - replicates.mean()).to_numpy(dtype=float)
    covariance = (count - 1) / count * deviations.T @ deviations
    return pd.DataFrame(covariance, index=replicates.columns, columns=replicates.columns)
