"""Build the rows of the hybrid, joint and early-alliance models."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write rows, context, data flow and collinearity."""
    from alliance_outcome.analyses.early import with_implied_outcome
    from alliance_outcome.analyses.preparation import collinearity, prepare_study
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import DesignSettings, section

    require_sound(Path(snakemake.input.check))
    tables = {name: pd.read_parquet(snakemake.input[name]) for name in ("sessions", "clients", "therapists")}
    prepared = prepare_study(
        snakemake.wildcards.study,
        tables["sessions"],
        pd.read_csv(snakemake.input.measures),
        tables["clients"],
        tables["therapists"],
        section(snakemake.params.settings, DesignSettings),
        primary_outcome=snakemake.params.primary_outcome,
        outcome_unit=snakemake.params.outcome_unit,
    )
    early = with_implied_outcome(prepared.early, tables["sessions"], prepared.context)
    prepared.hybrid.to_parquet(snakemake.output.hybrid, index=False)
    prepared.joint.to_parquet(snakemake.output.joint, index=False)
    early.to_parquet(snakemake.output.early, index=False)
    prepared.context.write(Path(snakemake.output.context))
    prepared.flow.to_csv(snakemake.output.flow, index=False, lineterminator="\n")
    collinearity(prepared.hybrid, early, prepared.context).to_csv(
        snakemake.output.collinearity, index=False, lineterminator="\n"
    )


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
