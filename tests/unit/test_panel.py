"""Panel models as they are used: from the long table of sessions to estimates, contrasts and tests."""

import numpy as np
import pandas as pd
import pytest
from panel_example import CARRIED, RATERS, panel_values, sessions_of

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel
from alliance_outcome.models.panel_boundary import Block
from alliance_outcome.models.panel_layout import PanelVariable, wide_panel
from alliance_outcome.models.panel_likelihood import evaluate

EFFECT, OTHER = "severity ~ alliance_client[-1]", "severity ~ alliance_therapist[-1]"


@pytest.fixture(scope="module")
def sessions():
    return sessions_of(panel_values(1, 400, 6, missing=0.15))


@pytest.fixture(scope="module")
def plain(sessions):
    return CrossLaggedModel(sessions, "severity", RATERS, 6).fit()


@pytest.fixture(scope="module")
def dynamic(sessions):
    return DynamicPanelModel(sessions, "severity", RATERS, 6).fit()


# -- Layout ------------------------------------------------------------------------------------------------------------


def test_waves_hold_the_session_s_outcome_and_the_rating_that_comes_next():
    table = pd.DataFrame(
        {"client": ["a", "a", "a", "b"], "session": [1, 2, 3, 2], "y": [1.0, 2, 3, 9], "x": [4.0, 5, 6, 8]}
    )
    found = wide_panel(table, [PanelVariable("y"), PanelVariable("x", shift=1)], 2)
    assert found.clients.tolist() == ["a", "b"]
    assert found.values[0].tolist() == [[1.0, 5.0], [2.0, 6.0]]
    assert np.array_equal(found.values[1], [[np.nan, 8.0], [9.0, np.nan]], equal_nan=True)


def test_clients_without_a_value_in_the_waves_are_left_out():
    table = pd.DataFrame({"client": [1, 2], "session": [1, 5], "y": [1.0, 2.0]})
    assert wide_panel(table, [PanelVariable("y")], 3).clients.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"session": [1.0, 1.5]}, "whole numbers"),
        ({"client": [1, 1], "session": [2, 2]}, "two rows"),
        ({"other": None}, "no columns y"),
    ],
)
def test_tables_that_are_none_of_sessions_are_refused(change, message):
    table = pd.DataFrame({"client": [1, 2], "session": [1, 2], "y": [1.0, 2.0]})
    table = table.drop(columns="y") if "other" in change else table.assign(**change)
    with pytest.raises(ValueError, match=message):
        wide_panel(table, [PanelVariable("y")], 3)


def test_the_order_of_rows_and_labels_does_not_matter(sessions, plain):
    renamed = sessions.assign(client=sessions["client"].map(lambda c: f"id{997 - c}"))
    again = CrossLaggedModel(renamed.sample(frac=1.0, random_state=2), "severity", RATERS, 6).fit()
    assert again.llf == pytest.approx(plain.llf, rel=1e-12)
    assert np.abs((again.params - plain.params) / plain.bse).max() < 1e-5


# -- Estimates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"random_slopes": True}, {"residuals": "invariant"}])
def test_planted_paths_are_found_in_a_large_panel(settings):
    trends = 0.2 if settings.get("random_slopes") else 0.0
    large = sessions_of(panel_values(3, 6_000, 6, trends=trends, missing=0.1))
    result = CrossLaggedModel(large, "severity", RATERS, 6, **settings).fit()
    assert result.converged
    assert result.improper == ()
    for i, effect in enumerate(("severity", "alliance_client", "alliance_therapist")):
        for j, cause in enumerate(("severity", "alliance_client", "alliance_therapist")):
            label = f"{effect} ~ {cause}[-1]"
            assert abs(result.params[label] - CARRIED[i, j]) < 4.0 * result.bse[label], label


def test_the_dynamic_model_finds_them_too():
    large = sessions_of(panel_values(4, 6_000, 5, missing=0.1))
    result = DynamicPanelModel(large, "severity", RATERS, 5).fit()
    for label, truth in ((EFFECT, -0.15), (OTHER, -0.05), ("severity ~ severity[-1]", 0.4)):
        assert abs(result.params[label] - truth) < 4.0 * result.bse[label]


