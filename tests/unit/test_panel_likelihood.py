"""The likelihood of panels: against dense algebra, its derivatives, and what does not depend on how data are put."""

import numpy as np
import pytest
from panel_example import NAMES, panel_values
from scipy import stats

from alliance_outcome.models.panel_cross_lagged import CrossLagged, cross_lagged_structure
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_dynamic import Dynamic, dynamic_structure
from alliance_outcome.models.panel_fit import (
    client_scores,
    independent,
    maximise,
    observed_information_of,
    saturated,
)
from alliance_outcome.models.panel_layout import PanelVariable, spread
from alliance_outcome.models.panel_likelihood import (
    NotPositiveDefinite,
    TriangleIndex,
    evaluate,
    expected_information,
    observed_information,
)

P = 7


def moments(seed=0):
    rng = np.random.default_rng(seed)
    factor = 0.4 * rng.normal(size=(P, P)) + np.eye(P)
    return rng.normal(size=P), factor @ factor.T


def values(seed=1, clients=80, missing=0.25, complete=20):
    rng = np.random.default_rng(seed)
    mean, covariance = moments()
    found = rng.multivariate_normal(mean, covariance, size=clients)
    gone = rng.uniform(size=found.shape) < missing
    gone[:complete] = False
    # Of some clients nearly everything is missing.
    gone[-5:, 1:] = True
    gone[-5:, 0] = False
    found[gone] = np.nan
    return found[~np.isnan(found).all(axis=1)]


def dense(table, mean, covariance):
    """Sum the normal densities of what was observed of each client."""
    return sum(
        stats.multivariate_normal.logpdf(row[known], mean[known], covariance[np.ix_(known, known)])
        for row in table
        for known in [~np.isnan(row)]
    )


@pytest.fixture(scope="module")
def elsewhere():
    """Moments at which the likelihood is not at its maximum."""
    mean, covariance = moments()
    return mean + 0.1, covariance + 0.2 * np.eye(P)


@pytest.mark.parametrize("missing", [0.0, 0.25, 0.7])
def test_the_likelihood_is_the_product_of_the_observed_densities(elsewhere, missing):
    table = values(missing=missing)
    found = evaluate(PanelData.of(table), *elsewhere)
    assert found.value == pytest.approx(dense(table, *elsewhere), rel=1e-12)


def test_clients_of_one_pattern_share_its_rows(elsewhere):
    table = values(clients=500, missing=0.0, complete=500)
    data = PanelData.of(table)
    assert len(data.counts) == 2
    assert len(data.rows) <= 2 * (P + 1)
    assert evaluate(data, *elsewhere).value == pytest.approx(dense(table, *elsewhere), rel=1e-12)


def test_groups_have_expected_values_of_their_own(elsewhere):
    table = values()
    groups = np.arange(len(table)) % 3
    means = np.stack([elsewhere[0], elsewhere[0] + 0.3, elsewhere[0] - 0.2])
    found = evaluate(PanelData.of(table, groups), means, elsewhere[1])
    expected = sum(dense(table[groups == group], means[group], elsewhere[1]) for group in range(3))
    assert found.value == pytest.approx(expected, rel=1e-12)
    step = 1e-5
    for group, variable in ((0, 0), (1, 3), (2, 6)):
        above, below = means.copy(), means.copy()
        above[group, variable] += step
        below[group, variable] -= step
        data = PanelData.of(table, groups)
        slope = evaluate(data, above, elsewhere[1]).value - evaluate(data, below, elsewhere[1]).value
        assert found.by_mean[group, variable] == pytest.approx(slope / (2 * step), rel=1e-5)


def test_the_order_of_clients_does_not_matter(elsewhere):
    table = values()
    shuffled = np.random.default_rng(3).permutation(table)
    one, other = (evaluate(PanelData.of(each), *elsewhere) for each in (table, shuffled))
    assert one.value == pytest.approx(other.value, rel=1e-13)
    assert np.allclose(one.by_covariance, other.by_covariance, rtol=1e-10, atol=1e-10)


