"""The one-with-many split of two raters' scores: likelihood, recovery, boundaries, intervals, refusals."""

import numpy as np
import pytest
from multivariate_example import DenseRows
from perception_example import CORRELATIONS, MEANS, planted_shares, two_raters
from scipy import special

from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.one_with_many import Spread, Surface, fit_one_with_many
from alliance_outcome.models.one_with_many_profiles import (
    HeldCorrelation,
    HeldShare,
    Profile,
    correlation_interval,
    share_interval,
)
from alliance_outcome.models.one_with_many_ratings import Ratings
from alliance_outcome.models.restricted_likelihood import restricted_likelihood

RATERS = ["alliance_client", "alliance_therapist"]
ELSEWHERE = Spread(np.array([[0.6, 0.5], [0.5, 0.7], [0.3, 0.4]]), np.array([0.2, -0.3, 0.5]))
LIMIT = float(special.chdtri(1, 0.05))


def ratings_of(table, therapists=True):
    return Ratings.of(table[RATERS], table["client"], table["therapist"] if therapists else None)


@pytest.fixture(scope="module")
def small():
    return ratings_of(two_raters())


@pytest.fixture(scope="module")
def fit(small):
    return fit_one_with_many(small)


@pytest.mark.parametrize("reml", [True, False])
def test_restricted_likelihood_is_that_of_the_whole_covariance_matrix(reml):
    table = two_raters(n_therapists=5, clients_each=3, sessions_each=3, missing=0.3)
    ratings = ratings_of(table)
    standard = (table[RATERS].to_numpy() - ratings.centre) / ratings.scale
    labels = [table[name].astype("category").cat.codes.to_numpy() for name in ("client", "therapist")]
    dense = DenseRows(np.ones((len(table), 1)), standard, *labels)
    _, covariance = dense.moments(np.zeros((1, 2)), *ELSEWHERE.matrices)
    columns = np.tile(np.eye(2), (len(table), 1))[dense.seen]
    information = columns.T @ np.linalg.solve(covariance, columns)
    seen = standard.ravel()[dense.seen]
    best = np.linalg.solve(information, columns.T @ np.linalg.solve(covariance, seen))
    expected = dense.log_density(best[None, :], *ELSEWHERE.matrices)
    if reml:
        expected += np.log(2.0 * np.pi) - 0.5 * np.linalg.slogdet(information)[1]
    found = restricted_likelihood(ratings.cells, ELSEWHERE.matrices, reml=reml)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.coefficients[0] == pytest.approx(best, rel=1e-9)
    assert found.covariance == pytest.approx(np.linalg.inv(information), rel=1e-9)


@pytest.mark.parametrize("reml", [True, False])
def test_gradient_is_exact(small, reml):
    surface, place = Surface(small, reml=reml), ELSEWHERE.parameters
    found = surface.evaluate(ELSEWHERE)[1].parameters
    for at in range(len(place)):
        step = 1e-5 * np.eye(len(place))[at]
        above, below = (surface.evaluate(Spread.of(place + sign * step))[0] for sign in (1, -1))
        assert found[at] == pytest.approx((above - below) / 2e-5, abs=1e-5)


@pytest.mark.parametrize("held", [HeldShare(0, 0), HeldShare(2, 1), HeldCorrelation(1)])
def test_gradient_with_a_quantity_held_is_exact(small, held):
    surface, value = Surface(small), 0.3
    free = held.free(ELSEWHERE)
    spread = held.spread(free, value, 3)
    squares = spread.roots**2
    reached = (
        np.sin(spread.angles[held.level])
        if isinstance(held, HeldCorrelation)
        else (squares / squares.sum(axis=0))[held.level, held.rater]
    )
    assert reached == pytest.approx(value)
    found = held.pull(surface.evaluate(spread)[1], free, value)
    for at in range(len(free)):
        step = 1e-5 * np.eye(len(free))[at]
        above, below = (surface.evaluate(held.spread(free + sign * step, value, 3))[0] for sign in (1, -1))
        assert found[at] == pytest.approx((above - below) / 2e-5, abs=1e-5)


