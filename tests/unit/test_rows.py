"""Model rows: pairs at lag 1, the first severity, covariates, trend, and the early-alliance rows."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.design import covariates
from alliance_outcome.design.early_rows import early_rows
from alliance_outcome.design.rows import hybrid_rows, incomplete_rows, restricted_cubic_spline
from alliance_outcome.errors import StudyError
from alliance_outcome.settings import DesignSettings

AFTER_BEFORE = {"alliance_client": "after", "alliance_therapist": "after", "severity": "before"}
CLIENTS = pd.DataFrame({"client": ["a", "b"], "gender": ["female", "male"], "age": [30, 50]})
THERAPISTS = pd.DataFrame({"therapist": ["x"]})


def session(client, number, week, severity, by_client, by_therapist, attendance="attended"):
    """Return one row of a session table."""
    return (client, "x", "session", number, week, attendance, severity, by_client, by_therapist)


@pytest.fixture(autouse=True)
def _groups_of_one(monkeypatch):
    """Two clients are enough to work an example by hand."""
    monkeypatch.setattr(covariates, "SMALLEST_CELL", 1)


@pytest.fixture
def sessions():
    """Client a misses session 3 and the therapist's rating at session 4; client b has no severity at session 1."""
    table = pd.DataFrame(
        [
            ("a", "x", "intake", None, -2.0, None, 30.0, np.nan, np.nan),
            session("a", 1, 0.0, 28.0, 4.0, 3.0),
            session("a", 2, 1.0, 26.0, 5.0, 4.0),
            session("a", 3, 2.0, np.nan, np.nan, np.nan, "no_show"),
            session("a", 4, 3.0, 24.0, 6.0, np.nan),
            session("a", 5, 9.0, 22.0, 7.0, 6.0),
            session("a", 6, 10.0, 20.0, 6.5, 5.0),
            ("a", "x", "end", None, 12.0, None, 10.0, np.nan, np.nan),
            ("b", "x", "intake", None, -1.0, None, 25.0, np.nan, np.nan),
            session("b", 1, 0.0, np.nan, 3.0, 2.0),
            session("b", 2, 1.0, 21.0, 4.0, 3.0),
            session("b", 3, 2.0, 19.0, 4.5, 3.5),
            session("b", 4, 3.0, 18.0, 5.5, 2.5),
        ],
        columns=[
            *("client", "therapist", "occasion_kind", "session", "week", "attendance"),
            *("severity", "alliance_client", "alliance_therapist"),
        ],
    )
    return table.astype({"session": "Int64"})


def pairs_of(rows, client):
    """Return (session of the alliance, outcome, outcome before) of a client's pairs."""
    own = rows[rows["client"] == client]
    return list(own[["session", "outcome", "outcome_before"]].itertuples(index=False, name=None))


def test_attended_lag_skips_the_missed_session(sessions):
    found = hybrid_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS)
    assert pairs_of(found.rows, "a") == [(1, 26.0, 28.0), (2, 24.0, 26.0), (5, 20.0, 22.0)]


def test_scheduled_lag_respects_the_gap(sessions):
    found = hybrid_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="scheduled"), CLIENTS, THERAPISTS)
    assert pairs_of(found.rows, "a") == [(1, 26.0, 28.0), (5, 20.0, 22.0)]


def test_week_lag_pairs_neighbouring_weeks_only(sessions):
    found = hybrid_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="week"), CLIENTS, THERAPISTS)
    assert pairs_of(found.rows, "a") == [(1, 26.0, 28.0), (5, 20.0, 22.0)]


def test_the_first_severity_precedes_the_first_rating_and_is_no_outcome(sessions):
    found = hybrid_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS).rows
    first = found.groupby("client")["severity_first"].first()
    # a: severity before session 1. b: not measured there, so the intake assessment stands in.
    assert first.to_dict() == {"a": 28.0, "b": 25.0}
    assert not (found["outcome"] == 28.0).any()


def test_alliance_before_and_severity_after_pair_within_the_session(sessions):
    timings = {"alliance_client": "before", "alliance_therapist": "before", "severity": "after"}
    found = hybrid_rows(sessions, timings, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS).rows
    # Y_0 is the intake: no session's severity precedes the rating before session 1.
    assert pairs_of(found, "a")[:2] == [(1, 28.0, pytest.approx(np.nan, nan_ok=True)), (2, 26.0, 28.0)]
    assert found.groupby("client")["severity_first"].first().to_dict() == {"a": 30.0, "b": 25.0}


