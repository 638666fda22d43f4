"""Two-level factor models: planted values are found, order of rows means nothing, what is improper is said."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.item_covariances import ItemRows, fit_items
from alliance_outcome.models.item_factors import (
    difference,
    estimated,
    explained_common_variance,
    factor_correlations,
    faults,
    fit_factors,
    fit_indices,
    free_matrices,
    grouped,
    omega_hierarchical,
    standardised_loadings,
)
from alliance_outcome.models.item_structures import (
    Saturated,
    bifactor,
    correlated_factors,
    one_factor,
    paired_factors,
    uncorrelated,
)

GROUPS = [0, 0, 0, 1, 1, 1]
LOADINGS = np.array([0.8, 0.7, 0.6, 0.9, 0.6, 0.7])
#: Correlations of the two factors within and between clients.
PLANTED = 0.6, 0.3
STRUCTURES = {
    "saturated": Saturated(6),
    "uncorrelated": uncorrelated(6),
    "one_factor": one_factor(6),
    "correlated_factors": correlated_factors([0, 0, 1, 1, 2, 2]),
    "bifactor": bifactor(GROUPS),
    "paired": paired_factors(np.ones(6), equal=False),
    "paired_equal": paired_factors(np.array([1.0, 2.0, 0.5, 1.0, 1.5, 3.0]), equal=True),
}


def simulate(seed, clients=150, sessions=6, planted=PLANTED, missing=0.0, unique_between=0.3):
    """Simulate six items of two factors at each level."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), sessions)

    def level(rows, correlation, unique):
        first = rng.normal(size=rows)
        second = correlation * first + np.sqrt(1.0 - correlation**2) * rng.normal(size=rows)
        factors = np.column_stack([first, second])[:, GROUPS]
        return factors * LOADINGS + unique * rng.normal(size=factors.shape)

    values = level(clients, planted[1], unique_between)[client] + level(len(client), planted[0], 0.6)
    values[rng.uniform(size=values.shape) < missing] = np.nan
    return pd.DataFrame(values, columns=[f"item{k}" for k in range(6)]), client


def fitted(table, client, structure):
    """Return rows, free matrices and a factor model."""
    rows = ItemRows.of(table, client)
    saturated = free_matrices(rows)
    return rows, saturated, fit_factors(rows, saturated, structure)


def correlations(fit):
    """Return the correlation of the first two factors within and between."""
    found = estimated(fit, lambda own: factor_correlations(fit, own)[:, 0, 1], "correlation")
    return dict(zip(("within", "between"), found, strict=True))


