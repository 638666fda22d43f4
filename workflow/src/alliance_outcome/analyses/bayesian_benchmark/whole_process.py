"""A posterior in a process of its own: what loading, compiling and sampling take, and how much memory.

Run as a module with the path of a data set, a sampler and numbers of draws; it answers on one line. Nothing is imported
before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(path: Path, sampler: str, chains: int, warm_up: int, kept: int, seed: int, cores: int) -> None:
    """Load the package, read the data, set the model up and compile it, sample once, and say what that took."""
    start = time.perf_counter()
    from alliance_outcome.analyses.bayesian_benchmark.model import bayesian_model, sampled, standardised

    import_seconds = time.perf_counter() - start
    from alliance_outcome.analyses.engine_benchmark.designs import read_data
    from alliance_outcome.analyses.engine_benchmark.first_call import peak_memory

    data = standardised(read_data(path))
    start = time.perf_counter()
    model = bayesian_model(data)
    if sampler == "nutpie":
        _ = model.compiled
    prepared = time.perf_counter()
    tree = model.sample(sampler=sampler, chains=chains, draws=kept, tune=warm_up, seed=seed, cores=cores)
    found = sampled(tree, prepared - start, time.perf_counter() - prepared)
    answer = {"import_seconds": import_seconds, "peak_memory": peak_memory(), "sampled": vars(found)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
