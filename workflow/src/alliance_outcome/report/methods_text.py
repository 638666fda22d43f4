"""Methods of measurement, design and contrast, written from the run: names and numbers come from settings or results.

Pure functions from typed settings and tables to paragraphs, so that snapshots of them can be tested.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.report.formatting import join_words, lower_first, number
from alliance_outcome.report.labels import measure_name, model_label, rater_label, words
from alliance_outcome.report.references import cite
from alliance_outcome.settings import DecisionSettings, DesignSettings, EarlySettings, ReportSettings

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
    forms, who = _forms(alliance), join_words([rater_label(rater) for rater in alliance["rater"]])
    common = (
        "The raters used the same form, range and scoring, so their scores are commensurate."
        if design.commensurate
        else "The raters' forms differ, so their scores are not commensurate and are compared only after division by "
        "standard deviations."
    )
    single = len(alliance) < 2
    return (
        f"The outcome is {settings.outcome_name} in {settings.outcome_unit} (higher is worse), rated by the "
        f"{rater_label(design.outcome_rater)} with the {_forms(_primary_outcome(measures, design.outcome))}. "
        f"Alliance was rated by the {who} with the {forms}. "
        f"{'' if single else common}"
    ).strip()


def _forms(measures: pd.DataFrame) -> str:
    """List the forms of some measures, each once."""
    return join_words(list(dict.fromkeys(measure_name(row) for row in measures.to_dict("records"))))


def _primary_outcome(measures: pd.DataFrame, column: str) -> pd.DataFrame:
    """Find the measure of the primary outcome."""
    found = measures[measures["column"] == column]
    return found if len(found) else measures[measures["construct"] == "severity"].head(1)


def timing_paragraph(design: AnalysisContext, settings: DesignSettings) -> str:
    """Say which severity follows which alliance rating."""
    gap = (
        f" Pairs more than {number(settings.max_gap_weeks, 0)} weeks apart were dropped and counted."
        if settings.max_gap_weeks is not None
        else ""
    )
    sentences = " ".join(design.timing_sentences)
    return f"{sentences} A lag of one means {_LAG_WORDS[settings.lag_unit]}.{gap}"


def levels_paragraph(has_therapists: bool, n_raters: int) -> str:
    """Say how ratings were split and scaled."""
    split = (
        "the client's deviation from the own mean (within clients), the client's mean minus the therapist's mean of "
        "client means (between clients of one therapist), and that mean minus its grand mean (between therapists)"
        if has_therapists
        else "the client's deviation from the own mean (within clients) and the client's mean minus the grand mean "
        "(between clients; without therapist identifiers, differences between therapists are mixed in)"
    )
    rows = (
        "Means, deviations and standard deviations were computed on the rows of the model with all raters, and "
        "models with a single rater were fitted to the same rows."
        if n_raters > 1
        else "Means, deviations and standard deviations were computed on the rows of the model."
    )
    return (
        f"Each rater's alliance was split into {split} {cite('curran_bauer', 'wang_maxwell')}. The means are "
        f"manifest: averages of the ratings at hand, with their error. {rows} The standard deviation of a level "
        "counts each unit of that level once."
    )


def hybrid_paragraph(settings: DesignSettings, models: pd.DataFrame) -> str:
    """Describe the session-to-session models that were fitted."""
    fitted = set(models.loc[models["status"] == "ok", "model"])
    if not any(name.startswith("hybrid") for name in fitted):
        return "No session-to-session model could be fitted."
    levels = [
        text
        for name, text in (("three", "three levels"), ("two", "two levels"))
        if f"hybrid_{name}_level" in fitted
    ]
    together = (
        ", with all raters together (what one adds to the others) and with each rater alone"
        if (models["estimand"] == "unique").any()
        else ""
    )
    covariates = settings.covariates.client + settings.covariates.therapist
    adjusted = f", {join_words([words(name) for name in covariates])}" if covariates else ""
    lagged = (
        " Further comparators contain the previous severity."
        if any(name.startswith("hybrid_lag") for name in fitted)
        else ""
    )
    return (
        f"The session-to-session hybrid model {cite('curran_bauer')} regresses the next severity on the alliance of "
        f"the raters at every level, {_TREND_WORDS[settings.time_trend]} and the first severity{adjusted}. It was "
        f"fitted with {join_words(levels)} {cite('falkenstroem')}{together}. Within clients its coefficients are "
        "comparators of the panel models; between clients and between therapists they are concurrent "
        f"differences over the whole of therapy.{lagged}"
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
        f"The early-alliance model has one row per client: {outcome} on the mean alliance at sessions {sessions} "
        f"(at least {settings.min_rated} rated by each rater), the first severity and the severity just before the "
        "first of these sessions. It is the primary model between clients and between therapists, because its "
        "alliance precedes its outcome."
    )


def contrast_paragraph(contrast: pd.DataFrame, decision: DecisionSettings, raters: Sequence[str]) -> str:
    """Say how raters were contrasted and when the report claims what."""
    if not (contrast["status"] == "ok").any():
        return "The raters were not contrasted."
    uncertain = (contrast["term"] == "difference_sd_uncertain").any()
    beside = ", and a row that counts them as estimated stands beside it" if uncertain else ""
    rope = (
        f"An interval of D inside ±{number(decision.rope)}, the region of practical equivalence (ROPE), is called "
        "practically equal."
        if decision.rope is not None
        else "No region of practical equivalence (ROPE) was given, so nothing is called practically equal."
    )
    primary = (
        f" The study file sets the model behind the headline: {lower_first(model_label(decision.primary))}."
        if decision.primary
        else ""
    )
    first, second = (rater_label(rater) for rater in raters[:2])
    further = ", and likewise for each pair of raters" if len(raters) > 2 else ""
    return (
        f"The contrast D is the {first}'s coefficient times the standard deviation of the {first}'s ratings at that "
        f"level, minus the same product for the {second}{further}. With all raters in one model its interval comes "
        f"from the joint covariance of the coefficients; standard deviations are held fixed{beside}. "
        "A rater's view is said to predict more improvement only "
        "if the interval of D excludes zero on that rater's side and that rater's own coefficient is below zero. "
        f"{rope} Between therapists nothing is claimed with fewer than {decision.min_therapists_for_claim} "
        f"therapists.{primary}"
    )


def seed_paragraph(seed: int, kinds: Collection[str]) -> str:
    """Say where randomness comes from and what a repeat of the run may change.

    Parameters
    ----------
    seed : int
        The run's seed.
    kinds : collection of str
        Kinds of quantities in the run's tables: ``mcmc``, ``bootstrap``, …

    Returns
    -------
    str
        A paragraph.
    """
    repeats = []
    if "mcmc" in kinds:
        repeats.append("Results from sampling a posterior agree between runs within Monte Carlo error.")
    if "bootstrap" in kinds:
        repeats.append("Bootstrap samples are the same in every run with this seed.")
    repeats.append(
        "Everything else agrees to the last digit on the same machine."
        if repeats
        else "Nothing in this run was sampled."
    )
    start = f"One seed ({seed}) governs the run; every random step derives its own from it by name."
    return " ".join([start, *repeats])
