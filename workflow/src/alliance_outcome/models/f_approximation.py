"""An F distribution for a Wald statistic whose covariance matrix is itself estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Rows of a hypothesis are dependent if the correlation matrix of their estimates has an eigenvalue below this.
DEPENDENT = 1e-10


@dataclass(frozen=True)
class FApproximation:
    """Distribution of ``scaling * wald / numerator_df``, with ``wald`` = (Lb)'(LCL')⁻¹(Lb).

    Parameters
    ----------
    numerator_df : int
        Number of rows of L.
    denominator_df : float
        Degrees of freedom that the estimation of C leaves; there is no test where they are not positive.
    scaling : float
        Factor of the statistic; 1 for a single row.
    """

    numerator_df: int
    denominator_df: float
    scaling: float


def hypothesis_rows(rows: ArrayLike, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a hypothesis as a matrix, once its rows are known to be independent.

    Parameters
    ----------
    rows : array_like, shape (p,) or (n_rows, p)
        Weights of the fixed effects.
    covariance : ndarray, shape (p, p)
        Covariance matrix of the fixed effects; where it is NaN, rows are judged as if it were the identity.

    Returns
    -------
    ndarray, shape (n_rows, p)

    Raises
    ------
    ValueError
        If the shapes disagree, a row is zero, or a row is a combination of others.
    """
    matrix = np.atleast_2d(np.asarray(rows, dtype=float))
    if matrix.ndim != 2 or matrix.shape[1] != len(covariance) or not len(matrix):
        raise ValueError(f"a hypothesis on {len(covariance)} fixed effects has shape {np.shape(rows)}")
    known = np.all(np.isfinite(covariance))
    product = matrix @ covariance @ matrix.T if known else matrix @ matrix.T
    sizes = np.sqrt(np.diag(product))
    if not np.all(sizes > 0.0):
        raise ValueError("a row of the hypothesis gives no fixed effect any weight")
    if np.linalg.eigvalsh(product / np.outer(sizes, sizes))[0] < DEPENDENT:
        raise ValueError("a row of the hypothesis is a combination of the others; leave it out")
    return matrix
