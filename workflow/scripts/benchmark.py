"""Show how fast the multilevel engine and the Bayesian model are beside their peers."""

import sys
from pathlib import Path


def main(snakemake) -> None:
    """Print the pages of the latest measurements."""
    text = "\n".join(Path(page).read_text(encoding="utf-8") for page in snakemake.input.pages)
    Path(snakemake.log[0]).write_text(text, encoding="utf-8")
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(snakemake)
