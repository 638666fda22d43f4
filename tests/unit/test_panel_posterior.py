"""The Bayesian cross-lagged panel model: density, gradient, agreement with maximum likelihood, therapists."""

import numpy as np
import pytest
from panel_example import MEANS, NAMES, RATERS, panel_values, sessions_of
from scipy import stats

from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.panel import CrossLaggedModel
from alliance_outcome.models.panel_likelihood import evaluate
from alliance_outcome.models.panel_posterior import BayesianCrossLaggedModel
from alliance_outcome.models.panel_priors import PanelPriors

EFFECT, OTHER = "severity ~ alliance_client[-1]", "severity ~ alliance_therapist[-1]"
CLUSTERED = {"clusters": "therapist", "cluster_means": True}
#: Priors that say next to nothing.
FLAT = PanelPriors(mean_sd=100.0, path_sd=20.0, between_sd=20.0, within_sd=20.0, cluster_sd=20.0, lkj_eta=1.0)


@pytest.fixture(scope="module")
def sessions():
    return sessions_of(panel_values(1, 60, 6, missing=0.2), therapists=5)


@pytest.fixture(scope="module")
def complete():
    return sessions_of(panel_values(2, 400, 5))


@pytest.fixture(scope="module")
def posterior(complete):
    model = BayesianCrossLaggedModel(complete, "severity", RATERS, 5, residuals="invariant", priors=FLAT)
    return model.sample(chains=2, draws=1000, tune=200, seed=3, cores=2)


@pytest.fixture(scope="module")
def maximum(complete):
    return CrossLaggedModel(complete, "severity", RATERS, 5, residuals="invariant").fit()


def some_point(model, seed=1, size=0.3):
    """Return coordinates around the start, and a generator."""
    density = model.density
    start = density.structure.start
    more = np.zeros(density.coordinates.n_coordinates - len(start))
    found = density.coordinates.coordinates(np.concatenate([start, more]))
    return found + size * np.random.default_rng(seed).normal(size=len(found)) * (1.0 + np.abs(found)) ** -1


# -- Density -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"random_slopes": True, "residuals": "invariant"},
        {"paths": "varying", "reliability": {"alliance_client": 0.8}},
        {"estimate_error": ("alliance_client",), "residuals": "invariant"},
        {"order": {"client": "after", "therapist": "after"}},
        CLUSTERED,
        {"random_slopes": True, **CLUSTERED},
    ],
)
def test_the_gradient_is_that_of_the_density(sessions, settings):
    density = (model := BayesianCrossLaggedModel(sessions, "severity", RATERS, 6, **settings)).density
    point = some_point(model)
    value, gradient = density(point)
    steps = 1e-5 * np.eye(len(point))
    numeric = np.array([(density(point + step)[0] - density(point - step)[0]) / 2e-5 for step in steps])
    assert np.isfinite(value)
    assert np.allclose(gradient, numeric, rtol=1e-5, atol=1e-4)


def log_prior(model, point):
    """Evaluate the priors by their definitions, in the units of the variables, with the Jacobian of correlations."""
    coordinates = model.density.coordinates
    parameters = coordinates.parameters(point)
    found = stats.norm.logpdf(parameters[coordinates.numbers], coordinates.centres, coordinates.units).sum()
    for block in coordinates.blocks:
        covariance = parameters[block.numbers]
        spreads = np.sqrt(np.diag(covariance))
        found += stats.halfnorm.logpdf(spreads, scale=block.scales).sum()
        correlation = covariance / np.outer(spreads, spreads)
        found += (coordinates.eta - 1.0) * np.linalg.slogdet(correlation)[1]
    return found + log_jacobian(coordinates, point)


def log_jacobian(coordinates, point):
    """Return the logarithm of the size of derivatives of correlations by coordinates, numerically."""
    found, first = 0.0, len(coordinates.numbers)
    for block in coordinates.blocks:
        size = len(block.scales)
        rows, columns = np.tril_indices(size, -1)

        def correlations(at, numbers=block.numbers, rows=rows, columns=columns):
            covariance = coordinates.parameters(at)[numbers]
            spreads = np.sqrt(np.diag(covariance))
            return (covariance / np.outer(spreads, spreads))[rows, columns]

        steps = 1e-6 * np.eye(len(point))[first + size : first + block.n_coordinates]
        slopes = [(correlations(point + step) - correlations(point - step)) / 2e-6 for step in steps]
        found += np.linalg.slogdet(np.array(slopes))[1]
        first += block.n_coordinates
    return found


