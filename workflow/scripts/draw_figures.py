"""Draw the figures of the report."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Draw the study's figures from its tables."""
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.report.figures import draw_figures, draw_truth_figure
    from alliance_outcome.settings import ReportSettings, section

    require_sound(Path(snakemake.input.check))
    results = Path(snakemake.input.check).parent.parent
    draw = draw_truth_figure if snakemake.params.truth else draw_figures
    draw(results, Path(snakemake.output.index).parent, section(snakemake.params.settings, ReportSettings))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
