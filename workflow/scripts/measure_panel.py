"""Time the panel models beside lavaan."""

import os
from pathlib import Path

from alliance_outcome.errors import rule_log

#: Snakemake gives linear algebra as many threads as the rule, which asks for all only to be alone.
THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(snakemake, say) -> None:
    """Run the benchmark and keep every measurement."""
    os.environ.update(THREADS)
    from alliance_outcome.analyses.engine_benchmark.verdicts import write_conditions
    from alliance_outcome.analyses.panel_benchmark.measuring import Plan, measure

    found = measure(Plan(), snakemake.params.seed, Path(snakemake.input.script), say)
    found.measurements.to_csv(
        snakemake.output.measurements, index=False, float_format="%.17g", lineterminator="\n"
    )
    write_conditions(found.conditions, found.left_out, Path(snakemake.output.conditions))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "benchmark", snakemake.rule) as say:
        main(snakemake, say)
