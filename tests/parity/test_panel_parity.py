"""Panel models beside lavaan: estimates, standard errors, fit; stored with the script that made them."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from alliance_outcome.models.panel import CrossLaggedModel, DynamicPanelModel

FOLDER = Path(__file__).parent / "panel"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
RATERS = {"client": "alliance_client", "therapist": "alliance_therapist"}
WAVES = {"complete": 5, "random": 6, "dropout": 6}
AFTER = {"order": {"client": "after", "therapist": "after"}}
#: Variance of measurement error as a share of the manifest variance within clients is what the model takes; lavaan's
#: script has the variance itself.
KNOWN_ERROR = {"alliance_client": 0.15, "alliance_therapist": 0.25}

SETTINGS = {
    "complete_varying": {"paths": "varying"},
    "complete_after": AFTER,
    "complete_slopes": {"random_slopes": True},
    "random_invariant": {},
    "random_lags": {"lags": 2},
    "random_error": {"reliability": KNOWN_ERROR},
    "random_robust": {"clusters": "therapist"},
    "dropout_slopes": {"random_slopes": True},
    "dropout_plain": {},
}
NAMES = [name for name in EXPECTED if name != "versions"]


@pytest.fixture(scope="module")
def fitted():
    """Return a function that fits the model of a case, once."""
    found = {}

    def fit(name):
        if name not in found:
            found[name] = _fit(name)
        return found[name]

    return fit


def _fit(name):
    data = name.split("_")[0]
    sessions = pd.read_csv(FOLDER / f"{data}.csv")
    if name.endswith("dynamic"):
        return DynamicPanelModel(sessions, "severity", RATERS, WAVES[data]).fit()
    settings = dict(SETTINGS[name])
    if "reliability" in settings:
        spreads = CrossLaggedModel(sessions, "severity", RATERS, WAVES[data])._within_sd()
        settings["reliability"] = {
            column: 1.0 - variance / spreads[column] ** 2 for column, variance in KNOWN_ERROR.items()
        }
    # lavaan's search knows no boundary.
    return CrossLaggedModel(sessions, "severity", RATERS, WAVES[data], proper=False, **settings).fit()


SHORT = {"y": "severity", "c": "alliance_client", "t": "alliance_therapist"}


def path_label(label):
    """Translate the name of a path."""
    effect, cause, lag, wave = re.fullmatch(r"([yct])([yct])(\d)(\d*)", label).groups()
    name = f"{SHORT[effect]} ~ {SHORT[cause]}" + (f"[-{lag}]" if lag != "0" else "")
    return f"{name} in {wave}" if wave else name


def term_name(term, *, dynamic):
    """Translate one side of a (co)variance."""
    if term == "alpha":
        return "stable"
    stem, wave = re.fullmatch(r"(.*?)(\d*)", term).groups()
    if dynamic:
        residual = "residual " if stem == "severity" and wave != "1" else ""
        return f"{residual}{stem}[{wave}]"
    kind = {"I": "intercept", "S": "slope", "w": "first" if wave == "1" else "residual"}[stem[0]]
    return f"{kind} {stem[2:]}"


def variance_labels(row, *, dynamic):
    """Translate the name of a (co)variance, in both orders."""
    names = [term_name(row[side], dynamic=dynamic) for side in ("lhs", "rhs")]
    wave = re.search(r"(\d*)$", row["lhs"]).group(1)
    place = f" in {wave}" if not dynamic and row["lhs"].startswith("w_") and wave != "1" else ""
    if names[0] == names[1]:
        return [f"var({names[0]}){place}"]
    return [f"cov({first}, {second}){place}" for first, second in (names, names[::-1])]


@pytest.mark.parametrize("name", NAMES)
def test_likelihood_and_fit_are_lavaans(fitted, name):
    result, measures = fitted(name), EXPECTED[name]["measures"]
    assert result.converged
    assert result.llf == pytest.approx(measures["logl"], rel=1e-6)
    # lavaan's search ends where the likelihood is flat to 1e-10: ours must not end below it.
    assert result.llf > measures["logl"] - 1e-6
    assert result.n_parameters == measures["npar"]
    fit = result.fit_indices()
    assert fit["df"] == measures["df"]
    assert fit["chi_square"] == pytest.approx(measures["chisq"], abs=2e-4)
    assert result.moments.value == pytest.approx(measures["unrestricted.logl"], rel=1e-8)
    for own, theirs in (("cfi", "cfi"), ("tli", "tli"), ("srmr", "srmr")):
        assert fit[own] == pytest.approx(measures[theirs], abs=1e-5)
    for own, theirs in (
        ("rmsea", "rmsea"),
        ("rmsea_low", "rmsea.ci.lower"),
        ("rmsea_high", "rmsea.ci.upper"),
    ):
        assert fit[own] == pytest.approx(measures[theirs], abs=1e-5)
    for criterion in ("aic", "bic"):
        assert fit[criterion] == pytest.approx(measures[criterion], rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_paths_and_their_standard_errors_are_lavaans(fitted, name):
    result, rows = fitted(name), EXPECTED[name]["paths"]
    assert len(rows) >= 3
    covariance = result.cov_params()
    for row in rows:
        label = path_label(row["label"])
        error = covariance.loc[label, label] ** 0.5
        assert result.params[label] == pytest.approx(row["est"], abs=1e-4 * max(1.0, row["se"] * 10.0))
        assert error == pytest.approx(row["se"], rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_variances_and_their_standard_errors_are_lavaans(fitted, name):
    result, dynamic = fitted(name), name.endswith("dynamic")
    covariance = result.cov_params()
    compared = 0
    for row in EXPECTED[name]["variances"]:
        label = next(each for each in variance_labels(row, dynamic=dynamic) if each in result.params)
        error = covariance.loc[label, label] ** 0.5
        assert result.params[label] == pytest.approx(row["est"], rel=1e-4, abs=2e-3 * row["se"])
        assert error == pytest.approx(row["se"], rel=1e-3)
        compared += 1
    assert compared == sum("var(" in label or "cov(" in label for label in result.params.index)


def test_what_is_improper_is_said(fitted):
    # lavaan warns of the same two.
    assert fitted("complete_slopes").improper or fitted("dropout_slopes").improper
