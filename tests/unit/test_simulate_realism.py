"""The simulated clinic looks like one: levels, reliabilities, endings and ruptures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.data.simulate import SimulatedStudy, simulate_study
from alliance_outcome.data.simulate_items import CORE10, WAI_CLIENT, WAI_THERAPIST, Form
from alliance_outcome.data.simulate_within import within_covariance
from alliance_outcome.simulation_settings import SimulationSettings

#: The same clinic, large enough for shares of variance between therapists.
LARGE = {"n_clients": 9000, "n_therapists": 800}


@pytest.fixture(scope="module", params=[1, 2])
def study(request) -> SimulatedStudy:
    return simulate_study(SimulationSettings(), request.param)


@pytest.fixture(scope="module")
def ten_studies() -> list[SimulatedStudy]:
    return [simulate_study(SimulationSettings(), seed) for seed in range(10, 20)]


@pytest.fixture(scope="module")
def large() -> SimulatedStudy:
    return simulate_study(SimulationSettings(**LARGE), 3)


def keyed_items(rows: pd.DataFrame, form: Form) -> pd.DataFrame:
    """Return the items of complete forms with reversed items turned."""
    items = rows[form.columns].astype(float).replace(999, np.nan).dropna()
    turned = [form.columns[item - 1] for item in form.reversed_items]
    items[turned] = form.low + form.high - items[turned]
    return items


def score(rows: pd.DataFrame, form: Form) -> pd.Series:
    """Return mean item scores, times 10 for CORE-10; NaN for incomplete forms."""
    return (keyed_items(rows, form).mean(axis="columns") * form.points_per_item).reindex(rows.index)


def cronbach_alpha(items: pd.DataFrame) -> float:
    k = items.shape[1]
    return k / (k - 1) * (1 - items.var().sum() / items.sum(axis="columns").var())


def held(study: SimulatedStudy) -> pd.DataFrame:
    return study.sessions[study.sessions["attendance"] == "A"]


def occasion(study: SimulatedStudy, kind: str) -> pd.DataFrame:
    return study.sessions[study.sessions["occasion"] == kind]


def between_therapists(values: pd.Series, therapists: pd.Series) -> float:
    """Estimate the variance between therapists from one value per client (one-way analysis of variance)."""
    groups = values.groupby(therapists)
    sizes, means = groups.size(), groups.mean()
    n_rows, n_groups = len(values), len(sizes)
    mean_square_between = (sizes * (means - values.mean()) ** 2).sum() / (n_groups - 1)
    mean_square_within = ((values - therapists.map(means)) ** 2).sum() / (n_rows - n_groups)
    return (mean_square_between - mean_square_within) / (
        (n_rows - (sizes**2).sum() / n_rows) / (n_groups - 1)
    )


def therapist_share(rows: pd.DataFrame, form: Form) -> float:
    """Return the therapists' share of the variance of single ratings."""
    rated = rows.assign(score=score(rows, form)).dropna(subset="score")
    clients = rated.groupby("client_id").agg(score=("score", "mean"), therapist=("therapist_id", "first"))
    return between_therapists(clients["score"], clients["therapist"]) / rated["score"].var()


def within_reliability(study: SimulatedStudy, form: Form, variable: str) -> float:
    """Return the squared correlation of ratings and true values, as deviations from the client's mean."""
    truth = study.latent[study.latent["held"] & (study.latent["occasion"] == "session")]
    rows = held(study).merge(truth[["client_id", "session", variable]], on=["client_id", "session"])
    rows = rows.assign(score=score(rows, form)).dropna(subset="score")
    columns = ["score", variable]
    deviations = rows[columns] - rows.groupby("client_id")[columns].transform("mean")
    return deviations.corr().iloc[0, 1] ** 2


def rater_difference(study: SimulatedStudy) -> float:
    """Return Cohen's d of single ratings, client minus therapist."""
    client, therapist = (score(held(study), form) for form in (WAI_CLIENT, WAI_THERAPIST))
    return (client.mean() - therapist.mean()) / np.sqrt((client.var() + therapist.var()) / 2)