# -- Structures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_derivatives_are_those_of_the_matrix(structure):
    rng = np.random.default_rng(1)
    own = rng.normal(size=structure.size)
    matrix, pull = structure.matrix(own)
    by = rng.normal(size=matrix.shape)
    by += by.T
    assert np.linalg.eigvalsh(matrix)[0] > -1e-12
    for step, slope in zip(1e-6 * np.eye(structure.size), pull(by), strict=True):
        change = structure.matrix(own + step)[0] - structure.matrix(own - step)[0]
        assert slope == pytest.approx(np.sum(by * change) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("seed", range(5))
def test_signs_change_no_matrix_and_are_chosen_once(structure, seed):
    own = np.random.default_rng(seed).normal(scale=1.5, size=structure.size)
    signed = structure.signed(own)
    assert structure.matrix(signed)[0] == pytest.approx(structure.matrix(own)[0], abs=1e-12)
    assert structure.signed(signed) == pytest.approx(signed, abs=1e-12)
    loadings = structure.loadings(signed)
    if loadings is not None:
        # A factor whose loadings are another's but for its variance has their sign.
        follows = list(structure.scaled)
        assert (np.delete(loadings.sum(axis=0), follows) >= 0.0).all()
        assert (signed[structure.roots] >= 0.0).all()


def test_equal_loadings_are_equal_in_the_items_units():
    scale = np.array([1.0, 2.0, 0.5, 1.0, 1.5, 3.0])
    structure = paired_factors(scale, equal=True)
    own = structure.start(0.6)
    own[-1] = 1.7
    loadings = structure.loadings(own) * scale[:, None]
    assert loadings[3:, 1] == pytest.approx(1.7 * loadings[:3, 0])


def test_groups_have_to_part_the_items():
    assert grouped([["a", "b"], ["c"]], ["a", "c", "b"]) == [0, 1, 0]
    for groups in ([["a", "b"], ["b"]], [["a"], ["c"]]):
        with pytest.raises(UnfittableModel, match="belong to one subscale"):
            grouped(groups, ["a", "b"])


# -- Estimates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unique_between", [0.0, 0.3])
def test_planted_correlations_are_found_and_intervals_hold_them(unique_between):
    """Also where items have nothing of their own between clients: bounds for them cost correlations nothing."""
    n, held, values = 35, {"within": 0, "between": 0}, []
    for seed in range(n):
        data = simulate(seed, missing=0.1, unique_between=unique_between)
        *_, fit = fitted(*data, correlated_factors(GROUPS))
        assert {fault.kind for fault in faults(fit)} <= {"unique"}
        found = correlations(fit)
        values.append([each.estimate for each in found.values()])
        for (name, each), truth in zip(found.items(), PLANTED, strict=True):
            held[name] += each.low <= truth <= each.high
    error = np.std(values, axis=0, ddof=1) / np.sqrt(n)
    # Four Monte Carlo standard errors.
    assert np.mean(values, axis=0) == pytest.approx(np.array(PLANTED), abs=4.0 * error.max())
    # Four standard deviations of a count of intervals that hold the truth as often as they say.
    assert min(held.values()) >= 0.95 * n - 4.0 * np.sqrt(n * 0.95 * 0.05)


def test_planted_loadings_are_found():
    *_, fit = fitted(*simulate(1, clients=1_500), correlated_factors(GROUPS))
    found = standardised_loadings(fit)[:, np.arange(6), GROUPS]
    for own, unique in zip(found, (0.6, 0.3), strict=True):
        assert own == pytest.approx(LOADINGS / np.hypot(LOADINGS, unique), abs=0.03)


def test_order_of_rows_and_of_items_and_labels_change_nothing():
    table, client = simulate(3, missing=0.1)
    order = np.random.default_rng(1).permutation(len(table))
    structure = correlated_factors(GROUPS)
    *_, one = fitted(table, client, structure)
    *_, other = fitted(table.iloc[order], [f"c{(7 * each) % 1009}" for each in client[order]], structure)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-7)
    error = {name: each.std_error for name, each in correlations(one).items()}
    for name, each in correlations(other).items():
        assert each.estimate == pytest.approx(correlations(one)[name].estimate, abs=1e-6 * error[name])
        assert each.std_error == pytest.approx(error[name], rel=1e-5)
    *_, turned = fitted(table.iloc[:, ::-1], client, structure)
    assert turned.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-7)


def test_chi_square_does_not_depend_on_the_order_of_rows_where_free_matrices_are_singular():
    table, client = simulate(9, unique_between=0.0)
    order = np.random.default_rng(2).permutation(len(table))
    tests = []
    for data in ((table, client), (table.iloc[order], client[order])):
        _, saturated, fit = fitted(*data, correlated_factors(GROUPS))
        tests.append(difference(fit, saturated).chi_square)
    assert tests[0] == pytest.approx(tests[1], abs=1e-3)


def test_units_and_directions_of_items_change_only_signs():
    table, client = simulate(4)
    *_, one = fitted(table, client, correlated_factors(GROUPS))
    # All items of the second factor the other way round, and in other units.
    other_table = table.assign(**{f"item{k}": 5.0 - 3.0 * table[f"item{k}"] for k in (3, 4, 5)})
    *_, other = fitted(other_table, client, correlated_factors(GROUPS))
    assert standardised_loadings(other).sum(axis=1).min() > 0.0
    assert standardised_loadings(other) == pytest.approx(standardised_loadings(one), abs=1e-6)
    assert factor_correlations(other)[:, 0, 1] == pytest.approx(-factor_correlations(one)[:, 0, 1], abs=1e-6)


def test_fit_is_good_where_the_model_holds_and_bad_where_it_does_not():
    rows, saturated, fit = fitted(*simulate(5), correlated_factors(GROUPS))
    baseline = fit_items(rows, "uncorrelated", "uncorrelated")
    narrow = fit_factors(rows, saturated, one_factor(6))
    good, bad = (fit_indices(each, saturated, baseline) for each in (fit, narrow))
    assert (good.df, bad.df) == (16, 18)
    assert good.p_value > 0.01
    assert bad.p_value < 1e-6
    assert good.cfi > 0.99 > bad.cfi
    assert good.srmr_within < bad.srmr_within
    assert good.bic < bad.bic
    test = difference(narrow, fit)
    assert test.df == 2
    assert test.p_value == pytest.approx(stats.chi2.sf(bad.chi_square - good.chi_square, 2))
    with pytest.raises(UnavailableInference, match="ended below"):
        difference(fit, narrow)


