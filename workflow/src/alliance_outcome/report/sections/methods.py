"""The methods of this run."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report import (
    dynamics_text,
    estimation_text,
    inference_text,
    measurement_error_text,
    methods_text,
)
from alliance_outcome.report.blocks import Block, Heading, Section, Terms, Text
from alliance_outcome.report.facts import Facts


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    likelihood = pd.concat([results.estimates("multilevel"), results.estimates("early")], ignore_index=True)
    paragraphs = [
        methods_text.measures_paragraph(facts.settings, results.design, results.table("measures")),
        methods_text.timing_paragraph(results.design, facts.design),
        methods_text.levels_paragraph(facts.n_therapists is not None, len(results.raters)),
        dynamics_text.panel_paragraph(results.dynamics),
        methods_text.hybrid_paragraph(facts.design, likelihood),
        methods_text.early_paragraph(facts.design.early),
        estimation_text.estimation_paragraph(likelihood),
        inference_text.testing_paragraph(likelihood),
        estimation_text.bayesian_paragraph(
            results.estimates("bayesian"), facts.priors.priors, facts.sampler, facts.settings.outcome_unit
        ),
        measurement_error_text.measurement_error_paragraph(
            results.measurement_error, facts.priors.priors, facts.sampler, facts.settings.outcome_unit
        ),
        methods_text.contrast_paragraph(results.contrast, facts.decision, results.raters),
        inference_text.explained_paragraph(results.explained),
        inference_text.bootstrap_paragraph(results.contrast, results.explained),
        methods_text.seed_paragraph(
            facts.seed, {*results.models["quantity_kind"], *results.explained["quantity_kind"]}
        ),
    ]
    blocks: list[Block] = [Text(text) for text in paragraphs if text]
    if structures := estimation_text.structures(results.models):
        blocks += [Heading("Residuals and random effects of the REML models"), Terms(tuple(structures))]
    return Section("methods", "Methods", tuple(blocks))
