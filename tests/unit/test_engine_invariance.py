"""What must not matter: the order of rows, labels, units of measurement, offsets, near-collinearity."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from engine_example import LEVELS, MODELS, example, fit, model, standard_errors_apart, study

from alliance_outcome.models.design_checks import RankDeficientDesign

#: What the design promises for another order of rows, in standard errors.
SAME_ESTIMATES = 1e-10

#: Other columns for the same model lead the optimiser to the same maximum on another path: what its tolerance leaves.
SAME_MAXIMUM = 1e-6

LABELS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "texts": lambda codes: "unit " + codes.astype(str),
    "whole numbers": lambda codes: 7 * codes - 50,
    "fractions": lambda codes: codes / 4.0,
    "categories": lambda codes: codes.astype(str).astype("category"),
    "moments": lambda codes: pd.Timestamp("2026-01-05") + pd.to_timedelta(codes, unit="D"),
    "tuples": lambda codes: pd.Series([("unit", code) for code in codes], codes.index),
    "of several types": lambda codes: pd.Series(
        [str(code) if code % 2 else code for code in codes], codes.index
    ),
}


def shuffled(data: pd.DataFrame, seed: int) -> pd.DataFrame:
    return data.sample(frac=1.0, random_state=seed)


@pytest.mark.parametrize("name", MODELS)
def test_order_of_rows_does_not_matter(name: str) -> None:
    result, data = example(name)
    again = fit(data=shuffled(data, 1), **MODELS[name])
    assert standard_errors_apart(result, again) < SAME_ESTIMATES
    assert again.llf == pytest.approx(result.llf, rel=1e-12)
    assert again.scale == pytest.approx(result.scale, rel=SAME_ESTIMATES)
    # Degrees of freedom come from second differences of the deviance, in which rounding weighs more.
    assert again.contrast("x").df == pytest.approx(result.contrast("x").df, rel=1e-8)
    assert again.fittedvalues.sort_index().to_numpy() == pytest.approx(result.fittedvalues, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_order_of_rows_does_not_matter_in_large_designs_that_are_first_fitted_in_part(seed: int) -> None:
    data = study(seed, clients=[10] * 410, sessions=[3])
    arguments = {"formula": "y ~ x + z", "random": {"client": "1 + x", "therapist": "1"}}
    result, again = (fit(data=table, **arguments) for table in (data, shuffled(data, seed)))
    assert standard_errors_apart(result, again) < SAME_ESTIMATES


@pytest.mark.parametrize("kind", LABELS)
def test_any_labels_will_do(kind: str) -> None:
    result, data = example("client_slope")
    codes = {level: pd.Series(pd.factorize(data[level])[0], data.index) for level in LEVELS}
    relabelled = data.assign(**{level: LABELS[kind](codes[level]) for level in LEVELS})
    again = fit(data=relabelled, **MODELS["client_slope"])
    assert standard_errors_apart(result, again) == 0.0
    assert list(again.random_effects("client")["client"].unique()) == list(relabelled["client"].unique())
    assert again.predict(relabelled).to_numpy() == pytest.approx(result.fittedvalues, abs=1e-12)


def test_random_effects_come_in_the_order_in_which_units_appear() -> None:
    data = shuffled(study(), 4)
    effects = fit("y ~ x", data).random_effects("client")
    assert list(effects["client"]) == list(data["client"].unique())


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("name", ["client_slope", "independent_slope", "slope_alone", "continuous_time"])
def test_units_of_measurement_do_not_matter(name: str, scale: float) -> None:
    result, data = example(name)
    again = fit(data=data.assign(x=scale * data["x"], y=data["y"] / scale), **MODELS[name])
    factor = 1.0 / scale / np.where(result.params.index == "x", scale, 1.0)
    assert (again.params / factor).to_numpy() == pytest.approx(result.params, rel=SAME_MAXIMUM)
    assert (again.bse / factor).to_numpy() == pytest.approx(result.bse, rel=SAME_MAXIMUM)
    slopes = np.where(result.variance_components["term"] == "x", scale, 1.0)
    other_slopes = np.where(result.variance_components["term2"] == "x", scale, 1.0)
    expected = result.variance_components["value"] / scale**2 / slopes / other_slopes
    assert again.variance_components["value"].to_numpy() == pytest.approx(expected, rel=1e-5)
    assert again.contrast("x").df == pytest.approx(result.contrast("x").df, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "factor"), [("autoregressive", 30.0), ("continuous_time", 30.0), ("continuous_time", 0.02)]
)
def test_the_unit_of_time_does_not_matter(name: str, factor: float) -> None:
    # Days instead of months, years instead of weeks: at a start of φ = 0.1 a day, nothing is left of it after a month.
    result, data = example(name)
    time = MODELS[name]["time"]
    again = fit(data=data.assign(**{time: factor * data[time]}), **MODELS[name])
    assert again.ar1**factor == pytest.approx(result.ar1, rel=1e-4)
    assert again.llf == pytest.approx(result.llf, abs=1e-7)
    assert standard_errors_apart(result, again) < 1e-4


def test_times_in_whole_days_a_month_apart_are_no_obstacle() -> None:
    # Whole numbers without a common divisor: they are not rescaled to months, and 0.1 ** 30 is nothing.
    data = study(5, autocorrelation=0.5, time="week")
    days = (30.0 * data["week"]).round()
    arguments = {"formula": "y ~ x + z", "groups": ["client"], "residual": "ar1"}
    in_days = fit(data=data.assign(day=days), time="day", **arguments)
    in_months = fit(data=data.assign(month=days / 30.0 + 1e-3), time="month", **arguments)
    assert in_days.ar1**30 == pytest.approx(in_months.ar1, rel=1e-4)
    assert in_days.llf == pytest.approx(in_months.llf, abs=1e-6)


@pytest.mark.parametrize("name", ["client_slope", "slopes_at_both_levels", "continuous_time"])
def test_large_offsets_keep_digits(name: str) -> None:
    data = example(name)[1]
    # A power of two loses no digit of x itself: 2**21 seconds are 24 days.
    offset = 2.0**21
    again = fit(
        data=data.assign(x=(data["x"] * 2**20).round() / 2**20 + offset, y=data["y"] + offset), **MODELS[name]
    )
    exact = fit(data=data.assign(x=(data["x"] * 2**20).round() / 2**20), **MODELS[name])
    at_origin = again.contrast({"Intercept": 1.0, "x": offset})
    assert again.params["x"] == pytest.approx(exact.params["x"], rel=SAME_MAXIMUM)
    assert again.bse["x"] == pytest.approx(exact.bse["x"], rel=SAME_MAXIMUM)
    # The intercept is far from the data now; 1e-6 is its own rounding, some 1e-16 of 2e6 times slopes of 0.5.
    assert at_origin.estimate - offset == pytest.approx(exact.params["Intercept"], abs=1e-6)
    assert at_origin.std_error == pytest.approx(exact.bse["Intercept"], rel=1e-6)
    assert again.llf == pytest.approx(exact.llf, abs=1e-7)
    slope = again.random_covariance("client").loc["x", "x"]
    assert slope == pytest.approx(exact.random_covariance("client").loc["x", "x"], rel=1e-5)


def exact_least_squares(columns: np.ndarray, outcome: np.ndarray) -> list[float]:
    """Solve normal equations in rational numbers."""
    rows = [[Fraction(float(value)) for value in row] for row in np.column_stack([columns, outcome])]
    p = columns.shape[1]
    system = [[sum(row[a] * row[b] for row in rows) for b in range(p + 1)] for a in range(p)]
    for a in range(p):
        for b in range(p):
            if a != b:
                ratio = system[b][a] / system[a][a]
                system[b] = [below - ratio * above for above, below in zip(system[a], system[b], strict=True)]
    return [float(system[a][p] / system[a][a]) for a in range(p)]


def test_nearly_collinear_columns_keep_digits() -> None:
    data = study(clients=[4] * 6, sessions=[4])
    data["twin"] = data["x"] + 1e-5 * data["week"]
    result = fit("y ~ x + twin", data, groups=())
    columns = np.column_stack([np.ones(len(data)), data["x"], data["twin"]])
    expected = exact_least_squares(columns, data["y"].to_numpy())
    # Columns as they are lose two times five digits of sixteen in normal equations, which would leave 1e-6.
    assert result.params.to_numpy() == pytest.approx(expected, rel=1e-9)


def test_nearly_collinear_columns_have_the_fit_of_their_difference() -> None:
    data = study()
    data["twin"] = data["x"] + 1e-5 * data["week"]
    result = fit("y ~ x + twin", data)
    apart = fit("y ~ x + week", data)
    difference = result.contrast({"x": 1.0, "twin": 1.0})
    assert result.params["twin"] * 1e-5 == pytest.approx(apart.params["week"], rel=1e-6)
    assert result.bse["twin"] * 1e-5 == pytest.approx(apart.bse["week"], rel=1e-6)
    assert difference.estimate == pytest.approx(apart.params["x"], rel=1e-6)
    assert difference.df == pytest.approx(apart.contrast("x").df, rel=1e-5)


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        ("y ~ x + z + twice", {"x", "twice"}),
        ("y ~ x + constant", {"Intercept", "constant"}),
        ("y ~ x + z + total", {"x", "z", "total"}),
        ("y ~ x + none", {"Intercept", "none"}),
        ("y ~ sex + male", {"sex[T.Male]", "male"}),
        ("y ~ 0 + x + twice + z", {"x", "twice"}),
        ("y ~ 0 + sex + constant", {"sex[Female]", "sex[Male]", "constant"}),
        ("y ~ 0 + x + none", {"none"}),
    ],
)
def test_collinear_columns_are_named(formula: str, columns: set[str]) -> None:
    data = study().assign(
        twice=lambda table: 2.0 * table["x"],
        total=lambda table: table["x"] + table["z"],
        male=lambda table: (table["sex"] == "Male").astype(float),
        constant=0.1,
        none=0.0,
    )
    with pytest.raises(RankDeficientDesign) as caught:
        model(formula, data)
    assert set(caught.value.columns) == columns
    assert all(column in str(caught.value) for column in columns)


def test_a_dummy_for_each_category_is_no_collinearity_without_intercept() -> None:
    data = study()
    dummies, treatment = fit("y ~ 0 + sex + x", data), fit("y ~ sex + x", data)
    assert dummies.params["sex[Female]"] == pytest.approx(treatment.params["Intercept"], rel=SAME_MAXIMUM)
    assert dummies.llf == pytest.approx(treatment.llf, abs=1e-8)


def test_a_slope_of_a_column_that_never_varies_is_refused() -> None:
    # The mean of many times 0.1 is not 0.1 to the last digit.
    with pytest.raises(ValueError, match="constant"):
        model("y ~ x", study().assign(constant=0.1), random={"client": "1 + constant"})
