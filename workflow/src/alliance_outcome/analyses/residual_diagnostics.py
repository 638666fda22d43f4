"""Residuals and random effects of the model behind the headline, as numbers that no participant can be read from.

The table ``diagnostics_multilevel.csv`` has the columns :data:`COLUMNS`, one row per number:

``residual_quantile``
    Quantiles of residuals (outcome less fitted values, in residual standard deviations) against normal quantiles `at`.
``residual_by_fitted``, ``residual_sd_by_fitted``
    Their mean and standard deviation in bins of fitted values; `at` is the bin's mean fitted value.
``residual_sd_by_slot``
    Their standard deviation at each slot `at` (session or week, as the study counts lags).
``residual_autocorrelation``
    Correlation of residuals `at` slots apart. Residuals about fitted values correlate negatively even if the model is
    right; these are made independent under the model within each client first (therapists' effects taken as predicted),
    so that zero is what the model expects.
``residual_skewness``, ``residual_kurtosis``, ``residual_beyond_4``
    Skewness and excess kurtosis of residuals, and how many lie beyond four standard deviations.
``effect_quantile``, ``effect_skewness``, ``effect_kurtosis``
    The same of predicted random effects, by `level` and `term`, in standard deviations of the predictions. Therapists
    have no quantiles, and nothing at all if they are fewer than ten.

`n_rows` and `n_units` count the rows and the clients (of therapists' effects: therapists) behind a number. No number
rests on fewer than ten of them; a quantile has at least ten clients on either side.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.description import SMALLEST_CELL
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.models.multilevel_result import MultilevelResult

COLUMNS = ["model", "diagnostic", "level", "term", "at", "value", "n_rows", "n_units"]

#: Probabilities of the quantiles.
PROBABILITIES = np.arange(1, 100) / 100.0
#: Bins of fitted values: at most so many, of at least so many rows.
MOST_BINS, ROWS_PER_BIN = 20, 50
#: Distances of residuals whose correlation is shown.
LAGS = (1, 2, 3)
#: Standardised residuals beyond this are counted.
FAR_OUT = 4.0

_Row = dict[str, object]


def residual_diagnostics(model: FittedModel) -> pd.DataFrame:
    """Tabulate the diagnostics of a session-level model.

    Parameters
    ----------
    model : FittedModel
        With a column ``slot`` among its rows.

    Returns
    -------
    DataFrame
        Without rows if the model was refused.
    """
    if model.fit is None:
        return pd.DataFrame(columns=COLUMNS)
    fit, rows = model.fit, model.rows
    table = pd.DataFrame(
        {
            "client": rows["client"],
            "slot": rows["slot"],
            "fitted": fit.fittedvalues,
            "residual": fit.resid / np.sqrt(fit.scale),
            "whitened": whitened_residuals(model),
        }
    )
    found = [
        *_residual_quantiles(table),
        *_by_fitted(table),
        *_by_slot(table),
        *_autocorrelations(table),
        *_residual_shape(table),
        *_client_effects(fit, len(rows)),
        *_therapist_effects(fit, len(rows)),
    ]
    return pd.DataFrame(found).assign(model=model.specification.model).reindex(columns=COLUMNS)


def whitened_residuals(model: FittedModel) -> pd.Series:
    """Make residuals independent under the model, client by client, in the order of time.

    Parameters
    ----------
    model : FittedModel
        With a fit.

    Returns
    -------
    Series
        L⁻¹(y − Xβ − v) of each client, with v the predicted effect of the therapist and LL' = V the covariance matrix
        that the model implies for the client's rows; on the rows' index, of unit variance under the model.
    """
    fit, rows = model.fit, model.rows
    above = [effects.level for effects in fit.design.structure.levels if effects.level != "client"]
    left = (rows[model.outcome] - fit.predict(rows, include=above)).to_numpy()
    covariance = fit.random_covariance("client")
    columns = rows[list(covariance.columns)].to_numpy(dtype=float)
    found = np.empty(len(rows))
    ordered = rows.reset_index(drop=True).sort_values("slot")
    for own in ordered.groupby("client").indices.values():
        positions = ordered.index.to_numpy()[own]
        z = columns[positions]
        implied = z @ covariance.to_numpy() @ z.T + fit.scale * np.eye(len(z))
        found[positions] = np.linalg.solve(np.linalg.cholesky(implied), left[positions])
    return pd.Series(found, index=rows.index)


def _residual(diagnostic: str, at: float | None, value: float, own: pd.DataFrame) -> _Row:
    """Return a row about residuals of some rows."""
    counts = {"n_rows": len(own), "n_units": own["client"].nunique()}
    return {"diagnostic": f"residual_{diagnostic}", "level": "residual", "at": at, "value": value, **counts}


def _residual_quantiles(table: pd.DataFrame) -> Iterator[_Row]:
    values = table["residual"]
    for probability in PROBABILITIES:
        value = float(np.quantile(values, probability))
        tails = (table.loc[values <= value, "client"], table.loc[values >= value, "client"])
        if min(tail.nunique() for tail in tails) >= SMALLEST_CELL:
            yield _residual("quantile", float(stats.norm.ppf(probability)), value, table)


def _by_fitted(table: pd.DataFrame) -> Iterator[_Row]:
    bins = min(MOST_BINS, max(1, len(table) // ROWS_PER_BIN))
    for _, own in table.groupby(pd.qcut(table["fitted"], bins, duplicates="drop"), observed=True):
        if own["client"].nunique() >= SMALLEST_CELL:
            at = float(own["fitted"].mean())
            yield _residual("by_fitted", at, float(own["residual"].mean()), own)
            yield _residual("sd_by_fitted", at, float(own["residual"].std()), own)


def _by_slot(table: pd.DataFrame) -> Iterator[_Row]:
    for slot, own in table.groupby("slot"):
        if own["client"].nunique() >= SMALLEST_CELL:
            yield _residual("sd_by_slot", float(slot), float(own["residual"].std()), own)


def _autocorrelations(table: pd.DataFrame) -> Iterator[_Row]:
    later = table[["client", "slot", "whitened"]]
    for lag in LAGS:
        earlier = later.assign(slot=later["slot"] + lag)
        pairs = later.merge(earlier, on=["client", "slot"], suffixes=("", "_earlier"))
        if pairs["client"].nunique() >= SMALLEST_CELL:
            correlation = float(np.corrcoef(pairs["whitened"], pairs["whitened_earlier"])[0, 1])
            yield _residual("autocorrelation", float(lag), correlation, pairs)


def _residual_shape(table: pd.DataFrame) -> Iterator[_Row]:
    values = table["residual"].to_numpy()
    if table["client"].nunique() >= SMALLEST_CELL:
        yield _residual("skewness", None, float(stats.skew(values)), table)
        yield _residual("kurtosis", None, float(stats.kurtosis(values)), table)
        yield _residual("beyond_4", FAR_OUT, float(np.sum(np.abs(values) > FAR_OUT)), table)


def _client_effects(fit: MultilevelResult, n_rows: int) -> Iterator[_Row]:
    for term, values in _standardised_effects(fit, "client"):
        base = {"level": "client", "term": term, "n_rows": n_rows, "n_units": len(values)}
        for probability in PROBABILITIES:
            if len(values) * min(probability, 1.0 - probability) >= SMALLEST_CELL:
                normal, value = stats.norm.ppf(probability), np.quantile(values, probability)
                yield {**base, "diagnostic": "effect_quantile", "at": float(normal), "value": float(value)}
        yield from _effect_shape(base, values)


def _therapist_effects(fit: MultilevelResult, n_rows: int) -> Iterator[_Row]:
    if "therapist" in [effects.level for effects in fit.design.structure.levels]:
        for term, values in _standardised_effects(fit, "therapist"):
            base = {"level": "therapist", "term": term, "n_rows": n_rows, "n_units": len(values)}
            yield from _effect_shape(base, values)


def _effect_shape(base: _Row, values: np.ndarray) -> Iterator[_Row]:
    if len(values) >= SMALLEST_CELL:
        yield {**base, "diagnostic": "effect_skewness", "value": float(stats.skew(values))}
        yield {**base, "diagnostic": "effect_kurtosis", "value": float(stats.kurtosis(values))}


def _standardised_effects(fit: MultilevelResult, level: str) -> Iterator[tuple[str, np.ndarray]]:
    """Return predicted effects in standard deviations of the predictions; a term without variance is left out."""
    for term, own in fit.random_effects(level).groupby("term", sort=False):
        values, spread = own["estimate"].to_numpy(), own["estimate"].std()
        if f"{level}:{term}" not in fit.singular:
            yield str(term), (values - values.mean()) / spread
