"""Estimates of a fit against the dense formulas on columns as they are, and its text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from dense_model import DenseModel
from engine_example import LEVELS, MODELS, dense_example, example, fit, model, slopes, study

from alliance_outcome.models.multilevel_result import MultilevelResult

#: Working columns on one side, columns as they are on the other, the same variances: the most seen is 4e-15.
SAME = 1e-12

LIKELIHOODS = pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
NAMES = pytest.mark.parametrize("name", MODELS)


@LIKELIHOODS
@NAMES
def test_fixed_effects_are_generalised_least_squares(name: str, reml: bool) -> None:
    result, reference = example(name, reml)[0], dense_example(name, reml)
    assert result.params.to_numpy() == pytest.approx(reference.coefficients, rel=SAME)
    assert result.cov_params().to_numpy() == pytest.approx(reference.covariance, rel=SAME, abs=SAME)
    assert result.bse.to_numpy() == pytest.approx(np.sqrt(np.diag(reference.covariance)), rel=SAME)
    assert list(result.params.index) == list(result.bse.index) == list(result.cov_params())


@LIKELIHOODS
@NAMES
def test_log_likelihood_has_all_constants_for_the_columns_as_given(name: str, reml: bool) -> None:
    result = example(name, reml)[0]
    assert result.llf == pytest.approx(dense_example(name, reml).log_likelihood(reml), rel=SAME)


@LIKELIHOODS
@NAMES
def test_residual_variance_is_the_best_at_the_relative_covariances(name: str, reml: bool) -> None:
    result, reference = example(name, reml)[0], dense_example(name, reml)
    residual = reference.rows.outcome - reference.rows.fixed @ reference.coefficients
    relative = reference.marginal_covariance / reference.residual_variance
    degrees = result.n_rows - len(result.params) if reml else result.n_rows
    assert result.scale == pytest.approx(residual @ np.linalg.solve(relative, residual) / degrees, rel=SAME)


@LIKELIHOODS
@NAMES
def test_information_criteria_count_every_parameter(name: str, reml: bool) -> None:
    result = example(name, reml)[0]
    variances = {
        "least_squares": 1,
        "two_levels": 2,
        "client_slope": 5,
        "independent_slope": 4,
        "slopes_at_both_levels": 7,
        "therapist_alone": 4,
        "slope_alone": 2,
        "autoregressive": 4,
        "continuous_time": 5,
    }
    count = len(result.params) + variances[name]
    assert result.n_parameters == count
    assert result.aic == pytest.approx(2 * count - 2 * result.llf, rel=1e-15)
    assert result.bic == pytest.approx(np.log(result.n_rows) * count - 2 * result.llf, rel=1e-15)


@LIKELIHOODS
@NAMES
def test_fits_converge_where_the_dense_likelihood_is_level(name: str, reml: bool) -> None:
    result, reference = example(name, reml)[0], dense_example(name, reml)

    def deviance(parameters: np.ndarray) -> float:
        unit, cluster, phi = result.likelihood.unpack(parameters)
        model = DenseModel(result.likelihood.rows, unit, cluster, result.maximum.at.residual_variance, phi)
        return -2.0 * model.log_likelihood(reml)

    assert result.converged
    level = slopes(deviance, result.maximum.parameters, 1e-3)
    # The optimiser stops at 1e-6; differences of deviances of some hundreds are good to 1e-9.
    assert level == pytest.approx(np.zeros(len(level)), abs=1e-5)
    assert np.max(np.abs(result.gradient), initial=0.0) <= 1e-5
    assert len(reference.rows.outcome) == result.n_rows


@NAMES
def test_autocorrelation_is_there_where_residuals_have_one(name: str) -> None:
    result = example(name)[0]
    # The data have 0.5; its standard error is some 0.1 with 176 rows, and unit effects take a share.
    expected = pytest.approx(0.5, abs=0.35) if "residual" in MODELS[name] else None
    assert result.ar1 == expected


def test_variance_components_tabulate_the_covariance_matrices() -> None:
    result = example("slopes_at_both_levels")[0]
    table = result.variance_components
    assert list(zip(table["level"], table["term"], table["term2"], strict=True)) == [
        ("therapist", "Intercept", "Intercept"),
        ("therapist", "z", "z"),
        ("therapist", "z", "Intercept"),
        ("client", "Intercept", "Intercept"),
        ("client", "x", "x"),
        ("client", "x", "Intercept"),
        ("residual", "residual", "residual"),
    ]
    client = result.random_covariance("client")
    own = table[table["level"] == "client"].set_index(["term", "term2"])
    for (term, term2), row in own.iterrows():
        assert row["value"] == client.loc[term, term2]
    deviations = np.sqrt(np.diag(client))
    assert own["sd_or_correlation"].tolist() == pytest.approx(
        [*deviations, client.loc["x", "Intercept"] / deviations.prod()]
    )
    assert table["value"].iloc[-1] == pytest.approx(result.scale)


def test_independent_effects_have_no_covariance() -> None:
    result = example("independent_slope")[0]
    assert result.random_covariance("client").loc["x", "Intercept"] == 0.0
    assert "covariance" not in set(result.variance_components["kind"])


def predictions_by_matrices(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predict effects and their errors' standard deviations by Henderson's formulas, for the units in order."""
    reference = dense_example(name)
    rows, inverse = reference.rows, np.linalg.inv(reference.marginal_covariance)
    residual = rows.outcome - rows.fixed @ reference.coefficients
    found = {}
    for level, columns, covariance, unit in (
        ("client", rows.unit_random, reference.unit_covariance, reference.unit_of_row),
        ("therapist", rows.cluster_random, reference.cluster_covariance, reference.cluster_of_row),
    ):
        own = reference.residual_variance * covariance
        loadings = [
            np.where((unit == number)[:, None], columns, 0.0) @ own for number in range(unit.max() + 1)
        ]
        effects = [loading.T @ inverse @ residual for loading in loadings]
        errors = [np.sqrt(np.diag(own - loading.T @ inverse @ loading)) for loading in loadings]
        found[level] = np.ravel(effects), np.ravel(errors)
    return found


