"""Names, settings and paths that the rules share; parsing reads study names and the files a study lists, no more."""

import json
from pathlib import Path

from alliance_outcome import settings
from alliance_outcome.errors import FAILURE_MARK, StudyError
from alliance_outcome.provenance import code_digest, derive_seed, file_digest

RUN = settings.validate_run(config)
STUDIES = settings.study_names(RUN.studies)

#: Every contracted file of a study, below results/<study>/; deleting one rebuilds it and what is downstream.
DATA_FILES = ["sessions", "items", "clients", "therapists", "hybrid_rows", "joint_rows", "early_rows"]
ESTIMATE_FILES = [
    *("multilevel", "early", "bayesian", "measurement_error", "dynamics", "reliability"),
    *("contrast", "agreement", "explained", "alliance_parts", "corrected_contrast", "response_surface"),
    *("factor_structure", "one_with_many", "truth_and_bias"),
]
DESCRIPTION_TABLES = ["sample", "participants", "description", "missingness", "trajectories", "withheld"]


def study_file(study):
    """Return the path of a study file."""
    return Path("config/studies") / f"{study}.yaml"


def study_content(study):
    """Return a study file as plain types; a file that cannot be read is reported by check_study, not here."""
    try:
        return settings.read_yaml(study_file(study), "study file")
    except StudyError:
        return {}


CONTENTS = {study: study_content(study) for study in STUDIES}


def is_simulated(study):
    """Say whether the study's raw files are simulated."""
    return bool(CONTENTS[study].get("simulation"))


def raw_files(wildcards):
    """List the raw files of a study; a missing one is left to check_study, so that other studies go on."""
    files = CONTENTS[wildcards.study].get("files")
    entries = files.values() if isinstance(files, dict) else []
    paths = [
        entry["path"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("path"), str)
    ]
    return [path for path in paths if is_simulated(wildcards.study) or Path(path).is_file()]


def section(*models):
    """Return a params function that gives sections of the study file, together, as plain types."""
    return lambda wildcards: {
        key: value
        for model in models
        for key, value in settings.section_values(CONTENTS[wildcards.study], model).items()
    }


def whole_study(wildcards):
    """Return the whole study file as plain types."""
    return CONTENTS[wildcards.study]


def settings_faults(wildcards):
    """List what is wrong with the keys of a study file, so that check_study runs again when that changes."""
    return [str(fault) for fault in settings.study_faults(CONTENTS[wildcards.study])]


def seed_for(*names):
    """Return a params function that derives the seed of a random step."""
    return lambda wildcards: derive_seed(RUN.seed, wildcards.study, *names)


def min_therapists(wildcards):
    """Return the smallest number of therapists behind a between-therapist claim."""
    return CONTENTS[wildcards.study].get("min_therapists_for_claim", 10)


def pseudo_true_file(study):
    """Return where the pseudo-true values of a simulated study are stored."""
    return f"config/reference/{study}/pseudo_true.csv"


def bias_file(study):
    """Return where the bias table of a study is stored."""
    return f"config/reference/{study}/bias.csv"


def stored_digest(path):
    """Digest a stored file, so that new contents re-run what uses it."""
    return file_digest(Path(path)) if Path(path).is_file() else "none"


