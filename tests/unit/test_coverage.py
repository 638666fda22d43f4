"""The coverage study: its generators, its arithmetic, and what is stored of it. The study itself is a target."""

from __future__ import annotations

import math
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alliance_outcome.analyses.coverage import intervals as intervals_module
from alliance_outcome.analyses.coverage import table as table_module
from alliance_outcome.analyses.coverage.designs import (
    DESIGNS,
    EARLY,
    HYBRID,
    LAGGED,
    SIZES,
    STUDIES,
    LaggedDesign,
    MultilevelDesign,
    OutcomeModel,
    chunks,
    parameters_digest,
)
from alliance_outcome.analyses.coverage.intervals import (
    CELL,
    SPECIFICATIONS,
    alliance_quantities,
    intervals,
    lagged_model,
)
from alliance_outcome.analyses.coverage.lagged_studies import simulate_lagged_study
from alliance_outcome.analyses.coverage.multilevel_studies import (
    SimulatedStudy,
    coefficients,
    simulate_study,
)
from alliance_outcome.analyses.coverage.page import coverage_page, verdict
from alliance_outcome.analyses.coverage.table import (
    binomial_band,
    cells,
    coverage_table,
    misplaced,
    read_coverage,
)
from alliance_outcome.analyses.multilevel import multilevel_model
from alliance_outcome.design.levels import level_sd
from alliance_outcome.models.design_checks import UnfittableModel

REFERENCE = Path(__file__).parents[2] / "config/reference/coverage"

#: A true value is within 4.5 standard errors of its estimate but for 7 in a million normal draws; the seeds are fixed.
STANDARD_ERRORS, UNLIKELY = 4.5, 7e-6


@pytest.fixture(scope="module")
def large_study() -> SimulatedStudy:
    return simulate_study(MultilevelDesign(600), 0)


@pytest.fixture(scope="module")
def stored() -> pd.DataFrame:
    return read_coverage(REFERENCE / "coverage.csv")


# -- Generators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("analysis", "truth"), [("hybrid", HYBRID), ("early", EARLY)])
def test_large_study_gives_back_coefficients_and_variances(
    large_study: SimulatedStudy, analysis: str, truth: OutcomeModel
) -> None:
    specification, trend = SPECIFICATIONS[analysis]
    rows = getattr(large_study, analysis)
    model = multilevel_model(specification, rows, "outcome", specification.terms(trend, ()))
    result = model.fit()
    expected = pd.Series(coefficients(truth))
    assert set(result.params.index) == set(expected.index)
    errors = (result.params - expected[result.params.index]) / result.bse
    assert errors.abs().max() < STANDARD_ERRORS, errors.to_dict()
    # Relative variances all together: twice the log-likelihood that they lack is χ² with as many degrees of freedom.
    relative = {level: each / truth.residual_sd**2 for level, each in true_covariances(truth).items()}
    most = stats.chi2.isf(UNLIKELY, len(result.maximum.parameters))
    assert 0.0 <= 2.0 * (result.llf - model.evaluate(relative).llf) < most
    # Twice the standard deviations lack more than that: the statement above can fail.
    wrong = {level: 4.0 * each for level, each in relative.items()}
    assert 2.0 * (result.llf - model.evaluate(wrong).llf) > most
    # The residual variance has a standard error of σ² √(2 / n) with n rows less what random effects take up, which is
    # less than half of the rows (three effects of clients with eight rows each, or one of therapists with ten).
    spread = truth.residual_sd**2 * math.sqrt(2.0 / (0.5 * len(rows)))
    assert abs(result.scale - truth.residual_sd**2) < STANDARD_ERRORS * spread


def true_covariances(truth: OutcomeModel) -> dict[str, np.ndarray]:
    """Return the covariance matrix of each level's random effects."""
    covariances = {"therapist": np.array([[truth.therapist_sd**2]])}
    if truth.client_sd:
        first, second, third = truth.client_correlations
        correlation = np.array([[1.0, first, second], [first, 1.0, third], [second, third, 1.0]])
        covariances["client"] = correlation * np.outer(truth.client_sd, truth.client_sd)
    return covariances


