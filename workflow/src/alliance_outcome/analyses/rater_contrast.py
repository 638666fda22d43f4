"""The rater contrast: whose alliance goes with more improvement, at each level and by each engine.

D = b_client·sd_client − b_therapist·sd_therapist, in units of the outcome, with severity higher = worse: below zero,
the client's rating goes with less severity than the therapist's. Both raters' standardised coefficients and
|β_client| − |β_therapist| stand beside it. Standard deviations are held fixed; ``difference_sd_uncertain`` carries
their uncertainty. ``unique`` contrasts come from the joint model and its covariance. ``total`` contrasts come from two
models on the same rows, whose coefficients covary; their covariance, and that with the standard deviations, is the
jackknife over the highest clusters with variance parameters held (for linear estimators this is the cluster-robust
CR3 estimator stacked over the models; Bell & McCaffrey 2002; MacKinnon, Nielsen & Webb 2023,
10.1016/j.jeconom.2022.04.001).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.multilevel import ENGINE
from alliance_outcome.design.levels import level_column
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.jackknife import jackknife_covariance


@dataclass(frozen=True)
class RaterCoefficient:
    """One rater's coefficient at one level.

    Parameters
    ----------
    row : dict
        Its row of the estimates table.
    sd : float
        Standard deviation of the rater's alliance at the level.
    coefficients, sds : ndarray, shape (clusters,)
        Both without each cluster in turn.
    """

    row: dict[str, Any]
    sd: float
    coefficients: np.ndarray
    sds: np.ndarray


def multilevel_contrasts(
    estimates: pd.DataFrame,
    covariances: pd.DataFrame,
    scales: pd.DataFrame,
    replicates: pd.DataFrame,
    context: AnalysisContext,
) -> list[dict[str, Any]]:
    """Contrast the raters in every multilevel model.

    Parameters
    ----------
    estimates : DataFrame
        ``multilevel.csv`` or ``early.csv``.
    covariances, scales, replicates : DataFrame
        The helper tables that the fits wrote.
    context : AnalysisContext
        Facts of the study.

    Returns
    -------
    list of dict
        Rows for the estimates table: per model, estimand and level the standardised coefficients, and per pair of
        raters the contrasts; refused where a coefficient was refused.
    """
    alliance = estimates[estimates["level"].notna() & estimates["term"].str.startswith("alliance_", na=False)]
    rows: list[dict[str, Any]] = []
    for (model, estimand, level), group in alliance.groupby(["model", "estimand", "level"], sort=False):
        records = {record["rater"]: record for record in group.to_dict("records")}
        refused = next((record for record in records.values() if record["status"] == "refused"), None)
        if refused is not None:
            rows += _refused(refused, records, context)
            continue
        raters = {
            rater: _coefficient(
                record, scales, replicates, "+".join(context.raters) if estimand == "unique" else rater
            )
            for rater, record in records.items()
        }
        rows += [_standardised_row(raters[rater], context) for rater in raters]
        joint = covariances[(covariances["model"] == model) & (covariances["estimand"] == "unique")]
        for first, second in itertools.combinations(raters, 2):
            covariance = _joint_covariance(joint, level, (first, second)) if estimand == "unique" else None
            rows += _pair_rows(raters[first], raters[second], covariance, context)
    return rows


def _coefficient(
    record: dict[str, Any], scales: pd.DataFrame, replicates: pd.DataFrame, raters: str
) -> RaterCoefficient:
    """Collect what is known of one coefficient."""

    def of_model(table: pd.DataFrame) -> pd.DataFrame:
        same = (table["model"] == record["model"]) & (table["estimand"] == record["estimand"])
        return table[same & (table["raters"] == raters)]

    scale = of_model(scales)
    sd = scale.loc[(scale["rater"] == record["rater"]) & (scale["level"] == record["level"]), "sd"].item()
    own = of_model(replicates)
    own = own[own["term"] == record["term"]].sort_values("cluster")
    return RaterCoefficient(
        record,
        sd,
        own.loc[own["quantity"] == "coefficient", "value"].to_numpy(),
        own.loc[own["quantity"] == "sd", "value"].to_numpy(),
    )


def _joint_covariance(joint: pd.DataFrame, level: str, raters: Sequence[str]) -> np.ndarray:
    """Return the 2 × 2 covariance of two raters' coefficients at a level."""
    terms = [level_column(f"alliance_{rater}", level) for rater in raters]
    table = joint.pivot(index="term", columns="term2", values="covariance")
    return table.loc[terms, terms].to_numpy()


def _standardised_row(coefficient: RaterCoefficient, context: AnalysisContext) -> dict[str, Any]:
    """Scale one coefficient's row to one standard deviation of the predictor."""
    row = coefficient.row
    scaled = {
        key: None if row[key] is None or pd.isna(row[key]) else row[key] * coefficient.sd
        for key in ("estimate", "std_error", "ci_low", "ci_high")
    }
    return {
        **_contrast_base(row, context),
        **scaled,
        **_named(row, row["rater"], None, "coefficient_standardised"),
    }


def _contrast_base(row: dict[str, Any], context: AnalysisContext) -> dict[str, Any]:
    """Copy the fields of a coefficient's row that its contrasts share."""
    kept = {key: (None if pd.isna(value) else value) for key, value in row.items()}
    return {**kept, "analysis": "contrast", "unit": f"{context.unit} per SD of alliance at that level"}


