"""What follows from draws of the parameters: random effects, likelihoods of groups, and replicated outcomes.

Everything is exact given a draw: random effects come from their Gaussian distribution given the data, and likelihoods
of clients and therapists are those of the model with random effects integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xarray import DataArray, Dataset

from alliance_outcome.models import gram_kernels
from alliance_outcome.models import marginal_kernels as kernels
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.marginal_likelihood import MarginalData
from alliance_outcome.models.prior_values import Priors
from alliance_outcome.models.random_structure import RandomEffects
from alliance_outcome.models.standardised_design import StandardisedDesign


@dataclass(frozen=True, eq=False)
class ParameterDraws:
    """Draws of the parameters as compiled code takes them, in standardised coordinates.

    Parameters
    ----------
    coefficients : ndarray, shape (n_draws, p)
    factor_u, factor_v : ndarray, shape (n_draws, q, q) and (n_draws, r, r)
    sigma : ndarray, shape (n_draws,)
    autocorrelation : ndarray, shape (n_draws,)
        Zeros where residuals are independent.
    """

    coefficients: FloatArray
    factor_u: FloatArray
    factor_v: FloatArray
    sigma: FloatArray
    autocorrelation: FloatArray

    def __len__(self) -> int:
        return len(self.sigma)

    @classmethod
    def of(cls, posterior: Dataset, design: StandardisedDesign) -> ParameterDraws:
        """Take the parameters out of a posterior (or prior) with dimensions chain and draw."""
        sigma = _flat(posterior["residual_sd"])
        autocorrelated = "autocorrelation" in posterior
        return cls(
            design.working_coefficients(_flat(posterior["coefficient"])),
            _factors(posterior, design.unit, design),
            _factors(posterior, design.cluster, design),
            sigma,
            _flat(posterior["autocorrelation"]) if autocorrelated else np.zeros_like(sigma),
        )

    def chosen(self, positions: slice | np.ndarray) -> ParameterDraws:
        """Return some of the draws."""
        return ParameterDraws(
            self.coefficients[positions],
            self.factor_u[positions],
            self.factor_v[positions],
            self.sigma[positions],
            self.autocorrelation[positions],
        )


def _flat(values: DataArray) -> FloatArray:
    """Put the draws of all chains in one row."""
    array = values.transpose("chain", "draw", ...).to_numpy()
    return array.reshape(-1, *array.shape[2:])


def _factors(posterior: Dataset, effects: RandomEffects | None, design: StandardisedDesign) -> FloatArray:
    """Return factors of the covariance matrices of one level, shape (n_draws, q, q)."""
    if effects is None:
        return np.empty((posterior.sizes["chain"] * posterior.sizes["draw"], 0, 0))
    sds = _flat(posterior[f"{effects.level}_sd"]) * design.effect_scales[effects.level]
    name = f"{effects.level}_correlation"
    if name not in posterior:
        return sds[:, :, None] * np.eye(len(effects))
    return sds[:, :, None] * np.linalg.cholesky(_flat(posterior[name]))


def draw_random_effects(
    parameters: ParameterDraws, design: StandardisedDesign, data: MarginalData, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Draw random effects from their distribution given the data and each draw of the parameters.

    Parameters
    ----------
    parameters : ParameterDraws
    design : StandardisedDesign
    data : MarginalData
    seed : int

    Returns
    -------
    units : ndarray, shape (n_draws, q, n_units)
        Effects on standardised columns.
    clusters : ndarray, shape (n_draws, r, n_clusters)
    """
    rng = np.random.default_rng(seed)
    n_units, n_clusters = data.gram.shape[2], len(data.cluster_starts) - 1
    q, r = (0 if level is None else len(level) for level in (design.unit, design.cluster))
    units = rng.standard_normal((len(parameters), q, n_units))
    clusters = rng.standard_normal((len(parameters), r, n_clusters))
    for chunk, gram, _ in _weighted(parameters, data):
        own = parameters.chosen(chunk)
        kernels.draw_effects(
            gram,
            data.cluster_starts,
            own.coefficients,
            own.factor_u,
            own.factor_v,
            own.sigma,
            units[chunk],
            clusters[chunk],
        )
    return units, clusters


def group_log_likelihoods(parameters: ParameterDraws, data: MarginalData) -> tuple[FloatArray, FloatArray]:
    """Evaluate the likelihood of each unit and of each cluster.

    Parameters
    ----------
    parameters : ParameterDraws
    data : MarginalData

    Returns
    -------
    by_unit : ndarray, shape (n_draws, n_units)
        log p(rows of the unit | rows of all other units, parameters): what leaving out one unit asks for where units of
        a cluster inform each other (Bürkner, Gabry & Vehtari 2021, 10.1007/s00180-020-01045-4).
    by_cluster : ndarray, shape (n_draws, n_clusters)
        log p(rows of the cluster | parameters).
    """
    n_units, n_clusters = data.gram.shape[2], len(data.cluster_starts) - 1
    by_unit, by_cluster = np.empty((len(parameters), n_units)), np.empty((len(parameters), n_clusters))
    unit_rows = np.diff(data.unit_starts).astype(np.int64)
    for chunk, gram, constants in _weighted(parameters, data):
        own = parameters.chosen(chunk)
        kernels.group_likelihoods(
            gram,
            data.cluster_starts,
            constants,
            unit_rows,
            own.coefficients,
            own.factor_u,
            own.factor_v,
            own.sigma,
            by_unit[chunk],
            by_cluster[chunk],
        )
    return by_unit, by_cluster


