"""Contrasts from the bootstrap of clusters against whole refits of samples written out."""

import numpy as np
import pandas as pd
import pytest
import study_example
from test_levels import draw_again
from test_multilevel_tables import assert_same_numbers, relabelled

from alliance_outcome.analyses import bootstrap_contrasts as analysis
from alliance_outcome.analyses.bootstrap_contrasts import bootstrap_checks, bootstrap_contrasts
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel import FittedModel
from alliance_outcome.analyses.resampling import Resampling, require_same_draws, resample_models
from alliance_outcome.design.levels import level_sd, split_levels
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.replicate_summary import summarise_replicates

RATERS = ("client", "therapist")
MEASURES = [f"alliance_{rater}" for rater in RATERS]


def fitted(resampled, name):
    """Return one resampled model."""
    return next(each for each in resampled if each.model.specification.name == name)


def row(table, model, estimand, level, term):
    """Return one contrast."""
    same = (table["model"] == model) & (table["estimand"] == estimand) & (table["level"] == level)
    return table[same & (table["term"] == term)].squeeze()


def refitted_from_scratch(resampled, number):
    """Write a sample of clusters out, split it into levels again, and fit the model to it."""
    model, fit = resampled.model, resampled.model.fit
    labels = fit.design.cluster_labels
    draws = dict(zip(labels, resampled.bootstrap.draws[number], strict=True))
    kept = [name for name in model.rows if "_within_" not in name and "_between_" not in name]
    rows = draw_again(model.rows[kept], resampled.cluster, draws)
    rows = split_levels(rows, MEASURES)
    levels = [grouping.level for grouping in fit.design.levels.groups]
    again = MultilevelModel(
        rows[model.outcome],
        rows[list(model.terms)],
        groups={level: rows[level] for level in levels},
        random={effects.level: list(effects.terms) for effects in fit.design.structure.levels},
        lagged_outcome=fit.lagged_outcome,
        time=rows["slot"] if fit.lagged_outcome else None,
    )
    return rows, again.fit()


@pytest.mark.parametrize(
    "name", ["hybrid_three_level.joint", "hybrid_two_level.joint", "hybrid_lag_three_level.joint"]
)
def test_replicates_are_whole_analyses_of_samples_of_clusters(hybrid_resampled, name):
    resampled = fitted(hybrid_resampled, name)
    terms = [term for term in resampled.model.terms if term.startswith("alliance_")]
    # Two optimisations of one likelihood agree to about a thousandth of a thousandth of a standard error.
    tolerance = 1e-5 * resampled.model.fit.bse[terms]
    for number in (0, 7):
        _, again = refitted_from_scratch(resampled, number)
        replicate = resampled.bootstrap.params.loc[number, terms]
        assert np.all(np.abs(replicate - again.params[terms]) <= tolerance)


def test_uncertain_standard_deviations_are_those_of_each_sample(hybrid_resampled, bootstrap_tables):
    resampled = fitted(hybrid_resampled, "hybrid_three_level.joint")
    found = row(
        bootstrap_tables[0], "hybrid_three_level", "unique", "between_client", "difference_sd_uncertain"
    )
    differences = []
    for number in range(len(resampled.bootstrap.params)):
        labels = resampled.model.fit.design.cluster_labels
        draws = dict(zip(labels, resampled.bootstrap.draws[number], strict=True))
        rows = split_levels(draw_again(resampled.model.rows, "therapist", draws), MEASURES)
        scaled = [
            resampled.bootstrap.params.loc[number, f"alliance_{rater}_between_client"]
            * level_sd(rows, f"alliance_{rater}", "between_client")
            for rater in RATERS
        ]
        differences.append(scaled[0] - scaled[1])
    expected = summarise_replicates(found["estimate"], np.array(differences)[resampled.usable], 12)
    for column in ("std_error", "ci_low", "ci_high", "mcse_ci_low", "n_draws"):
        assert found[column] == pytest.approx(expected[column], rel=1e-9)
    assert (found["se_kind"], found["ci_kind"], found["quantity_kind"]) == (
        "bootstrap",
        "percentile",
        "bootstrap",
    )
    assert found["role"] == "secondary"
    assert np.isnan(found["df"])


