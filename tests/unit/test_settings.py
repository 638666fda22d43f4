"""Settings: every mistake in a study file is named, sections hold their keys, and the written schemas are in step."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from alliance_outcome import settings
from alliance_outcome.errors import Fault, StudyError

REPOSITORY = Path(__file__).parents[2]

#: The smallest study file that is right: ready-made scores of one rater, everything else by default.
MINIMAL = {
    "title": "A study",
    "files": {"ratings": {"path": "ratings.csv", "columns": {"client": "id", "session": "session"}}},
    "measures": {
        "distress": {
            "construct": "severity",
            "rater": "client",
            "file": "ratings",
            "instrument": "phq-9",
            "timing": "before",
            "score": "phq",
            "range": [0, 27],
            "direction": "higher_is_worse",
        },
        "alliance": {
            "construct": "alliance",
            "rater": "client",
            "file": "ratings",
            "instrument": "wai-s",
            "timing": "after",
            "items": "wai_{item:02d}",
            "values": "raw",
        },
    },
    "primary_outcome": "distress",
    "therapist_change": "exclude",
    "episodes": "first",
    "lag_unit": "attended",
    "priors": {
        "intercept_mean": 10,
        "intercept_sd": 5,
        "effect_sd": 2,
        "group_sd": 4,
        "slope_sd": 1,
        "residual_sd": 4,
    },
}

Edit = Callable[[dict[str, Any]], Any]


def faults_after(edit: Edit) -> list[Fault]:
    """Return the faults of the minimal study after an edit; fails if there are none."""
    content = copy.deepcopy(MINIMAL)
    edit(content)
    with pytest.raises(StudyError) as caught:
        settings.validate_study(content)
    return list(caught.value.faults)


def only_fault_after(edit: Edit) -> Fault:
    [fault] = faults_after(edit)
    return fault


def test_minimal_and_example_study_are_right():
    study = settings.validate_study(MINIMAL)
    assert (study.early.sessions, study.min_therapists_for_claim, study.rope) == ([3, 4, 5], 10, None)
    example = settings.read_yaml(REPOSITORY / "config/studies/example.yaml", "study file")
    assert settings.validate_study(example).simulation is not None


def test_run_configuration_is_right_and_complete():
    content = settings.read_yaml(REPOSITORY / "config/config.yaml", "config.yaml")
    run = settings.validate_run(content)
    assert settings.study_names(run.studies) == ["example"]
    assert set(content) == set(settings.RunSettings.model_fields), "config.yaml shows every key"
    assert set(content["sampler"]) == set(settings.SamplerSettings.model_fields)


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda study: study.update(lag_units="attended"), "lag_units"),
        (lambda study: study["measures"]["alliance"].update(timming="after"), "measures.alliance.timming"),
        (
            lambda study: study["files"]["ratings"]["columns"].update(cleint="id"),
            "files.ratings.columns.cleint",
        ),
        (lambda study: study["priors"].update(efect_sd=1), "priors.efect_sd"),
    ],
)
def test_misspelt_key_is_named(edit: Edit, key: str):
    fault = only_fault_after(edit)
    assert (fault.file, fault.column, fault.problem) == ("study file", key, "this key is not known")
    assert "config/README.md" in fault.remedy


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda study: study["measures"]["alliance"].pop("timing"), "measures.alliance.timing"),
        (lambda study: study["measures"]["distress"].pop("timing"), "measures.distress.timing"),
        (lambda study: study.pop("lag_unit"), "lag_unit"),
        (lambda study: study.pop("therapist_change"), "therapist_change"),
        (lambda study: study.pop("priors"), "priors"),
    ],
)
def test_missing_key_is_named_and_never_defaulted(edit: Edit, key: str):
    fault = only_fault_after(edit)
    assert (fault.column, fault.problem) == (key, "this key is required")


def test_all_mistakes_are_told_at_once():
    def edit(study: dict[str, Any]) -> None:
        study.pop("lag_unit")
        study["measures"]["alliance"].pop("timing")
        study["priors"]["group_sd"] = -1
        study["colour"] = "blue"

    columns = {fault.column for fault in faults_after(edit)}
    assert columns == {"lag_unit", "measures.alliance.timing", "priors.group_sd", "colour"}


def test_a_wrong_value_is_not_quoted():
    def edit(study: dict[str, Any]) -> None:
        study["measures"]["distress"]["timing"] = "Winifred Quill"
        study["rope"] = "Winifred Quill"

    faults = faults_after(edit)
    assert {fault.column for fault in faults} == {"measures.distress.timing", "rope"}
    assert "Quill" not in str(StudyError(faults))


@pytest.mark.parametrize(
    ("edit", "column", "problem"),
    [
        (
            lambda study: study.update(primary_outcome="alliance"),
            None,
            "primary_outcome must name a measure whose construct is severity",
        ),
        (
            lambda study: study.update(primary_outcome="mood"),
            None,
            "primary_outcome must name a measure whose construct is severity",
        ),
        (
            lambda study: study["measures"]["alliance"].update(file="items"),
            None,
            "measures.alliance.file: no file is called items",
        ),
        (
            lambda study: study["measures"].update(again=study["measures"]["alliance"]),
            None,
            "measures.again and measures.alliance give the same column alliance_client",
        ),
        (
            lambda study: study["measures"].update(again=study["measures"]["distress"]),
            None,
            "measures.again and measures.distress give the same column severity_phq_9_client",
        ),
        (
            lambda study: study["measures"].pop("alliance"),
            None,
            "measures: at least one alliance measure is needed",
        ),
        (
            lambda study: study.update(covariates={"client": ["age"]}),
            None,
            "covariates.client: age is not among client_columns",
        ),
        (
            lambda study: study.update(therapist_columns={"years": "years"}),
            None,
            "therapist_columns: no file has layout therapists",
        ),
        (
            lambda study: study["files"]["ratings"].update(layout="wide"),
            "files.ratings",
            "layout wide needs occasions, and only that layout has them",
        ),
        (
            lambda study: study["files"]["ratings"].update(layout="therapists"),
            "files.ratings",
            "layout therapists needs therapist_column, and no columns",
        ),
        (
            lambda study: study["files"]["ratings"].pop("columns"),
            "files.ratings",
            "columns with at least client is required; therapist_column is for layout therapists",
        ),
        (
            lambda study: study["files"]["ratings"]["columns"].update(week="week", date="date"),
            "files.ratings",
            "give week or date, not both",
        ),
        (
            lambda study: study["files"]["ratings"].update(
                layout="wide", occasions={"1": {"kind": "session"}}
            ),
            "files.ratings.occasions.1",
            "give a session number for kind: session, and only there",
        ),
        (
            lambda study: study["measures"]["alliance"].pop("values"),
            "measures.alliance",
            "items need values: raw or keyed",
        ),
        (
            lambda study: study["measures"]["alliance"].pop("items"),
            "measures.alliance",
            "give items, or score and/or subscales (score beside items is recomputed and compared)",
        ),
        (
            lambda study: study["measures"]["alliance"].update(subscales={"goal": "goal"}),
            "measures.alliance",
            "give items, or score and/or subscales (score beside items is recomputed and compared)",
        ),
        (
            lambda study: study["measures"]["alliance"].update(items="wai"),
            "measures.alliance",
            "items must contain {item}, or be a list of columns",
        ),
        (
            lambda study: study["measures"]["distress"].pop("range"),
            "measures.distress",
            "a ready-made score needs range and direction",
        ),
        (
            lambda study: study["measures"]["distress"].pop("direction"),
            "measures.distress",
            "a ready-made score needs range and direction",
        ),
        (
            lambda study: study.update(early={"outcome": "fixed_session"}),
            "early",
            "fixed_session goes with outcome: fixed_session, and only with it",
        ),
        (
            lambda study: study.update(early={"fixed_session": 8}),
            "early",
            "fixed_session goes with outcome: fixed_session, and only with it",
        ),
    ],
)
def test_contradictions_are_explained(edit: Edit, column: str | None, problem: str):
    fault = only_fault_after(edit)
    assert (fault.column, fault.problem) == (column, problem)


def test_several_contradictions_come_together():
    def edit(study: dict[str, Any]) -> None:
        study["primary_outcome"] = "mood"
        study["covariates"] = {"therapist": ["years"]}

    problem = only_fault_after(edit).problem
    assert "primary_outcome" in problem
    assert "covariates.therapist: years" in problem


def within(**stated: Any) -> Edit:
    """State the reliability of the client's ratings within clients."""
    return lambda study: study.update(reliability={"client": {"within_client": stated}})


