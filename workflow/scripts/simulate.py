"""Write the raw files of a simulated study."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Simulate the study that the study file describes."""
    from alliance_outcome.data.simulate import simulate_study, write_raw_files
    from alliance_outcome.simulation_settings import SimulationSettings

    settings = SimulationSettings.model_validate(snakemake.params.simulation)
    study = simulate_study(settings, snakemake.params.seed)
    write_raw_files(study, Path(snakemake.output.sessions).parent)


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
