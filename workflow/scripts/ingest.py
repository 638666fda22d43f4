"""Turn a study's raw files into the session table."""

from pathlib import Path

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Ingest the study and write its tables."""
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.data.ingest import ingest_study
    from alliance_outcome.data.private_files import private_directory
    from alliance_outcome.settings import IngestSettings, section

    require_sound(Path(snakemake.input.check))
    output = snakemake.output
    private_directory(Path(output.sessions).parent)
    study = ingest_study(
        snakemake.wildcards.study,
        section(snakemake.params.settings, IngestSettings),
        Path.cwd(),
        Path("config/instruments"),
        Path(output.pseudonyms),
    )
    study.sessions.to_parquet(output.sessions, index=False)
    study.items.to_parquet(output.item_table, index=False)
    study.clients.to_parquet(output.clients, index=False)
    study.therapists.to_parquet(output.therapists, index=False)
    study.measures.to_csv(output.measures, index=False, lineterminator="\n")
    study.announcements.to_csv(output.announcements, index=False, lineterminator="\n")
    study.risks.to_csv(output.risks, index=False, lineterminator="\n")
    study.data_flow.to_csv(output.flow, index=False, lineterminator="\n")
    say(f"{len(study.sessions)} rows, {study.sessions['client'].nunique()} clients")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
