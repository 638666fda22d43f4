"""The contrast with latent means, all rows and stated reliabilities: what is declared, fitted and reported."""

import numpy as np
import pandas as pd
import pytest
import study_example
import yaml
from scipy import stats
from xarray import Dataset, DataTree

from alliance_outcome.analyses import measurement_error, measurement_error_rows
from alliance_outcome.analyses.estimates import estimates_frame, read_estimates, write_estimates
from alliance_outcome.analyses.measurement_error_rows import CORRECTED, LATENT
from alliance_outcome.analyses.verification import compare_estimates
from alliance_outcome.data.simulate_items import WAI_CLIENT, WAI_THERAPIST, answers
from alliance_outcome.data.simulate_process import simulate_process
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.settings import (
    DecisionSettings,
    MeasurementErrorSettings,
    PriorSettings,
    SamplerSettings,
)
from alliance_outcome.simulation_settings import SimulationSettings

PRIORS = PriorSettings(
    intercept_mean=15, intercept_sd=5, effect_sd=3, group_sd=4, slope_sd=1, residual_sd=5, lkj_eta=2
)
MEASURES = pd.DataFrame(
    {
        "construct": ["severity", "alliance", "alliance"],
        "rater": ["client", "client", "therapist"],
        "low": [0.0, 1.0, 0.0],
        "high": [40.0, 7.0, 100.0],
    }
)
#: Exact, so that both variants are one compiled model: compiling takes longer than sampling.
#: Within clients both latent alliances have SD 1, correlation .3 and the same effect, but not the same reliability.
EFFECT, CORRELATION, RELIABILITY = -1.0, 0.3, {"client": 0.9, "therapist": 0.5}
STATED = MeasurementErrorSettings.model_validate(
    {
        "reliability": {
            rater: {"within_client": {"mean": value, "source": "planted"}}
            for rater, value in RELIABILITY.items()
        }
    }
)


def planted_rows(seed=11, n_therapists=15, clients_each=6, sessions_each=10):
    """Simulate rows in which a quarter of the therapists' ratings are missing after a bad rating by the client."""
    generator = np.random.default_rng(seed)
    client = np.repeat(np.arange(n_therapists * clients_each), sessions_each)
    therapist = client // clients_each
    slot = np.tile(np.arange(1, sessions_each + 1), client.max() + 1)
    shape = [[1.0, CORRELATION], [CORRELATION, 1.0]]
    latent = generator.multivariate_normal([0.0, 0.0], shape, len(client))
    stable = generator.normal(0.0, 0.6, (client.max() + 1, 2))[client]
    stable += generator.normal(0.0, 0.4, (n_therapists, 2))[therapist]
    rows = pd.DataFrame({"client": [f"C{label:03d}" for label in client]})
    rows["therapist"] = [f"T{label:02d}" for label in therapist]
    rows["slot"], rows["time"] = slot, np.log(slot)
    rows["severity_first"] = generator.normal(20.0, 4.0, client.max() + 1)[client]
    for position, (rater, reliability) in enumerate(RELIABILITY.items()):
        error = generator.normal(0.0, np.sqrt((1.0 - reliability) / reliability), len(client))
        rows[f"alliance_{rater}"] = 4.0 + latent[:, position] + stable[:, position] + error
    noise = generator.normal(0.0, 1.0, client.max() + 1)[client] + generator.normal(0.0, 1.0, len(client))
    rows["outcome"] = 15.0 - rows["time"] + EFFECT * latent.sum(axis=1) + noise
    low = rows["alliance_client"] < rows["alliance_client"].quantile(0.5)
    rows["alliance_therapist"] = rows["alliance_therapist"].mask(low & (generator.random(len(rows)) < 0.5))
    return rows


@pytest.fixture(scope="module")
def fitted():
    """Fit both variants for real."""
    rows = planted_rows()
    found = measurement_error.fit_measurement_error(
        rows,
        MEASURES,
        study_example.context(),
        PRIORS,
        STATED,
        DecisionSettings(rope=0.2),
        SamplerSettings(chains=4, draws=1000, tune=400),
        seed=3,
        cores=2,
    )
    return rows, found


