"""Description without participants: counts, spread by level, small cells, agreement."""

import math

import numpy as np
import pandas as pd
import pytest
import study_example

from alliance_outcome.analyses import description
from alliance_outcome.analyses.agreement import agreement_estimates
from alliance_outcome.design.levels import split_levels


@pytest.fixture(scope="module")
def sessions():
    rows = study_example.hybrid_rows()
    table = rows.assign(
        occasion_kind="session",
        session=rows["slot"].astype("Int64"),
        attendance="attended",
        severity=rows["outcome"],
    )
    extra = table.iloc[:2].assign(
        attendance=["cancelled", "no_show"], severity=np.nan, alliance_client=np.nan
    )
    return pd.concat([table, extra.assign(session=[90, 91])], ignore_index=True)


MEASURES = pd.DataFrame(
    {
        "column": ["severity", "alliance_client"],
        "construct": ["severity", "alliance"],
        "rater": ["client", "client"],
        "low": [0.0, 1.0],
        "high": [40.0, 7.0],
        "flipped": [False, False],
    }
)


def test_sample_counts_units_at_every_level(sessions):
    found = description.describe_sample(sessions).set_index("quantity")["value"]
    assert found["n_clients"] == 72
    assert found["n_therapists"] == 12
    assert found["n_sessions_held"] == 72 * 6
    assert found["n_sessions_cancelled"] == found["n_sessions_no_show"] == 1
    assert found["clients_per_therapist_median"] == found["sessions_per_client_tenth_most"] == 6
    # Twelve therapists are too few to tell the tenth from either end, and one session that was missed is somebody's.
    assert np.isnan(found["clients_per_therapist_tenth_most"])


def test_the_fewest_and_the_most_of_one_person_are_not_told():
    sessions = pd.DataFrame(
        {
            "client": np.repeat(np.arange(30), np.arange(1, 31)),
            "occasion_kind": "session",
            "attendance": "attended",
        }
    ).assign(therapist=None)
    found = description.describe_sample(sessions).set_index("quantity")["value"]
    assert found["sessions_per_client_tenth_fewest"] == 10
    assert found["sessions_per_client_tenth_most"] == 21
    assert not found.isin([1, 30]).drop("n_clients").any()


def participants(counts: dict[str, int]) -> pd.DataFrame:
    """The table of one covariate of clients."""
    values = [category for category, n in counts.items() for _ in range(n)]
    clients = pd.DataFrame({"client": range(len(values)), "gender": values})
    found = description.describe_participants(clients, pd.DataFrame({"therapist": []}))
    return found.set_index("category")


def test_small_categories_are_put_together_and_not_recoverable_by_subtraction():
    found = participants({"f": 60, "m": 36, "x": 4})
    assert found.loc["f", "n"] == 60
    # The one small category could be had as 100 - 60 - 36; its very name would say that somebody is in it.
    assert found.loc["other", "n"] == 40
    assert found.loc["other", "categories"] == 2
    assert set(found.index) == {"f", "other"}
    # Two small ones: both would be known to have one, from their sum alone.
    found = participants({"f": 60, "m": 36, "x": 1, "y": 1})
    assert found.loc["other", "n"] == 38
    assert found.loc["other", "categories"] == 3
    assert set(participants({"f": 60, "x": 8, "y": 7}).index) == {"f", "other"}
    assert participants({"f": 5, "m": 4}).loc["other", "suppressed"]
    assert list(participants({"f": 60, "m": 36})["suppressed"]) == [False, False]


def test_moments_of_few_are_suppressed():
    therapists = pd.DataFrame({"therapist": range(12), "age": np.arange(12) + 40.0})
    clients = pd.DataFrame({"client": range(9), "age": np.arange(9.0)})
    found = description.describe_participants(clients, therapists).set_index(["level", "category"])
    assert found.loc[("therapist", "mean"), "share"] == pytest.approx(45.5)
    assert found.loc["client", "suppressed"].all()
    assert found.loc["client", "share"].isna().all()


