"""Would the difference between the raters disappear if both were measured equally well?

The session-to-session models again, with what the errors of ratings, of the first and of earlier severity add to their
normal equations taken away. Error variances come from the items, so that nothing has to be stated; a correlation of
errors of one rater's alliance and severity on the same occasion (mood, a response style of the day) cannot be had from
the data, and is stated as a sensitivity value. One bootstrap of the highest clusters goes through the whole chain:
reliabilities, coefficients, standard deviations and D.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.inference import status_fields
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.resampling import unusable_reason
from alliance_outcome.analyses.score_errors import SEVERITY, ScoreErrors, score_errors
from alliance_outcome.design.levels import (
    BETWEEN_CLIENT,
    BETWEEN_CLIENT_POOLED,
    BETWEEN_THERAPIST,
    WITHIN_CLIENT,
    level_column,
    resampled_level_sds,
)
from alliance_outcome.design.specification import LAGGED_OUTCOME, ModelSpecification
from alliance_outcome.design.timing import outcome_offset
from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.errors_in_variables import (
    ClusterSums,
    ErrorColumn,
    Precision,
    cluster_sums,
    nested_precision,
)
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.replicate_summary import USABLE_SHARE, summarise_replicates
from alliance_outcome.provenance import derive_seed

ANALYSIS = "corrected_contrast"
#: Stated correlations of the errors of one rater's alliance and severity on the same occasion.
ERROR_CORRELATIONS = (0.0, 0.1, 0.2)


def corrected_contrasts(
    rows: pd.DataFrame,
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measures: pd.DataFrame,
    context: AnalysisContext,
    reliability: Mapping[str, float],
    min_therapists: int,
    replicates: int,
    seed: int,
) -> pd.DataFrame:
    """Contrast the raters with and without correction for errors of measurement.

    Parameters
    ----------
    rows : DataFrame
        Hybrid rows.
    sessions, items, measures : DataFrame
        Session table, item table and ``measures.csv``.
    context : AnalysisContext
    reliability : mapping of str to float
        Stated reliability within clients, by rater; used where there are no items or subscales.
    min_therapists : int
        With fewer therapists nothing is claimed between therapists.
    replicates, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Estimates per model, level and stated correlation of errors: standardised coefficients of each rater, D, and by
        how much the correction changes D; and the reliabilities that were used. Refusals are rows.
    """
    if len(context.raters) < 2:
        return _refused(
            context, f"alliance is rated by the {context.raters[0]} only; a contrast needs two raters"
        )

    def only(specification: ModelSpecification) -> bool:
        return specification.estimand == "unique" and specification.three_level == context.has_therapists

    models = fit_hybrid_models(rows, context, only)
    found: list[dict[str, Any]] = []
    for model in models:
        if model.fit is None:
            found.append(_refusal(model.specification.model, context, model.reason))
            continue
        corrected = _Corrected.of(model, context, sessions, items, measures, reliability, replicates, seed)
        if isinstance(corrected, str):
            return _refused(context, corrected)
        found += _model_rows(corrected, context, min_therapists)
    return estimates_frame(found)


def _refused(context: AnalysisContext, reason: str) -> pd.DataFrame:
    return estimates_frame([_refusal(None, context, reason)])


def _refusal(model: str | None, context: AnalysisContext, reason: str | None) -> dict[str, Any]:
    return {
        **context.common_fields(ANALYSIS),
        "row_id": row_key(ANALYSIS, model, "refused"),
        "model": model,
        "term": "difference",
        "role": "sensitivity",
        "status": "refused",
        "reason": reason,
    }


@dataclass(frozen=True, eq=False)
class _Corrected:
    """A fitted model with all that its correction takes.

    Parameters
    ----------
    model : FittedModel
    sums : ClusterSums
    errors : ScoreErrors
    clusters : Series of int
        Of the model's rows.
    draws : ndarray, shape (1 + replicates, n_clusters)
        The data themselves first.
    outcome_rater : str
    """

    model: FittedModel
    sums: ClusterSums
    errors: ScoreErrors
    clusters: pd.Series
    draws: FloatArray
    outcome_rater: str

    @classmethod
    def of(
        cls,
        model: FittedModel,
        context: AnalysisContext,
        sessions: pd.DataFrame,
        items: pd.DataFrame,
        measures: pd.DataFrame,
        reliability: Mapping[str, float],
        replicates: int,
        seed: int,
    ) -> _Corrected | str:
        """Collect it, or say why that cannot be done."""
        rows = model.rows
        unit = "therapist" if model.specification.three_level else "client"
        clusters = pd.Series(pd.factorize(rows[unit])[0], index=rows.index)
        of_client = clusters.groupby(rows["client"]).first()
        errors = score_errors(sessions, items, measures, context, reliability, of_client)
        if isinstance(errors, str):
            return errors
        sums = cluster_sums(
            _table(model), clusters.to_numpy(), _precision(model), _error_columns(model, context)
        )
        n = int(clusters.max()) + 1
        generator = np.random.default_rng(derive_seed(seed, unit))
        drawn = generator.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(float)
        return cls(model, sums, errors, clusters, np.vstack([np.ones(n), drawn]), context.outcome_rater)

    @property
    def n_clusters(self) -> int:
        """Number of clusters that were drawn from."""
        return self.draws.shape[1]

    def covariance(self, correlation: float) -> FloatArray:
        """Return the covariance of errors, with a stated correlation of one rater's alliance and severity."""
        stated = {(self.outcome_rater, SEVERITY): correlation} if correlation else {}
        return self.errors.covariance(self.draws, stated)

    def standardised(self, covariance: FloatArray, level: str) -> dict[str, FloatArray]:
        """Return each rater's coefficient per standard deviation of true alliance, shape (1 + replicates,)."""
        coefficients = self.sums.coefficients(covariance, self.draws)
        found = {}
        for place, rater in enumerate(self.model.specification.raters):
            measure = f"alliance_{rater}"
            column = self.model.terms.index(level_column(measure, level))
            observed = resampled_level_sds(self.model.rows, measure, level, self.clusters, self.draws)
            share = _error_share(self.model.rows, level, self.clusters, self.draws)
            with np.errstate(invalid="ignore"):
                true = np.sqrt(observed**2 - covariance[:, place, place] * share)
            found[rater] = coefficients[:, column] * true
        return found


