"""Tabulate and draw the calibration of all posteriors."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the tables, the figure and the page, whatever they say."""
    import pandas as pd

    from alliance_outcome.analyses.calibration.difference_coverage import difference_table
    from alliance_outcome.analyses.calibration.page import calibration_page
    from alliance_outcome.analyses.calibration.verdicts import rank_table, sentences
    from alliance_outcome.report.figures_calibration import write_ranks

    ranks, intervals = (
        pd.concat([pd.read_parquet(path) for path in snakemake.input[name]], ignore_index=True)
        for name in ("ranks", "intervals")
    )
    tables = rank_table(ranks), difference_table(intervals)
    for table, path in zip(tables, (snakemake.output.ranks, snakemake.output.coverage), strict=True):
        table.to_csv(path, index=False, lineterminator="\n")
    write_ranks(ranks, Path(snakemake.output.figure))
    Path(snakemake.output.page).write_text(calibration_page(*tables), encoding="utf-8")
    say(sentences(*tables)[1])


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "calibration", snakemake.rule) as say:
        main(snakemake, say)
