"""Client–therapist agreement: correlation and mean difference at each level.

Limits of agreement have profile intervals. Other intervals come from the jackknife over the highest clusters
(therapists, or clients without therapist ids), correlations on Fisher's z scale: sessions of a client and clients of a
therapist are not independent.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.design.levels import (
    BETWEEN_THERAPIST,
    THREE_LEVELS,
    TWO_LEVELS,
    WITHIN_CLIENT,
    level_deviations,
    split_levels,
)
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel

#: A correlation at a level needs this many units to have a Fisher z standard error at all.
FEWEST_UNITS = 4
#: Standard deviations on either side of the mean between which 95 % of differences lie.
NORMAL = float(stats.norm.ppf(0.975))


def agreement_estimates(rows: pd.DataFrame, context: AnalysisContext, min_therapists: int) -> pd.DataFrame:
    """Tabulate agreement between each pair of raters.

    Parameters
    ----------
    rows : DataFrame
        Held sessions rated by every rater, with ``client``, ``therapist`` and the alliance columns.
    context : AnalysisContext
        Facts of the study; the mean difference is refused unless the forms are commensurate.
    min_therapists : int
        With fewer therapists no between-therapist claim is made.

    Returns
    -------
    DataFrame
        Estimates with terms ``correlation`` and ``limit_of_agreement`` (by level) and ``mean_difference``.
    """
    measures = [f"alliance_{rater}" for rater in context.raters]
    complete = rows.dropna(subset=measures).reset_index(drop=True)
    base = {
        **context.common_fields("agreement"),
        "model": "descriptive",
        "engine": "moments",
        "role": "secondary",
        "estimand": "total",
        "ci_level": CI_LEVEL,
        "quantity_kind": "deterministic",
        "lag": None,
        "lag_unit": None,
        "adjustment": "none",
        **sample_fields(complete, client_rows=False),
    }
    found = [
        row
        for pair in itertools.combinations(context.raters, 2)
        for row in _pair_rows(complete, pair, context, base, min_therapists)
    ]
    if len(context.raters) == 1:
        reason = f"alliance is rated by the {context.raters[0]} only"
        found = [
            {
                **base,
                "row_id": "agreement.refused",
                "term": "correlation",
                "status": "refused",
                "reason": reason,
            }
        ]
    return estimates_frame(found)


def _pair_rows(
    complete: pd.DataFrame,
    pair: tuple[str, str],
    context: AnalysisContext,
    base: dict[str, Any],
    min_therapists: int,
) -> list[dict[str, Any]]:
    measures = [f"alliance_{rater}" for rater in pair]
    split = split_levels(complete, measures)
    cluster = "therapist" if context.has_therapists else "client"
    rows = []
    for level in THREE_LEVELS if context.has_therapists else TWO_LEVELS:
        row = {**base, **_names(pair, level, "correlation"), "unit": "correlation"}
        moments, units = _leave_one_out_moments(split, measures, level, cluster)
        if units < FEWEST_UNITS:
            reason = f"fewer than {FEWEST_UNITS} units at this level"
            rows.append({**row, "status": "refused", "reason": reason})
            continue
        numbers = _fisher_interval(moments)
        status = status_fields(True, level, base["n_therapists"], min_therapists)
        rows.append({**row, **numbers, **status})
    difference = {**base, **_names(pair, None, "mean_difference"), "unit": "scale points"}
    if context.commensurate:
        own = {**difference, **_interval(*_mean_differences(split, measures, cluster))}
        return [*rows, own, *_limit_rows(complete, pair, context, base, min_therapists)]
    return [*rows, {**difference, "status": "refused", "reason": "not applicable: the raters' forms differ"}]


def _limit_rows(
    complete: pd.DataFrame,
    pair: tuple[str, str],
    context: AnalysisContext,
    base: dict[str, Any],
    min_therapists: int,
) -> list[dict[str, Any]]:
    """Return half the width of the limits of agreement at each level, 1.96 standard deviations of the difference.

    Sessions of a client are repeated measurements of a pair that varies (Bland & Altman 2007,
    10.1080/10543400701329422): the difference has a part of each level, whose standard deviations come from one
    multilevel model, with profile intervals.
    """
    levels = THREE_LEVELS if context.has_therapists else TWO_LEVELS
    groups = ["therapist", "client"] if context.has_therapists else ["client"]
    names = {WITHIN_CLIENT: "sd(residual)", BETWEEN_THERAPIST: "sd(therapist: Intercept)"}
    table = complete.assign(difference=complete[f"alliance_{pair[0]}"] - complete[f"alliance_{pair[1]}"])
    shared = {"unit": "scale points", "model": "differences", "engine": "multilevel"}
    try:
        fit = MultilevelModel.from_formula("difference ~ 1", table, groups=groups).fit()
        limits = NORMAL * fit.confint("profile", CI_LEVEL)
    except UnfittableModel as problem:
        row = {**base, **shared, **_names(pair, None, "limit_of_agreement")}
        return [{**row, "status": "refused", "reason": problem.reason}]
    rows = []
    for level in levels:
        own = limits.loc[names.get(level, "sd(client: Intercept)")]
        numbers = {"estimate": own["estimate"], "ci_low": own["ci_low"], "ci_high": own["ci_high"]}
        status = status_fields(fit.converged, level, base["n_therapists"], min_therapists)
        named = _names(pair, level, "limit_of_agreement")
        rows.append({**base, **shared, **named, **numbers, "ci_kind": "profile", **status})
    return rows


def _names(pair: tuple[str, str], level: str | None, term: str) -> dict[str, Any]:
    return {
        "row_id": row_key("agreement", *pair, level, term),
        "rater": pair[0],
        "rater_b": pair[1],
        "level": level,
        "term": term,
    }


def _leave_one_out_moments(
    split: pd.DataFrame, measures: list[str], level: str, cluster: str
) -> tuple[np.ndarray, int]:
    """Return sums of squares and products at a level: of all clusters (first row) and without each; and the units.

    Deviations inside a cluster do not depend on other clusters. Where the clusters are themselves the units, the centre
    moves with the unit that is left out, whose products then count n / (n − 1) times.
    """
    deviations = [level_deviations(split, measure, level) for measure in measures]
    if level == WITHIN_CLIENT:
        labels, units = split[cluster].to_numpy(), split["client"].nunique()
    else:
        unit = "therapist" if level == BETWEEN_THERAPIST else "client"
        labels, units = split.drop_duplicates(unit)[cluster].to_numpy(), len(deviations[0])
    first, second = (each.to_numpy() for each in deviations)
    products = pd.DataFrame({"aa": first**2, "ab": first * second, "bb": second**2})
    per_cluster = products.groupby(labels).sum().to_numpy()
    total = per_cluster.sum(axis=0)
    clusters_are_units = level != WITHIN_CLIENT and len(per_cluster) == units
    removed = per_cluster * (units / (units - 1)) if clusters_are_units and units > 1 else per_cluster
    return np.vstack([total, total - removed]), units


def _mean_differences(split: pd.DataFrame, measures: list[str], cluster: str) -> tuple[float, np.ndarray]:
    """Return the mean over clients of the difference between client means, and the same without each cluster."""
    clients = split.groupby("client").agg({measures[0]: "mean", measures[1]: "mean"})
    differences = clients[measures[0]] - clients[measures[1]]
    grouped = differences.groupby(
        split.groupby("client")[cluster].first() if cluster != "client" else clients.index
    )
    sums, counts = grouped.sum().to_numpy(), grouped.size().to_numpy()
    return float(differences.mean()), (sums.sum() - sums) / (counts.sum() - counts)


def _interval(estimate: float, replicates: np.ndarray) -> dict[str, Any]:
    """Return estimate, jackknife standard error and Wald t interval."""
    count = len(replicates)
    std_error = float(np.sqrt((count - 1) / count * np.sum((replicates - replicates.mean()) ** 2)))
    margin = stats.t.ppf(0.5 + CI_LEVEL / 2, count - 1) * std_error
    return {
        "estimate": estimate,
        "std_error": std_error,
        "se_kind": "jackknife",
        "df": count - 1,
        "df_method": "clusters_minus_1",
        "ci_low": estimate - margin,
        "ci_high": estimate + margin,
        "ci_kind": "wald_t",
    }


def _fisher_interval(moments: np.ndarray) -> dict[str, Any]:
    """Return a correlation, its interval from Fisher's z and its standard error by the delta method."""
    z = np.arctanh(moments[:, 1] / np.sqrt(moments[:, 0] * moments[:, 2]))
    on_z = _interval(float(z[0]), z[1:])
    estimate = math.tanh(on_z["estimate"])
    return {
        **on_z,
        "estimate": estimate,
        "std_error": on_z["std_error"] * (1 - estimate**2),
        "ci_low": math.tanh(on_z["ci_low"]),
        "ci_high": math.tanh(on_z["ci_high"]),
    }
