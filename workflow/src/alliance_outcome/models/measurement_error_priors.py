"""Priors of the joint model in units of outcome and alliance, and what is known of the reliability of ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

#: A number for all raters, or one for each by name.
PerRater = float | Mapping[str, float]


@dataclass(frozen=True)
class MeasurementErrorPriors:
    """Weakly informative priors, in the units of the outcome and of the raters' instruments.

    Parameters
    ----------
    outcome_mean, outcome_mean_sd : float
        Normal prior of expected severity at average covariates.
    outcome_effect_sd : float
        Standard deviation of the normal(0, ·) prior of the effect on severity of one standard deviation of a covariate.
    slope_sd : float
        Standard deviation of the normal(0, ·) prior, at each level, of the effect on severity of one latent standard
        deviation of a rater's alliance at that level. The difference D of two raters has √2 times this.
    outcome_sd : float
        Scale of the half-normal priors of the standard deviation, at each level, of severity given alliance.
    alliance_mean, alliance_mean_sd : float or mapping
        Normal prior of each rater's expected alliance at average covariates; a number, or one for each rater.
    alliance_effect_sd : float or mapping
        Standard deviation of the normal(0, ·) prior of the effect on alliance of one standard deviation of a covariate.
    alliance_sd : float or mapping
        Scale of the half-normal priors of the latent standard deviations of alliance at each level.
    lkj_eta : float
        Shape of the LKJ prior of the correlations of latent alliances at each level (Lewandowski, Kurowicka & Joe 2009,
        10.1016/j.jmva.2009.04.008); 1 is uniform over correlation matrices, larger values favour small correlations.
    """

    outcome_mean: float
    outcome_mean_sd: float
    outcome_effect_sd: float
    slope_sd: float
    outcome_sd: float
    alliance_mean: PerRater
    alliance_mean_sd: PerRater
    alliance_effect_sd: PerRater
    alliance_sd: PerRater
    lkj_eta: float = 2.0

    @classmethod
    def of_ranges(
        cls, outcome_range: tuple[float, float], alliance_ranges: Mapping[str, tuple[float, float]]
    ) -> MeasurementErrorPriors:
        """Set the defaults from the possible ranges of the instruments, which are known before the data.

        Parameters
        ----------
        outcome_range : tuple of float
            Lowest and highest possible severity.
        alliance_ranges : mapping
            Lowest and highest possible alliance, by rater.

        Returns
        -------
        MeasurementErrorPriors
            Means are at the middle of a range, give or take a quarter of it; effects of one standard deviation are
            within a tenth of it, and standard deviations of one level within a quarter of it, two times in three.
        """
        width = outcome_range[1] - outcome_range[0]
        widths = {rater: high - low for rater, (low, high) in alliance_ranges.items()}
        return cls(
            outcome_mean=sum(outcome_range) / 2.0,
            outcome_mean_sd=width / 4.0,
            outcome_effect_sd=width / 10.0,
            slope_sd=width / 10.0,
            outcome_sd=width / 4.0,
            alliance_mean={rater: sum(limits) / 2.0 for rater, limits in alliance_ranges.items()},
            alliance_mean_sd={rater: each / 4.0 for rater, each in widths.items()},
            alliance_effect_sd={rater: each / 10.0 for rater, each in widths.items()},
            alliance_sd={rater: each / 4.0 for rater, each in widths.items()},
        )

    def of_raters(self, name: str, raters: Sequence[str]) -> np.ndarray:
        """Return one prior's number for each rater, shape (n_raters,)."""
        value = getattr(self, name)
        return np.array([value[rater] if isinstance(value, Mapping) else value for rater in raters], float)


@dataclass(frozen=True)
class Reliability:
    """What is known of the reliability of a rater's alliance at one level: a number, or a Beta distribution.

    Reliability R is the share of latent variance in the variance at that level; the error variance is (1 − R)/R times
    the latent one. Both variances are those given the covariates of alliance. If covariates explain the share g of the
    variance of ratings, a reliability R* that was estimated without them amounts to R = (R* − g)/(1 − g); R* itself
    would correct too little.

    Parameters
    ----------
    known : float or None
        The number, in (0, 1]; 1 takes alliance as rated for latent alliance. None where R has a distribution.
    alpha, beta : float or None
        Parameters of the Beta distribution otherwise.
    """

    known: float | None = None
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.known is None:
            if not (self.alpha and self.beta and min(self.alpha, self.beta) > 0.0):
                raise ValueError(
                    "an unknown reliability needs two positive parameters of a Beta distribution"
                )
        elif not 0.0 < self.known <= 1.0:
            raise ValueError("a known reliability must be above 0 and at most 1")

    @classmethod
    def of_moments(cls, mean: float, sd: float) -> Reliability:
        """Return the Beta distribution with a mean and a standard deviation.

        Raises
        ------
        ValueError
            If no Beta distribution has them: the variance must be below mean · (1 − mean).
        """
        if not (0.0 < mean < 1.0 and sd > 0.0 and sd**2 < mean * (1.0 - mean)):
            raise ValueError(
                "no distribution on (0, 1) has this mean and standard deviation; give a reliability that is known "
                "exactly as known"
            )
        total = mean * (1.0 - mean) / sd**2 - 1.0
        return cls(alpha=mean * total, beta=(1.0 - mean) * total)

    @classmethod
    def of_quantiles(cls, lower: tuple[float, float], upper: tuple[float, float]) -> Reliability:
        """Return the Beta distribution with two quantiles.

        Parameters
        ----------
        lower, upper : tuple of float
            Probability and value, for example ``(0.025, 0.70)`` and ``(0.975, 0.85)``.

        Raises
        ------
        ValueError
            If the quantiles are not in order or no Beta distribution has them.
        """
        (p_low, low), (p_high, high) = lower, upper
        if not (0.0 < p_low < p_high < 1.0 and 0.0 < low < high < 1.0):
            raise ValueError("two quantiles must increase, and lie between 0 and 1 as their probabilities do")

        def misfit(logs: np.ndarray) -> np.ndarray:
            shape = np.exp(logs)
            # Distances in quantiles of the normal distribution stay informative far from the solution.
            found = stats.norm.ppf(np.clip(stats.beta.cdf([low, high], *shape), 1e-300, 1.0 - 1e-16))
            return found - stats.norm.ppf([p_low, p_high])

        spread = (high - low) / (stats.norm.ppf(p_high) - stats.norm.ppf(p_low))
        middle = (low + high) / 2.0
        spread = min(spread, 0.9 * np.sqrt(middle * (1.0 - middle)))
        guess = cls.of_moments(middle, spread)
        solution = optimize.root(misfit, np.log([guess.alpha, guess.beta]), tol=1e-12)
        if np.abs(misfit(solution.x)).max() > 1e-6:
            raise ValueError("no Beta distribution was found that has these quantiles")
        alpha, beta = np.exp(solution.x)
        return cls(alpha=float(alpha), beta=float(beta))


#: Alliance as rated is taken for latent alliance.
MANIFEST = Reliability(known=1.0)
