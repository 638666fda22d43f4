"""Does it matter that the raters agree? Response surfaces within and between clients."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.response_surface_names import (
    ANALYSIS,
    BROAD_CONDITIONS,
    STRICT_CONDITIONS,
    condition_name,
)
from alliance_outcome.report.badges import badge_groups
from alliance_outcome.report.blocks import (
    Badges,
    Block,
    Bullets,
    FigureBlock,
    Heading,
    Section,
    Text,
    table_blocks,
)
from alliance_outcome.report.estimate_tables import interval_heading, status_words
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.formatting import (
    ABSENT,
    degrees_of_freedom,
    interval,
    number,
    p_value,
    sentence_case,
)
from alliance_outcome.report.labels import level_label
from alliance_outcome.report.response_surface_text import (
    cautions,
    joint_test_sentence,
    question,
    robust_sentence,
    share_sentence,
    verdicts,
)
from alliance_outcome.report.selection import first_row, levels_of
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

TITLE = "Does agreement matter?"

#: Rows of the table; a minus says that the sign was turned for display, from improvement to severity.
_LINES = {
    "a1": "−a1, slope along the line of agreement",
    "a2": "−a2, curvature along the line of agreement",
    "a3": "−a3, slope along the line of disagreement",
    "a4": "−a4, curvature along the line of disagreement",
    "a5": "−a5, curvature by the first rating minus that by the second",
}
_AXIS = {
    "p10": "p10, first principal axis where the first rating is zero",
    "p11": "p11, slope of the first principal axis",
}
_NOTE = (
    "Signs as everywhere in this report: above zero means more severity, and severity rises on either side of "
    "agreement where −a4 is above zero. The surface was fitted to severity with its sign turned, as the published "
    "conditions assume, so that a1 to a5 there and in the estimates file have the other sign; the principal axis is "
    "the same."
)


def build(facts: Facts) -> Section:
    """Build the section; without commensurate ratings it holds the reason."""
    results = facts.results
    estimates, conditions = results.estimates(ANALYSIS), results.table(f"conditions_{ANALYSIS}")
    if conditions.empty:
        return Section("response-surface", TITLE, tuple(Text(text) for text in _refusals(estimates)))
    levels = [level for level in levels_of(estimates) if conditions["name"].str.startswith(f"{level}.").any()]
    sentences = (joint_test_sentence(estimates), robust_sentence(estimates), share_sentence(estimates))
    blocks: list[Block] = [
        Text(question(results.raters)),
        *(Text(text) for text in verdicts(conditions, levels)),
        *(Text(text) for text in _refusals(estimates)),
        FigureBlock.of(facts.figures[ANALYSIS]),
        *condition_badges(conditions, levels),
        *table_blocks([surface_table(estimates, facts.settings.outcome_unit, tuple(results.raters[:2]))]),
        *(Text(text) for text in sentences if text),
        Heading("What not to conclude"),
        Bullets(cautions(levels)),
    ]
    return Section("response-surface", TITLE, tuple(blocks))


def _refusals(estimates: pd.DataFrame) -> list[str]:
    """Give the reason for each surface that there is not; single quantities are told of in the table."""
    refused = estimates[(estimates["status"] == "refused") & estimates["term"].isna()]
    where = [sentence_case(level_label(level)) or "Agreement and outcome" for level in refused["level"]]
    return [f"{place}: {reason}." for place, reason in zip(where, refused["reason"], strict=True)]


def condition_badges(conditions: pd.DataFrame, levels: list[str]) -> list[Badges]:
    """Turn the conditions of each level into badges, the broad ones and what a strict effect takes besides.

    Parameters
    ----------
    conditions : DataFrame
        ``conditions_response_surface.csv``.
    levels : list of str
        Levels with a surface.

    Returns
    -------
    list of Badges
        One group per level.
    """
    groups = []
    for level in levels:
        names = [condition_name(level, name) for name in (*BROAD_CONDITIONS, *STRICT_CONDITIONS)]
        own = conditions.set_index("name").loc[names].reset_index()
        stripped = own.assign(text=own["text"].str.partition(": ")[2])
        (found,) = badge_groups(stripped)
        title = f"Conditions of a congruence effect {level_label(level)}"
        note = (
            "Passed means that the condition is met. The first four make a broad effect, the last two (a1 and a2) a "
            "strict one; a condition that is not met is a finding, not a fault."
        )
        groups.append(Badges(title, found.badges, note))
    return groups


def surface_table(estimates: pd.DataFrame, unit: str, raters: tuple[str, str]) -> Table:
    """Tabulate the lines and the first principal axis at each level, signs turned for display.

    Parameters
    ----------
    estimates : DataFrame
        ``response_surface.csv``.
    unit : str
        Unit of the outcome.
    raters : tuple of str
        Raters of the first and second rating.

    Returns
    -------
    Table
        Quantities that are not established have no numbers; the reason stands beneath.
    """
    own = estimates[estimates["role"] != "sensitivity"]
    groups: dict[str, list[Cells]] = {}
    for level in levels_of(own):
        rows = own[own["level"] == level]
        found = [(label, first_row(rows, term=term)) for term, label in (_LINES | _AXIS).items()]
        cells = [_cells(label, row) for label, row in found if row is not None]
        if cells:
            groups[sentence_case(level_label(level))] = cells
    shown = own[own["term"].isin([*_LINES, *_AXIS]) & (own["status"] != "ok")]
    open_notes = [f"{sentence_case(reason)}." for reason in dict.fromkeys(shown["reason"])]
    return make_grouped_table(
        "response-surface-lines",
        f"The surface along its lines, in {unit} of severity per point (slopes) or squared point (curvatures); first "
        f"rating: {raters[0]}, second: {raters[1]}.",
        ("Quantity", "Estimate", "SE", interval_heading(own), "df", "p"),
        groups,
        notes=(_NOTE, *open_notes),
    )


def _cells(label: str, row: pd.Series) -> Cells:
    """Write one quantity; those of severity with their signs turned."""
    if row["status"] != "ok":
        return (label, status_words(row["status"]), *[ABSENT] * 4)
    sign = -1.0 if row["term"] in _LINES else 1.0
    low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
    return (
        label,
        number(sign * row["estimate"]),
        number(row["std_error"]),
        interval(low, high),
        degrees_of_freedom(row["df"]),
        p_value(row["p_value"]),
    )
