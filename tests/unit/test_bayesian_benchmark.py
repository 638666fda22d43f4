"""The Bayesian benchmark's own arithmetic and manners: what is asked of whom, verdicts, what is left out."""

import sys
from pathlib import Path

import bambi
import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.bayesian_benchmark import contestants, measuring, whole_process
from alliance_outcome.analyses.bayesian_benchmark.measuring import (
    HOT,
    MEASUREMENT_COLUMNS,
    WHOLE,
    Plan,
    measure,
)
from alliance_outcome.analyses.bayesian_benchmark.model import (
    PRIORS,
    Draws,
    bayesian_model,
    judge,
    parameters,
    standardised,
)
from alliance_outcome.analyses.bayesian_benchmark.verdicts import (
    LIMITS,
    REQUIREMENTS,
    effective_draws,
    limit_table,
    ratio_table,
    whole_processes,
)
from alliance_outcome.analyses.engine_benchmark import r_process
from alliance_outcome.analyses.engine_benchmark.designs import SIZES, Design, simulate, write_data
from alliance_outcome.analyses.engine_benchmark.r_process import BenchmarkFailed, RProcess
from alliance_outcome.report.bayesian_speed import bayesian_speed_page

SCRIPT = Path(__file__).parents[2] / "workflow/scripts/benchmark_brms.R"
SMALL = Design(400, 40, 8)
FEW = Draws(2, 50, 100)

#: A stand-in for Rscript that keeps the conversation without sampling anything.
FAKE_RSCRIPT = f"""#!{sys.executable}
import sys
print("done\\t3.5\\t4.2.2\\t2.18.0\\t2.21.7", flush=True)
answers = {{"load": "", "compile": "\\t40.0", "sample": "\\t20.0\\t500.0\\t1.002\\t3"}}
for line in sys.stdin:
    name, *fields = line.rstrip("\\n").split("\\t")
    if name == "compile" and '"lkj_eta": 2.0' not in fields[0]:
        print("failed\\tno priors", flush=True)
    print("done" + answers[name], flush=True)
"""


