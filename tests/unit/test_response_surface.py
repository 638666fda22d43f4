"""Response surfaces: definitions, planted effects found, effects of another kind not taken for agreement."""

import numpy as np
import pandas as pd
import pytest
import study_example
from response_surface_example import CONGRUENCE, MAIN_EFFECTS, ONE_CURVATURE, early_rows, hybrid_rows

from alliance_outcome.analyses.estimates import ESTIMATE_COLUMNS, is_repetition
from alliance_outcome.analyses.inference import own_inference
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS
from alliance_outcome.analyses.response_surface import response_surfaces, surface_of
from alliance_outcome.analyses.response_surface_conditions import broad_words, strict_words
from alliance_outcome.analyses.response_surface_model import fit_surface
from alliance_outcome.analyses.response_surface_names import DISCREPANT, GRID_COLUMNS
from alliance_outcome.analyses.response_surface_shares import discrepancies
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.response_surface import (
    COEFFICIENTS,
    LINES,
    ResponseSurface,
    congruence_conditions,
)

LEVELS = {"within_client": (hybrid_rows, False), "between_client": (early_rows, True)}
PRECISE = 1e-4 * np.eye(5)


def plain(coefficients, covariance=PRECISE, degrees=np.inf):
    return ResponseSurface.from_covariance(coefficients, covariance, degrees)


def fitted(make, b, seed, *, early, context=None):
    found = fit_surface(make(seed, b), context or study_example.context(), early=early)
    return surface_of(found, own_inference(found.model))


# -- Definitions ------------------------------------------------------------------------------------------------------


def by_definition(b):
    b1, b2, b3, b4, b5 = b
    root, determinant = np.hypot(b3 - b5, b4), 4 * b3 * b5 - b4**2
    x0, y0 = (b2 * b4 - 2 * b1 * b5) / determinant, (b1 * b4 - 2 * b2 * b3) / determinant
    p11, p21 = (b5 - b3 + root) / b4, (b5 - b3 - root) / b4
    return np.array([y0 - p11 * x0, p11, y0 - p21 * x0, p21, x0, y0, (b1 - b2) / (b3 - b4 + b5)])


def quotients(surface):
    first, second = surface.principal_axis("first"), surface.principal_axis("second")
    return [
        *(first.intercept, first.slope, second.intercept, second.slope),
        *surface.stationary_point(),
        surface.lateral_shift(),
    ]


@pytest.mark.parametrize("seed", range(1, 6))
def test_quotients_are_those_of_rsa_with_delta_method_errors(seed):
    generator = np.random.default_rng(seed)
    b, root = generator.normal(size=5), generator.normal(size=(5, 5))
    covariance, step = root @ root.T, 1e-6
    jacobian = np.stack(
        [(by_definition(b + step * at) - by_definition(b - step * at)) / (2 * step) for at in np.eye(5)]
    )
    errors = np.sqrt(np.diag(jacobian.T @ covariance @ jacobian))
    found = quotients(plain(b, covariance))
    np.testing.assert_allclose([tested.estimate for tested in found], by_definition(b), rtol=1e-10)
    np.testing.assert_allclose([tested.std_error for tested in found], errors, rtol=1e-6)


def test_degrees_of_freedom_are_those_of_the_linear_approximation():
    seen = []

    def degrees(gradient):
        seen.append(gradient)
        return 7.0

    surface = plain(CONGRUENCE, degrees=degrees)
    assert surface.principal_axis("first").slope.df == surface.line("a4").df == 7.0
    assert not np.allclose(seen[0], seen[1])


def test_on_a_ridge_the_axis_is_finite_and_the_stationary_point_is_not():
    surface = plain((0.5, -0.5, -1.0, 2.0, -1.0))
    axis = surface.principal_axis("first")
    assert (axis.intercept.estimate, axis.slope.estimate) == pytest.approx((-0.25, 1.0))
    with pytest.raises(UnavailableInference, match="ridge"):
        surface.stationary_point()
    with pytest.raises(UnavailableInference, match="no place"):
        surface.principal_axis("second")


