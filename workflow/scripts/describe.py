"""Describe a study: sample, measures, missingness, trajectories and agreement."""

from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake) -> None:
    """Write the description tables and the agreement estimates."""
    from alliance_outcome.analyses import description
    from alliance_outcome.analyses.agreement import agreement_estimates
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import write_estimates
    from alliance_outcome.data.check_report import require_sound

    require_sound(Path(snakemake.input.check))
    sessions, clients, therapists = (
        pd.read_parquet(snakemake.input[name]) for name in ("sessions", "clients", "therapists")
    )
    measures = pd.read_csv(snakemake.input.measures)
    tables = {
        "sample": description.describe_sample(sessions),
        "participants": description.describe_participants(clients, therapists),
        "description": description.describe_measures(sessions, measures),
        "missingness": description.describe_missingness(sessions, measures["column"]),
        "trajectories": description.describe_trajectories(sessions, measures["column"]),
    }
    tables["withheld"] = description.describe_withheld(sessions, tables)
    for path in map(Path, snakemake.output.tables):
        tables[path.stem].to_csv(path, index=False, lineterminator="\n")
    context = AnalysisContext.read(Path(snakemake.input.context))
    held = description.held_sessions(sessions)
    agreement = agreement_estimates(held, context, snakemake.params.min_therapists)
    write_estimates(agreement, Path(snakemake.output.agreement))


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule):
        main(snakemake)
