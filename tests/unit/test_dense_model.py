"""The dense model that other tests hold the engine against, itself held against lme4 and hand computation."""

from __future__ import annotations

import numpy as np
import pytest
from dense_model import DenseModel
from small_sample_reference import EXPECTED, reference

from alliance_outcome.models.fitted_state import WorkingRows

# Both sides are dense algebra on a few hundred rows, which leaves some 1e-14; R's numbers are stored with 15 digits.
EXACT = 1e-11


@pytest.mark.parametrize("name", EXPECTED)
def test_fixed_effects_and_restricted_likelihood_are_those_of_lme4(name: str) -> None:
    found = reference(name)
    assert found.model.coefficients == pytest.approx(np.array(found.expected["fixef"]), rel=EXACT)
    assert found.model.covariance == pytest.approx(np.array(found.expected["vcov"]), rel=EXACT, abs=EXACT)
    assert found.model.log_likelihood(reml=True) == pytest.approx(found.expected["log_likelihood"], rel=EXACT)


def test_covariance_of_two_units_of_a_cluster_by_hand() -> None:
    rows = WorkingRows(
        outcome=np.array([1.0, 2.0, 4.0]),
        fixed=np.ones((3, 1)),
        unit_random=np.ones((3, 1)),
        cluster_random=np.array([[1.0], [2.0], [3.0]]),
        unit_starts=np.array([0, 2, 3]),
        cluster_starts=np.array([0, 2]),
        gaps=np.array([0.0, 2.0, 0.0]),
    )
    model = DenseModel(rows, np.array([[5.0]]), np.array([[0.1]]), 10.0, autocorrelation=0.5)
    # Residual 10 (with 0.5² at a gap of 2), unit 50, cluster 1 times the product of its effect's columns.
    by_hand = [[10 + 50 + 1, 2.5 + 50 + 2, 3], [2.5 + 50 + 2, 10 + 50 + 4, 6], [3, 6, 10 + 50 + 9]]
    assert model.marginal_covariance == pytest.approx(np.array(by_hand))


def test_likelihood_of_equal_variances_by_hand() -> None:
    rows = WorkingRows(
        outcome=np.array([1.0, 3.0]),
        fixed=np.ones((2, 1)),
        unit_random=np.empty((2, 0)),
        cluster_random=np.empty((2, 0)),
        unit_starts=np.array([0, 1, 2]),
        cluster_starts=np.array([0, 1, 2]),
    )
    model = DenseModel(rows, np.empty((0, 0)), np.empty((0, 0)), 2.0)
    # Mean 2, sum of squares 2: −½ [2 log(2π·2) + 2/2], and for REML −½ [log(2π·2) + log 2 + 2/2] with X'X = 2.
    assert model.log_likelihood(reml=False) == pytest.approx(-0.5 * (2 * np.log(4 * np.pi) + 1))
    assert model.log_likelihood(reml=True) == pytest.approx(-0.5 * (np.log(4 * np.pi) + np.log(2) + 1))
