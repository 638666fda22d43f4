"""The target that measures the coverage of the panel models: what it runs, and the page that it writes."""

import numpy as np
import pandas as pd

from alliance_outcome.analyses.panel_coverage.designs import DESIGNS, ESTIMATORS, SESSIONS, chunks

STORED = "config/reference/panel_coverage"


def test_every_study_is_simulated(empty_workspace):
    assert empty_workspace.planned_rules("panel_coverage") == {
        "simulate_panel_coverage": len(DESIGNS) * len(chunks()),
        "tabulate_panel_coverage": len(DESIGNS),
        "write_panel_coverage_page": 1,
        "panel_coverage": 1,
    }


def test_tables_and_page_are_written_from_what_the_jobs_found(empty_workspace):
    """Of one design for each number of sessions, as on a day with time for no more."""
    some = [f"no_trends-400-{sessions}-mar" for sessions in SESSIONS]
    for design in some:
        for studies in chunks():
            rows = pd.DataFrame({"study": list(studies)}).merge(
                pd.DataFrame({"estimator": list(ESTIMATORS)}), how="cross"
            )
            held = (rows["study"] - studies.start + 0.5) / len(studies) < 0.95
            estimate = np.where(held, -0.1, 2.9) + 0.001 * rows["study"]
            rows = rows.assign(
                quantity="difference", estimate=estimate, std_error=1.2, reason=None, design=design
            )
            file = (
                empty_workspace.path / f"results/panel_coverage/{design}/{studies[0]}-{studies[-1]}.parquet"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(file, index=False)
    for targets in ([f"{STORED}/{design}.csv" for design in some], [f"{STORED}/README.md"]):
        run = empty_workspace.run(*targets)
        assert run.returncode == 0, run.stdout
    page = (empty_workspace.path / STORED / "README.md").read_text(encoding="utf-8")
    assert "judged cells lie" in page
    assert "Not run yet: 17 of 18 designs with 5 sessions" in page
    assert all(f"| {sessions} | 400 | MAR |" in page for sessions in SESSIONS)
