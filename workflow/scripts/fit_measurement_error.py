"""Sample the joint model of severity and alliance, with latent means, missing ratings and stated reliabilities."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write estimates and checks."""
    from alliance_outcome import settings
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.analyses.measurement_error import fit_measurement_error
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    of_study = snakemake.params.settings
    found = fit_measurement_error(
        pd.read_parquet(snakemake.input.rows),
        pd.read_csv(snakemake.input.measures),
        AnalysisContext.read(Path(snakemake.input.context)),
        settings.section(of_study, settings.BayesianSettings).priors,
        settings.section(of_study, settings.MeasurementErrorSettings),
        settings.section(of_study, settings.DecisionSettings),
        settings.section(snakemake.params.sampler, settings.SamplerSettings),
        seed=snakemake.params.seed,
        cores=snakemake.threads,
    )
    write_estimates(found.estimates, Path(snakemake.output.estimates))
    found.checks.to_csv(snakemake.output.checks, index=False, lineterminator="\n")
    say(f"{len(found.estimates)} estimates")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
