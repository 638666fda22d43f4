"""Fits as tidy tables: every model answers or says why not."""

import numpy as np
import pandas as pd
import pytest
import study_example
from scipy import stats

from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import ESTIMATE_COLUMNS, is_repetition
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.inference import Inference, status_fields
from alliance_outcome.analyses.model_rows import order_by_content
from alliance_outcome.analyses.multilevel_tables import tabulate
from alliance_outcome.design.specification import HYBRID_MODELS
from alliance_outcome.models.design_checks import UnavailableInference


def test_every_model_and_estimand_has_its_rows(hybrid_tables):
    estimates = hybrid_tables.estimates
    assert list(estimates.columns) == list(ESTIMATE_COLUMNS)
    assert set(estimates["model"]) == set(HYBRID_MODELS)
    assert estimates["row_id"].is_unique
    alliance = estimates[estimates["term"].str.startswith("alliance_") & ~is_repetition(estimates)]
    per_model = alliance.groupby(["model", "estimand"]).size()
    assert per_model["hybrid_three_level", "unique"] == per_model["hybrid_three_level", "total"] == 6
    assert per_model["hybrid_two_level", "unique"] == per_model["hybrid_two_level", "total"] == 4


def test_intervals_are_wald_t_from_the_row_itself(hybrid_tables):
    fixed = hybrid_tables.estimates.dropna(subset="std_error")
    margin = stats.t.ppf(0.975, fixed["df"]) * fixed["std_error"]
    np.testing.assert_allclose(fixed["ci_high"] - fixed["estimate"], margin)
    np.testing.assert_allclose(fixed["p_value"], 2 * stats.t.sf(abs(fixed["statistic"]), fixed["df"]))


def test_roles_are_fixed_before_the_data(hybrid_tables, early_tables):
    hybrid, early = hybrid_tables.estimates, early_tables.estimates
    own = hybrid[~is_repetition(hybrid)]
    assert set(own.loc[own["level"] == "within_client", "role"]) == {"comparator"}
    assert set(hybrid.loc[is_repetition(hybrid), "role"]) == {"sensitivity"}
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
    estimates = tabulate(fit_hybrid_models(rows, context), StudyAnalysis(context, "multilevel", 10)).estimates
    refused = estimates[estimates["status"] == "refused"]
    assert set(refused["model"]) == {"hybrid_three_level", "hybrid_lag_three_level"}
    assert set(refused["reason"]) == {"the study has no therapist ids"}
    assert (estimates.loc[estimates["model"] == "hybrid_two_level", "status"] == "ok").all()


def test_without_therapists_the_two_level_early_model_is_primary():
    context = study_example.context(has_therapists=False)
    models = fit_early_models(study_example.early_rows().assign(therapist=None), context)
    estimates = tabulate(models, StudyAnalysis(context, "early", 10)).estimates
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
    estimates = tabulate(fit_hybrid_models(rows, context), StudyAnalysis(context, "multilevel", 10)).estimates
    between = estimates[estimates["level"] == "between_therapist"]
    assert set(between["status"]) == {"not_established"}
    assert between["reason"].str.contains("8 therapists, fewer than the 10").all()
    assert (estimates.loc[estimates["level"] == "between_client", "status"] == "ok").all()


def test_a_collinear_design_is_refused_with_its_columns():
    rows = study_example.hybrid_rows()
    rows["copied"] = rows["severity_first"]
    context = study_example.context(hybrid_covariates=("copied",))
    estimates = tabulate(fit_hybrid_models(rows, context), StudyAnalysis(context, "multilevel", 10)).estimates
    assert set(estimates["status"]) == {"refused"}
    assert estimates["reason"].str.contains("copied").all()


def test_no_rows_is_a_reason_not_a_crash():
    rows = study_example.hybrid_rows().assign(outcome=np.nan)
    context = study_example.context()
    estimates = tabulate(fit_hybrid_models(rows, context), StudyAnalysis(context, "multilevel", 10)).estimates
    assert set(estimates["status"]) == {"refused"}


