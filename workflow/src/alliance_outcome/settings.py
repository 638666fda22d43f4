"""Typed settings: the study file and the configuration of a run.

A study file is flat for its author and sectioned for the pipeline: each section below is what one stage needs, so that
a changed key re-runs that stage and what follows it, nothing else. Unknown keys are errors that name the key. The
schemas under ``workflow/schemas`` are generated from these models (``json_schemas``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from alliance_outcome.errors import Fault, StudyError
from alliance_outcome.simulation_settings import SimulationSettings

#: What a study, file, measure, rater or covariate may be called: these names become columns, terms and file names.
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
#: Study names are also folders and wildcards.
STUDY_NAME_PATTERN = r"[a-z][a-z0-9_-]*"
#: Folders of ``results/`` that targets of the whole run write to: a study of that name would share one with them.
RESERVED_STUDY_NAMES = ("benchmark", "calibration", "coverage", "logs", "notebooks", "panel_coverage")

OccasionKind = Literal["intake", "session", "between", "end", "follow_up"]
AttendanceValue = Literal["attended", "cancelled", "no_show"]
MissingCode = int | float | str
Share = Annotated[float, Field(gt=0, lt=1)]
ReliabilityLevel = Literal["within_client", "between_client", "between_therapist"]
HeadlineModel = Literal[
    "cross_lagged_trends",
    "cross_lagged",
    "dynamic_panel",
    "hybrid_three_level",
    "hybrid_two_level",
    "hybrid_lag_three_level",
    "hybrid_lag_two_level",
]


class StrictModel(BaseModel):
    """A settings model in which a typo is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnSettings(StrictModel):
    """Which column of a file holds which part of the design.

    In a wide file every entry but ``client`` may contain ``{occasion}``.
    """

    client: str = Field(description="Column with the client's identifier.")
    therapist: str | None = Field(None, description="Column with the therapist's identifier.")
    occasion_kind: str | None = Field(
        None, description="Column that says intake, session, between, end or follow_up."
    )
    session: str | None = Field(
        None, description="Column with the session number as the clinic counts (gaps are kept)."
    )
    week: str | None = Field(None, description="Column with decimal weeks since the first session.")
    date: str | None = Field(
        None, description="Column with the calendar date; it becomes weeks since the first session."
    )
    attendance: str | None = Field(None, description="Column that says attended, cancelled or no_show.")
    episode: str | None = Field(None, description="Column with the number of the treatment episode.")
    site: str | None = Field(None, description="Column with the site.")
    arm: str | None = Field(None, description="Column with the treatment arm.")


class OccasionSettings(StrictModel):
    """One occasion of a wide file."""

    kind: OccasionKind = Field(description="What kind of occasion it is.")
    session: int | None = Field(
        None, ge=0, description="Session number; required for a session, absent otherwise."
    )
    week: float | None = Field(None, description="Decimal weeks since the first session.")

    @model_validator(mode="after")
    def _session_number_goes_with_sessions(self) -> OccasionSettings:
        if (self.kind == "session") != (self.session is not None):
            raise ValueError("give a session number for kind: session, and only there")
        return self


