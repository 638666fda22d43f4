"""Processes that studies are simulated from: a fitted panel model with planted effects.

Everything but the planted paths is the fitted model's: carry-over, what severity does to ratings, residuals, what is
stable of clients, their trends, the level of each session. Missing values are where the study has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from alliance_outcome.analyses.bias.designs import ERROR_CORRELATION, ERROR_SHARE, Planted
from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_result import PanelResult

#: Rounds in which planted paths and the standard deviations that they are in units of settle, and what is settled.
_ROUNDS, _SETTLED = 200, 1e-10
#: What the names of variances and covariances of trends hold.
_SLOPE = "slope "


@dataclass(frozen=True, eq=False)
class Process:
    """What a study is drawn from.

    Parameters
    ----------
    mean : ndarray, shape (p,)
    root : ndarray, shape (p, p)
        Cholesky factor of the covariance matrix.
    missing : ndarray of bool, shape (n_clients, p)
        Of the study.
    within_sd : dict of str to float
        Standard deviations within clients of the process, free of measurement error, by column.
    truth : dict of str to float
        Planted paths and D, in units of the outcome per standard deviation within clients.
    """

    mean: FloatArray
    root: FloatArray
    missing: np.ndarray
    within_sd: dict[str, float]
    truth: dict[str, float]

    def draw(self, random: np.random.Generator) -> FloatArray:
        """Draw a study.

        Parameters
        ----------
        random : Generator

        Returns
        -------
        ndarray, shape (n_clients, p)
        """
        values = self.mean + random.standard_normal(self.missing.shape) @ self.root.T
        return np.where(self.missing, np.nan, values)


def process_of(fitted: PanelResult, planted: Planted, name: str) -> Process:
    """Plant effects in a fitted cross-lagged model.

    Parameters
    ----------
    fitted : PanelResult
        Cross-lagged model with trends.
    planted : Planted
    name : str
        Of :data:`~alliance_outcome.analyses.bias.designs.PROCESSES`.

    Returns
    -------
    Process

    Raises
    ------
    UnavailableInference
        If the planted effects leave no covariance matrix.
    """
    parameters = fitted.params.to_dict()
    if name == "no_trends":
        parameters |= {label: 0.0 for label in parameters if _SLOPE in label}
    columns = list(fitted.description.raters.values())[:2]
    parameters, spreads = _planted(
        fitted, parameters, dict(zip(columns, (planted.client, planted.therapist), strict=True))
    )
    at = fitted.structure.at(np.array(list(parameters.values())))
    covariance = at.covariance.copy()
    if name == "trends_and_error":
        covariance += _error(fitted, spreads)
    try:
        root = linalg.cholesky(covariance, lower=True)
    except linalg.LinAlgError as problem:
        raise UnavailableInference("planted effects leave no covariance matrix") from problem
    unit = spreads[fitted.description.outcome]
    truth = {
        "client": planted.client * unit,
        "therapist": planted.therapist * unit,
        "difference": planted.difference * unit,
    }
    return Process(at.matrices["mean"], root, np.isnan(fitted.rows.values), spreads, truth)


def _planted(
    fitted: PanelResult, parameters: dict[str, float], effects: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Replace paths so that they are as large as planted, in standard deviations within clients of the result."""
    outcome = fitted.description.outcome
    labels = {column: next(iter(fitted.path_weights(outcome, column))) for column in effects}
    spreads = fitted.latent_sd(np.array(list(parameters.values())))
    for _ in range(_ROUNDS):
        parameters = parameters | {
            labels[column]: effect * spreads[outcome] / spreads[column] for column, effect in effects.items()
        }
        before, spreads = spreads, fitted.latent_sd(np.array(list(parameters.values())))
        if max(abs(spreads[name] - before[name]) / before[name] for name in spreads) < _SETTLED:
            return parameters, spreads
    raise UnavailableInference("the planted effects have no standard deviations that they are in units of")


def _error(fitted: PanelResult, spreads: dict[str, float]) -> FloatArray:
    """Return the covariance matrix of first-order autoregressive measurement error, independent between variables."""
    waves, numbers = fitted.rows.places.T
    names = [fitted.description.outcome, *fitted.description.raters.values()]
    variances = ERROR_SHARE * np.array([spreads[names[number]] ** 2 for number in numbers])
    same = numbers[:, None] == numbers
    return np.where(same, variances * ERROR_CORRELATION ** np.abs(waves[:, None] - waves), 0.0)
