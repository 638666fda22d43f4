"""Look at the multilevel models from outside: residual diagnostics, and what statsmodels MixedLM makes of them."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write the diagnostics of the headline's model and a second opinion on every model."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.early import fit_early_models
    from alliance_outcome.analyses.headline import hybrid_model
    from alliance_outcome.analyses.hybrid import fit_hybrid_models
    from alliance_outcome.analyses.residual_diagnostics import residual_diagnostics
    from alliance_outcome.analyses.second_opinion import second_opinions
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import DecisionSettings, section

    require_sound(Path(snakemake.input.check))
    context = AnalysisContext.read(Path(snakemake.input.context))
    hybrid = fit_hybrid_models(pd.read_parquet(snakemake.input.multilevel), context)
    early = fit_early_models(pd.read_parquet(snakemake.input.early), context)
    wanted = hybrid_model(context, section(snakemake.params.settings, DecisionSettings))
    headline = next(
        model for model in hybrid if model.specification.model == wanted and model.is_joint(context)
    )
    tables = {
        "diagnostics": residual_diagnostics(headline),
        "checks": pd.DataFrame(second_opinions([*hybrid, *early])),
    }
    for name, table in tables.items():
        table.to_csv(snakemake.output[name], index=False, float_format="%.17g", lineterminator="\n")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
