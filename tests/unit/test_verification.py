"""A tampered number, a missing row and a new row are each found and named."""

import pandas as pd
import pytest

from alliance_outcome.analyses.estimates import estimates_frame, read_estimates, write_estimates
from alliance_outcome.analyses.verification import compare_estimates


@pytest.fixture
def reference():
    deterministic = {
        "estimate": -0.5,
        "std_error": 0.1,
        "ci_low": -0.7,
        "ci_high": -0.3,
        "p_value": 1e-6,
        "n_clients": 300,
    }
    sampled = {"estimate": -0.5, "std_error": 0.1, "ci_low": -0.7, "ci_high": -0.3}
    errors = {"mcse_mean": 0.002, "mcse_sd": 0.002, "mcse_ci_low": 0.006, "mcse_ci_high": 0.006}
    return estimates_frame(
        [
            {"row_id": "a", "quantity_kind": "deterministic", **deterministic},
            {"row_id": "b", "quantity_kind": "mcmc", **sampled, **errors},
            {
                "row_id": "c",
                "quantity_kind": "deterministic",
                "status": "refused",
                "reason": "no therapist ids",
            },
        ]
    )


def verdicts(reference, new):
    """Return the verdicts by row."""
    return compare_estimates("early", reference, new).set_index("row_id")


def test_the_same_numbers_reproduce(reference):
    assert set(verdicts(reference, reference.copy())["verdict"]) == {"reproduced"}


@pytest.mark.parametrize(
    ("row", "column", "change"),
    [
        (0, "estimate", 2e-4),
        (0, "std_error", 2e-4),
        (0, "ci_low", -2e-4),
        (0, "p_value", 1e-7),
        (0, "n_clients", 1),
        (1, "estimate", 0.02),
        (1, "ci_high", 0.05),
    ],
)
def test_a_tampered_number_is_named(reference, row, column, change):
    new = reference.copy()
    new.loc[row, column] = new.loc[row, column] + change
    found = verdicts(reference, new)
    label = new.loc[row, "row_id"]
    assert found.loc[label, "verdict"] == "differs"
    assert found.loc[label, "column"] == column
    assert (found.drop(label)["verdict"] == "reproduced").all()


def test_monte_carlo_error_is_no_difference(reference):
    new = reference.copy()
    new.loc[1, "estimate"] += 4 * 0.002 * 2**0.5
    assert verdicts(reference, new).loc["b", "verdict"] == "reproduced"


def test_floating_point_noise_is_no_difference(reference):
    new = reference.copy()
    new.loc[0, "estimate"] += 1e-9
    assert verdicts(reference, new).loc["a", "verdict"] == "reproduced"


def test_missing_and_new_rows_are_named(reference):
    new = pd.concat([reference.drop(index=2), reference.iloc[[0]].assign(row_id="d")], ignore_index=True)
    found = verdicts(reference, new)
    assert found.loc["c", "verdict"] == "missing"
    assert found.loc["d", "verdict"] == "new"


def test_a_refusal_that_became_a_number_differs(reference):
    new = reference.copy()
    new.loc[2, ["status", "reason", "estimate"]] = ["ok", None, 0.1]
    assert verdicts(reference, new).loc[["c"], "verdict"].eq("differs").all()


def test_files_round_trip_to_the_last_digit(reference, tmp_path):
    reference.loc[0, "estimate"] = -0.1 - 0.2
    write_estimates(reference, tmp_path / "early.csv")
    again = read_estimates(tmp_path / "early.csv")
    assert again.loc[0, "estimate"] == reference.loc[0, "estimate"]
    assert set(compare_estimates("early", reference, again)["verdict"]) == {"reproduced"}
    write_estimates(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "early.csv").read_bytes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"row_id": "a"}, {"row_id": "a"}], "not unique"),
        ([{"row_id": "a", "colour": 1}], "not columns"),
        ([{"row_id": "a", "status": "refused"}], "needs a reason"),
        ([{"row_id": "a", "status": "perhaps"}], "status must be"),
    ],
)
def test_rows_that_break_the_contract_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        estimates_frame(rows)
