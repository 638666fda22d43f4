"""Validate a study; its faults are written down, so that the study itself decides what stops."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Check the study file and everything it names."""
    from alliance_outcome.data.check_report import write_check
    from alliance_outcome.data.ingest import check_study
    from alliance_outcome.data.private_files import private_directory
    from alliance_outcome.errors import StudyError
    from alliance_outcome.settings import read_yaml

    private_directory(Path(snakemake.output[0]).parent)
    try:
        content = read_yaml(Path(snakemake.params.study_file), "study file")
    except StudyError as error:
        faults, announcements, risks = error.faults, pd.DataFrame(), pd.DataFrame()
    else:
        result = check_study(content, Path.cwd(), Path("config/instruments"))
        faults, announcements, risks = result.faults, result.announcements, result.risks
    write_check(faults, announcements, risks, Path(snakemake.output[0]))
    say(f"{len(faults)} faults, {len(announcements)} announcements")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