def test_planted_split_is_recovered():
    fits = [
        fit_one_with_many(ratings_of(two_raters(seed, n_therapists=120, clients_each=8))) for seed in range(6)
    ]
    assert all(fit.converged for fit in fits)
    # Over samples of this size estimates of shares vary by 0.03 at most, correlations by 0.02, 0.03 and 0.11; the
    # limits are three standard errors of a mean of six.
    shares = np.mean([fit.shares for fit in fits], axis=0)
    assert shares == pytest.approx(planted_shares(), abs=0.04)
    correlations = np.mean([fit.correlations for fit in fits], axis=0)
    assert correlations[:2] == pytest.approx(CORRELATIONS[:2], abs=0.04)
    assert correlations[2] == pytest.approx(CORRELATIONS[2], abs=0.14)
    assert np.mean([fit.means for fit in fits], axis=0) == pytest.approx(MEANS, abs=0.1)


def test_ratings_missing_at_random_do_not_bias_the_split():
    # The therapist does not rate where the client's rating is low: complete cases would lose a third of the mean.
    table = two_raters(seed=6, n_therapists=100, clients_each=8, missing=0.0)
    full = fit_one_with_many(ratings_of(table))
    table.loc[table["alliance_client"] < 4.7, "alliance_therapist"] = np.nan
    left = fit_one_with_many(ratings_of(table))
    assert left.ratings.counts[1] < 0.7 * full.ratings.counts[1]
    assert left.means == pytest.approx(full.means, abs=0.06)
    assert left.shares == pytest.approx(full.shares, abs=0.05)
    assert left.correlations == pytest.approx(full.correlations, abs=0.12)


def test_order_of_rows_and_labels_do_not_matter(fit):
    table = two_raters()
    shuffled = table.sample(frac=1.0, random_state=4)
    renamed = shuffled.assign(
        client=shuffled["client"].map(lambda label: f"x{hash_of(label)}"),
        therapist=shuffled["therapist"].map(lambda label: f"y{hash_of(label)}"),
    )
    again = fit_one_with_many(ratings_of(renamed))
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-8)
    assert again.shares == pytest.approx(fit.shares, abs=1e-9)
    assert again.correlations == pytest.approx(fit.correlations, abs=1e-9)
    assert again.means == pytest.approx(fit.means, abs=1e-9)


def hash_of(label):
    return int(label[1:]) * 7919 % 10007


def test_scale_and_origin_of_a_rater_do_not_matter(fit):
    table = two_raters()
    moved = table.assign(alliance_client=100.0 - 10.0 * table["alliance_client"])
    again = fit_one_with_many(ratings_of(moved))
    assert again.shares == pytest.approx(fit.shares, abs=1e-8)
    assert again.correlations == pytest.approx(-fit.correlations, abs=1e-8)
    lost = (fit.ratings.counts[0] - 1) * np.log(10.0)
    assert again.log_likelihood == pytest.approx(fit.log_likelihood - lost, abs=1e-6)


def test_variances_of_zero_are_exact_and_leave_no_correlation():
    deviations = ((0.6, 0.5), (0.7, 0.5), (0.0, 0.0))
    fits = [
        fit_one_with_many(ratings_of(two_raters(seed, deviations=deviations, n_therapists=12)))
        for seed in range(8)
    ]
    on_boundary = [fit for fit in fits if np.all(fit.shares[2] == 0.0)]
    # One in four samples or so has a covariance matrix between therapists without any positive direction.
    assert on_boundary
    for fit in on_boundary:
        assert fit.converged
        assert np.isnan(fit.correlations[2])
        low, high = share_interval(fit, 2, 0)
        assert low == 0.0
        assert 0.0 < high < 0.5
        assert np.isnan(correlation_interval(fit, 2)).all()
    # In others the matrix has one such direction: the raters' effects are then fully correlated.
    assert any(abs(fit.correlations[2]) == 1.0 for fit in fits)