def test_first_derivatives_are_differences(elsewhere):
    data = PanelData.of(values())
    mean, covariance = elsewhere
    found, step = evaluate(data, mean, covariance), 1e-5
    for variable in range(P):
        shift = step * np.eye(P)[variable]
        slope = (
            evaluate(data, mean + shift, covariance).value - evaluate(data, mean - shift, covariance).value
        )
        assert found.by_mean[0, variable] == pytest.approx(slope / (2 * step), rel=1e-5, abs=1e-5)
    for i, j in ((0, 0), (4, 1), (6, 6), (6, 2)):
        shift = np.zeros((P, P))
        shift[i, j] = shift[j, i] = step
        slope = (
            evaluate(data, mean, covariance + shift).value - evaluate(data, mean, covariance - shift).value
        )
        often = 1.0 if i == j else 2.0
        assert often * found.by_covariance[i, j] == pytest.approx(slope / (2 * step), rel=1e-5, abs=1e-5)


def test_second_derivatives_are_differences(elsewhere):
    data, index = PanelData.of(values()), TriangleIndex(P)
    mean, covariance = elsewhere
    information, step = observed_information(data, evaluate(data, mean, covariance)), 1e-5

    def gradient(shifted_mean, shifted_covariance):
        found = evaluate(data, shifted_mean, shifted_covariance)
        triangle = index.take(found.by_covariance) * index.twice_off_diagonal()
        return np.concatenate([found.by_mean[0], triangle])

    whole = np.block([[information.mean, information.mixed], [information.mixed.T, information.covariance]])
    assert np.allclose(whole, whole.T, rtol=1e-12, atol=1e-10)
    for variable in (0, 5):
        shift = step * np.eye(P)[variable]
        slope = gradient(mean + shift, covariance) - gradient(mean - shift, covariance)
        assert np.allclose(-slope / (2 * step), whole[variable], rtol=1e-5, atol=1e-4)
    for number in (0, 4, 20, len(index.rows) - 1):
        shift = step * index.symmetric(np.eye(len(index.rows))[number])
        slope = gradient(mean, covariance + shift) - gradient(mean, covariance - shift)
        assert np.allclose(-slope / (2 * step), whole[P + number], rtol=1e-5, atol=1e-4)


def test_expected_information_is_the_mean_of_the_observed_one():
    mean, covariance = moments()
    rng = np.random.default_rng(9)
    whole, repetitions = 0.0, 400
    pattern = np.isnan(values(clients=12, complete=4))
    for _ in range(repetitions):
        table = rng.multivariate_normal(mean, covariance, size=len(pattern))
        table[pattern] = np.nan
        data = PanelData.of(table)
        whole = whole + observed_information(data, evaluate(data, mean, covariance)).covariance / repetitions
    data = PanelData.of(table)
    expected = expected_information(data, evaluate(data, mean, covariance).precision)
    scale = np.sqrt(np.outer(np.diag(expected.covariance), np.diag(expected.covariance)))
    assert np.abs((whole - expected.covariance) / scale).max() < 0.25
    assert not expected.mixed.any()


@pytest.mark.parametrize("covariance", [-np.eye(P), np.ones((P, P)), np.full((P, P), np.nan)])
def test_what_is_no_covariance_matrix_is_refused(covariance):
    with pytest.raises(NotPositiveDefinite):
        evaluate(PanelData.of(values()), np.zeros(P), covariance)


def test_clients_of_whom_nothing_is_known_are_refused():
    with pytest.raises(ValueError, match="leave them out"):
        PanelData.of(np.array([[1.0, np.nan], [np.nan, np.nan]]))


# -- Saturated and independence models ---------------------------------------------------------------------------------


def test_the_saturated_model_of_complete_data_has_the_sample_moments():
    table = np.random.default_rng(4).normal(size=(60, 5)) @ np.triu(np.ones((5, 5)))
    found = saturated(PanelData.of(table))
    assert np.allclose(found.mean, table.mean(axis=0), rtol=1e-10)
    assert np.allclose(found.covariance, np.cov(table.T, bias=True), rtol=1e-9)


def test_the_saturated_model_is_at_a_maximum_where_values_are_missing():
    data = PanelData.of(values(clients=300, missing=0.3))
    found = saturated(data)
    assert found.converged
    at = evaluate(data, found.mean, found.covariance)
    assert np.abs(at.by_mean).max() < 1e-3
    assert np.abs(at.by_covariance).max() < 1e-3
    assert found.value > evaluate(data, *moments()).value