def relabelled(rows, seed=7):
    """Permute labels of clients and therapists, and shuffle rows."""
    generator = np.random.default_rng(seed)
    rows = rows.copy()
    for column in ("client", "therapist"):
        labels = rows[column].unique()
        rows[column] = rows[column].map(dict(zip(labels, generator.permutation(labels), strict=True)))
    return rows.sample(frac=1, random_state=3).reset_index(drop=True)


def assert_same_numbers(again, reference):
    """Every number agrees within 1e-10 standard errors, and every row has its name."""
    assert again["row_id"].tolist() == reference["row_id"].tolist()
    for column in ("estimate", "ci_low", "ci_high"):
        scale = reference["std_error"].fillna(reference[column].abs())
        distance = (again[column] - reference[column]).abs() / scale
        assert distance.max() < 1e-10, column


def test_results_do_not_depend_on_row_order_or_labels(hybrid_tables, early_tables):
    context = study_example.context()
    hybrid = fit_hybrid_models(relabelled(study_example.hybrid_rows()), context)
    early = fit_early_models(relabelled(study_example.early_rows()), context)
    for models, analysis, reference in (
        (hybrid, "multilevel", hybrid_tables),
        (early, "early", early_tables),
    ):
        again = tabulate(models, StudyAnalysis(context, analysis, 10))
        assert_same_numbers(again.estimates, reference.estimates)
        assert_same_numbers(again.contrasts, reference.contrasts)


def test_clusters_with_tied_rows_have_one_order_whatever_the_file_and_the_labels():
    # All first rows tie, and therapists A and B hold the same rows, but in different clients.
    rows = pd.DataFrame(
        {
            "therapist": [*"AAAABBBBCC"],
            "client": [*"aabbccddee"],
            "score": [1, 2, 1, 3, 1, 3, 2, 1, 1, 1],
        }
    )
    rows.loc[rows["client"] == "c", "score"] = [1, 1]
    rows.loc[rows["client"] == "d", "score"] = [2, 3]
    content = order_by_content(rows, ["score"])
    shuffled = order_by_content(relabelled(rows), ["score"])
    assert content["score"].tolist() == shuffled["score"].tolist()
    for column in ("client", "therapist"):
        codes = [pd.factorize(table[column])[0].tolist() for table in (content, shuffled)]
        assert codes[0] == codes[1]


def test_recovers_the_planted_contrast(hybrid_tables):
    joint = hybrid_tables.estimates.set_index("row_id")
    client = joint.loc["hybrid_three_level.unique.alliance_client_within_client"]
    therapist = joint.loc["hybrid_three_level.unique.alliance_therapist_within_client"]
    assert client["estimate"] == pytest.approx(-1.0, abs=3 * client["std_error"])
    assert therapist["estimate"] == pytest.approx(-0.2, abs=3 * therapist["std_error"])


def coefficient(tables, model, term, suffix=None):
    """Return the row of one coefficient of a joint model."""
    key = ".".join(part for part in (model, "unique", term, suffix) if part)
    return tables.estimates.set_index("row_id").loc[key]


def test_small_sample_methods_follow_the_rule(hybrid_tables, early_tables):
    fixed = pd.concat([hybrid_tables.estimates, early_tables.estimates]).dropna(subset="df")
    own = fixed[~is_repetition(fixed)]
    lagged = own["model"].str.startswith("hybrid_lag")
    assert set(zip(own[lagged]["se_kind"], own[lagged]["df_method"], strict=True)) == {
        ("observed", "satterthwaite")
    }
    assert set(zip(own[~lagged]["se_kind"], own[~lagged]["df_method"], strict=True)) == {
        ("kenward_roger", "kenward_roger")
    }
    repeated = fixed[is_repetition(fixed)]
    assert set(zip(repeated["se_kind"], repeated["df_method"], strict=True)) == {
        ("CR2", "satterthwaite"),
        ("model", "satterthwaite"),
    }
    assert not repeated["model"].str.startswith("hybrid_lag").any()


