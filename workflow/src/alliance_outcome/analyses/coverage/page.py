"""The table of coverage as a page to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from alliance_outcome.analyses.coverage.designs import (
    EARLY,
    FEWEST_JUDGED_THERAPISTS,
    HYBRID,
    LAGGED,
    SEED,
    SIZES,
)
from alliance_outcome.analyses.coverage.intervals import LAGGED_METHODS, METHODS
from alliance_outcome.analyses.coverage.table import JUDGED_METHODS, misplaced
from alliance_outcome.design.levels import BETWEEN_THERAPIST

_INTRODUCTION = """\
# How often 95 % intervals hold the truth

Written by `uv run snakemake coverage --cores 2`, together with `coverage.csv`, which has every number in full.

**{verdict}**

Each cell rests on {studies:,} simulated studies. The seed ({seed}), sizes, true values and the cells that are judged
were fixed before the first run, and no cell is left out. Each study has {fewest_clients} to {most_clients} clients per
therapist (10 on average), {fewest_sessions} to {most_sessions} sessions per client, and missing forms. Both raters'
alliance is simulated first and split into levels as in every analysis; the outcome then comes from these manifest
columns with known coefficients and with the random effects that are fitted: intercepts of therapists, and of clients
intercepts and slopes of both raters' within-client alliance, all correlated. So the truth is that of the fitted model.
D is b_client·sd_client − b_therapist·sd_therapist at its level, with the study's own standard deviations held fixed.

- *Coverage* is in percent ± its Monte Carlo standard error. Cells in **bold** are judged: those of Kenward and Roger's
  intervals, but for the therapist level with fewer than {fewest_therapists} therapists, which is reported only. ▼ and ▲
  mark cells below and above the band, judged or not.
- *df* are mean degrees of freedom. *SE ratio* is the root mean squared standard error over the standard deviation of
  the estimates' errors: below 1, standard errors are too small.
- A study without an interval (model refused or not converged, no degrees of freedom left) counts as a miss. Singular
  fits are part of every cell.
- Where a variance is estimated as zero, or a covariance matrix as singular, Kenward and Roger's method keeps the
  effects, as R's pbkrtest does; Satterthwaite's is that of the model without them.
- CR2 clusters by therapist, with Satterthwaite degrees of freedom.

True values, in CORE-10 points per WAI-S point of the client's and of the therapist's rating: {within_client} within
clients (hybrid model only), {between_client} between clients, {between_therapist} between therapists. Standard
deviations in the hybrid model: {hybrid_therapist_sd} of therapists' intercepts, {client_sd} of clients' intercepts and
slopes, {hybrid_residual_sd} of the residual; in the early model {early_therapist_sd} of therapists' intercepts and
{early_residual_sd} of the residual.
"""

_LAGGED = """\
## Model with a lagged outcome

y_t = {constant} + {autoregression} y_(t−1) {effect} x_t + intercepts of clients and of therapists (standard deviations
{client_sd} and {therapist_sd}) + residual ({residual_sd}), with x strictly exogenous and 20 therapists. The first
outcome of a client has no predecessor, so that 6 sessions make 5 rows.

