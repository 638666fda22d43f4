"""Rows of the one-with-many split and of truth and bias: what they say, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
from perception_example import planted_shares, session_table, two_raters
from study_example import context

from alliance_outcome.analyses.one_with_many import one_with_many_estimates
from alliance_outcome.analyses.perception_names import COMPONENTS, RECIPROCITIES
from alliance_outcome.analyses.truth_and_bias import Judgement, truth_and_bias_estimates

#: Seeds of samples in which no variance between therapists, or a full correlation, is estimated.
ZERO, ONE = 4, 1


@pytest.fixture(scope="module")
def sessions():
    return session_table(two_raters(seed=11, n_therapists=16))


@pytest.fixture(scope="module")
def split(sessions):
    return one_with_many_estimates(sessions, context(), 10)


def judged(seed=1, bias=-0.5, change=0.04, slopes=(0.6, 0.4, 0.2), n_therapists=40, clients=6, n_sessions=8):
    """Simulate therapists who judge clients' ratings, with a planted bias, its change, and tracking at each level."""
    generator = np.random.default_rng(seed)
    scores = two_raters(seed, n_therapists, clients, n_sessions, missing=0.0)
    truth = scores["alliance_client"]
    client = truth.groupby(scores["client"]).transform("mean")
    once = ~scores["client"].duplicated()
    by_therapist = client[once].groupby(scores["therapist"][once]).mean()
    therapist = scores["therapist"].map(by_therapist)
    parts = (truth - client, client - therapist, therapist - by_therapist.mean())
    of_client = scores["client"].map(
        pd.Series(generator.normal(0, 0.3, once.sum()), scores["client"][once].to_numpy())
    )
    slope_of_client = scores["client"].map(
        pd.Series(generator.normal(0, 0.2, once.sum()), scores["client"][once].to_numpy())
    )
    judgement = bias + sum(slope * part for slope, part in zip(slopes, parts, strict=True))
    judgement += change * (scores["session"] - scores["session"].mean())
    judgement += of_client + slope_of_client * parts[0] + generator.normal(0, 0.3, len(scores))
    return session_table(scores.assign(alliance_therapist=by_therapist.mean() + judgement))


def numbers(table, **names):
    rows = table
    for name, value in names.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_rows_of_the_split(split):
    assert (split["analysis"] == "one_with_many").all()
    assert split["row_id"].is_unique
    shares = split[split["term"].str.startswith("share_")].astype({"estimate": float})
    assert set(shares["term"]) == {"share_session", "share_client_and_relationship", "share_therapist"}
    assert list(shares.groupby("rater")["estimate"].sum()) == pytest.approx([1.0, 1.0])
    assert (shares["ci_low"] <= shares["estimate"]).all()
    assert (shares["estimate"] <= shares["ci_high"]).all()
    assert set(RECIPROCITIES.values()) - {"pooled_reciprocity"} <= set(split["term"])
    client = numbers(split, term="sd_session", rater="client")
    assert client["estimate"] == pytest.approx(0.6, abs=0.05)
    assert numbers(split, term="mean_difference")["estimate"] == pytest.approx(0.5, abs=0.4)


def test_a_rating_of_either_is_enough(sessions, split):
    rated = sessions.dropna(subset=["alliance_client", "alliance_therapist"], how="all")
    assert (split["n_sessions"] == len(rated)).all()
    assert len(rated) > len(sessions.dropna())


def test_few_therapists_establish_nothing_between_therapists(sessions):
    found = one_with_many_estimates(sessions, context(), 17)
    between = found["level"] == "between_therapist"
    assert (found[between]["status"] == "not_established").all()
    assert found[between]["reason"].str.startswith("16 therapists, fewer than the 17").all()
    assert (found[~between]["status"] == "ok").all()


