"""R² of a multilevel model taken apart: against numbers by hand, against the rows themselves, and resampled.

Comparisons of two computations of the same number allow 1e-10 relative: double precision holds 16 digits, of which
centring and sums of some hundred rows cost a few.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.explained_variance import (
    OTHER_TERMS,
    TOTAL,
    ExplainedVariance,
    ModelEstimates,
    explained_variance,
)
from alliance_outcome.models.level_covariances import LevelledDesign, LevelMoments, design_covariances

TOLERANCE = 1e-10
TERMS = ("Intercept", "alliance", "progress", "severity_first", "training")


def variances(explained: ExplainedVariance) -> dict[str, float]:
    return {part.name: part.variance for part in explained.parts}


def decompose(design: LevelledDesign, estimates: ModelEstimates) -> ExplainedVariance:
    return explained_variance(design_covariances(design), estimates)


def study(seed: int = 1, therapists: int = 7) -> pd.DataFrame:
    """Make unbalanced rows in mixed order, predictors with parts at all levels and offsets."""
    rng = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(therapists), rng.integers(1, 6, size=therapists))
    client = np.repeat(np.arange(len(therapist)), rng.integers(1, 9, size=len(therapist)))
    therapist = therapist[client]

    def mixed() -> np.ndarray:
        return (
            rng.normal(size=len(client))
            + rng.normal(size=client.max() + 1)[client]
            + rng.normal(size=therapists)[therapist]
        )

    data = pd.DataFrame(
        {
            "client": 10 + 3 * client,
            "therapist": 50 - therapist,
            "Intercept": 1.0,
            "alliance": 4.0 + mixed(),
            "progress": mixed(),
            "severity_first": rng.normal(size=client.max() + 1)[client],
            "training": rng.normal(size=therapists)[therapist],
        }
    )
    return data.sample(frac=1.0, random_state=seed, ignore_index=True)


#: The random effects of each kind of design, innermost grouping first.
DESIGNS = {
    "three levels": {
        "client": ["Intercept", "alliance"],
        "therapist": ["Intercept", "progress", "severity_first"],
    },
    "client only": {"client": ["Intercept", "alliance", "progress"]},
    "therapist intercept": {"client": ["Intercept", "alliance"], "therapist": ["Intercept"]},
    "no random effects of therapists": {"client": ["Intercept"], "therapist": []},
    "no groupings": {},
}


def design_of(data: pd.DataFrame, random: dict[str, list[str]]) -> LevelledDesign:
    return LevelledDesign(
        TERMS,
        data[list(TERMS)].to_numpy(),
        ("session", *random),
        tuple(data[level].to_numpy() for level in random),
        tuple(data[terms].to_numpy() for terms in random.values()),
    )


def estimates_of(random: dict[str, list[str]], seed: int = 2) -> ModelEstimates:
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=(len(terms), len(terms))) for terms in random.values()]
    return ModelEstimates(rng.normal(size=len(TERMS)), tuple(f @ f.T for f in factors), 1.3)


def early_rows() -> pd.DataFrame:
    """Return one row per client."""
    return study().drop_duplicates("client").reset_index(drop=True)


class TestByHand:
    """Two clients with two sessions each, x = 1, 3 and 5, 7; b = 2; Ψ of (1, x) = [[1, ¼], [¼, ½]]; σ² = 2.

    Within-client deviations are ±1 (sum of squares 4), client means 2 and 6 around 4 (over rows 16), rows − 1 = 3:
    f1 = 4·4/3, f2 = 4·16/3, v12 = ½·4/3, v22 = ½·16/3, m2 = 1 + 2·4·¼ + 16·½ = 11; in all 43.
    """

    x = np.array([1.0, 5.0, 3.0, 7.0])
    columns = np.column_stack([np.ones(4), x])
    design = LevelledDesign(
        ("Intercept", "x"), columns, ("session", "client"), (np.array([8, 3, 8, 3]),), (columns,)
    )
    estimates = ModelEstimates(np.array([9.0, 2.0]), (np.array([[1.0, 0.25], [0.25, 0.5]]),), 2.0)

    def test_parts(self):
        found = variances(decompose(self.design, self.estimates))
        expected = {"f1": 16 / 3, "f2": 64 / 3, "v12": 2 / 3, "v22": 8 / 3, "m2": 11.0, "residual": 2.0}
        assert found == pytest.approx(expected)

    def test_measures(self):
        explained = decompose(self.design, self.estimates)
        found = explained.measures().set_index("measure")["value"]
        assert found["R2_t(f1)"] == pytest.approx(16 / 3 / 43)
        assert found["R2_w(f1)"] == pytest.approx(16 / 3 / 8)
        assert found["R2_w(v)"] == pytest.approx(2 / 3 / 8)
        assert found["R2_b(f2)"] == pytest.approx(64 / 3 / 35)
        assert found["R2_b(m2)"] == pytest.approx(11 / 35)
        assert found["R2_t(f)"] == explained.marginal == pytest.approx(80 / 3 / 43)
        assert found["R2_t(fvm)"] == explained.conditional == pytest.approx(41 / 43)

    def test_components(self):
        found = decompose(self.design, self.estimates).components().set_index("part")
        assert found["level"].to_dict() == {
            "f1": "session",
            "v12": "session",
            "residual": "session",
            "f2": "client",
            "v22": "client",
            "m2": "client",
        }
        assert found["variance"].sum() == pytest.approx(43.0)
        assert found["share_of_total"].sum() == pytest.approx(1.0)
        assert found.loc["v22", "share_of_level"] == pytest.approx(8 / 3 / 35)

    def test_intraclass_correlation(self):
        found = decompose(self.design, self.estimates).intraclass_correlations()
        assert found.to_dict("records") == [
            pytest.approx({"level": "client", "variance": 11.0, "share": 11 / 13, "icc": 11 / 13})
        ]


def split_by_rows(data: pd.DataFrame, terms: list[str], levels: list[str]) -> list[pd.DataFrame]:
    """Split columns as the definition says, with pandas."""
    parts, above = [], data[terms]
    for level in levels:
        means = data[terms].groupby(data[level]).transform("mean")
        parts.append(above - means)
        above = means
    return [*parts, above]


def from_rows(
    data: pd.DataFrame, random: dict[str, list[str]], estimates: ModelEstimates
) -> dict[str, float]:
    """Compute all parts from the rows and their definition."""
    levels, found = list(random), {}
    for number, part in enumerate(split_by_rows(data, list(TERMS), levels), start=1):
        found[f"f{number}"] = float(np.var(part.to_numpy() @ estimates.coefficients, ddof=1))
    for number, (terms, covariance) in enumerate(
        zip(random.values(), estimates.covariances, strict=True), start=2
    ):
        if set(terms) - {"Intercept"}:
            for below, part in enumerate(split_by_rows(data, terms, levels), start=1):
                found[f"v{below}{number}"] = float(np.sum(np.cov(part.to_numpy().T) * covariance))
        if terms:
            means = data[terms].mean().to_numpy()
            found[f"m{number}"] = float(means @ covariance @ means)
    return found | {"residual": estimates.residual_variance}


class TestAgainstTheRows:
    @pytest.mark.parametrize("random", DESIGNS.values(), ids=DESIGNS)
    def test_parts_are_what_their_definition_gives(self, random: dict[str, list[str]]):
        data, estimates = study(), estimates_of(random)
        found = variances(decompose(design_of(data, random), estimates))
        assert found == pytest.approx(from_rows(data, random, estimates), rel=TOLERANCE)

    @pytest.mark.parametrize("random", DESIGNS.values(), ids=DESIGNS)
    def test_fixed_parts_add_up_to_the_variance_of_the_prediction(self, random: dict[str, list[str]]):
        data, estimates = study(), estimates_of(random)
        prediction = data[list(TERMS)].to_numpy() @ estimates.coefficients
        fixed = decompose(design_of(data, random), estimates).variance(kinds="f")
        assert fixed == pytest.approx(prediction.var(ddof=1), rel=TOLERANCE)

    def test_random_parts_add_up_to_the_mean_variance_of_random_effects(self):
        # Johnson's mean over rows has the denominator rows.
        random = DESIGNS["three levels"]
        data, estimates = study(), estimates_of(random)
        explained, rows = decompose(design_of(data, random), estimates), len(data)
        mean = sum(
            np.mean(np.sum(data[terms].to_numpy() @ covariance * data[terms].to_numpy(), axis=1))
            for terms, covariance in zip(random.values(), estimates.covariances, strict=True)
        )
        found = explained.variance(kinds="v") * (rows - 1) / rows + explained.variance(kinds="m")
        assert found == pytest.approx(mean, rel=TOLERANCE)

    def test_one_row_per_client_has_therapists_only_above_it(self):
        data, random = early_rows(), {"therapist": ["Intercept"]}
        design = replace(design_of(data, random), levels=("client", "therapist"))
        explained = decompose(design, estimates_of(random))
        assert variances(explained) == pytest.approx(
            from_rows(data, random, estimates_of(random)), rel=TOLERANCE
        )
        assert set(explained.components()["level"]) == {"client", "therapist"}

    def test_ordinary_least_squares_has_one_r_squared(self):
        explained = decompose(design_of(study(), {}), estimates_of({}))
        assert explained.marginal == explained.conditional
        assert set(explained.r_squared().values()) == {explained.marginal}
        assert explained.intraclass_correlations().empty

    def test_units_of_a_single_row_have_no_variance_within(self):
        data, random = early_rows(), DESIGNS["therapist intercept"]
        found = variances(decompose(design_of(data, random), estimates_of(random)))
        assert found["f1"] == found["v12"] == 0.0


class TestInvariance:
    def test_order_of_rows_and_names_of_units_do_not_matter(self):
        random = DESIGNS["three levels"]
        data, estimates = study(), estimates_of(random)
        other = data.iloc[::-1].assign(
            client=lambda d: 1000 - d["client"], therapist=lambda d: -d["therapist"]
        )
        found = variances(decompose(design_of(other, random), estimates))
        assert found == pytest.approx(variances(decompose(design_of(data, random), estimates)), rel=TOLERANCE)

    def test_the_origin_of_a_slope_column_does_not_matter_if_the_covariance_matrix_follows(self):
        # u0 + u1 x is (u0 − c u1) + u1 (x + c): the same random effects, hence the same parts.
        random = {"client": ["Intercept", "alliance"]}
        data, estimates = study(), estimates_of(random)
        shift = np.array([[1.0, -3.0], [0.0, 1.0]])
        moved = replace(estimates, covariances=(shift @ estimates.covariances[0] @ shift.T,))
        found = variances(decompose(design_of(data.assign(alliance=data["alliance"] + 3.0), random), moved))
        assert found == pytest.approx(variances(decompose(design_of(data, random), estimates)), rel=TOLERANCE)

    @pytest.mark.parametrize("of_clusters", [False, True])
    def test_large_offsets_cost_few_digits(self, of_clusters: bool):
        # Columns of size 1 on an offset of 1e6 have lost 6 of 16 digits before they get here.
        random = {"client": ["Intercept"]}
        data, estimates = study(), estimates_of(random)
        design = design_of(data.assign(alliance=data["alliance"] + 1e6), random)
        covariances = LevelMoments.of(design).covariances() if of_clusters else design_covariances(design)
        found = variances(explained_variance(covariances, estimates))
        assert found == pytest.approx(variances(decompose(design_of(data, random), estimates)), rel=1e-8)


class TestResampledClusters:
    @pytest.mark.parametrize("random", DESIGNS.values(), ids=DESIGNS)
    def test_all_clusters_once_are_the_rows(self, random: dict[str, list[str]]):
        design, estimates = design_of(study(), random), estimates_of(random)
        found = explained_variance(LevelMoments.of(design).covariances(), estimates)
        assert variances(found) == pytest.approx(variances(decompose(design, estimates)), rel=TOLERANCE)
        assert found.r_squared() == pytest.approx(decompose(design, estimates).r_squared(), rel=TOLERANCE)

    @pytest.mark.parametrize("random", DESIGNS.values(), ids=DESIGNS)
    def test_repeated_clusters_are_duplicated_rows_of_distinct_clusters(self, random: dict[str, list[str]]):
        # Also for models without a therapist level, where clients are drawn with their therapists.
        data, estimates = study(), estimates_of(random)
        moments = LevelMoments.of(design_of(data, random), data["therapist"].to_numpy())
        labels = np.unique(data["therapist"])
        drawn = np.array([0, 0, 2, 3, 3, 3, 6])
        copies = [
            data[data["therapist"] == labels[position]].assign(
                client=lambda d, copy=copy: d["client"] + 10_000 * copy,
                therapist=lambda d, copy=copy: d["therapist"] + 10_000 * copy,
            )
            for copy, position in enumerate(drawn)
        ]
        weights = np.bincount(drawn, minlength=moments.n_clusters)
        found = explained_variance(moments.covariances(weights), estimates)
        expected = decompose(design_of(pd.concat(copies, ignore_index=True), random), estimates)
        assert variances(found) == pytest.approx(variances(expected), rel=TOLERANCE)

    def test_a_single_cluster_has_no_variance_between_clusters(self):
        random = DESIGNS["three levels"]
        moments = LevelMoments.of(design_of(study(), random))
        weights = np.zeros(moments.n_clusters)
        weights[np.argmax(moments.sizes)] = 1.0
        explained = explained_variance(moments.covariances(weights), estimates_of(random))
        # The difference of two equal sums: rounding, and of either sign.
        assert variances(explained)["f3"] == pytest.approx(0.0, abs=1e-12)

    def test_measures_have_the_same_keys_in_every_sample(self):
        random = DESIGNS["three levels"]
        moments = LevelMoments.of(design_of(study(), random))
        keys = [
            list(explained_variance(moments.covariances(weights), estimates_of(random)).r_squared())
            for weights in np.eye(moments.n_clusters) + 1.0
        ]
        assert all(found == keys[0] for found in keys)

    @pytest.mark.parametrize("weights", [[1.0], [-1.0] + [1.0] * 6, [np.nan] + [1.0] * 6])
    def test_weights_must_be_counts_of_clusters(self, weights: list[float]):
        moments = LevelMoments.of(design_of(study(), DESIGNS["three levels"]))
        with pytest.raises(ValueError, match="weight of 0 or more"):
            moments.covariances(np.array(weights))

    def test_an_empty_sample_is_refused(self):
        moments = LevelMoments.of(design_of(study(), DESIGNS["three levels"]))
        with pytest.raises(ValueError, match="fewer than two rows"):
            moments.covariances(np.zeros(moments.n_clusters))

    def test_what_is_resampled_must_hold_whole_units(self):
        data = study()
        with pytest.raises(ValueError, match="belong to more than one unit"):
            LevelMoments.of(design_of(data, DESIGNS["three levels"]), data["client"].to_numpy())


#: The terms of two raters.
RATERS = {"client": ["alliance"], "therapist": ["progress"]}


class TestTermsAndGroups:
    @pytest.mark.parametrize("random", DESIGNS.values(), ids=DESIGNS)
    def test_terms_and_groups_add_up_to_the_fixed_part_of_each_level(self, random: dict[str, list[str]]):
        explained = decompose(design_of(study(), random), estimates_of(random))
        terms = explained.by_terms().groupby("level")["part"].sum()
        groups = explained.by_groups(RATERS).groupby("level")["variance"].sum()
        for level in (TOTAL, *explained.levels):
            fixed = explained.variance(level, "f")
            assert terms[level] == pytest.approx(fixed, rel=TOLERANCE)
            assert groups[level] == pytest.approx(fixed, rel=TOLERANCE)

    def test_groups_have_the_variances_and_covariances_of_their_predictions(self):
        random = DESIGNS["client only"]
        data, estimates = study(), estimates_of(random)
        found = decompose(design_of(data, random), estimates).by_groups(RATERS)
        within = split_by_rows(data, list(TERMS), ["client"])[0].to_numpy() * estimates.coefficients
        predictions = np.cov(np.column_stack([within[:, 1], within[:, 2], within[:, 3:].sum(axis=1)]).T)
        table = found[found["level"] == "session"].set_index(["group", "group2"])["variance"]
        assert table["client", "client"] == pytest.approx(predictions[0, 0], rel=TOLERANCE)
        assert table["therapist", "therapist"] == pytest.approx(predictions[1, 1], rel=TOLERANCE)
        assert table["therapist", "client"] == pytest.approx(2.0 * predictions[0, 1], rel=TOLERANCE)
        assert OTHER_TERMS in found["group"].to_numpy()

    def test_nothing_left_over_has_no_rows(self):
        explained = decompose(design_of(study(), {}), estimates_of({}))
        found = explained.by_groups({"all": TERMS[1:3], "rest": TERMS[3:]})
        assert OTHER_TERMS not in found["group"].to_numpy()

    def test_suppression_gives_negative_parts_that_stay_negative(self):
        # Correlation .8, coefficients 1 and −.5: the part of the second is .25 − .4, its covariance with the first.
        rng = np.random.default_rng(3)
        first, noise = rng.normal(size=(2, 200))
        columns = np.column_stack([np.ones(200), first, 0.8 * first + 0.6 * noise])
        design = LevelledDesign(("Intercept", "first", "second"), columns, ("client",), (), ())
        explained = decompose(design, ModelEstimates(np.array([0.0, 1.0, -0.5]), (), 1.0))
        terms = explained.by_terms().set_index(["level", "term"])
        assert terms.loc[(TOTAL, "second"), "part"] < -0.05
        assert terms.loc[(TOTAL, "second"), "share_of_total"] < 0.0
        groups = explained.by_groups({"a": ["first"], "b": ["second"]})
        shared = groups.loc[(groups["kind"] == "twice_covariance") & (groups["level"] == TOTAL), "variance"]
        assert shared.item() == pytest.approx(-np.cov(columns[:, 1], columns[:, 2])[0, 1], rel=TOLERANCE)

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            ({"a": ["alliance"], "b": ["mood"]}, "no terms mood"),
            ({"a": ["alliance"], "b": ["alliance"]}, "one group only"),
            ({"a": ["alliance"], "b": []}, "needs terms"),
            ({OTHER_TERMS: ["alliance"]}, "needs terms and a name"),
        ],
    )
    def test_groups_that_do_not_partition_the_terms_are_refused(self, groups: dict, message: str):
        explained = decompose(design_of(study(), {}), estimates_of({}))
        with pytest.raises(ValueError, match=message):
            explained.by_groups(groups)


class TestIntraclassCorrelations:
    def test_clients_share_what_their_therapists_share(self):
        random = {"client": ["Intercept"], "therapist": ["Intercept"]}
        estimates = ModelEstimates(np.zeros(len(TERMS)), (np.array([[3.0]]), np.array([[1.0]])), 4.0)
        found = decompose(design_of(study(), random), estimates).intraclass_correlations().set_index("level")
        assert list(found.index) == ["therapist", "client"]
        assert found["share"].to_dict() == {"therapist": 1 / 8, "client": 3 / 8}
        assert found["icc"].to_dict() == {"therapist": 1 / 8, "client": 4 / 8}

    def test_slopes_count_at_the_mean_of_their_column(self):
        random = {"client": ["Intercept", "alliance"]}
        data, estimates = study(), estimates_of(random)
        at_mean = np.array([1.0, data["alliance"].mean()])
        variance = at_mean @ estimates.covariances[0] @ at_mean
        found = decompose(design_of(data, random), estimates).intraclass_correlations()
        assert found["icc"].item() == pytest.approx(variance / (variance + 1.3), rel=TOLERANCE)


class TestNothingToExplain:
    def test_no_variance_at_a_level_has_no_r_squared(self):
        # A within-client predictor and an intercept variance on the boundary: nothing varies between clients.
        columns = np.column_stack([np.ones(4), [-1.0, 1.0, -2.0, 2.0]])
        design = LevelledDesign(
            ("Intercept", "x"), columns, ("session", "client"), (np.array([0, 0, 1, 1]),), (columns[:, :1],)
        )
        measures = decompose(
            design, ModelEstimates(np.array([0.0, 1.0]), (np.zeros((1, 1)),), 1.0)
        ).r_squared()
        assert np.isnan(measures["client", "f2"])
        assert measures[TOTAL, "m2"] == 0.0

    def test_a_model_without_predictors_explains_nothing(self):
        design = LevelledDesign(("Intercept",), np.ones((4, 1)), ("client",), (), ())
        explained = decompose(design, ModelEstimates(np.array([3.0]), (), 1.0))
        assert explained.marginal == 0.0
        assert explained.by_terms().empty


class TestRefusals:
    data = study()

    def design(self, **changes: object) -> LevelledDesign:
        return replace(design_of(self.data, DESIGNS["three levels"]), **changes)

    def test_units_must_be_nested(self):
        with pytest.raises(ValueError, match="1 units belong to more than one"):
            LevelledDesign(
                ("Intercept",),
                np.ones((4, 1)),
                ("session", "client", "therapist"),
                (np.array([1, 1, 2, 2]), np.array([5, 6, 7, 7])),
                (np.ones((4, 1)), np.ones((4, 1))),
            )

    def test_values_must_be_complete(self):
        fixed = self.data[list(TERMS)].to_numpy(copy=True)
        fixed[3, 1] = np.nan
        with pytest.raises(ValueError, match="missing or infinite"):
            self.design(fixed=fixed)

    def test_shapes_must_agree(self):
        with pytest.raises(ValueError, match="one name each"):
            self.design(terms=TERMS[:-1])
        with pytest.raises(ValueError, match="distinct names"):
            self.design(levels=("session", "client"))
        with pytest.raises(ValueError, match="random-effect columns"):
            self.design(random=())
        with pytest.raises(ValueError, match="same number of rows"):
            self.design(random=(np.ones((2, 1)), np.ones((2, 1))))
        with pytest.raises(ValueError, match="integer code for each row"):
            self.design(groups=(np.arange(3), np.arange(3)))

    def test_estimates_must_have_the_shape_of_the_design(self):
        estimates = estimates_of(DESIGNS["three levels"])
        with pytest.raises(ValueError, match="one coefficient for each term"):
            decompose(self.design(), replace(estimates, coefficients=np.ones(2)))
        with pytest.raises(ValueError, match="covariance matrix of its random effects"):
            decompose(self.design(), replace(estimates, covariances=estimates.covariances[:1]))