class FileSettings(StrictModel):
    """One file of raw data."""

    path: str = Field(description="Path, relative to the repository or absolute.")
    format: Literal["csv", "tsv", "excel", "parquet", "spss", "stata"] | None = Field(
        None, description="File format; by default told from the file's ending."
    )
    sheet: str | int = Field(0, description="Sheet of an Excel file, by name or position from 0.")
    encoding: str = Field("utf-8", description="Character encoding of a text file.")
    delimiter: str | None = Field(
        None, description="Delimiter of a CSV file; a comma by default, a tab for TSV."
    )
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of a text file.")
    layout: Literal["long", "wide", "clients", "therapists"] = Field(
        "long",
        description="long: a row per client and occasion; wide: a row per client; "
        "clients, therapists: covariates, a row per client or therapist.",
    )
    columns: ColumnSettings | None = Field(
        None, description="Design columns; required but for layout therapists, which needs therapist only."
    )
    therapist_column: str | None = Field(
        None, description="Layout therapists: the column with the identifier."
    )
    constants: dict[Literal["occasion_kind", "attendance", "episode"], str] = Field(
        default_factory=dict, description="Values that hold for every row, e.g. occasion_kind: intake."
    )
    occasions: dict[str, OccasionSettings] = Field(
        default_factory=dict, description="Wide layout: what each {occasion} stands for."
    )
    recode: dict[Literal["occasion_kind", "attendance"], dict[str, list[str | int | float]]] = Field(
        default_factory=dict,
        description="The file's own codes, e.g. attendance: {attended: [A], cancelled: [C]}.",
    )
    missing_codes: list[MissingCode] = Field(
        default_factory=list, description="Values that stand for 'missing' in every item and score column."
    )
    not_identifying: list[str] = Field(
        default_factory=list,
        description="Columns that were refused as identifying, were looked at, and identify nobody.",
    )

    @model_validator(mode="after")
    def _layout_is_complete(self) -> FileSettings:
        if self.layout == "therapists":
            if self.therapist_column is None or self.columns is not None:
                raise ValueError("layout therapists needs therapist_column, and no columns")
        elif self.columns is None or self.therapist_column is not None:
            raise ValueError(
                "columns with at least client is required; therapist_column is for layout therapists"
            )
        if (self.layout == "wide") != bool(self.occasions):
            raise ValueError("layout wide needs occasions, and only that layout has them")
        if self.columns and self.columns.week and self.columns.date:
            raise ValueError("give week or date, not both")
        return self


with warnings.catch_warnings():
    # pydantic still has a long deprecated BaseModel.construct; ours is the field's word for what is measured.
    warnings.filterwarnings("ignore", 'Field name "construct"', UserWarning)

    class MeasureSettings(StrictModel):
        """One measure by one rater: items of a form, or a ready-made score with a stated range."""

        construct: Literal["alliance", "severity"] = Field(description="What is measured.")
        rater: Name = Field(description="Who rated: client, therapist, observer, …")
        file: Name = Field(description="Which of the study's files holds it.")
        instrument: str = Field(
            description="Scoring key (shipped, or config/instruments/<form>.yaml), or the form's name."
        )
        timing: Literal["before", "after"] = Field(
            description="Taken before or after the session; never defaulted."
        )
        items: str | list[str] | None = Field(
            None,
            description="Item columns in the key's order: a pattern with {item}, e.g. wai_{item:02d}, or a list.",
        )
        values: Literal["raw", "keyed"] | None = Field(
            None,
            description="raw: as ticked; keyed: reversed items are already reversed. Required with items.",
        )
        score: str | None = Field(None, description="Column of a ready-made total score.")
        subscales: dict[Name, str] = Field(
            default_factory=dict, description="Columns of ready-made subscale scores."
        )
        range: tuple[float, float] | None = Field(
            None, description="Lowest and highest possible ready-made score."
        )
        direction: Literal["higher_is_better", "higher_is_worse"] | None = Field(
            None, description="Direction of a ready-made score. Required with score or subscales."
        )
        form: str | None = Field(
            None,
            description="Names form, range and scoring of a ready-made score; raters with the same are commensurate.",
        )
        recall_days: int | None = Field(
            None, ge=0, description="How many days back the form asks; overrides the key's."
        )
        max_missing_share: float | None = Field(
            None,
            ge=0,
            lt=1,
            description="Share of a scale's items that may be missing; overrides the key's rule.",
        )

        @model_validator(mode="after")
        def _items_or_scores(self) -> MeasureSettings:
            ready_made = self.score is not None or bool(self.subscales)
            if (self.items is not None) == ready_made and not (
                self.items is not None and self.score is not None
            ):
                raise ValueError(
                    "give items, or score and/or subscales (score beside items is recomputed and compared)"
                )
            if self.items is not None and self.values is None:
                raise ValueError("items need values: raw or keyed")
            if self.items is None and (self.range is None or self.direction is None):
                raise ValueError("a ready-made score needs range and direction")
            if isinstance(self.items, str) and "{item" not in self.items:
                raise ValueError("items must contain {item}, or be a list of columns")
            return self


class CovariateSettings(StrictModel):
    """Covariates that enter the models, by level."""

    client: list[Name] = Field(default_factory=list, description="Names among client_columns.")
    therapist: list[Name] = Field(default_factory=list, description="Names among therapist_columns.")


