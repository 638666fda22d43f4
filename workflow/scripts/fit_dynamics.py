"""Fit the panel models of severity and alliance."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write paths, contrasts, fit and checks."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.dynamics import fit_dynamics
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import MeasurementErrorSettings, section

    require_sound(Path(snakemake.input.check))
    tables = fit_dynamics(
        pd.read_parquet(snakemake.input.sessions),
        pd.read_parquet(snakemake.input.clients),
        AnalysisContext.read(Path(snakemake.input.context)),
        section(snakemake.params.settings, MeasurementErrorSettings),
        snakemake.params.seed,
    )
    write_estimates(tables.estimates, Path(snakemake.output.estimates))
    write_estimates(tables.contrasts, Path(snakemake.output.contrasts))
    tables.fit.to_csv(snakemake.output.fit, index=False, lineterminator="\n")
    tables.constraints.to_csv(snakemake.output.constraints, index=False, lineterminator="\n")
    tables.checks.to_csv(snakemake.output.checks, index=False, lineterminator="\n")
    say(f"{len(tables.fit)} panel models")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