@pytest.mark.parametrize("settings", [{}, {"random_slopes": True, "residuals": "invariant"}])
def test_the_density_is_likelihood_times_priors(sessions, settings):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 6, **settings)
    density, structure = model.density, model.density.structure
    differences = []
    for seed in (1, 2):
        point = some_point(model, seed)
        at = structure.at(density.coordinates.parameters(point))
        likelihood = evaluate(density.data, at.mean, at.covariance).value
        differences.append(density(point)[0] - likelihood - log_prior(model, point))
    assert differences[0] == pytest.approx(differences[1], abs=1e-5)


def test_priors_are_in_units_of_the_data(sessions):
    rescaled = sessions.assign(alliance_client=7.0 * sessions["alliance_client"] - 3.0)
    models = [BayesianCrossLaggedModel(table, "severity", RATERS, 6) for table in (sessions, rescaled)]
    point = some_point(models[0])
    first, second = (model.density.coordinates.parameters(point) for model in models)
    labels = models[0].density.coordinates.labels
    assert second[labels.index(EFFECT)] == pytest.approx(first[labels.index(EFFECT)] / 7.0)
    variance = labels.index("var(intercept alliance_client)")
    assert second[variance] == pytest.approx(49.0 * first[variance])
    # The density differs by the Jacobian of the data alone.
    values = sessions.loc[sessions["session"] <= 6, "alliance_client"].count()
    shift = models[0].density(point)[0] - models[1].density(point)[0]
    assert shift == pytest.approx(values * np.log(7.0), rel=1e-8)


def test_turning_a_sign_changes_nothing(sessions):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 6, residuals="invariant")
    point = some_point(model)
    first = len(model.density.coordinates.numbers)
    turned = point.copy()
    # The first variable of the first block: its standard deviation, and its correlations with both others.
    turned[[first, first + 3, first + 4]] *= -1.0
    assert model.density(turned)[0] == pytest.approx(model.density(point)[0])
    first, second = (model.density.coordinates.parameters(each) for each in (point, turned))
    assert np.allclose(first, second)


def test_coordinates_that_overflow_have_no_density(sessions):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 6)
    assert model.density(np.full(model.density.coordinates.n_coordinates, 1e200))[0] == -np.inf


def dense(model, parameters):
    """Return expected values, covariance matrix and reach of deviations of all values at once, and these values."""
    rows = model._rows(model.places)
    at = model.density.structure.at(parameters[: model.density.structure.n_parameters])
    n_clusters = rows.clusters.max() + 1
    reach = np.kron(np.eye(n_clusters)[rows.clusters], np.tile(np.eye(3), (6, 1)))
    values, known = rows.values.ravel(), ~np.isnan(rows.values.ravel())
    within = np.kron(np.eye(len(rows.values)), at.covariance)[np.ix_(known, known)]
    between = np.kron(np.eye(n_clusters), model.density.cluster_covariance(parameters))
    return np.tile(at.mean, len(rows.values))[known], within, reach[known], between, values[known]


def test_deviations_of_therapists_are_integrated_out(sessions):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 6, **CLUSTERED)
    parameters = model.density.coordinates.parameters(some_point(model))
    mean, within, reach, between, values = dense(model, parameters)
    total = within + reach @ between @ reach.T
    expected = stats.multivariate_normal.logpdf(values, mean, total)
    assert model.density.log_likelihood(parameters)[0] == pytest.approx(expected)
    found = model.density.clusters(parameters)
    gain = between @ reach.T @ np.linalg.inv(total)
    assert np.allclose(found.centres.ravel(), gain @ (values - mean))
    left = between - gain @ reach @ between
    for j, spread in enumerate(found.spreads):
        assert np.allclose(spread, left[3 * j : 3 * j + 3, 3 * j : 3 * j + 3])


# -- Posterior ---------------------------------------------------------------------------------------------------------


def test_without_prior_knowledge_it_is_what_maximum_likelihood_says(posterior, maximum):
    table = posterior.summary()
    for effect in NAMES:
        for cause in NAMES:
            label = f"{effect} ~ {cause}[-1]"
            assert abs(table.loc[label, "estimate"] - maximum.params[label]) < 0.25 * maximum.bse[label]
            assert table.loc[label, "std_error"] == pytest.approx(maximum.bse[label], rel=0.15)
    assert abs(table.loc["mean(severity) in 1", "estimate"] - maximum.params["mean(severity) in 1"]) < 0.02


