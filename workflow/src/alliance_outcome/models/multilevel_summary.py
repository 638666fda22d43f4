"""A multilevel result as text, the way R and statsmodels users are used to reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alliance_outcome.models.contrast import Contrast

if TYPE_CHECKING:
    from alliance_outcome.models.multilevel_result import MultilevelResult

WIDTH = 88

#: Numbers below this do not get by with four decimals.
SMALL = 0.01


class Summary:
    """Text of a result; prints as it is.

    Parameters
    ----------
    text : str
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def summarise(result: MultilevelResult, df: str) -> Summary:
    """Describe a fit.

    Parameters
    ----------
    result : MultilevelResult
    df : {'satterthwaite', 'kenward-roger', 'normal'}
        Degrees of freedom of the fixed effects.

    Returns
    -------
    Summary
    """
    method = "restricted maximum likelihood (REML)" if result.reml else "maximum likelihood"
    singles = {term: result.contrast(term, df=df) for term in result.params.index}
    counts = [f"{number:,} {level}s" for level, number in result.n_units.items()]
    lines = [
        "Linear multilevel model".center(WIDTH).rstrip(),
        "=" * WIDTH,
        f"Fitted by {method}; converged: {'yes' if result.converged else 'NO'}",
        f"Rows: {result.n_rows:,}"
        + (f" ({result.n_dropped:,} dropped, incomplete)" if result.n_dropped else ""),
        *([f"Units: {', '.join(counts)}"] if counts else []),
        f"Log-likelihood {result.llf:.4f}   AIC {result.aic:.2f}   BIC {result.bic:.2f}",
        "-" * WIDTH,
        f"Random effects ({result.structure_in_words()})",
        _components(result),
        "-" * WIDTH,
        f"Fixed effects (degrees of freedom: {df})",
        _coefficients(singles),
        "=" * WIDTH,
    ]
    if result.ar1 is not None:
        lines.insert(-1, f"Autocorrelation of residuals (AR1): {result.ar1:.4f}")
    if result.singular:
        lines.append(f"On the boundary: {', '.join(result.singular)}")
    if result.lagged_outcome is not None:
        lines.append(
            f"{result.lagged_outcome} is an earlier outcome: standard errors come from the whole observed information"
        )
    return Summary("\n".join([*lines, *_cautions(singles)]))


def _cautions(singles: dict[str, Contrast]) -> list[str]:
    """Say of which fixed effects the data do not give an interval that can be used."""
    without = [term for term, single in singles.items() if np.isnan(single.df) or np.isnan(single.std_error)]
    few = [term for term, single in singles.items() if single.df < 1.0]
    found = []
    if without:
        found.append(
            f"No interval for {', '.join(without)}: the data do not determine all variances behind it"
        )
    if few:
        found.append(
            f"Fewer than one degree of freedom for {', '.join(few)}: the data hardly determine the standard error"
        )
    return found


def _components(result: MultilevelResult) -> str:
    table = result.variance_components.copy()
    table["term"] = table["term"].where(table["kind"] == "variance", table["term"] + ", " + table["term2"])
    shown = table[["level", "term", "kind", "value", "sd_or_correlation"]]
    return shown.to_string(index=False, float_format=lambda value: f"{value:.4g}")


def _decimal(value: float) -> str:
    """Write a number with four decimals, or with three digits where those would show fewer."""
    return f"{value:.4f}" if value == 0.0 or abs(value) >= SMALL else f"{value:.3g}"


def _coefficients(singles: dict[str, Contrast]) -> str:
    rows = {}
    for term, single in singles.items():
        rows[term] = {
            "estimate": _decimal(single.estimate),
            "std_error": _decimal(single.std_error),
            "df": f"{single.df:.1f}",
            "t": f"{single.statistic:.3f}",
            "p": f"{single.p_value:.4g}",
            "95% low": _decimal(single.ci_low),
            "high": _decimal(single.ci_high),
        }
    return pd.DataFrame.from_dict(rows, orient="index").to_string()
