"""Two-level factor models and reliability held against lavaan, semTools and psych; see reliability/reference.R."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.item_covariances import ItemRows, fit_items
from alliance_outcome.models.item_reliability import (
    alphas,
    goodness_of_fit,
    mean_reliability,
    nested_components,
    omegas,
    pooled_alpha,
)

FOLDER = Path(__file__).parent / "reliability"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
CASES = pytest.mark.parametrize("name", EXPECTED)


def rows_of(name):
    table = pd.read_csv(FOLDER / f"{name}.csv")
    return ItemRows.of(table.drop(columns="client"), table["client"])


@pytest.fixture(scope="module")
def fits():
    return {
        name: (fit_items(rows_of(name)), fit_items(rows_of(name), "saturated", "saturated"))
        for name in EXPECTED
    }


@CASES
def test_log_likelihood(name, fits):
    fit, saturated = fits[name]
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(EXPECTED[name]["log_likelihood"], rel=1e-8)
    # lavaan's search for free matrices stops a little early; ours must not be lower.
    assert saturated.log_likelihood > EXPECTED[name]["saturated"] - 1e-6
    assert saturated.log_likelihood == pytest.approx(EXPECTED[name]["saturated"], rel=2e-6)


@CASES
def test_covariance_matrices(name, fits):
    within, between = fits[name][0].matrices()
    assert within == pytest.approx(np.array(EXPECTED[name]["within"]), abs=2e-5)
    assert between == pytest.approx(np.array(EXPECTED[name]["between"]), abs=2e-5)


@CASES
def test_chi_square(name, fits):
    found = goodness_of_fit(*fits[name])
    assert found["df"] == EXPECTED[name]["df"]
    assert found["chi_square"] == pytest.approx(EXPECTED[name]["chi_square"], abs=0.01)


@pytest.mark.parametrize("name", [name for name in EXPECTED if "omega" in EXPECTED[name]])
def test_omega_is_that_of_semtools(name, fits):
    expected = EXPECTED[name]["omega"]
    found = omegas(fits[name][0])
    assert found["omega_within_client"] == pytest.approx(expected["config"]["f"][0], rel=1e-4)
    assert found["omega_session"] == pytest.approx(expected["config"]["f"][1], rel=1e-4)
    assert found["omega_between_client"] == pytest.approx(expected["shared"]["f"][0], rel=1e-4)


@pytest.mark.parametrize("name", [name for name in EXPECTED if "alpha" in EXPECTED[name]])
def test_alpha_of_all_sessions_is_that_of_psych(name):
    table = pd.read_csv(FOLDER / f"{name}.csv").drop(columns="client")
    assert pooled_alpha(table) == pytest.approx(EXPECTED[name]["alpha"], rel=1e-10)


@pytest.mark.parametrize("name", [name for name in EXPECTED if "nested" in EXPECTED[name]])
def test_generalisability_is_that_of_psych(name):
    table = pd.read_csv(FOLDER / f"{name}.csv")
    found = nested_components(table.drop(columns="client"), table["client"])
    expected = EXPECTED[name]["nested"]
    assert found.of_clients(expected["sessions"]) == pytest.approx(expected["of_clients"], rel=1e-5)
    assert found.of_change == pytest.approx(expected["of_change"], rel=1e-5)


def test_alpha_with_equal_items_is_omega(fits):
    fit = fits["few"][0]
    d, mean_rows = 4, fit.rows.mean_rows
    within, between = 0.5 * np.ones((d, d)) + np.eye(d), 0.3 * np.ones((d, d)) + 0.2 * np.eye(d)
    found = alphas(within, between, mean_rows)
    assert found["alpha_within_client"] == pytest.approx(0.5 * 16 / (8 + 4))
    assert found["alpha_between_client"] == pytest.approx(0.3 * 16 / (4.8 + 0.8 + 12 / mean_rows))
    assert found["alpha_session"] == pytest.approx((0.5 + 0.3) * 16 / (12 + 5.6))


def test_means_of_more_sessions_are_more_reliable(fits):
    values = [mean_reliability(fits["unbalanced"][0], sessions) for sessions in (1, 4, 16)]
    assert values == sorted(values)
    within, between = fits["unbalanced"][0].matrices()
    assert values[1] == pytest.approx(between.sum() / (between.sum() + within.sum() / 4))
