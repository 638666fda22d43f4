"""Unbounded coordinates of a panel structure's parameters, with their priors.

Covariance matrices are standard deviations times a correlation matrix. Standard deviations are sampled with a sign: a
half-normal prior is a normal one whose sign means nothing, and a sampler passes through zero where logarithms would
send it far out. Correlations are sampled as inverse hyperbolic tangents of partial correlations, which are independent
under the LKJ prior (Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008). All else is a normal deviate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_structure import PanelStructure

#: Smallest standard deviation, as a share of its prior's scale, and largest partial correlation to start from.
_SMALLEST, _LARGEST = 0.1, 0.95


@dataclass(frozen=True)
class CovarianceBlock:
    """A covariance matrix among the parameters.

    Parameters
    ----------
    labels : tuple of tuple of str
        Lower triangle, row by row.
    scales : tuple of float
        Of the half-normal priors of the standard deviations.
    """

    labels: tuple[tuple[str, ...], ...]
    scales: tuple[float, ...]

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.labels)

    @property
    def flat(self) -> list[str]:
        """Names of the entries of the lower triangle, row by row."""
        return [label for row in self.labels for label in row]

    def coordinates(self, values: Mapping[str, float]) -> FloatArray:
        """Return coordinates near a matrix, which may be singular or none.

        Parameters
        ----------
        values : mapping of str to float
            Entries by name.

        Returns
        -------
        ndarray, shape (size (size + 1) / 2,)
        """
        matrix = np.zeros((self.size, self.size))
        for row, labels in enumerate(self.labels):
            matrix[row, : row + 1] = [values[label] for label in labels]
        matrix = np.tril(matrix) + np.tril(matrix, -1).T
        scales = np.array(self.scales)
        roots, vectors = np.linalg.eigh(matrix / np.outer(scales, scales))
        proper = (vectors * np.maximum(roots, _SMALLEST**2)) @ vectors.T
        spreads = np.sqrt(np.diag(proper))
        factor = np.linalg.cholesky(proper / np.outer(spreads, spreads))
        partial = []
        for row in range(1, self.size):
            left = 1.0
            for column in range(row):
                partial.append(factor[row, column] / np.sqrt(left))
                left -= factor[row, column] ** 2
        return np.concatenate([spreads, np.arctanh(np.clip(partial, -_LARGEST, _LARGEST))])


def factor_of(
    blocks: Sequence[CovarianceBlock], values: Variable, eta: float
) -> tuple[list[list[Variable]], Variable]:
    """Return factors F of covariance matrices FF' of one size, and the log density of their coordinates.

    Parameters
    ----------
    blocks : sequence of CovarianceBlock
        All of one size n.
    values : TensorVariable, shape (n_blocks, n (n + 1) / 2)
        Coordinates.
    eta : float
        Of the LKJ prior.

    Returns
    -------
    rows : list of list of TensorVariable, shape (n_blocks,)
        Entries of the lower triangle, row by row.
    log_density : TensorVariable
    """
    n = blocks[0].size
    signed, turned = values[:, :n], values[:, n:]
    density = -0.5 * pt.sum(signed**2)
    spreads = signed * np.array([block.scales for block in blocks])
    partial = pt.tanh(turned)
    rows, place = [[spreads[:, 0]]], 0
    for row in range(1, n):
        left, own = pt.ones_like(signed[:, 0]), []
        for column in range(row):
            correlation = partial[:, place]
            own.append(spreads[:, row] * correlation * pt.sqrt(left))
            # The Beta density of a correlation given those of earlier variables, with the Jacobian of tanh.
            shape = eta + 0.5 * (n - 2 - column)
            density += shape * pt.sum(pt.log1p(-(correlation**2)))
            left = left * (1.0 - correlation**2)
            place += 1
        rows.append([*own, spreads[:, row] * pt.sqrt(left)])
    return rows, density


def covariance_of(
    blocks: Sequence[CovarianceBlock], values: Variable, eta: float
) -> tuple[Variable, Variable]:
    """Return lower triangles of covariance matrices, shape (n_blocks, n (n + 1) / 2), and their log density.

    Parameters
    ----------
    blocks, values, eta
        See :func:`factor_of`.

    Returns
    -------
    triangles, log_density : TensorVariable
    """
    factor, density = factor_of(blocks, values, eta)
    triangle = [
        sum(factor[row][k] * factor[column][k] for k in range(column + 1))
        for row in range(len(factor))
        for column in range(row + 1)
    ]
    return pt.stack(triangle, axis=1), density


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Unbounded coordinates of all parameters.

    Parameters
    ----------
    structure : PanelStructure
    normal : dict of str to (float, float)
        Mean and standard deviation of the priors of what is not in a covariance matrix.
    blocks : tuple of CovarianceBlock
    eta : float
        Of the LKJ priors.
    """

    structure: PanelStructure
    normal: dict[str, tuple[float, float]]
    blocks: tuple[CovarianceBlock, ...]
    eta: float

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.structure.n_parameters

    def _by_size(self) -> Iterator[list[CovarianceBlock]]:
        for size in sorted({block.size for block in self.blocks}):
            yield [block for block in self.blocks if block.size == size]

    def near(self, values: Mapping[str, float]) -> FloatArray:
        """Return coordinates near values of the parameters.

        Parameters
        ----------
        values : mapping of str to float

        Returns
        -------
        ndarray, shape (size,)
        """
        first = [(values[label] - mean) / sd for label, (mean, sd) in self.normal.items()]
        rest = [block.coordinates(values) for blocks in self._by_size() for block in blocks]
        return np.concatenate([first, *rest])

    def parameters(self, coordinates: Variable) -> tuple[Variable, Variable]:
        """Return parameters in the structure's order, and the log density of their priors in these coordinates.

        Parameters
        ----------
        coordinates : TensorVariable, shape (size,)

        Returns
        -------
        parameters : TensorVariable, shape (n_parameters,)
        log_prior : TensorVariable
        """
        priors = np.array(list(self.normal.values())).reshape(-1, 2)
        first = coordinates[: len(priors)]
        labels, parts = list(self.normal), [priors[:, 0] + priors[:, 1] * first]
        density, at = -0.5 * pt.sum(first**2), len(priors)
        for blocks in self._by_size():
            width = len(blocks[0].flat)
            own = coordinates[at : at + width * len(blocks)].reshape((len(blocks), width))
            triangles, log_density = covariance_of(blocks, own, self.eta)
            labels += [label for block in blocks for label in block.flat]
            parts.append(triangles.reshape((-1,)))
            density, at = density + log_density, at + width * len(blocks)
        order = [labels.index(label) for label in self.structure.labels]
        return pt.concatenate(parts)[np.array(order)], density
