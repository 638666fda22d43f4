"""What the engine refuses of the structures that the pipeline fits, and that its messages hold no label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.errors import AllianceOutcomeError
from alliance_outcome.models.design_checks import RankDeficientDesign, UnavailableInference, UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.nested_likelihood import NestedLikelihood


class Study:
    """Arguments of `MultilevelModel` for 6 therapists, 24 clients and 96 sessions, to be spoilt by a test."""

    def __init__(self) -> None:
        rng = np.random.default_rng(9)
        code = np.repeat(np.arange(24), 4)
        self.client = pd.Series([f"secret-client-{number}" for number in code])
        self.therapist = pd.Series([f"secret-therapist-{number // 4}" for number in code])
        self.fixed = pd.DataFrame(
            {"Intercept": 1.0, "alliance": rng.normal(size=96), "severity": rng.normal(size=96)}
        )
        self.outcome = pd.Series(self.fixed["alliance"] + rng.normal(size=96) + rng.normal(size=24)[code])
        self.slopes: tuple[str, ...] = ()

    def fit(self):
        labels = {"therapist": self.therapist, "client": self.client}
        groups = {level: values for level, values in labels.items() if values is not None}
        random = {level: ["Intercept", *(self.slopes if level == "client" else ())] for level in groups}
        return MultilevelModel(self.outcome, self.fixed, groups=groups, random=random).fit()


def missing_outcome(study: Study) -> None:
    study.outcome[3] = np.nan


def missing_predictor(study: Study) -> None:
    study.fixed.loc[[1, 2], "severity"] = [np.nan, np.inf]


def missing_client(study: Study) -> None:
    study.client[5] = None


def other_index(study: Study) -> None:
    study.outcome.index = study.outcome.index + 1


def other_client_index(study: Study) -> None:
    study.client.index = study.client.index[::-1]


def short_outcome(study: Study) -> None:
    study.outcome = study.outcome.to_numpy()[:-1]


def short_therapist(study: Study) -> None:
    study.therapist = study.therapist.tolist()[:-1]


def repeated_column(study: Study) -> None:
    study.fixed.columns = ["Intercept", "alliance", "alliance"]


def wrong_intercept(study: Study) -> None:
    study.fixed.loc[0, "Intercept"] = 2.0


def unknown_slope(study: Study) -> None:
    study.slopes = ("alliance", "mood")


def repeated_slope(study: Study) -> None:
    study.slopes = ("alliance", "alliance")


def client_of_two_therapists(study: Study) -> None:
    study.therapist[[0, 8]] = study.therapist[95]


def one_therapist(study: Study) -> None:
    study.therapist[:] = "secret-therapist-0"


def one_client(study: Study) -> None:
    study.client[:] = "secret-client-0"
    study.therapist = None


def one_client_per_therapist(study: Study) -> None:
    study.therapist = study.client


def slopes_without_sessions(study: Study) -> None:
    study.client, study.slopes = pd.Series(np.arange(96)), ("alliance",)


def too_few_rows(study: Study) -> None:
    study.outcome, study.fixed = study.outcome[:3], study.fixed[:3]
    study.client, study.therapist = study.client[:3], None


def too_many_random_effects(study: Study) -> None:
    for extra in ("a", "b", "c"):
        study.fixed[extra] = np.random.default_rng(ord(extra)).normal(size=96)
    study.therapist, study.slopes = None, ("alliance", "a", "b", "c")


def constant_outcome(study: Study) -> None:
    study.outcome[:] = 1e4


def exactly_reproduced_outcome(study: Study) -> None:
    study.outcome = 3.0 + 2.0 * study.fixed["alliance"] + pd.factorize(study.client)[0]


def exactly_reproduced_by_slopes(study: Study) -> None:
    code = pd.factorize(study.client)[0]
    study.outcome = study.fixed["severity"] + code + np.sin(code) * study.fixed["alliance"]
    study.slopes = ("alliance",)


REFUSALS = {
    missing_outcome: "the outcome has 1 missing or infinite",
    missing_predictor: "column severity has 2 missing or infinite",
    missing_client: "1 rows have no client label",
    other_index: "different indices",
    other_client_index: "the client labels and the fixed-effect columns have different indices",
    short_outcome: r"shape \(95,\)",
    short_therapist: "95 therapist labels for 96 rows",
    repeated_column: "same name",
    wrong_intercept: "must hold ones",
    unknown_slope: "not usable: mood",
    repeated_slope: "must be of different",
    client_of_two_therapists: "2 clients appear with more than one therapist",
    one_therapist: "only one therapist",
    one_client: "only one client",
    one_client_per_therapist: "every therapist has a single client",
    slopes_without_sessions: "several rows",
    too_few_rows: "3 rows cannot determine 3 fixed effects",
    too_many_random_effects: "5 random effects for each of 24 clients",
    constant_outcome: "does not vary",
    exactly_reproduced_outcome: "reproduced exactly",
    exactly_reproduced_by_slopes: "reproduced exactly",
}


@pytest.mark.parametrize(
    ("spoil", "message"), REFUSALS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_refusal(spoil: Callable[[Study], None], message: str) -> None:
    study = Study()
    study.fit()
    spoil(study)
    with pytest.raises(UnfittableModel, match=message) as refusal:
        study.fit()
    assert "secret" not in str(refusal.value)


def test_refusals_are_errors_of_the_package_and_value_errors() -> None:
    assert issubclass(RankDeficientDesign, UnfittableModel)
    for refusal in (UnfittableModel, UnavailableInference):
        assert issubclass(refusal, AllianceOutcomeError)
        assert issubclass(refusal, ValueError)


def test_messages_say_whether_the_model_or_an_inference_is_refused() -> None:
    study = Study()
    fit = MultilevelModel(
        study.outcome, study.fixed, groups={"client": study.client}, random={"client": ["Intercept"]}
    ).fit(reml=False)
    with pytest.raises(UnavailableInference) as no_inference:
        fit.contrast("alliance", "kenward-roger")
    assert str(no_inference.value) == f"this inference is not available: {no_inference.value.reason}"
    constant_outcome(study)
    with pytest.raises(UnfittableModel) as no_fit:
        study.fit()
    assert str(no_fit.value) == f"the multilevel model cannot be fitted: {no_fit.value.reason}"


def test_a_numerical_breakdown_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(NestedLikelihood, "maximise", break_down)
    with pytest.raises(UnfittableModel, match="no residual variance is left"):
        Study().fit()


@pytest.mark.parametrize(
    ("extra", "involved"),
    [
        ({"level": lambda f: 0.0 * f["alliance"] + 0.1}, ("Intercept", "level")),
        ({"sum": lambda f: f["alliance"] - 2.0 * f["severity"] + 7.0}, ("alliance", "severity", "sum")),
        ({"copy": lambda f: 1e6 + 1e-3 * f["severity"]}, ("severity", "copy")),
        (
            {"level": lambda f: 0.0 * f["alliance"] + 2.0, "copy": lambda f: -f["alliance"]},
            ("Intercept", "alliance", "level", "copy"),
        ),
    ],
)
def test_collinear_columns_are_named(extra: dict, involved: tuple[str, ...]) -> None:
    study = Study()
    study.fixed = study.fixed.assign(unrelated=np.random.default_rng(3).normal(size=96), **extra)
    with pytest.raises(RankDeficientDesign) as refusal:
        study.fit()
    assert refusal.value.columns == involved
    assert all(name in str(refusal.value) for name in involved)


def test_more_columns_than_independent_rows_is_rank_deficient() -> None:
    rng = np.random.default_rng(1)
    fixed = pd.DataFrame(rng.normal(size=(6, 4)), columns=list("abcd"))
    fixed.insert(0, "Intercept", 1.0)
    fixed.iloc[3:] = fixed.iloc[:3].to_numpy()
    with pytest.raises(RankDeficientDesign):
        MultilevelModel(rng.normal(size=6), fixed)


def test_a_year_is_not_collinear_with_the_intercept() -> None:
    study = Study()
    study.fixed["year"] = 2000.0 + np.random.default_rng(2).integers(0, 2, size=96) * 1e-2
    assert study.fit().converged
