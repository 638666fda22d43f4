"""Contrast the raters with and without correction for errors of measurement."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the corrected contrast."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.corrected_contrast import corrected_contrasts
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import MeasurementErrorSettings, section

    require_sound(Path(snakemake.input.check))
    rows, sessions, items = (
        pd.read_parquet(snakemake.input[name]) for name in ("rows", "sessions", "item_table")
    )
    table = corrected_contrasts(
        rows,
        sessions,
        items,
        pd.read_csv(snakemake.input.measures),
        AnalysisContext.read(Path(snakemake.input.context)),
        section(snakemake.params.settings, MeasurementErrorSettings).shares("within_client"),
        min_therapists=snakemake.params.min_therapists,
        replicates=snakemake.params.replicates,
        seed=snakemake.params.seed,
    )
    write_estimates(table, Path(snakemake.output[0]))
    say(f"{len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
