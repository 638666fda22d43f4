"""The engine on the structures of the pipeline against lme4, nlme and clubSandwich on stored data.

The R calls stand in ``multilevel/reference.R``, which wrote data and expected values. Tolerances:

- fixed effects, 1e-5 standard errors, and their covariance, 1e-5 of the product of standard errors: with lme4
  run to 1e-9 most designs agree to 1e-7. The loosest, 2.5e-6, is ``large_offsets``, where the reference itself
  lacks digits: lme4 does not centre, and given the same data less 10,000 and 2,000 it moves to our value;
- variance components, 1e-5 of the value (first order in where the optimiser stopped), 1e-9 at zero;
- log-likelihood, 1e-7 absolute (second order in where the optimiser stopped);
- CR3 covariance, 1e-5 of the product of its standard errors;
- nlme's t table, 1e-6 relative for estimate and standard error; p values 1e-4 relative, because in the tail a
  relative error of the statistic counts about its square times (250 in the most extreme row).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.contrast import wald_contrast
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

REFERENCE = Path(__file__).parent / "multilevel"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Comparison:
    """A fit of ours and what R found on the same data."""

    name: str
    expected: dict
    fit: MultilevelResult

    @property
    def standard_errors(self) -> np.ndarray:
        return np.sqrt(np.diag(np.array(self.expected["vcov"])))


@cache
def compare(name: str) -> Comparison:
    expected = EXPECTED[name]
    data = pd.read_csv(REFERENCE / expected["data"])
    design = expected["design"]
    fixed = data[design["fixed"]].copy()
    fixed.insert(0, "Intercept", 1.0)
    levels = [level for level in ("therapist", "client") if level in design]
    fit = MultilevelModel(
        data["outcome"],
        fixed,
        groups={level: data[design[level]] for level in levels},
        random={level: ["Intercept", *(design["slopes"] if level == "client" else ())] for level in levels},
        # As lme4's `||`, in which the references of three-level models with slopes are written.
        uncorrelated=("client",) if "therapist" in design else (),
    ).fit(reml=design["reml"])
    return Comparison(name, expected, fit)


@pytest.fixture(params=list(EXPECTED))
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return compare(request.param)


def reference_components(expected: dict) -> dict[tuple[str, str, str], float]:
    """Variance components of lme4 under our names."""
    levels = {"therapist": "therapist", "client": "client", "Residual": "residual"}
    components = {}
    for row in expected["components"]:
        # lme4 calls the terms of `||` therapist.client, therapist.client.1, …
        level = "client" if row["grp"].startswith(("therapist:", "therapist.")) else levels[row["grp"]]
        names = {"(Intercept)": "Intercept"}
        term = names.get(row.get("var1"), row.get("var1") or "residual")
        components[level, row.get("var2") or term, term] = row["vcov"]
    return components


def test_fixed_effects(comparison: Comparison) -> None:
    assert comparison.expected["terms"][1:] == list(comparison.fit.params.index[1:])
    difference = np.abs(comparison.fit.params.to_numpy() - comparison.expected["fixef"])
    assert np.all(difference <= 1e-5 * comparison.standard_errors)


def test_covariance_of_fixed_effects(comparison: Comparison) -> None:
    difference = np.abs(comparison.fit.cov_params().to_numpy() - comparison.expected["vcov"])
    assert np.all(difference <= 1e-5 * np.outer(comparison.standard_errors, comparison.standard_errors))


def test_variance_components(comparison: Comparison) -> None:
    frame = comparison.fit.variance_components
    ours = {(row.level, row.term, row.term2): row.value for row in frame.itertuples()}
    assert ours == pytest.approx(reference_components(comparison.expected), rel=1e-5, abs=1e-9)
    assert comparison.fit.scale == pytest.approx(ours["residual", "residual", "residual"], rel=1e-12)


def test_log_likelihood(comparison: Comparison) -> None:
    assert comparison.fit.llf == pytest.approx(comparison.expected["log_likelihood"], abs=1e-7)


def test_convergence_and_boundary(comparison: Comparison) -> None:
    assert comparison.fit.converged
    named = {
        "zero_therapist_variance": ("therapist:Intercept",),
        "singular_correlation": ("client:covariance",),
    }
    assert comparison.fit.singular == named.get(comparison.name, ())
    assert bool(comparison.fit.singular) is comparison.expected["singular"]


def test_cr3(comparison: Comparison) -> None:
    covariance = comparison.fit.cluster_robust("CR3").cov_params().to_numpy()
    reference = np.array(comparison.expected["cr3"])
    scale = np.sqrt(np.diag(reference))
    assert np.all(np.abs(covariance - reference) <= 1e-5 * np.outer(scale, scale))


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "t_table" in expected])
def test_wald_t_table_of_nlme(name: str) -> None:
    compared = compare(name)
    for term, row in zip(compared.fit.params.index, compared.expected["t_table"], strict=True):
        estimate, std_error, df, statistic, p_value = row
        # nlme's degrees of freedom follow a rule of its own; given them, the table is that of the Wald t test.
        single = compared.fit.contrast({term: 1.0}, df="normal")
        ours = wald_contrast(single.estimate, single.std_error, df)
        assert [ours.estimate, ours.std_error] == pytest.approx([estimate, std_error], rel=1e-6)
        assert ours.statistic == pytest.approx(statistic, rel=2e-6)
        assert ours.p_value == pytest.approx(p_value, rel=1e-4)
