"""The covariance structure of the random-intercept cross-lagged panel model, with or without linear trends.

    y_kv = ν_kv + I_v + (k − 1) S_v + w_kv (+ e_kv),    w_k = A w_{k−1} (+ A₂ w_{k−2} + …) + u_k

of variables v in waves k (Hamaker, Kuiper & Grasman 2015, 10.1037/a0038889; Mulder & Hamaker 2021,
10.1080/10705511.2020.1784738): intercepts I and slopes S differ between clients and are correlated, what is left varies
within clients, and measurement error e is known or estimated where it is asked for. Ratings that are taken after the
outcome of their wave depend on it by a path, which takes the place of the covariance of their residuals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_layout import PanelVariable, WaveModel
from alliance_outcome.models.panel_structure import Entry, PanelStructure

#: Where estimation starts: share of variance between clients, of that within clients which slopes take, and carry-over.
_BETWEEN, _TREND, _CARRIED = 0.4, 0.1, 0.2


@dataclass(frozen=True)
class CrossLagged(WaveModel):
    """What the model is.

    Parameters
    ----------
    variables : tuple of PanelVariable
        The outcome first.
    n_waves : int
    random_slopes : bool
        Whether clients have linear trends of their own.
    lags : int
        Number of earlier waves that act directly.
    invariant_paths, invariant_residuals : bool
        Whether paths, and (co)variances of residuals after the first wave, are the same in all waves.
    error : mapping of str to float or None
        Variance of measurement error, by variable; None to estimate it.
    """

    variables: tuple[PanelVariable, ...]
    n_waves: int
    random_slopes: bool
    lags: int
    invariant_paths: bool
    invariant_residuals: bool
    error: Mapping[str, float | None]

    def within(self, wave: int, variable: int) -> int:
        """Place of a variable's departure in a wave among the latent variables."""
        return wave * len(self.variables) + variable


def cross_lagged_structure(model: CrossLagged, means: FloatArray, variances: FloatArray) -> PanelStructure:
    """Write the model as a covariance structure.

    Parameters
    ----------
    model : CrossLagged
    means : ndarray, shape (n_waves, n_variables)
        Where expected values start.
    variances : ndarray, shape (n_variables,)
        What variances start from.

    Returns
    -------
    PanelStructure
        Variables of one wave after the other, as in :class:`~alliance_outcome.models.panel_layout.WidePanel`. Latent
        variables are departures within clients in the same order, then intercepts, then slopes.
    """
    return PanelStructure(
        _loadings(model),
        (
            *_means(model, means),
            *_paths(model),
            *_between(model, variances),
            *_residuals(model, variances),
            *_errors(model, variances),
        ),
    )


def _loadings(model: CrossLagged) -> FloatArray:
    """Return Λ."""
    n, waves = len(model.variables), model.n_waves
    blocks = [np.eye(n * waves), np.tile(np.eye(n), (waves, 1))]
    if model.random_slopes:
        blocks.append(np.kron(np.arange(waves)[:, None], np.eye(n)))
    return np.hstack(blocks)


def _means(model: CrossLagged, means: FloatArray) -> Iterator[Entry]:
    for wave in range(model.n_waves):
        for number, name in enumerate(model.names):
            at = model.within(wave, number)
            yield Entry("mean", at, at, f"mean({name}) in {wave + 1}", float(means[wave, number]))


def _paths(model: CrossLagged) -> Iterator[Entry]:
    for wave in range(1, model.n_waves):
        for lag in range(1, min(model.lags, wave) + 1):
            for i, effect in enumerate(model.names):
                for j, cause in enumerate(model.names):
                    start = _CARRIED if i == j and lag == 1 else 0.0
                    rows = model.within(wave, i), model.within(wave - lag, j)
                    yield Entry("path", *rows, model.path(effect, cause, wave, lag), start)
        for i, variable in enumerate(model.variables):
            if variable.order == "after":
                rows = model.within(wave, i), model.within(wave, 0)
                yield Entry("path", *rows, model.path(variable.name, model.names[0], wave, lag=0))


def _between(model: CrossLagged, variances: FloatArray) -> Iterator[Entry]:
    """Yield variances and covariances of intercepts and slopes."""
    first = len(model.variables) * model.n_waves
    names = [f"intercept {name}" for name in model.names]
    starts = list(_BETWEEN * variances)
    if model.random_slopes:
        names += [f"slope {name}" for name in model.names]
        starts += list(_TREND * variances / (model.n_waves - 1) ** 2)
    for i, j in combinations_with_replacement(range(len(names)), 2):
        label = f"var({names[i]})" if i == j else f"cov({names[i]}, {names[j]})"
        yield Entry("covariance", first + j, first + i, label, float(starts[i]) if i == j else 0.0)


def _residuals(model: CrossLagged, variances: FloatArray) -> Iterator[Entry]:
    for wave in range(model.n_waves):
        for i, j in combinations_with_replacement(range(len(model.variables)), 2):
            # The first wave has no path from its outcome: there is nothing earlier that would explain both.
            directed = wave > 0 and i == 0 < j and model.variables[j].order == "after"
            if not directed:
                start = float((1.0 - _BETWEEN) * variances[i]) if i == j else 0.0
                label = _residual_label(model, i, j, wave)
                yield Entry("covariance", model.within(wave, j), model.within(wave, i), label, start)


def _residual_label(model: CrossLagged, i: int, j: int, wave: int) -> str:
    kind = "first" if wave == 0 else "residual"
    names = model.names
    label = f"var({kind} {names[i]})" if i == j else f"cov({kind} {names[i]}, {kind} {names[j]})"
    return label if wave == 0 or model.invariant_residuals else f"{label} in {wave + 1}"


def _errors(model: CrossLagged, variances: FloatArray) -> Iterator[Entry]:
    for number, name in enumerate(model.names):
        if name not in model.error:
            continue
        known = model.error[name]
        label = f"var(error {name})" if known is None else None
        value = 0.1 * float(variances[number]) if known is None else known
        for wave in range(model.n_waves):
            at = model.within(wave, number)
            yield Entry("error", at, at, label, value)


def covariance_blocks(model: CrossLagged) -> Sequence[tuple[str, tuple[int, ...]]]:
    """Name the blocks of Ψ that must be covariance matrices, with their latent variables.

    Parameters
    ----------
    model : CrossLagged

    Returns
    -------
    sequence of (str, tuple of int)
    """
    n, waves = len(model.variables), model.n_waves
    stable = tuple(range(n * waves, n * waves + n * (2 if model.random_slopes else 1)))
    title = "intercepts and slopes" if model.random_slopes else "intercepts"
    return [
        (title, stable),
        *(
            (
                f"{'first wave' if wave == 0 else f'residuals of wave {wave + 1}'}",
                tuple(range(n * wave, n * wave + n)),
            )
            for wave in range(waves)
        ),
    ]
