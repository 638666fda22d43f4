"""Which rows of the estimates the report shows where; chosen by the design, never by the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.analyses.panel_names import PANEL_ENGINE
from alliance_outcome.report.labels import LEVELS, LIKELIHOOD_ENGINE

#: Engines in the order in which they are shown.
ENGINE_ORDER = (PANEL_ENGINE, LIKELIHOOD_ENGINE, "nutpie", "pymc", "collapsed")
#: Terms of the headline figure.
HEADLINE_TERMS = ("difference", "coefficient_standardised")
_ESTIMATE_COLUMNS = (
    *("engine", "quantity_kind", "estimate", "ci_low", "ci_high", "ci_level"),
    *("mcse_mean", "mcse_ci_low", "mcse_ci_high", "status"),
)


def shown_levels(contrast: pd.DataFrame) -> list[str]:
    """List the levels of the headline: the pooled one only where no model with a therapist level was fitted.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.

    Returns
    -------
    list of str
        In the report's order.
    """
    levels = levels_of(contrast[contrast["status"] != "refused"]) or levels_of(contrast)
    if "between_client" in levels:
        levels = [level for level in levels if level != "between_client_pooled"]
    return levels


def levels_of(frame: pd.DataFrame) -> list[str]:
    """List the levels that occur in a table, in the report's order."""
    return [level for level in LEVELS if (frame["level"] == level).any()]


def headline_model(contrast: pd.DataFrame, level: str, answer: Mapping[str, Any]) -> str | None:
    """Choose the model that speaks for a level.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.
    level : str
        The level.
    answer : mapping
        ``answer.json``, which names the model behind the headline.

    Returns
    -------
    str or None
        The answer's model at the answer's level, otherwise the model with the role ``primary``, otherwise the first
        model of that level; None without any row.
    """
    rows = contrast[contrast["level"] == level]
    if level == answer.get("level") and answer.get("model") in set(rows["model"]):
        return answer["model"]
    for candidates in (rows.loc[rows["role"] == "primary", "model"], rows["model"]):
        if len(candidates):
            return candidates.iloc[0]
    return None


def cluster_robust(frame: pd.DataFrame) -> pd.Series:
    """Say which rows repeat another row with a cluster-robust standard error."""
    return frame["se_kind"].astype("str").str.match(r"CR\d").fillna(False).astype(bool)


def autoregressive(frame: pd.DataFrame) -> pd.Series:
    """Say which rows come from a model with AR(1) residuals."""
    return frame["residual"].astype("str").str.startswith("ar1").fillna(False).astype(bool)


def headline_rows(contrast: pd.DataFrame, level: str, answer: Mapping[str, Any]) -> pd.DataFrame:
    """Pick the rows of the headline figure at one level: joint model, one row per engine and term.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.
    level : str
        The level.
    answer : mapping
        ``answer.json``.

    Returns
    -------
    DataFrame
        Rows of ``difference`` and ``coefficient_standardised`` with estimand ``unique``, tested in the model's own way.
    """
    model = headline_model(contrast, level, answer)
    chosen = (
        (contrast["level"] == level)
        & (contrast["model"] == model)
        & (contrast["estimand"] == "unique")
        & contrast["term"].isin(HEADLINE_TERMS)
        & ~is_repetition(contrast)
    )
    return contrast[chosen]


def clusters_of(row: pd.Series) -> str:
    """Name the clusters of the model of a row: therapists where it knows of them, clients otherwise."""
    if row["engine"] == PANEL_ENGINE:
        return "therapist"
    return "therapist" if "therapist:" in str(row["residual"]) else "client"


def sd_uncertain_row(contrast: pd.DataFrame, level: str, model: str | None) -> pd.Series | None:
    """Return the row of D that counts the standard deviations as estimated; None where there is none."""
    rows = contrast[(contrast["status"] == "ok") & (contrast["estimand"] == "unique")]
    return first_row(rows, term="difference_sd_uncertain", level=level, model=model)


def engines(frame: pd.DataFrame) -> list[str]:
    """List the engines of a table in the report's order."""
    present = list(dict.fromkeys(frame["engine"].dropna()))
    known = [engine for engine in ENGINE_ORDER if engine in present]
    return known + [engine for engine in present if engine not in known]


def first_row(frame: pd.DataFrame, **conditions: str) -> pd.Series | None:
    """Return the first row that meets all conditions, or None."""
    chosen = frame
    for column, value in conditions.items():
        chosen = chosen[chosen[column] == value]
    return chosen.iloc[0] if len(chosen) else None


def alliance_rows(models: pd.DataFrame) -> pd.DataFrame:
    """Pick the coefficients of the alliance: rows with a rater and a level, tested in the model's own way."""
    chosen = (
        models["rater"].notna()
        & models["level"].isin(LEVELS)
        & models["term"].fillna("").str.startswith("alliance_")
    )
    return models[chosen & ~is_repetition(models)]


