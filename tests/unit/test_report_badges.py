"""Checks as badges: what shares one, what stays apart, and how their numbers are written."""

import pandas as pd
import pytest

from alliance_outcome.report.badges import badge_groups
from alliance_outcome.report.formatting import plain_number

COLUMNS = ["stage", "name", "passed", "value", "limit", "text"]


def badges(*rows):
    (group,) = badge_groups(pd.DataFrame(rows, columns=COLUMNS))
    return group.badges


def test_checks_that_passed_share_a_badge_with_the_range_of_their_numbers():
    (badge,) = badges(
        *(
            (
                "early",
                f"c.{raters}",
                "True",
                "0.1",
                "",
                f"early_two_level.{raters}: slope {slope}, {rows} rows",
            )
            for raters, slope, rows in (("joint", "2.2e-06", 2520), ("client", "3.8e-11", 2520))
        )
    )
    assert badge.text == "Slope 3.8 × 10⁻¹¹ to 2.2 × 10⁻⁶, 2,520 rows".replace(
        " × ", "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
    )
    assert badge.n == 2


def test_failed_checks_stay_apart_so_that_each_number_has_its_model():
    found = badges(
        ("early", "c.a", "False", "9", "4", "early_two_level.joint: likelihood ratio 9.1"),
        ("early", "c.b", "False", "8", "4", "early_three_level.joint: likelihood ratio 8.4"),
    )
    assert [(badge.text, badge.places) for badge in found] == [
        ("Likelihood ratio 9.1", "Early alliance to end of therapy, two levels (all raters)"),
        ("Likelihood ratio 8.4", "Early alliance to end of therapy, three levels (all raters)"),
    ]


def test_different_findings_stay_apart():
    found = badges(
        ("early", "c.a", "True", "1", "", "early_two_level.joint: fitted to 20 samples of therapists"),
        ("early", "c.b", "True", "1", "", "early_two_level.client: fitted to 20 samples of clients"),
    )
    assert len(found) == 2


def test_models_with_the_same_raters_stand_together():
    (badge,) = badges(
        *(
            ("early", f"b.{model}.{raters}", "True", "0", "0", f"{model}.{raters}: nothing on the boundary")
            for model in ("early_two_level", "early_three_level")
            for raters in ("joint", "client")
        )
    )
    assert badge.places == (
        "Early alliance to end of therapy, two levels; Early alliance to end of therapy, three levels (each: all "
        "raters, the client alone)"
    )


def test_the_second_opinion_says_what_was_compared_with_what():
    text = "{}.joint ({}): statsmodels MixedLM differs by {} standard errors at most"
    structure = "client: random intercept and random slope of alliance_client_within_client, {}"
    rows = [
        (
            "second_opinion",
            "second_opinion.a",
            "True",
            "0",
            "0.001",
            text.format(model, structure.format(word), value),
        )
        for model, word, value in (
            ("hybrid_three_level", "uncorrelated", "1.8e-09"),
            ("hybrid_two_level", "correlated", "2.6e-08"),
        )
    ]
    (group,) = badge_groups(pd.DataFrame(rows, columns=COLUMNS))
    assert group.title == "Second opinion"
    assert "fitted by both programs" in group.note
    first, second = group.badges
    assert first.text.startswith("statsmodels MixedLM differs by 1.8")
    assert first.text.endswith("standard errors at most; client effects uncorrelated in both")
    assert first.places == "Session to session, three levels (all raters)"
    assert second.text.endswith("standard errors at most")


def test_a_check_that_does_not_apply_has_no_limit():
    (badge,) = badges(("early", "x", None, None, "0.001", "early_two_level.joint: nothing to compare"))
    assert (badge.state, badge.detail) == ("not applicable", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.8e-09", "1.8 × 10⁻⁹"),
        ("-1.8e-12", "−1.8 × 10⁻¹²"),
        ("+9.1e-13", "+9.1 × 10⁻¹³"),
        ("3.0e+12", "3.0 × 10¹²"),
        ("0.0e+00", "0"),
        ("+0.0e+00", "0"),
        ("2520", "2,520"),
        ("0.36", "0.36"),
        ("-0.36", "−0.36"),
    ],
)
def test_numbers_of_programs_are_written_for_readers(text, expected):
    assert plain_number(text).replace("\N{NO-BREAK SPACE}", " ") == expected