def test_three_items_of_one_factor_leave_nothing_to_test():
    table, client = simulate(6)
    rows, saturated, fit = fitted(table.iloc[:, :3], client, one_factor(3))
    found = fit_indices(fit, saturated, fit_items(rows, "uncorrelated", "uncorrelated"))
    assert found.df == 0
    assert np.isnan(found.p_value)
    assert np.isnan(found.rmsea)
    assert found.chi_square == pytest.approx(0.0, abs=1e-4)


def general_and_groups(seed, clients=800, sessions=4):
    """Simulate nine items of a general factor and three of groups, alike at both levels."""
    rng = np.random.default_rng(seed)
    client, groups = np.repeat(np.arange(clients), sessions), np.repeat([0, 1, 2], 3)

    def level(rows):
        common = 0.7 * rng.normal(size=(rows, 1)) + 0.5 * rng.normal(size=(rows, 3))[:, groups]
        return common + 0.5 * rng.normal(size=(rows, 9))

    return pd.DataFrame(level(clients)[client] + level(len(client))), client, groups


def test_general_factor_is_weighed_as_planted():
    table, client, groups = general_and_groups(1)
    *_, fit = fitted(table, client, bifactor(groups))
    assert faults(fit) == ()
    general, group, unique = 9 * 0.49, 9 * 0.25, 9 * 0.25
    assert explained_common_variance(fit) == pytest.approx(np.full(2, general / (general + group)), abs=0.04)
    # Variance of the sum of items at one level: loadings add up within factors.
    total = 81 * 0.49 + 3 * 9 * 0.25 + unique
    expected = np.array([81 * 0.49 / total, 81 * 0.49 / (total + total / 4)])
    assert omega_hierarchical(fit) == pytest.approx(expected, abs=0.04)
    for each in estimated(fit, lambda own: explained_common_variance(fit, own), "share"):
        assert 0.0 < each.low < each.estimate < each.high < 1.0


@pytest.mark.parametrize(("lower", "differs"), [(1.0, False), (0.5, True)])
def test_loadings_of_raters_are_compared(lower, differs):
    rng = np.random.default_rng(3)
    client = np.repeat(np.arange(250), 6)

    def level(rows):
        factor = rng.normal(size=rows)
        other = 0.5 * factor + rng.normal(size=rows)
        unique = 0.3 * rng.normal(size=(rows, 3))
        one = np.outer(factor, [0.8, 0.7, 0.9]) + unique
        two = np.outer(other, np.array([0.8, 0.7 * lower, 0.9])) + unique
        return np.hstack([one, two]) + 0.4 * rng.normal(size=(rows, 6))

    table = pd.DataFrame(level(250)[client] + level(len(client)))
    rows = ItemRows.of(table, client)
    saturated = fit_items(rows, "saturated", "saturated")
    free, equal = (
        fit_factors(rows, saturated, paired_factors(rows.scale, equal=each)) for each in (False, True)
    )
    assert faults(free) == faults(equal) == ()
    test = difference(equal, free)
    assert test.df == 4
    assert (test.p_value < 1e-4) == differs
    assert factor_correlations(free)[:, 0, 1] == pytest.approx(np.full(2, 0.5 / np.hypot(0.5, 1.0)), abs=0.12)


# -- What is improper --------------------------------------------------------------------------------------------------


def test_factors_that_are_one_are_found_out():
    found = []
    for seed in range(4):
        *_, fit = fitted(*simulate(seed, planted=(1.0, 0.3)), correlated_factors(GROUPS))
        found += [fault.level for fault in faults(fit) if fault.kind == "correlation"]
        assert np.abs(factor_correlations(fit)).max() <= 1.0
    # Estimates of a correlation of 1 would be above 1 in about half of samples.
    assert set(found) == {"within"}


def test_items_without_anything_of_their_own_are_found_out():
    *_, fit = fitted(*simulate(2, unique_between=0.0), correlated_factors(GROUPS))
    assert {(fault.kind, fault.level) for fault in faults(fit)} == {("unique", "between")}
    assert "items is estimated as zero" in faults(fit)[0].reason
    # What does not touch the bound keeps its standard error.
    assert correlations(fit)["within"].std_error > 0.0


def test_what_data_do_not_determine_is_found_out():
    # A general factor of two groups: what correlates groups may be in the general factor's loadings on either.
    *_, fit = fitted(*simulate(8, clients=300), bifactor(GROUPS))
    assert {fault.kind for fault in faults(fit)} & {"search", "undetermined"}


def test_more_parameters_than_covariances_are_refused():
    table, client = simulate(1)
    rows = ItemRows.of(table.iloc[:, [0, 1, 3, 4]], client)
    saturated = fit_items(rows, "saturated", "saturated")
    with pytest.raises(UnfittableModel, match="more parameters than items have covariances"):
        fit_factors(rows, saturated, bifactor([0, 0, 1, 1]))
