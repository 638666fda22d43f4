"""Simulate some data sets of one design, and rank true values among draws of their posteriors, or compute intervals."""

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write one row per data set and quantity."""
    from alliance_outcome.analyses.calibration.simulations import simulate

    numbers = range(snakemake.params.first, snakemake.params.stop)
    found = simulate(snakemake.wildcards.design, numbers)
    found.to_parquet(snakemake.output[0], index=False)
    say(f"{len(numbers)} data sets, {len(found)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "calibration", snakemake.rule) as say:
        main(snakemake, say)
