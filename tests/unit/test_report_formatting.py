"""Numbers and names in front of readers."""

import math

import pytest

from alliance_outcome.report import formatting as form
from alliance_outcome.report.labels import column_label, name_terms, term_label


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-0.404, 2, "−0.40"),
        (1234.5, 1, "1,234.5"),
        (-0.004, 2, "0.00"),
        (None, 2, "–"),
        (math.nan, 2, "–"),
        (-math.inf, 2, "−∞"),
    ],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value, decimals, text):
    assert form.number(value, decimals) == text


def test_intervals_stand_in_brackets():
    assert form.estimate_with_interval(-0.4, -0.7, -0.1) == "−0.40 [−0.70, −0.10]"
    assert form.estimate_with_interval(-0.4, None, None) == "−0.40"
    assert form.estimate_with_interval(None, -0.7, -0.1) == "–"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0321, ".032"), (0.0004, "< .001"), (0.0006, ".001"), (1.0, "1.000"), (None, "–")]
)
def test_p_values_are_written_as_the_apa_manual_asks(p, text):
    assert form.p_value(p) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "> .999"), (0.9996, "> .999"), (0.984, ".984"), (0.0, "< .001"), (None, "–")]
)
def test_a_probability_is_never_certain(value, text):
    assert form.probability(value) == text


@pytest.mark.parametrize(
    ("mcse", "decimals"),
    [(None, 2), (0.0, 2), (0.004, 2), (0.05, 2), (0.051, 1), (0.5, 1), (0.51, 0), (7.0, 0)],
)
def test_a_decimal_goes_once_its_monte_carlo_error_exceeds_five_units(mcse, decimals):
    assert form.monte_carlo_decimals(mcse) == decimals


def test_counts_levels_and_degrees_of_freedom():
    assert form.count(1204) == "1,204"
    assert form.level_percent(0.95) == "95\N{NO-BREAK SPACE}%"
    assert form.level_percent(0.975) == "97.5\N{NO-BREAK SPACE}%"
    assert form.degrees_of_freedom(41.52) == "41.5"
    assert form.degrees_of_freedom(23.0) == "23"
    assert form.degrees_of_freedom(math.inf) == "∞"


def test_words_are_joined_as_in_a_sentence():
    assert form.join_words(["a"]) == "a"
    assert form.join_words(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    ("term", "rater", "rater_b", "text"),
    [
        ("alliance_client_within_client", "client", None, "Client-rated alliance, within clients"),
        (
            "alliance_ward_nurse_between_client_pooled",
            "ward_nurse",
            None,
            "Ward nurse-rated alliance, between clients, therapists pooled",
        ),
        ("difference", "client", "therapist", "D, client against therapist"),
        ("difference", "client", None, "D"),
        ("coefficient_standardised", "client", None, "Client-rated alliance, per SD"),
        ("absolute_difference", "client", "therapist", "|β| of client minus |β| of therapist"),
        ("age_band[T.30 to 44]", None, None, "Age band: 30 to 44"),
        (
            "var(client: alliance_client_within_client)",
            None,
            None,
            "Variance over clients: client-rated alliance, within clients",
        ),
        (
            "cov(client: Intercept, alliance_client_within_client)",
            None,
            None,
            "Covariance over clients: intercept with client-rated alliance, within clients",
        ),
        ("var(residual)", None, None, "Residual variance"),
        ("severity_first", None, None, "First severity"),
    ],
)
def test_terms_have_names(term, rater, rater_b, text):
    assert term_label(term, rater, rater_b) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "largest R-hat 1.007 (sd(therapist: Intercept))",
            "largest R-hat 1.007 (standard deviation over therapists: intercept)",
        ),
        (
            "smallest bulk ESS 300 (difference within_client)",
            "smallest bulk ESS 300 (D within clients)",
        ),
        ("largest R-hat (severity_before)", "largest R-hat (severity just before the alliance window)"),
        (
            "estimated on the boundary: therapist:Intercept",
            "estimated on the boundary: variance over therapists of intercept",
        ),
        ("client:covariance", "covariance matrix of client effects"),
        (
            "bayesian: hybrid_three_level.joint.r_hat",
            "bayesian: Session to session, three levels, all raters (R-hat)",
        ),
    ],
)
def test_machine_names_inside_sentences_are_replaced(text, named):
    assert name_terms(text) == named


def test_columns_have_names():
    assert column_label("alliance_client_goal") == "Client-rated alliance (goal)"
    assert column_label("severity_core_10_client") == "CORE-10 severity, client-rated"
