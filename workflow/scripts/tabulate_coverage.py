"""Tabulate the coverage of all intervals, as a table and as a page."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the table and the page, whatever they say."""
    import pandas as pd

    from alliance_outcome.analyses.coverage.page import coverage_page, verdict
    from alliance_outcome.analyses.coverage.table import coverage_table

    table = coverage_table(pd.concat([pd.read_parquet(path) for path in snakemake.input], ignore_index=True))
    table.to_csv(snakemake.output.table, index=False, lineterminator="\n")
    Path(snakemake.output.page).write_text(coverage_page(table), encoding="utf-8")
    say(verdict(table))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "coverage", snakemake.rule) as say:
        main(snakemake, say)