def test_a_path_within_a_wave_takes_the_place_of_a_covariance(sessions):
    covariance = CrossLaggedModel(sessions, "severity", RATERS, 6, paths="varying").fit()
    order = {"client": "after", "therapist": "after"}
    path = CrossLaggedModel(sessions, "severity", RATERS, 6, paths="varying", order=order).fit()
    # The same model in other words: the effect on severity is the same one.
    assert path.llf == pytest.approx(covariance.llf, rel=1e-9)
    for wave in (2, 6):
        label = f"{EFFECT} in {wave}"
        assert path.params[label] == pytest.approx(covariance.params[label], abs=1e-5)
        assert path.bse[label] == pytest.approx(covariance.bse[label], rel=1e-4)
    assert "alliance_client ~ severity in 3" in path.params.index


def test_measurement_error_is_taken_out():
    values = panel_values(8, 5_000, 7)
    spread = 0.7
    noisy = values.copy()
    noisy[:, :, 1] += np.random.default_rng(9).normal(0.0, spread, size=values.shape[:2])
    table = sessions_of(noisy)
    naive = CrossLaggedModel(table, "severity", RATERS, 7).fit()
    assert naive.params[EFFECT] > -0.13
    estimated = CrossLaggedModel(table, "severity", RATERS, 7, estimate_error=("alliance_client",)).fit()
    label = "var(error alliance_client)"
    assert abs(estimated.params[label] - spread**2) < 4.0 * estimated.bse[label]
    assert abs(estimated.params[EFFECT] + 0.15) < 4.0 * estimated.bse[EFFECT]
    manifest = CrossLaggedModel(table, "severity", RATERS, 7)._within_sd()["alliance_client"]
    reliability = {"alliance_client": 1.0 - spread**2 / manifest**2}
    known = CrossLaggedModel(table, "severity", RATERS, 7, reliability=reliability).fit()
    assert abs(known.params[EFFECT] + 0.15) < 4.0 * known.bse[EFFECT]


# -- Contrast of the raters --------------------------------------------------------------------------------------------


def test_the_difference_has_the_joint_covariance_of_both_paths(plain):
    found = plain.difference("client", "therapist")
    weights = np.array([plain.within_sd["alliance_client"], -plain.within_sd["alliance_therapist"]])
    names = [EFFECT, OTHER]
    covariance = plain.cov_params().loc[names, names].to_numpy()
    assert found.estimate == pytest.approx(float(weights @ plain.params[names]))
    assert found.std_error == pytest.approx(float(np.sqrt(weights @ covariance @ weights)))
    assert plain.effect_of("client").estimate == pytest.approx(weights[0] * plain.params[EFFECT])


def test_the_scale_of_a_rating_does_not_change_the_difference(sessions, plain):
    rescaled = sessions.assign(alliance_client=7.0 * sessions["alliance_client"] - 3.0)
    again = CrossLaggedModel(rescaled, "severity", RATERS, 6).fit()
    one, other = plain.difference("client", "therapist"), again.difference("client", "therapist")
    assert other.estimate == pytest.approx(one.estimate, rel=1e-5)
    assert other.std_error == pytest.approx(one.std_error, rel=1e-5)


def test_standard_deviations_have_uncertainty_too(plain, dynamic):
    fixed, uncertain = (
        plain.difference("client", "therapist"),
        plain.difference_sd_uncertain("client", "therapist"),
    )
    assert uncertain.estimate == pytest.approx(fixed.estimate)
    assert uncertain.std_error != fixed.std_error
    assert 0.8 < uncertain.std_error / fixed.std_error < 1.3
    assert plain.means == "latent"
    assert dynamic.means == "manifest"
    with pytest.raises(UnavailableInference, match="not parameters"):
        dynamic.difference_sd_uncertain("client", "therapist")


def test_a_path_that_varies_is_averaged(sessions):
    varying = CrossLaggedModel(sessions, "severity", RATERS, 6, paths="varying").fit()
    weights = varying.path_weights("severity", "alliance_client")
    assert len(weights) == 5
    assert sum(weights.values()) == pytest.approx(1.0)
    mean = np.mean([varying.params[f"{EFFECT} in {wave}"] for wave in range(2, 7)])
    scaled = varying.effect_of("client").estimate
    assert scaled == pytest.approx(mean * varying.within_sd["alliance_client"])


def test_standardised_paths_are_per_standard_deviation_within_clients(plain):
    table = plain.standardised()
    row = table[
        (table["effect"] == "severity") & (table["cause"] == "alliance_client") & (table["wave"] == 4)
    ]
    at = plain.maximum.at
    spreads = np.sqrt(np.diag(at.latent_covariance))
    latent = plain.description.latent
    expected = plain.params[EFFECT] * spreads[latent["alliance_client", 3]] / spreads[latent["severity", 4]]
    assert row["estimate"].item() == pytest.approx(expected)
    assert row["std_error"].item() == pytest.approx(plain.bse[EFFECT], rel=0.25)


