"""Agreement of two samplers of one posterior: the same likelihood code, so it checks sampling and not the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.diagnostics import summarise

#: Two numbers agree when they differ by no more than so many standard errors of their difference.
AGREEMENT = 4.5

#: Probability between the quantiles that are compared.
COMPARED = 0.90

#: What is compared, and the Monte Carlo standard error of each.
NUMBERS = {"estimate": "mcse_mean", "ci_low": "mcse_ci_low", "ci_high": "mcse_ci_high"}

WORDS = "same likelihood code: checks sampling, not the model"


def cross_check(
    drawn: Mapping[str, ArrayLike], checking: Mapping[str, ArrayLike], samplers: tuple[str, str]
) -> dict[str, Any]:
    """Compare means and 5 % and 95 % quantiles of every quantity.

    Parameters
    ----------
    drawn, checking : mapping of str to array_like, shape (chains, draws)
        Draws of the same quantities by two samplers; derived quantities too.
    samplers : tuple of str
        Names of the samplers.

    Returns
    -------
    dict
        A check: name, passed, value (the largest difference in standard errors), limit, text. Not applicable where both
        were drawn by the same sampler.
    """
    check = {"name": "cross_check", "limit": AGREEMENT}
    if samplers[0] == samplers[1]:
        text = f"{samplers[0]} only: the other sampler does not cover this posterior ({WORDS})"
        return {**check, "passed": None, "value": None, "text": text}
    distances = {name: _distance(drawn[name], checking[name]) for name in drawn}
    known = {name: value for name, value in distances.items() if np.isfinite(value)}
    worst = max(known, key=known.__getitem__)
    text = (
        f"{samplers[0]} and {samplers[1]} differ by at most {known[worst]:.1f} Monte Carlo standard errors ({worst}), "
        f"at most {AGREEMENT:g} wanted; {WORDS}"
    )
    passed = bool(known[worst] <= AGREEMENT)
    return {**check, "passed": passed, "value": float(known[worst]), "text": text}


def _distance(first: ArrayLike, second: ArrayLike) -> float:
    """Return the largest difference of a quantity's numbers in standard errors; NaN where draws do not vary."""
    one, other = summarise(first, COMPARED), summarise(second, COMPARED)
    errors = np.array([np.hypot(one[error], other[error]) for error in NUMBERS.values()])
    differences = np.array([abs(one[number] - other[number]) for number in NUMBERS])
    with np.errstate(all="ignore"):
        return float(np.max(differences / errors))
