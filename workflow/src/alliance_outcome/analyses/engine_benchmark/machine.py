"""What a benchmark ran on: processor, cores, load, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

#: Packages whose versions decide times.
TIMED_PACKAGES = (
    *("alliance-outcome", "numpy", "numba", "pandas", "formulaic", "statsmodels", "mixedlm"),
    *("pymc", "pytensor", "nutpie", "bambi"),
)
#: Where Linux describes the processor.
PROCESSORS = Path("/proc/cpuinfo")


def processor(description: Path = PROCESSORS) -> str:
    """Return the name of the processor, or its architecture where the system does not tell the name."""
    if description.exists():
        for line in description.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.machine()


def load_average() -> str:
    """Return how many processes wanted to run during the last minute, on average."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def describe_machine() -> dict[str, str]:
    """Describe the machine and the software in Python.

    Returns
    -------
    dict of str
        Names and values; packages that are not installed are left out.
    """
    found = {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "threads of linear algebra": os.environ.get("OPENBLAS_NUM_THREADS", "not limited"),
        "Python": platform.python_version(),
    }
    for package in TIMED_PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
