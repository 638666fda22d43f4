"""The panel models of a study: which are fitted, of what, and what their rows say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from panel_example import RATERS, panel_values, sessions_of

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.dynamics import fit_dynamics
from alliance_outcome.analyses.panel_constraints import NO_TRENDS, SAME_PATHS
from alliance_outcome.analyses.panel_departure import SHIFTS
from alliance_outcome.analyses.panel_fits import primary_panel_model
from alliance_outcome.analyses.panel_names import (
    DYNAMIC,
    PANEL_ENGINE,
    PANEL_MODELS,
    PLAIN,
    TRENDS,
    shift_of,
    shifted_model,
)
from alliance_outcome.analyses.panel_plan import (
    CLIENTS_PER_PARAMETER,
    MOST_WAVES,
    build,
    counted_parameters,
    panel_table,
    plan,
    timing_of,
    usable_waves,
)
from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel
from alliance_outcome.settings import MeasurementErrorSettings

NOTHING, SEED = MeasurementErrorSettings(), 11
CONTEXT = AnalysisContext(
    study="panel",
    outcome="severity",
    outcome_rater="client",
    unit="points",
    raters=("client", "therapist"),
    has_therapists=True,
    lag_unit="attended",
    timing={"alliance_client": "after", "alliance_therapist": "after", "severity": "before"},
    timing_sentences=(),
    commensurate=True,
    trend=("time",),
    hybrid_covariates=(),
    early_covariates=(),
    early_outcome="end",
    early_fixed_session=None,
    adjustment="",
    warnings=(),
)


def study(seed=1, clients=220, waves=6, **options):
    """Return a session table and a client table."""
    sessions = sessions_of(panel_values(seed, clients, waves, **options)).assign(
        occasion_kind="session", attendance="attended", week=lambda table: table["session"] - 1.0
    )
    sessions["session"] = sessions["session"].astype("Int64")
    ending = np.where(np.arange(clients) % 3 == 0, "unplanned", "planned")
    return sessions, pd.DataFrame({"client": np.arange(clients), "ending": ending})


@pytest.fixture(scope="module")
def data():
    return study()


@pytest.fixture(scope="module")
def tables(data):
    return fit_dynamics(*data, CONTEXT, NOTHING, SEED)


# -- Which models, of how many sessions --------------------------------------------------------------------------------


def test_sessions_are_those_that_half_of_the_clients_reach():
    lengths = [3] * 4 + [5] * 3 + [9] * 3
    table = pd.DataFrame(
        [
            {"client": client, "slot": slot}
            for client, length in enumerate(lengths)
            for slot in range(1, length + 1)
        ]
    )
    assert usable_waves(table) == 5
    long = pd.DataFrame({"client": np.repeat([1, 2], 40), "slot": np.tile(np.arange(1, 41), 2)})
    assert usable_waves(long) == MOST_WAVES
    assert usable_waves(long.iloc[:0]) == 0


def test_the_primary_model_depends_on_the_number_of_sessions_alone():
    assert [primary_panel_model(waves) for waves in (4, 5, 12)] == [DYNAMIC, TRENDS, TRENDS]


def test_clients_must_be_enough_for_the_parameters(data):
    table = panel_table(data[0], CONTEXT)
    for name in PANEL_MODELS:
        chosen = plan(name, table, CONTEXT)
        assert not chosen.refused
        assert CLIENTS_PER_PARAMETER * counted_parameters(chosen, table, CONTEXT) <= 220
    few = table[table["client"] < 60]
    fewer = plan(TRENDS, few, CONTEXT)
    assert fewer.refused or fewer.residuals == "invariant"
    refused = plan(TRENDS, table[table["client"] < 30], CONTEXT)
    assert refused.refused
    assert "30 clients are too few" in refused.reason


@pytest.mark.parametrize(
    ("alliance", "severity", "shift", "order"),
    [
        ("after", "before", 0, "after"),
        ("before", "before", 0, "same"),
        ("after", "after", 0, "same"),
        ("before", "after", 1, "after"),
    ],
)
def test_waves_follow_the_timing_of_the_study(alliance, severity, shift, order):
    timing = {"alliance_client": alliance, "alliance_therapist": alliance, "severity": severity}
    found = timing_of(replace(CONTEXT, timing=timing))
    assert found == {"order": dict.fromkeys(RATERS, order), "shift": dict.fromkeys(RATERS, shift)}


# -- Rows --------------------------------------------------------------------------------------------------------------


def test_rows_are_the_models_own_numbers(data, tables):
    table = panel_table(data[0], CONTEXT)
    for name in PANEL_MODELS:
        chosen = plan(name, table, CONTEXT)
        rows = tables.contrasts[tables.contrasts["model"] == name]
        model = DynamicPanelModel if name == DYNAMIC else CrossLaggedModel
        settings = {} if name == DYNAMIC else {"random_slopes": name == TRENDS, "residuals": chosen.residuals}
        order = {"order": dict.fromkeys(RATERS, "after"), "session": "slot"}
        result = model(table, "severity", RATERS, chosen.n_waves, **settings, **order).fit()
        own = result.difference("client", "therapist")
        row = rows[rows["term"] == "difference"].iloc[0]
        assert row["status"] == "ok"
        assert row["estimate"] == pytest.approx(own.estimate, rel=1e-6)
        assert row["std_error"] == pytest.approx(own.std_error, rel=1e-6)
        assert row["ci_low"] == pytest.approx(own.ci_low, rel=1e-6)


def test_every_model_says_what_it_is(tables):
    contrasts = tables.contrasts
    assert set(contrasts["engine"]) == {PANEL_ENGINE}
    assert set(contrasts["level"]) == {"within_client"}
    assert set(contrasts["analysis"]) == {"dynamics"}
    detrended = contrasts.groupby("model")["detrended"].first()
    assert detrended[TRENDS] == "linear"
    assert detrended[PLAIN] == "none"
    primary = contrasts[contrasts["role"] == "primary"]
    assert set(primary["model"]) == {TRENDS}
    assert set(primary["term"]) == {"difference", "coefficient_standardised"}


def test_the_primary_model_is_repeated_for_parts_and_other_choices(tables):
    found = set(tables.contrasts["model"]) - set(PANEL_MODELS)
    own = {name.removeprefix(f"{TRENDS}_") for name in found}
    assert {"lags_2", "lags_3", "planned_ending", "unplanned_ending"} <= own
    assert {"shorter_treatment", "longer_treatment"} & own
    lags = tables.contrasts[tables.contrasts["model"] == f"{TRENDS}_lags_2"]
    assert set(lags["lag"]) == {2}
    assert set(tables.contrasts.loc[tables.contrasts["model"].isin(found), "role"]) == {"sensitivity"}


def test_paths_of_all_kinds_are_estimates(tables):
    own = tables.estimates[tables.estimates["model"] == TRENDS].set_index("term")
    for label in (
        "severity ~ alliance_client[-1]",
        "alliance_client ~ severity",
        "alliance_client ~ alliance_therapist[-1]",
    ):
        assert label in own.index
    assert own.loc["alliance_client ~ severity", "lag"] == 0
    assert own.loc["alliance_client ~ alliance_therapist[-1]", "rater"] == "therapist"


def test_a_stated_reliability_is_allowed_for(data):
    stated = {"client": {"within_client": {"mean": 0.8, "source": "a study"}}}
    measurement = MeasurementErrorSettings.model_validate({"reliability": stated})
    found = fit_dynamics(*data, CONTEXT, measurement, SEED).contrasts
    corrected = found[found["reliability_corrected"]]
    assert set(corrected["model"]) == {f"{TRENDS}_reliability"}


def test_improper_solutions_give_no_number():
    rng = np.random.default_rng(3)
    sessions, clients = study()
    for name in ("severity", *RATERS.values()):
        sessions[name] = rng.normal(size=len(sessions))
    found = fit_dynamics(sessions, clients, CONTEXT, NOTHING, SEED)
    doubtful = found.contrasts[found.contrasts["status"] == "not_established"]
    assert len(doubtful)
    assert doubtful["estimate"].isna().all()
    assert doubtful["reason"].str.contains("improper|converge|inverse").all()
    gates = found.checks[found.checks["passed"].eq(False)]
    assert set(doubtful["model"]) == {name.split(".")[1] for name in gates["name"]}


def test_too_few_clients_are_a_refusal_row():
    sessions, clients = study(clients=12)
    found = fit_dynamics(sessions, clients, CONTEXT, NOTHING, SEED)
    assert set(found.contrasts["status"]) == {"refused"}
    assert set(found.contrasts["model"]) == set(PANEL_MODELS)
    assert found.contrasts.loc[found.contrasts["model"] == TRENDS, "role"].eq("primary").all()
    assert not len(found.fit)


def test_too_few_sessions_are_a_refusal_row():
    sessions, clients = study(waves=3)
    found = fit_dynamics(sessions, clients, CONTEXT, NOTHING, SEED)
    assert set(found.contrasts["status"]) == {"refused"}
    assert found.contrasts["reason"].str.contains("3 sessions are usable").all()


def test_four_sessions_make_the_dynamic_model_primary():
    found = fit_dynamics(*study(waves=4), CONTEXT, NOTHING, SEED).contrasts
    assert set(found.loc[found["role"] == "primary", "model"]) == {DYNAMIC}
    assert found.loc[found["model"] == TRENDS, "reason"].str.contains("this model needs 5").all()


def test_order_and_labels_of_clients_change_nothing(data, tables):
    sessions, clients = data
    names = {client: f"p{997 * (client + 3) % 1009}" for client in clients["client"]}
    shuffled = sessions.assign(client=sessions["client"].map(names)).sample(frac=1.0, random_state=4)
    again = fit_dynamics(
        shuffled, clients.assign(client=clients["client"].map(names)), CONTEXT, NOTHING, SEED
    ).contrasts
    one, other = (each.set_index("row_id") for each in (tables.contrasts, again))
    assert set(one.index) == set(other.index)
    known = one["estimate"].notna()
    difference = (other.loc[one.index[known], "estimate"] - one.loc[known, "estimate"]).abs()
    assert (difference / one.loc[known, "std_error"]).max() < 1e-4


def test_one_rater_has_paths_and_no_contrast(data):
    sessions, clients = data
    alone = replace(CONTEXT, raters=("client",), timing={"alliance_client": "after", "severity": "before"})
    found = fit_dynamics(sessions.drop(columns="alliance_therapist"), clients, alone, NOTHING, SEED)
    assert not (found.contrasts["term"] == "difference").any()
    assert (found.estimates["term"] == "severity ~ alliance_client[-1]").any()


# -- After leaving, and constraints ------------------------------------------------------------------------------------


def test_the_primary_contrast_is_repeated_for_shifts_after_leaving():
    sessions, clients = study(clients=260)
    gone = (sessions["client"] % 3 == 0) & (sessions["session"] > 4)
    found = fit_dynamics(sessions[~gone], clients, CONTEXT, NOTHING, SEED).contrasts
    shifted = found[found["model"].map(shift_of).notna()]
    assert list(shifted["model"].map(shift_of)) == list(SHIFTS)
    assert set(shifted["status"]) == {"ok"}
    assert set(shifted["role"]) == {"sensitivity"}
    assert (shifted["mcse_mean"] > 0).all()
    base = found[(found["model"] == TRENDS) & (found["term"] == "difference")].iloc[0]
    assert (shifted["estimate"] - base["estimate"]).abs().max() < 4 * base["std_error"]


def test_nobody_who_leaves_refuses_the_shifts(tables):
    shifted = tables.contrasts[tables.contrasts["model"].map(shift_of).notna()]
    assert set(shifted["status"]) == {"refused"}
    assert shifted["reason"].str.contains("no client leaves").all()


def test_names_of_shifts_hold_the_shift():
    assert [shift_of(shifted_model(TRENDS, shift)) for shift in SHIFTS] == list(SHIFTS)
    assert shift_of(TRENDS) is None


def test_constraints_are_tested_against_models_without_them(data, tables):
    table = panel_table(data[0], CONTEXT)
    chosen = plan(TRENDS, table, CONTEXT)
    rows = tables.constraints.set_index(["model", "constraint"])
    large = build(chosen, table, CONTEXT).fit()
    small = build(replace(chosen, name=PLAIN), table, CONTEXT).fit()
    test = large.likelihood_ratio(small)
    row = rows.loc[(TRENDS, NO_TRENDS)]
    assert row["chi_square"] == pytest.approx(test["statistic"], rel=1e-4, abs=1e-6)
    assert row["df"] == test["df"]
    # Nine paths to each session but the first, two within it, are the same in five sessions.
    free = rows.loc[(TRENDS, SAME_PATHS)]
    assert free["df"] == 11 * (chosen.n_waves - 2)
    assert free["aic_difference"] == pytest.approx(free["chi_square"] - 2 * free["df"], rel=1e-6)


def test_paths_that_differ_between_sessions_are_found():
    sessions, clients = study(clients=600)
    late = sessions["session"] >= 4
    turned = sessions.groupby("client")["alliance_client"].shift(1).fillna(3.0) - 3.0
    sessions.loc[late, "severity"] += 0.6 * turned[late]
    rows = fit_dynamics(sessions, clients, CONTEXT, NOTHING, SEED).constraints
    assert rows.loc[rows["constraint"] == SAME_PATHS, "p_value"].max() < 1e-4
