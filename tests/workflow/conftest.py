"""One tiny simulated study, run for real once, that all workflow tests look at."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
#: Too few draws to converge, on purpose: the run must notice, and answer "not established".
SAMPLER = {"engine": "nutpie", "chains": 2, "draws": 30, "tune": 2}
SIZE = {"n_clients": 60, "n_therapists": 12, "caseload_max": 9}


class Workspace:
    """A working directory with a configuration, in which the repository's workflow runs.

    Parameters
    ----------
    path : Path
        The directory.
    """

    def __init__(self, path):
        self.path = path
        (path / "config/studies").mkdir(parents=True)
        (path / "config/instruments").mkdir()
        config = {"studies": "tiny", "seed": 7, "sampler": SAMPLER, "bootstrap": {"replicates": 20}}
        config["bias"] = {"replicates": 2}
        (path / "config/config.yaml").write_text(yaml.safe_dump(config))

    def study(self, name="tiny"):
        """Read a study file."""
        return yaml.safe_load((self.path / f"config/studies/{name}.yaml").read_text())

    def write_study(self, content, name="tiny"):
        """Write a study file."""
        (self.path / f"config/studies/{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, *arguments):
        """Run Snakemake with two cores and return the finished process, both streams in ``stdout``."""
        command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(self.path), "--cores", "2", *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
        )

    def copied_to(self, path):
        """Return a workspace with copies of all files."""
        shutil.copytree(self.path, path, symlinks=True, copy_function=shutil.copy2)
        workspace = object.__new__(Workspace)
        workspace.path = path
        return workspace

    def planned_rules(self, *arguments):
        """Return the rules that a dry run would execute, with their counts."""
        finished = self.run("--dry-run", *arguments)
        assert finished.returncode == 0, finished.stdout
        lines = finished.stdout.splitlines()
        if "Job stats:" not in lines:
            return {}
        start = lines.index("Job stats:") + 3
        table = [line.split() for line in lines[start : lines.index("", start)]]
        return {rule: int(count) for rule, count in table if rule not in ("total", "all")}


def tiny_study():
    """Return the example's study file, shrunk and moved to the study ``tiny``."""
    content = yaml.safe_load((REPOSITORY / "config/studies/example.yaml").read_text())
    content["simulation"] |= SIZE
    # The headline then waits for the posterior, too.
    content["primary"] = "hybrid_three_level"
    for file in content["files"].values():
        file["path"] = file["path"].replace("results/example", "results/tiny")
    return content


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Run the tiny study from raw files to report."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    workspace.write_study(tiny_study())
    run = workspace.run()
    assert run.returncode == 0, run.stdout
    workspace.output = run.stdout
    return workspace


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the finished workspace that a test may change."""
    return finished.copied_to(tmp_path / "copy")


@pytest.fixture
def empty_workspace(tmp_path):
    """Return a workspace without a study."""
    return Workspace(tmp_path / "workspace")