def _table(model: FittedModel) -> FloatArray:
    return model.rows[[*model.terms, model.outcome]].to_numpy(dtype=float)


def _precision(model: FittedModel) -> Precision:
    """Return what weights the rows: the variances of intercepts and residuals that the model itself estimated."""
    fit, rows = model.fit, model.rows
    assert fit is not None
    variances = {
        level: float(fit.random_covariance(level).loc[INTERCEPT, INTERCEPT])
        for level in (("therapist", "client") if model.specification.three_level else ("client",))
    }
    clients = pd.factorize(rows["client"])[0]
    return nested_precision(clients, variances.get("therapist", 0.0), variances["client"], float(fit.scale))


def _error_columns(model: FittedModel, context: AnalysisContext) -> list[ErrorColumn]:
    """List the columns that err, and how an error at an occasion spreads over rows."""
    rows, timing = model.rows, context.timing
    raters, terms = model.specification.raters, model.terms
    offsets = {
        rater: outcome_offset(timing[f"alliance_{rater}"], timing[SEVERITY]) for rater in context.raters
    }
    lead = max(offsets.values())
    slot = rows["slot"].to_numpy(dtype=int)
    first = (
        slot.copy()
        if model.rows.empty
        else rows.groupby("client")["slot"].transform("min").to_numpy(dtype=int)
    )
    occasions = _Occasions.of(rows["client"], np.concatenate([slot - 1, slot, slot + 1, slot + 2]))
    parts = _level_operators(rows)
    severity = len(context.raters)
    found = []
    for rater in raters:
        ratings = occasions.incidence(rows["client"], slot + lead - offsets[rater])
        for level in model.specification.levels:
            column = terms.index(level_column(f"alliance_{rater}", level))
            found.append(ErrorColumn(column, context.raters.index(rater), (parts[level] @ ratings).tocsr()))
    baseline = occasions.incidence(rows["client"], first + lead - 1)
    found.append(ErrorColumn(terms.index("severity_first"), severity, baseline))
    if LAGGED_OUTCOME in terms:
        earlier = occasions.incidence(rows["client"], slot + lead - 1)
        found.append(ErrorColumn(terms.index(LAGGED_OUTCOME), severity, earlier))
    # The outcome's own errors matter where they are errors of a predictor, too: of another row, or of the same rater.
    found.append(ErrorColumn(len(terms), severity, occasions.incidence(rows["client"], slot + lead)))
    return found


