"""The planted truth: hand-computed values, and least squares on latent values that must find them again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.data.simulate import generating_values, simulate_study
from alliance_outcome.data.simulate_effects import StableEffects
from alliance_outcome.data.simulate_process import individual_courses, mean_courses
from alliance_outcome.data.simulate_within import VARIABLES, simulate_within, within_covariance
from alliance_outcome.errors import StudyError
from alliance_outcome.simulation_settings import SimulationSettings

LARGE = {"n_clients": 8000, "n_therapists": 700}
WITHIN = [f"{variable}_within_client" for variable in VARIABLES]
STABLE = [
    f"{rater}_alliance_{level}"
    for level in ("between_client", "between_therapist")
    for rater in ("client", "therapist")
]
#: Settings in which the within-client process is white noise in each variable.
WHITE_NOISE = {
    "severity_autoregression": 0,
    "client_alliance_autoregression": 0,
    "therapist_alliance_autoregression": 0,
    "reverse_path_client": 0,
    "reverse_path_therapist": 0,
    "rupture_probability": 0,
}
#: Estimates must lie within so many standard errors of the truth: 1 false alarm in 15,000 comparisons.
LIMIT = 4.0


@pytest.fixture(scope="module")
def latent() -> pd.DataFrame:
    return simulate_study(SimulationSettings(**LARGE), 42).latent


def least_squares(outcome, predictors, clusters) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (intercept first) and their cluster-robust standard errors."""
    design = np.column_stack([np.ones(len(outcome)), predictors])
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ design.T @ outcome
    scores = (
        pd.DataFrame(design * (outcome - design @ coefficients)[:, None]).groupby(clusters).sum().to_numpy()
    )
    return coefficients, np.sqrt(np.diag(bread @ scores.T @ scores @ bread))


def assert_found(estimates, errors, truth, largest_error) -> None:
    """Compare with the truth, and make sure that the comparison could have failed."""
    assert max(errors) < largest_error
    assert max(abs(np.asarray(estimates) - truth) / errors) < LIMIT


def pairs(latent: pd.DataFrame) -> pd.DataFrame:
    """Put the deviations around session t beside those around t - 1 (``before_``), within clients."""
    before = latent.groupby("client_id")[WITHIN].shift().add_prefix("before_")
    return pd.concat([latent, before], axis="columns").dropna(subset=before.columns)


def end_of_therapy(latent: pd.DataFrame) -> pd.DataFrame:
    """One row per client: the planned end, with severity before session 3, whether or not it was held."""
    before_session_3 = latent[latent["slot"] == 3].set_index("client_id")["severity"]
    rows = latent[latent["occasion"] == "end"]
    return rows.assign(severity_3=rows["client_id"].map(before_session_3))


def early_model(latent: pd.DataFrame, *more: str) -> tuple[np.ndarray, np.ndarray]:
    rows = end_of_therapy(latent)
    predictors = rows[[*STABLE, "intake_severity", *more]].to_numpy()
    coefficients, errors = least_squares(
        rows["severity"].to_numpy(), predictors, rows["therapist_id"].to_numpy()
    )
    return coefficients[1:], errors[1:]


def value(truth: pd.DataFrame, level: str, quantity: str, rater: str = "client") -> float:
    rows = truth[(truth["level"] == level) & (truth["quantity"] == quantity) & (truth["rater"] == rater)]
    return rows["value"].item()


# By hand


def test_truth_by_hand_without_dynamics():
    truth = generating_values(SimulationSettings(**WHITE_NOISE))
    # SDs are those of the innovations: -1.5 x .38 and -.4 x .36.
    assert value(truth, "within_client", "standardised", "client") == pytest.approx(-0.57)
    assert value(truth, "within_client", "standardised", "therapist") == pytest.approx(-0.144)
    assert value(truth, "within_client", "difference") == pytest.approx(-0.426)
    assert value(truth, "within_client", "absolute_difference") == pytest.approx(0.426)
    # -2 x .65 and -.8 x .5; -1.5 x .22 and -.5 x .4.
    assert value(truth, "between_client", "difference") == pytest.approx(-0.9)
    assert value(truth, "between_therapist", "difference") == pytest.approx(-0.13)


