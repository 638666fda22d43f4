"""The parts of a variance come back: 200,000 rows in three levels whose parts are known.

Two predictors with mean 2 and −1 vary at all levels, the first with random slopes over clients, the second over
therapists. Draws are independent and numbers balanced, so that population values are exact:

- The parts of a predictor are manifest: a mean of T rows carries 1/T of the variance below it. With variances s1, s2
  and s3, T rows per client and K clients per therapist they are s1(1 − 1/T), (s2 + s1/T)(1 − 1/K) and
  s3 + (s2 + s1/T)/K.
- A sample variance of normal draws on d units has relative standard error √(2/d); parts may be 4.5 of them off. The
  mean of a predictor, which m2 and m3 rest on, has a standard error of √(s3/J + s2/JK + s1/JKT).
- The outcome's own variance at each level must be the sum of the parts that are said to be there, where random effects
  and residuals, too, pass their 1/K and 1/T upwards. It may be off by 4.5 standard errors, estimated from the
  therapists' contributions to it, which are independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from alliance_outcome.models.explained_variance import (
    ExplainedVariance,
    ModelEstimates,
    explained_variance,
)
from alliance_outcome.models.level_covariances import LevelledDesign, design_covariances

THERAPISTS, CLIENTS, SESSIONS = 2_500, 8, 10
LEVELS = ("session", "client", "therapist")
UNITS = {
    "session": THERAPISTS * CLIENTS * (SESSIONS - 1),
    "client": THERAPISTS * (CLIENTS - 1),
    "therapist": THERAPISTS - 1,
}
MEANS = np.array([2.0, -1.0])
COEFFICIENTS = np.array([10.0, 0.8, -0.6])
#: Covariance matrices of the two predictors at levels 1, 2 and 3; the last is large, so that v32 is.
PREDICTORS = np.array([[[1.0, 0.4], [0.4, 1.5]], [[0.8, -0.3], [-0.3, 0.6]], [[1.6, 0.5], [0.5, 0.9]]])
CLIENT_EFFECTS = np.array([[1.5, -0.4], [-0.4, 0.6]])
THERAPIST_EFFECTS = np.array([[0.7, 0.2], [0.2, 0.3]])
RESIDUAL_VARIANCE = 2.0
STANDARD_ERRORS = 4.5


@dataclass(frozen=True)
class Study:
    """A simulated data set with its decomposition at the planted parameters."""

    outcome: np.ndarray
    client: np.ndarray
    therapist: np.ndarray
    explained: ExplainedVariance


@cache
def study() -> Study:
    rng = np.random.default_rng(20_263)
    client = np.repeat(np.arange(THERAPISTS * CLIENTS), SESSIONS)
    therapist = client // CLIENTS
    rows = np.arange(len(client))
    predictors = MEANS + sum(
        rng.multivariate_normal(np.zeros(2), covariance, size=codes.max() + 1)[codes]
        for covariance, codes in zip(PREDICTORS, (rows, client, therapist), strict=True)
    )
    fixed = np.column_stack([np.ones(len(rows)), predictors])
    of_clients = rng.multivariate_normal(np.zeros(2), CLIENT_EFFECTS, size=client.max() + 1)[client]
    of_therapists = rng.multivariate_normal(np.zeros(2), THERAPIST_EFFECTS, size=THERAPISTS)[therapist]
    random = (fixed[:, [0, 1]], fixed[:, [0, 2]])
    outcome = fixed @ COEFFICIENTS + np.sum(random[0] * of_clients + random[1] * of_therapists, axis=1)
    outcome += np.sqrt(RESIDUAL_VARIANCE) * rng.normal(size=len(rows))
    design = LevelledDesign(("Intercept", "a", "b"), fixed, LEVELS, (client, therapist), random)
    estimates = ModelEstimates(COEFFICIENTS, (CLIENT_EFFECTS, THERAPIST_EFFECTS), RESIDUAL_VARIANCE)
    return Study(outcome, client, therapist, explained_variance(design_covariances(design), estimates))


def passed_upwards(session: float, client: float, therapist: float) -> tuple[float, float, float]:
    """Return what variances of independent draws at each level are once means are taken over finite numbers."""
    of_client_means = client + session / SESSIONS
    return (
        session * (1.0 - 1.0 / SESSIONS),
        of_client_means * (1.0 - 1.0 / CLIENTS),
        therapist + of_client_means / CLIENTS,
    )


def population_parts() -> dict[str, float]:
    manifest = passed_upwards(*PREDICTORS)
    parts = {"residual": RESIDUAL_VARIANCE}
    for level, covariance in enumerate(manifest, start=1):
        parts[f"f{level}"] = float(COEFFICIENTS[1:] @ covariance @ COEFFICIENTS[1:])
        parts[f"v{level}2"] = float(CLIENT_EFFECTS[1, 1] * covariance[0, 0])
        parts[f"v{level}3"] = float(THERAPIST_EFFECTS[1, 1] * covariance[1, 1])
    for name, effects, mean in (("m2", CLIENT_EFFECTS, MEANS[0]), ("m3", THERAPIST_EFFECTS, MEANS[1])):
        parts[name] = float(np.array([1.0, mean]) @ effects @ np.array([1.0, mean]))
    return parts


@pytest.mark.parametrize("name", [name for name in population_parts() if name[0] in "fv"])
def test_parts_of_predictors_are_those_of_the_population(name: str):
    found = {part.name: part.variance for part in study().explained.parts}[name]
    standard_error = np.sqrt(2.0 / UNITS[LEVELS[int(name[1]) - 1]])
    assert found == pytest.approx(population_parts()[name], rel=STANDARD_ERRORS * standard_error)


@pytest.mark.parametrize(
    ("name", "effects", "column"), [("m2", CLIENT_EFFECTS, 0), ("m3", THERAPIST_EFFECTS, 1)]
)
def test_parts_of_random_effects_at_mean_predictors_are_those_of_the_population(
    name: str, effects: np.ndarray, column: int
):
    found = {part.name: part.variance for part in study().explained.parts}[name]
    numbers = THERAPISTS * np.array([CLIENTS * SESSIONS, CLIENTS, 1])
    mean_error = np.sqrt(np.sum(PREDICTORS[:, column, column] / numbers))
    slope = 2.0 * abs(effects[1, 0] + effects[1, 1] * MEANS[column])
    tolerance = STANDARD_ERRORS * slope * mean_error + (STANDARD_ERRORS * mean_error) ** 2 * effects[1, 1]
    assert found == pytest.approx(population_parts()[name], abs=tolerance)


def observed_variance(level: str) -> tuple[float, float]:
    """Return the outcome's variance at a level, and its standard error."""
    data = study()
    of_client = (np.bincount(data.client, data.outcome) / SESSIONS)[data.client]
    of_therapist = (np.bincount(data.therapist, data.outcome) / (SESSIONS * CLIENTS))[data.therapist]
    deviations = {
        "session": data.outcome - of_client,
        "client": of_client - of_therapist,
        "therapist": of_therapist - data.outcome.mean(),
    }[level]
    sums = np.bincount(data.therapist, deviations**2)
    return float(sums.sum()) / (len(deviations) - 1), float(
        sums.std() / (SESSIONS * CLIENTS * np.sqrt(THERAPISTS))
    )