def test_the_difference_is_that_of_maximum_likelihood(posterior, maximum):
    fixed = posterior.difference("client", "therapist", spreads="fixed")
    uncertain = posterior.difference("client", "therapist")
    for draws, expected in (
        (fixed, maximum.difference("client", "therapist")),
        (uncertain, maximum.difference_sd_uncertain("client", "therapist")),
    ):
        assert abs(float(draws.mean()) - expected.estimate) < 0.25 * expected.std_error
        assert float(draws.std()) == pytest.approx(expected.std_error, rel=0.15)
    spreads = posterior.tree.posterior["within_sd"]
    by_hand = posterior.path("severity", "alliance_client") * spreads.sel(variable="alliance_client")
    by_hand = by_hand - posterior.path("severity", "alliance_therapist") * spreads.sel(
        variable="alliance_therapist"
    )
    assert np.allclose(uncertain, by_hand)


def test_chains_converge_quickly(posterior):
    assert [check["text"] for check in posterior.checks() if not check["passed"]] == []
    table = posterior.summary()
    assert {"estimate", "r_hat", "ess_bulk", "ess_tail"} <= set(table.columns)
    assert {EFFECT, "effect of client", "difference client - therapist"} <= set(table.index)
    assert table.loc[EFFECT, "ess_bulk"] > 1000


def test_draws_repeat_by_their_seed(sessions):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 4, residuals="invariant")
    first, again, other = (
        model.sample(chains=1, draws=20, tune=20, seed=seed).parameter(EFFECT).to_numpy()
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_paths_that_vary_are_averaged(sessions):
    model = BayesianCrossLaggedModel(sessions, "severity", RATERS, 4, paths="varying", residuals="invariant")
    posterior = model.sample(chains=1, draws=10, tune=50, seed=1)
    waves = [posterior.parameter(f"{EFFECT} in {wave}") for wave in (2, 3, 4)]
    assert np.allclose(posterior.path("severity", "alliance_client"), sum(waves) / 3.0)


def test_therapists_are_recovered():
    rng = np.random.default_rng(5)
    truth = rng.multivariate_normal(np.zeros(3), 0.5 * np.eye(3) + 0.25, size=24)
    values = panel_values(4, 360, 4, missing=0.1) + truth[np.arange(360) % 24][:, None, :]
    table = sessions_of(values, therapists=24)
    model = BayesianCrossLaggedModel(
        table, "severity", RATERS, 4, residuals="invariant", priors=PanelPriors(cluster_sd=1.0), **CLUSTERED
    )
    posterior = model.sample(chains=2, draws=300, tune=200, seed=2, cores=2)
    draws = posterior.tree.posterior["cluster_mean"]
    assert draws.dims == ("chain", "draw", "cluster", "variable")
    means, spreads = draws.mean(("chain", "draw")).to_numpy(), draws.std(("chain", "draw")).to_numpy()
    scores = (means - truth) / spreads
    assert 0.6 < np.sqrt((scores**2).mean()) < 1.4
    assert np.corrcoef(means.ravel(), truth.ravel())[0, 1] > 0.85
    table = posterior.summary()
    for name, mean in zip(NAMES, MEANS, strict=True):
        assert (
            table.loc[f"var(cluster {name})", "ci_low"] < 0.75 < table.loc[f"var(cluster {name})", "ci_high"]
        )
        row = table.loc[f"mean({name}) in 1"]
        assert abs(row["estimate"] - mean) < 3.0 * row["std_error"]


# -- Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster_means": True}, "need a column of clusters"),
        ({"proper": False}, "always proper"),
        ({"order": {"client": "after"}}, "same order"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(sessions, settings, message):
    with pytest.raises(ValueError, match=message):
        BayesianCrossLaggedModel(sessions, "severity", RATERS, 6, **settings)


def test_two_therapists_are_too_few(sessions):
    few = sessions.assign(therapist=sessions["client"] % 2)
    with pytest.raises(UnfittableModel, match="at least 3"):
        BayesianCrossLaggedModel(few, "severity", RATERS, 6, **CLUSTERED)


@pytest.mark.parametrize("wrong", [{"path_sd": 0.0}, {"lkj_eta": -1.0}, {"mean_sd": np.inf}])
def test_priors_without_a_scale_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PanelPriors(**wrong)


def test_requests_for_what_is_not_there_are_refused(posterior, sessions):
    for request in (
        lambda: posterior.parameter("nothing"),
        lambda: posterior.path("severity", "weather"),
        lambda: posterior.path("severity", "alliance_client", lag=2),
        lambda: posterior.effect_of("nobody"),
        lambda: posterior.effect_of("client", spreads="none"),
        lambda: BayesianCrossLaggedModel(sessions, "severity", RATERS, 6).sample(draws=0, seed=1),
    ):
        with pytest.raises(ValueError, match=r"no p|nobody|uncertain or fixed|at least 1"):
            request()
