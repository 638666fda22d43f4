"""Hold the measured times against the figures that the engine must reach, and draw how they grow."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write the table, the page and the figure."""
    from alliance_outcome.analyses.engine_benchmark.verdicts import read_conditions, speed_table
    from alliance_outcome.report.engine_speed import speed_page
    from alliance_outcome.report.figures_engine_growth import write_growth

    measurements = pd.read_csv(snakemake.input.measurements)
    speed = speed_table(measurements)
    speed.to_csv(snakemake.output.speed, index=False, float_format="%.17g", lineterminator="\n")
    growth = write_growth(pd.read_csv(snakemake.input.growth), Path(snakemake.output.figure))
    page = speed_page(speed, measurements, growth, *read_conditions(Path(snakemake.input.conditions)))
    Path(snakemake.output.page).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "benchmark", snakemake.rule):
        main(snakemake)
