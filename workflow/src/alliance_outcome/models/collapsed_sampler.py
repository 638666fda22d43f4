"""A sampler of the collapsed posterior: independence Metropolis from proposals fitted to it.

The mode and the curvature there give a multivariate t; draws from it, weighted, give a better one; proposals from that
are accepted or rejected by Metropolis and Hastings' rule, so that R-hat and effective sample sizes mean what they mean
for any Markov chain. Proposals are folded like the density. The shape k of a Pareto distribution fitted to the largest
importance ratios (Vehtari, Simpson, Gelman, Yao & Gabry 2024, arXiv:1507.02646) says whether they cover the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy import special

from alliance_outcome.models.collapsed_posterior import CollapsedPosterior, Evaluated
from alliance_outcome.models.fitted_state import FloatArray

#: Degrees of freedom of the first proposals, those that fitted ones choose from, and of proposals that are fitted again
#: where tails were too light.
FIRST_DF, FITTED_DFS, HEAVY_DF = 5.0, (6.0, 12.0, 40.0), 3.0

#: Draws of an adaptation round, most rounds, and the share of effective draws at which they are enough.
ROUND_DRAWS, MOST_ROUNDS, ENOUGH = 1_000, 4, 0.6

#: Pareto shape beyond which the proposals do not cover the posterior.
LARGEST_PARETO_K = 0.7

#: Newton steps to the mode, their lengths, and the gain of log density at which they end.
NEWTON_STEPS, LENGTHS, NEWTON_GAIN = 50, 0.5 ** np.arange(8), 1e-4

#: Steps of second differences: of each parameter's size at first, then of its posterior standard deviation.
FIRST_STEP, STEP = 0.02, 0.2

#: Log density that a step of second differences loses at most.
FARTHEST = 1e3

#: Smallest curvature, relative to the largest, that counts as one.
SMALLEST_CURVATURE = 1e-6


class CollapsedSamplerFailed(Exception):
    """The collapsed sampler does not cover the posterior; NUTS has to sample it."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A multivariate t distribution, folded.

    Parameters
    ----------
    centre : ndarray, shape (k,)
    triangle : ndarray, shape (k, k)
        Cholesky factor of the scale matrix.
    df : float
    signs : ndarray, shape (n_signs, k)
        Changes of sign over which it is folded.
    """

    centre: FloatArray
    triangle: FloatArray
    df: float
    signs: FloatArray

    def draw(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draw values, shape (size, k), not folded yet."""
        k = len(self.centre)
        normal = rng.standard_normal((size, k)) @ self.triangle.T
        return self.centre + normal * np.sqrt(self.df / rng.chisquare(self.df, (size, 1)))

    def log_density(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of the density of folded values up to a constant, shape (n,)."""
        k, inverse = len(self.centre), np.linalg.inv(self.triangle)
        deviations = values[:, None, :] * self.signs - self.centre
        distances = np.sum((deviations @ inverse.T) ** 2, axis=2)
        return special.logsumexp(-0.5 * (self.df + k) * np.log1p(distances / self.df), axis=1)


@dataclass(frozen=True, eq=False)
class CollapsedDraws:
    """Draws of all chains.

    Parameters
    ----------
    values : ndarray, shape (chains, draws, k)
        Variance parameters in the coordinates of :class:`CollapsedPosterior`.
    coefficients : ndarray, shape (chains, draws, p)
        Fixed effects of standardised columns.
    log_density : ndarray, shape (chains, draws)
    acceptance : ndarray, shape (chains,)
        Share of proposals that were accepted.
    pareto_k : float
    """

    values: FloatArray
    coefficients: FloatArray
    log_density: FloatArray
    acceptance: FloatArray
    pareto_k: float


def sample_collapsed(
    posterior: CollapsedPosterior, *, chains: int, draws: int, seed: int, threads: int = 1
) -> CollapsedDraws:
    """Sample a collapsed posterior.

    Parameters
    ----------
    posterior : CollapsedPosterior
    chains, draws : int
    seed : int
    threads : int
        Threads of compiled code; they do not change the draws.

    Returns
    -------
    CollapsedDraws

    Raises
    ------
    CollapsedSamplerFailed
        If no mode is found, or the proposals do not cover the posterior (Pareto k of 0.7 or more).
    """
    rng = np.random.default_rng(seed)
    proposal, starts = _adapted(posterior, rng, chains, threads)
    proposed = _proposed(posterior, proposal, rng, chains * draws, threads)
    weights, pareto_k = _smoothed(proposed.log_ratios)
    if not pareto_k < LARGEST_PARETO_K:
        proposal = _fitted(proposed.values, weights, posterior.signs, HEAVY_DF)
        proposed = _proposed(posterior, proposal, rng, chains * draws, threads)
        pareto_k = _smoothed(proposed.log_ratios)[1]
    if not pareto_k < LARGEST_PARETO_K:
        raise CollapsedSamplerFailed(
            f"the largest importance ratios have a Pareto shape of {pareto_k:.2f}, {LARGEST_PARETO_K} or more"
        )
    start_ratios = starts.evaluated.log_density - proposal.log_density(starts.values)
    chosen, acceptance = _metropolis(
        proposed.log_ratios.reshape(chains, draws), start_ratios, np.log(rng.random((chains, draws)))
    )
    # Where a chain starts from stands behind all proposals.
    everything = np.concatenate([proposed.values, starts.values])
    kept = proposed.evaluated.joined(starts.evaluated).chosen(chosen.ravel())
    return CollapsedDraws(
        everything[chosen],
        kept.draw_coefficients(rng).reshape(chains, draws, -1),
        kept.log_density.reshape(chains, draws),
        acceptance,
        pareto_k,
    )


@dataclass(frozen=True, eq=False)
class _Proposed:
    """Proposed values, the posterior there, and logarithms of importance ratios."""

    values: FloatArray
    evaluated: Evaluated
    log_ratios: FloatArray


def _adapted(
    posterior: CollapsedPosterior, rng: np.random.Generator, chains: int, threads: int
) -> tuple[Proposal, _Proposed]:
    """Fit proposals to weighted draws until most count; return them, and a draw from the posterior for each chain."""
    proposal = first_proposal(posterior, threads)
    for _ in range(MOST_ROUNDS):
        proposed = _proposed(posterior, proposal, rng, ROUND_DRAWS, threads)
        weights = _smoothed(proposed.log_ratios)[0]
        proposal = _best_fitted(proposed, weights, posterior.signs)
        if 1.0 / np.sum(weights**2) >= ENOUGH * len(weights):
            break
    chosen = rng.choice(len(weights), chains, p=weights)
    return proposal, _Proposed(
        proposed.values[chosen], proposed.evaluated.chosen(chosen), proposed.log_ratios[chosen]
    )


def _proposed(
    posterior: CollapsedPosterior, proposal: Proposal, rng: np.random.Generator, size: int, threads: int
) -> _Proposed:
    """Draw from a proposal."""
    values = posterior.fold(proposal.draw(rng, size))
    evaluated = posterior.evaluate(values, threads)
    return _Proposed(values, evaluated, evaluated.log_density - proposal.log_density(values))


def _smoothed(log_ratios: FloatArray) -> tuple[FloatArray, float]:
    """Return importance weights that sum to one, the largest smoothed, and the Pareto shape of those.

    Raises
    ------
    CollapsedSamplerFailed
        If hardly any of the proposals is possible.
    """
    possible = np.isfinite(log_ratios)
    if possible.mean() < 0.5:
        raise CollapsedSamplerFailed("most proposals are impossible under the posterior")
    weights = np.zeros(len(log_ratios))
    log_weights, pareto_k = array_stats.psislw(-log_ratios[possible])
    weights[possible] = np.exp(log_weights - special.logsumexp(log_weights))
    return weights, float(pareto_k)


def _best_fitted(proposed: _Proposed, weights: FloatArray, signs: FloatArray) -> Proposal:
    """Fit proposals to weighted values, with the tails that make the most of them.

    With importance ratios w a share 1 / (E[w] E[1/w]) of proposals counts, expectations over the posterior.
    """
    candidates = [_fitted(proposed.values, weights, signs, df) for df in FITTED_DFS]
    counted = weights > 0.0
    log_weights = np.log(weights[counted])
    losses = []
    for proposal in candidates:
        ratios = (proposed.evaluated.log_density - proposal.log_density(proposed.values))[counted]
        losses.append(special.logsumexp(log_weights + ratios) + special.logsumexp(log_weights - ratios))
    return candidates[int(np.argmin(losses))]


def _fitted(values: FloatArray, weights: FloatArray, signs: FloatArray, df: float) -> Proposal:
    """Fit a proposal to weighted values."""
    centre = weights @ values
    deviations = values - centre
    covariance = (weights[:, None] * deviations).T @ deviations
    return Proposal(centre, np.linalg.cholesky(covariance), df, signs)


def _metropolis(
    log_ratios: FloatArray, start_ratios: FloatArray, log_uniforms: FloatArray
) -> tuple[np.ndarray, FloatArray]:
    """Accept or reject proposals.

    Parameters
    ----------
    log_ratios, log_uniforms : ndarray, shape (chains, draws)
    start_ratios : ndarray, shape (chains,)

    Returns
    -------
    ndarray of int, shape (chains, draws)
        Which proposal each draw is, numbered over all chains; behind them stand the starts.
    ndarray, shape (chains,)
        Share of accepted proposals.
    """
    chains, draws = log_ratios.shape
    chosen = np.empty((chains, draws), dtype=np.intp)
    accepted = np.zeros(chains)
    for chain in range(chains):
        current, at = start_ratios[chain], chains * draws + chain
        pairs = zip(log_ratios[chain].tolist(), log_uniforms[chain].tolist(), strict=True)
        for draw, (ratio, uniform) in enumerate(pairs):
            if uniform < ratio - current:
                current, at = ratio, chain * draws + draw
                accepted[chain] += 1.0
            chosen[chain, draw] = at
    return chosen, accepted / draws


def first_proposal(posterior: CollapsedPosterior, threads: int = 1) -> Proposal:
    """Return a proposal at the mode of the posterior with the curvature there.

    Raises
    ------
    CollapsedSamplerFailed
        If the density cannot be evaluated where its maximum should be.
    """
    value, covariance = posterior_mode(posterior, threads)
    return Proposal(value, np.linalg.cholesky(covariance), FIRST_DF, posterior.signs)


def posterior_mode(posterior: CollapsedPosterior, threads: int = 1) -> tuple[FloatArray, FloatArray]:
    """Find the mode by Newton's method with second differences.

    Parameters
    ----------
    posterior : CollapsedPosterior
    threads : int

    Returns
    -------
    mode : ndarray, shape (k,)
    covariance : ndarray, shape (k, k)
        Inverse of the curvature of minus the log density there; directions that are not curved that way get one of the
        smallest curvatures.

    Raises
    ------
    CollapsedSamplerFailed
        If the density cannot be evaluated where its maximum should be.
    """
    value = posterior.start()
    steps = FIRST_STEP * np.maximum(np.abs(value), 0.1 * abs(value[posterior.residual_position]))
    for _ in range(NEWTON_STEPS):
        best, gradient, hessian = _differences(posterior, value, steps, threads)
        covariance = _inverse_curvature(hessian)
        steps = STEP * np.sqrt(np.diag(covariance))
        trials = value + LENGTHS[:, None] * (covariance @ gradient)
        found = posterior.evaluate(trials, threads).log_density
        if not np.max(found) > best + NEWTON_GAIN:
            break
        value = trials[np.argmax(found)]
    _, _, hessian = _differences(posterior, value, steps, threads)
    folded = posterior.fold(value[None])[0]
    covariance = _inverse_curvature(hessian)
    changed = np.where(folded == value, 1.0, -1.0)
    return folded, covariance * np.outer(changed, changed)


def _differences(
    posterior: CollapsedPosterior, value: FloatArray, steps: FloatArray, threads: int
) -> tuple[float, FloatArray, FloatArray]:
    """Return log density, gradient and Hessian by central differences, all evaluated in one go."""
    k = len(value)
    single = np.vstack([np.diag(steps), -np.diag(steps)])
    pairs = [(a, b) for a in range(k) for b in range(a)]
    crossed = [
        sign_a * np.eye(k)[a] * steps + sign_b * np.eye(k)[b] * steps
        for a, b in pairs
        for sign_a, sign_b in ((1, 1), (1, -1), (-1, 1), (-1, -1))
    ]
    moves = np.vstack([np.zeros((1, k)), single, np.reshape(crossed, (-1, k))])
    found = posterior.evaluate(value + moves, threads).log_density
    best = found[0]
    if not np.isfinite(best):
        raise CollapsedSamplerFailed("the posterior density cannot be evaluated at its mode")
    # Where the density is zero its logarithm is not a number to compute with.
    found = np.maximum(found, best - FARTHEST)
    up, down = found[1 : k + 1], found[k + 1 : 2 * k + 1]
    hessian = np.diag((up - 2.0 * best + down) / steps**2)
    for (a, b), corners in zip(pairs, found[2 * k + 1 :].reshape(-1, 4), strict=True):
        mixed = (corners[0] - corners[1] - corners[2] + corners[3]) / (4.0 * steps[a] * steps[b])
        hessian[a, b] = hessian[b, a] = mixed
    return float(best), (up - down) / (2.0 * steps), hessian


def _inverse_curvature(hessian: FloatArray) -> FloatArray:
    """Invert minus a Hessian, after scaling to its diagonal; directions curved the wrong way count with their size."""
    sizes = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    values, vectors = np.linalg.eigh(-hessian / np.outer(sizes, sizes))
    values = np.maximum(np.abs(values), SMALLEST_CURVATURE * np.abs(values).max())
    return (vectors / values) @ vectors.T / np.outer(sizes, sizes)
