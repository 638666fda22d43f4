"""Diagnostics of residuals and random effects: right numbers, and none that a participant could be read from."""

import numpy as np
import pandas as pd
import pytest
import study_example
from scipy import stats
from test_multilevel_tables import relabelled

from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.residual_diagnostics import (
    COLUMNS,
    residual_diagnostics,
    whitened_residuals,
)

NAME = "hybrid_three_level.joint"


def fit(rows, name=NAME, **changes):
    """Fit one hybrid model."""
    models = fit_hybrid_models(rows, study_example.context(**changes))
    return next(model for model in models if model.specification.name == name)


@pytest.fixture(scope="module")
def model():
    return fit(study_example.hybrid_rows(n_therapists=20))


@pytest.fixture(scope="module")
def diagnostics(model):
    return residual_diagnostics(model)


def values(table, diagnostic, **conditions):
    """Return the values of one diagnostic by `at`."""
    own = table[table["diagnostic"] == diagnostic]
    for column, wanted in conditions.items():
        own = own[own[column] == wanted]
    return own.set_index("at")["value"]


def test_columns_and_diagnostics_are_those_of_the_contract(diagnostics):
    assert list(diagnostics.columns) == COLUMNS
    assert set(diagnostics["model"]) == {"hybrid_three_level"}
    assert set(diagnostics["diagnostic"]) == {
        *("residual_quantile", "residual_by_fitted", "residual_sd_by_fitted", "residual_sd_by_slot"),
        *("residual_autocorrelation", "residual_skewness", "residual_kurtosis", "residual_beyond_4"),
        *("effect_quantile", "effect_skewness", "effect_kurtosis"),
    }
    assert diagnostics["value"].notna().all()


def test_quantiles_of_residuals_by_hand(model, diagnostics):
    residuals = model.fit.resid / np.sqrt(model.fit.scale)
    found = values(diagnostics, "residual_quantile")
    for probability in (0.1, 0.5, 0.9):
        at = stats.norm.ppf(probability)
        nearest = found.index[np.argmin(np.abs(found.index - at))]
        assert nearest == pytest.approx(at, abs=1e-9)
        assert found[nearest] == pytest.approx(np.quantile(residuals, probability), rel=1e-9)


def test_spread_by_slot_and_shape_by_hand(model, diagnostics):
    residuals = model.fit.resid / np.sqrt(model.fit.scale)
    third = residuals[model.rows["slot"] == 3]
    assert values(diagnostics, "residual_sd_by_slot")[3.0] == pytest.approx(third.std(), rel=1e-9)
    assert values(diagnostics, "residual_beyond_4")[4.0] == (residuals.abs() > 4).sum()
    skewness = diagnostics.loc[diagnostics["diagnostic"] == "residual_skewness", "value"].item()
    assert skewness == pytest.approx(stats.skew(residuals), rel=1e-9)


def test_whitened_residuals_are_independent_under_the_model(model):
    # L⁻¹ of each client's covariance matrix, written out for one client.
    client = model.rows["client"].iloc[0]
    own = model.rows[model.rows["client"] == client].sort_values("slot")
    covariance = model.fit.random_covariance("client")
    z = own[list(covariance.columns)].to_numpy()
    implied = z @ covariance.to_numpy() @ z.T + model.fit.scale * np.eye(len(own))
    left = own["outcome"] - model.fit.predict(own, include=["therapist"])
    expected = np.linalg.solve(np.linalg.cholesky(implied), left.to_numpy())
    np.testing.assert_allclose(whitened_residuals(model)[own.index], expected, rtol=1e-9)
    assert whitened_residuals(model).std() == pytest.approx(1.0, abs=0.05)


