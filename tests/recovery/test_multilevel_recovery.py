"""Planted effects come back: data generated from the fitted model itself, many times over.

The generator has the structure that is fitted, so that generalised least squares is unbiased in small samples
too: the mean estimate may differ from the truth by Monte Carlo error only, at most 3 standard errors of the
mean over the replications. The share of 95 % intervals that hold the truth (for effects of zero, one less the
share of false alarms) is held against .95 likewise, which tests standard errors and degrees of freedom. Seeds
are fixed, so that the tests do not fail by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.degrees_of_freedom import small_sample_inference
from alliance_outcome.models.multilevel import MultilevelModel

REPLICATIONS = 200
TERMS = ["Intercept", "within_client", "between_client", "between_therapist"]


@dataclass(frozen=True)
class Design:
    """A generator and the model that matches it.

    Parameters
    ----------
    therapists, clients, sessions : int
        Numbers of therapists (0: no such level), clients in all, and sessions per client (1: early model).
    effects : tuple of float
        Fixed effects in the order of TERMS; the last is absent without therapists.
    slope_sd, slope_correlation : float
        Of the clients' slopes on the within-client deviation; correlation with their intercepts.
    """

    therapists: int
    clients: int
    sessions: int
    effects: tuple[float, ...]
    slope_sd: float = 0.0
    slope_correlation: float = 0.0

    @property
    def terms(self) -> list[str]:
        return TERMS[: len(self.effects)]


DESIGNS = {
    "two levels, correlated slopes": Design(0, 40, 6, (30.0, -0.5, -1.0), 0.5, -0.4),
    "three levels, uncorrelated slopes": Design(12, 48, 5, (30.0, -0.5, -1.0, 0.7), 0.5),
    "three levels, correlated slopes": Design(12, 48, 5, (30.0, -0.5, -1.0, 0.7), 0.5, -0.4),
    "three levels, no effects": Design(12, 48, 5, (0.0, 0.0, 0.0, 0.0)),
    "early": Design(15, 75, 1, (30.0, -0.5, -1.0, 0.7)),
}


def generate(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """Draw predictors and outcome of one study."""
    client = np.repeat(np.arange(design.clients), design.sessions)
    therapist = client % max(design.therapists, 1)
    data = pd.DataFrame({"client": client, "therapist": therapist, "Intercept": 1.0})
    data["within_client"] = rng.normal(size=len(client))
    data["between_client"] = rng.normal(size=design.clients)[client]
    data["between_therapist"] = rng.normal(size=max(design.therapists, 1))[therapist]
    data["outcome"] = data[design.terms].to_numpy() @ design.effects + 1.5 * rng.normal(size=len(client))
    if design.sessions > 1:
        intercept, independent = rng.normal(size=(2, design.clients))
        slope = (
            design.slope_correlation * intercept + np.sqrt(1.0 - design.slope_correlation**2) * independent
        )
        data["outcome"] += intercept[client] + design.slope_sd * slope[client] * data["within_client"]
    if design.therapists:
        data["outcome"] += 0.8 * rng.normal(size=design.therapists)[therapist]
    return data


@cache
def replicate(name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Fit every replication: estimates, whether the interval holds the truth, whether the fit converged."""
    design = DESIGNS[name]
    rng = np.random.default_rng([2027, list(DESIGNS).index(name)])
    truth = pd.Series(design.effects, index=design.terms)
    estimates, covered, converged = [], [], []
    for _ in range(REPLICATIONS):
        data = generate(design, rng)
        levels = ["therapist", "client"] if design.therapists else ["client"]
        random = {level: ["Intercept"] for level in levels}
        random["client"] += ["within_client"] if design.slope_sd else []
        fit = MultilevelModel(
            data["outcome"],
            data[design.terms],
            groups={level: data[level] for level in levels},
            random=random,
        ).fit()
        inference = small_sample_inference(fit)
        contrasts = {term: inference.contrast(term) for term in design.terms}
        estimates.append(fit.params)
        covered.append({term: c.ci_low <= truth[term] <= c.ci_high for term, c in contrasts.items()})
        converged.append(fit.converged)
    return pd.DataFrame(estimates).reset_index(drop=True), pd.DataFrame(covered), pd.Series(converged)


@pytest.mark.parametrize("name", DESIGNS)
def test_mean_estimate_is_the_truth(name: str) -> None:
    estimates, _, _ = replicate(name)
    monte_carlo_error = estimates.std() / np.sqrt(REPLICATIONS)
    bias = (estimates.mean() - np.array(DESIGNS[name].effects)).abs()
    assert (bias <= 3.0 * monte_carlo_error).all(), (bias / monte_carlo_error).to_dict()
    # A generator without noise would make the test above pass or fail for the wrong reason.
    assert (monte_carlo_error > 0.0).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    _, covered, _ = replicate(name)
    share = covered.mean()
    tolerance = 3.0 * np.sqrt(0.95 * 0.05 / REPLICATIONS)
    assert ((share - 0.95).abs() <= tolerance).all(), share.to_dict()


@pytest.mark.parametrize("name", DESIGNS)
def test_every_replication_converges(name: str) -> None:
    _, _, converged = replicate(name)
    assert converged.all()
