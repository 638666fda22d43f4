"""Two-level factor models held against lavaan; see factors/reference.R.

lavaan's standard errors are those of standardizedSolution(): the delta method on the inverse of the observed
information (minus second derivatives of the log-likelihood, ``information = "observed"``), as ours are. Its search for
free matrices (``unrestricted.logl``) stops a little early, so that its χ² is lower by up to 5e-4, and residuals of
correlations differ in the fifth decimal.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.item_covariances import ItemRows, fit_items
from alliance_outcome.models.item_factors import (
    difference,
    estimated,
    factor_correlations,
    faults,
    fit_factors,
    fit_indices,
    standardised_loadings,
)
from alliance_outcome.models.item_structures import bifactor, correlated_factors, one_factor, paired_factors

FOLDER = Path(__file__).parent / "factors"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
RATERS = EXPECTED.pop("raters")
CASES = [(name, kind) for name, kinds in EXPECTED.items() for kind in kinds]
BOTH = {"free": (False, False), "within": (True, False), "between": (False, True), "both": (True, True)}


def rows_of(name):
    table = pd.read_csv(FOLDER / f"{name}.csv")
    return ItemRows.of(table.drop(columns="client"), table["client"])


def structure_of(kind, d):
    groups = [item // 3 for item in range(d)]
    return {
        "one_factor": one_factor(d),
        "correlated_factors": correlated_factors(groups),
        "bifactor": bifactor(groups),
    }[kind]


@pytest.fixture(scope="module")
def references():
    found = {}
    for name in EXPECTED:
        rows = rows_of(name)
        found[name] = (rows, *(fit_items(rows, form, form) for form in ("saturated", "uncorrelated")))
    return found


@pytest.fixture(scope="module")
def fits(references):
    found = {}
    for name, kind in CASES:
        rows, saturated, _ = references[name]
        found[name, kind] = fit_factors(rows, saturated, structure_of(kind, len(rows.items)))
    return found


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_log_likelihood(name, kind, fits):
    fit, expected = fits[name, kind], EXPECTED[name][kind]["indices"]
    assert faults(fit) == ()
    assert fit.log_likelihood == pytest.approx(expected["logl"], rel=1e-10)
    assert len(fit.parameters) == expected["npar"]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_indices_of_fit(name, kind, fits, references):
    _, saturated, baseline = references[name]
    expected = EXPECTED[name][kind]["indices"]
    found = fit_indices(fits[name, kind], saturated, baseline)
    assert found.df == expected["df"]
    assert found.chi_square == pytest.approx(expected["chisq"], abs=5e-4)
    assert found.p_value == pytest.approx(expected["pvalue"], abs=1e-4)
    for index in ("cfi", "rmsea"):
        assert getattr(found, index) == pytest.approx(expected[index], abs=1e-6)
    for index in ("srmr_within", "srmr_between"):
        assert getattr(found, index) == pytest.approx(expected[index], abs=1e-4)
    # N of the BIC is the number of sessions.
    for index in ("aic", "bic"):
        assert getattr(found, index) == pytest.approx(expected[index], rel=1e-10)
    null = difference(baseline, saturated)
    assert null.df == expected["baseline.df"]
    assert null.chi_square == pytest.approx(expected["baseline.chisq"], abs=5e-4)


def ours(fit, kind, d):
    """Return estimates and standard errors by level, factor or pair of factors, and item."""
    k = fit.levels[0].n_factors
    factors = (["g"] if kind != "correlated_factors" else []) + [f"f{number + 1}" for number in range(k)]
    found = {}
    loadings = estimated(fit, lambda own: standardised_loadings(fit, own))
    for (level, item, factor), value in zip(np.ndindex(2, d, k), loadings, strict=True):
        found[level, factors[factor], f"item{item + 1}"] = value
    correlations = estimated(fit, lambda own: factor_correlations(fit, own), "correlation")
    for (level, one, other), value in zip(np.ndindex(2, k, k), correlations, strict=True):
        found[level, factors[one], factors[other]] = value
    return found


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_loadings_and_correlations_with_standard_errors(name, kind, fits):
    fit = fits[name, kind]
    found = ours(fit, kind, len(fit.rows.items))
    expected = EXPECTED[name][kind]["standardised"]
    assert len(expected) == 2 * sum(np.sum(fit.levels[0].slots >= 0, axis=0)) + 2 * fit.levels[0].n_angles
    for row in expected:
        own = found[("within", "between").index(row["level"]), row["lhs"], row["rhs"]]
        assert own.estimate == pytest.approx(row["est.std"], abs=2e-5)
        assert own.std_error == pytest.approx(row["se"], rel=1e-3)
        assert own.low < own.estimate < own.high


def test_equal_loadings_of_raters():
    rows = rows_of("raters")
    saturated = fit_items(rows, "saturated", "saturated")
    fits = {
        name: fit_factors(rows, saturated, *(paired_factors(rows.scale, equal=equal) for equal in levels))
        for name, levels in BOTH.items()
    }
    for name, fit in fits.items():
        assert faults(fit) == ()
        assert fit.log_likelihood == pytest.approx(RATERS[name]["logl"], rel=1e-10)
        assert difference(fit, saturated).df == RATERS[name]["df"]
        assert difference(fit, saturated).chi_square == pytest.approx(RATERS[name]["chisq"], abs=1e-3)
    # The loadings of the second rater were simulated 0.1 points lower between clients, and equal within.
    assert difference(fits["within"], fits["free"]).p_value > 0.05
    assert difference(fits["between"], fits["free"]).df == 2
