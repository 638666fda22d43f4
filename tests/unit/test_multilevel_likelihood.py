"""The parts of the multilevel estimator against dense matrices, finite differences and hand computation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from alliance_outcome.models import mixedlm
from alliance_outcome.models.degrees_of_freedom import inner_outer, varying_level
from alliance_outcome.models.gls import gradient, profile
from alliance_outcome.models.multilevel import fit_multilevel, jackknife_covariance
from alliance_outcome.models.nested_design import NestedDesign, nested_design
from alliance_outcome.models.profiled_likelihood import Problem, Solution, judged

SLOPES = {"none": (), "one": ("alliance",), "two": ("alliance", "mood")}


def simulate(seed: int = 3, sd_client: float = 1.0, times: int = 1) -> pd.DataFrame:
    """Five therapists with 1 to 5 clients (`times` as many) with 2 to 6 sessions, in shuffled order."""
    rng = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(5), np.arange(1, 6) * times)
    clients = len(therapist)
    client = np.repeat(np.arange(clients), rng.integers(2, 7, size=clients))
    data = pd.DataFrame({"client": client, "therapist": therapist[client], "Intercept": 1.0})
    data["alliance"] = 4.0 + rng.normal(size=len(client))
    data["mood"] = rng.normal(size=len(client))
    slope = 0.6 * rng.normal(size=clients)[client]
    data["outcome"] = (0.5 + slope) * data["alliance"] + sd_client * rng.normal(size=clients)[client]
    data["outcome"] += 0.7 * rng.normal(size=5)[data["therapist"]] + rng.normal(size=len(client))
    return data.sample(frac=1.0, random_state=seed)


def design_of(data: pd.DataFrame, slopes: tuple[str, ...], three_level: bool) -> NestedDesign:
    therapist = data["therapist"] if three_level else None
    return nested_design(
        data["outcome"], data[["Intercept", "alliance", "mood"]], data["client"], therapist, slopes
    )


def dense_covariance(design: NestedDesign, parameters: np.ndarray) -> np.ndarray:
    """V relative to the residual variance, written out over all rows."""
    order, random = design.rows.order, design.rows.random
    factor, cluster_variance = design.levels.structure.unpack(parameters)
    n = len(random)
    unit = np.searchsorted(order.unit_starts, np.arange(n), side="right")
    cluster = np.searchsorted(order.cluster_starts, unit - 1, side="right")
    same_unit, same_cluster = unit[:, None] == unit, cluster[:, None] == cluster
    return np.eye(n) + same_unit * (random @ factor @ factor.T @ random.T) + cluster_variance * same_cluster


def dense_log_likelihood(design: NestedDesign, parameters: np.ndarray, reml: bool) -> float:
    """Density of the outcome (ML), or of its error contrasts up to the constant of lme4 (REML), by scipy."""
    columns, outcome = design.rows.columns, design.rows.outcome
    v = dense_covariance(design, parameters)
    inverse = np.linalg.inv(v)
    information = columns.T @ inverse @ columns
    beta = np.linalg.solve(information, columns.T @ inverse @ outcome)
    residual = outcome - columns @ beta
    degrees = len(outcome) - reml * columns.shape[1]
    variance = residual @ inverse @ residual / degrees
    density = stats.multivariate_normal(columns @ beta, variance * v).logpdf(outcome)
    if not reml:
        return density
    return density - 0.5 * np.linalg.slogdet(information / (2 * np.pi * variance))[1]


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def reml(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[(slopes, three) for slopes in SLOPES for three in (True, False)], ids=str)
def design(request: pytest.FixtureRequest) -> NestedDesign:
    slopes, three_level = request.param
    return design_of(simulate(), SLOPES[slopes], three_level)


def test_log_likelihood_against_dense_matrices(design: NestedDesign, reml: bool) -> None:
    parameters = np.linspace(0.4, 1.1, design.levels.structure.n_parameters)
    at = profile(design.gram, *design.levels.structure.unpack(parameters), reml)
    assert at.log_likelihood == pytest.approx(dense_log_likelihood(design, parameters, reml), rel=1e-10)


def test_fixed_effects_and_covariance_against_dense_matrices(design: NestedDesign) -> None:
    parameters = np.linspace(0.4, 1.1, design.levels.structure.n_parameters)
    at = profile(design.gram, *design.levels.structure.unpack(parameters), True)
    inverse = np.linalg.inv(dense_covariance(design, parameters))
    columns = design.rows.columns
    covariance = np.linalg.inv(columns.T @ inverse @ columns)
    np.testing.assert_allclose(at.unscaled_covariance, covariance, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(
        at.coefficients, covariance @ columns.T @ inverse @ design.rows.outcome, rtol=1e-9
    )


def test_gradient_against_finite_differences(design: NestedDesign, reml: bool) -> None:
    structure = design.levels.structure
    parameters = np.linspace(0.4, 1.1, structure.n_parameters)

    def height(trial: np.ndarray) -> float:
        return profile(design.gram, *structure.unpack(trial), reml).log_likelihood

    derivative = gradient(design.gram, profile(design.gram, *structure.unpack(parameters), reml), reml)
    steps = 1e-5 * np.eye(len(parameters))
    numeric = [(height(parameters + step) - height(parameters - step)) / 2e-5 for step in steps]
    analytic = structure.chain(parameters, derivative.unit, derivative.cluster)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ratio", [0.0, 1e-18, 1e-12, 1e-9])
def test_fixed_effects_survive_vanishing_variance(ratio: float) -> None:
    """MixedLM's own fixed effects jump at a variance of 1e-10; these do not."""
    data = simulate(sd_client=0.0)
    design = design_of(data, (), three_level=False)
    solution = judged(
        Problem(design.levels.structure, design.gram, True), "lbfgs", "unit", np.array([[ratio]]), 0.0
    )
    plain = fit_multilevel(data["outcome"], data[["Intercept", "alliance", "mood"]])
    assert solution.covariance[0, 0] == 0.0
    np.testing.assert_allclose(
        design.scaling.raw_coefficients(solution.profile.coefficients), plain.params, rtol=1e-9
    )


