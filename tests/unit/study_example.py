"""A small study for tests of the analyses: rows from the models that are fitted, no ingest needed."""

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext


def context(**changes):
    """Return the context of a two-rater study with therapists, with changes."""
    facts = {
        "study": "tiny",
        "outcome": "severity_core_10_client",
        "outcome_rater": "client",
        "unit": "CORE-10 points",
        "raters": ("client", "therapist"),
        "has_therapists": True,
        "lag_unit": "attended",
        "timing": {"alliance_client": "after", "alliance_therapist": "after", "severity": "before"},
        "timing_sentences": (),
        "commensurate": True,
        "trend": ("time",),
        "hybrid_covariates": (),
        "early_covariates": (),
        "early_outcome": "end",
        "early_fixed_session": None,
        "adjustment": "first severity, log trend over sessions",
        "warnings": (),
    }
    return AnalysisContext(**{**facts, **changes})


def hybrid_rows(seed=1, n_therapists=12, clients_each=6, sessions_each=6):
    """Simulate rows of the joint hybrid model with known effects (client −1.0, therapist −0.2 per point)."""
    generator = np.random.default_rng(seed)
    n_clients = n_therapists * clients_each
    client = np.repeat(np.arange(n_clients), sessions_each)
    therapist = client // clients_each
    slot = np.tile(np.arange(1, sessions_each + 1), n_clients)
    rows = pd.DataFrame(
        {
            "client": [f"C{label:03d}" for label in client],
            "therapist": [f"T{label:02d}" for label in therapist],
            "slot": slot,
            "time": np.log(slot),
            "severity_first": generator.normal(20, 4, n_clients)[client],
        }
    )
    for rater, effect in (("client", -1.0), ("therapist", -0.2)):
        within = generator.normal(0, 0.6, len(rows))
        stable = (
            generator.normal(0, 0.5, n_clients)[client] + generator.normal(0, 0.4, n_therapists)[therapist]
        )
        rows[f"alliance_{rater}"] = 5 + within + stable
        rows[f"effect_{rater}"] = effect * within + 2 * effect * stable
    noise = generator.normal(0, 1, n_therapists)[therapist] + generator.normal(0, 2, n_clients)[client]
    rows["outcome"] = (
        15 + rows["effect_client"] + rows["effect_therapist"] + noise + generator.normal(0, 2, len(rows))
    )
    rows["outcome_before"] = rows.groupby("client")["outcome"].shift()
    return rows.drop(columns=["effect_client", "effect_therapist"])


def early_rows(seed=2, n_therapists=12, clients_each=8):
    """Simulate rows of the early-alliance model, one per client."""
    generator = np.random.default_rng(seed)
    size = n_therapists * clients_each
    therapist = np.arange(size) // clients_each
    rows = pd.DataFrame(
        {
            "client": [f"C{label:03d}" for label in range(size)],
            "therapist": [f"T{label:02d}" for label in therapist],
            "severity_first": generator.normal(20, 4, size),
        }
    )
    rows["severity_before"] = 0.7 * rows["severity_first"] + generator.normal(0, 3, size)
    for rater in ("client", "therapist"):
        rows[f"alliance_{rater}"] = (
            5 + generator.normal(0, 0.6, size) + generator.normal(0, 0.4, n_therapists)[therapist]
        )
    rows["outcome"] = (
        0.5 * rows["severity_before"]
        - 1.5 * rows["alliance_client"]
        + generator.normal(0, 3, size)
        + therapist % 3
    )
    rows["outcome_last"] = rows["outcome"] + generator.normal(0, 1, size)
    return rows