def of(estimates, model, term, rater="client", level="within_client"):
    own = estimates[(estimates["model"] == model) & (estimates["term"] == term)]
    [(_, row)] = own[(own["rater"] == rater) & (own["level"] == level)].iterrows()
    return row


def test_unequal_reliability_looks_like_a_difference_until_it_is_allowed_for(fitted):
    _, found = fitted
    manifest = of(found.estimates, LATENT, "difference")
    corrected = of(found.estimates, CORRECTED, "difference")
    assert manifest["ci_high"] < 0.0
    assert corrected["ci_low"] < 0.0 < corrected["ci_high"]
    for rater in RELIABILITY:
        row = of(found.estimates, CORRECTED, "coefficient_standardised", rater)
        assert abs(row["estimate"] - EFFECT) < 4.0 * row["std_error"]


def test_without_reliabilities_slopes_are_attenuated_as_algebra_says(fitted):
    _, found = fitted
    latent = np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
    observed = latent + np.diag([(1.0 - share) / share for share in RELIABILITY.values()])
    slopes = np.linalg.solve(observed, latent @ [EFFECT, EFFECT])
    expected = dict(zip(RELIABILITY, slopes * np.sqrt(np.diag(observed)), strict=True))
    for rater, value in expected.items():
        row = of(found.estimates, LATENT, "coefficient_standardised", rater)
        assert row["std_error"] < 0.12
        assert abs(row["estimate"] - value) < 4.0 * row["std_error"]


def test_every_row_that_says_anything_is_used(fitted):
    rows, found = fitted
    assert rows["alliance_therapist"].isna().mean() > 0.2
    assert set(found.estimates["n_sessions"]) == {len(rows)}
    assert set(found.estimates["n_clients"]) == {90}


def test_rows_are_sensitivity_rows_with_latent_means(fitted):
    _, found = fitted
    estimates = found.estimates
    shared = ["role", "means", "analysis", "quantity_kind", "engine", "estimand"]
    [values] = estimates[shared].drop_duplicates().to_numpy().tolist()
    assert values == ["sensitivity", "latent", "measurement_error", "mcmc", "nutpie", "unique"]
    corrected = estimates.groupby("model", sort=False)["reliability_corrected"].agg(["min", "max"])
    assert corrected.loc[LATENT].tolist() == [False, False]
    assert corrected.loc[CORRECTED].tolist() == [True, True]


def test_the_sampler_passed_its_checks_and_rows_say_so(fitted):
    _, found = fitted
    assert found.checks["passed"].tolist() == [True] * 12
    assert set(found.estimates["status"]) == {"ok"}
    assert set(found.estimates["n_draws"]) == {4000}


def test_estimates_survive_their_file_and_verify(fitted, tmp_path):
    _, found = fitted
    write_estimates(found.estimates, tmp_path / "measurement_error.csv")
    read = read_estimates(tmp_path / "measurement_error.csv")
    assert set(compare_estimates("measurement_error", read, read)["verdict"]) == {"reproduced"}


LEVELS = ("within_client", "between_client", "between_therapist")
RATERS = ("client", "therapist")


def posterior(seed=0, *, apart=0.0):
    """Draws as the model names them; chains differ by `apart` standard deviations."""
    generator = np.random.default_rng(seed)
    shape = (4, 500)

    def draws(*sizes):
        offset = apart * np.arange(4).reshape(4, *([1] * (len(sizes) + 1)))
        return generator.normal(size=(*shape, *sizes)) + offset

    standardised = draws(3, 2) - 0.5
    reliability = np.ones((*shape, 3, 2))
    reliability[..., 0, 1] = generator.beta(30, 20, shape)
    # A standard deviation that may be zero: what is divided by it has no mean.
    latent_sd = np.abs(draws(3, 2))
    correlation = np.ones((*shape, 3, 2, 2))
    correlation[..., 0, 1] = correlation[..., 1, 0] = np.tanh(draws(3))
    coords = {"level": list(LEVELS), "rater": list(RATERS), "rater_b": list(RATERS)}
    dims = ("chain", "draw", "level", "rater")
    data = {
        "standardised_slope": (dims, standardised),
        "slope": (dims, standardised / latent_sd),
        "latent_sd": (dims, latent_sd),
        "reliability": (dims, reliability),
        "difference": ((*dims[:3], "pair"), standardised[..., :1] - standardised[..., 1:]),
        "latent_correlation": ((*dims, "rater_b"), correlation),
    }
    tree = DataTree.from_dict({"posterior": Dataset(data, coords | {"pair": ["client - therapist"]})})
    statistics = {"diverging": (dims[:2], np.zeros(shape)), "energy": (dims[:2], draws())}
    tree["sample_stats"] = DataTree(Dataset(statistics))
    tree.attrs["sampler"] = "nutpie"
    return tree