def test_coefficients_are_those_of_the_rule_by_hand(hybrid_models, hybrid_tables):
    term = "alliance_client_within_client"
    fits = {model.specification.name: model.fit for model in hybrid_models}
    adjusted = fits["hybrid_three_level.joint"].contrast(term, df="kenward-roger")
    found = coefficient(hybrid_tables, "hybrid_three_level", term)
    assert found[["estimate", "std_error", "df"]].tolist() == [
        adjusted.estimate,
        adjusted.std_error,
        adjusted.df,
    ]
    lagged = fits["hybrid_lag_three_level.joint"]
    assert lagged.lagged_outcome == "outcome_before"
    found = coefficient(hybrid_tables, "hybrid_lag_three_level", term)
    assert found["std_error"] == lagged.bse[term]
    # The whole observed information leaves more uncertainty than variances taken for known.
    assert found["std_error"] > np.sqrt(
        lagged.in_raw_units(lagged.information.coefficients_covariance).loc[term, term]
    )


def test_robust_rows_repeat_alliance_coefficients_by_hand(hybrid_models, hybrid_tables):
    models = {model.specification.name: model for model in hybrid_models}
    clusters = {"hybrid_three_level": "therapist", "hybrid_two_level": "client"}
    for name, level in clusters.items():
        model = models[f"{name}.joint"]
        robust = model.fit.cluster_robust("CR2", level)
        for term in model.specification.alliance_terms():
            expected = robust.contrast(term)
            found = coefficient(hybrid_tables, name, term, "CR2")
            assert found[["estimate", "std_error", "df"]].tolist() == pytest.approx(
                [expected.estimate, expected.std_error, expected.df], rel=1e-12
            )
            assert found["se_kind"] == "CR2"
            assert found["role"] == "sensitivity"


def test_single_rater_models_have_robust_rows_too(hybrid_tables):
    robust = hybrid_tables.estimates[hybrid_tables.estimates["se_kind"] == "CR2"]
    counts = robust.groupby(["model", "estimand"]).size()
    assert counts.to_dict() == {
        ("hybrid_three_level", "unique"): 6,
        ("hybrid_three_level", "total"): 6,
        ("hybrid_two_level", "unique"): 4,
        ("hybrid_two_level", "total"): 4,
    }


def test_joint_models_are_compared_with_autoregressive_ones(hybrid_models, hybrid_tables):
    estimates = hybrid_tables.estimates
    autoregressive = estimates[estimates["residual"].str.startswith("ar1")]
    assert set(autoregressive["model"]) == {"hybrid_three_level", "hybrid_two_level"}
    assert set(autoregressive["estimand"]) == {"unique"}
    model = next(m for m in hybrid_models if m.specification.name == "hybrid_three_level.joint")
    fit = model.with_autoregression().fit()
    phi = estimates.set_index("row_id").loc["hybrid_three_level.unique.phi.ar1"]
    assert phi["estimate"] == pytest.approx(fit.ar1, rel=1e-9)
    assert phi["ci_low"] < phi["estimate"] < phi["ci_high"]
    checks = hybrid_tables.checks.set_index("name")
    check = checks.loc["autocorrelation.hybrid_three_level.joint"]
    assert check["value"] == pytest.approx(2 * (fit.llf - model.fit.llf), abs=1e-6)
    assert check["limit"] == pytest.approx(3.8415, abs=1e-4)
    assert check["passed"] == (check["value"] <= check["limit"])
    assert "AIC" in check["text"]


