"""Print what is wrong with each study, all at once; the exit status says whether any fault was found."""

import sys
from pathlib import Path

from alliance_outcome.data.check_report import read_announcements, read_faults, read_risks
from alliance_outcome.errors import StudyError

#: Announcements made column by column, which a terminal shows once per file.
PER_COLUMN = {
    "missing_code": "with a stated missing code, read as missing",
    "user_missing": "with a value that the file itself defines as missing",
}

#: How a disclosure risk is marked: within its limit, beyond it, without one.
MARKS = {True: "low risk", False: "RISK", None: "no risk"}


def notes(announcements: list[dict]) -> list[str]:
    """Put announcements into lines; what was said of many columns in the same words is added up."""
    lines = [
        f"{each['file']}, {each['column']}: {each['text']}"
        if each["column"]
        else f"{each['file']}: {each['text']}"
        for each in announcements
        if each["kind"] not in PER_COLUMN
    ]
    counts: dict[tuple[str, str], list[int]] = {}
    for each in announcements:
        if each["kind"] in PER_COLUMN:
            counts.setdefault((each["file"], each["kind"]), []).append(int(each["n"]))
    for (file, kind), cells in counts.items():
        lines.append(f"{file}: {sum(cells)} cells in {len(cells)} columns {PER_COLUMN[kind]}.")
    return lines


def main(snakemake) -> None:
    """Print the checks of all studies."""
    sound = True
    lines = []
    for study, path in zip(snakemake.params.studies, snakemake.input, strict=True):
        faults = read_faults(Path(path))
        lines.append(f"study {study}: " + (str(StudyError(faults)) if faults else "no faults"))
        lines += [f"  note: {note}" for note in notes(read_announcements(Path(path)))]
        risks = read_risks(Path(path))
        lines += (
            ["  could somebody be recognised in the data (results show no rows of them)?"] if risks else []
        )
        lines += [f"  {MARKS[each['passed']]}: {each['text']}" for each in risks]
        sound = sound and not faults
    text = "\n".join(lines)
    Path(snakemake.log[0]).write_text(text + "\n", encoding="utf-8")
    print(text, file=sys.stderr, flush=True)
    if not sound:
        raise SystemExit(1)


if __name__ == "__main__":
    main(snakemake)
