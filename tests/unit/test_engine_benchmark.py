"""The benchmark's own arithmetic and manners: data, verdicts, what is left out, what is printed and drawn."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.engine_benchmark import contestants, fresh_processes, machine, r_process
from alliance_outcome.analyses.engine_benchmark.designs import (
    COLUMNS,
    FEWEST_CLIENTS,
    FEWEST_SESSIONS,
    LME4_FORMULA,
    SIZES,
    Design,
    read_data,
    simulate,
    write_data,
)
from alliance_outcome.analyses.engine_benchmark.first_call import peak_memory
from alliance_outcome.analyses.engine_benchmark.growth import GROWTH_COLUMNS, growth_designs
from alliance_outcome.analyses.engine_benchmark.measuring import Plan, measure
from alliance_outcome.analyses.engine_benchmark.r_process import BenchmarkFailed, NotAvailable, RProcess
from alliance_outcome.analyses.engine_benchmark.records import MEASUREMENT_COLUMNS, Recorder
from alliance_outcome.analyses.engine_benchmark.verdicts import (
    REQUIREMENTS,
    read_conditions,
    speed_table,
    write_conditions,
)
from alliance_outcome.report.engine_speed import speed_page
from alliance_outcome.report.figures_engine_growth import draw_growth, write_growth

SCRIPT = Path(__file__).parents[2] / "workflow/scripts/benchmark_engine.R"
SMALL = Design(600, 60, 10)
TINY_PLAN = Plan(
    sizes=(SMALL,),
    runs=2,
    fresh=((SMALL, 1),),
    compile_once=False,
    refits=4,
    growth=(("rows", SMALL), ("rows", Design(1_200, 60, 10))),
)

#: A stand-in for Rscript that keeps the conversation without fitting anything.
FAKE_RSCRIPT = f"""#!{sys.executable}
import sys
{{greeting}}
answers = {{{{"load": "", "fit": "\\t0.5\\t-900.25", "bootstrap": "\\t20.0", "peak_memory": "\\t204800"}}}}
for line in sys.stdin:
    answer = answers.get(line.split()[0])
    print(f"done{{{{answer}}}}" if answer is not None else "failed\\tno such command", flush=True)