@pytest.fixture
def rscript(tmp_path, monkeypatch):
    """Put a program called Rscript first in the path."""
    program = tmp_path / "Rscript"
    program.write_text(FAKE_RSCRIPT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def measured(*rows):
    """Tabulate posteriors: contestant, process, rows, preparing and sampling seconds, smallest ESS, memory."""
    found = []
    for name, process, n_rows, preparing, sampling, size, memory in rows:
        design = next(each for each in SIZES if each.rows == n_rows)
        values = (name, process, n_rows, design.clients, design.therapists, 1, 4, 400, 1_000, 2.0)
        found.append((*values, preparing, sampling, size, 1.001, 0, memory))
    return pd.DataFrame(found, columns=list(MEASUREMENT_COLUMNS))


MEASURED = measured(
    ("NUTS", WHOLE, 2_400, 9.0, 1.0, 4_000.0, 500.0),
    ("collapsed", HOT, 2_400, 0.01, 0.09, 2_000.0, np.nan),
    ("brms", HOT, 2_400, 40.0, 100.0, 1_000.0, np.nan),
    ("bambi", HOT, 2_400, 6.0, 10.0, 2_000.0, np.nan),
    ("NUTS", WHOLE, 240_000, 9.0, 18.0, 4_000.0, 700.0),
    ("collapsed", WHOLE, 240_000, 0.1, 7.0, 2_000.0, 1_100.0),
)


# -- The model --------------------------------------------------------------------------------------------------------


def test_predictors_are_standardised_over_the_units_of_their_levels():
    data = simulate(SMALL, 1)
    found = standardised(data)
    assert found["x"].std() == pytest.approx(1.0)
    assert found.drop_duplicates("client")["z"].std() == pytest.approx(1.0)
    assert found.drop_duplicates("therapist")["w"].std() == pytest.approx(1.0)
    assert found[["x", "z", "w"]].mean().abs().max() < 1e-12
    # The caller's table is as it was.
    pd.testing.assert_frame_equal(data, simulate(SMALL, 1))


def test_bambi_gets_the_same_priors():
    found = contestants.bambi_priors(bambi, PRIORS)
    assert found["Intercept"].args == {"mu": 2.0, "sigma": 2.0}
    assert {float(found[name].args["sigma"]) for name in ("x", "z", "w")} == {PRIORS.effect_sd}
    assert found["1|client"].args["sigma"].args["sigma"] == PRIORS.group_sd
    assert found["x|client"].args["sigma"].args["sigma"] == PRIORS.slope_sd
    assert found["sigma"].name == "HalfNormal"


def test_bambi_samples_the_model(tmp_path):
    write_data(simulate(SMALL, 3), tmp_path / "data.bin")
    peer = contestants.Bambi()
    peer.load(tmp_path / "data.bin", SMALL)
    found = peer.sample(Draws(2, 300, 300), 1, 1)
    assert found.preparing_seconds > 0.0
    assert 20.0 < found.smallest_ess < 1_500.0
    assert found.largest_r_hat < 1.1


def test_the_smallest_effective_sample_size_counts_every_kind_of_parameter():
    model = bayesian_model(standardised(simulate(SMALL, 1)))
    posterior = model.sample(sampler="collapsed", chains=2, draws=200, seed=1).posterior.dataset
    kept = parameters(posterior)
    assert set(kept) == {"coefficient", "client_sd", "therapist_sd", "residual_sd", "client_correlation"}
    smallest, largest = judge(kept)
    shift = np.repeat([[0.0], [9.0]], 200, axis=1)
    apart = kept.assign(client_correlation=kept["client_correlation"] + shift)
    assert judge(apart)[0] < 10.0 < smallest
    assert judge(apart)[1] > 1.5 > largest


# -- Verdicts ---------------------------------------------------------------------------------------------------------


def test_rates_are_by_sampling_or_with_compiling_and_peers_compile_for_free():
    rates = effective_draws(MEASURED).set_index(["measure", "contestant", "rows"])["ess_per_second"]
    assert rates["sampling", "NUTS", 2_400] == pytest.approx(4_000.0)
    assert rates["with_compiling", "NUTS", 2_400] == pytest.approx(400.0)
    assert rates["whole_call", "collapsed", 2_400] == pytest.approx(20_000.0)
    assert rates["sampling", "brms", 2_400] == pytest.approx(10.0)
    assert rates["sampling", "bambi", 2_400] == pytest.approx(200.0)


def test_ratios_are_held_against_their_figures():
    table = ratio_table(MEASURED).set_index(["measure", "rows", "peer"])
    assert table.loc[("sampling", 2_400, "brms"), "ratio"] == pytest.approx(400.0)
    assert table.loc[("sampling", 2_400, "brms"), "passed"]
    # 20 beside 30 and its 0.8.
    assert not table.loc[("sampling", 2_400, "bambi"), "passed"]
    # 2 beside 2.5: exactly 0.8.
    assert table.loc[("with_compiling", 2_400, "bambi"), "passed"]
    alone = table[table.index.get_level_values("rows") == 240_000]
    assert alone["ratio"].isna().all()
    assert alone["passed"].isna().all()


def test_every_figure_belongs_to_a_size_that_is_timed():
    plan = Plan()
    timed = {design.rows for design in plan.sizes}
    assert {figure.rows for figure in REQUIREMENTS} == timed
    assert {limit.rows for limit in LIMITS} == {design.rows for design in plan.large}
    assert len(REQUIREMENTS) == 12


def test_large_posteriors_are_held_against_seconds_and_memory():
    passed = limit_table(MEASURED).set_index(["measure", "contestant"])["passed"]
    # 15 s by 0.8 and 5 s by 0.8; memory has no allowance.
    assert passed["seconds", "NUTS"]
    assert not passed["seconds", "collapsed"]
    assert passed["peak_memory", "NUTS"]
    assert not passed["peak_memory", "collapsed"]


def test_the_page_names_missed_figures_and_whole_processes():
    page = bayesian_speed_page(MEASURED, {"cores": "2"}, ["brms: Rscript was not found"])
    assert "6 of 10 figures pass. Missed: NUTS, sampling beside bambi at 2,400 rows; " in page
    assert "collapsed, sampling at 240,000 rows; collapsed, peak memory at 240,000 rows." in page
    line = next(
        line
        for line in page.splitlines()
        if line.startswith("| 240,000") and "| NUTS" in line and "700 MiB" in line
    )
    assert [cell.strip() for cell in line.split("|")[3:7]] == ["2 s", "9 s", "18 s", "29 s"]
    assert (
        "brms: 4 × 1,000 draws after 400 of warm-up (2,400 rows), largest R-hat 1.001, 0 divergences." in page
    )
    assert "- brms: Rscript was not found" in page
    assert len(whole_processes(MEASURED)) == 3


# -- A run ------------------------------------------------------------------------------------------------------------


class FakeBambi:
    """Samples nothing."""

    name = "bambi"

    def load(self, path, design):
        """Read nothing."""
        assert path.exists()
        assert design == SMALL

    def sample(self, draws, seed, cores):
        """Tell how long this took."""
        assert (draws, cores) == (FEW, 1)
        assert seed in {2, 3}
        return contestants.Sampled(5.0, 10.0, 100.0, 1.01, 1)


@pytest.mark.usefixtures("rscript")
def test_runs_are_interleaved_and_brms_runs_once(monkeypatch):
    # NUTS would compile for ten seconds in each of its processes.
    monkeypatch.setitem(measuring._SAMPLERS, "NUTS", "collapsed")
    monkeypatch.setattr(measuring, "Bambi", FakeBambi)
    plan = Plan(
        sizes=(SMALL,),
        large=(),
        runs=2,
        draws={"NUTS": FEW, "collapsed": FEW, "brms": FEW, "bambi": FEW},
        fewer={("brms", SMALL): Draws(2, 10, 20)},
        cores=1,
    )
    said = []
    found = measure(plan, 1, SCRIPT, said.append)
    table = found.measurements
    assert list(table["contestant"]) == ["collapsed", "brms", "bambi", "NUTS", "collapsed", "bambi", "NUTS"]
    assert list(table["process"]) == [HOT, HOT, HOT, WHOLE, HOT, HOT, WHOLE]
    brms = table[table["contestant"] == "brms"].iloc[0]
    assert tuple(brms[["warm_up", "kept", "preparing_seconds", "sampling_seconds", "divergences"]]) == (
        *(10, 20, 40.0, 20.0, 3),
    )
    assert table.loc[table["process"] == WHOLE, "peak_memory"].min() > 50.0
    assert (table["smallest_ess"] > 0.0).all()
    assert found.conditions["rstan"] == "2.21.7"
    assert found.left_out == []
    assert said[0] == "warm-up"
    assert "None of the figures could be judged." in bayesian_speed_page(table, found.conditions, [])


def test_without_peers_it_is_said_who_is_missing(monkeypatch):
    monkeypatch.setitem(measuring._SAMPLERS, "NUTS", "collapsed")
    monkeypatch.setattr(r_process.shutil, "which", lambda _: None)
    # This is how Python notes that a module cannot be imported.
    monkeypatch.setitem(sys.modules, "bambi", None)
    found = measure(
        Plan(sizes=(SMALL,), large=(), runs=0, draws=dict.fromkeys(("NUTS", "collapsed"), FEW)),
        1,
        SCRIPT,
        lambda _: None,
    )
    assert found.left_out == ["brms: Rscript was not found", "bambi: the package bambi is not installed"]
    assert found.measurements.empty


def test_a_process_of_its_own_tells_what_it_took(tmp_path, capsys):
    write_data(simulate(SMALL, 1), tmp_path / "data.bin")
    whole_process.main(tmp_path / "data.bin", "collapsed", 2, 0, 100, 1, 1)
    found = capsys.readouterr().out
    assert '"smallest_ess"' in found
    assert found.count("\n") == 1


@pytest.mark.usefixtures("rscript")
def test_a_failure_of_brms_is_told_in_its_own_words():
    with (
        RProcess(SCRIPT, ("R", "brms", "rstan")) as process,
        pytest.raises(BenchmarkFailed, match="no priors"),
    ):
        process.ask("compile", "{}")
