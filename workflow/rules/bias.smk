"""What each estimator would find in a study of the user's own size; the table is stored with the references."""

from alliance_outcome.analyses.bias import designs as bias_designs

BIAS_CODE = ["analyses/bias", *PANEL_CODE]


rule simulate_bias:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/bias/{job}.parquet",
    log:
        "results/{study}/logs/simulate_bias_{job}.log",
    benchmark:
        "results/{study}/benchmarks/simulate_bias_{job}.tsv"
    wildcard_constraints:
        job=r"\d+",
    params:
        replications=lambda wildcards: list(
            bias_designs.job_replications(RUN.bias.replicates, int(wildcards.job))
        ),
        seed=seed_for("bias"),
        code=code_digest(BIAS_CODE),
    script:
        "../scripts/simulate_bias.py"


rule tabulate_bias:
    input:
        [f"results/{{study}}/bias/{job}.parquet" for job in range(bias_designs.JOBS)],
    output:
        "config/reference/{study}/bias.csv",
    log:
        "results/{study}/logs/tabulate_bias.log",
    params:
        code=code_digest(["analyses/bias"]),
    script:
        "../scripts/tabulate_bias.py"


rule bias:
    input:
        [bias_file(study) for study in STUDIES],


rule collect_bias:
    input:
        fit="results/{study}/tables/fit_dynamics.csv",
    output:
        "results/{study}/tables/bias.csv",
    log:
        "results/{study}/logs/collect_bias.log",
    params:
        stored=lambda wildcards: bias_file(wildcards.study),
        digest=lambda wildcards: stored_digest(bias_file(wildcards.study)),
        code=code_digest(["analyses/bias"]),
    script:
        "../scripts/collect_bias.py"
