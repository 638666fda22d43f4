"""The engine on the structures that the pipeline fits: what it returns, and what must not change it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alliance_outcome.models.contrast import wald_contrast
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

STRUCTURES = {
    "least squares": ("early", {}, ()),
    "early": ("early", {"therapist": "therapist"}, ()),
    "early with clients": ("early", {"client": "client", "therapist": "therapist"}, ()),
    "two levels": ("sessions", {"client": "client"}, ()),
    "two levels, slopes": ("sessions", {"client": "client"}, ("within", "raw")),
    "three levels": ("sessions", {"client": "client", "therapist": "therapist"}, ()),
    "three levels, slopes": ("sessions", {"client": "client", "therapist": "therapist"}, ("within", "raw")),
}
TERMS = ["Intercept", "within", "raw", "between"]


def simulate(kind: str, seed: int = 5) -> pd.DataFrame:
    """Nine therapists with four clients each; one row per client (early) or six (sessions)."""
    rng = np.random.default_rng(seed)
    sessions = 1 if kind == "early" else 6
    client = np.repeat(np.arange(36), sessions)
    therapist = client // 4
    n = len(client)
    data = pd.DataFrame({"client": client, "therapist": therapist, "Intercept": 1.0})
    data["within"] = rng.normal(size=n)
    data["raw"] = 3.0 + 2.0 * rng.normal(size=n)
    data["between"] = rng.normal(size=36)[client]
    slopes = rng.normal(size=(36, 2))[client] * [0.5, 0.2]
    data["outcome"] = (
        40.0
        - (0.5 + slopes[:, 0]) * data["within"]
        + (0.3 + slopes[:, 1]) * data["raw"]
        + data["between"]
        + rng.normal(size=36)[client]
        + 0.8 * rng.normal(size=9)[therapist]
        + rng.normal(size=n)
    )
    return data


def fit(
    data: pd.DataFrame, labels: dict[str, str], slopes: tuple[str, ...], *, reml: bool = True
) -> MultilevelResult:
    """Fit an intercept for each level, and correlated slopes of clients."""
    levels = [level for level in ("therapist", "client") if level in labels]
    return MultilevelModel(
        data["outcome"],
        data[TERMS],
        groups={level: data[labels[level]] for level in levels},
        random={level: ["Intercept", *(slopes if level == "client" else ())] for level in levels},
    ).fit(reml=reml)


@pytest.fixture(params=list(STRUCTURES))
def case(request: pytest.FixtureRequest) -> tuple[pd.DataFrame, dict[str, str], tuple[str, ...]]:
    kind, labels, slopes = STRUCTURES[request.param]
    return simulate(kind), labels, slopes


def assert_same(one: MultilevelResult, other: MultilevelResult, standard_errors: float) -> None:
    """Every number agrees within a fraction of a standard error."""
    errors = one.bse
    assert np.all(np.abs(one.params - other.params) <= standard_errors * errors)
    distance = np.abs(one.cov_params() - other.cov_params())
    assert np.all(distance <= standard_errors * np.outer(errors, errors))
    scale = one.variance_components["value"].abs().max()
    ours, theirs = one.variance_components, other.variance_components
    numbers = ["value", "sd_or_correlation"]
    assert ours.drop(columns=numbers).equals(theirs.drop(columns=numbers))
    assert np.all(np.abs(ours["value"] - theirs["value"]) <= standard_errors * scale)
    assert one.llf == pytest.approx(other.llf, abs=standard_errors)
    assert one.singular == other.singular


def in_order(data: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by content, as the pipeline does before it fits."""
    return data.sort_values([*TERMS, "outcome"], ignore_index=True)


def test_row_order_and_labels_change_nothing(case) -> None:
    data, labels, slopes = case
    rng = np.random.default_rng(11)
    shuffled = data.sample(frac=1.0, random_state=3)
    new_names = rng.permutation([f"{number:03d}-ä" for number in range(len(data))])
    shuffled["client"] = new_names[shuffled["client"]]
    shuffled["therapist"] = rng.permutation(100)[shuffled["therapist"]]
    ours, theirs = (fit(in_order(table), labels, slopes) for table in (data, shuffled))
    assert_same(ours, theirs, standard_errors=1e-10)


