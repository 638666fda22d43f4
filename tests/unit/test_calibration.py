"""The calibration study: its ranks, its arithmetic, and what is stored of it. The study itself is a target."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from xarray import Dataset

from alliance_outcome.analyses.calibration import multilevel_ranks as multilevel_ranks_module
from alliance_outcome.analyses.calibration import ranks as ranks_module
from alliance_outcome.analyses.calibration.designs import (
    DESIGNS,
    JOINT_RANKS,
    PRIORS,
    DifferenceDesign,
    RankDesign,
    chunks,
    parameters_digest,
)
from alliance_outcome.analyses.calibration.difference_coverage import (
    INTERVAL_COLUMNS,
    difference_intervals,
    difference_table,
)
from alliance_outcome.analyses.calibration.joint_ranks import design_rows, reliability
from alliance_outcome.analyses.calibration.multilevel_ranks import (
    LOG_LIKELIHOOD,
    differences,
    model_of,
    multilevel_ranks,
    predictor_rows,
    quantities,
)
from alliance_outcome.analyses.calibration.page import calibration_page
from alliance_outcome.analyses.calibration.ranks import (
    RANK_COLUMNS,
    flat_quantities,
    rank_rows,
    simultaneous_band,
    uniform_values,
    uniformity,
)
from alliance_outcome.analyses.calibration.verdicts import (
    band_probability,
    rank_table,
    read_verdicts,
    sentences,
)
from alliance_outcome.report.figures_calibration import write_ranks

REFERENCE = Path(__file__).parents[2] / "config/reference/calibration"


@pytest.fixture(scope="module", autouse=True)
def quick_bands():
    """Simulate bands with fewer data sets: they are a little narrower then, and take half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks_module, "BAND_SIMULATIONS", 2_000)
        yield
    simultaneous_band.cache_clear()


@pytest.fixture(scope="module")
def stored() -> tuple[pd.DataFrame, pd.DataFrame]:
    return read_verdicts(REFERENCE)


# -- Ranks ------------------------------------------------------------------------------------------------------------


def test_every_element_of_a_variable_is_a_quantity_and_a_correlation_counts_once() -> None:
    draws = Dataset(
        {
            "coefficient": (("chain", "draw", "term"), np.arange(12.0).reshape(2, 3, 2)),
            "client_correlation": (
                ("chain", "draw", "client_term", "client_term_b"),
                np.arange(24.0).reshape(2, 3, 2, 2),
            ),
            "residual_sd": (("draw", "chain"), np.arange(6.0).reshape(3, 2)),
        },
        coords={
            "term": ["Intercept", "x"],
            "client_term": ["Intercept", "x"],
            "client_term_b": ["Intercept", "x"],
        },
    )
    found = flat_quantities(draws)
    assert list(found) == [
        *("coefficient Intercept", "coefficient x", "client_correlation Intercept x", "residual_sd"),
    ]
    assert found["coefficient x"].tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]
    assert found["client_correlation Intercept x"].tolist() == [1.0, 5.0, 9.0, 13.0, 17.0, 21.0]
    # Chain after chain, whatever the order of dimensions.
    assert found["residual_sd"].tolist() == [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]


def test_a_rank_counts_the_draws_below_and_what_is_held_fixed_has_none() -> None:
    draws = {"a": np.array([1.0, 2.0, 3.0, 4.0]), "fixed": np.ones(4)}
    assert rank_rows({"a": 2.5, "fixed": 1.0}, draws) == [{"quantity": "a", "rank": 2, "kept": 4}]


def test_uniform_ranks_become_uniform_values() -> None:
    rng = np.random.default_rng(5)
    ranks = rng.integers(0, 11, size=20_000).astype(float)
    values = uniform_values(ranks, np.full(20_000, 10.0))
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    # Kolmogorov's 1 - 7e-6 quantile.
    assert stats.kstest(values, "uniform").statistic < 2.6 / math.sqrt(20_000)


