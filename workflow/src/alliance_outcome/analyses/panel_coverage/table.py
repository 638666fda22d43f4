"""Coverage, bias and failures of every estimator in every design, and which cells are judged."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.bias.table import bias_and_coverage
from alliance_outcome.analyses.panel_coverage.designs import (
    ALLOWED,
    DESIGNS,
    ESTIMATORS,
    JUDGED_CLIENTS,
    JUDGED_RATIO,
    TRUTH,
    Design,
)
from alliance_outcome.analyses.panel_coverage.studies import free_parameters, model_of, simulate

TABLE_COLUMNS = (
    *(
        "design",
        "process",
        "clients",
        "sessions",
        "missing",
        "estimator",
        "correct",
        "n_parameters",
        "judged",
    ),
    *(
        "quantity",
        "truth",
        "n_studies",
        "n_fitted",
        "coverage",
        "coverage_mcse",
        "bias",
        "bias_mcse",
        "se_ratio",
    ),
    *("passed", "reason"),
)


def coverage_table(found: pd.DataFrame) -> pd.DataFrame:
    """Summarise simulated studies.

    Parameters
    ----------
    found : DataFrame
        ``design`` and the columns of :func:`~alliance_outcome.analyses.panel_coverage.studies.intervals`.

    Returns
    -------
    DataFrame
        :data:`TABLE_COLUMNS`, one row per design, estimator and quantity. ``passed`` is empty where a cell is not
        judged: a misspecified model, leaving that depends on what is not seen, or too few clients.
    """
    rows = [
        {**_cell(DESIGNS[str(name)], str(estimator)), "quantity": quantity, **_summary(rows, str(quantity))}
        for (name, estimator, quantity), rows in found.groupby(
            ["design", "estimator", "quantity"], sort=False
        )
    ]
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    allowed = ALLOWED + 3.0 * np.sqrt(0.95 * 0.05 / table["n_fitted"].clip(lower=1))
    passed = (table["coverage"] - 0.95).abs() <= allowed
    table["passed"] = passed.astype("boolean").where(table["judged"])
    return table


def _cell(design: Design, estimator: str) -> dict[str, Any]:
    """Describe a cell of the table."""
    n_parameters = parameters_of(estimator, design.sessions)
    correct = design.process in ESTIMATORS[estimator] and design.missing != "mnar"
    enough = design.clients >= min(JUDGED_CLIENTS, JUDGED_RATIO * n_parameters)
    return {
        "design": design.name,
        "process": design.process,
        "clients": design.clients,
        "sessions": design.sessions,
        "missing": design.missing,
        "estimator": estimator,
        "correct": correct,
        "n_parameters": n_parameters,
        "judged": correct and enough,
    }


@cache
def parameters_of(estimator: str, sessions: int) -> int:
    """Count the parameters of an estimator, but for expected values and initial covariances."""
    values = simulate(Design("no_trends", 100, sessions, "complete"), np.random.default_rng(1))
    return free_parameters(model_of(estimator, values).structure())


def _summary(rows: pd.DataFrame, quantity: str) -> dict[str, Any]:
    truth = TRUTH[quantity]
    known = rows[rows["estimate"].notna()]
    base = {"truth": truth, "n_studies": len(rows), "n_fitted": len(known)}
    if len(known) < 2:
        return {**base, "reason": rows["reason"].dropna().iloc[0] if rows["reason"].notna().any() else None}
    error, std_error = known["estimate"].to_numpy() - truth, known["std_error"].to_numpy()
    return {
        **base,
        **bias_and_coverage(error, std_error),
        "se_ratio": float(np.sqrt((std_error**2).mean()) / error.std(ddof=1)),
    }


def verdict(tables: Iterable[pd.DataFrame]) -> str:
    """Say how many judged cells lie in the band.

    Parameters
    ----------
    tables : iterable of DataFrame
        From :func:`coverage_table`.

    Returns
    -------
    str
    """
    table = pd.concat(list(tables), ignore_index=True)
    judged = table[table["passed"].notna()]
    missed = judged[~judged["passed"].astype(bool)]
    if missed.empty:
        return f"All {len(judged)} judged cells lie in the band."
    names = [
        f"{row.estimator}, {row.process}, {row.clients} clients, {row.sessions} sessions, {row.missing}, "
        f"{row.quantity} ({100 * row.coverage:.1f} %)"
        for row in missed.itertuples()
    ]
    return f"{len(missed)} of {len(judged)} judged cells lie outside the band: {'; '.join(names)}."
