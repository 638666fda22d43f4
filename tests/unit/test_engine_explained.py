"""R², intraclass correlations and dominance of a fit: what the functions of their own say by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from engine_example import LEVELS, MODELS, example, fit, study

from alliance_outcome.models.explained_variance import ModelEstimates, explained_variance
from alliance_outcome.models.level_covariances import LevelledDesign, design_covariances
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Two ways to the same number in double precision.
SAME = 1e-10


def by_hand(result: MultilevelResult, data: pd.DataFrame) -> object:
    """Call `explained_variance` with columns from the table."""
    table = data.assign(Intercept=1.0)
    levels = [level for level in reversed(LEVELS) if level in result.n_units]
    random = {effects.level: list(effects.terms) for effects in result.design.structure.levels}
    empty = np.empty((0, 0))
    design = LevelledDesign(
        terms=tuple(result.params.index),
        fixed=table[list(result.params.index)].to_numpy(),
        levels=("row", *levels),
        groups=tuple(pd.factorize(table[level])[0] for level in levels),
        random=tuple(table[random.get(level, [])].to_numpy(dtype=float) for level in levels),
    )
    covariances = tuple(
        result.random_covariance(level).to_numpy() if level in random else empty for level in levels
    )
    estimates = ModelEstimates(result.params.to_numpy(), covariances, result.scale)
    return explained_variance(design_covariances(design), estimates)


@pytest.mark.parametrize("name", MODELS)
def test_explained_variance_is_that_of_the_columns(name: str) -> None:
    result, data = example(name)
    ours, expected = result.r_squared(), by_hand(result, data)
    assert ours.levels == expected.levels
    assert [part.name for part in ours.parts] == [part.name for part in expected.parts]
    assert [part.variance for part in ours.parts] == pytest.approx(
        [part.variance for part in expected.parts], rel=SAME, abs=SAME
    )
    assert ours.marginal == pytest.approx(expected.marginal, rel=SAME)
    assert ours.conditional == pytest.approx(expected.conditional, rel=SAME)
    assert result.icc().equals(ours.intraclass_correlations())


def test_marginal_and_conditional_of_intercepts_by_their_definition() -> None:
    result, data = example("two_levels")
    fixed = np.var(result.predict(data, include="fixed"), ddof=1)
    between = result.random_covariance("client").iloc[0, 0]
    total = fixed + between + result.scale
    assert result.r_squared().marginal == pytest.approx(fixed / total, rel=SAME)
    assert result.r_squared().conditional == pytest.approx((fixed + between) / total, rel=SAME)


def test_the_intraclass_correlation_of_an_empty_model_is_the_share_of_its_variances() -> None:
    result = fit("y ~ 1", study(5))
    values = result.variance_components.set_index("level")["value"]
    icc = result.icc().set_index("level")["icc"]
    assert icc["therapist"] == pytest.approx(values["therapist"] / values.sum(), rel=SAME)
    # Two sessions of one client have client and therapist in common.
    assert icc["client"] == pytest.approx((values["therapist"] + values["client"]) / values.sum(), rel=SAME)


GROUPS = {"one": ["x"], "other": ["z", "w"]}


def dominance_example() -> tuple[MultilevelResult, pd.DataFrame]:
    data = study(5)
    return fit("y ~ x + z + w + sex", data, random={"client": "1 + x", "therapist": "1"}), data


def test_dominance_compares_refits_with_the_same_random_effects() -> None:
    result, data = dominance_example()
    found = result.dominance(GROUPS).fits.set_index(["measure", "groups"])["r_squared"]
    terms = {"": "sex", "one": "x + sex", "other": "z + w + sex", "one + other": "x + z + w + sex"}
    for groups, formula in terms.items():
        own = fit(f"y ~ {formula}", data, random={"client": "1 + x", "therapist": "1"})
        # The refits start elsewhere: what the optimiser's tolerance leaves of a share.
        assert found["total", groups] == pytest.approx(own.r_squared().marginal, abs=1e-6)


def test_unique_and_common_parts_add_up_to_what_all_groups_add() -> None:
    result, _ = dominance_example()
    analysis = result.dominance(GROUPS)
    fits = analysis.fits.set_index(["measure", "groups"])["r_squared"]
    parts = analysis.commonality.set_index(["measure", "groups"])["coefficient"]
    importance = analysis.importance.set_index(["measure", "group"])
    for measure in ("total", "row", "client", "therapist"):
        whole = fits[measure, "one + other"] - fits[measure, ""]
        assert parts[measure].sum() == pytest.approx(whole, abs=SAME)
        unique = fits[measure, "one + other"] - fits[measure, "other"]
        assert parts[measure, "one"] == pytest.approx(unique, abs=SAME)
        assert importance.loc[(measure, "one"), "unique"] == pytest.approx(unique, abs=SAME)
        common = (
            fits[measure, "one"] + fits[measure, "other"] - fits[measure, "one + other"] - fits[measure, ""]
        )
        assert parts[measure, "one & other"] == pytest.approx(common, abs=SAME)
        assert importance.loc[measure]["general"].sum() == pytest.approx(whole, abs=SAME)


def test_predictors_explain_the_variance_of_their_own_level() -> None:
    result = fit("y ~ z + w", study(5))
    shares = result.fixed_shares()
    assert shares["row"] == pytest.approx(0.0, abs=SAME)
    assert shares["client"] > 0.0
    explained = result.r_squared()
    assert shares["total"] == explained.marginal
    for level in ("client", "therapist"):
        assert shares[level] == pytest.approx(
            explained.variance(level, "f") / explained.variance(level), rel=SAME
        )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"one": ["x"], "other": ["nothing"]}, "no terms nothing"),
        ({"one": ["x"], "other": ["x", "z"]}, "in two groups"),
        ({"one": ["x"]}, "at least two groups"),
    ],
)
def test_groups_that_are_none_are_refused(groups: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dominance_example()[0].dominance(groups)


def test_autoregressive_residuals_count_with_their_whole_variance() -> None:
    result, _ = example("autoregressive")
    parts = {part.name: part.variance for part in result.r_squared().parts}
    assert parts["residual"] == pytest.approx(result.scale, rel=SAME)
