rule compare_with_reference:
    input:
        check="results/{study}/data/check.json",
        estimates=expand("results/{{study}}/estimates/{name}.csv", name=ESTIMATE_FILES),
        reference=reference_files,
    output:
        "results/{study}/tables/verification.csv",
    log:
        "results/{study}/logs/compare_with_reference.log",
    params:
        code=code_digest(["analyses/verification.py", "analyses/estimates.py"]),
    script:
        "../scripts/compare_with_reference.py"


rule verify:
    input:
        expand("results/{study}/tables/verification.csv", study=STUDIES),
    log:
        "results/logs/verify.log",
    params:
        studies=STUDIES,
    script:
        "../scripts/verify.py"


rule adopt:
    input:
        expand("results/{study}/estimates/{name}.csv", study=STUDIES, name=ESTIMATE_FILES),
    log:
        "results/logs/adopt.log",
    params:
        studies=STUDIES,
    script:
        "../scripts/adopt.py"