class IngestSettings(StrictModel):
    """What turns raw files into the session table."""

    files: dict[Name, FileSettings] = Field(min_length=1, description="The raw files, by role.")
    measures: dict[Name, MeasureSettings] = Field(min_length=1, description="The measures, by name.")
    client_columns: dict[Name, str] = Field(
        default_factory=dict,
        description="Client-level covariates: name and column (in the file with layout clients).",
    )
    therapist_columns: dict[Name, str] = Field(
        default_factory=dict, description="Therapist-level covariates: name and column (layout therapists)."
    )
    primary_outcome: Name = Field(description="Name of the severity measure that is the primary outcome.")
    therapist_change: Literal["exclude", "first", "split"] = Field(
        description="Clients who change therapist: exclude them, keep the sessions with the first, or split them."
    )
    episodes: Literal["first", "separate"] = Field(
        description="Clients with several episodes: keep the first, or treat episodes as separate clients."
    )
    accept_unverified_key: bool = Field(
        False, description="Accept scoring keys whose facts could not be verified in a source."
    )


class EarlySettings(StrictModel):
    """The early-alliance analysis, one row per client."""

    sessions: list[int] = Field(
        [3, 4, 5], min_length=1, description="Sessions whose alliance ratings are averaged."
    )
    min_rated: int = Field(2, ge=1, description="How many of them must be rated by each rater.")
    outcome: Literal["end", "follow_up", "fixed_session"] = Field(
        "end",
        description="Scheduled end or follow-up assessment, or the model-implied severity at a fixed session.",
    )
    fixed_session: int | None = Field(None, ge=2, description="The session for outcome: fixed_session.")

    @model_validator(mode="after")
    def _fixed_session_is_stated(self) -> EarlySettings:
        if (self.outcome == "fixed_session") != (self.fixed_session is not None):
            raise ValueError("fixed_session goes with outcome: fixed_session, and only with it")
        return self


class DesignSettings(StrictModel):
    """What turns the session table into model rows."""

    lag_unit: Literal["attended", "scheduled", "week"] = Field(
        description="What a lag of one means: the next held session, the next scheduled one, or the next week."
    )
    max_gap_weeks: float | None = Field(
        None, gt=0, description="Pairs further apart are dropped and counted."
    )
    time_trend: Literal["log", "linear", "spline"] = Field(
        "log", description="f(t), the trend over sessions."
    )
    early: EarlySettings = Field(default_factory=EarlySettings, description="The early-alliance analysis.")
    covariates: CovariateSettings = Field(
        default_factory=CovariateSettings, description="Covariates per level."
    )


#: Default priors as fractions of the range of possible scores.
PRIOR_FRACTIONS = {
    "intercept_sd": 8.0,
    "effect_sd": 16.0,
    "group_sd": 10.0,
    "slope_sd": 40.0,
    "residual_sd": 10.0,
}


class PriorSettings(StrictModel):
    """Weakly informative priors in units of the primary outcome, or the range of its scores that they follow from."""

    range: tuple[float, float] | None = Field(
        None,
        description="Lowest and highest possible score of the primary outcome; unstated priors follow from it.",
    )
    published: bool = Field(
        False,
        description="Whether effects with the same estimand as a published one have that as their prior, widened.",
    )
    intercept_mean: float = Field(
        description="Mean of the normal prior of expected severity at average predictors."
    )
    intercept_sd: float = Field(gt=0, description="Standard deviation of that prior.")
    effect_sd: float = Field(
        gt=0, description="SD of the normal(0, ·) prior of the effect of one SD of a predictor."
    )
    group_sd: float = Field(
        gt=0, description="Scale of the half-normal priors of client and therapist intercept SDs."
    )
    slope_sd: float = Field(
        gt=0,
        description="Scale of the half-normal prior of the SD over clients of the effect of one within-client SD.",
    )
    residual_sd: float = Field(gt=0, description="Scale of the half-normal prior of the residual SD.")
    lkj_eta: float = Field(2.0, gt=0, description="Shape of the LKJ prior of the client-level correlations.")

    @model_validator(mode="before")
    @classmethod
    def _follow_from_range(cls, stated: Any) -> Any:
        """Fill in what is not stated: fractions of the range that do for 0 to 40 what experts state for it."""
        if not isinstance(stated, dict) or not stated.get("range"):
            return stated
        try:
            lowest, highest = (float(end) for end in stated["range"])
        except (TypeError, ValueError):
            return stated
        if not highest > lowest:
            raise ValueError("range must be the lowest and the highest score, in this order")
        width = highest - lowest
        return (
            {"intercept_mean": (lowest + highest) / 2.0}
            | {name: width / fraction for name, fraction in PRIOR_FRACTIONS.items()}
            | stated
        )


