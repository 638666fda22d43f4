"""What the joint model of severity and alliance predicts: data from prior and posterior, and groups left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from xarray import DataArray, Dataset

from alliance_outcome.models.marginal_model import quiet_about_blas
from alliance_outcome.models.measurement_error_model import INTERNAL
from alliance_outcome.models.multivariate_cells import SortedCells
from alliance_outcome.models.multivariate_design import JointDesign
from alliance_outcome.models.multivariate_kernels import draw_effects, group_log_likelihoods

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PriorSimulation:
    """Parameters from the prior, and a data set for each draw.

    Parameters
    ----------
    parameters : Dataset
        The quantities of :func:`build_model`; dims ``chain`` (one) and ``draw`` first.
    values : ndarray, shape (draws, n_rows, d)
        Outcome and alliances, NaN where the design has none.
    """

    parameters: Dataset
    values: FloatArray


@dataclass(frozen=True)
class Parameters:
    """One draw of what the likelihood depends on.

    Parameters
    ----------
    coefficients : ndarray, shape (p, d)
        Of scaled predictors on centred variables.
    covariances : ndarray, shape (3, d, d)
        Of rows, inner and outer groups; zero where a level is absent.
    """

    coefficients: FloatArray
    covariances: FloatArray


def parameter_draws(design: JointDesign, draws: Dataset) -> Iterator[Parameters]:
    """Yield what the likelihood depends on, draw by draw, chain by chain.

    Parameters
    ----------
    design : JointDesign
    draws : Dataset
        Posterior or prior, with ``intercept``, ``effect`` (unless there are no covariates) and ``covariance``.

    Yields
    ------
    parameters : Parameters
    """
    d = len(design.centres)
    intercepts = draws["intercept"].to_numpy().reshape(-1, d)
    covariances = draws["covariance"].to_numpy().reshape(len(intercepts), -1, d, d)
    effects = np.zeros((len(intercepts), 0))
    if design.terms:
        effects = draws["effect"].to_numpy().reshape(len(intercepts), -1)
    for intercept, covariance, effect in zip(intercepts, covariances, effects, strict=True):
        coefficients = np.zeros(design.uses.shape)
        coefficients[0] = intercept - design.centres
        for (column, variable), value in zip(design.terms, effect, strict=True):
            coefficients[column, variable] = value
        levels = np.zeros((3, d, d))
        levels[: len(covariance)] = covariance
        yield Parameters(coefficients, levels)


def draw_prior(model: pm.Model, draws: int, seed: int) -> Dataset:
    """Draw parameters from the prior.

    Parameters
    ----------
    model : Model
        From :func:`build_model`.
    draws : int
        Number of draws.
    seed : int
        Seed.

    Returns
    -------
    Dataset
        The quantities of :func:`build_model`, dims ``chain`` (one) and ``draw`` first.
    """
    kept = [each for each in (*model.free_RVs, *model.deterministics) if each.name not in INTERNAL]
    # Few draws: the interpreter is faster than compiling them.
    with quiet_about_blas():
        arrays = pm.draw(kept, draws=draws, random_seed=seed, mode="FAST_COMPILE")
    dims = model.named_vars_to_dims
    return Dataset(
        {
            variable.name: DataArray(
                np.reshape(array, (1, draws, *np.shape(array)[1 if draws > 1 else 0 :])),
                dims=("chain", "draw", *dims.get(variable.name, ())),
            )
            for variable, array in zip(kept, arrays, strict=True)
        },
        coords={
            name: list(labels) for name, labels in model.coords.items() if labels is not None and len(labels)
        },
    )


def simulate_from_prior(model: pm.Model, design: JointDesign, draws: int, seed: int) -> PriorSimulation:
    """Draw parameters from the prior, and for each a data set of the same design with the same values missing.

    Parameters
    ----------
    model : Model
        From :func:`build_model`.
    design : JointDesign
        The design the model was built from.
    draws : int
        Number of data sets.
    seed : int
        Seed.

    Returns
    -------
    PriorSimulation
        ``design.with_values(values[k])`` is the design of data set k. For simulation-based calibration compile the
        model once and sample ``compiled.with_data(**cell_data(design.with_values(values[k])))`` for each k.
    """
    prior_seed, data_seed = (int(each) for each in np.random.SeedSequence(seed).generate_state(2))
    parameters = draw_prior(model, draws, prior_seed)
    return PriorSimulation(parameters, simulate_values(design, parameters, data_seed))


def simulate_values(
    design: JointDesign, draws: Dataset, seed: int, groups: Literal["new", "same"] = "new"
) -> FloatArray:
    """Simulate outcome and alliances for each draw of the parameters.

    Parameters
    ----------
    design : JointDesign
        Gives predictors, groups and which values are missing.
    draws : Dataset
        Posterior or prior.
    seed : int
        Seed.
    groups : {'new', 'same'}
        Whether clients and therapists are drawn anew, or are those of the data (given which their effects are drawn).

    Returns
    -------
    ndarray, shape (n_draws, n_rows, d)
        NaN where the design has no value.
    """
    generator = np.random.default_rng(seed)
    missing = ~design.observed
    simulated = []
    for parameters in parameter_draws(design, draws):
        values = design.centres + design.scaled_predictors @ parameters.coefficients
        values += _noise(generator, len(values), parameters.covariances[0])
        if groups == "new":
            for grouping, covariance in zip(design.groups, parameters.covariances[1:], strict=False):
                values += _noise(generator, len(grouping), covariance)[grouping.codes]
        else:
            values += _group_effects(generator, design, parameters)
        values[missing] = np.nan
        simulated.append(values)
    return np.array(simulated)


def _noise(generator: np.random.Generator, count: int, covariance: FloatArray) -> FloatArray:
    """Draw normal vectors with a covariance matrix that may be singular."""
    variances, directions = np.linalg.eigh(covariance)
    factor = directions * np.sqrt(np.maximum(variances, 0.0))
    return generator.normal(size=(count, len(covariance))) @ factor.T


def _group_effects(generator: np.random.Generator, design: JointDesign, parameters: Parameters) -> FloatArray:
    """Draw the effects of the data's own groups on each row, shape (n_rows, d)."""
    ordered, d = design.cells, len(design.centres)
    unit_effects, cluster_effects = draw_effects(
        parameters.coefficients,
        *parameters.covariances,
        ordered.cells,
        generator.normal(size=(len(ordered.units), d)),
        generator.normal(size=(len(ordered.clusters), d)),
    )
    effects = np.zeros((len(design.values), d))
    for grouping, codes, drawn in zip(
        design.groups, (ordered.units, ordered.clusters), (unit_effects, cluster_effects), strict=False
    ):
        by_code = np.empty_like(drawn)
        by_code[codes] = drawn
        effects += by_code[grouping.codes]
    return effects


