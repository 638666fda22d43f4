"""R² and its parts against their formulas worked out in R, at lme4's estimates, on stored data.

``explained_variance/reference.R`` wrote data, estimates and expected values. Everything is computed from the same
estimates, so that only rounding may differ: 1e-10 relative allows for the 15 digits of the JSON file and for a few
digits lost where columns are centred (seen: 6e-15).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.explained_variance import (
    RESIDUAL,
    TOTAL,
    ExplainedVariance,
    ModelEstimates,
    explained_variance,
)
from alliance_outcome.models.level_covariances import LevelledDesign, LevelMoments, design_covariances

REFERENCE = Path(__file__).parent / "explained_variance"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-10
LEVELS = ("session", "client", "therapist")


@dataclass(frozen=True)
class Comparison:
    """A decomposition of ours and what R found for the same estimates."""

    expected: dict
    design: LevelledDesign
    estimates: ModelEstimates

    @property
    def ours(self) -> ExplainedVariance:
        return explained_variance(design_covariances(self.design), self.estimates)


def columns(data: pd.DataFrame, terms: list[str]) -> np.ndarray:
    """Return columns by name behind the intercept's; ``x_within`` and ``x_between`` are made from ``x``."""
    made = {"Intercept": np.ones(len(data))}
    for term in terms:
        base = term.removesuffix("_within").removesuffix("_between")
        means = data.groupby("client")[base].transform("mean")
        parts = {base: data[base], f"{base}_within": data[base] - means, f"{base}_between": means}
        made[term] = parts[term].to_numpy()
    return np.column_stack(list(made.values()))


def comparison(name: str) -> Comparison:
    expected = EXPECTED[name]
    data = pd.read_csv(REFERENCE / expected["data"])
    count = len(expected["covariances"])
    design = LevelledDesign(
        ("Intercept", *expected["terms"]),
        columns(data, expected["terms"]),
        LEVELS[: count + 1],
        tuple(data[level].to_numpy() for level in LEVELS[1 : count + 1]),
        tuple(columns(data, slopes) for slopes in expected["slopes"]),
    )
    estimates = ModelEstimates(
        np.array(expected["coefficients"]),
        tuple(np.array(covariance) for covariance in expected["covariances"]),
        expected["residual"],
    )
    return Comparison(expected, design, estimates)


@pytest.mark.parametrize("name", ["two_level_slopes", "two_level_intercepts"])
def test_two_level_models_with_centred_predictors_have_the_published_measures(name: str):
    compared = comparison(name)
    ours = compared.ours.r_squared()
    levels = {"total": TOTAL, "within": "session", "between": "client"}
    for level, measures in compared.expected["measures"]["centred"].items():
        for part, value in measures.items():
            if part in ("v", "fv") and not any(compared.design.slopes):
                # Nothing is said of slopes that the model does not have; the published table has a zero there.
                assert (levels[level], part) not in ours
            else:
                assert ours[levels[level], part] == pytest.approx(value, rel=TOLERANCE), (level, part)


def test_uncentred_predictors_leave_the_published_total_measures_as_they_are():
    compared = comparison("two_level_uncentred")
    ours = compared.ours.r_squared()
    for part, value in compared.expected["measures"]["uncentred"]["total"].items():
        assert ours[TOTAL, part] == pytest.approx(value, rel=TOLERANCE), part


def test_three_level_parts_are_the_published_ones():
    compared = comparison("three_level")
    ours = {part.name: part.variance for part in compared.ours.parts}
    expected = compared.expected["measures"]["variances"]
    assert set(ours) == set(expected)
    for part, value in expected.items():
        assert ours[part] == pytest.approx(value, rel=TOLERANCE), part


def test_three_level_parts_stand_at_the_published_levels_but_for_client_slopes_on_therapist_differences():
    for part in comparison("three_level").ours.parts:
        published = LEVELS[0] if part.name == RESIDUAL else LEVELS[int(part.name[1]) - 1]
        assert part.level == ("client" if part.name == "v32" else published), part.name


@pytest.mark.parametrize("name", list(EXPECTED))
def test_marginal_and_conditional_are_those_of_nakagawa_and_johnson(name: str):
    # Johnson's mean over rows has the denominator rows, ours for slopes rows − 1; everything else is the same.
    compared = comparison(name)
    ours, rows = compared.ours, compared.design.n_rows
    fixed, residual = ours.variance(kinds="f"), ours.variance(kinds="r")
    random = ours.variance(kinds="v") * (rows - 1) / rows + ours.variance(kinds="m")
    published = compared.expected["nakagawa_johnson"]
    total = fixed + random + residual
    assert fixed / total == pytest.approx(published["marginal"], rel=TOLERANCE)
    assert (fixed + random) / total == pytest.approx(published["conditional"], rel=TOLERANCE)
    # What the other denominator costs is below one part in the number of rows.
    assert ours.marginal == pytest.approx(published["marginal"], rel=1.0 / rows)
    assert ours.conditional == pytest.approx(published["conditional"], rel=1.0 / rows)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_sums_over_clusters_give_what_the_rows_give(name: str):
    compared = comparison(name)
    by_moments = explained_variance(LevelMoments.of(compared.design).covariances(), compared.estimates)
    for found, expected in zip(by_moments.parts, compared.ours.parts, strict=True):
        # Parts that are zero for centred columns are rounding either way.
        assert found.variance == pytest.approx(expected.variance, rel=TOLERANCE, abs=1e-20), found.name
