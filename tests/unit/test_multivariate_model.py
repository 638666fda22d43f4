"""The joint model of severity and alliance: its density, what it predicts, and truth that is planted and found."""

from dataclasses import replace
from itertools import combinations

import multivariate_example as example
import numpy as np
import pymc as pm
import pytest
from scipy import stats
from xarray import Dataset

from alliance_outcome.models.bayesian import compiled_for_nutpie, sample_with_nutpie, sample_with_pymc
from alliance_outcome.models.diagnostics import predictive_summary, summarise
from alliance_outcome.models.measurement_error_model import (
    build_model,
    cell_data,
    reliability_data,
)
from alliance_outcome.models.measurement_error_predictive import (
    draw_prior,
    left_out_log_likelihoods,
    parameter_draws,
    simulate_from_prior,
    simulate_values,
)
from alliance_outcome.models.measurement_error_priors import MeasurementErrorPriors, Reliability
from alliance_outcome.models.measurement_error_sampling import sample_posterior
from alliance_outcome.models.multivariate_design import JointSpecification, joint_design

SPECIFICATION = example.SPECIFICATION
LEVELS = list(example.THREE_LEVELS)
RATERS = ("client", "therapist")
PRIORS = MeasurementErrorPriors.of_ranges((0.0, 40.0), dict.fromkeys((*RATERS, "observer"), (1.0, 7.0)))
#: PyTensor's interpreter says that it has no BLAS; a handful of numbers do not need one.
no_blas = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation")
CHAINS, DRAWS, TUNE = 2, 400, 300


def known(truth):
    """Reliabilities as they were planted."""
    return {
        (level, rater): Reliability(known=float(truth.reliability[row, column]))
        for row, level in enumerate(LEVELS)
        for column, rater in enumerate(RATERS)
    }


def posterior_of(compiled, design, reliability, seed):
    """Sample the posterior of other values and reliabilities in a compiled model."""
    data = cell_data(design) | reliability_data(design, reliability)
    return sample_with_nutpie(
        compiled.with_data(**data), chains=CHAINS, draws=DRAWS, tune=TUNE, seed=seed, cores=1
    ).posterior.dataset


def summaries_of(draws):
    """Summarise each entry of an array of draws."""
    flat = draws.transpose("chain", "draw", ...).to_numpy()
    flat = flat.reshape(*flat.shape[:2], -1)
    return [summarise(flat[..., entry]) for entry in range(flat.shape[-1])]


def distance(draws, truth):
    """Distance of posterior means from the truth, in posterior standard deviations."""
    draws = draws.stack(sample=("chain", "draw"))
    return np.abs((draws.mean("sample") - truth) / draws.std("sample")).to_numpy()


# The density ---------------------------------------------------------------------------------------------------------


def small_table(seed=3):
    """A study whose rows, and so clients and therapists, are in no order."""
    rows = example.study(example.TRUTH, seed, n_therapists=3, clients_each=2, sessions_each=3)
    rows["alliance_observer"] = np.random.default_rng(seed).normal(4.0, 1.0, len(rows))
    for name in (*example.VALUES, "alliance_observer"):
        rows.loc[np.random.default_rng(len(name)).random(len(rows)) < 0.2, name] = np.nan
    return rows.sample(frac=1.0, random_state=seed, ignore_index=True)


STRUCTURES = {
    "three levels, two raters": (RATERS, 3, ("base", "time"), {}),
    "uncertain reliabilities": (
        RATERS,
        3,
        ("base",),
        {
            ("within_client", "therapist"): Reliability.of_moments(0.7, 0.1),
            ("between_client", "client"): Reliability.of_quantiles((0.05, 0.7), (0.95, 0.9)),
            ("between_client", "therapist"): Reliability(known=0.6),
        },
    ),
    "two levels, one rater": (("client",), 2, (), {("within_client", "client"): Reliability(known=0.8)}),
    "one level, three raters": ((*RATERS, "observer"), 1, ("time",), {}),
}