Standard errors come from the whole observed information or, for comparison, conventionally from the fixed effects' own
information, as lme4 computes them; degrees of freedom are Satterthwaite's for either. Judged (**bold**) are intervals
from the observed information where the first outcome is independent of the random intercepts, as the likelihood
takes it to be.
"""

_METHOD_NAMES = {
    "kenward_roger": "Kenward–Roger",
    "satterthwaite": "Satterthwaite",
    "cr2": "CR2",
    "observed_information": "observed information",
    "conventional": "conventional",
}
_ANALYSES = {
    "hybrid": "Session-to-session hybrid model",
    "early": "Early-alliance model (one row per client)",
}
_FIRST_OUTCOMES = {
    "independent": "First outcome independent of the random intercepts",
    "stationary": "Stationary first outcome: the estimator is inconsistent, and nothing is judged",
}
_POSITIONS = {"below": " ▼", "inside": "", "above": " ▲"}


def coverage_page(table: pd.DataFrame) -> str:
    """Write the whole table in Markdown.

    Parameters
    ----------
    table : DataFrame
        From :func:`~alliance_outcome.analyses.coverage.table.coverage_table`, or as stored.

    Returns
    -------
    str
    """
    return "\n".join([_introduction(table), *_multilevel_sections(table), *_lagged_sections(table)])


def verdict(table: pd.DataFrame) -> str:
    """Say in a sentence whether all judged cells lie in the band."""
    judged, outside = table[table["judged"]], misplaced(table)
    low, high = (_percent(judged[f"band_{end}"].iloc[0], 2) for end in ("low", "high"))
    band = f"the simultaneous 99 % band around 95 %, {low} to {high} %"
    if outside.empty:
        return f"All {len(judged)} judged cells lie in {band}."
    return f"{len(outside)} of {len(judged)} judged cells lie outside {band}: {'; '.join(_names(outside))}."


def _names(cells: pd.DataFrame) -> Iterator[str]:
    """Name cells with their coverage."""
    for row in cells.to_dict("records"):
        parts = [row["analysis"], f"{row['therapists']} therapists"]
        if row["analysis"] == "lagged":
            parts += [f"{row['clients']} clients", f"{row['sessions']} sessions"]
        parts += [row[name] for name in ("level", "quantity", "rater") if pd.notna(row[name])]
        yield f"{', '.join(parts).replace('_', ' ')} ({_percent(row['coverage'], 1)} %)"


def _percent(share: float, digits: int) -> str:
    return f"{100.0 * share:.{digits}f}"


def _signed(number: float | str) -> str:
    return str(number).replace("-", "−")


def _listed(values: Sequence[float | str]) -> str:
    words = [_signed(value) if isinstance(value, float) else value for value in values]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _introduction(table: pd.DataFrame) -> str:
    return _INTRODUCTION.format(
        verdict=verdict(table),
        studies=table["studies"].iloc[0],
        seed=SEED,
        fewest_clients=SIZES.caseload[0],
        most_clients=SIZES.caseload[1],
        fewest_sessions=SIZES.sessions[0],
        most_sessions=SIZES.sessions[1],
        fewest_therapists=FEWEST_JUDGED_THERAPISTS,
        within_client=_listed(HYBRID.within_client),
        between_client=_listed(HYBRID.between_client),
        between_therapist=_listed(HYBRID.between_therapist),
        client_sd=_listed(HYBRID.client_sd),
        hybrid_therapist_sd=HYBRID.therapist_sd,
        hybrid_residual_sd=HYBRID.residual_sd,
        early_therapist_sd=EARLY.therapist_sd,
        early_residual_sd=EARLY.residual_sd,
    )


def _multilevel_sections(table: pd.DataFrame) -> Iterator[str]:
    multilevel = table[table["analysis"] != "lagged"]
    for (analysis, therapists), part in multilevel.groupby(["analysis", "therapists"], sort=False):
        first = part.iloc[0]
        yield f"## {_ANALYSES[analysis]}, {therapists} therapists"
        yield ""
        yield (
            f"Singular fits: {_percent(first['singular'], 1)} %. Therapist variance estimated at zero: "
            f"{_percent(first['no_therapist_variance'], 1)} %{_at_zero(part)}. {_missing(part, METHODS)}"
        )
        yield ""
        yield from _layout(part, ["level", "quantity", "rater"], ["level", "quantity"], METHODS)
        yield ""


def _lagged_sections(table: pd.DataFrame) -> Iterator[str]:
    yield _LAGGED.format(
        constant=LAGGED.constant,
        autoregression=LAGGED.autoregression,
        effect=f"− {abs(LAGGED.effect)}" if LAGGED.effect < 0 else f"+ {LAGGED.effect}",
        client_sd=LAGGED.client_sd,
        therapist_sd=LAGGED.therapist_sd,
        residual_sd=LAGGED.residual_sd,
    )
    lagged = table[table["analysis"] == "lagged"]
    for first_outcome, part in lagged.groupby("first_outcome", sort=False):
        yield f"### {_FIRST_OUTCOMES[first_outcome]}"
        yield ""
        yield _missing(part, LAGGED_METHODS)
        yield ""
        keys = ["clients", "sessions", "quantity"]
        yield from _layout(
            part, keys, ["clients", "sessions", "coefficient", "singular", "bias"], LAGGED_METHODS
        )
        yield ""


def _at_zero(part: pd.DataFrame) -> str:
    """Say how often judged intervals of the therapist level hold the truth where its variance is estimated at zero."""
    method = JUDGED_METHODS[part["analysis"].iloc[0]]
    cells = part[(part["level"] == BETWEEN_THERAPIST) & (part["method"] == method)]
    cells = cells.dropna(subset="coverage_without_therapist_variance")
    if cells.empty:
        return ""
    shares = [
        f"{_percent(row['coverage_without_therapist_variance'], 1)} % ({_quantity(row)})"
        for row in cells.to_dict("records")
    ]
    intervals = f"{_METHOD_NAMES[method]} intervals of the therapist level"
    return f"; in those studies {intervals} hold the truth in {_listed(shares)}"


def _quantity(row: Mapping[str, Any]) -> str:
    """Name a coefficient or the contrast."""
    return "D" if row["quantity"] == "difference" else f"b, {row['rater']}'s rating"


def _missing(part: pd.DataFrame, methods: Sequence[str]) -> str:
    """Count studies without an interval: the most of any cell, for each method."""
    counts = part.groupby("method")["without_interval"].max()
    found = ", ".join(f"{counts[method]} ({_METHOD_NAMES[method]})" for method in methods)
    return f"Studies without an interval, at most: {found}."


def _layout(part: pd.DataFrame, keys: list[str], heads: list[str], methods: Sequence[str]) -> Iterator[str]:
    """Lay cells out with one row per quantity, and methods side by side."""
    columns = [*heads, *(label for method in methods for label in (_METHOD_NAMES[method], "df", "SE ratio"))]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'|'.join(['---'] * len(heads) + ['---:'] * (len(columns) - len(heads)))}|"
    for _, group in part.groupby(keys, sort=False, dropna=False):
        by_method = group.set_index("method")
        head = _head(group.iloc[0])
        cells = [text for method in methods for text in _cell(by_method.loc[method])]
        yield f"| {' | '.join([*head, *cells])} |"


def _head(row: pd.Series) -> list[str]:
    """Say what the cells of a row are about."""
    if row["analysis"] == "lagged":
        what = {"autoregression": "lagged outcome", "effect": "x"}[row["quantity"]]
        bias = f"{_signed(format(row['bias'], '.4f'))} ± {row['bias_se']:.4f}"
        return [str(row["clients"]), str(row["sessions"]), what, f"{_percent(row['singular'], 1)} %", bias]
    return [row["level"].replace("_", " "), _quantity(row)]


def _cell(row: pd.Series) -> list[str]:
    """Return coverage, degrees of freedom and the ratio of standard errors of a method."""
    coverage = f"{_percent(row['coverage'], 1)} ± {_percent(row['coverage_se'], 1)}"
    coverage = f"**{coverage}**" if row["judged"] else coverage
    return [coverage + _POSITIONS[row["position"]], f"{row['mean_df']:.1f}", f"{row['se_ratio']:.3f}"]
