"""Show how fast the multilevel engine is beside its peers."""

import sys
from pathlib import Path


def main(snakemake) -> None:
    """Print the page of the latest measurements."""
    text = Path(snakemake.input.page).read_text(encoding="utf-8")
    Path(snakemake.log[0]).write_text(text, encoding="utf-8")
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(snakemake)
