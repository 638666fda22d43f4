"""Summaries, convergence checks and predictive checks on draws whose answers are known."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from xarray import DataTree

from alliance_outcome.models.diagnostics import (
    convergence_checks,
    summarise,
)

CHAINS, DRAWS = 4, 1000


@pytest.fixture
def draws():
    """Two terms, standard normal and normal(3, 2), with dimensions in an unusual order."""
    values = np.random.default_rng(11).normal(size=(2, CHAINS, DRAWS))
    values[1] = 3 + 2 * values[1]
    return xr.DataArray(values, dims=("term", "chain", "draw"), coords={"term": ["a", "b"]})


def sample_stats(**changed):
    """Statistics of a sampler that ran well, but for what is changed."""
    shape = (CHAINS, DRAWS)
    statistics = {
        "diverging": np.zeros(shape, dtype=bool),
        "maxdepth_reached": np.zeros(shape, dtype=bool),
        "energy": np.random.default_rng(5).normal(size=shape),
    }
    statistics |= changed
    dataset = xr.Dataset({name: (("chain", "draw"), values) for name, values in statistics.items()})
    return DataTree.from_dict({"sample_stats": dataset})


def named(checks):
    return {check["name"]: check for check in checks}


def test_interval_is_equal_tailed_with_the_stated_probability(draws):
    values = draws.sel(term="b").to_numpy()
    summary = summarise(values, ci_level=0.8)
    assert (summary["ci_low"], summary["ci_high"]) == pytest.approx(np.quantile(values, [0.1, 0.9]))
    assert summary["ci_kind"] == "equal_tailed"
    assert summarise(values)["ci_level"] == 0.95


def test_monte_carlo_errors_are_those_of_independent_draws(draws):
    # Of S independent draws with SD 2: mean 2/√S, SD 2/√(2S), quantile √(p(1 − p)/S) over the density there.
    summary = summarise(draws.sel(term="b").to_numpy())
    root = np.sqrt(CHAINS * DRAWS)
    density_at_tail = np.exp(-(1.959964**2) / 2) / np.sqrt(2 * np.pi) / 2
    assert summary["mcse_mean"] == pytest.approx(2 / root, rel=0.1)
    assert summary["mcse_sd"] == pytest.approx(2 / np.sqrt(2) / root, rel=0.15)
    for end in ("mcse_ci_low", "mcse_ci_high"):
        assert summary[end] == pytest.approx(np.sqrt(0.025 * 0.975) / root / density_at_tail, rel=0.35)
    assert summary["prob_direction"] == pytest.approx(0.933, abs=0.02)


def test_chains_that_disagree_fail_though_each_is_good(draws):
    apart = draws.sel(term="a").to_numpy() + np.array([0, 0, 0, 1.0])[:, None]
    checks = named(
        convergence_checks({"good": summarise(draws.sel(term="a")), "apart": summarise(apart)}, None)
    )
    assert checks["r_hat"]["passed"] is False
    assert checks["r_hat"]["value"] > 1.05
    assert "apart" in checks["r_hat"]["text"]


def test_a_good_run_passes_every_check(draws):
    checks = named(convergence_checks({"a": summarise(draws.sel(term="a"))}, sample_stats()))
    assert set(checks) == {"r_hat", "ess_bulk", "ess_tail", "divergences", "tree_depth", "energy"}
    assert all(check["passed"] is True for check in checks.values())
    assert checks["energy"]["value"] == pytest.approx(2.0, abs=0.15)  # independent energies


@pytest.mark.parametrize("statistic", ["maxdepth_reached", "reached_max_treedepth"])
def test_trajectories_cut_short_fail_under_either_sampler_s_name(draws, statistic):
    happened = np.zeros((CHAINS, DRAWS), dtype=bool)
    happened[1, :3] = True
    tree = sample_stats()
    dataset = tree.sample_stats.to_dataset().drop_vars("maxdepth_reached")
    tree = DataTree.from_dict({"sample_stats": dataset.assign({statistic: (("chain", "draw"), happened)})})
    check = named(convergence_checks({"a": summarise(draws.sel(term="a"))}, tree))["tree_depth"]
    assert (check["passed"], check["value"], check["limit"]) == (False, 3.0, 0.0)


def test_energy_that_hardly_moves_fails(draws):
    energy = np.random.default_rng(5).normal(size=(CHAINS, DRAWS))
    energy[2] = np.linspace(-1, 1, DRAWS)
    checks = named(convergence_checks({"a": summarise(draws.sel(term="a"))}, sample_stats(energy=energy)))
    assert checks["energy"]["passed"] is False
    assert checks["energy"]["value"] < 0.3


@pytest.fixture
def predictions():
    """Observed: client x falls 30 to 10, client y rises 5 to 8; one draw equals it, one is constant."""
    observed = np.array([30.0, 5.0, 20.0, 8.0, 10.0])
    draws = np.stack([observed, np.full(5, 12.0)])[None]
    group = xr.Dataset({"outcome": (("chain", "draw", "row"), draws.astype(np.float32))})
    return DataTree.from_dict(
        {
            "observed_data": xr.Dataset({"outcome": ("row", observed)}),
            "prior_predictive": group,
            "posterior_predictive": group,
        }
    )


def test_diagnostics_import_no_sampler():
    code = "import sys, alliance_outcome.models.diagnostics; print({'pymc', 'nutpie', 'pytensor'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
