"""How much of the outcome's variance the joint models explain, at which level, and through which rater.

R² parts are those of Rights & Sterba (:mod:`alliance_outcome.models.explained_variance`). Dominance and commonality
analysis (:mod:`alliance_outcome.models.dominance`) share the R² of the fixed effects out among the raters: what is
unique to each, common to several, and each rater's general dominance; models without a rater's terms are refitted with
the same random effects. Intervals come from a bootstrap of clusters in which every model is refitted to the same
samples, and the covariances of the predictors are computed again in each. Nothing is clipped: common parts are negative
where raters suppress each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from alliance_outcome.analyses.coefficient_rows import base_row, sample_of
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.estimates import row_key
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.resampling import (
    ResampledModel,
    Resampling,
    require_same_draws,
    unusable_reason,
    usable_replicates,
)
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.dominance import dominance_analysis
from alliance_outcome.models.explained_variance import TOTAL, ModelEstimates, explained_variance
from alliance_outcome.models.level_covariances import DesignCovariances, LevelMoments, design_covariances
from alliance_outcome.models.multilevel_bootstrap import Bootstrap
from alliance_outcome.models.multilevel_result import MultilevelResult
from alliance_outcome.models.replicate_summary import summarise_replicates

ANALYSIS = "explained"

#: Columns do not vary at a level if less than this fraction of their variance is there: rounding.
NO_VARIATION = 1e-12

#: A measure: level of the model (or ``total``) and part, as ``ExplainedVariance.r_squared`` names them.
Measure = tuple[str, str]
Subset = frozenset[str]


@dataclass(frozen=True, eq=False)
class _Quantity:
    """One share of variance with its replicates.

    Parameters
    ----------
    term : str
        ``r2_t(f1)``, ``unique(client)``, …
    level : str
        Level of the model whose variance it is a share of, or ``total``.
    rater : str or None
    estimate : float
    replicates : ndarray, shape (n,)
    """

    term: str
    level: str
    rater: str | None
    estimate: float
    replicates: np.ndarray


def explained_rows(
    resampled: Sequence[ResampledModel], resampling: Resampling, analysis: StudyAnalysis
) -> list[dict[str, Any]]:
    """Take the explained variance of the joint models of an analysis apart.

    Parameters
    ----------
    resampled : sequence of ResampledModel
        Models with their replicates; those without all raters are passed over.
    resampling : Resampling
        How they were drawn; models without a rater are refitted to the same samples.
    analysis : StudyAnalysis

    Returns
    -------
    list of dict
        Rows for the estimates table. ``term`` is an R² measure, in small letters (``r2_t(f1)`` of the total variance,
        ``r2_w(f1)`` and so on of the variance of a level; none of random slopes at levels at which their columns do not
        vary), or ``unique(rater)``, ``common(rater, rater)`` or
        ``general(rater)`` of the R² of the fixed effects; ``level`` is that of the variance, empty for the total. A
        study with one rater has the former alone.
    """
    return [
        row
        for each in resampled
        if each.model.is_joint(analysis.context)
        for row in _model_rows(each, resampling, analysis)
    ]


def _model_rows(
    resampled: ResampledModel, resampling: Resampling, analysis: StudyAnalysis
) -> list[dict[str, Any]]:
    """Return the rows of one joint model."""
    model = resampled.model
    base = {**base_row(model, analysis), **sample_of(model), "rater": None}
    base |= {"analysis": ANALYSIS, "role": "secondary", "quantity_kind": "bootstrap"}
    quantities, usable, lacking = _quantities(resampled, resampling)
    reason = unusable_reason(usable, resampled.cluster)
    rows = []
    for quantity in quantities:
        level = _level_of(quantity.level, model)
        fields = {
            "estimate": quantity.estimate,
            **status_fields(model.fit.converged, level, base["n_therapists"], analysis.min_therapists),
        }
        if reason is None:
            drawn = quantity.replicates[usable]
            fields |= summarise_replicates(quantity.estimate, drawn, resampled.n_clusters)
        elif fields["status"] == "ok":
            fields |= {"status": "not_established", "reason": reason}
        rows.append({**base, **_named(quantity, model.specification, level), **fields})
    return rows if lacking is None else [*rows, _refused(base, model.specification, lacking)]


def _quantities(
    resampled: ResampledModel, resampling: Resampling
) -> tuple[list[_Quantity], np.ndarray, str | None]:
    """Compute all shares of one joint model, say which samples are usable, and why raters have no shares if so."""
    fit, raters = resampled.model.fit, resampled.model.specification.raters
    moments = LevelMoments.of(fit.levelled_design, fit.design.cluster_level.codes)
    whole = measured(fit, resampled.bootstrap, moments)
    found = _r_squared_parts(fit, whole)
    if len(raters) < 2:
        return found, resampled.usable, None
    try:
        subsets = _subset_fits(resampled, resampling)
    except UnfittableModel as error:
        return found, resampled.usable, error.reason
    measures = {
        subset: measured(reduced, bootstrap, moments) for subset, (reduced, bootstrap) in subsets.items()
    }
    usable = np.logical_and.reduce([usable_replicates(bootstrap) for _, bootstrap in subsets.values()])
    shared = _shared_parts(fit, raters, {**measures, frozenset(raters): whole})
    return [*found, *shared], resampled.usable & usable, None


def _subset_fits(
    resampled: ResampledModel, resampling: Resampling
) -> dict[Subset, tuple[MultilevelResult, Bootstrap]]:
    """Fit the model with every smaller subset of raters, and refit each to the same samples."""
    specification, fit = resampled.model.specification, resampled.model.fit
    found = {}
    for subset in _subsets(specification.raters)[:-1]:
        dropped = {term for term, (rater, _) in specification.alliance_terms().items() if rater not in subset}
        reduced = _without(fit, dropped)
        found[subset] = (reduced, resampling.draw(reduced, specification.model))
    require_same_draws([resampled.bootstrap, *(bootstrap for _, bootstrap in found.values())])
    return found


def _subsets(raters: Sequence[str]) -> list[Subset]:
    """List all subsets, the whole last."""
    return [frozenset(each) for size in range(len(raters) + 1) for each in combinations(raters, size)]


def _without(fit: MultilevelResult, dropped: set[str]) -> MultilevelResult:
    """Refit without some fixed effects, random effects as they are."""
    columns = fit.design.columns
    kept = [position for position, term in enumerate(columns.terms) if term not in dropped]
    terms = tuple(columns.terms[position] for position in kept)
    return fit.refitted(replace(columns, fixed=columns.fixed[:, kept], terms=terms))


def measured(
    fit: MultilevelResult, bootstrap: Bootstrap, moments: LevelMoments
) -> dict[Measure, tuple[float, np.ndarray]]:
    """Compute every R² measure of a fit, in the data and in each sample.

    Parameters
    ----------
    fit : MultilevelResult
        The model, or one without some of its terms, which counts as one with coefficients of zero there.
    bootstrap : Bootstrap
        Its replicates.
    moments : LevelMoments
        Of the columns of the whole model, by cluster.

    Returns
    -------
    dict of (level, part) to tuple of float and ndarray, shape (n,)
        Estimate and replicates; NaN where a sample could not be fitted.
    """
    own = fit.estimates_for_levels()
    positions = [moments.terms.index(term) for term in fit.design.terms]
    levels = [grouping.level for grouping in fit.design.levels.grouped[::-1]]
    estimate = _shares(own, positions, moments.covariances())
    replicates = np.full((len(estimate), len(bootstrap.draws)), np.nan)
    for number in np.flatnonzero(usable_replicates(bootstrap)):
        drawn = ModelEstimates(
            bootstrap.params.to_numpy()[number],
            tuple(
                bootstrap.covariances[level][number] if level in bootstrap.covariances else np.empty((0, 0))
                for level in levels
            ),
            float(bootstrap.scale.iloc[number]),
        )
        shares = _shares(drawn, positions, moments.covariances(bootstrap.draws[number]))
        replicates[:, number] = list(shares.values())
    return {
        measure: (value, own_replicates)
        for (measure, value), own_replicates in zip(estimate.items(), replicates, strict=True)
    }


def _shares(
    estimates: ModelEstimates, positions: Sequence[int], covariances: DesignCovariances
) -> dict[Measure, float]:
    """Return every R² measure of estimates whose terms stand at some positions of the design."""
    coefficients = np.zeros(len(covariances.terms))
    coefficients[positions] = estimates.coefficients
    return explained_variance(covariances, replace(estimates, coefficients=coefficients)).r_squared()


def _r_squared_parts(
    fit: MultilevelResult, measures: Mapping[Measure, tuple[float, np.ndarray]]
) -> list[_Quantity]:
    """Name the R² measures of the whole model in Rights & Sterba's notation."""
    names = fit.r_squared().measures()
    symbols = {
        (level, part): measure.lower()
        for measure, level, part in zip(names["measure"], names["level"], names["part"], strict=True)
    }
    impossible = _impossible(design_covariances(fit.levelled_design))
    return [
        _Quantity(symbols[measure], measure[0], None, estimate, replicates)
        for measure, (estimate, replicates) in measures.items()
        if measure not in impossible
    ]