def test_uncertain_differences_have_the_estimate_of_the_difference(hybrid_tables, bootstrap_tables):
    fixed = hybrid_tables.contrasts.set_index("row_id")["estimate"]
    uncertain = bootstrap_tables[0].query("estimand == 'unique'")
    assert len(uncertain) == 3 + 2 + 3 + 2
    for each in uncertain.itertuples():
        key = each.row_id.replace("difference_sd_uncertain", "difference")
        assert each.estimate == pytest.approx(fixed[key], rel=1e-12)


def test_total_contrasts_pair_the_two_models_sample_by_sample(hybrid_resampled, bootstrap_tables):
    pair = [fitted(hybrid_resampled, f"hybrid_lag_three_level.{rater}") for rater in RATERS]
    level = "within_client"
    scaled = [
        each.bootstrap.params[f"alliance_{rater}_{level}"].to_numpy()
        * level_sd(each.model.rows, f"alliance_{rater}", level)
        for rater, each in zip(RATERS, pair, strict=True)
    ]
    usable = pair[0].usable & pair[1].usable
    estimates = [
        each.model.fit.params[f"alliance_{rater}_{level}"]
        * level_sd(each.model.rows, f"alliance_{rater}", level)
        for rater, each in zip(RATERS, pair, strict=True)
    ]
    table = bootstrap_tables[0]
    found = row(table, "hybrid_lag_three_level", "total", level, "difference")
    expected = summarise_replicates(estimates[0] - estimates[1], (scaled[0] - scaled[1])[usable], 12)
    assert found["estimate"] == pytest.approx(expected["estimate"], rel=1e-12)
    assert found["ci_high"] == pytest.approx(expected["ci_high"], rel=1e-12)
    assert found["role"] == "comparator"
    absolute = row(table, "hybrid_lag_three_level", "total", level, "absolute_difference")
    assert absolute["estimate"] == pytest.approx(abs(estimates[0]) - abs(estimates[1]), rel=1e-12)
    replicates = (np.abs(scaled[0]) - np.abs(scaled[1]))[usable]
    assert absolute["std_error"] == pytest.approx(replicates.std(ddof=1), rel=1e-12)


def test_models_of_one_name_share_their_draws_and_others_cannot_be_compared():
    context = study_example.context()
    models = [
        model
        for model in fit_early_models(study_example.early_rows(), context)
        if model.specification.model != "early_last_observed"
    ]
    drawn = resample_models(models, Resampling(5, seed=1))
    by_name = {each.model.specification.name: each.bootstrap for each in drawn}
    require_same_draws([by_name[f"early_three_level.{who}"] for who in ("joint", *RATERS)])
    with pytest.raises(ValueError, match="different samples"):
        require_same_draws([by_name["early_three_level.joint"], by_name["early_two_level.joint"]])


def test_every_contrast_has_its_row_and_a_name_of_its_own(bootstrap_tables):
    hybrid, early = bootstrap_tables
    assert hybrid["row_id"].is_unique
    assert early["row_id"].is_unique
    terms = {"difference", "absolute_difference", "difference_sd_uncertain"}
    assert set(hybrid.query("estimand == 'total'")["term"]) == terms
    assert len(hybrid.query("estimand == 'total'")) == 3 * (3 + 2 + 3 + 2)
    assert set(early["model"]) == {"early_three_level", "early_two_level", "early_last_observed"}
    assert (early["n_sessions"].isna()).all()