def test_lateral_shift_is_that_of_a_shifted_squared_difference():
    # −(X − Y + C)² = −X² + 2XY − Y² − 2CX + 2CY − C²
    shift = 0.3
    surface = plain((-2 * shift, 2 * shift, -1.0, 2.0, -1.0))
    assert surface.lateral_shift().estimate == pytest.approx(shift)
    assert surface.principal_axis("first").intercept.estimate == pytest.approx(shift)


@pytest.mark.parametrize("b", [(1, 1, -1, 0, -1), (1, 1, -1, 0, -2), (1, 1, 0, 0, 0), (1, 1, -2, 1e-13, -1)])
def test_axes_without_interaction_are_refused(b):
    with pytest.raises(UnavailableInference, match="do not interact"):
        plain(b).principal_axis("first")


def test_a_surface_without_curvature_along_a_line_has_no_shift():
    with pytest.raises(UnavailableInference, match="not curved"):
        plain((1, 0, 1, 2, 1)).lateral_shift()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="five coefficients"):
        ResponseSurface.from_covariance([1, 2, 3, 4], np.eye(5))


def test_swapping_the_raters_mirrors_the_surface():
    b = np.array([0.4, -0.2, -0.7, 0.9, -0.4])
    order = [1, 0, 4, 3, 2]
    root = np.random.default_rng(1).normal(size=(5, 5))
    covariance = 1e-3 * root @ root.T
    own, swapped = plain(b, covariance), plain(b[order], covariance[np.ix_(order, order)])
    for name in LINES:
        sign = -1 if name in ("a3", "a5") else 1
        assert swapped.line(name).estimate == pytest.approx(sign * own.line(name).estimate)
        assert swapped.line(name).std_error == pytest.approx(own.line(name).std_error)
    first, mirrored = own.principal_axis("first"), swapped.principal_axis("first")
    assert mirrored.slope.estimate == pytest.approx(1 / first.slope.estimate)
    assert mirrored.intercept.estimate == pytest.approx(-first.intercept.estimate / first.slope.estimate)
    assert mirrored.slope.statistic == pytest.approx(first.slope.statistic)


# -- Conditions -------------------------------------------------------------------------------------------------------


def test_a_squared_difference_meets_all_conditions():
    found = congruence_conditions(plain(CONGRUENCE))
    assert [condition.name for condition in found.broad] == ["p10", "p11", "a4", "a3"]
    assert [condition.name for condition in found.strict] == ["a1", "a2"]
    assert found.broad_effect is found.strict_effect is True


def test_height_that_matters_too_is_a_broad_effect():
    found = congruence_conditions(plain((1.0, 1.0, -1.0, 2.0, -1.0)))
    assert found.broad_effect is True
    assert found.strict_effect is False


@pytest.mark.parametrize(
    ("b", "violated"),
    [
        ((0.0, 0.0, 1.0, -2.0, 1.0), "a4"),
        ((0.5, -0.5, -1.0, 2.0, -1.0), "a3"),
        ((0.5, -0.5, -1.0, 2.0, -1.0), "p10"),
        ((0.0, 0.0, -1.0, 1.0, -0.2), "p11"),
    ],
)
def test_each_condition_can_be_violated(b, violated):
    found = congruence_conditions(plain(b))
    assert violated in [condition.name for condition in found.broad if condition.met is False]
    assert found.broad_effect is False


def test_an_axis_without_a_direction_is_not_judged():
    covariance = np.diag([1e-4, 1e-4, 1e-4, 4.0, 1e-4])
    found = congruence_conditions(plain((0, 0, -1, 0.5, -1), covariance))
    assert {condition.name: condition.met for condition in found.broad}["p11"] is None
    exact = congruence_conditions(plain((0, 0, -1, 0.0, -1)))
    assert {condition.name: condition.met for condition in exact.broad}["p10"] is None
    assert exact.broad_effect is None


def test_without_degrees_of_freedom_nothing_is_judged():
    found = congruence_conditions(plain(CONGRUENCE, degrees=np.nan))
    assert {condition.met for condition in (*found.broad, *found.strict)} == {None}
    assert found.broad_effect is found.strict_effect is None


