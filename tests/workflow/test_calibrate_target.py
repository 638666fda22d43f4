"""The target that checks calibration: what it runs, and that it fails when a posterior is not calibrated."""

import numpy as np
import pandas as pd

from alliance_outcome.analyses.calibration.designs import DESIGNS, DifferenceDesign, chunks
from alliance_outcome.analyses.calibration.difference_coverage import INTERVAL_COLUMNS
from alliance_outcome.analyses.calibration.ranks import RANK_COLUMNS

STORED = "config/reference/calibration"


def test_every_data_set_is_simulated_and_the_verdict_shown(empty_workspace):
    assert empty_workspace.planned_rules("calibrate") == {
        "simulate_calibration": sum(len(chunks(design)) for design in DESIGNS.values()),
        "tabulate_calibration": 1,
        "calibrate": 1,
    }


def write_results(path):
    """Write uniform ranks, and intervals of which 95 % hold the truth, in the files that the jobs would write."""
    for name, design in DESIGNS.items():
        for numbers in chunks(design):
            number = np.array(numbers)
            if isinstance(design, DifferenceDesign):
                held = (number - numbers.start + 0.5) / len(numbers) < 0.95
                values = (name, "early", "between_client", number, 0.0, (-1.0) ** number, -1.0)
                rows = pd.DataFrame(
                    dict(
                        zip(INTERVAL_COLUMNS, (*values, np.where(held, 1.0, -0.5), "collapsed"), strict=True)
                    )
                )
            else:
                rank = (number * 200) // design.simulations
                values = (name, number, "residual_sd", rank, 200, "collapsed", 1.002)
                rows = pd.DataFrame(dict(zip(RANK_COLUMNS, values, strict=True)))
            file = path / f"results/calibration/{name}/{numbers[0]}-{numbers[-1]}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(file, index=False)


def test_the_verdict_is_the_exit_status(empty_workspace):
    write_results(empty_workspace.path)
    run = empty_workspace.run("calibrate")
    assert run.returncode == 0, run.stdout
    assert "Ranks of 4 of 4 quantities stay in" in run.stdout
    stored = empty_workspace.path / STORED
    assert {file.name for file in stored.iterdir()} == {"README.md", "coverage.csv", "ranks.csv", "ranks.svg"}
    table = pd.read_csv(stored / "ranks.csv")
    table.loc[0, "inside"] = False
    table.to_csv(stored / "ranks.csv", index=False)
    # A gate: it reads the tables whenever it is asked, and computes nothing again.
    run = empty_workspace.run("calibrate")
    assert run.returncode != 0
    assert "outside: hybrid, residual_sd" in run.stdout
    assert "simulate_calibration" not in run.stdout
