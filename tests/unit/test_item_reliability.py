"""Reliability within and between clients: planted values are found, refusals are said, rows are what they claim."""

import numpy as np
import pandas as pd
import pytest
import study_example

from alliance_outcome.analyses.reliability import SESSIONS, item_rows, reliability_estimates
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.item_covariances import ItemRows, degrees_of_freedom, fit_items
from alliance_outcome.models.item_reliability import goodness_of_fit, intervals, omegas, score_components

WITHIN, BETWEEN = np.array([0.5, 0.6, 0.7, 0.8]), np.array([0.9, 0.8, 0.7, 0.6])
UNIQUE_WITHIN, UNIQUE_BETWEEN = 0.6, 0.3


#: Reliability of therapists' means has tests of its own.
CONTEXT = study_example.context(has_therapists=False)


def simulate(seed, clients=150, sessions=8, missing=0.0, unique_between=UNIQUE_BETWEEN):
    """Simulate items of one factor at each level."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)
    stable = rng.normal(size=(clients, 1)) * BETWEEN + unique_between * rng.normal(size=(clients, 4))
    values = stable[client] + rng.normal(size=(len(client), 1)) * WITHIN
    values += UNIQUE_WITHIN * rng.normal(size=values.shape)
    values[rng.uniform(size=values.shape) < missing] = np.nan
    return pd.DataFrame(values, columns=[f"item{k}" for k in range(4)]), client


def planted(sessions=8):
    within = WITHIN.sum() ** 2 + 4 * UNIQUE_WITHIN**2
    between = BETWEEN.sum() ** 2 + 4 * UNIQUE_BETWEEN**2
    return {
        "omega_within_client": WITHIN.sum() ** 2 / within,
        "omega_between_client": BETWEEN.sum() ** 2 / (between + within / sessions),
        "omega_session": (WITHIN.sum() ** 2 + BETWEEN.sum() ** 2) / (within + between),
    }


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_planted_reliability_is_found(missing):
    found = omegas(fit_items(ItemRows.of(*simulate(1, clients=800, missing=missing))))
    for name, value in planted().items():
        assert found[name] == pytest.approx(value, abs=0.015)


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth, held = planted(), dict.fromkeys(planted(), 0)
    n = 120
    for seed in range(n):
        found = intervals(fit_items(ItemRows.of(*simulate(seed, clients=80, sessions=6))), 400, seed)
        own = planted(6)
        for name in truth:
            held[name] += found[name].low <= own[name] <= found[name].high
    # 95 % of 120, less four Monte Carlo standard errors.
    assert all(count >= 0.95 * n - 4 * np.sqrt(n * 0.95 * 0.05) for count in held.values())


def test_items_without_anything_of_their_own_between_clients_are_no_trouble():
    fit = fit_items(ItemRows.of(*simulate(3, unique_between=0.0)))
    assert fit.converged
    found = intervals(fit, 500, 1)
    for each in found.values():
        assert each.low < each.estimate < each.high
        assert each.high < 1.0


def test_one_factor_fits_data_of_one_factor_and_not_of_two():
    table, client = simulate(5, clients=300)
    rows = ItemRows.of(table, client)
    assert degrees_of_freedom(4) == 4
    assert goodness_of_fit(fit_items(rows), fit_items(rows, "saturated", "saturated"))["p_value"] > 0.01
    rng = np.random.default_rng(6)
    table.iloc[:, :2] += 0.6 * rng.normal(size=(len(table), 1))
    rows = ItemRows.of(table, client)
    assert goodness_of_fit(fit_items(rows), fit_items(rows, "saturated", "saturated"))["p_value"] < 1e-6


def test_units_of_items_and_labels_of_clients_change_nothing():
    table, client = simulate(7)
    one = omegas(fit_items(ItemRows.of(table, client)))
    other = omegas(fit_items(ItemRows.of(10.0 * table + 3.0, [f"c{(7 * each) % 1009}" for each in client])))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table, client: (table[["item0"]], client), "at least 3 items"),
        (lambda table, client: (table.assign(item1=2.0), client), "do not vary"),
        (lambda table, _: (table, np.arange(len(table))), "more than once"),
    ],
)
def test_what_cannot_be_estimated_is_refused(change, reason):
    with pytest.raises(UnfittableModel, match=reason):
        ItemRows.of(*change(*simulate(1, clients=20)))


# -- Rows --------------------------------------------------------------------------------------------------------------


#: A part of the form.
PARTS = {"form": {"task": ("item0", "item1", "item2")}}


def study(raters=("client", "therapist"), clients=60):
    """Return an item table, a session table and measures of two raters."""
    items, sessions = [], []
    for number, rater in enumerate(raters):
        table, client = simulate(number, clients=clients)
        keys = pd.DataFrame({"client": client, "session": np.tile(np.arange(1, 9), clients), "episode": 1})
        long = pd.concat([keys, table], axis=1).melt(
            ["client", "session", "episode"], var_name="item", value_name="keyed"
        )
        items.append(long.assign(rater=rater, instrument="form", occasion_kind="session"))
        named = table.iloc[:, :3].set_axis(
            [f"alliance_{rater}_{part}" for part in ("goal", "task", "bond")], axis=1
        )
        sessions.append(named)
    held = keys.assign(occasion_kind="session", attendance="attended")
    measures = pd.DataFrame(
        {"construct": "alliance", "rater": raters, "instrument": "form", "subscales": "goal task bond"}
    )
    return pd.concat([held, *sessions], axis=1), pd.concat(items, ignore_index=True), measures


def test_every_rater_has_every_coefficient():
    table = reliability_estimates(*study(), PARTS, CONTEXT, 10, 3)
    assert table["row_id"].is_unique
    table = table[table["scale"] == "total"]
    assert set(table["status"]) == {"ok"}
    for _, own in table.groupby("rater"):
        terms = set(own["term"])
        assert {
            f"{kind}_{level}"
            for kind in ("omega", "alpha")
            for level in ("within_client", "between_client", "session")
        } <= terms
        assert {f"mean_reliability_{n}" for n in SESSIONS} <= terms
        assert {f"generalisability_{n}" for n in SESSIONS} <= terms
        assert {"alpha_pooled", "generalisability_change", "rmsea"} <= terms
    drawn = table[table["term"].str.startswith("omega")]
    assert (drawn["ci_low"] < drawn["estimate"]).all()
    assert (drawn["estimate"] < drawn["ci_high"]).all()
    assert set(table["sample"]) == {"sessions, from items"}


def test_every_part_of_a_form_has_its_own_reliability():
    parts = {"form": {"most": ("item0", "item1", "item2"), "bond": ("item2",)}}
    table = reliability_estimates(*study(), parts, CONTEXT, 10, 3).set_index(["rater", "scale", "term"])
    whole, most = (
        table.loc[("client", scale, "omega_within_client"), "estimate"] for scale in ("total", "most")
    )
    assert most < whole
    assert table.loc[("client", "bond", "omega"), "reason"] == "reliability needs at least 3 items"


def test_without_items_subscales_are_used():
    sessions, items, measures = study()
    table = reliability_estimates(sessions, items.iloc[:0], measures, PARTS, CONTEXT, 10, 3)
    assert set(table["sample"]) == {"sessions, from subscales"}
    assert set(table.loc[table["term"] != "rmsea", "status"]) == {"ok"}
    assert table.loc[table["term"] == "rmsea", "reason"].str.contains("by necessity").all()


def test_few_clients_and_single_scores_are_refused_with_their_reason():
    few = reliability_estimates(*study(clients=20), PARTS, CONTEXT, 10, 3)
    assert set(few["status"]) == {"refused"}
    assert few["reason"].str.contains("fewer than 30 clients").all()
    sessions, items, measures = study()
    alone = reliability_estimates(
        sessions, items.iloc[:0], measures.assign(subscales=None), PARTS, CONTEXT, 10, 3
    )
    assert set(alone["status"]) == {"refused"}
    assert alone["reason"].str.contains("at least 3 items").all()


def scores_of_therapists(seed=1, therapists=40, clients=10, sessions=5):
    """Scores with variance 1 of therapists, 4 of clients and 9 of sessions."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(therapists * clients), sessions)
    therapist = client // clients
    score = rng.normal(size=therapists)[therapist] + 2.0 * rng.normal(size=therapists * clients)[client]
    return pd.DataFrame(
        {
            "client": [f"C{each}" for each in client],
            "therapist": [f"T{each}" for each in therapist],
            "session": np.tile(np.arange(sessions), therapists * clients),
            "occasion_kind": "session",
            "attendance": "attended",
            "alliance_client": score + 3.0 * rng.normal(size=len(client)),
        }
    )


