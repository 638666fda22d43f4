"""From a long table of sessions to clients by variables, in the order in which things were asked.

Wave k holds the outcome of session k and, of each rater, the alliance rating that comes next before the outcome of wave
k + 1. So a path from one wave to the next is a lag of one session for all raters; within a wave, a rating that is taken
after the outcome may depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from alliance_outcome.models.fitted_state import FloatArray

#: Whether ratings of a wave are taken after the outcome of that wave, or together with it.
Order = Literal["after", "same"]


@dataclass(frozen=True)
class PanelVariable:
    """One variable of every wave.

    Parameters
    ----------
    name : str
        Column of the session table.
    shift : int
        Sessions from a wave's outcome to its rating: 0, or 1 for a rating that is taken before a session whose outcome
        is taken after it.
    order : {'after', 'same'}
        When it is taken, beside the outcome of its wave.
    """

    name: str
    shift: int = 0
    order: Order = "same"


class WaveModel:
    """What specifications of panel models have in common: names of variables and of paths."""

    variables: tuple[PanelVariable, ...]
    invariant_paths: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(each.name for each in self.variables)

    def path(self, effect: str, cause: str, wave: int, lag: int = 1) -> str:
        """Name a path into wave `wave`, the first being 0."""
        name = f"{effect} ~ {cause}" + (f"[-{lag}]" if lag else "")
        return name if self.invariant_paths else f"{name} in {wave + 1}"


@dataclass(frozen=True, eq=False)
class WidePanel:
    """Clients by waves and variables.

    Parameters
    ----------
    values : ndarray, shape (n_clients, n_waves, n_variables)
        The outcome first; NaN where missing.
    clients : Index
        Labels of the clients that have any value.
    names : tuple of str
        Of the variables.
    """

    values: FloatArray
    clients: pd.Index
    names: tuple[str, ...]


def wide_panel(
    sessions: pd.DataFrame,
    variables: Sequence[PanelVariable],
    n_waves: int,
    *,
    client: str = "client",
    session: str = "session",
) -> WidePanel:
    """Put the sessions of a client beside each other.

    Parameters
    ----------
    sessions : DataFrame
        One row per client and session.
    variables : sequence of PanelVariable
        The outcome first.
    n_waves : int
        Number of waves that are used, from session 1 on; what comes later is left out.
    client, session : str
        Columns of clients and of whole session numbers, the first being 1.

    Returns
    -------
    WidePanel
        Clients without any value are left out.

    Raises
    ------
    ValueError
        If columns are missing, session numbers are not whole, or a client has two rows of one session.
    """
    _require_columns(sessions, [client, session, *(each.name for each in variables)])
    numbers = pd.to_numeric(sessions[session]).to_numpy(dtype=float, na_value=np.nan)
    placed = np.isfinite(numbers)
    if not np.array_equal(numbers[placed], np.round(numbers[placed])):
        raise ValueError(f"{session} must hold whole numbers, or nothing")
    codes, labels = pd.factorize(sessions[client])
    wave = np.where(placed, numbers, 0).astype(int) - 1
    used = placed & (codes >= 0)
    if pd.DataFrame({"client": codes[used], "wave": wave[used]}).duplicated().any():
        raise ValueError(f"a {client} has two rows of one {session}")
    values = np.full((len(labels), n_waves, len(variables)), np.nan)
    for number, variable in enumerate(variables):
        at = wave - variable.shift
        own = used & (at >= 0) & (at < n_waves)
        column = pd.to_numeric(sessions[variable.name]).to_numpy(dtype=float, na_value=np.nan)
        values[codes[own], at[own], number] = column[own]
    known = ~np.isnan(values).all(axis=(1, 2))
    return WidePanel(values[known], pd.Index(labels)[known], tuple(each.name for each in variables))


def long_panel(values: FloatArray, names: Sequence[str]) -> pd.DataFrame:
    """Put the sessions of clients beneath each other: the reverse of :func:`wide_panel`.

    Parameters
    ----------
    values : ndarray, shape (n_clients, n_waves, n_variables)
    names : sequence of str
        Of the variables.

    Returns
    -------
    DataFrame
        client and session, numbered from 0 and from 1, and a column for each variable.
    """
    clients, waves, _ = values.shape
    table = pd.DataFrame(values.reshape(clients * waves, -1), columns=list(names))
    table.insert(0, "client", np.repeat(np.arange(clients), waves))
    table.insert(1, "session", np.tile(np.arange(1, waves + 1), clients))
    return table


def _require_columns(sessions: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in sessions]
    if missing:
        raise ValueError(f"the session table has no columns {', '.join(missing)}")


def variables_of(
    outcome: str, raters: Mapping[str, str], order: Mapping[str, Order], shift: Mapping[str, int]
) -> tuple[PanelVariable, ...]:
    """Describe the variables of a model.

    Parameters
    ----------
    outcome : str
        Column of the outcome.
    raters : mapping of str to str
        Column of each rater's alliance.
    order, shift : mapping of str
        By rater; ``same`` and 0 where nothing is said.

    Returns
    -------
    tuple of PanelVariable

    Raises
    ------
    ValueError
        If a rater is not known, an order is neither ``after`` nor ``same``, or a shift is neither 0 nor 1.
    """
    strangers = sorted((set(order) | set(shift)) - set(raters))
    if strangers:
        raise ValueError(f"nobody called {', '.join(strangers)} rates the alliance")
    if not set(order.values()) <= {"after", "same"} or not set(shift.values()) <= {0, 1}:
        raise ValueError("order is 'after' or 'same', shift 0 or 1")
    return (
        PanelVariable(outcome),
        *(PanelVariable(column, shift.get(r, 0), order.get(r, "same")) for r, column in raters.items()),
    )


def spread(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means by wave and variances by variable, from which estimation starts.

    Parameters
    ----------
    values : ndarray, shape (n_clients, n_waves, n_variables)

    Returns
    -------
    means : ndarray, shape (n_waves, n_variables)
    variances : ndarray, shape (n_variables,)
        Of deviations from the wave's mean; 1 where nothing varies.
    """
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, values, 0.0).sum(axis=0) / counts
    squares = np.where(known, values - means, 0.0) ** 2
    variances = squares.sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
    return means, np.where(variances > 0.0, variances, 1.0)