def test_independent_residuals_show_no_autocorrelation_and_dependent_ones_do():
    rows = study_example.hybrid_rows(n_therapists=40, sessions_each=8)
    # 240 clients: correlations are known to about 0.025; conditional residuals would show −0.1 and less here.
    quiet = values(residual_diagnostics(fit(rows)), "residual_autocorrelation")
    assert np.abs(quiet).max() < 0.08
    noise = pd.Series(np.random.default_rng(2).normal(0, 2, len(rows)))
    carried = noise.groupby(rows["client"]).transform(lambda own: own.ewm(alpha=0.4, adjust=False).mean())
    rows["outcome"] += 2 * carried
    loud = values(residual_diagnostics(fit(rows)), "residual_autocorrelation")
    assert loud[1.0] > 0.15


def test_gaps_count_in_autocorrelations():
    rows = study_example.hybrid_rows(n_therapists=20)
    kept = rows[rows["slot"] != 3].reset_index(drop=True)
    found = residual_diagnostics(fit(kept))
    lag_one = found[(found["diagnostic"] == "residual_autocorrelation") & (found["at"] == 1.0)]
    # Slots 1-2, 4-5 and 5-6 of 120 clients.
    assert lag_one["n_rows"].item() == 3 * 120


def test_random_effects_by_hand(model, diagnostics):
    effects = model.fit.random_effects("client")
    term = "alliance_client_within_client"
    own = effects.loc[effects["term"] == term, "estimate"]
    found = values(diagnostics, "effect_quantile", term=term)
    assert found.loc[0.0] == pytest.approx((np.median(own) - own.mean()) / own.std(), rel=1e-9)
    assert set(diagnostics.loc[diagnostics["diagnostic"] == "effect_quantile", "level"]) == {"client"}
    shapes = diagnostics[diagnostics["diagnostic"] == "effect_kurtosis"]
    assert set(shapes["level"]) == {"client", "therapist"}
    assert shapes.loc[shapes["level"] == "therapist", "n_units"].item() == 20


def test_no_number_rests_on_fewer_than_ten_clients(diagnostics, model):
    assert diagnostics["n_units"].min() >= 10
    tails = diagnostics[diagnostics["diagnostic"] == "effect_quantile"]
    probability = stats.norm.cdf(tails["at"])
    assert (np.minimum(probability, 1 - probability) * 120 >= 10 - 1e-6).all()
    residuals = model.fit.resid / np.sqrt(model.fit.scale)
    for value in values(diagnostics, "residual_quantile"):
        for tail in (residuals <= value + 1e-12, residuals >= value - 1e-12):
            assert model.rows.loc[tail, "client"].nunique() >= 10


def test_small_studies_show_little_and_few_therapists_nothing():
    rows = study_example.hybrid_rows(n_therapists=4, clients_each=2, sessions_each=8)
    found = residual_diagnostics(fit(rows, "hybrid_two_level.joint"))
    assert found.empty
    rows = study_example.hybrid_rows(n_therapists=9, clients_each=3, sessions_each=8)
    found = residual_diagnostics(fit(rows))
    assert "therapist" not in set(found["level"])
    assert (found["n_units"] >= 10).all()


def test_no_label_is_in_the_table(diagnostics, model):
    cells = set(diagnostics.astype("str").to_numpy().ravel())
    assert not cells & (set(model.rows["client"]) | set(model.rows["therapist"]))


def test_row_order_and_labels_change_nothing(diagnostics):
    again = residual_diagnostics(fit(relabelled(study_example.hybrid_rows(n_therapists=20))))
    names = ["diagnostic", "level", "term", "n_rows", "n_units"]
    pd.testing.assert_frame_equal(again[names], diagnostics[names])
    np.testing.assert_allclose(again["value"], diagnostics["value"], rtol=1e-7, atol=1e-9)


def test_a_refused_model_has_an_empty_table_with_its_columns(model):
    refused = FittedModel(model.specification, model.rows, model.outcome, model.terms, None, "collinear")
    table = residual_diagnostics(refused)
    assert table.empty
    assert list(table.columns) == COLUMNS
