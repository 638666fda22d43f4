"""From a table of sessions to what the joint model of severity and the raters' alliance is fitted to.

The first variable is the outcome, the others are the raters' alliances; any of them may be missing in a row. The
centred variables are summed over the rows of each cell: those of a unit in which the same variables are observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.clusters import Grouping, group, require_nested
from alliance_outcome.models.design_checks import (
    CONSTANT_TOLERANCE,
    INTERCEPT,
    UnfittableModel,
    as_numbers,
    checked_columns,
    require_full_rank,
    require_residual_variation,
)
from alliance_outcome.models.multivariate_cells import SortedCells, sorted_cells

FloatArray = NDArray[np.float64]

#: Name of the first variable.
OUTCOME = "outcome"


@dataclass(frozen=True)
class JointSpecification:
    """Which columns of a table the joint model is of.

    Parameters
    ----------
    outcome : str
        Column of severity.
    raters : mapping
        Column of each rater's alliance, by the rater's name; one or more.
    levels : mapping
        Column with the labels of each level's units, by the level's name, the level of the rows (column None) first and
        each of the others around the one before, for example ``{"within_client": None, "between_client": "client",
        "between_therapist": "therapist"}``. One to three levels.
    outcome_covariates : sequence of str
        Columns with fixed effects on severity.
    alliance_covariates : sequence of str, optional
        Columns with fixed effects on every rater's alliance; those of the outcome unless given. A covariate of severity
        that is related to alliance belongs here too: otherwise latent alliance is taken to be independent of it. Latent
        standard deviations are those that the covariates leave.
    """

    outcome: str
    raters: Mapping[str, str]
    levels: Mapping[str, str | None]
    outcome_covariates: Sequence[str] = ()
    alliance_covariates: Sequence[str] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables: the outcome, then the raters."""
        return (OUTCOME, *self.raters)

    @property
    def covariates(self) -> dict[str, tuple[str, ...]]:
        """Covariates of each variable."""
        own = tuple(self.outcome_covariates)
        alliance = own if self.alliance_covariates is None else tuple(self.alliance_covariates)
        return {variable: own if variable == OUTCOME else alliance for variable in self.variables}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that have a fixed effect on some variable, the intercept first."""
        return tuple(
            dict.fromkeys([INTERCEPT, *(name for names in self.covariates.values() for name in names)])
        )


@dataclass(frozen=True, eq=False)
class JointDesign:
    """A design that passed its checks, in raw units and the user's order of rows.

    Parameters
    ----------
    specification : JointSpecification
    values : ndarray, shape (n_rows, d)
        Outcome and alliances, NaN where missing.
    predictors : ndarray, shape (n_rows, p)
        Columns with fixed effects, ones first.
    uses : ndarray of bool, shape (p, d)
        Whether a column has an effect on a variable.
    groups : tuple of Grouping
        Levels around the rows, innermost first; none to two.
    centres : ndarray, shape (d,)
        Near the mean of each variable; subtracted for computation, so that sums of squares keep their digits.
    """

    specification: JointSpecification
    values: FloatArray
    predictors: FloatArray
    uses: NDArray[np.bool_]
    groups: tuple[Grouping, ...]
    centres: FloatArray

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Which values are there, shape (n_rows, d)."""
        return ~np.isnan(self.values)

    @property
    def terms(self) -> tuple[tuple[int, int], ...]:
        """Column and variable of each fixed effect but the intercepts, by variable."""
        return tuple(
            (int(column), int(variable)) for variable, column in np.argwhere(self.uses.T) if column > 0
        )

    @property
    def predictor_centres(self) -> FloatArray:
        """Mean of each column but the ones, shape (p - 1,)."""
        return self.predictors[:, 1:].mean(axis=0)

    @property
    def predictor_scales(self) -> FloatArray:
        """Standard deviation of each column but the ones, shape (p - 1,)."""
        return self.predictors[:, 1:].std(axis=0)

    @property
    def scaled_predictors(self) -> FloatArray:
        """Ones, and the other columns centred and scaled, shape (n_rows, p)."""
        scaled = (self.predictors[:, 1:] - self.predictor_centres) / self.predictor_scales
        return np.column_stack([self.predictors[:, :1], scaled])

    @cached_property
    def cells(self) -> SortedCells:
        """What the likelihood needs, with the innermost groups as units and the outer ones as clusters."""
        n_rows = len(self.values)
        unit = self.groups[0].codes if self.groups else np.zeros(n_rows, dtype=np.intp)
        return self._sorted_cells(unit, self.groups[1].codes if len(self.groups) > 1 else unit)

    @cached_property
    def row_cells(self) -> SortedCells:
        """The same with each row a unit, for leaving rows out that are clients."""
        rows = np.arange(len(self.values))
        return self._sorted_cells(rows, self.groups[0].codes if self.groups else rows)

    def _sorted_cells(self, unit: NDArray[np.intp], cluster: NDArray[np.intp]) -> SortedCells:
        return sorted_cells(self.scaled_predictors, self.values - self.centres, unit, cluster)

    def with_values(self, values: FloatArray) -> JointDesign:
        """Return the design with other values of outcome and alliances, shape (n_rows, d); centres stay."""
        return replace(self, values=values)