def test_rounded_shares_of_few_clients_are_off_by_no_more_than_one_rounding():
    """Seventeen or eighteen of eighteen: one missing rating is none to the nearest five, and not five."""
    sessions = pd.DataFrame(
        {
            "client": range(18),
            "session": 1,
            "occasion_kind": "session",
            "attendance": "attended",
            "severity": 1.0,
        }
    )
    sessions.loc[0, "severity"] = None
    found = description.describe_missingness(sessions, ["severity"]).iloc[0]
    assert found["n_held"] == found["n_rated"] == 20
    assert found["share_rated"] == 1.0


def test_what_is_withheld_is_counted():
    sessions = pd.DataFrame(
        {
            "client": np.repeat(np.arange(30), np.arange(1, 31)),
            "occasion_kind": "session",
            "attendance": "attended",
        }
    ).assign(therapist=None, severity=1.0)
    sessions["session"] = sessions.groupby("client").cumcount() + 1
    clients = pd.DataFrame({"client": range(30), "gender": ["f"] * 26 + ["m"] * 4})
    tables = {
        "sample": description.describe_sample(sessions),
        "participants": description.describe_participants(clients, pd.DataFrame({"therapist": []})),
        "missingness": description.describe_missingness(sessions, ["severity"]),
        "trajectories": description.describe_trajectories(sessions, ["severity"]),
    }
    withheld = description.describe_withheld(sessions, tables).set_index("table")["n_withheld"]
    # Ten clients or more reach session 21 of 30; both genders would be told by the small one.
    assert withheld.to_dict() == {"missingness": 9, "participants": 2}
    assert (tables["missingness"]["n_held"] % 5 == 0).all()
    assert tables["trajectories"]["n"].min() >= 10


def test_measures_are_described_on_held_sessions_only(sessions):
    found = description.describe_measures(sessions, MEASURES).set_index("column")
    held = description.held_sessions(sessions)
    alliance = found.loc["alliance_client"]
    assert alliance["n_ratings"] == 432
    assert alliance["mean"] == pytest.approx(held["alliance_client"].mean())
    split = split_levels(held.reset_index(drop=True), ["alliance_client"])
    expected = math.sqrt((split["alliance_client_within_client"] ** 2).sum() / (432 - 72))
    assert alliance["sd_within_client"] == pytest.approx(expected)
    assert 0 < alliance["icc_client"] < 1


def test_intraclass_correlations_recover_planted_shares():
    generator = np.random.default_rng(11)
    therapist = np.repeat(np.arange(60), 20 * 6)
    client = np.repeat(np.arange(60 * 20), 6)
    values = (
        generator.normal(0, 1, 60)[therapist]
        + generator.normal(0, 2, 1200)[client]
        + generator.normal(0, 2, 7200)
    )
    rated = pd.DataFrame({"client": client, "therapist": therapist, "x": values})
    found = description.intraclass_correlations(rated, "x")
    # Shares 4/9 and 1/9; with 60 therapists the therapist share has a standard error of about .02.
    assert found["icc_client"] == pytest.approx(4 / 9, abs=0.04)
    assert found["icc_therapist"] == pytest.approx(1 / 9, abs=0.06)


def test_missingness_and_trajectories_leave_out_sessions_of_few_clients(sessions):
    missing = description.describe_missingness(sessions, ["severity", "alliance_client"])
    assert set(missing["session"]) == set(range(1, 7))
    assert (missing["share_rated"] == 1).all()
    few = sessions[sessions["client"].isin(sessions["client"].unique()[:9])]
    assert description.describe_trajectories(few, ["severity"]).empty


def test_agreement_by_hand():
    rows = study_example.hybrid_rows()
    found = agreement_estimates(rows, study_example.context(), 10).set_index(["term", "level"])
    split = split_levels(rows, ["alliance_client", "alliance_therapist"])
    within = np.corrcoef(split["alliance_client_within_client"], split["alliance_therapist_within_client"])[
        0, 1
    ]
    assert found.loc[("correlation", "within_client"), "estimate"] == pytest.approx(within)
    therapists = split.drop_duplicates("therapist")
    between = np.corrcoef(
        therapists["alliance_client_between_therapist"], therapists["alliance_therapist_between_therapist"]
    )[0, 1]
    assert found.loc[("correlation", "between_therapist"), "estimate"] == pytest.approx(between)
    means = rows.groupby("client")[["alliance_client", "alliance_therapist"]].mean()
    difference = found.xs("mean_difference", level="term").iloc[0]
    assert difference["estimate"] == pytest.approx(
        (means["alliance_client"] - means["alliance_therapist"]).mean()
    )
    assert (found["ci_low"] < found["estimate"]).all()
    assert (found["ci_high"] > found["estimate"]).all()


