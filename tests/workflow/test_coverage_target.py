"""The target that measures coverage: what it runs, and that it fails when a judged cell leaves the band."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.analyses.coverage.designs import DESIGNS, chunks
from alliance_outcome.analyses.coverage.intervals import CELL, COLUMNS
from alliance_outcome.analyses.coverage.table import cells, read_coverage

STORED = "config/reference/coverage"


def test_every_study_is_simulated_and_the_verdict_shown(empty_workspace):
    assert empty_workspace.planned_rules("coverage") == {
        "simulate_coverage": len(DESIGNS) * len(chunks()),
        "tabulate_coverage": 1,
        "coverage": 1,
    }


def write_intervals(path):
    """Write intervals of which 95 % hold the truth, in the files that the jobs would write."""
    for design, of_design in cells().groupby("design", sort=False):
        for studies in chunks():
            rows = of_design[list(CELL)].merge(pd.DataFrame({"study": list(studies)}), how="cross")
            held = (rows["study"] - studies.start + 0.5) / len(studies) < 0.95
            rows = rows.assign(truth=0.0, estimate=(-1.0) ** rows["study"], std_error=0.5, df=10.0)
            rows = rows.assign(ci_low=-1.0, ci_high=np.where(held, 1.0, -0.5), converged=True)
            rows = rows.assign(singular=False, no_therapist_variance=False, refusal=None)
            file = path / f"results/coverage/{design}/{studies[0]}-{studies[-1]}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows[list(COLUMNS)].to_parquet(file, index=False)


def test_the_verdict_is_the_exit_status(empty_workspace):
    write_intervals(empty_workspace.path)
    run = empty_workspace.run("coverage")
    assert run.returncode == 0, run.stdout
    assert "All 47 judged cells lie in" in run.stdout
    stored = empty_workspace.path / STORED / "coverage.csv"
    table = read_coverage(stored)
    assert len(table) == len(cells())
    # Of 250 studies 237 or 238 hold the truth in each job.
    assert table["coverage"].to_numpy() == pytest.approx(0.95, abs=1 / 250)
    assert "All 47 judged cells" in (stored.parent / "README.md").read_text(encoding="utf-8")
    table.loc[0, ["coverage", "position"]] = [0.9, "below"]
    table.to_csv(stored, index=False)
    # A gate: it reads the table whenever it is asked, and computes nothing again.
    run = empty_workspace.run("coverage")
    assert run.returncode != 0
    assert "1 of 47 judged cells lie outside" in run.stdout
    assert "simulate_coverage" not in run.stdout