def test_independent_variables_have_the_product_of_their_own_likelihoods():
    table = values()
    own = 0.0
    for column in table.T:
        known = column[~np.isnan(column)]
        own += stats.norm.logpdf(known, known.mean(), known.std()).sum()
    assert independent(PanelData.of(table)) == pytest.approx(own, rel=1e-12)


# -- Structures --------------------------------------------------------------------------------------------------------

VARIABLES = (
    PanelVariable("severity"),
    PanelVariable("alliance_client", order="after"),
    PanelVariable("alliance_therapist"),
)


def structures():
    """Yield structures of every kind, with the columns of the panel that they are of."""
    table = panel_values(5, 150, 5, missing=0.15)
    start = spread(table)
    flat = table.reshape(len(table), -1)
    cross = CrossLagged(VARIABLES, 5, True, 2, False, True, {"severity": None, "alliance_client": 0.1})
    yield "cross-lagged", cross_lagged_structure(cross, *start), flat
    dynamic = Dynamic(VARIABLES, 5, True)
    columns = [wave * 3 + number for wave, number in dynamic.observed]
    yield "dynamic", dynamic_structure(dynamic, *start), flat[:, columns]


@pytest.mark.parametrize(
    ("structure", "table"), [x[1:] for x in structures()], ids=[x[0] for x in structures()]
)
def test_derivatives_by_parameters_are_differences(structure, table):
    data = PanelData.of(table[~np.isnan(table).all(axis=1)])
    rng = np.random.default_rng(6)
    parameters = structure.start + 0.02 * rng.normal(size=structure.n_parameters)

    def gradient(at):
        found = structure.at(at)
        value = evaluate(data, found.mean, found.covariance)
        return value.value, found.gradient(value.by_mean[0], value.by_covariance)

    _, exact = gradient(parameters)
    at = structure.at(parameters)
    maximum = type("At", (), {})()
    maximum.structure, maximum.parameters, maximum.at = structure, parameters, at
    maximum.evaluation = evaluate(data, at.mean, at.covariance)
    information = observed_information_of(data, maximum)
    step = 1e-5
    for number in rng.choice(structure.n_parameters, size=25, replace=False):
        shift = step * np.eye(structure.n_parameters)[number]
        (above, by_above), (below, by_below) = gradient(parameters + shift), gradient(parameters - shift)
        assert exact[number] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-3)
        curved = -(by_above - by_below) / (2 * step)
        assert np.allclose(
            curved, information[number], rtol=1e-4, atol=1e-3 * np.abs(information).max() ** 0.5
        )


def test_scores_of_clients_add_up_to_nothing_at_the_maximum():
    table = panel_values(7, 120, 4, missing=0.2).reshape(120, -1)
    table = table[~np.isnan(table).all(axis=1)]
    model = CrossLagged(VARIABLES, 4, False, 1, True, True, {})
    structure = cross_lagged_structure(model, *spread(table.reshape(len(table), 4, 3)))
    maximum = maximise(PanelData.of(table), structure)
    assert maximum.converged
    scores = client_scores(table, maximum)
    errors = np.sqrt((scores**2).sum(axis=0))
    assert np.abs(scores.sum(axis=0) / errors).max() < 1e-5


def test_equal_labels_are_one_parameter_and_fixed_ones_none():
    model = CrossLagged(VARIABLES, 4, False, 1, False, False, {})
    structure = cross_lagged_structure(model, np.zeros((4, 3)), np.ones(3))
    names = [f"severity ~ alliance_client[-1] in {wave}" for wave in (2, 3, 4)]
    equal = structure.with_equal(names)
    assert equal.n_parameters == structure.n_parameters - 2
    fixed = equal.with_fixed({names[0]: -0.3})
    assert fixed.n_parameters == equal.n_parameters - 1
    places = [(model.within(wave, 0), model.within(wave - 1, 1)) for wave in (1, 2, 3)]
    assert [fixed.matrices(fixed.start)["path"][place] for place in places] == [-0.3] * 3
    with pytest.raises(ValueError, match="no parameters nothing"):
        structure.with_fixed({"nothing": 1.0})
    assert set(NAMES) == set(model.names)