def summarised(tree, **decision):
    rows = study_example.hybrid_rows()
    found, checks = measurement_error_rows.summarise_variant(
        LATENT, tree, rows, study_example.context(), DecisionSettings(**decision)
    )
    return estimates_frame(found), checks


def test_numbers_are_those_of_the_draws():
    tree = posterior()
    estimates, _ = summarised(tree, rope=0.3)
    draws = tree.posterior["difference"].sel(level="between_client", pair="client - therapist").to_numpy()
    row = of(estimates, LATENT, "difference", level="between_client")
    assert row["estimate"] == pytest.approx(draws.mean())
    assert row["prob_direction"] == pytest.approx((draws < 0).mean())
    assert row["prob_rope"] == pytest.approx((np.abs(draws) < 0.3).mean())
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]))


def test_a_reliability_has_a_row_where_it_is_uncertain():
    tree = posterior()
    estimates, _ = summarised(tree)
    rows = estimates[estimates["term"] == "reliability"]
    assert rows[["level", "rater"]].to_numpy().tolist() == [["within_client", "therapist"]]
    draws = tree.posterior["reliability"].sel(level="within_client", rater="therapist")
    assert rows["estimate"].item() == pytest.approx(draws.mean().item())
    assert rows["prob_direction"].isna().all()


def test_a_slope_per_point_has_quantiles_only():
    tree = posterior()
    estimates, _ = summarised(tree)
    draws = tree.posterior["slope"].sel(level="between_therapist", rater="therapist").to_numpy()
    term = "alliance_therapist_between_therapist"
    row = of(estimates, LATENT, term, "therapist", "between_therapist")
    assert row["estimate"] == np.median(draws)
    assert row[["std_error", "mcse_sd"]].isna().all()
    assert row["mcse_mean"] < 0.2, "the mean's own error would be without bound"


def test_a_sampler_that_fails_its_checks_establishes_nothing():
    estimates, checks = summarised(posterior(apart=1.0))
    assert {check["passed"] for check in checks if check["name"].endswith("r_hat")} == {False}
    assert set(estimates["status"]) == {"not_established"}
    assert set(estimates["reason"]) == {"the sampler did not pass its checks"}


def test_too_few_therapists_establish_nothing_between_them():
    estimates, _ = summarised(posterior(), min_therapists_for_claim=13)
    status = estimates.groupby("level")["status"].unique().map(list)
    assert status["between_therapist"] == ["not_established"]
    assert status["within_client"] == ["ok"]


def test_a_model_that_cannot_be_fitted_is_refused_by_level_and_quantity():
    rows = planted_rows(sessions_each=2).assign(alliance_therapist=4.0)
    found = measurement_error.fit_measurement_error(
        rows,
        MEASURES,
        study_example.context(),
        PRIORS,
        STATED,
        DecisionSettings(),
        SamplerSettings(),
        seed=3,
        cores=1,
    )
    assert len(found.estimates) == 2 * 3 * 3
    assert set(found.estimates["status"]) == {"refused"}
    assert set(found.estimates["reason"]) == {"therapist is not observed, or does not vary"}
    assert found.checks["passed"].isna().all()


