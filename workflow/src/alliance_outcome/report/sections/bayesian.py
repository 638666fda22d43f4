"""What else the Bayesian models say: explained variance, dependence on priors, and the reporting guidelines."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, Heading, Section, Text, table_blocks
from alliance_outcome.report.estimate_tables import interval_heading
from alliance_outcome.report.explained_shares import (
    is_listed,
    measure_label,
    model_levels,
    notation,
    share_cells,
    variance_of,
)
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, join_words, number, sentence_case
from alliance_outcome.report.labels import level_label, model_label, name_terms, rater_label
from alliance_outcome.report.references import cite
from alliance_outcome.report.selection import share_rows
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

#: Decimals of sensitivities, whose limit is 0.05.
SENSITIVITY_DECIMALS = 3


def build(facts: Facts) -> Section | None:
    """Build the section; None in a study without a posterior."""
    if not facts.has_bayesian:
        return None
    results = facts.results
    sensitivity, checklist = results.table("prior_sensitivity"), results.table("reporting_checklist")
    blocks: list[Block] = [
        Text(
            "The coefficients and contrasts of the Bayesian models stand beside those of the others; figures of what "
            "priors and posteriors predict are under Diagnostics. Here is what else their draws say."
        ),
        Heading("How much is explained"),
        *table_blocks([shares_table(results.estimates("bayesian"))]),
        *comparison_blocks(results.table("bayesian_comparison")),
        Heading("Do the contrasts depend on the priors?"),
        Text(
            "Priors and likelihood are raised to powers near one; a quantity that moves with the priors depends on "
            f"them {cite('kallioinen')}. A sensitivity of less than 0.05 means that it does not."
        ),
        *table_blocks([sensitivity_table(sensitivity)]),
        Heading("Reporting guidelines"),
        Text(
            f"The Bayesian analysis reporting guidelines {cite('kruschke')}, filled in from this run. What is not met "
            "is marked."
        ),
        *table_blocks([checklist_table(checklist)]),
    ]
    return Section("bayesian", "The Bayesian models", tuple(blocks))


def shares_table(bayesian: pd.DataFrame) -> Table:
    """Tabulate the parts of the variance of the outcome by their posteriors.

    Parameters
    ----------
    bayesian : DataFrame
        ``bayesian.csv``.

    Returns
    -------
    Table
        One group per model and level.
    """
    shares = bayesian[share_rows(bayesian) & (bayesian["status"] == "ok")]
    groups: dict[str, list[Cells]] = {}
    for model, rows in shares.groupby("model", sort=False):
        levels = model_levels(rows)
        for _, row in rows.iterrows():
            if is_listed(row, levels):
                cells = (measure_label(row["term"], levels), notation(row["term"]), *share_cells(row))
                groups.setdefault(f"{model_label(model)}: {variance_of(row['level'])}", []).append(cells)
    return make_grouped_table(
        "posterior-shares",
        "Parts of the variance of the outcome, posterior means.",
        ("Part", "Symbol", "Share", interval_heading(shares)),
        groups,
        numeric_from=2,
        notes=(
            f"The variance that each draw of the parameters implies is taken apart {cite('gelman_r_squared')}; symbols "
            f"are those of Rights and Sterba {cite('rights_sterba')}.",
        ),
    )


def comparison_blocks(comparison: pd.DataFrame) -> list[Block]:
    """Say which models best predict clients and therapists that they have not seen; empty without a comparison."""
    compared = comparison[comparison["elpd_diff"].notna()]
    if compared.empty:
        return []
    return [
        Heading("Which view predicts new clients and new therapists?"),
        Text(
            "Each client, and each therapist with all clients, is left out in turn and predicted from the others "
            f"{cite('psis_loo')}. A higher expected log predictive density is better. Where the model with all raters "
            "predicts best, the views tell different things; it does not say whose view matters. Differences of less "
            "than 4, or of less than 2 standard errors, do not distinguish models; with fewer than 50 therapists, "
            "predictions of new therapists carry no decision."
        ),
        *table_blocks([comparison_table(compared)]),
    ]


def comparison_table(compared: pd.DataFrame) -> Table:
    """Tabulate how well models predict left-out groups."""
    groups: dict[str, list[Cells]] = {}
    for _, row in compared.iterrows():
        title = f"{model_label(row['model'])}: new {row['left_out']}s ({count(row['n_groups'])})"
        raters = join_words([rater_label(rater) for rater in row["raters"].split("+")])
        difference = f"{number(row['elpd_diff'], 1)} ({number(row['se_diff'], 1)})"
        groups.setdefault(title, []).append(
            (
                sentence_case(raters),
                f"{number(row['elpd'], 1)} ({number(row['se'], 1)})",
                difference,
                number(row["weight"], 2),
                number(row["largest_k"], 2),
                count(row["n_refitted"]),
                sentence_case(row["decision"]),
            )
        )
    return make_grouped_table(
        "left-out-prediction",
        "Expected log predictive density of left-out clients and therapists (standard error).",
        (
            "Alliance of",
            "Density",
            "Difference from the best",
            "Weight",
            "Largest k",
            "Refits",
            "Which means",
        ),
        groups,
        notes=(
            "Weights are those of a stack of predictive distributions. k says how well draws given all rows stand in "
            "for draws without the group; where it is too large, the model is fitted again without it.",
        ),
    )


def sensitivity_table(sensitivity: pd.DataFrame) -> Table:
    """Tabulate how much contrasts, and whatever else depends on them, depend on the priors."""
    groups: dict[str, list[Cells]] = {}
    for _, row in sensitivity.iterrows():
        contrast = row["quantity"].startswith("D ")
        if contrast or row["diagnosis"] != "does not depend on the priors":
            label = f"D {level_label(row['quantity'][2:])}" if contrast else name_terms(row["quantity"])
            sensitivities = [
                number(float(row[side]), SENSITIVITY_DECIMALS) for side in ("prior", "likelihood")
            ]
            groups.setdefault(model_label(row["model"]), []).append(
                (label, *sensitivities, sentence_case(row["diagnosis"]))
            )
    return make_grouped_table(
        "prior-sensitivity",
        "Sensitivity of contrasts, and of everything that depends on the priors.",
        ("Quantity", "To the priors", "To the data", "Which means"),
        groups,
    )


def checklist_table(checklist: pd.DataFrame) -> Table:
    """Tabulate the reporting guidelines, one column per model."""
    models = list(checklist["model"].unique())
    groups: dict[str, list[Cells]] = {}
    for (step, item), rows in checklist.groupby(["step", "item"], sort=False):
        met = {row.model: str(row.met) == "True" for row in rows.itertuples()}
        marks = ["met" if met[model] else "not met" if model in met else ABSENT for model in models]
        evidence = rows["evidence"].unique()
        words = (
            evidence[0]
            if len(evidence) == 1
            else "; ".join(f"{model_label(row.model)}: {row.evidence}" for row in rows.itertuples())
        )
        groups.setdefault(step, []).append((sentence_case(item), *marks, sentence_case(name_terms(words))))
    headings = ("Item", *(model_label(model) for model in models), "Where, or why not")
    return make_grouped_table(
        "reporting-guidelines",
        "Bayesian analysis reporting guidelines.",
        headings,
        groups,
        numeric_from=len(headings),
    )
