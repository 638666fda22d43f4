rule simulate:
    output:
        sessions="results/{study}/raw/sessions.csv",
        clients="results/{study}/raw/clients.csv",
        therapists="results/{study}/raw/therapists.csv",
    log:
        "results/{study}/logs/simulate.log",
    params:
        simulation=lambda wildcards: CONTENTS[wildcards.study].get("simulation"),
        seed=seed_for("simulate"),
        code=code_digest(SIMULATION_CODE),
    script:
        "../scripts/simulate.py"


rule tabulate_truth:
    output:
        "results/{study}/truth.csv",
    log:
        "results/{study}/logs/tabulate_truth.log",
    params:
        simulation=lambda wildcards: CONTENTS[wildcards.study].get("simulation"),
        pseudo_true=lambda wildcards: pseudo_true_file(wildcards.study),
        stored=lambda wildcards: stored_digest(pseudo_true_file(wildcards.study)),
        code=code_digest([*SIMULATION_CODE, "analyses/truth.py"]),
    script:
        "../scripts/tabulate_truth.py"


rule estimate_pseudo_true:
    output:
        "config/reference/{study}/pseudo_true.csv",
    log:
        "results/{study}/logs/estimate_pseudo_true.log",
    benchmark:
        "results/{study}/benchmarks/estimate_pseudo_true.tsv"
    threads: workflow.cores
    params:
        study=whole_study,
        seed=seed_for("pseudo_true"),
    script:
        "../scripts/estimate_pseudo_true.py"


rule pseudo_true:
    input:
        [pseudo_true_file(study) for study in STUDIES if is_simulated(study)],
