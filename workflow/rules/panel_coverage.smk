"""Coverage of the panel models' intervals over simulated studies; tables are stored with the references."""

from alliance_outcome.analyses.panel_coverage import designs as panel_designs

PANEL_COVERAGE_REFERENCE = "config/reference/panel_coverage"
PANEL_COVERAGE_CHUNKS = {f"{studies[0]}-{studies[-1]}": studies for studies in panel_designs.chunks()}


rule simulate_panel_coverage:
    output:
        "results/panel_coverage/{design}/{chunk}.parquet",
    log:
        "results/panel_coverage/logs/{design}_{chunk}.log",
    benchmark:
        "results/panel_coverage/benchmarks/{design}_{chunk}.tsv"
    wildcard_constraints:
        design="|".join(panel_designs.DESIGNS),
        chunk="|".join(PANEL_COVERAGE_CHUNKS),
    params:
        first=lambda wildcards: PANEL_COVERAGE_CHUNKS[wildcards.chunk].start,
        stop=lambda wildcards: PANEL_COVERAGE_CHUNKS[wildcards.chunk].stop,
        code=code_digest(
            [
                *(f"analyses/panel_coverage/{name}.py" for name in ("designs", "studies")),
                *("analyses/bias/estimators.py", "analyses/panel_plan.py", "models"),
            ]
        ),
    script:
        "../scripts/simulate_panel_coverage.py"


rule tabulate_panel_coverage:
    input:
        lambda wildcards: panel_designs.result_files(wildcards.design),
    output:
        f"{PANEL_COVERAGE_REFERENCE}/{{design}}.csv",
    log:
        "results/panel_coverage/logs/tabulate_{design}.log",
    wildcard_constraints:
        design="|".join(panel_designs.DESIGNS),
    params:
        code=code_digest(
            [
                "analyses/bias/table.py",
                *(f"analyses/panel_coverage/{name}.py" for name in ("designs", "table")),
            ]
        ),
    script:
        "../scripts/tabulate_panel_coverage.py"


rule write_panel_coverage_page:
    input:
        panel_designs.stored_tables(PANEL_COVERAGE_REFERENCE),
    output:
        f"{PANEL_COVERAGE_REFERENCE}/README.md",
    log:
        "results/panel_coverage/logs/page.log",
    params:
        code=code_digest([f"analyses/panel_coverage/{name}.py" for name in ("designs", "page", "table")]),
    script:
        "../scripts/write_panel_coverage_page.py"


rule panel_coverage:
    input:
        expand(f"{PANEL_COVERAGE_REFERENCE}/{{design}}.csv", design=panel_designs.DESIGNS),
        rules.write_panel_coverage_page.output,
