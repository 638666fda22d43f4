"""Say whether the stored posteriors are calibrated; the exit status is non-zero when one is not."""

import sys
from pathlib import Path

from alliance_outcome.analyses.calibration.verdicts import read_verdicts, sentences


def main(snakemake) -> None:
    """Print the verdict."""
    calibrated, text = sentences(*read_verdicts(Path(snakemake.input[0]).parent))
    Path(snakemake.log[0]).write_text(f"{text}\n", encoding="utf-8")
    sys.stderr.write(f"{text}\n")
    if not calibrated:
        raise SystemExit(1)


if __name__ == "__main__":
    main(snakemake)