@pytest.mark.parametrize(
    "name", ["client_slope", "slopes_at_both_levels", "independent_slope", "autoregressive"]
)
def test_random_effects_are_best_linear_predictions(name: str) -> None:
    result, data = example(name)
    for level, (effects, errors) in predictions_by_matrices(name).items():
        ours = result.random_effects(level)
        assert ours["estimate"].to_numpy() == pytest.approx(effects, rel=1e-8, abs=SAME)
        assert ours["std_error"].to_numpy() == pytest.approx(errors, rel=1e-8)
        assert list(ours[level].unique()) == list(data[level].unique())
        assert list(ours["term"][:2]) == list(np.resize(result.random_covariance(level).index, 2))


@pytest.mark.parametrize("name", ["client_slope", "slopes_at_both_levels", "autoregressive", "least_squares"])
def test_fitted_values_and_residuals_add_up_to_the_outcome(name: str) -> None:
    result, data = example(name)
    reference = dense_example(name)
    residual = reference.rows.outcome - reference.rows.fixed @ reference.coefficients
    # What is left is the part of V that the residuals have: their covariance matrix times V⁻¹e.
    left = reference.residual_variance * reference.residual_correlation
    left = left @ np.linalg.solve(reference.marginal_covariance, residual)
    assert result.resid.to_numpy() == pytest.approx(left, abs=1e-9)
    assert (result.fittedvalues + result.resid).to_numpy() == pytest.approx(data["y"], abs=1e-12)
    assert result.fittedvalues.index.equals(data.index)


def test_counts() -> None:
    data = study()
    result = fit("y ~ x", data.assign(x=data["x"].mask(data.index < 3)))
    assert result.n_rows == len(data) - 3
    assert result.n_dropped == 3
    assert result.n_units == {level: data[level].nunique() for level in LEVELS}
    assert list(result.n_units) == list(LEVELS)


@pytest.mark.parametrize(
    "name", ["client_slope", "independent_slope", "slopes_at_both_levels", "continuous_time"]
)
def test_evaluation_at_the_estimates_is_the_fit(name: str) -> None:
    result, data = example(name)
    made = model(data=data, **MODELS[name])
    levels = [effects.level for effects in result.design.structure.levels]
    relative = {level: result.random_covariance(level) / result.scale for level in levels}
    again = made.evaluate(relative, result.ar1)
    assert again.converged
    assert again.params.to_numpy() == pytest.approx(result.params, rel=SAME)
    assert again.llf == pytest.approx(result.llf, rel=SAME)
    assert again.scale == pytest.approx(result.scale, rel=SAME)
    assert again.variance_components["value"].to_numpy() == pytest.approx(
        result.variance_components["value"], rel=1e-8
    )


def test_evaluation_elsewhere_is_no_maximum() -> None:
    data = study()
    made = model("y ~ x + z", data)
    away = made.evaluate({"client": [[0.3]], "therapist": [[0.1]]}, reml=False)
    assert not away.converged
    assert away.llf < made.fit(reml=False).llf
    assert away.random_covariance("client").to_numpy() == pytest.approx(0.3 * away.scale, rel=SAME)


