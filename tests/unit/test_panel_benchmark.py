"""The panel benchmark's own arithmetic and manners: what is asked of whom, verdicts, what is left out."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from alliance_outcome.analyses.engine_benchmark import r_process
from alliance_outcome.analyses.panel_benchmark.measuring import (
    MEASUREMENT_COLUMNS,
    Plan,
    measure,
    simulate,
    write_wide,
)
from alliance_outcome.analyses.panel_benchmark.verdicts import agreement, verdict_table
from alliance_outcome.analyses.panel_coverage.designs import PLAIN
from alliance_outcome.analyses.panel_coverage.studies import NAMES, model_of
from alliance_outcome.report.panel_speed import panel_speed_page

SCRIPT = Path(__file__).parents[2] / "workflow/scripts/benchmark_lavaan.R"
SMALL = Plan(clients=120, many_clients=150, waves=4, runs=1, chains=2, warm_up=30, kept=30)

#: A stand-in for Rscript that keeps the conversation without fitting anything.
FAKE_RSCRIPT = f"""#!{sys.executable}
import sys
print("done\\t0.5\\t4.2.2\\t0.6.14", flush=True)
for line in sys.stdin:
    name, *fields = line.rstrip("\\n").split("\\t")
    print("done" + ("\\t4.0\\t-1000.0" if name == "fit" else ""), flush=True)
"""


def measured(*rows):
    return pd.DataFrame([dict(zip(MEASUREMENT_COLUMNS, row, strict=True)) for row in rows])


RUNS = measured(
    *(("fit_and_errors", "engine", 400, 8, run, 0.1 * run, -1000.0, None) for run in (1, 2, 3)),
    *(("fit_and_errors", "lavaan", 400, 8, run, 2.9, -1000.001, None) for run in (1, 2, 3)),
    ("fit", "engine", 10_000, 8, 1, 5.1, -5.0, None),
    ("fit_and_errors", "engine", 10_000, 8, 1, 14.9, -5.0, None),
    ("sampling", "NUTS", 400, 8, 1, 2.0, None, 170.0),
)


def test_verdicts_by_hand():
    # 2.9 s beside a median of 0.2 s: 14.5 times, less than 0.8 × 20; 85 effective draws a second, more than 0.8 × 100.
    verdicts = verdict_table(RUNS).set_index(["what", "clients"])
    assert not verdicts.loc[("fit_and_errors", 400), "passed"]
    assert not verdicts.loc[("fit", 10_000), "passed"]
    assert verdicts.loc[("fit_and_errors", 10_000), "passed"]
    assert verdicts.loc[("sampling", 400), "value"] == pytest.approx(85.0)
    assert verdicts.loc[("sampling", 400), "passed"]
    assert agreement(RUNS) == pytest.approx(1e-6, rel=1e-3)


def test_the_page_says_what_passes_and_what_is_left_out():
    page = panel_speed_page(RUNS, {"cores": "2"}, ["something: not there"])
    assert "2 of 4 figures pass. Missed: fit" in page
    assert "14.5 ×" in page
    assert "- something: not there" in page
    assert "differ by 1e-06 of their size" in page


def test_data_reach_lavaan_as_they_are(tmp_path):
    values = simulate(30, 4, 3)
    write_wide(values, tmp_path / "panel.csv")
    table = pd.read_csv(tmp_path / "panel.csv")
    assert list(table.columns[:4]) == [*(f"{name}1" for name in NAMES), "severity2"]
    assert table.to_numpy() == pytest.approx(values.reshape(30, -1), nan_ok=True)
    assert model_of(PLAIN, values).panel.values == pytest.approx(values, nan_ok=True)


def test_a_whole_run_with_a_stand_in_for_r(tmp_path, monkeypatch):
    program = tmp_path / "Rscript"
    program.write_text(FAKE_RSCRIPT)
    program.chmod(0o755)
    monkeypatch.setattr(r_process.shutil, "which", lambda _: str(program))
    said = []
    found = measure(SMALL, 5, SCRIPT, said.append)
    assert found.conditions["lavaan"] == "0.6.14"
    assert set(found.measurements["contestant"]) == {"engine", "lavaan", "NUTS"}
    assert not found.left_out
    assert any("150 clients" in words for words in said)


def test_without_r_lavaan_is_left_out(monkeypatch):
    monkeypatch.setattr(r_process.shutil, "which", lambda _: None)
    monkeypatch.setattr("alliance_outcome.analyses.panel_benchmark.measuring._sampled", lambda *_: [])
    found = measure(SMALL, 5, SCRIPT, lambda _: None)
    assert found.left_out == ["lavaan: Rscript was not found"]
    assert set(found.measurements["contestant"]) == {"engine"}
