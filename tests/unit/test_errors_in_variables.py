"""Coefficients of error-prone predictors: held against the algebra, and against planted effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from alliance_outcome.models.errors_in_variables import ErrorColumn, cluster_sums, nested_precision
from alliance_outcome.models.item_errors import error_sums
from alliance_outcome.models.multilevel import MultilevelModel


def identity(n: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.eye_array(n))


def independent(n: int):
    """Rows of a single level: weights of one."""
    return nested_precision(np.arange(n), 0.0, 0.0, 1.0)


def test_without_errors_it_is_generalised_least_squares():
    rng = np.random.default_rng(1)
    client, therapist = np.repeat(np.arange(40), 5), np.repeat(np.arange(8), 25)
    rows = pd.DataFrame({"x": rng.normal(size=200), "client": client, "therapist": therapist})
    rows["y"] = rows["x"] + rng.normal(size=40)[client] + rng.normal(size=8)[therapist] + rng.normal(size=200)
    fit = MultilevelModel.from_formula("y ~ x", rows, groups=["therapist", "client"]).fit()
    variances = [float(fit.random_covariance(level).iloc[0, 0]) for level in ("therapist", "client")]
    table = np.column_stack([np.ones(200), rows["x"], rows["y"]])
    sums = cluster_sums(table, therapist, nested_precision(client, *variances, float(fit.scale)), [])
    found = sums.coefficients(np.zeros((1, 1)), np.ones((1, 8)))[0]
    assert found == pytest.approx(fit.params.to_numpy(), rel=1e-8)


def test_one_level_is_the_textbook_formula():
    """(X'X − nΣ)⁻¹X'y, of Fuller (1987)."""
    rng = np.random.default_rng(2)
    n = 60
    x, y = rng.normal(size=(n, 2)), rng.normal(size=n)
    covariance = np.array([[0.3, 0.1], [0.1, 0.2]])
    errors = [ErrorColumn(place, place, identity(n)) for place in range(2)]
    sums = cluster_sums(np.column_stack([x, y]), np.arange(n) // 6, independent(n), errors)
    found = sums.coefficients(covariance, np.ones((1, 10)))[0]
    assert found == pytest.approx(np.linalg.solve(x.T @ x - n * covariance, x.T @ y), rel=1e-12)


def test_errors_that_the_outcome_shares_are_taken_away_too():
    rng = np.random.default_rng(3)
    n = 50
    x, y = rng.normal(size=n), rng.normal(size=n)
    errors = [ErrorColumn(0, 0, identity(n)), ErrorColumn(1, 1, identity(n))]
    sums = cluster_sums(np.column_stack([x, y]), np.zeros(n, dtype=int), independent(n), errors)
    found = sums.coefficients(np.array([[0.2, 0.1], [0.1, 0.4]]), np.ones((1, 1)))[0, 0]
    assert found == pytest.approx((x @ y - 0.1 * n) / (x @ x - 0.2 * n), rel=1e-12)


def test_samples_of_clusters_equal_the_rows_of_these_clusters():
    rng = np.random.default_rng(4)
    n = 48
    client = np.repeat(np.arange(16), 3)
    cluster = client // 4
    means = sparse.csr_array(np.kron(np.eye(16), np.full((3, 3), 1 / 3)))
    table = rng.normal(size=(n, 3))
    draws = np.array([[2.0, 0.0, 1.0, 1.0]])

    def solved(rows, clients, clusters, spread, draws):
        errors = [ErrorColumn(0, 0, spread), ErrorColumn(1, 0, identity(len(rows)))]
        sums = cluster_sums(rows, clusters, nested_precision(clients, 0.3, 0.5, 1.0), errors)
        return sums.coefficients(np.array([[0.1]]), draws)[0]

    found = solved(table, client, cluster, means, draws)
    places = np.concatenate([np.flatnonzero(cluster == each) for each in (0, 0, 2, 3)])
    again = solved(
        table[places], np.repeat(np.arange(16), 3), np.repeat(np.arange(4), 12), means, np.ones((1, 4))
    )
    assert found == pytest.approx(again, rel=1e-10)


def test_more_error_than_variance_has_no_coefficients():
    x = np.linspace(-1.0, 1.0, 20)
    sums = cluster_sums(
        np.column_stack([x, x]), np.zeros(20, dtype=int), independent(20), [ErrorColumn(0, 0, identity(20))]
    )
    assert np.isnan(sums.coefficients(np.array([[9.0]]), np.ones((1, 1)))).all()


def test_error_variance_is_what_alpha_leaves():
    rng = np.random.default_rng(5)
    client = np.repeat(np.arange(30), 4)
    items = rng.normal(size=(120, 1)) + rng.normal(size=(120, 6)) + rng.normal(size=30)[client][:, None]
    sums = error_sums(items, items, client, client // 10, 3)
    ones = np.ones((1, 3))
    within = pd.DataFrame(items) - pd.DataFrame(items).groupby(client).transform("mean")
    covariance = (within.T @ within).to_numpy() / (120 - 30)
    alpha = 6 / 5 * (1 - np.trace(covariance) / covariance.sum())
    assert sums.variance_of_means(ones)[0] == pytest.approx(covariance.sum() / 36, rel=1e-12)
    assert sums.covariance(ones)[0] == pytest.approx((1 - alpha) * covariance.sum() / 36, rel=1e-10)


def test_shared_errors_of_two_raters_are_recovered():
    """What the same item has in common for both, beyond what different items have."""
    rng = np.random.default_rng(6)
    n, d = 40_000, 8
    client = np.repeat(np.arange(n // 10), 10)
    state = rng.normal(size=(n, 1))
    shared = 0.6 * rng.normal(size=(n, d))
    first, second = (state + shared + 0.8 * rng.normal(size=(n, d)) for _ in range(2))
    ones = np.ones((1, 1))
    clusters = np.zeros(n, dtype=int)
    assert error_sums(first, first, client, clusters, 1).covariance(ones)[0] == pytest.approx(
        1.0 / d, rel=0.03
    )
    assert error_sums(first, second, client, clusters, 1).covariance(ones)[0] == pytest.approx(
        0.36 / d, rel=0.05
    )


def study(seed: int, reliability: tuple[float, float], slopes: float = 0.0):
    """Rows with two error-prone predictors of equal effect, -1, within clients: table, clients, errors, covariance."""
    rng = np.random.default_rng(seed)
    clients, sessions = 150, 8
    client = np.repeat(np.arange(clients), sessions)
    n = len(client)
    true = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], n)
    own = -1.0 + slopes * rng.normal(size=clients)[client]
    y = own * true[:, 0] - true[:, 1] + 2.0 * rng.normal(size=clients)[client] + 1.5 * rng.normal(size=n)
    variance = [1.0 / each - 1.0 for each in reliability]
    seen = true + np.sqrt(variance) * rng.normal(size=(n, 2))
    centre = identity(n) - sparse.csr_array(
        np.kron(np.eye(clients), np.full((sessions, sessions), 1 / sessions))
    )
    table = np.column_stack([np.ones(n), centre @ seen, y])
    errors = [ErrorColumn(1 + place, place, sparse.csr_array(centre)) for place in range(2)]
    return table, client, errors, np.diag(variance)


def fitted(seed: int, reliability: tuple[float, float], draws: int = 0, slopes: float = 0.0):
    table, client, errors, covariance = study(seed, reliability, slopes)
    sums = cluster_sums(table, client, nested_precision(client, 0.0, 4.0, 2.25), errors)
    n = int(client.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    weights = np.vstack([np.ones(n), counts]).astype(float)
    return sums.coefficients(covariance, weights), sums.coefficients(np.zeros((2, 2)), weights)


def test_a_difference_that_is_only_unreliability_disappears():
    """Effects are equal; one rater is measured with reliability .9, the other with .5. Means over 60 studies."""
    differences = np.array(
        [[each[0, 1] - each[0, 2] for each in fitted(seed, (0.9, 0.5))] for seed in range(60)]
    )
    corrected, plain = differences.mean(axis=0)
    errors = differences.std(axis=0, ddof=1) / np.sqrt(60)
    assert abs(corrected) < 3.5 * errors[0]
    assert plain < -0.3


@pytest.mark.parametrize("slopes", [0.0, 0.5])
def test_bootstrap_intervals_of_the_corrected_difference_cover_zero(slopes):
    """95 % percentile intervals over 120 studies, with effects that are the same for all clients or vary."""
    covered = 0
    for seed in range(120):
        corrected, _ = fitted(1_000 + seed, (0.9, 0.5), draws=200, slopes=slopes)
        difference = corrected[1:, 1] - corrected[1:, 2]
        low, high = np.quantile(difference, [0.025, 0.975])
        covered += low <= 0.0 <= high
    # Three binomial standard errors, and a point for 200 draws.
    assert covered / 120 > 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 120) - 0.01
