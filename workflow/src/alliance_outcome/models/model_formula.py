"""From a formula and a table to the columns of a model.

Formulas are those of R, read by formulaic: terms by degree and then as written, so that coefficients come in lme4's
order, named ``Intercept``, ``x``, ``Sex[T.Female]``, ``age:Sex[T.Female]``. Rows with a missing value in anything the
model uses are dropped and counted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Term

from alliance_outcome.models.clusters import group
from alliance_outcome.models.design_checks import (
    INTERCEPT,
    UnfittableModel,
    as_numbers,
    checked_columns,
    require_complete,
)
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.nested_design import ModelColumns, RandomColumns

#: A random part as lme4 writes it: terms, then one bar or two, and perhaps the level again.
_RANDOM = re.compile(r"(?P<terms>[^|]+)(?:(?P<bars>\|{1,2})(?P<level>[^|]*))?")


@dataclass(frozen=True)
class RandomFormula:
    """What varies between the units of one level.

    Parameters
    ----------
    terms : str
        Right-hand side of a formula.
    correlated : bool
        False where it ends in ``||``.
    """

    terms: str
    correlated: bool

    @classmethod
    def parse(cls, text: str, level: str) -> RandomFormula:
        """Read ``1 + x``, ``1 + x ||`` or, with the level again as in lme4, ``1 + x | client``.

        Raises
        ------
        ValueError
            If it cannot be read, or names another level.
        """
        found = _RANDOM.fullmatch(text.strip())
        if found is None or not found["terms"].strip() or (found["level"] or "").strip() not in ("", level):
            raise ValueError(
                f"the random part of {level} cannot be read: write it like '1 + x', or '1 + x ||' for independent "
                "effects"
            )
        return cls(found["terms"].strip(), found["bars"] != "||")


@dataclass(frozen=True)
class Specifications:
    """How the columns of a model are made, so that new data get the same ones.

    Parameters
    ----------
    fixed : ModelSpec
        Right-hand side of the model's formula.
    random : mapping of level to ModelSpec
    """

    fixed: ModelSpec
    random: Mapping[str, ModelSpec]


@dataclass(frozen=True)
class FormulaColumns:
    """Columns made from a formula.

    Parameters
    ----------
    columns : ModelColumns
    specifications : Specifications
    kept : ndarray of bool, shape (rows of the table,)
        Rows without a missing value.
    index : Index
        Labels of the kept rows.
    """

    columns: ModelColumns
    specifications: Specifications
    kept: np.ndarray
    index: pd.Index

    @property
    def n_dropped(self) -> int:
        """Rows left out because something was missing."""
        return int(np.sum(~self.kept))


@lru_cache(maxsize=256)
def _formula(text: str) -> Formula:
    """Parse a formula; as in R, the variables of an interaction stand in the order in which the formula names them."""
    written = Formula(text, _ordering="none")
    if not hasattr(written, "rhs"):
        return Formula(_in_order_of_appearance(written))
    return (
        Formula(lhs=written.lhs, rhs=_in_order_of_appearance(written.rhs))
        if hasattr(written, "lhs")
        else written
    )


def _in_order_of_appearance(terms: Iterable[Term]) -> list[Term]:
    terms = list(terms)
    appearance: dict[str, int] = {}
    for term in terms:
        for factor in term.factors:
            appearance.setdefault(str(factor), len(appearance))
    return [Term(sorted(term.factors, key=lambda factor: appearance[str(factor)])) for term in terms]


def columns_from_formula(
    formula: str, data: pd.DataFrame, groups: Sequence[str], random: Mapping[str, str], time: str | None
) -> FormulaColumns:
    """Make the columns of a model.

    Parameters
    ----------
    formula : str
        ``outcome ~ terms``.
    data : DataFrame
        One row each.
    groups : sequence of str
        Columns of the levels, outermost first.
    random : mapping of level to str
        What varies between its units, ``1 + x`` or ``1 + x ||``.
    time : str or None
        Column of times.

    Returns
    -------
    FormulaColumns

    Raises
    ------
    UnfittableModel
        If no complete row is left, a column of the model is not finite, or the outcome is not one column.
    ValueError
        If a formula cannot be read or names what the table does not have.
    """
    fixed = _parsed(formula)
    if not hasattr(fixed, "lhs"):
        raise ValueError("the formula lacks an outcome: write 'outcome ~ terms'")
    parts = {level: RandomFormula.parse(text, level) for level, text in random.items()}
    unknown = [level for level in parts if level not in groups]
    if unknown:
        raise ValueError(f"random effects are given for {', '.join(unknown)}, which groups does not name")
    parsed = {level: _parsed(part.terms) for level, part in parts.items()}
    kept = _complete(data, [fixed, *parsed.values()], groups, time)
    table = _without_unused_categories(data if kept.all() else data.loc[kept])
    if table.empty:
        raise UnfittableModel("no row has all that the model needs")
    outcome, values, fixed_spec = _fixed_columns(formula, table)
    specifications, columns = {}, {}
    for level, part in parts.items():
        columns[level], specifications[level] = _random_columns(
            parsed[level], part, table, fixed_spec, values
        )
    return FormulaColumns(
        ModelColumns(
            outcome,
            values,
            tuple(fixed_spec.column_names),
            tuple(group(table[name], len(table), name) for name in groups),
            columns,
            None if time is None else _times(table[time], len(table)),
        ),
        Specifications(fixed_spec, specifications),
        kept,
        table.index,
    )


def _without_unused_categories(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out categories that have no rows, and so no coefficient."""
    categorical = table.select_dtypes("category")
    unused = [name for name, column in categorical.items() if column.nunique() < len(column.cat.categories)]
    return table.assign(**{name: table[name].cat.remove_unused_categories() for name in unused})


