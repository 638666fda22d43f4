"""The Bayesian analysis reporting guidelines (BARG), filled in from a run.

Kruschke 2021 (10.1038/s41562-021-01177-7) lists what a report of a Bayesian analysis should say. What the pipeline
writes into every report is met by every run; what depends on the data, the settings or the draws is looked up, and what
is not done is marked as not met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.analyses.prior_sensitivity import NOT_SENSITIVE

CHECKLIST_COLUMNS = ["model", "step", "item", "met", "evidence"]

#: Effective draws that the guidelines want for stable limits of 95 % intervals.
STABLE_LIMITS = 10_000

#: Observed statistics outside this range of posterior predictive p values are misfit.
PREDICTED = (0.025, 0.975)


def reporting_checklist(
    model: str,
    checks: Sequence[Mapping[str, Any]],
    predictive: pd.DataFrame,
    sensitivity: pd.DataFrame,
    rope: float | None,
) -> pd.DataFrame:
    """Fill the checklist in for one posterior.

    Parameters
    ----------
    model : str
        Name of the model.
    checks : sequence of mapping
        Checks of the sampler, as in :func:`alliance_outcome.models.diagnostics.convergence_checks`.
    predictive : DataFrame
        From :func:`alliance_outcome.models.diagnostics.predictive_summary`.
    sensitivity : DataFrame
        From :func:`alliance_outcome.analyses.prior_sensitivity.prior_sensitivity`.
    rope : float or None
        Region of practical equivalence.

    Returns
    -------
    DataFrame
        :data:`CHECKLIST_COLUMNS`, one row per item; `met` is boolean.
    """
    items = [
        *_model_items(),
        *_computation_items({check["name"]: check for check in checks}),
        *_posterior_items(predictive),
        *_decision_items(rope),
        *_sensitivity_items(sensitivity),
        *_reproducibility_items(),
    ]
    return pd.DataFrame([(model, *item) for item in items], columns=CHECKLIST_COLUMNS)


_Item = tuple[str, str, bool, str]


def _model_items() -> list[_Item]:
    step = "1 Explain the model"
    return [
        (step, "data variables", True, "section Description, and the timing of each measure"),
        (step, "likelihood and parameters", True, "section Methods; random effects are integrated out"),
        (step, "prior distribution, in units of the data", True, "section Methods, from the study file"),
        (step, "prior predictive check", True, "figure of predictive checks"),
    ]


def _computation_items(checks: Mapping[str, Mapping[str, Any]]) -> list[_Item]:
    step = "2 Computation"
    converged = bool(checks["r_hat"]["passed"])
    ess = float(min(checks["ess_bulk"]["value"], checks["ess_tail"]["value"]))
    agreement = checks["cross_check"]
    return [
        (step, "software and sampler", True, "section Methods and the list of versions"),
        (step, "chains have converged", converged, checks["r_hat"]["text"]),
        (
            step,
            f"effective draws for stable limits ({STABLE_LIMITS:,})",
            ess >= STABLE_LIMITS,
            f"smallest effective sample size of any quantity {ess:,.0f}; each limit has its own Monte Carlo error",
        ),
        (step, "independent check of the sampler", agreement["passed"] is True, agreement["text"]),
    ]


def _posterior_items(predictive: pd.DataFrame) -> list[_Item]:
    step = "3 Posterior distribution"
    posterior = predictive[predictive["check"] == "posterior"]
    outside = posterior[~posterior["p_value"].between(*PREDICTED)]
    evidence = (
        "all statistics are within what the posterior predicts"
        if outside.empty
        else f"outside what the posterior predicts: {', '.join(outside['text'])}"
    )
    return [
        (step, "posterior predictive check", True, "figure of predictive checks"),
        (step, "the model predicts what was observed", bool(outside.empty), evidence),
        (
            step,
            "central tendency and intervals, with their kind",
            True,
            "means and equal-tailed 95 % intervals",
        ),
        (step, "Bayes factors", False, "none are computed: no hypothesis of exactly zero is at issue"),
    ]


def _decision_items(rope: float | None) -> list[_Item]:
    step = "4 Decision"
    stated = "none in the study file: nothing is called practically equal" if rope is None else f"±{rope:g}"
    return [
        (step, "decision rule fixed before the data", True, "section Answer; the same rules in every study"),
        (step, "region of practical equivalence, and why", rope is not None, stated),
    ]


def _sensitivity_items(sensitivity: pd.DataFrame) -> list[_Item]:
    step = "5 Sensitivity"
    contrasts = sensitivity[sensitivity["quantity"].str.startswith("D ")]
    sensitive = contrasts[contrasts["diagnosis"] != NOT_SENSITIVE]
    evidence = "; ".join(
        f"{row.quantity.replace('_', ' ')}: {row.diagnosis}" for row in contrasts.itertuples()
    )
    return [
        (
            step,
            "dependence on the priors is looked at",
            len(contrasts) > 0,
            "power scaling, table of sensitivity",
        ),
        (
            step,
            "contrasts do not depend on the priors",
            len(contrasts) > 0 and sensitive.empty,
            evidence or "no contrast",
        ),
        (
            step,
            "other priors tried",
            False,
            "power scaling stands in; change the priors in the study file to try",
        ),
    ]


def _reproducibility_items() -> list[_Item]:
    step = "6 Reproducibility"
    return [
        (
            step,
            "versions, seeds and settings",
            True,
            "written by the run; `verify` holds results against a reference",
        ),
        (step, "scripts that run from the data to the report", True, "the repository"),
        (step, "draws are kept", True, "private, in the study's data folder"),
    ]
