"""Tests of fixed effects: how combinations are written, what is refused, and degrees of freedom known exactly."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_example import MODELS, example, fit, lagged_study, study
from scipy import stats

from alliance_outcome.models.contrast import Contrast
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fixed_effect_tests import JointContrast
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Two ways to the same number in double precision.
SAME = 1e-12


@pytest.fixture(scope="module")
def result() -> MultilevelResult:
    return example("client_slope")[0]


SINGLE = [
    {"x": 1.0, "z": -2.0},
    pd.Series({"z": -2.0, "x": 1.0}),
    np.array([0.0, 1.0, -2.0]),
    [0.0, 1.0, -2.0],
    (0, 1, -2),
]


@pytest.mark.parametrize("weights", SINGLE, ids=lambda weights: type(weights).__name__)
@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger", "normal"])
def test_a_combination_may_be_written_in_several_ways(
    result: MultilevelResult, weights: Any, df: str
) -> None:
    found = result.contrast(weights, df)
    assert isinstance(found, Contrast)
    assert found == result.contrast(SINGLE[0], df)
    assert found.estimate == pytest.approx(result.params["x"] - 2.0 * result.params["z"], rel=SAME)


def test_a_term_is_a_combination(result: MultilevelResult) -> None:
    assert result.contrast("x") == result.contrast({"x": 1.0})


@pytest.mark.parametrize("df", ["satterthwaite", "normal"])
def test_a_combination_has_the_t_interval_of_its_variance(result: MultilevelResult, df: str) -> None:
    found = result.contrast({"x": 1.0, "z": -2.0}, df, ci_level=0.9)
    weights = np.array([0.0, 1.0, -2.0])
    error = np.sqrt(weights @ result.cov_params().to_numpy() @ weights)
    quantile = stats.t.ppf(0.95, found.df)
    assert found.std_error == pytest.approx(error, rel=SAME)
    assert found.statistic == pytest.approx(found.estimate / error, rel=SAME)
    assert found.p_value == pytest.approx(2.0 * stats.t.sf(abs(found.estimate / error), found.df), rel=1e-10)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.estimate - quantile * error, found.estimate + quantile * error), rel=SAME
    )
    assert np.isinf(found.df) == (df == "normal")


JOINT = [
    ["x", "z"],
    [{"x": 1.0}, {"z": 1.0}],
    {"one": "x", "other": {"z": 1.0}},
    {"one": [0.0, 1.0, 0.0], "other": pd.Series({"z": 1.0})},
    np.eye(3)[1:],
    [pd.Series({"x": 1.0}), pd.Series({"z": 1.0})],
]


@pytest.mark.parametrize("weights", JOINT, ids=range(len(JOINT)))
@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger", "normal"])
def test_combinations_are_tested_together(result: MultilevelResult, weights: Any, df: str) -> None:
    found, reference = result.contrast(weights, df), result.contrast(JOINT[0], df)
    assert isinstance(found, JointContrast)
    assert found.df_numerator == 2
    assert (found.statistic, found.df, found.p_value) == pytest.approx(
        (reference.statistic, reference.df, reference.p_value), rel=1e-9
    )


def test_a_table_of_weights_is_taken_row_by_row(result: MultilevelResult) -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0], "z": [0.0, 1.0]}, ["one", "other"])
    found = result.contrast(rows)
    expected = result.contrast({"one": {"x": 1.0}, "other": {"x": 2.0, "z": 1.0}})
    assert found.estimate.to_dict() == pytest.approx(expected.estimate.to_dict(), rel=SAME)
    assert found.statistic == pytest.approx(expected.statistic, rel=SAME)


@pytest.mark.parametrize("df", ["kenward-roger", "normal"])
def test_another_basis_of_the_same_space_is_the_same_hypothesis(result: MultilevelResult, df: str) -> None:
    # Satterthwaite's degrees of freedom depend on the basis, in lmerTest as here; its statistic does not.
    found = result.contrast([{"x": 1.0, "z": 1.0}, {"x": 3.0, "z": -5.0}], df)
    plain = result.contrast(["x", "z"], df)
    assert (found.statistic, found.df) == pytest.approx((plain.statistic, plain.df), rel=1e-9)


def test_the_joint_test_is_the_wald_statistic_by_its_rows(result: MultilevelResult) -> None:
    estimates = result.params[["x", "z"]].to_numpy()
    wald = estimates @ np.linalg.solve(result.cov_params().loc[["x", "z"], ["x", "z"]], estimates)
    normal = result.contrast(["x", "z"], "normal")
    assert normal.statistic == pytest.approx(wald / 2.0, rel=1e-10)
    assert normal.p_value == pytest.approx(stats.chi2.sf(wald, 2), rel=1e-8)
    satterthwaite = result.contrast(["x", "z"])
    assert satterthwaite.statistic == pytest.approx(wald / 2.0, rel=1e-10)
    assert satterthwaite.p_value == pytest.approx(stats.f.sf(wald / 2.0, 2, satterthwaite.df), rel=1e-8)


def test_a_joint_test_shows_each_of_its_combinations(result: MultilevelResult) -> None:
    joint = result.contrast({"one": {"x": 1.0}, "other": {"x": 1.0, "z": 1.0}}, ci_level=0.8)
    for name, weights in (("one", {"x": 1.0}), ("other", {"x": 1.0, "z": 1.0})):
        single = result.contrast(weights, ci_level=0.8)
        for field in ("estimate", "std_error", "ci_low", "ci_high"):
            assert getattr(joint, field)[name] == getattr(single, field)


def test_a_joint_test_of_one_row_is_the_square_of_its_t(result: MultilevelResult) -> None:
    joint, single = result.contrast([{"x": 1.0}]), result.contrast("x")
    assert joint.statistic == pytest.approx(single.statistic**2, rel=1e-10)
    assert joint.df == pytest.approx(single.df, rel=1e-10)
    assert joint.p_value == pytest.approx(single.p_value, rel=1e-8)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("clinic", "no terms clinic"),
        ({"clinic": 1.0}, "no terms clinic"),
        (["x", "clinic"], "no terms clinic"),
        (pd.Series({"clinic": 1.0}), "no terms clinic"),
        ([1.0, 0.0], "weights of 3 terms have shape"),
        (np.eye(4), "weights of 3 terms have shape"),
        ([], "weights of 3 terms have shape"),
        ({"x": 0.0}, "no fixed effect any weight"),
        ({}, "no fixed effect any weight"),
        ([{"x": 1.0}, {"x": -2.0}], "combination of the others"),
        (["x", "z", {"x": 1.0, "z": 1.0}], "combination of the others"),
        (["x", "x"], "combination of the others"),
    ],
)
@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger", "normal"])
def test_hypotheses_that_are_none_are_refused(
    result: MultilevelResult, weights: Any, message: str, df: str
) -> None:
    with pytest.raises(ValueError, match=message):
        result.contrast(weights, df)


@pytest.mark.parametrize("ci_level", [0.0, 1.0, 95.0])
def test_coverages_that_are_none_are_refused(result: MultilevelResult, ci_level: float) -> None:
    with pytest.raises(ValueError, match="ci_level"):
        result.contrast("x", ci_level=ci_level)
    with pytest.raises(ValueError, match="ci_level"):
        result.cluster_robust().contrast("x", ci_level=ci_level)


def test_unknown_degrees_of_freedom_are_refused(result: MultilevelResult) -> None:
    with pytest.raises(ValueError, match="'satterthwaite', 'kenward-roger' or 'normal'"):
        result.contrast("x", "residual")


def balanced(groups: int, size: int) -> pd.DataFrame:
    """Units of equal size: a treatment of units, and one of rows that has the same values in every unit."""
    rng = np.random.default_rng(groups)
    unit = np.repeat(np.arange(groups), size)
    return pd.DataFrame(
        {
            "unit": unit,
            "between": np.where(unit % 2, 1.0, -1.0),
            "within": np.tile(np.resize([0.0, 1.0], size), groups),
            "y": rng.normal(size=groups)[unit] + rng.normal(size=groups * size),
        }
    )


@pytest.mark.parametrize(("groups", "size"), [(4, 3), (6, 2), (10, 5), (30, 4)])
def test_balanced_groups_have_the_degrees_of_freedom_of_analysis_of_variance(groups: int, size: int) -> None:
    # One between variance that is the mean square between units: groups − 2 for a treatment of units.
    result = fit("y ~ between", balanced(groups, size), groups=["unit"])
    assert not result.singular
    assert result.contrast("between").df == pytest.approx(groups - 2, rel=1e-6)
    assert result.contrast("Intercept").df == pytest.approx(groups - 2, rel=1e-6)
    data = balanced(groups, size)
    means = data.groupby("unit")[["y", "between"]].mean()
    classical = stats.linregress(means["between"], means["y"])
    assert result.contrast("between").p_value == pytest.approx(classical.pvalue, rel=1e-6)


@pytest.mark.parametrize(("plots", "size"), [(6, 4), (10, 6)])
def test_a_balanced_split_plot_has_its_exact_tests(plots: int, size: int) -> None:
    # Whole plots: plots − 2. Split plots: rows − plots − the treatment and its interaction.
    result = fit("y ~ between*within", balanced(plots, size), groups=["unit"])
    assert not result.singular
    for df in ("satterthwaite", "kenward-roger"):
        within = result.contrast("between:within", df)
        assert within.df == pytest.approx(plots * size - plots - 2, rel=1e-6)
        whole = result.contrast({"between": 1.0, "between:within": 0.5}, df)
        assert whole.df == pytest.approx(plots - 2, rel=1e-6)
    interaction = result.contrast([{"within": 1.0}, {"between:within": 1.0}])
    assert interaction.df == pytest.approx(plots * size - plots - 2, rel=1e-6)


def test_joint_degrees_of_freedom_pool_those_of_independent_rows() -> None:
    # lmerTest: with E = Σ df/(df − 2), 2E/(E − q); here the rows are independent by balance.
    result = fit("y ~ between*within", balanced(10, 6), groups=["unit"])
    whole, split = {"between": 1.0, "between:within": 0.5}, {"between:within": 1.0}
    single = [result.contrast(row).df for row in (whole, split)]
    expectation = sum(df / (df - 2.0) for df in single)
    assert result.contrast([whole, split]).df == pytest.approx(
        2.0 * expectation / (expectation - 2.0), rel=1e-6
    )


@pytest.mark.parametrize(
    ("refit", "message"),
    [
        (lambda: example("client_slope", reml=False)[0], "reml=True"),
        (lambda: example("autoregressive")[0], "linear in its parameters"),
        (
            lambda: fit(
                "y ~ x + before", lagged_study(1), groups=["client"], time="session", lagged_outcome="before"
            ),
            "earlier outcome",
        ),
    ],
    ids=["maximum likelihood", "AR(1)", "lagged outcome"],
)
def test_kenward_roger_is_refused_where_it_is_not_derived(refit, message: str) -> None:
    with pytest.raises(UnavailableInference, match=message):
        refit().contrast("x", "kenward-roger")


@pytest.mark.parametrize("name", MODELS)
def test_other_degrees_of_freedom_exist_for_every_model(name: str) -> None:
    result = example(name)[0]
    degrees = [result.contrast(term).df for term in result.params.index]
    assert all(0.0 < df <= result.n_rows for df in degrees)


def test_predictors_of_higher_levels_have_fewer_degrees_of_freedom() -> None:
    result = fit("y ~ w + z + x", study())
    degrees = [result.contrast(term).df for term in ("w", "z", "x")]
    assert all(above < below for above, below in pairwise(degrees))
    # There are 8 therapists, 32 clients and 176 rows; effects above take one or two.
    assert degrees[0] < 8 < degrees[1] < 32 < degrees[2] < 176
