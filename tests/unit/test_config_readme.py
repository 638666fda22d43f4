"""config/README.md is in step with the code: every key and default, every scoring key, every message, every example."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyreadstat
import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alliance_outcome import settings
from alliance_outcome.data import instruments
from alliance_outcome.data.ingest import check_study
from alliance_outcome.data.instrument_files import load_instruments
from alliance_outcome.data.ledger import AnnouncementKind
from alliance_outcome.provenance import PACKAGE_DIRECTORY
from alliance_outcome.simulation_settings import SimulationSettings

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "config/README.md").read_text(encoding="utf-8")

#: The model that each table of keys describes, by the heading above it.
MODELS: dict[str, type[BaseModel]] = {
    "`config.yaml`": settings.RunSettings,
    "`sampler`": settings.SamplerSettings,
    "`bootstrap`": settings.BootstrapSettings,
    "`bias`": settings.BiasSettings,
    "The study file": settings.StudySettings,
    "Files": settings.FileSettings,
    "Columns": settings.ColumnSettings,
    "Occasions": settings.OccasionSettings,
    "Measures": settings.MeasureSettings,
    "`early`": settings.EarlySettings,
    "`covariates`": settings.CovariateSettings,
    "`priors`": settings.PriorSettings,
    "`reliability`": settings.ReliabilitySettings,
    "`simulation`": SimulationSettings,
    "Keys of a scoring key": instruments.Instrument,
    "`score` of a key": instruments.Score,
    "`missing` of a key": instruments.MissingRule,
    "`cut_off` of a key": instruments.CutOff,
    "`reliable_change` of a key": instruments.ReliableChange,
    "`status` of a key": instruments.PartStatus,
}


def sections() -> dict[str, str]:
    """Return the text under each heading, up to the next one."""
    parts = re.split(r"^#+ (.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the last table under a heading, without its own."""
    lines = [line for line in sections()[heading].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return cells[2:]


def default_in_words(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return "see below"
    if default is None:
        return "none"
    if isinstance(default, str | list | dict | tuple) and not default:
        return "empty"
    return "`" + (default if isinstance(default, str) else json.dumps(default)) + "`"


def test_every_model_has_a_table():
    described = set(MODELS.values())
    defined = {
        model
        for module in (settings, instruments)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and not model.__name__.startswith("_")
    }
    sections_of_the_study_file = set(settings.StudySettings.__mro__[1:])
    assert defined - sections_of_the_study_file - {settings.StrictModel} == described


@pytest.mark.parametrize("heading", MODELS)
def test_tables_hold_every_key_and_no_other(heading: str):
    keys = [row[0].strip("`") for row in rows_of(heading)]
    assert sorted(keys) == sorted(MODELS[heading].model_fields)


@pytest.mark.parametrize("heading", [heading for heading in MODELS if heading != "`simulation`"])
def test_tables_give_the_defaults_and_a_meaning(heading: str):
    fields = MODELS[heading].model_fields
    for key, _, default, meaning in rows_of(heading):
        assert default == default_in_words(fields[key.strip("`")]), key
        assert meaning.endswith((".", ")")), key


def test_scoring_keys_are_listed():
    listed = {row[0].strip("`"): (row[2], row[3], row[4]) for row in rows_of("Scoring keys")}
    shipped = {
        name: (
            key.construct,
            f"{key.n_items}, {key.item_range[0]:g} to {key.item_range[1]:g}",
            "yes" if key.verified else "no",
        )
        for name, key in load_instruments().instruments.items()
    }
    assert listed == shipped


def test_quoted_faults_are_those_of_the_code():
    # Texts of the code run over lines: joined, without the quotes, prefixes and blanks between their parts.
    code = " ".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE_DIRECTORY.rglob("*.py")))
    joined = re.sub(r"\s+", " ", re.sub(r'"\s*\n?\s*f?"', "", code))
    quoted = [text for row in rows_of("Faults") for text in re.findall(r'"([^"]+)"', row[0])]
    assert len(quoted) > 15
    assert [text for text in quoted if text not in joined] == []


def test_notes_are_those_of_the_code():
    assert sorted(row[0].strip("`") for row in rows_of("Notes")) == sorted(get_args(AnnouncementKind))