def structure(name):
    """Return design, reliabilities and model of one structure."""
    raters, levels, covariates, reliability = STRUCTURES[name]
    specification = JointSpecification(
        outcome="severity",
        raters={rater: f"alliance_{rater}" for rater in raters},
        levels=dict(list(example.THREE_LEVELS.items())[:levels]),
        outcome_covariates=covariates,
        alliance_covariates=covariates[:1],
    )
    design = joint_design(small_table(), specification)
    return design, reliability, build_model(design, PRIORS, reliability)


def correlation_of(partial, size):
    """Correlation matrix of canonical partial correlations by Yule's recursion, for up to three variables."""
    matrix = np.eye(size)
    pairs = dict(zip(combinations(range(size), 2), partial, strict=True))
    for (row, column), value in pairs.items():
        if row == 1:
            first = matrix[0, 1], matrix[0, 2]
            left = np.sqrt((1.0 - first[0] ** 2) * (1.0 - first[1] ** 2))
            matrix[row, column] = matrix[column, row] = value * left + first[0] * first[1]
        else:
            matrix[row, column] = matrix[column, row] = value
    return matrix


def log_density_by_hand(design, reliability, point):
    """Add up the log density of a draw from its definition, over all values."""
    raters = tuple(design.specification.raters)
    size, d = len(raters), len(raters) + 1
    logp = stats.norm.logpdf(point["intercept"], [20.0] + [4.0] * size, [10.0] + [1.5] * size).sum()
    mean = np.zeros(design.values.shape) + point["intercept"]
    predictors = design.predictors[:, 1:]
    scaled = (predictors - predictors.mean(axis=0)) / predictors.std(axis=0)
    for (column, variable), effect in zip(design.terms, point.get("effect", ()), strict=True):
        logp += stats.norm.logpdf(effect, 0.0, 4.0 if variable == 0 else 0.6)
        mean[:, variable] += effect * scaled[:, column - 1]
    covariances = np.zeros((3, d, d))
    uncertain = iter(point.get("uncertain_reliability", ()))
    for row, level in enumerate(design.specification.levels):
        observed_sd, slope = point["observed_sd"][row], point["standardised_slope"][row]
        logp += stats.norm.logpdf(slope, 0.0, 4.0).sum()
        logp += stats.halfnorm.logpdf(point["residual_sd"][row], scale=10.0)
        latent_sd = np.empty(size)
        for column, rater in enumerate(raters):
            belief = reliability.get((level, rater), Reliability(known=1.0))
            share = next(uncertain) if belief.known is None else belief.known
            if belief.known is None:
                logp += stats.beta.logpdf(share, belief.alpha, belief.beta)
            latent_sd[column] = observed_sd[column] * np.sqrt(share)
            # The prior is of the latent standard deviation; what is sampled is that of the ratings.
            logp += stats.halfnorm.logpdf(latent_sd[column], scale=1.5) + 0.5 * np.log(share)
        correlation = np.eye(1)
        if size > 1:
            shapes = {2: [2.0], 3: [2.5, 2.5, 2.0]}[size]
            logp += stats.beta.logpdf(point["unit_correlation"][row], shapes, shapes).sum()
            correlation = correlation_of(2.0 * point["unit_correlation"][row] - 1.0, size)
        covariances[row, 1:, 1:] = np.outer(latent_sd, latent_sd) * correlation
        covariances[row, 0, 1:] = covariances[row, 1:, 0] = (slope / latent_sd) @ covariances[row, 1:, 1:]
        covariances[row, 0, 0] = (slope / latent_sd) @ covariances[row, 1:, 0] + point["residual_sd"][
            row
        ] ** 2
        covariances[row, 1:, 1:] += np.diag(observed_sd**2 - latent_sd**2)
    codes = [grouping.codes for grouping in design.groups] + [np.zeros(len(mean), dtype=int)] * 2
    rows = example.DenseRows(np.eye(len(mean)), design.values, codes[0], codes[1])
    return logp + rows.log_density(mean, *covariances)


