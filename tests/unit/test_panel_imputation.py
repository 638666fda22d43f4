"""What is imputed after leaving: from the model's own expectation, shifted, pooled by Rubin's rules."""

import numpy as np
import pytest
from panel_example import RATERS, panel_values, sessions_of

from alliance_outcome.models.contrast import wald_contrast
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel
from alliance_outcome.models.panel_imputation import (
    after_leaving,
    imputations,
    pooled,
    shifted_differences,
)

PAIR = ("client", "therapist")
WAVES = 6


def leavers(seed=3, clients=400, **options):
    """Simulate a panel that a third of the clients leave, more of those with high severity."""
    values = panel_values(seed, clients, WAVES, **options)
    worst = np.argsort(-values[:, 2, 0])[: clients // 3]
    values[worst, 4:] = np.nan
    return values


@pytest.fixture(scope="module")
def values():
    return leavers()


@pytest.fixture(scope="module")
def result(values):
    return CrossLaggedModel(sessions_of(values), "severity", RATERS, WAVES).fit()


def test_only_outcomes_after_the_last_known_wave_are_drawn(values, result):
    wanted = after_leaving(result).reshape(-1, WAVES, 3)
    assert not wanted[..., 1:].any()
    assert np.array_equal(wanted[..., 0], np.isnan(values[..., 0]))
    drawn = next(imputations(result, after_leaving(result), 1, 1))
    known = ~np.isnan(result.rows.values)
    assert np.array_equal(drawn[known], result.rows.values[known])
    assert np.array_equal(np.isnan(drawn), np.isnan(result.rows.values) & ~after_leaving(result))


def test_a_gap_before_the_last_wave_is_left_to_the_likelihood(values):
    gap = values.copy()
    gap[:200, 3, 0] = np.nan
    model = CrossLaggedModel(sessions_of(gap), "severity", RATERS, WAVES)
    wanted = after_leaving(model.fit()).reshape(-1, WAVES, 3)
    assert not wanted[:, 3].any()


def test_what_is_drawn_has_the_expected_values_and_spread(values, result):
    # Values that were there before clients left: the model expects them, given the past, and draws around them.
    full = panel_values(3, 400, WAVES)
    left = np.isnan(values[:, 5, 0])
    draws = np.array(
        [
            drawn.reshape(-1, WAVES, 3)[left, 5, 0]
            for drawn in imputations(result, after_leaving(result), 40, 2)
        ]
    )
    error = full[left, 5, 0].std() * np.sqrt(2 / left.sum())
    assert draws.mean() == pytest.approx(full[left, 5, 0].mean(), abs=4 * error)
    assert draws.std(axis=1).mean() == pytest.approx(full[left, 5, 0].std(), rel=0.2)


def test_without_a_shift_it_is_full_information_maximum_likelihood(result):
    found = shifted_differences(result, [PAIR], (0.0,), n_imputations=30, seed=4)[PAIR][0.0]
    own = result.difference(*PAIR)
    assert found.contrast.estimate == pytest.approx(own.estimate, abs=4 * found.monte_carlo_error)
    assert found.monte_carlo_error < 0.3 * own.std_error
    assert found.contrast.std_error == pytest.approx(own.std_error, rel=0.15)


def test_a_shift_that_goes_with_the_last_rating_moves_the_difference():
    # Those leave whose last client-rated alliance is high: higher severity afterwards takes the client's path away.
    values = panel_values(5, 400, WAVES)
    values[values[:, 3, 1] > 3.8, 4:] = np.nan
    result = CrossLaggedModel(sessions_of(values), "severity", RATERS, WAVES).fit()
    found = shifted_differences(result, [PAIR], (-2.0, 2.0), n_imputations=4, seed=4)[PAIR]
    assert found[2.0].contrast.estimate > found[-2.0].contrast.estimate + 0.05


def test_the_dynamic_model_is_imputed_too(values):
    result = DynamicPanelModel(sessions_of(values), "severity", RATERS, WAVES).fit()
    found = shifted_differences(result, [PAIR], (0.0,), n_imputations=20, seed=4)[PAIR][0.0]
    own = result.difference(*PAIR)
    assert found.contrast.estimate == pytest.approx(own.estimate, abs=4.5 * found.monte_carlo_error)


def test_the_seed_decides_and_the_order_of_clients_does_not(values, result):
    again = CrossLaggedModel(sessions_of(values[::-1]), "severity", RATERS, WAVES).fit()
    first, second = (next(imputations(each, after_leaving(each), 1, 9)) for each in (result, again))
    assert first == pytest.approx(second[::-1], abs=1e-4, nan_ok=True)
    other = next(imputations(result, after_leaving(result), 1, 10))
    assert not np.allclose(first, other, equal_nan=True)


def test_rubins_rules():
    # By hand: within 1, between 1 (of 1, 2, 3), total 1 + 4/3, freedom 2 (1 + 3/4)².
    found = pooled([wald_contrast(estimate, 1.0, np.inf) for estimate in (1.0, 2.0, 3.0)])
    assert found.contrast.estimate == pytest.approx(2.0)
    assert found.contrast.std_error == pytest.approx(np.sqrt(7 / 3))
    assert found.contrast.df == pytest.approx(2 * 1.75**2)
    assert found.monte_carlo_error == pytest.approx(np.sqrt(1 / 3))


def test_nobody_who_leaves_is_said():
    result = CrossLaggedModel(sessions_of(panel_values(1, 150, WAVES)), "severity", RATERS, WAVES).fit()
    with pytest.raises(UnavailableInference, match="no client leaves"):
        shifted_differences(result, [PAIR], (1.0,), n_imputations=2, seed=1)
