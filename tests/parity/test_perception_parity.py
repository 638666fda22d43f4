"""One-with-many splits and truth and bias held against nlme, lavaan and lmerTest; see perception/reference.R."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.truth_and_bias import Judgement
from alliance_outcome.models.one_with_many import fit_one_with_many
from alliance_outcome.models.one_with_many_ratings import Ratings

FOLDER = Path(__file__).parent / "perception"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
RATERS = ["alliance_client", "alliance_therapist"]
#: Terms of lmerTest's formula and ours.
TERMS = {
    "(Intercept)": "Intercept",
    "within": "within_client",
    "between": "between_client",
    "above": "between_therapist",
    "number": "session",
    "severity": "severity_first",
    "within:number": "within_client_by_session",
    "within:severity": "within_client_by_severity_first",
}
SPLITS = [(name, kind) for name, cases in EXPECTED.items() for kind in cases if kind != "truth_and_bias"]
JUDGES = [
    (name, judge, model)
    for name, cases in EXPECTED.items()
    for judge, models in cases["truth_and_bias"].items()
    for model in models
]


def table_of(name):
    return pd.read_csv(FOLDER / f"{name}.csv")


@pytest.mark.parametrize(("name", "kind"), SPLITS)
def test_split_of_two_raters(name, kind):
    table, expected = table_of(name), EXPECTED[name][kind]
    therapists = None if kind.startswith("two_level") else table["therapist"]
    fit = fit_one_with_many(
        Ratings.of(table[RATERS], table["client"], therapists), reml=kind.endswith("reml")
    )
    assert fit.converged
    # Their searches stop a little early; ours must not be lower.
    assert fit.log_likelihood > expected["log_likelihood"] - 1e-8
    assert fit.log_likelihood == pytest.approx(expected["log_likelihood"], rel=1e-8)
    assert fit.means == pytest.approx(expected["means"], abs=1e-5)
    for level, covariance in expected["covariances"].items():
        expected_matrix = np.array(covariance)
        assert fit.covariances[level] == pytest.approx(expected_matrix, abs=1e-4)
        correlation = expected_matrix[0, 1] / np.sqrt(expected_matrix[0, 0] * expected_matrix[1, 1])
        assert fit.correlations[fit.levels.index(level)] == pytest.approx(correlation, abs=1e-4)
    if "std_errors" in expected:
        assert np.sqrt(fit.mean_covariance.diagonal()) == pytest.approx(expected["std_errors"], rel=1e-3)


@pytest.mark.parametrize(("name", "judge", "model"), JUDGES)
def test_truth_and_bias(name, judge, model):
    expected = EXPECTED[name]["truth_and_bias"][judge][model]
    truth = {"client": "therapist", "therapist": "client"}[judge]
    judgement = Judgement.of(table_of(name), f"alliance_{judge}", f"alliance_{truth}", has_therapists=True)
    fit = judgement.model("session" if model == "main" else "severity_first").fit()
    assert fit.llf == pytest.approx(expected["log_likelihood"], rel=1e-6)
    terms = [TERMS[term] for term in expected["terms"]]
    assert fit.params[terms].to_numpy() == pytest.approx(expected["estimates"], abs=1e-5)
    tested = [fit.contrast(term, df="satterthwaite") for term in terms]
    assert [each.std_error for each in tested] == pytest.approx(expected["std_errors"], rel=1e-3)
    spread = fit.random_covariance("client").loc["within_client", "within_client"] ** 0.5
    assert spread == pytest.approx(expected["tracking_sd"], abs=1e-4)
    if not expected["singular"]:
        # On the boundary lmerTest differentiates where there is no derivative.
        assert [each.df for each in tested] == pytest.approx(expected["df"], rel=5e-3)
