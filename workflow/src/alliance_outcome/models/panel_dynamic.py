"""The covariance structure of the dynamic panel model with sequentially exogenous alliance.

    y_k = ν_k + ρ y_{k−1} + Σ_r b_r a^r_{k−1} + α + ε_k,    k = 2, …, K

(Allison, Williams & Moral-Benito 2017, 10.1177/2378023117710578): α, what is stable of a client, may go with the first
outcome and with every rating; residuals ε may go with ratings that are taken later, so that severity may act on
alliance in any way. Nothing is assumed of how ratings come about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_layout import PanelVariable, WaveModel
from alliance_outcome.models.panel_structure import Entry, PanelStructure

_STABLE, _CARRIED = 0.2, 0.2
STABLE = "stable"


@dataclass(frozen=True)
class Dynamic(WaveModel):
    """What the model is.

    Parameters
    ----------
    variables : tuple of PanelVariable
        The outcome first.
    n_waves : int
    invariant_paths : bool
        Whether paths are the same in all waves.
    """

    variables: tuple[PanelVariable, ...]
    n_waves: int
    invariant_paths: bool

    @property
    def observed(self) -> tuple[tuple[int, int], ...]:
        """Wave and variable of everything observed: ratings of the last wave predict nothing."""
        n = len(self.variables)
        return tuple(
            (wave, number)
            for wave in range(self.n_waves)
            for number in range(n if wave < self.n_waves - 1 else 1)
        )


def dynamic_structure(model: Dynamic, means: FloatArray, variances: FloatArray) -> PanelStructure:
    """Write the model as a covariance structure.

    Parameters
    ----------
    model : Dynamic
    means : ndarray, shape (n_waves, n_variables)
        Where expected values start.
    variances : ndarray, shape (n_variables,)
        What variances start from.

    Returns
    -------
    PanelStructure
        Of the variables of :attr:`Dynamic.observed`, which are the latent variables, too, with α the last one.
    """
    observed = model.observed
    places = {key: at for at, key in enumerate(observed)}
    names = [f"{model.names[number]}[{wave + 1}]" for wave, number in observed]
    stable = len(observed)
    loadings = np.eye(stable, stable + 1)
    entries = [
        Entry("mean", at, at, f"mean({model.names[number]}) in {wave + 1}", float(means[wave, number]))
        for at, (wave, number) in enumerate(observed)
    ]
    entries += _paths(model, places, stable)
    entries += _exogenous(places, names, variances, stable)
    entries += _residuals(model, places, names, variances)
    return PanelStructure(loadings, tuple(entries))


def _paths(model: Dynamic, places: dict[tuple[int, int], int], stable: int) -> Iterator[Entry]:
    for wave in range(1, model.n_waves):
        at = places[wave, 0]
        for number, cause in enumerate(model.names):
            start = _CARRIED if number == 0 else 0.0
            label = model.path(model.names[0], cause, wave)
            yield Entry("path", at, places[wave - 1, number], label, start)
        yield Entry("path", at, stable, None, 1.0)


def _exogenous(
    places: dict[tuple[int, int], int], names: list[str], variances: FloatArray, stable: int
) -> Iterator[Entry]:
    """Yield (co)variances of the first outcome, all ratings and what is stable: all free."""
    free = [at for (wave, number), at in places.items() if number > 0 or wave == 0]
    of = {at: float(variances[number]) for (_, number), at in places.items()}
    for first, second in combinations_with_replacement(free, 2):
        label = f"var({names[first]})" if first == second else f"cov({names[first]}, {names[second]})"
        yield Entry("covariance", second, first, label, of[first] if first == second else 0.0)
    yield Entry("covariance", stable, stable, f"var({STABLE})", _STABLE * float(variances[0]))
    for at in free:
        yield Entry("covariance", stable, at, f"cov({STABLE}, {names[at]})", 0.0)


def _residuals(
    model: Dynamic, places: dict[tuple[int, int], int], names: list[str], variances: FloatArray
) -> Iterator[Entry]:
    """Yield variances of residuals, and their covariances with ratings that are taken later."""
    for wave in range(1, model.n_waves):
        at = places[wave, 0]
        yield Entry("covariance", at, at, f"var(residual {names[at]})", 0.6 * float(variances[0]))
        for later in range(wave, model.n_waves - 1):
            for number in range(1, len(model.variables)):
                rating = places[later, number]
                yield Entry("covariance", rating, at, f"cov(residual {names[at]}, {names[rating]})", 0.0)