@pytest.mark.parametrize(
    ("edit", "column", "problem"),
    [
        (within(mean=0.8), "reliability.client.within_client.source", "this key is required"),
        (
            within(source="a manual"),
            "reliability.client.within_client",
            "state either mean (with or without sd) or interval",
        ),
        (
            within(mean=0.8, interval=[0.7, 0.9], source="a manual"),
            "reliability.client.within_client",
            "state either mean (with or without sd) or interval",
        ),
        (
            within(interval=[0.7, 0.9], sd=0.1, source="a manual"),
            "reliability.client.within_client",
            "an interval already says how uncertain the reliability is; remove sd",
        ),
        (
            within(interval=[0.9, 0.7], source="a manual"),
            "reliability.client.within_client",
            "the lower end of interval must be below the upper one",
        ),
        (
            within(mean=0.9, sd=0.3, source="a manual"),
            "reliability.client.within_client",
            "no distribution between 0 and 1 has this mean and sd; make sd smaller",
        ),
        (
            within(mean=1, sd=0.1, source="a manual"),
            "reliability.client.within_client",
            "no distribution between 0 and 1 has this mean and sd; make sd smaller",
        ),
        (
            lambda study: study.update(
                reliability={"observer": {"within_client": {"mean": 0.8, "source": "a manual"}}}
            ),
            None,
            "reliability.observer: no alliance measure has this rater",
        ),
        (
            lambda study: study.update(
                reliability={"client": {"between_therapist": {"mean": 0.8, "source": "a manual"}}}
            ),
            None,
            "reliability.client.between_therapist: no file has a column of therapists",
        ),
    ],
)
def test_a_reliability_that_cannot_be_is_explained(edit: Edit, column: str | None, problem: str):
    fault = only_fault_after(edit)
    assert (fault.column, fault.problem) == (column, problem)