"""
GREETING = 'print("done\\t0.25\\t4.2.2\\t1.1.31\\tlibblas.so.3", flush=True)'


@pytest.fixture
def rscript(tmp_path, monkeypatch):
    """Put a program called Rscript first in the path; return a function that writes it."""

    def write(greeting=GREETING):
        program = tmp_path / "bin/Rscript"
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE_RSCRIPT.format(greeting=greeting))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return write


def record(*rows):
    """Tabulate measurements: measure, contestant, rows, values of the runs, log-likelihood."""
    recorder = Recorder()
    for measure_name, contestant, n_rows, values, *log_likelihood in rows:
        design = next(size for size in SIZES if size.rows == n_rows)
        for run, value in enumerate(values, start=1):
            recorder.add(measure_name, contestant, design, run, value, *log_likelihood)
    return recorder.table


def row_of(table, measure_name, peer="lme4"):
    found = table[(table["measure"] == measure_name) & (table["peer"] == peer)]
    assert len(found) == 1
    return found.iloc[0]


# -- Data -------------------------------------------------------------------------------------------------------------


def test_data_have_the_size_that_was_asked_for():
    data = simulate(SMALL, seed=1)
    assert list(data.columns) == list(COLUMNS)
    assert (len(data), data["client"].nunique(), data["therapist"].nunique()) == (600, 60, 10)
    assert data.groupby("client").size().min() >= FEWEST_SESSIONS
    assert data.groupby("therapist")["client"].nunique().min() >= FEWEST_CLIENTS


def test_clients_stay_with_one_therapist_and_their_rows_together():
    data = simulate(SMALL, seed=1)
    assert data.groupby("client")["therapist"].nunique().max() == 1
    assert data["client"].is_monotonic_increasing
    # As in an export, the clients of one therapist are scattered: rows are not sorted for the engine's convenience.
    assert not data["therapist"].is_monotonic_increasing


def test_predictors_vary_at_their_own_levels_only():
    data = simulate(SMALL, seed=1)
    assert data.groupby("client")["z"].nunique().max() == 1
    assert data.groupby("therapist")["w"].nunique().max() == 1
    assert data["x"].nunique() == len(data)


def test_data_depend_on_the_seed_alone_and_survive_the_file_bit_by_bit(tmp_path):
    data = simulate(SMALL, seed=1)
    assert not data["y"].equals(simulate(SMALL, seed=2)["y"])
    write_data(data, tmp_path / "data.bin")
    pd.testing.assert_frame_equal(read_data(tmp_path / "data.bin"), simulate(SMALL, seed=1))
    assert (tmp_path / "data.bin").stat().st_size == 8 * len(COLUMNS) * len(data)


def test_r_reads_the_same_columns_and_fits_the_same_model():
    text = SCRIPT.read_text(encoding="utf-8")
    assert f"model_formula <- {LME4_FORMULA}\n" in text
    columns = re.search(r"^columns <- c\((.*)\)$", text, flags=re.MULTILINE)[1]
    assert tuple(re.findall(r'"(\w+)"', columns)) == COLUMNS
    assert 'lmerControl(optimizer = "nloptwrap", calc.derivs = FALSE)' in text


# -- Verdicts ---------------------------------------------------------------------------------------------------------


def test_figures_to_reach_are_those_that_were_set():
    figures = {(each.measure, each.rows): each.must_reach for each in REQUIREMENTS}
    assert figures == {
        ("hot", 2_400): 8,
        ("hot", 24_000): 15,
        ("hot", 240_000): 35,
        ("first_call", 240_000): 20,
        ("hot", 966_000): 45,
        ("peak_memory", 966_000): pytest.approx(1 / 0.7),
        ("bootstrap", 2_400): 60,
    }
    assert {size.rows for size in SIZES} >= {each.rows for each in REQUIREMENTS}


@pytest.mark.parametrize(("theirs", "passed"), [(6.4, True), (6.39, False), (9.0, True)])
def test_a_time_passes_at_four_fifths_of_its_figure(theirs, passed):
    table = speed_table(record(("hot", "engine", 2_400, [1.0]), ("hot", "lme4", 2_400, [theirs])))
    row = row_of(table, "hot")
    assert (row["must_reach"], row["passes_from"]) == (8.0, pytest.approx(6.4))
    assert bool(row["passed"]) is passed


@pytest.mark.parametrize(("share", "passed"), [(0.699, True), (0.71, False)])
def test_memory_passes_only_at_its_figure(share, passed):
    ours = ("peak_memory", "engine", 966_000, [1_000.0 * share])
    table = speed_table(record(ours, ("peak_memory", "lme4", 966_000, [1_000.0])))
    assert bool(row_of(table, "peak_memory")["passed"]) is passed


def test_medians_are_compared_not_means_or_best_runs():
    table = speed_table(
        record(("hot", "engine", 2_400, [1.0, 50.0, 2.0]), ("hot", "lme4", 2_400, [20.0, 10.0, 300.0]))
    )
    row = row_of(table, "hot")
    assert (row["engine"], row["peer_value"], row["ratio"]) == (2.0, 20.0, 10.0)


def test_other_peers_and_other_sizes_are_reported_without_a_verdict():
    table = speed_table(
        record(
            ("hot", "engine", 2_400, [1.0]),
            ("hot", "mixedlm", 2_400, [2.0]),
            ("first_call", "engine", 966_000, [1.0]),
            ("first_call", "lme4", 966_000, [2.0]),
        )
    )
    assert table["passed"].isna().all()
    assert list(table["ratio"]) == [2.0, 2.0]


def test_without_a_peer_the_engine_stands_alone_and_nothing_is_judged():
    table = speed_table(record(("hot", "engine", 2_400, [1.0]), ("bootstrap", "engine", 2_400, [1.0])))
    assert list(table["measure"]) == ["hot", "bootstrap"]
    assert table[["peer", "ratio", "passed"]].isna().all(axis=None)


def test_unknown_memory_is_not_judged():
    unknown = [float("nan")]
    table = speed_table(
        record(("peak_memory", "engine", 966_000, unknown), ("peak_memory", "lme4", 966_000, unknown))
    )
    row = row_of(table, "peak_memory")
    assert row["must_reach"] > 1.0
    assert pd.isna(row["passed"])


def test_an_empty_cache_and_one_core_have_the_right_counterparts():
    table = speed_table(
        record(
            ("first_call_empty_cache", "engine", 240_000, [30.0]),
            ("first_call", "engine", 240_000, [0.5]),
            ("first_call", "lme4", 240_000, [6.0]),
            ("bootstrap", "engine", 2_400, [1.0]),
            ("bootstrap", "lme4", 2_400, [60.0]),
            ("bootstrap_one_core", "lme4", 2_400, [110.0]),
        )
    )
    assert row_of(table, "first_call_empty_cache")["ratio"] == pytest.approx(0.2)
    assert row_of(table, "first_call")["ratio"] == pytest.approx(12.0)
    assert row_of(table, "bootstrap")["ratio"] == pytest.approx(60.0)
    one_core = row_of(table, "bootstrap_one_core")
    assert one_core["ratio"] == pytest.approx(110.0)
    assert pd.isna(one_core["passed"])


# -- What is left out -------------------------------------------------------------------------------------------------


def test_no_rscript_is_said(monkeypatch):
    monkeypatch.setattr(r_process.shutil, "which", lambda _: None)
    with pytest.raises(NotAvailable, match="Rscript was not found"):
        RProcess(SCRIPT)


def test_r_without_lme4_is_said(rscript):
    rscript('print("missing\\tlme4", flush=True); sys.exit()')
    with pytest.raises(NotAvailable, match="R has no package lme4"):
        RProcess(SCRIPT)


def test_an_r_that_dies_is_a_failure_not_a_peer_that_is_missing(rscript):
    rscript("sys.exit()")
    with pytest.raises(BenchmarkFailed, match="R stopped"):
        RProcess(SCRIPT)


def test_r_answers_and_reports_errors(rscript):
    rscript()
    with RProcess(SCRIPT) as process:
        assert process.versions == {"R": "4.2.2", "lme4": "1.1.31", "linear algebra of R": "libblas.so.3"}
        assert contestants.Lme4(process).fit() == contestants.Timed(0.5, -900.25)
        with pytest.raises(BenchmarkFailed, match="no such command"):
            process.ask("nonsense")


def test_a_first_call_of_lme4_is_told_in_mebibytes(rscript):
    rscript()
    found = fresh_processes.lme4_first_call(Path("data.bin"), SMALL, SCRIPT)
    assert found == fresh_processes.FirstCall(0.25, 0.5, 200.0, -900.25)


@pytest.fixture
def nothing_installed(monkeypatch):
    """Take away R and mixedlm."""
    monkeypatch.setattr(r_process.shutil, "which", lambda _: None)
    # This is how Python notes that a module cannot be imported.
    monkeypatch.setitem(sys.modules, "mixedlm", None)


@pytest.mark.usefixtures("nothing_installed")
def test_without_peers_the_benchmark_runs_and_says_what_it_left_out():
    found = measure(TINY_PLAN, 1, SCRIPT, lambda _: None)
    assert list(found.measurements.columns) == list(MEASUREMENT_COLUMNS)
    assert set(found.measurements["contestant"]) == {"engine", "statsmodels"}
    left_out = "\n".join(found.left_out)
    assert "lme4: Rscript was not found" in left_out
    assert "mixedlm: the package mixedlm is not installed" in left_out
    assert len(found.measurements.query("measure == 'hot' and contestant == 'engine'")) == TINY_PLAN.runs
    assert (found.measurements["value"] > 0.0).all()
    assert list(found.growth.columns) == list(GROWTH_COLUMNS)
    page = speed_page(
        speed_table(found.measurements), found.measurements, "In words.", found.conditions, found.left_out
    )
    assert "None of the figures could be judged." in page
    assert "lme4: Rscript was not found" in page


def test_with_peers_runs_are_interleaved_on_the_same_likelihood(rscript):
    rscript()
    found = measure(TINY_PLAN, 1, SCRIPT, lambda _: None)
    hot = found.measurements[found.measurements["measure"] == "hot"]
    assert list(hot["contestant"]) == ["engine", "lme4", "statsmodels", "mixedlm"] * TINY_PLAN.runs
    engine, other = (
        hot[hot["contestant"] == name]["log_likelihood"].iloc[0] for name in ("engine", "mixedlm")
    )
    assert other == pytest.approx(engine, abs=1e-6)
    fresh = found.measurements[found.measurements["measure"] == "first_call"]
    # The engine's process of its own finds what this one found, to the last digit.
    assert fresh[fresh["contestant"] == "engine"]["log_likelihood"].iloc[0] == engine
    assert not any(reason.startswith(("lme4", "mixedlm")) for reason in found.left_out)
    assert found.conditions["lme4"] == "1.1.31"


def test_a_slow_bootstrap_is_timed_on_fewer_refits_and_scaled(rscript):
    rscript()
    plan = Plan(**{**vars(TINY_PLAN), "refits": 1_000, "fresh": (), "growth": (), "runs": 1})
    found = measure(plan, 1, SCRIPT, lambda _: None)
    bootstraps = found.measurements[found.measurements["measure"] == "bootstrap"]
    lme4 = bootstraps[bootstraps["contestant"] == "lme4"].iloc[0]
    # 200 refits that take 20 s make 100 s for 1,000: over a minute.
    assert (lme4["timed_refits"], lme4["value"]) == (200, pytest.approx(100.0))
    page = speed_page(speed_table(found.measurements), found.measurements, "", {}, [])
    assert "200 refits timed, scaled to 1,000" in page


def test_a_failing_first_call_is_reported(tmp_path):
    with pytest.raises(BenchmarkFailed, match="FileNotFoundError"):
        fresh_processes.engine_first_call(tmp_path / "absent.bin")


# -- Memory and machine -----------------------------------------------------------------------------------------------


def test_peak_memory_is_read_from_the_system_or_unknown(tmp_path):
    status = tmp_path / "status"
    assert np.isnan(peak_memory(status))
    status.write_text("Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t   1024 kB\n")
    assert peak_memory(status) == 200.0


def test_the_processor_is_named_where_the_system_names_it(tmp_path):
    description = tmp_path / "cpuinfo"
    assert machine.processor(description)
    description.write_text("processor\t: 0\nmodel name\t: Fast 9000\nmodel name\t: Fast 9000\n")
    assert machine.processor(description) == "Fast 9000"
    assert {"cores", "Python", "numba", "statsmodels"} <= machine.describe_machine().keys()


def test_conditions_survive_their_file(tmp_path):
    write_conditions({"cores": "2"}, ["lme4: Rscript was not found"], tmp_path / "conditions.json")
    assert read_conditions(tmp_path / "conditions.json") == (
        {"cores": "2"},
        ["lme4: Rscript was not found"],
    )


# -- Page and figure --------------------------------------------------------------------------------------------------


def test_the_page_names_every_missed_figure_and_shows_sizes_ratios_and_conditions():
    measurements = record(
        ("hot", "engine", 2_400, [0.005], -100.0),
        ("hot", "lme4", 2_400, [0.05], -100.0 - 3e-9),
        ("hot", "engine", 240_000, [1.0], -100.0),
        ("hot", "lme4", 240_000, [5.0], -100.0),
    )
    page = speed_page(
        speed_table(measurements), measurements, "In words.", {"cores": "2"}, ["mixedlm: not installed"]
    )
    assert "1 of 2 figures pass. Missed: fit at 240,000 rows." in page
    assert "less the engine's: between -3.0e-09 and 0.0e+00" in page
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| fit")
    ]
    assert ["fit", "2,400 / 206 / 20", "5 ms", "lme4", "50 ms", "10 ×", "8 ×", "yes"] in cells
    assert ["fit", "240,000 / 20,210 / 500", "1 s", "lme4", "5 s", "5 ×", "35 ×", "NO"] in cells
    assert "cores 2" in page
    assert "values in `growth.csv`): In words." in page
    assert "- mixedlm: not installed" in page
    widths = {len(line) for line in page.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_growth_varies_one_thing_at_a_time():
    by_rows = [design for varied, design in growth_designs() if varied == "rows"]
    by_clients = [design for varied, design in growth_designs() if varied == "clients"]
    assert len({(design.clients, design.therapists) for design in by_rows}) == 1
    assert len({design.rows / design.clients for design in by_clients}) == 1
    assert len({design.clients / design.therapists for design in by_clients}) == 1
    assert len({design.rows for design in by_rows}) == len(by_rows)


@pytest.fixture
def growth():
    rows = [("rows", n, 2_000, 100, n * 1e-6, 0.01) for n in (6_000, 12_000)]
    rows += [("clients", 12 * n, n, n // 20, n * 1e-5, n * 1e-6) for n in (500, 1_000)]
    return pd.DataFrame(rows, columns=list(GROWTH_COLUMNS))


def test_growth_is_drawn_with_both_axes_named(growth, tmp_path):
    alt = write_growth(growth, tmp_path / "growth.svg")
    write_growth(growth, tmp_path / "again.svg")
    assert (tmp_path / "growth.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    tree = ET.parse(tmp_path / "growth.svg")  # noqa: S314 - our own file
    texts = {element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {
        "Rows, with 2,000 clients",
        "Clients, with 12 rows each",
        "whole call",
        "optimiser alone",
    } <= texts
    assert "From 500 to 1,000 clients the whole call goes from 0.005 to 0.01 seconds" in alt


def test_without_measurements_there_is_no_growth_figure(growth):
    assert draw_growth(growth.iloc[:0]).canvas is None
