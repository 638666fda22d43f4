"""The joint likelihood of several variables, some missing: against a multivariate normal density over all values."""

import multivariate_example as example
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import NullTypeGradError

from alliance_outcome.models import multivariate_kernels as kernels
from alliance_outcome.models.multivariate_cells import sorted_cells
from alliance_outcome.models.multivariate_likelihood import nested_gaussian_log_likelihood

KINDS = ["full", "no cluster", "no unit", "rows only", "singular"]
#: Without a compiler of C code PyTensor's interpreter says that it has no BLAS; a handful of numbers do not need one.
no_blas = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS installation")


def prepared(rows):
    return sorted_cells(rows.predictors, rows.values, rows.unit, rows.cluster)


def shuffled(rows, seed):
    """Put rows in another order and give units and clusters other codes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows.values))
    units, clusters = rng.permutation(rows.unit.max() + 1), rng.permutation(rows.cluster.max() + 1)
    return example.DenseRows(
        rows.predictors[order], rows.values[order], units[rows.unit[order]], clusters[rows.cluster[order]]
    )


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihood_is_the_density_of_all_values(d, kind):
    rows, point = example.dense_rows(d, d), example.parameters(d, d, kind)
    found = kernels.evaluate(*point, prepared(rows).cells)[0]
    assert found == pytest.approx(rows.log_density(*point), rel=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_closed_form_over_all_values(d, kind):
    rows, point = example.dense_rows(d, d), example.parameters(d, d, kind)
    found = kernels.evaluate(*point, prepared(rows).cells)[1:]
    for matrix, expected in zip(found, rows.gradient(*point), strict=True):
        assert matrix == pytest.approx(expected, rel=1e-10, abs=1e-10 * np.abs(expected).max())


def directions(point):
    """Changes of parameters: every coefficient, and symmetric changes that keep covariance matrices such."""
    rng = np.random.default_rng(5)
    for position, matrix in enumerate(point):
        for index in np.ndindex(matrix.shape):
            change = [np.zeros_like(each) for each in point]
            if position == 0:
                change[0][index] = 1.0
            else:
                vector = rng.normal(size=len(matrix))
                change[position] = np.outer(vector, vector)
            yield position, change


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_slope_of_the_density_of_all_values(d, kind):
    rows, point = example.dense_rows(d, d), example.parameters(d, d, kind)
    gradient = kernels.evaluate(*point, prepared(rows).cells)[1:]
    step = 1e-5

    def density(change, length):
        moved = (each + length * by for each, by in zip(point, change, strict=True))
        return rows.log_density(*moved)

    for position, change in directions(point):
        expected = sum(np.sum(each * by) for each, by in zip(gradient, change, strict=True))
        if position < 2 or kind == "full":
            numeric = (density(change, step) - density(change, -step)) / (2.0 * step)
        else:
            # On the boundary only one side is a covariance matrix: a difference of second order from there.
            ahead = density(change, step), density(change, 2.0 * step)
            numeric = (4.0 * ahead[0] - ahead[1] - 3.0 * density(change, 0.0)) / (2.0 * step)
        assert expected == pytest.approx(numeric, rel=1e-6, abs=5e-5)


def test_gradients_by_covariance_matrices_are_symmetric():
    rows, point = example.dense_rows(3, 3), example.parameters(3, 3)
    for matrix in kernels.evaluate(*point, prepared(rows).cells)[2:]:
        assert matrix == pytest.approx(matrix.T, rel=1e-10)


def test_order_of_rows_and_labels_does_not_matter():
    rows, point = example.dense_rows(8, 3), example.parameters(8, 3)
    found = kernels.evaluate(*point, prepared(rows).cells)
    again = kernels.evaluate(*point, prepared(shuffled(rows, 1)).cells)
    for left, right in zip(found, again, strict=True):
        assert right == pytest.approx(left, rel=1e-10, abs=1e-10)


def test_a_row_without_values_says_nothing():
    rows, point = example.dense_rows(4, 2), example.parameters(4, 2)
    without = rows.rows_of(~np.isnan(rows.values).all(axis=1))
    assert len(without.values) < len(rows.values)
    found = kernels.evaluate(*point, prepared(rows).cells)
    again = kernels.evaluate(*point, prepared(without).cells)
    for left, right in zip(found, again, strict=True):
        assert right == pytest.approx(left, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("position", [1, 2, 3])
def test_what_is_no_covariance_matrix_has_no_likelihood(position):
    rows, point = example.dense_rows(3, 3), list(example.parameters(3, 3))
    point[position] = point[position] - 1.01 * np.linalg.eigvalsh(point[position])[0] * np.eye(3)
    found = kernels.evaluate(*point, prepared(rows).cells)
    assert found[0] == -np.inf
    assert not any(each.any() for each in found[1:])
    cells = prepared(rows)
    assert np.isnan(kernels.group_log_likelihoods(*point, cells.cells, cells.cell_grams)[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_groups_have_their_own_densities(kind):
    rows, point = shuffled(example.dense_rows(6, 3), 2), example.parameters(6, 3, kind)
    ordered = prepared(rows)
    by_cluster, by_unit = kernels.group_log_likelihoods(*point, ordered.cells, ordered.cell_grams)
    for cluster, found in zip(ordered.clusters, by_cluster, strict=True):
        assert found == pytest.approx(rows.rows_of(rows.cluster == cluster).log_density(*point), rel=1e-10)
    assert by_cluster.sum() == pytest.approx(rows.log_density(*point), rel=1e-10)
    for unit, found in zip(ordered.units, by_unit, strict=True):
        whole = rows.rows_of(rows.cluster == rows.cluster[rows.unit == unit][0])
        rest = whole.rows_of(whole.unit != unit)
        expected = whole.log_density(*point) - rest.log_density(*point)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_drawn_from_their_conditional_distribution(kind):
    d = 3
    rows, point = example.dense_rows(7, d), example.parameters(7, d, kind)
    ordered = prepared(rows)
    n_units, n_clusters = len(ordered.units), len(ordered.clusters)
    size = d * (n_units + n_clusters)

    def drawn(normals):
        normals = normals.reshape(-1, d)
        effects = kernels.draw_effects(*point, ordered.cells, normals[:n_units], normals[n_units:])
        return np.concatenate([each.ravel() for each in effects])

    # Effects are linear in the noise, so that unit vectors of noise give a factor of their covariance matrix.
    mean = drawn(np.zeros(size))
    factor = np.column_stack([drawn(noise) - mean for noise in np.eye(size)])
    expected_mean, expected_covariance = rows.effects(*point)
    assert mean == pytest.approx(expected_mean, rel=1e-9, abs=1e-9)
    assert factor @ factor.T == pytest.approx(expected_covariance, rel=1e-8, abs=1e-9)


def test_cells_hold_counts_sums_and_products_of_their_rows():
    rows = shuffled(example.dense_rows(9, 3), 3)
    ordered, p = prepared(rows), rows.predictors.shape[1]
    cells = ordered.cells
    assert cells.sums[:, 0].sum() == len(rows.values)
    assert cells.grams[:, 0, 0].sum() == len(rows.values)
    everything = np.column_stack([rows.predictors, np.nan_to_num(rows.values)])
    assert cells.grams.sum(axis=0) == pytest.approx(everything.T @ everything)
    assert ordered.cell_grams.sum(axis=0) == pytest.approx(everything.T @ everything)
    for unit, first, stop in zip(ordered.units, cells.unit_starts, cells.unit_starts[1:], strict=False):
        own = everything[rows.unit == unit]
        assert cells.sums[first:stop].sum(axis=0) == pytest.approx(own.sum(axis=0))
        missing = cells.observed[cells.patterns[first:stop]] == 0
        assert not cells.sums[first:stop, p:][missing].any()


def test_packed_data_are_the_data():
    cells = prepared(example.dense_rows(10, 3)).cells
    for packed, original in zip(kernels.unpack(*kernels.pack(cells)), cells, strict=True):
        assert packed.dtype == original.dtype
        assert np.array_equal(packed, original)


@pytest.fixture(scope="module")
def graph():
    """Three times the log-likelihood with its gradient, as variables."""
    inputs = [pt.dmatrix() for _ in range(4)]
    data = pt.dvector(), pt.lvector()
    value = 3.0 * nested_gaussian_log_likelihood(*inputs, *data)[0]
    return [*inputs, *data], [value, *pytensor.grad(value, inputs)]


@no_blas
@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
def test_graph_is_the_kernel_in_either_mode(graph, mode):
    function = pytensor.function(*graph, mode=mode)
    for d in (2, 3):
        rows, point = example.dense_rows(d, d), example.parameters(d, d)
        cells = prepared(rows).cells
        found = function(*point, *kernels.pack(cells))
        for left, right in zip(found, kernels.evaluate(*point, cells), strict=True):
            assert left == pytest.approx(3.0 * right, rel=1e-13)


@no_blas
def test_value_and_gradient_are_one_call(graph):
    function = pytensor.function(*graph, mode="NUMBA")
    operations = [node.op for node in function.maker.fgraph.toposort()]
    assert operations.count(nested_gaussian_log_likelihood) == 1


def test_second_derivatives_are_refused():
    inputs = [pt.dmatrix() for _ in range(4)]
    by_within = nested_gaussian_log_likelihood(*inputs, pt.dvector(), pt.lvector())[2]
    with pytest.raises(NullTypeGradError, match="second derivatives"):
        pytensor.grad(by_within.sum(), inputs[1])
    with pytest.raises(ValueError, match="coefficients, within, unit, cluster"):
        nested_gaussian_log_likelihood(*inputs)
