"""The estimators that the bias table compares: those that the field usually applies, and the panel models.

Each returns both raters' paths to the next severity with their joint covariance. Multilevel models are of pairs of
successive sessions, with a random intercept of clients, after the mean of each session is taken out:

- ``lagged_outcome``: previous severity as it is, alliance as deviation from the client's mean;
- ``centred_lag``: previous severity as deviation from the client's mean, too;
- ``no_lag``: no previous severity;
- ``detrended``: alliance as deviation from the client's own line over time, random trends of severity;
- ``hybrid``: means of clients beside deviations, first severity, random slopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite
from alliance_outcome.models.panel_result import PanelResult

RATERS = ("client", "therapist")


@dataclass(frozen=True)
class Paths:
    """Two paths to the next severity, per unit of alliance.

    Parameters
    ----------
    estimates : ndarray, shape (2,)
    covariance : ndarray, shape (2, 2)
    """

    estimates: FloatArray
    covariance: FloatArray


@dataclass(frozen=True, eq=False)
class Pairs:
    """Successive sessions of clients, the mean of each session taken out.

    Parameters
    ----------
    client : ndarray of int, shape (n_pairs,)
    wave : ndarray, shape (n_pairs,)
        Of the outcome.
    outcome, before : ndarray, shape (n_pairs,)
        Severity and the one before.
    alliance : ndarray, shape (n_pairs, 2)
        Before the outcome.
    """

    client: IndexArray
    wave: FloatArray
    outcome: FloatArray
    before: FloatArray
    alliance: FloatArray

    def deviations(self, values: FloatArray) -> FloatArray:
        """Return deviations from the means of clients."""
        return values - self.means(values)

    def means(self, values: FloatArray) -> FloatArray:
        """Return means of clients, at each pair."""
        counts = np.bincount(self.client)
        columns = values.reshape(len(values), -1).T
        sums = np.column_stack([np.bincount(self.client, column) for column in columns])
        return (sums / np.maximum(counts, 1)[:, None])[self.client].reshape(values.shape)

    def residuals(self, values: FloatArray) -> FloatArray:
        """Return deviations from each client's own line over waves."""
        time, own = self.deviations(self.wave), self.deviations(values)
        squares = np.bincount(self.client, time**2)[self.client]
        columns = own.reshape(len(own), -1)
        products = np.column_stack([np.bincount(self.client, time * column) for column in columns.T])
        slopes = products[self.client] / np.where(squares > 0.0, squares, 1.0)[:, None]
        return (columns - time[:, None] * slopes).reshape(values.shape)


def pairs_of(values: FloatArray) -> Pairs:
    """Pair each severity with the session before.

    Parameters
    ----------
    values : ndarray, shape (n_clients, n_waves, n_variables)
        Severity first, then ratings; NaN where missing.

    Returns
    -------
    Pairs
        Those of which nothing is missing.
    """
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centred = values - np.where(known, values, 0.0).sum(axis=0) / counts
    later, earlier = centred[:, 1:, 0], centred[:, :-1]
    complete = ~np.isnan(later) & ~np.isnan(earlier[..., :3]).any(axis=2)
    client, wave = np.nonzero(complete)
    rows = earlier[client, wave]
    return Pairs(client, wave + 1.0, later[client, wave], rows[:, 0], rows[:, 1:3])


def _multilevel(
    pairs: Pairs,
    alliance: FloatArray,
    others: Mapping[str, FloatArray],
    random: tuple[str, ...] = ("Intercept",),
    lagged: str | None = None,
) -> Paths:
    """Fit a multilevel model of clients with both raters' alliance and other columns."""
    fixed = pd.DataFrame(
        {"Intercept": 1.0, **{rater: alliance[:, k] for k, rater in enumerate(RATERS)}, **others}
    )
    result = MultilevelModel(
        pairs.outcome,
        fixed,
        groups={"client": pairs.client},
        random={"client": random},
        time=None if lagged is None else pairs.wave,
        lagged_outcome=lagged,
    ).fit()
    if not result.converged:
        raise UnavailableInference("the model did not converge")
    covariance = result.cov_params().loc[list(RATERS), list(RATERS)].to_numpy()
    if not np.isfinite(covariance).all():
        raise UnavailableInference("standard errors are not to be had")
    return Paths(result.params[list(RATERS)].to_numpy(), covariance)


def lagged_outcome(pairs: Pairs) -> Paths:
    """Apply the model with previous severity as it is."""
    return _multilevel(pairs, pairs.deviations(pairs.alliance), {"before": pairs.before}, lagged="before")


def centred_lag(pairs: Pairs) -> Paths:
    """Apply the model with previous severity as deviation from the client's mean."""
    return _multilevel(pairs, pairs.deviations(pairs.alliance), {"before": pairs.deviations(pairs.before)})


def no_lag(pairs: Pairs) -> Paths:
    """Apply the model without previous severity."""
    return _multilevel(pairs, pairs.deviations(pairs.alliance), {})


def detrended(pairs: Pairs) -> Paths:
    """Apply the model with alliance as deviation from the client's own line, and random trends of severity."""
    time = pairs.wave - pairs.wave.mean()
    return _multilevel(pairs, pairs.residuals(pairs.alliance), {"time": time}, ("Intercept", "time"))


def hybrid(pairs: Pairs) -> Paths:
    """Apply the model with means of clients and deviations from them, first severity, and random slopes."""
    means = pairs.means(pairs.alliance)
    first = np.full(pairs.client.max() + 1, np.nan)
    # The first pair of a client is the last that is written.
    first[pairs.client[::-1]] = pairs.before[::-1]
    others = {"client_mean": means[:, 0], "therapist_mean": means[:, 1], "first": first[pairs.client]}
    return _multilevel(pairs, pairs.deviations(pairs.alliance), others, ("Intercept", *RATERS))


MULTILEVEL: dict[str, Callable[[Pairs], Paths]] = {
    "lagged_outcome": lagged_outcome,
    "centred_lag": centred_lag,
    "no_lag": no_lag,
    "detrended": detrended,
    "hybrid": hybrid,
}


def panel_paths(fitted: PanelResult, values: FloatArray) -> Paths:
    """Apply a panel model that was set up for the study.

    Parameters
    ----------
    fitted : PanelResult
        Of the study.
    values : ndarray, shape (n_clients, p)
        Of a simulated study, in the order of the fitted one.

    Returns
    -------
    Paths

    Raises
    ------
    UnavailableInference
        If it does not converge, is improper, or has no standard errors.
    """
    try:
        result = fitted.refitted(values)
    except NotPositiveDefinite as problem:
        raise UnavailableInference("there was no place to start from") from problem
    if not result.converged or result.improper:
        raise UnavailableInference("the model did not converge, or is improper")
    outcome, columns = result.description.outcome, list(result.description.raters.values())[:2]
    labels = [next(iter(result.path_weights(outcome, column))) for column in columns]
    covariance = result.cov_params("observed").loc[labels, labels].to_numpy()
    return Paths(result.params[labels].to_numpy(), covariance)


def multilevel_paths(name: str, pairs: Pairs) -> Paths:
    """Apply a multilevel estimator.

    Parameters
    ----------
    name : str
        Of :data:`MULTILEVEL`.
    pairs : Pairs

    Returns
    -------
    Paths

    Raises
    ------
    UnavailableInference
        If it cannot be fitted or has no standard errors.
    """
    try:
        return MULTILEVEL[name](pairs)
    except UnfittableModel as problem:
        raise UnavailableInference(problem.reason) from problem
