"""The methods section, written from the run: every name and number in it comes from settings or results.

Pure functions from typed settings and tables to paragraphs, so that snapshots of them can be tested.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.report.formatting import count, join_words, level_percent, lower_first, number
from alliance_outcome.report.labels import (
    CI_LABELS,
    DF_LABELS,
    SE_LABELS,
    engine_label,
    model_label,
    name_terms,
    rater_label,
    words,
)
from alliance_outcome.report.references import cite
from alliance_outcome.settings import (
    DecisionSettings,
    DesignSettings,
    EarlySettings,
    PriorSettings,
    ReportSettings,
    SamplerSettings,
)

_TREND_WORDS = {
    "log": "the logarithm of the session number",
    "linear": "the session number",
    "spline": "a spline",
}
_LAG_WORDS = {
    "attended": "the next session held",
    "scheduled": "the next session scheduled",
    "week": "the next week",
}


def measures_paragraph(settings: ReportSettings, design: AnalysisContext, measures: pd.DataFrame) -> str:
    """Say what was measured, by whom and when.

    Parameters
    ----------
    settings : ReportSettings
        Names of the outcome.
    design : AnalysisContext
        ``design.json``.
    measures : DataFrame
        ``measures.csv``.

    Returns
    -------
    str
        A paragraph.
    """
    alliance = measures[measures["construct"] == "alliance"]
    forms = join_words([f"{row.title} by the {rater_label(row.rater)}" for row in alliance.itertuples()])
    common = (
        "The raters used the same form, range and scoring, so their scores are commensurate."
        if design.commensurate
        else "The raters' forms differ, so their scores are not commensurate and are compared only after division by "
        "standard deviations."
    )
    single = len(alliance) < 2
    return (
        f"The outcome is {settings.outcome_name} in {settings.outcome_unit} (higher is worse), rated by the "
        f"{rater_label(design.outcome_rater)}. Alliance was measured with {forms}. "
        f"{'' if single else common}"
    ).strip()


def timing_paragraph(design: AnalysisContext, settings: DesignSettings) -> str:
    """Say which severity follows which alliance rating."""
    gap = (
        f" Pairs more than {number(settings.max_gap_weeks, 0)} weeks apart were dropped and counted."
        if settings.max_gap_weeks is not None
        else ""
    )
    sentences = " ".join(design.timing_sentences)
    return f"{sentences} A lag of one means {_LAG_WORDS[settings.lag_unit]}.{gap}"


def levels_paragraph(has_therapists: bool) -> str:
    """Say how ratings were split and scaled."""
    split = (
        "the client's deviation from the own mean (within clients), the client's mean minus the therapist's mean of "
        "client means (between clients of one therapist), and that mean minus its grand mean (between therapists)"
        if has_therapists
        else "the client's deviation from the own mean (within clients) and the client's mean minus the grand mean "
        "(between clients; without therapist identifiers, differences between therapists are mixed in)"
    )
    return (
        f"Each rater's alliance was split into {split} {cite('curran_bauer', 'wang_maxwell')}. The means are manifest. "
        "Means, deviations and standard deviations were computed on the rows of the model with all raters, and models "
        "with a single rater were fitted to the same rows. The standard deviation of a level counts each unit of that "
        "level once."
    )


def hybrid_paragraph(settings: DesignSettings, models: pd.DataFrame) -> str:
    """Describe the session-to-session models that were fitted."""
    fitted = set(models["model"])
    levels = [
        text
        for name, text in (("three", "three levels"), ("two", "two levels"))
        if f"hybrid_{name}_level" in fitted
    ]
    lag = (
        " Comparator models also contain the previous severity."
        if any(name.startswith("hybrid_lag") for name in fitted)
        else ""
    )
    covariates = settings.covariates.client + settings.covariates.therapist
    adjusted = f", {join_words([words(name) for name in covariates])}" if covariates else ""
    return (
        f"The session-to-session hybrid model {cite('curran_bauer')} regresses the next severity on the alliance of "
        f"all raters at every level, {_TREND_WORDS[settings.time_trend]} and the first severity{adjusted}. It was "
        f"fitted with {join_words(levels)} {cite('falkenstroem')}, with all raters together (what one adds to the "
        f"other) and with each rater alone.{lag} Within clients it is a comparator; "
        "between clients and therapists its coefficients are concurrent differences over the whole of therapy."
    )


def early_paragraph(settings: EarlySettings) -> str:
    """Describe the early-alliance analysis."""
    sessions = join_words([str(session) for session in settings.sessions])
    outcome = {
        "end": "severity at the scheduled end assessment",
        "follow_up": "severity at the follow-up assessment",
        "fixed_session": f"the severity that a growth model implies at session {settings.fixed_session}",
    }[settings.outcome]
    return (
        f"The early-alliance model has one row per client: {outcome} on the mean alliance at sessions {sessions} (at "
        f"least {settings.min_rated} rated by each rater), the first severity and the severity just "
        "before the first of "
        "these sessions. It is the primary model between clients and between therapists, because its alliance precedes "
        "its outcome."
    )


def estimation_paragraph(models: pd.DataFrame) -> str:
    """Say how the models without priors were estimated, from the columns of their rows.

    Parameters
    ----------
    models : DataFrame
        Rows of ``multilevel.csv`` and ``early.csv``.

    Returns
    -------
    str
        Estimator, residuals, degrees of freedom, intervals and missing data.
    """
    rows = models[(models["engine"] == "mixedlm") & (models["status"] == "ok")]
    if rows.empty:
        return "No model could be estimated by restricted maximum likelihood."
    sentences = ["Models were estimated by restricted maximum likelihood (REML; statsmodels MixedLM)."]
    sentences += structure_sentences(rows)
    if degrees := _values(rows, "df_method", DF_LABELS):
        sentences.append(f"Degrees of freedom: {degrees}.")
    if errors := _values(rows, "se_kind", SE_LABELS):
        sentences.append(f"Standard errors: {errors}.")
    sentences.append(interval_sentence(rows))
    if missing := _values(rows, "missing_method"):
        sentences.append(f"Missing data: {missing}.")
    return " ".join(sentences)


def structure_sentences(rows: pd.DataFrame) -> list[str]:
    """Say which residuals and random effects the models with all raters have, one sentence per structure."""
    joint = rows[(rows["estimand"] == "unique") & rows["residual"].notna()]
    sentences = []
    for structure, models in joint.groupby("residual", sort=False)["model"]:
        names = join_words([lower_first(model_label(name)) for name in dict.fromkeys(models)])
        sentences.append(f"Residuals and random effects, {names}: {name_terms(structure)}.")
    return sentences


def interval_sentence(rows: pd.DataFrame) -> str:
    """Say the level and kind of the intervals of some rows."""
    levels = join_words(sorted({level_percent(level) for level in rows["ci_level"].dropna()}))
    kinds = _values(rows, "ci_kind", CI_LABELS)
    return f"Intervals: {levels}, {kinds}." if levels and kinds else ""


def _values(rows: pd.DataFrame, column: str, labels: Mapping[str, str] | None = None) -> str:
    """List the distinct values of a column in words."""
    found = [str(value) for value in dict.fromkeys(rows[column].dropna())]
    return join_words([(labels or {}).get(value, words(value)) for value in found])


def contrast_paragraph(contrast: pd.DataFrame, decision: DecisionSettings) -> str:
    """Say how raters were contrasted and when the report claims what."""
    robust = _values(contrast[contrast["se_kind"].fillna("").str.startswith("CR")], "se_kind", SE_LABELS)
    robust_text = f" Some contrasts carry a further standard error: {robust}." if robust else ""
    rope = (
        f"An interval inside ±{number(decision.rope)} is called practically equal."
        if decision.rope is not None
        else "No region of practical equivalence was given, so nothing is called practically equal."
    )
    primary = (
        f" The study file sets the model behind the headline: {words(decision.primary)}."
        if decision.primary
        else ""
    )
    return (
        "The contrast D is the first rater's coefficient times that rater's standard deviation, minus the same product "
        "for the second rater, with its interval from the joint covariance of the coefficients; "
        "standard deviations are "
        "held fixed, and a row with their uncertainty stands beside it."
        f"{robust_text} A rater's view is said to count for more only if the interval of D excludes "
        "zero on that rater's "
        f"side and that rater's own coefficient is below zero. {rope} Between therapists nothing is claimed with fewer "
        f"than {decision.min_therapists_for_claim} therapists.{primary}"
    )


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
    return (
        f"The same models were fitted in a Bayesian way {cite('kruschke')} with these priors, in {unit}: intercept "
        f"normal({_plain(priors.intercept_mean)}, {_plain(priors.intercept_sd)}), the effect of one standard deviation "
        f"of a predictor normal(0, {_plain(priors.effect_sd)}), standard deviations of client and therapist intercepts "
        f"half-normal({_plain(priors.group_sd)}), standard deviation over clients of the effect of one within-client "
        f"standard deviation half-normal({_plain(priors.slope_sd)}), residual standard deviation "
        f"half-normal({_plain(priors.residual_sd)}), correlations of client effects LKJ({_plain(priors.lkj_eta)}). "
        f"Posteriors were sampled with NUTS ({engine_name(sampler.engine)}): {count(sampler.chains)} chains of "
        f"{count(sampler.draws)} draws after {count(sampler.tune)} of warm-up. The largest R-hat of any reported "
        f"quantity is {number(worst, 3)}, the smallest effective sample size {count(smallest)}. "
        f"{interval_sentence(rows)}"
    )


def engine_name(engine: str) -> str:
    """Name the sampler as its documentation does."""
    return {"nutpie": "nutpie", "pymc": "PyMC"}.get(engine, engine_label(engine))


def _plain(value: float) -> str:
    """Write a setting with no more decimals than it has."""
    return number(value, 0) if float(value).is_integer() else f"{value:g}"


def seed_paragraph(seed: int, engines: list[str]) -> str:
    """Say where randomness comes from and what a repeat of the run may change."""
    mcmc = (
        " Results from sampling agree between runs within Monte Carlo error; everything else agrees to the last digit "
        "on the same machine."
        if any(engine in ("nutpie", "pymc") for engine in engines)
        else " Nothing in this run was sampled."
    )
    return f"One seed ({seed}) governs the run; every random step derives its own from it by name.{mcmc}"
