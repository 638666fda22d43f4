"""The sample and the measures."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.report.blocks import Block, FigureBlock, Section, table_blocks
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import ABSENT, count, is_absent, number, sentence_case, share
from alliance_outcome.report.labels import column_label, measure_name, rater_label, words
from alliance_outcome.report.tables import Cells, Table, make_grouped_table, make_table

_QUANTITIES = {
    "n_clients": "Clients",
    "n_therapists": "Therapists",
    "n_sessions_held": "Sessions held",
    "n_sessions_cancelled": "Sessions cancelled",
    "n_sessions_no_show": "Sessions missed without notice",
    "sessions_per_client_tenth_fewest": "Sessions per client, tenth fewest",
    "sessions_per_client_median": "Sessions per client, median",
    "sessions_per_client_tenth_most": "Sessions per client, tenth most",
    "clients_per_therapist_tenth_fewest": "Clients per therapist, tenth fewest",
    "clients_per_therapist_median": "Clients per therapist, median",
    "clients_per_therapist_tenth_most": "Clients per therapist, tenth most",
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
        rating_table(results.table("description")),
        spread_table(results.table("description")),
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
    """Tabulate participants under one heading per variable; small cells stay suppressed."""
    groups: dict[str, list[Cells]] = {}
    for row in table.to_dict("records"):
        title = f"{sentence_case(row['level'])}s: {words(row['variable'])}"
        several = float(row["categories"]) > 1
        name = f"other ({count(row['categories'])} categories)" if several else words(row["category"])
        groups.setdefault(title, []).append((name, *_participant_cells(row)))
    return make_grouped_table(
        "participants",
        "Clients and therapists.",
        ("Category", "n", "Share or value"),
        groups,
        notes=(
            "Categories of fewer than 10 people are put together, with those from which they could be computed.",
        ),
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
            measure_name(row),
            sentence_case(rater_label(row["rater"])),
            f"{number(row['low'], 0)} to {number(row['high'], 0)}",
            _DIRECTIONS[row["direction"]]
            + (", turned round" if str(row["flipped"]).lower() == "true" else ""),
            f"{row['timing']} the session",
            ABSENT if is_absent(row["recall_days"]) else f"{number(float(row['recall_days']), 0)} days",
            row["scale_unit"] if row["from"] == "items" else row["from"],
            _verified(row["verified"]),
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
        "Score",
        "Key verified",
    )
    return make_table("measures", "The measures and how they were scored.", headings, rows, numeric_from=9)


def _verified(value: object) -> str:
    """Say whether a scoring key was verified in a source; nothing where no key was used."""
    if is_absent(value):
        return ABSENT
    return "yes" if str(value).lower() == "true" else "no"


def rating_table(table: pd.DataFrame) -> Table:
    """Tabulate how many ratings there are and where they lie."""
    rows = [
        (
            column_label(row["column"]),
            count(row["n_ratings"]),
            count(row["n_clients"]),
            number(row["mean"]),
            number(row["sd"]),
            share(row["share_missing"]),
            share(row["share_at_top"]),
        )
        for row in table.to_dict("records")
    ]
    headings = ("Measure", "Ratings", "Clients", "Mean", "SD", "Missing", "At the top")
    notes = (
        "SD: standard deviation over all ratings. Missing: share of the sessions held without a rating. At the top: "
        "share of ratings at the highest score that the form allows; many such ratings leave no room above.",
    )
    return make_table("ratings", "The measures over the sessions held.", headings, rows, notes=notes)


def spread_table(table: pd.DataFrame) -> Table:
    """Tabulate at which level the measures vary."""
    headings = (
        "Measure",
        "SD within clients",
        "SD between clients",
        "SD between therapists",
        "ICC clients",
        "ICC therapists",
    )
    rows = [
        (
            column_label(row["column"]),
            number(row["sd_within_client"]),
            number(_between_client(row)),
            number(row["sd_between_therapist"]),
            number(row["icc_client"]),
            number(row["icc_therapist"]),
        )
        for row in table.to_dict("records")
    ]
    therapists = table["sd_between_therapist"].notna().any()
    means = "of client means, and of therapist means" if therapists else "and of client means"
    shares = "between clients of one therapist, and between therapists" if therapists else "between clients"
    notes = [
        f"SDs are those of ratings around their client's mean, {means}; means of few ratings vary more than what they "
        f"estimate. ICC (intraclass correlation): share of the variance that lies {shares}, from a model without "
        "predictors."
    ]
    reasons = table["icc_reason"].dropna() if "icc_reason" in table else ()
    notes += [f"No ICC: {reason}." for reason in dict.fromkeys(reasons)]
    return make_table("spread", "Where the measures vary.", headings, rows, notes=notes)


def _between_client(row: dict) -> float | None:
    """Return the SD between clients, pooled over therapists where there is no therapist level."""
    own = row["sd_between_client"]
    return row.get("sd_between_client_pooled") if is_absent(own) else own
