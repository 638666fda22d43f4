"""`MultilevelModel` against lme4, lmerTest, pbkrtest, clubSandwich and nlme on stored data.

The R calls stand in ``engine/reference.R``, which wrote data and expected values. Two parities:

- *at R's own variance parameters* nothing depends on where an optimiser stopped: criterion, fixed effects, standard
  errors, CR2, Kenward–Roger covariance and degrees of freedom to 1e-8 relative (covariances relative to the product of
  standard errors, because some are zero). Satterthwaite degrees of freedom to 1e-4, because lmerTest differentiates
  numerically (those of the AR(1) designs come from whole-matrix code in the script);
- *optimum to optimum*: criterion 1e-7 relative, fixed effects 1e-4 standard errors, standard errors 1e-4, variance
  components 1e-3 of the residual variance, degrees of freedom 1 %, AR(1) autocorrelation 1e-4.

Kenward–Roger keeps effects on the boundary, as pbkrtest does, so that singular fits are held against it too, and so are
given points of the boundary that no optimiser would find. They are left out of Satterthwaite degrees of freedom: ours
are those of the model without the effects that have no variance (tests/unit), lmerTest has a rule of its own there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

REFERENCE = Path(__file__).parent / "engine"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text(encoding="utf-8"))
DESIGNS = EXPECTED["designs"]


def model_of(design: dict, data_file: str) -> MultilevelModel:
    """Make our model from a stored design description."""
    data = pd.read_csv(REFERENCE / data_file)
    for name, levels in (design["categories"] or {}).items():
        data[name] = pd.Categorical(data[name], categories=levels)
    return MultilevelModel.from_formula(
        design["formula"],
        data,
        groups=design["groups"],
        random=design["random"],
        residual=design["residual"],
        time=design["time"],
    )


@dataclass
class Comparison:
    """A design as R saw it and as we do."""

    name: str

    @cached_property
    def expected(self) -> dict:
        return DESIGNS[self.name]

    @cached_property
    def model(self) -> MultilevelModel:
        return model_of(self.expected["design"], self.expected["data"])

    @property
    def reml(self) -> bool:
        return self.expected["design"]["reml"]

    @cached_property
    def at_reference(self) -> MultilevelResult:
        """Evaluated at R's own variance parameters."""
        covariances = {level: np.array(m) for level, m in self.expected["relative_covariance"].items()}
        return self.model.evaluate(covariances, self.expected.get("phi"), reml=self.reml)

    @cached_property
    def fit(self) -> MultilevelResult:
        return self.model.fit(reml=self.reml)

    @property
    def covariance(self) -> np.ndarray:
        return np.array(self.expected["vcov"])

    @property
    def standard_errors(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


COMPARISONS = {name: Comparison(name) for name in DESIGNS}
REGULAR = [name for name, design in DESIGNS.items() if not design["singular"]]
KENWARD_ROGER = [name for name in DESIGNS if DESIGNS[name].get("kenward_roger")]
AUTOREGRESSIVE = [name for name, design in DESIGNS.items() if design["design"]["residual"] == "ar1"]
CR2 = [
    (name, level)
    for name, design in DESIGNS.items()
    for level, robust in design["cr2"].items()
    if "vcov" in robust and level in design["design"]["groups"]
]


@pytest.fixture(params=list(DESIGNS))
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return COMPARISONS[request.param]


def relative_difference(ours: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference of covariances, relative to the products of standard errors."""
    scale = np.sqrt(np.diag(reference))
    return float(np.max(np.abs(ours - reference) / np.outer(scale, scale)))


# -- At R's own variance parameters -----------------------------------------------------------------------------------


def test_there_are_twelve_designs_and_more() -> None:
    assert len(DESIGNS) >= 12
    assert {len(design["design"]["groups"]) for design in DESIGNS.values()} == {1, 2}


def test_terms_have_lme4s_names_and_order(comparison: Comparison) -> None:
    assert list(comparison.fit.params.index) == comparison.expected["terms"]


def test_criterion_at_reference(comparison: Comparison) -> None:
    assert -2.0 * comparison.at_reference.llf == pytest.approx(comparison.expected["criterion"], rel=1e-8)
    assert comparison.at_reference.llf == pytest.approx(comparison.expected["log_likelihood"], rel=1e-8)


def test_information_criteria_at_reference(comparison: Comparison) -> None:
    result = comparison.at_reference
    assert result.n_parameters == comparison.expected["n_parameters"]
    assert [result.aic, result.bic] == pytest.approx(
        [comparison.expected["aic"], comparison.expected["bic"]], rel=1e-8
    )


def test_fixed_effects_at_reference(comparison: Comparison) -> None:
    ours = comparison.at_reference
    # Relative to the estimate, or to its standard error where the estimate is near zero.
    scale = np.maximum(np.abs(comparison.expected["fixef"]), comparison.standard_errors)
    assert np.all(np.abs(ours.params.to_numpy() - comparison.expected["fixef"]) <= 1e-8 * scale)


def test_covariance_at_reference(comparison: Comparison) -> None:
    ours = comparison.at_reference.cov_params().to_numpy()
    assert relative_difference(ours, comparison.covariance) <= 1e-8


def test_residual_variance_at_reference(comparison: Comparison) -> None:
    assert comparison.at_reference.scale == pytest.approx(comparison.expected["sigma"] ** 2, rel=1e-8)


def test_fitted_values_at_reference(comparison: Comparison) -> None:
    ours = comparison.at_reference.fittedvalues.iloc[:5].to_numpy()
    assert ours == pytest.approx(
        comparison.expected["fitted"], rel=1e-8, abs=1e-8 * comparison.expected["sigma"]
    )


def test_random_effects_at_reference(comparison: Comparison) -> None:
    for level, stored in comparison.expected["random_effects"].items():
        frame = comparison.at_reference.random_effects(level)
        ours = frame.pivot(index=level, columns="term", values="estimate").loc[
            stored["units"], stored["terms"]
        ]
        scale = 1e-8 * np.sqrt(np.diag(comparison.at_reference.random_covariance(level)))
        assert np.all(np.abs(ours.to_numpy() - np.array(stored["estimate"])) <= np.maximum(scale, 1e-12))
        if stored.get("sd") is not None:
            errors = frame.pivot(index=level, columns="term", values="std_error")
            errors = errors.loc[stored["units"], stored["terms"]].to_numpy()
            assert errors == pytest.approx(np.array(stored["sd"]), rel=1e-7, abs=1e-10)


@pytest.mark.parametrize(("name", "level"), CR2)
def test_cr2_at_reference(name: str, level: str) -> None:
    compared = COMPARISONS[name]
    stored = compared.expected["cr2"][level]
    robust = compared.at_reference.cluster_robust("CR2", level)
    assert relative_difference(robust.cov_params().to_numpy(), np.array(stored["vcov"])) <= 1e-8
    if stored.get("df") is not None:
        ours = [robust.contrast(term).df for term in compared.expected["terms"]]
        assert ours == pytest.approx(stored["df"], rel=1e-8)


@pytest.mark.parametrize("name", KENWARD_ROGER)
def test_kenward_roger_at_reference(name: str) -> None:
    assert_kenward_roger(COMPARISONS[name].at_reference, COMPARISONS[name].expected)


def assert_kenward_roger(result: MultilevelResult, expected: dict) -> None:
    stored = expected["kenward_roger"]
    ours = result.in_raw_units(result.kenward_roger.adjusted_covariance).to_numpy()
    assert relative_difference(ours, np.array(stored["vcov"])) <= 1e-8
    singles = [result.contrast(term, df="kenward-roger") for term in expected["terms"]]
    assert [single.df for single in singles] == pytest.approx(stored["df"], rel=1e-8)
    assert [single.statistic**2 for single in singles] == pytest.approx(stored["statistic"], rel=1e-7)
    joint = result.contrast(expected["joint_terms"], df="kenward-roger")
    assert joint.df == pytest.approx(stored["joint"]["df"], rel=1e-8)
    assert joint.statistic == pytest.approx(stored["joint"]["statistic"], rel=1e-7)
    assert joint.p_value == pytest.approx(stored["joint"]["p_value"], rel=1e-6)


def test_kenward_roger_is_compared_on_the_boundary_too() -> None:
    assert {"zero_therapist_variance", "boundary_correlation"} <= set(KENWARD_ROGER) - set(REGULAR)


@pytest.mark.parametrize("expected", EXPECTED["on_the_boundary"], ids=lambda expected: expected["what"])
def test_kenward_roger_at_given_points_of_the_boundary(expected: dict) -> None:
    covariances = {level: np.array(m) for level, m in expected["relative_covariance"].items()}
    result = COMPARISONS[expected["design"]].model.evaluate(covariances)
    assert result.singular
    assert_kenward_roger(result, expected)


@pytest.mark.parametrize("name", REGULAR)
def test_satterthwaite_at_reference(name: str) -> None:
    compared = COMPARISONS[name]
    stored = compared.expected["satterthwaite"]
    singles = [compared.at_reference.contrast(term) for term in compared.expected["terms"]]
    assert [single.df for single in singles] == pytest.approx(stored["df"], rel=1e-4)
    assert [single.statistic**2 for single in singles] == pytest.approx(stored["statistic"], rel=1e-7)
    joint = compared.at_reference.contrast(compared.expected["joint_terms"])
    assert joint.df == pytest.approx(stored["joint"]["df"], rel=1e-4)
    assert joint.statistic == pytest.approx(stored["joint"]["statistic"], rel=1e-7)


# -- Optimum to optimum -----------------------------------------------------------------------------------------------


def test_converged_and_boundary(comparison: Comparison) -> None:
    assert comparison.fit.converged
    assert bool(comparison.fit.singular) is comparison.expected["singular"]


def test_criterion_at_the_optimum(comparison: Comparison) -> None:
    ours = -2.0 * comparison.fit.llf
    assert ours == pytest.approx(comparison.expected["criterion"], rel=1e-7)
    # Nobody is better than us by more than rounding.
    assert ours <= comparison.expected["criterion"] + 1e-8 * abs(comparison.expected["criterion"])


def test_fixed_effects_at_the_optimum(comparison: Comparison) -> None:
    difference = np.abs(comparison.fit.params.to_numpy() - comparison.expected["fixef"])
    assert np.all(difference <= 1e-4 * comparison.standard_errors)
    assert comparison.fit.bse.to_numpy() == pytest.approx(comparison.standard_errors, rel=1e-4)


def test_variance_components_at_the_optimum(comparison: Comparison) -> None:
    reference = {
        (
            row["level"].lower(),
            frozenset((row["term"] or "residual", row["term2"] or row["term"] or "residual")),
        ): row["vcov"]
        for row in comparison.expected["components"]
    }
    ours = {
        (row.level, frozenset((row.term, row.term2))): row.value
        for row in comparison.fit.variance_components.itertuples()
    }
    assert ours == pytest.approx(reference, abs=1e-3 * comparison.expected["sigma"] ** 2)


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_autocorrelation_at_the_optimum(name: str) -> None:
    assert COMPARISONS[name].fit.ar1 == pytest.approx(COMPARISONS[name].expected["phi"], abs=1e-4)


@pytest.mark.parametrize("name", REGULAR)
def test_satterthwaite_at_the_optimum(name: str) -> None:
    compared = COMPARISONS[name]
    ours = [compared.fit.contrast(term).df for term in compared.expected["terms"]]
    assert ours == pytest.approx(compared.expected["satterthwaite"]["df"], rel=0.01)


@pytest.mark.parametrize("name", KENWARD_ROGER)
def test_kenward_roger_at_the_optimum(name: str) -> None:
    compared = COMPARISONS[name]
    ours = [compared.fit.contrast(term, df="kenward-roger").df for term in compared.expected["terms"]]
    assert ours == pytest.approx(compared.expected["kenward_roger"]["df"], rel=0.01)


@pytest.mark.parametrize("name", [name for name, design in DESIGNS.items() if "default_stop" in design])
def test_never_worse_than_lme4_as_it_stops_by_default(name: str) -> None:
    """lme4's default optimiser stops up to 1e-7 above the optimum, and on uncentred age far above it."""
    ours, stop = -2.0 * COMPARISONS[name].fit.llf, DESIGNS[name]["default_stop"]["criterion"]
    assert ours <= stop + 1e-9 * abs(stop)


def test_where_lme4_stops_short_ours_is_better() -> None:
    short = {
        name: design["default_stop"]["excess"]
        for name, design in DESIGNS.items()
        if design.get("default_stop", {}).get("excess", 0.0) > 1e-8
    }
    assert "growth" in short, "the stored run of lme4 has no design on which it stops short"
    for name, excess in short.items():
        gained = DESIGNS[name]["default_stop"]["criterion"] + 2.0 * COMPARISONS[name].fit.llf
        assert gained == pytest.approx(excess, rel=0.05, abs=1e-9)


# -- Tests and intervals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(EXPECTED["likelihood_ratio"]))
def test_likelihood_ratio(name: str) -> None:
    stored = EXPECTED["likelihood_ratio"][name]
    small = model_of(stored["small"], stored["data"]).fit(reml=stored["small"]["reml"])
    ours = COMPARISONS[stored["large"]].fit.likelihood_ratio(small)
    assert ours.df == stored["df"]
    assert ours.log_likelihoods == pytest.approx(
        (stored["log_likelihood_small"], stored["log_likelihood_large"]), rel=1e-8
    )
    assert ours.statistic == pytest.approx(stored["statistic"], rel=1e-6)
    assert ours.p_value == pytest.approx(stored["p_value"], rel=1e-5)


@pytest.mark.parametrize("stored", EXPECTED["profile"], ids=lambda stored: stored["design"])
def test_profile_intervals(stored: dict) -> None:
    """Ends agree with lme4's to a thousandth of the interval: lme4 interpolates its profile with splines."""
    ours = model_of(DESIGNS[stored["design"]]["design"], DESIGNS[stored["design"]]["data"]).fit()
    table = ours.confint("profile", ci_level=stored["level"])
    for name, low, high in zip(stored["names"], stored["lower"], stored["upper"], strict=True):
        row = table.loc[our_name(name)]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([low, high], abs=1e-3 * (high - low)), name


def our_name(name: str) -> str:
    """Translate lme4's name of a profiled parameter."""
    name = name.replace("(Intercept)", "Intercept")
    if name == "sigma":
        return "sd(residual)"
    if name.startswith("sd_"):
        term, level = name.removeprefix("sd_").split("|")
        return f"sd({level}: {term})"
    if name.startswith("cor_"):
        terms, level = name.removeprefix("cor_").split("|")
        second, first = terms.split(".")
        return f"correlation({level}: {second}, {first})"
    return name


@pytest.mark.parametrize("stored", EXPECTED["naming"], ids=lambda stored: stored["formula"])
def test_names_and_order_of_terms(stored: dict) -> None:
    design = dict(DESIGNS["factors"]["design"], formula=stored["formula"])
    assert list(model_of(design, "factors.csv").design.terms) == stored["terms"]


R_SQUARED = [name for name, design in DESIGNS.items() if "r_squared" in design]


@pytest.mark.parametrize("name", R_SQUARED)
def test_r_squared_at_reference(name: str) -> None:
    """Parts by the published formulas, coded independently in R: total shares to 1e-8."""
    stored = DESIGNS[name]["r_squared"]
    ours = COMPARISONS[name].at_reference.r_squared()
    assert ours.variance() == pytest.approx(stored["total_variance"], rel=1e-8)
    assert ours.marginal == pytest.approx(stored["total"]["f"], rel=1e-8)
    assert ours.conditional == pytest.approx(stored["total"]["fvm"], rel=1e-8)
