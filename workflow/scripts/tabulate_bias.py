"""Summarise what every estimator found in simulated studies."""

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the bias table."""
    from alliance_outcome.analyses.bias.table import bias_table

    table = bias_table(pd.concat([pd.read_parquet(path) for path in snakemake.input], ignore_index=True))
    table.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(f"{len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
