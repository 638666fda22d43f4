"""From intervals to the table of coverage, and the band that judged cells must lie in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.coverage.designs import (
    FAMILY_ERROR,
    FEWEST_JUDGED_THERAPISTS,
    FIRST_OUTCOMES,
    LAGGED_DESIGNS,
    MULTILEVEL_DESIGNS,
    RATERS,
    STUDIES,
    parameters_digest,
)
from alliance_outcome.analyses.coverage.intervals import CELL, LAGGED_METHODS, METHODS, SPECIFICATIONS
from alliance_outcome.design.levels import BETWEEN_THERAPIST
from alliance_outcome.models.contrast import CI_LEVEL

#: Columns of the stored table; `parameters` is the digest of what was simulated.
COLUMNS = (
    *(
        "analysis",
        "therapists",
        "clients",
        "sessions",
        "first_outcome",
        "level",
        "quantity",
        "rater",
        "method",
    ),
    *("studies", "without_interval", "singular", "no_therapist_variance"),
    *("coverage", "coverage_se", "coverage_without_therapist_variance"),
    *("mean_df", "median_df", "bias", "bias_se", "se_ratio"),
    *("judged", "band_low", "band_high", "position", "parameters"),
)
#: The method whose cells are judged, by analysis.
JUDGED_METHODS = {"hybrid": "kenward_roger", "early": "kenward_roger", "lagged": "observed_information"}

#: Sizes are whole numbers, some of them missing.
_WHOLE = dict.fromkeys(("therapists", "clients", "sessions"), "Int64")


def cells() -> pd.DataFrame:
    """List every cell of the table, in its order, and whether it is judged.

    Returns
    -------
    DataFrame
        The columns of ``CELL`` in :mod:`~alliance_outcome.analyses.coverage.intervals`, sizes, and `judged`: Kenward
        and Roger's intervals, but for the therapist level with fewer than :data:`FEWEST_JUDGED_THERAPISTS` therapists,
        and intervals from the observed information where the first outcome is independent of the random intercepts.
    """
    found = pd.DataFrame([*_multilevel_cells(), *_lagged_cells()])
    return found.astype(_WHOLE | dict.fromkeys(CELL, "str"))


def _multilevel_cells() -> Iterator[dict[str, Any]]:
    quantities = [*(("coefficient", rater) for rater in RATERS), ("difference", " − ".join(RATERS))]
    for analysis, (specification, _) in SPECIFICATIONS.items():
        for design in MULTILEVEL_DESIGNS:
            for level in specification.levels:
                enough = level != BETWEEN_THERAPIST or design.therapists >= FEWEST_JUDGED_THERAPISTS
                for quantity, rater in quantities:
                    for method in METHODS:
                        yield {
                            "design": design.name,
                            "analysis": analysis,
                            "therapists": design.therapists,
                            "level": level,
                            "quantity": quantity,
                            "rater": rater,
                            "method": method,
                            "judged": enough and method == JUDGED_METHODS[analysis],
                        }


def _lagged_cells() -> Iterator[dict[str, Any]]:
    for first_outcome in FIRST_OUTCOMES:
        for design in LAGGED_DESIGNS:
            for quantity in ("autoregression", "effect"):
                for method in LAGGED_METHODS:
                    yield {
                        "design": design.name,
                        "analysis": "lagged",
                        "therapists": design.therapists,
                        "clients": design.clients,
                        "sessions": design.sessions,
                        "first_outcome": first_outcome,
                        "quantity": quantity,
                        "method": method,
                        "judged": first_outcome == "independent" and method == JUDGED_METHODS["lagged"],
                    }


def binomial_band(n_cells: int, n_studies: int, family_error: float = FAMILY_ERROR) -> tuple[float, float]:
    """Return the band in which all coverages lie with probability 1 − `family_error`, if all intervals are exact.

    Parameters
    ----------
    n_cells : int
        Cells that are judged together; Bonferroni's inequality holds however they depend on each other.
    n_studies : int
        Simulated studies behind each.
    family_error : float

    Returns
    -------
    low, high : float
        Binomial quantiles at family_error / (2 n_cells) and one minus that, as shares; both belong to the band.
    """
    tail = family_error / (2.0 * n_cells)
    low, high = stats.binom.ppf([tail, 1.0 - tail], n_studies, CI_LEVEL) / n_studies
    return float(low), float(high)


def coverage_table(intervals: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the coverage of every cell.

    Parameters
    ----------
    intervals : DataFrame
        Those of all studies of all designs.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`, one row for each of :func:`cells`. A study without an interval (the model is refused, did not
        converge, or leaves no degrees of freedom) counts as one whose interval misses the truth. `singular` and
        `no_therapist_variance` are shares of all studies. Of the intervals that there are: degrees of freedom; `bias`,
        mean error of the estimate with its Monte Carlo error; `se_ratio`, root mean squared standard error over the
        standard deviation of the errors. `position` to the band is below, inside or above, for every cell.

    Raises
    ------
    ValueError
        If a cell is missing or has not as many studies as it should.
    """
    known = intervals.assign(**{name: intervals[name].fillna("") for name in CELL})
    summaries = {key: _summary(group) for key, group in known.groupby(list(CELL), sort=False)}
    expected = cells()
    keys = [tuple(row) for row in expected[list(CELL)].fillna("").itertuples(index=False)]
    wrong = sum(key not in summaries or summaries[key]["studies"] != STUDIES for key in keys)
    if wrong:
        raise ValueError(f"{wrong} of {len(keys)} cells do not have {STUDIES} studies")
    table = pd.concat([expected, pd.DataFrame([summaries[key] for key in keys])], axis=1)
    low, high = binomial_band(int(table["judged"].sum()), STUDIES)
    position = np.select([table["coverage"] < low, table["coverage"] > high], ["below", "above"], "inside")
    table = table.assign(band_low=low, band_high=high, position=position, parameters=parameters_digest())
    return table[list(COLUMNS)]


def _summary(cell: pd.DataFrame) -> dict[str, float]:
    """Summarise one cell."""
    usable = cell["converged"] & cell["ci_low"].notna() & cell["ci_high"].notna()
    covered = usable & cell["truth"].between(cell["ci_low"], cell["ci_high"])
    zero = cell["no_therapist_variance"]
    share = float(covered.mean())
    found = cell[usable]
    errors = found["estimate"] - found["truth"]
    spread = float(errors.std())
    return {
        "studies": cell["study"].nunique(),
        "without_interval": int((~usable).sum()),
        "singular": float(cell["singular"].mean()),
        "no_therapist_variance": float(zero.mean()),
        "coverage": share,
        "coverage_se": float(np.sqrt(share * (1.0 - share) / len(cell))),
        "coverage_without_therapist_variance": float(covered[zero].mean()) if zero.any() else np.nan,
        "mean_df": float(found["df"].mean()),
        "median_df": float(found["df"].median()),
        "bias": float(errors.mean()),
        "bias_se": spread / float(np.sqrt(len(found))),
        "se_ratio": float(np.sqrt(np.mean(found["std_error"] ** 2))) / spread,
    }


def read_coverage(path: Path) -> pd.DataFrame:
    """Read a stored table."""
    return pd.read_csv(path, dtype=_WHOLE)


def misplaced(table: pd.DataFrame) -> pd.DataFrame:
    """Return the judged cells outside the band."""
    return table[table["judged"] & (table["position"] != "inside")]
