"""Write the page of the panel models' coverage, and say how many judged cells lie in the band."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the page, whatever it says."""
    import pandas as pd

    from alliance_outcome.analyses.panel_coverage.page import coverage_page
    from alliance_outcome.analyses.panel_coverage.table import verdict

    tables = [pd.read_csv(path).astype({"passed": "boolean"}) for path in snakemake.input]
    Path(snakemake.output[0]).write_text(coverage_page(tables), encoding="utf-8")
    say(verdict(tables))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], "panel_coverage", snakemake.rule) as say:
        main(snakemake, say)