def _parsed(text: str) -> Formula:
    try:
        return _formula(text)
    except FormulaicError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the formula {text!r} cannot be read: {reason}") from None


def _complete(
    data: pd.DataFrame, formulas: Sequence[Formula], groups: Sequence[str], time: str | None
) -> np.ndarray:
    """Find the rows in which nothing that the model uses is missing."""
    used = {str(name) for formula in formulas for name in formula.required_variables}
    used |= {*groups, *([] if time is None else [time])}
    absent = sorted(used - set(data.columns))
    if absent:
        raise ValueError(f"the table has no columns {', '.join(absent)}")
    twice = sorted(used & set(data.columns[data.columns.duplicated()]))
    if twice:
        raise ValueError(f"the table has two columns of the name {', '.join(twice)}")
    kept = np.ones(len(data), dtype=bool)
    for name in used:
        kept &= _present(data[name])
    return kept


def _present(column: pd.Series) -> np.ndarray | bool:
    """Say which cells are not missing; quick for numbers."""
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else "O"
    if kind in "iub":
        return True
    return ~np.isnan(column.to_numpy()) if kind == "f" else column.notna().to_numpy()


def _fixed_columns(text: str, table: pd.DataFrame) -> tuple[FloatArray, FloatArray, ModelSpec]:
    """Return the outcome, the fixed-effect columns, and how they were made."""
    formula = _parsed(text)
    numbers = _numbers(formula, table)
    if numbers is not None:
        specification = _specification_of_numbers(text)
        outcome = numbers[str(formula.lhs[0])]
        values = np.ones((len(table), len(specification.column_names)))
        for position, name in enumerate(specification.column_names):
            if name != INTERCEPT:
                values[:, position] = numbers[name]
    else:
        matrices = _materialised(formula, table)
        specification = matrices.rhs.model_spec
        outcome, values = np.asarray(matrices.lhs, dtype=float), np.asarray(matrices.rhs, dtype=float)
        if outcome.ndim != 1 and outcome.shape[1] != 1:
            raise UnfittableModel("the outcome must be one numeric column")
        outcome = outcome.reshape(-1)
    require_complete(outcome, "the outcome")
    if not np.all(np.isfinite(values)):
        checked_columns(pd.DataFrame(values, columns=list(specification.column_names)))
    return outcome, values, specification


def _numbers(formula: Formula, table: pd.DataFrame) -> dict[str, FloatArray] | None:
    """Return the columns of a formula that takes numeric columns as they stand; None if something is to compute."""
    if len(formula.lhs) != 1:
        return None
    found = {}
    for term in (*formula.lhs, *formula.rhs):
        name = str(term)
        if name == "1":
            continue
        if len(term.factors) != 1 or name not in table.columns:
            return None
        column = table[name]
        if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "iuf":
            return None
        found[name] = column.to_numpy(dtype=float)
    return found


@lru_cache(maxsize=256)
def _specification_of_numbers(text: str) -> ModelSpec:
    """Say how the columns of a formula of numeric columns are made: alike for all tables."""
    formula = _formula(text)
    names = [str(term) for term in (*formula.lhs, *formula.rhs) if str(term) != "1"]
    return _materialised(formula, pd.DataFrame(np.zeros((2, len(names))), columns=names)).rhs.model_spec


def _materialised(formula: Formula, table: pd.DataFrame) -> Any:
    """Compute the columns of a formula; what goes wrong is named by its type, because a message may quote cells."""
    try:
        return formula.get_model_matrix(table, output="numpy", na_action="ignore")
    except FormulaicError as error:
        cause = type(error.__cause__ or error).__name__
        raise ValueError(f"the columns of the formula cannot be computed ({cause})") from None


def _random_columns(
    formula: Formula, part: RandomFormula, table: pd.DataFrame, fixed: ModelSpec, values: FloatArray
) -> tuple[RandomColumns, ModelSpec]:
    """Return the columns of one level; those that are fixed-effect columns too are not computed again."""
    names = tuple(INTERCEPT if str(term) == "1" else str(term) for term in formula)
    if all(name in fixed.column_names for name in names):
        positions = [fixed.column_names.index(name) for name in names]
        return RandomColumns(names, values[:, positions], part.correlated), fixed.subset(formula)
    matrix = _materialised(formula, table)
    own = np.asarray(matrix, dtype=float)
    names = tuple(matrix.model_spec.column_names)
    checked_columns(pd.DataFrame(own, columns=list(names)), "random-effect")
    return RandomColumns(names, own, part.correlated), matrix.model_spec


