"""Fit the response surfaces of both raters' alliance: does it matter that they agree?"""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Fit both levels and write estimates, conditions, checks and the figure's grid."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.analyses.response_surface import response_surfaces
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    tables = response_surfaces(
        pd.read_parquet(snakemake.input.hybrid),
        pd.read_parquet(snakemake.input.early),
        AnalysisContext.read(Path(snakemake.input.context)),
    )
    write_estimates(tables.estimates, Path(snakemake.output.estimates))
    for name in ("conditions", "checks", "grid"):
        getattr(tables, name).to_csv(
            snakemake.output[name], index=False, float_format="%.17g", lineterminator="\n"
        )
    say(f"{len(tables.estimates)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
