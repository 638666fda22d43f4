"""Predictions over the region that was observed, for the figure: an ellipse from means and covariances alone.

Its edge shows no individual rating, which a hull of the points would. It holds 90 % of a bivariate normal distribution.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.response_surface_model import SurfaceModel
from alliance_outcome.analyses.response_surface_names import ELLIPSE_SHARE, GRID_COLUMNS

#: Rings and spokes of the polar grid; the last spoke is the first one again.
N_RINGS, N_SPOKES = 15, 61


def prediction_grid(surface: SurfaceModel) -> pd.DataFrame:
    """Predict severity over the observed region of both ratings, all other terms at their means.

    Parameters
    ----------
    surface : SurfaceModel
        A model with a fit.

    Returns
    -------
    DataFrame
        Columns :data:`GRID_COLUMNS`: centred ratings and severity (its sign turned back) at points of a polar grid.
    """
    centre, root = _ellipse(surface)
    radius = np.sqrt(stats.chi2.ppf(ELLIPSE_SHARE, 2))
    ring, spoke = np.indices((N_RINGS, N_SPOKES)).reshape(2, -1)
    distance, angle = radius * ring / (N_RINGS - 1), 2.0 * np.pi * spoke / (N_SPOKES - 1)
    circle = distance * np.stack([np.cos(angle), np.sin(angle)])
    x, y = centre[:, None] + root @ circle
    return pd.DataFrame(
        {
            "level": surface.level,
            "rater": surface.pair[0],
            "rater_b": surface.pair[1],
            "ring": ring,
            "spoke": spoke,
            "x": x,
            "y": y,
            "predicted": -_improvement(surface, x, y),
        },
        columns=list(GRID_COLUMNS),
    )


def _ellipse(surface: SurfaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, shape (2,), and a root of the covariance matrix, shape (2, 2), of the two ratings."""
    ratings = np.stack([rating.to_numpy() for rating in surface.ratings()])
    lost = surface.model.rows["client"].nunique() if surface.is_within else 1
    centre = ratings.mean(axis=1)
    deviations = ratings - centre[:, None]
    return centre, np.linalg.cholesky(deviations @ deviations.T / (ratings.shape[1] - lost))


def _improvement(surface: SurfaceModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Evaluate the fixed part of the model at ratings x and y, shape (n,), and the means of all other terms."""
    model = surface.model
    others = [term for term in model.terms if term not in surface.terms]
    level = float(model.rows[others].mean() @ model.fit.params[others])
    columns = np.stack([x, y, x * x, x * y, y * y])
    return level + model.fit.params[list(surface.terms)].to_numpy() @ columns