@pytest.mark.parametrize(
    ("covariances", "autocorrelation", "message"),
    [
        ({"client": [[1.0]]}, 0.3, "therapist"),
        ({"client": [[1.0]], "therapist": [[1.0]]}, None, "autocorrelation"),
    ],
)
def test_evaluation_says_what_it_lacks(
    covariances: dict, autocorrelation: float | None, message: str
) -> None:
    made = model("y ~ x", study(), residual="ar1", time="session")
    with pytest.raises(ValueError, match=message):
        made.evaluate(covariances, autocorrelation)


def test_refit_by_the_other_likelihood() -> None:
    result, full = example("client_slope")[0], example("client_slope", reml=False)[0]
    refitted = result.refit(reml=False)
    assert refitted.llf == pytest.approx(full.llf, abs=1e-9)
    # Two paths to one maximum: what the optimiser's tolerance leaves.
    assert refitted.params.to_numpy() == pytest.approx(full.params, rel=1e-7)
    assert result.refit(reml=True) is result


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("least_squares", "no random effects"),
        ("two_levels", "client: random intercept"),
        (
            "client_slope",
            "therapist: random intercept; client: random intercept and random slope of x, correlated",
        ),
        (
            "independent_slope",
            "therapist: random intercept; client: random intercept and random slope of x, uncorrelated",
        ),
        ("slope_alone", "client: random slope of x, no random intercept"),
        ("autoregressive", "therapist: random intercept; client: random intercept; residuals AR(1)"),
    ],
)
def test_structure_in_words(name: str, words: str) -> None:
    assert example(name)[0].structure_in_words() == words


SUMMARY = """
                                Linear multilevel model
========================================================================================
Fitted by restricted maximum likelihood (REML); converged: yes
Rows: # (# dropped, incomplete)
Units: # therapists, # clients
Log-likelihood # AIC # BIC #
----------------------------------------------------------------------------------------
Random effects (therapist: random intercept; client: random intercept; residuals AR(#))
level term kind value sd_or_correlation
therapist Intercept variance # #
client Intercept variance # #
residual residual variance # #
----------------------------------------------------------------------------------------
Fixed effects (degrees of freedom: satterthwaite)
estimate std_error df t p #% low high
Intercept # # # # # # #
x # # # # # # #
Autocorrelation of residuals (AR#): #
========================================================================================
"""


def without_numbers(text: str) -> list[str]:
    """Put # for numbers, and one blank for several."""
    numbers = pd.Series(text.strip().splitlines()).str.replace(r"-?\d[\d.,]*(e-\d+)?", "#", regex=True)
    return [" ".join(line.split()) for line in numbers]


def test_summary_has_its_parts_in_order() -> None:
    data = study(5, autocorrelation=0.5)
    result = fit("y ~ x", data.assign(x=data["x"].mask(data.index == 3)), residual="ar1", time="session")
    assert without_numbers(str(result.summary())) == without_numbers(SUMMARY)
    assert repr(result.summary()) == str(result.summary())


def test_summary_shows_the_numbers_of_the_result() -> None:
    result = example("client_slope")[0]
    text = str(result.summary("kenward-roger"))
    single = result.contrast("x", "kenward-roger")
    line = next(line for line in text.splitlines() if line.startswith("x "))
    assert line.split() == [
        "x",
        f"{single.estimate:.4f}",
        f"{single.std_error:.4f}",
        f"{single.df:.1f}",
        f"{single.statistic:.3f}",
        f"{single.p_value:.4g}",
        f"{single.ci_low:.4f}",
        f"{single.ci_high:.4f}",
    ]
    assert "(degrees of freedom: kenward-roger)" in text
    assert f"Log-likelihood {result.llf:.4f}" in text


def test_summary_shows_small_numbers_with_their_digits() -> None:
    data = study()
    result = fit("y ~ x", data.assign(y=1e-4 * data["y"]), groups=["client"])
    lines = {line.split()[0]: line.split()[1:] for line in str(result.summary()).splitlines() if line.split()}
    value = result.random_covariance("client").loc["Intercept", "Intercept"]
    assert float(lines["client"][2]) == pytest.approx(value, rel=1e-3)
    estimate, error = (float(number) for number in lines["x"][:2])
    assert (estimate, error) == pytest.approx((result.params["x"], result.bse["x"]), rel=1e-2)


def test_unknown_levels_are_refused() -> None:
    result: MultilevelResult = example("two_levels")[0]
    for look_up in (result.random_effects, result.random_covariance):
        with pytest.raises(ValueError, match="no random effects of therapist"):
            look_up("therapist")
