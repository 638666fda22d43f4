"""The ways in which the fixed effects of one model are tested: its own, cluster-robust, with AR(1) residuals.

The own test is the one that claims rest on. The others repeat it under weaker or other assumptions about the
residuals, as sensitivity rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.design.levels import BETWEEN_THERAPIST
from alliance_outcome.models.contrast import CI_LEVEL, Contrast
from alliance_outcome.models.degrees_of_freedom import small_sample_inference
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Ends of ``row_id`` of rows that repeat another row.
CLUSTER_ROBUST, AUTOREGRESSIVE = "CR2", "ar1"


@dataclass(frozen=True, eq=False)
class Inference:
    """One way to test the fixed effects of a model.

    Parameters
    ----------
    result : MultilevelResult or None
        The fit; None where this way is not to be had.
    test : callable or None
        From weights of terms to a Contrast.
    se_kind, df_method : str
        Columns of the estimates table.
    suffix : str or None
        End of ``row_id``; None for the model's own test.
    residual : {'independent', 'ar1'}
        Residuals of the fit.
    reason : str or None
        Why it is not to be had.
    """

    result: MultilevelResult | None
    test: Callable[[Mapping[str, float]], Contrast] | None
    se_kind: str | None
    df_method: str | None
    suffix: str | None = None
    residual: str = "independent"
    reason: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether this is the test that claims rest on."""
        return self.suffix is None

    def fields(
        self,
        weights: Mapping[str, float],
        *,
        level: str | None,
        n_therapists: int | None,
        min_therapists: int,
    ) -> dict[str, Any]:
        """Test one combination of terms, as columns of the estimates table.

        Parameters
        ----------
        weights : mapping of term to float
        level : str or None
            Level of the terms.
        n_therapists : int or None
            Therapists behind the model.
        min_therapists : int
            With fewer no between-therapist claim is made.

        Returns
        -------
        dict
            Estimate, interval and status; or the refusal.
        """
        kind = {"se_kind": self.se_kind, "df_method": self.df_method}
        if self.test is None or self.result is None:
            return {**kind, "status": "refused", "reason": self.reason}
        try:
            tested = self.test(weights)
        except UnavailableInference as error:
            return {**kind, "status": "refused", "reason": error.reason}
        status = status_fields(self.result.converged, level, n_therapists, min_therapists, tested.df)
        return {**wald_fields(tested), **kind, **status}


def wald_fields(tested: Contrast) -> dict[str, Any]:
    """Put a Wald contrast into the columns of an estimates table."""
    return {
        "estimate": tested.estimate,
        "std_error": tested.std_error,
        "df": tested.df,
        "statistic": tested.statistic,
        "p_value": tested.p_value,
        "ci_low": tested.ci_low,
        "ci_high": tested.ci_high,
        "ci_level": CI_LEVEL,
        "ci_kind": "wald_t",
    }


def status_fields(
    converged: bool,
    level: str | None,
    n_therapists: int | None,
    min_therapists: int,
    degrees: float = math.inf,
) -> dict[str, str | None]:
    """Say whether an estimate is established.

    Parameters
    ----------
    converged : bool
        Whether the fit met its convergence check.
    level : str or None
        Level of the estimate.
    n_therapists : int or None
        Therapists behind it.
    min_therapists : int
        With fewer no between-therapist claim is made.
    degrees : float
        Degrees of freedom of its interval; NaN where they cannot be computed.

    Returns
    -------
    dict
        ``status`` and ``reason``.
    """
    if not converged:
        return {"status": "not_established", "reason": "the model did not converge"}
    if level == BETWEEN_THERAPIST and (n_therapists or 0) < min_therapists:
        reason = (
            f"{n_therapists} therapists, fewer than the {min_therapists} that a between-therapist claim needs"
        )
        return {"status": "not_established", "reason": reason}
    if math.isnan(degrees):
        return {
            "status": "not_established",
            "reason": "no degrees of freedom: the data do not determine all variances behind the standard error",
        }
    if degrees < 1:
        return {
            "status": "not_established",
            "reason": "fewer than one degree of freedom: the data hardly determine the standard error",
        }
    return {"status": "ok", "reason": None}


def inferences(model: FittedModel, context: AnalysisContext) -> list[Inference]:
    """List the ways in which the fixed effects of a model are tested.

    Parameters
    ----------
    model : FittedModel
        A model with a fit.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    list of Inference
        The model's own first. Models without a lagged outcome have a cluster-robust one (clusters are therapists in
        three-level models, clients otherwise); beside a lagged outcome there is no derivation. Joint hybrid models
        without a lagged outcome also have one with AR(1) residuals.
    """
    found = [own_inference(model)]
    if not model.specification.has_lagged_outcome:
        found.append(robust_inference(model))
        if not model.specification.is_early and model.is_joint(context):
            found.append(autoregressive_inference(model))
    return found


def own_inference(model: FittedModel) -> Inference:
    """Test by the rule of :mod:`alliance_outcome.models.degrees_of_freedom`."""
    chosen = small_sample_inference(model.fit)
    return Inference(model.fit, chosen.contrast, chosen.se_kind, chosen.df_method)


def robust_inference(model: FittedModel) -> Inference:
    """Test with a CR2 covariance matrix and Satterthwaite degrees of freedom."""
    try:
        robust = model.fit.cluster_robust("CR2")
    except UnavailableInference as error:
        return Inference(None, None, "CR2", "satterthwaite", CLUSTER_ROBUST, reason=error.reason)
    return Inference(model.fit, robust.contrast, "CR2", "satterthwaite", CLUSTER_ROBUST)


def autoregressive_inference(model: FittedModel) -> Inference:
    """Refit with AR(1) residuals and test with Satterthwaite degrees of freedom."""
    try:
        result = model.with_autoregression().fit()
    except UnfittableModel as error:
        return Inference(None, None, None, None, AUTOREGRESSIVE, "ar1", error.reason)
    chosen = small_sample_inference(result)
    return Inference(result, chosen.contrast, chosen.se_kind, chosen.df_method, AUTOREGRESSIVE, "ar1")