def test_zero_is_no_maximum_where_the_data_hold_variance() -> None:
    design = design_of(simulate(), (), three_level=True)
    problem = Problem(design.levels.structure, design.gram, True)
    stuck = judged(problem, "lbfgs", "unit", np.zeros((1, 1)), 0.0)
    # The derivative with respect to a standard deviation vanishes at zero whatever the data say.
    assert stuck.gradient_max == 0.0
    assert not stuck.converged


def test_a_correlation_of_one_is_no_maximum_where_the_data_hold_none() -> None:
    design = design_of(simulate(), ("alliance",), three_level=False)
    problem = Problem(design.levels.structure, design.gram, True)
    direction = np.array([[1.0], [0.5]])
    sizes = np.linspace(0.02, 1.0, 200)
    best = max(
        (judged(problem, "", "", s * direction @ direction.T, 0.0) for s in sizes),
        key=lambda s: s.log_likelihood,
    )
    assert not best.converged


def test_likelihood_refuses_ratios_beyond_its_digits() -> None:
    design = design_of(simulate(), (), three_level=True)
    with pytest.raises(np.linalg.LinAlgError):
        profile(design.gram, np.array([[1e12]]), 1.0, True)


@pytest.mark.parametrize("three_level", [True, False])
def test_a_residual_ten_thousand_times_smaller_than_the_effects(three_level: bool) -> None:
    data = simulate(times=2)
    rng = np.random.default_rng(8)
    data["outcome"] += 1e4 * rng.normal(size=30)[data["client"]] - data["alliance"]
    therapist = data["therapist"] if three_level else None
    labels = {"client": data["client"], "therapist": therapist}
    fit = fit_multilevel(data["outcome"], data[["Intercept", "alliance", "mood"]], **labels)
    columns = ["outcome", "alliance", "mood"]
    within = (data[columns] - data.groupby("client")[columns].transform("mean")).to_numpy()
    coefficients, rss, _, _ = np.linalg.lstsq(within[:, 1:], within[:, 0])
    # With so much variance between clients, generalised least squares is least squares within clients.
    assert fit.converged
    errors = np.sqrt(np.diag(fit.covariance))[1:]
    assert np.all(np.abs(fit.params[["alliance", "mood"]] - coefficients) <= 1e-3 * errors)
    assert fit.residual_variance == pytest.approx(rss[0] / (len(data) - 30 - 2), rel=1e-4)


def start_at(problem: Problem, covariance: np.ndarray, cluster_variance: float) -> Solution:
    return judged(problem, "profiled likelihood", "scan", covariance, cluster_variance)