def instrument_digest(wildcards):
    """Digest the user's own scoring keys, so that an edited key re-runs what uses it."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(Path("config/instruments").glob("*.yaml"))
    }


def contracted_files(studies):
    """List every file that a finished run has."""
    found = []
    for study in studies:
        results = f"results/{study}"
        found += [f"{results}/data/{name}.parquet" for name in DATA_FILES]
        found += [f"{results}/data/posterior.nc", f"{results}/data/posterior_early.nc"]
        found += [f"{results}/estimates/{name}.csv" for name in ESTIMATE_FILES]
        found += [f"{results}/tables/{name}.csv" for name in DESCRIPTION_TABLES]
        found += [f"{results}/tables/diagnostics_multilevel.csv"]
        found += [
            f"{results}/tables/answer.json",
            f"{results}/tables/verification.csv",
            f"{results}/tables/release.csv",
            f"{results}/report/report.html",
        ]
        found += [f"{results}/truth.csv"] if is_simulated(study) else []
    return found


def print_answers(studies):
    """Say where each finished report is, and its answer."""
    for study in studies:
        answer = Path(f"results/{study}/tables/answer.json")
        page = Path(f"results/{study}/report/report.html")
        if answer.is_file() and page.is_file():
            sentence = json.loads(answer.read_text(encoding="utf-8"))["sentence"]
            print(f"\n{study}: {sentence}\n{study}: see {page}")


def print_failures(studies):
    """Print, last of all, what failed: study, rule, message and log path."""
    print("\nWhat failed:")
    for study in studies:
        for path in sorted(Path(f"results/{study}/logs").glob("*.log")):
            text = path.read_text(encoding="utf-8")
            start = f"\n{text}".find(f"\n{FAILURE_MARK} ")
            if start >= 0:
                print(f"{text[start:].rstrip()}\n  log: {path}")


#: Package code behind the generator, the multilevel and the Bayesian fits.
SIMULATION_PARTS = ["appointments", "effects", "export", "items", "process", "streams", "truth", "within"]
SIMULATION_CODE = [
    "simulation_settings.py",
    "data/simulate.py",
    *(f"data/simulate_{part}.py" for part in SIMULATION_PARTS),
]
MULTILEVEL_CODE = [
    *("design", "models"),
    *(
        f"analyses/{name}.py"
        for name in (
            *("coefficient_rows", "context", "early", "estimates", "hybrid", "inference", "model_checks"),
            *("model_rows", "multilevel", "multilevel_tables", "rater_contrast"),
        )
    ),
]
RESPONSE_SURFACE_CODE = [
    f"analyses/response_surface{part}.py"
    for part in ("", "_conditions", "_grid", "_model", "_names", "_shares")
]
CORRECTION_CODE = [
    f"analyses/{name}.py" for name in ("corrected_contrast", "score_errors", "description", "reliability")
]
BOOTSTRAP_CODE = [f"analyses/{name}.py" for name in ("bootstrap_contrasts", "explained", "resampling")]
DIAGNOSIS_CODE = [
    f"analyses/{name}.py" for name in ("description", "headline", "residual_diagnostics", "second_opinion")
]
BAYESIAN_CODE = [
    *("analyses/posteriors.py", "analyses/model_rows.py", "analyses/multilevel.py"),
    *("models", "design"),
]


#: Package modules behind the panel models.
PANEL_CODE = [
    *(f"analyses/panel_{part}.py" for part in ("constraints", "departure", "fits", "names", "plan", "rows")),
    *("analyses/dynamics.py", "analyses/estimates.py"),
    *(
        "analyses/inference.py",
        "analyses/model_checks.py",
        "analyses/context.py",
        "design/timing.py",
        "models",
    ),
]
#: Figures of every report, and the code behind them.
FIGURES = [
    *("contrast", "trajectories", "missingness", "agreement", "reliability", "perception", "timing"),
    *("coefficients", "explained", "residuals", "predictive", "measurement_error", "dynamics", "bias"),
    "response_surface",
]
REPORT_CODE = [
    "analyses/bias/designs.py",
    "report",
    "analyses/context.py",
    "analyses/estimates.py",
    "analyses/panel_names.py",
    "analyses/response_surface_names.py",
    "analyses/perception_names.py",
    "design/timing.py",
]
#: Sections of the study file that the report's words depend on.
REPORTED_SECTIONS = [
    settings.ReportSettings,
    settings.DesignSettings,
    settings.DecisionSettings,
    settings.BayesianSettings,
    settings.MeasurementErrorSettings,
]


def figure_files(wildcards):
    """List the figures of a study and the files of their captions; that of the truth only where it is known."""
    names = [f"{name}.svg" for name in FIGURES] + ["figures.json"]
    names += ["truth.svg", "truth.json"] if is_simulated(wildcards.study) else []
    return [f"results/{wildcards.study}/figures/{name}" for name in names]


def figure_tables(wildcards):
    """List the tables and estimates that figures and report read."""
    results = f"results/{wildcards.study}"
    tables = [
        *DESCRIPTION_TABLES,
        *("measures", "announcements", "data_flow_ingest", "data_flow_design", "collinearity", "predictive"),
        "disclosure_risk",
        *("prior_sensitivity", "reporting_checklist", "bayesian_comparison"),
        *(f"{kind}_{name}" for kind in ("checks", "scales") for name in ("multilevel", "early")),
        *(
            f"checks_{name}"
            for name in (
                "bayesian",
                "bootstrap",
                "data_quality",
                "dynamics",
                "measurement_error",
                "response_surface",
                "second_opinion",
            )
        ),
        *("diagnostics_multilevel", "fit_dynamics", "constraints_dynamics", "bias"),
        *("conditions_response_surface", "grid_response_surface"),
    ]
    found = [f"{results}/tables/{name}.csv" for name in tables]
    found += [f"{results}/tables/{name}.json" for name in ("design", "answer")]
    found += [f"{results}/estimates/{name}.csv" for name in ESTIMATE_FILES]
    return found + ([f"{results}/truth.csv"] if is_simulated(wildcards.study) else [])


def published_files(wildcards):
    """List what a study publishes beside its report: tables, estimates, figures and their captions."""
    return figure_tables(wildcards) + figure_files(wildcards)


def reference_files(wildcards):
    """List the stored reference estimates of a study; a study without any has nothing to verify yet."""
    return sorted(str(path) for path in Path(f"config/reference/{wildcards.study}").glob("estimates_*.csv"))


#: The notebooks stand beside the workflow, wherever the working directory is.
NOTEBOOK_DIRECTORY = Path(workflow.current_basedir).parents[1] / "notebooks"
