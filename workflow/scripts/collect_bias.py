"""Take the stored bias table of a study, if it is of a study of this size."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the stored table, or one without rows."""
    from alliance_outcome.analyses.bias.table import stored_table

    table = stored_table(Path(snakemake.params.stored), pd.read_csv(snakemake.input.fit))
    table.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(f"{len(table)} rows")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
