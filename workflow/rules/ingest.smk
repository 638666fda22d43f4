rule check_study:
    input:
        raw_files,
    output:
        "results/{study}/data/check.json",
    log:
        "results/{study}/logs/check_study.log",
    params:
        study_file=lambda wildcards: str(study_file(wildcards.study)),
        # Only what the check of the data depends on: an edit elsewhere in the study file re-runs no more than it must.
        settings=section(settings.IngestSettings),
        faults=settings_faults,
        instruments=instrument_digest,
        code=code_digest(["data", "settings.py", "errors.py"]),
    script:
        "../scripts/check_study.py"


rule ingest:
    input:
        raw=raw_files,
        check="results/{study}/data/check.json",
    output:
        sessions="results/{study}/data/sessions.parquet",
        item_table="results/{study}/data/items.parquet",
        clients="results/{study}/data/clients.parquet",
        therapists="results/{study}/data/therapists.parquet",
        measures="results/{study}/tables/measures.csv",
        announcements="results/{study}/tables/announcements.csv",
        flow="results/{study}/tables/data_flow_ingest.csv",
        risks="results/{study}/tables/disclosure_risk.csv",
        # Kept from run to run, so that a client keeps the pseudonym.
        pseudonyms=update("results/{study}/data/pseudonyms.csv"),
    log:
        "results/{study}/logs/ingest.log",
    params:
        settings=section(settings.IngestSettings),
        instruments=instrument_digest,
        code=code_digest(["data", "settings.py", "errors.py"]),
    script:
        "../scripts/ingest.py"


rule prepare_rows:
    input:
        check="results/{study}/data/check.json",
        sessions="results/{study}/data/sessions.parquet",
        clients="results/{study}/data/clients.parquet",
        therapists="results/{study}/data/therapists.parquet",
        measures="results/{study}/tables/measures.csv",
    output:
        hybrid="results/{study}/data/hybrid_rows.parquet",
        joint="results/{study}/data/joint_rows.parquet",
        early="results/{study}/data/early_rows.parquet",
        context="results/{study}/tables/design.json",
        flow="results/{study}/tables/data_flow_design.csv",
        collinearity="results/{study}/tables/collinearity.csv",
    log:
        "results/{study}/logs/prepare_rows.log",
    params:
        settings=section(settings.DesignSettings),
        primary_outcome=lambda wildcards: CONTENTS[wildcards.study].get("primary_outcome"),
        outcome_unit=lambda wildcards: CONTENTS[wildcards.study].get("outcome_unit", "points"),
        code=code_digest(
            ["design", "analyses/context.py", "analyses/preparation.py", "analyses/early.py", "models"]
        ),
    script:
        "../scripts/prepare_rows.py"


rule check:
    input:
        expand("results/{study}/data/check.json", study=STUDIES),
    log:
        "results/logs/check.log",
    params:
        studies=STUDIES,
    script:
        "../scripts/check.py"
