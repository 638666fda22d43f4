"""Model-implied severity at a fixed session, for studies without an end assessment.

A linear mixed model of severity on log(session) with a random intercept and slope for each client; a client's implied
severity is the fixed part plus the client's best linear unbiased prediction. Valid when missingness depends on observed
severity only (MAR); predictions are shrunken towards the mean, which weakens associations with them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.multilevel import MultilevelModel


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
    fixed = pd.DataFrame({INTERCEPT: 1.0, "time": np.log(session.astype(float))}, index=severity.index)
    fit = MultilevelModel(
        severity, fixed, groups={"client": client}, random={"client": [INTERCEPT, "time"]}
    ).fit()
    clients = np.sort(client.unique())
    wanted = pd.DataFrame({"client": clients, INTERCEPT: 1.0, "time": np.log(at_session)})
    return fit.predict(wanted).set_axis(pd.Index(clients, name="client")).rename("severity")
