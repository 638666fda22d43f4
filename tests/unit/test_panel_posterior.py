"""The posterior of panel models: the likelihood is that of maximum likelihood, the priors are what they say."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from panel_example import RATERS, panel_values, sessions_of
from scipy import stats

from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel
from alliance_outcome.models.panel_coordinates import CovarianceBlock, covariance_of
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_density import log_likelihood, packed
from alliance_outcome.models.panel_kernels import evaluate_structure
from alliance_outcome.models.panel_likelihood import evaluate
from alliance_outcome.models.panel_posterior import (
    PanelPriors,
    build_model,
    coordinates_of,
    sample_panel,
)

WAVES = 5
AFTER = dict.fromkeys(RATERS, "after")


def fitted(seed=1, clients=200, *, clusters=None, raters=RATERS, **settings):
    values = panel_values(seed, clients, WAVES, missing=0.1)
    model = CrossLaggedModel(
        sessions_of(values), "severity", raters, WAVES, residuals="invariant", clusters=clusters, **settings
    )
    return model.fit()


@pytest.fixture(scope="module")
def result():
    return fitted(order=AFTER)


@pytest.fixture(scope="module")
def posterior(result):
    return sample_panel(result, chains=2, draws=400, tune=200, seed=3, cores=2)


# -- Likelihood --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"order": AFTER}, {"random_slopes": True}, {"estimate_error": ()}])
def test_the_log_likelihood_is_that_of_maximum_likelihood(settings):
    result = fitted(**settings)
    data, structure = result.rows.data, result.structure
    parameters = result.maximum.parameters
    value, gradient, by_deviations = evaluate_structure(
        parameters, np.zeros((1, data.n_variables)), *packed(structure), *data.arrays
    )
    assert value == pytest.approx(result.llf, rel=1e-10)
    elsewhere = parameters * 1.01
    at = structure.at(elsewhere)
    expected = evaluate(data, at.mean, at.covariance)
    value, gradient, by_deviations = evaluate_structure(
        elsewhere, np.zeros((1, data.n_variables)), *packed(structure), *data.arrays
    )
    assert value == pytest.approx(expected.value, rel=1e-10)
    assert gradient == pytest.approx(
        at.gradient(expected.by_mean[0], expected.by_covariance), rel=1e-8, abs=1e-6
    )
    assert by_deviations == pytest.approx(expected.by_mean, rel=1e-8, abs=1e-6)


def test_known_measurement_error_is_in_the_likelihood():
    result = fitted(reliability={"alliance_client": 0.8})
    value, _, _ = evaluate_structure(
        result.maximum.parameters,
        np.zeros((1, result.rows.data.n_variables)),
        *packed(result.structure),
        *result.rows.data.arrays,
    )
    assert value == pytest.approx(result.llf, rel=1e-10)


def test_derivatives_in_the_graph_are_those_of_differences(result):
    data = PanelData.of(result.rows.values, np.arange(len(result.rows.values)) % 3)
    given, moved = pt.dvector(), pt.dmatrix()
    value = log_likelihood(given, moved, result.structure, data)
    graph = pytensor.function([given, moved], [value, *pt.grad(value, [given, moved])], mode="FAST_COMPILE")
    random = np.random.default_rng(2)
    parameters = result.maximum.parameters * 1.02
    deviations = 0.1 * random.normal(size=(3, data.n_variables))
    _, by_parameters, by_deviations = graph(parameters, deviations)
    direction = random.normal(size=len(parameters)) * np.abs(parameters)
    shift = random.normal(size=deviations.shape)
    step = 1e-6
    above = graph(parameters + step * direction, deviations + step * shift)[0]
    below = graph(parameters - step * direction, deviations - step * shift)[0]
    expected = by_parameters @ direction + (by_deviations * shift).sum()
    assert (above - below) / (2 * step) == pytest.approx(expected, rel=1e-5)


def test_values_that_are_no_covariances_have_no_likelihood(result):
    parameters = dict(zip(result.structure.labels, result.maximum.parameters, strict=True))
    parameters["var(residual severity)"] = -50.0
    value, _, _ = evaluate_structure(
        np.array(list(parameters.values())),
        np.zeros((1, result.rows.data.n_variables)),
        *packed(result.structure),
        *result.rows.data.arrays,
    )
    assert value == -np.inf


# -- Coordinates and priors --------------------------------------------------------------------------------------------


def test_coordinates_lead_back_to_the_parameters(result):
    coordinates = coordinates_of(result, PanelPriors())
    values = result.params.to_dict()
    given = pt.dvector()
    parameters, _ = coordinates.parameters(given)
    again = pytensor.function([given], parameters, mode="FAST_COMPILE")(coordinates.near(values))
    assert again == pytest.approx(result.maximum.parameters, rel=1e-6, abs=1e-9)


def test_every_parameter_has_one_prior(result):
    coordinates = coordinates_of(result, PanelPriors())
    labels = [*coordinates.normal, *(label for block in coordinates.blocks for label in block.flat)]
    assert sorted(labels) == sorted(result.structure.labels)
    # Ratings are taken after severity: its residual has no covariance with theirs.
    assert {block.size for block in coordinates.blocks} == {1, 2, 3}


def test_correlations_have_the_lkj_prior_and_standard_deviations_half_normal_ones():
    # By their coordinates: draw from the density of one 3 × 3 matrix by importance, and look at moments that are known.
    block = CovarianceBlock((("a",), ("b", "c"), ("d", "e", "f")), (1.0, 2.0, 3.0))
    given = pt.dmatrix()
    graph = pytensor.function([given], covariance_of([block], given, 2.0), mode="FAST_COMPILE")
    random = np.random.default_rng(4)
    proposals = np.column_stack([random.standard_t(8, (20_000, 3)), 0.9 * random.standard_t(8, (20_000, 3))])
    log_proposal = stats.t(8).logpdf(proposals[:, :3]).sum(1) + stats.t(8, scale=0.9).logpdf(
        proposals[:, 3:]
    ).sum(1)
    pieces = [graph(row[None]) for row in proposals]
    density = np.array([float(piece[1]) for piece in pieces])
    weights = np.exp(density - log_proposal - (density - log_proposal).max())
    weights /= weights.sum()
    triangle = np.array([piece[0][0] for piece in pieces])
    variances = triangle[:, [0, 2, 5]]
    assert weights @ variances == pytest.approx([1.0, 4.0, 9.0], rel=0.06)
    pairs = ((1, 0, 1), (3, 0, 2), (4, 1, 2))
    correlations = np.column_stack(
        [triangle[:, k] / np.sqrt(variances[:, a] * variances[:, b]) for k, a, b in pairs]
    )
    # LKJ(2) of three variables: each correlation is Beta(2.5, 2.5) on (-1, 1), whose variance is 1/6.
    assert weights @ correlations**2 == pytest.approx([1 / 6] * 3, rel=0.06)


def test_a_singular_matrix_has_coordinates_too():
    block = CovarianceBlock((("a",), ("b", "c")), (1.0, 1.0))
    found = block.coordinates({"a": 0.0, "b": 0.0, "c": 1.0})
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(0.1)


# -- Posterior ---------------------------------------------------------------------------------------------------------


def test_with_weak_priors_it_is_near_maximum_likelihood(result, posterior):
    summary = posterior.summary()
    assert summary["r_hat"].max() < 1.03
    for label in ("severity ~ alliance_client[-1]", "severity ~ severity[-1]", "alliance_client ~ severity"):
        own = summary.loc[label]
        error = result.cov_params("observed").loc[label, label] ** 0.5
        assert own["estimate"] == pytest.approx(result.params[label], abs=0.35 * error)
        assert own["std_error"] == pytest.approx(error, rel=0.2)
    difference = result.difference_sd_uncertain("client", "therapist", kind="observed")
    assert summary.loc["client − therapist", "estimate"] == pytest.approx(
        difference.estimate, abs=0.35 * difference.std_error
    )


def test_d_is_computed_draw_by_draw(posterior):
    spread = posterior.within_sd["alliance_client"]
    assert posterior.effect("client") == pytest.approx(
        posterior.draws("severity ~ alliance_client[-1]") * spread
    )
    assert posterior.difference("client", "therapist") == pytest.approx(
        posterior.effect("client") - posterior.effect("therapist")
    )


def test_checks_cover_parameters_and_d(posterior):
    names = {check["name"] for check in posterior.checks()}
    assert {"r_hat", "ess_bulk", "divergences"} <= names


def test_therapists_expected_values_are_found():
    values = panel_values(6, 300, WAVES)
    own = np.random.default_rng(8).normal(size=(30, 3)) * [1.0, 0.5, 0.0]
    values += own[np.arange(300) % 30][:, None]
    sessions = sessions_of(values, therapists=30)
    model = CrossLaggedModel(
        sessions,
        "severity",
        {"client": "alliance_client"},
        WAVES,
        residuals="invariant",
        clusters="therapist",
    )
    found = sample_panel(model.fit(), chains=2, draws=300, tune=200, seed=3, cores=2)
    spread = found.therapist_sd.mean(axis=(0, 1))
    assert spread[0] == pytest.approx(1.0, abs=0.35)
    assert spread[1] == pytest.approx(0.5, abs=0.25)


def test_models_without_therapists_have_none(result):
    model, _ = build_model(result, coordinates_of(result, PanelPriors()), None)
    assert {each.name for each in model.free_RVs} == {"whitened__"}


def test_the_dynamic_model_is_refused():
    result = DynamicPanelModel(sessions_of(panel_values(1, 150, WAVES)), "severity", RATERS, WAVES).fit()
    with pytest.raises(ValueError, match="only cross-lagged models"):
        sample_panel(result, seed=1)
