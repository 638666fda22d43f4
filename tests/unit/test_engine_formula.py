"""From a formula and a table to columns: names, order, missing rows, faults, and silence about cells and labels."""

from __future__ import annotations

import traceback

import numpy as np
import pandas as pd
import pytest
from engine_example import fit, model, standard_errors_apart, study

from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel

#: What must not appear in any message: every text in the table starts with it.
MARK = "confidential"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return study().assign(
        note=lambda table: MARK + table["x"].round(2).astype(str),
        therapist=lambda table: MARK + table["therapist"],
        client=lambda table: MARK + table["client"],
    )


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("y ~ x:z + z + x", ["Intercept", "z", "x", "x:z"]),
        ("y ~ x*sex", ["Intercept", "x", "sex[T.Male]", "x:sex[T.Male]"]),
        (
            "y ~ sex*x*z",
            [
                "Intercept",
                "sex[T.Male]",
                "x",
                "z",
                "sex[T.Male]:x",
                "sex[T.Male]:z",
                "x:z",
                "sex[T.Male]:x:z",
            ],
        ),
        ("y ~ sex + x + x:sex", ["Intercept", "sex[T.Male]", "x", "sex[T.Male]:x"]),
        ("y ~ z - 1 + x", ["z", "x"]),
        ("y ~ 0 + sex", ["sex[Female]", "sex[Male]"]),
        ("y ~ 1", ["Intercept"]),
        ("y ~ C(session > 4)", ["Intercept", "C(session > 4)[T.True]"]),
        ("y ~ log(week) + x", ["Intercept", "log(week)", "x"]),
        ("y ~ np.log(week)", ["Intercept", "np.log(week)"]),
        ("y ~ poly(week, 2)", ["Intercept", "poly(week, 2)[1]", "poly(week, 2)[2]"]),
        ("y ~ bs(week, df=4)", ["Intercept", *(f"bs(week, df=4)[{number}]" for number in range(1, 5))]),
        ("y ~ I(x ** 2) + x", ["Intercept", "I(x ** 2)", "x"]),
    ],
)
def test_terms_come_by_degree_and_then_as_written(data: pd.DataFrame, formula: str, terms: list[str]) -> None:
    made = model(formula, data)
    assert list(made.design.terms) == terms
    assert list(made.fit().params.index) == terms


def test_categories_keep_the_order_that_they_were_given(data: pd.DataFrame) -> None:
    ordered = data.assign(sex=pd.Categorical(data["sex"], ["Male", "Female"]))
    made = model("y ~ x:sex + sex + x", ordered)
    assert list(made.design.terms) == ["Intercept", "sex[T.Female]", "x", "x:sex[T.Female]"]


def test_the_outcome_may_be_an_expression(data: pd.DataFrame) -> None:
    made = model("I(2 * y) ~ x", data)
    assert np.array_equal(made.design.columns.outcome, 2.0 * data["y"])


@pytest.mark.parametrize(
    ("random", "terms", "correlated"),
    [
        ("1", ("Intercept",), True),
        ("1 + x", ("Intercept", "x"), True),
        ("x", ("Intercept", "x"), True),
        ("1 + x | client", ("Intercept", "x"), True),
        ("1 + x ||", ("Intercept", "x"), False),
        ("1 + x || client", ("Intercept", "x"), False),
        ("0 + x", ("x",), True),
        ("1 + week", ("Intercept", "week"), True),
        ("1 + sex", ("Intercept", "sex[T.Male]"), True),
        ("1 + log(week)", ("Intercept", "log(week)"), True),
    ],
)
def test_random_parts_are_read_as_lme4_reads_them(
    data: pd.DataFrame, random: str, terms: tuple[str, ...], correlated: bool
) -> None:
    effects = model("y ~ x", data, random={"client": random}).design.structure.unit
    assert effects is not None
    assert (effects.level, effects.terms, effects.correlated) == ("client", terms, correlated)


def test_every_level_has_a_random_intercept_unless_told_otherwise(data: pd.DataFrame) -> None:
    structure = model("y ~ x", data).design.structure
    assert [effects.terms for effects in structure.levels] == [("Intercept",), ("Intercept",)]
    assert model("y ~ x", data, random={"client": "0"}).design.structure.levels == ()


def test_a_random_slope_need_not_be_a_fixed_effect(data: pd.DataFrame) -> None:
    made = model("y ~ x", data, random={"client": "1 + week"})
    expected = made.design.order.take(data["week"].to_numpy())
    scale, mean = np.sqrt(np.mean((expected - expected.mean()) ** 2)), expected.mean()
    # A slope beside an intercept is centred and scaled; 1e-12 is rounding.
    assert made.design.rows.unit_random[:, 1] == pytest.approx((expected - mean) / scale, abs=1e-12)