@pytest.mark.parametrize("three_level", [True, False])
@pytest.mark.parametrize("ratio", [0.5, 0.0])
def test_mixedlm_finds_the_maximum_from_a_poor_start(
    monkeypatch: pytest.MonkeyPatch, three_level: bool, ratio: float
) -> None:
    data = simulate(times=4)
    fixed = data[["Intercept", "alliance", "mood"]]
    therapist = data["therapist"] if three_level else None
    good = fit_multilevel(
        data["outcome"], fixed, client=data["client"], therapist=therapist, slopes=("alliance",)
    )
    monkeypatch.setattr(
        mixedlm, "profiled_start", lambda problem: start_at(problem, ratio * np.eye(2), ratio * three_level)
    )
    poor = fit_multilevel(
        data["outcome"], fixed, client=data["client"], therapist=therapist, slopes=("alliance",)
    )
    assert not poor.attempts["converged"].iloc[0]
    assert poor.attempts["converged"].iloc[-1]
    assert poor.converged
    assert poor.log_likelihood == pytest.approx(good.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(poor.params, good.params, rtol=1e-4)


def test_a_breakdown_of_mixedlm_leaves_the_profiled_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulate()
    arguments = {"fixed": data[["Intercept", "alliance"]], "client": data["client"]}
    good = fit_multilevel(data["outcome"], **arguments)

    def break_down(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(MixedLM, "fit", break_down)
    alone = fit_multilevel(data["outcome"], **arguments)
    assert alone.converged
    assert alone.attempts["converged"].tolist() == [True, False, False, False, False]
    assert alone.attempts["log_likelihood"].isna().tolist() == [False, True, True, True, True]
    pd.testing.assert_series_equal(alone.params, good.params, rtol=1e-8)


def test_a_fit_that_nothing_solves_is_returned_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulate()

    def break_down(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(MixedLM, "fit", break_down)
    monkeypatch.setattr(mixedlm, "profiled_start", lambda problem: start_at(problem, np.eye(1), 0.0))
    unsolved = fit_multilevel(data["outcome"], data[["Intercept", "alliance"]], client=data["client"])
    assert not unsolved.converged
    assert np.isfinite(unsolved.params).all()


def test_a_solution_below_the_profiled_maximum_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulate()
    arguments = {"fixed": data[["Intercept", "alliance"]], "client": data["client"]}
    good = fit_multilevel(data["outcome"], **arguments)
    honest = MixedLM.fit

    def false_maximum(self: MixedLM, **options: object):
        result = honest(self, **options)
        result.cov_re_unscaled = 4.0 * result.cov_re_unscaled
        return result

    monkeypatch.setattr(MixedLM, "fit", false_maximum)
    guarded = fit_multilevel(data["outcome"], **arguments)
    assert guarded.attempts["converged"].tolist() == [True, False, False, False, False]
    pd.testing.assert_series_equal(guarded.params, good.params, rtol=1e-8)


@pytest.mark.parametrize("three_level", [True, False])
def test_leave_one_cluster_out_against_refits_with_held_variances(three_level: bool) -> None:
    data = simulate()
    level = "therapist" if three_level else "client"
    terms = ["Intercept", "alliance", "mood"]
    labels = {name: data[name] for name in ("client", "therapist") if name == "client" or three_level}
    fit = fit_multilevel(data["outcome"], data[terms], slopes=("alliance",), **labels)
    parts = fit.variance_components.set_index(["level", "term", "term2"])["value"]
    slope = parts["client", "alliance", "alliance"]
    covariance = 0.0 if three_level else parts["client", "Intercept", "alliance"]
    matrix = np.array([[parts["client", "Intercept", "Intercept"], covariance], [covariance, slope]])
    expected = {}
    for label in data[level].unique():
        rest = data[data[level] != label]
        z = rest[["Intercept", "alliance"]].to_numpy()
        same = rest["client"].to_numpy()[:, None] == rest["client"].to_numpy()
        v = fit.residual_variance * np.eye(len(rest)) + same * (z @ matrix @ z.T)
        if three_level:
            code = rest["therapist"].to_numpy()
            v += parts["therapist", "Intercept", "Intercept"] * (code[:, None] == code)
        x = rest[terms].to_numpy()
        weights = np.linalg.solve(v, x)
        expected[label] = np.linalg.solve(x.T @ weights, weights.T @ rest["outcome"].to_numpy())
    frame = pd.DataFrame.from_dict(expected, orient="index", columns=terms).sort_index()
    pd.testing.assert_frame_equal(fit.leave_one_cluster_out(), frame, check_names=False, rtol=1e-7)


def test_jackknife_covariance_by_hand() -> None:
    # Means of a are 2, deviations (-1, 0, 1); of b 3, deviations (-1, 2, -1); factor (3 - 1)/3.
    replicates = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 5.0, 2.0]})
    expected = pd.DataFrame([[4 / 3, 0.0], [0.0, 4.0]], index=["a", "b"], columns=["a", "b"])
    pd.testing.assert_frame_equal(jackknife_covariance(replicates), expected)


def test_levels_at_which_columns_vary() -> None:
    client = np.array([0, 0, 1, 1, 2, 2])
    levels = [("therapist", np.array([0, 0, 0, 0, 1, 1])), ("client", client)]
    mean_with_rounding = np.array([0.1, 0.1 + 1e-16, 0.3, 0.3 - 1e-16, 0.7, 0.7])
    columns = {
        "therapist": np.array([2000.0, 2000.0, 2000.0, 2000.0, 2001.0, 2001.0]),
        "client": mean_with_rounding,
        "session": np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    }
    assert {name: varying_level(column, levels, "session") for name, column in columns.items()} == {
        name: name for name in columns
    }


def test_inner_outer_degrees_of_freedom_by_hand() -> None:
    # Pinheiro & Bates: 10 - (1 + 1), 40 - (10 + 2), 200 - (40 + 1); the intercept takes the largest.
    levels = {"Intercept": "therapist", "t": "therapist", "c1": "client", "c2": "client", "w": "session"}
    counts = (("therapist", 10), ("client", 40), ("session", 200))
    assert inner_outer(levels, counts).to_dict() == {
        "Intercept": 159.0,
        "t": 8.0,
        "c1": 28.0,
        "c2": 28.0,
        "w": 159.0,
    }


def test_more_terms_than_therapists_leave_no_degrees_of_freedom() -> None:
    levels = {"Intercept": "therapist", "a": "therapist", "b": "therapist"}
    assert inner_outer(levels, (("therapist", 3), ("client", 30)))["a"] == 0.0
