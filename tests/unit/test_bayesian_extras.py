"""What else draws say: dependence on priors, R² by draw, and the reporting guidelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_collapsed_posterior import PRIORS, study
from xarray import DataTree

from alliance_outcome.analyses.prior_sensitivity import (
    CONFLICT,
    NOT_SENSITIVE,
    WEAK_DATA,
    diagnosis,
    prior_sensitivity,
    sensitivity_check,
)
from alliance_outcome.analyses.reporting_checklist import reporting_checklist
from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.posterior_draws import group_log_likelihoods, log_priors
from alliance_outcome.models.posterior_r_squared import posterior_r_squared
from alliance_outcome.models.prior_values import Priors

LEVELS = {"therapist": ["Intercept"], "client": ["Intercept", "x"]}


def model(priors: Priors) -> BayesianMultilevelModel:
    table = study(n_clients=60)
    return BayesianMultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={level: table[level] for level in LEVELS},
        random=LEVELS,
        priors=priors,
    )


def drawn(priors: Priors) -> tuple[BayesianMultilevelModel, DataTree]:
    """Return a model and its draws with what sensitivity asks for."""
    found = model(priors)
    posterior = found.sample(sampler="collapsed", draws=2_000, seed=1).posterior.to_dataset()
    _, by_cluster = group_log_likelihoods(found.parameters(posterior), found.data)
    likelihood = (("chain", "draw"), by_cluster.sum(axis=1).reshape(4, -1))
    tree = DataTree.from_dict(
        {
            "posterior": posterior,
            "log_prior": log_priors(posterior, found.design, priors),
            "log_likelihood": posterior[[]].assign(outcome=likelihood),
        }
    )
    return found, tree


def effects(tree: DataTree) -> dict[str, np.ndarray]:
    return {f"D {name}": tree.posterior["effect"].sel(predictor=name).to_numpy() for name in ("x", "z")}


def test_weak_priors_do_not_matter_and_a_wrong_strong_one_does() -> None:
    _, weak = drawn(Priors(11, 10, 5, 5, 2, 5))
    table = prior_sensitivity(effects(weak), weak, "weak")
    assert set(table["diagnosis"]) == {NOT_SENSITIVE}
    assert sensitivity_check(table)["passed"] is True
    # The data put the effect of x at 0.7; this prior at -2, as surely as the data.
    from alliance_outcome.models.prior_values import EffectPrior

    strong = Priors(11, 10, 5, 5, 2, 5, effects={"x": EffectPrior(-2.0, 0.1)})
    _, pulled = drawn(strong)
    table = prior_sensitivity(effects(pulled), pulled, "strong").set_index("quantity")
    assert table.loc["D x", "diagnosis"] == CONFLICT
    assert table.loc["D z", "diagnosis"] == NOT_SENSITIVE
    assert sensitivity_check(table.reset_index())["passed"] is False


def test_power_scaling_is_that_of_a_normal_posterior() -> None:
    # Normal prior and likelihood of one mean: scaling the prior's power moves the posterior in closed form, and ArviZ's
    # measure is near twice the derivative of the distance by the logarithm of the power.
    rng = np.random.default_rng(1)
    draws = rng.normal(0.5, np.sqrt(0.5), (4, 5_000))

    def tree(prior_mean: float) -> DataTree:
        both = ("chain", "draw")
        empty = DataTree.from_dict({}).to_dataset()
        return DataTree.from_dict(
            {
                "log_prior": empty.assign(mean=(both, -0.5 * (draws - prior_mean) ** 2)),
                "log_likelihood": empty.assign(outcome=(both, -0.5 * (draws - 1.0 + prior_mean) ** 2)),
            }
        )

    far = prior_sensitivity({"D mean": draws}, tree(-3.0), "far").loc[0, "prior"]
    near = prior_sensitivity({"D mean": draws}, tree(0.5), "near").loc[0, "prior"]
    assert far > 3.0 * near


@pytest.mark.parametrize(
    ("prior", "likelihood", "words"),
    [(0.01, 0.2, NOT_SENSITIVE), (0.2, 0.2, CONFLICT), (0.2, 0.01, WEAK_DATA)],
)
def test_sensitivities_have_a_meaning(prior: float, likelihood: float, words: str) -> None:
    assert diagnosis(prior, likelihood) == words


def test_priors_of_draws_are_those_of_the_density() -> None:
    from scipy import stats

    found = model(PRIORS)
    posterior = found.sample(sampler="collapsed", draws=20, seed=1).posterior.to_dataset()
    ours = log_priors(posterior, found.design, PRIORS)
    normal = stats.norm.logpdf(posterior["effect"], [-0.4, 0.0], [0.6, PRIORS.effect_sd]).sum(axis=-1)
    normal += stats.norm.logpdf(posterior["centred_intercept"], PRIORS.intercept_mean, PRIORS.intercept_sd)
    assert np.ptp(ours["fixed_effects"].to_numpy() - normal) < 1e-10
    sds = posterior["client_sd"].to_numpy() * found.design.effect_scales["client"]
    spread = stats.halfnorm.logpdf(sds, scale=[PRIORS.group_sd, PRIORS.slope_sd]).sum(axis=-1)
    assert np.ptp(ours["client_sd"].to_numpy() - spread) < 1e-10
    rho = posterior["client_correlation"].to_numpy()[..., 0, 1]
    lkj = (PRIORS.lkj_eta - 1.0) * np.log1p(-(rho**2))
    assert ours["client_correlation"].to_numpy() == pytest.approx(lkj, abs=1e-12)


def test_r_squared_of_a_draw_is_that_of_a_model_with_its_parameters() -> None:
    table, found = study(n_clients=60), model(PRIORS)
    posterior = found.sample(sampler="collapsed", draws=30, seed=1).posterior.to_dataset()
    shares = posterior_r_squared(posterior, found.design)
    fitted = MultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={level: table[level] for level in LEVELS},
        random=LEVELS,
    ).fit()
    known = fitted.r_squared().measures().set_index("measure")["value"]
    measures = list(shares["measure"].to_numpy())
    assert {"R2_t(f)", "R2_t(fvm)", "R2_1(f1)"} <= set(measures)
    # Posterior means are near what restricted maximum likelihood says of the same data.
    mean = shares["r_squared"].mean(("chain", "draw"))
    for measure in ("R2_t(f)", "R2_t(fvm)"):
        spread = float(shares["r_squared"].sel(measure=measure).std())
        assert float(mean.sel(measure=measure)) == pytest.approx(known[measure], abs=1.5 * spread)
    assert float(shares["r_squared"].max()) <= 1.0
    total = shares["r_squared"].sel(measure=["R2_t(f1)", "R2_t(f2)", "R2_t(f3)"]).sum("measure")
    assert total.to_numpy() == pytest.approx(shares["r_squared"].sel(measure="R2_t(f)").to_numpy(), abs=1e-12)


def test_the_checklist_marks_what_is_not_met() -> None:
    checks = [
        {"name": "r_hat", "passed": False, "value": 1.2, "text": "largest R-hat 1.200"},
        {"name": "ess_bulk", "passed": True, "value": 20_000.0, "text": ""},
        {"name": "ess_tail", "passed": True, "value": 900.0, "text": ""},
        {"name": "cross_check", "passed": None, "value": None, "text": "nutpie only"},
    ]
    predictive = pd.DataFrame(
        {"check": ["prior", "posterior"], "text": ["mean outcome", "5th percentile"], "p_value": [0.5, 0.999]}
    )
    sensitivity = pd.DataFrame(
        [("m", "D within_client", 0.2, 0.3, CONFLICT)],
        columns=["model", "quantity", "prior", "likelihood", "diagnosis"],
    )
    found = reporting_checklist("m", checks, predictive, sensitivity, None).set_index("item")
    unmet = set(found.index[~found["met"].astype(bool)])
    assert unmet == {
        "chains have converged",
        "effective draws for stable limits (10,000)",
        "independent check of the sampler",
        "the model predicts what was observed",
        "Bayes factors",
        "region of practical equivalence, and why",
        "contrasts do not depend on the priors",
        "other priors tried",
    }
    assert "5th percentile" in found.loc["the model predicts what was observed", "evidence"]
