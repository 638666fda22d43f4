"""From labelled columns to the arrays that the likelihood of a nested model works on.

Decides which levels have random effects, refuses what cannot be fitted, puts rows in order and scales them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alliance_outcome.models.clusters import Grouping, RowOrder, require_nested, row_order
from alliance_outcome.models.design_checks import (
    CONSTANT_TOLERANCE,
    INTERCEPT,
    UnfittableModel,
    require_full_rank,
    require_variation,
)
from alliance_outcome.models.fitted_state import FloatArray, WorkingRows
from alliance_outcome.models.level_covariances import LevelledDesign
from alliance_outcome.models.random_structure import RandomEffects, RandomStructure
from alliance_outcome.models.scaling import Scaling

#: Times closer to whole numbers than this count as whole.
WHOLE_TIME = 1e-9


@dataclass(frozen=True)
class RandomColumns:
    """Columns with random effects at one level, as the user passed them.

    Parameters
    ----------
    terms : tuple of str
        Their names.
    values : ndarray, shape (n_rows, n_terms)
    correlated : bool
        Whether the effects have an unstructured covariance matrix.
    """

    terms: tuple[str, ...]
    values: FloatArray
    correlated: bool


@dataclass(frozen=True)
class ModelColumns:
    """Everything that a model is made of, complete, in raw units and the user's order of rows.

    Parameters
    ----------
    outcome : ndarray, shape (n_rows,)
    fixed : ndarray, shape (n_rows, p)
    terms : tuple of str, length p
    groups : tuple of Grouping
        Levels, outermost first; none to two.
    random : mapping of level to RandomColumns
    times : ndarray, shape (n_rows,), or None
        Time of each row, where residuals are AR(1) or the outcome is lagged.
    """

    outcome: FloatArray
    fixed: FloatArray
    terms: tuple[str, ...]
    groups: tuple[Grouping, ...]
    random: Mapping[str, RandomColumns]
    times: FloatArray | None


@dataclass(frozen=True)
class Levels:
    """Which levels have units with several rows, and so may have random effects.

    Parameters
    ----------
    groups : tuple of Grouping
        As the user named them, outermost first.
    n_rows : int
    """

    groups: tuple[Grouping, ...]
    n_rows: int

    @property
    def grouped(self) -> tuple[Grouping, ...]:
        """Levels of which some unit has several rows, outermost first."""
        return tuple(grouping for grouping in self.groups if len(grouping) < self.n_rows)

    @property
    def innermost(self) -> str:
        """Name of the level of the rows."""
        return self.groups[-1].level if len(self.grouped) < len(self.groups) else "row"

    @property
    def unit(self) -> Grouping:
        """The innermost level with several rows to a unit; if there is none, each row is a unit."""
        if self.grouped:
            return self.grouped[-1]
        rows = np.arange(self.n_rows)
        return self.groups[-1] if self.groups else Grouping("row", rows, rows)

    @property
    def cluster(self) -> Grouping | None:
        """The level above `unit`."""
        return self.grouped[0] if len(self.grouped) == 2 else None

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Levels and their numbers of units, outermost first, the rows last."""
        return (*((each.level, len(each)) for each in self.grouped), (self.innermost, self.n_rows))


