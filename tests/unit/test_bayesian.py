"""The Bayesian model: what is declared, what is reported, and its agreement with REML."""

import numpy as np
import pymc as pm
import pytest
import study_example
from scipy import special, stats
from test_collapsed_posterior import PRIORS as PRIORS_SMALL
from test_collapsed_posterior import study
from xarray import DataTree, load_datatree

from alliance_outcome.analyses import bayesian, posteriors
from alliance_outcome.analyses.cross_check import cross_check
from alliance_outcome.analyses.multilevel import fit_specification
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.bayesian import (
    BayesianMultilevelModel,
    compiled_for_nutpie,
    sample_with_nutpie,
)
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.diagnostics import convergence_checks, predictive_summary, summarise
from alliance_outcome.models.readable_model import build_readable_model
from alliance_outcome.settings import DecisionSettings, PriorSettings, SamplerSettings

PRIORS = PriorSettings(
    intercept_mean=15, intercept_sd=10, effect_sd=5, group_sd=5, slope_sd=2, residual_sd=5, lkj_eta=2
)
#: PyTensor's interpreter says that it has no BLAS; a handful of numbers do not need one.
no_blas = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation")
SAMPLER = SamplerSettings(chains=4, draws=1000, tune=500)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Sample both joint models of the small study for real, and save them."""
    folder = tmp_path_factory.mktemp("posteriors")
    context = study_example.context()
    rows = {"hybrid": study_example.hybrid_rows(), "early": study_example.early_rows()}
    paths = {}
    for analysis, table in rows.items():
        tree = posteriors.sample_joint_model(table, context, analysis, PRIORS, SAMPLER, seed=5, cores=2)
        paths[analysis] = folder / f"{analysis}.nc"
        tree.to_netcdf(paths[analysis])
    return rows, paths


@pytest.fixture(scope="session")
def tables(saved):
    rows, paths = saved
    return bayesian.summarise_posteriors(paths, rows, study_example.context(), DecisionSettings(rope=0.2))


def small_model(table, *, random=None, groups=("therapist", "client"), **changes):
    """Set up a model of the small study with correlated client slopes."""
    return BayesianMultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={level: table[level] for level in groups},
        random=random or {"therapist": ["Intercept"], "client": ["Intercept", "x", "z"]},
        priors=PRIORS_SMALL,
        scales={"z": 0.5},
        **changes,
    )


MODELS = {
    "marginal": lambda model: model.pymc,
    "readable": lambda model: build_readable_model(model.design, model.priors),
}


@no_blas
@pytest.mark.parametrize("kind", MODELS)
def test_priors_in_pymc_are_those_that_are_documented(kind):
    model = MODELS[kind](small_model(study()))
    point = {
        "centred_intercept": 9.0,
        "effect": np.array([-0.3, 0.7]),
        "therapist_standardised_sd": np.array([0.6]),
        "client_standardised_sd": np.array([1.3, 0.4, 0.5]),
        "client_partial_correlation": np.array([0.6, 0.45, 0.7]),
        "residual_sd": 1.7,
    }
    variables = [variable for variable in model.free_RVs if variable.name in point]
    assert len(variables) == len(point)
    logp = sum(pm.logp(variable, point[variable.name]).sum() for variable in variables)
    factor = model["client_correlation"].eval(
        {model["client_partial_correlation"]: point["client_partial_correlation"]}
    )
    p = PRIORS_SMALL
    expected = stats.norm.logpdf(9.0, p.intercept_mean, p.intercept_sd)
    expected += stats.norm.logpdf(-0.3, -0.4, 0.6) + stats.norm.logpdf(0.7, 0.0, p.effect_sd)
    expected += stats.halfnorm.logpdf([0.6, 1.3], scale=p.group_sd).sum()
    expected += stats.halfnorm.logpdf([0.4, 0.5], scale=p.slope_sd).sum()
    expected += stats.halfnorm.logpdf(1.7, scale=p.residual_sd)
    # LKJ: a power of the determinant over its integral (Lewandowski et al. 2009), and the volume of the map from
    # partial correlations in (0, 1) to correlations.
    first, second, _ = 2.0 * point["client_partial_correlation"] - 1.0
    volume = 8.0 * np.sqrt((1.0 - first**2) * (1.0 - second**2))
    expected += (
        (p.lkj_eta - 1.0) * np.linalg.slogdet(factor)[1] - log_lkj_constant(p.lkj_eta) + np.log(volume)
    )
    # PyMC keeps some constants of its densities in single precision.
    assert logp.eval(mode="FAST_COMPILE") == pytest.approx(expected, rel=1e-6)


def log_lkj_constant(eta):
    """Integrate |R| ** (eta - 1) over correlation matrices of three variables."""
    betas = [(eta + 0.5, 2), (eta, 1)]
    return sum(
        count * ((2.0 * shape - 1.0) * np.log(2.0) + special.betaln(shape, shape)) for shape, count in betas
    )


@no_blas
def test_the_readable_model_has_the_marginal_models_posterior():
    model = small_model(study(n_clients=60, sessions=4))
    readable = compiled_for_nutpie(build_readable_model(model.design, model.priors))
    reference = sample_with_nutpie(readable, chains=4, draws=1500, tune=800, seed=4, cores=2).posterior
    found = model.sample(sampler="collapsed", draws=4000, seed=5, cores=2).posterior
    for name in ("coefficient", "client_sd", "therapist_sd", "residual_sd"):
        for one, other in zip(scalars(found[name]), scalars(reference[name]), strict=True):
            first, second = summarise(one, 0.9), summarise(other, 0.9)
            for number, error in (
                ("estimate", "mcse_mean"),
                ("ci_low", "mcse_ci_low"),
                ("ci_high", "mcse_ci_high"),
            ):
                allowed = 4.5 * np.hypot(first[error], second[error])
                assert first[number] == pytest.approx(second[number], abs=allowed)


def scalars(values):
    """Return the draws of each scalar of a variable."""
    array = values.transpose("chain", "draw", ...).to_numpy()
    return np.moveaxis(array.reshape(*array.shape[:2], -1), 2, 0)


@no_blas
def test_student_t_residuals_are_robust():
    table = study(n_clients=60, sessions=4)
    spoilt = table.copy()
    spoilt.loc[spoilt.index[:6], "y"] += 40.0
    slopes = {}
    for distribution in ("normal", "student_t"):
        model = small_model(spoilt, random={"client": ["Intercept"]}, groups=("client",))
        compiled = compiled_for_nutpie(build_readable_model(model.design, model.priors, distribution))
        posterior = sample_with_nutpie(compiled, chains=2, draws=300, tune=400, seed=1, cores=2).posterior
        slopes[distribution] = posterior
    clean = small_model(table, random={"client": ["Intercept"]}, groups=("client",))
    reference = clean.sample(sampler="collapsed", seed=1).posterior["residual_sd"].mean()
    assert float(slopes["normal"]["residual_sd"].mean()) > 1.5 * float(reference)
    assert float(slopes["student_t"]["residual_sd"].mean()) < 1.2 * float(reference)
    assert float(slopes["student_t"]["residual_df"].mean()) < 4.0


def test_autocorrelated_residuals_are_not_for_the_readable_model():
    model = small_model(study(), residual="ar1", time=study()["time"])
    with pytest.raises(UnfittableModel, match="independent"):
        build_readable_model(model.design, model.priors)


def test_autocorrelation_is_sampled_alike_by_both_samplers():
    table = study(n_clients=60, sessions=6)
    model = small_model(table, residual="ar1", time=table["time"])
    drawn = model.sample(sampler="nutpie", chains=4, draws=500, tune=500, seed=1, cores=2)
    checking = model.sample(sampler="collapsed", draws=1000, seed=2, cores=2)
    names = ["autocorrelation", "residual_sd"]
    check = cross_check(
        {name: drawn.posterior[name].to_numpy() for name in names},
        {name: checking.posterior[name].to_numpy() for name in names},
        ("nutpie", "collapsed"),
    )
    assert check["passed"] is True


def test_a_sampler_that_draws_something_else_is_found():
    generator = np.random.default_rng(1)
    drawn = {"x": generator.normal(size=(4, 1000)), "y": generator.normal(size=(4, 1000))}
    other = {"x": generator.normal(size=(4, 1000)), "y": 1.3 * generator.normal(size=(4, 1000))}
    found = cross_check(drawn, other, ("nutpie", "collapsed"))
    assert found["passed"] is False
    assert "(y)" in found["text"]
    assert cross_check(drawn, drawn, ("nutpie", "collapsed"))["value"] == 0.0
    assert cross_check(drawn, drawn, ("nutpie", "nutpie"))["passed"] is None


def test_prior_draws_have_the_priors_moments():
    prior = small_model(study()).prior(4000, seed=1)
    p = PRIORS_SMALL
    half_normal = np.sqrt(2.0 / np.pi)
    error = 4.5 / np.sqrt(4000)
    assert float(prior["centred_intercept"].mean()) == pytest.approx(10.0, abs=p.intercept_sd * error)
    assert float(prior["effect"].sel(predictor="x").mean()) == pytest.approx(-0.4, abs=0.6 * error)
    assert float(prior["residual_sd"].mean()) == pytest.approx(half_normal * p.residual_sd, rel=error)
    spread = prior["client_sd"].sel(client_term="x") * small_model(study()).design.effect_scales["client"][1]
    assert float(spread.mean()) == pytest.approx(half_normal * p.slope_sd, rel=error)
    # Each correlation of an LKJ matrix has a beta distribution on (-1, 1): variance 1 / (2 eta + q - 1).
    correlation = prior["client_correlation"].sel(client_term="x", client_term_b="z")
    assert float(correlation.var()) == pytest.approx(1.0 / (2.0 * p.lkj_eta + 2.0), rel=0.1)


def test_raw_coefficients_undo_centring_and_scaling():
    table = study()
    found = small_model(table).design
    intercept, effect = np.array(10.0), np.array([4.0, 3.0])
    raw = found.raw_coefficients(intercept, effect)
    spread = table["x"].std()
    assert raw[1:] == pytest.approx([4.0 / spread, 3.0 / 0.5])
    assert raw[0] == pytest.approx(10.0 - 4.0 / spread * table["x"].mean() - 6.0 * table["z"].mean())
    back = found.working_coefficients(raw)
    assert back == pytest.approx([10.0 - table["y"].mean(), 4.0, 3.0])


def test_default_priors_follow_from_the_range_of_scores():
    small, large = PriorSettings(range=(0, 40)), PriorSettings(range=(0, 80), effect_sd=3)
    assert (small.intercept_mean, small.effect_sd, small.residual_sd) == (20.0, 2.5, 4.0)
    assert large.group_sd == 2.0 * small.group_sd
    assert large.effect_sd == 3.0
    with pytest.raises(ValueError, match="in this order"):
        PriorSettings(range=(40, 0))
    with pytest.raises(ValueError, match="intercept_mean"):
        PriorSettings(effect_sd=1)


def test_published_effects_are_priors_where_the_estimand_is_the_same():
    settings = PRIORS.model_copy(update={"published": True})
    context = study_example.context()
    found = {}
    for analysis, rows in (("hybrid", study_example.hybrid_rows()), ("early", study_example.early_rows())):
        complete = posteriors.joint_rows(rows, context, analysis)
        specification = posteriors.joint_specification(context, analysis)
        found[analysis] = posteriors.declared_priors(complete, specification, settings).effects
    assert set(found["hybrid"]) == {"alliance_client_within_client"}
    assert not found["early"]
    complete = posteriors.joint_rows(study_example.hybrid_rows(), context, "hybrid")
    residual = complete["outcome"] - complete.groupby("client")["outcome"].transform("mean")
    spread = np.sqrt((residual**2).sum() / (len(complete) - complete["client"].nunique()))
    prior = found["hybrid"]["alliance_client_within_client"]
    assert prior.mean == pytest.approx(-0.185 * spread)
    assert prior.sd == pytest.approx(2 * 0.087 * spread)


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
        *("r_hat", "ess_bulk", "ess_tail", "divergences", "tree_depth", "energy", "cross_check")
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


def test_a_saved_posterior_holds_no_persons(saved):
    _, paths = saved
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
    tree = posteriors.sample_joint_model(rows, context, "early", PRIORS, sampler, seed=1, cores=1)
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
    tree = posteriors.sample_joint_model(rows, context, "early", PRIORS, sampler, seed=1, cores=1)
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


def test_a_single_draw_of_the_prior_has_the_dimensions_of_many():
    model = small_model(study())
    one, many = model.prior(1, seed=1), model.prior(2, seed=1)
    assert {name: each.dims for name, each in one.items()} == {name: each.dims for name, each in many.items()}
    assert one.sizes["draw"] == 1
