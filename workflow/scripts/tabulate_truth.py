"""Tabulate the truth behind a simulated study: generating values and stored pseudo-true values."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write the truth of every estimand."""
    from alliance_outcome.analyses.truth import truth_table
    from alliance_outcome.simulation_settings import SimulationSettings

    settings = SimulationSettings.model_validate(snakemake.params.simulation)
    truth = truth_table(settings, Path(snakemake.params.pseudo_true))
    truth.to_csv(snakemake.output[0], index=False, lineterminator="\n")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
