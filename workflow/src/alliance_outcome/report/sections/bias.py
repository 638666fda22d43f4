"""What each estimator would find in a study of the user's own size."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.bias_text import (
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
    blocks += table_blocks([bias_table(bias, unit)])
    return Section("bias", title, tuple(blocks))


def bias_table(bias: pd.DataFrame, unit: str) -> Table:
    """Tabulate every estimator in every process.

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
    groups = {
        sentence_case(PROCESSES[str(process)]): [
            _cells(str(estimator), own) for estimator, own in rows.groupby("estimator", sort=False)
        ]
        for process, rows in bias.groupby("process", sort=False)
    }
    return make_grouped_table(
        "bias",
        f"Bias, spread, coverage and error rates of each estimator, in {unit}.",
        (
            "Estimator",
            "Converged",
            "Bias of D",
            "RMSE of D",
            "Coverage of D",
            "Type-I error",
            "Power",
            "Bias, client-rated",
            "Bias, therapist-rated",
        ),
        groups,
        notes=(NOTE,),
    )


def _cells(estimator: str, rows: pd.DataFrame) -> Cells:
    """Write one estimator; D and its power where effects differ, its type-I error where they are equal."""
    different = rows[rows["scenario"] == "different"].set_index("quantity")
    equal = rows[rows["scenario"] == EQUAL].set_index("quantity")
    own = different.loc["difference"]
    converged = f"{count(rows['n_converged'].sum() / 3)} of {count(rows['n_replications'].sum() / 3)}"
    if pd.isna(own["bias"]):
        return (ESTIMATORS[estimator], converged, *([ABSENT] * 7))
    return (
        ESTIMATORS[estimator],
        converged,
        _with_error(own, "bias"),
        _with_error(own, "rmse"),
        _share(own, "coverage"),
        _share(equal.loc["difference"], "rejected"),
        _share(own, "rejected"),
        *(_with_error(different.loc[quantity], "bias") for quantity in ("client", "therapist")),
    )


def _with_error(row: pd.Series, name: str) -> str:
    return f"{number(row[name], 2)} ({number(row[f'{name}_mcse'], 3)})"


def _share(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return ABSENT
    return f"{share(row[name])} ({number(100.0 * row[f'{name}_mcse'], 1)})"
