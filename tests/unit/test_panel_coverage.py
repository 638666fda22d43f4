"""The coverage study of the panel models: what is simulated, what is judged, and the table by hand."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.panel_coverage.designs import (
    DESIGNS,
    DYNAMIC,
    ESTIMATORS,
    PLAIN,
    STUDIES,
    TRENDS,
    TRUTH,
    Design,
    chunks,
    result_files,
    stored_tables,
)
from alliance_outcome.analyses.panel_coverage.page import coverage_page
from alliance_outcome.analyses.panel_coverage.studies import intervals, prototype, simulate
from alliance_outcome.analyses.panel_coverage.table import coverage_table, parameters_of, verdict

SMALL = Design("no_trends", 200, 5, "complete")


def test_designs_are_every_combination_and_jobs_every_study():
    assert len(DESIGNS) == 2 * 3 * 3 * 3
    assert sorted(number for chunk in chunks() for number in chunk) == list(range(STUDIES))
    assert sum(len(result_files(design)) for design in DESIGNS) == len(DESIGNS) * len(chunks())


def test_who_leaves_does_not_come_back():
    for missing in ("mar", "mnar"):
        values = simulate(Design("no_trends", 2_000, 8, missing), np.random.default_rng(1))
        gone = np.isnan(values).any(axis=2)
        assert not gone[:, 0].any()
        assert (np.diff(gone.astype(int), axis=1) >= 0).all()
        assert 0.3 < gone[:, -1].mean() < 0.8


def test_leaving_depends_on_what_is_seen_or_on_what_is_not():
    random = np.random.default_rng(2)
    seen = simulate(Design("no_trends", 20_000, 5, "mar"), random)
    left = np.isnan(seen[:, 1, 0])
    assert seen[left, 0, 0].mean() > seen[~left, 0, 0].mean() + 0.3
    unseen = simulate(Design("no_trends", 20_000, 5, "mnar"), random)
    stayed = unseen[~np.isnan(unseen[:, 1, 0]), 1, 0]
    assert stayed.mean() < 5.0 - 0.05


def test_trends_spread_clients_apart():
    last = {
        process: simulate(Design(process, 5_000, 12, "complete"), np.random.default_rng(3))[:, -1, 0].std()
        for process in ("no_trends", "trends")
    }
    assert last["trends"] ** 2 - last["no_trends"] ** 2 == pytest.approx(1.0, abs=0.15)


def test_planted_paths_are_those_of_a_large_study():
    for estimator, process in ((DYNAMIC, "no_trends"), (PLAIN, "no_trends"), (TRENDS, "trends")):
        found = prototype(estimator, process, 5)
        for rater, column in found.description.raters.items():
            path = found.contrast(found.path_weights("severity", column))
            assert path.estimate == pytest.approx(TRUTH[rater], abs=4 * path.std_error)


def test_a_study_is_the_same_whatever_its_job():
    several, one = intervals(SMALL, range(2)), intervals(SMALL, range(1, 2))
    own = several[several["study"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, own, check_dtype=False)
    assert set(several["estimator"]) == set(ESTIMATORS)


def test_a_refusal_has_its_reason():
    found = intervals(Design("no_trends", 20, 8, "complete"), range(1))
    assert found["estimate"].isna().all()
    assert found["reason"].str.contains("20 clients are too few").all()


def test_initial_covariances_and_expected_values_are_not_counted():
    # By hand, five sessions: 6 (co)variances of intercepts, 9 paths, 6 of residuals in four sessions; trends: 15 more.
    assert parameters_of(PLAIN, 5) == 6 + 9 + 24
    assert parameters_of(TRENDS, 5) == 21 + 9 + 24


def made_up(share, design="no_trends-400-5-complete", estimator=PLAIN, n=2_000):
    held = (np.arange(n) + 0.5) / n < share
    rows = pd.DataFrame(
        {"study": range(n), "estimator": estimator, "quantity": "difference", "std_error": 1.0}
    )
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    return rows.assign(estimate=-0.1 + sign * np.where(held, 1.0, 3.0), reason=None, design=design)


def test_the_band_by_hand():
    # 1.5 points and three times √(.95 · .05 / 2000) = 0.487 points: 92.04 % to 97.96 %.
    assert coverage_table(made_up(0.921))["passed"].item()
    assert not coverage_table(made_up(0.92))["passed"].item()
    assert not coverage_table(made_up(0.98))["passed"].item()
    row = coverage_table(made_up(0.95)).iloc[0]
    assert row["coverage"] == pytest.approx(0.95)
    assert row["bias"] == pytest.approx(0.0, abs=0.05)
    assert row["coverage_mcse"] == pytest.approx(np.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(
    ("design", "estimator", "judged"),
    [
        ("no_trends-400-12-mar", PLAIN, True),
        ("no_trends-100-5-complete", PLAIN, False),
        ("no_trends-200-5-complete", PLAIN, True),
        ("no_trends-200-5-complete", TRENDS, False),
        ("no_trends-400-8-complete", TRENDS, True),
        ("no_trends-400-5-mnar", PLAIN, False),
        ("trends-400-5-complete", PLAIN, False),
        ("trends-400-5-complete", DYNAMIC, False),
    ],
)
def test_what_is_judged(design, estimator, judged):
    row = coverage_table(made_up(0.5, design, estimator)).iloc[0]
    assert row["judged"] == judged
    assert pd.isna(row["passed"]) != judged


def test_the_page_says_what_was_not_run_and_marks_what_is_outside(tmp_path):
    rows = [
        made_up(0.5, design, estimator)
        for design in ("no_trends-400-5-complete", "trends-400-5-mar")
        for estimator in ESTIMATORS
    ]
    table = coverage_table(pd.concat(rows))
    page = coverage_page([table])
    assert "Not run yet: 16 of 18 designs with 5 sessions, 18 of 18 designs with 8 sessions, 18 of 18" in page
    assert "4 of 4 judged cells lie outside the band" in page
    assert page.count("✗") == 1 + 4
    assert "−" in page
    assert verdict([coverage_table(made_up(0.95))]) == "All 1 judged cells lie in the band."
    assert len(stored_tables(str(tmp_path))) == len(DESIGNS)
    (tmp_path / "trends-200-5-mar.csv").touch()
    assert stored_tables(str(tmp_path)) == [str(tmp_path / "trends-200-5-mar.csv")]
