"""How the models were estimated, written from the columns of their rows and the settings of the sampler."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.analyses.posteriors import WIDENED
from alliance_outcome.data.published_effects import published_effects
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
    LIKELIHOOD_ENGINE,
    level_label,
    model_label,
    name_terms,
    rater_label,
    words,
)
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import joint_rows, variance_rows
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
        Estimator, intervals and missing data.
    """
    rows = models[(models["engine"] == LIKELIHOOD_ENGINE) & (models["status"] == "ok")]
    if rows.empty:
        return "No model could be estimated by restricted maximum likelihood."
    sentences = [
        "Models were estimated by restricted maximum likelihood (REML) with this package's own engine, which is exact "
        f"for nested Gaussian models and maximises the criterion of lme4 {cite('bates')}."
    ]
    if rows["residual"].fillna("").str.contains("slopes? of .*, correlated").any():
        sentences.append("A client's intercept and slopes may correlate.")
    sentences.append(interval_sentence(rows[~is_repetition(rows) & ~variance_rows(rows)]))
    if missing := _values(rows, "missing_method"):
        sentences.append(f"Missing data: {missing.replace('(MAR)', '(missing at random given the model)')}.")
    return " ".join(sentence for sentence in sentences if sentence)


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
    rows = models[(models["engine"] == LIKELIHOOD_ENGINE) & (models["status"] == "ok")]
    rows = rows[rows["residual"].notna() & ~is_repetition(rows)]
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
        f"{unit}: intercept normal({plain(priors.intercept_mean)}, {plain(priors.intercept_sd)}), the effect of "
        f"one standard deviation of a predictor normal(0, {plain(priors.effect_sd)}), standard deviations of "
        f"client and therapist intercepts half-normal({plain(priors.group_sd)}), standard deviation over clients "
        f"of the effect of one within-client standard deviation half-normal({plain(priors.slope_sd)}), residual "
        f"standard deviation half-normal({plain(priors.residual_sd)}), correlations of client effects "
        f"LKJ({plain(priors.lkj_eta)}; the distribution of Lewandowski, Kurowicka and Joe).{correlated}"
        f"{_published_sentence(priors)} Random effects are integrated out of the likelihood. "
        f"{_sampling_sentence(sampler)} The largest R-hat (agreement of the chains) of any reported quantity is "
        f"{number(worst, 3)}, the smallest effective sample size "
        f"{count(smallest)}. {interval_sentence(rows)}"
    )


def _published_sentence(priors: PriorSettings) -> str:
    """Say which effects have a published prior; empty where the study does not ask for any."""
    if not priors.published:
        return ""
    effects = [
        f"{number(effect.mean, 3)} (SD {number(WIDENED * effect.sd, 3)}; {effect.source}, standard error times "
        f"{WIDENED:g}) for the {rater_label(effect.rater)} {level_label(effect.level)}"
        for effect in published_effects()
    ]
    return (
        " Session-to-session effects with a published counterpart have that as their prior, in standard deviations of "
        f"the outcome per standard deviation of alliance: {join_words(effects)}."
    )


def _sampling_sentence(sampler: SamplerSettings) -> str:
    """Say how posteriors were sampled, and by what that was checked."""
    size = f"{count(sampler.chains)} chains of {count(sampler.draws)} draws"
    nuts, collapsed = (
        "the no-U-turn sampler",
        "a collapsed sampler, which integrates the fixed effects out too",
    )
    if sampler.engine == "collapsed":
        return f"Posteriors were sampled with {collapsed}: {size}. {sentence_case(nuts)} (nutpie) checks its draws."
    name = {"nutpie": "nutpie", "pymc": "PyMC"}[sampler.engine]
    return (
        f"Posteriors were sampled with {nuts} ({name}): {size} after {count(sampler.tune)} of warm-up. Its draws are "
        f"checked by {collapsed}."
    )


def plain(value: float) -> str:
    """Write a setting with no more decimals than it has."""
    return number(value, 0) if float(value).is_integer() else f"{value:g}"