def _named(row: dict[str, Any], rater: str, rater_b: str | None, term: str) -> dict[str, Any]:
    """Name a contrast row."""
    source = "" if row["engine"] == ENGINE else "bayesian"
    key = row_key(source, row["model"], row["estimand"], row["level"], rater, rater_b, term)
    return {"row_id": key, "rater": rater, "rater_b": rater_b, "term": term}


def _pair_rows(
    first: RaterCoefficient, second: RaterCoefficient, covariance: np.ndarray | None, context: AnalysisContext
) -> list[dict[str, Any]]:
    """Return D, |β| − |β| and D with uncertain standard deviations for a pair of raters."""
    base = _contrast_base(first.row, context)
    standardised = np.array([first.row["estimate"] * first.sd, second.row["estimate"] * second.sd])
    clusters = len(first.coefficients)
    jackknife = {"se_kind": "CR3", "df": clusters - 1, "df_method": "clusters_minus_1"}
    fixed_sds = pd.DataFrame({each.row["rater"]: each.coefficients * each.sd for each in (first, second)})
    uncertain_sds = pd.DataFrame(
        {each.row["rater"]: each.coefficients * each.sds for each in (first, second)}
    )
    if covariance is None:
        spread, source = fixed_sds, jackknife
    else:
        spread = covariance * np.outer([first.sd, second.sd], [first.sd, second.sd])
        df = min(first.row["df"], second.row["df"])
        source = {"se_kind": "model", "df": df, "df_method": first.row["df_method"]}
    minus = np.array([1.0, -1.0])
    found = [
        ("difference", minus, spread, source),
        ("absolute_difference", np.sign(standardised) * minus, spread, source),
        ("difference_sd_uncertain", minus, uncertain_sds, jackknife),
    ]
    return [
        {
            **base,
            **origin,
            **_wald(weights, standardised, matrix, origin["df"]),
            "role": base["role"] if term == "difference" else "secondary",
            **_named(first.row, first.row["rater"], second.row["rater"], term),
        }
        for term, weights, matrix, origin in found
    ]


def _wald(
    weights: np.ndarray, standardised: np.ndarray, spread: np.ndarray | pd.DataFrame, degrees: float
) -> dict[str, Any]:
    """Return estimate, Wald t interval and test of a combination, or why its standard error is not to be had.

    `spread` is the covariance of the standardised coefficients, or their leave-one-cluster-out replicates.
    """
    if isinstance(spread, pd.DataFrame):
        try:
            spread = jackknife_covariance(spread).to_numpy()
        except UnfittableModel as error:
            empty = dict.fromkeys(
                ("estimate", "std_error", "df", "statistic", "p_value", "ci_low", "ci_high")
            )
            return {**empty, "status": "refused", "reason": error.reason}
    estimate, std_error = float(weights @ standardised), math.sqrt(weights @ spread @ weights)
    statistic = estimate / std_error
    margin = stats.t.ppf(0.5 + CI_LEVEL / 2, degrees) * std_error
    return {
        "estimate": estimate,
        "std_error": std_error,
        "statistic": statistic,
        "p_value": float(2 * stats.t.sf(abs(statistic), degrees)),
        "ci_low": estimate - margin,
        "ci_high": estimate + margin,
    }


def _refused(
    refused: dict[str, Any], raters: Iterable[str], context: AnalysisContext
) -> list[dict[str, Any]]:
    """Return refused contrast rows."""
    base = _contrast_base(refused, context)
    return [
        {**base, **_named(refused, first, second, "difference")}
        for first, second in itertools.combinations(raters, 2)
    ]


def single_rater_refusal(context: AnalysisContext) -> dict[str, Any]:
    """Return the row that says why a study with one rater has no contrast."""
    return {
        **context.common_fields("contrast"),
        "row_id": "contrast.refused",
        "term": "difference",
        "rater": context.raters[0],
        "role": "primary",
        "status": "refused",
        "reason": f"alliance is rated by the {context.raters[0]} only; a contrast needs two raters",
    }


def posterior_contrasts(
    draws: dict[str, Any], sds: dict[str, float], base: dict[str, Any], summarise: Any, rope: float | None
) -> list[dict[str, Any]]:
    """Contrast the raters at one level from posterior draws, standard deviations held fixed.

    Parameters
    ----------
    draws : dict
        Draws of each rater's raw coefficient (arrays with ``chain`` and ``draw``), in rater order.
    sds : dict
        Standard deviation by rater.
    base : dict
        Columns shared by the rows, with ``model``, ``engine``, ``estimand`` and ``level``.
    summarise : callable
        Turns one array of draws into the Monte Carlo columns of the estimates table.
    rope : float or None
        Half-width of the region of practical equivalence.

    Returns
    -------
    list of dict
        Rows for the estimates table; ``prob_direction`` of D is P(D < 0).
    """
    scaled = {rater: values * sds[rater] for rater, values in draws.items()}
    rows = [
        {**base, **summarise(values), **_named(base, rater, None, "coefficient_standardised")}
        for rater, values in scaled.items()
    ]
    for first, second in itertools.combinations(scaled, 2):
        difference = scaled[first] - scaled[second]
        below = float((difference < 0).mean())
        inside = None if rope is None else float((abs(difference) < rope).mean())
        rows.append(
            {
                **base,
                **summarise(difference),
                "prob_direction": below,
                "prob_rope": inside,
                **_named(base, first, second, "difference"),
            }
        )
        absolute = abs(scaled[first]) - abs(scaled[second])
        rows.append(
            {
                **base,
                **summarise(absolute),
                "role": "secondary",
                **_named(base, first, second, "absolute_difference"),
            }
        )
    return rows
