"""The target that times the models: what it runs, and what it does with measurements that are there."""

import pandas as pd

from alliance_outcome.analyses.bayesian_benchmark.measuring import HOT, MEASUREMENT_COLUMNS, WHOLE
from alliance_outcome.analyses.engine_benchmark.designs import SIZES
from alliance_outcome.analyses.engine_benchmark.growth import GROWTH_COLUMNS
from alliance_outcome.analyses.engine_benchmark.records import Recorder
from alliance_outcome.analyses.engine_benchmark.verdicts import write_conditions
from alliance_outcome.analyses.panel_benchmark.measuring import MEASUREMENT_COLUMNS as PANEL_COLUMNS


def test_the_benchmark_measures_tabulates_and_shows(empty_workspace):
    assert empty_workspace.planned_rules("benchmark") == {
        "measure_engine": 1,
        "tabulate_engine_speed": 1,
        "measure_bayesian": 1,
        "tabulate_bayesian_speed": 1,
        "measure_panel": 1,
        "tabulate_panel_speed": 1,
        "benchmark": 1,
    }


def test_measurements_that_are_there_are_shown_again_not_made_again(empty_workspace):
    results = empty_workspace.path / "results/benchmark"
    results.mkdir(parents=True)
    recorder = Recorder()
    for contestant, seconds in (("engine", 0.004), ("lme4", 0.06)):
        recorder.add("hot", contestant, SIZES[0], 1, seconds, -100.0)
    recorder.table.to_csv(results / "measurements.csv", index=False)
    growth = [("rows", rows, 2_000, 100, 0.01, 0.005) for rows in (6_000, 12_000)]
    pd.DataFrame(growth, columns=list(GROWTH_COLUMNS)).to_csv(results / "growth.csv", index=False)
    write_conditions({"cores": "2"}, ["mixedlm: not installed"], results / "conditions.json")
    posteriors = [
        {
            "contestant": contestant,
            "process": process,
            "run": 1,
            "chains": 4,
            "kept": 1_000,
            "rows": SIZES[0].rows,
            "clients": SIZES[0].clients,
            "therapists": SIZES[0].therapists,
            "preparing_seconds": 1.0,
            "sampling_seconds": seconds,
            "smallest_ess": 2_000.0,
            "warm_up": 1_000,
            "largest_r_hat": 1.0,
            "divergences": 0,
        }
        for contestant, process, seconds in (("NUTS", WHOLE, 1.0), ("brms", HOT, 100.0))
    ]
    bayesian = pd.DataFrame(posteriors, columns=list(MEASUREMENT_COLUMNS))
    bayesian.to_csv(results / "bayesian_measurements.csv", index=False)
    write_conditions({"cores": "2"}, ["bambi: not installed"], results / "bayesian_conditions.json")
    panel = [
        {
            "measure": "fit_and_errors",
            "contestant": name,
            "clients": 400,
            "waves": 8,
            "run": 1,
            "seconds": seconds,
        }
        for name, seconds in (("engine", 0.1), ("lavaan", 5.0))
    ]
    columns = list(PANEL_COLUMNS)
    pd.DataFrame(panel, columns=columns).to_csv(results / "panel_measurements.csv", index=False)
    write_conditions({"cores": "2"}, ["lavaan: not installed"], results / "panel_conditions.json")
    assert not {"measure_engine", "measure_bayesian", "measure_panel"} & set(
        empty_workspace.planned_rules("benchmark")
    )
    run = empty_workspace.run("benchmark")
    assert run.returncode == 0, run.stdout
    assert "1 of 1 figures pass." in run.stdout
    assert "- mixedlm: not installed" in run.stdout
    assert "- bambi: not installed" in run.stdout
    assert "- lavaan: not installed" in run.stdout
    # 2,000 effective draws a second beside 20: too few; with a second of setting up 1,000: more than enough.
    assert "1 of 2 figures pass. Missed: NUTS, sampling beside brms" in run.stdout
    assert pd.read_csv(results / "speed.csv")["ratio"].tolist() == [15.0]
    assert (results / "growth.svg").read_text(encoding="utf-8").startswith("<?xml")
    # A gate: it shows the page whenever it is asked to.
    assert empty_workspace.planned_rules("benchmark") == {"benchmark": 1}
