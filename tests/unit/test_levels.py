"""The split into levels, the standard deviation of each level, and its resampling."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.design.levels import (
    BETWEEN_CLIENT,
    BETWEEN_CLIENT_POOLED,
    BETWEEN_THERAPIST,
    WITHIN_CLIENT,
    level_column,
    level_sd,
    resampled_level_sds,
    scales_frame,
    split_levels,
)

LEVELS = (WITHIN_CLIENT, BETWEEN_CLIENT, BETWEEN_THERAPIST)


@pytest.fixture
def rows():
    """Two therapists; the first has clients a (3 rows) and b (1 row), the second c (2 rows)."""
    return pd.DataFrame(
        {
            "therapist": ["x", "x", "x", "x", "y", "y"],
            "client": ["a", "a", "a", "b", "c", "c"],
            "alliance_client": [1.0, 2.0, 3.0, 6.0, 4.0, 8.0],
        }
    )


@pytest.fixture
def many_rows():
    generator = np.random.default_rng(3)
    client = np.repeat(np.arange(40), generator.integers(1, 9, 40))
    return pd.DataFrame(
        {
            "therapist": (client % 7).astype(str),
            "client": client.astype(str),
            "alliance_client": generator.normal(size=len(client)),
        }
    )


def test_split_by_hand(rows):
    split = split_levels(rows, ["alliance_client"])
    # Client means 2, 6, 6; therapist means of client means 4 and 6; grand mean of therapists 5.
    assert split["alliance_client_within_client"].tolist() == [-1, 0, 1, 0, -2, 2]
    assert split["alliance_client_between_client"].tolist() == [-2, -2, -2, 2, 0, 0]
    assert split["alliance_client_between_therapist"].tolist() == [-1, -1, -1, -1, 1, 1]
    pooled = split["alliance_client_between_client_pooled"]
    assert pooled.tolist() == pytest.approx([2 - 14 / 3] * 3 + [6 - 14 / 3] * 3)


def test_parts_add_up_to_the_rating(many_rows):
    split = split_levels(many_rows, ["alliance_client"])
    grand = split["alliance_client"] - sum(split[level_column("alliance_client", level)] for level in LEVELS)
    assert np.ptp(grand) == pytest.approx(0, abs=1e-12)


def test_standard_deviations_count_each_unit_once(rows):
    split = split_levels(rows, ["alliance_client"])
    assert level_sd(split, "alliance_client", WITHIN_CLIENT) == pytest.approx(np.sqrt((1 + 1 + 4 + 4) / 3))
    assert level_sd(split, "alliance_client", BETWEEN_CLIENT) == pytest.approx(np.sqrt((4 + 4) / 1))
    assert level_sd(split, "alliance_client", BETWEEN_THERAPIST) == pytest.approx(np.sqrt(2 / 1))
    assert level_sd(split, "alliance_client", BETWEEN_CLIENT_POOLED) == pytest.approx(
        np.std([2, 6, 6], ddof=1)
    )


def test_without_therapists_only_the_pooled_level_exists(rows):
    split = split_levels(rows.assign(therapist=None), ["alliance_client"])
    assert "alliance_client_between_client_pooled" in split
    assert "alliance_client_between_therapist" not in split
    scales = scales_frame(split, ["alliance_client"], (WITHIN_CLIENT, BETWEEN_CLIENT_POOLED))
    assert scales["degrees_of_freedom"].tolist() == [3, 2]


def test_no_degrees_of_freedom_give_no_standard_deviation(rows):
    one_row_each = rows.drop_duplicates("client")
    split = split_levels(one_row_each, ["alliance_client"])
    assert np.isnan(level_sd(split, "alliance_client", WITHIN_CLIENT))


def draw_again(rows, cluster, draws):
    """Write a sample of clusters out: each copy of a cluster, its therapists and its clients are new units."""
    parts = []
    for label, count in draws.items():
        own = rows[rows[cluster] == label]
        for copy in range(count):
            renamed = {unit: own[unit] + f"-{copy}" for unit in ("therapist", "client")}
            parts.append(own.assign(**renamed))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("level", "cluster"),
    [
        *[(level, "therapist") for level in LEVELS],
        (WITHIN_CLIENT, "client"),
        (BETWEEN_CLIENT_POOLED, "client"),
        (BETWEEN_CLIENT_POOLED, "therapist"),
    ],
)
def test_resampling_equals_splitting_each_sample_again(many_rows, level, cluster):
    split = split_levels(many_rows, ["alliance_client"])
    labels = np.array(sorted(many_rows[cluster].unique()))[::-1]
    clusters = pd.Series(pd.Index(labels).get_indexer(many_rows[cluster]))
    generator = np.random.default_rng(4)
    draws = generator.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=5)
    found = resampled_level_sds(split, "alliance_client", level, clusters, draws)
    for sds, drawn in zip(found, draws, strict=True):
        again = draw_again(many_rows, cluster, dict(zip(labels, drawn, strict=True)))
        expected = level_sd(split_levels(again, ["alliance_client"]), "alliance_client", level)
        assert sds == pytest.approx(expected, rel=1e-12)


def test_every_cluster_once_gives_the_standard_deviation_itself(many_rows):
    split = split_levels(many_rows, ["alliance_client"])
    clusters = pd.Series(pd.factorize(many_rows["therapist"])[0])
    once = np.ones((1, 7), dtype=int)
    for level in LEVELS:
        (found,) = resampled_level_sds(split, "alliance_client", level, clusters, once)
        assert found == pytest.approx(level_sd(split, "alliance_client", level), rel=1e-12)


def test_a_sample_of_one_therapist_over_and_over_has_no_spread_between_therapists(many_rows):
    split = split_levels(many_rows, ["alliance_client"])
    clusters = pd.Series(pd.factorize(many_rows["therapist"])[0])
    draws = np.zeros((1, 7), dtype=int)
    draws[0, 3] = 7
    (found,) = resampled_level_sds(split, "alliance_client", BETWEEN_THERAPIST, clusters, draws)
    assert found == pytest.approx(0.0, abs=1e-7)


def test_a_sample_without_degrees_of_freedom_has_no_standard_deviation(rows):
    split = split_levels(rows, ["alliance_client"])
    clusters = pd.Series(pd.factorize(rows["client"])[0])
    draws = np.array([[0, 3, 0], [1, 1, 1]])
    found = resampled_level_sds(split, "alliance_client", WITHIN_CLIENT, clusters, draws)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_split_does_not_depend_on_row_order(many_rows):
    split = split_levels(many_rows, ["alliance_client"])
    shuffled = split_levels(many_rows.sample(frac=1, random_state=1), ["alliance_client"]).sort_index()
    pd.testing.assert_frame_equal(split, shuffled, rtol=1e-12)