def test_the_dynamic_model_has_no_standardised_paths(dynamic):
    with pytest.raises(UnavailableInference, match="effect_of"):
        dynamic.standardised()


# -- Uncertainty and tests ---------------------------------------------------------------------------------------------


def test_standard_errors_agree_where_they_should():
    large = sessions_of(panel_values(5, 4_000, 5))
    plain = CrossLaggedModel(large, "severity", RATERS, 5).fit()
    kinds = {kind: np.sqrt(np.diag(plain.cov_params(kind))) for kind in ("observed", "expected", "robust")}
    assert np.allclose(kinds["expected"], kinds["observed"], rtol=0.1)
    assert np.allclose(kinds["robust"], kinds["observed"], rtol=0.15)


def test_clusters_make_standard_errors_robust_and_degrees_of_freedom_few(sessions, plain):
    robust = CrossLaggedModel(sessions, "severity", RATERS, 6, clusters="therapist").fit()
    assert robust.n_clusters == 10
    assert robust.df == 9.0
    assert robust.llf == plain.llf
    assert not np.allclose(robust.bse, plain.bse, rtol=1e-3)
    assert robust.contrast(EFFECT).df == 9.0
    assert robust.contrast(EFFECT, kind="observed").std_error == pytest.approx(plain.bse[EFFECT])


def test_one_cluster_has_no_robust_standard_errors(sessions):
    result = CrossLaggedModel(sessions.assign(therapist=1), "severity", RATERS, 6, clusters="therapist").fit()
    with pytest.raises(UnavailableInference, match="one cluster"):
        _ = result.bse


def test_a_constraint_is_tested_by_the_likelihood_ratio(plain, sessions):
    together = plain.constrain(equal=[[EFFECT, OTHER]])
    test = plain.likelihood_ratio(together)
    assert test["df"] == 1
    assert together.params[EFFECT] == pytest.approx(together.maximum.at.matrices["path"][3, 2])
    gone = plain.constrain(fixed={EFFECT: 0.0})
    ratio = plain.likelihood_ratio(gone)["statistic"]
    wald = plain.contrast(EFFECT).statistic ** 2
    assert ratio == pytest.approx(wald, rel=0.15)
    with pytest.raises(ValueError, match="not nested"):
        plain.likelihood_ratio(plain)
    smaller = CrossLaggedModel(sessions[sessions["client"] > 3], "severity", RATERS, 6).fit()
    with pytest.raises(ValueError, match="not of the same data"):
        plain.likelihood_ratio(smaller)


def test_paths_that_are_the_same_in_all_waves_are_a_constraint(sessions, plain):
    varying = CrossLaggedModel(sessions, "severity", RATERS, 6, paths="varying").fit()
    labels = [
        [f"{effect} ~ {cause}[-1] in {wave}" for wave in range(2, 7)]
        for effect in ("severity", *RATERS.values())
        for cause in ("severity", *RATERS.values())
    ]
    constrained = varying.constrain(equal=labels)
    assert constrained.llf == pytest.approx(plain.llf, rel=1e-10)
    assert varying.likelihood_ratio(constrained)["df"] == 36
    assert len(constrained.path_weights("severity", "alliance_client")) == 1


def test_a_correct_model_fits_and_a_wrong_one_does_not(plain):
    fit = plain.fit_indices()
    assert fit["p_value"] > 1e-3
    assert fit["cfi"] > 0.98
    assert fit["rmsea"] < 0.03
    trends = sessions_of(panel_values(6, 400, 6, trends=0.6))
    wrong = CrossLaggedModel(trends, "severity", RATERS, 6).fit().fit_indices()
    right = CrossLaggedModel(trends, "severity", RATERS, 6, random_slopes=True).fit().fit_indices()
    assert wrong["p_value"] < 1e-6
    assert right["p_value"] > 1e-3
    assert right["rmsea"] < wrong["rmsea"]


