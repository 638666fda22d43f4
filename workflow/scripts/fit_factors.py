"""Fit factor models of the items of every rater's form."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write what the forms measure."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.analyses.factor_structure import factor_structure_estimates
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.data.instrument_files import load_instruments

    require_sound(Path(snakemake.input.check))
    table = factor_structure_estimates(
        pd.read_parquet(snakemake.input.sessions),
        pd.read_parquet(snakemake.input.item_table),
        pd.read_csv(snakemake.input.measures),
        load_instruments(Path("config/instruments")).subscales,
        AnalysisContext.read(Path(snakemake.input.context)),
    )
    write_estimates(table, Path(snakemake.output[0]))
    say(f"{len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
