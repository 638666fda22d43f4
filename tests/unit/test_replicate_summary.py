"""What bootstrap replicates say, against the arithmetic done by hand and against simulation."""

import arviz_stats as azs
import numpy as np
import pytest
from scipy import stats

from alliance_outcome.models.replicate_summary import (
    deviation_error,
    expanded_tails,
    quantile_error,
    summarise_replicates,
)


def test_tails_move_outwards_with_few_clusters():
    # Hesterberg's rule for 12 clusters: t with 11 degrees of freedom has its 97.5 % point at 2.200985 (any table).
    low, high = expanded_tails(12)
    assert low == pytest.approx(stats.norm.sf(2.200985 * np.sqrt(12 / 11)), rel=1e-5)
    assert low + high == 1.0
    assert low < 0.012
    assert expanded_tails(1_000_000)[0] == pytest.approx(0.025, rel=1e-4)


def test_expanded_percentiles_of_normal_replicates_are_the_t_interval():
    # Replicates of a mean of J clusters have its standard error too small by √((J − 1)/J).
    count, std_error = 8, 0.7
    normal = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    replicates = 3.0 + np.sqrt((count - 1) / count) * std_error * normal
    found = summarise_replicates(3.0, replicates, count)
    half = stats.t.ppf(0.975, count - 1) * std_error
    assert found["ci_low"] == pytest.approx(3.0 - half, abs=2e-3)
    assert found["ci_high"] == pytest.approx(3.0 + half, abs=2e-3)


def test_summary_names_its_columns_and_does_not_depend_on_order():
    values = np.random.default_rng(1).normal(size=500)
    found = summarise_replicates(0.1, values, 20)
    assert found == summarise_replicates(0.1, values[::-1], 20)
    assert found["estimate"] == 0.1
    assert found["std_error"] == pytest.approx(values.std(ddof=1))
    assert (found["se_kind"], found["ci_kind"], found["quantity_kind"]) == (
        "bootstrap",
        "percentile",
        "bootstrap",
    )
    assert (found["n_draws"], found["ci_level"]) == (500, 0.95)
    assert "mcse_mean" not in found


@pytest.mark.parametrize("probability", [0.01, 0.025, 0.5, 0.975])
def test_monte_carlo_error_of_a_quantile_is_its_spread_over_repetitions(probability):
    # Over 400 repetitions a standard deviation is known to 3.5 %; whole order statistics, taken outwards, add some 8 %.
    generator = np.random.default_rng(2)
    draws = np.sort(generator.gumbel(size=(400, 2000)), axis=1)
    spread = np.quantile(draws, probability, axis=1).std()
    assert np.mean([quantile_error(own, probability) for own in draws]) == pytest.approx(spread, rel=0.15)


def test_monte_carlo_error_of_a_quantile_is_arvizs_for_independent_draws():
    values = np.random.default_rng(3).normal(size=20_000)
    theirs = float(azs.mcse(values.reshape(4, -1), method="quantile", prob=0.025))
    assert quantile_error(np.sort(values), 0.025) == pytest.approx(theirs, rel=0.1)


def test_monte_carlo_error_of_a_standard_deviation_is_its_spread_over_repetitions():
    draws = np.random.default_rng(4).gumbel(size=(400, 2000))
    spread = draws.std(axis=1).std()
    assert np.mean([deviation_error(own) for own in draws]) == pytest.approx(spread, rel=0.1)
    assert deviation_error(np.full(10, 2.0)) == 0.0