def test_a_correlation_of_one_is_exact():
    fits = [
        fit_one_with_many(ratings_of(two_raters(seed, correlations=(0.2, 0.3, 1.0), n_therapists=10)))
        for seed in range(4)
    ]
    found = [fit for fit in fits if fit.correlations[2] == 1.0]
    assert found
    low, high = correlation_interval(found[0], 2)
    assert high == 1.0
    assert low < 1.0


@pytest.mark.parametrize(
    ("held", "interval", "value"),
    [
        (HeldShare(1, 0), lambda fit: share_interval(fit, 1, 0), lambda fit: fit.shares[1, 0]),
        (HeldShare(2, 1), lambda fit: share_interval(fit, 2, 1), lambda fit: fit.shares[2, 1]),
        (HeldCorrelation(0), lambda fit: correlation_interval(fit, 0), lambda fit: fit.correlations[0]),
        (HeldCorrelation(1), lambda fit: correlation_interval(fit, 1), lambda fit: fit.correlations[1]),
    ],
)
def test_intervals_end_where_the_likelihood_has_fallen(fit, held, interval, value):
    low, high = interval(fit)
    assert low < value(fit) < high
    fresh = Profile(fit, held)
    assert fresh.rise(value(fit)) == pytest.approx(0.0, abs=1e-5)
    for end in (high, low):
        assert fresh.rise(end) == pytest.approx(LIMIT, abs=1e-3)


def test_an_undetermined_correlation_has_an_interval_to_the_bounds():
    # Therapists hardly differ in what clients say, so that nothing is known of generalised reciprocity.
    deviations = ((0.6, 0.5), (0.7, 0.5), (0.1, 0.6))
    for seed in range(8):
        fit = fit_one_with_many(ratings_of(two_raters(seed, deviations=deviations, n_therapists=10)))
        if np.isfinite(fit.correlations[2]) and share_interval(fit, 2, 0)[0] == 0.0:
            assert correlation_interval(fit, 2) == (-1.0, 1.0)
            return
    pytest.fail("no sample with a small variance")


def test_without_therapists_the_split_has_two_levels():
    table = two_raters(seed=7, n_therapists=40, clients_each=8)
    fit = fit_one_with_many(ratings_of(table, therapists=False))
    assert fit.levels == ("session", "client")
    expected = planted_shares()
    assert fit.shares[0] == pytest.approx(expected[0], abs=0.07)
    assert fit.shares[1] == pytest.approx(expected[1] + expected[2], abs=0.07)
    low, high = share_interval(fit, 1, 0)
    assert low < fit.shares[1, 0] < high


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.drop_duplicates("client"), "rated more than once"),
        (lambda t: t.assign(therapist=t["client"]), "therapist of others"),
        (lambda t: t.assign(therapist="T"), "only one therapist"),
        (lambda t: t.assign(alliance_client=4.0), "do not vary"),
        (lambda t: t.assign(alliance_client=np.nan), "do not vary"),
        (
            lambda t: t.assign(alliance_client=t.groupby("client")["alliance_client"].transform("mean")),
            "of a client",
        ),
        (lambda t: t.assign(alliance_client=t["alliance_therapist"]), "are the same"),
        (lambda t: t.assign(therapist=[f"T{n % 7}" for n in range(len(t))]), "more than one therapist"),
        (lambda t: t.iloc[:0], "no scores"),
    ],
)
def test_refusals(change, reason):
    with pytest.raises(UnfittableModel, match=reason):
        ratings_of(change(two_raters(n_therapists=6)))


def test_raters_who_never_rated_the_same_session_are_refused():
    table = two_raters(n_therapists=6, missing=0.0)
    even = table["session"] % 2 == 0
    table.loc[even, "alliance_client"] = np.nan
    table.loc[~even, "alliance_therapist"] = np.nan
    with pytest.raises(UnfittableModel, match="never rated the same session"):
        ratings_of(table)
