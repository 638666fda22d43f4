"""Render the report of a study."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Read what the study's modelling rules took."""
    found = [
        {"rule": path.stem, "seconds": row["s"], "max_rss_mb": pd.to_numeric(row["max_rss"], errors="coerce")}
        for path in sorted(folder.glob("*.tsv"))
        for row in pd.read_csv(path, sep="\t").to_dict("records")
    ]
    return pd.DataFrame(found, columns=["rule", "seconds", "max_rss_mb"])


def main(snakemake) -> None:
    """Write one self-contained page."""
    from alliance_outcome.analyses.release import require_anonymous, require_released
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.provenance import software_versions
    from alliance_outcome.report.render import render_report
    from alliance_outcome.settings import ReportSettings, section

    require_sound(Path(snakemake.input.check))
    require_released(pd.read_csv(snakemake.input.release))
    results = Path(snakemake.input.check).parent.parent
    page = render_report(
        results,
        results / "figures",
        section(snakemake.params.study, ReportSettings),
        simulated=snakemake.params.simulated,
        versions=software_versions(),
        benchmarks=read_benchmarks(results / "benchmarks"),
        context={
            "study_name": snakemake.wildcards.study,
            "study": dict(snakemake.params.study),
            "sampler": dict(snakemake.params.sampler),
            "seed": snakemake.params.seed,
        },
    )
    require_anonymous(page, Path(snakemake.input.pseudonyms))
    Path(snakemake.output[0]).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
