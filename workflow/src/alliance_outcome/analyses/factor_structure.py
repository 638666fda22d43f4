"""Does each rater's form measure one alliance or its goal, task and bond, and do raters' forms measure the same?

Two-level factor models of items: one factor, one for each subscale, and a general one beside those of subscales, the
same within clients and between them. A contrast of raters presumes that their items work alike: whether loadings are
equal is tested in a model of both raters' subscale scores together, because both rate the same sessions and are no
independent groups. Items are too many for that: two times twelve take minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.reliability import (
    FEWEST_CLIENTS,
    TOTAL,
    item_rows,
    rated_items,
    rated_subscales,
)
from alliance_outcome.design.levels import BETWEEN_CLIENT_POOLED, WITHIN_CLIENT
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import UnavailableInference, UnfittableModel
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.item_covariances import ItemFit, ItemRows, fit_items
from alliance_outcome.models.item_factors import (
    LEVELS,
    NO_ERROR,
    Fault,
    Quantity,
    Scale,
    difference,
    estimated,
    explained_common_variance,
    factor_correlations,
    faults,
    fit_factors,
    fit_indices,
    free_matrices,
    grouped,
    omega_hierarchical,
    standardised_loadings,
)
from alliance_outcome.models.item_structures import (
    Factors,
    bifactor,
    correlated_factors,
    one_factor,
    paired_factors,
)

ANALYSIS = "factor_structure"
ONE, CORRELATED, BIFACTOR, PAIRED = "one_factor", "correlated_factors", "bifactor", "paired_raters"
GENERAL = "general"
#: Fewest items of a factor: one factor needs three to be told from what is unique, two do if it correlates with others,
#: and a group factor needs three beside the general one.
_FEWEST_ITEMS = {ONE: 3, CORRELATED: 2, BIFACTOR: 3}
_LEVEL_NAMES = dict(zip(LEVELS, (WITHIN_CLIENT, BETWEEN_CLIENT_POOLED), strict=True))
_INTERVALS: dict[Scale, str] = {
    "linear": "wald_z",
    "correlation": "wald_fisher_z",
    "share": "wald_logit",
}
_BOUND = "tests and intervals are approximate, since estimates are at a bound: "


def factor_structure_estimates(
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measures: pd.DataFrame,
    parts: Mapping[str, Mapping[str, Sequence[int]]],
    context: AnalysisContext,
) -> pd.DataFrame:
    """Fit factor models of every rater's alliance, and compare the raters'.

    Parameters
    ----------
    sessions, items : DataFrame
        Session table and item table.
    measures : DataFrame
        ``measures.csv``.
    parts : mapping of str to mapping of str to sequence of int
        Item numbers of the subscales of each form, such as goal, task and bond.
    context : AnalysisContext

    Returns
    -------
    DataFrame
        Estimates. Of each rater and model: indices of fit, standardised loadings, factor correlations, and of the
        general factor its share of common variance and ω hierarchical, within clients and between. Of one factor
        against several: a χ² difference. Of each pair of raters with the same form: latent correlations, and χ²
        differences of equal loadings. A refusal is a row; what an improper solution says is ``not_established``,
        without intervals. Unique variances of zero between clients are said in a reason beside the numbers.
    """
    alliance = measures[measures["construct"] == "alliance"].set_index("rater")
    found: list[dict[str, Any]] = []
    for rater in context.raters:
        measure = alliance.loc[rater]
        table = rated_items(items, measure, rater)
        found += _rater_rows(rater, table, parts.get(str(measure["instrument"]), {}), context)
    for one, other in combinations(context.raters, 2):
        found += _paired_rows(sessions, alliance.loc[[one, other]], context)
    return estimates_frame(found)


# -- One rater ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A model with what is improper about it."""

    name: str
    factors: tuple[str, ...]
    fit: ItemFit
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, name: str, factors: Sequence[str], fit: ItemFit) -> _Fitted:
        """Look for what is improper."""
        return cls(name, tuple(factors), fit, faults(fit))

    def reasons(self, *kinds: str, level: str | None = None) -> str:
        """Return why what is said of a level, or of everything, is improper; empty if it is not."""
        return "; ".join(
            fault.reason
            for fault in self.faults
            if fault.kind in kinds and (level is None or fault.level in (None, level))
        )

    def status(self, level: str | None = None) -> dict[str, Any]:
        """Return the status of what is said of a level, or of everything.

        That items have nothing unique between clients is what to expect if they work alike for all (Jak, Oort & Dolan
        2013). It is said, and takes nothing from what is estimated: intervals of factor correlations hold what they
        should (tests/unit/test_item_factors.py). Within clients, answers without error are improper.
        """
        improper = self.reasons("undetermined", "correlation", level=level)
        if level != "between":
            improper = "; ".join(filter(None, [improper, self.reasons("unique", level="within")]))
        if improper:
            return {"status": "not_established", "reason": improper}
        bound = self.reasons("unique", level=level)
        return {"reason": _BOUND + bound} if bound else {}


