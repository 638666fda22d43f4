"""Reliability of a scale within and between clients.

Coefficients are those of the mean or sum of the items, whatever its unit. Factor-based: ω within, between and of the
raw score of a session (Lai 2021, 10.1037/met0000287); from covariances alone: α at the same levels (Geldhof, Preacher
& Zyphur 2014, 10.1037/a0032138, with Lai's denominator between clients). A client's mean of observed scores has error
from the client's sessions: it is in the denominator between clients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.item_covariances import ItemFit, degrees_of_freedom
from alliance_outcome.models.multilevel import MultilevelModel


def alphas(within: FloatArray, between: FloatArray, mean_rows: float) -> dict[str, float]:
    """Return α within clients, of means of clients, and of a session.

    Parameters
    ----------
    within, between : ndarray, shape (d, d)
        Covariance matrices of items.
    mean_rows : float
        Harmonic mean of the sessions of clients.

    Returns
    -------
    dict of str to float
    """
    d = len(within)
    share = d / (d - 1.0)
    common_within, common_between = within.sum() - np.trace(within), between.sum() - np.trace(between)
    total = within.sum() + between.sum()
    observed_means = between.sum() + within.sum() / mean_rows
    return {
        "alpha_within_client": float(share * common_within / within.sum()),
        "alpha_between_client": float(share * common_between / observed_means),
        "alpha_session": float(share * (common_within + common_between) / total),
    }


def pooled_alpha(items: pd.DataFrame) -> float:
    """Return α of all sessions, clients put together (Cronbach 1951, 10.1007/BF02310555).

    Parameters
    ----------
    items : DataFrame
        One column for each item; covariances are those of pairs that are there.

    Returns
    -------
    float
    """
    covariance = items.cov().to_numpy()
    d = len(covariance)
    return float(d / (d - 1.0) * (1.0 - np.trace(covariance) / covariance.sum()))


def omegas(fit: ItemFit, parameters: FloatArray | None = None) -> dict[str, float]:
    """Return ω within clients, of means of clients, and of a session.

    Parameters
    ----------
    fit : ItemFit
        One factor at each level.
    parameters : ndarray, optional
        Those of the maximum unless given.

    Returns
    -------
    dict of str to float
    """
    within, between = fit.matrices(parameters)
    loadings_within, loadings_between = fit.loadings(parameters)
    assert loadings_within is not None
    assert loadings_between is not None
    common_within, common_between = loadings_within.sum() ** 2, loadings_between.sum() ** 2
    return {
        "omega_within_client": float(common_within / within.sum()),
        "omega_between_client": float(common_between / (between.sum() + within.sum() / fit.rows.mean_rows)),
        "omega_session": float((common_within + common_between) / (within.sum() + between.sum())),
    }


@dataclass(frozen=True)
class Interval:
    """A coefficient with its Monte Carlo interval.

    Parameters
    ----------
    estimate, std_error, low, high : float
    """

    estimate: float
    std_error: float
    low: float
    high: float


def intervals(fit: ItemFit, n_draws: int, seed: int) -> dict[str, Interval]:
    """Return ω with 95 % Monte Carlo intervals (Preacher & Selig 2012, 10.1080/19312458.2012.679848).

    Parameters
    ----------
    fit : ItemFit
    n_draws, seed : int

    Returns
    -------
    dict of str to Interval

    Raises
    ------
    UnavailableInference
        If the data do not determine every parameter.
    """
    estimates = omegas(fit)
    drawn = [omegas(fit, each) for each in fit.draws(n_draws, seed)]
    found = {}
    for name, estimate in estimates.items():
        values = np.array([each[name] for each in drawn])
        low, high = np.quantile(values, [0.025, 0.975])
        found[name] = Interval(estimate, float(values.std(ddof=1)), float(low), float(high))
    return found


def mean_reliability(fit: ItemFit, sessions: int) -> float:
    """Return the reliability of a client's mean score of so many sessions as a measure of the client.

    Parameters
    ----------
    fit : ItemFit
    sessions : int

    Returns
    -------
    float
        Variance between clients by that of observed means; all that varies between clients counts as true.
    """
    within, between = fit.matrices()
    return float(between.sum() / (between.sum() + within.sum() / sessions))


@dataclass(frozen=True)
class NestedComponents:
    """Variance components of answers: of clients, of sessions in clients, and of what is left.

    Parameters
    ----------
    client, session, residual : float
    n_items : int
    """

    client: float
    session: float
    residual: float
    n_items: int

    def of_clients(self, sessions: int) -> float:
        """Return the generalisability of a client's mean over so many random sessions, R_kRn of Shrout & Lane (2012).

        Parameters
        ----------
        sessions : int

        Returns
        -------
        float
        """
        error = self.session / sessions + self.residual / (sessions * self.n_items)
        return self.client / (self.client + error)

    @property
    def of_change(self) -> float:
        """The generalisability of change within clients, R_cn."""
        return self.session / (self.session + self.residual / self.n_items)


def nested_components(items: pd.DataFrame, clients: ArrayLike) -> NestedComponents:
    """Split the variance of single answers by restricted maximum likelihood.

    Parameters
    ----------
    items : DataFrame, shape (n_rows, d)
        One column for each item.
    clients : array_like, shape (n_rows,)

    Returns
    -------
    NestedComponents
        Items are random replicates of a session (Shrout & Lane 2012, in Mehl & Conner, Handbook of research methods for
        studying daily life).

    Raises
    ------
    UnfittableModel
        If the data cannot support the model.
    """
    n, d = items.shape
    long = pd.DataFrame(
        {
            "answer": items.to_numpy(dtype=float).ravel(),
            "client": np.repeat(np.asarray(clients), d),
            "session": np.repeat(np.arange(n), d),
        }
    )
    model = MultilevelModel.from_formula("answer ~ 1", long, groups=["client", "session"])
    fit = model.fit()
    client, session = (float(fit.random_covariance(level).iloc[0, 0]) for level in ("client", "session"))
    return NestedComponents(client, session, float(fit.scale), d)


@dataclass(frozen=True)
class ScoreComponents:
    """Variance components of a score: of therapists, of clients of a therapist, and of sessions.

    Parameters
    ----------
    therapist, client, session : float or ndarray
    clients_each, sessions_each : float
        Harmonic means of the clients of therapists and of the sessions of clients.
    """

    therapist: float | FloatArray
    client: float | FloatArray
    session: float | FloatArray
    clients_each: float
    sessions_each: float

    def of_therapists(self, clients: float | None = None) -> float | FloatArray:
        """Return the generalisability of a therapist's mean, over random clients and sessions.

        Parameters
        ----------
        clients : float, optional
            Of each therapist; as many as there are unless given. Each has as many sessions as there are.

        Returns
        -------
        float or ndarray
            Clients and sessions are sampled, so that what varies between them is error of a therapist's mean.
        """
        n = self.clients_each if clients is None else clients
        error = self.client / n + self.session / (n * self.sessions_each)
        return self.therapist / (self.therapist + error)


def score_components(
    scores: pd.Series, clients: pd.Series, therapists: pd.Series, replicates: int, seed: int
) -> tuple[ScoreComponents, ScoreComponents]:
    """Split the variance of a score by restricted maximum likelihood, and again in samples of therapists.

    Parameters
    ----------
    scores : Series, shape (n_rows,)
        Without missing values.
    clients, therapists : Series, shape (n_rows,)
    replicates, seed : int
        Of the bootstrap of therapists.

    Returns
    -------
    estimated, resampled : ScoreComponents
        The latter with arrays, in samples that could be fitted.

    Raises
    ------
    UnfittableModel
        If the data cannot support the model.
    """
    rows = pd.DataFrame({"score": scores, "client": clients, "therapist": therapists})
    fit = MultilevelModel.from_formula("score ~ 1", rows, groups=["therapist", "client"]).fit()
    sessions = rows.groupby("client").size()
    caseloads = rows.drop_duplicates("client").groupby("therapist").size()
    sizes = (float(stats.hmean(caseloads)), float(stats.hmean(sessions)))
    therapist, client = (float(fit.random_covariance(level).iloc[0, 0]) for level in ("therapist", "client"))
    drawn = fit.bootstrap("cases", replicates, seed=seed)
    known = drawn.converged.to_numpy()
    by_level = [drawn.covariances[level][known, 0, 0] for level in ("therapist", "client")]
    return (
        ScoreComponents(therapist, client, float(fit.scale), *sizes),
        ScoreComponents(by_level[0], by_level[1], drawn.scale.to_numpy()[known], *sizes),
    )


def goodness_of_fit(fit: ItemFit, saturated: ItemFit) -> dict[str, float]:
    """Return χ², its degrees of freedom and p value, and RMSEA, of one factor at each level against free matrices.

    Parameters
    ----------
    fit, saturated : ItemFit
        Of the same rows.

    Returns
    -------
    dict of str to float
        chi_square, df, p_value and rmsea.
    """
    df = degrees_of_freedom(len(fit.rows.items))
    chi_square = max(2.0 * (saturated.log_likelihood - fit.log_likelihood), 0.0)
    n = len(fit.rows.values)
    return {
        "chi_square": chi_square,
        "df": float(df),
        # Three items have as many parameters with one factor as without: there is nothing to test.
        "p_value": float(stats.chi2.sf(chi_square, df)) if df else float("nan"),
        "rmsea": float(np.sqrt(max(chi_square - df, 0.0) / (df * n))) if df else float("nan"),
    }