def test_reliabilities_become_numbers_and_beta_distributions():
    stated = MeasurementErrorSettings.model_validate(
        {
            "reliability": {
                "client": {
                    "within_client": {"mean": 0.8, "source": "a"},
                    "between_client": {"mean": 0.9, "sd": 0.05, "source": "b"},
                },
                "therapist": {"within_client": {"interval": [0.6, 0.85], "source": "c"}},
            }
        }
    )
    context = study_example.context(has_therapists=False)
    found = measurement_error.declared_reliability(stated, context)
    assert found["within_client", "client"].known == 0.8
    pooled = found["between_client_pooled", "client"]
    assert stats.beta(pooled.alpha, pooled.beta).stats() == pytest.approx((0.9, 0.05**2))
    interval = found["within_client", "therapist"]
    ends = stats.beta(interval.alpha, interval.beta).ppf([0.025, 0.975])
    assert ends == pytest.approx([0.6, 0.85], abs=1e-6)


def test_perfect_reliabilities_need_no_corrected_variant():
    stated = MeasurementErrorSettings.model_validate(
        {"reliability": {"client": {"within_client": {"mean": 1, "source": "a"}}}}
    )
    variants = measurement_error._variants(stated, study_example.context())
    assert list(variants) == [LATENT]


def test_priors_follow_from_the_study_file_and_the_ranges_of_the_forms():
    found = measurement_error.joint_priors(PRIORS, MEASURES, study_example.context())
    assert (found.outcome_mean, found.outcome_mean_sd) == (15.0, 5.0)
    assert (found.outcome_effect_sd, found.slope_sd, found.outcome_sd) == (3.0, 3.0, 5.0)
    assert found.of_raters("alliance_mean", RATERS).tolist() == [4.0, 50.0]
    assert found.of_raters("alliance_sd", RATERS).tolist() == [1.5, 25.0]


def test_a_study_without_therapists_has_two_levels():
    found = measurement_error.joint_specification(study_example.context(has_therapists=False))
    assert dict(found.levels) == {"within_client": None, "between_client_pooled": "client"}
    assert found.covariates["therapist"] == ("time", "severity_first")


def within_clients(values, client, time):
    """Departures from clients' means and from the trend."""

    def centred(column):
        return column - (np.bincount(client, column) / np.bincount(client))[client]

    departures, trend = centred(values), centred(time)
    return departures - trend * (departures @ trend) / (trend @ trend)


def scores(latent, form, settings, stream):
    """Mean items of a form, reversed ones turned round."""
    item_sd = settings.client_wai_item_sd if form is WAI_CLIENT else settings.therapist_wai_item_sd
    values = answers(latent, form, settings.wai_item_spread, item_sd, stream)
    turned = [item - 1 for item in form.reversed_items]
    values[:, turned] = form.low + form.high - values[:, turned]
    return values.mean(axis=1)


def parallel_forms(settings, seed):
    """Reliability within clients: how far two sets of answers to the same true values agree."""
    process = simulate_process(settings, NamedStreams(seed))
    slots = np.arange(process.total.shape[1])
    client, slot = np.nonzero((slots >= 1) & (slots <= process.held[:, None]))
    stream, found = np.random.default_rng(seed), {}
    for position, (rater, form) in enumerate((("client", WAI_CLIENT), ("therapist", WAI_THERAPIST)), start=1):
        latent = process.total[client, slot, position]
        one, two = (
            within_clients(scores(latent, form, settings, stream), client, np.log(slot)) for _ in range(2)
        )
        found[rater] = 2.0 * (one @ two) / (one @ one + two @ two)
    return found


def test_reliabilities_of_the_example_are_those_of_its_generator(request):
    study = yaml.safe_load((request.config.rootpath / "config/studies/example.yaml").read_text("utf-8"))
    settings = SimulationSettings.model_validate(study["simulation"])
    found = pd.DataFrame([parallel_forms(settings, seed) for seed in range(60)])
    for rater, levels in study["reliability"].items():
        stated = levels["within_client"]
        assert found[rater].mean() == pytest.approx(stated["mean"], abs=0.005)
        assert found[rater].std() == pytest.approx(stated["sd"], abs=0.004)