def other_fixed_rows(models: pd.DataFrame) -> pd.DataFrame:
    """Pick the fixed effects that are not alliance coefficients, without variance parameters."""
    term = models["term"].fillna("")
    own = ~term.str.startswith("alliance_") & (term != "") & ~is_repetition(models)
    return models[own & ~variance_rows(models) & ~share_rows(models)]


def share_rows(models: pd.DataFrame) -> pd.Series:
    """Say which rows are shares of the outcome's variance."""
    return models["term"].fillna("").str.startswith("r2_")


def variance_rows(models: pd.DataFrame) -> pd.Series:
    """Say which rows are variances, covariances or correlations of random effects or residuals."""
    spread = models["term"].fillna("").str.match(r"(var|cov|corr?|sd)\(")
    return spread & ~is_repetition(models)


def joint_rows(models: pd.DataFrame) -> pd.DataFrame:
    """Pick the rows of the models with all raters; in a study with one rater those are the models with that rater."""
    joint = models[models["estimand"] == "unique"]
    return joint if len(joint) else models


def predictive_rows(predictive: pd.DataFrame, *, has_therapists: bool) -> pd.DataFrame:
    """Pick the predictive checks that can say something.

    Parameters
    ----------
    predictive : DataFrame
        ``predictive.csv``.
    has_therapists : bool
        Whether the study has therapist identifiers.

    Returns
    -------
    DataFrame
        Rows with quantiles; early models without therapists have one row per unit, so that spread of and around the
        units' means is left out for them.
    """
    if predictive.empty:
        return predictive
    single = predictive["model"].str.startswith("early") & (not has_therapists)
    return predictive[
        predictive["q50"].notna() & ~(single & predictive["statistic"].isin(["between", "within"]))
    ]


def failed_models(checks: pd.DataFrame) -> set[tuple[str, str]]:
    """List the joint models of which a convergence check failed.

    Parameters
    ----------
    checks : DataFrame
        Checks of all stages, with ``passed`` as text.

    Returns
    -------
    set of tuple of str
        Engine (``bayesian`` or ``likelihood``) and model.
    """
    failed = checks[checks["passed"].fillna("").str.lower() == "false"]
    models = failed["name"].str.extract(r"^convergence\.([a-z0-9_]+)\.joint(?:\.|$)", expand=False).dropna()
    engines = failed.loc[models.index, "stage"].eq("bayesian").map({True: "bayesian", False: "likelihood"})
    return set(zip(engines, models, strict=True))


def not_ok(*frames: pd.DataFrame) -> pd.DataFrame:
    """Stack the rows that were refused or not established."""
    return pd.concat([frame[frame["status"] != "ok"] for frame in frames], ignore_index=True)


def truth_comparison(truth: pd.DataFrame, contrast: pd.DataFrame, answer: Mapping[str, Any]) -> pd.DataFrame:
    """Put generating values, pseudo-true values and estimates of a simulated study side by side.

    Parameters
    ----------
    truth : DataFrame
        ``truth.csv``; rows without a model hold for whichever model speaks for their level.
    contrast : DataFrame
        ``contrast.csv``.
    answer : mapping
        ``answer.json``.

    Returns
    -------
    DataFrame
        For the model that speaks for each level, with both raters in it: one row per quantity and engine with the
        columns of ``truth``, those of the estimate and ``covers`` (whether the interval holds the pseudo-true value;
        missing where either is). Truths without an established estimate keep empty columns.
    """
    parts = [
        _level_comparison(
            truth, headline_rows(contrast, level, answer), level, headline_model(contrast, level, answer)
        )
        for level in shown_levels(contrast)
    ]
    nothing = _level_comparison(truth, contrast.iloc[:0], "", None)
    merged = pd.concat(parts, ignore_index=True) if parts else nothing
    known = merged["pseudo_true_value"].notna() & merged["ci_low"].notna()
    inside = merged["pseudo_true_value"].between(merged["ci_low"], merged["ci_high"])
    merged["covers"] = inside.astype("object").where(known, None)
    return merged


def _level_comparison(truth: pd.DataFrame, rows: pd.DataFrame, level: str, model: str | None) -> pd.DataFrame:
    """Join the truth of one level to its rows of the headline."""
    chosen = truth[
        (truth["level"] == level)
        & (truth["estimand"] == "unique")
        & truth["term"].isin(HEADLINE_TERMS)
        & (truth["model"].isna() | (truth["model"] == model))
    ]
    keys = ["rater", "rater_b", "term"]
    established = rows.loc[rows["status"] == "ok", [*keys, *_ESTIMATE_COLUMNS]]
    left, right = chosen.assign(model=model), established.copy()
    for frame in (left, right):
        for key in keys:
            frame[key] = frame[key].astype("str").fillna("")
    return left.merge(right, on=keys, how="left")