def test_rescaled_data_give_rescaled_results(case) -> None:
    data, labels, slopes = case
    original = fit(data, labels, slopes)
    other = data.copy()
    other["outcome"] = 1e4 - 20.0 * data["outcome"]
    # With a full covariance matrix beside a random intercept, the origin of a slope column does not matter either.
    shift = 2000.0
    other["raw"] = shift + 1e-3 * data["raw"]
    rescaled = fit(other, labels, slopes)
    to_new = np.diag([-20.0, -20.0, -2e4, -20.0])
    to_new[0, 2] = 20.0 * 1e3 * shift
    expected = to_new @ original.params.to_numpy() + [1e4, 0.0, 0.0, 0.0]
    covariance = to_new @ original.cov_params().to_numpy() @ to_new.T
    errors = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(rescaled.params - expected) <= 1e-6 * errors)
    assert np.all(np.abs(rescaled.cov_params() - covariance) <= 1e-6 * np.outer(errors, errors))
    assert rescaled.scale == pytest.approx(400.0 * original.scale, rel=1e-6)


def test_least_squares_is_least_squares() -> None:
    data = simulate("early")
    result = fit(data, {}, ())
    columns = data[TERMS].to_numpy()
    coefficients, rss, _, _ = np.linalg.lstsq(columns, data["outcome"].to_numpy())
    variance = rss[0] / (len(data) - 4)
    np.testing.assert_allclose(result.params, coefficients, rtol=1e-10)
    inverse = np.linalg.inv(columns.T @ columns)
    np.testing.assert_allclose(result.cov_params(), variance * inverse, rtol=1e-9)
    for df in ("satterthwaite", "kenward-roger"):
        assert [result.contrast(term, df=df).df for term in TERMS] == pytest.approx([32.0] * 4, rel=1e-9)
    assert (result.n_rows, result.n_units) == (36, {})


def test_one_row_per_client_needs_no_client_labels() -> None:
    data = simulate("early")
    with_clients = fit(data, {"client": "client", "therapist": "therapist"}, ())
    assert_same(with_clients, fit(data, {"therapist": "therapist"}, ()), standard_errors=1e-12)
    assert with_clients.variance_components["level"].tolist() == ["therapist", "residual"]


def test_structure_counts_and_components_of_three_levels_with_slopes() -> None:
    result = fit(simulate("sessions"), {"client": "client", "therapist": "therapist"}, ("within", "raw"))
    assert result.structure_in_words() == (
        "therapist: random intercept; client: random intercept and random slopes of within, raw, correlated"
    )
    assert (result.n_rows, result.n_units) == (216, {"therapist": 9, "client": 36})
    assert result.variance_components[["level", "term", "kind"]].to_numpy().tolist() == [
        ["therapist", "Intercept", "variance"],
        ["client", "Intercept", "variance"],
        ["client", "within", "variance"],
        ["client", "raw", "variance"],
        ["client", "within", "covariance"],
        ["client", "raw", "covariance"],
        ["client", "raw", "covariance"],
        ["residual", "residual", "variance"],
    ]
    assert result.converged


def test_components_of_correlated_slopes_form_the_covariance_matrix_at_the_raw_origin() -> None:
    # An effect u0 + u1·raw is (u0 + 3·u1) + u1·(raw - 3) when seen from raw = 3.
    data = simulate("sessions")
    frame = fit(data, {"client": "client"}, ("raw",)).variance_components.set_index(["term", "term2"])[
        "value"
    ]
    centred = data.assign(raw=data["raw"] - 3.0)
    moved = fit(centred, {"client": "client"}, ("raw",)).variance_components.set_index(["term", "term2"])[
        "value"
    ]
    slope = frame["raw", "raw"]
    assert moved["raw", "raw"] == pytest.approx(slope, rel=1e-6)
    assert moved["raw", "Intercept"] == pytest.approx(frame["raw", "Intercept"] + 3.0 * slope, rel=1e-5)
    assert moved["Intercept", "Intercept"] == pytest.approx(
        frame["Intercept", "Intercept"] + 6.0 * frame["raw", "Intercept"] + 9.0 * slope, rel=1e-5
    )


def test_near_collinear_columns_keep_their_digits() -> None:
    data = simulate("sessions")
    data["raw"] = data["within"] + 1e-5 * np.random.default_rng(2).normal(size=len(data))
    near = fit(data, {"client": "client", "therapist": "therapist"}, ())
    data["raw"] = (data["raw"] - data["within"]) * 1e5
    apart = fit(data, {"client": "client", "therapist": "therapist"}, ())
    assert near.params["raw"] * 1e-5 == pytest.approx(apart.params["raw"], rel=1e-6)
    assert near.params["within"] + near.params["raw"] == pytest.approx(apart.params["within"], rel=1e-6)
    assert near.params["between"] == pytest.approx(apart.params["between"], rel=1e-8)


