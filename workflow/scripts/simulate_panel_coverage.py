"""Simulate some studies of one design and compute all intervals of the panel models."""

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write one row per study, estimator and quantity."""
    from alliance_outcome.analyses.panel_coverage.designs import DESIGNS
    from alliance_outcome.analyses.panel_coverage.studies import intervals

    name = snakemake.wildcards.design
    studies = range(snakemake.params.first, snakemake.params.stop)
    found = intervals(DESIGNS[name], studies).assign(design=name)
    found.to_parquet(snakemake.output[0], index=False)
    say(f"{len(studies)} studies, {int(found['estimate'].isna().sum())} of {len(found)} intervals not there")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "panel_coverage", snakemake.rule) as say:
        main(snakemake, say)