def test_clients_rate_higher_than_therapists(ten_studies, large):
    """With 25 therapists of SD .4 a single study's d has a standard error of about .1."""
    differences = [rater_difference(study) for study in ten_studies]
    assert np.mean(differences) == pytest.approx(0.6, abs=0.15)
    assert min(differences) > 0.2
    assert rater_difference(large) == pytest.approx(0.6, abs=0.08)


def test_raters_agree_in_part(study):
    assert 0.2 < score(held(study), WAI_CLIENT).corr(score(held(study), WAI_THERAPIST)) < 0.5


def test_severity_falls(study):
    intake, end = (score(occasion(study, kind), CORE10) for kind in ("intake", "end"))
    # Standard errors are .35 and .4; the SD's is .25.
    assert intake.mean() == pytest.approx(20, abs=1.4)
    assert intake.std() == pytest.approx(6, abs=1)
    assert end.mean() == pytest.approx(12, abs=1.6)


def test_both_alliances_grow(large):
    rows = held(large)
    for form in (WAI_CLIENT, WAI_THERAPIST):
        means = score(rows, form).groupby(rows["session"]).mean()
        assert 0.1 < means[10] - means[1] < 0.6


def test_forms_are_about_as_reliable_as_real_ones(study):
    for form in (CORE10, WAI_CLIENT, WAI_THERAPIST):
        assert 0.85 <= cronbach_alpha(keyed_items(held(study), form)) <= 0.95


def test_few_ratings_are_at_the_ceiling(study):
    client, therapist = (
        (keyed_items(held(study), form) == 7).to_numpy().mean() for form in (WAI_CLIENT, WAI_THERAPIST)
    )
    assert therapist < client < 0.35


def test_therapists_are_less_reliable_within_clients(study):
    client = within_reliability(study, WAI_CLIENT, "client_alliance")
    therapist = within_reliability(study, WAI_THERAPIST, "therapist_alliance")
    assert 0.7 < client < 0.85
    assert 0.5 < therapist < client - 0.05


def test_shares_of_variance_between_therapists(large):
    rows = held(large)
    assert 0.03 < therapist_share(rows, WAI_CLIENT) < 0.10
    assert 0.20 < therapist_share(rows, WAI_THERAPIST) < 0.30
    end = large.latent[large.latent["occasion"] == "end"]
    share = between_therapists(end["severity"], end["therapist_id"]) / end["severity"].var()
    assert 0.03 < share < 0.08


def test_share_of_unplanned_endings(study, large):
    assert (study.clients["ending"] == "unplanned").mean() == pytest.approx(0.275, abs=0.08)
    assert 0.25 <= (large.clients["ending"] == "unplanned").mean() <= 0.30


def ending_and_last_session(study: SimulatedStudy) -> pd.DataFrame:
    latent = study.latent[study.latent["held"] & (study.latent["occasion"] == "session")]
    return latent.groupby("client_id").tail(1).merge(study.clients[["client_id", "ending"]], on="client_id")


def test_clients_who_drop_out_are_worse_off(large):
    last = ending_and_last_session(large).groupby("ending")[["severity", "client_alliance"]].mean()
    assert last.loc["unplanned", "severity"] > last.loc["planned", "severity"] + 2
    assert last.loc["unplanned", "client_alliance"] < last.loc["planned", "client_alliance"] - 0.2
    end = large.latent[large.latent["occasion"] == "end"].merge(large.clients, on="client_id")
    by_ending = end.groupby("ending")["severity"].mean()
    assert by_ending["unplanned"] > by_ending["planned"] + 0.5
    assessed = end.groupby("ending")["held"].mean()
    assert assessed["planned"] == pytest.approx(0.92, abs=0.02)
    assert assessed["unplanned"] == pytest.approx(0.35, abs=0.04)