def test_all_faults_of_reliabilities_are_told_at_once():
    stated = {
        "within_client": {"mean": 1.2, "source": "a manual"},
        "between_client": {"mean": 0.9, "source": ""},
        "within_clients": {"mean": 0.9, "source": "a manual"},
    }
    columns = {
        fault.column for fault in faults_after(lambda study: study.update(reliability={"client": stated}))
    }
    assert columns == {
        "reliability.client.within_client.mean",
        "reliability.client.between_client.source",
        "reliability.client.within_clients.[key]",
    }


@pytest.mark.parametrize("stated", [{"mean": 1}, {"mean": 0.8, "sd": 0.05}, {"interval": [0.7, 0.9]}])
def test_a_reliability_is_a_number_or_a_distribution(stated: dict[str, Any]):
    content = copy.deepcopy(MINIMAL)
    within(**stated, source="a manual")(content)
    found = settings.validate_study(content).reliability["client"]["within_client"]
    assert found.model_dump(exclude_none=True) == {
        key: tuple(value) if isinstance(value, list) else value for key, value in stated.items()
    } | {"source": "a manual"}


def test_a_score_beside_items_is_allowed():
    content = copy.deepcopy(MINIMAL)
    content["measures"]["alliance"]["score"] = "wai_total"
    assert settings.validate_study(content).measures["alliance"].score == "wai_total"


def test_names_that_become_columns_are_plain():
    content = copy.deepcopy(MINIMAL)
    content["measures"]["Alliance (client)"] = content["measures"].pop("alliance")
    with pytest.raises(StudyError, match=r"measures\.Alliance \(client\)"):
        settings.validate_study(content)


def test_every_key_of_a_study_file_belongs_to_exactly_one_section():
    sections = [
        settings.IngestSettings,
        settings.DesignSettings,
        settings.BayesianSettings,
        settings.MeasurementErrorSettings,
        settings.DecisionSettings,
        settings.ReportSettings,
    ]
    keys = [key for section in sections for key in section.model_fields]
    assert sorted([*keys, "simulation"]) == sorted(settings.StudySettings.model_fields)


def test_a_section_takes_its_own_keys_only():
    assert settings.section_values(MINIMAL, settings.DesignSettings) == {"lag_unit": "attended"}
    assert settings.section_values(MINIMAL, settings.ReportSettings) == {"title": "A study"}
    assert settings.section_values({}, settings.IngestSettings) == {}


def test_a_section_is_the_same_from_the_study_file_and_from_its_values():
    whole = settings.section(MINIMAL, settings.IngestSettings)
    part = settings.section(
        settings.section_values(MINIMAL, settings.IngestSettings), settings.IngestSettings
    )
    assert whole == part
    assert whole.measures["alliance"].values == "raw"


def test_section_values_are_plain_types():
    values = settings.section_values(MINIMAL, settings.IngestSettings)
    assert json.loads(json.dumps(values)) == values


@pytest.mark.parametrize(
    ("studies", "names"),
    [
        ("mine", ["mine"]),
        ("mine,yours", ["mine", "yours"]),
        (" mine , yours,", ["mine", "yours"]),
        (["mine", "yours"], ["mine", "yours"]),
        (["mine", "yours", "mine"], ["mine", "yours"]),
        ("", []),
    ],
)
def test_study_names_in_all_forms(studies: str | list[str], names: list[str]):
    assert settings.study_names(studies) == names


def fault_of_run(studies: str | list[str]) -> Fault:
    with pytest.raises(StudyError) as caught:
        settings.validate_run({"studies": studies})
    [fault] = caught.value.faults
    return fault