def _impossible(covariances: DesignCovariances) -> set[Measure]:
    """List the measures of random slopes at levels at which their columns do not vary: rows of zeros."""
    found: set[Measure] = set()
    varying: dict[str, bool] = {}
    for above, (columns, has_slopes) in enumerate(
        zip(covariances.random, covariances.slopes, strict=True), start=1
    ):
        variances = np.trace(columns.by_level, axis1=1, axis2=2)
        for below, variance in enumerate(variances if has_slopes else ()):
            varies = bool(variance > NO_VARIATION * variances.sum())
            level = covariances.levels[min(below, above)]
            varying[level] = varying.get(level, False) or varies
            if not varies:
                found.add((TOTAL, f"v{below + 1}{above + 1}"))
    return found | {(level, part) for level, varies in varying.items() if not varies for part in ("v", "fv")}


def _shared_parts(
    fit: MultilevelResult,
    raters: Sequence[str],
    measures: Mapping[Subset, Mapping[Measure, tuple[float, np.ndarray]]],
) -> list[_Quantity]:
    """Share the R² of the fixed effects out among raters; all quantities are linear in the R² of the subsets."""
    levels = fit.levelled_design.levels
    wanted = [(TOTAL, "f")]
    if len(levels) > 1:
        wanted += [(level, f"f{number}") for number, level in enumerate(levels, start=1)]
    found = []
    for measure in wanted:
        for (term, rater), weights in _linear_parts(raters).items():
            estimate = sum(weight * measures[subset][measure][0] for subset, weight in weights.items())
            replicates = sum(weight * measures[subset][measure][1] for subset, weight in weights.items())
            found.append(_Quantity(term, measure[0], rater, float(estimate), replicates))
    return found


