"""Search what a study publishes for what must not be."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the checks; whether anything stops the report is the report's business."""
    from alliance_outcome.analyses.release import release_checks
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    root = Path(snakemake.input.check).parent.parent
    files = [*map(Path, snakemake.input.published), *sorted((root / "logs").glob("*.log"))]
    checks = release_checks(root, files, Path(snakemake.input.pseudonyms))
    checks.to_csv(snakemake.output[0], index=False, lineterminator="\n")
    say(f"{int((checks['passed'] == False).sum())} rules broken")  # noqa: E712 - may be missing


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
