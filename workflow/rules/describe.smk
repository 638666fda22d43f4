rule describe:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        clients="results/{study}/data/clients.parquet",
        therapists="results/{study}/data/therapists.parquet",
        measures="results/{study}/tables/measures.csv",
        context="results/{study}/tables/design.json",
    output:
        tables=expand("results/{{study}}/tables/{name}.csv", name=DESCRIPTION_TABLES),
        agreement="results/{study}/estimates/agreement.csv",
    log:
        "results/{study}/logs/describe.log",
    benchmark:
        "results/{study}/benchmarks/describe.tsv"
    params:
        min_therapists=min_therapists,
        code=code_digest(["analyses/description.py", "analyses/agreement.py", "models", "design/levels.py"]),
    script:
        "../scripts/describe.py"


rule estimate_reliability:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        item_table="results/{study}/data/items.parquet",
        measures="results/{study}/tables/measures.csv",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/estimates/reliability.csv",
    log:
        "results/{study}/logs/estimate_reliability.log",
    benchmark:
        "results/{study}/benchmarks/estimate_reliability.tsv"
    params:
        instruments=instrument_digest,
        min_therapists=min_therapists,
        seed=seed_for("reliability"),
        code=code_digest(
            [
                *(
                    f"analyses/{name}.py"
                    for name in ("reliability", "description", "inference", "model_rows")
                ),
                "models",
            ]
        ),
    script:
        "../scripts/estimate_reliability.py"


rule fit_factors:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        item_table="results/{study}/data/items.parquet",
        measures="results/{study}/tables/measures.csv",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/estimates/factor_structure.csv",
    log:
        "results/{study}/logs/fit_factors.log",
    benchmark:
        "results/{study}/benchmarks/fit_factors.tsv"
    params:
        instruments=instrument_digest,
        code=code_digest(
            [
                *(
                    f"analyses/{name}.py"
                    for name in ("factor_structure", "reliability", "description", "model_rows")
                ),
                "models",
            ]
        ),
    script:
        "../scripts/fit_factors.py"


rule estimate_perception:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        context="results/{study}/tables/design.json",
    output:
        one_with_many="results/{study}/estimates/one_with_many.csv",
        truth_and_bias="results/{study}/estimates/truth_and_bias.csv",
    log:
        "results/{study}/logs/estimate_perception.log",
    benchmark:
        "results/{study}/benchmarks/estimate_perception.tsv"
    params:
        min_therapists=min_therapists,
        code=code_digest(
            [
                *(f"analyses/{name}.py" for name in ("one_with_many", "truth_and_bias", "perception_names")),
                *(
                    "analyses/description.py",
                    "analyses/inference.py",
                    "analyses/context.py",
                    "analyses/estimates.py",
                ),
                *("design", "models"),
            ]
        ),
    script:
        "../scripts/estimate_perception.py"


rule check_data_quality:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        item_table="results/{study}/data/items.parquet",
        measures="results/{study}/tables/measures.csv",
        announcements="results/{study}/tables/announcements.csv",
        context="results/{study}/tables/design.json",
    output:
        "results/{study}/tables/checks_data_quality.csv",
    log:
        "results/{study}/logs/check_data_quality.log",
    benchmark:
        "results/{study}/benchmarks/check_data_quality.tsv"
    params:
        code=code_digest(["analyses/data_quality.py", "analyses/description.py"]),
    script:
        "../scripts/check_data_quality.py"