def test_autocorrelated_residuals_are_noticed():
    rows = study_example.hybrid_rows()
    generator = np.random.default_rng(2)
    noise = pd.Series(generator.normal(0, 2, len(rows)))
    carried = noise.groupby(rows["client"]).transform(lambda own: own.ewm(alpha=0.3, adjust=False).mean())
    rows["outcome"] += 3 * carried
    context = study_example.context()
    tables = tabulate(fit_hybrid_models(rows, context), StudyAnalysis(context, "multilevel", 10))
    check = tables.checks.set_index("name").loc["autocorrelation.hybrid_three_level.joint"]
    assert not check["passed"]
    assert "p < .001" in check["text"]
    phi = tables.estimates.set_index("row_id").loc["hybrid_three_level.unique.phi.ar1"]
    assert phi["ci_low"] > 0.2


def test_models_with_a_lagged_outcome_say_why_nothing_robust_stands_beside_them(hybrid_tables):
    checks = hybrid_tables.checks.set_index("name")
    check = checks.loc["cluster_robust.hybrid_lag_three_level.joint"]
    assert check["passed"] is None
    assert "an earlier outcome" in check["text"]


def test_where_nothing_robust_is_to_be_had_rows_and_checks_say_why(hybrid_models, monkeypatch):
    model = next(m for m in hybrid_models if m.specification.name == "hybrid_two_level.client")

    def refuse(*_):
        raise UnavailableInference("a single cluster holds all of it")

    monkeypatch.setattr(model.fit, "cluster_robust", refuse)
    tables = tabulate([model], StudyAnalysis(study_example.context(), "multilevel", 10))
    robust = tables.estimates[tables.estimates["row_id"].str.endswith(".CR2")]
    assert set(robust["status"]) == {"refused"}
    assert set(robust["reason"]) == {"a single cluster holds all of it"}
    assert robust["estimate"].isna().all()
    check = tables.checks.set_index("name").loc["cluster_robust.hybrid_two_level.client"]
    assert "a single cluster holds all of it" in check["text"]


def test_a_robust_test_that_breaks_down_is_a_refusal():
    def refuse(_):
        raise UnavailableInference("this coefficient rests on a single cluster")

    inference = Inference(object(), refuse, "CR2", "satterthwaite", "CR2")
    found = inference.fields({"alliance": 1.0}, level=None, n_therapists=20, min_therapists=10)
    # A refused repetition still says what it would have repeated, so that it is not taken for the model's own row.
    kind = {"se_kind": "CR2", "df_method": "satterthwaite"}
    assert found == {**kind, "status": "refused", "reason": "this coefficient rests on a single cluster"}


def test_without_degrees_of_freedom_nothing_is_established():
    assert status_fields(True, None, 20, 10, 0.4)["reason"] == (
        "fewer than one degree of freedom: the data hardly determine the standard error"
    )
    assert "do not determine all variances" in status_fields(True, None, 20, 10, float("nan"))["reason"]
    assert status_fields(True, None, 20, 10, 1.5) == {"status": "ok", "reason": None}


def test_without_convergence_nothing_is_established(hybrid_models, monkeypatch):
    model = next(m for m in hybrid_models if m.specification.name == "hybrid_two_level.client")
    monkeypatch.setattr(model.fit, "converged", False)
    tables = tabulate([model], StudyAnalysis(study_example.context(), "multilevel", 10))
    assert set(tables.estimates["status"]) == {"not_established"}
    gate = tables.checks.set_index("name").loc["convergence.hybrid_two_level.client"]
    assert not gate["passed"]
    assert "no maximum was reached" in gate["text"]


def test_covariances_belong_to_the_standard_errors_of_the_rows(hybrid_tables):
    covariances = hybrid_tables.covariances
    for model in ("hybrid_three_level", "hybrid_lag_two_level"):
        own = covariances[(covariances["model"] == model) & (covariances["estimand"] == "unique")]
        for row in own[own["term"] == own["term2"]].itertuples():
            expected = coefficient(hybrid_tables, model, row.term)["std_error"]
            assert np.sqrt(row.covariance) == pytest.approx(expected, rel=1e-12)
