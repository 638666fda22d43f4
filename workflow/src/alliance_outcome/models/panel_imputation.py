"""What a panel model says if clients fare otherwise after leaving than those who stay: delta-adjusted imputation.

A model of values missing at random expects of those who left what it expects of anybody with their past. Here the
outcome of the sessions after a client's last one is drawn from that expectation, shifted by a constant, and the model
is fitted again to the completed outcomes (Carpenter & Kenward 2013, 10.1002/9781119942283; Cro et al. 2020,
10.1002/sim.8569). How large a shift it takes to change a conclusion is its tipping point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from alliance_outcome.models.contrast import Contrast, wald_contrast
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite
from alliance_outcome.models.panel_result import PanelResult

#: Draws of parameters that are tried before one has a covariance matrix.
_TRIALS = 50


@dataclass(frozen=True)
class Pooled:
    """A contrast over imputations.

    Parameters
    ----------
    contrast : Contrast
        By Rubin's rules (1987, 10.1002/9780470316696).
    monte_carlo_error : float
        Standard error of the estimate due to the number of imputations.
    n_imputations : int
    """

    contrast: Contrast
    monte_carlo_error: float
    n_imputations: int


def after_leaving(result: PanelResult) -> np.ndarray:
    """Say which outcomes come after the last wave of which anything is known of a client.

    Parameters
    ----------
    result : PanelResult

    Returns
    -------
    ndarray of bool, shape (n_clients, p)
    """
    waves, numbers = result.rows.places.T
    last = np.where(np.isnan(result.rows.values), -1, waves).max(axis=1)
    return (waves > last[:, None]) & (numbers == 0)


def shifted_differences(
    result: PanelResult,
    pairs: Sequence[tuple[str, str]],
    shifts: Sequence[float],
    *,
    n_imputations: int,
    seed: int,
) -> dict[tuple[str, str], dict[float, Pooled]]:
    """Return the differences of raters' paths for each shift of what comes after leaving.

    Parameters
    ----------
    result : PanelResult
        Of values taken to be missing at random.
    pairs : sequence of tuple of str
        Raters.
    shifts : sequence of float
        Added to outcomes after leaving, in standard deviations within clients.
    n_imputations : int
    seed : int
        The same draws are used for every shift.

    Returns
    -------
    dict
        By pair, and by shift.

    Raises
    ------
    UnavailableInference
        If nobody leaves, or some fit gives no standard error.
    """
    left = after_leaving(result)
    if not left.any():
        raise UnavailableInference("no client leaves before the last session used")
    unit = result.within_sd[result.description.outcome]
    found: dict[tuple[str, str], dict[float, list[Contrast]]] = {
        pair: {shift: [] for shift in shifts} for pair in pairs
    }
    for values in imputations(result, left, n_imputations, seed):
        for shift in shifts:
            again = _again(result, np.where(left, values + shift * unit, values))
            for pair, contrasts in found.items():
                contrasts[shift].append(again.contrast(again.difference_weights(*pair), kind="observed"))
    return {
        pair: {shift: pooled(each) for shift, each in contrasts.items()} for pair, contrasts in found.items()
    }


def _again(result: PanelResult, values: FloatArray) -> PanelResult:
    """Fit the model to completed values."""
    try:
        again = result.refitted(values)
    except NotPositiveDefinite as problem:
        raise UnavailableInference("the model could not be fitted to completed outcomes") from problem
    if not again.converged or again.improper:
        raise UnavailableInference("a fit to completed outcomes did not converge, or is improper")
    return again


def imputations(
    result: PanelResult, wanted: np.ndarray, n_imputations: int, seed: int
) -> Iterator[FloatArray]:
    """Draw values from what the model expects of them, given all that is known of a client.

    Parameters
    ----------
    result : PanelResult
    wanted : ndarray of bool, shape (n_clients, p)
        Missing values to be drawn.
    n_imputations : int
    seed : int

    Yields
    ------
    ndarray, shape (n_clients, p)
        Each with parameters of its own, drawn from their approximate distribution.
    """
    random = np.random.default_rng(seed)
    factor = _root(result.cov_params("observed").to_numpy())
    patterns = _patterns(result.rows.values, wanted)
    for _ in range(n_imputations):
        mean, covariance = _drawn_moments(result, factor, random)
        completed = result.rows.values.copy()
        for clients, known, drawn in patterns:
            completed[np.ix_(clients, drawn)] = _draw(
                result.rows.values[np.ix_(clients, known)], mean, covariance, known, drawn, random
            )
        yield completed


def _patterns(values: FloatArray, wanted: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Group clients with the same values known and wanted: clients, known places, wanted places."""
    known = ~np.isnan(values)
    # Draws go with what is known of a client, not with the order of the file.
    order = np.lexsort(np.nan_to_num(values).T)
    chosen = order[wanted[order].any(axis=1)]
    both = np.concatenate([known, wanted], axis=1)[chosen]
    patterns, members = np.unique(both, axis=0, return_inverse=True)
    p = values.shape[1]
    return [
        (chosen[members.ravel() == number], np.flatnonzero(pattern[:p]), np.flatnonzero(pattern[p:]))
        for number, pattern in enumerate(patterns)
    ]


def _root(covariance: FloatArray) -> FloatArray:
    """Return a square root of a covariance matrix that may be singular."""
    values, vectors = linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T


def _drawn_moments(
    result: PanelResult, factor: FloatArray, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw parameters until they imply a covariance matrix, and return expected values and that matrix."""
    estimates = result.maximum.parameters
    for _ in range(_TRIALS):
        at = result.structure.at(estimates + factor @ random.standard_normal(len(estimates)))
        if linalg.eigvalsh(at.covariance)[0] > 0.0:
            return at.matrices["mean"], at.covariance
    raise UnavailableInference("parameters near the estimates imply no covariance matrix")


def _draw(
    values: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
    known: np.ndarray,
    drawn: np.ndarray,
    random: np.random.Generator,
) -> FloatArray:
    """Draw from a conditional normal distribution, shape (n_clients of the pattern, n drawn)."""
    across = covariance[np.ix_(drawn, known)]
    weights = linalg.solve(covariance[np.ix_(known, known)], across.T, assume_a="pos").T
    left_over = covariance[np.ix_(drawn, drawn)] - weights @ across.T
    expected = mean[drawn] + (values - mean[known]) @ weights.T
    factor = linalg.cholesky(left_over, lower=True)
    return expected + random.standard_normal((len(values), len(drawn))) @ factor.T


def pooled(contrasts: Sequence[Contrast]) -> Pooled:
    """Pool contrasts of imputed data by Rubin's rules.

    Parameters
    ----------
    contrasts : sequence of Contrast
        At least two.

    Returns
    -------
    Pooled
    """
    estimates = np.array([each.estimate for each in contrasts])
    within = float(np.mean([each.std_error**2 for each in contrasts]))
    n = len(estimates)
    between = float(np.var(estimates, ddof=1))
    added = (1.0 + 1.0 / n) * between
    freedom = np.inf if added <= 0.0 else (n - 1) * (1.0 + within / added) ** 2
    contrast = wald_contrast(float(estimates.mean()), float(np.sqrt(within + added)), freedom)
    return Pooled(contrast, float(np.sqrt(between / n)), n)
