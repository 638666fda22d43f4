"""Which small-sample method a fit gets, and that its parts belong together."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models import degrees_of_freedom
from alliance_outcome.models.degrees_of_freedom import small_sample_inference
from alliance_outcome.models.multilevel import MultilevelModel


def model(**changes):
    """Return a small model of clients, one after the other measured six times."""
    rng = np.random.default_rng(6)
    client = np.repeat(np.arange(20), 6)
    data = pd.DataFrame({"client": client, "time": np.tile(np.arange(6.0), 20), "Intercept": 1.0})
    data["alliance"] = rng.normal(size=120)
    data["outcome"] = data["alliance"] + rng.normal(size=20)[client] + rng.normal(size=120)
    data["before"] = data.groupby("client")["outcome"].shift()
    data = data.dropna()
    terms = ["Intercept", "alliance", *(["before"] if "lagged_outcome" in changes else [])]
    settings = {"time": data["time"]} if changes else {}
    return MultilevelModel(
        data["outcome"],
        data[terms],
        groups={"client": data["client"]},
        random={"client": ["Intercept"]},
        **settings,
        **changes,
    )


def test_kenward_roger_where_it_is_derived():
    inference = small_sample_inference(model().fit())
    assert (inference.method, inference.df_method, inference.se_kind) == (
        "kenward-roger",
        "kenward_roger",
        "kenward_roger",
    )


@pytest.mark.parametrize(
    ("changes", "reml", "se_kind"),
    [
        ({}, False, "model"),
        ({"residual": "ar1"}, True, "model"),
        ({"lagged_outcome": "before"}, True, "observed"),
    ],
)
def test_satterthwaite_elsewhere(changes, reml, se_kind):
    inference = small_sample_inference(model(**changes).fit(reml=reml))
    assert (inference.method, inference.se_kind) == ("satterthwaite", se_kind)


def test_satterthwaite_in_large_data(monkeypatch):
    assert degrees_of_freedom.MOST_ROWS_FOR_KENWARD_ROGER == 50_000
    fit = model().fit()
    monkeypatch.setattr(degrees_of_freedom, "MOST_ROWS_FOR_KENWARD_ROGER", fit.n_rows - 1)
    assert small_sample_inference(fit).method == "satterthwaite"
    monkeypatch.setattr(degrees_of_freedom, "MOST_ROWS_FOR_KENWARD_ROGER", fit.n_rows)
    assert small_sample_inference(fit).method == "kenward-roger"


@pytest.mark.parametrize("changes", [{}, {"residual": "ar1"}, {"lagged_outcome": "before"}])
def test_the_covariance_matrix_is_that_of_the_standard_errors(changes):
    inference = small_sample_inference(model(**changes).fit())
    covariance = inference.cov_params()
    for term in covariance:
        assert inference.contrast(term).std_error == pytest.approx(np.sqrt(covariance.loc[term, term]))