def _weighted(parameters: ParameterDraws, data: MarginalData) -> list[tuple[slice, FloatArray, FloatArray]]:
    """Return which draws share Gram matrices, those, and log|R| of units: all, unless residuals are AR(1)."""
    if not data.autocorrelated:
        gram, _, constants = data.weighted(0.0)
        return [(slice(0, len(parameters)), gram, constants)]

    def each(draw: int) -> tuple[slice, FloatArray, FloatArray]:
        gram, _, constants = data.weighted(parameters.autocorrelation[draw])
        return slice(draw, draw + 1), gram, constants

    return (each(draw) for draw in range(len(parameters)))


def replicated_outcomes(
    parameters: ParameterDraws,
    design: StandardisedDesign,
    data: MarginalData,
    seed: int,
    *,
    new_effects: bool,
) -> FloatArray:
    """Simulate outcomes from each draw of the parameters.

    Parameters
    ----------
    parameters : ParameterDraws
    design : StandardisedDesign
    data : MarginalData
    seed : int
    new_effects : bool
        Whether random effects are those of new units (as for a prior), or of the units in the data given their rows.

    Returns
    -------
    ndarray, shape (n_draws, n_rows)
        In the outcome's units and the order in which rows were passed.
    """
    rng = np.random.default_rng(seed)
    rows = design.rows
    if new_effects:
        effects = _new_effects(parameters, data, rng)
    else:
        effects = draw_random_effects(parameters, design, data, int(rng.integers(2**63)))
    found = parameters.coefficients @ rows.fixed.T + _residuals(parameters, design, rng)
    for columns, own, starts in (
        (rows.unit_random, effects[0], rows.unit_starts),
        (rows.cluster_random, effects[1], rows.cluster_row_starts),
    ):
        for position in range(columns.shape[1]):
            found += columns[:, position] * np.repeat(own[:, position], np.diff(starts), axis=1)
    back = np.empty_like(found)
    order = design.nested.order.rows
    back[:, slice(None) if order is None else order] = found
    return back + design.outcome_mean


def _new_effects(
    parameters: ParameterDraws, data: MarginalData, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    found = []
    for factors, count in (
        (parameters.factor_u, data.gram.shape[2]),
        (parameters.factor_v, len(data.cluster_starts) - 1),
    ):
        found.append(factors @ rng.standard_normal((len(parameters), factors.shape[1], count)))
    return found[0], found[1]


def _residuals(
    parameters: ParameterDraws, design: StandardisedDesign, rng: np.random.Generator
) -> FloatArray:
    rows = design.rows
    noise = rng.standard_normal((len(parameters), len(rows.outcome)))
    if rows.gaps is not None:
        for draw, phi in enumerate(parameters.autocorrelation):
            gram_kernels.autocorrelate(noise[draw : draw + 1], rows.unit_starts, rows.gaps, phi)
    return parameters.sigma[:, None] * noise


def log_priors(posterior: Dataset, design: StandardisedDesign, priors: Priors) -> Dataset:
    """Evaluate the prior densities of the draws, up to constants, for sensitivity to them.

    Parameters
    ----------
    posterior : Dataset
        With dimensions chain and draw.
    design : StandardisedDesign
    priors : Priors

    Returns
    -------
    Dataset
        Variables ``fixed_effects``, ``<level>_sd``, ``<level>_correlation`` and ``residual_sd``, dimensions chain and
        draw. A uniform autocorrelation has no prior to be sensitive to.
    """
    effect = posterior["effect"] - priors.effect_means(design)
    intercept = (posterior["centred_intercept"] - priors.intercept_mean) / priors.intercept_sd
    found = {
        "fixed_effects": -0.5 * (intercept**2 + ((effect / priors.effect_sds(design)) ** 2).sum("predictor")),
        "residual_sd": -0.5 * (posterior["residual_sd"] / priors.residual_sd) ** 2,
    }
    for effects in design.levels:
        level, term = effects.level, f"{effects.level}_term"
        scales = priors.group_scales(effects) / design.effect_scales[level]
        found[f"{level}_sd"] = -0.5 * ((posterior[f"{level}_sd"] / scales) ** 2).sum(term)
        name = f"{level}_correlation"
        if name in posterior:
            matrices = posterior[name].transpose("chain", "draw", term, f"{term}_b")
            log_determinant = np.linalg.slogdet(matrices.to_numpy())[1]
            found[name] = (("chain", "draw"), (priors.lkj_eta - 1.0) * log_determinant)
    return Dataset(found, coords={name: posterior[name] for name in ("chain", "draw")})