def test_contrast_of_the_raters_holds_standard_deviations_at_those_of_the_study(
    large_study: SimulatedStudy,
) -> None:
    specification, _ = SPECIFICATIONS["hybrid"]
    differences = {
        quantity.level: quantity.truth
        for quantity in alliance_quantities(specification, large_study.hybrid, HYBRID)
        if quantity.quantity == "difference"
    }
    expected = {
        level: first * level_sd(large_study.hybrid, "alliance_client", level)
        - second * level_sd(large_study.hybrid, "alliance_therapist", level)
        for level, (first, second) in {
            "within_client": HYBRID.within_client,
            "between_client": HYBRID.between_client,
            "between_therapist": HYBRID.between_therapist,
        }.items()
    }
    assert differences == pytest.approx(expected, rel=1e-12)


def test_studies_have_the_sizes_they_should(large_study: SimulatedStudy) -> None:
    rows = large_study.hybrid
    caseloads = rows.groupby("therapist")["client"].nunique()
    assert caseloads.between(*SIZES.caseload).all()
    # Caseloads have a standard deviation of 4: their mean over 600 therapists has a standard error of 0.16.
    assert caseloads.mean() == pytest.approx(10.0, abs=0.7)
    sessions = rows.groupby("client").size()
    assert sessions.max() <= SIZES.sessions[1]
    # 10 sessions planned on average; the two forms and severity are all there in .94 × .88 × .96 of them.
    assert sessions.mean() == pytest.approx(10.0 * 0.94 * 0.88 * 0.96, abs=0.2)
    assert large_study.early["client"].is_unique
    assert rows["therapist"].nunique() == 600


def test_large_study_with_a_lagged_outcome_gives_back_its_coefficients() -> None:
    rows = simulate_lagged_study(LaggedDesign(6000, 8, 200), "independent", 0)
    result = lagged_model(rows, "outcome_before").fit()
    truth = {"Intercept": LAGGED.constant, "outcome_before": LAGGED.autoregression, "alliance": LAGGED.effect}
    errors = (result.params - pd.Series(truth)[result.params.index]) / result.bse
    assert errors.abs().max() < STANDARD_ERRORS, errors.to_dict()


def test_first_outcome_depends_on_the_intercepts_only_where_it_should() -> None:
    # A client's mean over later sessions stands in for the intercept.
    correlations = {}
    for first_outcome in ("independent", "stationary"):
        rows = simulate_lagged_study(LaggedDesign(3000, 12), first_outcome, 0)
        first = rows[rows["session"] == 2].set_index("client")["outcome_before"]
        late = rows[rows["session"] > 8].groupby("client")["outcome"].mean()
        correlations[first_outcome] = float(np.corrcoef(first, late)[0, 1])
    assert abs(correlations["independent"]) < STANDARD_ERRORS / math.sqrt(3000)
    assert correlations["stationary"] > 0.3


def test_a_lagged_outcome_is_the_outcome_of_the_session_before() -> None:
    rows = simulate_lagged_study(DESIGNS["lagged_100_clients_6_sessions"], "independent", 3)
    assert len(rows) == 100 * 5
    before = rows.groupby("client")["outcome"].shift(1)
    known = before.notna()
    assert (rows.loc[known, "outcome_before"] == before[known]).all()
    assert known.sum() == 100 * 4


