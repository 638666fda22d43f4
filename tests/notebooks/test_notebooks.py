"""Every notebook runs on a small finished study, shows nobody, and finds the workflow's own number again."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import yaml

from alliance_outcome.analyses.bootstrap_contrasts import bootstrap_contrasts
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.dynamics import main_contrasts
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import estimates_frame, read_estimates, write_estimates
from alliance_outcome.analyses.headline import all_contrasts
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel_tables import tabulate
from alliance_outcome.analyses.preparation import prepare_study
from alliance_outcome.analyses.resampling import Resampling, resample_models
from alliance_outcome.analyses.truth import truth_table
from alliance_outcome.data.ingest import ingest_study
from alliance_outcome.data.simulate import simulate_study, write_raw_files
from alliance_outcome.settings import validate_study

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

#: Large enough for both raters to have a spread at every level and for figures to have groups of ten clients.
SIZE = {"n_clients": 120, "n_therapists": 12}
#: Samples behind contrasts between two models; the notebooks show the numbers and do not judge them.
REPLICATES = 20
FIRST_LINE = 'results = Path(os.environ.get("ALLIANCE_OUTCOME_RESULTS", "../results/example"))'
PSEUDONYM = re.compile(r"\b[CT]\d{3,}\b")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

#: What the last cell of each notebook tells a student to change, as (old, new).
SUGGESTIONS = {
    "01-look-at-the-data": [
        ('["alliance_client", "alliance_therapist"]', '["severity"]'),
        (
            '["alliance_client", "alliance_therapist"]',
            '["alliance_client_task", "alliance_client_bond", "alliance_client_goal"]',
        ),
    ],
    "02-levels-and-lags": [("max_gap_weeks = None", "max_gap_weeks = 2")],
    "03-compare-the-raters": [
        ('lag_unit = "scheduled"', 'lag_unit = "week"'),
        (
            '-level_sd(changed_rows, "alliance_therapist", WITHIN_CLIENT)',
            '-level_sd(changed_rows, "alliance_client", WITHIN_CLIENT)',
        ),
    ],
    "04-from-session-to-session": [("waves, trends = 5, 0.0", "waves, trends = 8, 0.25")],
    "05-a-bayesian-model": [("likelihood = heavy_tailed", "likelihood = normal")],
}


def load_script():
    """Import the adapter that runs notebooks; scripts are not a package."""
    spec = importlib.util.spec_from_file_location(
        "notebook_script", REPOSITORY / "workflow/scripts/notebook.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


SCRIPT = load_script()


def read(path):
    return nbformat.read(path, as_version=4)


def new_notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def run(notebook, results, name="test"):
    SCRIPT.run_notebook(notebook, name, REPOSITORY / "notebooks", results)
    return notebook


def shown_text(notebook):
    """Join all that the cells show, but for pictures."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    data = [{**output.get("data", {}), "image/png": ""} for output in outputs]
    return "\n".join([json.dumps(data), *(output.get("text", "") for output in outputs)])


def example_study(root):
    """Return the example's settings, shrunk, with its raw files below another folder."""
    content = yaml.safe_load((REPOSITORY / "config/studies/example.yaml").read_text())
    content["simulation"] |= SIZE
    for file in content["files"].values():
        file["path"] = str(root / "raw" / Path(file["path"]).name)
    return validate_study(content)