@pytest.mark.parametrize(
    ("b", "words"),
    [
        (CONGRUENCE, "the conditions of a congruence effect hold together"),
        (MAIN_EFFECTS, "it was not shown"),
        ((0.5, -0.5, -1.0, 2.0, -1.0), "(p10 and a3 against it), so that this is no congruence effect"),
    ],
)
def test_verdicts_are_plain(b, words):
    found = congruence_conditions(plain(b))
    assert words in broad_words(found, found.broad_effect, "sessions", "at the next session")
    assert "could not be judged" in broad_words(found, None, "clients", "at follow-up")


def test_a_strict_verdict_needs_the_broad_one():
    assert "strict congruence" in strict_words(True, True)
    assert "broad, not a strict" in strict_words(True, False)
    assert "no strict congruence" in strict_words(False, False)
    assert "could not be judged" in strict_words(True, None)


# -- Planted surfaces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_planted_congruence_is_recovered(level):
    make, early = LEVELS[level]
    found = [fitted(make, CONGRUENCE, seed, early=early) for seed in range(30)]
    for names, method in ((COEFFICIENTS, "coefficient"), (LINES, "line")):
        for number, name in enumerate(names):
            truth = CONGRUENCE[number] if names == COEFFICIENTS else np.dot(LINES[name], CONGRUENCE)
            tested = [getattr(surface, method)(name) for surface in found]
            error = np.mean([each.estimate for each in tested]) - truth
            # Four Monte Carlo standard errors of the mean of thirty studies.
            assert abs(error) < 4 * tested[0].std_error / np.sqrt(len(found))
    conditions = [congruence_conditions(surface) for surface in found]
    assert all(each.broad[2].met for each in conditions)
    # An interval that should include a value misses it in 5 % of studies: of a hundred, 91 met all conditions.
    assert np.mean([each.broad_effect is True for each in conditions]) >= 0.75


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("b", [MAIN_EFFECTS, ONE_CURVATURE], ids=["main effects", "one curvature"])
def test_other_effects_are_not_taken_for_agreement(level, b):
    make, early = LEVELS[level]
    found = [congruence_conditions(fitted(make, b, seed, early=early)) for seed in range(60)]
    assert np.mean([each.broad_effect is True for each in found]) <= 0.05


def test_swapped_raters_in_the_data_flip_a3_and_a5():
    context = study_example.context()
    for make, early in LEVELS.values():
        rows = make(3, (0.5, 0.2, -0.5, 0.8, -0.3))
        columns = {"alliance_client": "alliance_therapist", "alliance_therapist": "alliance_client"}
        own, swapped = (
            fit_surface(each, context, early=early) for each in (rows, rows.rename(columns=columns))
        )
        own, swapped = (surface_of(each, own_inference(each.model)) for each in (own, swapped))
        for name in LINES:
            sign = -1 if name in ("a3", "a5") else 1
            assert swapped.line(name).estimate == pytest.approx(sign * own.line(name).estimate, rel=1e-5)
            assert swapped.line(name).std_error == pytest.approx(own.line(name).std_error, rel=1e-5)


def test_both_ratings_have_one_origin_between_clients():
    rows = early_rows(1, CONGRUENCE)
    found = fit_surface(rows, study_example.context(), early=True)
    x, y = found.ratings()
    assert x.mean() == pytest.approx(-y.mean())
    assert (x - y).mean() == pytest.approx((rows["alliance_client"] - rows["alliance_therapist"]).mean())
    shifted = rows.assign(
        alliance_client=rows["alliance_client"] + 3, alliance_therapist=rows["alliance_therapist"] + 3
    )
    again = fit_surface(shifted, study_example.context(), early=True)
    np.testing.assert_allclose(
        again.model.fit.params[list(again.terms)], found.model.fit.params[list(found.terms)], rtol=1e-6
    )


