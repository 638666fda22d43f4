"""Estimate what each estimator converges to, from one very large simulated study."""

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Run the multilevel part of the pipeline on 20,000 simulated clients."""
    from alliance_outcome.analyses.truth import pseudo_true_values
    from alliance_outcome.settings import validate_study

    values = pseudo_true_values(
        validate_study(snakemake.params.study), snakemake.params.seed, say, snakemake.threads
    )
    values.to_csv(snakemake.output[0], index=False, lineterminator="\n")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