def test_reliability_of_therapists_means_is_what_was_planted():
    rows = scores_of_therapists(therapists=300)
    columns = (rows["alliance_client"], rows["client"], rows["therapist"])
    estimated, resampled = score_components(*columns, 100, 1)
    planted = 1.0 / (1.0 + 4.0 / 10 + 9.0 / 50)
    assert estimated.of_therapists() == pytest.approx(planted, abs=0.06)
    assert estimated.of_therapists(10.0) == estimated.of_therapists()
    assert estimated.of_therapists(100.0) > estimated.of_therapists()
    low, high = np.quantile(resampled.of_therapists(), [0.01, 0.99])
    assert low < planted < high


def test_therapists_means_have_rows_and_few_therapists_no_claim():
    sessions = scores_of_therapists(therapists=12)
    measures = pd.DataFrame(
        {"construct": ["alliance"], "rater": "client", "instrument": "form", "subscales": None}
    )
    items = pd.DataFrame(
        columns=["client", "episode", "occasion_kind", "session", "rater", "instrument", "item", "keyed"]
    )
    context = study_example.context(raters=("client",))
    for needed, status in ((10, "ok"), (20, "not_established")):
        found = reliability_estimates(sessions, items, measures, {}, context, needed, 3).set_index("term")
        own = found.loc[["therapist_mean_reliability", "therapist_mean_reliability_10"]]
        assert set(own["status"]) == {status}
        assert set(own["level"]) == {"between_therapist"}
        assert (own["ci_low"] <= own["estimate"]).all()


def test_rows_have_an_order_of_their_own():
    """Neither names of clients nor the order of the file reach the search, where rounding decides how it ends."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame(rng.integers(1, 6, (60, 4)).astype(float), columns=list("abcd"))
    table.iloc[rng.integers(0, 60, 9), 1] = np.nan
    table.insert(0, "client", np.repeat(np.arange(15), 4))
    one = item_rows(table)
    names = rng.permutation(15)
    other = item_rows(table.assign(client=names[table["client"]]).sample(frac=1.0, random_state=1))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.clients, other.clients)