def _linear_parts(raters: Sequence[str]) -> dict[tuple[str, str | None], dict[Subset, float]]:
    """Return the weight that the R² of each subset has in every unique, common and general part."""
    weights: dict[tuple[str, str | None], dict[Subset, float]] = {}
    for subset in _subsets(raters):
        unit = dominance_analysis(raters, lambda other, subset=subset: float(other == subset))
        for row in unit.commonality.itertuples():
            kind, rater = ("unique", row.groups) if row.n_groups == 1 else ("common", None)
            name = f"{kind}({row.groups.replace(' & ', ', ')})"
            weights.setdefault((name, rater), {})[subset] = row.coefficient
        for row in unit.importance.itertuples():
            weights.setdefault((f"general({row.group})", row.group), {})[subset] = row.general
    return weights


def _level_of(level: str, model: FittedModel) -> str | None:
    """Translate a level of the model into one of the study's levels; the total has none."""
    levels = model.fit.levelled_design.levels
    return None if level == TOTAL else model.specification.levels[levels.index(level)]


def _named(quantity: _Quantity, specification: ModelSpecification, level: str | None) -> dict[str, Any]:
    """Name a row."""
    variance = (
        "the total variance of the outcome" if level is None else "the outcome's variance at that level"
    )
    return {
        "row_id": row_key(specification.model, specification.estimand, level, quantity.term),
        "rater": quantity.rater,
        "level": level,
        "term": quantity.term,
        "unit": f"share of {variance}",
    }


def _refused(base: dict[str, Any], specification: ModelSpecification, reason: str) -> dict[str, Any]:
    """Return the row that says why variance could not be shared out."""
    term = f"common({', '.join(specification.raters)})"
    return {
        **base,
        "row_id": row_key(specification.model, specification.estimand, term),
        "term": term,
        "status": "refused",
        "reason": reason,
    }
