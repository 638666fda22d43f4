"""A panel result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.multilevel_summary import WIDTH, Summary

if TYPE_CHECKING:
    from alliance_outcome.models.panel_result import PanelResult


def summarise(result: PanelResult) -> Summary:
    """Describe a fit.

    Parameters
    ----------
    result : PanelResult

    Returns
    -------
    Summary
        Fit, and the paths; the other parameters are in ``params`` and ``bse``.
    """
    description, fit = result.description, result.fit_indices()
    clusters = "" if result.n_clusters is None else f"; robust for {result.n_clusters:,} clusters"
    lines = [
        description.title.center(WIDTH).rstrip(),
        "=" * WIDTH,
        f"Full-information maximum likelihood; converged: {'yes' if result.converged else 'NO'}{clusters}",
        f"Clients: {result.n_clients:,}; waves: {description.n_waves}; values: {result.n_values:,}; "
        f"parameters: {result.n_parameters:,}",
        f"Log-likelihood: {result.llf:.3f}   AIC: {fit['aic']:.1f}   BIC: {fit['bic']:.1f}",
        f"Chi-square: {fit['chi_square']:.2f}, df {fit['df']:.0f}, p {fit['p_value']:.3f}   CFI: {fit['cfi']:.3f}   "
        f"RMSEA: {fit['rmsea']:.3f} [{fit['rmsea_low']:.3f}, {fit['rmsea_high']:.3f}]   SRMR: {fit['srmr']:.3f}",
        *(
            ("Singular: some combination of intercepts and trends does not differ between clients",)
            if result.singular
            else ()
        ),
        *(f"IMPROPER: {part} could not be that of any data" for part in result.improper),
        "-" * WIDTH,
    ]
    try:
        lines += _table(result)
    except UnavailableInference as problem:
        lines.append(f"No standard errors: {problem.reason}")
    return Summary("\n".join([*lines, "=" * WIDTH]))


def _table(result: PanelResult) -> list[str]:
    """Return the lines of the paths, each parameter once."""
    free = set(result.structure.labels)
    labels = [
        label for label in dict.fromkeys(row.label for row in result.description.paths) if label in free
    ]
    rows = [result.contrast(label) for label in labels]
    table = pd.DataFrame(
        {
            "estimate": [row.estimate for row in rows],
            "std_error": [row.std_error for row in rows],
            "ci_low": [row.ci_low for row in rows],
            "ci_high": [row.ci_high for row in rows],
            "p_value": [row.p_value for row in rows],
        },
        index=labels,
    )
    decimals = 4 if np.nanmax(np.abs(table["estimate"]), initial=1.0) < 100 else 2
    return table.to_string(float_format=lambda value: f"{value:.{decimals}f}").splitlines()