def test_ml_has_smaller_variances_and_a_likelihood_of_its_own() -> None:
    data = simulate("sessions")
    labels = {"client": "client", "therapist": "therapist"}
    reml, ml = fit(data, labels, ()), fit(data, labels, (), reml=False)
    assert not ml.reml
    assert ml.llf > reml.llf
    variances = [result.variance_components.set_index("level")["value"] for result in (ml, reml)]
    assert variances[0]["therapist"] < variances[1]["therapist"]


def test_contrast_is_the_wald_t_of_the_joint_covariance() -> None:
    result = fit(simulate("sessions"), {"client": "client"}, ())
    weights = pd.Series({"within": 2.0, "raw": -1.0})
    contrast = result.contrast(weights, df="normal")
    cov = result.cov_params()
    variance = 4 * cov.loc["within", "within"] + cov.loc["raw", "raw"] - 4 * cov.loc["within", "raw"]
    estimate = 2 * result.params["within"] - result.params["raw"]
    assert contrast.estimate == pytest.approx(estimate, rel=1e-12)
    assert contrast.std_error == pytest.approx(np.sqrt(variance), rel=1e-12)
    # 1.959964 is the 97.5 % point of the normal distribution (any table).
    assert contrast.ci_high - estimate == pytest.approx(1.959964 * contrast.std_error, rel=1e-6)
    assert contrast.ci_low + contrast.ci_high == pytest.approx(2 * estimate, rel=1e-12)
    assert contrast.p_value == pytest.approx(2 * stats.norm.sf(abs(contrast.statistic)), rel=1e-12)
    assert (contrast.df, contrast.ci_level) == (np.inf, 0.95)


def test_wald_interval_is_that_of_students_t() -> None:
    contrast = wald_contrast(1.5, 0.5, df=12.0)
    # 2.178813 is the 97.5 % point of t with 12 degrees of freedom (any table).
    assert contrast.ci_high - 1.5 == pytest.approx(2.178813 * 0.5, rel=1e-6)
    assert contrast.p_value == pytest.approx(2 * stats.t.sf(3.0, 12), rel=1e-12)


def test_contrast_without_degrees_of_freedom_claims_nothing() -> None:
    contrast = wald_contrast(1.5, 0.5, df=0.0)
    assert np.isfinite([contrast.estimate, contrast.std_error, contrast.statistic]).all()
    assert np.isnan([contrast.p_value, contrast.ci_low, contrast.ci_high]).all()


def test_contrast_refuses_unknown_terms() -> None:
    with pytest.raises(ValueError, match="no terms alliance"):
        fit(simulate("early"), {}, ()).contrast({"alliance": 1.0})


def test_no_variance_between_clients_gives_the_least_squares_estimates() -> None:
    """Plain MixedLM fails on these data; close to them it returns a between effect of 0 (its issue 10239)."""
    data = simulate("sessions")
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(data))
    noise -= pd.Series(noise).groupby(data["client"]).transform("mean").to_numpy()
    data["outcome"] = 40.0 + data["between"] + noise
    boundary = fit(data, {"client": "client"}, ())
    plain = fit(data, {}, ())
    assert boundary.singular == ("client:Intercept",)
    assert boundary.converged
    np.testing.assert_allclose(boundary.params, plain.params, rtol=1e-10)
    np.testing.assert_allclose(boundary.cov_params(), plain.cov_params(), rtol=1e-10)
    assert boundary.params["between"] == pytest.approx(1.0, abs=0.01)


def test_every_variance_on_the_boundary_is_named() -> None:
    data = simulate("sessions")
    rng = np.random.default_rng(4)
    noise = rng.normal(size=len(data))
    for rows in data.groupby("client").indices.values():
        own = data[["Intercept", "within"]].to_numpy()[rows]
        noise[rows] -= own @ np.linalg.lstsq(own, noise[rows])[0]
    data["outcome"] = 40.0 + data["between"] + noise
    three = fit(data, {"client": "client", "therapist": "therapist"}, ("within",))
    assert three.singular == ("therapist:Intercept", "client:Intercept", "client:within")
    two = fit(data, {"client": "client"}, ("within",))
    assert two.singular == ("client:Intercept", "client:within")
    assert two.converged
    assert three.converged
