"""Refit the multilevel models to resampled clusters: contrasts and explained variance with bootstrap intervals."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write explained variance, the contrasts that need a bootstrap, and how many samples could be fitted."""
    from alliance_outcome.analyses.bootstrap_contrasts import bootstrap_checks, bootstrap_contrasts
    from alliance_outcome.analyses.context import AnalysisContext, StudyAnalysis
    from alliance_outcome.analyses.early import fit_early_models
    from alliance_outcome.analyses.estimates import estimates_frame, write_estimates
    from alliance_outcome.analyses.explained import explained_rows
    from alliance_outcome.analyses.hybrid import fit_hybrid_models
    from alliance_outcome.analyses.resampling import Resampling, resample_models
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    context = AnalysisContext.read(Path(snakemake.input.context))
    contrasts, explained, checks = [], [], []
    for name, fit in (("multilevel", fit_hybrid_models), ("early", fit_early_models)):
        models = fit(pd.read_parquet(snakemake.input[name]), context)
        resampling = Resampling(snakemake.params.replicates, snakemake.params.seeds[name], snakemake.threads)
        resampled = resample_models(models, resampling)
        say(f"{name}: {len(resampled)} models refitted to {resampling.replicates} samples each")
        analysis = StudyAnalysis(context, name, snakemake.params.min_therapists)
        contrasts += bootstrap_contrasts(models, resampled, analysis)
        explained += explained_rows(resampled, resampling, analysis)
        checks += bootstrap_checks(resampled)
    write_estimates(estimates_frame(contrasts), Path(snakemake.output.contrasts))
    write_estimates(estimates_frame(explained), Path(snakemake.output.explained))
    pd.DataFrame(checks).to_csv(
        snakemake.output.checks, index=False, float_format="%.17g", lineterminator="\n"
    )


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