@no_blas
@pytest.mark.parametrize("name", STRUCTURES)
def test_density_is_the_one_that_is_documented(name):
    design, reliability, model = structure(name)
    arrays = pm.draw(model.free_RVs, random_seed=4, mode="FAST_COMPILE")
    point = {variable.name: value for variable, value in zip(model.free_RVs, arrays, strict=True)}
    terms = [pm.logp(variable, point[variable.name]).sum() for variable in model.free_RVs]
    inputs = {variable: point[variable.name] for variable in model.free_RVs}
    found = (sum(terms) + model.potentials[0]).eval(inputs, mode="FAST_COMPILE")
    # PyMC keeps some constants of its densities in single precision.
    assert found == pytest.approx(log_density_by_hand(design, reliability, point), rel=1e-7)


def test_partial_correlations_have_the_lkj_density():
    # |R|^(η − 1) up to a constant, the partial correlations' density times the Jacobian of the map from R to them.
    rng = np.random.default_rng(1)
    shapes, eta = np.array([2.5, 2.5, 2.0]), 2.0
    lower = np.triu_indices(3, 1)
    constants = []
    for _ in range(5):
        unit = rng.beta(shapes, shapes)
        steps = np.eye(3) * 1e-6
        jacobian = [
            (
                correlation_of(2 * (unit + step) - 1, 3)[lower]
                - correlation_of(2 * (unit - step) - 1, 3)[lower]
            )
            / 2e-6
            for step in steps
        ]
        density = stats.beta.logpdf(unit, shapes, shapes).sum() - np.linalg.slogdet(np.array(jacobian))[1]
        determinant = np.linalg.slogdet(correlation_of(2 * unit - 1, 3))[1]
        constants.append(density - (eta - 1.0) * determinant)
    assert np.ptp(constants) < 1e-6


@no_blas
def test_reported_quantities_follow_from_each_other():
    design, reliability, model = structure("uncertain reliabilities")
    draws = draw_prior(model, 40, seed=1)
    drawn = {name: draws[name].to_numpy() for name in draws.data_vars}
    slopes = drawn["standardised_slope"]
    assert drawn["slope"] * drawn["latent_sd"] == pytest.approx(slopes)
    assert drawn["latent_sd"] ** 2 / drawn["observed_sd"] ** 2 == pytest.approx(drawn["reliability"])
    assert draws["difference"].coords["pair"].to_numpy() == ["client - therapist"]
    assert drawn["difference"][..., 0] == pytest.approx(slopes[..., 0] - slopes[..., 1])
    variances = np.diagonal(drawn["covariance"], axis1=-2, axis2=-1)[..., 1:]
    assert variances == pytest.approx(drawn["observed_sd"] ** 2)
    planted = draws["reliability"].sel(level="between_client", rater="therapist")
    assert np.unique(planted) == pytest.approx([reliability["between_client", "therapist"].known])
    # Raw coefficients say the same of the outcome as standardised ones.
    raw = draws["coefficient"]
    expected = (
        raw.sel(coefficient_term="outcome: Intercept").to_numpy()[..., None]
        + raw.sel(coefficient_term="outcome: base").to_numpy()[..., None] * design.predictors[:, 1]
    )
    for by_draw, parameters in zip(expected[0], parameter_draws(design, draws), strict=True):
        found = design.scaled_predictors @ parameters.coefficients + design.centres
        assert found[:, 0] == pytest.approx(by_draw)


def test_unknown_levels_and_raters_are_refused():
    design, _, _ = structure("two levels, one rater")
    with pytest.raises(ValueError, match="no level and rater"):
        build_model(design, PRIORS, {("within_client", "observer"): Reliability(known=0.8)})


