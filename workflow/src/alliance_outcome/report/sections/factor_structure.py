"""What each rater's form measures: one alliance, or its goal, task and bond."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, number, p_value, sentence_case
from alliance_outcome.report.labels import rater_label
from alliance_outcome.report.selection import first_row
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

ANALYSIS = "factor_structure"
TITLE = "What the forms measure"
_MODELS = {
    "one_factor": "One factor",
    "correlated_factors": "Correlated goal, task and bond",
    "bifactor": "A general factor beside goal, task and bond",
}
_WITHIN, _BETWEEN = "within_client", "between_client_pooled"


def build(facts: Facts) -> Section:
    """Build the section; without items it holds the reasons."""
    table = facts.results.estimates(ANALYSIS)
    fitted = fit_table(table)
    reasons = table.loc[table["status"] == "refused", "reason"].dropna().unique()
    blocks = [
        Text(
            "Two-level factor models of the items, the same within clients and between them, by full-information "
            "maximum likelihood. Where goal, task and bond correlate at the bound of 1, the form does not tell them "
            "apart: such a solution is improper, which is said in place of intervals."
        ),
        *table_blocks([fitted]),
        *([] if fitted.rows else [Text(f"Not fitted: {reason}.") for reason in reasons]),
    ]
    return Section("factor-structure", TITLE, tuple(blocks))


def fit_table(table: pd.DataFrame) -> Table:
    """Tabulate how well the models fit, and whether they are proper."""
    groups: dict[str, list[Cells]] = {}
    for rater, rows in table[table["rater_b"].isna() & table["rater"].notna()].groupby("rater", sort=False):
        for model, label in _MODELS.items():
            own = rows[rows["model"] == model]
            if len(own):
                name = sentence_case(rater_label(str(rater)))
                groups.setdefault(name, []).append((label, *_fit_cells(own)))
    return make_grouped_table(
        "factor-models",
        "Fit of two-level factor models.",
        ("Model", "χ² (df)", "p", "CFI", "RMSEA", "SRMR within", "SRMR between", "BIC", "Solution"),
        groups,
        notes=("χ² is against free covariances at both levels; a smaller BIC is better.",),
    )


def _fit_cells(rows: pd.DataFrame) -> tuple[str, ...]:
    test = first_row(rows, term="chi_square")
    if test is None or test["status"] == "refused":
        return (*[ABSENT] * 7, "not found")
    found = [
        first_row(rows, term="cfi"),
        first_row(rows, term="rmsea"),
        first_row(rows, term="srmr", level=_WITHIN),
        first_row(rows, term="srmr", level=_BETWEEN),
    ]
    bic = first_row(rows, term="bic")
    return (
        f"{number(test['statistic'], 1)} ({number(test['df'], 0)})",
        p_value(test["p_value"]),
        *(ABSENT if row is None else number(row["estimate"], 3) for row in found),
        ABSENT if bic is None else number(bic["estimate"], 0),
        "proper" if test["status"] == "ok" else "improper",
    )
