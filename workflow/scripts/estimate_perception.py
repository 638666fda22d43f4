"""Estimate how the raters see the same alliance: the one-with-many split, and truth and bias."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the estimates of both models."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.analyses.one_with_many import one_with_many_estimates
    from alliance_outcome.analyses.truth_and_bias import truth_and_bias_estimates
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    sessions = pd.read_parquet(snakemake.input.sessions)
    context = AnalysisContext.read(Path(snakemake.input.context))
    for name, estimates in (
        ("one_with_many", one_with_many_estimates),
        ("truth_and_bias", truth_and_bias_estimates),
    ):
        table = estimates(sessions, context, snakemake.params.min_therapists)
        write_estimates(table, Path(snakemake.output[name]))
        say(f"{name}: {len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