@dataclass(frozen=True)
class NestedDesign:
    """A design that is ready to be estimated.

    Parameters
    ----------
    columns : ModelColumns
        What it was made from.
    levels : Levels
    structure : RandomStructure
    scaling : Scaling
        How to return to raw units.
    effect_maps : mapping of level to ndarray, shape (q, q)
        T such that the level's effects on raw columns are ``T @ scaled``, the outcome's scale apart.
    order : RowOrder
        How the rows are sorted.
    rows : WorkingRows
        The scaled rows, sorted.
    whole_gaps : bool
        Whether all times between rows of a unit are whole numbers of `time_unit`, which residuals with a negative
        autocorrelation need.
    time_unit : float
        Times in `rows` are multiples of this: the largest whole number that divides all, if it is odd, so that powers
        keep their sign; otherwise the median. The autocorrelation then is one of usual distances.
    """

    columns: ModelColumns
    levels: Levels
    structure: RandomStructure
    scaling: Scaling
    effect_maps: Mapping[str, FloatArray]
    order: RowOrder
    rows: WorkingRows
    whole_gaps: bool
    time_unit: float

    def raw_autocorrelation(self, working: float | FloatArray) -> float | FloatArray:
        """Return the autocorrelation one unit of the user's time apart, given that of `time_unit`."""
        return np.sign(working) * np.abs(working) ** (1.0 / self.time_unit)

    def working_autocorrelation(self, raw: float) -> float:
        """Invert `raw_autocorrelation`."""
        return float(np.sign(raw) * np.abs(raw) ** self.time_unit)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the fixed-effect columns."""
        return self.columns.terms

    @cached_property
    def levelled(self) -> LevelledDesign:
        """Columns of fixed and random effects by level, innermost first, as the R² measures take them."""
        groupings = self.levels.grouped[::-1]
        empty = np.empty((self.levels.n_rows, 0))
        random = self.columns.random
        return LevelledDesign(
            terms=self.terms,
            fixed=self.columns.fixed,
            levels=(self.levels.innermost, *(grouping.level for grouping in groupings)),
            groups=tuple(grouping.codes for grouping in groupings),
            random=tuple(
                random[grouping.level].values if grouping.level in random else empty for grouping in groupings
            ),
        )

    @property
    def cluster_level(self) -> Grouping:
        """The outermost level: its units are independent of each other."""
        return self.levels.cluster or self.levels.unit

    @property
    def cluster_labels(self) -> NDArray:
        """Labels of the outermost level's units in sorted order."""
        grouping = self.cluster_level
        first = self.rows.cluster_row_starts[:-1]
        return grouping.labels[self.order.take(grouping.codes)[first]]


def nested_design(columns: ModelColumns) -> NestedDesign:
    """Check a design, sort its rows and scale it.

    Parameters
    ----------
    columns : ModelColumns

    Returns
    -------
    NestedDesign

    Raises
    ------
    UnfittableModel
        If the design cannot be fitted; `RankDeficientDesign` if columns are collinear.
    """
    levels = Levels(columns.groups, len(columns.outcome))
    structure = _structure(columns, levels)
    _require_units(columns, levels, structure)
    require_variation(columns.outcome)
    require_full_rank(columns.fixed, columns.terms)
    order = row_order(levels.unit, levels.cluster, columns.times)
    intercept = columns.terms.index(INTERCEPT) if INTERCEPT in columns.terms else None
    scaling, outcome, fixed = Scaling.of(columns.outcome, columns.fixed, intercept)
    scaled = {effects.level: _random_columns(columns.random[effects.level]) for effects in structure.levels}
    gaps, whole_gaps, time_unit = _gaps(columns.times, order)
    rows = WorkingRows(
        order.take(outcome),
        order.take(fixed),
        _sorted_random(structure.unit, scaled, order, columns),
        _sorted_random(structure.cluster, scaled, order, columns),
        order.unit_starts,
        order.cluster_starts,
        gaps,
    )
    effect_maps = {level: effect_map for level, (_, effect_map) in scaled.items()}
    return NestedDesign(columns, levels, structure, scaling, effect_maps, order, rows, whole_gaps, time_unit)


def _structure(columns: ModelColumns, levels: Levels) -> RandomStructure:
    """Name the random effects of each level that can have some."""

    def effects(grouping: Grouping | None) -> RandomEffects | None:
        if grouping is None or grouping not in levels.grouped or grouping.level not in columns.random:
            return None
        own = columns.random[grouping.level]
        return RandomEffects(grouping.level, own.terms, own.correlated) if own.terms else None

    unit, cluster = effects(levels.unit), effects(levels.cluster)
    return RandomStructure(unit, cluster)


def _require_units(columns: ModelColumns, levels: Levels, structure: RandomStructure) -> None:
    """Refuse designs with too few units to tell the variances apart."""
    n_rows, n_terms = levels.n_rows, len(columns.terms)
    if n_rows <= n_terms:
        raise UnfittableModel(
            f"{n_rows} rows cannot determine {n_terms} fixed effects and a residual variance"
        )
    if len(levels.groups) == 2:
        require_nested(levels.groups[1], levels.groups[0])
    _require_repeated_slopes(columns, levels)
    for grouping in levels.grouped:
        if len(grouping) < 2:
            raise UnfittableModel(f"there is only one {grouping.level}; leave that level out")
    _require_separable(levels)
    _require_more_rows_than_effects(levels, structure)


def _require_repeated_slopes(columns: ModelColumns, levels: Levels) -> None:
    for grouping in levels.groups:
        terms = columns.random[grouping.level].terms if grouping.level in columns.random else ()
        if grouping not in levels.grouped and any(term != INTERCEPT for term in terms):
            raise UnfittableModel(f"random slopes need {grouping.level}s with several rows")


