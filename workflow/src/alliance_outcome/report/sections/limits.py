"""What limits the answer."""

from __future__ import annotations

from alliance_outcome.report.blocks import Section, Terms
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.limits_text import all_limits
from alliance_outcome.report.robustness import autoregressive_comparisons, robust_comparisons
from alliance_outcome.report.robustness_text import (
    autocorrelation_limit,
    robust_limit,
)


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    rope = facts.decision.rope
    autocorrelation = autoregressive_comparisons(results.contrast, rope)
    limits = all_limits(
        results.answer,
        results.design,
        results.sample,
        results.models,
        results.table("measures"),
        results.table("announcements"),
        facts.n_therapists,
        facts.decision.min_therapists_for_claim,
        len(facts.design.early.sessions),
        (
            robust_limit(robust_comparisons(results.contrast, results.models, rope)),
            autocorrelation_limit(autocorrelation, results.checks, results.answer, results.design.lag_unit),
        ),
    )
    return Section("limits", "Limits", (Terms(tuple(limits)),))
