"""What raters, levels, models, engines and terms are called in front of readers.

The tables hold machine names (``between_client_pooled``); everything that people read goes through this module, so that
one thing has one name throughout the report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alliance_outcome.analyses.panel_names import PANEL_ENGINE, PANEL_MODELS, split_version
from alliance_outcome.report.formatting import is_absent, lower_first, sentence_case

#: Levels in the order in which the report shows them.
LEVELS = ("within_client", "between_client", "between_client_pooled", "between_therapist")

LEVEL_LABELS = {
    "within_client": "within clients",
    "between_client": "between clients of one therapist",
    "between_client_pooled": "between clients, therapists pooled",
    "between_therapist": "between therapists",
}

LEVEL_MEANINGS = {
    "within_client": "Sessions that a rater rates higher or lower than that rater's own average for the same client.",
    "between_client": "Clients whose average rating is higher or lower than that of their therapist's other clients.",
    "between_client_pooled": "Clients whose average rating is higher or lower than that of all clients; "
    "differences between therapists are mixed in.",
    "between_therapist": "Therapists with whom the average over clients is higher or lower than with other therapists.",
}

MODEL_LABELS = {
    "hybrid_three_level": "Session to session, three levels",
    "hybrid_two_level": "Session to session, two levels",
    "hybrid_lag_three_level": "Session to session + previous severity, three levels",
    "hybrid_lag_two_level": "Session to session + previous severity, two levels",
    "early_three_level": "Early alliance to end of therapy, three levels",
    "early_two_level": "Early alliance to end of therapy, two levels",
    "early_last_observed": "Early alliance to last observed session (sensitivity)",
    "hybrid_three_level_surface": "Response surface, session to session, three levels",
    "hybrid_two_level_surface": "Response surface, session to session, two levels",
    "early_three_level_surface": "Response surface, early alliance to end of therapy, three levels",
    "early_two_level_surface": "Response surface, early alliance to end of therapy, two levels",
    "cross_lagged_trends": "Cross-lagged panel model with trends of clients",
    "cross_lagged": "Cross-lagged panel model without trends",
    "dynamic_panel": "Dynamic panel model",
    "joint_latent": "Latent means, all rows",
    "joint_corrected": "Latent means, all rows, corrected for reliability",
}

#: The estimator without priors, as the estimates tables name it (not imported, because it loads a compiler).
LIKELIHOOD_ENGINE = "multilevel"

ENGINE_LABELS = {
    LIKELIHOOD_ENGINE: "REML",
    PANEL_ENGINE: "maximum likelihood",
    "nutpie": "Bayesian",
    "pymc": "Bayesian",
    "collapsed": "Bayesian",
}

ESTIMAND_LABELS = {
    "unique": "all raters in one model",
    "total": "one rater at a time",
}

ROLE_LABELS = {
    "primary": "primary",
    "secondary": "secondary",
    "comparator": "comparator",
    "sensitivity": "sensitivity",
}

#: Kinds of standard errors as they stand in a narrow column.
SHORT_SE_LABELS = {"kenward_roger": "Kenward–Roger"}

CI_LABELS = {
    "wald_t": "Wald interval from the t distribution",
    "wald_z": "Wald interval from the normal distribution",
    "profile": "profile-likelihood interval",
    "percentile": "percentile bootstrap interval",
    "equal_tailed": "equal-tailed credible interval",
    "hdi": "highest-density credible interval",
    "fisher_z": "Fisher-z interval",
}

STAGE_LABELS = {
    "ingest": "Reading the files",
    "release": "Before publication",
    "design": "Design",
    "multilevel": "Multilevel models",
    "early": "Early-alliance models",
    "bayesian": "Bayesian models",
    "measurement_error": "Measurement error and missing ratings",
    "dynamics": "Panel models",
    "response_surface": "Response surfaces",
    "data_quality": "Data quality",
    "agreement": "Agreement",
    "contrast": "Contrast of the raters",
    "simulation": "Simulation",
    "bootstrap": "Bootstrap",
    "second_opinion": "Second opinion",
}

#: What stands beneath the heading of a stage's checks.
STAGE_NOTES = {
    "second_opinion": "statsmodels MixedLM is an independent program for the same kind of model. Each model, in the "
    "nearest version that it can express, was fitted by both programs, and fixed effects and log-likelihoods were "
    "compared. A disagreement would point to a fault in one of the two; it decides nothing else.",
}

#: One step of the unit in which a study counts lags.
SLOT_WORDS = {
    "attended": "held session",
    "scheduled": "scheduled session",
    "week": "week",
}

#: What the rows of an analysis are called in the data flow and where columns of it are compared.
ANALYSIS_LABELS = {
    "hybrid": "Session to session",
    "early": "Early alliance",
}

#: Last part of the name of a check on sampling.
CHECK_LABELS = {
    "r_hat": "R-hat",
    "ess_bulk": "bulk effective sample size",
    "ess_tail": "tail effective sample size",
    "divergences": "divergent transitions",
    "energy": "energy of the sampler",
    "tree_depth": "depth of the trajectories",
    "sampling": "sampling",
}

_ALLIANCE_TERM = re.compile(
    rf"^alliance_(?P<rater>.+?)_(?P<level>{'|'.join(sorted(LEVELS, key=len, reverse=True))})$"
)
_COVARIANCE_TERM = re.compile(
    r"^(?P<kind>var|cov|cor|corr|sd)\((?P<group>[^:()]+)(?::\s*(?P<terms>[^()]+))?\)$"
)
_CONTRAST_WORDS = {
    "coefficient_standardised": "standardised coefficient",
    "difference": "D",
    "absolute_difference": "difference in size",
    "latent_sd": "latent standard deviation",
    "latent_correlation": "latent correlation",
    "reliability": "reliability",
}
_CONTRAST_PATTERN = "|".join(sorted(_CONTRAST_WORDS, key=len, reverse=True))
_LEVEL_PATTERN = "|".join(sorted(LEVELS, key=len, reverse=True))
_TERM_IN_TEXT = re.compile(rf"\balliance_[a-z0-9_]+?_(?:{_LEVEL_PATTERN})\b")
_SPREAD_IN_TEXT = re.compile(r"\b(?:var|cov|corr?|sd)\([^()]+\)")
_CONTRAST_IN_TEXT = re.compile(rf"\b(?P<term>{_CONTRAST_PATTERN}) (?P<level>{_LEVEL_PATTERN})\b")
_OWN_TERM_IN_TEXT = re.compile(r"\b(?:severity_first|severity_before|outcome_before)\b")
_BOUNDARY_IN_TEXT = re.compile(r"\b(?P<group>client|therapist):(?P<term>[A-Za-z_]+)")
#: Versions of panel models have the model's name and what sets them apart.
_MODEL_PATTERN = "|".join(f"{name}(?:_[a-z0-9]+)*" if name in PANEL_MODELS else name for name in MODEL_LABELS)
_FITTED_MODEL = re.compile(
    rf"\b(?P<model>{_MODEL_PATTERN})\b"
    rf"(?:\.(?P<raters>[a-z][a-z0-9_]*))?(?:\.(?P<check>{'|'.join(CHECK_LABELS)})\b)?"
)
_COMPARED_VERSION = re.compile(r"^(?: \((?P<structure>[^()]*)\))?: (?P<statement>.*)$", re.DOTALL)
_CATEGORY_TERM = re.compile(r"^(?P<name>.+)\[T\.(?P<category>.+)\]$")
_VARIANCE_WORDS = {
    "var": "variance",
    "cov": "covariance",
    "cor": "correlation",
    "corr": "correlation",
    "sd": "standard deviation",
}
_TERM_LABELS = {
    "intercept": "Intercept",
    "time": "Time (trend over sessions)",
    "severity_first": "First severity",
    "severity_before": "Severity just before the alliance window",
    "outcome_before": "Previous severity",
}
_CONTRAST_TERMS = {
    "coefficient_standardised": "{first}-rated alliance, per SD",
    "difference": "D, {first} against {second}",
    "absolute_difference": "|β| of {first} minus |β| of {second}",
    "difference_sd_uncertain": "D, {first} against {second}, SDs estimated",
    "latent_sd": "Latent SD of {first}-rated alliance",
    "latent_correlation": "Latent correlation of {first}- and {second}-rated alliance",
    "reliability": "Reliability of {first}-rated alliance",
}
_OTHER_TERMS = {
    "phi(residual)": "Correlation of neighbouring residuals (φ)",
}


def rater_label(rater: str | None) -> str:
    """Name a rater in running text, for example ``client``."""
    return "" if is_absent(rater) else str(rater).replace("_", " ")


def words(name: str | None) -> str:
    """Turn a machine name that has no label of its own into words."""
    return "" if is_absent(name) else str(name).replace("_", " ")


def level_label(level: str | None) -> str:
    """Name a level in running text."""
    return LEVEL_LABELS.get(level, words(level))


def model_label(model: str | None) -> str:
    """Name a model at the start of a table cell."""
    if version := split_version(str(model)):
        return f"{MODEL_LABELS[version[0]]}: {words(version[1])}"
    return MODEL_LABELS.get(model, sentence_case(words(model)))


def engine_label(engine: str | None) -> str:
    """Name an estimator."""
    return ENGINE_LABELS.get(engine, words(engine))


def short_se_label(kind: str | None) -> str:
    """Name a kind of standard error in a narrow column."""
    return SHORT_SE_LABELS.get(kind, "" if is_absent(kind) else str(kind))


def stage_label(stage: str) -> str:
    """Name a stage of the pipeline as a heading."""
    return STAGE_LABELS.get(stage, sentence_case(words(stage)))


def term_label(term: str, rater: str | None = None, rater_b: str | None = None) -> str:
    """Name a term of a model or a contrast.

    Parameters
    ----------
    term : str
        As in the ``term`` column of an estimates table.
    rater, rater_b : str or None
        The row's raters; they matter for terms of ``contrast.csv``.

    Returns
    -------
    str
        For example ``Client-rated alliance, within clients``.
    """
    if term in _CONTRAST_TERMS:
        if term == "difference" and is_absent(rater_b):
            return "D"
        label = _CONTRAST_TERMS[term].format(first=rater_label(rater), second=rater_label(rater_b))
        return sentence_case(label)
    if match := _ALLIANCE_TERM.match(term):
        return f"{sentence_case(rater_label(match['rater']))}-rated alliance, {level_label(match['level'])}"
    if match := _COVARIANCE_TERM.match(term):
        return _covariance_label(match["kind"], match["group"], match["terms"])
    if match := _CATEGORY_TERM.match(term):
        return f"{sentence_case(words(match['name']))}: {match['category']}"
    if term in _OTHER_TERMS:
        return _OTHER_TERMS[term]
    return _TERM_LABELS.get(term.lower(), sentence_case(words(term)))


def name_slots(text: str, lag_unit: str) -> str:
    """Say of slots, which texts of checks count in, what they are in a study that counts lags in this unit."""
    return re.sub(r"\bslot\b", SLOT_WORDS.get(lag_unit, "slot"), text)


def alliance_rater(term: str) -> str | None:
    """Return who rates the alliance of a term; None for any other term."""
    match = _ALLIANCE_TERM.match(term)
    return None if match is None else match["rater"]


def random_effect_label(term: str) -> str:
    """Name a random effect, for example ``Slope of client-rated alliance, within clients``."""
    return "Intercept" if term == "Intercept" else f"Slope of {lower_first(term_label(term))}"


def name_terms(text: str) -> str:
    """Replace machine names of terms, variances and models inside a sentence by their labels.

    Parameters
    ----------
    text : str
        For example the text of a check.

    Returns
    -------
    str
        The text with names that people can read.
    """
    text = _FITTED_MODEL.sub(lambda match: fitted_model_label(**match.groupdict()), text)
    text = _SPREAD_IN_TEXT.sub(lambda match: lower_first(term_label(match.group())), text)
    text = _BOUNDARY_IN_TEXT.sub(lambda match: _boundary_label(match["group"], match["term"]), text)
    text = _CONTRAST_IN_TEXT.sub(
        lambda match: f"{_CONTRAST_WORDS[match['term']]} {level_label(match['level'])}", text
    )
    text = _OWN_TERM_IN_TEXT.sub(lambda match: lower_first(term_label(match.group())), text)
    return _TERM_IN_TEXT.sub(lambda match: lower_first(term_label(match.group())), text)


def fitted_model_label(model: str, raters: str | None = None, check: str | None = None) -> str:
    """Name a model and, where given, the raters in it and the check on it."""
    if raters is None:
        return lower_first(model_label(model))
    checked = "" if check is None else f" ({CHECK_LABELS[check]})"
    return f"{model_label(model)}, {raters_in_model(raters)}{checked}"


def raters_in_model(raters: str) -> str:
    """Say which raters a fitted model has, from the last part of its name."""
    return "all raters" if raters == "joint" else f"the {rater_label(raters)} alone"


def split_model_name(text: str) -> tuple[str, str, str] | None:
    """Split ``<model>.<raters>: <statement>``, as texts of checks are written; None for any other text.

    Random effects in brackets after the name, which say which version of the model was compared, become a word at the
    end of the statement if it is not the model as it is.
    """
    match = _FITTED_MODEL.match(text)
    if match is None or match["raters"] is None:
        return None
    rest = _COMPARED_VERSION.match(text[match.end() :])
    if rest is None:
        return None
    simpler = "; client effects uncorrelated in both" if ", uncorrelated" in (rest["structure"] or "") else ""
    return match["model"], match["raters"], f"{rest['statement']}{simpler}"


def _boundary_label(group: str, term: str) -> str:
    """Name what was estimated on the boundary: a variance at zero, or a singular covariance matrix."""
    if term == "covariance":
        return f"covariance matrix of {group} effects"
    return f"variance over {group}s of {lower_first(term_label(term))}"


def _covariance_label(kind: str, group: str, terms: str | None) -> str:
    """Name a variance, covariance or correlation of random effects."""
    if terms is None:
        return f"{sentence_case(group)} {_VARIANCE_WORDS[kind]}"
    parts = [term_label(part.strip()) for part in re.split(r",|~", terms)]
    return f"{sentence_case(_VARIANCE_WORDS[kind])} over {group}s: {' with '.join(map(lower_first, parts))}"


def column_label(column: str) -> str:
    """Name a column of the session table, for example ``Client-rated alliance (goal)``."""
    parts = column.split("_")
    if parts[0] == "alliance" and len(parts) > 1:
        scale = f" ({parts[2]})" if len(parts) > 2 and parts[2] in ("goal", "task", "bond") else ""
        rater = parts[1] if scale else " ".join(parts[1:])
        return f"{sentence_case(rater)}-rated alliance{scale}"
    if parts[0] == "severity" and len(parts) > 2:
        return f"{'-'.join(parts[1:-1]).upper()} severity, {parts[-1]}-rated"
    return sentence_case(words(column))


def measure_name(row: Mapping[str, Any]) -> str:
    """Name a measure with its short form, for example ``Working Alliance Inventory, 12 items (WAI-S)``."""
    title, short = row["title"], str(row["instrument"]).upper()
    known = is_absent(row["instrument"]) or short in title.upper()
    return title if known else f"{title} ({short})"
