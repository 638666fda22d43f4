"""Checks as badges, and whether the Bayesian model reproduces the data."""

from __future__ import annotations

from collections import Counter

from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, badge_groups
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import count


def build(facts: Facts) -> Section:
    """Build the section."""
    groups = badge_groups(facts.results.checks)
    states = Counter(badge.state for group in groups for badge in group.badges)
    blocks: list[Block] = [
        Text(
            f"{count(sum(states.values()))} checks: {count(states['passed'])} passed, "
            f"{count(states['failed'])} failed, "
            f"{count(states['not applicable'])} not applicable. A failed convergence check of the model behind the "
            "answer turns the answer into “not established”."
        ),
        *groups,
        FigureBlock.of(facts.figures["predictive"]),
    ]
    return Section("diagnostics", "Diagnostics", tuple(blocks))
