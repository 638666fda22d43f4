"""R² of a Bayesian multilevel model: the parts of the model-implied variance, draw by draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
from xarray import Dataset

from alliance_outcome.models.explained_variance import ModelEstimates, explained_variance
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.level_covariances import design_covariances
from alliance_outcome.models.standardised_design import StandardisedDesign

#: Shares of variance up to this are rounding errors of zero.
ROUNDING = 1e-12


def posterior_r_squared(posterior: Dataset, design: StandardisedDesign) -> Dataset:
    """Compute R² measures from each draw of the parameters.

    Parameters
    ----------
    posterior : Dataset
        With dimensions chain and draw.
    design : StandardisedDesign

    Returns
    -------
    Dataset
        ``r_squared``, dimensions chain, draw and measure, with the coordinate ``measure_level``: the measures of
        :meth:`ExplainedVariance.measures` (Rights & Sterba 2019, 10.1037/met0000184) of the variance that a draw of the
        parameters implies, as Gelman, Goodrich, Gabry & Vehtari (2019, 10.1080/00031305.2018.1549100) do for models
        without levels. Measures that are zero or undefined whatever the parameters are left out.
    """
    covariances = design_covariances(design.nested.levelled)
    coefficients = posterior["coefficient"].transpose("chain", "draw", "term").to_numpy()
    residual = posterior["residual_sd"].transpose("chain", "draw").to_numpy() ** 2
    random = [_covariances(posterior, grouping.level) for grouping in design.nested.levels.grouped[::-1]]
    values, names = [], pd.DataFrame()
    for draw in np.ndindex(residual.shape):
        estimates = ModelEstimates(
            coefficients[draw], tuple(each[draw] for each in random), float(residual[draw])
        )
        explained = explained_variance(covariances, estimates)
        values.append(list(explained.r_squared().values()))
        names = names if len(names) else explained.measures()
    stacked = np.reshape(values, (*residual.shape, -1))
    flat = stacked.reshape(-1, stacked.shape[2])
    varying = (np.ptp(flat, axis=0) > 0.0) & (np.abs(flat).max(axis=0) > ROUNDING)
    kept = names[varying]
    return Dataset(
        {"r_squared": (("chain", "draw", "measure"), stacked[..., varying])},
        coords={"measure": kept["measure"].to_list(), "measure_level": ("measure", kept["level"].to_list())},
    )


def _covariances(posterior: Dataset, level: str) -> FloatArray:
    """Return covariance matrices of the random effects of a level, shape (chains, draws, q, q), on raw columns."""
    if f"{level}_sd" not in posterior:
        return np.empty((posterior.sizes["chain"], posterior.sizes["draw"], 0, 0))
    term = f"{level}_term"
    sds = posterior[f"{level}_sd"].transpose("chain", "draw", term).to_numpy()
    if f"{level}_correlation" not in posterior:
        return sds[..., None] ** 2 * np.eye(sds.shape[-1])
    correlation = posterior[f"{level}_correlation"].transpose("chain", "draw", term, f"{term}_b").to_numpy()
    return sds[..., :, None] * correlation * sds[..., None, :]
