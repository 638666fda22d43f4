"""The answer sentence on planted cases: DESIGN.md's rules to the letter."""

import pandas as pd
import pytest

from alliance_outcome.analyses.answer import decide, failed_gates


def ask(beta_client, beta_therapist, low, high, *, rope=None, failed=(), status="ok", reason=None):
    """Decide a case with standardised coefficients and an interval of D."""
    difference = {
        "rater": "client",
        "rater_b": "therapist",
        "estimate": beta_client - beta_therapist,
        "ci_low": low,
        "ci_high": high,
        "ci_level": 0.95,
        "status": status,
        "reason": reason,
        "model": "hybrid_three_level",
        "engine": "multilevel",
        "level": "within_client",
        "row_id": "d",
    }
    coefficients = {"client": {"estimate": beta_client}, "therapist": {"estimate": beta_therapist}}
    return decide(difference, coefficients, rope=rope, failed=failed, unit="points")


def test_client_only():
    answer = ask(-0.8, 0.0, -1.1, -0.5)
    assert answer.verdict == "client"
    assert answer.claim == (
        "From one session to the next, the client's view predicts more improvement than the therapist's."
    )
    assert answer.uncertainty == (
        "One within-client standard deviation more alliance goes with a next severity that is 0.80 points lower for "
        "the client's rating than for the therapist's (D = −0.80, 95\N{NO-BREAK SPACE}% interval −1.10 to −0.50)."
    )
    assert answer.as_dict()["sentence"] == f"{answer.claim} {answer.uncertainty}"


def test_therapist_only():
    answer = ask(-0.1, -0.9, 0.4, 1.2)
    assert answer.verdict == "therapist"
    assert "the therapist's view predicts more improvement than the client's" in answer.claim
    assert (
        "0.80 points higher for the client's rating than for the therapist's (D = 0.80, "
        in answer.uncertainty
    )
    assert not answer.opposite_signs


def test_equal_needs_a_rope():
    assert ask(-0.5, -0.5, -0.1, 0.1, rope=0.2).verdict == "equal"
    assert ask(-0.5, -0.5, -0.1, 0.1).verdict == "not_distinguished"


def test_an_interval_inside_the_rope_is_practically_equal_even_when_it_excludes_zero():
    assert ask(-0.5, -0.4, -0.15, -0.05, rope=0.2).verdict == "equal"


def test_an_interval_that_leaves_the_rope_is_not_equal():
    assert ask(-0.5, -0.5, -0.25, 0.1, rope=0.2).verdict == "not_distinguished"


def test_opposite_signs_are_said():
    answer = ask(-0.6, 0.4, -1.3, -0.7)
    assert answer.verdict == "client"
    assert answer.opposite_signs
    assert (
        "The signs are opposite: a higher client's rating goes with less severity, a higher therapist's with more."
        in answer.uncertainty
    )


def test_a_difference_without_improvement_is_no_claim():
    # D lies below zero, but the client's rating goes with more severity too, only less so than the therapist's.
    answer = ask(0.2, 0.9, -1.0, -0.4)
    assert answer.verdict == "not_distinguished"
    assert "more improvement than" not in answer.claim


def test_nothing():
    answer = ask(0.01, -0.02, -0.2, 0.25)
    assert answer.verdict == "not_distinguished"
    assert "not distinguished" in answer.sentence


def test_not_converged():
    answer = ask(-0.8, 0.0, -1.1, -0.5, failed=("bayesian: hybrid_three_level.joint",))
    assert answer.status == answer.verdict == "not_established"
    assert answer.claim == "Not established."
    assert answer.sentence.endswith("(bayesian: hybrid_three_level.joint).")
    assert answer.estimate is None


def test_a_row_that_is_not_established_gives_no_answer():
    answer = ask(-0.8, 0.0, -1.1, -0.5, status="not_established", reason="the model did not converge")
    assert answer.verdict == "not_established"
    assert "did not converge" in answer.sentence


def test_a_refusal_says_why():
    answer = ask(-0.8, 0.0, -1.1, -0.5, status="refused", reason="alliance is rated by the client only")
    assert answer.verdict == "refused"
    assert "client only" in answer.sentence


@pytest.mark.parametrize(
    ("name", "passed", "blocks"),
    [
        ("convergence.hybrid_three_level.joint", False, True),
        ("convergence.hybrid_three_level.joint.r_hat", False, True),
        ("convergence.hybrid_three_level.joint", True, False),
        ("convergence.hybrid_three_level.joint", None, False),
        ("convergence.hybrid_two_level.joint", False, False),
        ("convergence.hybrid_three_level.client", False, False),
        ("boundary.hybrid_three_level.joint", False, False),
    ],
)
def test_only_failed_convergence_of_the_headlines_model_blocks(name, passed, blocks):
    checks = pd.DataFrame([{"stage": "multilevel", "name": name, "passed": passed}])
    assert bool(failed_gates(checks, "hybrid_three_level")) == blocks