def _rater_rows(
    rater: str, table: pd.DataFrame, groups: Mapping[str, Sequence[int]], context: AnalysisContext
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one rater."""
    used = [number for number in table.columns if any(number in group for group in groups.values())]
    table = table[["client", *used]]
    base = {**_base(context, table, "sessions, from items of subscales"), "rater": rater}
    try:
        rows, order = _sound(table, groups, used)
        saturated, baseline = (_free(rows, each) for each in ("saturated", "uncorrelated"))
    except UnfittableModel as problem:
        for model in (ONE, CORRELATED, BIFACTOR):
            yield _refused(base, model, problem.reason)
        return
    fitted: dict[str, _Fitted] = {}
    for model, structure in _structures(order).items():
        names = _factor_names(model, groups)
        try:
            _require_enough(model, structure, groups, table)
            fitted[model] = _proper_search(_Fitted.of(model, names, fit_factors(rows, saturated, structure)))
            yield from _model_rows(base, fitted[model], saturated, baseline)
        except (UnfittableModel, UnavailableInference) as problem:
            fitted.pop(model, None)
            yield _refused(base, model, problem.reason)
    term = f"{ONE}_against_{CORRELATED}"
    if ONE in fitted and CORRELATED in fitted:
        yield _difference_row(base, CORRELATED, term, None, fitted[ONE], fitted[CORRELATED])
    else:
        yield _refused(base, CORRELATED, "one of the models cannot be fitted", term)


def _sound(
    table: pd.DataFrame, groups: Mapping[str, Sequence[int]], used: Sequence[int]
) -> tuple[ItemRows, list[int]]:
    """Return rows of items and the group of each item, or say why there are none."""
    if len(groups) < 2:
        raise UnfittableModel("the form has no subscales")
    if not len(table):
        raise UnfittableModel("there are no items, only scores")
    if table["client"].nunique() < FEWEST_CLIENTS:
        raise UnfittableModel(f"fewer than {FEWEST_CLIENTS} clients were rated")
    order = grouped([[str(number) for number in group] for group in groups.values()], [str(n) for n in used])
    return item_rows(table[["client", *used]]), order


def _free(rows: ItemRows, form: str) -> ItemFit:
    """Fit what factor models are held against."""
    found = free_matrices(rows) if form == "saturated" else fit_items(rows, form, form)
    if not found.converged:
        raise UnfittableModel("the search for free covariance matrices did not converge")
    return found


def _structures(order: Sequence[int]) -> dict[str, Factors]:
    return {ONE: one_factor(len(order)), CORRELATED: correlated_factors(order), BIFACTOR: bifactor(order)}


def _factor_names(model: str, groups: Iterable[str]) -> list[str]:
    return {ONE: [TOTAL], CORRELATED: list(groups), BIFACTOR: [GENERAL, *groups]}[model]


def _require_enough(
    model: str, structure: Factors, groups: Mapping[str, Sequence[int]], table: pd.DataFrame
) -> None:
    """Refuse factors of too few items, and clients who are fewer than what is asked of differences between them."""
    sizes = [sum(number in table for number in group) for group in groups.values()]
    fewest = sum(sizes) if model == ONE else min(sizes)
    if fewest < _FEWEST_ITEMS[model]:
        raise UnfittableModel(f"a factor has fewer than {_FEWEST_ITEMS[model]} items")
    if table["client"].nunique() <= structure.size:
        raise UnfittableModel("the model has as many parameters between clients as there are clients")


def _proper_search(model: _Fitted) -> _Fitted:
    """Refuse a model of which no maximum was found."""
    if model.reasons("search"):
        # What else is improper is most often why.
        raise UnfittableModel(model.reasons("search", "undetermined", "correlation", "unique"))
    return model


def _model_rows(
    base: dict[str, Any], model: _Fitted, saturated: ItemFit, baseline: ItemFit
) -> list[dict[str, Any]]:
    """Return the rows of one model."""
    own = {**base, "model": model.name}
    found = [*_fit_rows(own, model, saturated, baseline), *_loading_rows(own, model)]
    if model.name == CORRELATED:
        found += _correlation_rows(own, model)
    if model.name == BIFACTOR:
        for term, of in (
            ("explained_common_variance", explained_common_variance),
            ("omega_hierarchical", omega_hierarchical),
        ):
            values = _quantities(model, of, "share")
            for level, value in zip(LEVELS, values, strict=True):
                row = {**_named(own, term, level), "scale": GENERAL}
                found.append({**row, **_numbers(value, "share", model.status(level))})
    return found


def _fit_rows(
    own: dict[str, Any], model: _Fitted, saturated: ItemFit, baseline: ItemFit
) -> Iterator[dict[str, Any]]:
    """Yield how well a model fits."""
    found = asdict(fit_indices(model.fit, saturated, baseline))
    test = {"statistic": found["chi_square"], "df": found.pop("df"), "p_value": found.pop("p_value")}
    for name, value in found.items():
        term, level = ("srmr", name.removeprefix("srmr_")) if name.startswith("srmr") else (name, None)
        if np.isnan(value):
            reason = "the model has as many parameters as items have covariances"
            yield {**_named(own, term, level), "status": "refused", "reason": reason}
            continue
        tested = test if term in ("chi_square", "rmsea") else {}
        yield {**_named(own, term, level), "estimate": float(value), **tested, **model.status()}


def _loading_rows(own: dict[str, Any], model: _Fitted) -> Iterator[dict[str, Any]]:
    """Yield standardised loadings."""
    values = _quantities(model, standardised_loadings, "linear")
    structure = model.fit.levels[0]
    assert isinstance(structure, Factors)
    places = np.ndindex(2, structure.n_items, structure.n_factors)
    for (level, item, factor), value in zip(places, values, strict=True):
        if structure.slots[item, factor] < 0:
            continue
        name = LEVELS[level]
        row = _named(own, f"loading_{model.fit.rows.items[item]}", name, model.factors[factor])
        yield {**row, "scale": model.factors[factor], **_numbers(value, "linear", model.status(name))}


def _correlation_rows(own: dict[str, Any], model: _Fitted) -> Iterator[dict[str, Any]]:
    """Yield correlations of factors."""
    k = len(model.factors)
    values = _quantities(model, factor_correlations, "correlation")
    for (level, one, other), value in zip(np.ndindex(2, k, k), values, strict=True):
        if one < other:
            name = LEVELS[level]
            row = _named(own, f"correlation_{model.factors[one]}_{model.factors[other]}", name)
            yield {**row, **_numbers(value, "correlation", model.status(name))}


def _quantities(model: _Fitted, of: Any, scale: Scale) -> list[Quantity]:
    """Return functions of parameters, without standard errors where the data do not determine everything."""

    def values(parameters: FloatArray) -> FloatArray:
        return np.asarray(of(model.fit, parameters))

    try:
        return estimated(model.fit, values, scale)
    except UnavailableInference:
        unknown = float("nan")
        return [
            Quantity(float(each), unknown, unknown, unknown) for each in values(model.fit.parameters).ravel()
        ]


def _difference_row(
    base: dict[str, Any], name: str, term: str, level: str | None, restricted: _Fitted, free: _Fitted
) -> dict[str, Any]:
    """Return a χ² difference. At a bound p is too large if anything: several factors may well be one."""
    row = {**_named({**base, "model": name}, term, level)}
    try:
        found = difference(restricted.fit, free.fit)
    except UnavailableInference as problem:
        return {**row, "status": "refused", "reason": problem.reason}
    kinds = ("undetermined", "correlation", "unique")
    bound = "; ".join(
        dict.fromkeys(each.reasons(*kinds) for each in (restricted, free) if each.reasons(*kinds))
    )
    numbers = {"estimate": found.chi_square, "statistic": found.chi_square, "df": found.df}
    noted = {"reason": _BOUND + bound} if bound else {}
    return {**row, **numbers, "p_value": found.p_value, **noted}


# -- Two raters --------------------------------------------------------------------------------------------------------


def _paired_rows(
    sessions: pd.DataFrame, measures: pd.DataFrame, context: AnalysisContext
) -> Iterator[dict[str, Any]]:
    """Yield whether two raters' forms measure the same, from their subscale scores.

    One factor of each rater at each level; factors correlate, and so does what is unique to a score across raters.
    Equal loadings are those of metric invariance (Meredith 1993, 10.1007/BF02294825): in the form's points, but for the
    variance of the raters' factors, which stays free.
    """
    one, other = measures.index
    columns = [
        list(rated_subscales(sessions, measures.loc[rater], rater).columns[1:]) for rater in (one, other)
    ]
    table = rated_subscales(sessions, measures.loc[one], one)
    table = table.assign(**{name: sessions.loc[table.index, name] for name in columns[1]})
    table = table[table.drop(columns="client").notna().any(axis=1)]
    base = {**_base(context, table, "sessions, from subscale scores"), "rater": one, "rater_b": other}
    try:
        _require_same_form(measures, columns)
        fitted = _paired_fits(table, columns, (one, other))
    except UnfittableModel as problem:
        yield _refused(base, PAIRED, problem.reason)
        return
    free = fitted["free"]
    yield from _correlation_rows({**base, "model": PAIRED}, free)
    for name, level in (("within", "within"), ("between", "between"), ("both", None)):
        yield _difference_row(base, PAIRED, "equal_loadings", level, fitted[name], free)


def _require_same_form(measures: pd.DataFrame, columns: Sequence[Sequence[str]]) -> None:
    """Refuse raters whose scores are not of the same scoring key, or too few."""
    key = "form" if "form" in measures else "instrument"
    if measures[key].nunique() > 1 or len(columns[0]) != len(columns[1]):
        raise UnfittableModel("the raters' forms differ")
    if len(columns[0]) < _FEWEST_ITEMS[ONE]:
        raise UnfittableModel(f"the form has fewer than {_FEWEST_ITEMS[ONE]} subscale scores")


def _paired_fits(
    table: pd.DataFrame, columns: Sequence[Sequence[str]], raters: Sequence[str]
) -> dict[str, _Fitted]:
    """Fit the joint model with loadings free, and equal within clients, between them and at both levels."""
    if table["client"].nunique() < FEWEST_CLIENTS:
        raise UnfittableModel(f"fewer than {FEWEST_CLIENTS} clients were rated")
    rows = item_rows(table[["client", *columns[0], *columns[1]]])
    saturated = _free(rows, "saturated")
    free, equal = (paired_factors(rows.scale, equal=each) for each in (False, True))
    levels = {"free": (free, free), "within": (equal, free), "between": (free, equal), "both": (equal, equal)}
    return {
        name: _proper_search(_Fitted.of(name, raters, fit_factors(rows, saturated, *each)))
        for name, each in levels.items()
    }


# -- Columns -----------------------------------------------------------------------------------------------------------


def _base(context: AnalysisContext, table: pd.DataFrame, sample: str) -> dict[str, Any]:
    return {
        **context.common_fields(ANALYSIS),
        "engine": "fiml",
        "role": "secondary",
        "means": "latent",
        "lag": None,
        "lag_unit": None,
        "adjustment": "none",
        "outcome": None,
        "outcome_rater": None,
        "scale": TOTAL,
        "missing_method": "all sessions; full-information maximum likelihood (MAR)",
        "sample": sample,
        "n_sessions": len(table),
        "n_clients": int(table["client"].nunique()),
        "quantity_kind": "deterministic",
    }


def _named(own: dict[str, Any], term: str, level: str | None, factor: str | None = None) -> dict[str, Any]:
    key = row_key(ANALYSIS, own["rater"], own.get("rater_b"), own["model"], factor, term, level)
    return {**own, "row_id": key, "term": term, "level": None if level is None else _LEVEL_NAMES[level]}


def _refused(base: dict[str, Any], model: str, reason: str, term: str = "solution") -> dict[str, Any]:
    return {**_named({**base, "model": model}, term, None), "status": "refused", "reason": reason}


def _numbers(value: Quantity, scale: Scale, status: dict[str, Any]) -> dict[str, Any]:
    """Return an estimate, with an interval if it is established: intervals presume estimates inside their bounds."""
    if "status" in status or not value.std_error > NO_ERROR:
        return {"estimate": value.estimate, **status}
    return {
        "estimate": value.estimate,
        "std_error": value.std_error,
        "se_kind": "observed",
        "ci_low": value.low,
        "ci_high": value.high,
        "ci_level": CI_LEVEL,
        "ci_kind": _INTERVALS[scale],
        **status,
    }