def write_contrasts(prepared, sessions, study, path):
    """Write the contrast table without its Bayesian rows, and with few samples behind what comes from a bootstrap."""
    fits = {
        "multilevel": fit_hybrid_models(prepared.hybrid, prepared.context),
        "early": fit_early_models(prepared.early, prepared.context),
    }
    parts = []
    for name, models in fits.items():
        analysis = StudyAnalysis(prepared.context, name, study.min_therapists_for_claim)
        parts.append(tabulate(models, analysis).contrasts)
        resampled = resample_models(models, Resampling(REPLICATES, seed=5))
        parts.append(estimates_frame(bootstrap_contrasts(models, resampled, analysis)))
    parts.append(main_contrasts(sessions, prepared.context))
    write_estimates(all_contrasts(parts, prepared.context), path)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Finish a small study as far as the notebooks look at it."""
    root = tmp_path_factory.mktemp("notebooks") / "results" / "example"
    for folder in ("raw", "data", "tables", "estimates"):
        (root / folder).mkdir(parents=True)
    study = example_study(root)
    write_raw_files(simulate_study(study.simulation, 11), root / "raw")
    ingested = ingest_study("example", study, root, None, root / "data" / "pseudonyms.csv")
    prepared = prepare_study(
        "example",
        ingested.sessions,
        ingested.measures,
        ingested.clients,
        ingested.therapists,
        study,
        primary_outcome=study.primary_outcome,
        outcome_unit=study.outcome_unit,
    )
    for name in ("sessions", "clients", "therapists"):
        getattr(ingested, name).to_parquet(root / "data" / f"{name}.parquet", index=False)
    prepared.hybrid.to_parquet(root / "data" / "hybrid_rows.parquet", index=False)
    ingested.measures.to_csv(root / "tables" / "measures.csv", index=False)
    prepared.context.write(root / "tables" / "design.json")
    write_contrasts(prepared, ingested.sessions, study, root / "estimates" / "contrast.csv")
    stored = REPOSITORY / "config/reference/example/pseudo_true.csv"
    truth_table(study.simulation, stored).to_csv(root / "truth.csv", index=False)
    return root


@pytest.fixture(scope="session")
def executed(results):
    """Run each notebook once, followed by the changes that it suggests and by probes of its variables."""
    probes = {
        "02-levels-and-lags": 'int(flow.set_index("step").loc["gap", "n_removed"])',
        "04-from-session-to-session": "pd.Series(own).to_json(double_precision=15)",
        "03-compare-the-raters": "by_hand.to_json(double_precision=15)",
    }
    finished = {}
    for path in NOTEBOOKS:
        notebook = read(path)
        last = notebook.cells[-1].source
        for old, new in SUGGESTIONS[path.stem]:
            assert old in last
            notebook.cells.append(
                nbformat.v4.new_code_cell(last.replace(old, new), metadata={"alt": "changed"})
            )
        if path.stem in probes:
            notebook.cells.append(nbformat.v4.new_code_cell(probes[path.stem]))
        finished[path.stem] = run(notebook, results, path.stem)
    return finished


def probe(notebook):
    """Read the value of the last cell."""
    return ast.literal_eval(notebook.cells[-1].outputs[0].data["text/plain"])


def test_notebooks_are_numbered_from_one():
    numbers = [int(path.stem.split("-")[0]) for path in NOTEBOOKS]
    assert numbers == list(range(1, len(NOTEBOOKS) + 1))
    assert set(SUGGESTIONS) == {path.stem for path in NOTEBOOKS}


@EVERY_NOTEBOOK
def test_a_notebook_is_short_and_begins_and_ends_alike(path):
    cells = read(path).cells
    assert 8 <= len(cells) <= 14
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {int(path.stem[:2])} · ")
    assert FIRST_LINE in cells[1].source.splitlines()
    assert "## Change one thing" in cells[-2].source
    assert "# change me" in cells[-1].source


def test_git_holds_no_outputs_and_no_metadata_of_a_machine():
    command = [sys.executable, "-m", "nbstripout", "--verify", *map(str, NOTEBOOKS)]
    assert subprocess.run(command, check=False).returncode == 0
    assert [read(path).metadata for path in NOTEBOOKS] == [METADATA] * len(NOTEBOOKS)


@EVERY_NOTEBOOK
def test_every_code_cell_runs_in_silence(path, executed):
    for cell in executed[path.stem].cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None
            assert [output for output in cell.outputs if output.output_type in ("stream", "error")] == []


@EVERY_NOTEBOOK
def test_every_figure_has_words_for_those_who_cannot_see_it(path, executed):
    cells = [cell for cell in executed[path.stem].cells if cell.cell_type == "code"]
    figures = [
        cell for cell in cells if any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]
    assert figures
    assert all(cell.metadata.get("alt") for cell in figures)


@EVERY_NOTEBOOK
def test_no_pseudonym_is_shown(path, executed, results):
    known = pd.read_parquet(results / "data" / "sessions.parquet", columns=["client", "therapist"])
    assert known.map(PSEUDONYM.fullmatch).notna().all(axis=None)
    assert PSEUDONYM.findall(shown_text(executed[path.stem])) == []


def test_a_notebook_that_shows_clients_would_be_caught(results):
    source = 'import os, pandas\npandas.read_parquet(os.environ["ALLIANCE_OUTCOME_RESULTS"] + "/data/clients.parquet")'
    assert PSEUDONYM.search(shown_text(run(new_notebook(source), results)))


def test_the_page_makes_no_request_and_runs_no_script(executed):
    for name, notebook in executed.items():
        page = SCRIPT.notebook_page(notebook, name)
        assert re.findall(r"<(script|link|iframe|object)\b", page) == []
        assert re.findall(r"@import|url\((?!['\"]?(?:data:|#))", page) == []
        assert re.findall(r"\b(?:src|srcset|poster)\s*=\s*['\"](?!data:)", page) == []
        assert f"<title>{notebook.cells[0].source.splitlines()[0].removeprefix('# ')}</title>" in page


def test_figures_carry_their_words_into_the_page(executed):
    notebook = executed["03-compare-the-raters"]
    words = next(cell.metadata["alt"] for cell in notebook.cells if cell.metadata.get("alt"))
    assert f'<img alt="{words}"' in SCRIPT.notebook_page(notebook, "03-compare-the-raters")


def test_d_by_hand_is_that_of_the_contrast_table(executed, results):
    table = read_estimates(results / "estimates" / "contrast.csv").set_index("row_id")
    row = table.loc["hybrid_three_level.unique.within_client.client.therapist.difference"]
    by_hand = json.loads(probe(executed["03-compare-the-raters"]))
    # The workflow orders rows by content and the notebook does not: equal up to rounding and the optimiser's last step.
    assert by_hand == pytest.approx(row[list(by_hand)].to_dict(), rel=1e-6)


def test_the_panel_model_is_that_of_the_contrast_table(executed, results):
    table = read_estimates(results / "estimates" / "contrast.csv").set_index("row_id")
    row = table.loc["dynamics.cross_lagged_trends.client.therapist.difference"]
    assert row["status"] == "ok"
    own = json.loads(probe(executed["04-from-session-to-session"]))
    assert own["estimate"] == pytest.approx(row["estimate"], rel=1e-5)
    assert own["std_error"] == pytest.approx(row["std_error"], rel=1e-4)


def test_weekly_pairs_are_never_two_weeks_apart(executed):
    # The second notebook asks its reader why a largest gap of two weeks costs the lag unit "week" nothing.
    assert probe(executed["02-levels-and-lags"]) == 0


def test_a_failed_cell_is_named_and_its_message_withheld(results):
    notebook = new_notebook("1 + 1", "raise KeyError('Ms Miller')")
    with pytest.raises(SCRIPT.NotebookFailed, match=r"04-mine, code cell 2: KeyError") as caught:
        run(notebook, results, "04-mine")
    assert "Miller" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_cell_that_takes_too_long_is_named(results, monkeypatch):
    monkeypatch.setattr(SCRIPT, "CELL_SECONDS", 1)
    with pytest.raises(SCRIPT.NotebookFailed, match="04-mine, code cell 1: CellTimeoutError"):
        run(new_notebook("import time\ntime.sleep(60)"), results, "04-mine")


def test_the_rule_writes_a_page_and_leaves_the_notebook_alone(results, tmp_path, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "04-mine.ipynb"
    variable = 'os.environ["ALLIANCE_OUTCOME_RESULTS"]'
    source = f"import os\n[os.path.basename(os.getcwd()), os.path.isfile({variable} + '/truth.csv')]"
    nbformat.write(new_notebook(source), path)
    before = path.read_bytes()
    SCRIPT.main(
        SimpleNamespace(input=SimpleNamespace(notebook=str(path)), output=[str(tmp_path / "04-mine.html")])
    )
    assert "['notebooks', True]" in (tmp_path / "04-mine.html").read_text()
    assert path.read_bytes() == before
