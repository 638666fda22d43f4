"""The bias table: what is planted is there, estimators are what they say, and the summary is right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from panel_example import RATERS, panel_values, sessions_of
from test_dynamics import CONTEXT, study

from alliance_outcome.analyses.bias.designs import (
    ERROR_CORRELATION,
    ERROR_SHARE,
    ESTIMATORS,
    JOBS,
    PROCESSES,
    QUANTITIES,
    SCENARIOS,
    Planted,
    job_replications,
)
from alliance_outcome.analyses.bias.estimators import multilevel_paths, pairs_of, panel_paths
from alliance_outcome.analyses.bias.processes import process_of
from alliance_outcome.analyses.bias.replications import run_replications, study_models
from alliance_outcome.analyses.bias.table import BIAS_COLUMNS, bias_table, stored_table
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.panel import CrossLaggedModel

WAVES = 6
EQUAL = Planted("equal", -0.15, -0.15)


@pytest.fixture(scope="module")
def fitted():
    values = panel_values(2, 300, WAVES, trends=0.15, missing=0.05)
    return CrossLaggedModel(sessions_of(values), "severity", RATERS, WAVES, random_slopes=True).fit()


@pytest.fixture(scope="module")
def models():
    return study_models(study(clients=240, trends=0.15)[0], CONTEXT)


@pytest.fixture(scope="module")
def replications(models):
    return run_replications(models, range(2), 7)


# -- Processes ---------------------------------------------------------------------------------------------------------


def test_planted_paths_are_standardised_paths_of_the_process(fitted):
    # Drawn from very many clients, the standardised paths of the model are those that were planted.
    planted = Planted("different", -0.15, -0.05)
    process = process_of(fitted, planted, "trends")
    random = np.random.default_rng(5)
    draws = process.mean + random.standard_normal((20_000, len(process.mean))) @ process.root.T
    values = draws.reshape(-1, WAVES, 3)
    found = CrossLaggedModel(sessions_of(values), "severity", RATERS, WAVES, random_slopes=True).fit()
    unit = process.within_sd["severity"]
    for rater, effect in (("client", -0.15), ("therapist", -0.05)):
        own = found.effect_of(rater)
        assert own.estimate == pytest.approx(effect * unit, abs=4.5 * own.std_error)
        assert process.truth[rater] == pytest.approx(effect * unit)
    assert process.truth["difference"] == pytest.approx(-0.1 * unit)


def test_no_trends_means_no_trends(fitted):
    process = process_of(fitted, EQUAL, "no_trends")
    at = process.root @ process.root.T
    own = process_of(fitted, EQUAL, "trends")
    first, last = 0, 3 * (WAVES - 1)
    assert at[last, last] < (own.root @ own.root.T)[last, last]
    assert at[first, first] == pytest.approx((own.root @ own.root.T)[first, first], rel=1e-8)


def test_measurement_error_is_autocorrelated(fitted):
    with_error = process_of(fitted, EQUAL, "trends_and_error")
    without = process_of(fitted, EQUAL, "trends")
    added = with_error.root @ with_error.root.T - without.root @ without.root.T
    for number, name in enumerate(("severity", "alliance_client", "alliance_therapist")):
        variance = ERROR_SHARE * without.within_sd[name] ** 2
        assert added[number, number] == pytest.approx(variance)
        assert added[number, number + 6] == pytest.approx(variance * ERROR_CORRELATION**2)
    assert added[0, 1] == pytest.approx(0.0, abs=1e-9)


def test_values_are_missing_where_the_study_has_none(fitted):
    drawn = process_of(fitted, EQUAL, "trends").draw(np.random.default_rng(1))
    assert np.array_equal(np.isnan(drawn), np.isnan(fitted.rows.values))


# -- Estimators --------------------------------------------------------------------------------------------------------


def long_table(values):
    """Pair sessions by hand, after the mean of each session is taken out."""
    table = sessions_of(values)
    columns = ["severity", "alliance_client", "alliance_therapist"]
    table[columns] -= table.groupby("session")[columns].transform("mean")
    earlier = table.groupby("client")[columns].shift(1).add_suffix("_before")
    pairs = pd.concat([table, earlier], axis=1).dropna(subset=["severity", *earlier.columns])
    own = pairs.groupby("client")
    for rater, column in RATERS.items():
        pairs[rater] = pairs[f"{column}_before"] - own[f"{column}_before"].transform("mean")
        pairs[f"{rater}_mean"] = own[f"{column}_before"].transform("mean")
    pairs["first"] = own["severity_before"].transform("first")
    pairs["centred"] = pairs["severity_before"] - own["severity_before"].transform("mean")
    return pairs


@pytest.mark.parametrize(
    ("name", "formula", "random"),
    [
        ("no_lag", "severity ~ client + therapist", "1"),
        ("centred_lag", "severity ~ client + therapist + centred", "1"),
        (
            "hybrid",
            "severity ~ client + therapist + client_mean + therapist_mean + first",
            "1 + client + therapist",
        ),
    ],
)
def test_multilevel_estimators_are_the_models_that_they_are_called(name, formula, random):
    values = panel_values(4, 150, WAVES, missing=0.1)
    pairs = long_table(values)
    pairs["unit"] = sessions_of(values).loc[pairs.index, "client"]
    own = MultilevelModel.from_formula(formula, pairs, groups="unit", random={"unit": random}).fit()
    found = multilevel_paths(name, pairs_of(values))
    assert found.estimates == pytest.approx(own.params[["client", "therapist"]].to_numpy(), rel=1e-5)
    expected = own.cov_params().loc[["client", "therapist"], ["client", "therapist"]].to_numpy()
    assert found.covariance == pytest.approx(expected, rel=1e-3)


def test_deviations_from_lines_have_neither_mean_nor_slope():
    pairs = pairs_of(panel_values(4, 50, WAVES, missing=0.1))
    residuals = pairs.residuals(pairs.alliance)
    assert pairs.means(residuals) == pytest.approx(0.0, abs=1e-12)
    products = np.bincount(pairs.client, residuals[:, 0] * pairs.wave)
    assert products == pytest.approx(0.0, abs=1e-10)


def test_panel_estimators_are_the_panel_models(fitted):
    found = panel_paths(fitted, fitted.rows.values)
    own = fitted.params[["severity ~ alliance_client[-1]", "severity ~ alliance_therapist[-1]"]]
    assert found.estimates == pytest.approx(own.to_numpy(), rel=1e-4)


def test_the_usual_estimator_is_off_and_the_panel_model_is_not():
    # In short series without any trend: the model with previous severity as it is misses most of a planted path.
    values = panel_values(8, 6000, 5)
    usual = multilevel_paths("lagged_outcome", pairs_of(values))
    model = CrossLaggedModel(sessions_of(values), "severity", RATERS, 5).fit()
    found = panel_paths(model, model.rows.values)
    assert usual.estimates[0] > -0.10
    assert found.estimates[0] == pytest.approx(-0.15, abs=0.04)


# -- Replications and table --------------------------------------------------------------------------------------------


def test_every_estimator_has_a_row_for_every_quantity(replications):
    counts = replications.groupby(["process", "scenario", "estimator", "quantity"]).size()
    assert len(counts) == len(PROCESSES) * len(SCENARIOS) * len(ESTIMATORS) * len(QUANTITIES)
    assert set(counts) == {2}
    assert replications["estimate"].notna().mean() > 0.9


def test_a_replication_is_the_same_whatever_its_job(models, replications):
    again = run_replications(models, [1], 7)
    own = replications[replications["replication"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, own, check_dtype=False)
    numbers = sorted(number for job in range(JOBS) for number in job_replications(203, job))
    assert numbers == list(range(203))


def test_a_study_that_is_too_small_has_no_table():
    models = study_models(study(clients=20)[0], CONTEXT)
    assert run_replications(models, range(2), 7).empty
    assert bias_table(run_replications(models, range(2), 7)).columns.tolist() == list(BIAS_COLUMNS)


def made_up():
    base = {"n_clients": 100, "n_waves": 6, "n_values": 1500, "process": "trends", "scenario": "equal"}
    base |= {"estimator": "hybrid", "quantity": "difference", "truth": 0.0}
    estimates = [0.3, -0.1, 0.1, np.nan]
    return pd.DataFrame(
        [
            base | {"replication": k, "estimate": value, "std_error": 0.1, "reason": None}
            for k, value in enumerate(estimates)
        ]
    )


def test_the_summary_by_hand():
    row = bias_table(made_up()).iloc[0]
    assert (row["n_replications"], row["n_converged"]) == (4, 3)
    assert row["bias"] == pytest.approx(0.1)
    assert row["bias_mcse"] == pytest.approx(0.2 / np.sqrt(3))
    assert row["rmse"] == pytest.approx(np.sqrt(0.11 / 3))
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["rejected"] == pytest.approx(1 / 3)
    assert row["coverage_mcse"] == pytest.approx(np.sqrt(2 / 9 / 3))


def test_a_stored_table_is_used_for_a_study_of_its_size_alone(tmp_path):
    path = tmp_path / "bias.csv"
    fit = pd.DataFrame({"model": ["cross_lagged_trends"], "n_clients": [100], "n_waves": [6]})
    assert stored_table(path, fit).empty
    bias_table(made_up()).to_csv(path, index=False)
    assert len(stored_table(path, fit)) == 1
    assert stored_table(path, fit.assign(n_clients=101)).empty
    assert stored_table(Path(path), pd.DataFrame()).empty
