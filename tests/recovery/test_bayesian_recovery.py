"""The Bayesian model recovers what it is given: 200 studies from its own generator.

The generator is the fitted model itself (no feedback, trend, dropout or measurement error). Low noise: 40 clients with
6 sessions each and effects of half a standard deviation. The bias over replications must lie within three Monte Carlo
standard errors of zero for both raters' coefficients and for D; the null case is the therapist's effect, which is zero.
"""

import numpy as np
import pandas as pd

from alliance_outcome.models.bayesian import BayesianMultilevelModel
from alliance_outcome.models.prior_values import Priors

REPLICATIONS = 200
TRUTH = {"client": -1.0, "therapist": 0.0}
N_THERAPISTS, CLIENTS_EACH, SESSIONS_EACH = 8, 5, 6


def simulate(generator):
    """Draw one study from the model: outcome, columns and groups; group structure is the same in all."""
    n_clients = N_THERAPISTS * CLIENTS_EACH
    client = np.repeat(np.arange(n_clients), SESSIONS_EACH)
    columns = pd.DataFrame({name: generator.normal(0, 1, len(client)) for name in TRUTH})
    columns -= columns.groupby(client).transform("mean")
    slope = generator.normal(TRUTH["client"], 0.3, n_clients)[client]
    outcome = (
        15
        + slope * columns["client"]
        + TRUTH["therapist"] * columns["therapist"]
        + generator.normal(0, 0.7, N_THERAPISTS)[client // CLIENTS_EACH]
        + generator.normal(0, 1.5, n_clients)[client]
        + generator.normal(0, 1.0, len(client))
    )
    return outcome, columns.assign(Intercept=1.0)[["Intercept", "client", "therapist"]], client


def test_recovers_coefficients_and_contrast():
    generator = np.random.default_rng(20261120)
    means = []
    for replication in range(REPLICATIONS):
        outcome, fixed, client = simulate(generator)
        model = BayesianMultilevelModel(
            outcome,
            fixed,
            groups={"therapist": client // CLIENTS_EACH, "client": client},
            random={"therapist": ["Intercept"], "client": ["Intercept", "client"]},
            priors=Priors(15, 10, 5, 5, 2, 5),
            scales={"client": 1.0, "therapist": 1.0},
        )
        tree = model.sample(sampler="collapsed", chains=2, draws=300, seed=replication)
        assert tree.attrs["sampler"] == "collapsed"
        coefficient = tree.posterior["coefficient"].mean(("chain", "draw"))
        means.append([float(coefficient.sel(term=name)) for name in TRUTH])
    estimates = pd.DataFrame(means, columns=list(TRUTH)).assign(
        difference=lambda frame: frame["client"] - frame["therapist"]
    )
    truth = pd.Series(TRUTH | {"difference": TRUTH["client"] - TRUTH["therapist"]})
    error = (estimates.mean() - truth) / (estimates.std() / np.sqrt(REPLICATIONS))
    assert (error.abs() < 3).all(), error.to_dict()
