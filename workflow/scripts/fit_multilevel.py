"""Fit the hybrid or the early-alliance models by restricted maximum likelihood."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Fit one analysis and write its estimates, contrasts and checks."""
    from alliance_outcome.analyses.context import AnalysisContext, StudyAnalysis
    from alliance_outcome.analyses.early import fit_early_models
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.analyses.hybrid import fit_hybrid_models
    from alliance_outcome.analyses.multilevel_tables import tabulate
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    fit = {"multilevel": fit_hybrid_models, "early": fit_early_models}[snakemake.params.analysis]
    context = AnalysisContext.read(Path(snakemake.input.context))
    models = fit(pd.read_parquet(snakemake.input.rows), context)
    analysis = StudyAnalysis(context, snakemake.params.analysis, snakemake.params.min_therapists)
    tables = tabulate(models, analysis)
    write_estimates(tables.estimates, Path(snakemake.output.estimates))
    write_estimates(tables.contrasts, Path(snakemake.output.contrasts))
    for name in ("covariances", "scales", "checks"):
        getattr(tables, name).to_csv(
            snakemake.output[name], index=False, float_format="%.17g", lineterminator="\n"
        )


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