@dataclass(frozen=True)
class _Occasions:
    """Places of clients' occasions."""

    places: dict[tuple[Any, int], int]

    @classmethod
    def of(cls, clients: pd.Series, slots: np.ndarray) -> _Occasions:
        repeated = np.tile(clients.to_numpy(), len(slots) // len(clients))
        pairs = dict.fromkeys(zip(repeated, slots.tolist(), strict=True))
        return cls({pair: place for place, pair in enumerate(pairs)})

    def incidence(self, clients: pd.Series, slots: np.ndarray) -> sparse.csr_array:
        """Return which occasion each row holds, shape (n_rows, n_occasions)."""
        columns = [self.places[pair] for pair in zip(clients, slots.tolist(), strict=True)]
        ones = np.ones(len(columns))
        return sparse.csr_array(
            (ones, (np.arange(len(columns)), columns)), shape=(len(columns), len(self.places))
        )


def _level_operators(rows: pd.DataFrame) -> dict[str, sparse.csr_array]:
    """Return what turns ratings into each of their levels, shape (n_rows, n_rows); centring on all does not matter."""
    clients = pd.factorize(rows["client"])[0]
    n = len(rows)
    members = sparse.csr_array((np.ones(n), (np.arange(n), clients)))
    means = members @ sparse.diags_array(1.0 / np.bincount(clients)) @ members.T
    found = {WITHIN_CLIENT: sparse.eye_array(n) - means, BETWEEN_CLIENT_POOLED: means}
    if rows["therapist"].notna().all():
        therapists = pd.factorize(rows["therapist"])[0]
        first = np.unique(clients, return_index=True)[1]
        of_client = therapists[first]
        weights = 1.0 / (np.bincount(of_client)[of_client] * np.bincount(clients))
        belongs = sparse.csr_array((np.ones(n), (np.arange(n), therapists)))
        owns = sparse.csr_array((weights, (np.arange(len(first)), of_client)))
        therapist_means = belongs @ (members @ owns).T
        found |= {BETWEEN_CLIENT: means - therapist_means, BETWEEN_THERAPIST: therapist_means}
    return found


def _error_share(rows: pd.DataFrame, level: str, clusters: pd.Series, draws: FloatArray) -> FloatArray:
    """Return by how much of the error variance of one occasion the variance of a level is too large.

    Within clients all of it; a client's mean of n ratings has 1/n of it, a therapist's mean of m such means 1/m of
    their average. Shape (n_samples,).
    """
    if level == WITHIN_CLIENT:
        return np.ones(len(draws))
    clients = rows.groupby("client", sort=False).size()
    own = rows.drop_duplicates("client").set_index("client").loc[clients.index]
    by_client = pd.DataFrame(
        {
            "share": 1.0 / clients,
            "therapist": own["therapist"],
            "cluster": clusters[_first_rows(rows)].to_numpy(),
        }
    )
    if level == BETWEEN_THERAPIST:
        grouped = by_client.groupby("therapist", sort=False)
        by_unit = pd.DataFrame(
            {"share": grouped["share"].mean() / grouped.size(), "cluster": grouped["cluster"].first()}
        )
    else:
        by_unit = by_client
    n = draws.shape[1]
    total = draws @ np.bincount(by_unit["cluster"], weights=by_unit["share"], minlength=n)
    return total / (draws @ np.bincount(by_unit["cluster"], minlength=n))


def _first_rows(rows: pd.DataFrame) -> pd.Series:
    """Mark the first row of each client."""
    return ~rows["client"].duplicated()


def _model_rows(
    corrected: _Corrected, context: AnalysisContext, min_therapists: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one model."""
    base = _base(corrected, context)
    yield from _reliability_rows(corrected, base)
    nothing = np.zeros((len(corrected.draws), len(corrected.errors.names), len(corrected.errors.names)))
    for level in corrected.model.specification.levels:
        own = {**base, "level": level, "unit": f"{context.unit} per SD of alliance at that level"}
        without = corrected.standardised(nothing, level)
        status = status_fields(True, level, base["n_therapists"], min_therapists)
        yield from _contrast_rows(
            {**own, **status, "reliability_corrected": False}, "uncorrected", without, None, corrected
        )
        for correlation in ERROR_CORRELATIONS:
            if correlation and context.outcome_rater not in corrected.model.specification.raters:
                continue
            fixed = {
                **own,
                **status,
                "reliability_corrected": True,
                "adjustment": _assumption(base, correlation, context),
            }
            now = corrected.standardised(corrected.covariance(correlation), level)
            yield from _contrast_rows(fixed, f"corrected_{correlation:g}", now, without, corrected)


def _assumption(base: Mapping[str, Any], correlation: float, context: AnalysisContext) -> str:
    if not correlation:
        return base["adjustment"]
    return (
        f"{base['adjustment']}; errors of the {context.outcome_rater}'s alliance and severity on one occasion are "
        f"taken to correlate by {correlation:g}"
    )


def _contrast_rows(
    base: Mapping[str, Any],
    name: str,
    scaled: Mapping[str, FloatArray],
    without: Mapping[str, FloatArray] | None,
    corrected: _Corrected,
) -> Iterator[dict[str, Any]]:
    """Yield coefficients, D, and its change where there is something to compare it with."""
    key = (ANALYSIS, base["model"], base["level"], name)
    for rater, values in scaled.items():
        named = {
            "row_id": row_key(*key, rater, "coefficient"),
            "rater": rater,
            "term": "coefficient_standardised",
        }
        yield {**base, **named, **_summary(values, corrected)}
    for first, second in itertools.combinations(scaled, 2):
        pair = {"rater": first, "rater_b": second}
        difference = scaled[first] - scaled[second]
        named = {"row_id": row_key(*key, first, second, "difference"), "term": "difference"}
        yield {**base, **pair, **named, **_summary(difference, corrected)}
        if without is not None:
            change = difference - (without[first] - without[second])
            named = {"row_id": row_key(*key, first, second, "change"), "term": "difference_change"}
            yield {**base, **pair, **named, **_summary(change, corrected)}


def _summary(values: FloatArray, corrected: _Corrected) -> dict[str, Any]:
    """Return estimate and interval, or why there is none."""
    usable = np.isfinite(values)
    if not usable[0]:
        reason = "after correction no variance is left: the errors are as large as the differences"
        return {"status": "refused", "reason": reason}
    unit = "therapist" if corrected.model.specification.three_level else "client"
    if usable[1:].mean() < USABLE_SHARE:
        return {"status": "refused", "reason": unusable_reason(usable[1:], unit)}
    return summarise_replicates(float(values[0]), values[1:][usable[1:]], corrected.n_clusters)


def _reliability_rows(corrected: _Corrected, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the reliabilities that were used, and the correlation of two raters' errors."""
    errors = corrected.errors
    own = {**base, "level": WITHIN_CLIENT, "estimand": "total", "reliability_corrected": False}
    for name in errors.names:
        values = errors.reliability(name, corrected.draws)
        if values is None:
            continue
        yield {
            **own,
            **_summary(values, corrected),
            "row_id": row_key(ANALYSIS, base["model"], name, "reliability"),
            "term": "reliability",
            "rater": None if name == SEVERITY else name,
            "scale": SEVERITY if name == SEVERITY else "total",
            "unit": "share",
            **_behind(errors, (name,)),
        }
    covariance = corrected.covariance(0.0)
    for pair in errors.pairs:
        one, two = (errors.names.index(name) for name in pair)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = covariance[:, one, two] / np.sqrt(covariance[:, one, one] * covariance[:, two, two])
        yield {
            **own,
            **_summary(values, corrected),
            "row_id": row_key(ANALYSIS, base["model"], *pair, "error_correlation"),
            "term": "error_correlation",
            "rater": pair[0],
            "rater_b": pair[1],
            "unit": "correlation",
            **_behind(errors, pair),
        }


def _behind(errors: ScoreErrors, names: tuple[str, ...]) -> dict[str, Any]:
    """Say what an error variance or covariance rests on: more sessions than the model has rows."""
    return {
        "sample": f"held sessions, from {errors.sources[names[0]]}",
        "n_sessions": errors.n_sessions[names],
    }


def _base(corrected: _Corrected, context: AnalysisContext) -> dict[str, Any]:
    model = corrected.model
    return {
        **context.common_fields(ANALYSIS),
        "model": model.specification.model,
        "engine": "errors_in_variables",
        "role": "sensitivity",
        "estimand": "unique",
        "residual": "independent",
        "sample": "rows of the joint model",
        **sample_fields(model.rows, client_rows=False),
    }
