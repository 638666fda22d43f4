rule fit_hybrid:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/hybrid_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        estimates="results/{study}/estimates/multilevel.csv",
        contrasts="results/{study}/tables/contrasts_multilevel.csv",
        covariances="results/{study}/tables/covariances_multilevel.csv",
        scales="results/{study}/tables/scales_multilevel.csv",
        checks="results/{study}/tables/checks_multilevel.csv",
    log:
        "results/{study}/logs/fit_hybrid.log",
    benchmark:
        "results/{study}/benchmarks/fit_hybrid.tsv"
    params:
        analysis="multilevel",
        min_therapists=min_therapists,
        code=code_digest(MULTILEVEL_CODE),
    script:
        "../scripts/fit_multilevel.py"


use rule fit_hybrid as fit_early with:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        estimates="results/{study}/estimates/early.csv",
        contrasts="results/{study}/tables/contrasts_early.csv",
        covariances="results/{study}/tables/covariances_early.csv",
        scales="results/{study}/tables/scales_early.csv",
        checks="results/{study}/tables/checks_early.csv",
    log:
        "results/{study}/logs/fit_early.log",
    benchmark:
        "results/{study}/benchmarks/fit_early.tsv"
    params:
        analysis="early",
        min_therapists=min_therapists,
        code=code_digest(MULTILEVEL_CODE),


rule fit_response_surface:
    input:
        check="results/{study}/data/check.json",
        hybrid="results/{study}/data/hybrid_rows.parquet",
        early="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        estimates="results/{study}/estimates/response_surface.csv",
        conditions="results/{study}/tables/conditions_response_surface.csv",
        checks="results/{study}/tables/checks_response_surface.csv",
        grid="results/{study}/tables/grid_response_surface.csv",
    log:
        "results/{study}/logs/fit_response_surface.log",
    benchmark:
        "results/{study}/benchmarks/fit_response_surface.tsv"
    params:
        code=code_digest([*MULTILEVEL_CODE, *RESPONSE_SURFACE_CODE]),
    script:
        "../scripts/fit_response_surface.py"


rule correct_contrast:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/hybrid_rows.parquet",
        sessions="results/{study}/data/sessions.parquet",
        item_table="results/{study}/data/items.parquet",
        measures="results/{study}/tables/measures.csv",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/estimates/corrected_contrast.csv",
    log:
        "results/{study}/logs/correct_contrast.log",
    benchmark:
        "results/{study}/benchmarks/correct_contrast.tsv"
    params:
        settings=section(settings.MeasurementErrorSettings),
        replicates=RUN.bootstrap.replicates,
        seed=seed_for("corrected_contrast"),
        min_therapists=min_therapists,
        code=code_digest([*MULTILEVEL_CODE, *CORRECTION_CODE]),
    script:
        "../scripts/correct_contrast.py"


rule contrast_parts:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        clients="results/{study}/data/clients.parquet",
        therapists="results/{study}/data/therapists.parquet",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/estimates/alliance_parts.csv",
    log:
        "results/{study}/logs/contrast_parts.log",
    benchmark:
        "results/{study}/benchmarks/contrast_parts.tsv"
    params:
        settings=section(settings.DesignSettings),
        min_therapists=min_therapists,
        code=code_digest([*MULTILEVEL_CODE, "analyses/alliance_parts.py"]),
    script:
        "../scripts/contrast_parts.py"


