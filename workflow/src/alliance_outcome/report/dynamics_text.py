"""What the panel models are, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.panel_names import PANEL_ENGINE, PANEL_MODELS
from alliance_outcome.report.formatting import count, lower_first
from alliance_outcome.report.labels import model_label
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import cluster_robust


def question(raters: Sequence[str]) -> tuple[str, ...]:
    """Say why there are panel models, and what each of them does."""
    several = "every rater's alliance" if len(raters) > 1 else "alliance"
    return (
        "Severity goes with the alliance before it, and alliance with the severity before it; clients differ in where "
        "they are and, often, in where they are going. A multilevel model that regresses the next severity on alliance "
        "takes part of the one for the other: it is biased in short series and where clients have trends of their own.",
        f"The cross-lagged panel model {cite('hamaker')} splits severity and {several} into what is stable of a "
        "client, a linear trend of the client's own where it is in the model, and what is left from session to "
        "session, and "
        f"estimates how the latter act on each other. The dynamic panel model {cite('allison')} assumes less about the "
        "ratings, which may depend on earlier severity in any way, and knows no trends. All use every client with any "
        "value (full-information maximum likelihood), which holds if values are missing at random.",
    )


def sessions_sentence(dynamics: pd.DataFrame, contrast: pd.DataFrame) -> str:
    """Say of how many sessions the primary model is, and why; or why there is none.

    Parameters
    ----------
    dynamics, contrast : DataFrame
        ``dynamics.csv`` and ``contrast.csv``.

    Returns
    -------
    str
    """
    own = dynamics[(dynamics["engine"] == PANEL_ENGINE) & (dynamics["role"] == "primary")]
    if own.empty:
        return ""
    row = own.iloc[0]
    if row["status"] == "refused":
        return f"The primary model ({lower_first(model_label(row['model']))}) was refused: {row['reason']}."
    allowed_for = cluster_robust(contrast[contrast["engine"] == PANEL_ENGINE]).any()
    robust = (
        " Rows that allow for therapists have standard errors that are robust to them." if allowed_for else ""
    )
    return (
        f"The primary model ({lower_first(model_label(row['model']))}) is of the {_sessions(row['sample'])} of "
        f"{count(row['n_clients'])} clients: those that at least half of the clients reach, or as many of them as the "
        f"number of clients carries. This was decided before anything was estimated.{robust}"
    )


def _sessions(sample: str) -> str:
    """Read the sessions used from the words for a sample."""
    return str(sample).rpartition("; ")[2]


def fit_note() -> str:
    """Say how to read the indices of fit."""
    return (
        "χ² is against the model without any structure; CFI near 1, and RMSEA and SRMR near 0, mean a good fit. With "
        "many clients χ² finds small misfit, with few it misses large one. AIC and BIC compare models of the same "
        "sessions: lower is better. Where there are too few clients for a model without any structure, there is no χ²."
    )


def constraints_note() -> str:
    """Say how to read the tests of constraints."""
    return (
        "A small p speaks against the constraint; AIC and BIC are those with the constraint less those without, so "
        "that negative values speak for it. With few clients for each path the test of equal paths rejects too often; "
        "the p of trends is too large, because variances cannot be below zero. Paths that differ between sessions make "
        "the one reported an average."
    )


def panel_paragraph(dynamics: pd.DataFrame) -> str:
    """Describe the models for the methods.

    Parameters
    ----------
    dynamics : DataFrame
        ``dynamics.csv``.

    Returns
    -------
    str
        A paragraph; empty where no panel model was fitted.
    """
    fitted = dynamics[dynamics["status"] == "ok"]
    if fitted.empty:
        return ""
    names = [
        lower_first(model_label(name)) for name in dict.fromkeys(fitted["model"]) if name in PANEL_MODELS
    ]
    return (
        f"Effects from one session to the next were estimated by panel models ({'; '.join(names)}; {cite('hamaker')}, "
        f"{cite('allison')}) by full-information maximum likelihood, with standard errors from the observed "
        "information. "
        "Expected values are free in every session; paths are the same in all sessions. D is the difference of the "
        "paths from the raters' alliance to the next severity, each times the standard deviation of that alliance "
        "within clients, with the joint covariance of both. A solution with a covariance matrix that no data could "
        "have is improper, and gives no answer. For departures from missing at random, outcomes after leaving were "
        f"imputed from the primary model with a shift, and pooled by Rubin's rules {cite('carpenter')}."
    )
