"""What limits the answer."""

from __future__ import annotations

from alliance_outcome.report.blocks import Section, Terms
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.limits_text import all_limits


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
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
    )
    return Section("limits", "Limits", (Terms(tuple(limits)),))
