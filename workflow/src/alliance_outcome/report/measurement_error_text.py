"""What the model of severity and all ratings is, and what is known of the ratings' reliability, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alliance_outcome.analyses.measurement_error import MAX_DRAWS, MAX_TUNE
from alliance_outcome.report.estimation_text import interval_sentence, plain
from alliance_outcome.report.formatting import count, join_words, number
from alliance_outcome.report.labels import level_label, rater_label
from alliance_outcome.report.references import cite
from alliance_outcome.settings import (
    MeasurementErrorSettings,
    PriorSettings,
    ReliabilitySettings,
    SamplerSettings,
)


def rows_sentence(latent: pd.DataFrame, manifest: pd.DataFrame) -> str:
    """Say how many rows and clients the model uses, beside the model of complete rows.

    Parameters
    ----------
    latent, manifest : DataFrame
        Rows of ``measurement_error.csv``, and of the model with ratings as they are.

    Returns
    -------
    str
        A sentence; empty where there are no established rows.
    """
    known = latent[latent["n_sessions"].notna()]
    if known.empty:
        return ""
    row = known.iloc[0]
    sentence = f"The model with latent means uses {count(row['n_sessions'])} rows of {count(row['n_clients'])} clients"
    complete = manifest[manifest["n_sessions"].notna()]
    if complete.empty:
        return f"{sentence}."
    other = complete.iloc[0]
    return (
        f"{sentence}; those that are complete for all raters are {count(other['n_sessions'])} rows of "
        f"{count(other['n_clients'])} clients."
    )


def reliability_words(stated: ReliabilitySettings) -> str:
    """Write what the study file states of one reliability."""
    if stated.interval is not None:
        low, high = (plain(end) for end in stated.interval)
        return f"95\N{NO-BREAK SPACE}% interval {low} to {high}"
    if stated.sd is None:
        return f"{plain(stated.mean)}, taken as exact"
    return f"{plain(stated.mean)} (SD {plain(stated.sd)})"


def unstated_sentence(
    measurement: MeasurementErrorSettings, raters: Sequence[str], levels: Sequence[str]
) -> str:
    """Say which ratings are taken as measured without error.

    Parameters
    ----------
    measurement : MeasurementErrorSettings
        What the study file states.
    raters, levels : sequence of str
        Those of the model.

    Returns
    -------
    str
        A sentence; empty where every reliability is stated.
    """
    if not measurement.reliability:
        several = (
            ": a difference between the raters may be one of how well they measure" if len(raters) > 1 else ""
        )
        return (
            "The study file states no reliability, so that ratings are taken as measured without error at every level, "
            f"and nothing is corrected for it{several}."
        )
    silent = {
        level: [
            rater for rater in raters if _stated_level(level) not in measurement.reliability.get(rater, {})
        ]
        for level in levels
    }
    parts = [
        f"{join_words([f'{rater_label(rater)}-rated' for rater in found])} alliance {level_label(level)}"
        for level, found in silent.items()
        if found
    ]
    return f"Taken as measured without error: {join_words(parts)}." if parts else ""


def _stated_level(level: str) -> str:
    """Return what the study file calls a level of the model."""
    return level.removesuffix("_pooled")


def measurement_error_paragraph(
    latent: pd.DataFrame, priors: PriorSettings, sampler: SamplerSettings, unit: str
) -> str:
    """Describe the model, its priors and its sampling.

    Parameters
    ----------
    latent : DataFrame
        ``measurement_error.csv``.
    priors : PriorSettings
        Priors in outcome units.
    sampler : SamplerSettings
        Chains and draws of the run.
    unit : str
        Unit of the outcome.

    Returns
    -------
    str
        A paragraph; empty where no such model was estimated.
    """
    rows = latent[latent["status"] == "ok"]
    if rows.empty:
        return ""
    smallest = rows[["ess_bulk", "ess_tail"]].min().min()
    tune, draws = min(sampler.tune, MAX_TUNE), min(sampler.draws, MAX_DRAWS)
    scale = max(priors.group_sd, priors.residual_sd)
    return (
        "For the section on measurement error, severity and all ratings were outcomes of one Gaussian model with a "
        f"covariance matrix at each level {cite('luedtke')}; latent values and missing ratings are integrated out of "
        "its likelihood. Alliance has the covariates of severity. Severity has the same priors as above, with an "
        f"effect of one latent standard deviation of alliance normal(0, {plain(priors.effect_sd)}) {unit} and "
        f"standard deviations given alliance half-normal({plain(scale)}). In shares of the range of a rater's "
        "form, expected alliance is normal(its middle, 1/4), the effect of one standard deviation of a covariate "
        "normal(0, 1/10) and the latent standard deviation at each level half-normal(1/4); correlations between raters "
        "are LKJ(2), and uncertain reliabilities have beta distributions. It was sampled by the no-U-turn sampler with "
        f"{count(sampler.chains)} chains of {count(draws)} draws after {count(tune)} of warm-up; a second sampler does "
        f"not check it. The largest R-hat is {number(rows['r_hat'].max(), 3)}, the smallest effective sample size "
        f"{count(smallest)}. {interval_sentence(rows)}"
    ).strip()
