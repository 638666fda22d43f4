"""Profile likelihood of standard deviations, correlations and the autocorrelation.

A quantity is held at a value by writing the covariance matrix of its level so that the quantity is one of the
parameters. Effects are those of the raw columns, the ones concerned first: then Λ_11 is a relative standard deviation,
and with Λ_21 = a b, Λ_22 = √(1 − a²) b the correlation of the first two is a. Values on the boundary, a standard
deviation of 0 or a correlation of 1, need no special treatment that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_design import NestedDesign
from alliance_outcome.models.nested_likelihood import NestedLikelihood
from alliance_outcome.models.random_structure import RandomEffects, RandomStructure
from alliance_outcome.models.unprofiled_likelihood import unprofiled_deviance, unprofiled_gradient

#: Relative standard deviation to which effects without variance are raised before a search, which would stick at zero.
OFF_ZERO = 0.1

#: How precisely the deviance is minimised over the other parameters: its largest derivative.
GRADIENT = 1e-5


class HeldQuantity:
    """The deviance with one quantity held, minimised over everything else.

    Parameters
    ----------
    design : NestedDesign
    likelihood : NestedLikelihood
        Of the full likelihood.
    parameters : ndarray, shape (k,)
        Its maximum.
    residual_variance : float
        σ² there.
    level : str or None
        Level of the quantity; None for those of the residuals.
    terms : sequence of str
        One term for a standard deviation, two for a correlation; ``residual`` or ``ar1`` for those of the residuals.
    """

    def __init__(
        self,
        design: NestedDesign,
        likelihood: NestedLikelihood,
        parameters: FloatArray,
        residual_variance: float,
        level: str | None,
        terms: Sequence[str],
    ) -> None:
        self.design, self.terms, self.level = design, tuple(terms), level
        self.likelihood, covariances, self.sizes = _in_raw_effects(
            design, likelihood, parameters, level, terms
        )
        _, _, phi = likelihood.unpack(parameters)
        start = self.likelihood.pack(*covariances, phi)
        self._estimate = np.append(start, np.log(residual_variance))
        self._last = self._estimate
        self._minimum = self._deviance(self._estimate)[0]

    @property
    def _first(self) -> int:
        """Position of Λ_11 of the level concerned."""
        structure = self.likelihood.structure
        if structure.cluster is not None and structure.cluster.level == self.level:
            return 0
        return len(self.likelihood.problem.cluster_rows)

    def rise(self, value: float) -> float:
        """Return by how much the least deviance with the quantity at a value exceeds the least of all."""
        starts = [self._off_zero(self._last), self._off_zero(self._estimate)]
        deviance, self._last = min((self._minimise(each, value) for each in starts), key=lambda pair: pair[0])
        return deviance - self._minimum

    def _off_zero(self, parameters: FloatArray) -> FloatArray:
        """Give effects without variance some, so that the search does not stick."""
        moved, start = parameters.copy(), 0
        for effects in self.likelihood.structure.levels:
            rows, columns = effects.positions
            diagonal = start + np.flatnonzero(rows == columns)
            small = np.abs(moved[diagonal]) < OFF_ZERO / 10.0
            moved[diagonal[small]] = OFF_ZERO
            start += len(rows)
        return moved

    def _minimise(self, start: FloatArray, value: float) -> tuple[float, FloatArray]:
        free = self._free(start)
        if not len(free):
            parameters, _ = self._filled(free, value)
            return self._deviance(parameters)[0], parameters

        # Loading it takes longer than most fits, and few ask for profiles.
        from scipy import optimize

        def objective(trial: FloatArray) -> tuple[float, FloatArray]:
            parameters, jacobian = self._filled(trial, value)
            deviance, gradient = self._deviance(parameters)
            return deviance, jacobian.T @ gradient

        # A step too long to be evaluated is infinitely bad; the line search then computes with that.
        with np.errstate(all="ignore"):
            found = optimize.minimize(objective, free, jac=True, method="BFGS", options={"gtol": GRADIENT})
        return float(found.fun), self._filled(found.x, value)[0]

    def _deviance(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """Deviance at parameters and log σ², and its gradient."""
        at = self.likelihood.evaluate(parameters[:-1])
        if not np.isfinite(at.deviance):
            return np.inf, np.zeros(len(parameters))
        variance = float(np.exp(parameters[-1]))
        deviance = unprofiled_deviance(self.likelihood, at, variance)
        return deviance, unprofiled_gradient(self.likelihood, at, variance)

    # -- From free parameters to all, for each kind of quantity -----------------------------------------------------

    def _free(self, parameters: FloatArray) -> FloatArray:
        """Return the free parameters of a point."""
        if self.terms == ("residual",):
            return parameters[:-1]
        if self.terms == ("ar1",):
            return np.delete(parameters, -2)
        if len(self.terms) == 1:
            return np.delete(parameters, self._first)
        second = parameters[self._first + 1 : self._first + 3]
        kept = np.delete(parameters, self._first + 1)
        kept[self._first + 1] = np.hypot(*second)
        return kept

    def _filled(self, free: FloatArray, value: float) -> tuple[FloatArray, FloatArray]:
        """Return all parameters, and their derivatives by the free ones, with the quantity at a value."""
        scale = self.design.scaling.outcome_scale
        if self.terms == ("residual",):
            return np.append(free, 2.0 * np.log(value / scale)), np.eye(len(free) + 1)[:, :-1]
        if self.terms == ("ar1",):
            held = self.likelihood.pack_autocorrelation(self.design.working_autocorrelation(value))
            return np.insert(free, -1, held), np.delete(np.eye(len(free) + 1), -2, axis=1)
        if len(self.terms) == 1:
            relative = value * self.sizes[0] / (scale * np.exp(0.5 * free[-1]))
            jacobian = np.delete(np.eye(len(free) + 1), self._first, axis=1)
            jacobian[self._first, -1] = -0.5 * relative
            return np.insert(free, self._first, relative), jacobian
        # Both standard deviations without sign, which would be that of the correlation.
        at = self._first + 1
        signs = np.where(free[at - 1 : at + 1] < 0.0, -1.0, 1.0)
        share = np.array([value, np.sqrt(max(1.0 - value**2, 0.0))])
        parameters = np.insert(free, at, 0.0)
        parameters[at - 1] = abs(free[at - 1])
        parameters[at : at + 2] = share * abs(free[at])
        jacobian = np.delete(np.eye(len(free) + 1), at, axis=1)
        jacobian[at - 1, at - 1] = signs[0]
        jacobian[at : at + 2, at] = share * signs[1]
        return parameters, jacobian


def _in_raw_effects(
    design: NestedDesign,
    likelihood: NestedLikelihood,
    parameters: FloatArray,
    level: str | None,
    terms: Sequence[str],
) -> tuple[NestedLikelihood, list[FloatArray | None], FloatArray]:
    """Write a level's random effects as those of its raw columns, scaled, with some terms first.

    Returns
    -------
    NestedLikelihood
        The same model, so written.
    list of ndarray
        Ψ_u and Ψ_v at `parameters`.
    ndarray
        Size of the raw columns: effects of the scaled ones are so many times those of the raw ones.
    """
    rows, structure = likelihood.rows, likelihood.structure
    psi = dict(zip(("unit", "cluster"), likelihood.unpack(parameters)[:2], strict=True))
    changed: dict[str, RandomEffects | None] = {"unit": structure.unit, "cluster": structure.cluster}
    sizes = np.ones(0)
    for place, effects in (("unit", structure.unit), ("cluster", structure.cluster)):
        if effects is None or effects.level != level:
            continue
        order = [effects.terms.index(term) for term in terms]
        order += [at for at in range(len(effects)) if at not in order]
        back = design.effect_maps[effects.level]
        raw = getattr(rows, f"{place}_random") @ np.linalg.inv(back)
        sizes = np.sqrt(np.mean(raw**2, axis=0))[order]
        to_scaled = (np.diag(1.0 / np.sqrt(np.mean(raw**2, axis=0))) @ np.eye(len(order)))[:, order]
        rows = replace(rows, **{f"{place}_random": raw @ to_scaled})
        map_back = np.diag(sizes) @ back[order]
        psi[place] = map_back @ psi[place] @ map_back.T
        changed[place] = replace(effects, terms=tuple(effects.terms[at] for at in order))
    written = NestedLikelihood(
        rows, RandomStructure(changed["unit"], changed["cluster"]), likelihood.reml, likelihood.residual
    )
    return written, [psi["unit"], psi["cluster"]], sizes
