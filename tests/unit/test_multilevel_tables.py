"""Fits as tidy tables: every model answers or says why not."""

import numpy as np
import pytest
import study_example

from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import ESTIMATE_COLUMNS
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel import tabulate
from alliance_outcome.design.specification import HYBRID_MODELS


def test_every_model_and_estimand_has_its_rows(hybrid_tables):
    estimates = hybrid_tables.estimates
    assert list(estimates.columns) == list(ESTIMATE_COLUMNS)
    assert set(estimates["model"]) == set(HYBRID_MODELS)
    assert estimates["row_id"].is_unique
    alliance = estimates[estimates["term"].str.startswith("alliance_")]
    per_model = alliance.groupby(["model", "estimand"]).size()
    assert per_model["hybrid_three_level", "unique"] == per_model["hybrid_three_level", "total"] == 6
    assert per_model["hybrid_two_level", "unique"] == per_model["hybrid_two_level", "total"] == 4


def test_intervals_are_wald_t_from_the_row_itself(hybrid_tables):
    from scipy import stats

    fixed = hybrid_tables.estimates.dropna(subset="std_error")
    margin = stats.t.ppf(0.975, fixed["df"]) * fixed["std_error"]
    np.testing.assert_allclose(fixed["ci_high"] - fixed["estimate"], margin)
    np.testing.assert_allclose(fixed["p_value"], 2 * stats.t.sf(abs(fixed["statistic"]), fixed["df"]))


def test_roles_are_fixed_before_the_data(hybrid_tables, early_tables):
    hybrid, early = hybrid_tables.estimates, early_tables.estimates
    assert set(hybrid.loc[hybrid["level"] == "within_client", "role"]) == {"comparator"}
    primary = early[early["role"] == "primary"]
    assert set(primary["model"]) == {"early_three_level"}
    assert set(primary["estimand"]) == {"unique"}
    assert set(early.loc[early["model"] == "early_last_observed", "role"].dropna()) <= {
        "sensitivity",
        "secondary",
    }


def test_lagged_models_use_the_rows_that_have_a_lag(hybrid_models):
    rows = {model.specification.name: len(model.rows) for model in hybrid_models}
    n_clients = 72
    assert rows["hybrid_three_level.joint"] - rows["hybrid_lag_three_level.joint"] == n_clients
    assert rows["hybrid_lag_three_level.client"] == rows["hybrid_lag_three_level.joint"]


def test_without_therapists_three_level_rows_are_refused_with_the_reason():
    context = study_example.context(has_therapists=False)
    rows = study_example.hybrid_rows().assign(therapist=None)
    estimates = tabulate(fit_hybrid_models(rows, context), context, "multilevel", 10).estimates
    refused = estimates[estimates["status"] == "refused"]
    assert set(refused["model"]) == {"hybrid_three_level", "hybrid_lag_three_level"}
    assert set(refused["reason"]) == {"the study has no therapist ids"}
    assert (estimates.loc[estimates["model"] == "hybrid_two_level", "status"] == "ok").all()


def test_without_therapists_the_two_level_early_model_is_primary():
    context = study_example.context(has_therapists=False)
    models = fit_early_models(study_example.early_rows().assign(therapist=None), context)
    estimates = tabulate(models, context, "early", 10).estimates
    assert set(estimates.loc[estimates["role"] == "primary", "model"]) == {"early_two_level"}


def test_one_rater_has_no_joint_model():
    context = study_example.context(raters=("client",))
    rows = study_example.hybrid_rows().drop(columns="alliance_therapist")
    models = fit_hybrid_models(rows, context)
    assert [model.specification.name for model in models] == [f"{model}.client" for model in HYBRID_MODELS]
    assert all(model.fit is not None for model in models)


def test_few_therapists_make_no_between_therapist_claim():
    context = study_example.context()
    rows = study_example.hybrid_rows(n_therapists=8)
    estimates = tabulate(fit_hybrid_models(rows, context), context, "multilevel", 10).estimates
    between = estimates[estimates["level"] == "between_therapist"]
    assert set(between["status"]) == {"not_established"}
    assert between["reason"].str.contains("8 therapists, fewer than the 10").all()
    assert (estimates.loc[estimates["level"] == "between_client", "status"] == "ok").all()


def test_a_collinear_design_is_refused_with_its_columns():
    rows = study_example.hybrid_rows()
    rows["copied"] = rows["severity_first"]
    context = study_example.context(hybrid_covariates=("copied",))
    estimates = tabulate(fit_hybrid_models(rows, context), context, "multilevel", 10).estimates
    assert set(estimates["status"]) == {"refused"}
    assert estimates["reason"].str.contains("copied").all()


def test_no_rows_is_a_reason_not_a_crash():
    rows = study_example.hybrid_rows().assign(outcome=np.nan)
    context = study_example.context()
    estimates = tabulate(fit_hybrid_models(rows, context), context, "multilevel", 10).estimates
    assert set(estimates["status"]) == {"refused"}


def test_results_do_not_depend_on_row_order_or_labels(hybrid_tables):
    rows = study_example.hybrid_rows()
    generator = np.random.default_rng(7)
    for column in ("client", "therapist"):
        labels = rows[column].unique()
        rows[column] = rows[column].map(dict(zip(labels, generator.permutation(labels), strict=True)))
    context = study_example.context()
    shuffled = rows.sample(frac=1, random_state=3).reset_index(drop=True)
    again = tabulate(fit_hybrid_models(shuffled, context), context, "multilevel", 10).estimates
    reference = hybrid_tables.estimates
    assert again["row_id"].tolist() == reference["row_id"].tolist()
    fixed = reference["std_error"].notna()
    distance = (again["estimate"] - reference["estimate"])[fixed].abs() / reference.loc[fixed, "std_error"]
    assert distance.max() < 1e-10


def test_recovers_the_planted_contrast(hybrid_tables):
    joint = hybrid_tables.estimates.set_index("row_id")
    client = joint.loc["hybrid_three_level.unique.alliance_client_within_client"]
    therapist = joint.loc["hybrid_three_level.unique.alliance_therapist_within_client"]
    assert client["estimate"] == pytest.approx(-1.0, abs=3 * client["std_error"])
    assert therapist["estimate"] == pytest.approx(-0.2, abs=3 * therapist["std_error"])


def test_replicates_of_coefficients_and_standard_deviations_belong_to_the_same_cluster(early_models):
    model = next(model for model in early_models if model.specification.name == "early_two_level.joint")
    assert model.fit.leave_one_cluster_out().index.tolist() == sorted(model.rows["client"])