def test_bootstrap_rows_depend_on_the_seed_but_not_on_row_order_or_labels(bootstrap_tables, resampling):
    context = study_example.context()
    for models, name, reference in (
        (
            fit_hybrid_models(relabelled(study_example.hybrid_rows()), context),
            "multilevel",
            bootstrap_tables[0],
        ),
        (fit_early_models(relabelled(study_example.early_rows()), context), "early", bootstrap_tables[1]),
    ):
        again = bootstrap_contrasts(
            models, resample_models(models, resampling), StudyAnalysis(context, name, 10)
        )
        assert_same_numbers(estimates_frame(again), reference)
    other = Resampling(resampling.replicates, resampling.seed + 1)
    changed = estimates_frame(
        bootstrap_contrasts(models, resample_models(models, other), StudyAnalysis(context, "early", 10))
    )
    assert (changed["ci_low"] != bootstrap_tables[1]["ci_low"]).all()


def test_threads_change_nothing(early_models, early_resampled):
    threaded = resample_models(early_models, Resampling(60, seed=5, threads=2))
    for one, two in zip(early_resampled, threaded, strict=True):
        pd.testing.assert_frame_equal(one.bootstrap.params, two.bootstrap.params)


def test_samples_that_cannot_be_fitted_are_left_out_and_too_many_are_a_refusal(
    early_models, early_resampled, monkeypatch
):
    context = study_example.context()
    resampled = fitted(early_resampled, "early_three_level.joint")
    converged = resampled.bootstrap.converged
    level = "between_client"
    key = ("early_three_level", "unique", level, "difference_sd_uncertain")
    for spoilt, status in ((3, "ok"), (20, "refused")):
        monkeypatch.setattr(converged, "to_numpy", lambda spoilt=spoilt: np.arange(60) >= spoilt)
        table = estimates_frame(
            bootstrap_contrasts(early_models, [resampled], StudyAnalysis(context, "early", 10))
        )
        found = row(table, *key)
        assert found["status"] == status
        check = bootstrap_checks([resampled])[0]
        assert check["passed"] is (status == "ok")
        assert check["value"] == pytest.approx(1 - spoilt / 60)
    assert found["reason"] == (
        "the model could be fitted to only 40 of 60 samples of therapists; at least 90% are wanted"
    )


def test_samples_without_a_standard_deviation_are_left_out(early_models, early_resampled, monkeypatch):
    honest = analysis.resampled_level_sds

    def spoilt(*arguments):
        sds = honest(*arguments)
        sds[:2] = np.nan
        return sds

    monkeypatch.setattr(analysis, "resampled_level_sds", spoilt)
    table = estimates_frame(
        bootstrap_contrasts(
            early_models, early_resampled, StudyAnalysis(study_example.context(), "early", 10)
        )
    )
    draws = table.groupby("term")["n_draws"].max()
    assert draws.to_dict() == {
        "absolute_difference": 60,
        "difference": 60,
        "difference_sd_uncertain": 58,
    }


def test_few_therapists_make_no_between_therapist_claim(early_models, early_resampled):
    table = estimates_frame(
        bootstrap_contrasts(
            early_models, early_resampled, StudyAnalysis(study_example.context(), "early", 13)
        )
    )
    between = table[table["level"] == "between_therapist"]
    assert set(between["status"]) == {"not_established"}
    assert between["reason"].str.contains("12 therapists, fewer than the 13").all()
    assert set(table.loc[table["level"] == "between_client", "status"]) == {"ok"}


def test_a_contrast_with_a_refused_model_is_refused_with_its_reason(early_models):
    refused = [
        FittedModel(model.specification, model.rows, model.outcome, model.terms, None, "collinear")
        if model.specification.name == "early_two_level.therapist"
        else model
        for model in early_models
    ]
    table = estimates_frame(
        bootstrap_contrasts(refused, [], StudyAnalysis(study_example.context(), "early", 10))
    )
    assert table[["model", "term", "status", "reason"]].to_numpy().tolist() == [
        ["early_two_level", "difference", "refused", "collinear"]
    ]