class ReliabilitySettings(StrictModel):
    """What is known of the reliability of one rater's alliance at one level."""

    mean: float | None = Field(
        None, gt=0, le=1, description="The reliability, or the mean of what is known of it."
    )
    sd: float | None = Field(
        None,
        gt=0,
        description="With mean: standard deviation of what is known of it; without one it is taken as exact.",
    )
    interval: tuple[Share, Share] | None = Field(
        None, description="Instead of mean and sd: its 95 % interval, for example of a published estimate."
    )
    source: str = Field(min_length=1, description="Where the numbers come from; the report says it.")

    @model_validator(mode="after")
    def _one_distribution(self) -> ReliabilitySettings:
        if (self.mean is None) == (self.interval is None):
            raise ValueError("state either mean (with or without sd) or interval")
        if self.interval is not None and self.sd is not None:
            raise ValueError("an interval already says how uncertain the reliability is; remove sd")
        if self.interval is not None and self.interval[0] >= self.interval[1]:
            raise ValueError("the lower end of interval must be below the upper one")
        if self.mean is not None and self.sd is not None and self.sd**2 >= self.mean * (1.0 - self.mean):
            raise ValueError("no distribution between 0 and 1 has this mean and sd; make sd smaller")
        return self


class BayesianSettings(StrictModel):
    """What the Bayesian models need of a study."""

    priors: PriorSettings = Field(description="Priors, in outcome units.")


class MeasurementErrorSettings(StrictModel):
    """What is known of the measurement of alliance."""

    reliability: dict[Name, dict[ReliabilityLevel, ReliabilitySettings]] = Field(
        default_factory=dict,
        description="Reliability of alliance by rater and level, for contrasts that are corrected for it.",
    )

    def shares(self, level: ReliabilityLevel) -> dict[str, float]:
        """Return the reliability at a level by rater; an interval stands for its middle."""
        stated = {rater: levels[level] for rater, levels in self.reliability.items() if level in levels}
        return {
            rater: each.mean if each.interval is None else sum(each.interval) / 2.0
            for rater, each in stated.items()
        }


class DecisionSettings(StrictModel):
    """What turns estimates into an answer."""

    rope: float | None = Field(
        None, gt=0, description="Half-width of the region of practical equivalence of D, in outcome units."
    )
    min_therapists_for_claim: int = Field(
        10, ge=2, description="Fewer therapists: no between-therapist claim."
    )
    primary: HeadlineModel | None = Field(
        None, description="Override of the model behind the headline; it is printed in the report."
    )


class ReportSettings(StrictModel):
    """What the report says about the study."""

    title: str = Field(description="Title of the study.")
    description: str = Field("", description="A sentence or two about the study.")
    language: Literal["en"] = Field("en", description="Language of the report.")
    preregistration: str | None = Field(None, description="DOI of the preregistration.")
    outcome_name: str = Field("severity", description="What the primary outcome is called in the report.")
    outcome_unit: str = Field("points", description="Unit of the primary outcome, e.g. CORE-10 points.")


