"""The answer in one sentence, by rules that were fixed before the data (DESIGN.md, "Rater contrast").

The headline is the within-client contrast. It is "not established" when a convergence check of its model failed;
"practically equal" when the interval of D lies inside the region of practical equivalence; in favour of a rater only
when D's interval excludes zero and that rater's coefficient goes with improvement; otherwise "not distinguished".
Opposite signs of the two coefficients are always said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

GATE = "convergence."


@dataclass(frozen=True)
class Answer:
    """The headline of a report.

    Parameters
    ----------
    status : {'ok', 'not_established', 'refused'}
        Whether there is an answer.
    verdict : str
        ``<rater>`` (that rater's view goes with more improvement), ``equal``, ``not_distinguished``,
        ``not_established`` or ``refused``.
    opposite_signs : bool
        Whether the raters' coefficients have opposite signs.
    claim : str
        The verdict in a sentence.
    uncertainty : str
        How sure the verdict is, or why there is none; and that signs are opposite, where they are.
    notes : tuple of str
        What a reader must know beside it.
    estimate, ci_low, ci_high, ci_level : float or None
        D and its interval.
    model, engine, level, row_id : str or None
        Where D comes from.
    sentence : str
        ``claim`` and ``uncertainty`` together, made from them.
    """

    status: str
    verdict: str
    opposite_signs: bool
    claim: str
    uncertainty: str
    notes: tuple[str, ...]
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_level: float | None = None
    model: str | None = None
    engine: str | None = None
    level: str | None = None
    row_id: str | None = None
    sentence: str = field(init=False)

    def __post_init__(self) -> None:
        """Make the sentence."""
        object.__setattr__(self, "sentence", f"{self.claim} {self.uncertainty}".strip())

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return asdict(self)


def failed_gates(checks: pd.DataFrame, model: str) -> list[str]:
    """List the convergence checks of the headline's model that did not pass, of every engine.

    Parameters
    ----------
    checks : DataFrame
        Columns ``stage, name, passed``.
    model : str
        Model behind the headline.

    Returns
    -------
    list of str
        ``stage: name`` of each failed check.
    """
    gates = checks[checks["name"].str.startswith(f"{GATE}{model}.joint")]
    failed = gates[gates["passed"].astype("boolean").eq(False).fillna(False)]
    return [
        f"{stage}: {name.removeprefix(GATE)}"
        for stage, name in zip(failed["stage"], failed["name"], strict=True)
    ]


def decide(
    difference: Mapping[str, Any],
    coefficients: Mapping[str, Mapping[str, Any]],
    *,
    rope: float | None,
    failed: Sequence[str],
    unit: str,
    notes: Sequence[str] = (),
) -> Answer:
    """Turn the headline rows into an answer.

    Parameters
    ----------
    difference : mapping
        The row of D with ``rater``, ``rater_b``, ``estimate``, ``ci_low``, ``ci_high``, ``ci_level``, ``status``,
        ``reason``, ``model``, ``engine``, ``level`` and ``row_id``.
    coefficients : mapping
        The standardised-coefficient row of each rater.
    rope : float or None
        Half-width of the region of practical equivalence; without it nothing is called practically equal.
    failed : sequence of str
        Failed convergence checks of the model.
    unit : str
        Unit of the outcome.
    notes : sequence of str
        What a reader must know beside the answer.

    Returns
    -------
    Answer
        Verdict and sentence.
    """
    place = {key: difference.get(key) for key in ("model", "engine", "level", "row_id")}
    if difference["status"] == "refused":
        claim, reason = "Whose view predicts outcome could not be asked.", f"{difference['reason']}."
        return Answer("refused", "refused", False, claim, _sentence_case(reason), tuple(notes), **place)
    if failed or difference["status"] != "ok":
        cause = "; ".join(failed) if failed else difference["reason"]
        why = f"The model behind the answer did not pass its checks ({cause})."
        return Answer(
            "not_established", "not_established", False, "Not established.", why, tuple(notes), **place
        )
    first, second = difference["rater"], difference["rater_b"]
    betas = {rater: coefficients[rater]["estimate"] for rater in (first, second)}
    opposite = betas[first] * betas[second] < 0
    verdict = _verdict(difference, betas, rope)
    numbers = {key: float(difference[key]) for key in ("estimate", "ci_low", "ci_high", "ci_level")}
    uncertainty = _uncertainty(first, second, numbers, unit)
    if opposite:
        uncertainty = f"{uncertainty} {_signs(betas)}"
    claim = _claim(verdict, first, second)
    return Answer("ok", verdict, opposite, claim, uncertainty, tuple(notes), **numbers, **place)


def _verdict(difference: Mapping[str, Any], betas: Mapping[str, float], rope: float | None) -> str:
    """Apply the rules; ``betas`` are standardised coefficients on severity, so improvement is below zero."""
    first, second = difference["rater"], difference["rater_b"]
    low, high = difference["ci_low"], difference["ci_high"]
    if rope is not None and -rope < low and high < rope:
        return "equal"
    if high < 0 and betas[first] < 0:
        return first
    if low > 0 and betas[second] < 0:
        return second
    return "not_distinguished"


def _claim(verdict: str, first: str, second: str) -> str:
    """Word the verdict."""
    start = "From one session to the next,"
    if verdict == "equal":
        return f"{start} the {first}'s and the {second}'s view are practically equal as predictors."
    if verdict == "not_distinguished":
        return f"{start} the {first}'s and the {second}'s view are not distinguished as predictors."
    other = second if verdict == first else first
    return f"{start} the {verdict}'s view predicts more improvement than the {other}'s."


def _uncertainty(first: str, second: str, numbers: Mapping[str, float], unit: str) -> str:
    """Word D and its interval: how much lower or higher the next severity is with one rater's than with the other's."""
    difference = numbers["estimate"]
    direction = "lower" if difference < 0 else "higher"
    level = f"{100 * numbers['ci_level']:g}\N{NO-BREAK SPACE}%"
    return (
        f"One within-client standard deviation more alliance goes with a next severity that is "
        f"{abs(difference):.2f} {unit} {direction} for the {first}'s rating than for the {second}'s "
        f"(D = {_number(difference)}, {level} interval {_number(numbers['ci_low'])} to "
        f"{_number(numbers['ci_high'])})."
    )


def _signs(betas: Mapping[str, float]) -> str:
    """Say that the raters' coefficients have opposite signs."""
    better = next(rater for rater, beta in betas.items() if beta < 0)
    worse = next(rater for rater, beta in betas.items() if beta > 0)
    return f"The signs are opposite: a higher {better}'s rating goes with less severity, a higher {worse}'s with more."


def _number(value: float) -> str:
    """Format a number with two decimals and a true minus; a value that rounds to zero has no sign."""
    text = f"{value:.2f}"
    return (text if float(text) else text.removeprefix("-")).replace("-", "\N{MINUS SIGN}")


def _sentence_case(text: str) -> str:
    """Raise the first letter of a reason that stands as a sentence."""
    return text[:1].upper() + text[1:]
