"""Simulate studies like the user's own and apply every estimator to them."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write what every estimator finds in every simulated study."""
    from alliance_outcome.analyses.bias.replications import run_replications, study_models
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    models = study_models(
        pd.read_parquet(snakemake.input.sessions), AnalysisContext.read(Path(snakemake.input.context))
    )
    found = run_replications(models, snakemake.params.replications, snakemake.params.seed)
    found.to_parquet(snakemake.output[0])
    say(f"{len(snakemake.params.replications)} replications, {len(found)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
