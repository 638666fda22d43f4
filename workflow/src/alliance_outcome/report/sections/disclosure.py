"""What protects the people in the data: what was searched, what was withheld, and what remains a risk."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.badges import badge_groups
from alliance_outcome.report.blocks import Block, Section, Text, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import count, is_absent
from alliance_outcome.report.tables import Table, make_table

_TABLES = {
    "sample": "The sample at every level",
    "participants": "Clients and therapists",
    "missingness": "Ratings by session",
    "trajectories": "Trajectories",
}
_RISKS = {
    "k_anonymity": "Clients alike in covariates",
    "clients_in_small_groups": "Clients in small groups",
    "l_diversity": "Covariates that tell the last one",
    "k_of_therapists": "Therapists with few clients",
    "unique_trajectories": "Pattern of sessions",
    "unique_with_length": "Covariates with length of treatment",
}
_STATES = {"true": "low", "false": "present"}


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    blocks: list[Block] = [
        Text(
            "Raw files with names, addresses, birth dates, telephone or national numbers are refused, clients and "
            "therapists have pseudonyms, and dates are weeks. Every table, figure, caption and log of this report was "
            "searched before the report was made; had a rule been broken, there would be no report."
        ),
        *badge_groups(results.table("release")),
        *table_blocks([withheld_table(results.table("withheld"), withheld_estimates(facts))]),
        Text(
            "The numbers of the data flow are exact, as reporting guidelines ask: they say how many, not who. What "
            "follows is about the data themselves, of which this report shows no row: how easily somebody could be "
            "recognised by a reader of the session table, or by somebody who knows a client already."
        ),
        *table_blocks([risk_table(results.table("disclosure_risk"))]),
        Text(
            "A client may recognise what their own therapist answered, and the reverse, whatever is done to the data: "
            "neither should see single ratings.",
            style="note",
        ),
    ]
    return Section("disclosure", "Protection of participants", tuple(blocks))


def withheld_estimates(facts: Facts) -> int:
    """Count the estimates of all analyses that too few clients stand behind."""
    reasons = [facts.results.estimates(name)["reason"] for name in facts.results.analyses]
    return int(pd.concat(reasons).astype("str").str.startswith("withheld").sum())


def withheld_table(table: pd.DataFrame, n_estimates: int) -> Table:
    """Tabulate what other tables keep back."""
    rows = [
        (_TABLES.get(row["table"], row["table"]), count(row["n_withheld"]), row["text"])
        for row in table.to_dict("records")
    ]
    if n_estimates:
        rows.append(("Estimates", count(n_estimates), "rows that too few clients stand behind; each says so"))
    return make_table(
        "withheld", "What is withheld, and why.", ("Table", "Cells", "What they are"), rows, numeric_from=9
    )


def risk_table(table: pd.DataFrame) -> Table:
    """Tabulate the risks of recognition in the data."""
    rows = [
        (
            _RISKS.get(row["risk"], row["risk"]),
            "not applicable" if is_absent(row["passed"]) else _STATES[str(row["passed"]).lower()],
            row["text"],
        )
        for row in table.to_dict("records")
    ]
    return make_table(
        "disclosure-risk",
        "Risks of recognition in the session table and its covariates.",
        ("What is known", "Risk", "In these data"),
        rows,
        numeric_from=9,
    )
