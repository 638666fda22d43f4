"""The corrected contrast of a study: what it rests on, what it refuses, and that it does not depend on labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import study_example

from alliance_outcome.analyses.corrected_contrast import corrected_contrasts

ITEMS = {"client": 12, "therapist": 12, "severity": 10}


def measures(context) -> pd.DataFrame:
    rows = [
        ("alliance_client", "alliance", "client", "wai-s"),
        ("alliance_therapist", "alliance", "therapist", "wai-s"),
    ]
    rows.append((context.outcome, "severity", "client", "core-10"))
    return pd.DataFrame(rows, columns=["column", "construct", "rater", "instrument"]).assign(subscales=None)


def study(context, noise=(0.6, 1.2), seed=8):
    """Rows whose ratings are means of items with noise, the session table and the items."""
    rows = study_example.hybrid_rows(seed=seed)
    rng = np.random.default_rng(seed)
    base = rows[["client", "slot"]].assign(episode=1, session=rows["slot"], occasion_kind="session")
    items, sessions = [], base.assign(attendance="attended", therapist=rows["therapist"])
    for rater, spread in zip(("client", "therapist"), noise, strict=True):
        answers = rows[f"alliance_{rater}"].to_numpy()[:, None] + spread * rng.normal(size=(len(rows), 12))
        rows[f"alliance_{rater}"] = sessions[f"alliance_{rater}"] = answers.mean(axis=1)
        items.append(_long(base, answers, rater, "wai-s"))
    before = rows["outcome_before"].fillna(15.0).to_numpy()
    answers = before[:, None] / 10.0 + 0.5 * rng.normal(size=(len(rows), 10))
    sessions[context.outcome] = 10.0 * answers.mean(axis=1)
    items.append(_long(base, answers, "client", "core-10"))
    return rows, sessions, pd.concat(items, ignore_index=True), measures(context)


def _long(base, answers, rater, instrument):
    return pd.DataFrame(
        {
            "client": np.repeat(base["client"].to_numpy(), answers.shape[1]),
            "episode": 1,
            "session": np.repeat(base["session"].to_numpy(), answers.shape[1]),
            "occasion_kind": "session",
            "rater": rater,
            "instrument": instrument,
            "item": np.tile(np.arange(1, answers.shape[1] + 1), len(answers)),
            "keyed": answers.ravel(),
        }
    )


def corrected(context, data, reliability=None, **changes):
    settings = {"min_therapists": 10, "replicates": 100, "seed": 3} | changes
    return corrected_contrasts(*data, context, reliability or {}, **settings).set_index("row_id")


@pytest.fixture(scope="module")
def context():
    return study_example.context()


@pytest.fixture(scope="module")
def data(context):
    return study(context)


@pytest.fixture(scope="module")
def table(context, data):
    return corrected(context, data)


def test_reliabilities_are_those_of_the_items(table):
    """Variance within clients .36 of the state, and that of twelve items' noise."""
    used = table[table["term"] == "reliability"].xs(
        "corrected_contrast.hybrid_three_level.therapist.reliability"
    )
    assert used["estimate"] == pytest.approx(0.36 / (0.36 + 1.44 / 12), abs=0.05)
    assert used["ci_low"] < used["estimate"] < used["ci_high"]
    # All sessions with items, not the rows that have an outcome, too.
    assert used["n_sessions"] == 12 * 6 * 6
    assert used["sample"] == "held sessions, from items"
    correlation = table.loc[
        "corrected_contrast.hybrid_three_level.client.therapist.error_correlation", "estimate"
    ]
    assert abs(correlation) < 0.05


