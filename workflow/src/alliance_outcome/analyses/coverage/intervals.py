"""The intervals of simulated studies: one row per study, quantity and method, with the truth beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from alliance_outcome.analyses.coverage import lagged_studies, multilevel_studies
from alliance_outcome.analyses.coverage.designs import (
    DESIGNS,
    EARLY,
    FIRST_OUTCOMES,
    HYBRID,
    LAGGED,
    RATERS,
    LaggedDesign,
    MultilevelDesign,
    OutcomeModel,
)
from alliance_outcome.analyses.multilevel import multilevel_model
from alliance_outcome.design.levels import level_column, level_sd
from alliance_outcome.design.specification import ModelSpecification
from alliance_outcome.models.contrast import Contrast
from alliance_outcome.models.design_checks import INTERCEPT, UnavailableInference, UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Columns that say which cell of the table an interval belongs to.
CELL = ("design", "analysis", "first_outcome", "level", "quantity", "rater", "method")
INTERVAL = ("estimate", "std_error", "df", "ci_low", "ci_high")
COLUMNS = (*CELL, "study", "truth", *INTERVAL, "converged", "singular", "no_therapist_variance", "refusal")

#: From a fit to what makes an interval from weights of its terms.
Method = Callable[[MultilevelResult], Callable[[Mapping[str, float]], Contrast]]

METHODS: dict[str, Method] = {
    "kenward_roger": lambda result: partial(result.contrast, df="kenward-roger"),
    "satterthwaite": lambda result: partial(result.contrast, df="satterthwaite"),
    "cr2": lambda result: result.cluster_robust("CR2").contrast,
}
#: Names say where the standard error comes from; degrees of freedom are Satterthwaite's.
LAGGED_METHODS = ("observed_information", "conventional")

SPECIFICATIONS = {
    "hybrid": (
        ModelSpecification("hybrid_three_level", RATERS, "unique", three_level=True),
        ("log_session",),
    ),
    "early": (ModelSpecification("early_three_level", RATERS, "unique", three_level=True), ()),
}


@dataclass(frozen=True)
class Quantity:
    """A combination of fixed effects whose true value is known.

    Parameters
    ----------
    level : str or None
        Level of the alliance; None in the lagged model, whose predictor is not split.
    quantity : {'coefficient', 'difference', 'autoregression', 'effect'}
        The difference is D = b_client·sd_client − b_therapist·sd_therapist, with the study's own standard deviations.
    rater : str or None
        Or both, for the difference; none in the lagged model.
    weights : mapping of term to float
        Of the fixed effects.
    truth : float
        Its value in the generator.
    """

    level: str | None
    quantity: str
    rater: str | None
    weights: Mapping[str, float]
    truth: float


def intervals(design: str, studies: Iterable[int]) -> pd.DataFrame:
    """Simulate studies and compute every interval.

    Parameters
    ----------
    design : str
        Name in :data:`~alliance_outcome.analyses.coverage.designs.DESIGNS`.
    studies : iterable of int
        Numbers of the studies.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`. A model that is refused, or that has no interval, has a row with NaN limits all the same.
    """
    sizes = DESIGNS[design]
    of_study = _lagged_rows if isinstance(sizes, LaggedDesign) else _multilevel_rows
    rows = [
        {"design": design, "study": number, **row} for number in studies for row in of_study(sizes, number)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys([*CELL, "refusal"], "str"))


def alliance_quantities(
    specification: ModelSpecification, rows: pd.DataFrame, model: OutcomeModel
) -> Iterator[Quantity]:
    """List the alliance coefficients and contrasts of a study, level by level."""
    truth = multilevel_studies.coefficients(model)
    for level in specification.levels:
        terms = {rater: level_column(f"alliance_{rater}", level) for rater in RATERS}
        for rater, term in terms.items():
            yield Quantity(level, "coefficient", rater, {term: 1.0}, truth[term])
        first, second = RATERS
        weights = {
            terms[first]: level_sd(rows, f"alliance_{first}", level),
            terms[second]: -level_sd(rows, f"alliance_{second}", level),
        }
        difference = sum(weight * truth[term] for term, weight in weights.items())
        yield Quantity(level, "difference", f"{first} − {second}", weights, difference)


def _multilevel_rows(design: MultilevelDesign, number: int) -> Iterator[dict[str, Any]]:
    study = multilevel_studies.simulate_study(design, number)
    for analysis, rows, truth in (("hybrid", study.hybrid, HYBRID), ("early", study.early, EARLY)):
        specification, trend = SPECIFICATIONS[analysis]
        quantities = list(alliance_quantities(specification, rows, truth))
        terms = specification.terms(trend, ())
        fit = _fit(partial(multilevel_model, specification, rows, "outcome", terms))
        for method in METHODS:
            for row in _method_rows(fit, quantities, METHODS[method]):
                yield {"analysis": analysis, "method": method, **row}


def _lagged_rows(design: LaggedDesign, number: int) -> Iterator[dict[str, Any]]:
    quantities = [
        Quantity(None, "autoregression", None, {lagged_studies.LAGGED_TERM: 1.0}, LAGGED.autoregression),
        Quantity(None, "effect", None, {"alliance": 1.0}, LAGGED.effect),
    ]
    for first_outcome in FIRST_OUTCOMES:
        rows = lagged_studies.simulate_lagged_study(design, first_outcome, number)
        for method in LAGGED_METHODS:
            lagged = lagged_studies.LAGGED_TERM if method == "observed_information" else None
            fit = _fit(partial(lagged_model, rows, lagged))
            for row in _method_rows(fit, quantities, METHODS["satterthwaite"]):
                yield {"analysis": "lagged", "first_outcome": first_outcome, "method": method, **row}


def lagged_model(rows: pd.DataFrame, lagged_outcome: str | None) -> MultilevelModel:
    """Set up the model with a lagged outcome, which the engine is told of or not."""
    return MultilevelModel(
        rows["outcome"],
        rows[list(lagged_studies.TERMS)],
        groups={"therapist": rows["therapist"], "client": rows["client"]},
        random={"therapist": [INTERCEPT], "client": [INTERCEPT]},
        time=rows["session"],
        lagged_outcome=lagged_outcome,
    )


def _fit(model: Callable[[], MultilevelModel]) -> MultilevelResult | str:
    """Fit a model, or say why it is refused."""
    try:
        return model().fit()
    except UnfittableModel as error:
        return str(error)


def _method_rows(
    fit: MultilevelResult | str, quantities: Iterable[Quantity], method: Method
) -> Iterator[dict[str, Any]]:
    """Return one row per quantity."""
    state = dict.fromkeys(("converged", "singular", "no_therapist_variance"), False)
    if not isinstance(fit, str):
        state = {
            "converged": fit.converged,
            "singular": bool(fit.singular),
            "no_therapist_variance": f"therapist:{INTERCEPT}" in fit.singular,
        }
        try:
            fit = method(fit)
        except UnavailableInference as error:
            fit = str(error)
    for quantity in quantities:
        yield {
            "level": quantity.level,
            "quantity": quantity.quantity,
            "rater": quantity.rater,
            "truth": quantity.truth,
            **state,
            **_interval(fit, quantity.weights),
        }


def _interval(
    interval: Callable[[Mapping[str, float]], Contrast] | str, weights: Mapping[str, float]
) -> dict[str, Any]:
    """Compute an interval, or say why there is none."""
    refusal = interval
    if not isinstance(interval, str):
        try:
            contrast = interval(weights)
            return {field: getattr(contrast, field) for field in INTERVAL}
        except UnavailableInference as error:
            refusal = str(error)
    return {**dict.fromkeys(INTERVAL, math.nan), "refusal": refusal}
