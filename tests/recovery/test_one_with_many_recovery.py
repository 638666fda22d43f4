"""Do 95 % profile intervals of the one-with-many split hold the planted values about as often as they say?"""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.one_with_many import fit_one_with_many
from alliance_outcome.models.one_with_many_profiles import correlation_interval, share_interval
from alliance_outcome.models.one_with_many_ratings import Ratings

#: Standard deviations by level (session, client, therapist) and rater, and the raters' correlation by level.
DEVIATIONS = np.array([[0.6, 0.5], [0.7, 0.5], [0.35, 0.6]])
CORRELATIONS = (0.2, 0.3, 0.4)
SAMPLES, THERAPISTS, CLIENTS, SESSIONS = 40, 20, 5, 3


def sample(seed):
    generator = np.random.default_rng(seed)
    client = np.repeat(np.arange(THERAPISTS * CLIENTS), SESSIONS)
    therapist = client // CLIENTS
    values = np.zeros((len(client), 2))
    codes = (np.arange(len(client)), client, therapist)
    for code, deviations, correlation in zip(codes, DEVIATIONS, CORRELATIONS, strict=True):
        shape = np.array([[1.0, correlation], [correlation, 1.0]]) * np.outer(deviations, deviations)
        values += generator.multivariate_normal([0.0, 0.0], shape, code.max() + 1)[code]
    values[generator.random(values.shape) < 0.1] = np.nan
    return Ratings.of(pd.DataFrame(values, columns=["client", "therapist"]), client, therapist)


@pytest.fixture(scope="module")
def held():
    """Say by quantity in which samples the interval holds the planted value."""
    squares = DEVIATIONS**2
    shares = squares / squares.sum(axis=0)
    found = {"share of therapists, client": [], "share of therapists, therapist": []}
    found |= {"dyadic reciprocity": [], "generalised reciprocity": []}
    for seed in range(SAMPLES):
        fit = fit_one_with_many(sample(seed))
        for rater, name in enumerate(list(found)[:2]):
            low, high = share_interval(fit, 2, rater)
            found[name].append(low <= shares[2, rater] <= high)
        for level, name in ((1, "dyadic reciprocity"), (2, "generalised reciprocity")):
            low, high = correlation_interval(fit, level)
            found[name].append(low <= CORRELATIONS[level] <= high)
    return found


def test_intervals_hold_what_was_planted(held):
    # With a coverage of .95, fewer than 34 of 40 samples hold the value with a probability of .003. Over 300 samples of
    # this kind with six clients and five sessions each, coverage was between .93 and .98 for every quantity.
    assert {name: sum(each) for name, each in held.items() if sum(each) < 34} == {}


def test_intervals_are_not_needlessly_wide(held):
    # All four to hold in every sample would have a probability below .0003 if they were independent.
    assert sum(map(sum, held.values())) < 4 * SAMPLES
