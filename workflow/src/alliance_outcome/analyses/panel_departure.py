"""The primary contrast if clients fare better or worse after leaving than those who stay.

How long treatment lasts depends on how it goes. Values are taken to be missing at random, given everything known of a
client; these rows say how far from that the truth must be to change what the contrast says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.inference import wald_fields
from alliance_outcome.analyses.panel_fits import PanelVersion
from alliance_outcome.analyses.panel_names import shifted_model
from alliance_outcome.analyses.panel_rows import contrast_unit, named_row
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.panel_imputation import Pooled, shifted_differences

#: Severity after leaving, above what is expected, in standard deviations within clients.
SHIFTS = (-2.0, -1.0, 1.0, 2.0)
N_IMPUTATIONS = 10


def departure_rows(
    version: PanelVersion, base: Mapping[str, Any], context: AnalysisContext, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield D of every pair of raters for every shift of severity after leaving.

    Parameters
    ----------
    version : PanelVersion
        The primary model of all clients.
    base : mapping
        Columns that its rows share.
    context : AnalysisContext
    seed : int

    Yields
    ------
    dict
    """
    assert version.result is not None
    pairs = list(combinations(context.raters, 2))
    refused: dict[str, Any] = {}
    found: dict[tuple[str, str], dict[float, Pooled]] = {}
    try:
        found = shifted_differences(version.result, pairs, SHIFTS, n_imputations=N_IMPUTATIONS, seed=seed)
    except UnavailableInference as problem:
        refused = {"status": "refused", "reason": problem.reason}
    for pair, shift in product(pairs, SHIFTS):
        model = shifted_model(version.model, shift)
        yield {
            **base,
            **named_row(model, "difference", *pair, 1),
            "model": model,
            "role": "sensitivity",
            "unit": contrast_unit(context),
            "missing_method": f"outcomes after leaving imputed, {shift:+g} standard deviations (MNAR)",
            **(refused or _pooled_fields(found[pair][shift])),
        }


def _pooled_fields(found: Pooled) -> dict[str, Any]:
    return {
        **wald_fields(found.contrast),
        "se_kind": "multiple imputation",
        "df_method": "rubin",
        "mcse_mean": found.monte_carlo_error,
        "n_draws": found.n_imputations,
    }