def new_columns(specification: ModelSpec, data: pd.DataFrame) -> FloatArray:
    """Make the columns of a model from new data, the way they were made from the old.

    Parameters
    ----------
    specification : ModelSpec
    data : DataFrame, shape (n_rows, …)

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        NaN in rows where a variable is missing.

    Raises
    ------
    ValueError
        If a variable is lacking, a column cannot be computed, or there are categories that the model does not know.
    """
    used = sorted(str(name) for name in specification.required_variables)
    lacking = [name for name in used if name not in data.columns]
    if lacking:
        raise ValueError(f"the new data have no column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}")
    known = data[used].notna().all(axis=1).to_numpy() if used else np.ones(len(data), dtype=bool)
    values = np.full((len(data), len(specification.column_names)), np.nan)
    if known.any():
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            try:
                matrix = specification.get_model_matrix(data.loc[known], output="numpy", na_action="ignore")
                values[known] = np.asarray(matrix, dtype=float)
            except DataMismatchWarning:
                raise ValueError("the new data have categories that were not in the data") from None
            except FormulaicError as error:
                cause = type(error.__cause__ or error).__name__
                raise ValueError(f"columns of the new data cannot be computed ({cause})") from None
    return values


def _times(values: Any, n_rows: int) -> FloatArray:
    """Return times as floats.

    Raises
    ------
    ValueError
        If they are not numbers, or not one for each row.
    """
    if not pd.api.types.is_numeric_dtype(pd.Series(values).dtype):
        raise ValueError("times are not numeric; pass numbers of sessions or weeks")
    times = np.asarray(values, dtype=float)
    if times.shape != (n_rows,):
        raise ValueError(f"there are {times.size} times for {n_rows} rows")
    require_complete(times, "the time")
    return times


def columns_from_arrays(
    outcome: object,
    fixed: pd.DataFrame,
    groups: Mapping[str, object],
    random: Mapping[str, Sequence[str]],
    uncorrelated: Sequence[str],
    times: object,
) -> ModelColumns:
    """Make the columns of a model from columns.

    Parameters
    ----------
    outcome : array_like or Series, shape (n_rows,)
    fixed : DataFrame, shape (n_rows, n_terms)
        Fixed-effect columns; the one called ``Intercept`` holds ones.
    groups : mapping of level to labels, shape (n_rows,)
        Outermost first.
    random : mapping of level to names of fixed-effect columns
        ``Intercept`` always means a random intercept.
    uncorrelated : sequence of str
        Levels whose effects are independent of each other.
    times : array_like, shape (n_rows,), or None

    Returns
    -------
    ModelColumns

    Raises
    ------
    UnfittableModel
        If lengths or indices disagree, values are missing or infinite, names repeat, or a random column is unknown.
    """
    named = {"outcome": outcome, "time": times, **{f"{level} labels": own for level, own in groups.items()}}
    for name, column in named.items():
        if isinstance(column, pd.Series) and not column.index.equals(fixed.index):
            raise UnfittableModel(f"the {name} and the fixed-effect columns have different indices")
    values = checked_columns(fixed)
    response = as_numbers(outcome, "the outcome")
    if response.shape != (len(fixed),):
        raise UnfittableModel(
            f"the outcome has shape {response.shape}, the fixed-effect columns have {len(fixed)} rows"
        )
    require_complete(response, "the outcome")
    unknown = [level for level in random if level not in groups]
    if unknown:
        raise ValueError(f"random effects are given for {', '.join(unknown)}, which groups does not name")
    return ModelColumns(
        response,
        values,
        tuple(fixed.columns),
        tuple(group(labels, len(fixed), level) for level, labels in groups.items()),
        {
            level: _named_columns(fixed, values, names, level not in uncorrelated)
            for level, names in random.items()
        },
        None if times is None else _times(times, len(fixed)),
    )


def _named_columns(
    fixed: pd.DataFrame, values: FloatArray, names: Sequence[str], correlated: bool
) -> RandomColumns:
    unknown = [name for name in names if name not in fixed.columns and name != INTERCEPT]
    if unknown or len(set(names)) != len(names):
        raise UnfittableModel(
            "random effects must be of different fixed-effect columns"
            + (f"; not usable: {', '.join(unknown)}" if unknown else "")
        )
    own = [
        values[:, fixed.columns.get_loc(name)] if name in fixed.columns else np.ones(len(values))
        for name in names
    ]
    return RandomColumns(
        tuple(names), np.column_stack(own) if own else np.empty((len(values), 0)), correlated
    )
