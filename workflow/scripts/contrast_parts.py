"""Contrast the raters on goal, task and bond."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the contrast of each part of the alliance."""
    from alliance_outcome.analyses.alliance_parts import StudyTables, part_contrasts
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import DesignSettings, section

    require_sound(Path(snakemake.input.check))
    sessions, clients, therapists = (
        pd.read_parquet(snakemake.input[name]) for name in ("sessions", "clients", "therapists")
    )
    settings = section(snakemake.params.settings, DesignSettings)
    study = StudyTables(sessions, clients, therapists, settings, snakemake.params.min_therapists)
    table = part_contrasts(study, AnalysisContext.read(Path(snakemake.input.context)))
    write_estimates(table, Path(snakemake.output[0]))
    say(f"{len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