def test_a_simultaneous_band_holds_with_its_probability() -> None:
    points, low, high = simultaneous_band(100, 0.9)
    rng = np.random.default_rng(8)
    functions = (rng.uniform(size=(4_000, 100))[:, :, None] <= points).mean(axis=1)
    inside = ((functions >= low) & (functions <= high)).all(axis=1).mean()
    # A distribution function is a count, so that the band cannot be exact; 4.5 Monte Carlo errors beside.
    assert 0.9 - 4.5 * math.sqrt(0.09 / 4_000) < inside < 0.95


@pytest.fixture(scope="module")
def normal_ranks():
    """Return a function that ranks a normal mean among draws of a sampler with a fault, in 600 data sets."""

    def simulate(fault):
        rng = np.random.default_rng(11)
        truth = rng.standard_normal(600)
        # Ten observations with a standard deviation of 1: the posterior is normal(10/11 mean, 1/11).
        mean = (truth + rng.standard_normal(600) / math.sqrt(10.0)) * 10.0 / 11.0
        shift, stretch = fault
        draws = (mean + shift)[:, None] + stretch * rng.standard_normal((600, 200)) / math.sqrt(11.0)
        return (draws < truth[:, None]).sum(axis=1).astype(float)

    return simulate


@pytest.mark.parametrize(
    ("fault", "expected"),
    [((0.0, 1.0), True), ((0.0, 0.75), False), ((0.0, 1.4), False), ((0.1, 1.0), False)],
    ids=["exact", "too narrow", "too wide", "biased"],
)
def test_a_wrong_sampler_is_found(normal_ranks, fault, expected) -> None:
    values = uniform_values(normal_ranks(fault), np.full(600, 200.0))
    assert uniformity(values, band_probability(100))[0] is expected


# -- Multilevel model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    return multilevel_ranks("early", range(60))


def test_data_sets_are_the_same_in_whatever_job(few: pd.DataFrame) -> None:
    again = multilevel_ranks("early", range(3, 5))
    expected = few[few["simulation"].isin([3, 4])].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, expected)
    assert list(few.columns) == list(RANK_COLUMNS)


def test_every_parameter_d_and_the_likelihood_are_ranked(few: pd.DataFrame) -> None:
    quantities = set(few["quantity"])
    assert {"difference between_client", "difference between_therapist", "log_likelihood"} <= quantities
    assert {"residual_sd", "therapist_sd Intercept", "coefficient Intercept"} <= quantities
    assert few.groupby("quantity")["simulation"].nunique().eq(60).all()


def failures(ranks: pd.DataFrame) -> set[str]:
    """Return quantities whose ranks are not uniform."""
    probability = band_probability(ranks["quantity"].nunique())
    return {
        str(quantity)
        for quantity, cell in ranks.groupby("quantity")
        if not uniformity(
            uniform_values(cell["rank"].to_numpy(dtype=float), cell["kept"].to_numpy(dtype=float)),
            probability,
        )[0]
    }


def test_another_prior_than_the_simulation_has_is_found(few: pd.DataFrame, monkeypatch) -> None:
    """Effects that the model believes to be a fifth as large as they are."""
    built = []

    def misled(rows, outcome, specification, terms, priors, residual):
        built.append(outcome)
        believed = priors if len(built) == 1 else replace(priors, effect_sd=priors.effect_sd / 5.0)
        return model_of(rows, outcome, specification, terms, believed, residual)

    monkeypatch.setattr(multilevel_ranks_module, "model_of", misled)
    assert failures(few) == set()
    assert "difference between_therapist" in failures(multilevel_ranks("early", range(60)))


def test_d_is_the_difference_of_standardised_coefficients() -> None:
    rows, specification, terms = predictor_rows(DESIGNS["hybrid"])
    model = model_of(rows, rows["outcome"].to_numpy(), specification, terms, PRIORS)
    draws = model.prior(3, 1)
    for level, found in differences(draws, rows, specification).items():
        first, second = (f"alliance_{rater}_{level}" for rater in ("client", "therapist"))
        by_hand = [
            float(model.design.scales[model.design.terms.index(term) - 1])
            * draws["coefficient"].sel(term=term)
            for term in (first, second)
        ]
        assert np.allclose(found, by_hand[0] - by_hand[1])


