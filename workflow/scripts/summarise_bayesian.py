"""Turn posteriors into estimates, contrasts, checks and predictive summaries."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Summarise both posteriors."""
    from alliance_outcome.analyses.bayesian import summarise_posteriors
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import DecisionSettings, section

    require_sound(Path(snakemake.input.check))
    tables = summarise_posteriors(
        {name: Path(snakemake.input[name]) for name in ("hybrid", "early")},
        {name: pd.read_parquet(snakemake.input[f"{name}_rows"]) for name in ("hybrid", "early")},
        AnalysisContext.read(Path(snakemake.input.context)),
        section(snakemake.params.settings, DecisionSettings),
    )
    write_estimates(tables.estimates, Path(snakemake.output.estimates))
    write_estimates(tables.contrasts, Path(snakemake.output.contrasts))
    for name in ("checks", "predictive", "sensitivity", "checklist"):
        getattr(tables, name).to_csv(
            snakemake.output[name], index=False, float_format="%.17g", lineterminator="\n"
        )


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
