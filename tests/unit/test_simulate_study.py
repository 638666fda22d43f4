"""The simulated study's files: layout, codes, nesting, and what the seed decides."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import yaml

from alliance_outcome.data.simulate import SimulatedStudy, simulate_study, write_raw_files
from alliance_outcome.data.simulate_effects import caseload_sizes
from alliance_outcome.data.simulate_items import CORE10, WAI_CLIENT, WAI_THERAPIST, answers, item_offsets
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.simulation_settings import SimulationSettings

TABLES = ("sessions", "clients", "therapists", "latent", "truth")
FORMS = (CORE10, WAI_CLIENT, WAI_THERAPIST)


@pytest.fixture(scope="module")
def study() -> SimulatedStudy:
    return simulate_study(SimulationSettings(), 20260101)


@pytest.fixture(scope="module")
def raw(study, tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    """The three files as text, row by row."""
    folder = tmp_path_factory.mktemp("clinic") / "raw"
    write_raw_files(study, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["clients.csv", "sessions.csv", "therapists.csv"]
    tables = {}
    for path in folder.iterdir():
        with path.open(newline="", encoding="utf-8") as stream:
            tables[path.stem] = list(csv.DictReader(stream))
    return tables


def held(study: SimulatedStudy) -> pd.DataFrame:
    return study.sessions[study.sessions["attendance"] == "A"]


def assert_same(one: SimulatedStudy, other: SimulatedStudy, tables=TABLES) -> None:
    for table in tables:
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))


# What the seed decides


def test_same_seed_same_study(study):
    assert_same(study, simulate_study(SimulationSettings(), 20260101))


def test_other_seed_other_study(study):
    other = simulate_study(SimulationSettings(), 20260102)
    assert not study.clients.equals(other.clients)
    assert not np.isclose(study.latent["severity"].mean(), other.latent["severity"].mean(), rtol=0, atol=1e-6)


def test_generator_as_seed_is_advanced(study):
    generator = np.random.default_rng(20260101)
    assert_same(study, simulate_study(SimulationSettings(), generator))
    second = simulate_study(SimulationSettings(), generator)
    assert not study.clients.equals(second.clients)


def test_streams_do_not_depend_on_the_order_of_calls():
    one, other = NamedStreams(7), NamedStreams(7)
    first = one.stream("a").random(3)
    other.stream("b").random(5)
    np.testing.assert_array_equal(first, other.stream("a").random(3))
    assert not np.array_equal(first, other.stream("b").random(3))


def test_one_random_step_does_not_shift_the_others(study):
    """More missing therapist forms and more cancellations leave what was felt and what was ticked alone."""
    changed = simulate_study(
        SimulationSettings(therapist_form_missing=0.5, missed_appointment_probability=0.3), 20260101
    )
    pd.testing.assert_frame_equal(
        study.latent.drop(columns="session"), changed.latent.drop(columns="session")
    )
    core_and_client = [*CORE10.columns, *WAI_CLIENT.columns]
    pd.testing.assert_frame_equal(
        held(study)[core_and_client].reset_index(drop=True),
        held(changed)[core_and_client].reset_index(drop=True),
    )
    both = (
        held(study)[WAI_THERAPIST.columns].to_numpy(float),
        held(changed)[WAI_THERAPIST.columns].to_numpy(float),
    )
    ticked = ~np.isnan(both[1])
    assert ticked.sum() > 10_000
    np.testing.assert_array_equal(both[0][ticked], both[1][ticked])


# Size and nesting


@pytest.mark.parametrize("seed", range(6))
def test_size(seed):
    study = simulate_study(SimulationSettings(), seed)
    assert len(held(study)) >= 3000
    per_client = held(study).groupby("client_id").size()
    assert len(per_client) == 300
    assert per_client.min() >= 4
    assert per_client.max() <= 20


def test_clients_are_nested_in_therapists_unevenly(study):
    pairs = study.sessions[["client_id", "therapist_id"]].drop_duplicates()
    assert len(pairs) == 300
    sizes = pairs.groupby("therapist_id").size()
    assert len(sizes) == 25
    assert sizes.min() >= 3
    assert sizes.max() <= 20
    assert sizes.std() > 2


@pytest.mark.parametrize("n_clients", [75, 76, 300, 499, 500])
def test_caseloads_add_up_within_their_bounds(n_clients):
    settings = SimulationSettings(n_clients=n_clients, caseload_spread=1.5)
    sizes = caseload_sizes(settings, np.random.default_rng(5))
    assert sizes.sum() == n_clients
    assert sizes.min() >= 3
    assert sizes.max() <= 20


def test_ids_carry_no_order(study):
    first = study.latent.drop_duplicates("client_id")
    number = first["client_id"].str[1:].astype(int)
    assert sorted(number) == list(range(1, 301))
    neighbours = first.assign(number=number).sort_values("number")["therapist_id"]
    # Neighbours share a therapist by chance in about 5 % of pairs; undisturbed order would give 92 %.
    assert (neighbours == neighbours.shift()).mean() < 0.15
    # 4 standard errors of a correlation of 0 in 300 clients.
    assert abs(np.corrcoef(number, first["intake_severity"])[0, 1]) < 4 / np.sqrt(300)


# The files


def test_columns_of_the_files(raw):
    design = ["client_id", "therapist_id", "occasion", "session", "week", "attendance"]
    items = [column for form in FORMS for column in form.columns]
    assert len(items) == 34
    assert list(raw["sessions"][0]) == design + items
    assert list(raw["clients"][0]) == ["client_id", "age_band", "gender", "diagnosis", "treatment", "ending"]
    assert list(raw["therapists"][0]) == ["therapist_id", "experience_band", "orientation"]
    assert len(raw["clients"]) == 300
    assert len(raw["therapists"]) == 25
    assert {row["client_id"] for row in raw["clients"]} == {row["client_id"] for row in raw["sessions"]}
    assert {row["therapist_id"] for row in raw["therapists"]} == {
        row["therapist_id"] for row in raw["sessions"]
    }


def test_codes_as_written(raw):
    rows = raw["sessions"]
    assert {row["occasion"] for row in rows} == {"intake", "session", "end"}
    assert {row["attendance"] for row in rows if row["occasion"] == "session"} == {"A", "C", "N"}
    assert {row["attendance"] for row in rows if row["occasion"] != "session"} == {""}
    assert all(row["session"].isdigit() == (row["occasion"] == "session") for row in rows)
    answered = {row[column] for row in rows if row["attendance"] == "A" for column in CORE10.columns}
    assert answered == {"0", "1", "2", "3", "4", "999"}
    for form in (WAI_CLIENT, WAI_THERAPIST):
        ratings = {row[column] for row in rows if row["attendance"] == "A" for column in form.columns}
        assert ratings == {"", "1", "2", "3", "4", "5", "6", "7"}


def test_forms_are_blank_where_none_was_due(raw):
    alliance = [*WAI_CLIENT.columns, *WAI_THERAPIST.columns]
    for row in raw["sessions"]:
        if row["attendance"] in ("C", "N"):
            assert {row[column] for column in [*CORE10.columns, *alliance]} == {""}
        elif row["occasion"] != "session":
            assert {row[column] for column in alliance} == {""}
            assert "" not in {row[column] for column in CORE10.columns}


def test_missed_appointments_leave_gaps_in_the_numbers_and_weeks_increase(study):
    sessions = study.sessions[study.sessions["occasion"] == "session"]
    for _, one in sessions.groupby("client_id"):
        assert one["session"].tolist() == list(range(1, len(one) + 1))
    numbers = held(study).groupby("client_id")["session"]
    assert (numbers.min() == 1).all()
    assert (numbers.max() > numbers.size()).mean() > 0.3
    assert (study.sessions.groupby("client_id")["week"].diff().dropna() > 0).all()
    assert (study.sessions.loc[study.sessions["occasion"] == "intake", "week"] < 0).all()
    assert (sessions.loc[sessions["session"] == 1, "week"] == 0).all()
    kinds = study.sessions.groupby("client_id")["occasion"]
    assert (kinds.first() == "intake").all()
    assert (kinds.agg(lambda occasions: (occasions == "intake").sum()) == 1).all()
    assert kinds.agg(lambda occasions: (occasions == "end").sum()).between(0, 1).all()


def test_no_category_of_clients_is_small(study):
    for column in ("age_band", "gender", "diagnosis", "treatment", "ending"):
        assert study.clients[column].value_counts().min() >= 10, column
    for column in ("experience_band", "orientation"):
        assert study.therapists[column].nunique() == 3


def test_reversed_items_agree_with_the_shipped_keys():
    for name, forms in {"core-10": [CORE10], "wai-s": [WAI_CLIENT, WAI_THERAPIST]}.items():
        key = yaml.safe_load(
            (files("alliance_outcome.data") / "keys" / f"{name}.yaml").read_text(encoding="utf-8")
        )
        for form in forms:
            assert list(form.reversed_items) == key["reversed"]
            assert [form.low, form.high] == key["item_range"]
            assert form.n_items == key["n_items"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prefix)
def test_exactly_the_reversed_items_run_against_the_rest(study, form):
    items = held(study)[form.columns].astype(float).replace(999, np.nan).dropna()
    against = [
        number
        for number, column in enumerate(form.columns, start=1)
        if items[column].corr(items.drop(columns=column).sum(axis="columns")) < 0
    ]
    assert against == list(form.reversed_items)


def test_missing_forms_and_items(study):
    """Whole forms miss more often for therapists than for clients; single items miss in forms that exist."""
    rows = held(study)
    shares = {}
    for form in FORMS:
        missing = rows[form.columns].astype(float).replace(999, np.nan).isna()
        shares[form.prefix] = missing.all(axis="columns").mean()
        in_forms = missing[~missing.all(axis="columns")].to_numpy().mean()
        assert in_forms == pytest.approx(0.01, abs=0.003)
    # 3,600 sessions: one standard error is at most .0055.
    assert shares["core10"] == pytest.approx(0.04, abs=0.02)
    assert shares["wais_c"] == pytest.approx(0.06, abs=0.02)
    assert shares["wais_t"] == pytest.approx(0.12, abs=0.025)


def test_latent_sessions_are_those_of_the_session_file(study):
    latent = study.latent[study.latent["held"] & (study.latent["occasion"] == "session")]
    columns = ["client_id", "therapist_id", "session"]
    pd.testing.assert_frame_equal(
        held(study)[columns].reset_index(drop=True), latent[columns].reset_index(drop=True), check_dtype=False
    )
    end = study.latent[study.latent["held"] & (study.latent["occasion"] == "end")]["client_id"]
    assert set(end) == set(study.sessions.loc[study.sessions["occasion"] == "end", "client_id"])


# Items


def test_items_without_error_are_the_latent_value_rounded_and_reversed():
    ticked = answers(np.array([12.0, 60.0, -5.0]), CORE10, 0.0, 0.0, np.random.default_rng(0))
    assert ticked.tolist() == [
        [1, 3, 3, 1, 1, 1, 1, 1, 1, 1],
        [4, 0, 0, 4, 4, 4, 4, 4, 4, 4],
        [0, 4, 4, 0, 0, 0, 0, 0, 0, 0],
    ]
    alliance = answers(np.array([5.6]), WAI_CLIENT, 0.0, 0.0, np.random.default_rng(0))
    assert alliance.tolist() == [[6, 6, 6, 2, 6, 6, 6, 6, 6, 2, 6, 6]]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prefix)
def test_offsets_are_even_steps_around_zero(form):
    offsets = item_offsets(form, 0.3)
    np.testing.assert_allclose(np.sort(offsets), np.linspace(-0.3, 0.3, form.n_items))
    assert offsets.sum() == pytest.approx(0, abs=1e-12)


def test_scores_are_unbiased_away_from_the_ends_of_the_range():
    """Mean score of 20,000 forms at a latent severity of 20; its standard error is .015 CORE-10 points."""
    ticked = answers(np.full(20_000, 20.0), CORE10, 0.3, 0.6, np.random.default_rng(3))
    ticked[:, [1, 2]] = 4 - ticked[:, [1, 2]]
    assert ticked.sum(axis=1).mean() == pytest.approx(20, abs=0.07)
