"""How the models were estimated, written from the columns of their rows and the settings of the sampler."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance_outcome.report.formatting import (
    count,
    join_words,
    level_percent,
    lower_first,
    number,
    sentence_case,
)
from alliance_outcome.report.labels import (
    CI_LABELS,
    DF_LABELS,
    SE_LABELS,
    engine_label,
    model_label,
    name_terms,
    words,
)
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import joint_rows
from alliance_outcome.settings import PriorSettings, SamplerSettings


def estimation_paragraph(models: pd.DataFrame) -> str:
    """Say how the models without priors were estimated, from the columns of their rows.

    Parameters
    ----------
    models : DataFrame
        Rows of ``multilevel.csv`` and ``early.csv``.

    Returns
    -------
    str
        Estimator, degrees of freedom, intervals and missing data.
    """
    rows = models[(models["engine"] == "mixedlm") & (models["status"] == "ok")]
    if rows.empty:
        return "No model could be estimated by restricted maximum likelihood."
    sentences = ["Models were estimated by restricted maximum likelihood (REML; statsmodels MixedLM)."]
    if errors := _values(rows, "se_kind", SE_LABELS):
        sentences.append(f"Standard errors: {errors}.")
    if degrees := _values(rows, "df_method", DF_LABELS):
        sentences.append(f"Degrees of freedom (df): {degrees}.{slope_df_clause(rows)}")
    sentences.append(interval_sentence(rows))
    if missing := _values(rows, "missing_method"):
        sentences.append(f"Missing data: {missing.replace('(MAR)', '(missing at random given the model)')}.")
    return " ".join(sentences)


def slope_df_clause(rows: pd.DataFrame) -> str:
    """Say that inner–outer degrees of freedom are too many for terms with random slopes, where there are such terms."""
    inner_outer = (rows["df_method"] == "inner_outer").any()
    slopes = rows["residual"].fillna("").str.contains("random slopes").any()
    if not (inner_outer and slopes):
        return ""
    return (
        " It is optimistic for within-client alliance, whose effect varies over clients: it counts sessions, "
        "although clients are fewer."
    )


def structures(models: pd.DataFrame) -> list[tuple[str, str]]:
    """Say which residuals and random effects the REML models with all raters have.

    Parameters
    ----------
    models : DataFrame
        Rows of model coefficients.

    Returns
    -------
    list of tuple of str
        Models, and their structure in words; one entry per structure.
    """
    rows = models[(models["engine"] == "mixedlm") & (models["status"] == "ok") & models["residual"].notna()]
    found = []
    for structure, same in joint_rows(rows).groupby("residual", sort=False):
        names = join_words([lower_first(model_label(name)) for name in dict.fromkeys(same["model"])])
        text = sentence_case(name_terms(structure.replace("independent", "residuals independent", 1)))
        found.append((sentence_case(names), f"{text}."))
    return found


def interval_sentence(rows: pd.DataFrame) -> str:
    """Say the level and kind of the intervals of some rows."""
    levels = join_words(sorted({level_percent(level) for level in rows["ci_level"].dropna()}))
    kinds = _values(rows, "ci_kind", CI_LABELS)
    return f"Intervals: {levels}, {kinds}." if levels and kinds else ""


def _values(rows: pd.DataFrame, column: str, labels: Mapping[str, str] | None = None) -> str:
    """List the distinct values of a column in words."""
    found = [str(value) for value in dict.fromkeys(rows[column].dropna())]
    return join_words([(labels or {}).get(value, words(value)) for value in found])


def bayesian_paragraph(
    bayesian: pd.DataFrame, priors: PriorSettings, sampler: SamplerSettings, unit: str
) -> str:
    """Describe priors, sampler and summaries of the Bayesian models.

    Parameters
    ----------
    bayesian : DataFrame
        ``bayesian.csv``.
    priors : PriorSettings
        Priors in outcome units.
    sampler : SamplerSettings
        Chains and draws.
    unit : str
        Unit of the outcome.

    Returns
    -------
    str
        A paragraph.
    """
    rows = bayesian[bayesian["status"] == "ok"]
    if rows.empty:
        return "No Bayesian model was estimated."
    worst = rows["r_hat"].max()
    smallest = rows[["ess_bulk", "ess_tail"]].min().min()
    slopes = rows["residual"].fillna("").str.contains("slopes correlated").any()
    correlated = " A client's intercept and slopes may correlate." if slopes else ""
    return (
        f"The models with all raters were also fitted in a Bayesian way {cite('kruschke')} with these priors, in "
        f"{unit}: intercept normal({_plain(priors.intercept_mean)}, {_plain(priors.intercept_sd)}), the effect of "
        f"one standard deviation of a predictor normal(0, {_plain(priors.effect_sd)}), standard deviations of "
        f"client and therapist intercepts half-normal({_plain(priors.group_sd)}), standard deviation over clients "
        f"of the effect of one within-client standard deviation half-normal({_plain(priors.slope_sd)}), residual "
        f"standard deviation half-normal({_plain(priors.residual_sd)}), correlations of client effects "
        f"LKJ({_plain(priors.lkj_eta)}; the distribution of Lewandowski, Kurowicka and Joe).{correlated} Posteriors "
        f"were sampled with the no-U-turn sampler ({engine_name(sampler.engine)}): {count(sampler.chains)} chains "
        f"of {count(sampler.draws)} draws after {count(sampler.tune)} of warm-up. The largest R-hat (agreement of "
        f"the chains) of any reported quantity is {number(worst, 3)}, the smallest effective sample size "
        f"{count(smallest)}. {interval_sentence(rows)}"
    )


def engine_name(engine: str) -> str:
    """Name the sampler as its documentation does."""
    return {"nutpie": "nutpie", "pymc": "PyMC"}.get(engine, engine_label(engine))


def _plain(value: float) -> str:
    """Write a setting with no more decimals than it has."""
    return number(value, 0) if float(value).is_integer() else f"{value:g}"


def lag_error_sentence(models: pd.DataFrame) -> str:
    """Say what is wrong with the standard errors of models with a lagged outcome, where some were estimated."""
    lagged = models["model"].fillna("").str.startswith("hybrid_lag") & (models["status"] == "ok")
    if not lagged.any():
        return ""
    return (
        "The model-based standard errors of models with the previous severity among their predictors are too "
        "small, above all that of the previous severity itself, and their intervals and p-values too sure: the "
        "information between fixed effects and variance parameters is taken for zero, "
        "which it is not with a lagged outcome."
    )
