"""Small made-up studies for the tests of the multilevel engine, and the same models written out over all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from dense_model import DenseModel

from alliance_outcome.models.fitted_state import WorkingRows
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

LEVELS = ("therapist", "client")


def study(
    seed: int = 1,
    *,
    clients: Sequence[int] = (4, 3, 5, 4, 2, 4, 6, 4),
    sessions: Sequence[int] = (5, 6, 4, 7),
    therapist_sd: float = 0.6,
    client_sd: float = 1.0,
    slope_sd: float = 0.5,
    therapist_slope_sd: float = 0.0,
    autocorrelation: float = 0.0,
    time: str = "session",
) -> pd.DataFrame:
    """Simulate sessions of clients of therapists, sorted by therapist, client and time.

    `clients` is their number by therapist; numbers of sessions repeat `sessions`. Columns: therapist, client (texts),
    session (whole times, some left out), week (fractional times), x (varies between sessions), z and sex (between
    clients), w (between therapists), y. Residuals have correlation `autocorrelation` ** gap in `time`.
    """
    rng = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(len(clients)), clients)
    client = np.repeat(np.arange(len(therapist)), np.resize(sessions, len(therapist)))
    therapist = therapist[client]
    n, n_clients = len(client), client.max() + 1
    data = pd.DataFrame(
        {
            "therapist": [f"t{code}" for code in therapist],
            "client": [f"c{code}" for code in client],
            "session": rng.choice([1.0, 1.0, 2.0, 3.0], n),
            "week": rng.uniform(0.4, 2.0, n),
            "x": rng.normal(size=n),
            "z": rng.normal(size=n_clients)[client],
            "w": rng.normal(size=len(clients))[therapist],
            "sex": rng.permutation(np.resize(["Male", "Female"], n_clients))[client],
        }
    )
    times = ["session", "week"]
    data[times] = data.groupby("client", sort=False)[times].cumsum()
    effects = client_sd * rng.normal(size=n_clients)[client]
    effects += therapist_sd * rng.normal(size=len(clients))[therapist]
    slopes = 0.5 + slope_sd * rng.normal(size=n_clients)[client]
    fixed = 2.0 - 0.3 * data["z"] + 0.2 * data["w"] + 0.4 * (data["sex"] == "Male")
    noise = _autocorrelated(rng.normal(size=n), client, data[time].to_numpy(), autocorrelation)
    slopes += therapist_slope_sd * rng.normal(size=len(clients))[therapist]
    data["y"] = fixed + slopes * data["x"] + effects + noise
    return data


def _autocorrelated(noise: np.ndarray, client: np.ndarray, time: np.ndarray, phi: float) -> np.ndarray:
    for row in np.flatnonzero(np.diff(client) == 0) + 1:
        rho = phi ** (time[row] - time[row - 1])
        noise[row] = rho * noise[row - 1] + np.sqrt(1.0 - rho**2) * noise[row]
    return noise


def lagged_study(
    seed: int, *, clients: int = 60, sessions: int = 6, feedback: float = 0.4, kept: float = 1.0
) -> pd.DataFrame:
    """Simulate outcomes that depend on the previous one, the first of which is independent of the client's effect.

    A share `kept` of the sessions is in the table; `before` is the outcome of the session before, in the table or not.
    """
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=clients)
    y = np.empty((sessions + 1, clients))
    x = rng.normal(size=y.shape)
    y[0] = rng.normal(size=clients)
    for t in range(1, sessions + 1):
        y[t] = feedback * y[t - 1] + 0.5 * x[t] + effect + rng.normal(size=clients)
    client, session = np.divmod(np.arange(clients * sessions), sessions)
    data = pd.DataFrame({"client": client, "session": session + 1, "x": x[session + 1, client]})
    data["before"], data["y"] = y[session, client], y[session + 1, client]
    return data[rng.random(len(data)) < kept].reset_index(drop=True)


def model(
    formula: str, data: pd.DataFrame, groups: Sequence[str] = LEVELS, **options: object
) -> MultilevelModel:
    """Make a model of clients in therapists unless other levels are named."""
    return MultilevelModel.from_formula(formula, data, groups, **options)


def fit(
    formula: str, data: pd.DataFrame, groups: Sequence[str] = LEVELS, *, reml: bool = True, **options: object
) -> MultilevelResult:
    """Fit it."""
    return model(formula, data, groups, **options).fit(reml=reml)


#: Arguments of models of `study`, one of each kind that the engine knows.
MODELS: dict[str, dict] = {
    "least_squares": {"formula": "y ~ x + z", "groups": ()},
    "two_levels": {"formula": "y ~ x + z", "groups": ("client",)},
    "client_slope": {"formula": "y ~ x + z", "random": {"client": "1 + x", "therapist": "1"}},
    "independent_slope": {"formula": "y ~ x + z", "random": {"client": "1 + x ||", "therapist": "1"}},
    "slopes_at_both_levels": {"formula": "y ~ x + z", "random": {"client": "1 + x", "therapist": "1 + z"}},
    "therapist_alone": {"formula": "y ~ x + z", "random": {"therapist": "1 + x"}},
    "slope_alone": {"formula": "y ~ 0 + x + z", "random": {"client": "0 + x"}},
    "autoregressive": {"formula": "y ~ x + z", "residual": "ar1", "time": "session"},
    "continuous_time": {
        "formula": "y ~ x + z",
        "groups": ("client",),
        "random": {"client": "1 + x"},
        "residual": "ar1",
        "time": "week",
    },
}


@cache
def example(name: str, reml: bool = True) -> tuple[MultilevelResult, pd.DataFrame]:
    """Fit a model of `MODELS`, and return its data too."""
    arguments = MODELS[name]
    correlated = (
        {"seed": 5, "autocorrelation": 0.5, "time": arguments["time"]} if "residual" in arguments else {}
    )
    data = study(**correlated)
    return fit(data=data, reml=reml, **arguments), data


def dense(result: MultilevelResult, data: pd.DataFrame, time: str | None = None) -> DenseModel:
    """Return the model over all rows of `data`, on columns as they are, at the variances of a result.

    `data` is sorted by therapist, client and time, and its columns are called as the terms are.
    """
    levels = list(result.n_units) or ["row"]
    table = data.assign(Intercept=1.0, row=np.arange(len(data)))
    unit_starts = _starts(table[levels[-1]])
    cluster_starts = np.searchsorted(unit_starts, _starts(table[levels[0]]))
    random = {effects.level: list(effects.terms) for effects in result.design.structure.levels}
    inner = levels[-1] if levels[-1] in random else None
    outer = levels[0] if levels[0] in random and len(levels) == 2 else None
    gaps = None if time is None else np.diff(table[time], prepend=0.0)
    if gaps is not None:
        gaps[unit_starts[:-1]] = 0.0
    rows = WorkingRows(
        table["y"].to_numpy(),
        table[list(result.params.index)].to_numpy(),
        table[random[inner] if inner else []].to_numpy(dtype=float),
        table[random[outer] if outer else []].to_numpy(dtype=float),
        unit_starts,
        cluster_starts,
        gaps,
    )
    unit, cluster = (
        result.random_covariance(level).to_numpy() / result.scale if level else np.empty((0, 0))
        for level in (inner, outer)
    )
    return DenseModel(rows, unit, cluster, result.scale, result.ar1)


def dense_example(name: str, reml: bool = True) -> DenseModel:
    """Return the dense model of an example's fit."""
    return dense(*example(name, reml), time=MODELS[name].get("time"))


def _starts(labels: pd.Series) -> np.ndarray:
    """First row of each group of sorted rows, and the number of rows."""
    return np.append(np.flatnonzero(labels != labels.shift()), len(labels))


def slopes(function: Callable[[np.ndarray], np.ndarray | float], at: np.ndarray, step: float) -> np.ndarray:
    """Differentiate by five-point differences, shape (number of arguments, …)."""
    found = []
    for direction in step * np.eye(len(at)):
        points = [function(at + count * direction) for count in (-2, -1, 1, 2)]
        found.append(
            (np.subtract(points[0], points[3]) + 8.0 * np.subtract(points[2], points[1])) / (12.0 * step)
        )
    return np.array(found)


def standard_errors_apart(one: MultilevelResult, other: MultilevelResult) -> float:
    """Return the largest difference between fixed effects or their standard errors, in standard errors."""
    differences = [one.params - other.params, one.bse - other.bse]
    return max(float((difference.abs() / one.bse).max()) for difference in differences)