def test_absolute_difference_keeps_strength_apart_from_direction():
    truth = generating_values(SimulationSettings(**WHITE_NOISE, within_client_effect_therapist=2.0))
    assert value(truth, "within_client", "difference") == pytest.approx(-0.57 - 0.72)
    assert value(truth, "within_client", "absolute_difference") == pytest.approx(0.57 - 0.72)


def test_layout_of_the_truth():
    truth = generating_values(SimulationSettings())
    assert list(truth.columns) == [
        "level",
        "rater",
        "rater_b",
        "quantity",
        "estimand",
        "value",
        "unit",
        "note",
    ]
    assert not truth.duplicated(["level", "rater", "rater_b", "quantity", "estimand"]).any()
    assert truth.groupby(["level", "quantity"]).size().unstack().to_dict("index") == {
        level: {"coefficient": 2, "standardised": 2, "difference": 1, "absolute_difference": 1}
        for level in ("within_client", "between_client", "between_therapist")
    }
    is_contrast = truth["quantity"].isin(["difference", "absolute_difference"])
    assert (truth["rater_b"].eq("therapist") == is_contrast).all()
    per_point = truth["unit"] == "CORE-10 points per WAI-S point"
    assert (per_point == (truth["quantity"] == "coefficient")).all()
    assert set(truth.loc[~per_point, "unit"]) == {"CORE-10 points per SD"}
    assert truth["note"].str.len().min() > 20


def test_example_is_about_a_client_view_that_predicts_more():
    """What the example study is meant to show; the report's verdict is checked against it."""
    truth = generating_values(SimulationSettings())
    assert -0.9 < value(truth, "within_client", "difference") < -0.5
    assert value(truth, "within_client", "coefficient", "client") == -1.5
    assert value(truth, "within_client", "coefficient", "therapist") == -0.4


def test_variance_of_an_autoregression_by_hand():
    settings = SimulationSettings(**WHITE_NOISE | {"client_alliance_autoregression": 0.6})
    covariance = within_covariance(settings)
    # sigma^2 / (1 - phi^2) for the client; white noise, and the innovations' covariance, for the rest.
    assert covariance[1, 1] == pytest.approx(0.38**2 / (1 - 0.36))
    assert covariance[2, 2] == pytest.approx(0.36**2)
    assert covariance[1, 2] == pytest.approx(0.25 * 0.38 * 0.36)
    assert covariance[0, 0] == pytest.approx(
        2.6**2 + 1.5**2 * covariance[1, 1] + 0.4**2 * covariance[2, 2] + 2 * 1.5 * 0.4 * covariance[1, 2]
    )


@pytest.mark.parametrize(("repaired", "expected"), [(1.0, 0.1 * 0.9 * 0.64), (0.0, 3 * 0.1 * 0.9 * 0.64)])
def test_variance_of_ruptures_by_hand(repaired, expected):
    """A repaired rupture lowers one session by .8, an unrepaired one three: p (1 - p) .8^2 for each."""
    settings = SimulationSettings(
        **WHITE_NOISE
        | {
            "rupture_probability": 0.1,
            "rupture_repaired_share": repaired,
            "rupture_unrepaired_sessions": 2,
            "client_alliance_innovation_sd": 0,
        }
    )
    assert within_covariance(settings)[1, 1] == pytest.approx(expected)


def one_client(**changes) -> StableEffects:
    """One client of one therapist, average in everything that ``changes`` does not name."""
    average = {
        "therapist": np.array([0]),
        "intake": np.array([20.0]),
        "alliance_between_client": np.zeros((1, 2)),
        "alliance_between_therapist": np.zeros((1, 2)),
        "change": np.zeros(1),
        "alliance_trend": np.zeros((1, 2)),
    }
    return StableEffects(**average | changes)


