"""From ranks and coverages to verdicts, and what is stored of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from alliance_outcome.analyses.calibration.designs import (
    DESIGNS,
    FAMILY_ERROR,
    DifferenceDesign,
    parameters_digest,
)
from alliance_outcome.analyses.calibration.ranks import uniform_values, uniformity

RANK_TABLE_COLUMNS = (
    *("design", "quantity", "simulations", "mean_rank", "excess", "p_value", "inside", "fallbacks"),
    *("largest_r_hat", "parameters"),
)


def band_probability(n_quantities: int) -> float:
    """Return the probability of one quantity's band, for all of them to be inside with 1 − :data:`FAMILY_ERROR`.

    Parameters
    ----------
    n_quantities : int
        Bonferroni's inequality holds however they depend on each other.

    Returns
    -------
    float
    """
    return 1.0 - FAMILY_ERROR / n_quantities


def rank_table(ranks: pd.DataFrame) -> pd.DataFrame:
    """Say of every quantity whether its ranks are uniform.

    Parameters
    ----------
    ranks : DataFrame
        Those of all data sets of all designs.

    Returns
    -------
    DataFrame
        :data:`RANK_TABLE_COLUMNS`: mean rank as a share, which is 0.5 of uniform ranks; largest distance of the ranks'
        distribution function from the uniform one; Kolmogorov and Smirnov's p; whether the function stays in its
        simultaneous band; data sets in which NUTS took over; largest R-hat of a coefficient in any data set.

    Raises
    ------
    ValueError
        If a design is missing, or has not as many data sets as it should.
    """
    found = dict(iter(ranks.groupby(["design", "quantity"], sort=False)))
    expected = {name for name, design in DESIGNS.items() if not isinstance(design, DifferenceDesign)}
    if {name for name, _ in found} != expected:
        raise ValueError("a design has no ranks")
    probability = band_probability(len(found))
    rows = [_rank_row(*key, cell, probability) for key, cell in found.items()]
    table = pd.DataFrame(rows).assign(parameters=parameters_digest())
    return table[list(RANK_TABLE_COLUMNS)]


def _rank_row(design: str, quantity: str, cell: pd.DataFrame, probability: float) -> dict[str, object]:
    if cell["simulation"].nunique() != DESIGNS[design].simulations or cell["simulation"].duplicated().any():
        raise ValueError(f"{design}, {quantity}: not {DESIGNS[design].simulations} data sets")
    values = uniform_values(cell["rank"].to_numpy(dtype=float), cell["kept"].to_numpy(dtype=float))
    inside, excess, p_value = uniformity(values, probability)
    usual = cell["sampler"].mode().iloc[0]
    return {
        "design": design,
        "quantity": quantity,
        "simulations": len(cell),
        "mean_rank": float((cell["rank"] / cell["kept"]).mean()),
        "excess": excess,
        "p_value": p_value,
        "inside": inside,
        "fallbacks": int((cell["sampler"] != usual).sum()),
        "largest_r_hat": float(cell["largest_r_hat"].max()),
    }


def read_verdicts(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the stored tables of ranks and of coverages.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ranks, coverage : DataFrame
    """
    return pd.read_csv(folder / "ranks.csv"), pd.read_csv(folder / "coverage.csv")


def sentences(ranks: pd.DataFrame, coverage: pd.DataFrame) -> tuple[bool, str]:
    """Say whether all posteriors are calibrated, and which are not.

    Parameters
    ----------
    ranks, coverage : DataFrame
        From :func:`rank_table` and
        :func:`~alliance_outcome.analyses.calibration.difference_coverage.difference_table`.

    Returns
    -------
    calibrated : bool
    text : str
    """
    outside = ranks[~ranks["inside"]]
    missed = coverage[coverage["position"] != "inside"]
    low, high = (100.0 * coverage[f"band_{end}"].iloc[0] for end in ("low", "high"))
    text = f"Ranks of {len(ranks) - len(outside)} of {len(ranks)} quantities stay in their simultaneous 99 % bands"
    if len(outside):
        text += f" (outside: {'; '.join(outside['design'] + ', ' + outside['quantity'])})"
    text += (
        f"; {len(coverage) - len(missed)} of {len(coverage)} coverages of D lie in {low:.2f} to {high:.2f} %"
    )
    if len(missed):
        names = [
            f"{row['analysis']}, {row['therapists']} therapists, {row['level']}: {100.0 * row['coverage']:.1f} %"
            for row in missed.to_dict("records")
        ]
        text += f" (outside: {'; '.join(names)})"
    return outside.empty and missed.empty, f"{text}."
