"""R² of a Gaussian multilevel model: whose variance is explained, by what, and at which level.

The outcome variance that a fitted model implies is taken apart into

- ``f1, f2, f3``: the fixed effects, through the parts of the predictors that vary at level 1 (rows), 2 and 3;
- ``vlk``: random slopes over the units of level k, through the level-l part of their predictors, trace(Ψ_k Σ_l);
- ``m2, m3``: random effects of the units of level k at the mean of the slope columns, z̄'Ψ_k z̄: the intercept variance
  where slope columns have mean zero;
- ``residual``: σ².

The framework is Rights & Sterba's (2019, 10.1037/met0000184; 2021, 10.1080/00273171.2021.1985948, for three levels),
with the names of their measures. Its total ``f`` is the marginal R² of Nakagawa & Schielzeth (2013,
10.1111/j.2041-210x.2012.00261.x), ``fvm`` the conditional one with random slopes as in Johnson (2014,
10.1111/2041-210X.12225).

Conventions, there being no others:

- Covariances of predictors are over rows, denominator rows − 1, at every level: those of the R package r2mlm, whose
  numbers two-level models with cluster-mean-centred predictors reproduce. A client counts once for each session.
  Johnson's mean of z'Ψz over rows has the denominator rows; it is (rows − 1)/rows of our v, plus m.
- A predictor may vary at several levels; it is split on the rows of the model, by means over rows. A mean of client
  means differs from that if clients have unequal numbers of sessions, and what it leaves over counts where it varies.
- A random slope over clients makes an outcome vary between clients, also where its predictor varies between therapists
  only: such a part, ``v32``, belongs to the client level here (the finer of the two). r2mlm's three-level function
  lists it at level 3. Total measures agree; where slope columns are centred within clients it is zero.

Nothing is clipped. A level's fixed part is a variance, hence not negative but for rounding; the part of one predictor
or the shared part of two may be, where predictors suppress each other. A share of no variance at all (0/0) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.models.design_checks import INTERCEPT
from alliance_outcome.models.level_covariances import DesignCovariances, LevelCovariances

FloatArray = NDArray[np.float64]

#: The variance of all levels together, in columns that name a level.
TOTAL = "total"
RESIDUAL = "residual"
#: What stands for terms that belong to no group.
OTHER_TERMS = "other terms"


@dataclass(frozen=True, eq=False)
class ModelEstimates:
    """The estimates of a model, in the units of the columns and the outcome.

    Parameters
    ----------
    coefficients : ndarray, shape (p,)
        Fixed effects.
    covariances : tuple of ndarray, each of shape (q, q)
        Covariance matrix of the random effects for each grouping, innermost first; outcome units (not relative to the
        residual variance).
    residual_variance : float
        Variance of a row given all effects; with autocorrelated residuals their marginal variance.
    """

    coefficients: FloatArray
    covariances: tuple[FloatArray, ...]
    residual_variance: float


@dataclass(frozen=True)
class VariancePart:
    """One part of the outcome variance.

    Parameters
    ----------
    name : str
        ``f1``, ``v12``, ``m2``, …, ``residual``.
    level : str
        Level at which it makes the outcome vary.
    source : str
        In words.
    variance : float
        In squared units of the outcome.
    """

    name: str
    level: str
    source: str
    variance: float


@dataclass(frozen=True, eq=False)
class ExplainedVariance:
    """The model-implied variance of an outcome, taken apart.

    Parameters
    ----------
    levels : tuple of str
        Names of the levels, innermost first.
    terms : tuple of str
        Names of the fixed effects.
    parts : tuple of VariancePart
        They add up to the variance of the outcome.
    contributions : ndarray, shape (n_levels, p, p)
        Covariances, at each level, of the terms' contributions to the fixed part (coefficient times column).
    """

    levels: tuple[str, ...]
    terms: tuple[str, ...]
    parts: tuple[VariancePart, ...]
    contributions: FloatArray

    def variance(self, level: str = TOTAL, kinds: str | None = None) -> float:
        """Add up the variance of a level.

        Parameters
        ----------
        level : str
            A level, or ``total``.
        kinds : str, optional
            Which parts, by the first letters of their names (``f``, ``v``, ``m``, ``r``); all unless given.

        Returns
        -------
        float
            In squared units of the outcome.
        """
        return math.fsum(
            part.variance
            for part in self.parts
            if level in (TOTAL, part.level) and (kinds is None or part.name[0] in kinds)
        )

    @property
    def marginal(self) -> float:
        """Share of the fixed effects in the total variance."""
        return _ratio(self.variance(kinds="f"), self.variance())

    @property
    def conditional(self) -> float:
        """Share of fixed and random effects in the total variance."""
        return _ratio(self.variance(kinds="fvm"), self.variance())

    def components(self) -> pd.DataFrame:
        """Tabulate all parts.

        Returns
        -------
        DataFrame
            Columns part, level, source, variance (squared units of the outcome), share_of_total, share_of_level.
        """
        return pd.DataFrame(
            [
                {
                    "part": part.name,
                    "level": part.level,
                    "source": part.source,
                    "variance": part.variance,
                    "share_of_total": _ratio(part.variance, self.variance()),
                    "share_of_level": _ratio(part.variance, self.variance(part.level)),
                }
                for part in self.parts
            ]
        )

    def r_squared(self) -> dict[tuple[str, str], float]:
        """Return all R² measures by level (or ``total``) and part.

        Returns
        -------
        dict of (level, part) to float
            Of the total variance: every single part, then the sums ``f``, ``v``, ``m``, ``fv`` (of fixed effects and
            slopes) and ``fvm``. Of the variance of a level: its fixed part, its slopes ``v``, both, and its ``m``. The
            keys depend on the structure of the model alone, so that replicates can be stacked.
        """
        found = {
            (TOTAL, part.name): _ratio(part.variance, self.variance())
            for part in self.parts
            if part.name != RESIDUAL
        }
        for kinds in self._sums(TOTAL):
            found[TOTAL, kinds] = _ratio(self.variance(kinds=kinds), self.variance())
        # Without groupings the level of the rows is the total.
        for number, level in enumerate(self.levels if len(self.levels) > 1 else (), start=1):
            for kinds in self._sums(level):
                name = kinds if "v" in kinds else f"{kinds}{number}"
                found[level, name] = _ratio(self.variance(level, kinds), self.variance(level))
        return found

    def measures(self) -> pd.DataFrame:
        """Tabulate all R² measures.

        Returns
        -------
        DataFrame
            Columns measure (Rights & Sterba's notation: ``R2_t(f1)`` of the total variance, ``R2_w(f1)`` within and
            ``R2_b(f2)`` between the units of a two-level model, ``R2_1(f1)``, ``R2_2(f2)`` and ``R2_3(f3)`` of the
            levels of a longer one), level (or ``total``), part, value.
        """
        symbols = ("w", "b") if len(self.levels) == 2 else [str(n + 1) for n in range(len(self.levels))]
        symbol = {TOTAL: "t", **dict(zip(self.levels, symbols, strict=True))}
        return pd.DataFrame(
            [
                {"measure": f"R2_{symbol[level]}({part})", "level": level, "part": part, "value": value}
                for (level, part), value in self.r_squared().items()
            ]
        )

    def by_terms(self) -> pd.DataFrame:
        """Split the fixed part of each level between the terms.

        Returns
        -------
        DataFrame
            Columns level (``total`` first), term, own_variance (of the coefficient times the column),
            covariance_with_others, part (the sum of both), share_of_total, share_of_level. Parts add up to the fixed
            part of the level; that of a suppressed term is negative. The intercept, which does not vary, has no row.
        """
        rows = []
        for level, contributions in self._contributions().items():
            for position, term in enumerate(self.terms):
                if term != INTERCEPT:
                    own = float(contributions[position, position])
                    part = float(contributions[position].sum())
                    rows.append(
                        {"level": level, "term": term, "own_variance": own}
                        | {"covariance_with_others": part - own, "part": part}
                        | self._shares(part, level)
                    )
        columns = ["level", "term", "own_variance", "covariance_with_others", "part"]
        return pd.DataFrame(rows, columns=[*columns, "share_of_total", "share_of_level"])

    def by_groups(self, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """Split the fixed part of each level into variances of groups of terms and their covariances.

        Parameters
        ----------
        groups : mapping of name to terms
            For instance the terms of each rater. What is left over, the intercept apart, becomes ``other terms``.

        Returns
        -------
        DataFrame
            Columns level (``total`` first), kind (``variance``, ``twice_covariance``), group, group2 (equal to `group`
            for variances), variance, share_of_total, share_of_level. Rows of a level add up to its fixed part.

        Raises
        ------
        ValueError
            If a group is empty or named like the left-over terms, a term is unknown, or it is in two groups.

        Notes
        -----
        This partitions the variance of one fitted model. What a group explains beyond another takes refitted models:
        :func:`alliance_outcome.models.dominance.dominance_analysis`.
        """
        positions = self._positions(groups)
        rows = []
        for level, contributions in self._contributions().items():
            names = list(positions)
            for first, group in enumerate(names):
                for group2 in names[: first + 1]:
                    block = contributions[np.ix_(positions[group], positions[group2])]
                    same = group == group2
                    variance = float(block.sum()) * (1.0 if same else 2.0)
                    kind = "variance" if same else "twice_covariance"
                    rows.append(
                        {"level": level, "kind": kind, "group": group, "group2": group2, "variance": variance}
                        | self._shares(variance, level)
                    )
        return pd.DataFrame(rows)

    def intraclass_correlations(self) -> pd.DataFrame:
        """Compute intraclass correlations at the mean of the columns with random slopes.

        Returns
        -------
        DataFrame
            One row per grouping, outermost first: level, variance (z̄'Ψz̄, the intercept variance where there are no
            slopes), share (of random and residual variance), icc (correlation of two rows of the same unit: of two
            sessions of a client, to which the variance between therapists belongs too, or of sessions of two clients of
            the same therapist).

        Notes
        -----
        Given the predictors of the model; the intraclass correlation proper is that of a model without any. With
        random slopes the correlation depends on their columns z: here z is the mean over rows. Autocorrelation of
        residuals is left out. NaN if there is neither random nor residual variance.
        """
        variances = {level: self.variance(level, "m") for level in reversed(self.levels[1:])}
        total = sum(variances.values()) + self.variance(kinds="r")
        shared, rows = 0.0, []
        for level, variance in variances.items():
            shared += variance
            rows.append(
                {"level": level, "variance": variance, "share": _ratio(variance, total)}
                | {"icc": _ratio(shared, total)}
            )
        return pd.DataFrame(rows, columns=["level", "variance", "share", "icc"])

    def _sums(self, level: str) -> list[str]:
        """List the sums of parts that a level has measures of."""
        kinds = {part.name[0] for part in self.parts if level in (TOTAL, part.level)}
        wanted = ["f", "v", "m", "fv", "fvm"] if level == TOTAL else ["f", "v", "m", "fv"]
        present = [sums for sums in wanted if set(sums) <= kinds]
        # The conditional R² is there whatever the random effects are.
        return present if "fvm" in present or level != TOTAL else [*present, "fvm"]

    def _contributions(self) -> dict[str, FloatArray]:
        return {TOTAL: self.contributions.sum(axis=0)} | dict(
            zip(self.levels, self.contributions, strict=True)
        )

    def _shares(self, variance: float, level: str) -> dict[str, float]:
        return {
            "share_of_total": _ratio(variance, self.variance()),
            "share_of_level": _ratio(variance, self.variance(level)),
        }

    def _positions(self, groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
        """Find the columns of each group, and of what is left over."""
        named = [term for terms in groups.values() for term in terms]
        unknown = sorted(set(named) - set(self.terms))
        if unknown:
            raise ValueError(f"the model has no terms {', '.join(unknown)}")
        if len(set(named)) < len(named):
            raise ValueError("a term may belong to one group only")
        if OTHER_TERMS in groups or not all(groups.values()):
            raise ValueError(f"a group needs terms and a name that is not '{OTHER_TERMS}'")
        positions = {group: [self.terms.index(term) for term in terms] for group, terms in groups.items()}
        rest = [n for n, term in enumerate(self.terms) if term not in named and term != INTERCEPT]
        return positions | ({OTHER_TERMS: rest} if rest else {})


def explained_variance(covariances: DesignCovariances, estimates: ModelEstimates) -> ExplainedVariance:
    """Take the outcome variance that a model implies apart.

    Parameters
    ----------
    covariances : DesignCovariances
        From :func:`~alliance_outcome.models.level_covariances.design_covariances`, or for a bootstrap sample of
        clusters from :meth:`~alliance_outcome.models.level_covariances.LevelMoments.covariances`.
    estimates : ModelEstimates
        The model's estimates.

    Returns
    -------
    ExplainedVariance

    Raises
    ------
    ValueError
        If the estimates do not have the shapes of the design.

    Notes
    -----
    A model without some of the terms is the same design with coefficients of zero for them, so that one set of
    covariances serves all the refitted models of a dominance analysis.
    """
    _require_shapes(covariances, estimates)
    coefficients = np.asarray(estimates.coefficients, dtype=float)
    contributions = covariances.fixed.by_level * np.outer(coefficients, coefficients)
    parts = [
        VariancePart(f"f{number}", level, "fixed effects", float(contribution.sum()))
        for number, (level, contribution) in enumerate(
            zip(covariances.levels, contributions, strict=True), start=1
        )
    ]
    for above, (columns, covariance) in enumerate(
        zip(covariances.random, estimates.covariances, strict=True), start=1
    ):
        if covariances.slopes[above - 1]:
            parts += _slope_parts(covariances.levels, above, columns, covariance)
    parts += _mean_parts(covariances, estimates)
    parts.append(
        VariancePart(RESIDUAL, covariances.levels[0], "residual", float(estimates.residual_variance))
    )
    return ExplainedVariance(covariances.levels, covariances.terms, tuple(parts), contributions)


def _slope_parts(
    levels: tuple[str, ...], above: int, columns: LevelCovariances, covariance: FloatArray
) -> list[VariancePart]:
    """Return the parts of random slopes over the units of level `above` (0 is the rows)."""
    return [
        VariancePart(
            f"v{below + 1}{above + 1}",
            # A unit's own slope times anything varies at least as finely as the units do.
            levels[min(below, above)],
            f"random slopes of {levels[above]}s on differences between {levels[below]}s",
            float(np.sum(by_level * covariance)),
        )
        for below, by_level in enumerate(columns.by_level)
    ]


def _mean_parts(covariances: DesignCovariances, estimates: ModelEstimates) -> list[VariancePart]:
    """Return the parts of random effects at the mean of their columns."""
    return [
        VariancePart(
            f"m{above + 1}",
            level,
            f"random intercepts of {level}s",
            float(columns.means @ covariance @ columns.means),
        )
        for above, (level, columns, covariance) in enumerate(
            zip(covariances.levels[1:], covariances.random, estimates.covariances, strict=True), start=1
        )
        if len(columns.means)
    ]


def _require_shapes(covariances: DesignCovariances, estimates: ModelEstimates) -> None:
    if np.shape(estimates.coefficients) != (len(covariances.terms),):
        raise ValueError("the model needs one coefficient for each term")
    wanted = [columns.by_level.shape[1:] for columns in covariances.random]
    if [np.shape(covariance) for covariance in estimates.covariances] != wanted:
        raise ValueError("each grouping needs the covariance matrix of its random effects")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else math.nan
