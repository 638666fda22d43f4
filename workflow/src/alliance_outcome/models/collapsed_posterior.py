"""The posterior density of the variance parameters, fixed effects integrated out as well as random ones.

Given the variance parameters the fixed effects are Gaussian, so that a handful of standard deviations, correlations and
an autocorrelation are all that is left. Their density is evaluated for many values at once. Priors are written out here
a second time, in closed form and in other coordinates than PyMC's, so that agreement with a sampler of the PyMC model
checks both.

Coordinates, one vector θ per value: for each level (clusters first) the standard deviations of its random effects, then
their Fisher-transformed canonical partial correlations; the residual standard deviation; and the autocorrelation,
Fisher-transformed where it may be negative. Standard deviations on a log scale would have long left tails. On their own
scale the density goes on below zero, with the correlations of that effect turned, and so does that of a positive
autocorrelation: values are folded to non-negative signs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alliance_outcome.models import marginal_kernels as kernels
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.marginal_likelihood import MarginalData
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.random_structure import RandomEffects, semidefinite_cholesky
from alliance_outcome.models.standardised_design import StandardisedDesign

#: Values that one call of compiled code evaluates.
CHUNK = 64

#: Standard deviation of random effects to start from where the likelihood has its maximum at zero, relative to the
#: residual's.
RAISED = 0.1

#: Size of correlations to start from, at most.
LARGEST_CORRELATION = 0.95

#: Distance from zero and one at which a positive autocorrelation starts.
SMALLEST_AUTOCORRELATION = 0.02


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The density at many values.

    Parameters
    ----------
    log_density : ndarray, shape (n,)
        Minus infinity where it cannot be evaluated.
    precision : ndarray, shape (n, p, p)
        Of the fixed effects given θ.
    information : ndarray, shape (n, p)
        Precision times mean of the fixed effects given θ.
    """

    log_density: FloatArray
    precision: FloatArray
    information: FloatArray

    def chosen(self, positions: IndexArray) -> Evaluated:
        """Return some of the values."""
        return Evaluated(self.log_density[positions], self.precision[positions], self.information[positions])

    def joined(self, other: Evaluated) -> Evaluated:
        """Return both sets of values."""
        return Evaluated(
            np.concatenate([self.log_density, other.log_density]),
            np.concatenate([self.precision, other.precision]),
            np.concatenate([self.information, other.information]),
        )

    def draw_coefficients(self, rng: np.random.Generator) -> FloatArray:
        """Draw fixed effects, shape (n, p), from their Gaussian distribution given θ."""
        triangle = np.linalg.cholesky(self.precision)
        whitened = np.linalg.solve(triangle, self.information[..., None])
        whitened += rng.standard_normal(whitened.shape)
        return np.linalg.solve(np.swapaxes(triangle, 1, 2), whitened)[..., 0]


