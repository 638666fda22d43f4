"""Likelihood ratio tests: which likelihoods they compare, what they are referred to, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from engine_example import fit, study
from scipy import stats

DATA = study(5, autocorrelation=0.4)


def test_models_with_other_fixed_effects_are_compared_by_maximum_likelihood() -> None:
    smaller, larger = fit("y ~ x", DATA), fit("y ~ x + z + w", DATA)
    test = larger.likelihood_ratio(smaller)
    full = [fit(formula, DATA, reml=False).llf for formula in ("y ~ x", "y ~ x + z + w")]
    assert not test.reml
    # Refits start from the restricted estimates: what the optimiser's tolerance leaves.
    assert test.log_likelihoods == pytest.approx(tuple(full), abs=1e-8)
    assert test.statistic == pytest.approx(2.0 * (full[1] - full[0]), abs=1e-8)
    assert test.df == 2
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 2), rel=1e-12)
    assert np.isnan(test.p_value_boundary)
    assert test == smaller.likelihood_ratio(larger)


@pytest.mark.parametrize("reml", [True, False])
def test_models_with_the_same_fixed_effects_are_compared_as_they_were_fitted(reml: bool) -> None:
    smaller, larger = fit("y ~ x", DATA, ["client"], reml=reml), fit("y ~ x", DATA, reml=reml)
    test = larger.likelihood_ratio(smaller)
    assert test.reml == reml
    assert test.log_likelihoods == (smaller.llf, larger.llf)


def test_a_restricted_and_a_full_fit_are_compared_by_the_full_likelihood() -> None:
    smaller, larger = fit("y ~ x", DATA, ["client"], reml=False), fit("y ~ x", DATA)
    assert not larger.likelihood_ratio(smaller).reml


@pytest.mark.parametrize(
    ("smaller", "larger", "df"),
    [
        ({"random": {"client": "1"}}, {"random": {"client": "1", "therapist": "1"}}, 1),
        ({"random": {"client": "1"}}, {"random": {"client": "1 + x ||"}}, 1),
        ({"random": {"client": "1"}}, {"random": {"client": "1 + x"}}, 2),
        ({"random": {}}, {"random": {"client": "1"}}, 1),
    ],
    ids=["intercept", "independent slope", "slope with its covariance", "nothing"],
)
def test_one_variance_is_tested_on_its_boundary(smaller: dict, larger: dict, df: int) -> None:
    test = fit("y ~ x", DATA, **larger).likelihood_ratio(fit("y ~ x", DATA, **smaller))
    # The equal mixture of χ² with df and df − 1 degrees of freedom; none is a point mass at zero.
    below = stats.chi2.sf(test.statistic, df - 1) if df > 1 else 0.0
    assert test.df == df
    assert test.statistic > 0.0
    assert test.p_value_boundary == pytest.approx(
        0.5 * (stats.chi2.sf(test.statistic, df) + below), rel=1e-12
    )
    assert test.p_value_boundary < test.p_value


@pytest.mark.parametrize(
    ("smaller", "larger", "df"),
    [
        ({"random": {"client": "1 + x ||"}}, {"random": {"client": "1 + x"}}, 1),
        ({"random": {"client": "1"}}, {"random": {"client": "1 + x", "therapist": "1"}}, 3),
        ({}, {"residual": "ar1", "time": "session"}, 1),
    ],
    ids=["covariance", "two variances", "autocorrelation"],
)
def test_what_is_no_single_variance_has_no_boundary_test(smaller: dict, larger: dict, df: int) -> None:
    test = fit("y ~ x", DATA, **larger).likelihood_ratio(fit("y ~ x", DATA, **smaller))
    assert test.df == df
    assert np.isnan(test.p_value_boundary)
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, df), rel=1e-12)


def test_a_variance_of_zero_is_no_evidence_at_all() -> None:
    data = study(12, therapist_sd=0.0)
    random = {"client": "1 + x", "therapist": "1"}
    larger = fit("y ~ x + z", data, random=random)
    smaller = fit("y ~ x + z", data, ["client"], random={"client": "1 + x"})
    assert larger.singular == ("therapist:Intercept",)
    test = larger.likelihood_ratio(smaller)
    assert test.statistic == pytest.approx(0.0, abs=1e-8)
    # All of the mixture lies at or above zero.
    assert test.p_value == pytest.approx(1.0, abs=1e-3)
    assert test.p_value_boundary == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: fit("y ~ x + z", DATA[:-1]), "different rows"),
        (lambda: fit("y ~ x + z", DATA.assign(y=DATA["y"] + 1.0)), "different rows"),
        (lambda: fit("y ~ z", DATA), "equally many parameters"),
        (lambda: fit("y ~ x", DATA), "equally many parameters"),
        # More parameters, but not those that matter.
        (lambda: fit("y ~ w + session", DATA), "fits worse"),
    ],
    ids=["other rows", "another outcome", "another term", "the same model", "not nested"],
)
def test_models_that_are_not_nested_are_refused(other, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit("y ~ x", DATA).likelihood_ratio(other())


def test_the_same_rows_in_another_order_are_the_same_rows() -> None:
    larger, smaller = fit("y ~ x + z", DATA), fit("y ~ x", DATA.sample(frac=1.0, random_state=1))
    expected = larger.likelihood_ratio(fit("y ~ x", DATA))
    assert larger.likelihood_ratio(smaller).statistic == pytest.approx(expected.statistic, abs=1e-7)


def test_other_columns_of_the_same_names_are_not_the_same_fixed_effects() -> None:
    # Restricted likelihoods depend on the columns, not on what they are called.
    other = DATA.assign(x=10.0 * DATA["x"])
    test = fit("y ~ x", DATA).likelihood_ratio(fit("y ~ x", other, ["client"]))
    expected = fit("y ~ x", DATA, reml=False).likelihood_ratio(fit("y ~ x", DATA, ["client"], reml=False))
    assert not test.reml
    assert test.statistic == pytest.approx(expected.statistic, abs=1e-8)


def test_the_statistic_has_its_distribution_where_it_must() -> None:
    # Least squares: twice the log-likelihood ratio is n log of the ratio of residual sums.
    larger, smaller = (fit(formula, DATA, (), reml=False) for formula in ("y ~ x + z", "y ~ x"))
    sums = [float(np.sum(result.resid**2)) for result in (smaller, larger)]
    expected = len(DATA) * np.log(sums[0] / sums[1])
    assert larger.likelihood_ratio(smaller).statistic == pytest.approx(expected, rel=1e-10)
