"""The Bayesian model: what is declared, what is reported, and its agreement with REML."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import study_example
from xarray import DataTree, load_datatree

from alliance_outcome.analyses import bayesian
from alliance_outcome.analyses.multilevel import fit_specification
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.bayesian import Priors, build_model
from alliance_outcome.models.diagnostics import convergence_checks, predictive_summary, summarise
from alliance_outcome.settings import DecisionSettings, PriorSettings, SamplerSettings

PRIORS = PriorSettings(
    intercept_mean=15, intercept_sd=10, effect_sd=5, group_sd=5, slope_sd=2, residual_sd=5, lkj_eta=2
)
#: PyTensor's interpreter says that it has no BLAS; a handful of numbers do not need one.
no_blas = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation")
SAMPLER = SamplerSettings(chains=4, draws=1000, tune=500)


@pytest.fixture(scope="session")
def posteriors(tmp_path_factory):
    """Sample both joint models of the small study for real, and save them."""
    folder = tmp_path_factory.mktemp("posteriors")
    context = study_example.context()
    rows = {"hybrid": study_example.hybrid_rows(), "early": study_example.early_rows()}
    paths = {}
    for analysis, table in rows.items():
        tree = bayesian.sample_joint_model(table, context, analysis, PRIORS, SAMPLER, seed=5, cores=2)
        paths[analysis] = folder / f"{analysis}.nc"
        tree.to_netcdf(paths[analysis])
    return rows, paths


@pytest.fixture(scope="session")
def tables(posteriors):
    rows, paths = posteriors
    return bayesian.summarise_posteriors(paths, rows, study_example.context(), DecisionSettings(rope=0.2))


def logp_by_hand(point, outcome, fixed, codes, priors, scale):
    """Add up the log density of the two-level intercept model from its definition."""
    from scipy import stats

    logp = stats.norm.logpdf(point["centred_intercept"], priors.intercept_mean, priors.intercept_sd)
    logp += stats.norm.logpdf(point["effect"], 0, priors.effect_sd).sum()
    logp += stats.halfnorm.logpdf(point["client_intercept_sd"], scale=priors.group_sd)
    logp += stats.halfnorm.logpdf(point["residual_sd"], scale=priors.residual_sd)
    logp += stats.norm.logpdf(point["client_standardised"]).sum()
    standardised = (fixed["x"] - fixed["x"].mean()) / scale
    mean = point["centred_intercept"] + point["effect"][0] * standardised
    mean = mean + point["client_intercept_sd"] * point["client_standardised"][0][codes]
    return logp + stats.norm.logpdf(outcome, mean, point["residual_sd"]).sum()


@no_blas
def test_density_is_the_one_that_is_documented():
    generator = np.random.default_rng(1)
    codes = np.repeat(np.arange(5), 4)
    fixed = pd.DataFrame({"Intercept": 1.0, "x": generator.normal(size=20)})
    outcome = pd.Series(generator.normal(10, 2, 20))
    priors = Priors(10, 5, 2, 3, 1, 3)
    model = build_model(outcome, fixed, client=codes, scales={"x": 0.5}, priors=priors)
    point = {
        "centred_intercept": 9.0,
        "effect": np.array([0.7]),
        "client_intercept_sd": 1.3,
        "residual_sd": 1.7,
        "client_standardised": generator.normal(size=(1, 5)),
    }
    inputs = {variable: point[variable.name] for variable in model.free_RVs}
    logp = sum(pm.logp(variable, point[variable.name]).sum() for variable in model.free_RVs)
    logp += pm.logp(model["outcome"], outcome.to_numpy()).sum()
    found = logp.eval(inputs, mode="FAST_COMPILE")
    # PyMC keeps some constants of its densities in single precision.
    assert found == pytest.approx(logp_by_hand(point, outcome, fixed, codes, priors, 0.5), rel=1e-8)


@no_blas
def test_raw_coefficients_undo_centring_and_scaling():
    fixed = pd.DataFrame({"Intercept": 1.0, "x": [1.0, 2.0, 6.0], "z": [0.0, 5.0, 1.0]})
    model = build_model(pd.Series([1.0, 2.0, 3.0]), fixed, scales={"x": 2.0}, priors=Priors(0, 1, 1, 1, 1, 1))
    values = {model["centred_intercept"]: 10.0, model["effect"]: np.array([4.0, 3.0])}
    coefficient = model["coefficient"].eval(values, mode="FAST_COMPILE")
    spread = fixed["z"].std()
    assert coefficient[1:] == pytest.approx([2.0, 3.0 / spread])
    assert coefficient[0] == pytest.approx(10 - 3.0 * 2.0 - 2.0 * 3.0 / spread)


def test_agrees_with_restricted_maximum_likelihood(tables):
    # Weak priors and 432 rows: posterior means lie within 0.3 standard errors of REML, spreads within 15 %.
    specification = ModelSpecification("hybrid_three_level", ("client", "therapist"), "unique", True)
    fitted = fit_specification(
        specification,
        study_example.hybrid_rows(),
        outcome="outcome",
        all_raters=("client", "therapist"),
        trend=("time",),
        covariates=(),
        has_therapists=True,
    ).fit
    estimates = tables.estimates[tables.estimates["model"] == "hybrid_three_level"].set_index("term")
    for term in specification.alliance_terms():
        if term.endswith("between_therapist"):
            continue  # 12 therapists: the prior of the therapist variance matters
        std_error = fitted.bse[term]
        assert estimates.loc[term, "estimate"] == pytest.approx(fitted.params[term], abs=0.3 * std_error)
        assert estimates.loc[term, "std_error"] == pytest.approx(std_error, rel=0.15)


def test_a_real_fit_passes_its_checks(tables):
    hybrid = tables.checks[tables.checks["name"].str.startswith("convergence.hybrid_three_level.joint")]
    assert {name.rsplit(".", 1)[1] for name in hybrid["name"]} == {
        *("r_hat", "ess_bulk", "ess_tail", "divergences", "tree_depth", "energy")
    }
    by_name = hybrid.set_index(hybrid["name"].str.rsplit(".", n=1).str[1])
    assert by_name.loc["divergences", "passed"]
    assert by_name.loc["r_hat", "value"] < 1.03


def test_rows_carry_their_monte_carlo_error(tables):
    ok = tables.estimates[tables.estimates["status"] == "ok"]
    columns = ["r_hat", "ess_bulk", "ess_tail", "mcse_mean", "mcse_sd", "mcse_ci_low", "mcse_ci_high"]
    assert ok[columns].notna().all().all()
    assert set(ok["ci_kind"]) == {"equal_tailed"}
    assert set(ok["n_draws"]) == {4000}


def test_contrasts_are_diagnosed_too(tables):
    difference = tables.contrasts[tables.contrasts["term"] == "difference"]
    assert set(zip(difference["model"], difference["level"], strict=True)) == {
        ("hybrid_three_level", "within_client"),
        ("hybrid_three_level", "between_client"),
        ("hybrid_three_level", "between_therapist"),
        ("early_three_level", "between_client"),
        ("early_three_level", "between_therapist"),
    }
    assert difference[["r_hat", "ess_bulk", "prob_direction", "prob_rope"]].notna().all().all()


def test_a_saved_posterior_holds_no_persons(posteriors):
    _, paths = posteriors
    tree = load_datatree(paths["hybrid"], engine="h5netcdf")
    dimensions = {name for group in tree.children.values() for name in group.sizes}
    assert not {"client", "therapist"} & dimensions
    assert not [name for name in tree.posterior.data_vars if "standardised" in name]
    assert paths["hybrid"].stat().st_size < 30e6


def test_predictive_checks_bracket_what_was_observed(tables):
    posterior = tables.predictive[tables.predictive["check"] == "posterior"]
    assert ((posterior["p_value"] > 0.01) & (posterior["p_value"] < 0.99)).all()
    # Weak priors allow far more spread than there is.
    prior = tables.predictive[
        (tables.predictive["check"] == "prior") & (tables.predictive["statistic"] == "sd")
    ]
    assert (prior["q95"] > prior["observed"]).all()


def test_a_model_that_cannot_be_fitted_is_refused_with_its_reason(tmp_path):
    rows = study_example.early_rows().assign(severity_before=1.0)
    context = study_example.context()
    sampler = SAMPLER.model_copy(update={"engine": "pymc"})
    tree = bayesian.sample_joint_model(rows, context, "early", PRIORS, sampler, seed=1, cores=1)
    tree.to_netcdf(tmp_path / "early.nc")
    found = bayesian.summarise_posteriors(
        {"early": tmp_path / "early.nc"}, {"early": rows}, context, DecisionSettings()
    )
    assert set(found.estimates["status"]) == {"refused"}
    assert found.estimates["reason"].str.contains("severity_before").all()
    assert found.checks["passed"].isna().all()
    assert set(found.estimates["engine"]) == {"pymc"}


def test_pymc_s_own_sampler_is_used_when_asked_for(monkeypatch, tmp_path):
    asked = []
    sample = pm.sample
    monkeypatch.setattr(pm, "sample", lambda **settings: asked.append(settings) or sample(**settings))
    sampler = SamplerSettings(engine="pymc", chains=2, draws=40, tune=40)
    rows, context = study_example.early_rows(), study_example.context()
    tree = bayesian.sample_joint_model(rows, context, "early", PRIORS, sampler, seed=1, cores=1)
    # Left to itself PyMC would take nutpie, because it is installed.
    assert [settings["nuts_sampler"] for settings in asked] == ["pymc"]
    tree.to_netcdf(tmp_path / "early.nc")
    found = bayesian.summarise_posteriors(
        {"early": tmp_path / "early.nc"}, {"early": rows}, context, DecisionSettings()
    )
    assert set(found.estimates["engine"]) == set(found.contrasts["engine"]) == {"pymc"}
    assert set(found.estimates["n_draws"]) == {80}


@pytest.mark.parametrize("passing", [True, False])
def test_summaries_and_checks_on_known_draws(passing):
    generator = np.random.default_rng(3)
    draws = generator.normal(size=(4, 1000)) + (0 if passing else np.arange(4)[:, None])
    summary = summarise(draws)
    assert summary["estimate"] == pytest.approx(draws.mean())
    assert summary["ci_low"] == pytest.approx(np.quantile(draws, 0.025))
    checks = {check["name"]: check for check in convergence_checks({"x": summary}, None)}
    assert checks["r_hat"]["passed"] is passing
    assert checks["ess_bulk"]["passed"] is passing
    if passing:
        assert summary["mcse_mean"] == pytest.approx(1 / np.sqrt(4000), rel=0.2)


def test_a_diagnostic_that_cannot_be_computed_does_not_pass():
    summary = summarise(np.ones((2, 50)))
    assert not any(
        check["passed"] for check in convergence_checks({"x": summary}, None) if check["name"] == "r_hat"
    )


def test_divergences_fail_the_check():
    generator = np.random.default_rng(2)
    stats = {"diverging": (("chain", "draw"), generator.random((2, 50)) < 0.1)}
    stats["energy"] = (("chain", "draw"), generator.normal(size=(2, 50)))
    import xarray as xr

    tree = DataTree.from_dict({"sample_stats": xr.Dataset(stats)})
    checks = {
        c["name"]: c for c in convergence_checks({"x": summarise(generator.normal(size=(2, 50)))}, tree)
    }
    assert checks["divergences"]["passed"] is False
    assert checks["energy"]["passed"] is True


def test_predictive_summary_by_hand():
    import xarray as xr

    draws = np.arange(12.0).reshape(1, 3, 4)
    group = xr.Dataset({"outcome": (("chain", "draw", "row"), draws)})
    observed = xr.Dataset({"outcome": ("row", np.array([0.0, 2.0, 10.0, 10.0]))})
    tree = DataTree.from_dict(
        {"observed_data": observed, "prior_predictive": group, "posterior_predictive": group}
    )
    found = predictive_summary(tree, ["a", "a", "b", "b"]).set_index(["check", "statistic"])
    assert found.loc[("prior", "mean"), "observed"] == 5.5
    assert found.loc[("prior", "mean"), "q50"] == 5.5
    assert found.loc[("posterior", "mean"), "p_value"] == pytest.approx(1 / 3)
    assert found.loc[("prior", "between"), "observed"] == pytest.approx(4.5)
    assert found.loc[("prior", "within"), "observed"] == pytest.approx(np.sqrt(2 / 4))
