"""Check whether the data can be taken at their word."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the checks of the data."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.data_quality import data_quality
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    checks = data_quality(
        pd.read_parquet(snakemake.input.sessions),
        pd.read_parquet(snakemake.input.item_table),
        pd.read_csv(snakemake.input.measures),
        pd.read_csv(snakemake.input.announcements),
        AnalysisContext.read(Path(snakemake.input.context)).raters,
    )
    checks.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(f"{len(checks)} checks, {int((~checks['passed'].astype(bool)).sum())} of them with a finding")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
