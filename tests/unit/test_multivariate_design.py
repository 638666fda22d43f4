"""What the joint model takes from a table, what it refuses, and its priors."""

from dataclasses import replace

import multivariate_example as example
import numpy as np
import pytest
from scipy import stats

from alliance_outcome.models.design_checks import RankDeficientDesign, UnfittableModel
from alliance_outcome.models.measurement_error_priors import MeasurementErrorPriors, Reliability
from alliance_outcome.models.multivariate_design import joint_design

SPECIFICATION = example.SPECIFICATION


@pytest.fixture
def table():
    """A small study with some values missing."""
    rows = example.study(example.TRUTH, 1, n_therapists=4, clients_each=3, sessions_each=4)
    rng = np.random.default_rng(1)
    for name in example.VALUES:
        rows.loc[rng.random(len(rows)) < 0.2, name] = np.nan
    return rows


def test_design_holds_what_the_table_says(table):
    specification = replace(SPECIFICATION, alliance_covariates=("time",))
    design = joint_design(table, specification)
    assert np.array_equal(design.values, table[example.VALUES], equal_nan=True)
    assert specification.columns == ("Intercept", "base", "time")
    assert np.array_equal(design.uses, [[True, True, True], [True, False, False], [True, True, True]])
    assert design.terms == ((1, 0), (2, 0), (2, 1), (2, 2))
    assert [len(grouping) for grouping in design.groups] == [12, 4]
    assert design.scaled_predictors[:, 1:].mean(axis=0) == pytest.approx([0, 0])
    assert design.scaled_predictors[:, 1:].std(axis=0) == pytest.approx([1, 1])


def test_missing_values_of_nullable_columns_are_missing(table):
    nullable = table.astype(dict.fromkeys(example.VALUES, "Float64"))
    found = joint_design(nullable, SPECIFICATION).values
    assert np.array_equal(found, table[example.VALUES], equal_nan=True)


def test_an_intercept_among_the_covariates_is_the_one_there_is(table):
    named = replace(SPECIFICATION, outcome_covariates=("Intercept", "base", "time"))
    assert np.array_equal(
        joint_design(table, named).predictors, joint_design(table, SPECIFICATION).predictors
    )


def test_other_values_keep_everything_else(table):
    design = joint_design(table, SPECIFICATION)
    other = design.with_values(design.values + 1.0)
    assert np.array_equal(other.centres, design.centres)
    assert other.cells is not design.cells
    moved = other.cells.joint[:, 3:] - design.cells.joint[:, 3:]
    assert set(np.unique(moved.round(12))) == {0.0, 1.0}


def singular(table):
    return table.assign(alliance_therapist=2.0 * table["alliance_client"] + table["base"])


