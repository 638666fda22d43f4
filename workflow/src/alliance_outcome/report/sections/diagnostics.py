"""Checks as badges, and whether the Bayesian model reproduces the data."""

from __future__ import annotations

from collections import Counter

from alliance_outcome.report.blocks import Block, FigureBlock, Section, Text, badge_groups
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import count


def build(facts: Facts) -> Section:
    """Build the section."""
    checks = facts.results.checks
    groups = badge_groups(checks)
    states = Counter(badge.state for group in groups for badge in group.badges for _ in range(badge.n))
    blocks: list[Block] = [
        Text(
            f"{count(sum(states.values()))} checks: {count(states['passed'])} passed, "
            f"{count(states['failed'])} failed, "
            f"{count(states['not applicable'])} not applicable. A failed convergence check of the model behind the "
            "answer turns the answer into “not established”."
        ),
        *([Text(_BOUNDARY)] if checks["name"].fillna("").str.startswith("boundary.").any() else []),
        *groups,
        FigureBlock.of(facts.figures["predictive"]),
    ]
    return Section("diagnostics", "Diagnostics", tuple(blocks))


_BOUNDARY = (
    "A model is on the boundary where a variance is estimated as zero or a covariance matrix as singular (effects that "
    "are perfectly correlated): it then says that such differences do not exist, which a small sample often does. That "
    "alone does not invalidate the other terms of the model."
)
