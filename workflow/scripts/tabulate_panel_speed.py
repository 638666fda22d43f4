"""Hold the panel models against lavaan."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write the page."""
    from alliance_outcome.analyses.engine_benchmark.verdicts import read_conditions
    from alliance_outcome.report.panel_speed import panel_speed_page

    page = panel_speed_page(
        pd.read_csv(snakemake.input.measurements), *read_conditions(Path(snakemake.input.conditions))
    )
    Path(snakemake.output.page).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "benchmark", snakemake.rule):
        main(snakemake)