# -- Joint model ------------------------------------------------------------------------------------------------------


def test_the_joint_design_misses_values_and_knows_one_reliability() -> None:
    design = design_rows()
    share = 1.0 - design.observed.mean()
    assert share == pytest.approx(JOINT_RANKS.missing, abs=0.05)
    assert np.array_equal(design.observed, design_rows().observed)
    found = reliability()
    assert {each.known for (_, rater), each in found.items() if rater == "client"} == {0.85}
    assert all(each.known is None for (_, rater), each in found.items() if rater == "therapist")


# -- Coverage of D ----------------------------------------------------------------------------------------------------


def test_intervals_of_d_are_those_of_both_analyses() -> None:
    found = difference_intervals("difference_15_therapists", range(2))
    assert list(found.columns) == list(INTERVAL_COLUMNS)
    assert found.groupby("simulation")["analysis"].value_counts().to_dict() == {
        **{(number, "hybrid"): 3 for number in range(2)},
        **{(number, "early"): 2 for number in range(2)},
    }
    assert ((found["ci_low"] < found["mean"]) & (found["mean"] < found["ci_high"])).all()
    again = difference_intervals("difference_15_therapists", [1])
    pd.testing.assert_frame_equal(again, found[found["simulation"] == 1].reset_index(drop=True))


def intervals(covered: float) -> pd.DataFrame:
    """Return intervals of all designs that hold the truth in a share of studies."""
    rows = []
    for name, design in DESIGNS.items():
        if isinstance(design, DifferenceDesign):
            errors = np.random.default_rng(3).standard_normal(design.simulations)
            held = np.arange(design.simulations) < covered * design.simulations
            for number, (error, inside) in enumerate(zip(errors, held, strict=True)):
                low, high = (error - 2.0, error + 2.0) if inside else (5.0, 6.0)
                sampler = "nutpie" if number == 0 else "collapsed"
                rows.append(
                    (
                        name,
                        "hybrid",
                        "within_client",
                        number,
                        0.0,
                        error,
                        min(low, 0.0) if inside else low,
                        max(high, 0.0) if inside else high,
                        sampler,
                    )
                )
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


@pytest.mark.parametrize(("covered", "position"), [(0.95, "inside"), (0.92, "below"), (0.98, "above")])
def test_coverage_is_held_against_the_band(covered: float, position: str) -> None:
    table = difference_table(intervals(covered))
    assert table["coverage"].to_numpy() == pytest.approx(covered)
    assert set(table["position"]) == {position}
    assert (table["fallbacks"] == 1).all()
    assert (table["bias"].abs() < 4.5 * table["bias_se"]).all()


def test_a_missing_study_is_refused() -> None:
    table = intervals(0.95)
    with pytest.raises(ValueError, match="not 2000 studies"):
        difference_table(table[table["simulation"] != 7])