def test_without_therapist_ids_one_component_names_all_three(sessions):
    anonymous = sessions.assign(therapist=pd.NA)
    found = one_with_many_estimates(anonymous, context(has_therapists=False), 10)
    share = numbers(found, term="share_client_relationship_and_therapist", rater="client")
    assert share["level"] == "between_client_pooled"
    assert share["estimate"] == pytest.approx(1 - planted_shares()[0, 0], abs=0.1)
    assert "between_therapist" not in set(found["level"])
    assert numbers(found, term="pooled_reciprocity")["status"] == "ok"


@pytest.mark.parametrize("estimates", [one_with_many_estimates, truth_and_bias_estimates])
def test_therapists_with_one_client_each_are_no_level(sessions, estimates):
    found = estimates(sessions.assign(therapist=sessions["client"]), context(), 10)
    assert set(found["level"].dropna()) == {"within_client", "between_client_pooled"}


def test_forms_that_differ_leave_shares_and_no_difference(sessions):
    found = one_with_many_estimates(sessions, context(commensurate=False), 10)
    refused = found[found["status"] == "refused"]
    assert list(refused["term"]) == ["mean_difference"]
    assert "forms differ" in refused["reason"].iloc[0]


def without_therapists(seed):
    deviations = ((0.6, 0.5), (0.7, 0.5), (0.0, 0.0))
    table = session_table(two_raters(seed, deviations=deviations, n_therapists=12))
    return one_with_many_estimates(table, context(), 10)


def test_a_variance_of_zero_is_said():
    found = without_therapists(ZERO)
    share = numbers(found, term="share_therapist", rater="client")
    assert share["estimate"] == share["ci_low"] == 0.0
    assert share["ci_high"] > 0.0
    assert share["status"] == "not_established"
    assert "ratings at this level is estimated as zero" in share["reason"]
    correlation = numbers(found, term="generalised_reciprocity")
    assert correlation["status"] == "refused"
    assert "variance of a rater" in correlation["reason"]


def test_a_correlation_of_one_is_said():
    correlation = numbers(without_therapists(ONE), term="generalised_reciprocity")
    assert abs(correlation["estimate"]) == 1.0
    assert correlation["status"] == "not_established"
    assert correlation["reason"].startswith("on the boundary: the correlation is estimated as")


@pytest.mark.parametrize("estimates", [one_with_many_estimates, truth_and_bias_estimates])
def test_one_rater_is_refused(sessions, estimates):
    alone = sessions.drop(columns="alliance_therapist")
    timing = {"alliance_client": "after", "severity": "before"}
    found = estimates(alone, context(raters=("client",), timing=timing), 10)
    assert list(found["status"]) == ["refused"]
    assert found["reason"].iloc[0] == "alliance is rated by the client only"


@pytest.mark.parametrize("estimates", [one_with_many_estimates, truth_and_bias_estimates])
def test_what_cannot_be_fitted_is_refused(sessions, estimates):
    found = estimates(sessions.assign(alliance_client=4.0), context(), 10)
    assert (found["status"] == "refused").all()
    assert found["reason"].notna().all()


@pytest.mark.parametrize("estimates", [one_with_many_estimates, truth_and_bias_estimates])
def test_order_of_rows_does_not_matter(sessions, estimates):
    first = estimates(sessions, context(), 10).set_index("row_id")
    again = estimates(sessions.sample(frac=1.0, random_state=2), context(), 10).set_index("row_id")
    assert list(first.index) == list(again.index)
    for name, limit in (("estimate", 1e-8), ("std_error", 1e-6), ("ci_low", 1e-5), ("ci_high", 1e-5)):
        assert again[name].astype(float).to_numpy() == pytest.approx(
            first[name].astype(float).to_numpy(), abs=limit, nan_ok=True
        )