REFUSALS = {
    "no column": (lambda rows: rows.drop(columns="severity"), {}, "no columns severity"),
    "no rater": (lambda rows: rows, {"raters": {}}, "at least one rater"),
    "four levels": (
        lambda rows: rows.assign(clinic="a"),
        {"levels": {**example.THREE_LEVELS, "between_clinic": "clinic"}},
        "one to three levels",
    ),
    "no row level": (lambda rows: rows, {"levels": {"between_client": "client"}}, "the rows"),
    "twice": (lambda rows: rows, {"outcome_covariates": ("severity",)}, "named twice"),
    "empty": (lambda rows: rows.iloc[:0], {}, "no rows"),
    "text": (lambda rows: rows.assign(severity="high"), {}, "not numeric"),
    "infinite": (lambda rows: rows.assign(severity=np.inf), {}, "infinite"),
    "incomplete covariate": (lambda rows: rows.assign(base=np.nan), {}, "base has 48 missing"),
    "collinear": (lambda rows: rows.assign(time=3.0 - rows["base"]), {}, "base, time are collinear"),
    "constant covariate": (lambda rows: rows.assign(time=1.0), {}, "collinear"),
    "constant rating": (
        lambda rows: rows.assign(alliance_client=5.0),
        {},
        "client is not observed, or does not vary",
    ),
    "unrated": (lambda rows: rows.assign(alliance_client=np.nan), {}, "client is not observed"),
    "never together": (
        lambda rows: rows.assign(
            alliance_client=rows["alliance_client"].where(rows.index % 2 == 0),
            alliance_therapist=rows["alliance_therapist"].where(rows.index % 2 == 1),
        ),
        {},
        "client and therapist are never observed together",
    ),
    "no label": (lambda rows: rows.assign(client=None), {}, "no between_client label"),
    "not nested": (
        lambda rows: rows.assign(therapist=np.resize(["T1", "T2"], len(rows))),
        {},
        "must be nested",
    ),
    "one therapist": (lambda rows: rows.assign(therapist="T1"), {}, "between_therapist has a single unit"),
    "one client each": (lambda rows: rows.assign(therapist=rows["client"]), {}, "holds a single unit"),
    "one row each": (
        lambda rows: rows.drop_duplicates("client"),
        {"outcome_covariates": ()},
        "level between_client holds a single unit",
    ),
    "stable rating": (
        lambda rows: rows.assign(alliance_client=rows.groupby("client")["alliance_client"].transform("mean")),
        {},
        "client is determined",
    ),
    "same rating": (singular, {}, "therapist is determined"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_fitted_is_refused_with_its_reason(table, case):
    spoil, changes, reason = REFUSALS[case]
    with pytest.raises(UnfittableModel, match=reason) as raised:
        joint_design(spoil(table), replace(SPECIFICATION, **changes))
    # No label of a participant in any message.
    assert not any(label in str(raised.value) for label in ("C0", "T0"))


def test_collinear_covariates_are_named(table):
    with pytest.raises(RankDeficientDesign) as raised:
        joint_design(table.assign(time=3.0 - table["base"]), SPECIFICATION)
    assert raised.value.columns == ("base", "time")


@pytest.mark.parametrize("levels", [1, 2])
def test_fewer_levels_are_fine(table, levels):
    chosen = dict(list(example.THREE_LEVELS.items())[:levels])
    design = joint_design(table, replace(SPECIFICATION, levels=chosen))
    assert len(design.groups) == levels - 1
    assert design.cells.cells.sums[:, 0].sum() == len(table)


def test_beta_distribution_has_the_moments_asked_for():
    found = Reliability.of_moments(0.8, 0.05)
    assert stats.beta(found.alpha, found.beta).stats() == pytest.approx((0.8, 0.05**2))


@pytest.mark.parametrize(("low", "high"), [(0.7, 0.85), (0.02, 0.99), (0.9, 0.91)])
def test_beta_distribution_has_the_quantiles_asked_for(low, high):
    found = Reliability.of_quantiles((0.025, low), (0.9, high))
    assert stats.beta(found.alpha, found.beta).ppf([0.025, 0.9]) == pytest.approx([low, high], rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        Reliability,
        lambda: Reliability(known=0.0),
        lambda: Reliability(known=1.2),
        lambda: Reliability(alpha=2.0, beta=-1.0),
        lambda: Reliability.of_moments(0.8, 0.5),
        lambda: Reliability.of_moments(1.0, 0.1),
        lambda: Reliability.of_quantiles((0.1, 0.9), (0.9, 0.8)),
    ],
)
def test_impossible_reliabilities_are_refused(wrong):
    with pytest.raises(ValueError, match=r"reliability|distribution|quantiles"):
        wrong()


def test_priors_follow_from_the_ranges_of_the_instruments():
    priors = MeasurementErrorPriors.of_ranges((0.0, 40.0), {"client": (1.0, 7.0), "therapist": (12.0, 84.0)})
    assert (priors.outcome_mean, priors.outcome_mean_sd, priors.slope_sd) == (20.0, 10.0, 4.0)
    assert priors.of_raters("alliance_mean", ("therapist", "client")) == pytest.approx([48.0, 4.0])
    assert replace(priors, alliance_sd=2.0).of_raters(
        "alliance_sd", ("client", "therapist")
    ) == pytest.approx([2.0, 2.0])
