"""Intervals of all parameters against profiles of the density written out over all rows, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from dense_model import DenseModel
from engine_example import MODELS, dense, example, fit, lagged_study, slopes, study
from scipy import optimize, stats

from alliance_outcome.models.multilevel_result import MultilevelResult

#: Twice the log-likelihood falls by this much at the ends of a 95 % profile interval.
LIMIT = stats.chi2.ppf(0.95, 1)

#: Ends of two searches, as a fraction of the interval's width: theirs stop at a deviance of some 1e-8.
SAME_END = 1e-4

SLOPE = {"formula": "y ~ x", "groups": ("client",), "random": {"client": "1 + x"}}


@cache
def slope_example() -> tuple[MultilevelResult, DenseModel]:
    data = study(0, clients=(4, 4, 4), sessions=(7, 6), slope_sd=1.0)
    result = fit(data=data, reml=False, **SLOPE)
    assert not result.singular
    return result, dense(result, data)


@cache
def three_levels() -> tuple[MultilevelResult, DenseModel]:
    data = study(4, clients=(3, 2, 3, 2, 3), sessions=(3, 4))
    result = fit("y ~ x", data, reml=False)
    assert not result.singular
    return result, dense(result, data)


@cache
def no_therapists() -> tuple[MultilevelResult, DenseModel]:
    data = study(4, clients=(3, 2, 3, 2, 3), sessions=(3, 4), therapist_sd=0.3)
    result = fit("y ~ x", data, reml=False)
    assert result.singular == ("therapist:Intercept",)
    return result, dense(result, data)


def least(deviance: Callable[[np.ndarray], float], start: np.ndarray) -> float:
    """Minimise with numeric slopes."""
    return float(optimize.minimize(deviance, start, method="BFGS", options={"gtol": 1e-4}).fun)


def deviance(model: DenseModel) -> float:
    return -2.0 * model.log_likelihood(reml=False)


def brute_force_end(rise: Callable[[float], float], one: float, other: float) -> float:
    return float(optimize.brentq(lambda value: rise(value) - LIMIT, one, other, xtol=1e-6))


def assert_profile(
    result: MultilevelResult, name: str, at: Callable[[float], float], lowest: float | None = None
) -> None:
    """Compare an interval with the profile `at`; `lowest` is its known lower end, if the profile does not reach it."""
    estimate, low, high = result.confint("profile").loc[name]
    width = high - low

    def rise(value: float) -> float:
        return at(value) + 2.0 * result.llf

    assert high == pytest.approx(brute_force_end(rise, estimate, high + 0.2 * width), abs=SAME_END * width)
    if lowest is not None:
        assert low == lowest
        assert rise(lowest + 1e-9) < LIMIT
        return
    below = low - 0.2 * (min(width, low) if name.startswith("sd") else width)
    assert low == pytest.approx(brute_force_end(rise, below, estimate), abs=SAME_END * width)


def intercepts(model: DenseModel, parameters: np.ndarray) -> DenseModel:
    """Model of standard deviations of therapists, clients and residuals."""
    therapist, client, residual = parameters
    ratio = np.array([[1.0]]) / residual**2
    return replace(
        model,
        cluster_covariance=therapist**2 * ratio,
        unit_covariance=client**2 * ratio,
        residual_variance=float(residual**2),
    )


@pytest.mark.parametrize("position", [0, 1, 2])
def test_profile_of_a_standard_deviation(position: int) -> None:
    result, model = three_levels()
    deviations = result.variance_components["sd_or_correlation"].to_numpy()

    def at(value: float) -> float:
        others = np.delete(deviations, position)
        return least(lambda free: deviance(intercepts(model, np.insert(free, position, value))), others)

    name = ["sd(therapist: Intercept)", "sd(client: Intercept)", "sd(residual)"][position]
    # The therapists' profile does not reach the limit at zero.
    assert_profile(result, name, at, lowest=0.0 if position == 0 else None)


@pytest.mark.parametrize("term", ["Intercept", "x"])
def test_profile_of_a_fixed_effect(term: str) -> None:
    result, model = three_levels()
    position = list(result.params.index).index(term)
    deviations = result.variance_components["sd_or_correlation"].to_numpy()
    fixed = model.rows.fixed

    def at(value: float) -> float:
        outcome = model.rows.outcome - value * fixed[:, position]
        rows = replace(model.rows, outcome=outcome, fixed=np.delete(fixed, position, axis=1))
        held = replace(model, rows=rows)
        return least(lambda free: deviance(intercepts(held, free)), deviations)

    assert_profile(result, term, at)


def slope_model(
    model: DenseModel, intercept: float, slope: float, correlation: float, sd: float
) -> DenseModel:
    covariance = np.array([[intercept**2, correlation * intercept * slope], [0.0, slope**2]])
    covariance[1, 0] = covariance[0, 1]
    return replace(model, unit_covariance=covariance / sd**2, residual_variance=sd**2)


def test_profile_of_a_slope_and_of_its_correlation() -> None:
    result, model = slope_example()
    sd_intercept, sd_slope, correlation, sd = result.variance_components["sd_or_correlation"]

    def at_slope(value: float) -> float:
        def free(p: np.ndarray) -> float:
            return deviance(slope_model(model, np.exp(p[0]), value, np.tanh(p[1]), np.exp(p[2])))

        return least(free, np.array([np.log(sd_intercept), np.arctanh(correlation), np.log(sd)]))

    def at_correlation(value: float) -> float:
        def free(p: np.ndarray) -> float:
            return deviance(slope_model(model, np.exp(p[0]), np.exp(p[1]), value, np.exp(p[2])))

        return least(free, np.log([sd_intercept, sd_slope, sd]))

    assert_profile(result, "sd(client: x)", at_slope)
    assert_profile(result, "correlation(client: x, Intercept)", at_correlation)


def test_profile_of_a_variance_of_zero_begins_at_zero() -> None:
    result, model = no_therapists()
    deviations = result.variance_components["sd_or_correlation"].to_numpy()

    def at(value: float) -> float:
        return least(lambda free: deviance(intercepts(model, np.array([value, *free]))), deviations[1:])

    assert_profile(result, "sd(therapist: Intercept)", at, lowest=0.0)


def test_a_variance_of_zero_is_free_while_others_are_profiled() -> None:
    # With less between clients, therapists explain some of it: without them the interval would end at 0.70, not 0.58.
    result, model = no_therapists()
    deviations = result.variance_components["sd_or_correlation"].to_numpy()

    def at(value: float) -> float:
        start = np.array([0.5 * deviations[1], deviations[2]])
        return least(lambda free: deviance(intercepts(model, np.insert(free, 1, value))), start)

    assert_profile(result, "sd(client: Intercept)", at)


@pytest.mark.parametrize("seed", [1, 4, 11])
def test_profiles_of_correlations_on_the_boundary_end_there(seed: int) -> None:
    data = study(seed, clients=[4] * 6, sessions=[6], slope_sd=0.15)
    result = fit(data=data, reml=False, **SLOPE)
    limits = result.confint("profile")
    correlation = limits.loc["correlation(client: x, Intercept)"]
    assert -1.0 <= correlation["ci_low"] <= correlation["estimate"] <= correlation["ci_high"] <= 1.0
    assert np.isfinite(limits.to_numpy()).all()
    assert result.singular == ("client:covariance",)
    assert 1.0 in correlation[["ci_low", "ci_high"]].abs().tolist()


@pytest.mark.parametrize("name", MODELS)
def test_profiles_contain_the_estimates_and_are_near_walds(name: str) -> None:
    result = example(name)[0]
    profile, wald = result.confint("profile"), result.refit(reml=False).confint(df="normal")
    assert list(profile.index) == list(wald.index)
    assert (profile["ci_low"] <= profile["estimate"]).all()
    assert (profile["estimate"] <= profile["ci_high"]).all()
    terms = list(result.params.index)
    widths = (profile["ci_high"] - profile["ci_low"])[terms] / (wald["ci_high"] - wald["ci_low"])[terms]
    # Wald takes the variances for known: a few per cent too narrow, more with eight therapists.
    assert widths.between(0.97, 1.25).all()


def test_profiles_of_a_restricted_fit_are_of_the_full_likelihood() -> None:
    restricted, full = example("client_slope"), example("client_slope", reml=False)
    ours, theirs = (result.confint("profile") for result, _ in (restricted, full))
    assert ours.to_numpy() == pytest.approx(theirs.to_numpy(), abs=1e-4)


def test_profiles_of_an_autocorrelation() -> None:
    data = study(5, autocorrelation=0.5)
    limits = (
        fit("y ~ x", data, groups=["client"], residual="ar1", time="session").confint("profile").loc["ar1"]
    )
    assert -1.0 < limits["ci_low"] < limits["estimate"] < limits["ci_high"] < 1.0
    # The truth, in 95 of 100 studies; this seed is one of them.
    assert limits["ci_low"] < 0.5 < limits["ci_high"]


def test_the_profile_of_an_autocorrelation_in_continuous_time_may_begin_at_zero() -> None:
    data = study(3, autocorrelation=0.15, time="week", sessions=(8,))
    result = fit("y ~ x", data, groups=["client"], residual="ar1", time="week")
    limits = result.confint("profile").loc["ar1"]
    assert limits["ci_low"] == 0.0
    assert 0.0 < limits["estimate"] < limits["ci_high"] < 1.0


def test_profiles_without_intercept_and_of_the_intercept_alone() -> None:
    data = study()
    for formula in ("y ~ 0 + x", "y ~ 1"):
        limits = fit(formula, data, groups=["client"]).confint("profile")
        assert np.isfinite(limits.to_numpy()).all()


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger", "normal"])
def test_wald_intervals_of_fixed_effects_are_those_of_contrasts(df: str) -> None:
    result = example("client_slope")[0]
    limits = result.confint(ci_level=0.9, df=df)
    for term in result.params.index:
        single = result.contrast(term, df, ci_level=0.9)
        assert limits.loc[term].tolist() == [single.estimate, single.ci_low, single.ci_high]


@pytest.mark.parametrize("name", ["client_slope", "independent_slope", "autoregressive"])
def test_wald_intervals_of_variances_are_symmetric_where_they_are_normal(name: str) -> None:
    result = example(name)[0]
    limits = result.confint()
    parameters = np.append(result.maximum.parameters, np.log(result.maximum.at.residual_variance))
    quantile = stats.norm.ppf(0.975)

    def transformed(moved: np.ndarray) -> np.ndarray:
        """Logs of standard deviations and Fisher's z of correlations, in the table's order."""
        psi_u, psi_v, phi = result.likelihood.unpack(moved[:-1])
        values: list[float] = []
        for level, psi in (("therapist", psi_v), ("client", psi_u)):
            back = result.design.scaling.outcome_scale * result.design.effect_maps[level]
            matrix = np.exp(moved[-1]) * back @ psi @ back.T
            values += list(0.5 * np.log(np.diag(matrix)))
            if len(psi) > 1 and name != "independent_slope":
                values.append(np.arctanh(matrix[1, 0] / np.sqrt(matrix[0, 0] * matrix[1, 1])))
        values.append(0.5 * moved[-1] + np.log(result.design.scaling.outcome_scale))
        return np.array(values if phi is None else [*values, np.arctanh(phi)])

    gradient = slopes(transformed, parameters, 1e-3)
    half = quantile * np.sqrt(np.diag(gradient.T @ result.information.covariance @ gradient))
    centre = transformed(parameters)
    for row, middle, width in zip(limits.index[len(result.params) :], centre, half, strict=True):
        back = np.exp if row.startswith("sd") else np.tanh
        expected = [back(middle), back(middle - width), back(middle + width)]
        assert limits.loc[row].tolist() == pytest.approx(expected, rel=1e-6)


def test_wald_intervals_on_the_boundary_are_missing_for_what_is_on_it() -> None:
    limits = no_therapists()[0].confint()
    assert np.isnan(limits.loc["sd(therapist: Intercept)", ["ci_low", "ci_high"]]).all()
    assert np.isfinite(limits.loc[["Intercept", "x", "sd(residual)"]]).all(axis=None)


def test_bootstrap_intervals_are_the_bootstraps_own() -> None:
    result = example("two_levels")[0]
    limits = result.confint("bootstrap", n=40, seed=2, ci_level=0.8)
    assert limits[["ci_low", "ci_high"]].equals(result.bootstrap(n=40, seed=2).confint(0.8))
    assert limits["estimate"][result.params.index].tolist() == result.params.tolist()
    assert limits.loc["sd(residual)", "estimate"] == pytest.approx(np.sqrt(result.scale))


def test_intervals_of_a_lagged_outcome_use_its_own_standard_error() -> None:
    result = fit(
        "y ~ x + before", lagged_study(3), groups=["client"], time="session", lagged_outcome="before"
    )
    single = result.contrast("before")
    assert result.confint().loc["before"].tolist() == [single.estimate, single.ci_low, single.ci_high]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"method": "exact"}, "'wald', 'profile' or 'bootstrap'"), ({"method": "bootstrap"}, "needs a seed")],
)
def test_unknown_methods_and_bootstraps_without_seed_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example("two_levels")[0].confint(**arguments)


@pytest.mark.parametrize("method", ["wald", "profile", "bootstrap"])
@pytest.mark.parametrize("ci_level", [0.0, 1.0, 95.0])
def test_coverages_that_are_none_are_refused(method: str, ci_level: float) -> None:
    with pytest.raises(ValueError, match="ci_level"):
        example("two_levels")[0].confint(method, ci_level=ci_level, n=2, seed=1)


def test_tables_are_alike_whatever_the_method() -> None:
    result = example("autoregressive")[0]
    tables = [result.confint(method, n=3, seed=1) for method in ("wald", "profile", "bootstrap")]
    for table in tables:
        assert list(table.columns) == ["estimate", "ci_low", "ci_high"]
        assert list(table.index) == [
            "Intercept",
            "x",
            "z",
            "sd(therapist: Intercept)",
            "sd(client: Intercept)",
            "sd(residual)",
            "ar1",
        ]
        assert isinstance(table, pd.DataFrame)
