"""Compare joint and single-rater models by what they predict of left-out clients and therapists."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Compare and save one table."""
    from alliance_outcome.analyses.bayesian_comparison import Sampling, compare_bayesian_models
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import BayesianSettings, SamplerSettings, section

    require_sound(Path(snakemake.input.check))
    sampler = section(snakemake.params.sampler, SamplerSettings)
    table = compare_bayesian_models(
        {name: pd.read_parquet(snakemake.input[f"{name}_rows"]) for name in ("hybrid", "early")},
        AnalysisContext.read(Path(snakemake.input.context)),
        section(snakemake.params.settings, BayesianSettings).priors,
        {name: Sampling(sampler, seed, snakemake.threads) for name, seed in snakemake.params.seeds.items()},
    )
    table.to_csv(snakemake.output.comparison, index=False, float_format="%.17g", lineterminator="\n")
    say(f"compared {len(table)} predictions")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
