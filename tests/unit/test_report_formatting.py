"""Numbers and names in front of readers."""

import math

import pytest

from alliance_outcome.report import formatting as form
from alliance_outcome.report.labels import column_label, term_label


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
    ("mcse", "decimals"),
    [(None, 2), (0.0, 2), (0.004, 2), (0.01, 2), (0.012, 1), (0.1, 1), (0.2, 0), (3.0, 0)],
)
def test_no_decimal_is_finer_than_the_monte_carlo_error(mcse, decimals):
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
        ("difference", "client", "therapist", "Client against therapist: difference D"),
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


def test_columns_have_names():
    assert column_label("alliance_client_goal") == "Client-rated alliance (goal)"
    assert column_label("severity_core_10_client") == "CORE-10 severity, client-rated"
