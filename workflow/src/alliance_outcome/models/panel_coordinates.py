"""Free coordinates of the parameters of a cross-lagged panel model, with their prior density.

Expected values and paths are linear in coordinates whose prior is standard normal; covariance matrices have the
coordinates of :mod:`alliance_outcome.models.panel_coordinate_kernels`. Any coordinates are parameters that data could
have, so that gradients can be followed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alliance_outcome.models import panel_coordinate_kernels as kernels
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.panel_cross_lagged import CrossLagged
from alliance_outcome.models.panel_priors import ManifestScales, PanelPriors
from alliance_outcome.models.panel_structure import PanelStructure

#: Standard deviation at which clusters' deviations start, relative to the scale of its prior.
_CLUSTER_START = 0.3


@dataclass(frozen=True, eq=False)
class CovarianceBlock:
    """A covariance matrix whose entries are parameters.

    Parameters
    ----------
    numbers : ndarray of int, shape (k, k)
        Parameter of each entry.
    scales : ndarray, shape (k,)
        Scales of the half-normal priors of standard deviations.
    """

    numbers: IndexArray
    scales: FloatArray

    @property
    def n_coordinates(self) -> int:
        """Number of standard deviations and correlations."""
        size = len(self.scales)
        return size * (size + 1) // 2


@dataclass(frozen=True, eq=False)
class PanelCoordinates:
    """Coordinates: first those of expected values and paths, then those of one covariance matrix after the other.

    Parameters
    ----------
    labels : tuple of str
        Names of the parameters: those of the structure, then variances and covariances of clusters' deviations.
    numbers : ndarray of int, shape (n_linear,)
        Parameters that are linear in coordinates.
    centres, units : ndarray, shape (n_linear,)
        Means and standard deviations of their normal priors.
    blocks : tuple of CovarianceBlock
    eta : float
        Shape of the LKJ prior of correlations.
    """

    labels: tuple[str, ...]
    numbers: IndexArray
    centres: FloatArray
    units: FloatArray
    blocks: tuple[CovarianceBlock, ...]
    eta: float

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates, which is that of parameters."""
        return len(self.labels)

    @cached_property
    def _packed(self) -> tuple[np.ndarray, ...]:
        """First coordinates, sizes, parameters and scales of the blocks, as compiled code takes them."""
        sizes = np.array([len(block.scales) for block in self.blocks], dtype=np.int64)
        counts = [block.n_coordinates for block in self.blocks]
        firsts = len(self.numbers) + np.concatenate([[0], np.cumsum(counts)[:-1]])
        numbers = np.zeros((len(sizes), sizes.max(), sizes.max()), dtype=np.int64)
        scales = np.ones((len(sizes), sizes.max()))
        for place, (size, block) in enumerate(zip(sizes, self.blocks, strict=True)):
            numbers[place, :size, :size] = block.numbers
            scales[place, :size] = block.scales
        return firsts.astype(np.int64), sizes, numbers, scales

    def parameters(self, coordinates: FloatArray) -> FloatArray:
        """Return the parameters, shape (n_parameters,), of coordinates of the same shape."""
        found = np.empty(len(self.labels))
        found[self.numbers] = self.centres + self.units * coordinates[: len(self.numbers)]
        kernels.place_covariances(coordinates, *self._packed, found)
        return found

    def coordinates(self, parameters: FloatArray) -> FloatArray:
        """Return coordinates of linear parameters and standard deviations; correlations are taken to be zero.

        Where a variance is not above zero, its standard deviation is that of :data:`_CLUSTER_START`.
        """
        found = np.zeros(len(self.labels))
        found[: len(self.numbers)] = (parameters[self.numbers] - self.centres) / self.units
        for first, block in zip(self._packed[0], self.blocks, strict=True):
            variances = parameters[np.diag(block.numbers)] / block.scales**2
            usable = np.where(variances > 0.0, variances, _CLUSTER_START**2)
            found[first : first + len(usable)] = np.sqrt(usable)
        return found

    def pull(self, coordinates: FloatArray, by_parameters: FloatArray) -> FloatArray:
        """Turn derivatives by parameters into derivatives by coordinates, shape (n_coordinates,)."""
        found = np.empty(len(self.labels))
        found[: len(self.numbers)] = self.units * by_parameters[self.numbers]
        kernels.pull_covariances(coordinates, *self._packed, by_parameters, found)
        return found

    def log_prior(self, coordinates: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate the prior density of coordinates.

        Parameters
        ----------
        coordinates : ndarray, shape (n_coordinates,)

        Returns
        -------
        value : float
            Its logarithm, up to a constant.
        gradient : ndarray, shape (n_coordinates,)
        """
        gradient = np.zeros(len(self.labels))
        linear = coordinates[: len(self.numbers)]
        gradient[: len(linear)] = -linear
        firsts, sizes, _, _ = self._packed
        value = kernels.covariance_priors(coordinates, firsts, sizes, self.eta, gradient)
        return float(value - 0.5 * linear @ linear), gradient


def panel_coordinates(
    model: CrossLagged,
    structure: PanelStructure,
    priors: PanelPriors,
    scales: ManifestScales,
    *,
    cluster_means: bool,
) -> PanelCoordinates:
    """Give the parameters of a model coordinates.

    Parameters
    ----------
    model : CrossLagged
    structure : PanelStructure
        Of the model.
    priors : PanelPriors
    scales : ManifestScales
    cluster_means : bool
        Whether expected values differ between clusters of clients.

    Returns
    -------
    PanelCoordinates

    Raises
    ------
    ValueError
        If Ψ has covariances that are zero beside such that are not, as where one rating of a wave depends on its
        outcome and another one does not.
    """
    labels = list(structure.labels)
    names, n = model.names, len(model.variables)
    linear: dict[int, tuple[float, float]] = {}
    for row, _, number in zip(*structure.places["mean"], strict=True):
        linear[number] = scales.centres[row % n], priors.mean_sd * scales.total[row % n]
    for row, column, number in zip(*structure.places["path"], strict=True):
        linear[number] = 0.0, priors.path_sd * scales.within[row % n] / scales.within[column % n]
    blocks = [*_latent_blocks(model, structure, priors, scales), *_error_blocks(structure, priors, scales)]
    if cluster_means:
        blocks.append(CovarianceBlock(_numbered(n, len(labels)), priors.cluster_sd * scales.total))
        labels += _cluster_labels(names)
    centres, units = np.array(list(linear.values())).T
    return PanelCoordinates(
        tuple(labels), np.array(list(linear), dtype=np.intp), centres, units, tuple(blocks), priors.lkj_eta
    )


def _numbered(size: int, first: int) -> IndexArray:
    """Number the entries of a symmetric matrix by its lower triangle, row by row."""
    found = np.zeros((size, size), dtype=np.intp)
    rows, columns = np.tril_indices(size)
    found[rows, columns] = found[columns, rows] = first + np.arange(len(rows))
    return found


def _cluster_labels(names: tuple[str, ...]) -> list[str]:
    """Name the entries of the covariance matrix of clusters' deviations, in the order of :func:`_numbered`."""
    rows, columns = np.tril_indices(len(names))
    return [
        f"var(cluster {names[i]})" if i == j else f"cov(cluster {names[j]}, cluster {names[i]})"
        for i, j in zip(rows, columns, strict=True)
    ]


def _latent_blocks(
    model: CrossLagged, structure: PanelStructure, priors: PanelPriors, scales: ManifestScales
) -> Iterator[CovarianceBlock]:
    """Yield the parts of Ψ between which there is no covariance, those that are the same in several waves once."""
    n = len(model.variables)
    tau = np.tile(scales.total, model.n_waves + 2).reshape(-1, n)
    tau *= np.repeat(
        [priors.within_sd, priors.between_sd, priors.trend_sd / (model.n_waves - 1)], [model.n_waves, 1, 1]
    )[:, None]
    numbers = {}
    for row, column, number in zip(*structure.places["covariance"], strict=True):
        numbers[row, column] = numbers[column, row] = number
    seen: set[int] = set()
    for places in _connected(numbers):
        if any((i, j) not in numbers for i in places for j in places):
            raise ValueError(
                "a wave's ratings depend on its outcome for all raters or for none of them in the Bayesian model: give "
                "all raters the same order"
            )
        block = np.array([[numbers[i, j] for j in places] for i in places], dtype=np.intp)
        if block[0, 0] not in seen:
            seen.add(block[0, 0])
            yield CovarianceBlock(block, tau.ravel()[list(places)])


def _connected(pairs: dict[tuple[int, int], int]) -> list[tuple[int, ...]]:
    """Put latent variables together that are connected by pairs, directly or through others."""
    found: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in found if not group.isdisjoint(pair)]
        found = [group for group in found if group.isdisjoint(pair)]
        found.append(set(pair).union(*touched))
    return sorted(tuple(sorted(group)) for group in found)


def _error_blocks(
    structure: PanelStructure, priors: PanelPriors, scales: ManifestScales
) -> Iterator[CovarianceBlock]:
    """Yield the variances of measurement error that are estimated."""
    n = len(scales.total)
    variables = {number: row % n for row, _, number in zip(*structure.places["error"], strict=True)}
    for number, variable in variables.items():
        tau = priors.within_sd * scales.total[[variable]]
        yield CovarianceBlock(np.array([[number]], dtype=np.intp), tau)
