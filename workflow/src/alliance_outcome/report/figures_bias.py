"""Figure of how far off each estimator would be in a study of the user's own size."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.panel_names import PANEL_MODELS
from alliance_outcome.report.bias_text import ESTIMATORS, NOT_RUN, PROCESSES, rows_of
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_style import INK, MUTED
from alliance_outcome.report.forest import Mark, Row, draw_forest
from alliance_outcome.report.formatting import number, sentence_case, share
from alliance_outcome.report.inputs import Results
from alliance_outcome.settings import ReportSettings

#: Half-width of an interval for the bias, in Monte Carlo standard errors.
_WIDTH = 1.96


def draw_bias(results: Results, settings: ReportSettings) -> Drawing:
    """Draw the bias of the client's path and of D, by process and estimator."""
    rows = rows_of(results.bias, "client")
    if rows.empty:
        return Drawing.nothing(NOT_RUN)
    shown: list[Row] = []
    words = []
    differences = rows_of(results.bias, "difference").set_index(["process", "estimator"])["bias"]
    for process, own in rows.groupby("process", sort=False):
        shown.append(Row(sentence_case(PROCESSES[str(process)]), "heading"))
        shown += [_row(row, differences.loc[process, row["estimator"]]) for _, row in own.iterrows()]
        words.append(
            f"{PROCESSES[str(process)]}: "
            + ", ".join(
                f"{ESTIMATORS[row['estimator']]} {number(row['bias'], 2)}" for _, row in own.iterrows()
            )
        )
    canvas = draw_forest(shown, f"Bias, {settings.outcome_unit} per SD of alliance within clients")
    return Drawing(
        canvas, f"Forest plot of bias. {'; '.join(words)}.", "Intervals are 95 %, of the simulation."
    )


def _row(row: pd.Series, difference: float) -> Row:
    """Turn the bias of one estimator into a row; panel models are darker, D is a diamond."""
    panel = row["estimator"] in PANEL_MODELS
    half = _WIDTH * row["bias_mcse"]
    return Row(
        ESTIMATORS[row["estimator"]],
        estimate=row["bias"],
        low=row["bias"] - half,
        high=row["bias"] + half,
        numbers=f"{number(row['bias'], 2)}; intervals hold {share(row['coverage'])}",
        colour=INK if panel else MUTED,
        marker="s" if panel else "o",
        marks=(Mark(difference, "D", INK, "D"),),
    )