def test_linear_terms_within_clients_have_random_slopes():
    found = fit_surface(hybrid_rows(1, CONGRUENCE), study_example.context(), early=False)
    random = found.model.fit.random_covariance("client")
    assert list(random) == ["Intercept", "alliance_client_within_client", "alliance_therapist_within_client"]
    assert found.model.rows[found.terms[0]].groupby(found.model.rows["client"]).mean().abs().max() < 1e-10


# -- Tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables():
    return response_surfaces(hybrid_rows(1, CONGRUENCE), early_rows(1, CONGRUENCE), study_example.context())


def test_every_quantity_has_a_row_at_each_level(tables):
    estimates = tables.estimates
    assert list(estimates.columns) == list(ESTIMATE_COLUMNS)
    own = estimates[~is_repetition(estimates)]
    for level in LEVELS:
        terms = set(own.loc[own["level"] == level, "term"])
        assert {*COEFFICIENTS, *LINES, "p10", "p11", "second_order", "in_agreement"} <= terms
    assert set(estimates.loc[is_repetition(estimates), "role"]) == {"sensitivity"}
    assert set(estimates["outcome"]) == {"-severity_core_10_client"}


def test_estimates_agree_with_each_other(tables):
    own = tables.estimates[~is_repetition(tables.estimates)]
    for _, rows in own.groupby("level"):
        values = rows.set_index("term")["estimate"]
        b = values[list(COEFFICIENTS)].to_numpy()
        for name, weights in LINES.items():
            assert values[name] == pytest.approx(np.dot(weights, b))
        assert values["p11"] == pytest.approx(by_definition(b)[1])
        assert values["a4"] < 0


def test_the_joint_test_is_an_f_test(tables):
    joint = tables.estimates.query("term == 'second_order'")
    assert (joint["estimate"] == joint["statistic"]).all()
    assert (joint["p_value"] < 0.001).all()
    assert joint["unit"].str.contains("3 numerator").all()


def test_a_ridge_has_no_established_stationary_point(tables):
    own = tables.estimates[~is_repetition(tables.estimates)]
    stationary = own[own["term"].isin(["stationary_x", "stationary_y"])]
    assert (stationary["status"] != "ok").any()
    assert stationary.loc[stationary["status"] != "ok", "reason"].str.contains("ridge").all()


def test_conditions_speak_of_severity_and_carry_their_numbers(tables):
    conditions = tables.conditions
    assert list(conditions.columns) == list(CHECK_COLUMNS)
    rows = conditions.set_index("name")
    assert rows.loc["within_client.a4", "value"] < 0
    assert "(−a4, to lie above 0): 3.99 [" in rows.loc["within_client.a4", "text"]
    assert rows.loc["within_client.broad", "passed"]
    assert (
        "change together go with less severity at the next session" in rows.loc["within_client.broad", "text"]
    )
    assert list(tables.checks.columns) == list(CHECK_COLUMNS)
    assert tables.checks["passed"].all()


def test_the_grid_is_an_ellipse_from_means_and_covariances(tables):
    grid = tables.grid
    assert list(grid.columns) == list(GRID_COLUMNS)
    rows = early_rows(1, CONGRUENCE)
    ratings = rows[["alliance_client", "alliance_therapist"]]
    ratings = (ratings - ratings.mean().mean()).to_numpy()
    edge = grid[(grid["level"] == "between_client") & (grid["ring"] == grid["ring"].max())]
    away = edge[["x", "y"]].to_numpy() - ratings.mean(axis=0)
    distance = np.sum(away @ np.linalg.inv(np.cov(ratings.T)) * away, axis=1)
    # χ² with two degrees of freedom: −2 log(1 − .9).
    np.testing.assert_allclose(distance, -2 * np.log(0.1))


def test_predictions_are_of_severity(tables):
    within = tables.grid[tables.grid["level"] == "within_client"]
    apart = (within["x"] - within["y"]).abs()
    assert np.corrcoef(apart, within["predicted"])[0, 1] > 0.8


