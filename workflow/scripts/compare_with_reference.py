"""Hold a study's estimates against its reference, row by row."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write one verdict per row; a study without a reference has none."""
    from alliance_outcome.analyses.estimates import read_estimates
    from alliance_outcome.analyses.verification import VERIFICATION_COLUMNS, compare_estimates
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    references = {
        Path(path).stem.removeprefix("estimates_"): Path(path) for path in snakemake.input.reference
    }
    tables = [
        compare_estimates(path.stem, read_estimates(references[path.stem]), read_estimates(path))
        for path in map(Path, snakemake.input.estimates)
        if path.stem in references
    ]
    verdicts = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=VERIFICATION_COLUMNS)
    verdicts.to_csv(snakemake.output[0], index=False, float_format="%.17g", lineterminator="\n")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