def test_planted_bias_and_tracking_are_recovered():
    # Standard errors are .02 (bias), .004 (change) and .02, .03 and .06 (tracking); limits are three of them.
    found = truth_and_bias_estimates(judged(), context(), 10)
    own = found[(found["rater"] == "therapist") & (found["model"] == "truth_and_bias")]
    assert numbers(own, term="directional_bias")["estimate"] == pytest.approx(-0.5, abs=0.06)
    assert numbers(own, term="bias_change")["estimate"] == pytest.approx(0.04, abs=0.012)
    for level, slope, limit in (
        ("within_client", 0.6, 0.06),
        ("between_client", 0.4, 0.09),
        ("between_therapist", 0.2, 0.18),
    ):
        row = numbers(own, term="tracking", level=level)
        assert row["estimate"] == pytest.approx(slope, abs=limit)
        assert row["unit"] == "points per point"
    assert numbers(own, term="tracking_sd")["estimate"] == pytest.approx(0.2, abs=0.06)
    assert abs(numbers(own, term="tracking_change")["statistic"]) < 3.0
    assert (own["status"] == "ok").all()
    spread = numbers(own, term="tracking_sd")
    assert spread["ci_low"] < 0.2 < spread["ci_high"]


def test_each_rater_is_judge_once(sessions):
    found = truth_and_bias_estimates(sessions, context(), 10)
    pairs = set(zip(found["rater"], found["rater_b"], strict=True))
    assert pairs == {("client", "therapist"), ("therapist", "client")}
    bias = found[found["term"] == "directional_bias"].set_index("rater")["estimate"]
    assert bias["client"] > 0.0 > bias["therapist"]


def test_judgement_is_centred_on_the_truth():
    judgement = Judgement.of(judged(), "alliance_therapist", "alliance_client", has_therapists=True)
    rows = judgement.rows
    assert np.ptp(rows["alliance_therapist"] - judgement.judgement) == pytest.approx(0.0, abs=1e-12)
    by_client = rows.groupby(["therapist", "client"])["alliance_client"].mean()
    centre = by_client.groupby("therapist").mean().mean()
    assert rows["alliance_therapist"].iloc[0] - judgement.judgement.iloc[0] == pytest.approx(centre)


def test_forms_that_differ_leave_tracking_in_standard_deviations():
    found = truth_and_bias_estimates(judged(), context(commensurate=False), 10)
    same = truth_and_bias_estimates(judged(), context(), 10)
    refused = found[found["status"] == "refused"]
    assert set(refused["term"]) == {"directional_bias", "bias_change", "bias_by_severity"}
    assert "tracking" not in set(found["term"])
    for level in ("within_client", "between_client", "between_therapist"):
        names = {"term": "tracking_standardised", "rater": "therapist", "level": level}
        assert numbers(found, **names)["estimate"] == numbers(same, **names)["estimate"]


def test_units_of_standardised_tracking():
    scores = judged()
    moved = scores.assign(alliance_therapist=20.0 * scores["alliance_therapist"] - 3.0)
    names = {"term": "tracking_standardised", "rater": "therapist", "level": "within_client"}
    found = [
        numbers(truth_and_bias_estimates(table, context(commensurate=False), 10), **names)["estimate"]
        for table in (scores, moved)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert 0.0 < found[0] < 1.0


def test_few_therapists_establish_no_tracking_between_therapists(sessions):
    found = truth_and_bias_estimates(sessions, context(), 17)
    between = found["level"] == "between_therapist"
    assert (found[between]["status"] == "not_established").all()
    assert found[between]["reason"].str.contains("fewer than the 17").all()


def test_two_levels_without_therapist_ids(sessions):
    found = truth_and_bias_estimates(sessions.assign(therapist=pd.NA), context(has_therapists=False), 10)
    tracked = found[found["term"] == "tracking"]
    assert set(tracked["level"]) == {"within_client", "between_client_pooled"}
    assert (tracked["status"] == "ok").all()


def test_without_first_severity_only_the_moderator_is_refused(sessions):
    found = truth_and_bias_estimates(sessions.assign(severity=np.nan), context(), 10)
    by_severity = found["model"] == "truth_and_bias_by_severity"
    assert (found[by_severity]["status"] == "refused").all()
    assert found[by_severity]["reason"].str.startswith("no client's severity").all()
    assert (found[~by_severity & (found["term"] == "tracking")]["status"] == "ok").all()


def test_names_cover_every_level():
    assert set(COMPONENTS) == set(RECIPROCITIES)