def departures(**changes) -> np.ndarray:
    """How far the client's courses lie from the mean ones, by slot (0 to 21) and variable."""
    settings = SimulationSettings()
    return (individual_courses(settings, one_client(**changes), 22) - mean_courses(settings, 22))[0]


def test_mean_courses_by_hand():
    means = mean_courses(SimulationSettings(), 22)
    np.testing.assert_allclose(means[[0, 1]], [[20, 5.15, 4.75]] * 2)
    # The mean therapy has 14 sessions; its end assessment is slot 15.
    np.testing.assert_allclose(means[15], [12, 5.55, 5.05])


@pytest.mark.parametrize(
    ("level", "client", "therapist"), [("between_client", -2.0, -0.8), ("between_therapist", -1.5, -0.5)]
)
def test_stable_alliance_acts_after_session_3(level, client, therapist):
    for position, effect in enumerate((client, therapist)):
        alliance = np.zeros((1, 2))
        alliance[0, position] = 1.0
        course = departures(**{f"alliance_{level}": alliance})
        assert (course[:4, 0] == 0).all()
        # Half of the effect half-way between session 3 and the mean end, all of it there.
        np.testing.assert_allclose(course[[9, 15], 0], [effect / 2, effect])
        # Averaged over the planned lengths 8 to 20 (end assessments 9 to 21), exactly the effect.
        assert course[9:22, 0].mean() == pytest.approx(effect)
        np.testing.assert_allclose(course[:, 1 + position], 1.0)
        assert (course[:, 2 - position] == 0).all()


def test_intake_severity_carries_over_in_part():
    course = departures(intake=np.array([30.0]))[:, 0]
    np.testing.assert_allclose(course[[0, 1, 8, 15]], [10, 10, 8, 6])


def test_individual_trends_by_hand():
    course = departures(change=np.array([7.0]), alliance_trend=np.array([[0.5, -0.2]]))
    np.testing.assert_allclose(course[[1, 8, 15], 0], [0, 3.5, 7])
    np.testing.assert_allclose(course[[4, 14], 1], [0, 0.5], atol=1e-12)
    np.testing.assert_allclose(course[[4, 14], 2], [0, -0.2], atol=1e-12)
    # They cancel over the early window.
    np.testing.assert_allclose(course[3:6, 1:].sum(axis=0), 0, atol=1e-12)


def test_growing_deviations_are_refused():
    settings = SimulationSettings(
        severity_autoregression=0.9, client_alliance_autoregression=0.9, reverse_path_client=-0.2
    )
    with pytest.raises(StudyError, match="without limit"):
        generating_values(settings)
    with pytest.raises(StudyError, match="without limit"):
        simulate_study(settings, 1)


# By simulation


def test_deviations_have_the_stated_covariance_in_every_slot():
    settings = SimulationSettings()
    n_clients = 40_000
    deviations, _ = simulate_within(
        settings, n_clients, 12, np.random.default_rng(11), np.random.default_rng(12)
    )
    expected = within_covariance(settings)
    sds = np.sqrt(np.diag(expected))
    for slot in (0, 5, 11):
        drawn = deviations[:, slot]
        assert np.abs(drawn.mean(axis=0) / sds).max() < LIMIT / np.sqrt(n_clients)
        # Ruptures make heavy tails, so standard errors come from the products themselves.
        products = np.einsum("ni,nj->nij", drawn, drawn)
        errors = products.std(axis=0) / np.sqrt(n_clients)
        assert np.abs((products.mean(axis=0) - expected) / errors).max() < LIMIT
        assert (errors / np.outer(sds, sds)).max() < 0.015