# What is simulated ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", ["new", "same"])
def test_simulated_values_have_the_model_s_moments(groups):
    design, _, _ = structure("three levels, two raters")
    coefficients, covariances = (
        np.array([15.0, 5.0, 5.2]),
        np.array([example.TRUTH.covariance(k) for k in range(3)]),
    )
    draws = 4000
    fixed = Dataset(
        {
            "intercept": (("chain", "draw", "variable"), np.broadcast_to(coefficients, (1, draws, 3))),
            "effect": (("chain", "draw", "effect_term"), np.zeros((1, draws, len(design.terms)))),
            "covariance": (
                ("chain", "draw", "level", "a", "b"),
                np.broadcast_to(covariances, (1, draws, 3, 3, 3)),
            ),
        }
    )
    values = simulate_values(design, fixed, 1, groups)
    assert np.array_equal(np.isnan(values).any(axis=0), ~design.observed)
    rows = example.DenseRows(
        np.ones((len(design.values), 1)), design.values, *(each.codes for each in design.groups)
    )
    mean, covariance = rows.moments(coefficients[None], *covariances)
    if groups == "same":
        effects, spread = rows.effects(coefficients[None], *covariances)
        mean = mean + rows.loading @ effects
        within = np.kron(np.eye(len(rows.values)), covariances[0])[np.ix_(rows.seen, rows.seen)]
        covariance = within + rows.loading @ spread @ rows.loading.T
    found = values.reshape(draws, -1)[:, rows.seen]
    # Monte Carlo errors of 4,000 draws; the largest of some 1,000 normal deviates is below 5.
    sds = np.sqrt(np.diag(covariance))
    assert np.abs((found.mean(axis=0) - mean) / sds).max() < 5.0 / np.sqrt(draws)
    errors = np.sqrt(np.outer(sds, sds) ** 2 + covariance**2) / np.sqrt(draws)
    assert np.abs((np.cov(found.T) - covariance) / errors).max() < 5.0


@no_blas
def test_a_simulation_from_the_prior_keeps_the_design():
    design, _, model = structure("uncertain reliabilities")
    simulation = simulate_from_prior(model, design, 3, seed=2)
    assert simulation.parameters.sizes["draw"] == 3
    assert simulation.values.shape == (3, *design.values.shape)
    assert all(np.array_equal(np.isnan(values), ~design.observed) for values in simulation.values)
    again = simulate_from_prior(model, design, 3, seed=2)
    assert np.array_equal(again.values, simulation.values, equal_nan=True)
    assert again.parameters.equals(simulation.parameters)
    single = simulate_from_prior(model, design, 1, seed=2)
    assert single.values.shape == (1, *design.values.shape)
    assert single.parameters["slope"].dims == ("chain", "draw", "level", "rater")


@no_blas
@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("three levels, two raters", "between_client"),
        ("three levels, two raters", "between_therapist"),
        ("two levels, one rater", "between_client"),
        ("one level, three raters", "within_client"),
    ],
)
def test_left_out_densities_are_those_of_all_values(name, level):
    design, _, model = structure(name)
    draws = draw_prior(model, 2, seed=1)
    found = left_out_log_likelihoods(design, draws, level).to_numpy()[0]
    n_rows = len(design.values)
    codes = {grouping.level: grouping.codes for grouping in design.groups}
    units = codes.get(level, np.arange(n_rows))
    nested = [*codes.values(), np.zeros(n_rows, dtype=int), np.zeros(n_rows, dtype=int)]
    rows = example.DenseRows(design.scaled_predictors, design.values - design.centres, nested[0], nested[1])
    for by_unit, parameters in zip(found, parameter_draws(design, draws), strict=True):
        point = parameters.coefficients, *parameters.covariances
        for unit, value in enumerate(by_unit):
            rest = rows.rows_of(units != unit)
            assert value == pytest.approx(
                rows.log_density(*point) - rest.log_density(*point), rel=1e-8, abs=1e-8
            )


def test_sessions_are_not_left_out():
    design, _, _ = structure("three levels, two raters")
    with pytest.raises(ValueError, match="cannot be left out"):
        left_out_log_likelihoods(design, Dataset(), "within_client")


# Truth that is planted -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def design():
    """The design of all simulated studies: they differ in the values of severity and alliance alone."""
    return joint_design(example.study(example.TRUTH, seed=0), SPECIFICATION)