def joint_design(table: pd.DataFrame, specification: JointSpecification) -> JointDesign:
    """Check that the joint model of a table can be fitted, and prepare it.

    Parameters
    ----------
    table : DataFrame
        One row per session (or per client). Outcome and alliances may be missing, covariates and labels may not.
    specification : JointSpecification
        Which columns are meant.

    Returns
    -------
    JointDesign

    Raises
    ------
    UnfittableModel
        If columns are absent, incomplete or not numeric; if a variable does not vary, or is determined by the others;
        if two variables are never observed together; if covariates are collinear (`RankDeficientDesign`); or if units
        are not nested, or a level cannot be told from the one below.
    """
    _require_columns(table, specification)
    variables = table[[specification.outcome, *specification.raters.values()]]
    # Numbers of pandas' nullable types are missing as NA, which is no float.
    variables = variables.astype(object).where(variables.notna(), np.nan)
    values = as_numbers(variables, "an outcome or alliance column")
    if np.isinf(values).any():
        raise UnfittableModel("the outcome or an alliance has infinite values; make them missing")
    fixed = table[list(specification.columns[1:])]
    fixed.insert(0, INTERCEPT, 1.0)
    predictors = checked_columns(fixed)
    used = specification.covariates
    uses = np.array(
        [
            [name == INTERCEPT or name in used[variable] for variable in specification.variables]
            for name in specification.columns
        ]
    )
    _require_informative_values(values, predictors, uses, specification)
    groups = _groups(table, specification)
    design = JointDesign(specification, values, predictors, uses, groups, np.nanmean(values, axis=0))
    _require_own_variation(design)
    return design


def _require_columns(table: pd.DataFrame, specification: JointSpecification) -> None:
    """Refuse a specification of no raters, of unusable levels, or of columns that are not there."""
    labels = list(specification.levels.values())
    if not specification.raters or OUTCOME in specification.raters:
        raise UnfittableModel(f"the joint model needs at least one rater, none of them called {OUTCOME}")
    if not 1 <= len(labels) <= 3 or labels[0] is not None or None in labels[1:]:
        raise UnfittableModel(
            "the joint model has one to three levels: the rows (no column of labels) first, then those around them"
        )
    named = [specification.outcome, *specification.raters.values(), *labels[1:]]
    columns = [*named, *specification.columns[1:]]
    absent = [name for name in columns if name not in table]
    if absent:
        raise UnfittableModel(f"there are no columns {', '.join(absent)}")
    if len(set(columns)) < len(columns):
        raise UnfittableModel("a column is named twice among outcome, raters, labels and covariates")
    if not len(table):
        raise UnfittableModel("there are no rows")


def _groups(table: pd.DataFrame, specification: JointSpecification) -> tuple[Grouping, ...]:
    """Code the levels around the rows; refuse those that cannot be told from the level below."""
    groups = tuple(
        group(table[column], len(table), level) for level, column in specification.levels.items() if column
    )
    for inner, outer in pairwise(groups):
        require_nested(inner, outer)
    sizes = [len(table), *(len(grouping) for grouping in groups)]
    for grouping, below in zip(groups, sizes, strict=False):
        if len(grouping) < 2:
            raise UnfittableModel(f"level {grouping.level} has a single unit; leave the level out")
        if len(grouping) == below:
            raise UnfittableModel(
                f"each unit of level {grouping.level} holds a single unit of the level below, so that their variances "
                "cannot be told apart; leave one of the two levels out"
            )
    return groups


def _require_informative_values(
    values: FloatArray, predictors: FloatArray, uses: NDArray[np.bool_], specification: JointSpecification
) -> None:
    """Refuse variables that do not vary or have collinear covariates, and pairs of variables that never meet."""
    variables, observed = specification.variables, ~np.isnan(values)
    for position, variable in enumerate(variables):
        rows, used = observed[:, position], uses[:, position]
        own = values[rows, position]
        if len(own) < 2 or np.std(own) <= CONSTANT_TOLERANCE * np.abs(own).max():
            raise UnfittableModel(f"{variable} is not observed, or does not vary")
        names = [name for name, is_used in zip(specification.columns, used, strict=True) if is_used]
        require_full_rank(predictors[np.ix_(rows, used)], names)
    for left, right in combinations(range(len(variables)), 2):
        if np.sum(observed[:, left] & observed[:, right]) < 2:
            raise UnfittableModel(
                f"{variables[left]} and {variables[right]} are never observed together, so that nothing is known of "
                "their association within units"
            )


def _require_own_variation(design: JointDesign) -> None:
    """Refuse a variable that covariates, units and the variables before it reproduce exactly."""
    n_rows = len(design.values)
    units = design.groups[0].codes if design.groups else np.zeros(n_rows, dtype=np.intp)
    random = np.ones((n_rows, 1 if design.groups else 0))
    for position, variable in enumerate(design.specification.variables):
        rows = design.observed[:, : position + 1].all(axis=1)
        if rows.sum() < 2:
            continue
        columns = np.column_stack([design.predictors, design.values[:, :position]])[rows]
        try:
            require_residual_variation(design.values[rows, position], columns, random[rows], units[rows])
        except UnfittableModel:
            raise UnfittableModel(
                f"{variable} is determined by covariates, units and the other variables, so that nothing of it is left "
                "to vary between rows"
            ) from None
