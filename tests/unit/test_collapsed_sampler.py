"""The collapsed sampler: exact where the answer is known, and honest where it fails."""

from __future__ import annotations

import arviz_stats as azs
import numpy as np
import pytest
from scipy import integrate, stats
from test_collapsed_posterior import PRIORS, design, study

from alliance_outcome.models import collapsed_sampler
from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.collapsed_posterior import CollapsedPosterior, Evaluated
from alliance_outcome.models.collapsed_sampler import (
    CollapsedSamplerFailed,
    Proposal,
    sample_collapsed,
)


def model(table=None, **changes) -> BayesianMultilevelModel:
    """Set up the model of the small study."""
    table = study() if table is None else table
    return BayesianMultilevelModel(
        table["y"],
        table[["Intercept", "x", "z"]],
        groups={"therapist": table["therapist"], "client": table["client"]},
        random={"therapist": ["Intercept"], "client": ["Intercept", "x", "z"]},
        priors=PRIORS,
        **changes,
    )


class KnownPosterior(CollapsedPosterior):
    """A posterior of two deviations and a residual whose density is written down."""

    def __init__(self) -> None:
        super().__init__(design(study(), slopes=()), PRIORS)
        assert self.n_parameters == 3

    def start(self) -> np.ndarray:
        return np.array([0.5, 1.0, 1.0])

    def evaluate(self, values: np.ndarray, threads: int = 1) -> Evaluated:  # noqa: ARG002 - as overridden
        shape = np.abs(values)
        density = stats.gamma.logpdf(shape, [1.0, 3.0, 20.0], scale=[1.0, 0.5, 0.05]).sum(axis=1)
        return Evaluated(density, np.tile(np.eye(3), (len(values), 1, 1)), np.zeros((len(values), 3)))


def test_draws_have_the_distribution_of_the_density() -> None:
    found = sample_collapsed(KnownPosterior(), chains=4, draws=5_000, seed=1)
    for position, (shape, scale) in enumerate(((1.0, 1.0), (3.0, 0.5), (20.0, 0.05))):
        draws = found.values[:, :, position]
        known = stats.gamma(shape, scale=scale)
        error = azs.mcse(draws, method="mean")
        assert abs(draws.mean() - known.mean()) < 4.5 * error
        for probability in (0.05, 0.5, 0.95):
            quantile_error = azs.mcse(draws, method="quantile", prob=probability)
            assert abs(np.quantile(draws, probability) - known.ppf(probability)) < 4.5 * quantile_error
        assert float(azs.rhat(draws)) < 1.01


def test_folded_proposals_integrate_to_one() -> None:
    signs = np.array([[1.0], [-1.0]])
    proposal = Proposal(np.array([0.4]), np.array([[0.9]]), 5.0, signs)
    constant = stats.t.logpdf(0.0, 5.0) - np.log(0.9)
    mass, _ = integrate.quad(
        lambda value: np.exp(proposal.log_density(np.array([[value]]))[0] + constant), 0.0, np.inf
    )
    assert mass == pytest.approx(1.0, abs=1e-8)


def test_draws_depend_on_the_seed_alone() -> None:
    one, two, other = (
        model().sample(sampler="collapsed", draws=50, seed=seed, cores=cores).posterior
        for seed, cores in ((3, 1), (3, 2), (4, 1))
    )
    assert one.equals(two)
    assert not one.equals(other)


def test_rows_in_another_order_give_the_same_posterior() -> None:
    table = study()
    first = model(table).sample(sampler="collapsed", draws=2_000, seed=3).posterior
    turned = model(table.iloc[::-1].reset_index(drop=True)).sample(sampler="collapsed", draws=2_000, seed=3)
    coefficients = [each["coefficient"].mean(("chain", "draw")) for each in (first, turned.posterior)]
    spread = first["coefficient"].std(("chain", "draw"))
    assert float((abs(coefficients[0] - coefficients[1]) / spread).max()) < 0.1


def test_proposals_that_do_not_cover_the_posterior_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = collapsed_sampler._fitted

    def too_narrow(values: np.ndarray, weights: np.ndarray, signs: np.ndarray, df: float) -> Proposal:  # noqa: ARG001
        proposal = fitted(values, weights, signs, 50.0)
        return Proposal(proposal.centre, 0.3 * proposal.triangle, 50.0, signs)

    monkeypatch.setattr(collapsed_sampler, "_fitted", too_narrow)
    with pytest.raises(CollapsedSamplerFailed, match="Pareto shape"):
        sample_collapsed(KnownPosterior(), chains=4, draws=2_000, seed=1)


def test_an_impossible_posterior_is_refused() -> None:
    class Impossible(KnownPosterior):
        def evaluate(self, values: np.ndarray, threads: int = 1) -> Evaluated:  # noqa: ARG002 - as overridden
            nothing = np.full(len(values), -np.inf)
            return Evaluated(nothing, np.tile(np.eye(3), (len(values), 1, 1)), np.zeros((len(values), 3)))

    with pytest.raises(CollapsedSamplerFailed, match="cannot be evaluated"):
        sample_collapsed(Impossible(), chains=2, draws=10, seed=1)


def test_nutpie_takes_over_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapsed_sampler, "LARGEST_PARETO_K", -10.0)
    tree = model().sample(sampler="collapsed", chains=2, draws=50, tune=100, seed=1)
    assert tree.attrs["sampler"] == "nutpie"
    assert "Pareto shape" in tree.attrs["fallback"]


@pytest.mark.parametrize(("tails", "expected"), [(3.0, 6.0), (2_000.0, 40.0)])
def test_proposals_get_the_tails_of_the_posterior(tails: float, expected: float) -> None:
    rng = np.random.default_rng(4)
    values = 10.0 + stats.multivariate_t(shape=np.eye(2), df=tails).rvs(4_000, random_state=rng)
    density = stats.multivariate_t([10.0, 10.0], np.eye(2), df=tails).logpdf(values)
    evaluated = Evaluated(density, np.tile(np.eye(3), (len(values), 1, 1)), np.zeros((len(values), 3)))
    proposed = collapsed_sampler._Proposed(values, evaluated, np.zeros(len(values)))
    weights = np.full(len(values), 1.0 / len(values))
    assert collapsed_sampler._best_fitted(proposed, weights, np.ones((1, 2))).df == expected
