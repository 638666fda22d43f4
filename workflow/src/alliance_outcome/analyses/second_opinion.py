"""Does statsmodels MixedLM, an independent implementation, find what the engine finds?

MixedLM cannot express every model of a study. It is asked for the nearest version that it can: two-level models as they
are, three-level models with independent client effects, early models with their therapists' intercept. The engine is
fitted to that very version too, and both are compared. A lagged outcome changes standard errors alone, which are not
compared. Nothing here decides anything: a failed check is shown, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alliance_outcome.analyses.model_checks import check
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.mixedlm import SecondOpinion, second_opinion
from alliance_outcome.models.multilevel_result import MultilevelResult

STAGE = "second_opinion"

#: Fixed effects may differ by this fraction of their standard error, log-likelihoods by this.
FIXED_EFFECT_LIMIT, LOG_LIKELIHOOD_LIMIT = 1e-3, 1e-4

#: MixedLM is not asked about more rows than this, which would take it minutes a model.
MOST_ROWS = 50_000


def second_opinions(models: Sequence[FittedModel]) -> list[dict[str, Any]]:
    """Compare every fit with MixedLM's.

    Parameters
    ----------
    models : sequence of FittedModel
        Fits and refusals.

    Returns
    -------
    list of dict
        Rows of a table of checks: ``value`` is the largest difference of a fixed effect in standard errors; the
        difference of the log-likelihoods stands in the text. Not applicable, with the reason, where there is nothing to
        compare or MixedLM did not get there.
    """
    return [_compared(model) for model in models]


def _compared(model: FittedModel) -> dict[str, Any]:
    """Compare one fit."""
    name = model.specification.name
    if model.fit is None:
        return _not_applicable(name, f"not fitted: {model.reason}")
    if model.fit.n_rows > MOST_ROWS:
        return _not_applicable(name, f"more than {MOST_ROWS:,} rows, which take statsmodels MixedLM too long")
    try:
        fit = _expressible(model)
        opinion = second_opinion(
            model.rows[model.outcome],
            model.rows[list(model.terms)],
            {grouping.level: model.rows[grouping.level] for grouping in fit.design.levels.grouped},
            {effects.level: fit.random_covariance(effects.level) for effects in fit.design.structure.levels},
            fit.scale,
        )
    except UnfittableModel as error:
        return _not_applicable(name, error.reason)
    return _verdict(name, fit, opinion)


def _expressible(model: FittedModel) -> MultilevelResult:
    """Fit the version of a model that MixedLM can express."""
    if model.specification.three_level and model.specification.slopes:
        return model.without_slope_correlations().fit()
    return model.fit


def _verdict(name: str, fit: MultilevelResult, opinion: SecondOpinion) -> dict[str, Any]:
    """Compare fixed effects and log-likelihoods."""
    errors = np.sqrt(np.diag(fit.cov_params()))
    distance = float(np.max(np.abs(opinion.params[fit.params.index] - fit.params).to_numpy() / errors))
    rise = opinion.log_likelihood - fit.llf
    agreed = distance <= FIXED_EFFECT_LIMIT and abs(rise) <= LOG_LIKELIHOOD_LIMIT
    text = (
        f"{name} ({fit.design.structure.describe()}): statsmodels MixedLM differs by {distance:.1e} standard errors at "
        f"most, at most {FIXED_EFFECT_LIMIT:g} wanted, and by {rise:+.1e} in the log-likelihood, at most "
        f"{LOG_LIKELIHOOD_LIMIT:g} wanted"
    )
    if not agreed and not opinion.converged:
        return _not_applicable(name, f"statsmodels MixedLM did not converge; {text}")
    return check(STAGE, f"{STAGE}.{name}", agreed, distance, FIXED_EFFECT_LIMIT, text)


def _not_applicable(name: str, reason: str) -> dict[str, Any]:
    return check(STAGE, f"{STAGE}.{name}", None, None, FIXED_EFFECT_LIMIT, f"{name}: {reason}")
