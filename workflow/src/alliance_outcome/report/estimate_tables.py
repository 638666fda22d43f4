"""Tables of estimates: rows of the estimates files in words, with the decimals that their Monte Carlo error allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from alliance_outcome.report.formatting import (
    ABSENT,
    DECIMALS,
    count,
    degrees_of_freedom,
    interval,
    is_absent,
    level_percent,
    monte_carlo_decimals,
    number,
    p_value,
    probability,
    sentence_case,
)
from alliance_outcome.report.labels import (
    ESTIMAND_LABELS,
    ROLE_LABELS,
    engine_label,
    level_label,
    model_label,
    name_terms,
    short_se_label,
    term_label,
)
from alliance_outcome.report.selection import autoregressive, cluster_robust, engines, first_row
from alliance_outcome.report.tables import Cells, Table, make_grouped_table

#: Monte Carlo errors of an estimate and of the ends of its interval.
_ERRORS = ("mcse_mean", "mcse_ci_low", "mcse_ci_high")

#: Headings of the numbers of an estimate without and with draws; ``{}`` is the level of the intervals.
LIKELIHOOD_HEADINGS = ("Estimate", "SE", "{} interval", "df", "p")
R_HAT = "R\N{NON-BREAKING HYPHEN}hat"
POSTERIOR_HEADINGS = ("Estimate", "SD", "{} interval", "P(direction)", "P(in ROPE)", R_HAT, "ESS")

#: What the headings mean, as terms with their meanings.
LIKELIHOOD_TERMS = (
    ("SE", "Standard error of the estimate."),
    (
        "SE from",
        "How the standard error was computed: Kenward–Roger (adjusted for the estimation of the variances), observed "
        "(from the whole observed information), model (from the estimated variances as they are), or bootstrap.",
    ),
    ("df", "Degrees of freedom of the t distribution behind interval and p."),
    ("p", "Two-sided p-value of the hypothesis that the quantity is zero."),
)
POSTERIOR_TERMS = (
    ("Estimate and SD (Bayesian)", "Mean and standard deviation of the posterior distribution."),
    ("P(direction)", "Posterior probability of the more probable sign."),
    (
        "P(in ROPE)",
        "Posterior probability that D lies in the region of practical equivalence that the study file sets.",
    ),
    (
        R_HAT,
        "Agreement of the sampler's chains; 1 is perfect, and the limit of the check is among the diagnostics.",
    ),
    (
        "ESS",
        "Effective sample size: how many independent draws the draws are worth; the smaller of bulk and tail.",
    ),
)


def has_draws(row: pd.Series) -> bool:
    """Say whether an estimate comes from draws of a posterior."""
    return row["quantity_kind"] == "mcmc"


def shared_decimals(frame: pd.DataFrame) -> int:
    """Say how many decimals all estimates of a table can have, by the largest Monte Carlo error among them.

    Parameters
    ----------
    frame : DataFrame
        Rows of an estimates table.

    Returns
    -------
    int
        Decimals for estimates and ends of intervals.
    """
    errors = frame[list(_ERRORS)].to_numpy(dtype=float).ravel()
    return min((monte_carlo_decimals(error) for error in errors), default=DECIMALS)


def row_decimals(row: pd.Series) -> int:
    """Say how many decimals an estimate can have that stands on its own, and so can the ends of its interval."""
    return min(monte_carlo_decimals(row[name]) for name in _ERRORS)


def decimals_by_engine(frame: pd.DataFrame) -> dict[str, int]:
    """Say how many decimals the estimates of each engine can have where they stand together."""
    return {engine: shared_decimals(rows) for engine, rows in frame.groupby("engine", sort=False)}


def estimate_text(row: pd.Series | None, decimals: int = DECIMALS) -> str:
    """Write an estimate with its interval in one cell; its status where there is no estimate."""
    if row is None:
        return ABSENT
    if row["status"] != "ok":
        return status_words(row["status"])
    return f"{number(row['estimate'], decimals)} {interval(row['ci_low'], row['ci_high'], decimals)}"


def interval_heading(frame: pd.DataFrame) -> str:
    """Head the column of intervals with their level, if they share one."""
    levels = {level_percent(level) for level in frame["ci_level"].dropna()}
    return f"{levels.pop()} interval" if len(levels) == 1 else "Interval"


def estimates_tables(
    name: str,
    caption: str,
    frame: pd.DataFrame,
    *,
    notes: Callable[[pd.DataFrame], Sequence[str]] = lambda _: (),
    one_unit: bool = True,
) -> list[Table]:
    """Tabulate estimates, one table per engine, because engines differ in what they know.

    Parameters
    ----------
    name, caption : str
        As in :class:`~alliance_outcome.report.tables.Table`; the engine is added to both.
    frame : DataFrame
        Established rows of an estimates table.
    notes : callable
        Writes what stands beneath a table from its rows.
    one_unit : bool
        Whether all rows share a unit and thus their decimals; otherwise, and if it comes from a bootstrap, each row
        has as many as it deserves.

    Returns
    -------
    list of Table
        Terms in words with their numbers, under headings that name the model and, where the table has several, the
        raters in it. Columns that are empty throughout are left out.
    """
    tables = []
    for engine in engines(frame):
        rows = frame[frame["engine"] == engine]
        title = f"{caption} ({engine_label(engine)})"
        tables.append(_engine_table(f"{name}-{engine}", title, rows, notes(rows), one_unit=one_unit))
    return tables


def _engine_table(
    name: str, caption: str, frame: pd.DataFrame, notes: Sequence[str], *, one_unit: bool
) -> Table:
    """Tabulate the rows of one engine."""
    draws = has_draws(frame.iloc[0])
    several_kinds = frame["se_kind"].nunique() > 1
    shared = shared_decimals(frame[frame["quantity_kind"] != "bootstrap"])
    groups: dict[str, list[Cells]] = {}
    for _, row in frame.iterrows():
        alone = not one_unit or row["quantity_kind"] == "bootstrap"
        decimals = row_decimals(row) if alone else shared
        numbers = _posterior_cells(row, decimals) if draws else _likelihood_cells(row, decimals)
        kind = (short_se_label(row["se_kind"]),) if several_kinds else ()
        label = term_label(row["term"], row["rater"], row["rater_b"])
        groups.setdefault(_group_title(row, frame), []).append((label, *kind, *numbers))
    headings = POSTERIOR_HEADINGS if draws else LIKELIHOOD_HEADINGS
    shown = interval_heading(frame)
    return make_grouped_table(
        name,
        caption,
        (
            "Term",
            *(("SE from",) if several_kinds else ()),
            *(shown if "{}" in each else each for each in headings),
        ),
        groups,
        numeric_from=2 if several_kinds else 1,
        notes=notes,
    )


def _group_title(row: pd.Series, frame: pd.DataFrame) -> str:
    """Head the rows of one model; name the raters in it where the table mixes models with one and with all."""
    mixed = frame["estimand"].nunique() > 1
    estimand = f"; {ESTIMAND_LABELS.get(row['estimand'], row['estimand'])}" if mixed else ""
    return f"{model_label(row['model'])}{estimand}"


def _likelihood_cells(row: pd.Series, decimals: int) -> Cells:
    """Write the numbers of an estimate without draws."""
    return (
        number(row["estimate"], decimals),
        number(row["std_error"], decimals),
        interval(row["ci_low"], row["ci_high"], decimals),
        degrees_of_freedom(row["df"]),
        p_value(row["p_value"]),
    )


def _posterior_cells(row: pd.Series, decimals: int) -> Cells:
    """Write the numbers of an estimate from draws."""
    direction = row["prob_direction"]
    return (
        number(row["estimate"], decimals),
        number(row["std_error"], decimals),
        interval(row["ci_low"], row["ci_high"], decimals),
        probability(direction if is_absent(direction) else max(direction, 1 - direction)),
        probability(row["prob_rope"]),
        number(row["r_hat"], 3),
        count(row[["ess_bulk", "ess_tail"]].min()),
    )


def status_words(status: str) -> str:
    """Say a status in words."""
    return status.replace("_", " ")


def pair_coefficients(rows: pd.DataFrame, difference: pd.Series) -> tuple[str, str]:
    """Write the standardised coefficients of the two raters of a contrast.

    Parameters
    ----------
    rows : DataFrame
        Estimates of the same model, level and version.
    difference : Series
        The contrast.

    Returns
    -------
    tuple of str
        A dash where there is none.
    """
    own = rows[rows["term"] == "coefficient_standardised"]
    found = [first_row(own, rater=difference[name]) for name in ("rater", "rater_b")]
    first, second = (
        ABSENT if row is None or row["status"] != "ok" else number(row["estimate"]) for row in found
    )
    return first, second


def refusal_table(name: str, frame: pd.DataFrame) -> Table:
    """Tabulate everything that was refused or not established, under the reason.

    Parameters
    ----------
    name : str
        As in :class:`~alliance_outcome.report.tables.Table`.
    frame : DataFrame
        Rows of estimates tables whose status is not ``ok``.

    Returns
    -------
    Table
        One group per status and reason, one row per model and engine with its quantities; without rows when nothing
        was refused.
    """
    groups: dict[str, list[Cells]] = {}
    for (status, reason), same in frame.groupby(["status", "reason"], sort=False):
        title = f"{sentence_case(status_words(status))}: {name_terms(reason)}"
        groups[title] = [
            (model_label(model) or ABSENT, _estimation(engine, repeated) or ABSENT, _quantities(rows))
            for (model, engine, repeated), rows in same.assign(repeated=_repetitions(same)).groupby(
                ["model", "engine", "repeated"], sort=False, dropna=False
            )
        ]
    caption = "What was refused or is not established, and why."
    return make_grouped_table(name, caption, ("Model", "Estimation", "Quantities"), groups, numeric_from=3)


def _repetitions(frame: pd.DataFrame) -> pd.Series:
    """Name the assumptions under which rows repeat another row; empty for the others."""
    named = pd.Series("", frame.index, dtype="object")
    named[cluster_robust(frame)] = "cluster-robust (CR2)"
    named[autoregressive(frame)] = "AR(1) residuals"
    return named


def _estimation(engine: str | None, repeated: str) -> str:
    """Say how a refused row would have been estimated."""
    return ", ".join(text for text in (sentence_case(engine_label(engine)), repeated) if text)


def _quantities(rows: pd.DataFrame) -> str:
    """List the quantities of refused rows, each once and with its level."""
    return "; ".join(dict.fromkeys(_quantity(row) for row in rows.to_dict("records")))


def _quantity(row: dict) -> str:
    """Name a refused quantity with its level."""
    if is_absent(row["term"]):
        return level_label(row["level"]) or ABSENT
    text = term_label(row["term"], row["rater"], row["rater_b"])
    level = level_label(row["level"])
    return text if level in text else f"{text}, {level}"


def role_words(role: str | None) -> str:
    """Say a role in words."""
    return ROLE_LABELS.get(role, ABSENT)
