"""What each estimator would find in a study of the user's own size."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from alliance_outcome.report.bias_text import (
    DIFFERENT,
    EQUAL,
    ESTIMATORS,
    NOT_RUN,
    NOTE,
    PROCESSES,
    introduction,
    rows_of,
    verdict,
)
from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, number, sentence_case, share
from alliance_outcome.report.tables import Cells, Table, make_grouped_table


def build(facts: Facts) -> Section:
    """Build the section."""
    bias, unit = facts.results.bias, facts.settings.outcome_unit
    title = "What each model would find in a study like this"
    rows = rows_of(bias, "client")
    if rows.empty:
        return Section("bias", title, (Text(NOT_RUN),))
    blocks: list[Block] = [Text(introduction(bias))]
    blocks += [Text(verdict(str(process), bias, unit)) for process in rows["process"].unique()]
    blocks.append(FigureBlock.of(facts.figures["bias"]))
    blocks += table_blocks([difference_table(bias, unit), paths_table(bias, unit)])
    return Section("bias", title, tuple(blocks))


def difference_table(bias: pd.DataFrame, unit: str) -> Table:
    """Tabulate what every estimator finds of D: bias and power where effects differ, type-I error where they are equal.

    Parameters
    ----------
    bias : DataFrame
        ``bias.csv``.
    unit : str
        Unit of the outcome.

    Returns
    -------
    Table
    """
    own = bias[bias["quantity"] == "difference"]
    return make_grouped_table(
        "bias",
        f"What each estimator finds of D, in {unit}.",
        ("Estimator", "Converged", "Bias", "RMSE", "Coverage", "Type-I error", "Power"),
        _grouped(own, _difference_cells),
        notes=(NOTE,),
    )


def paths_table(bias: pd.DataFrame, unit: str) -> Table:
    """Tabulate what every estimator finds of both raters' paths where they differ.

    Parameters
    ----------
    bias, unit
        See :func:`difference_table`.

    Returns
    -------
    Table
    """
    own = bias[bias["scenario"] == DIFFERENT]
    return make_grouped_table(
        "bias-paths",
        f"What each estimator finds of the raters' paths, in {unit}.",
        ("Estimator", "Bias, client-rated", "Coverage", "Bias, therapist-rated", "Coverage"),
        _grouped(own, _path_cells),
    )


def _grouped(rows: pd.DataFrame, cells: Callable[[pd.DataFrame], list[str]]) -> dict[str, list[Cells]]:
    """Write the estimators of each process; dashes where one never converged."""
    found: dict[str, list[Cells]] = {}
    for (process, estimator), own in rows.groupby(["process", "estimator"], sort=False):
        group = found.setdefault(sentence_case(PROCESSES[process]), [])
        group.append((ESTIMATORS[estimator], *cells(own)))
    return found


def _difference_cells(rows: pd.DataFrame) -> list[str]:
    by_scenario = rows.set_index("scenario")
    different, equal = by_scenario.loc[DIFFERENT], by_scenario.loc[EQUAL]
    return [
        f"{count(rows['n_converged'].sum())} of {count(rows['n_replications'].sum())}",
        _with_error(different, "bias"),
        _with_error(different, "rmse"),
        _share(different, "coverage"),
        _share(equal, "rejected"),
        _share(different, "rejected"),
    ]


def _path_cells(rows: pd.DataFrame) -> list[str]:
    by_quantity = rows.set_index("quantity")
    paths = [by_quantity.loc[rater] for rater in ("client", "therapist")]
    return [cell for path in paths for cell in (_with_error(path, "bias"), _share(path, "coverage"))]


def _with_error(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return ABSENT
    return f"{number(row[name], 2)} ({number(row[f'{name}_mcse'], 3)})"


def _share(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return ABSENT
    return f"{share(row[name])} ({number(100.0 * row[f'{name}_mcse'], 1)})"
