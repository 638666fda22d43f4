"""Sample the posterior of the joint hybrid or early-alliance model."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Sample and save one posterior."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.posteriors import sample_joint_model
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import BayesianSettings, SamplerSettings, section

    require_sound(Path(snakemake.input.check))
    posterior = sample_joint_model(
        pd.read_parquet(snakemake.input.rows),
        AnalysisContext.read(Path(snakemake.input.context)),
        snakemake.params.analysis,
        section(snakemake.params.settings, BayesianSettings).priors,
        section(snakemake.params.sampler, SamplerSettings),
        seed=snakemake.params.seed,
        cores=snakemake.threads,
    )
    posterior.to_netcdf(snakemake.output.posterior)
    say(f"saved {len(posterior.children)} groups")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