def test_agreement_interval_covers_the_planted_correlation():
    """The jackknife interval of the within-client correlation over 200 studies; 95 % ± 3 Monte Carlo errors."""
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        client = np.repeat(np.arange(60), 5)
        pair = generator.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], len(client))
        rows = pd.DataFrame(
            {
                "client": client,
                "therapist": client // 5,
                "alliance_client": 5 + pair[:, 0],
                "alliance_therapist": 5 + pair[:, 1],
            }
        )
        found = agreement_estimates(rows, study_example.context(commensurate=False), 10).iloc[0]
        assert found["level"] == "within_client"
        covered += found["ci_low"] <= 0.4 <= found["ci_high"]
    assert covered / 200 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 200))


def test_limits_of_agreement_hold_the_planted_spread_of_differences():
    generator = np.random.default_rng(7)
    client = np.repeat(np.arange(600), 6)
    therapist = client // 15
    parts = 0.8 * generator.normal(size=600)[client] + 0.5 * generator.normal(size=40)[therapist]
    shared = generator.normal(size=len(client))
    difference = 0.3 + parts + 0.6 * generator.normal(size=len(client))
    rows = pd.DataFrame({"client": client, "therapist": therapist, "alliance_therapist": 5 + shared})
    rows["alliance_client"] = rows["alliance_therapist"] + difference
    found = agreement_estimates(rows, study_example.context(), 10).set_index(["term", "level"])
    for level, spread in (("within_client", 0.6), ("between_client", 0.8), ("between_therapist", 0.5)):
        row = found.loc[("limit_of_agreement", level)]
        assert row["estimate"] == pytest.approx(1.96 * spread, rel=0.2)
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["ci_high"] - row["ci_low"] < 1.0
        assert row["unit"] == "scale points"


def test_limits_without_therapists_are_of_clients_and_sessions():
    context = study_example.context(has_therapists=False)
    rows = study_example.hybrid_rows().assign(therapist=None)
    found = agreement_estimates(rows, context, 10)
    levels = set(found.loc[found["term"] == "limit_of_agreement", "level"])
    assert levels == {"within_client", "between_client_pooled"}


def test_forms_that_differ_have_no_mean_difference():
    context = study_example.context(commensurate=False)
    found = agreement_estimates(study_example.hybrid_rows(), context, 10).set_index("term")
    assert found.loc["mean_difference", "status"] == "refused"
    assert "limit_of_agreement" not in found.index
    assert (found.loc["correlation", "status"] == "ok").all()


def test_one_rater_has_no_agreement():
    context = study_example.context(raters=("client",))
    found = agreement_estimates(study_example.hybrid_rows(), context, 10)
    assert found["status"].tolist() == ["refused"]


@pytest.mark.parametrize("has_therapists", [True, False])
def test_agreement_jackknife_equals_computing_again_without_each_cluster(has_therapists):
    rows = study_example.hybrid_rows(clients_each=4, sessions_each=4)
    context = study_example.context(has_therapists=has_therapists)
    cluster = "therapist" if has_therapists else "client"
    if not has_therapists:
        rows["therapist"] = None
    found = agreement_estimates(rows, context, 2).set_index(["term", "level"])
    labels = rows[cluster].unique()
    found = found.drop(index="limit_of_agreement", level="term")
    again = [
        agreement_estimates(rows[rows[cluster] != label], context, 2).set_index(["term", "level"])
        for label in labels
    ]
    for key, row in found.iterrows():
        values = np.array([each.loc[[key], "estimate"].iloc[0] for each in again])
        if key[0] == "correlation":
            values = np.arctanh(values)
        count = len(values)
        std_error = np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum())
        if key[0] == "correlation":
            std_error *= 1 - row["estimate"] ** 2
        assert row["std_error"] == pytest.approx(std_error, rel=1e-9)