def implied_variance(level: str) -> float:
    """Return the variance that the parts said to be at a level make observable there and pass upwards."""
    random, explained = {}, study().explained
    for name in LEVELS:
        random[name] = explained.variance(name, "mr")
    # Products of a client's slope with means of clients and therapists are independent between clients, too.
    random["client"] += sum(part.variance for part in explained.parts if part.name in ("v22", "v32"))
    observable = dict(zip(LEVELS, passed_upwards(*random.values()), strict=True))
    fixed = explained.variance(level, "f")
    slopes = sum(
        part.variance
        for part in explained.parts
        if part.name in ("v12", "v13", "v23", "v33") and part.level == level
    )
    return fixed + slopes + observable[level]


@pytest.mark.parametrize("level", LEVELS)
def test_the_outcome_varies_at_each_level_as_much_as_the_parts_there_say(level: str):
    observed, standard_error = observed_variance(level)
    assert implied_variance(level) == pytest.approx(observed, abs=STANDARD_ERRORS * standard_error)


def test_client_slopes_on_therapist_differences_are_no_variance_between_therapists():
    # Were they, the outcome would vary more between therapists, and less between clients, than it does.
    part = next(part for part in study().explained.parts if part.name == "v32")
    assert part.level == "client"
    moved = part.variance * (1.0 - 1.0 / CLIENTS)
    for level, sign in (("client", -1.0), ("therapist", 1.0)):
        observed, standard_error = observed_variance(level)
        assert abs(implied_variance(level) + sign * moved - observed) > STANDARD_ERRORS * standard_error


def test_total_is_the_variance_of_the_outcome():
    errors = [observed_variance(level)[1] for level in LEVELS]
    assert study().explained.variance() == pytest.approx(
        study().outcome.var(ddof=1), abs=STANDARD_ERRORS * sum(errors)
    )
