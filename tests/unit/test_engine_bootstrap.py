"""Bootstrap of the engine: seeds and threads, spread, drawn units, and that quick refits are the slow ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_example import LEVELS, MODELS, dense_example, example, fit, standard_errors_apart, study

from alliance_outcome.models.multilevel_bootstrap import Bootstrap, _Sampler
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Two optimisations of one likelihood from different starts, in the outcome's units.
SAME_MAXIMUM = 1e-5
#: How far quick refits, which stop sooner, may be from the maximum, in standard errors.
QUICK_REFIT = 1e-3

KINDS = pytest.mark.parametrize("kind", ["parametric", "cases"])


def estimates(bootstrap: Bootstrap) -> np.ndarray:
    return bootstrap.estimates.to_numpy(dtype=float)


@KINDS
@pytest.mark.parametrize("name", ["client_slope", "autoregressive", "least_squares", "slope_alone"])
def test_results_depend_on_the_seed_alone(name: str, kind: str) -> None:
    result = example(name)[0]
    one = result.bootstrap(kind, n=60, seed=3, threads=1)
    for threads in (2, 5, None):
        again = result.bootstrap(kind, n=60, seed=3, threads=threads)
        assert np.array_equal(estimates(one), estimates(again), equal_nan=True)
    assert not np.allclose(estimates(one), estimates(result.bootstrap(kind, n=60, seed=4)), equal_nan=True)


@KINDS
def test_more_replicates_begin_with_the_same_ones(kind: str) -> None:
    result = example("client_slope")[0]
    few, many = result.bootstrap(kind, n=30, seed=3), result.bootstrap(kind, n=60, seed=3)
    assert np.array_equal(estimates(few), estimates(many)[:30], equal_nan=True)


@KINDS
def test_results_do_not_depend_on_labels(kind: str) -> None:
    result, data = example("client_slope")
    renamed = data.assign(**{level: data[level].map(lambda label: f"unit {label}") for level in LEVELS})
    again = fit(data=renamed, **MODELS["client_slope"]).bootstrap(kind, n=10, seed=3)
    assert np.array_equal(estimates(again), estimates(result.bootstrap(kind, n=10, seed=3)))


@pytest.mark.parametrize("name", ["client_slope", "autoregressive", "least_squares", "therapist_alone"])
def test_spread_of_simulated_fits_is_the_standard_error(name: str) -> None:
    result = example(name)[0]
    found = result.bootstrap(n=800, seed=11)
    # The standard deviation of 800 replicates has a standard error of 2.5 %; 10 % leaves room for a small bias.
    assert found.bse()[result.params.index].to_numpy() == pytest.approx(result.bse, rel=0.1)
    mean_error = found.params.std() / np.sqrt(800)
    assert ((found.params.mean() - result.params).abs() < 4.0 * mean_error).all()


@pytest.mark.parametrize("name", ["slopes_at_both_levels", "autoregressive", "continuous_time"])
def test_simulated_outcomes_have_the_covariance_of_the_model(name: str) -> None:
    result = example(name)[0]
    outcomes: list[np.ndarray] = []
    result.bootstrap(
        n=200, seed=5, threads=1, statistic=lambda each: outcomes.append(each.design.columns.outcome) or 0.0
    )
    left = np.array(outcomes) - result.design.columns.fixed @ result.params.to_numpy()
    reference = dense_example(name)
    ones = [np.ones_like(each) for each in (reference.unit_covariance, reference.cluster_covariance)]
    same_unit = reference.unit_block(ones[0]) != 0.0
    same_cluster = reference.cluster_block(ones[1]) != 0.0 if len(ones[1]) else same_unit
    found, expected = left.T @ left / len(left), reference.marginal_covariance
    diagonal = np.eye(len(found), dtype=bool)
    # Sums over thousands of pairs of rows of 200 draws: client variances are averages over 6,400 clients, 2 % each way,
    # therapist variances over 1,600 therapists.
    for where, tolerance in (
        (diagonal, 0.06),
        (same_unit & ~diagonal, 0.12),
        (same_cluster & ~same_unit, 0.35),
    ):
        if where.any():
            ratio = np.sum(found[where] * expected[where]) / np.sum(expected[where] ** 2)
            assert ratio == pytest.approx(1.0, abs=tolerance)
    assert np.abs(found[~same_cluster & ~same_unit]).mean() < 0.1 * np.diag(expected).mean()


@KINDS
@pytest.mark.parametrize(
    "name", ["client_slope", "slopes_at_both_levels", "autoregressive", "independent_slope"]
)
def test_quick_refits_are_whole_refits(name: str, kind: str) -> None:
    result = example(name)[0]
    quick = result.bootstrap(kind, n=12, seed=3)
    slow = result.bootstrap(kind, n=12, seed=3, statistic=lambda each: each.params["x"])
    whole = slow.estimates.drop(columns="statistic").to_numpy()
    difference = np.abs(estimates(quick) - whole)
    assert (np.isnan(whole) == np.isnan(estimates(quick))).all()
    assert (np.nan_to_num(difference) <= QUICK_REFIT * np.nanstd(whole, axis=0)).all()
    assert slow.estimates["statistic"].to_numpy() == pytest.approx(slow.params["x"], rel=1e-12)


def by_hand(data: pd.DataFrame, result: MultilevelResult, draws: np.ndarray) -> pd.DataFrame:
    """Put drawn therapists together, each draw with labels of its own."""
    parts = []
    for label, count in zip(result.design.cluster_labels, draws, strict=True):
        for copy in range(count):
            own = data[data["therapist"] == label]
            parts.append(own.assign(**{level: own[level] + f" copy {copy}" for level in LEVELS}))
    return pd.concat(parts)


@pytest.mark.parametrize("name", ["client_slope", "autoregressive"])
def test_drawn_units_are_refitted_as_new_units(name: str) -> None:
    result, data = example(name)
    found = result.bootstrap("cases", n=8, seed=3)
    assert found.draws is not None
    assert (found.draws.sum(axis=1) == len(result.design.cluster_labels)).all()
    for replicate, draws in enumerate(found.draws):
        own = fit(data=by_hand(data, result, draws), **MODELS[name])
        assert found.params.iloc[replicate].to_numpy() == pytest.approx(own.params, abs=SAME_MAXIMUM)
        assert found.scale[replicate] == pytest.approx(own.scale, rel=SAME_MAXIMUM)
        for level in LEVELS:
            assert found.covariances[level][replicate] == pytest.approx(
                own.random_covariance(level), abs=1e-4 * result.scale
            )


def test_every_unit_is_drawn_with_the_same_chance() -> None:
    draws = example("client_slope")[0].bootstrap("cases", n=400, seed=9).draws
    assert draws is not None
    # 3,200 draws of 8: 400 each, with a standard deviation of √(3200·⅛·⅞) = 18.7.
    assert np.abs(draws.sum(axis=0) - 400).max() < 4 * 18.7


@cache
def small_variance() -> MultilevelResult:
    """Return a fit with little between therapists, so that many replicates are on the boundary."""
    result = fit("y ~ x", study(20, therapist_sd=0.3, clients=[3] * 8, sessions=[3]))
    assert not result.singular
    return result


def test_replicates_on_the_boundary_are_maxima() -> None:
    found = small_variance().bootstrap(n=200, seed=1)
    zero = found.covariances["therapist"][:, 0, 0] == 0.0
    # On the boundary of a single variance half of the replicates would be, at a variance of zero.
    assert 0.1 < zero.mean() < 0.6
    assert found.converged.all()


@KINDS
def test_replicates_that_end_at_a_variance_of_zero_are_fitted_again(kind: str) -> None:
    result = example("client_slope")[0]
    sampler = _Sampler(result)
    work = sampler.outcomes if kind == "parametric" else sampler.clusters
    expected = work(np.random.default_rng(2), 20)
    # Started at a therapist variance of zero, where its slope vanishes, every search stays there.
    sampler.start = np.where(np.arange(4) == 0, 0.0, result.maximum.parameters)
    sampler.guess = np.empty((0, 0))
    found = work(np.random.default_rng(2), 20)
    assert any(each.covariances["therapist"][0, 0] > 0.1 for each in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.covariances["therapist"] == pytest.approx(theirs.covariances["therapist"], abs=1e-4)
        assert ours.params == pytest.approx(theirs.params, abs=SAME_MAXIMUM)
        assert ours.converged


def test_percentile_intervals_of_small_variances_begin_at_zero() -> None:
    limits = small_variance().bootstrap(n=200, seed=1).confint()
    assert limits.loc["sd(therapist: Intercept)", "ci_low"] == 0.0


def test_intervals_are_percentiles() -> None:
    found = example("client_slope")[0].bootstrap(n=50, seed=1)
    limits = found.confint(0.8)
    values = found.estimates["sd(client: x)"]
    expected = [values.quantile(0.1), values.quantile(0.9)]
    assert limits.loc["sd(client: x)"].tolist() == pytest.approx(expected, rel=1e-12)
    assert list(limits.index) == list(found.estimates.columns)


def test_variance_components_of_replicates_are_those_of_their_covariances() -> None:
    found = example("client_slope")[0].bootstrap(n=5, seed=1)
    table, client = found.variance_components, found.covariances["client"]
    assert list(table.columns) == [
        "sd(therapist: Intercept)",
        "sd(client: Intercept)",
        "sd(client: x)",
        "correlation(client: x, Intercept)",
        "sd(residual)",
    ]
    deviations = np.sqrt(client[:, [0, 1], [0, 1]])
    assert table[["sd(client: Intercept)", "sd(client: x)"]].to_numpy() == pytest.approx(deviations)
    assert table["correlation(client: x, Intercept)"].to_numpy() == pytest.approx(
        client[:, 1, 0] / deviations.prod(axis=1)
    )
    assert table["sd(residual)"].to_numpy() == pytest.approx(np.sqrt(found.scale))


def test_replicates_that_do_not_identify_the_fixed_effects_are_missing_and_flagged() -> None:
    # Two therapists of eight have w = 1: draws without either, or with both alone, say nothing about it.
    data = study()
    data["w"] = data["therapist"].isin(["t0", "t1"]).astype(float)
    result = fit("y ~ x + w", data)
    for statistic in (None, lambda each: each.params["w"]):
        found = result.bootstrap("cases", n=120, seed=4, statistic=statistic)
        assert found.draws is not None
        lacking = (found.draws[:, :2].sum(axis=1) == 0) | (found.draws[:, 2:].sum(axis=1) == 0)
        # (6/8)⁸ = 10 %.
        assert 3 < lacking.sum() < 30
        assert found.params.isna().all(axis=1).tolist() == lacking.tolist()
        assert not found.converged[lacking].any()
        assert np.isnan(found.covariances["client"][lacking]).all()
        assert np.isfinite(found.confint().to_numpy(dtype=float)).all()
        if statistic is not None:
            assert found.statistics["statistic"].isna().tolist() == lacking.tolist()


@pytest.mark.parametrize("statistic", [None, lambda each: each.params["x"]], ids=["quick", "whole"])
def test_replicates_without_repeated_rows_have_no_client_variance(statistic: Any) -> None:
    # One therapist of four has clients with several sessions; without it, clients and sessions are one level.
    data = study(3, clients=(5, 5, 5, 5), sessions=(4,))
    first = data["client"] != data["client"].shift()
    result = fit("y ~ x", data[(data["therapist"] == "t0") | first])
    found = result.bootstrap("cases", n=25, seed=1, statistic=statistic)
    assert found.draws is not None
    without = found.draws[:, 0] == 0
    assert 2 < without.sum() < 20
    assert np.isnan(found.covariances["client"][without]).all()
    assert not found.converged[without].any()
    assert np.isfinite(found.covariances["client"][~without]).all()


@pytest.mark.parametrize("statistic", [None, lambda each: each.params["x"]], ids=["quick", "whole"])
def test_replicates_whose_therapists_have_one_client_each_are_missing_and_flagged(statistic: Any) -> None:
    # Without the one therapist who has several, therapists and clients are one level.
    result = fit("y ~ x", study(3, clients=(5, 1, 1, 1), sessions=(4,)))
    found = result.bootstrap("cases", n=25, seed=1, statistic=statistic)
    assert found.draws is not None
    without = found.draws[:, 0] == 0
    assert 2 < without.sum() < 20
    assert np.isnan(found.covariances["therapist"][without]).all()
    assert not found.converged[without].any()
    assert found.converged[~without].all()


@pytest.mark.parametrize(
    ("statistic", "columns"),
    [
        (lambda result: result.params["x"], ["statistic"]),
        (lambda result: {"x": result.params["x"], "twice": 2.0 * result.params["x"]}, ["x", "twice"]),
        (lambda result: result.params.rename("of x"), ["Intercept", "x", "z"]),
        (lambda result: np.float64(result.scale), ["statistic"]),
        (lambda result: np.array(result.scale), ["statistic"]),
    ],
    ids=["number", "mapping", "Series", "NumPy number", "array of no dimension"],
)
def test_statistics_may_be_numbers_or_several(statistic: Any, columns: list[str]) -> None:
    found = example("two_levels")[0].bootstrap(n=4, seed=1, statistic=statistic)
    assert list(found.statistics.columns) == columns
    assert found.statistics.shape == (4, len(columns))
    if "x" in columns:
        assert found.statistics["x"].tolist() == found.params["x"].tolist()


def test_a_statistic_may_use_everything_of_a_result() -> None:
    result = example("client_slope")[0]

    def statistic(each: MultilevelResult) -> dict[str, float]:
        assert standard_errors_apart(each, each.refit(reml=True)) == 0.0
        return {"R2": each.r_squared().marginal, "df": each.contrast("x", "kenward-roger").df}

    for kind in ("parametric", "cases"):
        assert np.isfinite(result.bootstrap(kind, n=3, seed=1, statistic=statistic).statistics).all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "residual"}, "'parametric' or 'cases'"),
        ({"n": 0}, "at least one replicate"),
        ({"n": -3}, "at least one replicate"),
    ],
)
def test_unknown_kinds_and_no_replicates_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example("two_levels")[0].bootstrap(seed=1, **arguments)


def test_the_fit_is_left_as_it_was() -> None:
    result, data = example("autoregressive")
    before = replace(result.maximum)
    result.bootstrap(n=10, seed=1)
    again = fit(data=data, **MODELS["autoregressive"])
    assert np.array_equal(result.maximum.parameters, before.parameters)
    assert result.fittedvalues.equals(again.fittedvalues)
