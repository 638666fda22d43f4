"""Model-implied severity at a fixed session, for studies without an end assessment.

A linear mixed model of severity on log(session) with a random intercept and slope for each client; a client's implied
severity is the fixed part plus the client's best linear unbiased prediction. Valid when missingness depends on observed
severity only (MAR); predictions are shrunken towards the mean, which weakens associations with them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance_outcome.models.multilevel import fit_multilevel


def implied_severity(
    severity: pd.Series, session: pd.Series, client: pd.Series, at_session: float
) -> pd.Series:
    """Predict each client's severity at a session.

    Parameters
    ----------
    severity, session, client : Series, shape (rows,)
        Observed severity, session number (1 or more) and client, none missing.
    at_session : float
        Session at which to predict.

    Returns
    -------
    Series
        By client, in units of severity.

    Raises
    ------
    UnfittableModel
        If the growth model cannot be fitted.
    """
    fixed = pd.DataFrame({"Intercept": 1.0, "time": np.log(session.astype(float))}, index=severity.index)
    fit = fit_multilevel(severity, fixed, client=client, slopes=("time",))
    spread = _random_covariance(fit.variance_components)
    point = np.array([1.0, np.log(at_session)])
    predictions = {}
    for label, index in fixed.groupby(client).groups.items():
        design = fixed.loc[index].to_numpy()
        residual = severity.loc[index].to_numpy() - design @ fit.params.to_numpy()
        marginal = design @ spread @ design.T + fit.residual_variance * np.eye(len(design))
        deviation = spread @ design.T @ np.linalg.solve(marginal, residual)
        predictions[label] = float(point @ (fit.params.to_numpy() + deviation))
    return pd.Series(predictions, name="severity").rename_axis("client")


def _random_covariance(components: pd.DataFrame) -> np.ndarray:
    """Return the 2 × 2 covariance of the clients' intercepts and slopes."""
    terms = ["Intercept", "time"]
    matrix = pd.DataFrame(0.0, index=terms, columns=terms)
    for component in components[components["level"] == "client"].itertuples():
        other = component.term if component.kind == "variance" else component.term2
        matrix.loc[component.term, other] = matrix.loc[other, component.term] = component.value
    return matrix.to_numpy()
