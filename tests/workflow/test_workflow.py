"""The workflow from raw files to report: what it writes, what it re-runs, and how it fails."""

import json
import re
import stat

import pandas as pd
import pytest

RESULTS = "results/tiny"
ESTIMATES = (
    *("multilevel", "early", "bayesian", "measurement_error", "dynamics", "reliability"),
    *("contrast", "agreement", "explained", "alliance_parts", "corrected_contrast", "response_surface"),
    *("factor_structure", "one_with_many", "truth_and_bias"),
)
MODEL_RULES = {
    *(
        "fit_hybrid",
        "fit_early",
        "fit_response_surface",
        "bootstrap_multilevel",
        "fit_bayesian_hybrid",
        "fit_bayesian_early",
    ),
}


def files_below(path):
    """List files relative to a folder."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


EXPECTED = sorted(
    [
        *(f"raw/{name}.csv" for name in ("sessions", "clients", "therapists")),
        "truth.csv",
        *(f"data/{name}.parquet" for name in ("sessions", "items", "clients", "therapists")),
        *(f"data/{name}_rows.parquet" for name in ("hybrid", "joint", "early")),
        *("data/check.json", "data/pseudonyms.csv", "data/posterior.nc", "data/posterior_early.nc"),
        *(f"estimates/{name}.csv" for name in ESTIMATES),
        *(
            f"tables/{name}.csv"
            for name in ("sample", "participants", "description", "missingness", "trajectories", "withheld")
        ),
        *("tables/disclosure_risk.csv", "tables/release.csv"),
        *(
            f"tables/{name}.csv"
            for name in ("measures", "announcements", "data_flow_ingest", "data_flow_design")
        ),
        *(
            f"tables/{kind}_{name}.csv"
            for kind in ("contrasts", "covariances", "scales", "checks")
            for name in ("multilevel", "early")
        ),
        *(
            f"tables/{name}.csv"
            for name in (
                *("checks_bayesian", "contrasts_bayesian", "predictive", "collinearity"),
                *("bayesian_comparison", "prior_sensitivity", "reporting_checklist"),
            )
        ),
        *(
            f"tables/{name}.csv"
            for name in (
                *("checks_bootstrap", "contrasts_bootstrap", "checks_second_opinion"),
                "checks_measurement_error",
                "diagnostics_multilevel",
                *("bias", "checks_data_quality"),
                *(f"{kind}_response_surface" for kind in ("checks", "conditions", "grid")),
                *(f"{kind}_dynamics" for kind in ("checks", "constraints", "contrasts", "fit")),
            )
        ),
        *("tables/design.json", "tables/answer.json", "tables/verification.csv"),
        "report/report.html",
    ]
)


def test_expected_and_unexpected_files(finished):
    found = files_below(finished.path / RESULTS)
    kept = [name for name in found if not name.startswith(("logs/", "benchmarks/", "figures/"))]
    assert kept == EXPECTED
    names = (
        "contrast",
        "trajectories",
        "missingness",
        "agreement",
        "timing",
        "coefficients",
        "explained",
        "residuals",
        "predictive",
        "measurement_error",
        "dynamics",
        "reliability",
        "response_surface",
        "perception",
        "bias",
        "truth",
    )
    figures = {*(f"figures/{name}.svg" for name in names), "figures/figures.json", "figures/truth.json"}
    assert {name for name in found if name.startswith("figures/")} == figures


def test_row_level_files_are_private(finished):
    data = finished.path / RESULTS / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "pseudonyms.csv").stat().st_mode) == 0o600


def test_the_end_of_the_run_says_the_answer_and_where_the_report_is(finished):
    answer = json.loads((finished.path / RESULTS / "tables/answer.json").read_text())
    assert answer["sentence"] in finished.output
    assert "results/tiny/report/report.html" in finished.output


def test_a_posterior_that_did_not_converge_gives_no_answer(finished):
    # Two warm-up draws cannot converge; nothing here is mocked.
    answer = json.loads((finished.path / RESULTS / "tables/answer.json").read_text())
    assert answer["verdict"] == "not_established"
    checks = pd.read_csv(finished.path / RESULTS / "tables/checks_bayesian.csv")
    assert (checks["passed"] == False).any()  # noqa: E712 - a column of objects: True, False and missing
    for name in ("bayesian", "measurement_error"):
        estimates = pd.read_csv(finished.path / RESULTS / f"estimates/{name}.csv")
        assert set(estimates["status"]) == {"not_established"}


def test_estimates_keep_the_contract(finished):
    from alliance_outcome.analyses.estimates import ESTIMATE_COLUMNS, read_estimates

    tables = {name: read_estimates(finished.path / RESULTS / f"estimates/{name}.csv") for name in ESTIMATES}
    for table in tables.values():
        assert list(table.columns) == list(ESTIMATE_COLUMNS)
        assert table["row_id"].is_unique
        assert not table[table["status"] == "ok"]["estimate"].isna().any()
    contrast = tables["contrast"]
    assert set(contrast["engine"]) == {"fiml", "multilevel", "nutpie"}
    levels = contrast[contrast["term"] == "difference"].groupby("engine")["level"].agg(set)
    assert levels.pop("fiml") == {"within_client"}
    assert all({"within_client", "between_client", "between_therapist"} <= found for found in levels)


def test_sessions_are_conserved_from_step_to_step(finished):
    tables = finished.path / RESULTS / "tables"
    flow = pd.read_csv(tables / "data_flow_design.csv")
    hybrid, joint = (flow[flow["stage"] == stage] for stage in ("hybrid", "joint"))
    sessions = pd.read_parquet(finished.path / RESULTS / "data/sessions.parquet")
    held = (sessions["occasion_kind"] == "session") & (sessions["attendance"] == "attended")
    assert hybrid["n_rows"].iloc[0] == held.sum()
    rows = pd.read_parquet(finished.path / RESULTS / "data/hybrid_rows.parquet")
    assert hybrid["n_rows"].iloc[-1] == len(rows) == held.sum() - hybrid["n_removed"].sum()
    incomplete = pd.read_parquet(finished.path / RESULTS / "data/joint_rows.parquet")
    assert joint["n_rows"].iloc[-1] == len(incomplete) == held.sum() - joint["n_removed"].sum()
    assert len(incomplete) > len(rows)


def test_no_original_identifier_leaves_the_data_folder(finished):
    results = finished.path / RESULTS
    key = pd.read_csv(results / "data/pseudonyms.csv", dtype=str)
    pseudonyms = pd.read_parquet(results / "data/clients.parquet")["client"]
    identifiers = set(pseudonyms) | set(key["original"])
    public = [
        file
        for file in results.rglob("*")
        if file.is_file() and file.relative_to(results).parts[0] not in ("data", "raw")
    ]
    assert len(public) > 20
    for file in public:
        words = set(re.findall(r"\b[CT]\d{2,4}\b", file.read_text(encoding="utf-8")))
        assert not words & identifiers, file.name


def test_a_finished_run_has_nothing_to_do(finished):
    assert finished.planned_rules() == {}


@pytest.mark.parametrize(
    ("key", "value", "runs", "stays"),
    [
        (
            "rope",
            0.3,
            {"contrast", "summarise_bayesian", "render_report"},
            {"ingest", "prepare_rows"} | MODEL_RULES,
        ),
        ("title", "Another title", {"render_report"}, {"ingest", "contrast"} | MODEL_RULES),
        ("time_trend", "linear", {"prepare_rows", "contrast"} | MODEL_RULES, {"ingest", "simulate"}),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it_and_no_more(copied, key, value, runs, stays):
    copied.write_study(copied.study() | {key: value})
    planned = set(copied.planned_rules())
    assert runs <= planned
    assert not stays & planned


def test_a_changed_prior_reruns_the_bayesian_models_only(copied):
    study = copied.study()
    study["priors"]["effect_sd"] = 1.5
    copied.write_study(study)
    planned = set(copied.planned_rules())
    assert {"fit_bayesian_hybrid", "fit_bayesian_early", "fit_measurement_error", "contrast"} <= planned
    assert not {"fit_hybrid", "fit_early", "ingest", "describe"} & planned


def test_a_changed_reliability_reruns_the_models_with_measurement_error_only(copied):
    study = copied.study()
    study["reliability"]["client"]["within_client"]["mean"] = 0.8
    copied.write_study(study)
    planned = set(copied.planned_rules())
    assert {"fit_measurement_error", "fit_dynamics", "contrast", "render_report"} <= planned
    assert not ({"ingest", "prepare_rows", "summarise_bayesian"} | MODEL_RULES) & planned


CONTRACTED = {
    "ingest": [f"data/{name}.parquet" for name in ("sessions", "items", "clients", "therapists")],
    "prepare_rows": [f"data/{name}_rows.parquet" for name in ("hybrid", "joint", "early")],
    "fit_hybrid": ["estimates/multilevel.csv"],
    "fit_early": ["estimates/early.csv"],
    "fit_bayesian_hybrid": ["data/posterior.nc"],
    "fit_bayesian_early": ["data/posterior_early.nc"],
    "summarise_bayesian": ["estimates/bayesian.csv"],
    "fit_measurement_error": ["estimates/measurement_error.csv"],
    "fit_dynamics": ["estimates/dynamics.csv"],
    "estimate_reliability": ["estimates/reliability.csv"],
    "correct_contrast": ["estimates/corrected_contrast.csv"],
    "fit_factors": ["estimates/factor_structure.csv"],
    "contrast_parts": ["estimates/alliance_parts.csv"],
    "fit_response_surface": ["estimates/response_surface.csv"],
    "estimate_perception": ["estimates/one_with_many.csv", "estimates/truth_and_bias.csv"],
    "contrast": ["estimates/contrast.csv", "tables/answer.json"],
    "bootstrap_multilevel": ["estimates/explained.csv"],
    "diagnose_multilevel": ["tables/diagnostics_multilevel.csv"],
    "describe": [
        "estimates/agreement.csv",
        *(
            f"tables/{name}.csv"
            for name in ("sample", "participants", "description", "missingness", "trajectories", "withheld")
        ),
    ],
    "check_release": ["tables/release.csv"],
    "tabulate_truth": ["truth.csv"],
    "render_report": ["report/report.html"],
}


@pytest.mark.parametrize("rule", CONTRACTED)
def test_deleted_files_are_rebuilt_with_what_is_downstream(finished, rule):
    paths = [finished.path / RESULTS / name for name in CONTRACTED[rule]]
    aside = [path.with_suffix(path.suffix + ".aside") for path in paths]
    for path, elsewhere in zip(paths, aside, strict=True):
        path.rename(elsewhere)
    try:
        planned = set(finished.planned_rules())
    finally:
        for path, elsewhere in zip(paths, aside, strict=True):
            elsewhere.rename(path)
    assert rule in planned
    assert "render_report" in planned


def test_the_same_seed_gives_the_same_bytes(copied):
    names = [f"estimates/{name}.csv" for name in ("multilevel", "early", "agreement", "explained")]
    names += ["raw/sessions.csv", "tables/description.csv", "tables/contrasts_bootstrap.csv", "truth.csv"]
    before = {name: (copied.path / RESULTS / name).read_bytes() for name in names}
    run = copied.run(
        "--forcerun",
        "simulate",
        "tabulate_truth",
        "--until",
        "fit_hybrid",
        "fit_early",
        "bootstrap_multilevel",
        "describe",
        "tabulate_truth",
    )
    assert run.returncode == 0, run.stdout
    assert {name: (copied.path / RESULTS / name).read_bytes() for name in names} == before


def test_new_pseudonyms_change_no_estimate(copied):
    names = [f"estimates/{name}.csv" for name in ("multilevel", "early", "agreement", "explained")]
    names.append("tables/contrasts_bootstrap.csv")
    before = {name: pd.read_csv(copied.path / RESULTS / name) for name in names}
    old = pd.read_csv(copied.path / RESULTS / "data/pseudonyms.csv")
    (copied.path / RESULTS / "data/pseudonyms.csv").unlink()
    rules = ("fit_hybrid", "fit_early", "bootstrap_multilevel", "describe")
    run = copied.run("--forcerun", "ingest", "--until", *rules)
    assert run.returncode == 0, run.stdout
    new = pd.read_csv(copied.path / RESULTS / "data/pseudonyms.csv")
    assert (
        new.sort_values("original")["pseudonym"].tolist() != old.sort_values("original")["pseudonym"].tolist()
    )
    for name, reference in before.items():
        again = pd.read_csv(copied.path / RESULTS / name)
        assert again["row_id"].tolist() == reference["row_id"].tolist()
        fixed = reference["std_error"].notna()
        distance = (again["estimate"] - reference["estimate"])[fixed].abs() / reference.loc[
            fixed, "std_error"
        ]
        assert distance.max() < 1e-10


def test_verify_finds_a_tampered_number_and_names_its_row(copied):
    missing = copied.run("verify")
    assert missing.returncode != 0
    assert "no reference estimates" in missing.stdout
    assert copied.run("adopt").returncode == 0
    reproduced = copied.run("verify")
    assert reproduced.returncode == 0, reproduced.stdout
    reference = copied.path / "config/reference/tiny/estimates_early.csv"
    table = pd.read_csv(reference, dtype=str)
    tampered = table["estimate"].notna()
    row_id = table.loc[tampered, "row_id"].iloc[0]
    table.loc[table["row_id"] == row_id, "estimate"] = "123.25"
    table.to_csv(reference, index=False)
    found = copied.run("verify")
    assert found.returncode != 0
    assert f"differs: early, {row_id} estimate: reference 123.25" in found.stdout


def test_report_of_a_simulated_study_says_so(finished):
    page = (finished.path / RESULTS / "report/report.html").read_text(encoding="utf-8")
    assert "Simulated data" in page
    assert not re.search(r"""(?:src|href)=["']https?://(?!doi\.org)""", page)


def test_snakemakes_own_report_works(finished, tmp_path):
    target = tmp_path / "workflow-report.zip"
    run = finished.run("--report", str(target))
    assert run.returncode == 0, run.stdout
    assert target.stat().st_size > 10_000
