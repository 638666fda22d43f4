"""Explained variance and its shares by rater, against the engine's own analysis and whole refits of samples."""

from dataclasses import replace

import numpy as np
import pytest
import study_example
from test_bootstrap_contrasts import fitted, refitted_from_scratch
from test_multilevel_tables import assert_same_numbers, relabelled

from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.estimates import ESTIMATE_COLUMNS, estimates_frame
from alliance_outcome.analyses.explained import explained_rows, measured
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.resampling import Resampling, resample_models
from alliance_outcome.models.dominance import DominanceAnalysis
from alliance_outcome.models.level_covariances import LevelMoments
from alliance_outcome.models.multilevel_result import MultilevelResult

RATERS = ("client", "therapist")
#: Levels of the engine in the words of the study, by model.
LEVELS = {
    "hybrid_three_level": {
        "row": "within_client",
        "client": "between_client",
        "therapist": "between_therapist",
    },
    "hybrid_two_level": {"row": "within_client", "client": "between_client_pooled"},
    "early_three_level": {"client": "between_client", "therapist": "between_therapist"},
    "early_two_level": {},
}


@pytest.fixture(scope="module")
def explained(hybrid_resampled, early_resampled, resampling):
    """Take the variance of all joint models apart."""
    context = study_example.context()
    return estimates_frame(
        row
        for resampled, analysis in ((hybrid_resampled, "multilevel"), (early_resampled, "early"))
        for row in explained_rows(resampled, resampling, StudyAnalysis(context, analysis, 10))
    )


def value(table, model, term, level=None):
    """Return one row."""
    same = (table["model"] == model) & (table["term"] == term)
    return table[same & (table["level"].isna() if level is None else table["level"] == level)].squeeze()


def by_rater(model):
    """Group the alliance terms of a model by rater."""
    groups = {rater: [] for rater in RATERS}
    for term, (rater, _) in model.specification.alliance_terms().items():
        groups[rater].append(term)
    return groups


@pytest.mark.parametrize("name", LEVELS)
def test_measures_are_the_engines_own(explained, hybrid_resampled, early_resampled, name):
    fit = fitted([*hybrid_resampled, *early_resampled], f"{name}.joint").model.fit
    measures = fit.r_squared().measures()
    found = explained[(explained["model"] == name) & explained["term"].str.startswith("r2_")]
    for measure, level, expected in zip(
        measures["measure"], measures["level"], measures["value"], strict=True
    ):
        own = found[found["term"] == measure.lower()]
        if own.empty:
            # Slopes at levels at which their columns do not vary: a part of zero, or a sum that is its other part.
            assert "v" in measure
            continue
        assert own["estimate"].item() == pytest.approx(expected, rel=1e-9, abs=1e-15)
        assert own["level"].fillna("total").item() == LEVELS[name].get(level, "total")
    assert {"r2_t(v22)", "r2_t(v32)", "r2_2(v)", "r2_b(v)"}.isdisjoint(found["term"])


@pytest.mark.parametrize("name", LEVELS)
def test_shares_of_raters_are_the_engines_dominance_analysis(
    explained, hybrid_resampled, early_resampled, name
):
    model = fitted([*hybrid_resampled, *early_resampled], f"{name}.joint").model
    analysis: DominanceAnalysis = model.fit.dominance(by_rater(model))
    for each in analysis.commonality.itertuples():
        level = LEVELS[name].get(each.measure)
        kind = "unique" if each.n_groups == 1 else "common"
        term = f"{kind}({each.groups.replace(' & ', ', ')})"
        assert value(explained, name, term, level)["estimate"] == pytest.approx(
            each.coefficient, rel=1e-6, abs=1e-10
        )
    for each in analysis.importance.itertuples():
        found = value(explained, name, f"general({each.group})", LEVELS[name].get(each.measure))
        assert found["estimate"] == pytest.approx(each.general, rel=1e-6, abs=1e-10)
        assert found["rater"] == each.group


def test_shares_add_up_to_what_the_raters_explain_together(explained, hybrid_resampled):
    fit: MultilevelResult = fitted(hybrid_resampled, "hybrid_three_level.joint").model.fit
    model = fitted(hybrid_resampled, "hybrid_three_level.joint").model
    columns = fit.design.columns
    kept = [at for at, term in enumerate(columns.terms) if not term.startswith("alliance_")]
    without = fit.refitted(
        replace(columns, fixed=columns.fixed[:, kept], terms=tuple(columns.terms[at] for at in kept))
    )
    together = fit.r_squared().marginal - without.r_squared().marginal
    parts = [f"unique({rater})" for rater in RATERS] + ["common(client, therapist)"]
    name = model.specification.model
    assert sum(value(explained, name, term)["estimate"] for term in parts) == pytest.approx(
        together, rel=1e-6
    )
    general = [value(explained, name, f"general({rater})")["estimate"] for rater in RATERS]
    assert sum(general) == pytest.approx(together, rel=1e-6)