@pytest.mark.parametrize("spoilt", ["y", "x", "sex", "week", "therapist", "client", "session"])
def test_rows_with_anything_missing_are_dropped_and_counted(data: pd.DataFrame, spoilt: str) -> None:
    lacking = [3, 10, 11]
    options = {"random": {"client": "1 + week"}, "residual": "ar1", "time": "session"}
    table = data.assign(**{spoilt: data[spoilt].where(~data.index.isin(lacking))})
    result = fit("y ~ x + sex", table, **options)
    complete = fit("y ~ x + sex", data.drop(index=lacking), **options)
    assert (result.n_dropped, complete.n_dropped) == (3, 0)
    assert result.params.equals(complete.params)
    assert result.fittedvalues.index.equals(data.index.drop(lacking))
    assert "(3 dropped, incomplete)" in str(result.summary())


def test_missing_cells_of_unused_columns_do_not_matter(data: pd.DataFrame) -> None:
    assert model("y ~ x", data.assign(z=np.nan)).n_dropped == 0


def test_categories_without_rows_have_no_coefficient(data: pd.DataFrame) -> None:
    # As in R, where `model.frame` drops unused levels: here the only client of the third category lacks x.
    first = data["client"] == data["client"].iloc[0]
    table = data.assign(
        sex=pd.Categorical(data["sex"].mask(first, "Other"), ["Female", "Male", "Other"]),
        x=data["x"].mask(first),
    )
    assert list(model("y ~ sex + x", table).design.terms) == ["Intercept", "sex[T.Male]", "x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formula": "y ~ nothing + x"}, "no columns nothing"),
        ({"formula": "y ~ x", "random": {"client": "1 + nothing"}}, "no columns nothing"),
        ({"formula": "y ~ x", "time": "nothing"}, "no columns nothing"),
        ({"formula": "y ~ x", "groups": ["clinic"]}, "no columns clinic"),
        ({"formula": "~ x"}, "lacks an outcome"),
        ({"formula": "x"}, "lacks an outcome"),
        ({"formula": "y ~ x +* z"}, "cannot be read"),
        ({"formula": "y ~ x", "random": {"clinic": "1"}}, "given for clinic, which groups does not name"),
        ({"formula": "y ~ x", "random": {"client": "1 | therapist"}}, "random part of client cannot be read"),
        ({"formula": "y ~ x", "random": {"client": "1 + | x | z"}}, "random part of client cannot be read"),
        ({"formula": "y ~ x", "random": {"client": ""}}, "random part of client cannot be read"),
        ({"formula": "y ~ x", "groups": ["therapist", "client", "session"]}, "two levels at most"),
        ({"formula": "y ~ x", "residual": "ar2"}, "'independent' or 'ar1'"),
        ({"formula": "y ~ x", "residual": "ar1"}, "pass time"),
        ({"formula": "y ~ x", "lagged_outcome": "x"}, "pass time"),
        ({"formula": "y ~ x", "lagged_outcome": "z", "time": "session"}, "no terms z"),
    ],
)
def test_arguments_that_contradict_the_table_or_each_other_are_refused(
    data: pd.DataFrame, arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(data=data, **arguments)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("note ~ x", "one numeric column"),
        ("sex ~ x", "one numeric column"),
        ("y + x ~ z", "one numeric column"),
        ("y ~ infinite", "column infinite has 1 missing or infinite"),
        ("infinite ~ x", "the outcome has 1 missing or infinite"),
        ("y ~ empty", "no row has all that the model needs"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(data: pd.DataFrame, formula: str, message: str) -> None:
    table = data.assign(infinite=data["x"].mask(data.index == 4, np.inf), empty=np.nan)
    with pytest.raises(UnfittableModel, match=message):
        model(formula, table)


def test_a_table_with_two_columns_of_a_name_is_refused(data: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="two columns"):
        model("y ~ x", pd.concat([data, data[["x"]]], axis=1))


def test_a_single_level_may_be_named_without_a_list(data: pd.DataFrame) -> None:
    assert model("y ~ x", data, groups="client").design.structure.levels[0].level == "client"


@pytest.mark.parametrize("time", ["note", "moment"])
def test_times_that_are_not_numbers_are_refused(data: pd.DataFrame, time: str) -> None:
    # Moments would count in billionths of a second, between which any autocorrelation is zero.
    moments = pd.Timestamp("2026-01-05") + pd.to_timedelta(7 * data["session"], unit="D")
    with pytest.raises(ValueError, match="not numeric"):
        model("y ~ x", data.assign(moment=moments), residual="ar1", time=time)


def test_infinite_times_are_refused(data: pd.DataFrame) -> None:
    infinite = data.assign(session=data["session"].mask(data.index == 4, np.inf))
    with pytest.raises(ValueError, match=r"time.* 1 missing or infinite"):
        model("y ~ x", infinite, residual="ar1", time="session")


def from_arrays(data: pd.DataFrame, **changed: object) -> MultilevelModel:
    arguments = {"outcome": data["y"], "fixed": data[["x"]].assign(Intercept=1.0)} | changed
    arguments.setdefault("groups", {"client": data["client"]})
    return MultilevelModel(arguments.pop("outcome"), arguments.pop("fixed"), **arguments)


@pytest.mark.parametrize(
    ("formula", "random"),
    [
        ("y ~ log(note)", "1"),
        ("y ~ {note.astype('float')}", "1"),
        ("y ~ x", "1 + log(note)"),
        ("y ~ x", "1 + {note.astype('float')}"),
        ("y ~ bs(x, df=4, lower_bound=0)", "1"),
        ("y ~ x", "1 + bs(x, df=4, lower_bound=0)"),
    ],
)
def test_an_exception_inside_a_formula_quotes_no_cell(data: pd.DataFrame, formula: str, random: str) -> None:
    with pytest.raises(ValueError, match="cannot be computed") as caught:
        model(formula, data, random={"client": random})
    assert MARK not in "".join(traceback.format_exception(caught.value, chain=True)).replace(formula, "")


@pytest.mark.parametrize(
    "changed",
    [
        lambda data: {"outcome": data["note"]},
        lambda data: {"fixed": data[["x", "note"]].assign(Intercept=1.0)},
        lambda data: {"residual": "ar1", "time": data["note"]},
    ],
    ids=["outcome", "fixed", "time"],
)
def test_texts_among_numbers_are_refused_without_quoting_them(data: pd.DataFrame, changed) -> None:
    with pytest.raises(ValueError, match="numeric") as caught:
        from_arrays(data, **changed(data))
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda data: {"groups": {"client": data["client"].mask(data.index == 1)}},
            "1 rows have no client label",
        ),
        (lambda data: {"groups": {"client": data["client"][:-1].to_numpy()}}, "client labels for"),
        (lambda data: {"groups": {"client": data["client"][::-1]}}, "different indices"),
        (lambda data: {"outcome": data["y"][::-1]}, "different indices"),
        (lambda data: {"outcome": data["y"].to_numpy()[:-1]}, "has shape"),
        (lambda data: {"outcome": data["y"].mask(data.index == 2)}, "outcome has 1 missing"),
        (lambda data: {"fixed": data[["x"]].assign(x=data["x"].mask(data.index == 2))}, "column x has 1"),
        (lambda data: {"fixed": data[["x", "x"]]}, "same name"),
        (lambda data: {"fixed": data[["x"]].assign(Intercept=2.0)}, "must hold ones"),
        (lambda _: {"random": {"client": ["q"]}}, "not usable: q"),
        (lambda _: {"random": {"client": ["x", "x"]}}, "different fixed-effect columns"),
        (lambda _: {"random": {"clinic": ["x"]}}, "which groups does not name"),
        (lambda data: {"residual": "ar1", "time": data["session"][::-1]}, "time.*different indices"),
        (lambda data: {"residual": "ar1", "time": data["session"].to_numpy()[:-1]}, "time"),
        (lambda data: {"residual": "ar1", "time": data["session"].mask(data.index == 2)}, "time.* 1 missing"),
        (
            lambda data: {"time": data["session"].mask(data.index == 2, np.inf)},
            "time.* 1 missing or infinite",
        ),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(data: pd.DataFrame, changed, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_arrays(data, **changed(data))
    assert MARK not in str(caught.value)


def test_columns_make_the_model_of_the_formula(data: pd.DataFrame) -> None:
    fixed = pd.DataFrame({"Intercept": 1.0, "x": data["x"], "z": data["z"]})
    groups = {level: data[level] for level in ("therapist", "client")}
    random = {"client": ["Intercept", "x"], "therapist": ["Intercept"]}
    ours = MultilevelModel(
        data["y"],
        fixed,
        groups=groups,
        random=random,
        uncorrelated=["client"],
        residual="ar1",
        time=data["week"],
    ).fit()
    written = fit(
        "y ~ x + z", data, random={"client": "1 + x ||", "therapist": "1"}, residual="ar1", time="week"
    )
    # The same numbers in another layout of memory, which changes the last digits of sums.
    assert standard_errors_apart(ours, written) < 1e-10
    assert (ours.llf, ours.ar1) == pytest.approx((written.llf, written.ar1), rel=1e-10)
