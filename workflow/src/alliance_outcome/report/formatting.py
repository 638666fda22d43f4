"""How numbers become text: true minus signs, intervals in brackets, APA p-values, decimals by Monte Carlo error."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"

#: What a cell without a value shows.
ABSENT = "\N{EN DASH}"

#: Decimals of a coefficient in points of the outcome.
DECIMALS = 2

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

#: A simulated number loses its last decimal once its Monte Carlo error exceeds this many units of it.
UNCERTAIN_UNITS = 5


def is_absent(value: object) -> bool:
    """Say whether a table cell holds nothing (None, NaN, NA or an empty text)."""
    if value is None or value == "":
        return True
    return isinstance(value, float) and math.isnan(value)


def number(value: float | None, decimals: int = DECIMALS) -> str:
    """Write a number with a fixed count of decimals and a true minus sign.

    Parameters
    ----------
    value : float or None
        The number; missing values become an en dash.
    decimals : int
        Decimals shown.

    Returns
    -------
    str
        For example ``−0.40``; a value that rounds to zero carries no sign.
    """
    if is_absent(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{decimals}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def plain_number(text: str) -> str:
    """Write a number in a program's notation as readers know it, for example ``1.8e-09`` as ``1.8 × 10⁻⁹``.

    Parameters
    ----------
    text : str
        A number.

    Returns
    -------
    str
        With a true minus sign, and thousands separators if it is whole; zero has neither sign nor exponent.
    """
    if not float(text.replace(",", "")):
        return "0"
    if text.isdigit():
        return count(int(text))
    mantissa, _, exponent = text.replace("-", MINUS).partition("e")
    if not exponent:
        return mantissa
    raised = str(int(exponent.replace(MINUS, "-"))).translate(_SUPERSCRIPTS)
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{raised}"


def count(value: float | None) -> str:
    """Write a count with thousands separators, for example ``1,204``."""
    return number(value, 0)


def share(value: float | None, decimals: int = 0) -> str:
    """Write a share between 0 and 1 as a percentage, for example ``37 %``."""
    if is_absent(value):
        return ABSENT
    return f"{number(100 * value, decimals)}\N{NO-BREAK SPACE}%"


def interval(low: float | None, high: float | None, decimals: int = DECIMALS) -> str:
    """Write an interval in brackets, for example ``[−0.70, −0.10]``."""
    if is_absent(low) or is_absent(high):
        return ABSENT
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def estimate_with_interval(
    estimate: float | None, low: float | None, high: float | None, decimals: int = DECIMALS
) -> str:
    """Write an estimate and its interval, for example ``−0.40 [−0.70, −0.10]``."""
    if is_absent(estimate):
        return ABSENT
    if is_absent(low) or is_absent(high):
        return number(estimate, decimals)
    return f"{number(estimate, decimals)} {interval(low, high, decimals)}"


def p_value(value: float | None) -> str:
    """Write a p-value as the APA manual asks: three decimals, no leading zero, ``< .001`` below that."""
    if is_absent(value):
        return ABSENT
    if value < 0.0005:
        return "< .001"
    return f"{value:.3f}".removeprefix("0")


def degrees_of_freedom(value: float | None) -> str:
    """Write degrees of freedom with one decimal unless they are whole or infinite."""
    if is_absent(value):
        return ABSENT
    if math.isinf(value) or float(value).is_integer():
        return number(value, 0)
    return number(value, 1)


def probability(value: float | None) -> str:
    """Write a probability with three decimals and no leading zero; never as certainty or impossibility."""
    if is_absent(value):
        return ABSENT
    if value >= 0.9995:
        return "> .999"
    return p_value(value)


def monte_carlo_decimals(mcse: float | None, most: int = DECIMALS) -> int:
    """Say how many decimals of a simulated quantity are worth printing.

    Parameters
    ----------
    mcse : float or None
        Monte Carlo standard error of the quantity; missing for a quantity computed without simulation.
    most : int
        Decimals never exceeded.

    Returns
    -------
    int
        The largest count, at most ``most``, for which ``mcse`` is no more than :data:`UNCERTAIN_UNITS` units of the
        last decimal: two decimals up to an error of 0.05, one up to 0.5.
    """
    if is_absent(mcse) or mcse <= 0:
        return most
    return max(0, min(most, math.floor(math.log10(UNCERTAIN_UNITS / mcse) + 1e-9)))


def level_percent(level: float | None) -> str:
    """Write the level of an interval, for example ``95 %``."""
    if is_absent(level):
        return ABSENT
    decimals = 0 if math.isclose(100 * level, round(100 * level)) else 1
    return share(level, decimals)


def join_words(words: list[str]) -> str:
    """Join words as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def lower_first(text: str) -> str:
    """Lower the first letter of a sentence that goes on inside another."""
    return text[:1].lower() + text[1:]


def sentence_case(text: str) -> str:
    """Raise the first letter and leave the rest, so that abbreviations survive."""
    return text[:1].upper() + text[1:]
