"""Store the estimates of finished studies as the reference that ``verify`` holds later runs against."""

import shutil
import sys
from pathlib import Path


def main(snakemake) -> None:
    """Copy estimates to config/reference."""
    lines = []
    for path in map(Path, snakemake.input):
        study = path.parent.parent.name
        target = Path("config/reference") / study / f"estimates_{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        lines.append(f"study {study}: {target} written")
    text = "\n".join(lines)
    Path(snakemake.log[0]).write_text(text + "\n", encoding="utf-8")
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(snakemake)