@pytest.mark.parametrize("name", settings.RESERVED_STUDY_NAMES)
@pytest.mark.parametrize("written", ["{}", "mine, {}", ["mine", "{}"]])
def test_no_study_has_the_name_of_a_folder_of_the_whole_run(name: str, written: str | list[str]):
    studies = written.format(name) if isinstance(written, str) else [text.format(name) for text in written]
    fault = fault_of_run(studies)
    assert (fault.file, fault.column) == ("config.yaml", "studies")
    assert fault.problem.startswith(f"no study may be called {name}, because")
    assert fault.remedy == "rename the study's file in config/studies/ and state its new name here"
    assert settings.validate_run({"studies": f"{name}-2"}).studies == f"{name}-2"


def test_every_folder_that_rules_of_the_whole_run_write_to_is_reserved():
    rules = "".join(path.read_text(encoding="utf-8") for path in REPOSITORY.glob("workflow/rules/*.smk"))
    folders = set(re.findall(r"\bresults/(\w+)/", rules))
    assert {"benchmark", "coverage", "logs", "notebooks"} <= folders
    assert folders <= set(settings.RESERVED_STUDY_NAMES)


def test_the_page_on_settings_lists_the_reserved_study_names():
    page = " ".join((REPOSITORY / "config/README.md").read_text(encoding="utf-8").split())
    [sentence] = re.findall(r"No study may be called ([^:]+):", page)
    assert re.findall(r"`(\w+)`", sentence) == list(settings.RESERVED_STUDY_NAMES)


@pytest.mark.parametrize("name", ["Coverage", "my study", "../mine", "mine|coverage", "2mine"])
def test_study_names_that_cannot_be_folders_are_refused_without_quoting_them(name: str):
    fault = fault_of_run([name])
    assert "begins with a letter" in fault.problem
    assert name not in str(fault)


def test_measures_are_named_by_construct_rater_and_instrument():
    measures = settings.validate_study(MINIMAL).measures
    columns = [settings.measure_column(measure) for measure in measures.values()]
    assert columns == ["severity_phq_9_client", "alliance_client"]


@pytest.mark.parametrize(
    ("text", "rows", "problem"),
    [
        ("title: [unfinished\n", (2,), "the file is not valid UTF-8 YAML"),
        ("- a list\n", (), "the file holds no keys"),
        ("", (), "the file holds no keys"),
    ],
)
def test_files_that_are_no_yaml_mapping(tmp_path: Path, text: str, rows: tuple[int, ...], problem: str):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        settings.read_yaml(path, "study file")
    [fault] = caught.value.faults
    assert (fault.rows, fault.problem) == (rows, problem)
    assert caught.value.__cause__ is None


def test_a_file_in_another_encoding_is_a_fault(tmp_path: Path):
    path = tmp_path / "study.yaml"
    path.write_bytes("title: Zürich".encode("latin-1"))
    with pytest.raises(StudyError, match="not valid UTF-8 YAML"):
        settings.read_yaml(path, "study file")


def test_a_missing_study_file_is_a_fault(tmp_path: Path):
    with pytest.raises(StudyError, match=r"create mine\.yaml"):
        settings.read_yaml(tmp_path / "mine.yaml", "study file")


@pytest.mark.parametrize("name", sorted(settings.json_schemas()))
def test_written_schemas_are_in_step(name: str):
    written = (REPOSITORY / "workflow/schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    expected = json.dumps(settings.json_schemas()[name], indent=2, ensure_ascii=False) + "\n"
    assert written == expected, "write the schemas again: see CONTRIBUTING.md"


def test_no_schema_is_left_over():
    written = {path.name for path in (REPOSITORY / "workflow/schemas").iterdir()}
    assert written == {f"{name}.schema.json" for name in settings.json_schemas()}


def test_schemas_accept_what_the_pipeline_accepts():
    schemas = settings.json_schemas()
    example = yaml.safe_load((REPOSITORY / "config/studies/example.yaml").read_text(encoding="utf-8"))
    run = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(example, schemas["study"])
    jsonschema.validate(MINIMAL, schemas["study"])
    jsonschema.validate(run, schemas["config"])
    with pytest.raises(jsonschema.ValidationError, match="timming"):
        jsonschema.validate({**MINIMAL, "timming": "after"}, schemas["study"])


@pytest.mark.parametrize("name", sorted(settings.json_schemas()))
def test_every_key_is_described_and_no_other_key_is_taken(name: str):
    schema = settings.json_schemas()[name]
    sections = schema.get("$defs", {})
    for title, part in [(schema["title"], schema), *sections.items()]:
        assert part["additionalProperties"] is False, title
        for key, value in part["properties"].items():
            # A key may borrow the description of the section that it refers to.
            referred = sections.get(value.get("$ref", "").removeprefix("#/$defs/"), {})
            assert value.get("description") or referred.get("description"), f"{title}.{key}"