def test_raters_with_different_timing_share_the_outcome(sessions):
    timings = {"alliance_client": "before", "alliance_therapist": "after", "severity": "after"}
    found = hybrid_rows(sessions, timings, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS).rows
    own = found[found["client"] == "a"].set_index("session")
    # The outcome after session 2 follows the client's rating before it and the therapist's rating after session 1.
    assert own.loc[1, ["outcome", "alliance_client", "alliance_therapist"]].tolist() == [26.0, 5.0, 3.0]


def test_long_gaps_are_dropped_and_counted(sessions):
    settings = DesignSettings(lag_unit="attended", max_gap_weeks=1.5)
    found = hybrid_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS)
    assert pairs_of(found.rows, "a") == [(1, 26.0, 28.0), (5, 20.0, 22.0)]
    assert found.flow.set_index("step").loc["gap", "n_removed"] == 1


def test_the_flow_loses_no_row_uncounted(sessions):
    found = hybrid_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS)
    flow = found.flow
    assert flow["n_rows"].iloc[0] == 9
    assert flow["n_rows"].iloc[0] - flow["n_removed"].sum() == len(found.rows) == flow["n_rows"].iloc[-1]


def test_incomplete_rows_keep_whatever_was_rated(sessions):
    found = incomplete_rows(sessions, AFTER_BEFORE, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS)
    own = found.rows[found.rows["client"] == "a"]
    columns = ["session", "alliance_client", "alliance_therapist", "outcome"]
    expected = [(1, 4.0, 3.0, 26.0), (2, 5.0, 4.0, 24.0), (4, 6.0, None, 22.0), (5, 7.0, 6.0, 20.0)]
    expected += [(6, 6.5, 5.0, None)]
    values = own[columns].astype(object).where(own[columns].notna(), None)
    assert list(values.itertuples(index=False, name=None)) == expected


def test_incomplete_rows_drop_what_nobody_rated(sessions):
    last = sessions["session"].eq(6) & sessions["client"].eq("a")
    blank = sessions.assign(
        alliance_client=sessions["alliance_client"].mask(last),
        alliance_therapist=sessions["alliance_therapist"].mask(last),
    )
    found = incomplete_rows(blank, AFTER_BEFORE, DesignSettings(lag_unit="attended"), CLIENTS, THERAPISTS)
    assert 6 not in found.rows.loc[found.rows["client"] == "a", "session"].tolist()
    steps = found.flow.set_index("step")["n_removed"].to_dict()
    assert steps == {"held": 0, "rated": 1, "baseline": 0, "covariates": 0}
    assert set(found.flow["stage"]) == {"joint"}


@pytest.mark.parametrize("lag_unit", ["attended", "scheduled", "week"])
@pytest.mark.parametrize("timing", [("after", "after", "before"), ("before", "after", "after")])
def test_incomplete_rows_hold_the_hybrid_rows_as_they_are(sessions, lag_unit, timing):
    timings = dict(zip(AFTER_BEFORE, timing, strict=True))
    settings = DesignSettings(lag_unit=lag_unit, max_gap_weeks=4, covariates={"client": ["gender"]})
    complete = hybrid_rows(sessions, timings, settings, CLIENTS, THERAPISTS)
    found = incomplete_rows(sessions, timings, settings, CLIENTS, THERAPISTS)
    needed = ["alliance_client", "alliance_therapist", "outcome"]
    assert len(found.rows) > len(complete.rows) > 0
    pd.testing.assert_frame_equal(
        found.rows.dropna(subset=needed).reset_index(drop=True), complete.rows, check_dtype=False
    )
    assert (found.trend, found.covariates) == (complete.trend, complete.covariates)


def test_an_outcome_that_comes_too_late_is_missing_and_its_ratings_stay(sessions):
    settings = DesignSettings(lag_unit="attended", max_gap_weeks=4)
    found = incomplete_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS).rows
    late = found[(found["client"] == "a") & (found["session"] == 4)]
    assert late["alliance_client"].tolist() == [6.0]
    assert late["outcome"].isna().all()


def test_covariates_become_indicators_against_the_most_frequent_category(sessions):
    settings = DesignSettings.model_validate(
        {"lag_unit": "attended", "covariates": {"client": ["gender", "age"]}}
    )
    found = hybrid_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS)
    # One client each: the tie goes to the alphabet, so female is the reference.
    assert found.covariates == ("gender[T.male]", "age")
    assert found.rows.groupby("client")["gender[T.male]"].first().to_dict() == {"a": 0.0, "b": 1.0}