@pytest.fixture(scope="module")
def model(design):
    return build_model(design, PRIORS, known(example.TRUTH))


@pytest.fixture(scope="module")
def compiled(model):
    return compiled_for_nutpie(model)


def values_of(truth, seed, missing=0.0):
    values = example.study(truth, seed)[example.VALUES].to_numpy(copy=True)
    values[np.random.default_rng(seed).random(values.shape) < missing] = np.nan
    return values


@no_blas
def test_compiled_density_and_gradient_are_the_model_s(model, compiled):
    point = np.random.default_rng(1).normal(size=compiled.n_dim)
    value, gradient = compiled.logp_func(point)
    names = [variable.name for variable in model.value_vars]
    sizes = [np.size(model.initial_point()[name]) for name in names]
    parts = np.split(point, np.cumsum(sizes)[:-1])
    by_name = {
        name: part.reshape(np.shape(model.initial_point()[name]))
        for name, part in zip(names, parts, strict=True)
    }
    interpreted = model.compile_logp(mode="FAST_COMPILE")
    slope = model.compile_dlogp(mode="FAST_COMPILE")
    assert value == pytest.approx(interpreted(by_name), rel=1e-12)
    assert gradient == pytest.approx(slope(by_name), rel=1e-9, abs=1e-9)


def test_planted_truth_is_found(compiled, design):
    truth = example.TRUTH
    posterior = posterior_of(
        compiled, design.with_values(values_of(truth, 11, missing=0.15)), known(truth), 1
    )
    expected = {
        "standardised_slope": truth.standardised,
        "slope": truth.standardised / truth.latent_sd,
        "latent_sd": truth.latent_sd,
        "residual_sd": truth.residual_sd,
        "difference": (truth.standardised[:, 0] - truth.standardised[:, 1])[:, None],
        "intercept": np.append(truth.outcome[0], truth.alliance[0]),
        "effect": np.column_stack([truth.outcome, truth.alliance])[1:].T.ravel(),
    }
    for name, value in expected.items():
        assert all(each["r_hat"] < 1.05 for each in summaries_of(posterior[name]))
        # Some forty quantities: the largest distance of as many normal deviates is about 2.5.
        assert distance(posterior[name], value).max() < 3.5
    correlation = posterior["latent_correlation"].sel(rater="client", rater_b="therapist")
    assert distance(correlation, truth.correlation).max() < 3.5
    # With 240 clients the slopes are known well enough to be told from zero within clients.
    assert posterior["standardised_slope"].sel(level="within_client", rater="client").quantile(0.975) < 0


UNEQUAL = replace(
    example.TRUTH,
    standardised=np.array([[-1.2, -1.2], [-1.5, -1.5], [-0.5, -0.5]]),
    correlation=np.array([0.1, 0.2, 0.0]),
    reliability=np.array([[0.95, 0.4], [0.95, 0.5], [1.0, 1.0]]),
    residual_sd=np.array([1.5, 1.0, 0.5]),
)


def test_unequal_reliability_passes_for_a_difference_unless_it_is_modelled(compiled, design):
    values = design.with_values(values_of(UNEQUAL, 12))
    latent = posterior_of(compiled, values, known(UNEQUAL), 2)["difference"]
    manifest = posterior_of(compiled, values, {}, 3)["difference"]
    for row, level in enumerate(LEVELS[:2]):
        biased = UNEQUAL.manifest_difference(row)
        assert biased < -0.3
        low, high = latent.sel(level=level).quantile([0.005, 0.995]).to_numpy()
        assert low < 0 < high
        assert manifest.sel(level=level).quantile(0.975) < 0
        # Regression of severity on the ratings has this difference, whatever is believed of them.
        assert distance(manifest.sel(level=level), biased).max() < 3.5


