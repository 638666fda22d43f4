"""Put the contrasts of the raters together and answer the question."""

import json
from pathlib import Path

import pandas as pd

from alliance_outcome.errors import rule_log


def main(snakemake, say) -> None:
    """Write the contrast rows of both engines and the answer."""
    from alliance_outcome.analyses.context import AnalysisContext
    from alliance_outcome.analyses.estimates import read_estimates, write_estimates
    from alliance_outcome.analyses.headline import all_contrasts, headline_answer
    from alliance_outcome.data.check_report import require_sound
    from alliance_outcome.settings import DecisionSettings, section

    require_sound(Path(snakemake.input.check))
    context = AnalysisContext.read(Path(snakemake.input.context))
    contrasts = all_contrasts([read_estimates(Path(path)) for path in snakemake.input.contrasts], context)
    checks = pd.concat([pd.read_csv(path) for path in snakemake.input.checks], ignore_index=True)
    answer = headline_answer(contrasts, checks, context, section(snakemake.params.settings, DecisionSettings))
    write_estimates(contrasts, Path(snakemake.output.contrast))
    text = json.dumps(answer.as_dict(), indent=2, ensure_ascii=False)
    Path(snakemake.output.answer).write_text(text + "\n", encoding="utf-8")
    say(answer.sentence)


if __name__ == "__main__":
    with rule_log(snakemake.log[0], snakemake.wildcards.study, snakemake.rule) as say:
        main(snakemake, say)
