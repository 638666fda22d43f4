"""Tabulate the coverage of the panel models' intervals in one design."""

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the table, whatever it says."""
    import pandas as pd

    from alliance_outcome.analyses.panel_coverage.table import coverage_table, verdict

    table = coverage_table(pd.concat([pd.read_parquet(path) for path in snakemake.input], ignore_index=True))
    table.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(verdict([table]))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "panel_coverage", snakemake.rule) as say:
        main(snakemake, say)
