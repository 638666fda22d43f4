"""Checks of the fits as data: did the optimiser reach a maximum, is it on the boundary, do residuals correlate?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from alliance_outcome.analyses.inference import AUTOREGRESSIVE, CLUSTER_ROBUST, Inference
from alliance_outcome.analyses.multilevel import FittedModel

#: A likelihood ratio above the 95 % point of χ² with one degree of freedom rejects independent residuals.
LIKELIHOOD_RATIO_LIMIT = float(stats.chi2.ppf(0.95, 1))

#: Columns of a table of checks.
CHECK_COLUMNS = ("stage", "name", "passed", "value", "limit", "text")


def check(
    stage: str, name: str, passed: bool | None, value: float | None, limit: float | None, text: str
) -> dict[str, Any]:
    """Return a row of a table of checks; `passed` is None where the check does not apply."""
    return {"stage": stage, "name": name, "passed": passed, "value": value, "limit": limit, "text": text}


def model_checks(model: FittedModel, inferences: Sequence[Inference], analysis: str) -> list[dict[str, Any]]:
    """Check one fit.

    Parameters
    ----------
    model : FittedModel
        A fit, or why there is none.
    inferences : sequence of Inference
        How its fixed effects are tested.
    analysis : {'multilevel', 'early'}
        Name of the analysis.

    Returns
    -------
    list of dict
        ``convergence``, which gates the answer, ``boundary``, and what was found about the residuals:
        ``autocorrelation`` and ``cluster_robust``.
    """
    name = model.specification.name
    if model.fit is None:
        text = f"{name} was not fitted: {model.reason}"
        return [check(analysis, f"convergence.{name}", None, None, None, text)]
    found = [_convergence(model, analysis), _boundary(model, analysis)]
    by_suffix = {inference.suffix: inference for inference in inferences}
    if AUTOREGRESSIVE in by_suffix:
        found.append(_autocorrelation(model, by_suffix[AUTOREGRESSIVE], analysis))
    robust = _robustness(by_suffix.get(CLUSTER_ROBUST))
    if robust is not None:
        found.append(check(analysis, f"cluster_robust.{name}", None, None, None, f"{name}: {robust}"))
    return found


def _convergence(model: FittedModel, analysis: str) -> dict[str, Any]:
    fit, name = model.fit, model.specification.name
    steepest = float(np.max(np.abs(fit.gradient), initial=0.0))
    reached = "a maximum of the likelihood was reached" if fit.converged else "no maximum was reached"
    text = f"{name}: {reached}; largest derivative of the deviance {steepest:.1e}, {fit.n_rows} rows"
    return check(analysis, f"convergence.{name}", fit.converged, steepest, None, text)


def _boundary(model: FittedModel, analysis: str) -> dict[str, Any]:
    singular, name = model.fit.singular, model.specification.name
    words = f"estimated on the boundary: {', '.join(singular)}" if singular else "nothing on the boundary"
    return check(analysis, f"boundary.{name}", not singular, float(len(singular)), 0.0, f"{name}: {words}")


def _autocorrelation(model: FittedModel, inference: Inference, analysis: str) -> dict[str, Any]:
    """Compare AR(1) with independent residuals by restricted likelihoods, which have the same fixed effects."""
    name = model.specification.name
    key = f"autocorrelation.{name}"
    if inference.result is None:
        return check(analysis, key, None, None, None, f"{name}: {inference.reason}")
    if not inference.result.converged:
        text = f"{name}: the model with AR(1) residuals did not converge"
        return check(analysis, key, None, None, None, text)
    ratio = inference.result.likelihood_ratio(model.fit)
    lower = model.fit.aic - inference.result.aic
    text = (
        f"{name}: residuals one slot apart correlate by {inference.result.ar1:.2f} with AR(1) residuals; likelihood "
        f"ratio {ratio.statistic:.1f} on {ratio.df} degree of freedom ({_p_value(ratio.p_value)}), AIC "
        f"{abs(lower):.1f} {'lower' if lower > 0 else 'higher'} than with independent residuals"
    )
    passed = ratio.statistic <= LIKELIHOOD_RATIO_LIMIT
    return check(analysis, key, passed, ratio.statistic, LIKELIHOOD_RATIO_LIMIT, text)


def _p_value(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".")


def _robustness(inference: Inference | None) -> str | None:
    """Say why there are no cluster-robust rows, where there are none."""
    if inference is None:
        return (
            "no cluster-robust rows: they take predictors for fixed, and one here is an earlier outcome; standard "
            "errors come from the whole observed information"
        )
    return None if inference.result is not None else f"no cluster-robust rows: {inference.reason}"