@pytest.mark.parametrize("design", ["8_therapists", "lagged_100_clients_6_sessions"])
def test_a_study_is_the_same_in_whatever_job_and_unlike_every_other(design: str) -> None:
    together = intervals(design, range(2))
    alone = intervals(design, [1])
    second = together[together["study"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(second, alone)
    first = together[together["study"] == 0].reset_index(drop=True)
    assert not (first["estimate"] == second["estimate"]).any()


def test_jobs_cover_every_study_once() -> None:
    assert list(chain.from_iterable(chunks())) == list(range(STUDIES))


# -- Arithmetic ---------------------------------------------------------------------------------------------------


def test_limits_of_the_band_by_hand() -> None:
    # One cell of 20 studies with 10 % in each tail: P(X ≤ 17) = .0755 and P(X ≤ 18) = .2642 make 18 the 10 % quantile,
    # and P(X ≤ 19) = 1 − .95^20 = .6415 makes 20 the 90 % quantile.
    assert binomial_band(1, 20, family_error=0.2) == (18 / 20, 20 / 20)
    # Two cells share the error: 5 % in each tail makes 17 the quantile, as P(X ≤ 16) = .0159.
    assert binomial_band(2, 20, family_error=0.2) == (17 / 20, 20 / 20)


def test_band_of_the_study_from_exact_sums() -> None:
    count = int(cells()["judged"].sum())
    low, high = binomial_band(count, STUDIES)

    def at_most(successes: int) -> float:
        """Sum binomial probabilities, each from logarithms of factorials."""
        return math.fsum(
            math.exp(
                math.lgamma(STUDIES + 1)
                - math.lgamma(k + 1)
                - math.lgamma(STUDIES - k + 1)
                + k * math.log(0.95)
                + (STUDIES - k) * math.log(0.05)
            )
            for k in range(successes + 1)
        )

    tail = 0.01 / (2 * count)
    lowest, highest = round(low * STUDIES), round(high * STUDIES)
    assert at_most(lowest - 1) < tail <= at_most(lowest)
    assert at_most(highest - 1) < 1.0 - tail <= at_most(highest)


def one_interval(**changes: object) -> dict[str, object]:
    """Return an interval from 1 to 3 that holds the truth 2."""
    values = {"truth": 2.0, "estimate": 2.0, "std_error": 0.5, "df": 10.0, "ci_low": 1.0, "ci_high": 3.0}
    flags = {"converged": True, "singular": False, "no_therapist_variance": False, "refusal": None}
    return values | flags | changes


@pytest.fixture
def four_studies(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Return four studies: one covered, one missed, one without an interval, one that did not converge."""
    monkeypatch.setattr(table_module, "STUDIES", 4)
    studies = [
        one_interval(estimate=2.5, std_error=0.3, df=4.0, singular=True, no_therapist_variance=True),
        one_interval(estimate=1.0, std_error=0.4, df=8.0, ci_high=1.5),
        one_interval(estimate=np.nan, std_error=np.nan, df=np.nan, ci_low=np.nan, ci_high=np.nan),
        one_interval(converged=False, estimate=99.0),
    ]
    every = [
        {**cell, **study, "study": number}
        for cell in cells()[list(CELL)].to_dict("records")
        for number, study in enumerate(studies)
    ]
    return pd.DataFrame(every)


def test_a_cell_by_hand(four_studies: pd.DataFrame) -> None:
    cell = coverage_table(four_studies).iloc[0]
    assert cell["studies"] == 4
    assert cell["without_interval"] == 2
    assert cell["coverage"] == 0.25
    assert cell["coverage_se"] == pytest.approx(math.sqrt(0.25 * 0.75 / 4))
    assert (cell["singular"], cell["no_therapist_variance"]) == (0.25, 0.25)
    assert cell["coverage_without_therapist_variance"] == 1.0
    assert (cell["mean_df"], cell["median_df"]) == (6.0, 6.0)
    # Errors of 0.5 and −1: mean −0.25, standard deviation 1.5 / √2.
    assert cell["bias"] == pytest.approx(-0.25)
    assert cell["bias_se"] == pytest.approx(0.75)
    assert cell["se_ratio"] == pytest.approx(math.sqrt((0.09 + 0.16) / 2) / (1.5 / math.sqrt(2)))


def test_a_missing_cell_or_study_is_an_error(four_studies: pd.DataFrame) -> None:
    first = four_studies.iloc[0]
    of_cell = (four_studies[list(CELL)].fillna("") == first[list(CELL)].fillna("")).all(axis=1)
    with pytest.raises(ValueError, match="1 of 167 cells"):
        coverage_table(four_studies[~of_cell])
    with pytest.raises(ValueError, match="1 of 167 cells"):
        coverage_table(four_studies.drop(four_studies.index[0]))


def test_a_refused_model_is_counted_in_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnfittableModel("for a test")

    monkeypatch.setattr(intervals_module, "multilevel_model", refuse)
    found = intervals("8_therapists", [0])
    assert len(found) == 3 * (9 + 6)
    assert found["ci_low"].isna().all()
    assert not found["converged"].any()
    assert found["refusal"].str.endswith("for a test").all()
    assert found["truth"].notna().all()


def test_what_is_judged() -> None:
    expected = cells()
    judged = expected[expected["judged"]]
    multilevel = judged[judged["analysis"] != "lagged"]
    assert set(multilevel["method"]) == {"kenward_roger"}
    # Per number of therapists 9 quantities of the hybrid model and 6 of the early one; with 8 therapists the three of
    # the therapist level are left out of either.
    assert multilevel["therapists"].value_counts().to_dict() == {15: 15, 30: 15, 8: 9}
    assert "between_therapist" not in set(multilevel[multilevel["therapists"] == 8]["level"])
    lagged = judged[judged["analysis"] == "lagged"]
    assert set(lagged["first_outcome"]) == {"independent"}
    assert set(lagged["method"]) == {"observed_information"}
    assert len(lagged) == 2 * 4


# -- What is stored -----------------------------------------------------------------------------------------------


def test_stored_table_belongs_to_these_settings(stored: pd.DataFrame) -> None:
    assert set(stored["parameters"]) == {parameters_digest()}, "run the target coverage"


def test_stored_table_has_every_cell(stored: pd.DataFrame) -> None:
    expected = cells()
    columns = [name for name in expected.columns if name in stored.columns]
    pd.testing.assert_frame_equal(
        stored[columns].fillna({"first_outcome": ""}).astype(object).fillna(""),
        expected[columns].fillna({"first_outcome": ""}).astype(object).fillna(""),
    )
    assert (stored["studies"] == STUDIES).all()
    assert stored["coverage"].between(0.0, 1.0).all()


def test_every_judged_cell_lies_in_the_band(stored: pd.DataFrame) -> None:
    low, high = binomial_band(int(stored["judged"].sum()), STUDIES)
    judged = stored[stored["judged"]]
    outside = judged[~judged["coverage"].between(low, high)]
    assert outside.empty, verdict(stored)
    assert misplaced(stored).empty


def test_conventional_standard_errors_of_a_lagged_outcome_are_too_small(stored: pd.DataFrame) -> None:
    # Why the engine has to be told of a lagged outcome (the first outcome is independent of the intercepts here).
    lagged = stored[(stored["quantity"] == "autoregression") & (stored["first_outcome"] == "independent")]
    ratios = lagged.pivot(index=["clients", "sessions"], columns="method", values="se_ratio")
    assert (ratios["conventional"] < 0.95).all()
    assert (ratios["observed_information"] > 0.95).all()


def test_stored_page_shows_every_cell_of_the_stored_table(stored: pd.DataFrame) -> None:
    page = (REFERENCE / "README.md").read_text(encoding="utf-8")
    assert page == coverage_page(stored)
    assert len(re.findall(r"\d ± \d+\.\d(?!\d)", page)) == len(stored)


def test_verdict_names_cells_outside_the_band(stored: pd.DataFrame) -> None:
    moved = stored.copy()
    first = moved.index[moved["judged"]][0]
    moved.loc[first, ["coverage", "position"]] = [0.5, "below"]
    row = moved.loc[first]
    assert misplaced(moved).index.tolist() == [*misplaced(stored).index.union([first])]
    assert f"{row['analysis']}, {row['therapists']} therapists, within client" in verdict(moved)
    assert "(50.0 %)" in verdict(moved)
    row_of_page = coverage_page(moved).splitlines()
    assert any("**50.0 ± " in line and "▼" in line for line in row_of_page)