def test_lag_1_effects_are_found_in_the_latent_deviations(latent):
    """Ruptures included: what is new in severity is independent of every earlier alliance."""
    rows = pairs(latent)
    coefficients, errors = least_squares(
        rows["severity_within_client"].to_numpy(),
        rows[[f"before_{name}" for name in WITHIN]].to_numpy(),
        rows["client_id"].to_numpy(),
    )
    assert_found(coefficients[1:], errors[1:], [0.35, -1.5, -0.4], largest_error=0.03)


def test_lag_1_effect_is_found_among_held_sessions(latent):
    """Dropout after session t depends on what was there at t, so it does not bias the equation for t + 1."""
    rows = pairs(latent[latent["held"] & (latent["occasion"] == "session")])
    coefficients, errors = least_squares(
        rows["severity_within_client"].to_numpy(),
        rows[[f"before_{name}" for name in WITHIN]].to_numpy(),
        rows["client_id"].to_numpy(),
    )
    assert_found(coefficients[2:], errors[2:], [-1.5, -0.4], largest_error=0.03)


def test_reverse_path_is_found_without_ruptures():
    # The shocks of unrepaired ruptures are correlated over sessions, which least squares does not allow.
    settings = SimulationSettings(**LARGE, rupture_probability=0)
    rows = pairs(simulate_study(settings, 43).latent)
    for variable, truth in (("client_alliance", [-0.03, 0.3]), ("therapist_alliance", [-0.02, 0.3])):
        within = f"{variable}_within_client"
        coefficients, errors = least_squares(
            rows[within].to_numpy(),
            rows[["severity_within_client", f"before_{within}"]].to_numpy(),
            rows["client_id"].to_numpy(),
        )
        assert_found(coefficients[1:], errors[1:], truth, largest_error=0.004)


def test_early_effects_are_found_at_the_planned_end(latent):
    """Between clients -2.0 and -.8, between therapists -1.5 and -.5, carry-over of intake severity .6."""
    coefficients, errors = early_model(latent)
    assert_found(coefficients, errors, [-2.0, -0.8, -1.5, -0.5, 0.6], largest_error=0.45)
    assert max(errors[[0, 1]]) < 0.15


def test_early_effects_are_the_same_given_prior_change(latent):
    """The stable alliance acts after session 3, so severity before session 3 holds none of its effect."""
    coefficients, errors = early_model(latent, "severity_3")
    assert_found(coefficients[:4], errors[:4], [-2.0, -0.8, -1.5, -0.5], largest_error=0.45)
    assert coefficients[5] > 10 * errors[5]


def test_stable_alliances_have_the_stated_sds(latent):
    first = latent.drop_duplicates("client_id")
    therapists = latent.drop_duplicates("therapist_id")
    # The relative standard error of an SD is 1 / sqrt(2n).
    for column, rows, sd in (
        (STABLE[0], first, 0.65),
        (STABLE[1], first, 0.5),
        (STABLE[2], therapists, 0.22),
        (STABLE[3], therapists, 0.4),
    ):
        assert rows[column].std() == pytest.approx(sd, rel=LIMIT / np.sqrt(2 * len(rows)))
    assert first["client_alliance_between_client"].corr(first["intake_severity"]) < -0.15
    assert first[STABLE[0]].corr(first[STABLE[1]]) == pytest.approx(0.35, abs=LIMIT / np.sqrt(len(first)))


def test_null_study_has_no_effect_anywhere():
    null = {
        f"{level}_effect_{rater}": 0.0
        for level in ("within_client", "between_client", "between_therapist")
        for rater in ("client", "therapist")
    }
    study = simulate_study(SimulationSettings(**LARGE, **null), 44)
    assert (study.truth["value"] == 0).all()
    coefficients, errors = early_model(study.latent)
    assert_found(coefficients[:4], errors[:4], 0, largest_error=0.45)
    rows = pairs(study.latent)
    coefficients, errors = least_squares(
        rows["severity_within_client"].to_numpy(),
        rows[[f"before_{name}" for name in WITHIN]].to_numpy(),
        rows["client_id"].to_numpy(),
    )
    assert_found(coefficients[2:], errors[2:], 0, largest_error=0.03)