# -- Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "waves", "settings", "message"),
    [
        (CrossLaggedModel, 3, {}, "at least 4 sessions"),
        (CrossLaggedModel, 4, {"random_slopes": True}, "at least 5 sessions"),
        (CrossLaggedModel, 5, {"estimate_error": ("severity",)}, "at least 6 sessions"),
        (CrossLaggedModel, 4, {"lags": 2}, "at least 5 sessions"),
        (DynamicPanelModel, 3, {}, "at least 4 sessions"),
    ],
)
def test_too_few_sessions_are_refused(sessions, model, waves, settings, message):
    with pytest.raises(UnfittableModel, match=message):
        model(sessions, "severity", RATERS, waves, **settings)


def test_too_few_clients_are_refused():
    few = sessions_of(panel_values(2, 15, 6))
    with pytest.raises(UnfittableModel, match="15 clients and 18 variables"):
        CrossLaggedModel(few, "severity", RATERS, 6).fit()


def test_sessions_that_nobody_rated_are_refused(sessions):
    with pytest.raises(UnfittableModel, match="hardly ever rated"):
        CrossLaggedModel(sessions, "severity", RATERS, 7).fit()


def test_arguments_that_contradict_each_other_are_refused(sessions):
    for settings, message in (
        ({"order": {"nobody": "after"}}, "nobody called nobody"),
        ({"order": {"client": "later"}}, "order is"),
        ({"shift": {"client": 2}}, "shift 0 or 1"),
        ({"reliability": {"severity": 1.5}}, "between 0 and 1"),
        ({"clusters": "ward"}, "no column ward"),
    ):
        with pytest.raises(ValueError, match=message):
            CrossLaggedModel(sessions, "severity", RATERS, 6, **settings)


def test_improper_solutions_are_said():
    # Nothing is stable here: some of the estimates of its variance are below zero.
    values = np.random.default_rng(11).normal(size=(60, 4, 3))
    found = CrossLaggedModel(sessions_of(values), "severity", RATERS, 4, proper=False).fit()
    assert found.improper == ("the covariance matrix of intercepts",)
    assert "IMPROPER" in str(found.summary())


# -- The boundary ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def singular():
    """A panel without trends, in the model with trends: their covariance matrix is on the boundary."""
    table = sessions_of(panel_values(1, 300, 6, missing=0.1))
    settings = {"random_slopes": True, "residuals": "invariant"}
    free = CrossLaggedModel(table, "severity", RATERS, 6, proper=False, **settings).fit()
    return free, CrossLaggedModel(table, "severity", RATERS, 6, **settings).fit()


def test_a_maximum_on_the_boundary_is_proper(singular):
    free, bounded = singular
    assert free.improper
    assert bounded.converged
    assert bounded.singular
    assert bounded.improper == ()
    assert free.llf - 10.0 < bounded.llf < free.llf
    assert "Singular" in str(bounded.summary())


def test_it_is_a_maximum_among_covariance_matrices(singular):
    _, bounded = singular
    structure, data = bounded.structure, bounded.rows.data
    places = bounded.description.bounded
    block = Block.of(structure, places)
    matrix = block.matrix(bounded.maximum.parameters)
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(30):
            # Towards any other covariance matrix, with the other parameters anywhere near.
            other = rng.normal(size=matrix.shape)
            moved = block.with_matrix(
                bounded.maximum.parameters, matrix + size * (other @ other.T / 6.0 - matrix)
            )
            moved[block.others] += size * 0.1 * rng.normal(size=len(block.others))
            at = structure.at(moved)
            assert evaluate(data, at.mean, at.covariance).value < bounded.llf
    # No direction of growth that a covariance matrix may take: the derivative has no positive eigenvalue there.
    gradient = bounded.maximum.at.gradient(
        bounded.maximum.evaluation.by_mean[0], bounded.maximum.evaluation.by_covariance
    )
    assert np.linalg.eigvalsh(block.slope(gradient))[-1] < 1e-3
    assert np.abs(block.slope(gradient) @ matrix).max() < 1e-2


def test_estimates_on_the_boundary_are_near_those_without_it(singular):
    free, bounded = singular
    for label in (EFFECT, OTHER):
        assert 0.6 < bounded.bse[label] / free.bse[label] < 1.1
        assert abs(bounded.params[label] - free.params[label]) < bounded.bse[label]


def test_an_inner_maximum_is_left_alone(plain, sessions):
    free = CrossLaggedModel(sessions, "severity", RATERS, 6, proper=False).fit()
    assert not plain.singular
    assert free.llf == plain.llf


def test_the_summary_names_paths_and_fit(plain):
    text = str(plain.summary())
    for part in (EFFECT, "RMSEA", "Clients: 400", "converged: yes"):
        assert part in text
