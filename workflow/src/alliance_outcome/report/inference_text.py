"""How estimates of the REML models were tested, checked and resampled, written from the columns of their rows."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report.formatting import count, join_words, lower_first
from alliance_outcome.report.labels import LIKELIHOOD_ENGINE, model_label, words
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import autoregressive, cluster_robust

#: What a test of models without a lagged outcome is called, by where its standard error comes from.
_TESTS = {
    "kenward_roger": (
        f"Kenward and Roger's adjusted standard errors and degrees of freedom {cite('kenward_roger')}, which keep "
        "random effects whose variance is estimated as zero"
    ),
    "model": f"model-based standard errors with Satterthwaite's degrees of freedom {cite('kuznetsova')}",
}


def testing_paragraph(models: pd.DataFrame) -> str:
    """Say how fixed effects were tested, and by which other methods their tests were repeated.

    Parameters
    ----------
    models : DataFrame
        Rows of ``multilevel.csv`` and ``early.csv``.

    Returns
    -------
    str
        A paragraph; empty without a fit.
    """
    rows = models[
        (models["engine"] == LIKELIHOOD_ENGINE) & (models["status"] == "ok") & models["se_kind"].notna()
    ]
    if rows.empty:
        return ""
    own = rows[~is_repetition(rows)]
    found = (_own_tests(own), _lagged_tests(own), _robust_sentence(rows), _autoregressive_sentence(rows))
    return " ".join(sentence for sentence in found if sentence)


def _own_tests(rows: pd.DataFrame) -> str:
    """Say how models without a lagged outcome are tested."""
    lagged = _lagged(rows)
    kinds = list(dict.fromkeys(rows.loc[~lagged, "se_kind"]))
    if not kinds:
        return ""
    whose = " of models without the previous severity" if lagged.any() else ""
    return f"Fixed effects{whose} were tested with {join_words([_TESTS.get(kind, words(kind)) for kind in kinds])}."


def _lagged_tests(rows: pd.DataFrame) -> str:
    """Say how models with a lagged outcome are tested."""
    sentence = lagged_outcome_sentence(rows)
    if not sentence or not (rows.loc[_lagged(rows), "df_method"] == "satterthwaite").all():
        return sentence
    return f"{sentence} Their degrees of freedom are Satterthwaite's {cite('kuznetsova')}."


def _lagged(rows: pd.DataFrame) -> pd.Series:
    """Say which rows are of models with the previous severity among their predictors."""
    return rows["model"].fillna("").str.startswith("hybrid_lag")


def lagged_outcome_sentence(models: pd.DataFrame) -> str:
    """Say where the standard errors of models with a lagged outcome come from, where some were estimated."""
    rows = models[_lagged(models) & (models["status"] == "ok") & (models["se_kind"] == "observed")]
    if rows.empty:
        return ""
    return (
        "Standard errors of models with the previous severity among their predictors come from the whole observed "
        "information, of fixed effects and variances together, because a lagged outcome makes the one depend on the "
        "other; the Kenward–Roger and cluster-robust methods are not derived for that case."
    )


def _robust_sentence(rows: pd.DataFrame) -> str:
    """Say how tests were repeated with cluster-robust standard errors."""
    if not cluster_robust(rows).any():
        return ""
    return (
        "As a check the tests of alliance and of D were repeated with cluster-robust standard errors (CR2) and "
        f"Satterthwaite's degrees of freedom {cite('pustejovsky_tipton')}; clusters are therapists in three-level "
        "models and clients in two-level ones."
    )


def _autoregressive_sentence(rows: pd.DataFrame) -> str:
    """Say which models were repeated with AR(1) residuals."""
    models = list(dict.fromkeys(rows.loc[autoregressive(rows), "model"]))
    if not models:
        return ""
    named = "; ".join(lower_first(model_label(model)) for model in models)
    return (
        f"Models with all raters were also fitted with AR(1) residuals ({named}), which correlate the less the further "
        "apart they are, missed sessions included; restricted likelihoods were compared."
    )


def bootstrap_paragraph(contrast: pd.DataFrame, explained: pd.DataFrame) -> str:
    """Say which quantities rest on a bootstrap, and how samples were drawn.

    Parameters
    ----------
    contrast, explained : DataFrame
        ``contrast.csv`` and ``explained.csv``.

    Returns
    -------
    str
        A paragraph; empty where nothing was resampled.
    """
    rows = pd.concat([contrast, explained], ignore_index=True)
    rows = rows[(rows["se_kind"] == "bootstrap") & (rows["status"] == "ok")]
    if rows.empty:
        return ""
    used = [
        text
        for text, found in (
            ("contrasts of models with one rater at a time", (rows["term"] == "difference").any()),
            ("D with uncertain standard deviations", (rows["term"] == "difference_sd_uncertain").any()),
            ("explained variance", (rows["analysis"] == "explained").any()),
        )
        if found
    ]
    samples = sorted({int(value) for value in rows["n_draws"].dropna()})
    number = count(samples[0]) if len(samples) == 1 else f"{count(samples[0])} to {count(samples[-1])}"
    return (
        f"Intervals of {join_words(used)} come from {number} usable bootstrap samples of therapists (in two-level "
        "models of clients), with all their rows; every model was refitted to each. The percentiles at which intervals "
        f"end were moved outwards for the small number of clusters {cite('hesterberg')}."
    )


def explained_paragraph(explained: pd.DataFrame) -> str:
    """Say how explained variance was computed and shared out.

    Parameters
    ----------
    explained : DataFrame
        ``explained.csv``.

    Returns
    -------
    str
        A paragraph; empty without any.
    """
    rows = explained[explained["estimate"].notna()]
    if rows.empty:
        return ""
    shared = (
        " What is unique to a rater's alliance and what is common was found by refitting the model without each and "
        f"without any (commonality analysis); averages over orders of entry are general dominance "
        f"{cite('azen_budescu')}."
        if rows["term"].str.match(r"(unique|common)\(").any()
        else ""
    )
    return (
        f"Explained variance follows the framework of Rights and Sterba {cite('rights_sterba')}: the variance that a "
        "model implies is divided by level and source. Covariances of predictors are taken over rows, so that a client "
        f"counts once for each session.{shared}"
    )
