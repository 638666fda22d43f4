"""Predictions for new rows: which effects they include, what is refused, and that new rows never redefine columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from engine_example import LEVELS, example, fit, study

from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

#: The same sums in another order.
SAME = 1e-12

FORMULA = "y ~ sex*x + poly(week, 2) + bs(session, df=4) + scale(z)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return study()


@pytest.fixture(scope="module")
def result(data: pd.DataFrame) -> MultilevelResult:
    return fit(FORMULA, data, random={"client": "1 + x", "therapist": "1"})


def effects_of(result: MultilevelResult, data: pd.DataFrame, level: str) -> np.ndarray:
    """Add up a level's predicted effects for rows, on the columns of the table."""
    effects = result.random_effects(level).pivot(index=level, columns="term", values="estimate")
    own = effects.loc[data[level]]
    return sum(own[term].to_numpy() * (1.0 if term == "Intercept" else data[term]) for term in own)


def test_predictions_for_the_rows_of_the_fit_are_its_fitted_values(
    result: MultilevelResult, data: pd.DataFrame
) -> None:
    assert result.predict(data).to_numpy() == pytest.approx(result.fittedvalues, abs=SAME)


@pytest.mark.parametrize("include", [["client"], ["therapist"], ["client", "therapist"], []])
def test_predictions_add_the_effects_of_the_levels_that_they_include(
    result: MultilevelResult, data: pd.DataFrame, include: Sequence[str]
) -> None:
    expected = result.predict(data, include="fixed")
    for level in include:
        expected = expected + effects_of(result, data, level)
    assert result.predict(data, include=include).to_numpy() == pytest.approx(expected, abs=1e-10)


def test_one_level_may_be_named_without_a_list(result: MultilevelResult, data: pd.DataFrame) -> None:
    assert result.predict(data, include="client").equals(result.predict(data, include=["client"]))


def test_the_fixed_part_is_columns_times_coefficients(data: pd.DataFrame) -> None:
    found = example("client_slope")[0]
    by_hand = found.params["Intercept"] + found.params["x"] * data["x"] + found.params["z"] * data["z"]
    ours = found.predict(data[["x", "z"]], include="fixed")
    assert ours.to_numpy() == pytest.approx(by_hand, abs=SAME)


@pytest.mark.parametrize(
    "part",
    [
        lambda data: data["sex"] == "Male",
        lambda data: data["sex"] == "Female",
        lambda data: data.index < 3,
        lambda data: data.index == 100,
        lambda data: data.index < 0,
    ],
    ids=["men", "women", "three rows", "one row", "none"],
)
def test_new_rows_keep_the_contrasts_polynomials_and_scales_of_the_fit(
    result: MultilevelResult, data: pd.DataFrame, part
) -> None:
    rows = data[part(data)].drop(columns="y")
    expected = result.predict(data).loc[rows.index]
    assert result.predict(rows).to_numpy() == pytest.approx(expected, abs=SAME)
    assert result.predict(rows).index.equals(rows.index)


@pytest.mark.parametrize("missing", ["x", "week", "z", "sex"])
def test_a_missing_predictor_gives_no_prediction(
    result: MultilevelResult, data: pd.DataFrame, missing: str
) -> None:
    row = data.index == 20
    found = result.predict(data.assign(**{missing: data[missing].mask(row)}))
    assert np.isnan(found[row]).all()
    assert found[~row].to_numpy() == pytest.approx(result.predict(data)[~row], abs=SAME)


def test_a_category_that_the_fit_does_not_know_is_refused_without_quoting_it(
    result: MultilevelResult, data: pd.DataFrame
) -> None:
    unknown = data.assign(sex=data["sex"].mask(data.index == 3, "SECRET"))
    with pytest.raises(ValueError, match="categories that were not in the data") as caught:
        result.predict(unknown)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("level", LEVELS)
def test_new_units_are_refused_and_counted(result: MultilevelResult, data: pd.DataFrame, level: str) -> None:
    strange = data.assign(**{level: data[level].mask(data.index < 2, "SECRET")})
    with pytest.raises(ValueError, match=f"2 rows belong to {level}s that were not in the data") as caught:
        result.predict(strange)
    assert "SECRET" not in str(caught.value)


def test_new_units_may_count_as_average(result: MultilevelResult, data: pd.DataFrame) -> None:
    strange = data.assign(client="new")
    expected = result.predict(data, include=["therapist"])
    assert result.predict(strange, new_units=True).to_numpy() == pytest.approx(expected, abs=SAME)
    assert result.predict(strange, include=["therapist"]).equals(expected)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.drop(columns="x"), "no columns? x"),
        (lambda data: data.drop(columns=["week", "z"]), "no columns? week, z"),
        (lambda data: data.drop(columns="client"), "no column client"),
        (lambda data: data.assign(x="SECRET" + data["x"].astype(str)), "cannot be computed|numeric"),
    ],
    ids=["a predictor", "two predictors", "a level", "a text"],
)
def test_new_data_without_a_usable_column_are_refused(
    result: MultilevelResult, data: pd.DataFrame, spoil, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        result.predict(spoil(data))
    assert "SECRET" not in str(caught.value)


def test_unknown_levels_are_refused(result: MultilevelResult, data: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no random effects of clinic"):
        result.predict(data, include=["clinic"])


def test_models_made_from_columns_predict_from_columns(data: pd.DataFrame) -> None:
    fixed = pd.DataFrame({"Intercept": 1.0, "x": data["x"], "z": data["z"]})
    found = MultilevelModel(
        data["y"], fixed, groups={"client": data["client"]}, random={"client": ["Intercept", "x"]}
    ).fit()
    assert found.predict(data).to_numpy() == pytest.approx(found.fittedvalues, abs=SAME)
    assert found.predict(fixed.assign(client=data["client"])).to_numpy() == pytest.approx(
        found.fittedvalues, abs=SAME
    )
    assert np.isnan(found.predict(data.assign(x=np.nan)[:1], include="fixed")).all()
    with pytest.raises(ValueError, match="no columns z"):
        found.predict(data.drop(columns="z"))
