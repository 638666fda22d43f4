"""The sample and the measures."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Section, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, is_absent, number, sentence_case, share
from alliance_outcome.report.labels import column_label, rater_label, words
from alliance_outcome.report.tables import Table, make_table

_QUANTITIES = {
    "n_clients": "Clients",
    "n_therapists": "Therapists",
    "n_sessions_held": "Sessions held",
    "n_sessions_cancelled": "Sessions cancelled",
    "n_sessions_no_show": "Sessions missed without notice",
    "sessions_per_client_min": "Sessions per client, fewest",
    "sessions_per_client_median": "Sessions per client, median",
    "sessions_per_client_max": "Sessions per client, most",
    "clients_per_therapist_min": "Clients per therapist, fewest",
    "clients_per_therapist_median": "Clients per therapist, median",
    "clients_per_therapist_max": "Clients per therapist, most",
    "therapists_with_one_client": "Therapists with one client",
}
_DIRECTIONS = {"higher_is_better": "higher is better", "higher_is_worse": "higher is worse"}
_MOMENTS = ("mean", "standard deviation")


def build(facts: Facts) -> Section:
    """Build the section."""
    results = facts.results
    tables = [
        sample_table(results.sample),
        participant_table(results.table("participants")),
        measure_table(results.table("measures")),
        description_table(results.table("description")),
    ]
    blocks: list[Block] = [
        *table_blocks(tables),
        FigureBlock.of(facts.figures["trajectories"]),
        FigureBlock.of(facts.figures["missingness"]),
    ]
    return Section("description", "The sample and the measures", tuple(blocks))


def sample_table(sample: dict[str, float]) -> Table:
    """Tabulate the numbers of units."""
    rows = [
        (
            _QUANTITIES.get(name, sentence_case(words(name))),
            number(value, 0 if float(value).is_integer() else 1),
        )
        for name, value in sample.items()
        if not is_absent(value)
    ]
    return make_table("sample", "The sample at every level.", ("Quantity", "Value"), rows)


def participant_table(table: pd.DataFrame) -> Table:
    """Tabulate participants; small cells stay suppressed."""
    rows = [
        (
            sentence_case(row["level"]),
            sentence_case(words(row["variable"])),
            words(row["category"]),
            *_participant_cells(row),
        )
        for row in table.to_dict("records")
    ]
    return make_table(
        "participants",
        "Clients and therapists.",
        ("Level", "Variable", "Category", "n", "Value"),
        rows,
        numeric_from=3,
        notes=("Cells under 10 people, and cells from which they could be computed, are suppressed.",),
    )


def _participant_cells(row: dict) -> tuple[str, str]:
    """Write count and share of a category, or count and moment of a number."""
    if str(row["suppressed"]).lower() == "true":
        return "suppressed", ABSENT
    value = number(row["share"]) if row["category"] in _MOMENTS else share(row["share"])
    return count(row["n"]), value


def measure_table(table: pd.DataFrame) -> Table:
    """Tabulate the measures with range, direction, timing and state of their scoring key."""
    rows = [
        (
            row["title"],
            sentence_case(rater_label(row["rater"])),
            f"{number(row['low'], 0)} to {number(row['high'], 0)}",
            _DIRECTIONS[row["direction"]]
            + (", turned round" if str(row["flipped"]).lower() == "true" else ""),
            f"{row['timing']} the session",
            ABSENT if is_absent(row["recall_days"]) else f"{number(float(row['recall_days']), 0)} days",
            row["from"],
            "yes" if str(row["verified"]).lower() == "true" else "no",
        )
        for row in table.to_dict("records")
    ]
    headings = (
        "Measure",
        "Rater",
        "Range",
        "Direction",
        "Taken",
        "Looks back",
        "Scored from",
        "Key verified",
    )
    return make_table("measures", "The measures and how they were scored.", headings, rows, numeric_from=9)


def description_table(table: pd.DataFrame) -> Table:
    """Tabulate means and the spread at each level."""
    headings = (
        "Measure",
        "Ratings",
        "Clients",
        "Mean",
        "SD",
        "SD within clients",
        "SD between clients",
        "SD between therapists",
        "ICC clients",
        "ICC therapists",
        "Missing",
        "At the top",
    )
    rows = [
        (
            column_label(row["column"]),
            count(row["n_ratings"]),
            count(row["n_clients"]),
            number(row["mean"]),
            number(row["sd"]),
            number(row["sd_within_client"]),
            number(_between_client(row)),
            number(row["sd_between_therapist"]),
            number(row["icc_client"]),
            number(row["icc_therapist"]),
            share(row["share_missing"]),
            share(row["share_at_top"]),
        )
        for row in table.to_dict("records")
    ]
    notes = (
        "ICC: share of the variance between clients of one therapist, and between therapists. At the top: share of "
        "ratings at the best possible score; many of them leave a scale no room to rise.",
    )
    return make_table("description", "The measures over the sessions held.", headings, rows, notes=notes)


def _between_client(row: dict) -> float | None:
    """Return the SD between clients, pooled over therapists where there is no therapist level."""
    own = row["sd_between_client"]
    return row.get("sd_between_client_pooled") if is_absent(own) else own