# -- Verdicts, page and figure ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_ranks() -> pd.DataFrame:
    """Return ranks of two quantities of every design: uniform ones, and some that are too often in the middle."""
    tables = []
    for name, design in DESIGNS.items():
        if isinstance(design, DifferenceDesign):
            continue
        shares = (np.random.default_rng(17).permutation(design.simulations) + 0.5) / design.simulations
        for quantity, values in (
            ("difference within_client", shares),
            ("residual_sd", stats.beta(3, 3).ppf(shares)),
        ):
            tables.append(
                pd.DataFrame(
                    {
                        "design": name,
                        "simulation": np.arange(design.simulations),
                        "quantity": quantity,
                        "rank": np.floor(201 * values),
                        "kept": 200,
                        "sampler": ["nutpie", *["collapsed"] * (design.simulations - 1)],
                        "largest_r_hat": 1.004,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def test_ranks_get_a_verdict_each(all_ranks: pd.DataFrame) -> None:
    table = rank_table(all_ranks)
    assert table.set_index("quantity")["inside"].groupby(level=0).all().to_dict() == {
        "difference within_client": True,
        "residual_sd": False,
    }
    assert (table["fallbacks"] == 1).all()
    calibrated, text = sentences(table, difference_table(intervals(0.95)))
    assert not calibrated
    assert text.startswith(
        "Ranks of 4 of 8 quantities stay in their simultaneous 99 % bands (outside: hybrid, residual_sd;"
    )
    assert "2 of 2 coverages of D lie in 93." in text
    assert not sentences(table[table["inside"]], difference_table(intervals(0.92)))[0]
    assert sentences(table[table["inside"]], difference_table(intervals(0.95)))[0]


def test_missing_data_sets_and_designs_are_refused(all_ranks: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="hybrid, residual_sd: not 600 data sets"):
        rank_table(all_ranks.drop(all_ranks[all_ranks["quantity"] == "residual_sd"].index[0]))
    with pytest.raises(ValueError, match="a design has no ranks"):
        rank_table(all_ranks[all_ranks["design"] != "early"])


def test_the_page_marks_what_is_outside_and_the_figure_shows_every_quantity(all_ranks, tmp_path) -> None:
    page = calibration_page(rank_table(all_ranks), difference_table(intervals(0.92)))
    assert page.count("| residual sd ▲ |") == 4
    assert page.count("| difference within client | 0.5") == 4
    assert page.count("92.0 ± 0.6 ▼ |") == 2
    write_ranks(all_ranks, tmp_path / "a.svg")
    write_ranks(all_ranks, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").read_text().count("2 quantities") == 4


# -- What is stored ---------------------------------------------------------------------------------------------------


def test_jobs_cover_every_simulation_once() -> None:
    for design in DESIGNS.values():
        numbers = [number for chunk in chunks(design) for number in chunk]
        assert numbers == list(range(design.simulations))
        assert design.simulations >= (2_000 if isinstance(design, DifferenceDesign) else 500)


#: Intervals between therapists are too wide with 15 of them; nothing else is beside its band, and nothing too narrow.
WIDE = [("early", 15, "between_therapist", "above")]


def test_stored_tables_belong_to_these_designs_and_say_what_is_calibrated(stored) -> None:
    ranks, coverage = stored
    assert set(ranks["parameters"]) == {parameters_digest()}
    assert ranks["inside"].all()
    outside = coverage[coverage["position"] != "inside"]
    cells = outside[["analysis", "therapists", "level", "position"]]
    assert list(cells.itertuples(index=False, name=None)) == WIDE
    assert not sentences(ranks, coverage)[0]
    assert set(ranks["design"]) == {
        name for name, design in DESIGNS.items() if not isinstance(design, DifferenceDesign)
    }
    assert sorted(set(coverage["therapists"])) == [15, 30]
    assert len(coverage) == 10
    page = (REFERENCE / "README.md").read_text(encoding="utf-8")
    assert page == calibration_page(ranks, coverage)


def test_stored_ranks_are_of_every_parameter(stored) -> None:
    ranks, _ = stored
    for design in DESIGNS.values():
        if isinstance(design, RankDesign):
            found = set(ranks.loc[ranks["design"] == design.name, "quantity"])
            _, specification, terms = predictor_rows(design)
            assert {f"coefficient {term}" for term in terms} <= found
            assert {f"difference {level}" for level in specification.levels} <= found


def test_what_nuts_samples_beside_the_parameters_is_not_ranked() -> None:
    rows, specification, terms = predictor_rows(DESIGNS["autoregressive"])
    outcome = rows["outcome"].to_numpy()
    model = model_of(rows, outcome, specification, terms, PRIORS, "ar1")
    truth = model.prior(1, 3)
    extra = truth.assign(client_partial_correlation=(("chain", "draw", "pair"), np.zeros((1, 1, 3))))
    named = quantities(truth, model, rows, specification)
    assert set(quantities(extra, model, rows, specification)) == set(named)
    assert "autocorrelation" in named
    assert LOG_LIKELIHOOD in named


def test_planning_a_run_loads_no_sampler() -> None:
    # Every invocation of the workflow reads the designs.
    code = (
        "import sys, alliance_outcome.analyses.calibration.designs; "
        "print({'pymc', 'pytensor', 'numba', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
