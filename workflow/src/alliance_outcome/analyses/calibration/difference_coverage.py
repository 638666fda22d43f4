"""Do 95 % intervals of D hold its true value as often as they say, under the priors that a study has?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from scipy import stats

from alliance_outcome.analyses.calibration.designs import (
    CHAINS,
    DESIGNS,
    FAMILY_ERROR,
    INTERVAL_DRAWS,
    SEED,
    WARM_UP,
    DifferenceDesign,
)
from alliance_outcome.analyses.calibration.multilevel_ranks import differences, model_of
from alliance_outcome.analyses.coverage.designs import EARLY, HYBRID, MultilevelDesign
from alliance_outcome.analyses.coverage.intervals import SPECIFICATIONS, alliance_quantities
from alliance_outcome.analyses.coverage.multilevel_studies import simulate_study
from alliance_outcome.analyses.coverage.table import binomial_band
from alliance_outcome.analyses.posteriors import declared_priors
from alliance_outcome.models.bayesian import SAMPLER
from alliance_outcome.settings import PriorSettings

#: Priors that follow from the range of CORE-10, as in the example study.
PRIORS = PriorSettings(range=(0.0, 40.0))
PROBABILITY = 0.95
NORMAL_QUANTILE = float(stats.norm.ppf((1.0 + PROBABILITY) / 2.0))

CELL = ["design", "analysis", "level"]
INTERVAL_COLUMNS = (*CELL, "simulation", "truth", "mean", "ci_low", "ci_high", "sampler")
COVERAGE_COLUMNS = (
    *("analysis", "therapists", "level", "studies", "coverage", "coverage_se", "bias", "bias_se", "sd_ratio"),
    *("fallbacks", "band_low", "band_high", "position"),
)


def difference_intervals(name: str, simulations: Iterable[int]) -> pd.DataFrame:
    """Sample the posteriors of simulated studies.

    Parameters
    ----------
    name : str
        Of a :class:`~alliance_outcome.analyses.calibration.designs.DifferenceDesign`.
    simulations : iterable of int
        Numbers of the studies: those of the coverage study.

    Returns
    -------
    DataFrame
        :data:`INTERVAL_COLUMNS`, one row per study, analysis and level; intervals are equal-tailed.
    """
    rows = [row for number in simulations for row in _study_rows(DESIGNS[name], number)]
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def _study_rows(design: DifferenceDesign, number: int) -> Iterator[dict[str, object]]:
    study = simulate_study(MultilevelDesign(design.therapists), number)
    for position, (analysis, rows, truth) in enumerate(
        (("hybrid", study.hybrid, HYBRID), ("early", study.early, EARLY))
    ):
        specification, trend = SPECIFICATIONS[analysis]
        priors = declared_priors(rows, specification, PRIORS)
        model = model_of(
            rows, rows["outcome"].to_numpy(), specification, specification.terms(trend, ()), priors
        )
        entropy = [SEED, design.therapists, number, position]
        tree = model.sample(
            sampler="collapsed",
            chains=CHAINS,
            draws=INTERVAL_DRAWS,
            tune=WARM_UP,
            seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]),
        )
        true_values = {
            each.level: each.truth
            for each in alliance_quantities(specification, rows, truth)
            if each.quantity == "difference"
        }
        tails = [(1.0 - PROBABILITY) / 2.0, (1.0 + PROBABILITY) / 2.0]
        for level, draws in differences(tree.posterior.dataset, rows, specification).items():
            low, high = np.quantile(draws.to_numpy(), tails)
            yield {
                "design": design.name,
                "analysis": analysis,
                "level": level,
                "simulation": number,
                "truth": true_values[level],
                "mean": float(draws.mean()),
                "ci_low": float(low),
                "ci_high": float(high),
                "sampler": tree.attrs[SAMPLER],
            }


def difference_table(intervals: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the coverage of D.

    Parameters
    ----------
    intervals : DataFrame
        Those of all studies.

    Returns
    -------
    DataFrame
        :data:`COVERAGE_COLUMNS`, one row per analysis, number of therapists and level; every cell is judged. `bias` is
        the mean error of the posterior mean; `sd_ratio` the mean half-width of intervals over that of a normal
        distribution with the standard deviation of the errors.

    Raises
    ------
    ValueError
        If a cell has not as many studies as it should.
    """
    groups = intervals.groupby(CELL, sort=False)
    low, high = binomial_band(groups.ngroups, DESIGNS[intervals["design"].iloc[0]].simulations, FAMILY_ERROR)
    rows = []
    for (name, analysis, level), cell in groups:
        design = DESIGNS[name]
        if cell["simulation"].nunique() != design.simulations:
            raise ValueError(f"{name}, {analysis}, {level}: not {design.simulations} studies")
        covered = cell["truth"].between(cell["ci_low"], cell["ci_high"])
        share, errors = float(covered.mean()), cell["mean"] - cell["truth"]
        width = float((cell["ci_high"] - cell["ci_low"]).mean())
        rows.append(
            {
                "analysis": analysis,
                "therapists": design.therapists,
                "level": level,
                "studies": len(cell),
                "coverage": share,
                "coverage_se": float(np.sqrt(share * (1.0 - share) / len(cell))),
                "bias": float(errors.mean()),
                "bias_se": float(errors.std() / np.sqrt(len(cell))),
                "sd_ratio": width / (2.0 * NORMAL_QUANTILE * float(errors.std())),
                "fallbacks": int((cell["sampler"] != "collapsed").sum()),
                "band_low": low,
                "band_high": high,
                "position": "below" if share < low else "above" if share > high else "inside",
            }
        )
    return pd.DataFrame(rows, columns=list(COVERAGE_COLUMNS))