class CollapsedPosterior:
    """The posterior density of the variance parameters of one design.

    Parameters
    ----------
    design : StandardisedDesign
    priors : Priors or None
        None for flat priors of the fixed effects and of θ, under which the density is proportional to the restricted
        likelihood.
    data : MarginalData, optional
        The Gram matrices of `design.rows`, where they are at hand already.
    """

    def __init__(
        self, design: StandardisedDesign, priors: Priors | None, data: MarginalData | None = None
    ) -> None:
        self.design, self.priors = design, priors
        self.data = MarginalData.of(design.rows) if data is None else data
        self._blocks = _blocks(design)
        self.residual_position = sum(block.size for block in self._blocks)
        self.n_parameters = self.residual_position + (1 if design.residual == "independent" else 2)
        self._prior_mean, self._prior_precision = self._fixed_prior()

    def _fixed_prior(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and precision of the fixed effects' normal priors, shape (p,) each; precision 0 if flat."""
        p = len(self.design.terms)
        if self.priors is None:
            return np.zeros(p), np.zeros(p)
        intercept = self.priors.intercept_mean - self.design.outcome_mean
        sds = np.append(self.priors.intercept_sd, self.priors.effect_sds(self.design))
        return np.append(intercept, self.priors.effect_means(self.design)), sds**-2.0

    # -- Coordinates ----------------------------------------------------------------------------------------------

    def factors(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the factors of units, (n, q, q), and of clusters, (n, r, r), of values, shape (n, k)."""
        found = {block.effects.level: block.factor(values) for block in self._blocks}
        none = np.zeros((len(values), 0, 0))
        unit, cluster = self.design.unit, self.design.cluster
        return (
            found[unit.level] if unit is not None else none,
            found[cluster.level] if cluster is not None else none,
        )

    def residual_sd(self, values: FloatArray) -> FloatArray:
        """Return the residual standard deviation of values, shape (n,)."""
        return values[:, self.residual_position]

    def autocorrelation(self, values: FloatArray) -> FloatArray:
        """Return the autocorrelation of values, shape (n,); zeros where residuals are independent."""
        if self.design.residual == "independent":
            return np.zeros(len(values))
        return np.tanh(values[:, -1]) if self.design.residual == "ar1" else values[:, -1]

    def fold(self, values: FloatArray) -> FloatArray:
        """Turn negative standard deviations, with the correlations of those effects, and the like to positive signs."""
        folded = values.copy()
        for flips, positions in self._turns:
            folded *= np.where(values[:, [positions]] < 0.0, flips, 1.0)
        folded[:, self.residual_position] = np.abs(folded[:, self.residual_position])
        return folded

    @property
    def signs(self) -> FloatArray:
        """All changes of sign that leave the density as it is, shape (2 ** turns, k); the first changes nothing."""
        found = np.ones((1, self.n_parameters))
        for flips, _ in self._turns:
            found = np.concatenate([found, found * flips])
        return found

    @cached_property
    def _turns(self) -> list[tuple[FloatArray, int]]:
        """What changes sign, shape (k,), with each value that is folded, and the position of that."""
        found = []
        for block in self._blocks:
            for effect in range(len(block.effects)):
                flips = np.ones(self.n_parameters)
                flips[block.positions] = block.turned(effect)
                found.append((flips, block.first + effect))
        if self.design.residual == "continuous_ar1":
            flips = np.ones(self.n_parameters)
            flips[-1] = -1.0
            found.append((flips, self.n_parameters - 1))
        return found

    def start(self) -> FloatArray:
        """Return the maximum of the restricted likelihood, shape (k,), a step inside where it is on the boundary."""
        rows, structure = self.design.rows, self.design.nested.structure
        likelihood = NestedLikelihood(rows, structure, reml=True, residual=self.design.residual)
        maximum = likelihood.maximise()
        psi_u, psi_v, phi = likelihood.unpack(maximum.parameters)
        sigma = np.sqrt(maximum.at.residual_variance)
        value = np.empty(self.n_parameters)
        for block in self._blocks:
            own = psi_u if block.effects is self.design.unit else psi_v
            raised = own + np.diag(np.where(np.diag(own) < RAISED**2, RAISED**2, 0.0))
            value[block.positions] = block.coordinates(sigma**2 * raised)
        value[self.residual_position] = sigma
        if self.design.residual == "ar1":
            value[-1] = likelihood.pack_autocorrelation(phi)
        elif self.design.residual == "continuous_ar1":
            value[-1] = np.clip(phi, SMALLEST_AUTOCORRELATION, 1.0 - SMALLEST_AUTOCORRELATION)
        return value

    # -- Density --------------------------------------------------------------------------------------------------

    def evaluate(self, values: FloatArray, threads: int = 1) -> Evaluated:
        """Evaluate the density of θ.

        Parameters
        ----------
        values : ndarray, shape (n, k)
            Folded or not.
        threads : int

        Returns
        -------
        Evaluated
        """
        products, log_determinants = self._products(values, threads)
        sigma = self.residual_sd(values)
        scale = sigma**-2.0
        p = products.shape[1] - 1
        precision = scale[:, None, None] * products[:, :p, :p] + np.diag(self._prior_precision)
        information = scale[:, None] * products[:, :p, p] + self._prior_precision * self._prior_mean
        with np.errstate(all="ignore"):
            triangle, usable = _cholesky(precision)
            whitened = np.linalg.solve(triangle, information[..., None])[..., 0]
            quadratic = scale * products[:, p, p] - np.sum(whitened**2, axis=1)
            log_density = -0.5 * (
                self.data.n_rows * np.log(2.0 * np.pi * sigma**2)
                + log_determinants
                + quadratic
                + 2.0 * np.sum(np.log(np.diagonal(triangle, axis1=1, axis2=2)), axis=1)
            )
            log_density += self.log_prior(values)
        log_density[~usable | ~np.isfinite(log_density)] = -np.inf
        return Evaluated(log_density, precision, information)

    def _products(self, values: FloatArray, threads: int) -> tuple[FloatArray, FloatArray]:
        """Return [X y]'V⁻¹[X y], V relative to σ², and log|V| of values."""
        factor_u, factor_v = self.factors(values)
        sigma = self.residual_sd(values)[:, None, None]
        factor_u, factor_v = factor_u / sigma, factor_v / sigma
        autocorrelation = self._usable_autocorrelation(values)
        width = len(self.design.terms) + 1
        products, log_determinants = np.empty((len(values), width, width)), np.empty(len(values))
        size = 1 if self.data.autocorrelated else CHUNK

        def work(first: int) -> None:
            chunk = slice(first, first + size)
            gram, total, constant = self.data.gram, self.data.total, 0.0
            if self.data.autocorrelated:
                gram, _, by_unit = self.data.weighted(autocorrelation[first])
                total, constant = gram.sum(axis=2), by_unit.sum()
            kernels.fixed_effect_products(
                gram,
                total,
                self.data.cluster_starts,
                factor_u[chunk],
                factor_v[chunk],
                products[chunk],
                log_determinants[chunk],
            )
            log_determinants[chunk] += constant

        _run(work, range(0, len(values), size), threads)
        return products, log_determinants

    def _usable_autocorrelation(self, values: FloatArray) -> FloatArray:
        """Return autocorrelations that can be computed with; the prior excludes the others."""
        found = self.autocorrelation(values)
        return np.minimum(np.abs(found), 0.999) if self.design.residual == "continuous_ar1" else found

    def log_prior(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of the prior density of θ up to a constant, shape (n,).

        Notes
        -----
        Half-normal standard deviations and an LKJ correlation matrix, whose canonical partial correlations are
        independent with symmetric beta distributions (Lewandowski, Kurowicka & Joe 2009, 10.1016/j.jmva.2009.04.008).
        """
        if self.priors is None:
            return np.zeros(len(values))
        found = -0.5 * (self.residual_sd(values) / self.priors.residual_sd) ** 2
        for block in self._blocks:
            found += block.log_prior(values, self.priors)
        if self.design.residual == "ar1":
            # A uniform autocorrelation, in the coordinates of its transformation.
            found += np.log(1.0 - self.autocorrelation(values) ** 2)
        elif self.design.residual == "continuous_ar1":
            found[np.abs(self.autocorrelation(values)) >= 1.0] = -np.inf
        return found


@dataclass(frozen=True, eq=False)
class _Block:
    """The coordinates of one level: standard deviations, then transformed partial correlations of pairs."""

    effects: RandomEffects
    first: int

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of correlated effects, the earlier one second, in the order of their coordinates."""
        if not self.effects.correlated:
            return []
        return [(later, earlier) for later in range(len(self.effects)) for earlier in range(later)]

    @property
    def size(self) -> int:
        return len(self.effects) + len(self.pairs)

    @property
    def positions(self) -> slice:
        return slice(self.first, self.first + self.size)

    def turned(self, effect: int) -> FloatArray:
        """Return what changes sign with an effect, shape (size,)."""
        sds = [-1.0 if each == effect else 1.0 for each in range(len(self.effects))]
        return np.array(sds + [-1.0 if effect in pair else 1.0 for pair in self.pairs])

    def factor(self, values: FloatArray) -> FloatArray:
        """Return the factor L of the covariance matrix, shape (n, q, q)."""
        own, size = values[:, self.positions], len(self.effects)
        found, left = np.zeros((len(values), size, size)), np.ones((len(values), size))
        for (later, earlier), transformed in zip(self.pairs, own[:, size:].T, strict=True):
            partial = np.tanh(transformed)
            found[:, later, earlier] = partial * left[:, later]
            left[:, later] *= np.sqrt(1.0 - partial**2)
        found[:, np.arange(size), np.arange(size)] = left
        return own[:, :size, None] * found

    def coordinates(self, covariance: FloatArray) -> FloatArray:
        """Invert `factor` for one covariance matrix, perfect correlations apart; shape (size,)."""
        sds = np.sqrt(np.diag(covariance))
        rows = semidefinite_cholesky(covariance) / sds[:, None]
        transformed = []
        for later, earlier in self.pairs:
            left = np.sqrt(np.maximum(1.0 - np.sum(rows[later, :earlier] ** 2), 1.0 - LARGEST_CORRELATION))
            partial = np.clip(rows[later, earlier] / left, -LARGEST_CORRELATION, LARGEST_CORRELATION)
            transformed.append(np.arctanh(partial))
        return np.append(sds, transformed)

    def log_prior(self, values: FloatArray, priors: Priors) -> FloatArray:
        own, size = values[:, self.positions], len(self.effects)
        found = -0.5 * np.sum((own[:, :size] / priors.group_scales(self.effects)) ** 2, axis=1)
        for (_, earlier), transformed in zip(self.pairs, own[:, size:].T, strict=True):
            # The power of the beta density, and one more of the transformation.
            power = priors.lkj_eta + 0.5 * (size - 2 - earlier)
            found -= 2.0 * power * np.log(np.cosh(transformed))
        return found


def _blocks(design: StandardisedDesign) -> list[_Block]:
    found, first = [], 0
    for effects in design.levels:
        found.append(_Block(effects, first))
        first += found[-1].size
    return found


def _cholesky(matrices: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Factorise matrices, shape (n, p, p), one by one if some are not positive definite; say which are."""
    usable = np.all(np.isfinite(matrices), axis=(1, 2))
    safe = np.where(usable[:, None, None], matrices, np.eye(matrices.shape[1]))
    try:
        return np.linalg.cholesky(safe), usable
    except np.linalg.LinAlgError:
        usable &= np.linalg.eigvalsh(safe)[:, 0] > 0.0
        return np.linalg.cholesky(np.where(usable[:, None, None], safe, np.eye(matrices.shape[1]))), usable


def _run(work: Callable[[int], None], items: range, threads: int) -> None:
    if threads == 1 or len(items) == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items))
