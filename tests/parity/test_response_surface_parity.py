"""Response surfaces against lavaan, lm and lme4 on stored data; see response_surface/reference.R.

R's package RSA is not installable where the reference values were computed (no CRAN there). It hands lavaan a
polynomial with defined parameters; the reference does the same with RSA's published definitions. What the package adds
is not compared: its constrained models and its bootstrap.

Tolerances and conventions:

- estimates of least squares, 1e-6 of the value or of its standard error, whichever is more: where a difference of
  coefficients is nearly zero, 1e-8 of each, at which lavaan's search stops, is more than 1e-6 of the difference;
- standard errors, 1e-5 relative for lavaan, whose covariance matrix is that of full maximum likelihood: the residual
  variance divides by the rows, so that it is compared with a fit by full likelihood, not by REML. Those of ``lm``,
  which divide by rows minus terms, are REML's, and so are its estimates, to 1e-9;
- lme4's restricted likelihood fits, 1e-6 for both.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.response_surface import ResponseSurface

FOLDER = Path(__file__).parent / "response_surface"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
LEAST_SQUARES = ("flat", "ridge")


def quantities(name, reml, groups=(), random=None):
    """Return every quantity of a surface that is fitted to stored data."""
    table = pd.read_csv(FOLDER / f"{name}.csv")
    table = table.assign(xx=table["x"] ** 2, xy=table["x"] * table["y"], yy=table["y"] ** 2)
    model = MultilevelModel.from_formula("z ~ x + y + xx + xy + yy", table, groups=groups, random=random)
    result = model.fit(reml=reml)
    terms = ["x", "y", "xx", "xy", "yy"]
    surface = ResponseSurface.from_covariance(result.params[terms], result.cov_params().loc[terms, terms])
    first, second = surface.principal_axis("first"), surface.principal_axis("second")
    x0, y0 = surface.stationary_point()
    return {
        **{f"b{number}": surface.coefficient(f"b{number}") for number in range(1, 6)},
        **{f"a{number}": surface.line(f"a{number}") for number in range(1, 6)},
        "p10": first.intercept,
        "p11": first.slope,
        "p20": second.intercept,
        "p21": second.slope,
        "x0": x0,
        "y0": y0,
        "shift": surface.lateral_shift(),
    }


def assert_agree(found, expected, estimate, std_error):
    assert set(found) == set(expected["estimate"])
    for name, tested in found.items():
        error = expected["std_error"][name]
        close = pytest.approx(expected["estimate"][name], rel=estimate, abs=estimate * error)
        assert tested.estimate == close, name
        assert tested.std_error == pytest.approx(error, rel=std_error), name


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_full_likelihood_is_lavaan(name):
    assert_agree(quantities(name, reml=False), EXPECTED["lavaan"][name], 1e-6, 1e-5)


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_restricted_likelihood_is_least_squares(name):
    assert_agree(quantities(name, reml=True), EXPECTED["lm"][name], 1e-9, 1e-9)


def test_the_two_differ_by_the_divisor_of_the_residual_variance():
    full, restricted = quantities("flat", reml=False), quantities("flat", reml=True)
    rows, terms = 250, 6
    for name, tested in full.items():
        scaled = restricted[name].std_error * ((rows - terms) / rows) ** 0.5
        assert tested.std_error == pytest.approx(scaled, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "random"),
    [("intercepts", {"therapist": "1", "client": "1"}), ("slopes", {"therapist": "1", "client": "1 + x"})],
)
def test_nested_surfaces_are_those_of_lme4(name, random):
    found = quantities("nested", reml=True, groups=["therapist", "client"], random=random)
    assert_agree(found, EXPECTED["lme4"][name], 1e-6, 1e-6)
