"""Simulate some studies of one design and compute all intervals of the multilevel engine."""

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write one row per study, quantity and method."""
    from alliance_outcome.analyses.coverage.intervals import intervals

    studies = range(snakemake.params.first, snakemake.params.stop)
    found = intervals(snakemake.wildcards.design, studies)
    found.to_parquet(snakemake.output[0], index=False)
    say(
        f"{len(studies)} studies, {len(found)} intervals, {int(found['ci_low'].isna().sum())} of them not there"
    )


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "coverage", snakemake.rule) as say:
        main(snakemake, say)