rule bootstrap_multilevel:
    input:
        check="results/{study}/data/check.json",
        multilevel="results/{study}/data/hybrid_rows.parquet",
        early="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        explained="results/{study}/estimates/explained.csv",
        contrasts="results/{study}/tables/contrasts_bootstrap.csv",
        checks="results/{study}/tables/checks_bootstrap.csv",
    log:
        "results/{study}/logs/bootstrap_multilevel.log",
    benchmark:
        "results/{study}/benchmarks/bootstrap_multilevel.tsv"
    # Half of the cores, so that the other models run beside it.
    threads: max(1, workflow.cores // 2)
    params:
        replicates=RUN.bootstrap.replicates,
        seeds=lambda wildcards: {
            analysis: seed_for("bootstrap", analysis)(wildcards) for analysis in ("multilevel", "early")
        },
        min_therapists=min_therapists,
        code=code_digest([*MULTILEVEL_CODE, *BOOTSTRAP_CODE]),
    script:
        "../scripts/bootstrap_multilevel.py"


rule diagnose_multilevel:
    input:
        check="results/{study}/data/check.json",
        multilevel="results/{study}/data/hybrid_rows.parquet",
        early="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        diagnostics="results/{study}/tables/diagnostics_multilevel.csv",
        checks="results/{study}/tables/checks_second_opinion.csv",
    log:
        "results/{study}/logs/diagnose_multilevel.log",
    benchmark:
        "results/{study}/benchmarks/diagnose_multilevel.tsv"
    params:
        settings=section(settings.DecisionSettings),
        code=code_digest([*MULTILEVEL_CODE, *DIAGNOSIS_CODE]),
    script:
        "../scripts/diagnose_multilevel.py"


rule fit_bayesian_hybrid:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/hybrid_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        posterior="results/{study}/data/posterior.nc",
    log:
        "results/{study}/logs/fit_bayesian_hybrid.log",
    benchmark:
        "results/{study}/benchmarks/fit_bayesian_hybrid.tsv"
    # Half of the cores, so that the other models run beside it.
    threads: max(1, min(RUN.sampler.chains, workflow.cores // 2))
    params:
        analysis="hybrid",
        settings=section(settings.BayesianSettings),
        sampler=RUN.sampler.model_dump(),
        seed=seed_for("bayesian", "hybrid"),
        code=code_digest(BAYESIAN_CODE),
    script:
        "../scripts/fit_bayesian.py"


use rule fit_bayesian_hybrid as fit_bayesian_early with:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
    output:
        posterior="results/{study}/data/posterior_early.nc",
    log:
        "results/{study}/logs/fit_bayesian_early.log",
    benchmark:
        "results/{study}/benchmarks/fit_bayesian_early.tsv"
    params:
        analysis="early",
        settings=section(settings.BayesianSettings),
        sampler=RUN.sampler.model_dump(),
        seed=seed_for("bayesian", "early"),
        code=code_digest(BAYESIAN_CODE),


rule fit_measurement_error:
    input:
        check="results/{study}/data/check.json",
        rows="results/{study}/data/joint_rows.parquet",
        measures="results/{study}/tables/measures.csv",
        context="results/{study}/tables/design.json",
    output:
        estimates="results/{study}/estimates/measurement_error.csv",
        checks="results/{study}/tables/checks_measurement_error.csv",
    log:
        "results/{study}/logs/fit_measurement_error.log",
    benchmark:
        "results/{study}/benchmarks/fit_measurement_error.tsv"
    # Half of the cores, so that the other models run beside it.
    threads: max(1, min(RUN.sampler.chains, workflow.cores // 2))
    params:
        settings=section(
            settings.BayesianSettings, settings.MeasurementErrorSettings, settings.DecisionSettings
        ),
        sampler=RUN.sampler.model_dump(),
        seed=seed_for("measurement_error"),
        code=code_digest(
            [*BAYESIAN_CODE, "analyses/measurement_error.py", "analyses/measurement_error_rows.py"]
        ),
    script:
        "../scripts/fit_measurement_error.py"


rule fit_dynamics:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        clients="results/{study}/data/clients.parquet",
        context="results/{study}/tables/design.json",
    output:
        estimates="results/{study}/estimates/dynamics.csv",
        contrasts="results/{study}/tables/contrasts_dynamics.csv",
        fit="results/{study}/tables/fit_dynamics.csv",
        constraints="results/{study}/tables/constraints_dynamics.csv",
        checks="results/{study}/tables/checks_dynamics.csv",
    log:
        "results/{study}/logs/fit_dynamics.log",
    benchmark:
        "results/{study}/benchmarks/fit_dynamics.tsv"
    params:
        settings=section(settings.MeasurementErrorSettings),
        seed=seed_for("dynamics"),
        code=code_digest(PANEL_CODE),
    script:
        "../scripts/fit_dynamics.py"


rule compare_bayesian:
    input:
        check="results/{study}/data/check.json",
        context="results/{study}/tables/design.json",
        hybrid_rows="results/{study}/data/hybrid_rows.parquet",
        early_rows="results/{study}/data/early_rows.parquet",
    output:
        comparison="results/{study}/tables/bayesian_comparison.csv",
    log:
        "results/{study}/logs/compare_bayesian.log",
    benchmark:
        "results/{study}/benchmarks/compare_bayesian.tsv"
    params:
        settings=section(settings.BayesianSettings),
        sampler=RUN.sampler.model_dump(),
        seeds=lambda wildcards: {
            analysis: seed_for("bayesian_comparison", analysis)(wildcards)
            for analysis in ("hybrid", "early")
        },
        code=code_digest([*BAYESIAN_CODE, "analyses/bayesian_comparison.py"]),
    script:
        "../scripts/compare_bayesian.py"


rule summarise_bayesian:
    input:
        check="results/{study}/data/check.json",
        context="results/{study}/tables/design.json",
        hybrid="results/{study}/data/posterior.nc",
        early="results/{study}/data/posterior_early.nc",
        hybrid_rows="results/{study}/data/hybrid_rows.parquet",
        early_rows="results/{study}/data/early_rows.parquet",
    output:
        estimates="results/{study}/estimates/bayesian.csv",
        contrasts="results/{study}/tables/contrasts_bayesian.csv",
        checks="results/{study}/tables/checks_bayesian.csv",
        predictive="results/{study}/tables/predictive.csv",
        sensitivity="results/{study}/tables/prior_sensitivity.csv",
        checklist="results/{study}/tables/reporting_checklist.csv",
    log:
        "results/{study}/logs/summarise_bayesian.log",
    benchmark:
        "results/{study}/benchmarks/summarise_bayesian.tsv"
    params:
        settings=section(settings.DecisionSettings),
        code=code_digest(
            [
                *("analyses/bayesian.py", "analyses/cross_check.py", "analyses/prior_sensitivity.py"),
                *("analyses/reporting_checklist.py", "analyses/rater_contrast.py"),
                *("models/diagnostics.py", "design"),
            ]
        ),
    script:
        "../scripts/summarise_bayesian.py"


rule contrast:
    input:
        check="results/{study}/data/check.json",
        context="results/{study}/tables/design.json",
        contrasts=expand(
            "results/{{study}}/tables/contrasts_{name}.csv",
            name=["dynamics", "multilevel", "early", "bootstrap", "bayesian"],
        ),
        checks=expand(
            "results/{{study}}/tables/checks_{name}.csv",
            name=["dynamics", "multilevel", "early", "bayesian"],
        ),
    output:
        contrast="results/{study}/estimates/contrast.csv",
        answer="results/{study}/tables/answer.json",
    log:
        "results/{study}/logs/contrast.log",
    params:
        settings=section(settings.DecisionSettings),
        code=code_digest(["analyses/answer.py", "analyses/headline.py", "analyses/estimates.py"]),
    script:
        "../scripts/contrast.py"
