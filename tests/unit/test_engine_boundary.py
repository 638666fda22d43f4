"""Variances of zero, correlations of one, therapists with one client, clients with one session, nothing left over."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from engine_example import (
    LEVELS,
    MODELS,
    dense,
    fit,
    lagged_study,
    model,
    standard_errors_apart,
    study,
)

from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.multilevel_result import MultilevelResult

#: A fit on the boundary and the smaller model's are two optimisations of one likelihood.
SAME_MAXIMUM = 1e-7


@cache
def no_therapists() -> tuple[MultilevelResult, MultilevelResult, pd.DataFrame]:
    """Return a fit whose therapist variance is zero, the fit without therapists, and the data."""
    data = study(12, therapist_sd=0.0)
    arguments = {"formula": "y ~ x + z", "random": {"client": "1 + x"}}
    smaller = fit(data=data, groups=["client"], **arguments)
    arguments["random"] = {"client": "1 + x", "therapist": "1"}
    return fit(data=data, **arguments), smaller, data


def test_a_variance_of_zero_is_flagged_and_is_a_maximum() -> None:
    result, _, data = no_therapists()
    assert result.singular == ("therapist:Intercept",)
    assert result.converged
    # It is one by the dense model too: the log-likelihood falls with the variance.
    at_zero = dense(result, data)
    slope = result.maximum.at.cluster_slope[0, 0]
    assert slope > 0.0
    assert at_zero.log_likelihood(reml=True) == pytest.approx(result.llf, abs=1e-8)


def test_a_variance_of_zero_is_exactly_zero() -> None:
    result, _, _ = no_therapists()
    assert result.random_covariance("therapist").to_numpy() == 0.0
    assert np.all(result.random_effects("therapist")["estimate"] == 0.0)


def test_a_variance_of_zero_leaves_the_smaller_model() -> None:
    result, smaller, data = no_therapists()
    assert standard_errors_apart(smaller, result) < SAME_MAXIMUM
    assert result.llf == pytest.approx(smaller.llf, abs=1e-9)
    assert result.fittedvalues.to_numpy() == pytest.approx(smaller.fittedvalues, abs=1e-6)
    assert result.predict(data).to_numpy() == pytest.approx(smaller.predict(data), abs=1e-6)


def test_satterthwaites_method_takes_a_variance_of_zero_out_of_the_model() -> None:
    result, smaller, _ = no_therapists()
    for term in result.params.index:
        ours, theirs = result.contrast(term), smaller.contrast(term)
        assert ours.df == pytest.approx(theirs.df, rel=1e-5)
        assert ours.std_error == pytest.approx(theirs.std_error, rel=1e-6)


def test_kenward_and_rogers_method_keeps_a_variance_of_zero() -> None:
    result, smaller, _ = no_therapists()
    # With therapists in the model a constant is known from 8 of them.
    ours, theirs = (each.contrast("Intercept", "kenward-roger") for each in (result, smaller))
    assert 3.0 < ours.df < 9.0 < 20.0 < theirs.df
    assert ours.std_error > 1.02 * theirs.std_error
    assert result.state.cluster_covariance.shape == (0, 0)


def balanced_therapists() -> pd.DataFrame:
    """Return ten therapists with six clients of four sessions each, whose means are more alike than clients are."""
    rng = np.random.default_rng(4)
    client = np.repeat(np.arange(60), 4)
    effects = rng.normal(size=60)
    effects -= 0.9 * np.repeat(effects.reshape(10, 6).mean(axis=1), 6)
    return pd.DataFrame(
        {
            "client": client,
            "therapist": client // 6,
            "x": np.tile(np.arange(4.0), 60),
            "w": (client // 6 % 2).astype(float),
            "y": effects[client] + rng.normal(size=240),
        }
    )


def test_kenward_and_rogers_degrees_of_freedom_at_a_variance_of_zero_are_those_of_the_therapists() -> None:
    # In a balanced design the F tests of means have these degrees of freedom whatever the variances are estimated as:
    # 10 therapists in two groups leave 8; sessions at the same times in all 60 clients leave 240 - 60 and one less.
    result = fit("y ~ w + x", balanced_therapists())
    assert result.singular == ("therapist:Intercept",)
    assert result.contrast("w", "kenward-roger").df == pytest.approx(8.0, rel=1e-6)
    assert result.contrast("x", "kenward-roger").df == pytest.approx(240 - 60 - 1, rel=1e-6)
    assert result.contrast("w").df > 50.0


def test_a_variance_of_zero_leaves_the_robust_errors_of_therapists_at_hand() -> None:
    # Its working model is the smaller one, clustered by therapist: units of a cluster are uncorrelated, not ignored.
    result, smaller, _ = no_therapists()
    assert result.cluster_robust().n_clusters == 8
    assert not np.allclose(result.cluster_robust().bse, smaller.cluster_robust().bse, rtol=0.01)


def test_autoregressive_and_lagged_models_take_a_variance_of_zero_out() -> None:
    data = study(5, therapist_sd=0.0, autocorrelation=0.4)
    result, smaller = (
        fit("y ~ x + z", data, groups=groups, residual="ar1", time="session")
        for groups in (LEVELS, ["client"])
    )
    assert result.singular == ("therapist:Intercept",)
    assert result.contrast("x").df == pytest.approx(smaller.contrast("x").df, rel=1e-4)
    data = lagged_study(2)
    data["therapist"] = data["client"] // 6
    result, smaller = (
        fit("y ~ x + before", data, groups=groups, time="session", lagged_outcome="before")
        for groups in (LEVELS, ["client"])
    )
    assert result.singular == ("therapist:Intercept",)
    for term in result.params.index:
        ours, theirs = result.contrast(term), smaller.contrast(term)
        assert (ours.df, ours.std_error) == pytest.approx((theirs.df, theirs.std_error), rel=1e-4)


def few_therapists(**columns: list[float]) -> pd.DataFrame:
    """Return three therapists with six clients each, and predictors of therapists."""
    data = study(1, clients=(6, 6, 6))
    return data.assign(
        **{name: np.array(values)[pd.factorize(data["therapist"])[0]] for name, values in columns.items()}
    )


def test_a_variance_that_the_design_leaves_open_leaves_no_degrees_of_freedom_and_says_so() -> None:
    # Three therapists and three coefficients of their level: no difference between therapists is left for a variance,
    # so that any value of it is a maximum and the standard errors of that level mean nothing.
    result = fit("y ~ x + w + v", few_therapists(w=[1.0, 0.0, 0.3], v=[0.0, 1.0, -1.0]))
    for term in result.params.index:
        assert np.isnan(result.contrast(term).df)
    for term in ("Intercept", "w", "v"):
        single = result.contrast(term, "kenward-roger")
        assert np.isnan([single.df, single.p_value, single.ci_low, single.ci_high]).all()
    assert np.isnan(result.contrast(["x", "w"], "kenward-roger").p_value)
    assert np.isfinite(result.contrast("x", "kenward-roger").ci_low)
    text = str(result.summary("kenward-roger"))
    assert "No interval for Intercept, w, v: the data do not determine" in text
    assert "No interval for Intercept, x, w, v: the data do not determine" in str(result.summary())


def test_a_variance_that_does_not_matter_may_be_left_open() -> None:
    # Slopes of therapists on a group of therapists: three parameters for two variances, one of each group.
    data = study(3, clients=(6,) * 10)
    data["group"] = (pd.factorize(data["therapist"])[0] % 2).astype(float)
    data["other"] = 1.0 - data["group"]
    three, two = (
        fit("y ~ x + group", data, random={"therapist": effects, "client": "1"})
        for effects in ("1 + group", "0 + other + group ||")
    )
    assert three.llf == pytest.approx(two.llf, abs=1e-8)
    assert three.kenward_roger.unidentified.shape[1] == 1
    assert two.kenward_roger.unidentified.shape[1] == 0
    for term in three.params.index:
        ours, theirs = (each.contrast(term, "kenward-roger") for each in (three, two))
        assert (ours.df, ours.std_error) == pytest.approx((theirs.df, theirs.std_error), rel=1e-5)


@cache
def perfectly_correlated() -> tuple[MultilevelResult, pd.DataFrame]:
    """Return a fit whose intercepts and slopes have correlation one."""
    data = study(2, clients=[4] * 6, sessions=[5], slope_sd=0.0)
    data["y"] += 0.3 * data["x"] * data.groupby("client")["y"].transform("mean")
    return fit("y ~ x + z", data, groups=["client"], random={"client": "1 + x"}), data


def test_a_correlation_of_one_is_flagged_and_is_a_maximum() -> None:
    result, data = perfectly_correlated()
    assert result.singular == ("client:covariance",)
    assert result.converged
    correlation = result.variance_components.set_index("kind").loc["covariance", "sd_or_correlation"]
    assert abs(correlation) == pytest.approx(1.0, abs=1e-6)
    assert dense(result, data).log_likelihood(reml=True) == pytest.approx(result.llf, abs=1e-8)


def test_a_correlation_of_one_has_finite_degrees_of_freedom_and_intervals_of_fixed_effects() -> None:
    result, _ = perfectly_correlated()
    for df in ("satterthwaite", "kenward-roger"):
        assert np.isfinite([result.contrast(term, df).df for term in result.params.index]).all()
    assert np.isfinite(result.confint().loc[result.params.index]).all(axis=None)


def test_no_variance_at_all_is_least_squares() -> None:
    data = study(1, therapist_sd=0.0, client_sd=0.0, slope_sd=0.0)
    # Residuals that alternate in sign are more alike between clients than within them.
    data["y"] = data["x"] + np.where(np.arange(len(data)) % 2, 1.0, -1.0)
    result, plain = fit("y ~ x + z", data), fit("y ~ x + z", data, groups=())
    assert result.singular == ("therapist:Intercept", "client:Intercept")
    assert standard_errors_apart(plain, result) < 1e-9
    assert result.llf == pytest.approx(plain.llf, abs=1e-9)
    assert result.contrast("x").df == pytest.approx(len(data) - 3)
    # The three variances that Kenward and Roger's method keeps cost some.
    assert 0.9 * (len(data) - 3) < result.contrast("x", "kenward-roger").df < len(data) - 3


def test_least_squares_by_its_own_formulas() -> None:
    data = study()
    result = fit("y ~ x + z", data, groups=())
    columns = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    coefficients, squares, _, _ = np.linalg.lstsq(columns, data["y"])
    variance = squares[0] / (len(data) - 3)
    assert result.params.to_numpy() == pytest.approx(coefficients, rel=1e-12)
    assert result.scale == pytest.approx(variance, rel=1e-12)
    assert result.cov_params().to_numpy() == pytest.approx(
        variance * np.linalg.inv(columns.T @ columns), rel=1e-10
    )
    assert result.contrast("x").df == pytest.approx(len(data) - 3)
    # Maximum likelihood divides by the number of rows, and its degrees of freedom are that many.
    full = result.refit(reml=False)
    assert full.scale == pytest.approx(squares[0] / len(data), rel=1e-12)
    assert full.contrast("x").df == pytest.approx(len(data))


STARTS = {
    "client_slope": [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.5, 0.0]],
    "independent_slope": [[0.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.7]],
    "autoregressive": [[0.0, 0.0, 0.0]],
    "therapist_alone": [[0.0, 0.0, 0.0]],
}


@pytest.mark.parametrize("name", STARTS)
def test_the_optimiser_does_not_stick_at_a_variance_of_zero(name: str) -> None:
    # Every start is a point where the slope by some standard deviation vanishes although the likelihood rises with it.
    made = model(data=study(5), **MODELS[name])
    likelihood = made.likelihood(reml=True)
    best = likelihood.maximise()
    assert not made.fit().singular
    for start in map(np.array, STARTS[name]):
        assert not likelihood.judge(start).converged
        found = likelihood.maximise(start)
        assert found.converged
        assert found.at.deviance == pytest.approx(best.at.deviance, abs=1e-9)


def test_an_autocorrelation_of_zero_in_continuous_time_is_flagged() -> None:
    # Residuals that alternate call for a negative autocorrelation, which continuous time does not know.
    data = study(3, sessions=[8])
    alternating = np.where(data.groupby("client").cumcount() % 2, 1.0, -1.0)
    table = data.assign(y=data["y"] + 2.0 * alternating)
    result = fit("y ~ x + z", table, groups=["client"], residual="ar1", time="week")
    independent = fit("y ~ x + z", table, groups=["client"])
    assert result.ar1 == pytest.approx(0.0, abs=1e-5)
    assert standard_errors_apart(independent, result) < 1e-5
    assert "residual:ar1" in result.singular
    # The model decides whether Kenward and Roger's method exists, not the estimate.
    with pytest.raises(UnavailableInference, match="linear in its parameters"):
        result.contrast("x", "kenward-roger")
    assert np.isnan(result.confint().loc["ar1", ["ci_low", "ci_high"]].to_numpy(dtype=float)).all()


def test_an_autocorrelation_of_close_rows_alone_is_not_zero() -> None:
    # A second rating five hours after every other one, the rest a week apart, where nothing of it is left.
    data = study(4, sessions=[12])
    number = data.groupby("client").cumcount()
    close = (number % 3 == 1).to_numpy()
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(data))
    noise[close] = 0.6 * noise[np.flatnonzero(close) - 1] + 0.8 * noise[close]
    table = data.assign(
        time=2 * (number // 3) + (number % 3).map({0: 0.0, 1: 0.03, 2: 1.0}),
        y=data["x"] + noise + rng.normal(size=32)[pd.factorize(data["client"])[0]],
    )
    result = fit("y ~ x", table, groups=["client"], residual="ar1", time="time")
    # 128 pairs: a correlation of 0.6 has a standard error of (1 − 0.36)/√128 = 0.06.
    assert result.ar1**0.03 == pytest.approx(0.6, abs=0.2)
    assert result.llf > fit("y ~ x", table, groups=["client"]).llf + 10.0
    assert result.singular == ()


def test_therapists_with_one_client_and_clients_with_one_session() -> None:
    data = study(3, clients=(1, 1, 1, 4, 2, 1, 3, 1), sessions=(1, 4, 1, 6, 3))
    result = fit("y ~ x + z", data)
    assert result.converged
    assert result.n_units == {"therapist": 8, "client": 14}
    reference = dense(result, data)
    assert result.params.to_numpy() == pytest.approx(reference.coefficients, rel=1e-9)
    assert result.llf == pytest.approx(reference.log_likelihood(reml=True), abs=1e-9)
    assert np.isfinite(result.cluster_robust(level="therapist").bse).all()


def test_with_one_row_per_client_clients_are_the_rows() -> None:
    data = study(2, clients=[6] * 8, sessions=[1])
    three, two = fit("y ~ x + z", data), fit("y ~ x + z", data, groups=["therapist"])
    assert three.params.equals(two.params)
    assert three.llf == two.llf
    assert list(three.variance_components["level"]) == ["therapist", "residual"]
    assert three.n_units == {"therapist": 8, "client": 48}
    assert list(three.icc()["level"]) == ["therapist"]


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (study(clients=[3]), {}, "only one therapist; leave that level out"),
        (study(clients=[1] * 9), {}, "every therapist has a single client"),
        (study(clients=[1] * 9, sessions=[1]), {}, "every therapist has a single client"),
        (
            study(sessions=[1]),
            {"random": {"client": "1 + x"}},
            "random slopes need clients with several rows",
        ),
        (study(sessions=[2]), {"random": {"client": "1 + x"}}, "leave out random slopes"),
        (
            study(sessions=[1]),
            {"residual": "ar1", "time": "session"},
            "AR.1. residuals need clients with several",
        ),
        (study(), {"groups": [], "residual": "ar1", "time": "session"}, "AR.1. residuals need"),
        (study().assign(session=1.0), {"residual": "ar1", "time": "session"}, "have the time of another row"),
        (study().assign(therapist=np.arange(176) % 5), {}, "clients must be nested in therapists"),
        (study().assign(y=3.0), {}, "outcome does not vary"),
        (study()[:3], {"groups": ["client"]}, "3 rows cannot determine 3 fixed effects"),
    ],
)
def test_designs_that_cannot_be_fitted_are_refused(data: pd.DataFrame, arguments: dict, message: str) -> None:
    with pytest.raises(UnfittableModel, match=message) as caught:
        fit("y ~ x + z", data, **arguments)
    assert not any(
        label in str(caught.value).split() for level in LEVELS for label in data[level].astype(str)
    )


def coefficients_of_each_client(data: pd.DataFrame) -> pd.Series:
    rng = np.random.default_rng(8)
    clients = data["client"].unique()
    own = pd.DataFrame(rng.normal(size=(len(clients), 2)), clients)
    return own[0].loc[data["client"]].to_numpy() + own[1].loc[data["client"]].to_numpy() * data["x"]


@pytest.mark.parametrize(
    ("outcome", "arguments"),
    [
        (lambda data: 1.0 + 2.0 * data["x"], {"groups": []}),
        (lambda data: 1.0 + 2.0 * data["x"], {}),
        (lambda data: data["x"] + data["client"].str[1:].astype(float), {}),
        (coefficients_of_each_client, {"random": {"client": "1 + x"}}),
        (coefficients_of_each_client, {"random": {"client": "1 + x", "therapist": "1"}}),
    ],
    ids=["fixed", "fixed beside random", "intercepts", "slopes", "slopes beside therapists"],
)
def test_an_outcome_that_is_reproduced_exactly_is_refused(outcome, arguments: dict) -> None:
    data = study()
    with pytest.raises(UnfittableModel, match="reproduced exactly"):
        fit("y ~ x + z", data.assign(y=outcome(data)), **arguments)


def test_an_outcome_that_is_nearly_reproduced_is_fitted() -> None:
    data = study()
    rng = np.random.default_rng(3)
    noise = 1e-2 * rng.normal(size=len(data))
    result = fit(
        "y ~ x + z", data.assign(y=coefficients_of_each_client(data) + noise), random={"client": "1 + x"}
    )
    assert result.converged
    # 32 clients of 5.5 sessions leave 110 degrees of freedom: the estimate is within 30 % but once in 10,000 times.
    assert np.sqrt(result.scale) == pytest.approx(1e-2, rel=0.3)
