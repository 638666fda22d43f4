"""Factor structure of raters' forms: every model has its rows, refusals say why, raters are compared."""

import numpy as np
import pandas as pd
import pytest
import study_example

from alliance_outcome.analyses import factor_structure
from alliance_outcome.analyses.factor_structure import factor_structure_estimates

PARTS = {"form": {"task": (1, 2, 3), "bond": (4, 5, 6), "goal": (7, 8, 9)}}
ITEMS = [number for numbers in PARTS["form"].values() for number in numbers]
GROUPS = np.repeat([0, 1, 2], 3)
#: Correlations of factors within and between clients.
WITHIN, BETWEEN = 0.5, 0.3


def level(rng, rows, correlation, unique):
    """Return items of three factors, and what raters agree on."""
    factors = np.sqrt(correlation) * rng.normal(size=(rows, 1))
    factors = factors + np.sqrt(1.0 - correlation) * rng.normal(size=(rows, 3))
    return 0.8 * factors[:, GROUPS] + unique * rng.normal(size=(rows, 9))


def study(clients=120, sessions=6, seed=1, correlation=WITHIN, unique_between=0.3):
    """Return a session table, an item table and measures of two raters who agree in part."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)
    keys = pd.DataFrame(
        {"client": client, "episode": 1, "session": np.tile(np.arange(sessions) + 1, clients)}
    )
    shared = level(rng, clients, BETWEEN, unique_between)[client] + level(rng, len(client), correlation, 0.4)
    items, scores = [], keys.assign(occasion_kind="session", attendance="attended")
    for rater in ("client", "therapist"):
        own = level(rng, clients, BETWEEN, unique_between)[client] + level(rng, len(client), correlation, 0.4)
        values = pd.DataFrame(own + shared, columns=ITEMS)
        long = pd.concat([keys, values], axis=1).melt(
            ["client", "episode", "session"], var_name="item", value_name="keyed"
        )
        items.append(long.assign(rater=rater, instrument="form", occasion_kind="session"))
        for name, numbers in PARTS["form"].items():
            scores[f"alliance_{rater}_{name}"] = values[list(numbers)].mean(axis=1)
    measures = pd.DataFrame(
        {
            "construct": "alliance",
            "rater": ["client", "therapist"],
            "instrument": "form",
            "form": "form | 1-7 | mean",
            "subscales": "task bond goal",
        }
    )
    return scores, pd.concat(items, ignore_index=True), measures


def estimates(sessions, items, measures, parts=PARTS):
    return factor_structure_estimates(sessions, items, measures, parts, study_example.context())


@pytest.fixture(scope="module")
def table():
    return estimates(*study())


def test_every_model_has_its_rows(table):
    assert table["row_id"].is_unique
    assert set(table["analysis"]) == {"factor_structure"}
    assert not (table["status"] == "refused").any()
    indices = ["chi_square", "cfi", "rmsea", "srmr", "srmr", "aic", "bic"]
    for rater in ("client", "therapist"):
        own = table[(table["rater"] == rater) & table["rater_b"].isna()]
        for model, loadings in (("one_factor", 18), ("correlated_factors", 18), ("bifactor", 36)):
            rows = own[own["model"] == model]
            terms = rows["term"].tolist()
            assert terms[: len(indices)] == indices
            assert rows["term"].str.startswith("loading_").sum() == loadings
        terms = own.loc[own["model"] == "correlated_factors", "term"]
        assert terms.str.startswith("correlation_").sum() == 6
        terms = set(own.loc[own["model"] == "bifactor", "term"])
        assert {"explained_common_variance", "omega_hierarchical"} <= terms
    assert set(table.loc[table["rater_b"].isna(), "sample"]) == {"sessions, from items of subscales"}


def test_rows_hold_what_was_planted(table):
    rows = table[
        (table["rater"] == "client") & table["term"].str.startswith("correlation_") & table["rater_b"].isna()
    ]
    for name, truth in (("within_client", WITHIN), ("between_client_pooled", BETWEEN)):
        own = rows[rows["level"] == name]
        assert len(own) == 3
        assert (own["ci_low"] < own["estimate"]).all()
        assert (own["estimate"] < own["ci_high"]).all()
        # Four standard errors.
        assert ((own["estimate"] - truth).abs() < 4.0 * own["std_error"]).all()
    test = table.set_index("row_id").loc[
        "factor_structure.client.correlated_factors.one_factor_against_correlated_factors"
    ]
    assert test["df"] == 6
    assert test["p_value"] < 1e-10
    fits = table[(table["rater"] == "client") & (table["term"] == "chi_square")].set_index("model")
    assert test["estimate"] == pytest.approx(
        fits.loc["one_factor", "estimate"] - fits.loc["correlated_factors", "estimate"], abs=1e-6
    )
    assert fits.loc["correlated_factors", "df"] == 48


def test_raters_are_compared_in_one_model(table):
    rows = table[table["rater_b"] == "therapist"].set_index(["term", "level"], drop=False)
    assert set(rows["model"]) == {"paired_raters"}
    assert set(rows["sample"]) == {"sessions, from subscale scores"}
    equal = rows[rows["term"] == "equal_loadings"]
    assert equal["df"].tolist() == [2, 2, 4]
    assert equal["level"].isna().sum() == 1
    # Loadings were simulated alike.
    assert (equal["p_value"] > 1e-3).all()
    latent = rows[rows["term"] == "correlation_client_therapist"]
    # Half of what each rater's factors are is shared.
    assert ((latent["estimate"] - 0.5).abs() < 4.0 * latent["std_error"]).all()


def test_without_items_or_subscales_models_are_refused_but_scores_are_compared():
    sessions, items, measures = study(clients=60)
    without = estimates(sessions, items.iloc[:0], measures)
    own = without[without["rater_b"].isna()]
    assert set(own["status"]) == {"refused"}
    assert own.loc[own["term"] == "solution", "reason"].unique() == ["there are no items, only scores"]
    assert (without.loc[without["term"] == "equal_loadings", "p_value"] > 0.0).all()
    whole = estimates(sessions, items, measures.assign(subscales=None), {})
    assert set(whole["status"]) == {"refused"}
    assert {"the form has no subscales", "the form has fewer than 3 subscale scores"} == set(whole["reason"])


def test_few_clients_and_small_factors_are_refused_with_their_reason():
    few = estimates(*study(clients=20))
    assert set(few["status"]) == {"refused"}
    assert few["reason"].str.contains("fewer than 30 clients").all()
    sessions, items, measures = study(clients=60)
    small = {"form": {"task": (1, 2, 3), "bond": (4, 5), "goal": (7, 8, 9)}}
    table = estimates(sessions, items, measures, small)
    refused = table[(table["term"] == "solution") & (table["rater"] == "client")].set_index("model")
    assert refused["reason"].to_dict() == {"bifactor": "a factor has fewer than 3 items"}
    single = {"form": {"task": (1, 2, 3), "bond": (4,)}}
    table = estimates(sessions, items, measures, single)
    refused = table[(table["status"] == "refused") & (table["rater"] == "client")].set_index(
        ["model", "term"]
    )
    assert refused.loc[("correlated_factors", "solution"), "reason"] == "a factor has fewer than 2 items"
    term = "one_factor_against_correlated_factors"
    assert refused.loc[("correlated_factors", term), "reason"] == "one of the models cannot be fitted"
    overlapping = {"form": {"task": (1, 2, 3), "bond": (3, 4, 5)}}
    table = estimates(sessions, items, measures, overlapping)
    assert "every item has to belong to one subscale" in set(table["reason"])


def test_fewer_clients_than_parameters_between_them_are_refused(monkeypatch):
    monkeypatch.setattr(factor_structure, "FEWEST_CLIENTS", 20)
    table = estimates(*study(clients=24, seed=4))
    own = table[(table["rater"] == "client") & (table["term"] == "solution")].set_index("model")
    # One factor has 18 parameters between clients, three have 21; general, group and unique ones together are 27.
    assert (
        own.loc["bifactor", "reason"]
        == "the model has as many parameters between clients as there are clients"
    )
    assert "one_factor" not in own.index


def test_different_forms_are_not_compared():
    sessions, items, measures = study(clients=60)
    table = estimates(sessions, items.iloc[:0], measures.assign(form=["one", "other"]))
    assert table.loc[table["model"] == "paired_raters", "reason"].tolist() == ["the raters' forms differ"]


def test_an_improper_solution_is_not_established():
    table = estimates(*study(correlation=1.0, clients=80))
    own = table[(table["model"] == "correlated_factors") & (table["rater"] == "client")]
    within = own[own["term"].str.startswith("correlation_") & (own["level"] == "within_client")]
    assert set(within["status"]) == {"not_established"}
    assert within["reason"].str.contains("cannot be told apart within clients").all()
    assert within["std_error"].isna().all()
    between = own[own["term"].str.startswith("correlation_") & (own["level"] == "between_client_pooled")]
    assert set(between["status"]) == {"ok"}
    assert set(own.loc[own["term"] == "chi_square", "status"]) == {"not_established"}
    # Whether one factor does is what is asked just then.
    test = own[own["term"] == "one_factor_against_correlated_factors"].iloc[0]
    assert test["status"] == "ok"
    assert "at a bound" in test["reason"]


def test_nothing_unique_between_clients_is_said_beside_the_numbers():
    table = estimates(*study(clients=80, unique_between=0.0))
    own = table[(table["model"] == "correlated_factors") & (table["rater"] == "client")]
    correlations = own[own["term"].str.startswith("correlation_")].set_index("level")
    assert set(correlations["status"]) == {"ok"}
    between = correlations.loc["between_client_pooled"]
    assert between["reason"].str.contains("unique variance between clients of . of 9 items").all()
    assert ((between["estimate"] - BETWEEN).abs() < 4.0 * between["std_error"]).all()
    assert correlations.loc["within_client", "reason"].isna().all()