def left_out_log_likelihoods(design: JointDesign, posterior: Dataset, level: str) -> DataArray:
    """Compute the log-density of each unit's data given all others' and the parameters, draw by draw.

    Parameters
    ----------
    design : JointDesign
    posterior : Dataset
    level : str
        Level whose units are left out in turn: a level around the rows; or that of the rows, where there is at most one
        level around them (rows that are clients).

    Returns
    -------
    DataArray
        Dims ``chain, draw, unit``, units in order of first appearance; effects of all levels are integrated out, so
        that this is what importance sampling of leave-one-out posteriors takes.

    Raises
    ------
    ValueError
        If the level is not one of these.
    """
    names = [grouping.level for grouping in design.groups]
    rows = next(iter(design.specification.levels))
    if level in names:
        ordered = design.cells
        found = np.array(list(_group_terms(design, posterior, ordered, outer=names.index(level) == 1)))
        codes = ordered.clusters if names.index(level) == 1 else ordered.units
    elif level == rows and len(names) < 2:
        ordered, codes = design.row_cells, design.row_cells.units
        found = np.array(list(_group_terms(design, posterior, ordered, outer=False, rows=True)))
    else:
        raise ValueError(f"units of level {level} cannot be left out")
    by_code = np.empty_like(found)
    by_code[:, codes] = found
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    return DataArray(by_code.reshape(chains, draws, -1), dims=("chain", "draw", "unit"))


def _group_terms(
    design: JointDesign, posterior: Dataset, ordered: SortedCells, *, outer: bool, rows: bool = False
) -> Iterator[FloatArray]:
    """Yield the log-densities of inner or outer groups in sorted order; `rows` makes each row an inner group."""
    grams = ordered.cell_grams
    for parameters in parameter_draws(design, posterior):
        within, unit, cluster = parameters.covariances
        if rows:
            unit, cluster = np.zeros_like(unit), unit
        by_cluster, by_unit = group_log_likelihoods(
            parameters.coefficients, within, unit, cluster, ordered.cells, grams
        )
        yield by_cluster if outer else by_unit