def test_rows_without_a_rating_are_not_lost(compiled, design):
    # Clients who feel worse rate less often: missing at random, given severity.
    truth = example.TRUTH
    complete = values_of(truth, 13)
    severity = complete[:, 0]
    skipped = np.random.default_rng(5).random(len(severity)) < stats.norm.cdf((severity - 15.0) / 2.0)
    values = complete.copy()
    values[skipped, 1] = np.nan
    dropped = complete.copy()
    dropped[skipped] = np.nan
    joint = posterior_of(compiled, design.with_values(values), known(truth), 4)
    complete_cases = posterior_of(compiled, design.with_values(dropped), known(truth), 5)
    assert 0.4 < skipped.mean() < 0.6
    expected = {
        "intercept": np.append(truth.outcome[0], truth.alliance[0]),
        "standardised_slope": truth.standardised,
        "residual_sd": truth.residual_sd,
    }
    for name, value in expected.items():
        assert distance(joint[name], value).max() < 3.5
    # Those who are left feel better, and vary less.
    assert distance(complete_cases["intercept"].sel(variable="outcome"), truth.outcome[0]) > 6.0
    assert distance(complete_cases["residual_sd"].sel(level="within_client"), truth.residual_sd[0]) > 3.0


# The whole tree ------------------------------------------------------------------------------------------------------


@no_blas
def test_a_tree_has_all_groups_and_no_persons(monkeypatch, design, model, compiled):
    from alliance_outcome.models import measurement_error_sampling as sampling

    # The compiled model of this module serves here too; another compilation takes long.
    monkeypatch.setattr(sampling, "compiled_for_nutpie", lambda _: compiled)
    few = design.values.copy()
    few[::3, 1] = np.nan
    other = design.with_values(few)
    tree = sample_posterior(model, other, chains=2, draws=60, tune=60, seed=1)
    assert set(tree.children) == {
        *("posterior", "sample_stats", "observed_data", "prior", "prior_predictive", "posterior_predictive")
    }
    dimensions = {str(name) for group in tree.children.values() for name in group.sizes}
    assert not {"client", "therapist"} & dimensions
    assert not [name for name in tree.posterior.data_vars if "__" in name or name == "unit_correlation"]
    assert set(tree.posterior.data_vars) == set(tree.prior.data_vars)
    assert np.array_equal(tree.observed_data["alliance_client"], few[~np.isnan(few[:, 1]), 1])
    assert tree.attrs["sampler"] == "nutpie"
    assert tree.posterior_predictive["alliance_client"].shape == (2, 60, np.sum(~np.isnan(few[:, 1])))
    found = predictive_summary(tree, other.groups[0].codes)
    posterior = found[found["check"] == "posterior"]
    # Replicates of the same clients look like the data: severity was simulated from the model.
    assert ((posterior["p_value"] > 0.005) & (posterior["p_value"] < 0.995)).all()


@no_blas
def test_a_tree_of_pymc_s_own_sampler_has_the_same_variables():
    design, _, model = structure("two levels, one rater")
    tree = sample_posterior(model, design, chains=1, draws=20, tune=20, seed=1, sampler="pymc")
    assert tree.attrs["sampler"] == "pymc"
    assert tree.posterior.sizes["draw"] == 20
    assert set(tree.posterior.data_vars) == set(tree.prior.data_vars)
    assert "difference" not in tree.posterior


@no_blas
def test_two_samplers_find_the_same_posterior(design, model, compiled):
    ours = posterior_of(compiled, design, known(example.TRUTH), 6)
    # Short: PyMC takes several times as long for a draw.
    peers = sample_with_pymc(model, chains=1, draws=250, tune=200, seed=7, cores=1).posterior.dataset
    for name in ("standardised_slope", "difference", "residual_sd", "latent_sd", "intercept", "effect"):
        for left, right in zip(summaries_of(ours[name]), summaries_of(peers[name]), strict=True):
            for quantity, error in (("estimate", "mcse_mean"), ("std_error", "mcse_sd")):
                limit = 4.5 * np.hypot(left[error], right[error])
                assert left[quantity] == pytest.approx(right[quantity], rel=0.0, abs=limit)
