"""Dominance and commonality of groups of predictors: by hand, by ordinary least squares, and by their sums.

The R² of least squares here are sums of a few products of numbers of size 1; 1e-10 absolute is rounding with a margin.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.dominance import R_SQUARED, DominanceAnalysis, dominance_analysis

TOLERANCE = 1e-10
GROUPS = ("client", "therapist", "observer")
Subset = frozenset[str]


def least_squares(
    correlations: np.ndarray, with_outcome: list[float], groups: dict[str, list[int]]
) -> Callable:
    """Return R² of standardised predictors as a function of the groups in the model."""

    def r_squared(subset: Subset) -> float:
        columns = [position for group in groups if group in subset for position in groups[group]]
        if not columns:
            return 0.0
        validities = np.array(with_outcome)[columns]
        return float(validities @ np.linalg.solve(correlations[np.ix_(columns, columns)], validities))

    return r_squared


def two_predictors(correlation: float, first: float, second: float) -> DominanceAnalysis:
    correlations = np.array([[1.0, correlation], [correlation, 1.0]])
    groups = {"client": [0], "therapist": [1]}
    return dominance_analysis(list(groups), least_squares(correlations, [first, second], groups))


def three_groups() -> Callable:
    """Return R² of four correlated predictors in three groups, from data, as a model with an intercept has it."""
    rng = np.random.default_rng(4)
    predictors = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    outcome = predictors @ np.array([1.0, -0.5, 0.3, 0.8]) + rng.normal(size=60)
    joint = np.corrcoef(np.column_stack([predictors, outcome]).T)
    return least_squares(
        joint[:4, :4], list(joint[:4, 4]), {"client": [0, 1], "therapist": [2], "observer": [3]}
    )


class TestTwoCorrelatedPredictors:
    """Correlation ½, with the outcome .6 and .5: R² = (.36 + .25 − 2·½·.6·.5)/(1 − ¼) = .31/.75.

    Unique: .31/.75 − .25 and .31/.75 − .36; common: .36 + .25 − .31/.75; general: means of alone and unique.
    """

    analysis = two_predictors(0.5, 0.6, 0.5)
    full = 0.31 / 0.75

    def test_importance(self):
        found = self.analysis.importance.set_index("group")
        assert found["alone"].to_dict() == pytest.approx({"client": 0.36, "therapist": 0.25})
        assert found["unique"].to_dict() == pytest.approx(
            {"client": self.full - 0.25, "therapist": self.full - 0.36}
        )
        assert found.loc["client", "general"] == pytest.approx((0.36 + self.full - 0.25) / 2)
        assert found.loc["client", "share"] == pytest.approx((0.36 + self.full - 0.25) / 2 / self.full)

    def test_commonality(self):
        found = self.analysis.commonality.set_index("groups")["coefficient"]
        assert found.to_dict() == pytest.approx(
            {
                "client": self.full - 0.25,
                "therapist": self.full - 0.36,
                "client & therapist": 0.61 - self.full,
            }
        )

    def test_conditional(self):
        found = self.analysis.conditional.set_index(["group", "n_others"])["increment"]
        assert found["therapist", 0] == pytest.approx(0.25)
        assert found["therapist", 1] == pytest.approx(self.full - 0.36)

    def test_the_better_predictor_dominates_completely(self):
        found = self.analysis.dominance.iloc[0]
        assert found[["group", "other"]].to_list() == ["client", "therapist"]
        assert found[["complete", "conditional", "general"]].to_list() == ["client"] * 3

    def test_every_model_is_listed(self):
        found = self.analysis.fits.set_index("groups")["r_squared"]
        expected = {"": 0.0, "client": 0.36, "therapist": 0.25, "client + therapist": self.full}
        assert found.to_dict() == pytest.approx(expected)


def test_a_suppressor_has_a_negative_common_part():
    # Uncorrelated with the outcome, correlated .6 with the other: R² = .25/(1 − .36), of which −.25·.36/.64 is common.
    analysis = two_predictors(0.6, 0.5, 0.0)
    common = analysis.commonality.set_index("groups").loc["client & therapist"]
    assert common["coefficient"] == pytest.approx(-0.25 * 0.36 / 0.64)
    assert common["share"] == pytest.approx(-0.36)
    importance = analysis.importance.set_index("group")
    assert importance.loc["therapist", "alone"] == 0.0
    assert importance.loc["therapist", "unique"] == pytest.approx(0.25 * 0.36 / 0.64)


def test_equal_predictors_do_not_dominate_each_other():
    analysis = two_predictors(0.5, 0.4, 0.4)
    assert analysis.dominance[["complete", "conditional", "general"]].isna().all(axis=None)
    assert analysis.importance["general"].nunique() == 1


class TestThreeGroups:
    analysis = dominance_analysis(GROUPS, three_groups())

    def test_commonality_solves_the_equations_that_define_it(self):
        # What a set of groups explains together is all that is common to any set that meets it.
        sets = [frozenset(s) for size in (1, 2, 3) for s in combinations(GROUPS, size)]
        meets = np.array([[float(bool(explaining & common)) for common in sets] for explaining in sets])
        r_squared = three_groups()
        expected = np.linalg.solve(meets, [r_squared(s) for s in sets])
        found = self.analysis.commonality.set_index("groups")["coefficient"]
        names = [" & ".join(group for group in GROUPS if group in s) for s in sets]
        assert found[names].to_numpy() == pytest.approx(expected, abs=TOLERANCE)

    def test_general_dominance_is_the_average_over_orders_of_entry(self):
        # The Shapley value, computed over all orders in which groups may enter.
        r_squared = three_groups()
        orders = [(a, b, c) for a in GROUPS for b in GROUPS for c in GROUPS if len({a, b, c}) == 3]
        totals = dict.fromkeys(GROUPS, 0.0)
        for order in orders:
            for position, group in enumerate(order):
                before = frozenset(order[:position])
                totals[group] += (r_squared(before | {group}) - r_squared(before)) / len(orders)
        found = self.analysis.importance.set_index("group")["general"]
        assert found.to_dict() == pytest.approx(totals, abs=TOLERANCE)

    def test_sums_are_what_all_groups_explain(self):
        full = three_groups()(frozenset(GROUPS))
        assert self.analysis.importance["general"].sum() == pytest.approx(full, abs=TOLERANCE)
        assert self.analysis.importance["share"].sum() == pytest.approx(1.0, abs=TOLERANCE)
        assert self.analysis.commonality["coefficient"].sum() == pytest.approx(full, abs=TOLERANCE)
        assert self.analysis.commonality["share"].sum() == pytest.approx(1.0, abs=TOLERANCE)

    def test_unique_parts_are_the_same_in_both_analyses(self):
        unique = self.analysis.commonality.query("n_groups == 1").set_index("groups")["coefficient"]
        found = self.analysis.importance.set_index("group")["unique"]
        assert found.to_dict() == pytest.approx(unique.to_dict(), abs=TOLERANCE)

    def test_alone_and_unique_are_the_ends_of_the_conditional_averages(self):
        averages = self.analysis.conditional.pivot_table(
            index="group", columns="n_others", values="increment"
        )
        importance = self.analysis.importance.set_index("group").loc[averages.index]
        assert averages[0].to_numpy() == pytest.approx(importance["alone"].to_numpy())
        assert averages[2].to_numpy() == pytest.approx(importance["unique"].to_numpy())
        assert averages.mean(axis=1).to_numpy() == pytest.approx(importance["general"].to_numpy())

    def test_the_order_of_groups_does_not_matter(self):
        other = dominance_analysis(GROUPS[::-1], three_groups())
        for table, key in (("importance", ["group"]), ("conditional", ["group", "n_others"])):
            expected = getattr(self.analysis, table).sort_values(key, ignore_index=True)
            pd.testing.assert_frame_equal(getattr(other, table).sort_values(key, ignore_index=True), expected)
        dominant = [
            {
                frozenset(row[:2]): row[2:]
                for row in found.dominance.drop(columns="measure").itertuples(index=False)
            }
            for found in (self.analysis, other)
        ]
        assert dominant[0] == dominant[1]
        sizes = [
            found.commonality.groupby("n_groups")["coefficient"].sum() for found in (self.analysis, other)
        ]
        pd.testing.assert_series_equal(*sizes)


def table(increments: dict[str, float]) -> Callable[[Subset], float]:
    """Return R² by subset, groups written by their first letters in the order of GROUPS."""
    return lambda subset: increments["".join(group[0] for group in GROUPS if group in subset)]


class TestKindsOfDominance:
    def test_conditional_without_complete(self):
        # Client adds .1 more than therapist to any others but the observer alone, to whom it adds .05 less. With three
        # groups the two kinds coincide: it takes a fourth to average the observer's turn away.
        def r_squared(subset: Subset) -> float:
            behind = subset == {"client", "observer"}
            return 0.1 * len(subset) + 0.1 * ("client" in subset) - 0.15 * behind

        found = dominance_analysis((*GROUPS, "supervisor"), r_squared).dominance.iloc[0]
        assert pd.isna(found["complete"])
        assert found["conditional"] == found["general"] == "client"

    def test_general_without_conditional(self):
        # Therapist adds more to nothing; client adds more to the observer, by a greater difference.
        values = {"": 0.0, "c": 0.2, "t": 0.21, "o": 0.1, "ct": 0.4, "co": 0.45, "to": 0.3, "cto": 0.5}
        found = dominance_analysis(GROUPS, table(values)).dominance.iloc[0]
        assert found[["complete", "conditional"]].isna().all()
        assert found["general"] == "client"

    def test_ties_beside_one_advantage_are_dominance(self):
        values = {"": 0.0, "c": 0.2, "t": 0.2, "o": 0.1, "ct": 0.4, "co": 0.4, "to": 0.3, "cto": 0.5}
        found = dominance_analysis(GROUPS, table(values)).dominance.iloc[0]
        assert found["complete"] == "client"


class TestCalls:
    def test_each_model_is_fitted_once(self):
        asked = []

        def r_squared(subset: Subset) -> float:
            asked.append(subset)
            return 0.1 * len(subset)

        dominance_analysis(GROUPS, r_squared)
        assert len(asked) == len(set(asked)) == 2 ** len(GROUPS)

    def test_what_is_in_all_models_is_nobodys(self):
        # Covariates explain .2 without any group.
        analysis = dominance_analysis(GROUPS[:2], lambda subset: 0.2 + 0.1 * len(subset))
        assert analysis.importance["alone"].to_numpy() == pytest.approx([0.1, 0.1])
        assert analysis.commonality["coefficient"].to_numpy() == pytest.approx([0.1, 0.1, 0.0])

    def test_measures_are_kept_apart(self):
        within = three_groups()
        analysis = dominance_analysis(
            GROUPS, lambda subset: {"within": within(subset), "between": 0.1 * len(subset)}
        )
        alone = dominance_analysis(GROUPS, within)
        for name in ("fits", "importance", "conditional", "commonality", "dominance"):
            found = getattr(analysis, name)
            assert list(found["measure"].unique()) == ["within", "between"]
            part = found[found["measure"] == "within"].drop(columns="measure").reset_index(drop=True)
            pd.testing.assert_frame_equal(part, getattr(alone, name).drop(columns="measure"))

    def test_a_plain_number_is_r_squared(self):
        assert set(dominance_analysis(GROUPS, three_groups()).fits["measure"]) == {R_SQUARED}

    def test_a_model_that_was_not_fitted_leaves_what_rests_on_it_open(self):
        def r_squared(subset: Subset) -> float:
            return np.nan if subset == {"client"} else 0.1 * len(subset)

        analysis = dominance_analysis(GROUPS[:2], r_squared)
        importance = analysis.importance.set_index("group")
        assert importance["alone"].isna().to_dict() == {"client": True, "therapist": False}
        assert importance["unique"].isna().to_dict() == {"client": False, "therapist": True}
        assert importance["general"].isna().all()
        assert analysis.dominance[["complete", "conditional", "general"]].isna().all(axis=None)

    def test_nothing_explained_has_no_shares(self):
        analysis = dominance_analysis(GROUPS, lambda subset: 0.3 - 0.01 * len(subset))
        assert analysis.importance["share"].isna().all()
        assert analysis.commonality["share"].isna().all()
        assert analysis.importance["general"].sum() == pytest.approx(-0.03)

    @pytest.mark.parametrize("groups", [["client"], ["client", "client"]])
    def test_fewer_than_two_groups_are_refused(self, groups: list[str]):
        with pytest.raises(ValueError, match="at least two groups with distinct names"):
            dominance_analysis(groups, lambda subset: 0.1 * len(subset))

    def test_measures_that_come_and_go_are_refused(self):
        with pytest.raises(ValueError, match="same measures"):
            dominance_analysis(GROUPS, lambda subset: {"within": 0.1} if subset else {"between": 0.1})
