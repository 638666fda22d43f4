"""Say, row by row, whether the results reproduce; the exit status is non-zero when one does not."""

import sys
from pathlib import Path

import pandas as pd


def main(snakemake) -> None:
    """Print the verdicts of all studies."""
    lines = []
    faulty = False
    for study, path in zip(snakemake.params.studies, snakemake.input, strict=True):
        verdicts = pd.read_csv(path, dtype={"reference": "str", "new": "str"})
        if verdicts.empty:
            lines.append(
                f"study {study}: no reference estimates under config/reference/{study}; see the target adopt"
            )
            faulty = True
            continue
        counts = verdicts.drop_duplicates(["analysis", "row_id"])["verdict"].value_counts()
        lines.append(
            f"study {study}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        )
        for row in verdicts[verdicts["verdict"] != "reproduced"].astype(object).fillna("").to_dict("records"):
            detail = (
                f" {row['column']}: reference {row['reference']}, new {row['new']}" if row["column"] else ""
            )
            lines.append(f"  {row['verdict']}: {row['analysis']}, {row['row_id']}{detail}")
            faulty = True
    text = "\n".join(lines)
    Path(snakemake.log[0]).write_text(text + "\n", encoding="utf-8")
    print(text, file=sys.stderr, flush=True)
    if faulty:
        raise SystemExit(1)


if __name__ == "__main__":
    main(snakemake)
