"""Which models a study is asked, and which columns each of them has.

The hybrid model (Curran & Bauer 2011, 10.1146/annurev.psych.093008.100356; Wang & Maxwell 2015, 10.1037/met0000030)
carries each rater's alliance split by level; it is fitted with all raters (``unique``) and with each rater alone on the
same rows (``total``), with and without a therapist level, without and with the lagged outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alliance_outcome.design.levels import THREE_LEVELS, TWO_LEVELS, WITHIN_CLIENT, level_column

HYBRID_MODELS = ("hybrid_three_level", "hybrid_two_level", "hybrid_lag_three_level", "hybrid_lag_two_level")
EARLY_MODELS = ("early_three_level", "early_two_level", "early_last_observed")

#: Column of the severity one slot before the outcome, in models that have it among their predictors.
LAGGED_OUTCOME = "outcome_before"


@dataclass(frozen=True)
class ModelSpecification:
    """One model of one analysis.

    Parameters
    ----------
    model : str
        One of :data:`HYBRID_MODELS` or :data:`EARLY_MODELS`.
    raters : tuple of str
        All raters of the study (joint model) or one.
    estimand : {'unique', 'total'}
        What a coefficient means: beside the other raters, or alone.
    three_level : bool
        Whether therapists are a level.
    """

    model: str
    raters: tuple[str, ...]
    estimand: str
    three_level: bool

    @property
    def name(self) -> str:
        """Model and raters in one word, for checks and tables."""
        return f"{self.model}.{'joint' if self.estimand == 'unique' else self.raters[0]}"

    @property
    def is_early(self) -> bool:
        """Whether the rows are clients."""
        return self.model.startswith("early")

    @property
    def has_lagged_outcome(self) -> bool:
        """Whether the outcome of the slot before is among the predictors."""
        return self.model.startswith("hybrid_lag")

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels at which alliance has a coefficient, the innermost first."""
        levels = THREE_LEVELS if self.three_level else TWO_LEVELS
        return tuple(level for level in levels if not (self.is_early and level == WITHIN_CLIENT))

    @property
    def slopes(self) -> tuple[str, ...]:
        """Terms with a random slope over clients."""
        if self.is_early:
            return ()
        return tuple(level_column(f"alliance_{rater}", WITHIN_CLIENT) for rater in self.raters)

    def alliance_terms(self) -> dict[str, tuple[str, str]]:
        """Map each alliance term to its rater and level."""
        return {
            level_column(f"alliance_{rater}", level): (rater, level)
            for level in self.levels
            for rater in self.raters
        }

    def terms(self, trend: Sequence[str], covariates: Sequence[str]) -> list[str]:
        """List the fixed terms, the intercept first."""
        baseline = ["severity_first"]
        if self.is_early:
            baseline.append("severity_before")
        elif self.has_lagged_outcome:
            baseline.append(LAGGED_OUTCOME)
        return ["Intercept", *trend, *baseline, *covariates, *self.alliance_terms()]


def specifications(
    models: Sequence[str], raters: Sequence[str], *, has_therapists: bool
) -> list[ModelSpecification]:
    """List the fits of some models: joint first, then each rater alone.

    Parameters
    ----------
    models : sequence of str
        Model names.
    raters : sequence of str
        All raters of the study.
    has_therapists : bool
        Whether the study has therapist ids; ``early_last_observed`` has as many levels as they allow.

    Returns
    -------
    list of ModelSpecification
        With a single rater there is no joint model: its fit is the ``total`` one.
    """
    found = []
    for model in models:
        three_level = has_therapists if model == "early_last_observed" else model.endswith("three_level")
        if len(raters) > 1:
            found.append(ModelSpecification(model, tuple(raters), "unique", three_level))
        found += [ModelSpecification(model, (rater,), "total", three_level) for rater in raters]
    return found