def test_correction_strengthens_the_less_reliable_rater_within_clients(table):
    def estimate(name):
        return table.loc[f"corrected_contrast.hybrid_three_level.within_client.{name}", "estimate"]

    plain = [estimate(f"uncorrected.{rater}.coefficient") for rater in ("client", "therapist")]
    fair = [estimate(f"corrected_0.{rater}.coefficient") for rater in ("client", "therapist")]
    assert abs(fair[0]) > abs(plain[0])
    assert fair[0] - fair[1] == pytest.approx(estimate("corrected_0.client.therapist.difference"), rel=1e-12)
    change = estimate("corrected_0.client.therapist.change")
    assert change == pytest.approx((fair[0] - fair[1]) - (plain[0] - plain[1]), rel=1e-10)


def test_every_level_and_stated_correlation_has_its_rows(table):
    rows = table[(table["term"] == "difference") & (table["model"] == "hybrid_lag_three_level")]
    assert len(rows) == 3 * 4
    assert rows["reliability_corrected"].sum() == 9
    said = rows["adjustment"].str.contains("correlate by 0.2")
    assert said.sum() == 3
    assert (table["status"] == "ok").all()
    assert (table["ci_low"] <= table["ci_high"]).all()


def test_a_stated_correlation_of_errors_matters_beside_the_same_raters_severity(table):
    names = [
        f"corrected_contrast.hybrid_lag_three_level.within_client.corrected_{each}"
        for each in ("0", "0.1", "0.2")
    ]
    client = [table.loc[f"{name}.client.coefficient", "estimate"] for name in names]
    # Errors of alliance and severity that go together hide an effect below zero less than they mimic one above it.
    assert client[0] != pytest.approx(client[2], abs=1e-6)
    assert np.sign(client[1] - client[0]) == np.sign(client[2] - client[1])


def test_labels_and_order_do_not_matter(context, data, table):
    rows, sessions, items, forms = data
    rng = np.random.default_rng(1)
    names = dict(zip(rows["client"].unique(), rng.permutation(rows["client"].unique()), strict=True))
    shuffled = [
        each.assign(client=each["client"].map(names)).sample(frac=1.0, random_state=2).reset_index(drop=True)
        for each in (rows, sessions, items)
    ]
    again = corrected(context, (*shuffled, forms))
    numbers = ["estimate", "std_error", "ci_low", "ci_high"]
    gap = (again.loc[table.index, numbers] - table[numbers]).abs().to_numpy()
    assert (gap / table[["std_error"]].to_numpy()).max() < 1e-7


def test_a_stated_reliability_stands_in_for_items(context, data):
    rows, sessions, items, forms = data
    ready_made = items[items["rater"] != "therapist"]
    refused = corrected(context, (rows, sessions, ready_made, forms))
    assert refused["status"].tolist() == ["refused"]
    assert "how reliably the therapist rates" in refused["reason"].iloc[0]
    found = corrected(context, (rows, sessions, ready_made, forms), {"therapist": 0.7})
    assert (found["status"] == "ok").all()
    assert not found.index.str.endswith("therapist.reliability").any()


def test_subscales_stand_in_for_items(context, data):
    rows, sessions, items, forms = data
    rng = np.random.default_rng(4)
    parts = {
        f"alliance_therapist_{name}": sessions["alliance_therapist"] + rng.normal(size=len(sessions))
        for name in "ab"
    }
    forms = forms.assign(subscales=[None, "a b", None])
    found = corrected(context, (rows, sessions.assign(**parts), items[items["rater"] != "therapist"], forms))
    used = found.loc["corrected_contrast.hybrid_three_level.therapist.reliability"]
    assert used["sample"] == "held sessions, from subscales"


def test_one_rater_is_refused():
    context = study_example.context(raters=("client",))
    rows, sessions, items, forms = study(study_example.context())
    found = corrected(context, (rows, sessions, items, forms))
    assert found["status"].tolist() == ["refused"]


def test_without_therapists_clients_are_drawn(data):
    context = study_example.context(has_therapists=False)
    rows, sessions, items, forms = data
    found = corrected(context, (rows.assign(therapist=None), sessions.assign(therapist=None), items, forms))
    assert set(found["model"]) == {"hybrid_two_level", "hybrid_lag_two_level"}
    assert set(found["level"]) == {"within_client", "between_client_pooled"}
