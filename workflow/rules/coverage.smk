"""Coverage of the multilevel engine's intervals over simulated studies; the table is stored with the references."""

from alliance_outcome.analyses.coverage import designs as coverage_designs

COVERAGE_REFERENCE = "config/reference/coverage"
COVERAGE_CHUNKS = {f"{studies[0]}-{studies[-1]}": studies for studies in coverage_designs.chunks()}


rule simulate_coverage:
    output:
        "results/coverage/{design}/{chunk}.parquet",
    log:
        "results/coverage/logs/{design}_{chunk}.log",
    benchmark:
        "results/coverage/benchmarks/{design}_{chunk}.tsv"
    wildcard_constraints:
        design="|".join(coverage_designs.DESIGNS),
        chunk="|".join(COVERAGE_CHUNKS),
    params:
        first=lambda wildcards: COVERAGE_CHUNKS[wildcards.chunk].start,
        stop=lambda wildcards: COVERAGE_CHUNKS[wildcards.chunk].stop,
        code=code_digest(
            [
                *(f"analyses/coverage/{name}.py" for name in ("designs", "intervals")),
                *(f"analyses/coverage/{name}_studies.py" for name in ("multilevel", "lagged")),
                *("analyses/multilevel.py", "design/levels.py", "design/specification.py", "models"),
            ]
        ),
    script:
        "../scripts/simulate_coverage.py"


rule tabulate_coverage:
    input:
        expand(
            "results/coverage/{design}/{chunk}.parquet",
            design=coverage_designs.DESIGNS,
            chunk=COVERAGE_CHUNKS,
        ),
    output:
        table=f"{COVERAGE_REFERENCE}/coverage.csv",
        page=f"{COVERAGE_REFERENCE}/README.md",
    log:
        "results/coverage/logs/tabulate_coverage.log",
    params:
        code=code_digest([f"analyses/coverage/{name}.py" for name in ("designs", "table", "page")]),
    script:
        "../scripts/tabulate_coverage.py"


rule coverage:
    input:
        rules.tabulate_coverage.output.table,
    log:
        "results/coverage/logs/coverage.log",
    script:
        "../scripts/coverage.py"