def test_dropout_can_be_made_uninformative():
    settings = SimulationSettings(
        n_clients=4000,
        n_therapists=300,
        dropout_severity_effect=0,
        dropout_alliance_effect=0,
        dropout_log_odds=-2,
    )
    study = simulate_study(settings, 5)
    end = study.latent[study.latent["occasion"] == "end"].merge(study.clients, on="client_id")
    left = end["ending"] == "unplanned"
    difference = end.loc[left, "intake_severity"].mean() - end.loc[~left, "intake_severity"].mean()
    error = end["intake_severity"].std() * np.sqrt(1 / left.sum() + 1 / (~left).sum())
    assert abs(difference) < 4 * error
    assert error < 0.2


def test_ruptures_in_about_40_percent_of_clients(large):
    latent = large.latent[large.latent["held"] & (large.latent["occasion"] == "session")]
    ruptured = (latent["rupture"] != "none").groupby(latent["client_id"]).any()
    assert ruptured.mean() == pytest.approx(0.40, abs=0.05)
    counts = latent["rupture"].value_counts()
    assert counts["repaired"] / (counts["repaired"] + counts["unrepaired"]) == pytest.approx(0.5, abs=0.03)


def test_ruptures_are_deep_and_half_are_repaired(large):
    """1.5 within-client SDs below other sessions; three sessions later back, or still down."""
    sd = np.sqrt(within_covariance(SimulationSettings())[1, 1])
    latent = large.latent
    drop = {}
    for rater in ("client", "therapist"):
        within = latent[f"{rater}_alliance_within_client"]
        later = within.groupby(latent["client_id"]).shift(-3)
        for name, values in ((rater, within), (f"{rater} later", later)):
            means = values.groupby(latent["rupture"], observed=True).mean()
            drop[name] = means["none"] - means
    assert drop["client"][["repaired", "unrepaired"]].min() > 1.5 * sd
    assert drop["client later"]["repaired"] < 0.15 * drop["client"]["repaired"]
    assert drop["client later"]["unrepaired"] > 0.85 * drop["client"]["unrepaired"]
    assert drop["therapist"]["repaired"] < 0.6 * drop["client"]["repaired"]
    assert drop["therapist"]["repaired"] > 0.2


def lag_1_contrast(study: SimulatedStudy) -> tuple[float, float]:
    """Return D and its standard error from person-centred least squares on scores, clustered by client."""
    rows = held(study)
    rows = rows.assign(
        severity=score(rows, CORE10), client=score(rows, WAI_CLIENT), therapist=score(rows, WAI_THERAPIST)
    )
    rows["time"] = np.log(1.0 + rows.groupby("client_id").cumcount())
    rows["outcome"] = rows.groupby("client_id")["severity"].shift(-1)
    rows = rows[["client_id", "outcome", "client", "therapist", "time"]].dropna()
    centred = rows.drop(columns="client_id") - rows.groupby("client_id").transform("mean")
    design, outcome = centred[["client", "therapist", "time"]].to_numpy(), centred["outcome"].to_numpy()
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ design.T @ outcome
    residuals = design * (outcome - design @ coefficients)[:, None]
    scores = pd.DataFrame(residuals).groupby(rows["client_id"].to_numpy()).sum().to_numpy()
    degrees = len(rows) - rows["client_id"].nunique()
    weights = np.sqrt((centred[["client", "therapist"]] ** 2).sum() / degrees).to_numpy() * [1, -1]
    covariance = (bread @ scores.T @ scores @ bread)[:2, :2]
    return float(weights @ coefficients[:2]), float(np.sqrt(weights @ covariance @ weights))


def test_example_has_the_power_to_tell_the_raters_apart(ten_studies):
    """In most studies of this size even the simple comparator puts D's 95 % interval below 0."""
    contrasts = [lag_1_contrast(study) for study in ten_studies]
    assert sum(difference + 1.96 * error < 0 for difference, error in contrasts) >= 7