def test_replicates_are_whole_analyses_of_samples_of_therapists(hybrid_resampled):
    resampled = fitted(hybrid_resampled, "hybrid_three_level.joint")
    number = int(np.flatnonzero(resampled.usable)[3])
    _, again = refitted_from_scratch(resampled, number)
    fit = resampled.model.fit
    moments = LevelMoments.of(fit.levelled_design, fit.design.cluster_level.codes)
    measures = measured(fit, resampled.bootstrap, moments)
    expected = again.r_squared().r_squared()
    assert len(measures) == len(expected)
    for measure, share in expected.items():
        # Optima agree to 1e-5 standard errors; a share of variance moves by far less.
        assert measures[measure][1][number] == pytest.approx(share, abs=1e-5)


def test_rows_keep_the_contract(explained):
    assert list(explained.columns) == list(ESTIMATE_COLUMNS)
    assert explained["row_id"].is_unique
    assert set(explained["analysis"]) == {"explained"}
    assert set(explained["role"]) == {"secondary"}
    assert set(explained["estimand"]) == {"unique"}
    assert set(explained["scale"]) == {"total"}
    assert set(explained["quantity_kind"]) == {"bootstrap"}
    ok = explained[explained["status"] == "ok"]
    assert set(ok["ci_kind"]) == {"percentile"}
    numbers = [
        "estimate",
        "std_error",
        "ci_low",
        "ci_high",
        "n_draws",
        "mcse_sd",
        "mcse_ci_low",
        "mcse_ci_high",
    ]
    assert ok[numbers].notna().all().all()
    assert (ok["ci_low"] <= ok["ci_high"]).all()
    assert ok["unit"].str.startswith("share of ").all()


def test_explained_rows_do_not_depend_on_row_order_or_labels(explained, resampling):
    context = study_example.context()
    models = [
        model
        for model in fit_hybrid_models(relabelled(study_example.hybrid_rows()), context)
        if model.specification.model == "hybrid_three_level"
    ]
    resampled = resample_models(models, resampling)
    again = estimates_frame(explained_rows(resampled, resampling, StudyAnalysis(context, "multilevel", 10)))
    reference = explained[explained["model"] == "hybrid_three_level"].reset_index(drop=True)
    assert_same_numbers(again, reference)


def test_few_therapists_say_nothing_of_the_therapist_level(hybrid_resampled, resampling):
    resampled = [fitted(hybrid_resampled, "hybrid_three_level.joint")]
    table = estimates_frame(
        explained_rows(resampled, resampling, StudyAnalysis(study_example.context(), "multilevel", 13))
    )
    between = table["level"] == "between_therapist"
    assert set(table.loc[between, "status"]) == {"not_established"}
    assert set(table.loc[~between, "status"]) == {"ok"}


def test_one_rater_has_measures_and_no_shares():
    context = study_example.context(raters=("client",))
    rows = study_example.hybrid_rows().drop(columns="alliance_therapist")
    models = [m for m in fit_hybrid_models(rows, context) if m.specification.model == "hybrid_two_level"]
    resampling = Resampling(10, seed=1)
    table = estimates_frame(
        explained_rows(
            resample_models(models, resampling), resampling, StudyAnalysis(context, "multilevel", 10)
        )
    )
    assert table["term"].str.startswith("r2_").all()
    assert set(table["estimand"]) == {"total"}


def test_three_raters_have_every_common_part():
    context = study_example.context(raters=("client", "therapist", "observer"))
    rows = study_example.hybrid_rows()
    generator = np.random.default_rng(3)
    rows["alliance_observer"] = rows["alliance_client"] + generator.normal(0, 1, len(rows))
    models = [
        model
        for model in fit_hybrid_models(rows, context)
        if model.specification.name == "hybrid_two_level.joint"
    ]
    resampling = Resampling(4, seed=1)
    table = estimates_frame(
        explained_rows(
            resample_models(models, resampling), resampling, StudyAnalysis(context, "multilevel", 10)
        )
    )
    shared = table.loc[table["level"].isna() & ~table["term"].str.startswith("r2_"), "term"]
    assert set(shared) == {
        *(f"{kind}({rater})" for kind in ("unique", "general") for rater in context.raters),
        *("common(client, therapist)", "common(client, observer)", "common(therapist, observer)"),
        "common(client, therapist, observer)",
    }


def test_too_few_usable_samples_leave_estimates_without_intervals(hybrid_resampled, resampling, monkeypatch):
    resampled = fitted(hybrid_resampled, "hybrid_two_level.joint")
    monkeypatch.setattr(resampled.bootstrap.converged, "to_numpy", lambda: np.arange(60) >= 30)
    table = estimates_frame(
        explained_rows([resampled], resampling, StudyAnalysis(study_example.context(), "multilevel", 10))
    )
    assert set(table["status"]) == {"not_established"}
    assert table["estimate"].notna().all()
    assert table["ci_low"].isna().all()
    assert table["reason"].str.contains("only 30 of 60 samples of clients").all()
