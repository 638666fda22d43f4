"""Print what is wrong with each study, all at once; the exit status says whether any fault was found."""

import sys
from pathlib import Path

from alliance_outcome.data.check_report import read_announcements, read_faults
from alliance_outcome.errors import StudyError


def main(snakemake) -> None:
    """Print the checks of all studies."""
    sound = True
    lines = []
    for study, path in zip(snakemake.params.studies, snakemake.input, strict=True):
        faults = read_faults(Path(path))
        lines.append(f"study {study}: " + (str(StudyError(faults)) if faults else "no faults"))
        lines += [f"  note: {each['text']}" for each in read_announcements(Path(path))]
        sound = sound and not faults
    text = "\n".join(lines)
    Path(snakemake.log[0]).write_text(text + "\n", encoding="utf-8")
    print(text, file=sys.stderr, flush=True)
    if not sound:
        raise SystemExit(1)


if __name__ == "__main__":
    main(snakemake)
