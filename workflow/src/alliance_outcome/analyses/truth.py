"""What a simulated study's numbers should be: generating values and manifest pseudo-true values.

A generating value is a parameter of the generator. A manifest estimator does not converge to it (ratings are
unreliable, means of few sessions stand in for latent means, the hybrid model leaves out the reverse path and individual
trends); what it does converge to, its pseudo-true value, is estimated once from a very large simulated study and
stored beside the reference estimates.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.bootstrap_contrasts import bootstrap_contrasts
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.dynamics import main_contrasts
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import estimates_frame, is_repetition
from alliance_outcome.analyses.headline import all_contrasts
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel_tables import tabulate
from alliance_outcome.analyses.preparation import prepare_study
from alliance_outcome.analyses.resampling import Resampling, resample_models
from alliance_outcome.data.ingest import ingest_study
from alliance_outcome.data.simulate import generating_values, simulate_study, write_raw_files
from alliance_outcome.settings import StudySettings
from alliance_outcome.simulation_settings import SimulationSettings

#: Size of the one run behind the pseudo-true values.
LARGE_STUDY = {"n_clients": 20_000, "n_therapists": 1_000}
#: Samples of clusters behind the standard errors of contrasts between two models: known to 10 %.
REPLICATES = 50
KEYS = ["level", "rater", "rater_b", "term"]
PSEUDO_TRUE_COLUMNS = [
    "row_id",
    "model",
    "estimand",
    *KEYS,
    "unit",
    "pseudo_true_value",
    "pseudo_true_se",
    "parameters",
]
TRUTH_COLUMNS = [*PSEUDO_TRUE_COLUMNS[:-1], "generating_value", "note"]

#: How the generator names the quantities of the contrast table.
_TERMS = {
    "standardised": "coefficient_standardised",
    "difference": "difference",
    "absolute_difference": "absolute_difference",
}
_NO_VALUE = "no single parameter of the generator is the true value of this quantity"


def parameters_digest(settings: SimulationSettings) -> str:
    """Digest the parameters of a generator but for its size, so that stored values are used for these alone."""
    content = settings.model_dump(mode="json", exclude=set(LARGE_STUDY))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def pseudo_true_values(
    study: StudySettings, seed: int, say: Callable[[str], None], threads: int = 1
) -> pd.DataFrame:
    """Run the estimators on one very large study.

    Parameters
    ----------
    study : StudySettings
        A simulated study.
    seed : int
        Seed of the large study.
    say : callable
        Receives progress.
    threads : int
        Processors to use.

    Returns
    -------
    DataFrame
        :data:`PSEUDO_TRUE_COLUMNS`, one row per contrast row; the Bayesian models estimate the same quantities as the
        joint multilevel ones.
    """
    large = study.simulation.model_copy(update=LARGE_STUDY)
    with tempfile.TemporaryDirectory() as directory:
        write_raw_files(simulate_study(large, seed), Path(directory))
        files = {
            role: file.model_copy(update={"path": str(Path(directory) / Path(file.path).name)})
            for role, file in study.files.items()
        }
        settings = study.model_copy(update={"files": files})
        ingested = ingest_study("large", settings, Path(directory), None, Path(directory) / "pseudonyms.csv")
    say(f"{len(ingested.sessions)} rows")
    prepared = prepare_study(
        "large",
        ingested.sessions,
        ingested.measures,
        ingested.clients,
        ingested.therapists,
        study,
        primary_outcome=study.primary_outcome,
        outcome_unit=study.outcome_unit,
    )
    fits = {
        "multilevel": fit_hybrid_models(prepared.hybrid, prepared.context),
        "early": fit_early_models(prepared.early, prepared.context),
    }
    parts = []
    for name, models in fits.items():
        analysis = StudyAnalysis(prepared.context, name, study.min_therapists_for_claim)
        parts.append(tabulate(models, analysis).contrasts)
        say(f"{name} models fitted")
        # Only contrasts between two models need a bootstrap.
        singles = [model for model in models if model.specification.estimand == "total"]
        resampled = resample_models(singles, Resampling(REPLICATES, seed, threads))
        parts.append(estimates_frame(bootstrap_contrasts(singles, resampled, analysis)))
        say(f"{name} models resampled")
    parts.append(main_contrasts(ingested.sessions, prepared.context))
    say("panel models fitted")
    contrasts = all_contrasts(parts, prepared.context)
    renamed = contrasts.rename(columns={"estimate": "pseudo_true_value", "std_error": "pseudo_true_se"})
    wanted = contrasts["term"].isin(_TERMS.values()) & contrasts["status"].eq("ok")
    kept = renamed[wanted & ~is_repetition(contrasts)]
    return kept.assign(parameters=parameters_digest(study.simulation))[PSEUDO_TRUE_COLUMNS]


def truth_table(settings: SimulationSettings, stored: Path) -> pd.DataFrame:
    """Put generating values and stored pseudo-true values side by side.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    stored : Path
        File written from :func:`pseudo_true_values`; it is used only if it belongs to these parameters.

    Returns
    -------
    DataFrame
        :data:`TRUTH_COLUMNS`. Without stored values only the generating values of the estimands are listed.
    """
    generating = generating_values(settings)
    generating = generating[generating["quantity"].isin(_TERMS)]
    generating = generating.assign(
        term=generating["quantity"].map(_TERMS), generating_value=generating["value"]
    )
    generating = generating[[*KEYS, "estimand", "generating_value", "note"]]
    pseudo_true = _stored_values(settings, stored)
    if pseudo_true is None:
        return generating.assign(
            note=generating["note"]
            + " No pseudo-true values are stored for these parameters: run the target pseudo_true."
        ).reindex(columns=TRUTH_COLUMNS)
    early = pseudo_true["model"].str.startswith("early_three_level")
    within = pseudo_true["level"] == "within_client"
    comparable = pseudo_true["estimand"].eq("unique") & (within | early)
    joined = pseudo_true.merge(generating, on=[*KEYS, "estimand"], how="left")
    joined.loc[~comparable.to_numpy(), "generating_value"] = None
    joined.loc[joined["generating_value"].isna(), "note"] = _NO_VALUE
    return joined[TRUTH_COLUMNS]


def _stored_values(settings: SimulationSettings, stored: Path) -> pd.DataFrame | None:
    """Read stored pseudo-true values if they were made with these parameters."""
    if not stored.is_file():
        return None
    values = pd.read_csv(stored)
    return values if (values["parameters"] == parameters_digest(settings)).all() else None