def _require_separable(levels: Levels) -> None:
    """Refuse levels whose units each hold one unit of the level below."""
    for above, (below, count) in zip(levels.grouped, levels.counts[1:], strict=True):
        if len(above) >= count:
            raise UnfittableModel(
                f"every {above.level} has a single {below}, so that the two levels cannot be told apart"
            )
    if levels.groups and not levels.grouped and len(levels.groups) == 2:
        outer, inner = levels.groups
        raise UnfittableModel(
            f"every {outer.level} has a single {inner.level}, so that the two levels cannot be told apart"
        )


def _require_more_rows_than_effects(levels: Levels, structure: RandomStructure) -> None:
    """Like lme4, demand more rows than a level has correlated random effects."""
    for effects, grouping in ((structure.unit, levels.unit), (structure.cluster, levels.cluster)):
        if effects is None or grouping is None or not effects.correlated or len(effects) < 2:
            continue
        if len(effects) * len(grouping) >= levels.n_rows:
            raise UnfittableModel(
                f"{levels.n_rows} rows cannot determine {len(effects)} random effects for each of "
                f"{len(grouping)} {grouping.level}s; leave out random slopes"
            )


def _random_columns(own: RandomColumns) -> tuple[FloatArray, FloatArray]:
    """Return the columns with random effects, scaled, and the map that takes their effects back.

    Beside a random intercept, a full covariance matrix absorbs centring. Uncorrelated effects do not, so their columns
    are only scaled.
    """
    values = own.values
    means = np.zeros(values.shape[1])
    intercept = own.terms.index(INTERCEPT) if INTERCEPT in own.terms else None
    if own.correlated and intercept is not None:
        means = values.mean(axis=0)
        means[intercept] = 0.0
    centred = values - means
    sizes = np.sqrt(np.mean(centred**2, axis=0))
    _require_varying(own, intercept)
    effect_map = np.diag(1.0 / sizes)
    if intercept is not None:
        effect_map[intercept] -= means / sizes
    return centred / sizes, effect_map


def _require_varying(own: RandomColumns, intercept: int | None) -> None:
    """Refuse random slopes of columns that are zero or, beside a random intercept, never vary."""
    deviations = own.values if intercept is None else own.values - own.values.mean(axis=0)
    spread = np.sqrt(np.mean(deviations**2, axis=0))
    empty = spread <= CONSTANT_TOLERANCE * np.abs(own.values).max(axis=0)
    if intercept is not None:
        empty[intercept] = False
    if empty.any():
        names = [term for term, is_empty in zip(own.terms, empty, strict=True) if is_empty]
        raise UnfittableModel(
            f"the random slope of {', '.join(names)} has a column that never varies; leave it out"
        )


def _sorted_random(
    effects: RandomEffects | None,
    scaled: Mapping[str, tuple[FloatArray, FloatArray]],
    order: RowOrder,
    columns: ModelColumns,
) -> FloatArray:
    if effects is None:
        return np.empty((len(columns.outcome), 0))
    return order.take(scaled[effects.level][0])


def _gaps(times: FloatArray | None, order: RowOrder) -> tuple[FloatArray | None, bool, float]:
    """Return the time since the unit's previous row, 0 for its first; whether all are whole; and in which unit.

    Raises
    ------
    UnfittableModel
        If two rows of a unit have the same time.
    """
    if times is None:
        return None, True, 1.0
    gaps = np.diff(order.take(times), prepend=np.nan)
    gaps[order.unit_starts[:-1]] = 0.0
    later = np.ones(len(gaps), dtype=bool)
    later[order.unit_starts[:-1]] = False
    ties = int(np.sum(later & (gaps <= 0.0)))
    if ties:
        raise UnfittableModel(f"{ties} rows have the time of another row of the same unit")
    if not later.any():
        return gaps, True, 1.0
    if np.all(np.abs(gaps - np.round(gaps)) < WHOLE_TIME):
        divisor = int(np.gcd.reduce(np.round(gaps[later]).astype(np.int64)))
        if divisor % 2:
            return np.round(gaps) / divisor, True, float(divisor)
    unit = float(np.median(gaps[later]))
    return gaps / unit, False, unit


def term_positions(terms: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the positions of wanted terms.

    Parameters
    ----------
    terms : sequence of str
        All terms.
    wanted : sequence of str
        Some of them.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If a wanted term is unknown.
    """
    unknown = [str(term) for term in wanted if term not in terms]
    if unknown:
        raise ValueError(f"the model has no terms {', '.join(unknown)}")
    return [list(terms).index(term) for term in wanted]