class StudySettings(
    IngestSettings,
    DesignSettings,
    BayesianSettings,
    MeasurementErrorSettings,
    DecisionSettings,
    ReportSettings,
    StrictModel,
):
    """A whole study file."""

    simulation: SimulationSettings | None = Field(
        None, description="Only in simulated studies: parameters of the generator that writes the raw files."
    )

    @model_validator(mode="after")
    def _references_exist(self) -> StudySettings:
        problems = [*_measure_problems(self), *_covariate_problems(self), *_reliability_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class SamplerSettings(StrictModel):
    """How posteriors are sampled."""

    engine: Literal["nutpie", "pymc", "collapsed"] = Field(
        "nutpie",
        description="NUTS implementation, or the collapsed sampler; another one checks it on every run.",
    )
    chains: int = Field(4, ge=2, description="Number of chains.")
    draws: int = Field(2000, ge=1, description="Draws kept per chain.")
    tune: int = Field(1000, ge=1, description="Warm-up draws per chain.")


class BootstrapSettings(StrictModel):
    """How models are refitted to resampled therapists or clients."""

    replicates: int = Field(
        1000, ge=20, description="Number of samples; ends of 95 % intervals are steady from about 1,000."
    )


class BiasSettings(StrictModel):
    """How studies like the user's own are simulated, to say what each estimator would find in them."""

    replicates: int = Field(
        200, ge=2, description="Simulated studies of each process and planted effect; at least 200 for use."
    )


class RunSettings(StrictModel):
    """config/config.yaml: settings of the whole run."""

    studies: str | list[str] = Field(
        "example", description="Study names: a name, a comma list or a YAML list."
    )
    seed: int = Field(
        20261120, ge=0, description="The one seed; every random step derives its own from it by name."
    )
    sampler: SamplerSettings = Field(
        default_factory=SamplerSettings, description="How posteriors are sampled."
    )
    bootstrap: BootstrapSettings = Field(
        default_factory=BootstrapSettings,
        description="How the bootstrap behind contrasts of two models and explained variance is run.",
    )
    bias: BiasSettings = Field(
        default_factory=BiasSettings,
        description="How the target `bias` simulates studies like the user's own.",
    )

    @field_validator("studies")
    @classmethod
    def _studies_have_folders_of_their_own(cls, studies: str | list[str]) -> str | list[str]:
        problems = _study_name_problems(study_names(studies))
        if problems:
            raise PydanticCustomError("study_name", "; ".join(problems))
        return studies


def _study_name_problems(names: list[str]) -> list[str]:
    """Say which names cannot be those of folders in ``results/``; only reserved ones are quoted."""
    problems = []
    if not all(re.fullmatch(STUDY_NAME_PATTERN, name) for name in names):
        problems.append(
            "a study's name has small letters, digits, underscores and hyphens only, and begins with a letter"
        )
    reserved = [name for name in names if name in RESERVED_STUDY_NAMES]
    if reserved:
        problems.append(
            f"no study may be called {' or '.join(reserved)}, because a target of the whole run writes to the folder "
            "of that name in results/"
        )
    return problems


def _measure_problems(study: StudySettings) -> list[str]:
    """Say which references among files, measures and raters lead nowhere."""
    problems = [
        f"measures.{name}.file: no file is called {measure.file}"
        for name, measure in study.measures.items()
        if measure.file not in study.files
    ]
    primary = study.measures.get(study.primary_outcome)
    if primary is None or primary.construct != "severity":
        problems.append("primary_outcome must name a measure whose construct is severity")
    seen: dict[tuple[str, str], str] = {}
    for name, measure in study.measures.items():
        key = (
            measure.construct,
            measure.rater if measure.construct == "alliance" else measure_column(measure),
        )
        if key in seen:
            problems.append(
                f"measures.{name} and measures.{seen[key]} give the same column {measure_column(measure)}"
            )
        seen[key] = name
    if not any(measure.construct == "alliance" for measure in study.measures.values()):
        problems.append("measures: at least one alliance measure is needed")
    return problems


def _covariate_problems(study: StudySettings) -> list[str]:
    """Say which covariates have no column, and which tables are missing."""
    layouts = {file.layout for file in study.files.values()}
    problems = []
    for level, columns in (("client", study.client_columns), ("therapist", study.therapist_columns)):
        wanted = getattr(study.covariates, level)
        problems += [
            f"covariates.{level}: {name} is not among {level}_columns"
            for name in wanted
            if name not in columns
        ]
        if columns and f"{level}s" not in layouts:
            problems.append(f"{level}_columns: no file has layout {level}s")
    return problems


def _reliability_problems(study: StudySettings) -> list[str]:
    """Say which reliabilities are of nobody's alliance, or of a level that the study does not have."""
    raters = {measure.rater for measure in study.measures.values() if measure.construct == "alliance"}
    problems = [
        f"reliability.{rater}: no alliance measure has this rater"
        for rater in study.reliability
        if rater not in raters
    ]
    if not any(file.columns and file.columns.therapist for file in study.files.values()):
        problems += [
            f"reliability.{rater}.between_therapist: no file has a column of therapists"
            for rater, levels in study.reliability.items()
            if "between_therapist" in levels
        ]
    return problems


def measure_column(measure: MeasureSettings) -> str:
    """Name the session-table column of a measure.

    Parameters
    ----------
    measure : MeasureSettings
        A measure of the study file.

    Returns
    -------
    str
        ``alliance_<rater>`` or ``severity_<instrument>_<rater>``.
    """
    if measure.construct == "alliance":
        return f"alliance_{measure.rater}"
    instrument = "".join(
        character if character.isalnum() else "_" for character in measure.instrument.lower()
    )
    return f"severity_{instrument}_{measure.rater}"


Section = TypeVar("Section", bound=BaseModel)


def section[Section: BaseModel](study: Mapping[str, Any], model: type[Section]) -> Section:
    """Validate one section of a study file.

    Parameters
    ----------
    study : mapping
        The study file as plain types, or already no more than this section.
    model : type
        One of the section models of this module.

    Returns
    -------
    Section
        The typed section.
    """
    return model.model_validate(section_values(study, model))


def section_values(study: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Pick the keys of one section, as plain types fit for a rule's params."""
    return {key: study[key] for key in model.model_fields if key in study}


def read_yaml(path: Path, role: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Parameters
    ----------
    path : Path
        The file.
    role : str
        What messages call it.

    Returns
    -------
    dict
        Plain types.

    Raises
    ------
    StudyError
        If the file is missing, is not YAML or does not hold a mapping.
    """
    if not path.is_file():
        raise StudyError(
            [Fault(role, None, (), "the file does not exist", f"create {path.name}, see config/README.md")]
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        rows = (mark.line + 1,) if mark else ()
        raise StudyError(
            [
                Fault(
                    role,
                    None,
                    rows,
                    "the file is not valid UTF-8 YAML",
                    "mend the indentation, quotes or colons there",
                )
            ]
        ) from None
    if not isinstance(content, dict):
        raise StudyError(
            [Fault(role, None, (), "the file holds no keys", "see config/README.md for the keys")]
        )
    return content


def validate_study(content: Mapping[str, Any]) -> StudySettings:
    """Turn a study file into typed settings.

    Parameters
    ----------
    content : mapping
        The study file as plain types.

    Returns
    -------
    StudySettings
        Typed, complete settings.

    Raises
    ------
    StudyError
        With one fault for each key that is unknown, missing or wrong.
    """
    try:
        return StudySettings.model_validate(content)
    except ValidationError as error:
        raise StudyError(_validation_faults(error, "study file")) from None


def study_faults(content: Mapping[str, Any]) -> tuple[Fault, ...]:
    """List the faults that :func:`validate_study` would raise; empty for a valid study file."""
    try:
        validate_study(content)
    except StudyError as error:
        return error.faults
    return ()


def validate_run(content: Mapping[str, Any]) -> RunSettings:
    """Turn the configuration of a run into typed settings; raises like :func:`validate_study`."""
    try:
        return RunSettings.model_validate(content)
    except ValidationError as error:
        raise StudyError(_validation_faults(error, "config.yaml")) from None


def _validation_faults(error: ValidationError, role: str) -> list[Fault]:
    """Translate pydantic's errors; the offending input is never quoted."""
    remedies = {
        "extra_forbidden": "remove it or correct its spelling; config/README.md lists the keys",
        "missing": "add it; config/README.md says what it means",
        "study_name": "rename the study's file in config/studies/ and state its new name here",
    }
    faults = []
    for detail in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in detail["loc"]) or None
        problem = {"extra_forbidden": "this key is not known", "missing": "this key is required"}.get(
            detail["type"], detail["msg"].removeprefix("Value error, ")
        )
        faults.append(
            Fault(role, key, (), problem, remedies.get(detail["type"], "correct it; see config/README.md"))
        )
    return faults


def study_names(studies: str | list[str]) -> list[str]:
    """Read the ``studies`` setting.

    Parameters
    ----------
    studies : str or list of str
        A name, a comma-separated list or a list.

    Returns
    -------
    list of str
        Names in order, without repeats.
    """
    names = studies.split(",") if isinstance(studies, str) else studies
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of the study file and the run configuration, by file stem."""
    return {
        "study": StudySettings.model_json_schema(),
        "config": RunSettings.model_json_schema(),
    }
