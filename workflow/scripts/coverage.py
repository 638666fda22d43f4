"""Say whether all judged cells of the stored table lie in the band; the exit status is non-zero when one does not."""

import sys
from pathlib import Path

from alliance_outcome.analyses.coverage.page import verdict
from alliance_outcome.analyses.coverage.table import misplaced, read_coverage


def main(snakemake) -> None:
    """Print the verdict."""
    table = read_coverage(Path(snakemake.input[0]))
    text = f"{verdict(table)}\n"
    Path(snakemake.log[0]).write_text(text, encoding="utf-8")
    sys.stderr.write(text)
    if len(misplaced(table)):
        raise SystemExit(1)


if __name__ == "__main__":
    main(snakemake)