def test_labels_and_the_order_of_rows_change_nothing(tables):
    mixed = []
    for make, _ in LEVELS.values():
        rows = make(1, CONGRUENCE).sample(frac=1, random_state=1).reset_index(drop=True)
        codes = pd.factorize(rows["client"], sort=True)[0]
        mixed.append(rows.assign(client=[f"P{(7 * code) % 997:03d}" for code in codes]))
    again = response_surfaces(*mixed, study_example.context())
    numbers = ["estimate", "std_error", "df", "ci_low", "ci_high", "statistic"]
    pd.testing.assert_frame_equal(again.estimates[numbers], tables.estimates[numbers], rtol=1e-9)
    pd.testing.assert_frame_equal(again.grid, tables.grid, rtol=1e-9)


def test_the_outcome_of_early_alliance_is_named():
    context = study_example.context(early_outcome="follow_up")
    tables = response_surfaces(hybrid_rows(1, CONGRUENCE), early_rows(1, CONGRUENCE), context)
    text = tables.conditions.set_index("name").loc["between_client.broad", "text"]
    assert "less severity at follow-up" in text


# -- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"commensurate": False}, "the raters' forms differ"), ({"raters": ("client",)}, "client only")],
)
def test_without_commensurate_ratings_there_is_one_refusal(changes, reason):
    tables = response_surfaces(
        hybrid_rows(1, CONGRUENCE), early_rows(1, CONGRUENCE), study_example.context(**changes)
    )
    assert len(tables.estimates) == 1
    assert tables.estimates.loc[0, "status"] == "refused"
    assert reason in tables.estimates.loc[0, "reason"]
    assert tables.conditions.empty
    assert tables.grid.empty
    assert list(tables.grid.columns) == list(GRID_COLUMNS)


def test_a_level_that_cannot_be_fitted_is_refused_on_its_own():
    rows = hybrid_rows(1, CONGRUENCE)
    rows = rows.assign(alliance_therapist=rows["alliance_client"])
    empty = early_rows(1, CONGRUENCE).assign(outcome=np.nan)
    tables = response_surfaces(rows, empty, study_example.context())
    assert list(tables.estimates["status"]) == ["refused", "refused"]
    assert "collinear" in tables.estimates.loc[0, "reason"]
    assert "no rows" in tables.estimates.loc[1, "reason"]


def test_without_therapists_clients_are_pooled():
    context = study_example.context(has_therapists=False)
    hybrid, early = (make(1, CONGRUENCE).assign(therapist=None) for make, _ in LEVELS.values())
    tables = response_surfaces(hybrid, early, context)
    assert set(tables.estimates["level"]) == {"within_client", "between_client_pooled"}
    assert set(tables.estimates["n_therapists"].isna()) == {True}
    assert tables.conditions.set_index("name").loc["between_client_pooled.a4", "passed"]


# -- Shares -----------------------------------------------------------------------------------------------------------


def test_pairs_are_discrepant_by_half_a_standard_deviation():
    first = pd.Series([-1.0, 0.0, 1.0])
    second = pd.Series([1.0, 0.0, -1.0])
    assert list(discrepancies(first, second)) == ["second_higher", "in_agreement", "first_higher"]
    assert DISCREPANT == 0.5
    assert set(discrepancies(first, 10 + 2 * first)) == {"in_agreement"}


def test_shares_are_whole_per_cent_and_add_up(tables):
    shares = tables.estimates[tables.estimates["model"] == "discrepancy"]
    assert (shares["estimate"] == shares["estimate"].round()).all()
    assert shares.groupby("level")["estimate"].sum().between(99, 101).all()
    assert shares["std_error"].isna().all()


def test_small_groups_are_not_told_of():
    early = early_rows(1, CONGRUENCE)
    noise = np.random.default_rng(1).normal(0, 0.05, len(early))
    close = early.assign(alliance_therapist=early["alliance_client"] + noise)
    close.loc[:3, "alliance_therapist"] += 2.0
    tables = response_surfaces(hybrid_rows(1, CONGRUENCE), close, study_example.context())
    shares = tables.estimates.query("model == 'discrepancy' and level == 'between_client'")
    assert set(shares["status"]) == {"refused"}
    assert shares["estimate"].isna().all()
