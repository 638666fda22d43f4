"""Both samplers against brms (Stan): the same models, data and priors, within Monte Carlo error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.diagnostics import summarise
from alliance_outcome.models.prior_values import Priors

FOLDER = Path(__file__).parent / "bayesian"

#: Two numbers agree when they differ by no more than so many standard errors of their difference.
AGREEMENT = 4.5

#: What is compared, our name for it and its error, and brms's error.
NUMBERS = {
    "mean": ("estimate", "mcse_mean", "mcse_mean"),
    "sd": ("std_error", "mcse_sd", "mcse_sd"),
    "q05": ("ci_low", "mcse_ci_low", "mcse_q05"),
    "q95": ("ci_high", "mcse_ci_high", "mcse_q95"),
}


def reference(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def model(name: str) -> BayesianMultilevelModel:
    """Set up the model that brms fitted."""
    known = reference(name)
    table = pd.read_csv(FOLDER / known["data"])
    autocorrelated = known["residual"] != "independent"
    groups = [level for level in ("therapist", "client") if level in known["groups"]]
    random = {level: ["Intercept"] for level in groups}
    if "client" in random:
        random["client"] += known["slopes"]
    return BayesianMultilevelModel(
        table[known["outcome"]],
        table[known["fixed"]].assign(Intercept=1.0)[["Intercept", *known["fixed"]]],
        groups={level: table[level] for level in groups},
        random=random,
        priors=Priors(**known["priors"]),
        scales=known["scales"],
        residual="ar1" if autocorrelated else "independent",
        time=table["session"] if autocorrelated else None,
    )


def quantities(found: BayesianMultilevelModel, posterior) -> dict[str, np.ndarray]:
    """Name draws as the reference does: per scale of a predictor, the intercept at average predictors."""
    names = {"intercept": posterior["centred_intercept"], "residual_sd": posterior["residual_sd"]}
    for term in posterior["predictor"].to_numpy():
        names[f"effect {term}"] = posterior["effect"].sel(predictor=term)
    for effects in found.design.levels:
        level = effects.level
        for position, term in enumerate(effects.terms):
            scale = found.design.effect_scales[level][position]
            names[f"{level}_sd {term}"] = scale * posterior[f"{level}_sd"].isel({f"{level}_term": position})
            for other in range(position):
                pair = {f"{level}_term": position, f"{level}_term_b": other}
                names[f"{level}_correlation {effects.terms[other]} {term}"] = posterior[
                    f"{level}_correlation"
                ].isel(pair)
    if "autocorrelation" in posterior:
        names["autocorrelation"] = posterior["autocorrelation"]
    return {name: draws.to_numpy() for name, draws in names.items()}


def label(row: dict) -> str:
    return " ".join(str(row[part]) for part in ("quantity", "term", "term_b") if row[part] is not None)


@pytest.mark.parametrize(
    ("name", "sampler", "draws"),
    [
        ("three_level", "collapsed", 8_000),
        ("early", "collapsed", 20_000),
        ("early", "nutpie", 4_000),
        ("autoregressive", "collapsed", 4_000),
    ],
)
def test_posteriors_agree_with_brms(name: str, sampler: str, draws: int) -> None:
    found = model(name)
    tree = found.sample(sampler=sampler, chains=4, draws=draws, tune=1_000, seed=11, cores=2)
    assert tree.attrs["sampler"] == sampler
    ours = quantities(found, tree.posterior)
    first, second = found.design.terms[1:3]
    ours[f"contrast {first} {second}"] = ours[f"effect {first}"] - ours[f"effect {second}"]
    sigma = ours["residual_sd"]
    ours["innovation_sd"] = sigma * np.sqrt(1.0 - ours.get("autocorrelation", np.zeros_like(sigma)) ** 2)
    ours["intercept Intercept"] = ours["intercept"]
    distances = {}
    for row in reference(name)["posterior"]:
        summary = summarise(ours[label(row)], 0.9)
        for number, (own, own_error, error) in NUMBERS.items():
            allowed = np.hypot(summary[own_error], row[error])
            distances[f"{label(row)} {number}"] = abs(summary[own] - row[number]) / allowed
    assert len(distances) == 4 * len(reference(name)["posterior"])
    worst = max(distances, key=distances.__getitem__)
    assert distances[worst] < AGREEMENT, (worst, distances[worst])
    # Standard errors are small enough to see a difference of a tenth of a posterior standard deviation.
    for row in reference(name)["posterior"]:
        assert row["mcse_mean"] < 0.025 * row["sd"]