def test_a_missing_covariate_drops_the_client_and_is_counted(sessions):
    settings = DesignSettings.model_validate({"lag_unit": "attended", "covariates": {"client": ["gender"]}})
    clients = pd.DataFrame({"client": ["a", "b", "c"], "gender": ["female", None, "male"]})
    found = hybrid_rows(sessions, AFTER_BEFORE, settings, clients, THERAPISTS)
    assert set(found.rows["client"]) == {"a"}
    assert found.flow.set_index("step").loc["covariates", "n_removed"] == 3


def test_a_category_of_few_clients_is_a_fault(sessions, monkeypatch):
    monkeypatch.setattr(covariates, "SMALLEST_CELL", 10)
    settings = DesignSettings.model_validate({"lag_unit": "attended", "covariates": {"client": ["gender"]}})
    with pytest.raises(StudyError, match=r"gender has a category of fewer than 10 clients") as caught:
        hybrid_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS)
    assert "male" not in str(caught.value)


def test_a_covariate_with_one_value_is_a_fault(sessions):
    settings = DesignSettings.model_validate({"lag_unit": "attended", "covariates": {"client": ["gender"]}})
    with pytest.raises(StudyError, match=r"covariates\.client: gender takes fewer than two values"):
        hybrid_rows(sessions, AFTER_BEFORE, settings, CLIENTS.assign(gender="female"), THERAPISTS)


@pytest.mark.parametrize(("trend", "columns"), [("log", 1), ("linear", 1), ("spline", 3)])
def test_trends(sessions, trend, columns):
    found = hybrid_rows(
        sessions, AFTER_BEFORE, DesignSettings(lag_unit="attended", time_trend=trend), CLIENTS, THERAPISTS
    )
    assert len(found.trend) == columns
    values = found.rows[found.trend[0]]
    expected = np.log(found.rows["slot"]) if trend == "log" else found.rows["slot"]
    assert values.tolist() == pytest.approx(expected.tolist())


def test_restricted_cubic_spline_is_linear_beyond_the_outer_knots():
    values = np.linspace(0, 20, 401)
    basis = restricted_cubic_spline(values)
    outside = values > np.quantile(values, 0.95)
    second_differences = np.diff(basis[outside], n=2, axis=0)
    assert np.abs(second_differences).max() < 1e-9
    assert np.linalg.matrix_rank(np.column_stack([np.ones(len(values)), basis])) == 4


def test_early_rows(sessions):
    settings = DesignSettings.model_validate(
        {"lag_unit": "scheduled", "early": {"sessions": [1, 2, 4], "min_rated": 2}}
    )
    found = early_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS).rows.set_index("client")
    assert found.loc["a", "alliance_client"] == pytest.approx((4 + 5 + 6) / 3)
    assert found.loc["a", "alliance_therapist"] == pytest.approx((3 + 4) / 2)
    assert found.loc["a", ["severity_first", "severity_before", "outcome", "outcome_last"]].tolist() == [
        28,
        28,
        10,
        20,
    ]
    # b has no end assessment, and nothing was measured after the last rating used (session 4).
    assert np.isnan(found.loc["b", "outcome"])
    assert np.isnan(found.loc["b", "outcome_last"])


def test_early_severity_before_is_the_last_one_before_the_window(sessions):
    settings = DesignSettings.model_validate(
        {"lag_unit": "scheduled", "early": {"sessions": [4, 5], "min_rated": 1}}
    )
    found = early_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS).rows.set_index("client")
    assert found.loc["a", "severity_before"] == 24.0
    assert found.loc["a", "severity_first"] == 28.0


def test_an_end_assessment_before_the_last_rating_is_excluded_and_counted(sessions):
    sessions.loc[sessions["occasion_kind"] == "end", "week"] = 2.0
    settings = DesignSettings.model_validate(
        {"lag_unit": "scheduled", "early": {"sessions": [1, 2, 4], "min_rated": 2}}
    )
    found = early_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS)
    assert np.isnan(found.rows.set_index("client").loc["a", "outcome"])
    assert found.flow.set_index("step").loc["order", "n_removed"] == 1


def test_too_few_early_ratings_exclude_the_client(sessions):
    settings = DesignSettings.model_validate(
        {"lag_unit": "scheduled", "early": {"sessions": [3, 4, 5], "min_rated": 2}}
    )
    found = early_rows(sessions, AFTER_BEFORE, settings, CLIENTS, THERAPISTS)
    # a: the therapist rated session 5 only. b: sessions 3 and 4.
    assert set(found.rows["client"]) == {"b"}
