"""The posterior density of a cross-lagged panel model in free coordinates, and coordinates in which it is nearly round.

The likelihood is the compiled one of maximum likelihood, by missing-data pattern. Clusters' deviations from expected
values, one for each variable and the same in all waves, are integrated out. The density's mode is found by gradients
alone, and its curvature by their differences; in coordinates that the curvature makes a unit matrix a sampler takes few
and long steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_coordinates import PanelCoordinates
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_kernels import evaluate_clustered_panel, evaluate_panel
from alliance_outcome.models.panel_structure import PanelStructure, StructureAt

#: Step of the differences of gradients: coordinates have priors with a spread of about 1.
_STEP = 1e-4
#: Curvature that is assumed at least: that of priors alone is 1 or more at their modes.
_LEAST_CURVATURE = 0.1
#: Searches for the mode, each in coordinates that the curvature where it starts has made round.
_SEARCHES = 3
_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class ClusterDraw:
    """Clusters' deviations from expected values given data and parameters, which are Gaussian.

    Parameters
    ----------
    centres : ndarray, shape (n_clusters, n_variables)
        Expected values.
    spreads : ndarray, shape (n_clusters, n_variables, n_variables)
        Covariance matrices.
    """

    centres: FloatArray
    spreads: FloatArray

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw the deviations, shape (n_clusters, n_variables)."""
        values, vectors = np.linalg.eigh(self.spreads)
        noise = np.sqrt(np.maximum(values, 0.0)) * rng.standard_normal(self.centres.shape)
        return self.centres + (vectors @ noise[..., None])[..., 0]


class PanelDensity:
    """The posterior density of free coordinates.

    Parameters
    ----------
    structure : PanelStructure
    data : PanelData
        With clusters as groups, if expected values differ between them.
    coordinates : PanelCoordinates
    n_variables : int
        Variables of a wave.

    Attributes
    ----------
    has_clusters : bool
        Whether expected values differ between clusters.
    """

    def __init__(
        self, structure: PanelStructure, data: PanelData, coordinates: PanelCoordinates, n_variables: int
    ) -> None:
        self.structure, self.data, self.coordinates = structure, data, coordinates
        self._n_structure = structure.n_parameters
        self.has_clusters = coordinates.n_coordinates > self._n_structure
        self._n_clusters = int(data.groups.max()) + 1
        self._reach = np.tile(np.eye(n_variables), (data.n_variables // n_variables, 1))
        self._triangle = np.tril_indices(n_variables)

    def __call__(self, coordinates: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate the density.

        Parameters
        ----------
        coordinates : ndarray, shape (n_coordinates,)

        Returns
        -------
        value : float
            Its logarithm up to a constant; minus infinity where it cannot be evaluated.
        gradient : ndarray, shape (n_coordinates,)
        """
        # Far away numbers overflow, which gives a density of zero.
        with np.errstate(all="ignore"):
            parameters = self.coordinates.parameters(coordinates)
            value, by_parameters = self.log_likelihood(parameters)
            if not np.isfinite(value):
                return -np.inf, np.zeros(len(coordinates))
            prior, gradient = self.coordinates.log_prior(coordinates)
            gradient += self.coordinates.pull(coordinates, by_parameters)
        return value + prior, gradient

    def log_likelihood(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate the log-likelihood.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)
            By the labels of the coordinates.

        Returns
        -------
        value : float
            NaN where it cannot be evaluated.
        gradient : ndarray, shape (n_parameters,)
        """
        own = parameters[: self._n_structure]
        if not np.isfinite(own).all():
            return np.nan, np.zeros(len(parameters))
        at = self.structure.at(own)
        if not self.has_clusters:
            value, by_mean, by_covariance = evaluate_panel(at.mean[None], at.covariance, *self.data.arrays)[
                :3
            ]
            return float(value), at.gradient(by_mean[0], by_covariance)
        value, by_mean, by_covariance, by_cluster, _, _ = self._with_clusters(at, parameters)
        rows, columns = self._triangle
        by_entry = np.where(rows == columns, 1.0, 2.0) * by_cluster[rows, columns]
        return float(value), np.concatenate([at.gradient(by_mean, by_covariance), by_entry])

    def clusters(self, parameters: FloatArray) -> ClusterDraw:
        """Return clusters' deviations given parameters, shape (n_parameters,)."""
        at = self.structure.at(parameters[: self._n_structure])
        return ClusterDraw(*self._with_clusters(at, parameters)[4:])

    def cluster_covariance(self, parameters: FloatArray) -> FloatArray:
        """Return the covariance matrix of clusters' deviations, shape (n_variables, n_variables)."""
        n = self._reach.shape[1]
        found = np.zeros((n, n))
        found[self._triangle] = found.T[self._triangle] = parameters[self._n_structure :]
        return found

    def _with_clusters(self, at: StructureAt, parameters: FloatArray) -> tuple:
        factor = _root(self.cluster_covariance(parameters))
        return evaluate_clustered_panel(
            at.mean, at.covariance, factor, self._reach, self._n_clusters, *self.data.arrays
        )


def _root(covariance: FloatArray) -> FloatArray:
    """Return L with LL' the covariance matrix, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0.0)))


@dataclass(frozen=True, eq=False)
class Whitened:
    """Coordinates z in which a density is nearly standard normal: θ = mode + W z.

    Parameters
    ----------
    density : PanelDensity
    mode : ndarray, shape (k,)
    factor : ndarray, shape (k, k)
        W.
    """

    density: PanelDensity
    mode: FloatArray
    factor: FloatArray

    @classmethod
    def around(cls, density: PanelDensity, point: FloatArray) -> Whitened:
        """Make the curvature at a point, shape (k,), round; where it bends the wrong way its size is taken."""
        size = len(point)
        steps = _STEP * np.eye(size)
        above, below = (np.array([density(point + sign * step)[1] for step in steps]) for sign in (1.0, -1.0))
        curvature = (below - above) / (2.0 * _STEP)
        values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        return cls(density, point, vectors / np.sqrt(np.maximum(np.abs(values), _LEAST_CURVATURE)))

    def place(self, z: FloatArray) -> FloatArray:
        """Return the coordinates θ of z, shape (..., k)."""
        return self.mode + z @ self.factor.T

    def __call__(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate log-density and gradient at z, shape (k,)."""
        value, gradient = self.density(self.place(z))
        return value, gradient @ self.factor


def whitened_at_mode(density: PanelDensity, start: FloatArray) -> Whitened:
    """Find the mode of the density of free coordinates, and make it round.

    Parameters
    ----------
    density : PanelDensity
    start : ndarray, shape (n_coordinates,)

    Returns
    -------
    Whitened
    """
    found = Whitened.around(density, start)

    def falling(z: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = found(z)
        return -value, -gradient

    for _ in range(_SEARCHES):
        search = optimize.minimize(
            falling, np.zeros(len(start)), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}
        )
        found = Whitened.around(density, found.place(search.x))
    return found
