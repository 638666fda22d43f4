"""Severity and the raters' alliance in one Gaussian model, with measurement error and missing ratings, in PyMC.

At each level k (rows, clients, therapists) the raters' latent alliances η_k have standard deviations s_kr and a
correlation matrix. A rating adds an error of variance s_kr² (1 − R_kr)/R_kr, independent between raters, to its part of
each level, R being the reliability at that level. Severity is

    y = x'β + Σ_k (b_k'η_k + e_k)

with a residual e_k at each level; each rating has its own fixed effects, plus its parts of all levels. So severity and
ratings have one covariance matrix per level, and their joint density needs no random effect to be sampled (see
:mod:`alliance_outcome.models.multivariate_kernels`). Values that are missing at random, of severity or of ratings, are
integrated out; a row with any value counts.

Slopes on latent alliance are free of the attenuation of single ratings and of means of few sessions (Lüdtke et al.
2008, 10.1037/a0012869). Raters are compared per latent standard deviation: D_k = b_kC s_kC − b_kT s_kT.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from alliance_outcome.models.marginal_model import quiet_about_blas
from alliance_outcome.models.measurement_error_priors import MANIFEST, MeasurementErrorPriors, Reliability
from alliance_outcome.models.multivariate_design import JointDesign, JointSpecification
from alliance_outcome.models.multivariate_kernels import pack
from alliance_outcome.models.multivariate_likelihood import nested_gaussian_log_likelihood

#: Reliabilities by level and rater; a pair that is not named is `MANIFEST`.
Reliabilities = Mapping[tuple[str, str], Reliability]

#: Sampled on the unit interval and reported as something else.
INTERNAL = ("unit_correlation", "uncertain_reliability")


def reliability_table(design: JointDesign, reliability: Reliabilities) -> list[list[Reliability]]:
    """Return what is known of each rater's reliability at each level.

    Parameters
    ----------
    design : JointDesign
    reliability : mapping
        By level and rater.

    Returns
    -------
    list of list of Reliability
        One list for each level, of one for each rater.

    Raises
    ------
    ValueError
        If a level or rater is named that the design does not have.
    """
    levels, raters = tuple(design.specification.levels), tuple(design.specification.raters)
    unknown = [pair for pair in reliability if pair[0] not in levels or pair[1] not in raters]
    if unknown:
        raise ValueError(f"the model has no level and rater {unknown[0]}")
    return [[reliability.get((level, rater), MANIFEST) for rater in raters] for level in levels]


def cell_data(design: JointDesign) -> dict[str, np.ndarray]:
    """Return the observed values as the model's data.

    Parameters
    ----------
    design : JointDesign
        The design the model was built from, or one that differs from it by :meth:`JointDesign.with_values` alone.

    Returns
    -------
    dict of ndarray
        For ``with_data`` of a compiled model: other values need no compilation.
    """
    numbers, structure = pack(design.cells.cells)
    return {"cell_numbers": numbers, "cell_structure": structure}


def reliability_data(design: JointDesign, reliability: Reliabilities) -> dict[str, np.ndarray]:
    """Return the reliabilities that are known, shape (n_levels, n_raters), as the model's data.

    Parameters
    ----------
    design : JointDesign
    reliability : mapping
        By level and rater. Which of them are known must be as in the model.

    Returns
    -------
    dict of ndarray
        For ``with_data`` of a compiled model: other known reliabilities need no compilation.
    """
    table = reliability_table(design, reliability)
    known = [[1.0 if each.known is None else each.known for each in row] for row in table]
    return {"known_reliability": np.array(known)}


def _coordinates(design: JointDesign) -> dict[str, list[str]]:
    specification = design.specification
    raters, columns = list(specification.raters), specification.columns
    variables = list(specification.variables)
    effects = [f"{variables[variable]}: {columns[column]}" for column, variable in design.terms]
    return {
        "level": list(specification.levels),
        "rater": raters,
        "rater_b": raters,
        "pair": [f"{left} - {right}" for left, right in combinations(raters, 2)],
        "variable": variables,
        "variable_b": variables,
        "effect_term": effects,
        "coefficient_term": [f"{variable}: {columns[0]}" for variable in variables] + effects,
    }


def build_model(
    design: JointDesign, priors: MeasurementErrorPriors, reliability: Reliabilities | None = None
) -> pm.Model:
    """Declare the model.

    Parameters
    ----------
    design : JointDesign
        From :func:`joint_design`.
    priors : MeasurementErrorPriors
    reliability : mapping, optional
        :class:`Reliability` by level and rater; alliance is taken as rated where nothing is said.

    Returns
    -------
    Model
        In raw units: ``coefficient`` (dims ``coefficient_term``, fixed effects), ``slope`` (b, dims ``level, rater``),
        ``standardised_slope`` (per latent standard deviation), ``latent_sd``, ``observed_sd`` and ``reliability`` (the
        same dims), ``residual_sd`` (of severity, dims ``level``), ``latent_correlation`` (dims ``level, rater,
        rater_b``), ``difference`` (D, dims ``level, pair``) and ``covariance`` of all variables (dims ``level,
        variable, variable_b``). A single rater has neither correlation nor difference.

    Notes
    -----
    Standard deviations, correlations and reliabilities of alliance are those given its covariates. A standardised slope
    is defined whatever the latent standard deviation. A slope divides by it: where the data leave open that it is zero,
    as at the level of few therapists, the slope's posterior has no mean, and its quantiles are what can be reported.
    """
    reliability = reliability or {}
    table = reliability_table(design, reliability)
    data = cell_data(design) | reliability_data(design, reliability)
    with quiet_about_blas(), pm.Model(coords=_coordinates(design)) as model:
        numbers, structure, known = (pm.Data(name, array) for name, array in data.items())
        coefficients = _fixed_effects(design, priors)
        covariance = _covariances(_reliability(table, known), priors, design.specification)
        pm.Deterministic("covariance", covariance, dims=("level", "variable", "variable_b"))
        levels = [covariance[position] for position in range(len(table))]
        levels += [np.zeros((len(design.centres), len(design.centres)))] * (3 - len(table))
        likelihood = nested_gaussian_log_likelihood(coefficients, *levels, numbers, structure)[0]
        pm.Potential("log_likelihood", likelihood)
    return model


def _fixed_effects(design: JointDesign, priors: MeasurementErrorPriors) -> pt.TensorVariable:
    """Declare the fixed effects; return them as they apply to centred variables, one column for each variable."""
    raters = tuple(design.specification.raters)
    mean = np.append(priors.outcome_mean, priors.of_raters("alliance_mean", raters))
    mean_sd = np.append(priors.outcome_mean_sd, priors.of_raters("alliance_mean_sd", raters))
    intercept = pm.Normal("intercept", mean, mean_sd, dims="variable")
    first = (intercept - design.centres)[None, :]
    if not design.terms:
        pm.Deterministic("coefficient", intercept, dims="coefficient_term")
        return first
    columns, variables = np.array(design.terms).T
    effect_sd = np.append(priors.outcome_effect_sd, priors.of_raters("alliance_effect_sd", raters))
    effect = pm.Normal("effect", 0.0, effect_sd[variables], dims="effect_term")
    raw = effect / design.predictor_scales[columns - 1]
    # An intercept in raw units is the expected value where covariates are zero, not average.
    share = (variables[:, None] == np.arange(len(mean))) * design.predictor_centres[columns - 1][:, None]
    shift = (raw[:, None] * share).sum(axis=0)
    pm.Deterministic("coefficient", pt.concatenate([intercept - shift, raw]), dims="coefficient_term")
    others = pt.zeros((len(design.uses) - 1, len(mean)))[columns - 1, variables].set(effect)
    return pt.concatenate([first, others])


def _reliability(table: list[list[Reliability]], known: pt.TensorVariable) -> pt.TensorVariable:
    """Declare reliabilities that are uncertain; return all, shape (n_levels, n_raters)."""
    uncertain = [each for row in table for each in row if each.known is None]
    if uncertain:
        shape = np.array([[each.alpha, each.beta] for each in uncertain]).T
        drawn = pm.Beta("uncertain_reliability", *shape)
        known = known[np.nonzero([[each.known is None for each in row] for row in table])].set(drawn)
    return pm.Deterministic("reliability", known, dims=("level", "rater"))


def _correlations(n_levels: int, size: int, lkj_eta: float) -> pt.TensorVariable:
    """Declare the correlations of latent alliances, shape (n_levels, n_raters, n_raters).

    Under the LKJ prior canonical partial correlations are independent Beta variables on (−1, 1).
    """
    if size == 1:
        return pt.ones((n_levels, 1, 1))
    pairs = list(combinations(range(size), 2))
    shape = np.array([lkj_eta + (size - 2 - before) / 2.0 for before, _ in pairs])
    unit = pm.Beta("unit_correlation", shape, shape, dims=("level", "pair"))
    partial = {pair: 2.0 * unit[:, position] - 1.0 for position, pair in enumerate(pairs)}
    ones = pt.ones(n_levels)
    factor = [[ones]]
    for row in range(1, size):
        left, entries = ones, []
        for column in range(row):
            entries.append(partial[column, row] * pt.sqrt(left))
            left *= 1.0 - partial[column, row] ** 2
        factor.append([*entries, pt.sqrt(left)])
    correlation = {
        (row, column): sum(factor[row][at] * factor[column][at] for at in range(row + 1))
        for row, column in pairs
    }
    stacked = [
        correlation.get((min(row, column), max(row, column)), ones)
        for row in range(size)
        for column in range(size)
    ]
    square = pt.stack(stacked, axis=1).reshape((n_levels, size, size))
    return pm.Deterministic("latent_correlation", square, dims=("level", "rater", "rater_b"))


def _covariances(
    reliability: pt.TensorVariable, priors: MeasurementErrorPriors, specification: JointSpecification
) -> pt.TensorVariable:
    """Declare what makes up the covariance matrix of severity and ratings at each level, and return them.

    The standard deviation of ratings is sampled, because the data know it better than the latent one, whose prior is
    half-normal whatever the reliability.
    """
    raters, dims, root = tuple(specification.raters), ("level", "rater"), pt.sqrt(reliability)
    size = len(raters)
    observed = pm.HalfNormal("observed_sd", priors.of_raters("alliance_sd", raters) / root, dims=dims)
    latent = pm.Deterministic("latent_sd", observed * root, dims=dims)
    standardised = pm.Normal("standardised_slope", 0.0, priors.slope_sd, dims=dims)
    residual = pm.HalfNormal("residual_sd", priors.outcome_sd, dims="level")
    pm.Deterministic("slope", standardised / latent, dims=dims)
    if size > 1:
        left, right = np.array(list(combinations(range(size), 2))).T
        pm.Deterministic("difference", standardised[:, left] - standardised[:, right], dims=("level", "pair"))
    correlation = _correlations(len(specification.levels), size, priors.lkj_eta)
    shared = (correlation * standardised[:, None, :]).sum(axis=2)
    outcome = (standardised * shared).sum(axis=1) + residual**2
    between = latent * shared
    error = observed**2 * (1.0 - reliability)
    ratings = latent[:, :, None] * latent[:, None, :] * correlation + error[:, :, None] * np.eye(size)
    above = pt.concatenate([outcome[:, None, None], between[:, None, :]], axis=2)
    return pt.concatenate([above, pt.concatenate([between[:, :, None], ratings], axis=2)], axis=1)