def test_links_within_the_page_lead_somewhere():
    anchors = {
        re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", TEXT, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def yaml_blocks(heading: str) -> list[dict[str, Any]]:
    return [
        yaml.safe_load(block)
        for block in re.findall(r"^```yaml\n(.*?)^```", sections()[heading], flags=re.MULTILINE | re.DOTALL)
    ]


def form(n: int, n_items: int, low: int, high: int, reversed_items: tuple[int, ...] = ()) -> np.ndarray:
    """Fill in a form n times: all items show the same thing, but for chance and reversal; shape (n, n_items)."""
    random = np.random.default_rng(1)
    common = random.integers(low, high + 1, size=(n, 1))
    items = np.clip(common + random.integers(-1, 2, size=(n, n_items)), low, high)
    for item in reversed_items:
        items[:, item - 1] = low + high - items[:, item - 1]
    return items


def write_csv_export(folder: Path) -> None:
    """Write item-level files as the first example describes them."""
    clients = [f"{number:04d}" for number in range(17, 37)]
    phq = form(len(clients) * 6, 9, 0, 3).astype(str).tolist()
    wai = np.hstack([form(len(clients) * 6, 12, 1, 7, (4, 10))] * 2).astype(str).tolist()
    rows = []
    for position, client in enumerate(clients):
        first = 6 * position
        for number in range(1, 6):
            cells = [client, "AB", "S", str(number), f"2024-03-{number * 5:02d}"]
            held = [*cells, "A", *phq[first + number], *wai[first + number]]
            rows.append(held if number != 3 else [*cells, "C", *[""] * 33])
        rows.append([client, "AB", "E", "", "2024-06-24", "", *phq[first][:8], "99", *[""] * 24])
    header = [
        "id",
        "therapist",
        "occasion",
        "nr",
        "date",
        "status",
        *(f"phq_{item}" for item in range(1, 10)),
    ]
    header += [f"wai_{rater}_{item}" for rater in "ct" for item in range(1, 13)]
    text = "\n".join(";".join(row) for row in [header, *rows])
    (folder / "sessions.csv").write_text(text, encoding="utf-8")
    ages = "".join(f"{client};{30 + position}\n" for position, client in enumerate(clients))
    (folder / "clients.csv").write_text("id;age\n" + ages, encoding="utf-8")


def write_spss_file(folder: Path) -> None:
    """Write a wide SPSS file as the second example describes it."""
    n = 60
    columns: dict[str, Any] = {
        "id": np.arange(n) + 1.0,
        "therapist": np.arange(n) % 9 + 1.0,
        "arm": np.ones(n),
    }
    forms = {
        "core": form(n, 10, 0, 4, (2, 3)),
        "wais_c": form(n, 12, 1, 7, (4, 10)),
        "wais_t": form(n, 12, 1, 7),
    }
    for occasion in ("pre", "s1", "s2", "s3", "s4", "s5", "s6", "post"):
        is_session = occasion.startswith("s")
        if is_session:
            columns[f"att_{occasion}"] = np.ones(n)
        for name in forms if is_session else ("core",):
            items = forms[name].T.astype(float)
            columns |= {f"{name}_{occasion}_{item:02d}": values for item, values in enumerate(items, 1)}
    labels = {
        name: {1.0: "attended", 2.0: "cancelled", 3.0: "no_show"}
        for name in columns
        if name.startswith("att")
    }
    labels["arm"] = {1.0: "treatment"}
    pyreadstat.write_sav(pd.DataFrame(columns), folder / "trial.sav", variable_value_labels=labels)


def write_workbook(folder: Path) -> None:
    """Write ready-made scores as the third example describes them."""
    frame = pd.DataFrame(
        {
            "client": np.repeat([1, 2, 3], 4),
            "session": np.tile([1, 2, 3, 4], 3),
            "oq_total": np.tile([80, 75, -9, 60], 3),
            "goal_client": 5.25,
            "task_client": 4.5,
            "bond_client": 6.0,
            "alliance_therapist": 5.5,
        }
    )
    frame.to_excel(folder / "ratings.xlsx", sheet_name="ratings", index=False)


EXAMPLES = {
    "A CSV file with items": write_csv_export,
    "A wide SPSS file": write_spss_file,
    "Ready-made scores": write_workbook,
}


@pytest.mark.parametrize("heading", EXAMPLES)
def test_worked_examples_pass_the_check(heading: str, tmp_path: Path):
    [content] = yaml_blocks(heading)
    settings.validate_study(content)
    (tmp_path / "data").mkdir()
    EXAMPLES[heading](tmp_path / "data")
    checked = check_study(content, tmp_path, None)
    assert [str(fault) for fault in checked.faults] == []
    expected = {"assumed", "missing_code", "recoded", "items_imputed", "nesting"}
    assert set(checked.announcements["kind"]) <= expected, checked.announcements.to_string()


def test_own_key_can_be_copied(tmp_path: Path):
    [content] = yaml_blocks("Your own key")
    (tmp_path / f"{content['name']}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    library = load_instruments(tmp_path)
    assert library.added == (content["name"],)
    assert library.overridden == ()
