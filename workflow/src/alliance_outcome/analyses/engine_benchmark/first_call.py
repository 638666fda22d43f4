"""The engine in a process of its own: what loading it takes, what its first call takes, and how much memory.

Run as a module with the path of a data set; it answers on one line. Nothing is imported before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

#: Where Linux says how much memory a process had at most.
STATUS = Path("/proc/self/status")


def peak_memory(status: Path = STATUS) -> float:
    """Return the highest resident memory of this process in MiB; NaN where the system does not tell it."""
    if not status.exists():
        return float("nan")
    found = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
    return float(found[0].split()[1]) / 1024.0 if found else float("nan")


def main(path: Path) -> None:
    """Load the engine, read the data, fit once, and say what that took."""
    start = time.perf_counter()
    from alliance_outcome.analyses.engine_benchmark.contestants import fit_engine

    import_seconds = time.perf_counter() - start
    from alliance_outcome.analyses.engine_benchmark.designs import read_data

    data = read_data(path)
    start = time.perf_counter()
    result = fit_engine(data)
    answer = {
        "import_seconds": import_seconds,
        "seconds": time.perf_counter() - start,
        "peak_memory": peak_memory(),
        "log_likelihood": result.llf,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
